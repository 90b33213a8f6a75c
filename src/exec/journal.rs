//! What of a run is written down while it goes: rejects, splits that are stored, what was done about them.
//!
//! Splits are noted in groups: the coordinator comes by several times a second, and everything that was stored
//! since then costs one wait for the disk. Only when that is over do `done` actions run.

use std::collections::BTreeMap;

use super::{
    outcome::Resumed,
    resume::{Beginning, Durable, KeptSplit, end_sinks},
};
use crate::{
    batch::{Reject, RejectCode, Schema, SplitId},
    event::StageId,
    failure::Failure,
    ledger::Stored,
    plan::Plan,
    rejects::{RecordKey, RejectFile},
};

/// The reject file and the ledger of a run under way.
pub(super) struct Journal {
    durable: Option<Durable>,
    pub(super) kept: BTreeMap<SplitId, KeptSplit>,
    rejects: Option<RejectFile>,
    /// Splits whose `done` action has run, not noted yet.
    acted: Vec<(SplitId, Option<String>)>,
}

impl Journal {
    pub(super) fn new(beginning: Beginning, rejects: Option<RejectFile>) -> Self {
        let Beginning { kept, durable, .. } = beginning;
        Journal { durable, kept, rejects, acted: Vec::new() }
    }

    /// What the report says of the run.
    pub(super) fn run(&self) -> Option<Resumed> {
        let run = &self.durable.as_ref()?.run;
        let sum = |what: fn(&KeptSplit) -> u64| self.kept.values().map(what).sum();
        let (read, rejected) = (sum(|kept| kept.read), sum(|kept| kept.rejected));
        Some(Resumed { id: run.id.clone(), attempt: run.attempts, kept: self.kept.len(), read, rejected })
    }

    /// Writes a reject of `stage`; `file` is the name of its split.
    pub(super) fn reject(
        &mut self,
        stage: (StageId, &str),
        input: Option<&Schema>,
        file: &str,
        reject: &Reject,
    ) -> Result<(), Failure> {
        self.rejects.as_mut().map_or(Ok(()), |out| out.write(stage, input, file, reject))
    }

    /// The `done` action of a split has run.
    pub(super) fn acted(&mut self, split: SplitId, action: Option<String>) {
        if self.durable.is_some() {
            self.acted.push((split, action));
        }
    }

    /// Makes the rejects durable, then notes the splits that are stored and the actions that have run.
    pub(super) fn save(&mut self, stored: &[Stored]) -> Result<(), Failure> {
        if stored.is_empty() && self.acted.is_empty() {
            return Ok(());
        }
        self.rejects.as_mut().map_or(Ok(()), RejectFile::sync)?;
        let acted = std::mem::take(&mut self.acted);
        self.durable.as_mut().map_or(Ok(()), |durable| durable.ledger.note(stored, &acted))
    }

    /// Puts the rejects in input order and drops those behind `last`; answers with those, counted by stage and reason.
    pub(super) fn arrange_rejects(
        &mut self,
        last: Option<RecordKey>,
    ) -> Result<Vec<(StageId, RejectCode, u64)>, Failure> {
        self.rejects.as_mut().map_or(Ok(Vec::new()), |rejects| rejects.arrange(last))
    }

    /// Is this the first attempt at a run that can be resumed?
    pub(super) fn is_first_attempt(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.run.attempts == 1)
    }

    /// These splits are not stored any more: the next attempt reads them again.
    pub(super) fn forget_splits(&mut self, splits: &[SplitId]) -> Result<(), Failure> {
        self.durable.as_mut().map_or(Ok(()), |durable| durable.ledger.forget_splits(splits))
    }

    /// Nothing was stored: there is nothing to resume, and nothing of it stays in the targets.
    pub(super) fn forget(&mut self, plan: &Plan) -> Result<(), Failure> {
        let Some(Durable { ledger, attempts, .. }) = self.durable.take() else { return Ok(()) };
        end_sinks(plan, &attempts)?;
        ledger.forget()
    }
}
