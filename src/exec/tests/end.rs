//! What happens at the end of the input and of splits: gathered rows come out, second inputs are there before
//! the first, output waits for its split to be durable.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};

use super::stages::{Collect, Count, Delivery, Fate, Job, numbers, schema};
use crate::{
    batch::{Batch, RejectCode, Rejects, SplitId},
    failure::{Exit, Failure},
    jobspec::Common,
    stage::{Backlog, Made, Side, Transform, TransformProperties, TransformWorker},
};

fn rows(values: Vec<i64>) -> RecordBatch {
    RecordBatch::try_new(schema().arrow(), vec![Arc::new(Int64Array::from(values)) as ArrayRef]).expect("one column")
}

/// Emits the sum of its rows, then their number.
#[derive(Clone, Default)]
struct Sum {
    sum: i64,
    count: i64,
    told: usize,
}

impl Transform for Sum {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties { pipeline_breaker: true, ..TransformProperties::default() }
    }
}

impl TransformWorker for Sum {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        self.sum += numbers(&batch).iter().sum::<i64>();
        self.count += batch.rows() as i64;
        Ok(batch.pick(Vec::new()))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        self.told += 1;
        Ok([None, Some(rows(vec![self.sum])), Some(rows(vec![self.count])), None][self.told].take().map(Made::from))
    }
}

#[test]
fn a_gathering_transform_puts_out_its_result_after_the_last_row() {
    let (count, sink) = (Count::new(3, 4, 5), Collect::new(Delivery::Ordered));
    let mut job = Job::new();
    let source = job.source(&count, 3);
    let sum = job.transform(Sum::default(), &[source], None, 1);
    let after = job.sift(&[sum], 0, |n| if n == 60 { Fate::Drop } else { Fate::Keep });
    job.sink(&sink, &[after], Common::default(), None);
    let ran = job.run();
    assert_eq!(sink.all(), [(0..60).sum::<i64>()], "the number is dropped by the transform behind");
    assert_eq!(ran.outcome.exit(), Exit::Done);
    assert_eq!(*count.done.lock().expect("no panic"), [0, 1, 2], "gathered input is done when the run is");
}

#[test]
fn nothing_is_put_out_of_input_that_is_not_whole() {
    let (count, sink) = (Count { fails_at: Some((2, 1)), ..Count::new(3, 4, 5) }, Collect::new(Delivery::Ordered));
    let mut job = Job::new();
    let source = job.source(&count, 1);
    let sum = job.transform(Sum::default(), &[source], None, 1);
    job.sink(&sink, &[sum], Common::default(), None);
    let ran = job.run();
    assert_eq!((ran.outcome.exit(), sink.all()), (Exit::Io, vec![]));
    assert!(count.done.lock().expect("no panic").is_empty(), "what was gathered of whole splits is lost too");
}

#[test]
fn keyed_gathering_puts_out_worker_by_worker() {
    let sink = Collect::new(Delivery::Ordered);
    let mut job = Job::new();
    let source = job.source(&Count::new(3, 4, 5), 2);
    let sum = job.keyed(Sum::default(), &[source], 3, "n % 9");
    job.sink(&sink, &[sum], Common::default(), None);
    job.run();
    let all = sink.all();
    let (sums, counts): (Vec<i64>, Vec<i64>) = all.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
    assert_eq!((sums.len(), sums.iter().sum::<i64>(), counts.iter().sum::<i64>()), (3, (0..60).sum(), 60));
}

/// Emits its rows as they came, but refuses what divides by 7.
#[derive(Clone, Default)]
pub(super) struct AsTheyCame(Vec<i64>);

impl Transform for AsTheyCame {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties::BREAKER
    }
}

