//! What the loops of all pools share: passing on, counting, surviving a stage that fails.
//!
//! A stage that fails or panics does not stop the flow: its worker goes on taking messages and passes them
//! on empty, with their split marked incomplete. So queues drain, order is kept, and every row is counted.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use crossbeam_channel::Sender;

use super::{
    ack::Ack,
    activity::{Activity, during},
    commit_barrier::CommitBarrier,
    inbox::Inbox,
    message::{BatchPlace, Message},
    reject_limit::Cutoff,
};
use crate::{
    batch::{Batch, Origin, Reject, Rejects, SplitId},
    event::{Event, RowCounts, StageId, StopReason},
    failure::{Exit, Failure},
    plan::{Plan, PoolId, Role},
    stage::{Backlog, Held, Made, TransformWorker},
};

/// What all workers of a run can see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) events: Sender<Event>,
    /// Sources read no further.
    pub(super) stop: AtomicBool,
    /// Something is missing from the input or was lost on the way: what is whole or absent must stay absent.
    pub(super) partial: AtomicBool,
    /// The source of every split; behind them, for what gathering stages emit at the end, those stages.
    pub(super) source_of: Vec<StageId>,
    /// Acknowledgements of input that was gathered: they are given when the whole run is stored.
    pub(super) late: Mutex<BTreeMap<SplitId, Ack>>,
    /// Of every pool: opens when its sink may commit.
    pub(super) barriers: Vec<CommitBarrier>,
    /// How far sources need to read once there are too many rejects.
    pub(super) cutoff: Cutoff,
}

impl Shared {
    pub(super) fn send(&self, event: Event) {
        // The coordinator outlives the workers unless the run was aborted; then nobody counts any more.
        let _ = self.events.send(event);
    }

    /// A stage cannot go on: the sources need not read further.
    pub(super) fn fail(&self, stage: StageId, failure: Failure) {
        self.partial.store(true, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        self.send(Event::Failed { stage, failure });
        self.send(Event::Stopping { why: StopReason::Failure });
    }

    /// Keeps an acknowledgement until the end of the run; one of each split is enough.
    pub(super) fn late(&self, ack: Ack) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = late.insert(ack.split(), ack) {
            other.acknowledge();
        }
    }

    pub(super) fn rejected(&self, stage: StageId, rejects: Vec<Reject>) {
        if !rejects.is_empty() {
            self.send(Event::Rejected { stage, rejects });
        }
    }
}

/// Calls into a stage; a panic becomes a failure that names the stage.
pub(super) fn guard<T>(plan: &Plan, stage: StageId, call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // A worker that panicked is not called again, so whatever it left half done is never seen.
    during(Activity::Calls(stage), || catch_unwind(AssertUnwindSafe(call))).unwrap_or_else(|panic| {
        Err(Failure::new(Exit::Bug, format!("`{}` panicked: {}", plan.stages[stage].name, words(panic.as_ref()))))
    })
}

pub(super) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Where a pool's output goes.
#[derive(Debug, Clone)]
pub(super) struct Outlet(pub(super) Vec<Outgoing>);

/// One pool that reads the output.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// The first stage of that pool.
    pub(super) stage: StageId,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lanes: BTreeMap<StageId, u32>,
}

impl Outlet {
    /// True where nothing reads the output.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Passes a message on to every reader, waiting for room.
    pub(super) fn send(&self, shared: &Shared, message: Message) {
        let source = shared.source_of[message.place.split.0 as usize];
        for outgoing in &self.0 {
            let lane = message.place.lane + outgoing.lanes.get(&source).copied().unwrap_or(0);
            let message = Message { place: BatchPlace { lane, ..message.place }, ..message.clone() };
            during(Activity::Sends(outgoing.stage), || outgoing.inbox.send(message));
        }
        message.ack.acknowledge();
    }
}

/// The transforms of a pool, in order.
pub(super) struct Chain {
    links: Vec<Link>,
    /// The columns behind the last link, for batches that were lost on the way.
    empty: Option<RecordBatch>,
    /// Rows that the first transform has emitted at the end so far.
    made: u64,
}

struct Link {
    stage: StageId,
    worker: Box<dyn TransformWorker>,
    gathers: bool,
    broken: bool,
}

