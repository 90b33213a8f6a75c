//! The last question to every sink: is what it acknowledged still there?

use super::Coordinator;
use crate::{
    batch::SplitId,
    event::StageId,
    exec::{LedgerUse, resume::leading_to},
    failure::{Exit, Failure},
    stage::Mode,
};

impl Coordinator<'_> {
    /// Asks every sink whether it still has what it was given. Of one that has not, the splits are forgotten whose rows
    /// lead to it: the next attempt sends them again.
    pub(super) fn nothing_is_lost(&mut self) -> bool {
        if self.options.mode == Mode::Rehearse || self.run.gauges.is_empty() {
            return true;
        }
        let mut whole = true;
        for stage in self.sinks() {
            match self.ask(stage, |sink| sink.check(None)) {
                Ok(None) => {}
                Ok(Some(loss)) => {
                    whole = false;
                    self.forget_splits_of(stage, &loss);
                }
                Err(failure) => {
                    whole = false;
                    self.note(self.named(stage, &failure));
                }
            }
        }
        whole
    }

    fn forget_splits_of(&mut self, stage: StageId, loss: &str) {
        let behind = leading_to(self.plan, stage);
        let splits = (0..self.run.splits.len() as u32).map(SplitId);
        let lost: Vec<SplitId> = splits.filter(|split| behind.contains(&self.run.source_of(*split))).collect();
        let (acted, left): (Vec<SplitId>, Vec<SplitId>) =
            lost.into_iter().partition(|split| self.log.has_acted(*split));
        let forgotten = self.journal.forget_splits(&left);
        let failure = |what: String| Failure::new(Exit::Unavailable, what);
        match acted.first() {
            Some(split) => {
                let name = &self.split(*split).name;
                let undo = format!("the `done` action of its input has run, of `{name}` first");
                let what = format!("{loss}; {undo}: undo that and start over with `--fresh`");
                self.note(self.named(stage, &failure(what)));
            }
            None if self.options.ledger == LedgerUse::Off => {
                self.note(self.named(stage, &failure(format!("{loss}; run the job again"))));
            }
            None => self.outcome.lost.push(self.named(stage, &failure(loss.to_owned()))),
        }
        if let Err(failure) = forgotten {
            self.fail(failure);
        }
    }
}
