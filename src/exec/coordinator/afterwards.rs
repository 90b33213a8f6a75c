//! What is done when every row has been written: reading back, and what sinks do then.

use super::Coordinator;
use crate::{event::Event, exec::Outcome, stage::Mode};

impl Coordinator<'_> {
    /// Reads back from sinks that are asked to. A server that could not be written to is not asked again.
    pub(super) fn verify(&mut self) {
        // Where nothing was left to read, nothing was written; what was lost is sent again before a sample counts.
        let unwritten = self.options.mode == Mode::Rehearse || self.run.gauges.is_empty();
        if unwritten || !self.outcome.lost.is_empty() {
            return;
        }
        for stage in self.sinks() {
            match self.ask(stage, |sink| sink.verify()) {
                Ok(Some(result)) => {
                    let missed = result.failure();
                    self.observer.on(&Event::Verified { stage, result });
                    missed.iter().for_each(|failure| self.note(self.named(stage, failure)));
                }
                Ok(None) => {}
                Err(failure) => self.note(self.named(stage, &failure)),
            }
        }
    }

    /// Where everything that was asked for is stored, the sinks do what comes after that. Says whether all of them could.
    pub(super) fn after(&mut self) -> bool {
        let Outcome { unfinished, too_many_rejects, failures, lost, stopped, .. } = &self.outcome;
        let stored = failures.is_empty() && lost.is_empty() && !too_many_rejects && stopped.is_none();
        if !stored || self.options.mode == Mode::Rehearse || (*unfinished > 0 && self.options.limit.is_none()) {
            return true;
        }
        let mut all = true;
        for stage in self.sinks() {
            if let Err(failure) = self.ask(stage, |sink| sink.after()) {
                all = false;
                self.note(self.named(stage, &failure));
            }
        }
        all
    }
}
