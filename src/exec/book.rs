//! What of a run is written down while it goes: rejects, splits that are stored, what was done about them.
//!
//! Splits are noted in groups: the coordinator comes by several times a second, and everything that was stored
//! since then costs one wait for the disk. Only when that is over do `done` actions run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
};

use super::{
    outcome::Resumed,
    resume::{Beginning, Durable, KeptSplit},
    settle::Share,
};
use crate::{
    batch::{Reject, Schema, SplitId},
    event::StageId,
    failure::Failure,
    ledger::{self, Stored},
    plan::{Plan, Role},
    rejects::RejectFile,
};

pub(super) struct Book {
    pub(super) durable: Option<Durable>,
    pub(super) kept: BTreeMap<SplitId, KeptSplit>,
    pub(super) rejects: Option<RejectFile>,
    /// Splits that are stored, and not noted yet.
    stored: Vec<Stored>,
    /// The same of those that are noted all at once, at the end.
    late: Vec<Stored>,
    late_sources: BTreeSet<StageId>,
    /// Splits about which something was done, not noted yet.
    acted: Vec<(SplitId, Option<String>)>,
    /// Splits that are wholly stored, in this attempt or before it.
    complete: usize,
    splits: usize,
}

impl Book {
    pub(super) fn new(beginning: Beginning, rejects: Option<RejectFile>) -> Self {
        let Beginning { listed, kept, durable } = beginning;
        let splits = listed.iter().map(|(_, splits)| splits.len()).sum();
        let late_sources = durable.as_ref().map(|durable| durable.late.clone()).unwrap_or_default();
        let (complete, stored, late, acted) = (kept.len(), Vec::new(), Vec::new(), Vec::new());
        Book { durable, kept, rejects, stored, late, late_sources, acted, complete, splits }
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
        stage: &str,
        input: Option<&Schema>,
        file: &str,
        reject: &Reject,
    ) -> Result<(), Failure> {
        self.rejects.as_mut().map_or(Ok(()), |out| out.write(stage, input, file, reject))
    }

    /// A split of `source` is wholly stored.
    pub(super) fn stored(&mut self, split: SplitId, share: Share, source: StageId) {
        self.complete += 1;
        let stored = Stored { split, read: share.read, rejected: share.rejected };
        let late = self.late_sources.contains(&source);
        if late { self.late.push(stored) } else { self.stored.push(stored) }
    }

    /// Do the splits of a source count as stored only when all splits of the job are?
    pub(super) fn is_late(&self, source: StageId) -> bool {
        self.late_sources.contains(&source)
    }

    /// Nothing more comes. Are all splits stored? Then those that waited for that are, too.
    pub(super) fn is_whole(&mut self) -> bool {
        let whole = self.complete == self.splits;
        if whole {
            self.stored.append(&mut self.late);
        }
        whole
    }

    /// The `done` action of a split has run.
    pub(super) fn acted(&mut self, split: SplitId, action: Option<String>) {
        if self.durable.is_some() {
            self.acted.push((split, action));
        }
    }

    /// Is there something to be noted?
    pub(super) fn has_news(&self) -> bool {
        self.durable.is_some() && !(self.stored.is_empty() && self.acted.is_empty())
    }

    /// Makes the rejects durable, then notes what there is.
    pub(super) fn save(&mut self) -> Result<(), Failure> {
        if let Some(rejects) = &mut self.rejects {
            rejects.sync()?;
        }
        let (stored, acted) = (std::mem::take(&mut self.stored), std::mem::take(&mut self.acted));
        self.durable.as_mut().map_or(Ok(()), |durable| durable.ledger.note(&stored, &acted))
    }

    /// Was this the first attempt, and is no split stored?
    pub(super) fn is_blank(&self) -> bool {
        self.complete == 0 && self.durable.as_ref().is_some_and(|durable| durable.run.attempts == 1)
    }

    /// Everything is stored and done: what was kept under the run's name goes.
    pub(super) fn finish(
        &mut self,
        plan: &Plan,
        guard: impl Fn(StageId, &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(Durable { attempts, .. }) = self.durable.take() else { return Ok(()) };
        fail::fail_point!("run-stored");
        for (stage, attempt) in &attempts {
            if let Role::Sink(sink) = &plan.stages[*stage].role {
                guard(*stage, &mut || sink.end(attempt))?;
            }
        }
        fail::fail_point!("run-cleared");
        let folder = ledger::folder(&plan.state, &plan.name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::writing(&folder, &error)),
            _ => Ok(()),
        }
    }

    /// Nothing was stored: there is nothing to go on with.
    pub(super) fn forget(&mut self) -> Result<(), Failure> {
        self.durable.take().map_or(Ok(()), |durable| durable.ledger.forget())
    }
}
