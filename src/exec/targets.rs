//! What the targets of a job say of its run, compared with what its ledger says: is what was stored still there, and
//! does a target know of a run that the ledger does not?

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use super::{LedgerUse, Options, worker::guard};
use crate::{
    batch::SplitId,
    event::StageId,
    failure::{Exit, Failure},
    ledger::{Ledger, Run, State},
    plan::{Plan, Role},
    stage::{Attempt, Inspection, OtherRun},
};

/// What each sink's target says.
pub(super) struct Targets(BTreeMap<StageId, Inspection>);

impl Targets {
    /// Asks every sink. A run that has nothing left to do asks none: what was kept for it may be gone.
    pub(super) fn inspect(plan: &Plan, attempts: &BTreeMap<StageId, Attempt>) -> Result<Targets, Failure> {
        let mut found = BTreeMap::new();
        for (stage, sink) in plan.sinks() {
            if let Some(attempt) = attempts.get(&stage) {
                let inspection = guard(plan, stage, || sink.inspect(attempt));
                found.insert(stage, inspection.map_err(|failure| named(plan, stage, failure))?);
            }
        }
        Ok(Targets(found))
    }

    /// Is it known that nothing of the run is where it has written to?
    pub(super) fn is_untouched(&self, plan: &Plan, stage: StageId, run: &Run) -> bool {
        let Some(Inspection { target, run: kept, untouched, .. }) = self.0.get(&stage) else { return false };
        let is_same = target.is_some() && run.targets.get(&plan.stages[stage].name) == target.as_ref();
        *untouched || (is_same && kept.as_ref().is_none_or(|kept| kept.rows == 0 && kept.stored.is_empty()))
    }

    /// What each sink writes to, by the sink's name.
    pub(super) fn names(&self, plan: &Plan) -> BTreeMap<String, String> {
        let target =
            |(stage, found): (&StageId, &Inspection)| Some((plan.stages[*stage].name.clone(), found.target.clone()?));
        self.0.iter().filter_map(target).collect()
    }

    /// The run that is to be resumed in place of a new one, where a target knows of one that the ledger does not know,
    /// and the job takes over such runs. With `--fresh` the job goes on beside it.
    ///
    /// # Errors
    /// There is such a run, and nobody has said what becomes of it; or its process is still there.
    pub(super) fn lost_run(
        &self,
        plan: &Plan,
        options: &Options,
        ledger: &mut Ledger,
        resumes: bool,
    ) -> Result<Option<Run>, Failure> {
        let mut unknown = self.unknown(|other| ledger.is_beside(&other.ledger, &other.run));
        // One without rows leaves nothing to trip over, unless its process is about to write some.
        let own = ledger.id().to_owned();
        let alive = |other: &OtherRun| other.ledger != own && other.is_alive();
        unknown.retain(|(_, other)| other.splits > 0 || alive(other));
        let Some((stage, other)) = unknown.first().copied() else { return Ok(None) };
        let name = &plan.stages[stage].name;
        if let Some((_, other)) = unknown.iter().find(|(_, other)| alive(other)) {
            let (run, silent) = (&other.run, other.silent.as_secs());
            let left = OtherRun::DEAD_AFTER.as_secs().saturating_sub(silent);
            let message = format!(
                "`{name}`: run {run} of this job is under way elsewhere: it was heard of {silent} s ago; try again when it is \
                 over, or in {left} s should its process be dead"
            );
            return Err(Failure::new(Exit::TryAgain, message));
        }
        // A run that has rows of its own stores nothing twice, whatever others have left beside it. One that has none
        // would store all that the other has stored already.
        let has_rows = |found: &Inspection| found.run.as_ref().is_some_and(|kept| kept.rows > 0);
        let goes_on = resumes && self.0.values().any(has_rows);
        let is_fresh = options.ledger == LedgerUse::Fresh;
        if goes_on || is_fresh {
            for (stage, OtherRun { ledger: theirs, run, splits, .. }) in &unknown {
                let name = &plan.stages[*stage].name;
                tracing::warn!("`{name}` keeps what run {run} of this job has stored there: {splits} splits");
                if is_fresh {
                    ledger.leave_beside(theirs, run)?;
                }
            }
            return Ok(None);
        }
        let runs: BTreeSet<&str> = unknown.iter().map(|(_, other)| other.run.as_str()).collect();
        let adopts = options.ledger == LedgerUse::Adopt || plan.adopts;
        match Run::of_record(&other.record) {
            Some(run) if adopts && runs.len() == 1 => Ok(Some(run)),
            found => {
                let run = &other.run;
                let all = unknown.iter().map(|(_, other)| other.splits).max().unwrap_or_default();
                let known = "which the state directory does not know";
                let choices = match (found, runs.len()) {
                    (None, _) => "it was made by another version of this program; `--fresh` starts over beside it",
                    (_, 2..) => "there are several such runs; `--fresh` starts over beside them",
                    _ => "`--adopt` resumes it, `--fresh` starts over beside what it has stored",
                };
                let state = plan.state.display();
                let message =
                    format!("`{name}` has {all} splits of run {run} of this job, {known} (`{state}`); {choices}");
                Err(Failure::new(Exit::Spec, message))
            }
        }
    }

