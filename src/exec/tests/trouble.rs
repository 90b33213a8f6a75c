//! Failures, panics, limits and signals: every run ends, every row is accounted for, and only what is
//! wholly stored is called done.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::spawn,
    time::Duration,
};

use super::stages::{Collect, Count, Delivery, Fate, Job, Latch, Ran, run_plan};
use crate::{
    event::StopReason,
    exec::Signals,
    failure::{Exit, Failure},
    jobspec::{Common, RejectLimit},
};

fn one() -> Common {
    Common { concurrency: Some(1), ..Common::default() }
}

fn done(count: &Count) -> Vec<u64> {
    count.done.lock().expect("no panic").clone()
}

#[test]
fn a_failing_split_leaves_the_others_alone() {
    for delivery in [Delivery::Any, Delivery::Ordered] {
        let (count, sink) = (Count { fails_at: Some((1, 2)), ..Count::new(4, 4, 5) }, Collect::new(delivery));
        let mut job = Job::new();
        let source = job.source(&count, 2);
        let common = if delivery == Delivery::Any { one() } else { Common::default() };
        job.sink(&sink, &[source], common, None);
        let ran = job.run();
        assert_eq!(ran.outcome.exit(), Exit::Io);
        assert_eq!((ran.outcome.unfinished, done(&count)), (1, vec![0, 2, 3]));
        assert_eq!(sink.all().len(), 80 - 10, "what was read before the failure is stored");
    }
}

#[test]
fn a_panic_ends_in_the_exit_code_for_bugs_and_hangs_nothing() {
    for workers in [0, 1, 3] {
        let (count, sink) = (Count::new(10, 10, 10), Collect::new(Delivery::Ordered));
        let mut job = Job::new();
        let source = job.source(&count, 2);
        let sift = job.sift(&[source], workers, |n| if n == 555 { Fate::Panic } else { Fate::Keep });
        job.sink(&sink, &[sift], Common::default(), None);
        let ran = job.run();
        assert_eq!(ran.outcome.exit(), Exit::Bug);
        assert!(ran.outcome.failures[0].message.contains("panicked: did not expect 555"));
        assert!(!done(&count).contains(&5), "the split with the lost batch is not done");
    }
}

#[test]
fn a_transform_that_fails_stops_the_sources() {
    let (count, sink) = (Count::new(1000, 10, 10), Collect::new(Delivery::Any));
    let mut job = Job::new();
    let source = job.source(&count, 1);
    let sift = job.sift(&[source], 1, |n| if n == 42 { Fate::Fail } else { Fate::Keep });
    job.sink(&sink, &[sift], one(), None);
    let ran = job.run();
    assert_eq!(ran.outcome.exit(), Exit::Unavailable);
    assert!(count.made.load(Ordering::SeqCst) < 10_000, "it read on to the end");
    assert_eq!(sink.all(), (0..40).collect::<Vec<_>>());
    assert_eq!(done(&count), Vec::<u64>::new());
}

#[test]
fn a_sink_that_fails_says_what_is_not_stored() {
    let (count, mut sink) = (Count::new(3, 4, 5), Collect::new(Delivery::Ordered));
    sink.before = Arc::new(|batch| match super::stages::numbers(batch)[0] {
        25 => Err(Failure::new(Exit::Io, "disk full")),
        _ => Ok(()),
    });
    let mut job = Job::new();
    let source = job.source(&count, 1);
    job.sink(&sink, &[source], Common::default(), None);
    let ran = job.run();
    assert_eq!((ran.outcome.exit(), sink.all().len()), (Exit::Io, 25));
    assert_eq!(ran.tally.failed(), ran.tally.read() - 25);
    assert_eq!(done(&count), [0], "only the first split is wholly stored");
}

