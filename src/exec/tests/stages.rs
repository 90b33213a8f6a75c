//! Stages and plans for tests: rows are the numbers from 0 on, in splits of batches.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, cast::AsArray, types::Int64Type};

use crate::{
    batch::{Batch, Block, Column, ColumnType, Origin, Reject, RejectCode, Rejects, Schema, SplitId},
    event::{Event, Observer, RowCounts},
    exec::{LedgerUse, Options, Outcome, Signals, run},
    failure::{Exit, Failure},
    jobspec::{Common, Limits, RejectLimit},
    kind::Workers,
    plan::{Plan, PoolRequest, Role, Stage, pools},
    report::Tally,
    stage::{
        Committed, Detail, Guarantee, Mode, Sink, SinkProperties, SinkWorker, Source, SourceWorker, Split, SplitReader,
        Transform, TransformWorker, Written,
    },
};

pub(super) fn schema() -> Schema {
    Schema::new(vec![Column { name: "n".into(), column_type: ColumnType::Int64, nullable: false }])
}

pub(super) fn numbers(batch: &Batch) -> Vec<i64> {
    batch.records.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// A source of `splits` splits of `batches` batches of `rows` rows.
#[derive(Clone)]
pub(super) struct Count {
    pub(super) splits: u64,
    pub(super) batches: u64,
    pub(super) rows: u64,
    /// This batch of this split fails.
    pub(super) fails_at: Option<(u64, u64)>,
    /// Called before each batch is made.
    pub(super) before: Arc<dyn Fn(u64, u64) + Send + Sync>,
    pub(super) made: Arc<AtomicUsize>,
    /// Splits that `done` was called for.
    pub(super) done: Arc<Mutex<Vec<u64>>>,
}

impl Count {
    pub(super) fn new(splits: u64, batches: u64, rows: u64) -> Self {
        let (before, made) = (Arc::new(|_, _| ()), Arc::default());
        Count { splits, batches, rows, fails_at: None, before, made, done: Arc::default() }
    }
}

impl Source for Count {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        let size = self.batches * self.rows;
        let split =
            |i| Split { name: format!("split {i}"), detail: Detail::Rows { start: i * size, end: (i + 1) * size } };
        Ok((0..self.splits).map(split).collect())
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn done(&self, split: &Split) -> Result<Option<String>, Failure> {
        let number = split.name.trim_start_matches("split ").parse().expect("made above");
        self.done.lock().expect("no test panics here").push(number);
        Ok(None)
    }
}

impl SourceWorker for Count {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let number: u64 = split.name.trim_start_matches("split ").parse().expect("made above");
        Ok(Box::new(Reader { of: self, id, number, seq: 0 }))
    }
}

struct Reader<'a> {
    of: &'a Count,
    id: SplitId,
    number: u64,
    seq: u64,
}

impl SplitReader for Reader<'_> {
    fn next_batch(&mut self, _rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        let of = self.of;
        (of.before)(self.number, self.seq);
        if of.fails_at == Some((self.number, self.seq)) {
            return Err(Failure::new(Exit::Io, "bad sector"));
        }
        if self.seq == of.batches {
            return Ok(None);
        }
        let first = (self.number * of.batches + self.seq) * of.rows;
        let values: Int64Array = (first as i64..(first + of.rows) as i64).collect();
        let records = RecordBatch::try_new(schema().arrow(), vec![Arc::new(values) as ArrayRef]).expect("one column");
        let block = Block { first_record: self.seq * of.rows + 1, ..Block::default() };
        let origin = Origin::new(self.id, self.seq, block, of.rows as usize);
        self.seq += 1;
        of.made.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Batch::new(records, origin)))
    }
}

/// A transform that keeps a row, drops it, refuses it, fails or panics, as the function says.
pub(super) struct Sift(pub(super) Arc<dyn Fn(i64) -> Fate + Send + Sync>);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Drop,
    Refuse,
    Fail,
    Panic,
}

impl Transform for Sift {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(Sift(Arc::clone(&self.0))))
    }
}

impl TransformWorker for Sift {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let mut kept = Vec::new();
        for (row, n) in numbers(&batch).into_iter().enumerate() {
            match (self.0)(n) {
                Fate::Keep => kept.push(row as u32),
                Fate::Drop => {}
                Fate::Refuse => rejects.push(&batch, row, RejectCode("refused"), format!("{n} is refused")),
                Fate::Fail => return Err(Failure::new(Exit::Unavailable, "cannot go on")),
                Fate::Panic => panic!("did not expect {n}"),
            }
        }
        Ok(batch.pick(kept))
    }
}

/// What a test does before a batch is written.
type BeforeWrite = dyn Fn(&Batch) -> Result<(), Failure> + Send + Sync;