impl Chain {
    /// Workers for all transforms of a pool: its head, where that is one, and what is fused.
    pub(super) fn open(plan: &Plan, pool: PoolId) -> Result<Chain, Failure> {
        let pool = &plan.pools[pool];
        let mut links = Vec::new();
        for &stage in [pool.head].iter().chain(&pool.fused) {
            if let Role::Transform(transform) = &plan.stages[stage].role {
                links.push(Link {
                    stage,
                    worker: transform.worker()?,
                    gathers: transform.properties().pipeline_breaker,
                    broken: false,
                });
            }
        }
        let output = plan.stages[pool.last()].output.as_ref();
        Ok(Chain { links, empty: output.map(|schema| RecordBatch::new_empty(schema.arrow())), made: 0 })
    }

    /// Runs a batch through all links. `Err` holds what is left of a batch that a failing link lost: an
    /// empty one in its place.
    pub(super) fn apply(&mut self, shared: &Shared, batch: Batch) -> Result<Batch, Batch> {
        self.apply_from(0, shared, batch)
    }

    fn apply_from(&mut self, first: usize, shared: &Shared, mut batch: Batch) -> Result<Batch, Batch> {
        for link in &mut self.links[first..] {
            let (split, seq, input) = (batch.origin.split, batch.origin.seq, batch.rows() as u64);
            match link.apply(shared, batch) {
                Some(output) => batch = output,
                None => {
                    shared.send(Event::Worked {
                        stage: link.stage,
                        split,
                        rows: RowCounts { input, failed: input, ..RowCounts::default() },
                        bytes: 0,
                        busy: Duration::ZERO,
                    });
                    return Err(self.lost(split, seq));
                }
            }
        }
        Ok(batch)
    }

    /// Does its first transform put something out at the end?
    pub(super) fn gathers(&self) -> bool {
        self.links.first().is_some_and(|link| link.gathers)
    }

    /// What its first transform has held and spilled.
    pub(super) fn held(&self) -> Held {
        self.links.first().map_or_else(Held::default, |link| link.worker.held())
    }

    /// Nothing more is expected of the first transform: a row it was to be given is missing.
    pub(super) fn give_up(&mut self) {
        if let Some(link) = self.links.first_mut() {
            link.broken = true;
        }
    }

    /// The next batch of what the first transform emits at the end, run through the others.
    pub(super) fn finish(&mut self, shared: &Shared, split: SplitId, seq: u64) -> Option<Result<Batch, Batch>> {
        let link = self.links.first_mut().filter(|link| !link.broken)?;
        let start = Instant::now();
        let Made { records, refused } = match guard(&shared.plan, link.stage, || link.worker.finish()) {
            Ok(made) => made?,
            Err(failure) => {
                link.broken = true;
                shared.fail(link.stage, failure);
                return None;
            }
        };
        let (made, stage) = (records.num_rows() as u64, link.stage);
        let mut batch = Batch::new(records, Origin::made(split, seq, self.made + 1, made as usize));
        self.made += made;
        let rejected = refused.len() as u64;
        if rejected > 0 {
            let kept = kept(batch.rows(), refused.iter().map(|(row, ..)| *row));
            let mut rejects = Rejects::default();
            refused.into_iter().for_each(|(row, code, why)| rejects.push(&batch, row as usize, code, why));
            shared.rejected(stage, without_rows(rejects.take()));
            batch = batch.pick(kept);
        }
        let rows = RowCounts { made, output: made - rejected, rejected, ..RowCounts::default() };
        shared.send(Event::Worked { stage, split, rows, bytes: 0, busy: start.elapsed() });
        Some(self.apply_from(1, shared, batch))
    }

    /// Does its first transform keep all batches until the last is in?
    pub(super) fn has_backlog(&mut self) -> bool {
        self.links.first_mut().is_some_and(|link| link.worker.backlog().is_some())
    }

    /// Gives a batch to the first transform, which keeps it. `Err` holds what is left of one that it lost.
    pub(super) fn put_in_backlog(&mut self, shared: &Shared, number: u32, batch: Batch) -> Result<(), Batch> {
        let (split, seq, input, bytes) =
            (batch.origin.split, batch.origin.seq, batch.rows() as u64, batch.bytes() as u64);
        let start = Instant::now();
        let kept = self.links[0].with_backlog(shared, |backlog| backlog.put(number, batch)).is_some();
        // Its rows are counted when they come back.
        let failed = if kept { 0 } else { input };
        let rows = RowCounts { input: failed, failed, ..RowCounts::default() };
        let (stage, busy) = (self.links[0].stage, start.elapsed());
        shared.send(Event::Worked { stage, split, rows, bytes, busy });
        if kept { Ok(()) } else { Err(self.lost(split, seq)) }
    }

