//! One worker's connection to one server: the part of a batch that goes there, and one attempt to deliver it.
//!
//! A part is sent as quiet sets and one barrier, so that all is well when nothing but the barrier comes
//! back. An error reply to a quiet set does not say which record it means. Then the same part is sent once
//! more with a barrier after every record, and every error stands before the barrier of its record.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    access::Ready,
    identity::Identity,
    server::Ack,
    stream::{BARRIER, MetaStream, Replies},
};
use crate::{
    batch::RejectCode,
    service::{Address, Answer, ErrorClass, Requests, ServiceError, Tries},
};

/// The connection to one server.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The rows of the batch that go here, as quiet sets.
    pub(super) requests: Requests,
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
    /// Is each record sent with a barrier of its own?
    spaced: bool,
    /// The tail of the part with a barrier after every record, where that has to be made.
    sets: Vec<u8>,
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

/// What an error line says of its record.
fn meaning(line: String) -> Answer {
    if line.contains("too large") {
        Answer::Refused(RejectCode("too_large"), line.into())
    } else if line.starts_with("CLIENT_ERROR") {
        Answer::Refused(RejectCode("refused"), line.into())
    } else if line.starts_with("SERVER_ERROR") {
        Answer::failed(ErrorClass::Retry, line)
    } else {
        Answer::failed(ErrorClass::Permanent, line)
    }
}

impl Connection {
    /// Empties the part for the next batch.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.spaced = false;
        self.error = None;
        self.open = false;
        self.attempts = 0;
        self.tries = Tries::default();
    }

    /// Adds a set to the part; `options` is what stands behind the length, line end included.
    pub(super) fn push(&mut self, row: usize, key: &[u8], value: &[u8], options: &[u8]) {
        self.requests.add(row, |part| {
            part.reserve(key.len() + value.len() + options.len() + 32);
            part.extend_from_slice(b"ms ");
            part.extend_from_slice(key);
            part.push(b' ');
            push_decimal(part, value.len() as u64);
            part.extend_from_slice(options);
            part.extend_from_slice(value);
            part.extend_from_slice(b"\r\n");
        });
    }

    /// Begins an attempt: connects where needed and sends what is open of the part. With a barrier behind it, unless
    /// nobody waits for the answer.
    pub(super) fn send(
        &mut self,
        address: &Address,
        ready: &Ready,
        timeout: Duration,
        ack: Ack,
    ) -> Result<(), ServiceError> {
        self.left = timeout;
        self.attempts += 1;
        if ack == Ack::Batch {
            self.replies.clear();
        }
        self.timed(|connection, deadline| {
            if connection.stream.is_none() {
                let stream = connection.stream.insert(MetaStream::open(address, ready, deadline)?);
                connection.met = Some(stream.identity());
            }
            connection.send_tail(ack)
        })?;
        if ack == Ack::None {
            self.unconfirmed += self.requests.len() as u64;
            self.requests.all_stored();
        }
        Ok(())
    }

    fn send_tail(&mut self, ack: Ack) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        // One write for the sets and their barrier.
        let tail = self.requests.begin(if ack == Ack::Batch && !self.spaced { BARRIER } else { b"" });
        if !self.spaced {
            return stream.send(tail, &mut self.replies);
        }
        self.sets.clear();
        for set in self.requests.tail() {
            self.sets.extend_from_slice(set);
            self.sets.extend_from_slice(BARRIER);
        }
        stream.send(&self.sets, &mut self.replies)
    }

    /// Ends an attempt: waits for the answer.
    ///
    /// # Errors
    /// Some records are still open.
    pub(super) fn collect(&mut self) -> Result<(), ServiceError> {
        if !self.spaced {
            self.receive(1)?;
            if self.replies.errors.is_empty() {
                self.requests.all_stored();
                return Ok(());
            }
            self.spaced = true;
            self.replies.clear();
            self.timed(|connection, _| connection.send_tail(Ack::Batch))?;
        }
        self.receive(self.requests.unanswered())?;
        self.settle();
        self.requests.end()
    }

    /// Asks for the answer to all that was sent without a barrier, and forgets it: what is not confirmed now
    /// never will be.
    pub(super) fn confirm(&mut self, timeout: Duration) -> Lost {
        if self.stream.is_some() {
            self.left = timeout;
            let sent = self.timed(|connection, _| match &mut connection.stream {
                Some(stream) => stream.send(BARRIER, &mut connection.replies),
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
        self.timed(|connection, _| match &mut connection.stream {
            Some(stream) => stream.receive(barriers, &mut connection.replies),
            None => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    /// Does one step of an attempt in what is left of its time. A stream with an error is given up.
    fn timed(&mut self, step: impl FnOnce(&mut Connection, Instant) -> io::Result<()>) -> Result<(), ServiceError> {
        let started = Instant::now();
        let deadline = started + self.left;
        if let Some(stream) = &mut self.stream {
            stream.until(deadline);
        }
        let result = step(self, deadline);
        self.left = self.left.saturating_sub(started.elapsed());
        result.map_err(|error| {
            self.stream = None;
            self.settle();
            self.forget(&error.to_string());
            error.into()
        })
    }

    /// Takes in what this attempt's barriers say of the records that were sent with one each.
    fn settle(&mut self) {
        if !self.spaced {
            return;
        }
        let mut errors = std::mem::take(&mut self.replies.errors).into_iter().peekable();
        for barrier in 0..self.replies.barriers.min(self.requests.unanswered()) {
            let error = errors.next_if(|error| error.barrier == barrier);
            self.requests.answer(error.map_or(Answer::Stored, |error| meaning(error.line)));
        }
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

    #[test]
    fn sets_are_quiet_and_each_barrier_answers_for_its_record() {
        let mut connection = Connection::default();
        connection.push(4, b"a", b"12", b" q\r\n");
        connection.push(9, b"b", b"", b" q F7 T60\r\n");
        assert_eq!(connection.requests.begin(BARRIER), b"ms a 2 q\r\n12\r\nms b 0 q F7 T60\r\n\r\nmn\r\n");
        connection.spaced = true;
        let errors = vec![ErrorReply { barrier: 0, line: "SERVER_ERROR out of memory".to_owned() }];
        connection.replies = Replies { barriers: 1, errors, error_lines: 1, ..Replies::default() };
        connection.settle();
        assert_eq!(connection.requests.unanswered(), 1);
        let failed = ServiceError::answer(ErrorClass::Retry, "SERVER_ERROR out of memory");
        assert_eq!(connection.requests.end(), Err(failed.clone()));
        // The next attempt cannot even connect: nothing is sent, and every answer stands.
        let (gone, timeout) = (Address::new(&crate::testing::unused_address()), Duration::from_secs(10));
        connection.send(&gone, &Ready::default(), timeout, Ack::Batch).expect_err("nobody is there");
        assert_eq!((connection.requests.unanswered(), connection.requests.end()), (1, Err(failed)));
    }

    #[test]
    fn error_lines_have_a_meaning() {
        for (line, expected) in [
            ("SERVER_ERROR object too large for cache", "too_large"),
            ("CLIENT_ERROR bad command line format", "refused"),
            ("SERVER_ERROR out of memory storing object", "Retry"),
            ("SERVER_ERROR Out of memory during read", "Retry"),
            ("NS", "Permanent"),
            ("ERROR", "Permanent"),
        ] {
            let meaning = match meaning(line.to_owned()) {
                Answer::Refused(code, _) => code.0.to_owned(),
                Answer::Failed(error) => format!("{:?}", error.class),
                Answer::Stored => String::new(),
            };
            assert_eq!(meaning, expected, "{line}");
        }
    }
}
