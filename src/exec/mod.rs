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
mod aside;
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

pub use outcome::Outcome;

use coordinator::Coordinator;
use launch::Prepared;
use watchdog::Watchdog;

use crate::{
    event::Observer,
    failure::{Exit, Failure},
    plan::Plan,
    rejects::RejectFile,
    stage::Mode,
};

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
    let prepared = match aside::Aside::start().map(|aside| (open(plan, options, signals, &aside), aside)) {
        Ok((Opened::Ready(prepared), aside)) => Ok((prepared, aside)),
        Ok((Opened::Aborted(outcome), _)) => return outcome,
        Ok((Opened::Failed(failure), _)) | Err(failure) => Err(failure),
    };
    // Nor does a run that cannot even begin.
    let launched = prepared.and_then(|(prepared, aside)| {
        let rejects = path.map(|path| RejectFile::create(path, &plan.name)).transpose()?;
        Ok((prepared.start()?, rejects, aside))
    });
    match launched {
        Ok((run, rejects, aside)) => Coordinator::new(plan, options, signals, observer, run, rejects, aside).run(),
        Err(failure) => Outcome { failures: vec![failure], ..Outcome::default() },
    }
}

enum Opened {
    Ready(Prepared),
    Failed(Failure),
    Aborted(Outcome),
}

/// Opens everything, without waiting for what does not answer.
fn open(plan: &Arc<Plan>, options: &Options, signals: &Signals, aside: &aside::Aside) -> Opened {
    let (own, options) = (Arc::clone(plan), options.clone());
    let answer = aside.call(move || Prepared::new(&own, &options));
    let mut watchdog = Watchdog::new(plan, vec![(None, Arc::clone(&aside.slot))]);
    loop {
        match answer.recv_timeout(coordinator::TICK) {
            Ok(Ok(prepared)) => return Opened::Ready(prepared),
            Ok(Err(failure)) => return Opened::Failed(failure),
            Err(_) if watchdog.is_stalled() => {
                let failure = watchdog.diagnosis(plan, &[]);
                let aborted = Some(failure.exit);
                tracing::error!("{failure}");
                return Opened::Aborted(Outcome { failures: vec![failure], aborted, ..Outcome::default() });
            }
            Err(_) => {}
        }
        if let Some(exit) = signals.abort() {
            return Opened::Aborted(Outcome { aborted: Some(exit), ..Outcome::default() });
        }
    }
}

impl Signals {
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
