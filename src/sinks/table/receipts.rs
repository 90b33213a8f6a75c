//! Receipts as a worker keeps them: which split's rows come, whether they were committed before, and what was
//! answered. The parts of a receipt lie in the database, beside the rows.

use std::{collections::BTreeSet, sync::Arc};

use arrow_schema::SchemaRef;

use super::{Connection, Layout};
use crate::{
    batch::{Batch, RejectCode, SplitId},
    failure::Failure,
    receipt::{Answers, Receipt, Recorder},
    stage::Attempt,
};

/// Where a part of a receipt lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct Place {
    pub(in crate::sinks) split: SplitId,
    /// The worker's number where rows are divided among several by a key; else 0.
    pub(in crate::sinks) worker: u32,
    pub(in crate::sinks) part: u32,
}

/// What the workers of a sink know of its receipts.
#[derive(Debug)]
pub(in crate::sinks) struct Receipts {
    pub(in crate::sinks) attempt: Attempt,
    /// Splits that were committed by earlier attempts, and by which worker.
    stored: BTreeSet<(u32, u32)>,
    schema: SchemaRef,
    /// The words that the sink has for reasons.
    codes: &'static [RejectCode],
}

impl Receipts {
    /// `stored` are the splits whose receipts are there, and by which worker.
    pub(in crate::sinks) fn new(
        attempt: Attempt,
        stored: impl Iterator<Item = (u32, u32)>,
        layout: &Layout,
        codes: &'static [RejectCode],
    ) -> Receipts {
        Receipts { attempt, stored: stored.collect(), schema: layout.returned_schema().arrow(), codes }
    }

    /// Names the split that a failure is about.
    pub(in crate::sinks) fn named(&self, Failure { exit, message }: Failure, split: SplitId) -> Failure {
        Failure::new(exit, format!("split number {} for `{}`: {message}", split.0, self.attempt.stage))
    }
}

/// One worker's receipts.
pub(super) struct WorkerReceipts {
    shared: Arc<Receipts>,
    worker: u32,
    at: Option<At>,
}

/// The split whose rows come.
struct At {
    split: SplitId,
    /// Parts that were made so far.
    parts: u32,
    state: State,
}

enum State {
    /// They are written, and the answers noted.
    Recording(Recorder),
    /// They were written, and the answers are known.
    Replaying(Receipt),
}

impl WorkerReceipts {
    /// Those of the worker of that number, counted from 0. Where whole splits belong to a worker, it does not matter
    /// to which.
    pub(super) fn new(shared: Arc<Receipts>, number: u32) -> WorkerReceipts {
        let worker = if shared.attempt.divided { number } else { 0 };
        WorkerReceipts { shared, worker, at: None }
    }

    /// The rows that come now are of this split.
    pub(super) fn enter(&mut self, split: SplitId) {
        if self.at.as_ref().is_some_and(|at| at.split == split) {
            return;
        }
        let Receipts { stored, schema, codes, .. } = &*self.shared;
        let state = match stored.contains(&(split.0, self.worker)) {
            true => State::Replaying(Receipt::new(Arc::clone(schema), codes)),
            false => State::Recording(Recorder::new(Arc::clone(schema))),
        };
        self.at = Some(At { split, parts: 0, state });
    }

    /// The answers for a batch, where its split was committed before.
    pub(super) fn answers(&mut self, batch: &Batch, from: &mut impl Connection) -> Result<Option<Answers>, Failure> {
        let WorkerReceipts { shared, worker, at } = self;
        let Some(At { split, state: State::Replaying(receipt), .. }) = at else { return Ok(None) };
        let (split, worker) = (*split, *worker);
        let answers = receipt.answers(batch.rows(), |part| from.load(Place { split, worker, part }));
        answers.map(Some).map_err(|failure| shared.named(failure, split))
    }

    /// Notes the answers for so many rows.
    pub(super) fn note(&mut self, rows: usize, answers: &Answers, to: &mut impl Connection) -> Result<(), Failure> {
        let Some(At { split, parts, state: State::Recording(recorder) }) = &mut self.at else { return Ok(()) };
        let Some(full) = recorder.add(rows, &answers.refused, &answers.returned)? else { return Ok(()) };
        let place = Place { split: *split, worker: self.worker, part: *parts };
        *parts += 1;
        to.note(place, full)
    }

    /// The split has no more rows: the rest of its receipt goes into its transaction.
    pub(super) fn leave(&mut self, connection: &mut impl Connection) -> Result<(), Failure> {
        let (worker, Some(At { split, parts, state })) = (self.worker, self.at.take()) else { return Ok(()) };
        match state {
            State::Recording(mut recorder) => match recorder.part()? {
                Some(last) => connection.note(Place { split, worker, part: parts }, last),
                None => Ok(()),
            },
            State::Replaying(receipt) => {
                let ended = receipt.end(|part| connection.load(Place { split, worker, part }));
                ended.map_err(|failure| self.shared.named(failure, split))
            }
        }
    }

    /// The split's rows are not kept, and no more come.
    pub(super) fn discard(&mut self) {
        self.at = None;
    }
}
