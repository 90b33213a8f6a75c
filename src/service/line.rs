//! A connection with one deadline for all that is read and written: a timeout for each read is not enough where a server
//! trickles a byte a second.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use super::{
    address::{Address, Connected},
    tls::{Tls, TlsStream},
    transport::{Transport, remaining, unless_late},
};

/// A write that makes no progress for this long may be held up by answers that nobody reads.
const STALL: Duration = Duration::from_millis(20);

/// How long to wait for answers that may not be there.
const GLANCE: Duration = Duration::from_millis(1);

/// An open connection. Reads and writes block until something was done, or fail at the deadline; the end of the
/// connection is an error. After an error it is of no more use: which answers are still to come is unknown.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Box<dyn Transport>,
    deadline: Instant,
}

impl Line {
    /// Connects to a server; to one behind a port with TLS, where that is given.
    ///
    /// # Errors
    /// Nobody can be reached there in time, or one side does not trust the other.
    pub(crate) fn open(address: &Address, tls: Option<&Tls>, deadline: Instant) -> io::Result<Line> {
        let stream: Box<dyn Transport> = match (address.connect(deadline)?, tls) {
            (Connected::Tcp(stream), None) => Box::new(stream),
            (Connected::Tcp(stream), Some(tls)) => {
                let host = address.host_and_port().map_or("", |(host, _)| host);
                Box::new(TlsStream::greet(stream, tls, host, deadline)?)
            }
            (Connected::Unix(stream), _) => Box::new(stream),
        };
        Ok(Line { stream, deadline })
    }

    /// Sets another deadline: that of the next attempt.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Sends `bytes`, which then holds the rest. False where the server has taken nothing for a while: if it waits for
    /// its answers to be read, [`Line::glance`] lets it go on.
    ///
    /// # Errors
    /// The connection is broken, or the deadline is over.
    pub(crate) fn send_some(&mut self, bytes: &mut &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            match self.write_within(STALL, bytes)? {
                Some(sent) => *bytes = &bytes[sent..],
                None => return Ok(false),
            }
        }
        self.flush_within(STALL)
    }

    /// Reads what is there now: nothing, perhaps.
    ///
    /// # Errors
    /// The connection is broken, or the deadline is over.
    pub(crate) fn glance(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_within(GLANCE, bytes).map(Option::unwrap_or_default)
    }

    /// Reads once; `None` where nothing came within `wait`.
    fn read_within(&mut self, wait: Duration, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        self.stream.limit_reads(remaining(self.deadline)?.min(wait))?;
        match self.stream.read(bytes) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            done => unless_late(done),
        }
    }

    /// Sends what the transport still holds of earlier writes; false where that is not possible within `wait`.
    fn flush_within(&mut self, wait: Duration) -> io::Result<bool> {
        self.stream.limit_writes(remaining(self.deadline)?.min(wait))?;
        unless_late(self.stream.flush()).map(|done| done.is_some())
    }

    /// Writes once; `None` where nothing could be written within `wait`.
    fn write_within(&mut self, wait: Duration, bytes: &[u8]) -> io::Result<Option<usize>> {
        self.stream.limit_writes(remaining(self.deadline)?.min(wait))?;
        match self.stream.write(bytes) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            done => unless_late(done),
        }
    }
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(read) = self.read_within(Duration::MAX, bytes)? {
                return Ok(read);
            }
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(sent) = self.write_within(Duration::MAX, bytes)? {
                return Ok(sent);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.flush_within(Duration::MAX)? {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{listen, unused_address};

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    fn open(address: &str, deadline: Instant) -> io::Result<Line> {
        Line::open(&Address::new(address), None, deadline)
    }

    #[test]
    fn one_deadline_holds_for_a_server_that_trickles() {
        let address = listen(|_, mut stream| {
            loop {
                stream.write_all(b"x")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let started = Instant::now();
        let mut line = open(&address, soon()).expect("somebody listens");
        let error = line.read_exact(&mut [0; 1000]).expect_err("it takes too long");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::TimedOut, "no answer within the timeout"));
        assert!(started.elapsed() < Duration::from_secs(5));
        line.until(soon());
        line.read_exact(&mut [0; 2]).expect("there is time again");
    }

    #[test]
    fn a_write_that_stalls_says_so_and_goes_on_once_answers_are_read() {
        // It writes more than sockets hold before it reads anything.
        let address = listen(|_, mut stream| {
            stream.write_all(&vec![b'a'; 16 << 20])?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        });
        let mut line = open(&address, Instant::now() + Duration::from_secs(30)).expect("somebody listens");
        let (sent, mut buffer, mut read) = (vec![b'q'; 16 << 20], vec![0; 1 << 16], 0);
        let mut rest = &sent[..];
        while !line.send_some(&mut rest).expect("it is there") {
            loop {
                match line.glance(&mut buffer).expect("it is there") {
                    0 => break,
                    more => read += more,
                }
            }
        }
        assert!(rest.is_empty() && read > 0, "{} left, {read} read", rest.len());
    }

    #[test]
    fn a_server_that_takes_nothing_meets_the_deadline_and_an_end_is_an_error() {
        let deaf = listen(|_, stream| {
            std::thread::sleep(Duration::from_secs(60));
            drop(stream);
            Ok(())
        });
        let mut line = open(&deaf, soon()).expect("somebody listens");
        let error = line.write_all(&vec![0; 64 << 20]).expect_err("nobody reads");
        assert_eq!(error.to_string(), "no answer within the timeout");
        let mut line = open(&listen(|_, _| Ok(())), soon()).expect("somebody listens");
        let error = line.read(&mut [0; 8]).expect_err("it hangs up");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(open(&unused_address(), soon()).is_err());
    }
}
