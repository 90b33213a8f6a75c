//! One worker's way to one server: the part of a batch that goes there, encoded in one reused buffer, and
//! one attempt to deliver it.
//!
//! A part is sent as quiet sets and one barrier, so that all is well when nothing but the barrier comes
//! back. An error reply to a quiet set does not say which record it means. Then the same part is sent once
//! more with a barrier after every record, and every error stands before the barrier of its record.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Ack,
    connection::{BARRIER, Connection, ErrorReply, Replies},
};

/// The way to one server.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The rows of the batch that go here, ascending.
    pub(super) rows: Vec<u32>,
    /// What the server has answered to the part.
    pub(super) replies: Replies,
    /// What stands in the way: `None` while a part is not tried, and once it is answered.
    pub(super) trouble: Option<Trouble>,
    /// Is the part still to be delivered?
    pub(super) open: bool,
    /// Attempts made for the part.
    pub(super) attempts: u32,
    /// What was sent without a barrier and can no longer be confirmed.
    pub(super) lost: Lost,
    connection: Option<Connection>,
    /// The quiet sets of the part, and the barrier once it is sent.
    part: Vec<u8>,
    /// Where each record ends in `part`.
    ends: Vec<usize>,
    /// The part with a barrier after every record, where it had to be made.
    spaced: Vec<u8>,
    each: bool,
    /// What is left of the time for this attempt; runs only while this lane is being waited for.
    left: Duration,
    /// Rows sent on this connection since the last barrier.
    unconfirmed: u64,
}

/// Why a part is not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection could not be made, broke, or fell silent.
    Broken(String),
    /// The server answers that it cannot store some of it now.
    Refused(String),
}

/// What happened to rows that nobody waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Rows on connections that broke.
    pub(super) rows: u64,
    /// Error lines the server sent.
    pub(super) error_lines: u64,
    /// The first trouble.
    pub(super) why: Option<String>,
}

impl Lost {
    fn note(&mut self, why: &str) {
        self.why.get_or_insert_with(|| why.to_owned());
    }
}

/// What an error line says of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server can never store it; the code of the reject.
    Reject(&'static str),
    /// The server may store it later.
    Later,
    /// The server has not stored it, and asking again will not help.
    Failed,
}

/// Reads an error line.
pub(super) fn verdict(line: &str) -> Verdict {
    if line.contains("too large") {
        Verdict::Reject("too_large")
    } else if line.starts_with("CLIENT_ERROR") {
        Verdict::Reject("refused")
    } else if line.starts_with("SERVER_ERROR") {
        Verdict::Later
    } else {
        Verdict::Failed
    }
}