/// How rows come to a sink of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// In any order.
    Any,
    /// In input order, to one worker.
    Ordered,
    /// A split to one of the workers.
    BySplit,
    /// Equal keys to one of the workers, in input order.
    ByKey,
}

/// A sink that remembers which worker was handed what.
#[derive(Clone)]
pub(super) struct Collect {
    pub(super) delivery: Delivery,
    pub(super) rows: Arc<Mutex<BTreeMap<usize, Vec<i64>>>>,
    /// The largest batch it was handed.
    pub(super) largest: Arc<AtomicUsize>,
    /// Called before each write.
    pub(super) before: Arc<BeforeWrite>,
    pub(super) durable: bool,
    /// Does the end of a split make its rows durable? Noted in `ended`.
    pub(super) ends_splits: bool,
    /// The end of this split fails.
    pub(super) fails_to_end: Option<u32>,
    pub(super) needs_order: bool,
    pub(super) ended: Arc<Mutex<Vec<String>>>,
    /// Was `commit` called?
    pub(super) committed: Arc<AtomicBool>,
    workers: Arc<AtomicUsize>,
}

impl Collect {
    pub(super) fn new(delivery: Delivery) -> Self {
        Collect {
            delivery,
            rows: Arc::default(),
            largest: Arc::default(),
            before: Arc::new(|_| Ok(())),
            durable: true,
            ends_splits: false,
            fails_to_end: None,
            needs_order: false,
            ended: Arc::default(),
            committed: Arc::default(),
            workers: Arc::default(),
        }
    }

    /// All rows, in the order they were written by each worker, workers one after the other.
    pub(super) fn all(&self) -> Vec<i64> {
        self.rows.lock().expect("no test panics here").values().flatten().copied().collect()
    }
}

impl Sink for Collect {
    fn properties(&self) -> SinkProperties {
        let guarantee = match self.delivery {
            Delivery::Any => Guarantee::AnyOrder,
            Delivery::ByKey => Guarantee::LastWins,
            Delivery::Ordered if !self.durable && !self.ends_splits => Guarantee::AllOrNothing,
            Delivery::Ordered | Delivery::BySplit => Guarantee::ExactlyOnce { replaces: self.needs_order },
        };
        guarantee.into()
    }

    fn worker(&self, _mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        Ok(Box::new(Collector { of: self.clone(), number: self.workers.fetch_add(1, Ordering::SeqCst) }))
    }
}

struct Collector {
    of: Collect,
    number: usize,
}

impl SinkWorker for Collector {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        (self.of.before)(batch)?;
        self.of.largest.fetch_max(batch.rows(), Ordering::SeqCst);
        self.of.rows.lock().expect("no test panics here").entry(self.number).or_default().extend(numbers(batch));
        let output = Some(batch.clone());
        Ok(Written { accepted: batch.rows() as u64, durable: self.of.durable, output, ..Written::default() })
    }

    fn commit_split(&mut self, split: SplitId, _may_refuse: bool) -> Result<Committed, Failure> {
        if self.of.fails_to_end == Some(split.0) {
            return Err(Failure::new(Exit::Io, "disk full"));
        }
        self.of.ended.lock().expect("no test panics here").push(format!("end {}", split.0));
        Ok(self.of.ends_splits.into())
    }

    fn discard_split(&mut self, split: SplitId) -> Result<(), Failure> {
        self.of.ended.lock().expect("no test panics here").push(format!("drop {}", split.0));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.of.committed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// A gate that threads wait at until a test opens it.
#[derive(Clone, Default)]
pub(super) struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    pub(super) fn open(&self) {
        *self.0.0.lock().expect("no test panics here") = true;
        self.0.1.notify_all();
    }

    pub(super) fn wait(&self) {
        let open = self.0.0.lock().expect("no test panics here");
        drop(self.0.1.wait_while(open, |open| !*open).expect("no test panics here"));
    }
}

/// A plan under construction.
pub(super) struct Job {
    pub(super) stages: Vec<Stage>,
    pub(super) requests: Vec<PoolRequest>,
    pub(super) limits: Limits,
}

impl Job {
    pub(super) fn new() -> Self {
        let limits = Limits { rejects: RejectLimit::Count(u64::MAX), ..Limits::default() };
        Job { stages: Vec::new(), requests: Vec::new(), limits }
    }

    pub(super) fn source(&mut self, source: &Count, workers: usize) -> usize {
        let role = Role::Source(Box::new(source.clone()));
        self.add(role, &[], Common { concurrency: Some(workers), ..Common::default() }, None)
    }

    pub(super) fn any_source(&mut self, source: impl Source + 'static, workers: usize) -> usize {
        let common = Common { concurrency: Some(workers), ..Common::default() };
        self.add(Role::Source(Box::new(source)), &[], common, None)
    }

