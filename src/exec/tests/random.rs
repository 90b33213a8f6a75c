//! Random plans: whatever the graph, the workers, queues and batches, a run ends, its rows add up, and every sink has
//! what an interpreter without threads says it must have, in that order where it asks for order.
//!
//! `FUZZ_SECONDS` says how long to try; `PLAN_SEED` tries one seed again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    thread::spawn,
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use super::{
    end::{AsTheyCame, Plus},
    stages::{Collect, Count, Delivery, Fate, Job, Ran, Sift, run_plan},
};
use crate::{
    exec::{Signals, partition::worker_of},
    failure::Exit,
    jobspec::{self, BatchSize, Bytes, Common},
    plan::{Role, circle},
};

/// A plan as it is thrown: whatever the numbers, something can be made of them.
#[derive(Clone, Debug)]
struct Case {
    sources: Vec<(u64, u64, u64, usize)>,
    nodes: Vec<Node>,
    memory: u64,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Source,
    Fail,
    Panic,
}

#[derive(Clone, Debug)]
struct Node {
    what: What,
    /// What it reads, counted back from it.
    inputs: Vec<usize>,
    side: usize,
    workers: usize,
    queue: Option<usize>,
    batch: Option<usize>,
    /// Rows are divided by this modulus where it is not 0.
    key: i64,
    modulus: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// Drops and refuses some rows.
    Sift,
    /// Holds all rows back to the end.
    Gather,
    /// Adds the sum of a second input.
    Plus,
    /// A sink whose output others read, too.
    Store(Delivery),
}

fn cases() -> impl Strategy<Value = Case> {
    let source = (1..5_u64, 0..5_u64, 1..9_u64, 1..4_usize);
    let what = prop_oneof![
        5 => Just(What::Sift),
        2 => Just(What::Gather),
        1 => Just(What::Plus),
        1 => Just(What::Store(Delivery::Any)),
        1 => Just(What::Store(Delivery::Ordered)),
        1 => Just(What::Store(Delivery::BySplit)),
        2 => Just(What::Store(Delivery::ByKey)),
    ];
    let node = (
        (what, vec(0..6_usize, 1..4), 0..6_usize),
        (0..4_usize, prop::option::of(1..4_usize), prop::option::of(1..5_usize)),
        (prop_oneof![2 => Just(0_i64), 1 => 2..9_i64], 2..9_i64),
    );
    let node = node.prop_map(|((what, inputs, side), (workers, queue, batch), (key, modulus))| Node {
        what,
        inputs,
        side,
        workers,
        queue,
        batch,
        key,
        modulus,
    });
    let fault = prop_oneof![
        9 => Just(None),
        1 => prop_oneof![Just(Fault::Source), Just(Fault::Fail), Just(Fault::Panic)].prop_map(Some),
    ];
    (vec(source, 1..4), vec(node, 0..8), prop_oneof![Just(200_u64), Just(1 << 20)], fault)
        .prop_map(|(sources, nodes, memory, fault)| Case { sources, nodes, memory, fault })
}

/// Rows by split and number, in lanes: what the messages of a stage hold.
type Stream = BTreeMap<(usize, u64), Vec<Vec<i64>>>;

/// In what order a sink has its rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum InOrder {
    No,
    Yes,
    /// Those with the same remainder by this number.
    ByKey(i64),
}

/// What one run must show.
struct Expected {
    /// Of every sink: what came to it, and in what order it has that.
    sinks: Vec<(Collect, Vec<i64>, InOrder)>,
    rejects: usize,
}

/// The plan of a case, and what comes of it.
struct Build {
    job: Job,
    streams: Vec<Stream>,
    /// The sources that the rows of a stage come from.
    origins: Vec<BTreeSet<usize>>,
    expected: Expected,
    /// Splits so far; what gathering stages emit has numbers behind all of these.
    splits: usize,
}

fn rows(stream: &Stream) -> Vec<i64> {
    stream.values().flatten().flatten().copied().collect()
}

/// What becomes of a row: dropped, refused or kept.
fn fate(n: i64, modulus: i64, fault: Option<Fault>) -> Fate {
    match n.rem_euclid(modulus * 3) {
        0 => Fate::Drop,
        1 => Fate::Refuse,
        4 if fault == Some(Fault::Fail) => Fate::Fail,
        4 if fault == Some(Fault::Panic) => Fate::Panic,
        _ => Fate::Keep,
    }
}

