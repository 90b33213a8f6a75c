//! Acknowledged writing to servers that work, and what the rows themselves can have wrong with them.

use std::{sync::Arc, thread};

use arrow_array::cast::AsArray;

use super::{super::*, rig::*};
use crate::batch::Origin;

#[test]
fn values_read_back_byte_for_byte() {
    let (a, b) = (TestServer::start(&[]), TestServer::start(&[]));
    let mut core = core(&spec(&[("a", &a.address), ("b", &b.address)]));
    let all: Vec<u8> = (0..=255).collect();
    let long = vec![b'x'; default_max_value_bytes().0 as usize - 250];
    let rows: [Row<'_>; 6] = [
        (Some("all"), Some(&all), Some("a")),
        (Some("empty"), Some(b""), Some("b")),
        (Some("command"), Some(b"\r\nflush_all\r\nmn\r\n"), Some("a")),
        (Some("ключ"), Some("значение".as_bytes()), Some("b")),
        (Some("long"), Some(&long), Some("b")),
        (Some("all"), Some(b"again"), Some("b")),
    ];
    let written = write(&mut core, &batch(&rows));
    assert_eq!((written.accepted, written.durable), (6, true));
    let payload: usize = rows.iter().map(|row| row.0.map_or(0, str::len) + row.1.map_or(0, <[u8]>::len)).sum();
    assert!(written.bytes > payload as u64 && written.bytes < payload as u64 + 6 * 32);
    for (key, value, route) in rows {
        let server = if route == Some("a") { &a } else { &b };
        assert_eq!(server.get(key.unwrap_or_default()).as_deref(), value);
    }
    assert_eq!((a.items(), b.items()), (2, 4));
}

#[test]
fn one_server_needs_no_route_and_text_is_a_value() {
    let server = TestServer::start(&[]);
    let mut core = core(&spec(&[("only", &server.address)]));
    let batch = numbered("k", 3, &[""]);
    let keys = batch.records.column(0).as_string_view();
    let written = core
        .write(&batch, Rows { keys, values: Values::Text(keys), routes: None }, |row| row == 1)
        .expect("it goes on");
    assert_eq!(written.accepted, 2);
    assert_eq!(
        [server.get("k0"), server.get("k1"), server.get("k2")],
        [Some(b"k0".to_vec()), None, Some(b"k2".to_vec())]
    );
}

#[test]
fn the_last_write_of_a_key_wins() {
    let server = TestServer::start(&[]);
    let mut core = core(&spec(&[("a", &server.address)]));
    for value in [&b"1"[..], b"2"] {
        write(&mut core, &batch(&[(Some("k"), Some(b"0"), Some("a")), (Some("k"), Some(value), Some("a"))]));
    }
    assert_eq!(server.get("k"), Some(b"2".to_vec()));
}

#[test]
fn expire_and_flags_arrive() {
    let server = TestServer::start(&[]);
    for (seconds, flags) in [(0_u64, 0), (100, 7), (60 * 24 * 60 * 60, u32::MAX)] {
        let expire = crate::jobspec::Duration(time::Duration::from_secs(seconds));
        let mut core = core(&Spec { expire, flags, ..spec(&[("a", &server.address)]) });
        assert_eq!(write(&mut core, &numbered("k", 1, &["a"])).accepted, 1);
        let answer = server.ask("mg k0 t f");
        let mut words = answer.split_whitespace().skip(1);
        let left: i64 = words.next().and_then(|word| word[1..].parse().ok()).expect("seconds left");
        let expected = if seconds == 0 { -1..=-1 } else { seconds as i64 - 5..=seconds as i64 + 1 };
        assert!(expected.contains(&left), "{answer}");
        assert_eq!(words.next(), Some(&*format!("f{flags}")));
    }
}

#[test]
fn a_part_of_a_second_to_expire_is_a_second() {
    let shared = shared(&Spec { expire: millis(1), ..spec(&[("a", "h:1")]) });
    assert_eq!(shared.expire, 1);
}

#[test]
fn a_hundred_thousand_records_by_two_workers() {
    let (a, b) = (TestServer::start(&[]), TestServer::start(&[]));
    let shared = Arc::new(shared(&spec(&[("a", &a.address), ("b", &b.address)])));
    let half = |prefix: &'static str| {
        let mut core = Core::new(Arc::clone(&shared), Mode::Write);
        thread::spawn(move || -> u64 {
            let batches = (0..10).map(|i| numbered(&format!("{prefix}{i}:"), 5000, &["a", "b"]));
            batches.map(|batch| write(&mut core, &batch).accepted).sum()
        })
    };
    let workers = [half("x"), half("y")];
    let accepted: u64 = workers.map(|worker| worker.join().expect("the worker does not panic")).iter().sum();
    assert_eq!(accepted, 100_000);
    assert_eq!((a.items(), b.items()), (50_000, 50_000));
    assert_eq!(b.get("y9:4999"), Some(b"y9:4999".to_vec()));
}

