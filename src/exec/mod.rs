//! Runs a plan: the only room that knows of threads, queues, order and stopping.
//!
//! ```text
//! pool (rayon)      pool (rayon)      pool (rayon)
//! read + fused ──▶ inbox, queue ──▶ work ──▶ inbox, queue ──▶ write
//!      └───────────────────┴── events ──┴─────────────────────────┘
//!                                ▼
//!                      coordinator (the caller's thread): counts rejects against the limit, moves
//!                      splits on in their life, watches signals and the deadline, tells the observer
//! ```
//!
//! Every worker runs one loop in a pool of its stage's own, so blocking on a queue never starves another
//! stage. A worker passes on one message for each it takes (`message`), which lets a stage put the input
//! back in order (`order`) while the sources read ahead no further than their memory (`memory_budget`). A split is
//! answered for when everything that came of it has been (`ack`); what follows from that, up to its `done` action, is
//! one state machine (`split_log`), and `journal` writes it down.

mod ack;
mod activity;
mod backlog;
mod blocking_calls;
mod commit_barrier;
mod coordinator;
mod gauge;
mod inbox;
mod journal;
mod launch;
mod memory_budget;
mod message;
mod order;
mod outcome;
mod partition;
mod queue;
mod read;
mod reject_limit;
mod resume;
mod split_log;
mod targets;
mod watchdog;
mod work;
mod worker;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

pub use outcome::{Outcome, Resumed};
pub use resume::adopted_since;

use blocking_calls::BlockingCalls;
use coordinator::Coordinator;
use launch::Prepared;
use resume::Beginning;
use watchdog::Watchdog;

use crate::{
    event::Observer,
    failure::{Exit, Failure},
    ledger::Ledger,
    plan::Plan,
    stage::Mode,
};

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// Write, or only show what would be written.
    pub mode: Mode,
    /// Read so many rows of every source, and run no `done` action.
    pub limit: Option<u64>,
    /// What becomes of the ledger.
    pub ledger: LedgerUse,
}

/// What becomes of the job's ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LedgerUse {
    /// It is left alone: no progress is recorded.
    #[default]
    Off,
    /// An interrupted run is resumed; else a new one begins.
    Resume,
    /// The same; and a run that only the targets know of is taken over.
    Adopt,
    /// A new run begins, whatever there is.
    Fresh,
}

/// Signals received so far; whoever handles them counts here.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// SIGINT
    pub interrupt: Arc<AtomicUsize>,
    /// SIGTERM
    pub terminate: Arc<AtomicUsize>,
}

/// Runs a plan to its end. Rejects are written and splits are settled on the way; everything that happens
/// is told to the observer.
pub fn run(plan: &Arc<Plan>, options: &Options, signals: &Signals, observer: &mut dyn Observer) -> Outcome {
    match begin(plan, options, signals, observer) {
        Ok(coordinator) => coordinator.run(),
        Err(Unbegun::Aborted(outcome)) => *outcome,
        Err(Unbegun::Failed(failure)) => Outcome { failures: vec![failure], ..Outcome::default() },
    }
}

/// Marks a run finished, where it is: the next one is a new one. To be called when everything else has been done, as a
/// process that is killed before this leaves a run to resume: its targets are asked whether everything is still there.
/// What targets keep under the run's name goes after that; what of it cannot be removed goes when the next run begins.
///
/// # Errors
/// The ledger cannot be written.
pub fn close(plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
    let Some(Resumed { id, .. }) = outcome.run.as_ref().filter(|_| outcome.complete) else { return Ok(()) };
    let mut ledger = Ledger::open(&plan.state, &plan.name, false)?;
    let finished = ledger.finish(id)?;
    fail::fail_point!("run-finished");
    if finished.is_some_and(|run| resume::clear_up(plan, &run)) {
        fail::fail_point!("run-cleared");
        // What is not noted is done again when the next run begins, and nothing is there to be removed.
        if let Err(failure) = ledger.cleared(id) {
            tracing::warn!("{failure}");
        }
    }
    Ok(())
}

/// Why a run has not begun.
enum Unbegun {
    Failed(Failure),
    /// It was aborted while something did not answer.
    Aborted(Box<Outcome>),
}

impl From<Failure> for Unbegun {
    fn from(failure: Failure) -> Self {
        Unbegun::Failed(failure)
    }
}

/// Opens everything, notes the attempt, and starts the threads. A run that cannot even begin leaves the rejects and
/// the ledger of the last one alone.
fn begin<'a>(
    plan: &'a Arc<Plan>,
    options: &'a Options,
    signals: &'a Signals,
    observer: &'a mut dyn Observer,
) -> Result<Coordinator<'a>, Unbegun> {
    let blocking_calls = BlockingCalls::start()?;
    let (mut beginning, prepared) = open(plan, options, signals, &blocking_calls)?;
    let rejects = beginning.rejects(plan, options)?;
    beginning.note()?;
    let run = prepared.start(&beginning)?;
    Ok(Coordinator::new(plan, options, signals, observer, run, (beginning, rejects), blocking_calls))
}

/// Opens everything, without waiting for what does not answer.
fn open(
    plan: &Arc<Plan>,
    options: &Options,
    signals: &Signals,
    blocking_calls: &BlockingCalls,
) -> Result<(Beginning, Prepared), Unbegun> {
    let (own, options) = (Arc::clone(plan), options.clone());
    let answer = blocking_calls.call(move || {
        let mut beginning = Beginning::new(&own, &options)?;
        beginning.begin_stages(&own)?;
        let prepared = Prepared::new(&own, &options, &beginning)?;
        Ok((beginning, prepared))
    });
    let mut watchdog = Watchdog::new(plan, vec![(None, Arc::clone(&blocking_calls.state))]);
    loop {
        match answer.recv_timeout(coordinator::TICK) {
            Ok(opened) => return Ok(opened?),
            Err(_) if watchdog.is_stalled() => {
                let failure = watchdog.diagnosis(plan, &[]);
                let aborted = Some(failure.exit);
                tracing::error!("{failure}");
                let outcome = Outcome { failures: vec![failure], aborted, ..Outcome::default() };
                return Err(Unbegun::Aborted(Box::new(outcome)));
            }
            Err(_) => {}
        }
        if let Some(exit) = signals.abort() {
            let outcome = Outcome { aborted: Some(exit), ..Outcome::default() };
            return Err(Unbegun::Aborted(Box::new(outcome)));
        }
        if signals.any() {
            // Nothing has been read: there is nothing to wait for.
            return Err(Failure::new(Exit::TryAgain, "interrupted before the first record was read").into());
        }
    }
}

impl Signals {
    /// Has there been one?
    pub fn any(&self) -> bool {
        self.interrupt.load(Ordering::SeqCst) + self.terminate.load(Ordering::SeqCst) > 0
    }

    /// How to end at once, where a second signal asks for it.
    fn abort(&self) -> Option<Exit> {
        let [interrupts, terminates] = [&self.interrupt, &self.terminate].map(|count| count.load(Ordering::SeqCst));
        match (interrupts, interrupts + terminates) {
            (_, 0 | 1) => None,
            (2.., _) => Some(Exit::Interrupted),
            _ => Some(Exit::Terminated),
        }
    }
}
