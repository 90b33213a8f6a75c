//! The loop of a sink's worker: take a batch, write it, answer for every row.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    ack::Ack,
    activity::{Activity, during},
    message::Message,
    queue::QueueReceiver,
    worker::{Outlet, Shared, guard},
};
use arrow_array::RecordBatch;

use crate::{
    batch::{Batch, Origin, Reject, Schema, SplitId},
    event::{Event, RowCounts, StageId},
    failure::{Exit, Failure},
    jobspec::BatchSize,
    stage::{Committed, Guarantee, SinkWorker, Written},
};

/// One thread of a sink.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) stage: StageId,
    pub(super) queue: QueueReceiver,
    /// `None` once it has failed.
    pub(super) worker: Option<Box<dyn SinkWorker>>,
    /// The most it is handed at once.
    pub(super) batch: Option<BatchSize>,
    pub(super) guarantee: Guarantee,
    /// Was a split left out that must be stored before those that follow?
    pub(super) behind: bool,
    pub(super) outlet: Outlet,
    pub(super) held: Held,
}

/// What is accepted but not durable yet.
#[derive(Default)]
pub(super) struct Held {
    /// Of every split with such rows one acknowledgement.
    acks: BTreeMap<SplitId, Ack>,
    /// Messages with such rows, for the stages that read this one.
    output: Vec<Message>,
    rows: u64,
}

impl Writer {
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

    /// Writes one message; returns how long passing output on took.
    fn take(&mut self, Message { place, batch, ack, permit }: Message) -> Duration {
        let Some(batch) = batch else {
            return self.end_split(Message { place, batch: None, ack, permit });
        };
        let mut safe = true;
        let mut output = self.nothing_of(&batch);
        for part in self.parts(&batch) {
            let written = self.write(&part, &ack);
            safe &= written.durable || written.accepted == 0;
            output = written.output.unwrap_or(output);
        }
        // The rows have left the source's memory: what is held back must not keep the source from reading on
        // to the end of the split, where it is let go.
        let message = Message { place, batch: Some(output), ack: ack.clone(), permit: None };
        if !safe || !self.held.output.is_empty() {
            self.held.hold(ack, message, self.outlet.is_empty());
            return Duration::ZERO;
        }
        ack.acknowledge();
        self.pass_on(message)
    }

    /// A split has no more. Where the sink makes it durable now, what was held is let go.
    fn end_split(&mut self, message: Message) -> Duration {
        if let Guarantee::ExactlyOnce { replaces } = self.guarantee {
            let complete = !message.ack.is_incomplete() && !self.behind;
            self.behind |= replaces && !complete;
            self.settle_split(&message.ack, complete);
        }
        if self.held.output.is_empty() {
            return self.pass_on(message);
        }
        let ack = message.ack.clone();
        self.held.hold(ack, Message { permit: None, ..message }, false);
        Duration::ZERO
    }

    /// The sink commits a split of which nothing is missing, and keeps nothing of another.
    fn settle_split(&mut self, ack: &Ack, complete: bool) {
        let Some(worker) = &mut self.worker else { return };
        let split = ack.split();
        let may_refuse = self.outlet.is_empty();
        let settled = guard(&self.shared.plan, self.stage, || match complete {
            true => worker.commit_split(split, may_refuse).map(Some),
            false => worker.discard_split(split).map(|()| None),
        });
        match settled {
            Ok(Some(Committed { durable, rejects })) => {
                self.refuse(rejects);
                if durable {
                    self.release();
                }
            }
            Ok(None) => self.withdraw(),
            Err(failure) => {
                self.worker = None;
                self.shared.fail(self.stage, failure);
                ack.mark_incomplete();
                self.withdraw();
            }
        }
    }

    /// Rows that were accepted are refused after all.
    fn refuse(&mut self, rejects: Vec<Reject>) {
        let rows = rejects.len() as u64;
        if rows > 0 {
            self.held.rows -= rows;
            self.shared.rejected(self.stage, rejects);
            self.shared.send(Event::Refused { stage: self.stage, rows });
        }
    }

