//! Makes everything a run needs, before the first record is read: splits, workers, queues, pools. What
//! cannot be opened at all fails here, with nothing read and nothing written.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
};

use crossbeam_channel::Receiver;

use super::{
    Options,
    ack::Tracker,
    activity::{self, WorkerState},
    backlog::Waiting,
    commit_barrier::CommitBarrier,
    gauge::Gauge,
    inbox::Inbox,
    memory_budget::MemoryBudget,
    order::{Reorder, ordered},
    partition::Partition,
    queue::{QueueReceiver, queue},
    read::{Reader, Reading},
    reject_limit::Cutoff,
    resume::{Beginning, KeptSplit},
    watchdog::WorkerStates,
    work::Worker,
    worker::{Chain, Outgoing, Outlet, Shared, guard},
    write::{Held, Writer},
};
use crate::{
    batch::SplitId,
    event::{Event, StageId},
    failure::{Exit, Failure},
    plan::{DEFAULT_QUEUE, Edge, Intake, Plan, Pool, PoolId, Role},
    stage::{Mode, Split},
};

/// Events that may wait for the coordinator. It never waits for workers, so this only smooths bursts.
const EVENTS: usize = 1024;

/// A run under way.
pub(super) struct Launched {
    pub(super) shared: Arc<Shared>,
    pub(super) events: Receiver<Event>,
    /// The splits, by number.
    pub(super) splits: Vec<Split>,
    /// The queue before each pool.
    pub(super) gauges: Vec<(StageId, Arc<Gauge>)>,
    /// Workers of each pool.
    pub(super) workers: Vec<usize>,
    /// What each worker is doing.
    pub(super) states: WorkerStates,
    /// Kept alive until the run is over.
    pub(super) _pools: Vec<rayon::ThreadPool>,
}

impl Launched {
    /// The source of a split.
    pub(super) fn source_of(&self, split: SplitId) -> StageId {
        self.shared.source_of[split.0 as usize]
    }
}

/// One thread's work, whatever the pool is.
enum Task {
    Read(Reader),
    Work(Worker),
    Write(Writer),
}

/// A run with everything open and nothing read yet.
pub(super) struct Prepared {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    tasks: Tasks,
    gauges: Gauges,
}

impl Prepared {
    /// Opens the workers; none where there is nothing to read.
    pub(super) fn new(plan: &Arc<Plan>, options: &Options, beginning: &Beginning) -> Result<Self, Failure> {
        let (sender, events) = crossbeam_channel::bounded(EVENTS);
        let Beginning { listed, kept, .. } = beginning;
        let of_splits = listed.iter().flat_map(|(stage, splits)| splits.iter().map(|_| *stage));
        let source_of = of_splits.chain(gathering(plan)).collect();
        let splits = listed.iter().map(|(_, splits)| splits.len()).sum();
        let shared = Arc::new(Shared {
            plan: Arc::clone(plan),
            events: sender.clone(),
            stop: AtomicBool::new(false),
            partial: AtomicBool::new(false),
            source_of,
            late: Mutex::default(),
            cutoff: Cutoff::default(),
            barriers: plan.pools.iter().map(|_| CommitBarrier::default()).collect(),
        });
        let tracker = Tracker::new(splits, sender);
        let builder = Builder { plan, options, shared: &shared, tracker, listed, kept };
        let (tasks, gauges) = match beginning.all_stored() {
            true => (plan.pools.iter().map(|_| Vec::new()).collect(), Vec::new()),
            false => builder.tasks()?,
        };
        Ok(Prepared { shared, events, tasks, gauges })
    }

    /// Starts the threads.
    pub(super) fn start(self, beginning: &Beginning) -> Result<Launched, Failure> {
        let Prepared { shared, events, tasks, gauges } = self;
        let listed = &beginning.listed;
        let workers = tasks.iter().map(Vec::len).collect();
        // Told from here, not by the sources: the observer hears of all splits before anything is read.
        for (stage, first, splits) in numbered(listed) {
            shared.send(Event::Listed { stage, splits: splits.to_vec(), first });
        }
        if !beginning.kept.is_empty() {
            shared.send(Event::Kept { splits: beginning.kept.keys().copied().collect() });
        }
        let (mut pools, mut states) = (Vec::new(), WorkerStates::new());
        for ((id, pool), tasks) in
            shared.plan.pools.iter().enumerate().zip(tasks).filter(|(_, tasks)| !tasks.is_empty())
        {
            let own: Vec<Arc<WorkerState>> = tasks.iter().map(|_| Arc::default()).collect();
            states.extend(own.iter().map(|state| (Some(id), Arc::clone(state))));
            pools.push(start(&shared.plan.stages[pool.head].name, tasks, own)?);
        }
        let splits = listed.iter().flat_map(|(_, splits)| splits.iter().cloned()).collect();
        Ok(Launched { shared, events, splits, gauges, workers, states, _pools: pools })
    }
}