impl Lane {
    /// Empties the part for the next batch.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.part.clear();
        self.ends.clear();
        self.trouble = None;
        self.open = false;
        self.attempts = 0;
        self.each = false;
    }

    /// Adds a set to the part; `options` is what stands behind the length, line end included.
    pub(super) fn push(&mut self, row: u32, key: &[u8], value: &[u8], options: &[u8]) {
        let part = &mut self.part;
        part.reserve(key.len() + value.len() + options.len() + 32);
        part.extend_from_slice(b"ms ");
        part.extend_from_slice(key);
        part.push(b' ');
        push_decimal(part, value.len() as u64);
        part.extend_from_slice(options);
        part.extend_from_slice(value);
        part.extend_from_slice(b"\r\n");
        self.ends.push(part.len());
        self.rows.push(row);
    }

    /// Bytes of the part's record number `record`.
    pub(super) fn bytes(&self, record: usize) -> u64 {
        let start = if record == 0 { 0 } else { self.ends[record - 1] };
        (self.ends[record] - start) as u64
    }

    /// Every record of the part with its row and the error before its barrier, if there is one in `errors`.
    pub(super) fn answers<'a>(
        &'a self,
        errors: &'a [ErrorReply],
    ) -> impl Iterator<Item = (usize, usize, Option<&'a str>)> {
        let mut errors = errors.iter().peekable();
        self.rows.iter().enumerate().map(move |(record, &row)| {
            let error = errors.next_if(|error| error.barrier == record);
            (record, row as usize, error.map(|error| &*error.line))
        })
    }

    /// Bytes of all its records.
    pub(super) fn all_bytes(&self) -> u64 {
        self.ends.last().map_or(0, |end| *end as u64)
    }

    /// Begins an attempt: connects where needed and sends the part. With a barrier behind it, unless nobody
    /// waits for the answer.
    pub(super) fn send(&mut self, address: &str, timeout: Duration, ack: Ack) -> io::Result<()> {
        self.left = timeout;
        self.attempts += 1;
        if ack == Ack::Batch {
            self.replies.clear();
            // One write for both; an earlier attempt may have put the barrier there already.
            self.part.truncate(self.all_bytes() as usize);
            self.part.extend_from_slice(BARRIER);
        }
        self.timed(|lane, deadline| {
            let mut connection = match lane.connection.take() {
                Some(connection) => connection,
                None => Connection::open(address, deadline)?,
            };
            let part = if lane.each { &lane.spaced } else { &lane.part };
            connection.send(part, deadline, &mut lane.replies)?;
            lane.connection = Some(connection);
            Ok(())
        })?;
        if ack == Ack::None {
            self.unconfirmed += self.rows.len() as u64;
        }
        Ok(())
    }

    /// Ends an attempt: waits for the answer. On success `replies` names every record that is not stored, by
    /// the number of its barrier.
    pub(super) fn collect(&mut self) -> io::Result<()> {
        self.receive(if self.each { self.rows.len() } else { 1 })?;
        if self.each || self.replies.errors.is_empty() {
            return Ok(());
        }
        self.each = true;
        self.space();
        self.replies.clear();
        self.timed(|lane, deadline| match &mut lane.connection {
            Some(connection) => connection.send(&lane.spaced, deadline, &mut lane.replies),
            None => Err(io::ErrorKind::NotConnected.into()),
        })?;
        self.receive(self.rows.len())
    }

    /// Asks for the answer to all that was sent without a barrier, and forgets it: what is not confirmed now
    /// never will be.
    pub(super) fn confirm(&mut self, timeout: Duration) -> Lost {
        if self.connection.is_some() {
            self.left = timeout;
            let sent = self.timed(|lane, deadline| match &mut lane.connection {
                Some(connection) => connection.send(BARRIER, deadline, &mut lane.replies),
                None => Ok(()),
            });
            if sent.and_then(|()| self.receive(1)).is_ok() {
                self.unconfirmed = 0;
                self.forget("");
            }
        }
        std::mem::take(&mut self.lost)
    }

    fn receive(&mut self, barriers: usize) -> io::Result<()> {
        self.timed(|lane, deadline| match &mut lane.connection {
            Some(connection) => connection.receive(barriers, deadline, &mut lane.replies),
            None => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    /// Does one step of an attempt in what is left of its time. A connection with an error is given up.
    fn timed(&mut self, step: impl FnOnce(&mut Lane, Instant) -> io::Result<()>) -> io::Result<()> {
        let started = Instant::now();
        let result = step(self, started + self.left);
        self.left = self.left.saturating_sub(started.elapsed());
        if let Err(error) = &result {
            self.connection = None;
            self.forget(&error.to_string());
        }
        result
    }

    /// Settles what a connection's replies and end mean for rows that nobody waited for.
    fn forget(&mut self, why: &str) {
        if self.unconfirmed > 0 {
            self.lost.note(why);
            self.lost.rows += std::mem::take(&mut self.unconfirmed);
        }
        if let Some(error) = self.replies.errors.first() {
            self.lost.note(&error.line);
        }
        self.lost.error_lines += self.replies.error_lines;
        self.replies.clear();
    }

    fn space(&mut self) {
        self.spaced.clear();
        self.spaced.reserve(self.part.len() + self.ends.len() * BARRIER.len());
        let mut start = 0;
        for &end in &self.ends {
            self.spaced.extend_from_slice(&self.part[start..end]);
            self.spaced.extend_from_slice(BARRIER);
            start = end;
        }
    }
}

/// Appends `number` in decimal.
pub(super) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 1_048_576, u64::MAX] {
            let mut out = b"x".to_vec();
            push_decimal(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), format!("x{number}"));
        }
    }

    #[test]
    fn a_part_is_quiet_sets_and_spaced_has_a_barrier_behind_each() {
        let mut lane = Lane::default();
        lane.push(4, b"a", b"12", b" q\r\n");
        lane.push(9, b"b", b"", b" q F7 T60\r\n");
        lane.space();
        assert_eq!(lane.part, b"ms a 2 q\r\n12\r\nms b 0 q F7 T60\r\n\r\n");
        assert_eq!(lane.spaced, b"ms a 2 q\r\n12\r\nmn\r\nms b 0 q F7 T60\r\n\r\nmn\r\n");
        assert_eq!((lane.bytes(0), lane.bytes(1), lane.all_bytes()), (14, 19, 33));
        assert_eq!(lane.rows, [4, 9]);
    }

    #[test]
    fn error_lines_have_a_verdict() {
        for (line, expected) in [
            ("SERVER_ERROR object too large for cache", Verdict::Reject("too_large")),
            ("CLIENT_ERROR bad command line format", Verdict::Reject("refused")),
            ("SERVER_ERROR out of memory storing object", Verdict::Later),
            ("SERVER_ERROR Out of memory during read", Verdict::Later),
            ("NS", Verdict::Failed),
            ("ERROR", Verdict::Failed),
        ] {
            assert_eq!(verdict(line), expected, "{line}");
        }
    }
}
