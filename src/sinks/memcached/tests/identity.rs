//! A server that was restarted or flushed has lost what it held: that is seen at the next connection, at the end of the
//! run, and when the run is resumed.

use super::{super::*, rig::*};
use crate::testing::Folder;

fn attempt(folder: &Folder, stored: bool) -> Attempt {
    Attempt { again: stored, stored, ..Attempt::of("0123456789abcdef", "cache", folder.path("job.run")) }
}

fn shared_at(address: &str) -> Arc<Shared> {
    Arc::new(shared(&spec(&[("a", address)])))
}

#[test]
fn a_server_that_still_holds_everything_has_lost_nothing() {
    let server = TestServer::start(&[]);
    let shared = shared_at(&server.address);
    let mut core = Core::new(Arc::clone(&shared), Mode::Write);
    assert_eq!(shared.check(None), Ok(None), "nobody was met");
    assert_eq!(write(&mut core, &numbered("k", 10, &["a"])).accepted, 10);
    assert_eq!(shared.check(None), Ok(None));
}

#[test]
fn a_restart_is_seen_at_the_end_of_the_run_and_at_the_next_connection() {
    let mut server = TestServer::start(&[]);
    let shared = shared_at(&server.address);
    let mut core = Core::new(Arc::clone(&shared), Mode::Write);
    assert_eq!(write(&mut core, &numbered("k", 10, &["a"])).accepted, 10);
    server.kill();
    let again = server.start_again();
    let said = format!("memcached server `a` ({}) was restarted and has lost what it held", again.address);
    assert_eq!(shared.check(None), Ok(Some(said.clone())));
    // The connection breaks; the new one shows who is there now.
    assert_eq!(write(&mut core, &numbered("n", 10, &["a"])).accepted, 10);
    assert_eq!(shared.check(None), Ok(Some(said)));
}

#[test]
fn a_flush_is_a_loss() {
    let server = TestServer::start(&[]);
    let shared = shared_at(&server.address);
    let mut core = Core::new(Arc::clone(&shared), Mode::Write);
    assert_eq!(write(&mut core, &numbered("k", 10, &["a"])).accepted, 10);
    server.client().flush().expect("the server answers");
    let said = shared.check(None).expect("it answers").expect("a loss");
    assert!(said.ends_with("was flushed and has lost what it held"), "{said}");
}

#[test]
fn what_was_pushed_out_shows_in_a_sample_and_is_lost_to_a_later_attempt() {
    let server = TestServer::start(&["-m", "2"]);
    let folder = Folder::new("memcached-evictions");
    let shared = shared_at(&server.address);
    shared.identities.begin(&attempt(&folder, false)).expect("there is nothing yet");
    let mut core = Core::new(Arc::clone(&shared), Mode::Write);
    assert_eq!(write(&mut core, &numbered("k", 10, &["a"])).accepted, 10);
    assert_eq!((shared.check(None), verify::verify(&shared)), (Ok(None), Ok(None)));
    let value = vec![b'x'; 10_000];
    let keys: Vec<String> = (0..800).map(|i| format!("k{i}")).collect();
    let rows: Vec<Row<'_>> = keys.iter().map(|key| -> Row<'_> { (Some(key), Some(&value), Some("a")) }).collect();
    assert_eq!(write(&mut core, &batch(&rows)).accepted, 800);
    core.commit().expect("all is acknowledged");
    assert_eq!(shared.check(None), Ok(None));
    let verified = verify::verify(&shared).expect("it answers").expect("values were pushed out");
    assert!(verified.checked == 800 && verified.found < 800 && verified.failure().is_some(), "{verified}");
    let second = shared_at(&server.address);
    let said = second.check(Some(&attempt(&folder, true))).expect("it answers").expect("a loss");
    assert!(said.contains("has pushed"), "{said}");
    // What is pushed out while a resumed run goes on may be what the first attempt stored, of which no sample is left.
    second.identities.begin(&attempt(&folder, true)).expect("it can be read");
    let said = second.check(None).expect("it answers").expect("a loss");
    assert!(said.contains("has pushed"), "{said}");
}

#[test]
fn a_later_attempt_knows_the_servers_of_earlier_ones() {
    let folder = Folder::new("memcached-identity");
    let mut server = TestServer::start(&[]);
    let first = shared_at(&server.address);
    first.identities.begin(&attempt(&folder, false)).expect("there is nothing yet");
    let mut core = Core::new(Arc::clone(&first), Mode::Write);
    assert_eq!(write(&mut core, &numbered("k", 10, &["a"])).accepted, 10);
    let second = shared_at(&server.address);
    assert_eq!(second.check(Some(&attempt(&folder, true))), Ok(None));
    server.kill();
    let again = server.start_again();
    let said = second.check(Some(&attempt(&folder, true))).expect("it answers").expect("a loss");
    assert!(said.contains(&again.address) && said.contains("was restarted"), "{said}");
    // Once nothing counts as stored any more, the new process is the one to compare with.
    second.identities.begin(&attempt(&folder, false)).expect("it can be removed");
    let mut core = Core::new(Arc::clone(&second), Mode::Write);
    assert_eq!(write(&mut core, &numbered("k", 10, &["a"])).accepted, 10);
    assert_eq!(second.check(None), Ok(None));
}
