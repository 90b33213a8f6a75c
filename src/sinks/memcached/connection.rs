//! One worker's connection to one server: the part of a batch that goes there, encoded in one reused buffer, and
//! one attempt to deliver it.
//!
//! A part is sent as quiet sets and one barrier, so that all is well when nothing but the barrier comes
//! back. An error reply to a quiet set does not say which record it means. Then the same part is sent once
//! more with a barrier after every record, and every error stands before the barrier of its record.
//!
//! A later attempt sends the part's tail from the first record on that is still open: what the server has answered
//! for before stays answered, and no record is overtaken by one that stood before it. Once the tail is sent again,
//! earlier answers to its records are void: an older record may be put over a newer one that was stored before.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    identity::Identity,
    server::Ack,
    stream::{BARRIER, MetaStream, Replies},
};
use crate::service::{ErrorClass, ServiceError, Tries};

/// The connection to one server.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The rows of the batch that go here, ascending.
    pub(super) rows: Vec<u32>,
    /// What stands in the way: `None` while a part is not tried, and once it is answered.
    pub(super) error: Option<ServiceError>,
    /// Is some of the part still to be delivered?
    pub(super) open: bool,
    /// Attempts made for the part.
    pub(super) attempts: u32,
    /// Those of them that failed.
    pub(super) tries: Tries,
    /// What was sent without a barrier and can no longer be confirmed.
    pub(super) lost: Lost,
    stream: Option<MetaStream>,
    /// What the server said of itself, where the stream was opened since this was last taken.
    pub(super) met: Option<Identity>,
    /// What the server has answered in this attempt.
    replies: Replies,
    /// The quiet sets of the part, and the barrier once it is sent.
    part: Vec<u8>,
    /// Where each record ends in `part`.
    ends: Vec<usize>,
    /// The part with a barrier after every record, where it had to be made.
    spaced: Vec<u8>,
    /// What the server has answered for each record, once they are sent with a barrier each; else empty.
    answers: Vec<Answer>,
    /// Records from the first on that are answered for good: they are not sent again.
    settled: usize,
    /// What is left of the time for this attempt; runs only while this connection is being waited for.
    left: Duration,
    /// Rows sent on this connection since the last barrier.
    unconfirmed: u64,
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

/// What the server has answered for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet.
    Open,
    /// It is stored.
    Stored,
    /// This error line.
    Error(String),
}