impl Build {
    fn new(case: &Case) -> Build {
        let mut job = Job::new();
        job.limits.memory = Bytes(case.memory);
        job.limits.stall = jobspec::Duration(Duration::from_secs(5));
        let expected = Expected { sinks: Vec::new(), rejects: 0 };
        let mut build = Build { job, streams: Vec::new(), origins: Vec::new(), expected, splits: 0 };
        for (number, (splits, batches, size, workers)) in case.sources.iter().enumerate() {
            let mut count = Count::new(*splits, *batches, *size);
            if case.fault == Some(Fault::Source) {
                count.fails_at = Some((0, 1));
            }
            build.job.source(&count, *workers);
            let first = build.splits;
            let places = (0..*splits).flat_map(|split| (0..*batches).map(move |seq| (split, seq)));
            let batch = |(split, seq): (u64, u64)| {
                let first = ((split * batches + seq) * size) as i64;
                (first..first + *size as i64).collect::<Vec<i64>>()
            };
            let stream = places.map(|at| ((first + at.0 as usize, at.1), vec![batch(at)])).collect();
            build.streams.push(stream);
            build.origins.push(BTreeSet::from([number]));
            build.splits += *splits as usize;
        }
        for node in &case.nodes {
            build.node(node, case.fault);
        }
        build.ends();
        build
    }

    fn node(&mut self, node: &Node, fault: Option<Fault>) {
        let id = self.streams.len();
        let back = |step: &usize| id - 1 - step % id;
        let mut inputs: Vec<usize> = Vec::new();
        node.inputs.iter().map(back).for_each(|input| {
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        });
        let mut origins: BTreeSet<usize> = inputs.iter().flat_map(|input| self.origins[*input].clone()).collect();
        let side = (0..id).map(|step| (node.side + step) % id).find(|side| self.origins[*side].is_disjoint(&origins));
        // Without anything to look up, rows are only passed on.
        let (what, side) = match (node.what, side) {
            (What::Plus, None) => (What::Sift, None),
            (What::Plus, side) => (What::Plus, side),
            (what, _) => (what, None),
        };
        let last_wins = what == What::Store(Delivery::ByKey);
        let key = if last_wins { node.key.max(2) } else { node.key };
        let keyed = last_wins || (key > 0 && !matches!(what, What::Store(_)));
        let lone = (what == What::Gather && !keyed) || what == What::Store(Delivery::Ordered);
        let concurrency =
            if lone { None } else { (node.workers > 0 || keyed || what != What::Sift).then_some(node.workers.max(1)) };
        let batch = node.batch.map(|rows| BatchSize { rows, bytes: 1 << 20 });
        let common = Common { concurrency, queue: node.queue, batch, ..Common::default() };
        let input = self.union(&inputs);
        let workers = if keyed { node.workers.max(1) } else { 1 };
        let input = divided(input, workers, key);
        let order = if last_wins { InOrder::ByKey(key) } else { InOrder::No };
        let key = keyed.then(|| format!("n % {key}"));
        let modulus = node.modulus;
        let (role, output): (Role, Stream) = match what {
            What::Sift => {
                let keep = |n: &i64| fate(*n, modulus, None) == Fate::Keep;
                self.expected.rejects +=
                    rows(&input).iter().filter(|n| fate(**n, modulus, None) == Fate::Refuse).count();
                let sift = Sift(Arc::new(move |n| fate(n, modulus, fault)));
                (Role::Transform(Box::new(sift)), each(input, |lane| lane.iter().copied().filter(keep).collect()))
            }
            What::Plus => {
                let sum: i64 = side.map_or(0, |side| rows(&self.streams[side]).iter().sum());
                let plus = each(input, |lane| lane.iter().map(|n| n + sum).collect());
                (Role::Transform(Box::new(Plus::default())), plus)
            }
            What::Gather => (Role::Transform(Box::new(AsTheyCame::default())), self.gathered(input, workers)),
            What::Store(delivery) => (Role::Sink(Box::new(self.collect(delivery, order, &input))), input),
        };
        let stage = self.job.add(role, &inputs, common, key.as_deref());
        self.job.stages[stage].side = side;
        origins.extend(side.iter().flat_map(|side| self.origins[*side].clone()));
        self.streams.push(output);
        self.origins.push(origins);
    }

    /// What comes to a stage that reads these.
    fn union(&self, inputs: &[usize]) -> Stream {
        let mut all = Stream::new();
        for input in inputs {
            for (place, lanes) in &self.streams[*input] {
                all.entry(*place).or_default().extend(lanes.iter().cloned());
            }
        }
        all
    }

    /// What a gathering stage emits: in batches of a hundred, each worker's behind those of the one before.
    fn gathered(&mut self, input: Stream, workers: usize) -> Stream {
        let mut held: Vec<Vec<i64>> = vec![Vec::new(); workers];
        for (i, lane) in input.values().flat_map(|lanes| lanes.iter().enumerate()) {
            held[i % workers].extend(lane);
        }
        let mut output = each(input, |_| Vec::new());
        for held in held {
            for (seq, part) in held.chunks(100).enumerate() {
                let good: Vec<i64> = part.iter().copied().filter(|n| n % 7 != 0).collect();
                self.expected.rejects += part.len() - good.len();
                output.insert((self.splits, seq as u64), vec![good]);
            }
            self.splits += 1;
        }
        output
    }

