//! The loop of a sink's worker: take a batch, write it, answer for every row.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    ack::Ack,
    message::Message,
    queue::QueueReceiver,
    worker::{Outlet, Shared, guard},
};
use arrow_array::RecordBatch;

use crate::{
    batch::{Batch, Origin, Schema, SplitId},
    event::{Event, Rows, StageId},
    spec::BatchSize,
    stage::{SinkWorker, Written},
};

/// One thread of a sink.
pub(super) struct Writer {
    shared: Arc<Shared>,
    stage: StageId,
    queue: QueueReceiver,
    /// `None` once it has failed.
    worker: Option<Box<dyn SinkWorker>>,
    /// The most it is handed at once.
    batch: Option<BatchSize>,
    outlet: Outlet,
    /// Of splits with rows that are accepted but not durable yet: one acknowledgement each.
    held: BTreeMap<SplitId, Ack>,
    /// How many rows those are.
    held_rows: u64,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        stage: StageId,
        queue: QueueReceiver,
        worker: Option<Box<dyn SinkWorker>>,
        batch: Option<BatchSize>,
        outlet: Outlet,
    ) -> Self {
        Writer { shared, stage, queue, worker, batch, outlet, held: BTreeMap::new(), held_rows: 0 }
    }

    pub(super) fn run(mut self) {
        let mut wait = Instant::now();
        while let Some(message) = self.queue.recv() {
            let idle = wait.elapsed();
            let blocked = self.take(message);
            self.shared.send(Event::Waited { stage: self.stage, idle, blocked });
            wait = Instant::now();
        }
        self.commit();
        self.shared.send(Event::WorkerEnded { stage: self.stage });
    }

    /// Writes one message; returns how long passing its output on took.
    fn take(&mut self, message: Message) -> Duration {
        let Message { place, batch, ack, credit } = message;
        let mut safe = true;
        let mut output = batch.as_ref().map(|batch| self.nothing_of(batch));
        for part in batch.as_ref().map(|batch| self.parts(batch)).unwrap_or_default() {
            let written = self.write(&part, &ack);
            safe &= written.durable || written.accepted == 0;
            output = written.output.or(output);
        }
        let start = Instant::now();
        self.outlet.send(&self.shared, Message { place, batch: output, ack: ack.clone(), credit });
        if safe {
            ack.acknowledge();
        } else if let Some(held) = self.held.insert(ack.split(), ack) {
            held.acknowledge();
        }
        start.elapsed()
    }

    /// Cuts a batch to the size the spec asks for. A sink that others read gets batches whole: its output
    /// must be one batch too.
    fn parts(&self, batch: &Batch) -> Vec<Batch> {
        match self.batch {
            _ if batch.rows() == 0 => Vec::new(),
            Some(size) if self.outlet.is_empty() => batch.clone().cut(size.rows, size.bytes),
            _ => vec![batch.clone()],
        }
    }

    /// What this sink puts out of a batch of which it stores nothing.
    fn nothing_of(&self, batch: &Batch) -> Batch {
        let schema = self.shared.plan.stages[self.stage].output.as_ref().map(Schema::arrow);
        let records = RecordBatch::new_empty(schema.unwrap_or_else(|| batch.records.schema()));
        Batch::new(records, Origin::derived(batch.origin.split, batch.origin.seq, 0))
    }

    /// Writes one batch and reports on it.
    fn write(&mut self, batch: &Batch, ack: &Ack) -> Written {
        let start = Instant::now();
        let mut written = self.attempt(batch);
        let busy = start.elapsed();
        let rows = Rows {
            input: batch.rows() as u64,
            output: written.accepted,
            rejected: written.rejects.len() as u64,
            filtered: 0,
            failed: written.failed,
        };
        self.shared.rejected(self.stage, std::mem::take(&mut written.rejects));
        if written.failed > 0 {
            self.shared.partial.store(true, Ordering::SeqCst);
            drop(ack.clone());
        }
        if !written.durable {
            self.held_rows += written.accepted;
        }
        let (failure, samples) = (written.failure.take(), std::mem::take(&mut written.samples));
        let (stage, split) = (self.stage, batch.origin.split);
        self.shared.send(Event::Worked { stage, split, rows, bytes: written.bytes, busy });
        self.shared.send(Event::Answered { stage, latency: busy, failure, samples });
        written
    }

    /// Asks the worker; where it fails or has failed before, no row is stored.
    fn attempt(&mut self, batch: &Batch) -> Written {
        let lost = |failure| Written { failed: batch.rows() as u64, failure, durable: true, ..Written::default() };
        let Some(worker) = &mut self.worker else {
            return lost(None);
        };
        match guard(&self.shared.plan, self.stage, || worker.write(batch)) {
            Ok(written) => written,
            Err(failure) => {
                self.worker = None;
                self.shared.fail(self.stage, failure.clone());
                lost(Some(failure))
            }
        }
    }

    /// Makes durable what is not yet. Where that fails, or the input was not whole and the sink keeps
    /// nothing of such input, the rows it had accepted are taken back.
    fn commit(&mut self) {
        let whole = !self.shared.partial.load(Ordering::SeqCst);
        let durable = match &mut self.worker {
            None => Ok(false),
            Some(worker) => guard(&self.shared.plan, self.stage, || worker.commit(whole)),
        };
        match durable {
            Ok(true) => std::mem::take(&mut self.held).into_values().for_each(Ack::acknowledge),
            Ok(false) => self.withdraw(),
            Err(failure) => {
                self.shared.fail(self.stage, failure);
                self.withdraw();
            }
        }
    }

    fn withdraw(&mut self) {
        self.held.clear();
        if self.held_rows > 0 {
            self.shared.send(Event::Withdrawn { stage: self.stage, rows: self.held_rows });
        }
    }
}
