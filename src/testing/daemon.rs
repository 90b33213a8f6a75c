//! Servers of a test's own, and lines to them that break.

use std::{
    io::{self, Read},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A server that dies with its test.
pub(crate) struct Daemon {
    child: Child,
    /// `host:port`
    pub(crate) address: String,
}

impl Daemon {
    /// Starts a server at a free port and waits until it listens there.
    pub(crate) fn start(command: impl Fn(&str) -> Command) -> Daemon {
        // Somebody else may take the port meanwhile.
        (0..5).find_map(|_| Daemon::at(&unused_address(), &command)).expect("the server starts")
    }

    /// Starts a server at this address; `command` is given the port. `None` where it ends, or does not listen soon.
    pub(crate) fn at(address: &str, command: impl Fn(&str) -> Command) -> Option<Daemon> {
        let port = address.rsplit(':').next().unwrap_or_default();
        let mut command = command(port);
        let program = command.get_program().to_owned();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("these tests need `{}`: {error}", program.display()));
        let mut daemon = Daemon { child, address: address.to_owned() };
        for _ in 0..500 {
            if !matches!(daemon.child.try_wait(), Ok(None)) {
                return None;
            }
            if TcpStream::connect(address).is_ok() {
                return Some(daemon);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Kills it, and returns when it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server was running");
        self.child.wait().expect("a killed server ends");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address where nobody listens.
pub(crate) fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string()
}

/// A listener that hands every connection, with its number, to `serve` on a thread of its own.
pub(crate) fn listen(serve: impl Fn(usize, TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address").to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(number, stream?));
        }
    });
    address
}

/// A proxy before `target` whose first `bad` connections are cut after `bytes` bytes of requests. Returns its
/// address and the count of its connections.
pub(crate) fn cutting_proxy(target: &str, bad: usize, bytes: usize) -> (String, Arc<AtomicUsize>) {
    let target = target.to_owned();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let address = listen(move |number, client| {
        seen.fetch_add(1, Ordering::SeqCst);
        let server = TcpStream::connect(&target)?;
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || io::copy(&mut from, &mut to));
        let limit = if number < bad { bytes as u64 } else { u64::MAX };
        io::copy(&mut (&client).take(limit), &mut &server)?;
        server.shutdown(Shutdown::Both)?;
        client.shutdown(Shutdown::Both)
    });
    (address, count)
}