    fn collect(&mut self, delivery: Delivery, order: InOrder, input: &Stream) -> Collect {
        let mut sink = Collect::new(delivery);
        if matches!(delivery, Delivery::Ordered | Delivery::BySplit) {
            (sink.durable, sink.ends_splits) = (false, true);
        }
        let input = rows(input);
        let order = if delivery == Delivery::Ordered { InOrder::Yes } else { order };
        self.expected.sinks.push((sink.clone(), input, order));
        sink
    }

    /// What nobody reads goes to a sink that keeps order.
    fn ends(&mut self) {
        for id in 0..self.streams.len() {
            if !self.job.stages.iter().any(|stage| stage.reads().any(|read| read == id)) {
                let stream = self.streams[id].clone();
                let sink = self.collect(Delivery::Ordered, InOrder::Yes, &stream);
                self.job.sink(&sink, &[id], Common::default(), None);
            }
        }
    }
}

fn each(stream: Stream, change: impl Fn(&[i64]) -> Vec<i64>) -> Stream {
    stream.into_iter().map(|(place, lanes)| (place, lanes.iter().map(|lane| change(lane)).collect())).collect()
}

/// Every lane divided among workers by key.
fn divided(stream: Stream, workers: usize, key: i64) -> Stream {
    if workers == 1 {
        return stream;
    }
    let parts = |lane: &Vec<i64>| {
        let of = |n: &i64| worker_of((n % key).to_string().as_bytes(), workers);
        (0..workers).map(|worker| lane.iter().copied().filter(|n| of(n) == worker).collect()).collect::<Vec<_>>()
    };
    stream.into_iter().map(|(place, lanes)| (place, lanes.iter().flat_map(parts).collect())).collect()
}

/// Runs a case and compares.
fn holds(case: &Case) -> Result<(), TestCaseError> {
    let Build { job, expected, .. } = Build::new(case);
    // The compiler refuses these.
    prop_assume!(circle(&job.stages, &job.requests).is_none());
    let plan = job.plan();
    let (send, received) = mpsc::channel();
    spawn(move || send.send(run_plan(&plan, None, &Signals::default())).is_ok());
    let ran: Ran = received
        .recv_timeout(Duration::from_secs(60))
        .map_err(|_| TestCaseError::fail("it neither ends nor says why, or its rows do not add up"))?;
    let exit = ran.outcome.exit();
    let stalled = ran.outcome.failures.iter().any(|failure| failure.message.starts_with("nothing has moved"));
    prop_assert!(!stalled, "{:?}", ran.outcome);
    if case.fault.is_some() {
        return Ok(());
    }
    prop_assert_eq!((exit, ran.outcome.unfinished), (Exit::Done, 0), "{:?}", ran.outcome);
    prop_assert_eq!(ran.rejects.len(), expected.rejects, "rejects");
    for (number, (sink, mut wanted, in_order)) in expected.sinks.into_iter().enumerate() {
        let mut all = sink.all();
        if let InOrder::ByKey(key) = in_order {
            for rest in 0..key {
                let of = |rows: &[i64]| rows.iter().copied().filter(|n| n.rem_euclid(key) == rest).collect::<Vec<_>>();
                prop_assert_eq!(of(&all), of(&wanted), "sink {}, key {}", number, rest);
            }
        }
        if in_order != InOrder::Yes {
            all.sort_unstable();
            wanted.sort_unstable();
        }
        prop_assert_eq!(all, wanted, "sink {}", number);
    }
    Ok(())
}

#[test]
fn any_plan_ends_with_what_it_must() {
    // So many cases for each seed: each is shown with its seed, and shrunk, where it fails.
    const EACH: u32 = 20;
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs_f64);
    let only: Option<u64> = std::env::var("PLAN_SEED").ok().and_then(|text| text.parse().ok());
    let first = only.unwrap_or(if seconds.is_some() { u64::from(std::process::id()) << 32 } else { 0 });
    let (start, mut tried) = (Instant::now(), 0);
    for seed in first.. {
        let enough = seconds.map_or(tried >= 15 * EACH, |seconds| start.elapsed() >= seconds);
        if tried > 0 && (enough || only.is_some()) {
            break;
        }
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { cases: EACH, failure_persistence: None, max_shrink_iters: 12, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        if let Err(error) = runner.run(&cases(), |case| holds(&case)) {
            panic!("PLAN_SEED={seed}: {error}");
        }
        tried += EACH;
    }
    let said = format!("random plans: {tried} run in {:.1} s\n", start.elapsed().as_secs_f64());
    // Not through what the tests' output is kept from people with.
    std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).expect("somebody listens");
}
