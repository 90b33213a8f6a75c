//! Servers that are away, full, silent, slow or mad: no call hangs, no row is unaccounted for, no other
//! server suffers.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use super::{super::*, rig::*};

/// Far more than any sum of timeouts here; a hang would be longer.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn a_full_server_fails_what_it_cannot_store() {
    let (full, well) = (TestServer::start(&["-m", "2", "-M"]), TestServer::start(&[]));
    let mut core = core(&spec(&[("full", &full.address), ("well", &well.address)]));
    let value = vec![b'x'; 10_000];
    let keys: Vec<String> = (0..400).map(|i| format!("k{i}")).collect();
    let row = |i: usize| -> Row<'_> { (Some(&keys[i]), Some(&value), Some(["full", "well"][i % 2])) };
    let written = write(&mut core, &batch(&(0..400).map(row).collect::<Vec<_>>()));
    assert!(written.failed > 0 && written.failed < 200 && written.rejects.is_empty());
    assert_eq!((full.items(), well.items()), (written.accepted - 200, 200));
    let failure = written.failure.expect("rows failed");
    assert_eq!(failure.exit, Exit::Unavailable);
    let said = format!(
        "memcached server `full` ({}) has not stored {} rows after 3 attempts: `SERVER_ERROR out of memory storing object`",
        full.address, written.failed
    );
    assert_eq!(failure.message, said);
    let next = write(&mut core, &numbered("n", 4, &["well"]));
    assert_eq!(next.accepted, 4);
}

#[test]
fn a_server_that_has_room_again_is_healed_by_a_retry() {
    let server = TestServer::start(&["-m", "2", "-M"]);
    let mut spec = spec(&[("a", &server.address)]);
    spec.retry = Retry { attempts: Some(5), backoff: millis(300), timeout: millis(10_000), ..Retry::default() };
    let mut core = core(&spec);
    let value = vec![b'x'; 10_000];
    let keys: Vec<String> = (0..400).map(|i| format!("k{i}")).collect();
    let fill = batch(&keys.iter().map(|key| -> Row<'_> { (Some(key), Some(&value), Some("a")) }).collect::<Vec<_>>());
    spec.retry.attempts = Some(1);
    assert!(write(&mut super::rig::core(&spec), &fill).failed > 0);
    let client = server.client();
    let flush = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        client.flush().expect("the server answers");
    });
    let written = write(&mut core, &batch(&[(Some("new"), Some(&value), Some("a"))]));
    flush.join().expect("flushed");
    assert_eq!((written.accepted, written.failed), (1, 0));
}

#[test]
fn a_flood_of_errors_does_not_block() {
    let server = TestServer::start(&["-m", "2", "-M"]);
    let mut spec = spec(&[("a", &server.address)]);
    spec.retry.attempts = Some(1);
    let value = [b'x'; 90];
    let keys: Vec<String> = (0..150_000).map(|i| format!("key-of-some-length-{i}")).collect();
    let rows: Vec<Row<'_>> = keys.iter().map(|key| (Some(&**key), Some(&value[..]), Some("a"))).collect();
    let written = write(&mut core(&spec), &batch(&rows));
    assert!(written.failed > 100_000, "{} failed", written.failed);
    assert_eq!(server.items(), written.accepted);
}

#[test]
fn a_server_that_is_not_there_is_down_for_the_rest_of_the_run() {
    let well = TestServer::start(&[]);
    let gone = unused_address();
    let spec = spec(&[("gone", &gone), ("well", &well.address)]);
    let shared = Arc::new(shared(&spec));
    let mut core = Core::new(Arc::clone(&shared), Mode::Write);
    let first = write(&mut core, &numbered("a", 10, &["gone", "well"]));
    assert_eq!((first.accepted, first.failed), (5, 5));
    let said = format!(
        "memcached server `gone` ({gone}) is down, given up after 3 attempts: Connection refused (os error 111)"
    );
    assert_eq!(message(&first), said);
    assert_eq!(first.failure.as_ref().map(|failure| failure.exit), Some(Exit::Unavailable));
    // A server that comes back is not looked at again, by any worker: the run has failed anyway.
    let _back = std::net::TcpListener::bind(&gone).expect("the port is still free");
    let mut other = Core::new(shared, Mode::Write);
    let second = within(SOON, || write(&mut other, &numbered("b", 10, &["gone", "well"])));
    assert_eq!((second.accepted, second.failed, message(&second)), (5, 5, &*said));
    assert_eq!(well.items(), 10);
}

