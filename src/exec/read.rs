//! The loop of a source's worker: take the next split, read it to its end, pass its batches on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    ack::{Ack, Tracker},
    activity::{Activity, during},
    memory_budget::MemoryBudget,
    message::{BatchPlace, Message},
    reject_limit::Cutoff,
    worker::{Chain, Outlet, Shared, guard},
};
use crate::{
    batch::{Batch, Rejects, SplitId},
    event::{Closed, Event, RowCounts, StageId},
    failure::{Exit, Failure},
    stage::{SourceWorker, Split, SplitReader},
};

/// What the workers of one source share.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) stage: StageId,
    pub(super) splits: Vec<Split>,
    pub(super) first: SplitId,
    /// Splits that an earlier attempt has stored.
    pub(super) kept: BTreeSet<SplitId>,
    pub(super) next: AtomicU32,
    pub(super) budget: Arc<MemoryBudget>,
    pub(super) tracker: Arc<Tracker>,
    /// Rows that may still be passed on, under `--limit`; such a source has one worker.
    pub(super) limit: Option<AtomicU64>,
}

impl Reading {
    /// The next split to read, unless all that is left lies behind the cutoff. They are handed out in order: whatever
    /// is being read is the lowest there is.
    fn next(&self, cutoff: &Cutoff) -> Option<(SplitId, &Split)> {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let (id, split) = (SplitId(self.first.0 + i), self.splits.get(i as usize)?);
            if cutoff.excludes(id, 0) {
                return None;
            }
            if !self.kept.contains(&id) {
                return Some((id, split));
            }
        }
    }

    fn limit_reached(&self) -> bool {
        self.limit.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// Cuts a batch to what `--limit` leaves.
    fn within_limit(&self, batch: Batch) -> Batch {
        let Some(left) = &self.limit else { return batch };
        let rows = (left.load(Ordering::Relaxed) as usize).min(batch.rows());
        left.fetch_sub(rows as u64, Ordering::Relaxed);
        if rows < batch.rows() { batch.slice(0, rows) } else { batch }
    }
}

/// One thread of a source.
pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) reading: Arc<Reading>,
    pub(super) worker: Box<dyn SourceWorker>,
    pub(super) chain: Chain,
    pub(super) outlet: Outlet,
}

impl Reader {
    pub(super) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) && !self.reading.limit_reached() {
            let reading = Arc::clone(&self.reading);
            let Some((id, split)) = reading.next(&self.shared.cutoff) else { break };
            self.split(id, split);
        }
        self.shared.send(Event::WorkerEnded { stage: self.reading.stage });
    }

    fn split(&mut self, id: SplitId, split: &Split) {
        let Reader { shared, reading, worker, chain, outlet } = self;
        let ack = reading.tracker.open(id);
        reading.budget.open(id);
        shared.send(Event::Opened { split: id });
        let mut passage = Passage { shared, reading, chain, outlet, ack, split: id, seq: 0 };
        let how = match guard(&shared.plan, reading.stage, || worker.open(id, split)) {
            Ok(mut reader) => passage.read(reader.as_mut()),
            Err(failure) => Closed::Failed(failure),
        };
        passage.close(how);
    }
}

/// The way of one split's batches out of its reader.
struct Passage<'a> {
    shared: &'a Shared,
    reading: &'a Reading,
    chain: &'a mut Chain,
    outlet: &'a Outlet,
    ack: Ack,
    split: SplitId,
    seq: u64,
}

impl Passage<'_> {
    fn read(&mut self, reader: &mut dyn SplitReader) -> Closed {
        let mut rejects = Rejects::default();
        let (mut bytes, mut record) = (0, 0);
        loop {
            let stop = self.shared.stop.load(Ordering::Relaxed) || self.shared.cutoff.excludes(self.split, record);
            if stop || self.reading.limit_reached() {
                return Closed::Stopped;
            }
            let start = Instant::now();
            let read = guard(&self.shared.plan, self.reading.stage, || reader.next_batch(&mut rejects));
            let busy = start.elapsed();
            let before = std::mem::replace(&mut bytes, reader.bytes_read());
            if !rejects.is_empty() {
                rejects.of_file(reader.header());
            }
            let (batch, how) = match read {
                Ok(Some(batch)) => (Some(self.reading.within_limit(batch)), None),
                Ok(None) => (None, Some(Closed::Whole)),
                Err(failure) => (None, Some(Closed::Failed(failure))),
            };
            self.count(batch.as_ref(), &mut rejects, bytes - before, busy);
            match (batch, how) {
                (Some(batch), _) => {
                    record = batch.rows().checked_sub(1).map_or(record, |last| batch.origin.position(last).record);
                    self.pass(batch);
                }
                (None, how) => return how.unwrap_or(Closed::Whole),
            }
        }
    }

    fn count(&self, batch: Option<&Batch>, rejects: &mut Rejects, bytes: u64, busy: Duration) {
        let stage = self.reading.stage;
        let (output, rejected) = (batch.map_or(0, Batch::rows) as u64, rejects.len() as u64);
        self.shared.rejected(stage, rejects.take());
        let rows = RowCounts { input: output + rejected, output, rejected, ..RowCounts::default() };
        self.shared.send(Event::Worked { stage, split: self.split, rows, bytes, busy });
    }

    /// Sends a batch through the fused transforms and on, when the budget and the queues have room.
    fn pass(&mut self, batch: Batch) {
        let wait = Instant::now();
        let permit = during(Activity::WaitsForMemory, || {
            self.reading.budget.admit(self.split, batch.bytes(), &self.shared.stop)
        });
        let mut blocked = wait.elapsed();
        let batch = match self.chain.apply(self.shared, batch) {
            Ok(batch) => batch,
            Err(lost) => {
                self.ack.mark_incomplete();
                lost
            }
        };
        let wait = Instant::now();
        self.send(Some(batch), Some(permit));
        blocked += wait.elapsed();
        self.shared.send(Event::Waited { stage: self.reading.stage, idle: Duration::ZERO, blocked });
    }

    fn send(&mut self, batch: Option<Batch>, permit: Option<Arc<super::memory_budget::Permit>>) {
        let place = BatchPlace { split: self.split, seq: self.seq, lane: 0 };
        self.seq += 1;
        self.outlet.send(self.shared, Message { place, batch, ack: self.ack.clone(), permit });
    }

    /// Says that the split has no more, which stages that keep the input's order wait for.
    fn close(mut self, how: Closed) {
        // Under `--limit` the rows up to the limit are all that is asked for.
        let whole = how == Closed::Whole || (how == Closed::Stopped && self.reading.limit_reached());
        if !whole {
            // Known before the end of the split is: sinks that commit splits must not keep this one.
            self.ack.mark_incomplete();
            self.shared.partial.store(true, Ordering::SeqCst);
        }
        self.send(None, None);
        if let Closed::Failed(Failure { exit: Exit::Bug, .. }) = how {
            self.shared.stop.store(true, Ordering::SeqCst);
        }
        self.shared.send(Event::Closed { split: self.split, how });
        self.reading.budget.close(self.split);
        if whole {
            self.ack.acknowledge();
        }
    }
}