/// For every worker of a pool that gathers, its stage: what it emits at the end is a split of its own.
fn gathering(plan: &Plan) -> impl Iterator<Item = StageId> {
    let pools = plan.pools.iter().filter(|pool| plan.stages[pool.head].role.is_breaker());
    pools.flat_map(|pool| std::iter::repeat_n(pool.head, pool.workers))
}

/// Each source with the number of its first split.
fn numbered(listed: &[(StageId, Vec<Split>)]) -> impl Iterator<Item = (StageId, SplitId, &[Split])> {
    listed.iter().scan(0, |next, (stage, splits)| {
        let first = SplitId(*next);
        *next += splits.len() as u32;
        Some((*stage, first, splits.as_slice()))
    })
}

/// One pool with a thread per task.
fn start(name: &str, tasks: Vec<Task>, states: Vec<Arc<WorkerState>>) -> Result<rayon::ThreadPool, Failure> {
    let name = name.to_owned();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(tasks.len())
        .thread_name(move |i| format!("{name}-{i}"))
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, format!("cannot start threads: {error}")))?;
    let tasks: Vec<Mutex<Option<Task>>> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
    pool.spawn_broadcast(move |context| {
        Arc::clone(&states[context.index()]).enter();
        let task = tasks[context.index()].lock().unwrap_or_else(PoisonError::into_inner).take();
        match task {
            Some(Task::Read(reader)) => reader.run(),
            Some(Task::Work(worker)) => worker.run(),
            Some(Task::Write(writer)) => writer.run(),
            None => {}
        }
        activity::ended();
    });
    Ok(pool)
}

struct Builder<'a> {
    plan: &'a Arc<Plan>,
    options: &'a Options,
    shared: &'a Arc<Shared>,
    tracker: Arc<Tracker>,
    listed: &'a [(StageId, Vec<Split>)],
    /// Splits that are not read again.
    kept: &'a BTreeMap<SplitId, KeptSplit>,
}

type Tasks = Vec<Vec<Task>>;
type Gauges = Vec<(StageId, Arc<Gauge>)>;