impl Answer {
    fn is_settled(&self) -> bool {
        match self {
            Answer::Open => false,
            Answer::Stored => true,
            Answer::Error(line) => verdict(line) != Verdict::Later,
        }
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

impl Connection {
    /// Empties the part for the next batch.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.part.clear();
        self.ends.clear();
        self.answers.clear();
        self.settled = 0;
        self.error = None;
        self.open = false;
        self.attempts = 0;
        self.tries = Tries::default();
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
        (self.ends[record] - self.start(record)) as u64
    }

    /// What became of the part's record number `record`.
    pub(super) fn answer(&self, record: usize) -> &Answer {
        match self.answers.get(record) {
            Some(answer) => answer,
            // One barrier behind all of them: either all are stored, or nothing is known of any.
            None if self.error.is_some() => &Answer::Open,
            None => &Answer::Stored,
        }
    }

    /// Bytes of all its records.
    pub(super) fn all_bytes(&self) -> u64 {
        self.start(self.rows.len()) as u64
    }

    /// Begins an attempt: connects where needed and sends what is open of the part. With a barrier behind it, unless
    /// nobody waits for the answer.
    pub(super) fn send(&mut self, address: &str, timeout: Duration, ack: Ack) -> Result<(), ServiceError> {
        self.left = timeout;
        self.attempts += 1;
        if ack == Ack::Batch {
            self.replies.clear();
            // One write for both; an earlier attempt may have put the barrier there already.
            self.part.truncate(self.start(self.rows.len()));
            self.part.extend_from_slice(BARRIER);
        }
        self.timed(|connection, deadline| {
            let mut stream = match connection.stream.take() {
                Some(stream) => stream,
                None => {
                    let stream = MetaStream::open(address, deadline)?;
                    connection.met = Some(stream.identity());
                    stream
                }
            };
            connection.answers.iter_mut().skip(connection.settled).for_each(|answer| *answer = Answer::Open);
            let tail = connection.start(connection.settled) + connection.settled * BARRIER.len();
            let open = if connection.answers.is_empty() { &connection.part } else { &connection.spaced[tail..] };
            stream.send(open, deadline, &mut connection.replies)?;
            connection.stream = Some(stream);
            Ok(())
        })?;
        if ack == Ack::None {
            self.unconfirmed += self.rows.len() as u64;
        }
        Ok(())
    }

    /// Ends an attempt: waits for the answer.
    ///
    /// # Errors
    /// Some records are still open.
    pub(super) fn collect(&mut self) -> Result<(), ServiceError> {
        let barriers = if self.answers.is_empty() { 1 } else { self.rows.len() - self.settled };
        self.receive(barriers)?;
        if self.answers.is_empty() {
            if self.replies.errors.is_empty() {
                return Ok(());
            }
            self.space();
            self.replies.clear();
            self.timed(|connection, deadline| match &mut connection.stream {
                Some(stream) => stream.send(&connection.spaced, deadline, &mut connection.replies),
                None => Err(io::ErrorKind::NotConnected.into()),
            })?;
            self.receive(self.rows.len())?;
        }
        self.settle();
        match self.answers.get(self.settled) {
            Some(Answer::Error(line)) => Err(ServiceError::answer(ErrorClass::Retry, line)),
            _ => Ok(()),
        }
    }

    /// Asks for the answer to all that was sent without a barrier, and forgets it: what is not confirmed now
    /// never will be.
    pub(super) fn confirm(&mut self, timeout: Duration) -> Lost {
        if self.stream.is_some() {
            self.left = timeout;
            let sent = self.timed(|connection, deadline| match &mut connection.stream {
                Some(stream) => stream.send(BARRIER, deadline, &mut connection.replies),
                None => Ok(()),
            });
            if sent.and_then(|()| self.receive(1)).is_ok() {
                self.unconfirmed = 0;
                self.forget("");
            }
        }
        std::mem::take(&mut self.lost)
    }

    fn receive(&mut self, barriers: usize) -> Result<(), ServiceError> {
        self.timed(|connection, deadline| match &mut connection.stream {
            Some(stream) => stream.receive(barriers, deadline, &mut connection.replies),
            None => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    /// Does one step of an attempt in what is left of its time. A stream with an error is given up.
    fn timed(&mut self, step: impl FnOnce(&mut Connection, Instant) -> io::Result<()>) -> Result<(), ServiceError> {
        let started = Instant::now();
        let result = step(self, started + self.left);
        self.left = self.left.saturating_sub(started.elapsed());
        result.map_err(|error| {
            self.stream = None;
            self.settle();
            self.forget(&error.to_string());
            ServiceError::lost(error.to_string())
        })
    }

    /// Takes in what this attempt's barriers say of the records that were sent with one each.
    fn settle(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let mut errors = std::mem::take(&mut self.replies.errors).into_iter().peekable();
        let answered = self.replies.barriers.min(self.answers.len() - self.settled);
        for (barrier, answer) in self.answers[self.settled..][..answered].iter_mut().enumerate() {
            let error = errors.next_if(|error| error.barrier == barrier);
            *answer = error.map_or(Answer::Stored, |error| Answer::Error(error.line));
        }
        let open = self.answers.iter().position(|answer| !answer.is_settled());
        self.settled = open.unwrap_or(self.answers.len());
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

    /// Where a record begins in the part.
    fn start(&self, record: usize) -> usize {
        if record == 0 { 0 } else { self.ends[record - 1] }
    }

    fn space(&mut self) {
        self.answers.resize(self.rows.len(), Answer::Open);
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
    use super::{super::stream::ErrorReply, *};

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 1_048_576, u64::MAX] {
            let mut out = b"x".to_vec();
            push_decimal(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), format!("x{number}"));
        }
    }

    fn connection_with(rows: u32) -> Connection {
        let mut connection = Connection::default();
        (0..rows).for_each(|row| connection.push(row, format!("k{row}").as_bytes(), b"v", b" q\r\n"));
        connection
    }

    #[test]
    fn a_part_is_quiet_sets_and_spaced_has_a_barrier_behind_each() {
        let mut connection = Connection::default();
        connection.push(4, b"a", b"12", b" q\r\n");
        connection.push(9, b"b", b"", b" q F7 T60\r\n");
        connection.space();
        assert_eq!(connection.part, b"ms a 2 q\r\n12\r\nms b 0 q F7 T60\r\n\r\n");
        assert_eq!(connection.spaced, b"ms a 2 q\r\n12\r\nmn\r\nms b 0 q F7 T60\r\n\r\nmn\r\n");
        assert_eq!((connection.bytes(0), connection.bytes(1), connection.all_bytes()), (14, 19, 33));
        assert_eq!(connection.rows, [4, 9]);
    }

    #[test]
    fn answers_are_kept_and_the_tail_begins_with_the_first_open_record() {
        let mut connection = connection_with(5);
        connection.space();
        let later = |barrier| ErrorReply { barrier, line: "SERVER_ERROR out of memory".to_owned() };
        let refused = ErrorReply { barrier: 0, line: "CLIENT_ERROR bad".to_owned() };
        // Four of five are answered; the third cannot be stored now.
        let errors = vec![refused.clone(), later(2)];
        connection.replies = Replies { barriers: 4, errors, error_lines: 2, ..Replies::default() };
        connection.settle();
        let error = |reply: &ErrorReply| Answer::Error(reply.line.clone());
        let expected = [error(&refused), Answer::Stored, error(&later(2)), Answer::Stored, Answer::Open];
        assert_eq!((connection.settled, &connection.answers[..]), (2, &expected[..]));
        // The next attempt cannot even connect: nothing is sent, and every answer stands.
        let timeout = Duration::from_secs(10);
        connection.send(&crate::testing::unused_address(), timeout, Ack::Batch).expect_err("nobody is there");
        assert_eq!((connection.settled, &connection.answers[..]), (2, &expected[..]));
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
