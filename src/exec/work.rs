//! The loop of a pool of transforms: take a message, apply, pass on; at the end, emit what was gathered.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    ack::Ack,
    activity::{Activity, during},
    backlog::{Taken, Waiter, Waiting},
    commit_barrier::CommitBarrier,
    message::{BatchPlace, Message},
    queue::QueueReceiver,
    worker::{Chain, Outlet, Shared, guard, without_rows},
};
use crate::{
    batch::{Batch, Rejects, SplitId},
    event::{Event, RowCounts, StageId},
    jobspec::BatchSize,
    stage::{Held, Side},
};

/// One thread of a pool of transforms.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) stage: StageId,
    pub(super) queue: QueueReceiver,
    /// The most it is handed at once.
    pub(super) batch: Option<BatchSize>,
    pub(super) chain: Chain,
    pub(super) outlet: Outlet,
    /// The split of the rows that it emits at the end.
    pub(super) own: SplitId,
    /// Where there is a second input: what the workers wait for.
    pub(super) ready: Option<CommitBarrier>,
    /// Messages whose batches the stage keeps until the last is in, if it does.
    pub(super) waiting: Arc<Waiting>,
    /// Of one worker, where there is a second input: its way in and what takes it.
    pub(super) side: Option<(QueueReceiver, Box<dyn Side>)>,
}

impl Worker {
    pub(super) fn run(mut self) {
        if let (Some((queue, side)), Some(ready)) = (self.side.take(), &self.ready) {
            ready.open(self.take_side(&queue, side));
        }
        if self.ready.as_ref().is_some_and(|ready| !during(Activity::WaitsForSide, || ready.wait())) {
            self.chain.give_up();
        }
        if self.chain.has_backlog() {
            self.run_later();
        } else {
            self.take_all(Self::take);
        }
        self.finish();
        self.shared.send(Event::WorkerEnded { stage: self.stage });
    }

    /// Takes all messages, each by `take`, which answers when it began to pass on.
    fn take_all(&mut self, mut take: impl FnMut(&mut Self, Message) -> Instant) {
        let mut wait = Instant::now();
        while let Some(message) = self.queue.recv() {
            let idle = wait.elapsed();
            let start = take(self, message);
            self.shared.send(Event::Waited { stage: self.stage, idle, blocked: start.elapsed() });
            wait = Instant::now();
        }
    }

    /// Gives all batches to the stage. The last worker passes on what became of them.
    fn run_later(&mut self) {
        let mut mine = Vec::new();
        self.take_all(|worker, message| {
            mine.extend(worker.keep(message));
            Instant::now()
        });
        let sound = self.chain.end_backlog(&self.shared);
        let waiting = Arc::clone(&self.waiting);
        let Some((all, sound)) = waiting.end(mine, sound) else { return };
        if sound {
            let numbers: Vec<u32> = all.iter().filter_map(|waiter| Some(waiter.batch?.number)).collect();
            self.chain.order_backlog(&self.shared, &numbers);
        } else {
            self.chain.give_up();
        }
        for Waiter { place, ack, batch } in all {
            let batch = batch.map(|taken| {
                self.chain.next_of_backlog(&self.shared, place, taken.rows).unwrap_or_else(|lost| {
                    ack.mark_incomplete();
                    lost
                })
            });
            self.pass_on(Message { place, batch, ack, permit: None });
        }
        // One that gathers has not emitted all yet.
        if !self.chain.gathers() {
            self.shared.send(Event::Held { stage: self.stage, held: self.chain.held() });
        }
    }

    /// Gives a batch to the stage, with its message to come later. A batch that is lost is passed on at once, empty.
    fn keep(&mut self, Message { place, batch, ack, .. }: Message) -> Option<Waiter> {
        let Some(batch) = batch else { return Some(Waiter { place, ack, batch: None }) };
        let taken = Taken { number: self.waiting.number(), rows: batch.rows() };
        match self.chain.put_in_backlog(&self.shared, taken.number, batch) {
            Ok(()) => Some(Waiter { place, ack, batch: Some(taken) }),
            Err(lost) => {
                ack.mark_incomplete();
                self.outlet.send(&self.shared, Message { place, batch: Some(lost), ack, permit: None });
                None
            }
        }
    }

