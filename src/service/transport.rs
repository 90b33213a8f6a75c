//! What carries the bytes of a connection, with a timeout for each read and write; and what a timeout means.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// What carries the bytes.
pub(super) trait Transport: Read + Write + fmt::Debug + Send {
    /// How long a read may block.
    fn limit_reads(&self, wait: Duration) -> io::Result<()>;

    /// How long a write may block.
    fn limit_writes(&self, wait: Duration) -> io::Result<()>;
}

macro_rules! transport {
    ($($stream:ty),*) => {$(
        impl Transport for $stream {
            fn limit_reads(&self, wait: Duration) -> io::Result<()> {
                self.set_read_timeout(Some(wait))
            }

            fn limit_writes(&self, wait: Duration) -> io::Result<()> {
                self.set_write_timeout(Some(wait))
            }
        }
    )*};
}

transport!(TcpStream, UnixStream);

/// What was done; `None` where a timeout came first.
pub(super) fn unless_late<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Time until `deadline`, at least a millisecond: sockets take no timeout of zero.
pub(super) fn remaining(deadline: Instant) -> io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left.max(Duration::from_millis(1))),
        _ => Err(io::Error::new(ErrorKind::TimedOut, "no answer within the timeout")),
    }
}
