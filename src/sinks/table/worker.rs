//! One thread's half of a sink: rows into the open transaction, their receipt with them, and the answers out.

use std::sync::Arc;

use super::{Layout, Place, Receipts, receipts::WorkerReceipts};
use crate::{
    batch::{Batch, SplitId},
    failure::Failure,
    receipt::{Answers, Part},
    stage::{SinkWorker, Written},
};

/// One worker's way into a database, and the transaction that is open on it. Failures are for good: what can heal has
/// been tried again inside.
pub(in crate::sinks) trait Connection: Send {
    /// Writes rows in the open transaction, which is begun where there is none. Gives the answers, and how many bytes
    /// were written.
    fn write(&mut self, batch: &Batch) -> Result<(Answers, u64), Failure>;

    /// Writes a part of the receipt of the rows in the open transaction.
    fn note(&mut self, place: Place, part: Part) -> Result<(), Failure>;

    /// A part of a receipt that was committed.
    fn load(&mut self, place: Place) -> Result<Option<Vec<u8>>, Failure>;

    /// Commits what there is of a split. Is everything durable now that was accepted so far?
    fn commit(&mut self, split: SplitId) -> Result<bool, Failure>;

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
}

impl<C: Connection> TableWorker<C> {
    /// `receipts` go with the worker's number, counted from 0.
    pub(in crate::sinks) fn new(layout: Arc<Layout>, connection: C, receipts: Option<(Arc<Receipts>, u32)>) -> Self {
        let receipts = receipts.map(|(shared, number)| WorkerReceipts::new(shared, number));
        TableWorker { layout, connection, receipts }
    }
}

impl<C: Connection> SinkWorker for TableWorker<C> {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let TableWorker { layout, connection, receipts } = self;
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
        layout.written(batch, answers, bytes)
    }

    fn commit_split(&mut self, split: SplitId) -> Result<bool, Failure> {
        if let Some(receipts) = &mut self.receipts {
            receipts.leave(split, &mut self.connection)?;
        }
        self.connection.commit(split)
    }

    fn discard_split(&mut self, _split: SplitId) -> Result<(), Failure> {
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