#[test]
fn bad_rows_are_rejects_and_take_no_neighbours_with_them() {
    let server = TestServer::start(&[]);
    let mut spec = spec(&[("a", &server.address)]);
    spec.max_value_bytes = Bytes(4);
    let (longest, longer) = ("x".repeat(250), "x".repeat(251));
    let (key, value, route) = (Some("k"), Some(&b"v"[..]), Some("a"));
    let cases: [(Row<'_>, Option<&str>); 14] = [
        ((key, value, route), None),
        ((Some(&longest), value, route), None),
        ((Some(&longer), value, route), Some("bad_key: the key has 251 bytes, the limit is 250")),
        ((Some(""), value, route), Some("bad_key: the key is empty")),
        ((Some("a b"), value, route), Some("bad_key: the key `a b` has a space or control character in it")),
        ((Some("a\r\nb"), value, route), Some("bad_key: the key `a\\r\\nb` has a space or control character in it")),
        ((Some("a\u{7f}"), value, route), Some("bad_key: the key `a\\x7f` has a space or control character in it")),
        ((None, value, route), Some("no_key: the key is null")),
        ((key, None, route), Some("null_value: `value` is null")),
        ((key, value, None), Some("null_value: `route` is null")),
        ((key, value, Some("A")), Some("no_route: no server for `route` value `A`")),
        ((key, Some(b"12345"), route), Some("too_large: the value has 5 bytes, the limit is 4")),
        ((Some("four"), Some(b"1234"), route), None),
        ((Some("last"), value, route), None),
    ];
    let written = write(&mut core(&spec), &batch(&cases.map(|case| case.0)));
    let rejects: Vec<String> = written.rejects.iter().map(|r| format!("{}: {}", r.code.0, r.message)).collect();
    assert_eq!(rejects, cases.iter().filter_map(|case| case.1).collect::<Vec<_>>());
    assert_eq!((written.accepted, written.failed), (4, 0));
    assert_eq!(server.items(), 4);
}

#[test]
fn a_reject_names_its_record() {
    let server = TestServer::start(&[]);
    let mut core = core(&spec(&[("a", &server.address)]));
    let mut batch = batch(&[(Some("k"), Some(b"v"), Some("a")), (Some(""), Some(b"v"), Some("a"))]);
    batch.origin = Origin::derived(batch.origin.split, 3, 2);
    let written = write(&mut core, &batch);
    assert_eq!(written.rejects[0].position.record, 2);
    assert_eq!(String::from_utf8_lossy(&written.rejects[0].record), r#"{"k":"","v":"dg==","r":"a"}"#);
}

#[test]
fn what_the_server_finds_too_large_is_a_reject() {
    let server = TestServer::start(&["-I", "512k", "-m", "64"]);
    let mut core = core(&spec(&[("a", &server.address)]));
    let large = vec![0; 600_000];
    let rows: [Row<'_>; 3] = [
        (Some("first"), Some(b"1"), Some("a")),
        (Some("large"), Some(&large), Some("a")),
        (Some("last"), Some(b"1"), Some("a")),
    ];
    let written = write(&mut core, &batch(&rows));
    assert_eq!((written.accepted, written.failed), (2, 0));
    assert_eq!(written.rejects[0].code, RejectCode("too_large"));
    assert!(written.rejects[0].message.ends_with("answers `SERVER_ERROR object too large for cache`"));
    assert_eq!((written.rejects[0].position.record, server.items()), (2, 2));
    assert_eq!(write(&mut core, &numbered("k", 1, &["a"])).accepted, 1, "the connection is still good");
}

#[test]
fn nothing_larger_than_the_default_limit_fits() {
    let server = TestServer::start(&[]);
    let mut spec = spec(&[("a", &server.address)]);
    let limit = spec.max_value_bytes.0 as usize;
    spec.max_value_bytes = Bytes(u64::MAX);
    let mut core = core(&spec);
    let value = vec![0; limit + 1];
    for (length, accepted) in [(limit, 1), (limit + 1, 0)] {
        assert_eq!(write(&mut core, &batch(&[(Some("k"), Some(&value[..length]), Some("a"))])).accepted, accepted);
    }
}

#[test]
fn a_rehearsal_shows_and_refuses_but_touches_no_network() {
    let spec = spec(&[("a", &unused_address()), ("b", &unused_address())]);
    let shared = Arc::new(shared(&Spec { verify: Some(Verify { sample: 5, min: Share(0.99) }), ..spec.clone() }));
    let mut core = Core::new(Arc::clone(&shared), Mode::Rehearse);
    let long: Vec<u8> = (0..32).collect();
    let good: Row<'_> = (Some("k"), Some(&long), Some("b"));
    let written = write(
        &mut core,
        &batch(&[(Some(""), Some(b"v"), Some("a")), good, (Some("l"), Some(b"\x0a"), Some("a")), good, good]),
    );
    assert_eq!((written.accepted, written.rejects.len(), written.failed), (4, 1, 0));
    assert!(written.bytes > 0);
    let [a, b] = [0, 1].map(|place| shared.servers[place].address.text());
    let shown = format!("set k → b ({b}), 32 bytes: 000102030405060708090a0b0c0d0e0f…");
    assert_eq!(written.samples, [shown.clone(), format!("set l → a ({a}), 1 bytes: 0a"), shown]);
    assert_eq!(core.commit(), Ok(()));
    assert_eq!(verify::verify(&shared), Ok(None));
    assert!(shared.servers.iter().all(|server| server.patience.down().is_none()));
}
