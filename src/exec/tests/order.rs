//! Input order at a sink that asks for it, and equal keys to the same worker, whatever runs at once.

use std::{sync::Arc, thread::yield_now};

use super::stages::{Collect, Count, Delivery, Fate, Job};
use crate::jobspec::{Bytes, Common};

/// Makes threads take turns in an order that differs from run to run and from row to row.
fn jitter(n: i64) -> Fate {
    (0..n.wrapping_mul(0x9e37_79b9) & 15).for_each(|_| yield_now());
    if n % 3 == 0 { Fate::Drop } else { Fate::Keep }
}

fn kept(rows: i64) -> Vec<i64> {
    (0..rows).filter(|n| n % 3 != 0).collect()
}

#[test]
fn an_ordered_sink_sees_input_order_whatever_the_concurrency() {
    for (readers, workers) in [(1, 1), (4, 1), (3, 3), (8, 2)] {
        let sink = Collect::new(Delivery::Ordered);
        let mut job = Job::new();
        let source = job.source(&Count::new(7, 11, 13), readers);
        let sift = job.sift(&[source], workers, jitter);
        job.sink(&sink, &[sift], Common::default(), None);
        let ran = job.run();
        assert!(ran.outcome.failures.is_empty());
        assert_eq!(sink.all(), kept(7 * 11 * 13), "{readers} readers, {workers} workers");
    }
}

#[test]
fn order_holds_when_memory_is_smaller_than_what_would_wait() {
    let sink = Collect::new(Delivery::Ordered);
    let mut job = Job::new();
    job.limits.memory = Bytes(1000);
    let source = job.source(&Count::new(5, 20, 100), 5);
    let sift = job.sift(&[source], 2, jitter);
    job.sink(&sink, &[sift], Common::default(), None);
    job.run();
    assert_eq!(sink.all(), kept(5 * 20 * 100));
}

#[test]
fn ways_that_join_again_keep_the_order_of_batches_and_of_inputs() {
    let sink = Collect::new(Delivery::Ordered);
    let mut job = Job::new();
    let source = job.source(&Count::new(3, 2, 4), 3);
    let low = job.sift(&[source], 2, |n| if n % 4 < 2 { Fate::Keep } else { Fate::Drop });
    let high = job.sift(&[source], 2, |n| if n % 4 < 2 { Fate::Drop } else { Fate::Keep });
    job.sink(&sink, &[high, low], Common::default(), None);
    job.run();
    let expected: Vec<i64> = (0..6).flat_map(|batch| [2, 3, 0, 1].map(|n| batch * 4 + n)).collect();
    assert_eq!(sink.all(), expected, "of every batch, first what came by the first input");
}

#[test]
fn two_sources_are_one_after_the_other() {
    let sink = Collect::new(Delivery::Ordered);
    let mut job = Job::new();
    let first = job.source(&Count::new(2, 3, 5), 2);
    let second = job.source(&Count::new(2, 1, 5), 2);
    job.sink(&sink, &[second, first], Common::default(), None);
    job.run();
    assert_eq!(sink.all(), (0..30).chain(0..10).collect::<Vec<_>>());
}

#[test]
fn equal_keys_meet_one_worker_in_input_order() {
    for (readers, workers) in [(1, 1), (4, 3), (2, 8)] {
        let sink = Collect::new(Delivery::Any);
        let mut job = Job::new();
        let source = job.source(&Count::new(6, 5, 50), readers);
        let sift = job.sift(&[source], 2, jitter);
        job.sink(&sink, &[sift], Common { concurrency: Some(workers), ..Common::default() }, Some("n % 20"));
        job.run();
        let rows = sink.rows.lock().expect("no panic").clone();
        for key in 0..20 {
            let holders = rows.values().filter(|rows| rows.iter().any(|n| n % 20 == key)).count();
            assert!(holders <= 1, "{holders} workers hold key {key}");
        }
        for rows in rows.values() {
            assert!(rows.is_sorted(), "a worker's rows are not in input order");
        }
        let mut all = sink.all();
        all.sort_unstable();
        assert_eq!(all, kept(6 * 5 * 50));
    }
}

#[test]
fn order_survives_a_keyed_pool_on_the_way() {
    let sink = Collect::new(Delivery::Ordered);
    let keyed = Collect::new(Delivery::Any);
    let mut job = Job::new();
    let source = job.source(&Count::new(4, 4, 10), 4);
    let workers = Common { concurrency: Some(3), ..Common::default() };
    let middle = job.sink(&keyed, &[source], workers, Some("n % 7"));
    job.sink(&sink, &[middle], Common::default(), None);
    job.run();
    let all = sink.all();
    let batches: Vec<Vec<i64>> = all
        .chunks(10)
        .map(|batch| {
            let mut batch = batch.to_vec();
            batch.sort_unstable();
            batch
        })
        .collect();
    let expected: Vec<Vec<i64>> = (0..16).map(|i| (i * 10..i * 10 + 10).collect()).collect();
    assert_eq!(batches, expected, "batches are in order; within one, workers are");
}

#[test]
fn both_readers_of_a_stage_get_everything() {
    let (left, right) = (Collect::new(Delivery::Ordered), Collect::new(Delivery::Any));
    let mut job = Job::new();
    let count = Count::new(3, 3, 3);
    let source = job.source(&count, 2);
    job.sink(&left, &[source], Common::default(), None);
    job.sink(&right, &[source], Common { concurrency: Some(2), ..Common::default() }, None);
    job.run();
    let mut unordered = right.all();
    unordered.sort_unstable();
    assert_eq!((left.all(), unordered), ((0..27).collect(), (0..27).collect()));
    assert_eq!(*Arc::clone(&count.done).lock().expect("no panic"), [0, 1, 2]);
}