    /// The first transform has had its last batch. Has it lost nothing?
    pub(super) fn end_backlog(&mut self, shared: &Shared) -> bool {
        self.links[0].with_backlog(shared, |backlog| backlog.end()).is_some()
    }

    /// Tells the first transform in which order its batches are wanted back.
    pub(super) fn order_backlog(&mut self, shared: &Shared, numbers: &[u32]) {
        self.links[0].with_backlog(shared, |backlog| backlog.order(numbers));
    }

    /// What became of the next batch, run through the other links. `Err` holds what is left of one that was lost.
    pub(super) fn next_of_backlog(
        &mut self,
        shared: &Shared,
        BatchPlace { split, seq, .. }: BatchPlace,
        rows: usize,
    ) -> Result<Batch, Batch> {
        let link = &mut self.links[0];
        let (mut rejects, start) = (Rejects::default(), Instant::now());
        match link.with_backlog(shared, |backlog| backlog.next(split, seq, rows, &mut rejects)) {
            Some(batch) => {
                link.count(shared, &batch, rejects, (rows as u64, 0), start.elapsed());
                self.apply_from(1, shared, batch)
            }
            None => {
                let rows = RowCounts { input: rows as u64, failed: rows as u64, ..RowCounts::default() };
                shared.send(Event::Worked { stage: link.stage, split, rows, bytes: 0, busy: start.elapsed() });
                Err(self.lost(split, seq))
            }
        }
    }

    fn lost(&self, split: SplitId, seq: u64) -> Batch {
        let records = self.empty.clone().expect("a pool with transforms puts something out");
        Batch::new(records, Origin::derived(split, seq, 0))
    }
}

/// Rejects that cannot be given to their stage again as one of its rows: they are not rows of its input.
pub(super) fn without_rows(mut rejects: Vec<Reject>) -> Vec<Reject> {
    rejects.iter_mut().for_each(|reject| reject.row = None);
    rejects
}

/// The rows of `0..rows` but these, which ascend.
fn kept(rows: usize, without: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut without = without.peekable();
    (0..rows as u32).filter(|row| without.next_if_eq(row).is_none()).collect()
}

impl Link {
    /// Tells what became of a batch of so many rows and bytes.
    fn count(&self, shared: &Shared, output: &Batch, mut rejects: Rejects, size: (u64, u64), busy: Duration) {
        let (input, bytes) = size;
        let (out, rejected, dropped) = (output.rows() as u64, rejects.len() as u64, rejects.take_dropped());
        shared.rejected(self.stage, rejects.take());
        // A list's items become more rows than there were.
        let made = (out + rejected + dropped).saturating_sub(input);
        let gone = (input + made).saturating_sub(out + rejected);
        let filtered = if self.gathers { dropped } else { gone };
        let gathered = gone - filtered;
        let rows = RowCounts { input, output: out, rejected, filtered, gathered, made, ..RowCounts::default() };
        shared.send(Event::Worked { stage: self.stage, split: output.origin.split, rows, bytes, busy });
    }

    /// Calls into what keeps its batches; nothing comes of one that is broken.
    fn with_backlog<T>(
        &mut self,
        shared: &Shared,
        call: impl FnOnce(&mut dyn Backlog) -> Result<T, Failure>,
    ) -> Option<T> {
        if self.broken {
            return None;
        }
        let worker = &mut self.worker;
        let call = || worker.backlog().map_or_else(|| Err(Failure::new(Exit::Bug, "it keeps no batches")), call);
        match guard(&shared.plan, self.stage, call) {
            Ok(answer) => Some(answer),
            Err(failure) => {
                self.broken = true;
                shared.fail(self.stage, failure);
                None
            }
        }
    }

    fn apply(&mut self, shared: &Shared, batch: Batch) -> Option<Batch> {
        if self.broken {
            return None;
        }
        let size = (batch.rows() as u64, batch.bytes() as u64);
        let mut rejects = Rejects::default();
        let start = Instant::now();
        match guard(&shared.plan, self.stage, || self.worker.apply(batch, &mut rejects)) {
            Ok(output) => {
                self.count(shared, &output, rejects, size, start.elapsed());
                Some(output)
            }
            Err(failure) => {
                self.broken = true;
                shared.fail(self.stage, failure);
                None
            }
        }
    }
}
