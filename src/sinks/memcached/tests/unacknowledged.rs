//! `ack = "none"`: nothing is waited for before commit, and commit tells the truth.

use std::sync::atomic::Ordering;

use super::{super::*, rig::*};

fn fire_and_forget(servers: &[(&str, &str)]) -> Core {
    core(&Spec { ack: Ack::None, ..spec(servers) })
}

#[test]
fn all_is_stored_once_commit_says_so() {
    let (a, b) = (TestServer::start(&[]), TestServer::start(&[]));
    let mut core = fire_and_forget(&[("a", &a.address), ("b", &b.address)]);
    for prefix in ["x", "y"] {
        let written = write(&mut core, &numbered(prefix, 5000, &["a", "b"]));
        assert_eq!((written.accepted, written.durable), (5000, false));
    }
    assert_eq!(core.commit(), Ok(()));
    assert_eq!((a.items(), b.items()), (5000, 5000));
}

#[test]
fn commit_without_a_batch_connects_to_nobody() {
    assert_eq!(fire_and_forget(&[("a", &unused_address())]).commit(), Ok(()));
}

#[test]
fn rows_on_a_connection_that_broke_are_not_called_stored() {
    let (mut dying, well) = (TestServer::start(&[]), TestServer::start(&[]));
    let mut core = fire_and_forget(&[("dying", &dying.address), ("well", &well.address)]);
    assert_eq!(write(&mut core, &numbered("a", 2000, &["dying", "well"])).accepted, 2000);
    dying.kill();
    let failure = core.commit().expect_err("a server has died");
    assert_eq!(failure.exit, Exit::Unavailable);
    let said =
        format!("memcached server `dying` ({}): 1000 rows sent since the last barrier unconfirmed: ", dying.address);
    assert!(failure.message.starts_with(&said), "{}", failure.message);
    assert!(!failure.message.contains("well"));
    assert_eq!(well.items(), 1000);
}

#[test]
fn rows_sent_before_a_reconnect_stay_in_doubt() {
    let server = TestServer::start(&[]);
    let (proxy, connections) = cutting_proxy(&server.address, 1, 2000);
    let mut core = fire_and_forget(&[("a", &proxy)]);
    // The first write after the cut may still be taken by the socket, the next one finds the connection broken.
    let mut accepted = 0;
    let mut batches = 0;
    while connections.load(Ordering::SeqCst) < 2 {
        accepted += write(&mut core, &numbered(&format!("{batches}:"), 500, &["a"])).accepted;
        batches += 1;
        std::thread::sleep(time::Duration::from_millis(20));
    }
    assert_eq!(accepted, batches * 500);
    let failure = core.commit().expect_err("rows were lost");
    let doubt: u64 =
        failure.message.split(": ").nth(1).and_then(|m| m.split(' ').next()?.parse().ok()).expect("a count");
    assert!(doubt >= 500 && accepted - doubt <= server.items(), "{}, {} items", failure.message, server.items());
}

#[test]
fn a_dead_server_fails_later_batches_and_is_told_of_at_commit() {
    let mut server = TestServer::start(&[]);
    let mut core = fire_and_forget(&[("a", &server.address)]);
    assert_eq!(write(&mut core, &numbered("a", 100, &["a"])).accepted, 100);
    server.kill();
    let failed: u64 = (0..5).map(|i| write(&mut core, &numbered(&format!("{i}:"), 100, &["a"])).failed).sum();
    assert!(failed >= 300, "{failed} failed");
    let failure = core.commit().expect_err("rows were lost");
    let said = format!("{} rows sent since the last barrier unconfirmed", 600 - failed);
    assert!(failure.message.contains(&said), "{}", failure.message);
}

#[test]
fn refusals_come_to_light_at_commit() {
    let server = TestServer::start(&["-I", "512k", "-m", "64"]);
    let mut core = fire_and_forget(&[("a", &server.address)]);
    let large = vec![0; 600_000];
    let rows: [Row<'_>; 3] =
        [(Some("a"), Some(b"1"), Some("a")), (Some("b"), Some(&large), Some("a")), (Some("c"), Some(b"1"), Some("a"))];
    assert_eq!(write(&mut core, &batch(&rows)).accepted, 3);
    let failure = core.commit().expect_err("a value was refused");
    let said = "1 error in answer to unacknowledged rows: SERVER_ERROR object too large for cache";
    assert!(failure.message.ends_with(said), "{}", failure.message);
    assert_eq!(server.items(), 2);
}

#[test]
fn a_flood_of_errors_does_not_block() {
    let server = TestServer::start(&["-m", "2", "-M"]);
    let mut core = fire_and_forget(&[("a", &server.address)]);
    let value = [b'x'; 90];
    let keys: Vec<String> = (0..150_000).map(|i| format!("key-of-some-length-{i}")).collect();
    let rows: Vec<Row<'_>> = keys.iter().map(|key| (Some(&**key), Some(&value[..]), Some("a"))).collect();
    assert_eq!(write(&mut core, &batch(&rows)).accepted, 150_000);
    let failure = core.commit().expect_err("the server is full");
    let refused = format!("{} errors in answer", 150_000 - server.items());
    assert!(failure.message.contains(&refused), "{} items: {}", server.items(), failure.message);
}
