//! The rows of a batch as requests to one server, of which each attempt sends the open tail.
//!
//! Of two rows with one key the later one must win. So what is sent again begins with the first row that is still
//! open and goes on to the end; and once it is sent, the earlier answers to its rows are void, because an older row may
//! be put over a newer one that was stored before. Rows before the first open one stay answered and are never sent
//! again: they would go over what another client has stored since.

use std::fmt;

use super::{ErrorClass, ServiceError};
use crate::{
    batch::{Batch, RejectCode, Rejects},
    stage::Written,
};

/// What the server has answered for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is stored.
    Stored,
    /// The row can never be stored: the code of the reject, and the server's words.
    Refused(RejectCode, Box<str>),
    /// The row is not stored; whether it may be later, the error's class says.
    Failed(Box<ServiceError>),
}

impl Answer {
    /// An error of this class, in the server's words.
    pub(crate) fn failed(class: ErrorClass, words: impl Into<String>) -> Self {
        Answer::Failed(Box::new(ServiceError::answer(class, words)))
    }
}

/// The requests that one worker has for one server, and the answers to them. Its buffers are used for every batch.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Rows of the batch, ascending.
    rows: Vec<u32>,
    bytes: Vec<u8>,
    /// Where each request ends in `bytes`.
    ends: Vec<usize>,
    /// Answers from the first row on, as far as there are any and they hold.
    answers: Vec<Answer>,
    /// Rows from the first on that are answered for good.
    settled: usize,
}

impl Requests {
    /// Empties it for the next batch.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
        self.ends.clear();
        self.answers.clear();
        self.settled = 0;
    }

    /// Adds a row; `encode` appends its request.
    pub(crate) fn add(&mut self, row: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends.push(self.bytes.len());
        self.rows.push(row as u32);
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of all requests.
    pub(crate) fn bytes(&self) -> u64 {
        self.start(self.rows.len()) as u64
    }

    /// Begins an attempt on a connection that is open: answers to the tail are void from now on, and the tail is given
    /// back with `end` behind it.
    pub(crate) fn begin(&mut self, end: &[u8]) -> &[u8] {
        self.answers.truncate(self.settled);
        self.bytes.truncate(self.start(self.rows.len()));
        self.bytes.extend_from_slice(end);
        &self.bytes[self.start(self.settled)..]
    }

    /// The requests of the tail, one by one.
    pub(crate) fn tail(&self) -> impl Iterator<Item = &[u8]> {
        (self.settled..self.rows.len()).map(|at| &self.bytes[self.start(at)..self.ends[at]])
    }

    /// How many rows of the tail have no answer yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.rows.len() - self.answers.len()
    }

    /// Takes the answer to the first row without one.
    pub(crate) fn answer(&mut self, answer: Answer) {
        let lasts = !matches!(&answer, Answer::Failed(error) if error.is_transient());
        if lasts && self.settled == self.answers.len() {
            self.settled += 1;
        }
        self.answers.push(answer);
    }

    /// All rows of the tail are stored.
    pub(crate) fn all_stored(&mut self) {
        self.answers.resize(self.rows.len(), Answer::Stored);
        self.settled = self.rows.len();
    }

    /// Ends an attempt in which the server has answered for every row.
    ///
    /// # Errors
    /// It could not store the first row of what is still open.
    pub(crate) fn end(&self) -> Result<(), ServiceError> {
        match self.answers.get(self.settled) {
            Some(Answer::Failed(error)) => Err((**error).clone()),
            _ => Ok(()),
        }
    }

    /// Accounts for every row; `stored` is called with those that are stored. Gives back the first error that the
    /// server, by name, answered for a row.
    pub(crate) fn account(
        &self,
        server: &dyn fmt::Display,
        batch: &Batch,
        rejects: &mut Rejects,
        written: &mut Written,
        mut stored: impl FnMut(usize),
    ) -> Option<&ServiceError> {
        let mut first = None;
        for (at, row) in self.rows.iter().enumerate() {
            let row = *row as usize;
            match self.answers.get(at) {
                Some(Answer::Stored) => {
                    written.accepted += 1;
                    written.bytes += (self.ends[at] - self.start(at)) as u64;
                    stored(row);
                }
                Some(Answer::Refused(code, words)) => {
                    rejects.push(batch, row, *code, format!("{server} answers `{words}`"));
                }
                Some(Answer::Failed(error)) => {
                    written.failed += 1;
                    first.get_or_insert(&**error);
                }
                None => written.failed += 1,
            }
        }
        first
    }

    /// Where a request begins.
    fn start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{batch, schema};

    fn requests(rows: usize) -> Requests {
        let mut requests = Requests::default();
        (0..rows).for_each(|row| requests.add(row, |out| out.extend_from_slice(format!("k{row};").as_bytes())));
        requests
    }

    fn later() -> Answer {
        Answer::failed(ErrorClass::Retry, "later")
    }

    /// Accepted, rejected, failed.
    fn accounts(requests: &Requests) -> (Vec<usize>, Vec<String>, u64) {
        let rows: Vec<_> = (0..requests.len()).map(|row| json!([row])).collect();
        let batch = batch(&schema("n int64"), 0, 0, &rows);
        let (mut rejects, mut written, mut stored) = (Rejects::default(), Written::default(), Vec::new());
        requests.account(&"it", &batch, &mut rejects, &mut written, |row| stored.push(row));
        assert_eq!(written.accepted, stored.len() as u64);
        (stored, rejects.take().into_iter().map(|reject| reject.message).collect(), written.failed)
    }

    #[test]
    fn an_attempt_sends_the_tail_from_the_first_open_row_on() {
        let mut requests = requests(5);
        assert_eq!(requests.begin(b"!"), b"k0;k1;k2;k3;k4;!");
        let refused = Answer::Refused(RejectCode("refused"), "no".into());
        for answer in [refused, Answer::Stored, later(), Answer::Stored] {
            requests.answer(answer);
        }
        assert_eq!(requests.end(), Err(ServiceError::answer(ErrorClass::Retry, "later")));
        // Should no other attempt be made, what was stored behind the open row is stored.
        assert_eq!(accounts(&requests), (vec![1, 3], vec!["it answers `no`".to_owned()], 2));
        assert_eq!(requests.begin(b"?"), b"k2;k3;k4;?");
        assert_eq!(requests.tail().collect::<Vec<_>>(), [b"k2;", b"k3;", b"k4;"]);
        assert_eq!((requests.unanswered(), requests.bytes()), (3, 15));
        // Once it is sent again, nothing is known of it any more.
        assert_eq!(accounts(&requests).0, [1]);
        requests.answer(Answer::Stored);
        assert_eq!(requests.begin(b""), b"k3;k4;");
        assert_eq!(requests.unanswered(), 2);
        requests.all_stored();
        assert_eq!(
            (requests.end(), accounts(&requests)),
            (Ok(()), (vec![1, 2, 3, 4], vec!["it answers `no`".into()], 0))
        );
    }

    #[test]
    fn an_error_that_does_not_pass_is_final() {
        let mut requests = requests(2);
        requests.begin(b"");
        requests.answer(Answer::failed(ErrorClass::Permanent, "never"));
        requests.answer(Answer::Stored);
        assert_eq!((requests.end(), requests.unanswered()), (Ok(()), 0));
        assert_eq!(accounts(&requests), (vec![1], vec![], 1));
        requests.clear();
        assert!(requests.is_empty() && requests.bytes() == 0);
    }
}
