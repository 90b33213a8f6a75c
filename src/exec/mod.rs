//! Runs a plan: the only room that knows of threads, queues, order and stopping.
//!
//! ```text
//! pool (rayon)      pool (rayon)      pool (rayon)
//! read + fused ──▶ inbox, queue ──▶ work ──▶ inbox, queue ──▶ write
//!      └───────────────────┴── events ──┴─────────────────────────┘
//!                                ▼
//!                      coordinator (the caller's thread): counts rejects against the limit,
//!                      settles splits in order, watches signals and the deadline, tells the observer
//! ```
//!
//! Every worker runs one loop in a pool of its stage's own, so blocking on a queue never starves another
//! stage. A worker passes on one message for each it takes (`message`), which lets a stage put the input
//! back in order (`inbox`) while the sources read ahead no further than their memory (`gate`). A split is
//! settled when everything that came of it has been answered for (`ack`).

mod ack;
mod book;
mod coordinator;
mod gate;
mod inbox;
mod launch;
mod message;
mod outcome;
mod partition;
mod queue;
mod read;
mod resume;
mod settle;
mod verdict;
mod work;
mod worker;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::AtomicUsize};

pub use outcome::{Outcome, Resumed};

use coordinator::Coordinator;
use launch::Prepared;
use resume::Beginning;

use crate::{event::Observer, failure::Failure, ledger, plan::Plan, stage::Mode};

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
    /// It is left alone: nothing of the run is kept to go on with.
    #[default]
    Off,
    /// A run that broke off is gone on with; else a new one begins.
    Resume,
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
        Err(failure) => Outcome { failures: vec![failure], ..Outcome::default() },
    }
}

/// Marks a run finished, where it is: the next one is a new one. To be called when everything else has been done, as a
/// process that is killed before this goes on with the run, and finds nothing left to do.
///
/// # Errors
/// The ledger cannot be written.
pub fn close(plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
    match &outcome.run {
        Some(run) if outcome.complete => ledger::finish(&plan.state, &plan.name, &run.id),
        _ => Ok(()),
    }
}

/// Opens everything, notes the attempt, and starts the threads. A run that cannot even begin leaves the rejects and
/// the ledger of the last one alone.
fn begin<'a>(
    plan: &'a Arc<Plan>,
    options: &'a Options,
    signals: &'a Signals,
    observer: &'a mut dyn Observer,
) -> Result<Coordinator<'a>, Failure> {
    let mut beginning = Beginning::new(plan, options)?;
    beginning.begin_stages(plan)?;
    let prepared = Prepared::new(plan, options, &beginning)?;
    let rejects = beginning.rejects(plan, options)?;
    beginning.note()?;
    let run = prepared.start(&beginning)?;
    Ok(Coordinator::new(plan, options, signals, observer, run, beginning, rejects))
}