impl Builder<'_> {
    /// The work of every thread of every pool. Pools are made from the sinks back, so that the inboxes a
    /// pool writes to exist; an inbox closes when the last worker that writes to it has ended.
    fn tasks(&self) -> Result<(Tasks, Gauges), Failure> {
        // By pool, and whether it is the way into its second input.
        let mut inboxes: BTreeMap<(PoolId, bool), Arc<Inbox>> = BTreeMap::new();
        let mut tasks = Vec::new();
        let mut gauges = Vec::new();
        for (id, pool) in self.plan.pools.iter().enumerate().rev() {
            let outgoing = |edge: &Edge| {
                let inbox = Arc::clone(&inboxes[&(edge.to, edge.side)]);
                let stage = self.plan.pools[edge.to].head;
                Outgoing { stage, inbox, lanes: edge.lanes.clone() }
            };
            let outlet = Outlet(pool.next.iter().map(outgoing).collect());
            let (inbox, receivers) = self.intake(id, pool, &mut gauges);
            let side = self.plan.stages[pool.head].side.map(|_| queue(DEFAULT_QUEUE, self.queue_bytes()));
            let (side_sender, side_receiver) =
                side.map(|(sender, receiver)| (sender, QueueReceiver::Any(receiver))).unzip();
            tasks.push(self.pool(id, pool, receivers, side_receiver, &outlet)?);
            inboxes.extend(inbox.map(|inbox| ((id, false), Arc::new(inbox))));
            inboxes.extend(side_sender.map(|sender| ((id, true), Arc::new(Inbox::Any(sender)))));
        }
        tasks.reverse();
        Ok((tasks, gauges))
    }

    /// The queues of a pool: the way in, and each worker's end.
    fn intake(&self, id: PoolId, pool: &Pool, gauges: &mut Gauges) -> (Option<Inbox>, Vec<QueueReceiver>) {
        let bytes = self.queue_bytes();
        let mut ordered = |order| {
            let (sender, receiver) = ordered(order, pool.queue, bytes);
            gauges.push((pool.head, sender.gauge()));
            (sender, QueueReceiver::Ordered(receiver))
        };
        match pool.intake {
            Intake::Splits => (None, Vec::new()),
            Intake::Any => {
                let (sender, receiver) = queue(pool.queue, bytes);
                gauges.push((pool.head, sender.gauge()));
                let receivers = vec![receiver; pool.workers].into_iter().map(QueueReceiver::Any);
                (Some(Inbox::Any(sender)), receivers.collect())
            }
            Intake::Ordered | Intake::BySplit => {
                let worker = |worker| ordered(self.reorder(pool, worker, pool.workers));
                let (senders, receivers) = (0..pool.workers).map(worker).unzip();
                (Some(Inbox::Ordered(senders)), receivers)
            }
            Intake::Keyed(_) => {
                let (senders, receivers) = (0..pool.workers).map(|_| ordered(self.reorder(pool, 0, 1))).unzip();
                (Some(Inbox::Keyed(Partition::new(Arc::clone(self.plan), id), senders)), receivers)
            }
        }
    }

    /// The order of the splits that come to one of so many workers, which have them in turn.
    fn reorder(&self, pool: &Pool, worker: usize, workers: usize) -> Reorder {
        let splits = self.shared.source_of.iter().enumerate().skip(worker).step_by(workers);
        let splits = splits.map(|(split, source)| (SplitId(split as u32), source));
        let read = splits.filter(|(split, _)| !self.kept.contains_key(split));
        let arrivals = read.filter_map(|(split, source)| pool.arrivals.get(source).map(|lanes| (split, *lanes)));
        Reorder::new(arrivals.collect())
    }

    /// Half of the job's memory is for the queues, all alike; the other half is for the budgets.
    fn queue_bytes(&self) -> usize {
        let queues: usize = self
            .plan
            .pools
            .iter()
            .map(|pool| match pool.intake {
                Intake::Splits => 0,
                Intake::Any => 1,
                Intake::Ordered | Intake::BySplit | Intake::Keyed(_) => pool.workers,
            })
            .sum();
        self.plan.limits.memory.0 as usize / 2 / queues.max(1)
    }

    fn gate_bytes(&self) -> usize {
        self.plan.limits.memory.0 as usize / 2 / self.listed.len().max(1)
    }

    fn pool(
        &self,
        id: PoolId,
        pool: &Pool,
        receivers: Vec<QueueReceiver>,
        side: Option<QueueReceiver>,
        outlet: &Outlet,
    ) -> Result<Vec<Task>, Failure> {
        match &self.plan.stages[pool.head].role {
            Role::Source(source) => {
                let reading = Arc::new(self.reading(pool.head));
                let workers = if self.options.limit.is_some() { 1 } else { pool.workers };
                let workers = workers.min(reading.splits.len()).max(1);
                let reader = |_| {
                    let (worker, chain) =
                        (guard(self.plan, pool.head, || source.worker())?, Chain::open(self.plan, id)?);
                    let (shared, reading) = (Arc::clone(self.shared), Arc::clone(&reading));
                    Ok(Task::Read(Reader { shared, reading, worker, chain, outlet: outlet.clone() }))
                };
                (0..workers).map(reader).collect()
            }
            Role::Transform(transform) => {
                let mut side = side.and_then(|queue| Some((queue, transform.side()?)));
                let ready = side.is_some().then(CommitBarrier::default);
                let mut own = self.own_splits(pool.head);
                let waiting = Arc::new(Waiting::new(receivers.len()));
                let worker = |queue| {
                    let (shared, chain) = (Arc::clone(self.shared), Chain::open(self.plan, id)?);
                    let (stage, batch, outlet) = (pool.head, pool.batch, outlet.clone());
                    let (ready, side, own) = (ready.clone(), side.take(), own.next().unwrap_or(SplitId(0)));
                    let waiting = Arc::clone(&waiting);
                    Ok(Task::Work(Worker { shared, stage, queue, batch, chain, outlet, own, ready, waiting, side }))
                };
                receivers.into_iter().map(worker).collect()
            }
            Role::Sink(sink) => {
                let writer = |queue| {
                    let worker = Some(guard(self.plan, pool.head, || sink.worker(self.options.mode))?);
                    let (shared, outlet) = (Arc::clone(self.shared), outlet.clone());
                    let (stage, batch, held) = (pool.head, pool.batch, Held::default());
                    let (guarantee, behind) = (sink.properties().guarantee, false);
                    Ok(Task::Write(Writer { shared, stage, queue, worker, batch, guarantee, behind, outlet, held }))
                };
                receivers.into_iter().map(writer).collect()
            }
        }
    }

    /// The splits of what a stage emits at the end, one per worker.
    fn own_splits(&self, stage: StageId) -> impl Iterator<Item = SplitId> + use<> {
        let all = self.shared.source_of.clone().into_iter().enumerate();
        all.filter(move |(_, source)| *source == stage).map(|(split, _)| SplitId(split as u32))
    }

    fn reading(&self, stage: StageId) -> Reading {
        let (first, splits) = numbered(self.listed)
            .find_map(|(source, first, splits)| (source == stage).then(|| (first, splits.to_vec())))
            .expect("every source was listed");
        let kept = self.kept.range(first..).map(|(split, _)| *split).collect();
        Reading {
            stage,
            splits,
            first,
            kept,
            next: AtomicU32::new(0),
            budget: MemoryBudget::new(self.gate_bytes()),
            tracker: Arc::clone(&self.tracker),
            limit: self.options.limit.map(AtomicU64::new),
        }
    }
}

impl Options {
    /// Are `done` actions to run? Not in a rehearsal, and not for input that was read in part.
    pub(super) fn settles(&self) -> bool {
        self.mode == Mode::Write && self.limit.is_none()
    }
}
