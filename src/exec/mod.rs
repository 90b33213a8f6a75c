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
mod coordinator;
mod gate;
mod inbox;
mod launch;
mod message;
mod outcome;
mod partition;
mod queue;
mod read;
mod settle;
mod verdict;
mod work;
mod worker;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::AtomicUsize};

pub use outcome::Outcome;

use coordinator::Coordinator;
use launch::Prepared;

use crate::{event::Observer, plan::Plan, rejects::RejectFile, stage::Mode};

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// Write, or only show what would be written.
    pub mode: Mode,
    /// Read so many rows of every source, and run no `done` action.
    pub limit: Option<u64>,
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
    // A rehearsal leaves the rejects of the last real run alone.
    let path = plan.rejects.as_ref().filter(|_| options.mode == Mode::Write);
    // Nor does a run that cannot even begin.
    let launched = Prepared::new(plan, options).and_then(|prepared| {
        let rejects = path.map(|path| RejectFile::create(path, &plan.name)).transpose()?;
        Ok((prepared.start()?, rejects))
    });
    match launched {
        Ok((run, rejects)) => Coordinator::new(plan, options, signals, observer, run, rejects).run(),
        Err(failure) => Outcome { failures: vec![failure], ..Outcome::default() },
    }
}