impl TransformWorker for AsTheyCame {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        self.0.extend(numbers(&batch));
        Ok(batch.pick(Vec::new()))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        let left = self.0.split_off(self.0.len().min(100));
        let values = std::mem::replace(&mut self.0, left);
        let sevens = values.iter().zip(0..).filter(|(n, _)| **n % 7 == 0);
        let refused = sevens.map(|(n, row)| (row, RejectCode("seven"), format!("{n} divides by 7"))).collect();
        Ok((!values.is_empty()).then(|| Made { records: rows(values), refused }))
    }
}

/// Passes on what divides by 3, drops what divides by 2, and at the end emits the sum of the others. With a backlog it gives
/// all batches back after the last.
#[derive(Clone, Default)]
struct Thirds {
    keeps: bool,
    batches: Vec<Option<Batch>>,
    given: usize,
    order: Vec<u32>,
    sum: i64,
}

impl Transform for Thirds {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties { pipeline_breaker: true, ..TransformProperties::default() }
    }
}

impl TransformWorker for Thirds {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let all = numbers(&batch);
        rejects.dropped(all.iter().filter(|n| *n % 3 != 0 && *n % 2 == 0).count() as u64);
        self.sum += all.iter().filter(|n| *n % 3 != 0 && *n % 2 != 0).sum::<i64>();
        let thirds = (0..).zip(&all).filter(|(_, n)| *n % 3 == 0).map(|(row, _)| row).collect();
        Ok(batch.pick(thirds))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        assert_eq!(self.given, self.batches.len(), "all were given back");
        Ok((self.sum > 0).then(|| rows(vec![std::mem::take(&mut self.sum)]).into()))
    }

    fn backlog(&mut self) -> Option<&mut dyn Backlog> {
        self.keeps.then_some(self)
    }
}

