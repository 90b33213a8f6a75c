//! One thread's half of a sink: rows into the open transaction, their receipt with them, and the answers out.

use std::sync::Arc;

use super::{
    Layout, PartPlace, Receipts, WriteMode,
    receipts::WorkerReceipts,
    recheck::{Checked, Kept, retry},
};
use crate::{
    batch::{Batch, Rejects, SplitId},
    failure::Failure,
    receipt::{Answers, Part},
    stage::{Committed, SinkWorker, Written},
};

/// What became of a commit.
pub(in crate::sinks) enum Commit {
    /// All that was accepted so far is durable.
    Durable,
    /// It will be, with a later commit.
    Later,
    /// A constraint that was to be checked only now is broken, and none of the split is stored. With how a run fails
    /// where its rows cannot be looked at one by one.
    Refused(Failure),
}

/// One worker's way into a database, and the transaction that is open on it. Failures are for good: what can heal has
/// been tried again inside.
pub(in crate::sinks) trait Connection: Send {
    /// Writes rows in the open transaction, which is begun where there is none. Gives the answers, and how many bytes
    /// were written.
    fn write(&mut self, batch: &Batch) -> Result<(Answers, u64), Failure>;

    /// Writes a part of the receipt of the rows in the open transaction.
    fn note(&mut self, place: PartPlace, part: Part) -> Result<(), Failure>;

    /// A part of a receipt that was committed.
    fn load(&mut self, place: PartPlace) -> Result<Option<Vec<u8>>, Failure>;

    /// Commits what there is of a split.
    fn commit(&mut self, split: SplitId) -> Result<Commit, Failure>;

    /// May a commit be refused for the sake of a row?
    fn checks_at_commit(&self) -> bool {
        false
    }

    /// Whether from the next transaction on every row is checked at once, whatever may wait for the commit.
    fn check_at_once(&mut self, _every_row: bool) {}

    /// Keeps nothing of the open transaction.
    fn discard(&mut self) -> Result<(), Failure>;

    /// Nothing more is written; what others keep from being durable is waited for.
    fn close(&mut self) -> Result<(), Failure>;
}

/// A worker of a sink of a table.
pub(in crate::sinks) struct TableWorker<C> {
    layout: Arc<Layout>,
    connection: C,
    /// Where an interrupted run can be resumed.
    receipts: Option<WorkerReceipts>,
    kept: Kept,
}

impl<C: Connection> TableWorker<C> {
    /// `receipts` go with the worker's number, counted from 0.
    pub(in crate::sinks) fn new(layout: Arc<Layout>, connection: C, receipts: Option<(Arc<Receipts>, u32)>) -> Self {
        let receipts = receipts.map(|(shared, number)| WorkerReceipts::new(shared, number));
        TableWorker { layout, connection, receipts, kept: Kept::default() }
    }
}

impl<C: Connection> TableWorker<C> {
    /// Commits a split whose commit was refused, without the rows that break a constraint.
    fn recheck(&mut self, split: SplitId, mut batches: Vec<Checked>) -> Result<Committed, Failure> {
        let TableWorker { layout, connection, receipts, .. } = self;
        connection.discard()?;
        connection.check_at_once(true);
        batches.iter_mut().try_for_each(|checked| checked.write(connection))?;
        // A row may point to one that came behind it. Where rows replace others their order counts instead.
        if layout.mode == WriteMode::Insert {
            retry(&mut batches, connection)?;
        }
        let mut rejects = Rejects::default();
        for checked in &mut batches {
            checked.refuse(&mut rejects);
        }
        if let Some(receipts) = receipts {
            receipts.reopen(split);
            batches.iter().try_for_each(|Checked { batch, answers, .. }| receipts.note(batch, answers, connection))?;
            receipts.leave(split, connection)?;
        }
        let committed = connection.commit(split)?;
        connection.check_at_once(false);
        match committed {
            Commit::Refused(failure) => Err(failure),
            Commit::Durable => Ok(Committed { durable: true, rejects: rejects.take() }),
            Commit::Later => Ok(Committed { durable: false, rejects: rejects.take() }),
        }
    }
}

impl<C: Connection> SinkWorker for TableWorker<C> {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let TableWorker { layout, connection, receipts, kept } = self;
        if let Some(receipts) = receipts {
            receipts.enter(batch.origin.split);
            if let Some(answers) = receipts.answers(batch, connection)? {
                // It is durable; but whether the whole split is what it was shows at its end.
                return layout.written(batch, answers, 0);
            }
        }
        let (answers, bytes) = connection.write(batch)?;
        if let Some(receipts) = receipts {
            receipts.note(batch, &answers, connection)?;
        }
        if connection.checks_at_commit() {
            kept.add(batch, &answers);
        }
        layout.written(batch, answers, bytes)
    }

    fn commit_split(&mut self, split: SplitId, may_refuse: bool) -> Result<Committed, Failure> {
        if let Some(receipts) = &mut self.receipts {
            receipts.leave(split, &mut self.connection)?;
        }
        let batches = self.kept.take();
        match self.connection.commit(split)? {
            Commit::Durable => Ok(true.into()),
            Commit::Later => Ok(false.into()),
            Commit::Refused(_) if may_refuse && !batches.is_empty() => self.recheck(split, batches),
            Commit::Refused(failure) => Err(failure),
        }
    }

    fn discard_split(&mut self, _split: SplitId) -> Result<(), Failure> {
        self.kept.take();
        if let Some(receipts) = &mut self.receipts {
            receipts.discard();
        }
        self.connection.discard()
    }

    /// Every split has been committed or discarded.
    fn commit(&mut self) -> Result<(), Failure> {
        self.connection.close()
    }
}