    /// With one worker, whatever it is.
    pub(super) fn any_sink(&mut self, sink: impl Sink + 'static, inputs: &[usize]) -> usize {
        self.add(Role::Sink(Box::new(sink)), inputs, Common::default(), None)
    }

    /// A transform in a pool of its own, or fused where `workers` is 0.
    pub(super) fn sift(
        &mut self,
        inputs: &[usize],
        workers: usize,
        fate: impl Fn(i64) -> Fate + Send + Sync + 'static,
    ) -> usize {
        let common = Common { concurrency: (workers > 0).then_some(workers), ..Common::default() };
        self.add(Role::Transform(Box::new(Sift(Arc::new(fate)))), inputs, common, None)
    }

    pub(super) fn transform(
        &mut self,
        transform: impl Transform + 'static,
        inputs: &[usize],
        side: Option<usize>,
        workers: usize,
    ) -> usize {
        let common = Common { concurrency: Some(workers), ..Common::default() };
        let id = self.add(Role::Transform(Box::new(transform)), inputs, common, None);
        self.stages[id].side = side;
        id
    }

    pub(super) fn keyed(
        &mut self,
        transform: impl Transform + 'static,
        inputs: &[usize],
        workers: usize,
        key: &str,
    ) -> usize {
        let common = Common { concurrency: Some(workers), ..Common::default() };
        self.add(Role::Transform(Box::new(transform)), inputs, common, Some(key))
    }

    pub(super) fn sink(&mut self, sink: &Collect, inputs: &[usize], common: Common, key: Option<&str>) -> usize {
        self.add(Role::Sink(Box::new(sink.clone())), inputs, common, key)
    }

    pub(super) fn add(&mut self, role: Role, inputs: &[usize], common: Common, key: Option<&str>) -> usize {
        let id = self.stages.len();
        let ordered = role.is_sink() && common.concurrency.is_none();
        let workers = if ordered { Workers::One("test") } else { Workers::Default(1) };
        let partition = key.map(|text| crate::expr::compile(text, &schema()).expect("a legal key"));
        let (output, inputs) = (Some(schema()), inputs.to_vec());
        self.stages.push(Stage {
            name: format!("s{id}"),
            kind: "test",
            role,
            inputs,
            side: None,
            output,
            notes: Vec::new(),
        });
        self.requests.push(PoolRequest { common, workers, partition });
        id
    }

    pub(super) fn plan(self) -> Arc<Plan> {
        let pools = pools(&self.stages, self.requests, 2);
        Arc::new(Plan {
            name: "test".into(),
            description: None,
            digest: String::new(),
            digests: BTreeMap::new(),
            now: crate::expr::clock::now(),
            limits: self.limits,
            rejects: None,
            report: None,
            state: std::env::temp_dir(),
            adopts: false,
            samples: false,
            keep: 20,
            stages: self.stages,
            pools,
        })
    }

    pub(super) fn run(self) -> Ran {
        run_plan(&self.plan(), None, &Signals::default())
    }
}

/// What a run left behind.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) tally: Tally,
    /// Most batches that ever waited in a queue, by the stage behind it.
    pub(super) high: BTreeMap<usize, u64>,
    pub(super) rejects: Vec<Reject>,
    /// What became of rows, batch by batch.
    pub(super) worked: Vec<(usize, RowCounts)>,
}

pub(super) fn run_plan(plan: &Arc<Plan>, limit: Option<u64>, signals: &Signals) -> Ran {
    struct Watch {
        tally: Tally,
        high: BTreeMap<usize, u64>,
        rejects: Vec<Reject>,
        worked: Vec<(usize, RowCounts)>,
    }
    impl Observer for Watch {
        fn on(&mut self, event: &Event) {
            self.tally.on(event);
            if let Event::Queue { stage, high } = event {
                self.high.insert(*stage, high.batches);
            }
            if let Event::Rejected { rejects, .. } = event {
                self.rejects.extend_from_slice(rejects);
            }
            if let Event::Worked { stage, rows, .. } = event {
                self.worked.push((*stage, *rows));
            }
        }
    }
    let (tally, high) = (Tally::new(Arc::clone(plan)), BTreeMap::new());
    let mut watch = Watch { tally, high, rejects: Vec::new(), worked: Vec::new() };
    let outcome = run(plan, &Options { mode: Mode::Write, limit, ledger: LedgerUse::Off }, signals, &mut watch);
    if outcome.aborted.is_none() {
        assert_eq!(watch.tally.imbalances(), Vec::<String>::new(), "rows do not add up");
    }
    Ran { outcome, tally: watch.tally, high: watch.high, rejects: watch.rejects, worked: watch.worked }
}