#[test]
fn a_server_that_dies_takes_only_its_rows_with_it() {
    let (mut dying, well) = (TestServer::start(&[]), TestServer::start(&[]));
    let mut core = core(&spec(&[("dying", &dying.address), ("well", &well.address)]));
    assert_eq!(write(&mut core, &numbered("a", 1000, &["dying", "well"])).accepted, 1000);
    dying.kill();
    for prefix in ["b", "c"] {
        let written = write(&mut core, &numbered(prefix, 1000, &["dying", "well"]));
        assert_eq!((written.accepted, written.failed), (500, 500));
        assert!(message(&written).contains("memcached server `dying`"), "{}", message(&written));
    }
    assert_eq!(well.items(), 1500);
}

#[test]
fn a_connection_that_breaks_is_made_anew_and_the_part_sent_again() {
    let server = TestServer::start(&[]);
    for (prefix, bytes) in [("greeting", 2), ("first", 20), ("middle", 20_000), ("barrier", 0)] {
        let batch = numbered(prefix, 1000, &["a"]);
        let part: usize = (0..1000).map(|i| 2 * format!("{prefix}{i}").len() + "ms   q\r\n\r\n".len()).sum();
        // Every length here has one digit or two; cutting in the last bytes means cutting the barrier.
        let digits: usize = (0..1000).map(|i| format!("{prefix}{i}").len().to_string().len()).sum();
        let bytes = if bytes == 0 { GREETING + part + digits + 2 } else { bytes };
        let (proxy, connections) = cutting_proxy(&server.address, 2, bytes);
        let mut core = core(&spec(&[("a", &proxy)]));
        let written = write(&mut core, &batch);
        assert_eq!((written.accepted, written.failed), (1000, 0), "{prefix}: {}", message(&written));
        assert_eq!(connections.load(Ordering::SeqCst), 3, "{prefix}");
        let last = format!("{prefix}999");
        assert_eq!(server.get(&last), Some(last.into_bytes()));
    }
    assert_eq!(server.items(), 4000);
}

#[test]
fn attempts_are_bounded() {
    let server = TestServer::start(&[]);
    let (proxy, connections) = cutting_proxy(&server.address, usize::MAX, 30);
    let mut core = core(&spec(&[("a", &proxy)]));
    let written = write(&mut core, &numbered("k", 100, &["a"]));
    assert_eq!((written.accepted, written.failed), (0, 100));
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[test]
fn a_silent_server_costs_its_timeout_and_no_more() {
    let well = TestServer::start(&[]);
    let mute = listen(|_, stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
        Ok(())
    });
    let deaf = listen(|_, mut stream| {
        greet(&mut stream)?;
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    for silent in [mute, deaf] {
        let mut core = core(&impatient(&[("silent", &silent), ("well", &well.address)], 2));
        // More than the socket buffers hold, so that the write itself is held up.
        let value = vec![0; 1_000_000];
        let mut rows: Vec<Row<'_>> = vec![(Some("k"), Some(&value), Some("silent")); 20];
        rows.push((Some("k"), Some(b"v"), Some("well")));
        let written = within(SOON, || write(&mut core, &batch(&rows)));
        assert_eq!((written.accepted, written.failed), (1, 20));
        assert!(message(&written).ends_with("2 attempts: no answer within the timeout"), "{}", message(&written));
        assert_eq!(well.get("k"), Some(b"v".to_vec()));
    }
}

#[test]
fn a_server_that_trickles_meets_the_same_deadline() {
    // Never a pause as long as the timeout.
    fn trickle(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
        loop {
            stream.write_all(bytes)?;
            thread::sleep(Duration::from_millis(50));
        }
    }
    let at_once = listen(|_, stream| trickle(stream, b"S"));
    let [later, errors] = [&b"S"[..], b"SERVER_ERROR x\r\n"].map(|bytes| {
        listen(move |_, mut stream| {
            greet(&mut stream)?;
            io::Read::read(&mut stream, &mut [0])?;
            trickle(stream, bytes)
        })
    });
    for address in [at_once, later, errors] {
        let mut core = core(&impatient(&[("slow", &address)], 2));
        let written = within(SOON, || write(&mut core, &numbered("k", 10, &["slow"])));
        assert_eq!(written.failed, 10);
        assert!(message(&written).ends_with("no answer within the timeout"), "{}", message(&written));
    }
}

#[test]
fn what_does_not_speak_the_protocol_gets_no_values() {
    for (reply, said) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "unexpected reply `HTTP/1.1 400 Bad Request`"),
        (&b"\x00\xff\n"[..], "unexpected reply `\\x00\\xff`"),
        (&[b'z'; 10_000], "unexpected reply `zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz…`"),
        (&b"MN\r\nMN\r\n"[..], "the server answers more than it was asked"),
        (&b"ERROR Too many open connections\r\nMN\r\n"[..], "the server answers `ERROR Too many open connections`"),
        (&b""[..], "the server closed the connection"),
    ] {
        let address = listen(move |_, mut stream| {
            stream.write_all(reply)?;
            let mut asked = [0; 100];
            let length = std::io::Read::read(&mut stream, &mut asked)?;
            assert_eq!(&asked[..length], b"mn    \r\n");
            Ok(())
        });
        let mut core = core(&impatient(&[("odd", &address)], 1));
        let written = within(SOON, || write(&mut core, &numbered("k", 5, &["odd"])));
        assert_eq!(written.failed, 5);
        assert!(message(&written).ends_with(said), "{} is not {said}", message(&written));
    }
}

