//! memcached servers for one test alone, and what stands between the program and a server to make trouble.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::work::{Work, is_root, until};

/// The device types of `jobs/memc.toml`, and the variable that names the server of each.
pub const DEVICES: [(&str, &str); 4] =
    [("idfa", "MEMC_IDFA"), ("gaid", "MEMC_GAID"), ("adid", "MEMC_ADID"), ("dvid", "MEMC_DVID")];

const ADVICE: &str = "run scripts/with-services cargo test";

/// The value of a variable that `scripts/with-services` sets.
pub fn service(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: {ADVICE}"))
}

/// What the server at an address holds for a key.
pub fn get(address: &str, key: &str) -> Option<Vec<u8>> {
    memcache::connect(format!("memcache://{address}?protocol=ascii&timeout=10")).unwrap().get(key).unwrap()
}

/// The program of a server of a test's own; it ends with the test.
pub struct Server(Child);

impl Server {
    /// `program` as another user than root, and ended with the tests should they be killed. Where the system cannot do
    /// that, it is given `as_root` if it would else run as root.
    pub fn command(program: &str, as_root: &[&str]) -> Command {
        let setpriv = Command::new("setpriv").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if setpriv.is_err() {
            let mut command = Command::new(program);
            command.args(as_root.iter().filter(|_| is_root()));
            return command;
        }
        let mut command = Command::new("setpriv");
        if is_root() {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        command.args(["--pdeathsig", "TERM", program]);
        command
    }

    /// Starts a command of [`Server::command`].
    pub fn start(mut command: Command) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Server(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start, {error}: {ADVICE}")))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One memcached server; it ends with the test.
pub struct Memcached {
    server: Server,
    pub address: String,
}

impl Memcached {
    pub fn start(args: &[&str]) -> Memcached {
        Memcached::start_at("-1", args)
    }

    /// It is killed, and another one is there in its place, with nothing in it.
    pub fn restart(&mut self) {
        self.kill();
        let port = self.address.rsplit(':').next().unwrap().to_owned();
        *self = Memcached::start_at(&port, &[]);
    }

    fn start_at(port: &str, args: &[&str]) -> Memcached {
        let work = Work::new();
        fs::set_permissions(work.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        let ports = work.path("ports");
        let mut command = Server::command("memcached", &["-u", "nobody"]);
        command.args(["-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "1"]).args(args);
        command.env("MEMCACHED_PORT_FILENAME", &ports);
        let server = Server::start(command);
        let mut port = None;
        until("memcached says its port", || {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            port = text.lines().find_map(|line| line.strip_prefix("TCP INET: ")).map(str::to_owned);
            port.is_some()
        });
        let address = format!("127.0.0.1:{}", port.unwrap());
        until("memcached answers", || TcpStream::connect(&address).is_ok());
        Memcached { server, address }
    }

    /// One that listens where these arguments say, which is `host:port` or `unix:PATH`.
    pub fn listening(address: &str, args: &[&str]) -> Memcached {
        let mut command = Server::command("memcached", &["-u", "nobody"]);
        command.args(["-U", "0", "-t", "1"]).args(args);
        let server = Server::start(command);
        until("memcached answers", || match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).is_ok(),
            None => TcpStream::connect(address).is_ok(),
        });
        Memcached { server, address: address.to_owned() }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        get(&self.address, key)
    }

    /// The values of keys, by one connection.
    pub fn get_all(&self, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        let mut stream = BufReader::new(TcpStream::connect(&self.address).unwrap());
        let mut line = String::new();
        let mut get = |key: &String| {
            stream.get_mut().write_all(format!("get {key}\r\n").as_bytes()).unwrap();
            line.clear();
            stream.read_line(&mut line).unwrap();
            let size = line.trim_end().strip_prefix("VALUE ")?.rsplit(' ').next().unwrap().parse().unwrap();
            let mut value = vec![0; size];
            stream.read_exact(&mut value).unwrap();
            for _ in 0..2 {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            assert_eq!(line, "END\r\n");
            Some(value)
        };
        keys.iter().map(&mut get).collect()
    }

    /// Forgets all that it holds.
    pub fn flush(&self) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"flush_all\r\nquit\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "OK\r\n");
    }

    /// How many items it holds.
    pub fn items(&self) -> usize {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"stats\r\nquit\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix("STAT curr_items "));
        found.unwrap_or_else(|| panic!("no count in {text}")).trim().parse().unwrap()
    }
}

/// A server per device type, in the order of [`DEVICES`].
pub struct Servers(pub [Memcached; 4]);

impl Servers {
    pub fn start() -> Servers {
        Servers([(); 4].map(|()| Memcached::start(&["-m", "64"])))
    }

    /// Points a folder's runs at these servers.
    pub fn in_env(&self, work: Work) -> Work {
        DEVICES.iter().zip(&self.0).fold(work, |work, ((_, variable), server)| work.env(variable, &server.address))
    }

    pub fn of(&self, device: &str) -> &Memcached {
        &self.0[DEVICES.iter().position(|(name, _)| *name == device).unwrap()]
    }

    /// How many items each holds.
    pub fn items(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|i| self.0[i].items())
    }
}

/// A certificate for 127.0.0.1 that vouches for itself, and its key.
pub fn certificate(work: &Work) -> [String; 2] {
    let [certificate, key] = ["server.pem", "key.pem"].map(|name| work.path(name).to_str().unwrap().to_owned());
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args([
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-out",
        &certificate,
        "-keyout",
        &key,
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    [certificate, key]
}

/// An address where nobody listens.
pub fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Takes connections and never answers. It lives as long as the value.
pub fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Ends every connection as soon as it is made.
pub fn hangs_up() -> String {
    let (listener, address) = silent();
    thread::spawn(move || listener.incoming().for_each(drop));
    address
}

/// Stands before a server and passes nothing on until it is told to.
pub struct Hold {
    pub address: String,
    open: Arc<(Mutex<bool>, Condvar)>,
    bytes: Arc<AtomicUsize>,
}

impl Hold {
    pub fn before(server: &Memcached) -> Hold {
        let (listener, address) = silent();
        let hold = Hold { address, open: Arc::default(), bytes: Arc::default() };
        let (open, bytes, behind) = (Arc::clone(&hold.open), Arc::clone(&hold.bytes), server.address.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (open, bytes, behind) = (Arc::clone(&open), Arc::clone(&bytes), behind.clone());
                thread::spawn(move || forward(client, &behind, &open, &bytes));
            }
        });
        hold
    }

    /// Waits until something has been sent to the server.
    pub fn wait(&self) {
        until("something is sent to the server", || self.bytes.load(Ordering::SeqCst) > 0);
    }

    /// Passes on what was held, and all that follows.
    pub fn release(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }
}

/// Lets the two greet each other, takes the first bytes, waits, then passes on both ways until either end is
/// closed.
fn forward(mut client: TcpStream, behind: &str, open: &(Mutex<bool>, Condvar), bytes: &AtomicUsize) -> Option<()> {
    let mut server = TcpStream::connect(behind).ok()?;
    let mut first = vec![0; 1 << 16];
    let mut len = client.read(&mut first).ok()?;
    // A greeting asks who the server is, and ends with what answers `MN`.
    while matches!(&first[..len], b"mn    \r\n" | b"stats\r\n" | b"stats\r\nmn\r\n") {
        let end: &[u8] =
            if first[..len].starts_with(b"mn") || first[..len].ends_with(b"mn\r\n") { b"MN\r\n" } else { b"END\r\n" };
        server.write_all(&first[..len]).ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(end) {
            let read = server.read(&mut first).ok().filter(|read| *read > 0)?;
            answer.extend_from_slice(&first[..read]);
        }
        client.write_all(&answer).ok()?;
        len = client.read(&mut first).ok()?;
    }
    bytes.fetch_add(len, Ordering::SeqCst);
    drop(open.1.wait_while(open.0.lock().ok()?, |open| !*open).ok()?);
    server.write_all(&first[..len]).ok()?;
    let (mut back, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Both);
    Some(())
}