impl Backlog for Thirds {
    fn put(&mut self, number: u32, batch: Batch) -> Result<(), Failure> {
        self.batches.resize(self.batches.len().max(number as usize + 1), None);
        self.batches[number as usize] = Some(batch);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn order(&mut self, numbers: &[u32]) -> Result<(), Failure> {
        self.order = numbers.to_vec();
        Ok(())
    }

    fn next(&mut self, _split: SplitId, _seq: u64, _rows: usize, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let batch = self.batches[self.order[self.given] as usize].take().expect("each is asked for once");
        self.given += 1;
        self.apply(batch, rejects)
    }
}

#[test]
fn what_gathers_some_rows_passes_others_on_and_its_input_is_stored_with_the_run() {
    for keeps in [false, true] {
        let (count, mut sink) = (Count::new(3, 4, 5), Collect::new(Delivery::Ordered));
        let done = Arc::clone(&count.done);
        sink.before = Arc::new(move |_| {
            assert!(done.lock().expect("no panic").is_empty(), "something is still to come");
            Ok(())
        });
        let mut job = Job::new();
        let source = job.source(&count, 3);
        let thirds = job.transform(Thirds { keeps, ..Thirds::default() }, &[source], None, 1);
        job.sink(&sink, &[thirds], Common::default(), None);
        let ran = job.run();
        let sum: i64 = (0..60).filter(|n| n % 3 != 0 && n % 2 != 0).sum();
        assert_eq!(sink.all(), (0..60).step_by(3).chain([sum]).collect::<Vec<_>>());
        assert_eq!((ran.outcome.exit(), &*count.done.lock().expect("no panic")), (Exit::Done, &vec![0, 1, 2]));
        let mine = ran.worked.iter().filter(|(stage, _)| *stage == thirds).map(|(_, rows)| rows);
        let sums = mine.fold([0; 5], |sums, rows| {
            let more = [rows.input, rows.output, rows.filtered, rows.gathered, rows.made];
            std::array::from_fn(|i| sums[i] + more[i])
        });
        assert_eq!(sums, [60, 21, 20, 20, 1]);
    }
    // Where a split is not whole nothing is done, nor is the rest emitted.
    for keeps in [false, true] {
        let (count, sink) = (Count { fails_at: Some((2, 1)), ..Count::new(3, 4, 5) }, Collect::new(Delivery::Ordered));
        let mut job = Job::new();
        let source = job.source(&count, 1);
        let thirds = job.transform(Thirds { keeps, ..Thirds::default() }, &[source], None, 1);
        job.sink(&sink, &[thirds], Common::default(), None);
        let ran = job.run();
        assert_eq!((ran.outcome.exit(), sink.all()), (Exit::Io, (0..45).step_by(3).collect()));
        assert!(count.done.lock().expect("no panic").is_empty());
    }
}

#[test]
fn an_ordered_transform_has_its_input_in_order() {
    for slow in 0..3 {
        let mut count = Count::new(3, 4, 20);
        count.before = Arc::new(move |split, _| {
            if split == slow {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let sink = Collect::new(Delivery::Ordered);
        let mut job = Job::new();
        let source = job.source(&count, 3);
        let all = job.transform(AsTheyCame::default(), &[source], None, 1);
        job.sink(&sink, &[all], Common::default(), None);
        let ran = job.run();
        assert_eq!(sink.all(), (0..240).filter(|n| n % 7 != 0).collect::<Vec<_>>());
        assert_eq!(ran.outcome.exit(), Exit::Done);
        let rejects: Vec<(u64, String)> = ran.rejects.iter().map(|r| (r.position.record, r.message.clone())).collect();
        let expected: Vec<(u64, String)> =
            (0..240).filter(|n| n % 7 == 0).map(|n| (n + 1, format!("{n} divides by 7"))).collect();
        assert_eq!(rejects, expected, "rows that are emitted are counted on over the batches");
    }
}

/// Adds to each row the sum of all rows of its second input.
#[derive(Clone, Default)]
pub(super) struct Plus {
    sum: Arc<AtomicI64>,
    fails: bool,
}

impl Transform for Plus {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn side(&self) -> Option<Box<dyn Side>> {
        Some(Box::new(self.clone()))
    }
}

impl Side for Plus {
    fn add(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<(), Failure> {
        if self.fails {
            return Err(Failure::new(Exit::Unavailable, "too large"));
        }
        self.sum.fetch_add(numbers(&batch).iter().sum(), Ordering::SeqCst);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

impl TransformWorker for Plus {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        let sum = self.sum.load(Ordering::SeqCst);
        let values = numbers(&batch).into_iter().map(|n| n + sum).collect();
        Ok(Batch::new(rows(values), batch.origin))
    }
}

#[test]
fn the_second_input_is_whole_before_the_first_is_looked_at() {
    for workers in [1, 3] {
        let (first, second) = (Count::new(4, 5, 6), Count::new(3, 100, 10));
        let sink = Collect::new(Delivery::Ordered);
        let mut job = Job::new();
        let (left, right) = (job.source(&first, 2), job.source(&second, 1));
        let plus = job.transform(Plus::default(), &[left], Some(right), workers);
        job.sink(&sink, &[plus], Common::default(), None);
        let ran = job.run();
        let sum: i64 = (0..3000).sum();
        assert_eq!(sink.all(), (0..120).map(|n| n + sum).collect::<Vec<_>>());
        assert_eq!((ran.outcome.unfinished, second.done.lock().expect("no panic").len()), (0, 3));
    }
}

#[test]
fn a_sink_whose_output_is_a_second_input_commits_first() {
    let (first, second) = (Count::new(4, 50, 6), Count::new(3, 3, 10));
    let (mut main, sink) = (Collect::new(Delivery::Ordered), Collect::new(Delivery::Ordered));
    main.durable = false;
    let mut job = Job::new();
    job.limits.stall = crate::jobspec::Duration(std::time::Duration::from_secs(10));
    let (left, right) = (job.source(&first, 2), job.source(&second, 1));
    let main = job.sink(&main, &[right], Common::default(), None);
    let plus = job.transform(Plus::default(), &[left], Some(main), 2);
    job.sink(&sink, &[plus], Common::default(), None);
    let ran = job.run();
    assert_eq!(ran.outcome.exit(), Exit::Done, "{:?}", ran.outcome);
    let sum: i64 = (0..90).sum();
    assert_eq!(sink.all(), (0..1200).map(|n| n + sum).collect::<Vec<_>>());
}

#[test]
fn a_second_input_that_fails_stores_nothing() {
    for (plus, fails_at) in [(Plus { fails: true, ..Plus::default() }, None), (Plus::default(), Some((0, 1)))] {
        let (first, second) = (Count::new(4, 5, 6), Count { fails_at, ..Count::new(1, 3, 3) });
        let sink = Collect::new(Delivery::Ordered);
        let mut job = Job::new();
        let (left, right) = (job.source(&first, 2), job.source(&second, 1));
        let plus = job.transform(plus, &[left], Some(right), 2);
        job.sink(&sink, &[plus], Common::default(), None);
        let ran = job.run();
        assert_eq!(sink.all(), Vec::<i64>::new());
        assert_ne!(ran.outcome.exit(), Exit::Done);
        assert!(first.done.lock().expect("no panic").is_empty() && second.done.lock().expect("no panic").is_empty());
    }
}

#[test]
fn splits_go_whole_and_in_order_to_one_worker_each() {
    let mut sink = Collect::new(Delivery::BySplit);
    sink.durable = false;
    sink.ends_splits = true;
    let count = Count::new(7, 5, 10);
    let mut job = Job::new();
    let source = job.source(&count, 4);
    let sift = job.sift(&[source], 3, |_| Fate::Keep);
    job.sink(&sink, &[sift], Common { concurrency: Some(3), ..Common::default() }, None);
    let ran = job.run();
    let rows = sink.rows.lock().expect("no panic").clone();
    for (worker, rows) in rows {
        let expected: Vec<i64> = (0..7).filter(|s| s % 3 == worker as i64).flat_map(|s| s * 50..s * 50 + 50).collect();
        assert_eq!(rows, expected, "worker {worker}");
    }
    assert_eq!((ran.outcome.exit(), count.done.lock().expect("no panic").len()), (Exit::Done, 7));
}

#[test]
fn output_waits_until_its_split_is_durable() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (mut main, mut lookup) = (Collect::new(Delivery::Ordered), Collect::new(Delivery::Ordered));
    (main.durable, main.ends_splits) = (false, true);
    main.ended = Arc::clone(&log);
    let to_log = Arc::clone(&log);
    lookup.before = Arc::new(move |batch| {
        to_log.lock().expect("no panic").push(format!("lookup {}", numbers(batch)[0]));
        Ok(())
    });
    let mut job = Job::new();
    let source = job.source(&Count::new(3, 2, 5), 1);
    let middle = job.sink(&main, &[source], Common::default(), None);
    job.sink(&lookup, &[middle], Common::default(), None);
    let ran = job.run();
    assert_eq!((lookup.all(), ran.outcome.exit()), ((0..30).collect(), Exit::Done));
    let log = log.lock().expect("no panic");
    for (split, first) in [(0, 0), (1, 10), (2, 20)] {
        let at = |what: String| log.iter().position(|line| *line == what).expect("it happened");
        assert!(at(format!("end {split}")) < at(format!("lookup {first}")), "{log:?}");
    }
}

#[test]
fn output_of_rows_that_are_taken_back_never_leaves() {
    let (mut main, lookup) = (Collect::new(Delivery::Ordered), Collect::new(Delivery::Ordered));
    main.durable = false;
    let count = Count { fails_at: Some((1, 1)), ..Count::new(2, 2, 5) };
    let mut job = Job::new();
    let source = job.source(&count, 1);
    let middle = job.sink(&main, &[source], Common::default(), None);
    job.sink(&lookup, &[middle], Common::default(), None);
    let ran = job.run();
    assert_eq!((lookup.all(), ran.outcome.exit()), (vec![], Exit::Io));
    assert!(count.done.lock().expect("no panic").is_empty());
}

/// What was accepted of split 0 waits for the commit of split 1, which fails.
#[test]
fn no_reader_keeps_a_split_whose_rows_are_taken_back() {
    let (mut main, mut lookup) = (Collect::new(Delivery::BySplit), Collect::new(Delivery::Ordered));
    (main.durable, main.fails_to_end) = (false, Some(1));
    (lookup.durable, lookup.ends_splits) = (false, true);
    let count = Count::new(2, 3, 5);
    let mut job = Job::new();
    let source = job.source(&count, 1);
    let middle = job.sink(&main, &[source], Common { concurrency: Some(1), ..Common::default() }, None);
    // With room for one message, the first split ends at the reader before the last has left.
    let narrow = Common { queue: Some(1), ..Common::default() };
    job.sink(&lookup, &[middle], narrow, None);
    let ran = job.run();
    assert_eq!((lookup.all(), ran.outcome.exit()), (vec![], Exit::Io));
    assert_eq!(*lookup.ended.lock().expect("no panic"), ["drop 0", "drop 1"]);
    assert!(count.done.lock().expect("no panic").is_empty());
}

/// All rows of a split are refused, and then it cannot be committed.
#[test]
fn a_split_without_accepted_rows_whose_end_fails_is_not_done() {
    let (mut sink, count) = (Collect::new(Delivery::Ordered), Count::new(2, 1, 5));
    (sink.durable, sink.ends_splits, sink.fails_to_end) = (false, true, Some(1));
    let mut job = Job::new();
    let source = job.source(&count, 1);
    let sift = job.sift(&[source], 0, |n| if n < 5 { Fate::Keep } else { Fate::Refuse });
    job.sink(&sink, &[sift], Common::default(), None);
    let ran = job.run();
    assert_eq!((sink.all(), ran.outcome.exit()), ((0..5).collect(), Exit::Io));
    assert_eq!(*count.done.lock().expect("no panic"), [0]);
}

#[test]
fn a_split_that_is_not_whole_is_not_kept() {
    for (lost, fails_at) in [(None, Some((1, 1))), (Some(12), None)] {
        let mut sink = Collect::new(Delivery::Ordered);
        (sink.durable, sink.ends_splits) = (false, true);
        let count = Count { fails_at, ..Count::new(2, 2, 5) };
        let mut job = Job::new();
        let source = job.source(&count, 1);
        let sift = job.sift(&[source], 0, move |n| if Some(n) == lost { Fate::Fail } else { Fate::Keep });
        job.sink(&sink, &[sift], Common::default(), None);
        let ran = job.run();
        assert_eq!(*sink.ended.lock().expect("no panic"), ["end 0", "drop 1"]);
        assert_eq!(*count.done.lock().expect("no panic"), [0]);
        let stored = ran.tally.read() - ran.tally.failed();
        assert_eq!(stored, 10, "rows of the second split are taken back");
    }
}

#[test]
fn where_order_matters_nothing_is_stored_after_a_split_that_is_not() {
    for (needs_order, kept) in [(false, [0, 2, 3].as_slice()), (true, &[0])] {
        let mut sink = Collect::new(Delivery::Ordered);
        (sink.durable, sink.ends_splits, sink.needs_order) = (false, true, needs_order);
        let count = Count { fails_at: Some((1, 1)), ..Count::new(4, 2, 5) };
        let mut job = Job::new();
        let source = job.source(&count, 1);
        job.sink(&sink, &[source], Common::default(), None);
        let ran = job.run();
        assert_eq!(*count.done.lock().expect("no panic"), kept);
        let ended =
            if needs_order { ["end 0", "drop 1", "drop 2", "drop 3"] } else { ["end 0", "drop 1", "end 2", "end 3"] };
        assert_eq!(*sink.ended.lock().expect("no panic"), ended);
        assert_eq!(ran.tally.read() - ran.tally.failed(), 10 * kept.len() as u64);
    }
}