#[test]
fn refusals_of_single_records_are_theirs_alone() {
    // A server that errs in every way on known keys; memcached itself cannot be brought to all of these.
    let address = listen(|_, stream| {
        use std::io::{BufRead, BufReader};
        let mut answers = stream.try_clone()?;
        greet(&mut answers)?;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            match line.split(' ').nth(1) {
                None if line == "mn" => answers.write_all(b"MN\r\n")?,
                Some("k1") => answers.write_all(b"CLIENT_ERROR bad command line format\r\nERROR\r\n")?,
                Some("k2") => answers.write_all(b"NS\r\n")?,
                _ => {}
            }
        }
        Ok(())
    });
    let written = write(&mut core(&spec(&[("odd", &address)])), &numbered("k", 6, &["odd"]));
    assert_eq!((written.accepted, written.failed), (4, 1));
    assert!(message(&written).ends_with("has not stored 1 row after 1 attempt: `NS`"), "{}", message(&written));
    let reject = &written.rejects[0];
    assert_eq!((reject.code, reject.position.record), (RejectCode("refused"), 2));
    assert!(reject.message.ends_with("answers `CLIENT_ERROR bad command line format`"));
}

#[test]
fn only_the_tail_from_the_first_open_record_on_is_sent_again() {
    // A server that cannot store `k3` when it is first asked for it with a barrier of its own, and then breaks off
    // behind `k5`: of ten records, the first three are answered for good.
    let asked = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&asked);
    let address = listen(move |number, mut stream| {
        greet(&mut stream)?;
        let mut reader = io::BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        let mut refused = false;
        while io::BufRead::read_line(&mut reader, &mut line)? > 0 {
            match line.split(' ').nth(1) {
                None => stream.write_all(b"MN\r\n")?,
                Some(key) => {
                    seen.lock().expect("no test fails here").push(format!("{number}:{key}"));
                    io::BufRead::read_line(&mut reader, &mut String::new())?;
                    if number == 0 && key == "k3" {
                        stream.write_all(b"SERVER_ERROR out of memory storing object\r\n")?;
                        refused = true;
                    }
                    if number == 0 && refused && key == "k5" && seen.lock().expect("as before").len() > 10 {
                        return Ok(());
                    }
                }
            }
            line.clear();
        }
        Ok(())
    });
    let mut core = core(&spec(&[("a", &address)]));
    let written = write(&mut core, &numbered("k", 10, &["a"]));
    assert_eq!((written.accepted, written.failed), (10, 0), "{}", message(&written));
    let expected: Vec<String> = (0..10)
        .map(|i| format!("0:k{i}"))
        .chain((0..6).map(|i| format!("0:k{i}")))
        .chain((3..10).map(|i| format!("1:k{i}")))
        .collect();
    assert_eq!(*asked.lock().expect("nobody panicked"), expected);
}