    fn pass_on(&self, message: Message) -> Duration {
        let start = Instant::now();
        self.outlet.send(&self.shared, message);
        start.elapsed()
    }

    /// What was held is durable.
    fn release(&mut self) {
        let Held { acks, output, .. } = std::mem::take(&mut self.held);
        output.into_iter().for_each(|message| self.outlet.send(&self.shared, message));
        acks.into_values().for_each(Ack::acknowledge);
    }

    /// What was held will not be stored. Its messages go on empty: order is kept by them.
    fn withdraw(&mut self) {
        let Held { acks, output, rows } = std::mem::take(&mut self.held);
        // Before any of them leaves: who takes the end of a split that is whole commits it.
        drop(acks);
        for message in output {
            let batch = message.batch.as_ref().map(|batch| self.nothing_of(batch));
            self.outlet.send(&self.shared, Message { batch, ..message });
        }
        if rows > 0 {
            self.shared.partial.store(true, Ordering::SeqCst);
            self.shared.send(Event::Withdrawn { stage: self.stage, rows });
        }
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

    /// What this sink emits of a batch of which it stores nothing.
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
        let rows = RowCounts {
            input: batch.rows() as u64,
            output: written.accepted - written.not_confirmed,
            rejected: written.rejects.len() as u64,
            failed: written.failed,
            not_confirmed: written.not_confirmed,
            ..RowCounts::default()
        };
        self.shared.rejected(self.stage, std::mem::take(&mut written.rejects));
        if written.failed > 0 {
            self.shared.partial.store(true, Ordering::SeqCst);
            ack.mark_incomplete();
        }
        if !written.durable {
            self.held.rows += rows.output;
        }
        let (failure, samples) = (written.failure.take(), std::mem::take(&mut written.samples));
        let (stage, split) = (self.stage, batch.origin.split);
        self.shared.send(Event::Worked { stage, split, rows, bytes: written.bytes, busy });
        self.shared.send(Event::Answered { stage, latency: busy, failure, samples });
        written
    }

    /// Asks the worker; where it fails or has failed before, or rows before these must come first, no row is stored.
    fn attempt(&mut self, batch: &Batch) -> Written {
        let lost = |failure| Written { failed: batch.rows() as u64, failure, durable: true, ..Written::default() };
        let Some(worker) = self.worker.as_mut().filter(|_| !self.behind) else {
            return lost(None);
        };
        let is_read = !self.outlet.is_empty();
        let written = guard(&self.shared.plan, self.stage, || worker.write(batch)).and_then(|written| match written {
            // The stages behind would get rows that are not there.
            Written { not_confirmed: 1.., .. } if is_read => Err(unconfirmed(&written)),
            written => Ok(written),
        });
        match written {
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
        self.shared.send(Event::WaitsToCommit { stage: self.stage });
        let barrier = &self.shared.barriers[self.shared.plan.pool_of(self.stage)];
        let whole = during(Activity::WaitsToCommit, || barrier.wait());
        let absent = self.guarantee == Guarantee::AllOrNothing && !whole;
        let Some(worker) = self.worker.as_mut().filter(|_| !absent) else {
            self.worker = None;
            return self.withdraw();
        };
        match guard(&self.shared.plan, self.stage, || worker.commit()) {
            Ok(()) => self.release(),
            Err(failure) => {
                self.shared.fail(self.stage, failure);
                self.withdraw();
            }
        }
    }
}

/// Why a sink that other stages read cannot go on.
fn unconfirmed(written: &Written) -> Failure {
    let Written { accepted, not_confirmed, .. } = written;
    let message = format!(
        "the database has not stored {not_confirmed} of {accepted} rows by its own count (its triggers or rules dropped them \
         or stored them elsewhere), and does not say which: the stages that read this one cannot be given the others"
    );
    Failure::new(Exit::Io, message)
}

impl Held {
    /// Holds a message back, unless nobody reads it, and an acknowledgement of its split.
    fn hold(&mut self, ack: Ack, message: Message, unread: bool) {
        if let Some(other) = self.acks.insert(ack.split(), ack) {
            other.acknowledge();
        }
        if unread {
            message.ack.acknowledge();
        } else {
            self.output.push(message);
        }
    }
}
