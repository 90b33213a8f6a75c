//! One line that speaks memcached's meta protocol: bytes out, reply lines in. It knows nothing of records: what is sent
//! was encoded before, and replies are told apart only by the barrier (`MN`) they came before.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read},
    time::Instant,
};

use super::{
    access::{Login, Ready},
    identity::Identity,
};
use crate::service::{Address, Line};

/// The command whose reply says that everything before it has been answered.
pub(super) const BARRIER: &[u8] = b"mn\r\n";

/// The first command of a connection, another barrier. Newer servers that ask for a password hang up on one that is shorter
/// than anything that could say it.
pub(super) const GREETING: &[u8] = b"mn    \r\n";

/// The answer of a server that asks for a password.
const UNAUTHENTICATED: &str = "CLIENT_ERROR unauthenticated";

/// Asks for the server's statistics.
const STATISTICS: &[u8] = b"stats\r\nmn\r\n";

/// No reply of memcached's is longer than this.
const LONGEST_LINE: usize = 4096;

/// An error line that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorReply {
    /// How many barriers were answered before it.
    pub(super) barrier: usize,
    /// What it says, as `SERVER_ERROR object too large for cache`.
    pub(super) line: String,
}

/// What the server has answered.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Barriers answered.
    pub(super) barriers: usize,
    /// The first error line before each barrier; one bad command may cause several.
    pub(super) errors: Vec<ErrorReply>,
    /// Error lines in all.
    pub(super) error_lines: u64,
    /// Statistics, where they were asked for; at no other time does the server send any.
    pub(super) statistics: Option<Vec<String>>,
}

impl Replies {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.barriers = 0;
        self.errors.clear();
        self.error_lines = 0;
    }

    /// Takes in one line, without its end.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match line.split(|&byte| byte == b' ').next() {
            Some(b"MN") if line.len() == 2 => self.barriers += 1,
            Some(b"STAT" | b"END") if self.statistics.is_some() => {
                let line = String::from_utf8_lossy(line).into_owned();
                self.statistics.get_or_insert_default().push(line);
            }
            Some(b"SERVER_ERROR" | b"CLIENT_ERROR" | b"ERROR" | b"NS" | b"EX" | b"NF") => {
                self.error_lines += 1;
                if self.errors.last().is_none_or(|last| last.barrier != self.barriers) {
                    let line = String::from_utf8_lossy(line).into_owned();
                    self.errors.push(ErrorReply { barrier: self.barriers, line });
                }
            }
            _ => return Err(unexpected(line)),
        }
        Ok(())
    }
}

/// An open stream. After an error it is of no more use: which replies are still to come is unknown.
#[derive(Debug)]
pub(super) struct MetaStream {
    line: Line,
    /// Bytes read; the first `filled` are an unfinished line.
    input: Box<[u8]>,
    filled: usize,
    /// What the server said of itself.
    identity: Identity,
}

impl MetaStream {
    /// Connects to a server, says who we are if it asks, and makes sure that it knows the meta protocol: another one would
    /// take the values for commands.
    pub(super) fn open(address: &Address, ready: &Ready, deadline: Instant) -> io::Result<MetaStream> {
        fail::fail_point!("memcached-connect", |_| Err(ErrorKind::ConnectionRefused.into()));
        MetaStream::open_to_read_back(address, ready, deadline)
    }

    /// The same when everything is stored. Tests let the other one fail: then there is a run to resume.
    pub(super) fn open_to_read_back(address: &Address, ready: &Ready, deadline: Instant) -> io::Result<MetaStream> {
        let line = Line::open(address, ready.tls.as_ref(), deadline)?;
        let input = vec![0; 4 * LONGEST_LINE].into();
        let mut opened = MetaStream { line, input, filled: 0, identity: Identity::default() };
        let mut answer = opened.greet()?;
        if answer.as_deref() == Some(UNAUTHENTICATED) {
            opened.log_in(ready.login.as_ref())?;
            answer = opened.greet()?;
        }
        match answer {
            None => opened.ask_identity(),
            Some(error) => Err(io::Error::other(format!("the server answers `{error}`"))),
        }
    }

    /// Greets the server; gives back the error that it answers.
    fn greet(&mut self) -> io::Result<Option<String>> {
        let mut replies = Replies::default();
        self.send(GREETING, &mut replies)?;
        while replies.barriers == 0 && replies.errors.is_empty() {
            self.read_some(&mut replies)?;
        }
        let error = replies.errors.pop().map(|error| error.line);
        // Behind an error may come another answer, which nobody waits for as the connection is of no use any more.
        if error.is_none() {
            self.receive(1, &mut replies)?;
        }
        Ok(error)
    }

    /// Says who we are, to a server that has asked. Nothing of its answer is shown: it may repeat the password.
    fn log_in(&mut self, login: Option<&Login>) -> io::Result<()> {
        let denied = |message: String| io::Error::new(ErrorKind::PermissionDenied, message);
        let Some(login) = login else {
            return Err(denied("the server asks for a user and a password: give `username` and `password`".to_owned()));
        };
        self.send(&login.command(), &mut Replies::default())?;
        match self.read_line()?.as_str() {
            "STORED" => Ok(()),
            _ => Err(denied(format!("the server refuses the {login} or the password"))),
        }
    }