#[test]
fn what_is_whole_or_absent_learns_that_it_is_not_whole() {
    for (fails_at, whole) in [(None, true), (Some((1, 1)), false)] {
        let (count, mut sink) = (Count { fails_at, ..Count::new(2, 3, 4) }, Collect::new(Delivery::Ordered));
        sink.durable = false;
        let mut job = Job::new();
        let source = job.source(&count, 1);
        job.sink(&sink, &[source], Common::default(), None);
        let ran = job.run();
        assert_eq!(sink.committed.load(Ordering::SeqCst), whole);
        assert_eq!(done(&count), if whole { vec![0, 1] } else { vec![] });
        assert_eq!(ran.tally.failed(), if whole { 0 } else { ran.tally.read() }, "accepted rows are taken back");
    }
}

#[test]
fn too_many_rejects_are_known_before_a_sink_commits() {
    for (limit, whole) in [(RejectLimit::Count(1), true), (RejectLimit::Count(0), false)]
        .into_iter()
        .chain([(RejectLimit::Share(0.1), true), (RejectLimit::Share(0.001), false)])
    {
        let mut sink = Collect::new(Delivery::Ordered);
        sink.durable = false;
        let mut job = Job::new();
        job.limits.rejects = limit;
        let source = job.source(&Count::new(2, 3, 4), 1);
        let sift = job.sift(&[source], 1, |n| if n == 23 { Fate::Refuse } else { Fate::Keep });
        job.sink(&sink, &[sift], Common::default(), None);
        let ran = job.run();
        assert_eq!(sink.committed.load(Ordering::SeqCst), whole, "{limit:?}");
        assert_eq!(ran.outcome.exit(), if whole { Exit::Done } else { Exit::Rejects });
    }
}

#[test]
fn a_sink_that_another_reads_commits_before_it() {
    let (mut main, mut lookup) = (Collect::new(Delivery::Ordered), Collect::new(Delivery::Ordered));
    (main.durable, lookup.durable) = (false, false);
    let mut job = Job::new();
    let source = job.source(&Count::new(3, 3, 4), 2);
    let middle = job.sink(&main, &[source], Common::default(), None);
    job.sink(&lookup, &[middle], Common::default(), None);
    let ran = job.run();
    let committed = |sink: &Collect| sink.committed.load(Ordering::SeqCst);
    assert_eq!((committed(&main), committed(&lookup)), (true, true));
    assert_eq!((lookup.all(), ran.outcome.exit()), ((0..36).collect(), Exit::Done));
}

#[test]
fn two_sinks_that_others_read_do_not_wait_for_each_other() {
    let mut sinks = [(); 4].map(|()| Collect::new(Delivery::Ordered));
    sinks.iter_mut().for_each(|sink| sink.durable = false);
    let mut job = Job::new();
    job.limits.stall = crate::jobspec::Duration(Duration::from_secs(10));
    let source = job.source(&Count::new(3, 3, 4), 2);
    for pair in sinks.chunks(2) {
        let first = job.sink(&pair[0], &[source], Common::default(), None);
        job.sink(&pair[1], &[first], Common::default(), None);
    }
    let ran = job.run();
    assert_eq!(ran.outcome.exit(), Exit::Done, "{:?}", ran.outcome);
    assert!(sinks.iter().all(|sink| sink.all().len() == 36));
}

fn with_rejects(limit: RejectLimit, refused: impl Fn(i64) -> bool + Send + Sync + 'static) -> (Ran, Vec<u64>) {
    let (count, sink) = (Count::new(4, 10, 10), Collect::new(Delivery::Any));
    let mut job = Job::new();
    job.limits.rejects = limit;
    let source = job.source(&count, 1);
    let sift = job.sift(&[source], 0, move |n| if refused(n) { Fate::Refuse } else { Fate::Keep });
    job.sink(&sink, &[sift], one(), None);
    let ran = job.run();
    let done = done(&count);
    (ran, done)
}

#[test]
fn a_count_of_rejects_is_allowed_to_the_last_one() {
    let (ran, done) = with_rejects(RejectLimit::Count(2), |n| n == 150 || n == 250);
    assert_eq!((ran.outcome.exit(), done), (Exit::Done, vec![0, 1, 2, 3]));
    let (ran, done) = with_rejects(RejectLimit::Count(1), |n| n == 150 || n == 250);
    assert_eq!((ran.outcome.exit(), done), (Exit::Rejects, vec![0, 1]));
}

