//! Where a server listens, as specs name it: `host:port`, or the socket file of a server on this machine.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};

use super::transport::remaining;

/// What stands before the path of a socket file.
const UNIX: &str = "unix:";

/// The system takes no longer path of a socket file.
const LONGEST_SOCKET_PATH: usize = 107;

/// How soon a server whose queue of new connections is full is asked again.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// The port of `host:port`, with an IPv6 address in brackets.
///
/// # Errors
/// The text is not such an address; says what is expected.
pub(crate) fn port(text: &str) -> Result<u16, &'static str> {
    parts(text).map(|(_, port)| port).ok_or("expected `host:port`, an IPv6 address in brackets")
}

/// Host and port of `host:port`; the host without brackets.
fn parts(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let number = port.parse().ok().filter(|_| port.bytes().all(|digit| digit.is_ascii_digit()))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => Some(host).filter(|host| host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)))?,
    };
    (!host.is_empty() && number > 0).then_some((host, number))
}

/// The address of a server.
#[derive(Debug)]
pub(crate) struct Address {
    text: String,
    /// Which of the addresses of its name answered last. It is tried first, so that all connections of a run lead to one
    /// server where a name has several.
    answered: Mutex<Option<SocketAddr>>,
}

/// A connection that was made.
#[derive(Debug)]
pub(super) enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Address {
    /// What is wrong with the text of an address.
    ///
    /// # Errors
    /// It is neither `host:port` nor `unix:PATH`; says what is expected.
    pub(crate) fn check(text: &str) -> Result<(), &'static str> {
        match text.strip_prefix(UNIX) {
            Some(path) if path.len() > LONGEST_SOCKET_PATH => Err("the path of a socket file has at most 107 bytes"),
            Some(path) if path.is_empty() || path.contains('\0') => {
                Err("expected the path of a socket file after `unix:`")
            }
            Some(_) => Ok(()),
            None => parts(text)
                .map(drop)
                .ok_or("expected `host:port`, an IPv6 address in brackets, or `unix:` and the path of a socket file"),
        }
    }

    /// The address that this text, which was checked, stands for.
    pub(crate) fn new(text: &str) -> Address {
        Address { text: text.to_owned(), answered: Mutex::new(None) }
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The host, without brackets, and the port; `None` for a socket file.
    pub(crate) fn host_and_port(&self) -> Option<(&str, u16)> {
        parts(&self.text)
    }

    /// The path of a socket file.
    pub(crate) fn file(&self) -> Option<&str> {
        self.text.strip_prefix(UNIX)
    }

    /// Connects. Of several addresses of a name each is tried in turn, in a fair share of the time that is left; resolving
    /// the name is the system's own and heeds no deadline.
    ///
    /// # Errors
    /// Nobody can be reached there in time; names every address that was tried where there are several.
    pub(super) fn connect(&self, deadline: Instant) -> io::Result<Connected> {
        if let Some(path) = self.file() {
            return connect_file(Path::new(path), deadline).map(Connected::Unix);
        }
        let found: Vec<SocketAddr> = self.text.to_socket_addrs()?.collect();
        self.connect_any(found, deadline).map(Connected::Tcp)
    }

    /// Connects to one of these.
    fn connect_any(&self, mut addresses: Vec<SocketAddr>, deadline: Instant) -> io::Result<TcpStream> {
        let answered = || self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let last = *answered();
        addresses.sort_by_key(|address| Some(*address) != last);
        let mut failed = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            let share = (addresses.len() - at) as u32;
            let connected = remaining(deadline)
                .and_then(|left| TcpStream::connect_timeout(address, (left / share).max(Duration::from_millis(1))));
            match connected {
                Ok(stream) => {
                    *answered() = Some(*address);
                    return stream.set_nodelay(true).map(|()| stream);
                }
                Err(error) => failed.push((address, error)),
            }
        }
        Err(none_of(failed))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One error of those that each address led to.
fn none_of(mut failed: Vec<(&SocketAddr, io::Error)>) -> io::Error {
    if failed.len() < 2 {
        let none = || io::Error::new(ErrorKind::NotFound, "the host name has no address");
        return failed.pop().map_or_else(none, |(_, error)| error);
    }
    let kind = failed.last().map_or(ErrorKind::Other, |(_, error)| error.kind());
    let each: Vec<String> = failed.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    io::Error::new(kind, format!("none of its {} addresses answers: {}", each.len(), each.join("; ")))
}

/// Connects to a socket file. The system lets whoever meets a full queue of new connections wait without a limit, or
/// refuses at once: so it is asked not to wait, and is asked again.
fn connect_file(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    loop {
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        match connect(&socket, &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                return stream.set_nonblocking(false).map(|()| stream);
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                thread::sleep(QUEUE_PAUSE.min(remaining(deadline)?));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn addresses_are_checked() {
        let good = [("localhost:4410", 4410), ("10.0.0.7:4411", 4411), ("[::1]:4410", 4410), ("a-b.c_d:1", 1)];
        for (text, expected) in good {
            assert_eq!((port(text), Address::check(text)), (Ok(expected), Ok(())), "{text}");
        }
        let bad = ["", "localhost", "localhost:", "localhost:0", "localhost:99999", "h:+1", ":4410", "::1:4410"];
        for text in
            bad.into_iter().chain(["[::1:4410", "[localhost]:4410", "http://h:1", "h:4410/x", "a b:1", "a:1;b:1", "/x"])
        {
            assert!(port(text).is_err() && Address::check(text).is_err(), "{text}");
        }
        for good in ["unix:/run/m.sock", "unix:run/m.sock", &format!("unix:{}", "x".repeat(107))] {
            assert_eq!(Address::check(good), Ok(()), "{good}");
        }
        for bad in ["unix:", "unix:a\0b", &format!("unix:{}", "x".repeat(108)), "unix"] {
            assert!(Address::check(bad).is_err(), "{bad}");
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(600)
    }

    fn local() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address where nobody listens.
    fn gone() -> SocketAddr {
        local().1
    }

    #[test]
    fn each_address_of_a_name_is_tried_and_the_one_that_answered_comes_first_from_then_on() {
        let (_listener, well) = local();
        let (gone, again) = (gone(), gone());
        let address = Address::new("name:1");
        let made = address.connect_any(vec![gone, well, again], soon()).unwrap();
        assert_eq!(made.peer_addr().unwrap(), well);
        let (_second, other) = local();
        let made = address.connect_any(vec![other, again, well], soon()).unwrap();
        assert_eq!(made.peer_addr().unwrap(), well);
        let made = address.connect_any(vec![again, other], soon()).unwrap();
        assert_eq!(made.peer_addr().unwrap(), other);
    }

    #[test]
    fn an_address_that_is_silent_leaves_time_for_the_next() {
        // Nobody answers there: the addresses are for documentation.
        let silent = SocketAddr::from(([192, 0, 2, 1], 11211));
        let (_listener, well) = local();
        let started = Instant::now();
        let made = Address::new("name:1").connect_any(vec![silent, well], soon()).unwrap();
        assert_eq!(made.peer_addr().unwrap(), well);
        assert!(started.elapsed() < Duration::from_millis(550), "{:?}", started.elapsed());
    }

    #[test]
    fn an_error_names_all_addresses_where_there_are_several() {
        let address = Address::new("name:1");
        let (one, other) = (gone(), gone());
        let refused = "Connection refused (os error 111)";
        let error = address.connect_any(vec![one], soon()).unwrap_err();
        assert_eq!(error.to_string(), refused);
        let error = address.connect_any(vec![one, other], soon()).unwrap_err();
        let said = format!("none of its 2 addresses answers: {one}: {refused}; {other}: {refused}");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::ConnectionRefused, said));
        let error = address.connect_any(vec![], soon()).unwrap_err();
        assert_eq!(error.to_string(), "the host name has no address");
    }

    #[test]
    fn a_socket_file_whose_server_takes_no_more_connections_meets_the_deadline() {
        let folder = Folder::new("address-unix");
        let path = folder.path("full.sock");
        let address = Address::new(&format!("unix:{}", path.display()));
        let none = address.connect(soon()).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // Its queue holds next to nothing from now on, and it never takes a connection from there.
        rustix::net::listen(&listener, 0).unwrap();
        let mut held = Vec::new();
        let error = loop {
            match address.connect(soon()) {
                Ok(connected) if held.len() < 100 => held.push(connected),
                Ok(_) => panic!("the queue is never full"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "no answer within the timeout");
        assert!(!held.is_empty());
    }
}
