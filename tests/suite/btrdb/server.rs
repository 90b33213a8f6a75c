//! A server of its own for one test, with faults that it is ordered to have.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    servers::service,
    work::{Work, project, until},
};

/// The key that the server wants.
pub const KEY: &str = "mango";

pub struct Server {
    child: Child,
    files: Work,
    pub address: String,
}

impl Server {
    /// A server with these arguments.
    pub fn start(args: &[&str]) -> Server {
        let files = Work::new();
        let child = spawn(&files, args);
        let mut server = Server { child, files, address: String::new() };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let ports = self.files.path("port");
        until("the server says its port", || ports.exists());
        self.address = self.files.read("port").trim().to_owned();
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same port, with these arguments.
    pub fn restart(&mut self, args: &[&str]) {
        self.kill();
        fs::remove_file(self.files.path("port")).unwrap();
        let port = self.address.rsplit(':').next().unwrap().to_owned();
        let args: Vec<&str> = ["--port", &port].into_iter().chain(args.iter().copied()).collect();
        self.child = spawn(&self.files, &args);
        self.wait();
    }

    /// Waits until a call says nothing more.
    pub fn wait_for_hang(&self) {
        let hangs = self.files.path("port.hangs");
        until("a call hangs", || hangs.exists());
    }

    /// A folder whose runs see this server.
    pub fn work(&self) -> Work {
        at(&self.address)
    }
}

/// A folder whose runs see the server at an address.
pub fn at(address: &str) -> Work {
    Work::new().env("BTRDB_ENDPOINTS", address).env("BTRDB_API_KEY", KEY)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(files: &Work, args: &[&str]) -> Child {
    let mut command = Command::new(service("RUNNER_TEST_PYTHON"));
    command.arg(project("tests/servers/btrdb_server.py")).args(["--key", KEY, "--port-file"]).arg(files.path("port"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Stands before a server, passes everything on, and counts connections.
pub fn counting(server: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let (counted, server) = (Arc::clone(&count), server.to_owned());
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let Ok(mut behind) = TcpStream::connect(&server) else { continue };
            let (mut back, mut to) = (behind.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut client, &mut behind);
                let _ = behind.shutdown(Shutdown::Both);
            });
        }
    });
    (address, count)
}

/// Answers whatever is said to it with these bytes, and hangs up.
pub fn saying(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(bytes);
        }
    });
    address
}
