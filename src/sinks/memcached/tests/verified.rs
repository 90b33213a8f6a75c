//! Reading a sample back.

use super::{super::*, rig::*};

struct Run {
    servers: [TestServer; 2],
    shared: Arc<Shared>,
}

impl Run {
    fn new(sample: u32) -> Run {
        let servers = [TestServer::start(&[]), TestServer::start(&[])];
        let spec = spec(&[("a", &servers[0].address), ("b", &servers[1].address)]);
        let shared = Arc::new(shared(&Spec { verify: Some(Verify { sample, min: Share(0.99) }), ..spec }));
        Run { servers, shared }
    }

    /// Writes a batch by a worker of its own.
    fn write(&self, batch: &Batch) {
        let mut core = Core::new(Arc::clone(&self.shared), Mode::Write);
        assert_eq!(write(&mut core, batch).accepted, batch.rows() as u64);
        assert_eq!(core.commit(), Ok(()));
    }

    fn verify(&self) -> Verified {
        verify::verify(&self.shared).expect("the servers answer").expect("the spec asks for it")
    }
}

#[test]
fn all_is_found_where_all_is_there() {
    let run = Run::new(1000);
    for prefix in ["x", "y"] {
        run.write(&numbered(prefix, 2000, &["a", "b"]));
    }
    let Verified { checked, found, low, high, .. } = run.verify();
    assert_eq!((checked, found, high), (1000, 1000, 1.0));
    assert!((low - 0.99617).abs() < 1e-5, "{low}");
}

#[test]
fn fewer_keys_than_the_sample_are_all_looked_for() {
    let run = Run::new(1000);
    run.write(&numbered("k", 10, &["a", "b"]));
    assert_eq!((run.verify().checked, run.verify().found), (10, 10));
}

#[test]
fn nothing_written_is_nothing_known() {
    let run = Run::new(10);
    run.write(&numbered("k", 0, &["a", "b"]));
    assert_eq!(run.verify(), Verified { checked: 0, found: 0, low: 0.0, high: 1.0, required: 0.99 });
}

#[test]
fn what_is_gone_or_changed_is_not_found() {
    let run = Run::new(100);
    run.write(&numbered("k", 100, &["a", "b"]));
    for i in 0..4 {
        assert!(run.servers[i % 2].client().delete(&format!("k{i}")).expect("the server answers"));
    }
    run.servers[0].client().set("k98", "something else", 0).expect("the server answers");
    let Verified { checked, found, low, high, .. } = run.verify();
    assert_eq!((checked, found), (100, 95));
    assert!((low - 0.8882).abs() < 5e-5 && (high - 0.9785).abs() < 5e-5, "{low} to {high}");
}

#[test]
fn a_key_that_was_written_again_is_not_lost() {
    let run = Run::new(100);
    let rows = |value: &'static [u8]| -> Batch { batch(&[(Some("k"), Some(value), Some("a"))]) };
    for value in [&b"1"[..], b"2", b"3"] {
        run.write(&rows(value));
    }
    assert_eq!((run.verify().checked, run.verify().found), (1, 1));
    run.servers[0].client().set("k", "4", 0).expect("the server answers");
    assert_eq!(run.verify().found, 0);
}

#[test]
fn the_same_key_on_two_servers_is_two_keys() {
    let run = Run::new(100);
    run.write(&batch(&[(Some("k"), Some(b"1"), Some("a")), (Some("k"), Some(b"2"), Some("b"))]));
    assert_eq!((run.verify().checked, run.verify().found), (2, 2));
}

#[test]
fn rows_that_failed_are_not_looked_for() {
    let server = TestServer::start(&[]);
    let spec = Spec {
        verify: Some(Verify { sample: 50, min: Share(0.99) }),
        ..spec(&[("gone", &unused_address()), ("a", &server.address)])
    };
    let shared = Arc::new(shared(&spec));
    let mut core = Core::new(Arc::clone(&shared), Mode::Write);
    assert_eq!(write(&mut core, &numbered("k", 20, &["gone", "a"])).failed, 10);
    assert_eq!(core.commit(), Ok(()));
    let verified = verify::verify(&shared).expect("the servers asked answer").expect("the spec asks for it");
    assert_eq!((verified.checked, verified.found), (10, 10));
}

#[test]
fn a_server_that_cannot_be_read_is_a_failure() {
    let mut run = Run::new(10);
    run.write(&numbered("k", 10, &["a"]));
    run.servers[0].kill();
    let shared = Arc::get_mut(&mut run.shared).expect("no worker is left");
    shared.retry = Retry { attempts: Some(2), backoff: millis(1), timeout: millis(200), ..Retry::default() };
    let failure = verify::verify(&run.shared).expect_err("the server is gone");
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.message.starts_with("cannot verify memcached server `a`"), "{}", failure.message);
    assert!(failure.message.contains("after 2 attempts"), "{}", failure.message);
}

#[test]
fn a_server_that_trickles_does_not_hold_up_the_end() {
    use std::io::{Read, Write};
    let mut run = Run::new(10);
    run.write(&numbered("k", 10, &["a"]));
    let target = run.servers[0].address.clone();
    let proxy = listen(move |_, mut client| {
        let mut server = std::net::TcpStream::connect(&target)?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        // The version, which the client asks for first, comes at once.
        let mut byte = [0];
        for sent in 0.. {
            server.read_exact(&mut byte)?;
            client.write_all(&byte)?;
            std::thread::sleep(time::Duration::from_millis(if sent < 60 { 0 } else { 50 }));
        }
        Ok(())
    });
    let shared = Arc::get_mut(&mut run.shared).expect("no worker is left");
    shared.servers[0].address = Address::new(&proxy);
    shared.retry = Retry { attempts: Some(1), backoff: millis(1), timeout: millis(300), ..Retry::default() };
    let failure =
        within(time::Duration::from_secs(5), || verify::verify(&run.shared)).expect_err("the server is too slow");
    assert!(failure.message.ends_with("after 1 attempt: no answer within the timeout"), "{}", failure.message);
}