    /// Applies the chain to a message and passes it on; answers when it began to do that.
    fn take(&mut self, Message { place, batch, ack, permit }: Message) -> Instant {
        let batch = batch.map(|batch| self.apply(batch, &ack));
        let start = Instant::now();
        self.pass_on(Message { place, batch, ack, permit });
        start
    }

    /// Passes a message on. The input of a stage that gathers counts as stored when the whole run is.
    fn pass_on(&self, message: Message) {
        if self.chain.gathers() {
            self.shared.late(message.ack.clone());
        }
        self.outlet.send(&self.shared, message);
    }

    /// Applies the chain to a batch, in parts where the spec asks for smaller ones.
    fn apply(&mut self, batch: Batch, ack: &Ack) -> Batch {
        let size = self.batch.unwrap_or(BatchSize { rows: usize::MAX, bytes: usize::MAX });
        let parts = batch.cut(size.rows, size.bytes).into_iter().map(|part| {
            self.chain.apply(&self.shared, part).unwrap_or_else(|lost| {
                ack.mark_incomplete();
                lost
            })
        });
        Batch::concat(parts.collect()).expect("a batch has one part at least, and all have the same columns")
    }

    /// Takes the second input to its end. False where some of it is missing: then no answer would be right.
    fn take_side(&self, queue: &QueueReceiver, mut side: Box<dyn Side>) -> bool {
        let (shared, stage) = (&self.shared, self.stage);
        let mut sound = true;
        while let Some(Message { place, batch, ack, .. }) = queue.recv() {
            if let Some(batch) = batch {
                let (start, input, bytes) = (Instant::now(), batch.rows() as u64, batch.bytes() as u64);
                let mut rejects = Rejects::default();
                if sound && let Err(failure) = guard(&shared.plan, stage, || side.add(batch, &mut rejects)) {
                    shared.fail(stage, failure);
                    sound = false;
                }
                let rejected = rejects.len() as u64;
                shared.rejected(stage, without_rows(rejects.take()));
                let rest = input - rejected;
                let (gathered, failed) = if sound { (rest, 0) } else { (0, rest) };
                let rows = RowCounts { input, rejected, gathered, failed, ..RowCounts::default() };
                shared.send(Event::Worked { stage, split: place.split, rows, bytes, busy: start.elapsed() });
            }
            if sound {
                shared.late(ack);
            }
        }
        if let Err(failure) = guard(&shared.plan, stage, || side.finish()) {
            shared.fail(stage, failure);
            sound = false;
        }
        sound && !shared.partial.load(Ordering::SeqCst)
    }

    /// Emits what was gathered, and says what was held.
    fn finish(&mut self) {
        let emitted = self.chain.gathers().then(|| self.emit());
        let held = self.chain.held();
        if held != Held::default() {
            self.shared.send(Event::Held { stage: self.stage, held });
        }
        if let Some(seq) = emitted {
            self.send(seq, None);
        }
    }

    /// Emits what was gathered, and says how many batches that were. Where something is missing from the input nothing is: a
    /// sum over a part is a wrong sum.
    fn emit(&mut self) -> u64 {
        let mut seq = 0;
        if !self.shared.partial.load(Ordering::SeqCst) {
            while let Some(batch) = self.chain.finish(&self.shared, self.own, seq) {
                self.send(seq, Some(batch.unwrap_or_else(|lost| lost)));
                seq += 1;
            }
        }
        seq
    }

    fn send(&self, seq: u64, batch: Option<Batch>) {
        let place = BatchPlace { split: self.own, seq, lane: 0 };
        self.outlet.send(&self.shared, Message { place, batch, ack: Ack::of_none(self.own), permit: None });
    }
}
