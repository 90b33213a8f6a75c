//! Runs that hang: in every call of every kind of stage, with workers that never return. Each ends by itself and
//! says who waits for whom; one that is only slow does not.

use std::{
    sync::{Arc, mpsc},
    thread::{sleep, spawn},
    time::Duration,
};

use super::stages::{Collect, Count, Delivery, Fate, Job, Latch, Ran, numbers, run_plan};
use crate::{
    batch::{Batch, Rejects, SplitId},
    exec::Signals,
    failure::{Exit, Failure},
    jobspec,
    jobspec::Common,
    plan::Plan,
    pulse,
    stage::{
        Committed, Guarantee, Made, Mode, Sink, SinkProperties, SinkWorker, Source, SourceWorker, Split, SplitReader,
        Transform, TransformProperties, TransformWorker, Verified, Written,
    },
};

/// Goes through everything as another stage does, but never comes back from one call.
#[derive(Clone)]
struct Stuck<S> {
    at: &'static str,
    of: S,
}

impl<S> Stuck<S> {
    fn call(&self, name: &str) {
        if self.at == name {
            Latch::default().wait();
        }
    }
}

impl Source for Stuck<Count> {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        self.call("splits");
        self.of.splits()
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        self.call("source worker");
        Ok(Box::new(self.clone()))
    }

    fn done(&self, split: &Split) -> Result<Option<String>, Failure> {
        self.call("done");
        self.of.done(split)
    }
}

impl SourceWorker for Stuck<Count> {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        self.call("open");
        self.of.open(id, split)
    }
}

impl Transform for Stuck<()> {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties { pipeline_breaker: self.at == "finish", ..TransformProperties::default() }
    }
}

impl TransformWorker for Stuck<()> {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch, Failure> {
        self.call("apply");
        Ok(batch)
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        self.call("finish");
        Ok(None)
    }
}

impl Sink for Stuck<Collect> {
    fn properties(&self) -> SinkProperties {
        Guarantee::ExactlyOnce { replaces: false }.into()
    }

    fn worker(&self, _mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        self.call("sink worker");
        Ok(Box::new(self.clone()))
    }

    fn verify(&self) -> Result<Option<Verified>, Failure> {
        self.call("verify");
        Ok(None)
    }
}

impl SinkWorker for Stuck<Collect> {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        self.call("write");
        let rows = batch.rows() as u64;
        Ok(Written { accepted: rows, durable: true, output: Some(batch.clone()), ..Written::default() })
    }

    fn commit_split(&mut self, _split: SplitId, _may_refuse: bool) -> Result<Committed, Failure> {
        self.call("commit_split");
        Ok(true.into())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.call("commit");
        Ok(())
    }
}

fn job(stall: Duration) -> Job {
    let mut job = Job::new();
    job.limits.stall = jobspec::Duration(stall);
    job
}

/// Runs a plan that must end by itself. Its threads may never: nobody waits for those.
fn ends(job: Job) -> Ran {
    plan_ends(job.plan())
}

fn plan_ends(plan: Arc<Plan>) -> Ran {
    let (send, ran) = mpsc::channel();
    spawn(move || send.send(run_plan(&plan, None, &Signals::default())).is_ok());
    ran.recv_timeout(Duration::from_secs(60)).expect("the run hangs")
}

/// A run of three stages of which one never comes back from a call.
fn stuck(at: &'static str) -> Ran {
    let mut job = job(Duration::from_millis(200));
    let source = job.any_source(Stuck { at, of: Count::new(8, 4, 5) }, 2);
    let middle = job.transform(Stuck { at, of: () }, &[source], None, 1);
    job.any_sink(Stuck { at, of: Collect::new(Delivery::Ordered) }, &[middle]);
    ends(job)
}

#[test]
fn a_call_that_never_returns_ends_the_run_and_is_named() {
    for (at, exit, said) in [
        ("splits", Exit::Unavailable, "`s0` has not come back from a call"),
        ("source worker", Exit::Unavailable, "`s0` has not come back from a call"),
        ("sink worker", Exit::Unavailable, "`s2` has not come back from a call"),
        (
            "open",
            Exit::Unavailable,
            "`s0` has 2 workers inside a call of `s0`; `s1` has 1 worker waiting for input, 0 of 4",
        ),
        (
            "apply",
            Exit::Bug,
            "`s0` has 2 workers waiting for room before `s1`; `s1` has 1 worker inside a call of `s1`, 4 of 4 batches in its queue; `s2` has 1 worker waiting for input, 0 of 4",
        ),
        ("finish", Exit::Bug, "`s1` has 1 worker inside a call of `s1`, 0 of 4 batches in its queue; `s2` has"),
        ("write", Exit::Unavailable, "`s2` has 1 worker inside a call of `s2`, "),
        ("commit_split", Exit::Unavailable, "`s2` has 1 worker inside a call of `s2`, "),
        ("commit", Exit::Unavailable, "nothing has moved for 200ms: `s2` has 1 worker inside a call of `s2`, 0 of 4"),
        ("done", Exit::Unavailable, "`s0` has not come back from a call"),
        ("verify", Exit::Unavailable, "nothing has moved for 200ms: `s2` has not come back from a call"),
    ] {
        let ran = stuck(at);
        assert_eq!(ran.outcome.exit(), exit, "{at}: {:?}", ran.outcome);
        let [failure] = &ran.outcome.failures[..] else { panic!("{at}: {:?}", ran.outcome) };
        assert!(failure.message.starts_with("nothing has moved for 200ms: "), "{at}: {failure}");
        assert!(failure.message.contains(said), "{at}: {failure}");
    }
    assert_eq!(stuck("nowhere").outcome.exit(), Exit::Done);
}