#[test]
fn a_share_of_rejects_is_judged_at_the_end_of_the_input() {
    // One in a hundred of the first two splits, three in a hundred of the third: 5 of 400 are more than 1 %.
    let refused = |n: i64| n % 100 == 0 && n < 300 || n == 201 || n == 202;
    let (ran, done) = with_rejects(RejectLimit::Share(0.01), refused);
    assert_eq!((ran.outcome.exit(), done), (Exit::Rejects, vec![]));
    let (ran, done) = with_rejects(RejectLimit::Share(0.02), refused);
    assert_eq!((ran.outcome.exit(), done), (Exit::Done, vec![0, 1, 2, 3]));
}

/// Starts a job without end, sends signals once it is under way, and waits for it.
fn interrupted(signals: usize, deadline: Option<Duration>) -> (Ran, Vec<u64>, usize) {
    let (mut count, sink) = (Count::new(1000, 1000, 10), Collect::new(Delivery::Any));
    let (latch, counts) = (Latch::default(), Signals::default());
    let under_way = latch.clone();
    count.before = Arc::new(move |split, _| {
        if split == 3 {
            under_way.open()
        }
    });
    let mut job = Job::new();
    job.limits.deadline = deadline.map(crate::jobspec::Duration);
    let source = job.source(&count, 1);
    job.sink(&sink, &[source], one(), None);
    let (plan, to_job) = (job.plan(), counts.clone());
    let running = spawn(move || run_plan(&plan, None, &to_job));
    // A deadline may pass before the job is as far as that.
    if signals > 0 {
        latch.wait();
    }
    counts.interrupt.fetch_add(signals, Ordering::SeqCst);
    let ran = running.join().expect("the run does not panic");
    let (done, stored) = (done(&count), sink.all().len());
    (ran, done, stored)
}

#[test]
fn the_first_signal_drains() {
    let (ran, done, stored) = interrupted(1, None);
    assert_eq!(ran.outcome.stopped, Some(StopReason::Interrupt));
    assert_eq!(ran.outcome.exit(), Exit::TryAgain);
    assert_eq!(stored as u64, ran.tally.read(), "everything that was read is stored");
    assert_eq!(done, (0..done.len() as u64).collect::<Vec<_>>());
    assert_eq!(ran.outcome.unfinished, 1000 - done.len());
}

/// Rows of the second source wait for those of the first, of which no more come.
#[test]
fn a_signal_frees_what_waits_for_memory() {
    let (mut first, sink, signals) = (Count::new(1000, 1, 10), Collect::new(Delivery::Ordered), Signals::default());
    let (counts, second) = (signals.clone(), Count::new(1, 1000, 10));
    let made = Arc::clone(&second.made);
    first.before = Arc::new(move |split, seq| {
        if (split, seq) == (2, 0) {
            // By now the second source has read as much as it may.
            while made.load(Ordering::SeqCst) < 3 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(20));
            counts.interrupt.store(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(150));
        }
    });
    let mut job = Job::new();
    job.limits.memory = crate::jobspec::Bytes(2 * 2 * 2 * 80);
    job.limits.stall = crate::jobspec::Duration(Duration::from_secs(10));
    let (one_source, other) = (job.source(&first, 1), job.source(&second, 1));
    job.sink(&sink, &[one_source, other], Common::default(), None);
    let ran = run_plan(&job.plan(), None, &signals);
    assert_eq!(
        (ran.outcome.stopped, ran.outcome.exit()),
        (Some(StopReason::Interrupt), Exit::TryAgain),
        "{:?}",
        ran.outcome
    );
}

#[test]
fn the_second_signal_aborts() {
    let (ran, ..) = interrupted(2, None);
    assert_eq!(ran.outcome.exit(), Exit::Interrupted);
}

#[test]
fn a_deadline_drains_too() {
    let (ran, _, stored) = interrupted(0, Some(Duration::from_millis(100)));
    assert_eq!((ran.outcome.stopped, ran.outcome.exit()), (Some(StopReason::Deadline), Exit::TryAgain));
    assert_eq!(stored as u64, ran.tally.read());
}