    /// Runs that targets have receipts of, but those that a run was begun beside, which `is_beside` tells.
    fn unknown(&self, is_beside: impl Fn(&OtherRun) -> bool) -> Vec<(StageId, &OtherRun)> {
        let others = self.0.iter().flat_map(|(stage, found)| found.others.iter().map(move |other| (*stage, other)));
        others.filter(|(_, other)| !is_beside(other)).collect()
    }

    /// When the run began that would be resumed in place of a new one; `None` where it is not just one.
    pub(super) fn unknown_since(&self, is_beside: impl Fn(&OtherRun) -> bool) -> Option<SystemTime> {
        let unknown = self.unknown(is_beside);
        let stored: Vec<&OtherRun> =
            unknown.into_iter().map(|(_, other)| other).filter(|other| other.splits > 0).collect();
        let first = stored.first()?;
        let is_one = stored.iter().all(|other| other.run == first.run);
        is_one.then(|| Run::of_record(&first.record)).flatten().map(|run| run.started)
    }

    /// Marks the splits as stored that all sinks have which they reach. Where one of these keeps nothing of runs, or
    /// splits count as stored with the whole run only, nothing is known to be stored.
    pub(super) fn mark_stored(&self, plan: &Plan, run: &mut Run, by_split: impl Fn(&str) -> bool) {
        let reach = reach(plan);
        for (number, entry) in run.splits.iter_mut().enumerate() {
            let split = SplitId(number as u32);
            let mut sinks = reach.iter().filter(|(_, sources)| sources.contains(entry.source.as_str())).peekable();
            let some = sinks.peek().is_some();
            let all = sinks.all(|(stage, _)| {
                let kept = self.0.get(stage).and_then(|found| found.run.as_ref());
                kept.is_some_and(|kept| kept.lost.is_none() && kept.stored.contains(&split))
            });
            if some && all && by_split(&entry.source) {
                entry.state = State::Stored;
            }
        }
    }

    /// Compares what the ledger says is stored with what is there. Gives the splits that must be sent again.
    ///
    /// # Errors
    /// The target is another one, or what was stored in it is gone.
    pub(super) fn compare(&self, plan: &Plan, run: &Run) -> Result<BTreeSet<SplitId>, Failure> {
        let mut again = BTreeSet::new();
        for (stage, sources) in reach(plan) {
            let Some(found) = self.0.get(&stage).filter(|found| found.target.is_some()) else { continue };
            let name = &plan.stages[stage].name;
            let stored = run
                .splits
                .iter()
                .zip(0..)
                .filter(|(entry, _)| entry.state >= State::Stored && sources.contains(entry.source.as_str()));
            let stored: BTreeSet<SplitId> = stored.map(|(_, number)| SplitId(number)).collect();
            let gone = |what: String| {
                let help = "put it back to resume, or start over with `--fresh`";
                Failure::new(Exit::Spec, format!("`{name}`: {what}; {help}"))
            };
            let (before, now) = (run.targets.get(name), found.target.as_ref());
            if let (Some(before), Some(now)) = (before, now)
                && before != now
                && !stored.is_empty()
            {
                return Err(gone(format!("run {} has stored rows in {before}, and now it is {now}", run.id)));
            }
            match &found.run {
                Some(kept) => {
                    if let Some(lost) = &kept.lost {
                        return Err(gone(lost.clone()));
                    }
                    again.extend(stored.difference(&kept.stored));
                }
                None if stored.is_empty() => {}
                None => {
                    let (id, now) = (&run.id, now.map_or("its target", String::as_str));
                    let message =
                        format!("{} splits of run {id} were stored, and {now} knows nothing of it", stored.len());
                    return Err(gone(message));
                }
            }
        }
        Ok(again)
    }
}

/// The sources whose splits come to each sink, by name. Those of a second input end in the stage that holds it.
fn reach(plan: &Plan) -> BTreeMap<StageId, BTreeSet<&str>> {
    let mut sources: Vec<BTreeSet<&str>> = Vec::new();
    // Inputs stand before those that read them.
    for stage in &plan.stages {
        let own = match &stage.role {
            Role::Source(_) => BTreeSet::from([stage.name.as_str()]),
            _ => stage.inputs.iter().flat_map(|input| sources[*input].iter().copied()).collect(),
        };
        sources.push(own);
    }
    plan.sinks().map(|(stage, _)| (stage, sources[stage].clone())).collect()
}

fn named(plan: &Plan, stage: StageId, Failure { exit, message }: Failure) -> Failure {
    Failure::new(exit, format!("`{}`: {message}", plan.stages[stage].name))
}