    /// Asks the server who it is.
    fn ask_identity(mut self) -> io::Result<MetaStream> {
        let mut replies = Replies { statistics: Some(Vec::new()), ..Replies::default() };
        self.send(STATISTICS, &mut replies)?;
        self.receive(1, &mut replies)?;
        let lines = replies.statistics.unwrap_or_default();
        self.identity = Identity::read(lines.iter().map(String::as_str));
        Ok(self)
    }

    /// What the server said of itself when the stream was opened.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Sets the deadline of the next attempt.
    pub(super) fn until(&mut self, deadline: Instant) {
        self.line.until(deadline);
    }

    /// Sends all of `bytes`. Replies that hold the server up meanwhile are taken into `replies`.
    pub(super) fn send(&mut self, mut bytes: &[u8], replies: &mut Replies) -> io::Result<()> {
        while !self.line.send_some(&mut bytes)? {
            loop {
                match self.line.glance(&mut self.input[self.filled..])? {
                    0 => break,
                    read => self.take(read, replies)?,
                }
            }
        }
        Ok(())
    }

    /// What the server holds for these keys, in any order; keys that it has nothing for are left out.
    pub(super) fn get(&mut self, keys: &[&str]) -> io::Result<HashMap<String, Vec<u8>>> {
        let command = format!("get {}\r\n", keys.join(" "));
        let mut values = HashMap::new();
        self.send(command.as_bytes(), &mut Replies::default())?;
        loop {
            let line = self.read_line()?;
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["END"] => return Ok(values),
                ["VALUE", key, _, bytes] => {
                    let bytes = bytes.parse().map_err(|_| unexpected(line.as_bytes()))?;
                    values.insert(key.to_owned(), self.read_value(bytes)?);
                }
                _ => return Err(unexpected(line.as_bytes())),
            }
        }
    }

    /// Reads a line, without its end.
    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input[..self.filled]) {
                let line = &self.input[..end];
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.drop_first(end + 1);
                return Ok(line);
            }
            if self.filled > LONGEST_LINE {
                return Err(unexpected(&self.input[..self.filled]));
            }
            self.filled += self.line.read(&mut self.input[self.filled..])?;
        }
    }

    /// Reads a value of so many bytes, and the line end behind it.
    fn read_value(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let end = bytes.saturating_add(2);
        let mut value = Vec::new();
        loop {
            let more = self.filled.min(end - value.len());
            value.extend_from_slice(&self.input[..more]);
            self.drop_first(more);
            if value.len() == end {
                break;
            }
            self.filled = self.line.read(&mut self.input)?;
        }
        value.truncate(bytes);
        Ok(value)
    }

    /// Forgets the first bytes that were read.
    fn drop_first(&mut self, bytes: usize) {
        self.input.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Reads until `barriers` have been answered in all, and not a byte more is there.
    pub(super) fn receive(&mut self, barriers: usize, replies: &mut Replies) -> io::Result<()> {
        while replies.barriers < barriers {
            self.read_some(replies)?;
        }
        match replies.barriers > barriers || self.filled > 0 {
            true => Err(io::Error::new(ErrorKind::InvalidData, "the server answers more than it was asked")),
            false => Ok(()),
        }
    }

    /// Reads what comes next.
    fn read_some(&mut self, replies: &mut Replies) -> io::Result<()> {
        let read = self.line.read(&mut self.input[self.filled..])?;
        self.take(read, replies)
    }

    /// Takes in the lines that are whole, once `read` more bytes are there.
    fn take(&mut self, read: usize, replies: &mut Replies) -> io::Result<()> {
        self.filled += read;
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &self.input[start..self.filled]) {
            let line = &self.input[start..start + length];
            replies.line(line.strip_suffix(b"\r").unwrap_or(line))?;
            start += length + 1;
        }
        self.drop_first(start);
        if self.filled > LONGEST_LINE {
            return Err(unexpected(&self.input[..self.filled]));
        }
        Ok(())
    }
}

fn unexpected(line: &[u8]) -> io::Error {
    let shown = line[..line.len().min(40)].escape_ascii();
    let more = if line.len() > 40 { "…" } else { "" };
    io::Error::new(ErrorKind::InvalidData, format!("unexpected reply `{shown}{more}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let mut replies = Replies::default();
        for line in [&b"MN"[..], b"SERVER_ERROR a", b"ERROR", b"MN", b"NS", b"MN"] {
            replies.line(line).expect("a legal reply");
        }
        let errors = [(1, "SERVER_ERROR a"), (2, "NS")];
        assert_eq!(replies.errors, errors.map(|(barrier, line)| ErrorReply { barrier, line: line.to_owned() }));
        assert_eq!((replies.barriers, replies.error_lines), (3, 3));
    }

    #[test]
    fn anything_else_is_unexpected() {
        for line in [&b"HD"[..], b"", b"MN O1", b"HTTP/1.1 400 Bad Request", b"\xff\0", b"SERVER_ERRORS"] {
            let error = Replies::default().line(line).expect_err("not a legal reply");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }
}
