//! Bounds: how much is under way at most, how much is read and handed on.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use super::stages::{Collect, Count, Delivery, Fate, Job, Latch, run_plan};
use crate::{
    exec::Signals,
    failure::Exit,
    jobspec::{BatchSize, Bytes, Common},
};

/// Starts a job whose sink does not write until the latch is open; says how many batches were made
/// once nothing moves any more.
fn made_while_blocked(memory: u64, queue: usize, readers: usize) -> usize {
    let latch = Latch::default();
    let count = Count::new(8, 1000, 10);
    let mut sink = Collect::new(Delivery::Any);
    let at = latch.clone();
    sink.before = Arc::new(move |_| {
        at.wait();
        Ok(())
    });
    let mut job = Job::new();
    job.limits.memory = Bytes(memory);
    let source = job.source(&count, readers);
    job.sink(&sink, &[source], Common { concurrency: Some(1), queue: Some(queue), ..Common::default() }, None);
    let running = spawn(move || job.run());
    let made = settled(|| count.made.load(Ordering::SeqCst));
    latch.open();
    running.join().expect("the run does not panic");
    assert_eq!(sink.all().len(), 80_000, "nothing is lost by waiting");
    made
}

/// The value once it has not changed for a while.
fn settled(value: impl Fn() -> usize) -> usize {
    let (mut last, mut since) = (value(), Instant::now());
    while since.elapsed() < Duration::from_millis(200) {
        sleep(Duration::from_millis(5));
        if value() != last {
            (last, since) = (value(), Instant::now());
        }
    }
    last
}

#[test]
fn a_full_queue_holds_the_sources_back() {
    // One batch at the sink, the queue's, and one in the hands of each reader.
    assert_eq!(made_while_blocked(1 << 30, 3, 1), 1 + 3 + 1);
    assert_eq!(made_while_blocked(1 << 30, 5, 4), 1 + 5 + 4);
}

#[test]
fn memory_holds_the_sources_back_too() {
    // A batch is a buffer of 80 bytes: half of the memory, which is the budget's, has room for two; a third
    // waits at the budget.
    assert_eq!(made_while_blocked(2 * 2 * 80, 100, 1), 3);
}

#[test]
fn queue_marks_stay_within_the_queue_and_its_waiting_senders() {
    let sink = Collect::new(Delivery::Any);
    let mut job = Job::new();
    let source = job.source(&Count::new(4, 50, 10), 4);
    let common = Common { concurrency: Some(1), queue: Some(2), ..Common::default() };
    let stage = job.sink(&sink, &[source], common, None);
    let ran = job.run();
    let high = ran.high[&stage];
    // The queue holds two; four readers may wait with one each; one may be on its way to the writer.
    assert!((1..=2 + 4 + 1).contains(&high), "{high} batches");
}

#[test]
fn a_sink_is_handed_no_more_than_its_batch_size() {
    for (size, largest) in [((30, 1 << 20), 30), ((1000, 400), 50), ((1000, 1 << 20), 100)] {
        let sink = Collect::new(Delivery::Ordered);
        let mut job = Job::new();
        let source = job.source(&Count::new(2, 3, 100), 1);
        let batch = Some(BatchSize { rows: size.0, bytes: size.1 });
        job.sink(&sink, &[source], Common { batch, ..Common::default() }, None);
        job.run();
        assert_eq!(sink.all(), (0..600).collect::<Vec<_>>());
        assert_eq!(sink.largest.load(Ordering::SeqCst), largest, "{size:?}");
    }
}

#[test]
fn a_limit_reads_just_so_many_rows_and_settles_nothing() {
    let (count, sink) = (Count::new(4, 3, 10), Collect::new(Delivery::Ordered));
    let mut job = Job::new();
    let source = job.source(&count, 3);
    job.sink(&sink, &[source], Common::default(), None);
    let ran = run_plan(&job.plan(), Some(37), &Signals::default());
    assert_eq!(sink.all(), (0..37).collect::<Vec<_>>());
    assert_eq!(ran.outcome.exit(), Exit::Done);
    assert!(count.done.lock().expect("no panic").is_empty());
}

#[test]
fn filtered_rows_are_counted_by_the_stage_that_dropped_them() {
    let sink = Collect::new(Delivery::Any);
    let mut job = Job::new();
    let source = job.source(&Count::new(1, 1, 100), 1);
    let even = job.sift(&[source], 0, |n| if n % 2 == 0 { Fate::Keep } else { Fate::Drop });
    let few = job.sift(&[even], 0, |n| if n < 10 { Fate::Keep } else { Fate::Refuse });
    job.sink(&sink, &[few], Common { concurrency: Some(1), ..Common::default() }, None);
    let plan = job.plan();
    assert_eq!(plan.pools.len(), 2, "both transforms are fused into the source");
    let ran = run_plan(&plan, None, &Signals::default());
    assert_eq!((ran.tally.rejected(), sink.all()), (45, vec![0, 2, 4, 6, 8]));
}