#[test]
fn what_was_acknowledged_stays_so_when_the_server_is_lost() {
    // It refuses one record, so that all get a barrier each, and is gone for good behind the fifth.
    let address = listen(|number, mut stream| {
        if number > 0 {
            return Ok(());
        }
        greet(&mut stream)?;
        let mut reader = io::BufReader::new(stream.try_clone()?);
        let (mut line, mut barriers) = (String::new(), 0);
        while io::BufRead::read_line(&mut reader, &mut line)? > 0 {
            if line.starts_with("mn") {
                barriers += 1;
                stream.write_all(b"MN\r\n")?;
                if barriers == 6 {
                    return Ok(());
                }
            } else {
                io::BufRead::read_line(&mut reader, &mut String::new())?;
                if line.starts_with("ms k1 ") {
                    stream.write_all(b"SERVER_ERROR object too large for cache\r\n")?;
                }
            }
            line.clear();
        }
        Ok(())
    });
    let mut core = core(&spec(&[("a", &address)]));
    let written = write(&mut core, &numbered("k", 10, &["a"]));
    assert_eq!((written.accepted, written.rejects.len(), written.failed), (4, 1, 5), "{}", message(&written));
    assert!(message(&written).contains("is down, given up after 3 attempts"), "{}", message(&written));
}

/// Writes an older and a newer row of one key behind another row. The server has no room for the older one at first.
/// When it is sent again, and the newer one behind it, the server stores it over the newer one of before, and hangs up
/// before it takes the newer one. After that it is as before, or `gone` for good. Answers what was stored, in order.
fn older_over_newer(gone: bool) -> (Vec<String>, Written) {
    let stored = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&stored);
    let address = listen(move |number, mut stream| {
        if number > 0 && gone {
            return Ok(());
        }
        greet(&mut stream)?;
        let mut reader = io::BufReader::new(stream.try_clone()?);
        let (mut line, mut sets) = (String::new(), 0);
        while io::BufRead::read_line(&mut reader, &mut line)? > 0 {
            if line.starts_with("mn") {
                stream.write_all(b"MN\r\n")?;
            } else {
                let mut value = String::new();
                io::BufRead::read_line(&mut reader, &mut value)?;
                sets += 1;
                match sets {
                    // Once in one go, once with a barrier behind each.
                    2 | 5 if number == 0 => stream.write_all(b"SERVER_ERROR out of memory storing object\r\n")?,
                    8 if number == 0 => {
                        // The answer to the older row must not be lost: it ends in order, with nothing left unread.
                        stream.shutdown(std::net::Shutdown::Write)?;
                        return io::copy(&mut reader, &mut io::sink()).map(drop);
                    }
                    _ => seen.lock().expect("no test fails here").push(format!("{number}:{}", value.trim_end())),
                }
            }
            line.clear();
        }
        Ok(())
    });
    let mut core = core(&spec(&[("a", &address)]));
    let row = |key, value: &'static str| -> Row<'_> { (Some(key), Some(value.as_bytes()), Some("a")) };
    let written = write(&mut core, &batch(&[row("a", "1"), row("k", "older"), row("k", "newer")]));
    let stored = stored.lock().expect("nobody panicked").clone();
    (stored, written)
}

#[test]
fn a_row_that_is_sent_again_opens_those_behind_it() {
    let (stored, written) = older_over_newer(false);
    assert_eq!(stored, ["0:1", "0:newer", "0:1", "0:newer", "0:older", "1:newer"]);
    assert_eq!((written.accepted, written.failed), (3, 0), "{}", message(&written));
    // What was stored and may have been overwritten since is not acknowledged.
    let (stored, written) = older_over_newer(true);
    assert_eq!(stored.last().map(String::as_str), Some("0:older"));
    assert_eq!((written.accepted, written.failed), (2, 1), "{}", message(&written));
    assert!(message(&written).contains("is down, given up after"), "{}", message(&written));
}