#[test]
fn workers_that_wait_for_each_other_are_a_bug() {
    // Two of the source's messages never come: the sink waits for their place for ever.
    let mut job = job(Duration::from_millis(200));
    let source = job.source(&Count::new(1, 50, 5), 1);
    let sink = Collect::new(Delivery::Ordered);
    let middle = job.sift(&[source], 1, |_| Fate::Keep);
    job.sink(&sink, &[middle], Common::default(), None);
    let mut plan = job.plan();
    let open = Arc::get_mut(&mut plan).expect("nobody else has it yet");
    // The sink is told of more ways to it than there are.
    open.pools[2].arrivals.values_mut().for_each(|lanes| *lanes += 1);
    open.limits.memory = jobspec::Bytes(10 * 40);
    let ran = plan_ends(plan);
    assert_eq!(ran.outcome.exit(), Exit::Bug, "{:?}", ran.outcome);
    let said = "`s0` has 1 worker waiting for memory that batches further on hold; `s1` has 1 worker waiting for input, \
                0 of 4 batches in its queue; `s2` has 1 worker waiting for input, 0 of 4 batches in its queue";
    assert!(ran.outcome.failures[0].message.ends_with(said), "{:?}", ran.outcome);
}

#[test]
fn what_was_settled_before_stays_done() {
    let mut job = job(Duration::from_millis(200));
    let (count, mut sink) = (Count::new(4, 2, 5), Collect::new(Delivery::Ordered));
    let never = Latch::default();
    sink.before = Arc::new(move |batch| {
        if numbers(batch)[0] == 20 {
            never.wait();
        }
        Ok(())
    });
    let source = job.source(&count, 1);
    job.sink(&sink, &[source], Common::default(), None);
    let ran = ends(job);
    assert_eq!((ran.outcome.exit(), ran.outcome.unfinished), (Exit::Unavailable, 2));
    assert_eq!(*count.done.lock().expect("no panic"), [0, 1]);
}

/// A run whose source does this before each of its three batches.
fn slow(stall: Duration, before: impl Fn() + Send + Sync + 'static) -> Exit {
    let mut job = job(stall);
    let mut count = Count::new(1, 3, 5);
    count.before = Arc::new(move |_, _| before());
    let source = job.source(&count, 1);
    job.sink(&Collect::new(Delivery::Any), &[source], Common { concurrency: Some(1), ..Common::default() }, None);
    ends(job).outcome.exit()
}

#[test]
fn slow_is_not_stalled() {
    let stall = Duration::from_millis(500);
    // It hands a batch on from time to time, but each takes less than that.
    assert_eq!(slow(stall, || sleep(Duration::from_millis(200))), Exit::Done);
    // It is silent for longer, but signs come.
    let reads = || (0..12).for_each(|_| (sleep(Duration::from_millis(60)), pulse::heartbeat()).1);
    assert_eq!(slow(stall, reads), Exit::Done);
    // It waits for another program.
    assert_eq!(slow(stall, || pulse::external_wait(|| sleep(Duration::from_millis(800)))), Exit::Done);
    // Nobody looks.
    assert_eq!(slow(Duration::ZERO, || sleep(Duration::from_millis(300))), Exit::Done);
    assert_eq!(slow(Duration::from_millis(300), || sleep(Duration::from_millis(1500))), Exit::Unavailable);
}

/// The second signal is heard while a stage is being opened, too.
#[test]
fn a_second_signal_ends_a_run_that_hangs_before_its_first_record() {
    let mut job = job(Duration::ZERO);
    let source = job.any_source(Stuck { at: "splits", of: Count::new(1, 1, 1) }, 1);
    job.sink(&Collect::new(Delivery::Ordered), &[source], Common::default(), None);
    let (plan, signals) = (job.plan(), Signals::default());
    signals.terminate.store(2, std::sync::atomic::Ordering::SeqCst);
    let ran = run_plan(&plan, None, &signals);
    assert_eq!((ran.outcome.exit(), ran.high.len()), (Exit::Terminated, 0));
}
