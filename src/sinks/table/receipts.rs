//! Receipts as a worker keeps them: which split's rows come, whether they were committed before, and what was
//! answered. The parts of a receipt lie in the database, beside the rows.
//!
//! ```text
//! ledger, run, sink │ split  worker part │ rows answers │ job plan target owner beat made
//! ──────────────────┼────────────────────┼──────────────┼──────────────────────────────────
//!                   │ ''     0      0    │ 0    record  │ the run's marker
//!                   │ key    0      0, 1 │ n    answers │ of a split
//! ```
//!
//! The marker is there from before the first row on. Each attempt writes a token of its own into it, and no transaction is
//! committed by who has another one: a process that was taken for dead cannot go on. It holds the record of the run, for
//! who has lost the ledger, and when the process was last heard of.

use std::{collections::HashSet, sync::Arc};

use arrow_schema::SchemaRef;

use super::{Connection, Layout};
use crate::{
    batch::{Batch, RejectCode, SplitId},
    failure::{Exit, Failure},
    receipt::{Answers, Part, Receipt, Recorder},
    stage::Attempt,
};

/// The table of receipts unless the spec names another.
pub(in crate::sinks) const RECEIPTS: &str = "_runner_receipts";

/// The table that an earlier version kept its receipts in.
pub(in crate::sinks) const OLD_RECEIPTS: &str = "_runner_ledger";

/// Where a part of a receipt lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct PartPlace {
    /// The split's key.
    pub(in crate::sinks) split: Arc<str>,
    /// The worker's number where rows are divided among several by a key; else 0.
    pub(in crate::sinks) worker: u32,
    pub(in crate::sinks) part: u32,
}

/// What the workers of a sink know of its receipts.
#[derive(Debug)]
pub(in crate::sinks) struct Receipts {
    pub(in crate::sinks) attempt: Attempt,
    /// Splits that were committed by earlier attempts, by key, and by which worker.
    stored: HashSet<(String, u32)>,
    schema: SchemaRef,
    /// The words that the sink has for reasons.
    codes: &'static [RejectCode],
}

impl Receipts {
    /// `stored` are the splits whose receipts are there, and by which worker.
    pub(in crate::sinks) fn new(
        attempt: Attempt,
        stored: impl Iterator<Item = (String, u32)>,
        layout: &Layout,
        codes: &'static [RejectCode],
    ) -> Receipts {
        Receipts { attempt, stored: stored.collect(), schema: layout.returned_schema().arrow(), codes }
    }

    /// Names the split that a failure is about.
    fn named(&self, Failure { exit, message }: Failure, split: SplitId) -> Failure {
        let (name, sink) = (self.attempt.name(split), &self.attempt.stage);
        Failure::new(exit, format!("{name}, which `{sink}` has stored: {message}"))
    }
}

/// Another attempt has written its token over ours.
pub(in crate::sinks) fn taken_over(attempt: &Attempt) -> Failure {
    let message = "was taken over by another process; nothing more is stored by this one";
    Failure::new(Exit::TryAgain, format!("run {} {message}", attempt.run))
}

/// One worker's receipts.
pub(super) struct WorkerReceipts {
    shared: Arc<Receipts>,
    worker: u32,
    at: Option<At>,
    /// The split that ended last. Where its rows come by several ways its end does, too.
    ended: Option<SplitId>,
}

/// The split whose rows come.
struct At {
    split: SplitId,
    key: Arc<str>,
    /// Parts that were made so far.
    parts: u32,
    state: State,
}

enum State {
    /// They are written, and the answers noted.
    Recording(Recorder),
    /// They were written, and the answers are known.
    Replaying(Box<Receipt>),
}

impl WorkerReceipts {
    /// Those of the worker of that number, counted from 0. Where whole splits belong to a worker, it does not matter
    /// to which.
    pub(super) fn new(shared: Arc<Receipts>, number: u32) -> WorkerReceipts {
        let worker = if shared.attempt.divided { number } else { 0 };
        WorkerReceipts { shared, worker, at: None, ended: None }
    }

    /// The rows that come now are of this split.
    pub(super) fn enter(&mut self, split: SplitId) {
        if self.at.as_ref().is_some_and(|at| at.split == split) {
            return;
        }
        let Receipts { stored, schema, codes, attempt } = &*self.shared;
        let key = attempt.key(split);
        let state = match stored.contains(&(key.clone(), self.worker)) {
            true => State::Replaying(Box::new(Receipt::new(Arc::clone(schema), codes))),
            false => State::Recording(Recorder::new(Arc::clone(schema), attempt.in_order)),
        };
        self.at = Some(At { split, key: key.into(), parts: 0, state });
    }

    /// The answers for a batch, where its split was committed before.
    pub(super) fn answers(&mut self, batch: &Batch, from: &mut impl Connection) -> Result<Option<Answers>, Failure> {
        let WorkerReceipts { shared, worker, at, .. } = self;
        let Some(At { split, key, state: State::Replaying(receipt), .. }) = at else { return Ok(None) };
        let worker = *worker;
        let load = |part| from.load(PartPlace { split: Arc::clone(key), worker, part });
        let answers = receipt.answers(&batch.records, load);
        answers.map(Some).map_err(|failure| shared.named(failure, *split))
    }

    /// Notes the answers for the rows of a batch.
    pub(super) fn note(&mut self, batch: &Batch, answers: &Answers, to: &mut impl Connection) -> Result<(), Failure> {
        let Some(At { key, parts, state: State::Recording(recorder), .. }) = &mut self.at else { return Ok(()) };
        let Some(full) = recorder.add(&batch.records, answers)? else { return Ok(()) };
        let place = PartPlace { split: Arc::clone(key), worker: self.worker, part: *parts };
        *parts += 1;
        to.note(place, full)
    }

    /// The split has no more rows: the rest of its receipt goes into its transaction. What was committed before was the
    /// same, or none of it goes on.
    pub(super) fn leave(&mut self, split: SplitId, connection: &mut impl Connection) -> Result<(), Failure> {
        if self.at.is_none() && self.ended == Some(split) {
            return Ok(());
        }
        self.enter(split);
        self.ended = Some(split);
        let (worker, Some(At { split, key, parts, state })) = (self.worker, self.at.take()) else { return Ok(()) };
        match state {
            State::Recording(mut recorder) => {
                let last: Part = recorder.part()?;
                connection.note(PartPlace { split: key, worker, part: parts }, last)
            }
            State::Replaying(mut receipt) => {
                let ended = receipt.end(|part| connection.load(PartPlace { split: Arc::clone(&key), worker, part }));
                ended.map_err(|failure| self.shared.named(failure, split))
            }
        }
    }

    /// The rows of a split that has ended, and was not stored, come again.
    pub(super) fn reopen(&mut self, split: SplitId) {
        (self.at, self.ended) = (None, None);
        self.enter(split);
    }

    /// The split's rows are not kept, and no more come.
    pub(super) fn discard(&mut self) {
        self.at = None;
    }
}
