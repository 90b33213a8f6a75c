//! The worker's part in receipts: which split's rows come, whether they were committed before, and what was answered.

use super::{
    receipts::{Part, Way},
    worker::{Unfinished, Worker},
};
use crate::{
    batch::{Batch, SplitId},
    failure::{Exit, Failure},
    service::ServiceError,
    receipt::Answers,
};

impl Worker {
    /// The next rows are of this split. Where rows are divided by key nobody has said that the one before has ended.
    pub(super) fn enter(&mut self, split: SplitId) -> Result<(), Failure> {
        if self.at.as_ref().is_none_or(|at| at.split != split) {
            self.leave()?;
            self.at = self.receipts.as_ref().map(|(receipts, worker)| receipts.enter(split, *worker));
        }
        Ok(())
    }

    /// The rows of a split have all come.
    pub(super) fn leave(&mut self) -> Result<(), Failure> {
        match self.at.take() {
            None => Ok(()),
            Some(mut at) => match &mut at.way {
                Way::Record(recorder) => {
                    if let Some(last) = recorder.part()? {
                        self.split.parts.push(at.part(last));
                    }
                    Ok(())
                }
                Way::Replay(receipt) => {
                    let split = at.split;
                    let ended = receipt.end(|part| self.load(split, part));
                    ended.map_err(|failure| self.named(failure, split))
                }
            },
        }
    }

    /// The answers for a batch, where its split was committed before.
    pub(super) fn answers(&mut self, batch: &Batch) -> Result<Option<Answers>, Failure> {
        let Some(mut at) = self.at.take() else { return Ok(None) };
        let split = at.split;
        let answers = match &mut at.way {
            Way::Record(_) => Ok(None),
            Way::Replay(receipt) => receipt.answers(batch.rows(), |part| self.load(split, part)).map(Some),
        };
        self.at = Some(at);
        answers.map_err(|failure| self.named(failure, split))
    }

    fn named(&self, failure: Failure, split: SplitId) -> Failure {
        match &self.receipts {
            Some((receipts, _)) => receipts.named(failure, split),
            None => failure,
        }
    }

    /// A part of a receipt.
    fn load(&mut self, split: SplitId, part: u32) -> Result<Option<Vec<u8>>, Failure> {
        let Some((receipts, worker)) = self.receipts.clone() else { return Ok(None) };
        let mut attempt = 1;
        loop {
            let found = self.connect().and_then(|()| receipts.load(split, worker, part, self.session()?));
            match found {
                Ok(found) => return Ok(found),
                Err(trouble) => self.after(attempt, &trouble)?,
            }
            attempt += 1;
        }
    }

    /// Notes the answers for rows of the open split. Where its transaction cannot be done again its receipt may as well
    /// be written on the way.
    pub(super) fn note(&mut self, rows: usize, answers: &Answers) -> Result<(), Failure> {
        let Some(mut at) = self.at.take() else { return Ok(()) };
        if let Way::Record(recorder) = &mut at.way
            && let Some(full) = recorder.add(rows, &answers.refused, &answers.returned)?
        {
            self.split.parts.push(at.part(full));
        }
        self.at = Some(at);
        if self.split.partly && self.open && !self.split.parts.is_empty() {
            match self.write_parts(&self.split.parts) {
                Ok(()) => self.split.parts.clear(),
                Err(Unfinished::Lost(trouble) | Unfinished::Unknown(trouble)) => self.after(u32::MAX, &trouble)?,
                Err(Unfinished::Twice) => {
                    let message = "the split was committed meanwhile, by a run that had been taken for dead";
                    return Err(Failure::new(Exit::TryAgain, format!("{}: {message}", self.server)));
                }
            }
        }
        Ok(())
    }

    /// Writes parts of receipts in the open transaction.
    pub(super) fn write_parts(&self, parts: &[Part]) -> Result<(), Unfinished> {
        let Some((receipts, worker)) = &self.receipts else { return Ok(()) };
        let session = self.session().map_err(Unfinished::Lost)?;
        receipts.write(parts, *worker, session).map_err(|trouble| match trouble.code.as_deref() {
            Some("23505") => Unfinished::Twice,
            _ => Unfinished::Lost(trouble),
        })
    }

    /// After the connection broke while the split was committed: is its receipt there?
    pub(super) fn is_committed(&mut self, trouble: &ServiceError) -> Result<bool, Failure> {
        let (Some((receipts, worker)), Some(split)) = (self.receipts.clone(), self.split.id) else { return Ok(false) };
        self.abandon(trouble);
        let mut attempt = 1;
        loop {
            let found = self.connect().and_then(|()| receipts.load(split, worker, 0, self.session()?));
            match found {
                Ok(found) => return Ok(found.is_some()),
                Err(trouble) => {
                    self.abandon(&trouble);
                    self.server.after(attempt, &trouble)?;
                }
            }
            attempt += 1;
        }
    }
}
