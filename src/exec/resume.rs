//! The beginning of a run: a new one, or an interrupted one that is resumed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    sync::Arc,
    time::SystemTime,
};

use super::{LedgerUse, Options, split_log::StoredWhen, targets::Targets, worker::guard};
use crate::{
    batch::SplitId,
    event::StageId,
    failure::{Exit, Failure},
    ledger::{self, Entry, Ledger, Run, State},
    plan::{Intake, Plan, Role},
    rejects::{Kept, RejectFile},
    stage::{Attempt, Detail, Guarantee, Mode, Repeats, Sink, Split},
};

/// Differences named one by one at most.
const NAMED: usize = 5;

/// What is to be done, before anything has been opened.
pub(super) struct Beginning {
    /// The splits of every source.
    pub(super) listed: Vec<(StageId, Vec<Split>)>,
    /// Those that an earlier attempt has stored.
    pub(super) kept: BTreeMap<SplitId, KeptSplit>,
    /// Where it can be resumed.
    pub(super) durable: Option<Durable>,
}

/// A split that an earlier attempt has stored.
#[derive(Clone, Debug)]
pub(super) struct KeptSplit {
    pub(super) read: u64,
    pub(super) rejected: u64,
    /// Its `done` action has run, as what held it is gone.
    pub(super) gone: bool,
    /// What that did.
    pub(super) action: Option<String>,
}

/// A run that can be resumed.
pub(super) struct Durable {
    pub(super) ledger: Ledger,
    pub(super) run: Run,
    /// One for every transform and sink, by place.
    pub(super) attempts: BTreeMap<StageId, Attempt>,
}

impl Beginning {
    /// Lists the splits, or finds out what is left of an interrupted run.
    pub(super) fn new(plan: &Plan, options: &Options) -> Result<Beginning, Failure> {
        if !options.uses_ledger() {
            return Ok(Beginning { listed: list(plan)?, kept: BTreeMap::new(), durable: None });
        }
        let fresh = options.ledger == LedgerUse::Fresh;
        let mut ledger = Ledger::open(&plan.state, &plan.name, fresh)?;
        if let Some(run) = ledger.uncleared().cloned()
            && clear_up(plan, &run)
        {
            ledger.cleared(&run.id)?;
        }
        let parts = parts(plan);
        let broken = ledger.broken().filter(|_| !fresh).cloned();
        let again = match broken.as_ref().map(|run| go_on(plan, run, &parts)).transpose() {
            Err(failure) => {
                // Nothing of it is left to do, or to lose: it need not be resumed.
                let harmless = broken.as_ref().filter(|run| is_harmless(plan, run)).ok_or(failure)?;
                ledger.leave_beside(&harmless.ledger, &harmless.id)?;
                clear_up(plan, harmless);
                None
            }
            Ok(again) => again.zip(broken),
        };
        let (mut listed, mut kept, mut run) = match again {
            Some(((listed, kept), run)) => (listed, kept, run),
            None => {
                let listed = list(plan)?;
                let splits = listed.iter().flat_map(|(stage, splits)| {
                    splits.iter().map(|split| (plan.stages[*stage].name.clone(), split.clone()))
                });
                let run = Run::new(ledger.id(), plan.now, parts.clone(), splits);
                (listed, BTreeMap::new(), run)
            }
        };
        if listed.iter().any(|(_, splits)| splits.iter().any(|split| split.detail == Detail::Stream)) {
            // What has been read of a stream is gone.
            return Ok(Beginning { listed, kept, durable: None });
        }
        let token = ledger::new_id();
        let mut targets = Targets::inspect(plan, &attempts(plan, &run, run.attempts > 0, &token))?;
        let adopted = targets.lost_run(plan, options, &mut ledger, run.attempts > 0)?;
        let resumed = run.attempts > 0 || adopted.is_some();
        if let Some(mut lost) = adopted {
            targets = Targets::inspect(plan, &attempts(plan, &lost, true, &token))?;
            let when = stored_when(plan);
            let alone = when.iter().filter(|(_, when)| **when == StoredWhen::Alone);
            let alone: BTreeSet<&str> = alone.map(|(stage, _)| plan.stages[*stage].name.as_str()).collect();
            targets.mark_stored(plan, &mut lost, |source| alone.contains(source));
            (listed, kept) = go_on(plan, &lost, &parts)?;
            run = lost;
        }
        if resumed {
            send_again(&targets.compare(plan, &run)?, &mut run, &mut kept)?;
        }
        if fresh {
            // From now on what the interrupted run needs to be resumed may be gone.
            ledger.abandon()?;
        }
        run.targets.extend(targets.names(plan));
        let attempts = attempts(plan, &run, resumed, &token);
        Ok(Beginning { listed, kept, durable: Some(Durable { ledger, run, attempts }) })
    }

    /// Is there nothing to read, as all of it was stored by an earlier attempt?
    pub(super) fn all_stored(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.run.all_stored())
    }

    /// Asks every sink whether what earlier attempts have stored is still there, and forgets the splits that lead to
    /// one which has lost some: they are read again.
    fn check_sinks(&mut self, plan: &Plan) -> Result<(), Failure> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        for (stage, sink) in plan.sinks() {
            let behind = leading_to(plan, stage);
            let sources = self.listed.iter().flat_map(|(source, splits)| std::iter::repeat_n(*source, splits.len()));
            let lost: Vec<SplitId> = (0..)
                .map(SplitId)
                .zip(sources)
                .filter(|(split, source)| behind.contains(source) && self.kept.contains_key(split))
                .map(|(split, _)| split)
                .collect();
            let Some(attempt) = durable.attempts.get(&stage).filter(|_| !lost.is_empty()) else { continue };
            let Some(loss) = guard(plan, stage, || sink.check(Some(attempt)))? else { continue };
            for split in &lost {
                if self.kept.get(split).is_some_and(|kept| kept.gone) {
                    let name = &plan.stages[stage].name;
                    let message =
                        format!("`{name}`: {loss}, and input that it came from is gone after its `done` action");
                    return Err(Failure::new(
                        Exit::Spec,
                        format!("{message}; put it back and start over with `--fresh`"),
                    ));
                }
            }
            tracing::warn!("`{}`: {loss}; it is sent again", plan.stages[stage].name);
            durable.ledger.forget_splits(&lost)?;
            for split in lost {
                self.kept.remove(&split);
                durable.run.splits[split.0 as usize].state = State::Left;
            }
        }
        let stored = !self.kept.is_empty();
        durable.attempts.values_mut().for_each(|attempt| attempt.stored = stored);
        Ok(())
    }

    /// Lets every stage look after what earlier attempts have left.
    pub(super) fn begin_stages(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.check_sinks(plan)?;
        let Some(durable) = &self.durable else { return Ok(()) };
        durable.attempts.iter().try_for_each(|(stage, attempt)| match &plan.stages[*stage].role {
            Role::Source(_) => Ok(()),
            Role::Transform(transform) => transform.begin(attempt),
            Role::Sink(sink) => sink.begin(attempt),
        })
    }

    /// The reject file. A rehearsal leaves the rejects of the last real run alone.
    pub(super) fn rejects(&self, plan: &Plan, options: &Options) -> Result<Option<RejectFile>, Failure> {
        let Some(path) = plan.rejects.as_ref().filter(|_| options.mode == Mode::Write) else { return Ok(None) };
        let behind = ledger::folder(&plan.state, &plan.name).join("rejects");
        let file = match self.durable.as_ref().map(|durable| &durable.run) {
            Some(run) if run.attempts > 0 => {
                // Where all is stored, so is what stages have emitted at the end: splits of no source.
                let all = run.all_stored();
                let stored = |split| all || self.kept.contains_key(&SplitId(split));
                let kept = Kept { run: &run.id, behind: &behind, stored: &stored };
                RejectFile::go_on(path, &plan.name, &kept)?
            }
            run => RejectFile::create(path, &plan.name, run.map(|run| run.id.as_str()))?,
        };
        Ok(Some(if self.durable.is_some() { file.keep_behind(behind) } else { file }))
    }

    /// Notes the attempt, durably: from now on there is a run to resume.
    pub(super) fn note(&mut self) -> Result<(), Failure> {
        let Some(Durable { ledger, run, .. }) = &mut self.durable else { return Ok(()) };
        ledger.begin(run)?;
        run.attempts += 1;
        Ok(())
    }
}

impl Options {
    /// Can the run be resumed? Not a rehearsal, nor input that is read in part.
    fn uses_ledger(&self) -> bool {
        self.ledger != LedgerUse::Off && self.settles()
    }
}

fn list(plan: &Plan) -> Result<Vec<(StageId, Vec<Split>)>, Failure> {
    plan.sources().map(|(stage, source)| Ok((stage, guard(plan, stage, || source.splits())?))).collect()
}

/// What must be the same in all attempts: also the number of workers of a sink that knows its splits again, where
/// rows are divided among them by a key.
fn parts(plan: &Plan) -> BTreeMap<String, String> {
    let mut parts = plan.digests.clone();
    for pool in &plan.pools {
        if let (Role::Sink(sink), Intake::Keyed(_)) = (&plan.stages[pool.head].role, &pool.intake)
            && matches!(sink.properties().guarantee, Guarantee::ExactlyOnce { .. })
        {
            let name = &plan.stages[pool.head].name;
            parts.insert(format!("sinks.{name}.concurrency"), pool.workers.to_string());
        }
    }
    parts
}

/// When the run began that is to be adopted; `None` where there is none, or nobody can be asked: the attempt itself says
/// why. What `now()` was in that run it must be in the plan that resumes it.
pub fn adopted_since(plan: &Plan) -> Option<SystemTime> {
    let beside = ledger::beside(&plan.state, &plan.name);
    let run = Run::new("", plan.now, parts(plan), std::iter::empty());
    let targets = Targets::inspect(plan, &attempts(plan, &run, false, "")).ok()?;
    targets.unknown_since(|other| beside.contains(&(other.ledger.clone(), other.run.clone())))
}

/// A run is over: what targets keep under its name goes, and what stages have kept in the job's folder. Says whether all
/// of it is gone; what is not is no reason to do anything again.
pub(super) fn clear_up(plan: &Plan, run: &Run) -> bool {
    let ended = end_sinks(plan, &attempts(plan, run, true, ""));
    let folder = ledger::folder(&plan.state, &plan.name);
    // What a sink has noted there it may still need.
    let result = ended.and_then(|()| match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::writing(&folder, &error)),
        _ => Ok(()),
    });
    if let Err(failure) = &result {
        tracing::warn!("what was kept of run {} goes when the next one begins: {failure}", run.id);
    }
    result.is_ok()
}

/// Tells every sink that the run is over, also those after one that fails, whose failure it gives.
pub(super) fn end_sinks(plan: &Plan, attempts: &BTreeMap<StageId, Attempt>) -> Result<(), Failure> {
    let mut ended = Ok(());
    for (stage, attempt) in attempts {
        if let Role::Sink(sink) = &plan.stages[*stage].role {
            ended = ended.and(guard(plan, *stage, || sink.end(attempt)));
        }
    }
    ended
}

/// Is everything of the run done, or is nothing of it anywhere, as the ledger and every target say?
fn is_harmless(plan: &Plan, run: &Run) -> bool {
    let all = |state| run.splits.iter().all(|entry| entry.state == state);
    if all(State::Done) {
        tracing::warn!("run {} had stored all of its input when it was interrupted: a new run follows it", run.id);
        return true;
    }
    let harmless = all(State::Left) && {
        // What is whole or absent is absent.
        let by_split = |sink: &dyn Sink| sink.properties().guarantee != Guarantee::AllOrNothing;
        let asked: Vec<StageId> = plan.sinks().filter(|(_, sink)| by_split(*sink)).map(|(stage, _)| stage).collect();
        let targets = || Targets::inspect(plan, &attempts(plan, run, true, "")).ok();
        let untouched = |targets: Targets| asked.iter().all(|stage| targets.is_untouched(plan, *stage, run));
        asked.is_empty() || targets().is_some_and(untouched)
    };
    if harmless {
        tracing::warn!("run {} was interrupted with nothing stored: a new run takes its place", run.id);
    }
    harmless
}

/// What is left of an interrupted run.
fn go_on(plan: &Plan, run: &Run, parts: &BTreeMap<String, String>) -> Result<Again, Failure> {
    same_spec(run, parts)?;
    list_again(plan, run)
}

/// Is the spec the one that the run began with?
fn same_spec(run: &Run, parts: &BTreeMap<String, String>) -> Result<(), Failure> {
    let changed = parts.iter().filter(|(key, digest)| run.parts.get(*key) != Some(digest)).map(|(key, _)| key);
    let gone = run.parts.keys().filter(|key| !parts.contains_key(*key));
    let names: BTreeSet<&str> = changed.chain(gone).map(String::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let have = if names.len() == 1 { "has" } else { "have" };
    Err(Failure::new(Exit::Spec, format!("{} {have} changed since {}", listing(&names), interrupted(run))))
}

/// What to do about a run that cannot be resumed.
fn interrupted(run: &Run) -> String {
    let (id, started) = (&run.id, crate::rejects::stamp(run.started));
    let stored = run.splits.iter().filter(|entry| entry.state >= State::Stored).count();
    let splits = run.splits.len();
    format!(
        "run {id} of {started} was interrupted with {stored} of {splits} splits stored; undo that to resume it, or start \
         over with `--fresh`, which leaves what is stored where it is"
    )
}

fn listing(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let text = names[..names.len() - more].join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}

type Again = (Vec<(StageId, Vec<Split>)>, BTreeMap<SplitId, KeptSplit>);

/// The splits as the run had them, and what is known of those that are stored.
fn list_again(plan: &Plan, run: &Run) -> Result<Again, Failure> {
    let mut listed = Vec::new();
    let mut kept = BTreeMap::new();
    let mut differences = Vec::new();
    let mut first = 0;
    for (stage, source) in plan.sources() {
        let name = &plan.stages[stage].name;
        let entries: Vec<&Entry> = run.splits.iter().filter(|entry| entry.source == *name).collect();
        let stored: Vec<&Split> =
            entries.iter().filter(|entry| entry.state >= State::Stored).map(|entry| &entry.split).collect();
        let left: Vec<&Split> =
            entries.iter().filter(|entry| entry.state == State::Left).map(|entry| &entry.split).collect();
        let now = guard(plan, stage, || source.splits_again(&stored, &left))?;
        differences.extend(compare(&entries, &now));
        for (number, entry) in (first..).zip(&entries) {
            if entry.state >= State::Stored {
                let Entry { read, rejected, action, split, .. } = entry;
                let kept_split =
                    KeptSplit { read: *read, rejected: *rejected, gone: !now.contains(split), action: action.clone() };
                kept.insert(SplitId(number), kept_split);
            }
        }
        first += entries.len() as u32;
        listed.push((stage, entries.into_iter().map(|entry| entry.split.clone()).collect()));
    }
    if differences.is_empty() {
        return Ok((listed, kept));
    }
    let message = format!("the input has changed: {}; {}", listing(&differences), interrupted(run));
    Err(Failure::new(Exit::InputMissing, message))
}

/// How the input differs from what it was. What is stored may be gone.
fn compare(entries: &[&Entry], now: &[Split]) -> Vec<String> {
    let mut differences = BTreeSet::new();
    for Entry { split, state, action, .. } in entries {
        let name = &split.name;
        if now.contains(split) {
            // It was renamed, moved or deleted, and is there again.
            if *state == State::Done && action.is_some() {
                differences.insert(format!("`{name}` is new"));
            }
        } else if now.iter().any(|other| other.name == *name) {
            let new = if *state == State::Done && action.is_some() { "is new" } else { "is not what it was" };
            differences.insert(format!("`{name}` {new}"));
        } else if *state == State::Left {
            differences.insert(format!("`{name}` is gone"));
        }
    }
    for Split { name, .. } in now.iter().filter(|split| !entries.iter().any(|entry| entry.split.name == split.name)) {
        differences.insert(format!("`{name}` is new"));
    }
    differences.into_iter().collect()
}

/// Splits that a target has lost are sent again.
fn send_again(
    splits: &BTreeSet<SplitId>,
    run: &mut Run,
    kept: &mut BTreeMap<SplitId, KeptSplit>,
) -> Result<(), Failure> {
    if splits.is_empty() {
        return Ok(());
    }
    for split in splits {
        let gone = kept.remove(split).is_some_and(|kept| kept.gone);
        let entry = &mut run.splits[split.0 as usize];
        if gone {
            let (name, source) = (&entry.split.name, &entry.source);
            let message =
                format!("split `{name}` of `{source}` was stored, and is not there any more; nor is its input");
            return Err(Failure::new(Exit::Spec, format!("{message}; start over with `--fresh`")));
        }
        entry.state = State::Left;
    }
    tracing::warn!("{} splits that were stored are not there any more: they are sent again", splits.len());
    Ok(())
}

/// What each transform and sink must know of an attempt.
fn attempts(plan: &Plan, run: &Run, again: bool, token: &str) -> BTreeMap<StageId, Attempt> {
    let (splits, record): (Arc<_>, Arc<[u8]>) = (Arc::new(run.keys()), run.record().into());
    let attempt = |(id, stage): (StageId, &crate::plan::Stage)| {
        let pool = plan.pools.iter().find(|pool| pool.head == id);
        let attempt = Attempt {
            ledger: run.ledger.clone(),
            run: run.id.clone(),
            token: token.to_owned(),
            job: plan.name.clone(),
            plan: plan.digest.clone(),
            stage: stage.name.clone(),
            again,
            stored: run.splits.iter().any(|entry| entry.state >= State::Stored),
            started: run.started,
            folder: ledger::folder(&plan.state, &plan.name),
            divided: pool.is_some_and(|pool| matches!(pool.intake, Intake::Keyed(_))),
            workers: pool.map_or(1, |pool| pool.workers as u32),
            in_order: come_in_order(plan, run, id),
            splits: Arc::clone(&splits),
            record: Arc::clone(&record),
        };
        (id, attempt)
    };
    plan.stages.iter().enumerate().filter(|(_, stage)| !matches!(stage.role, Role::Source(_))).map(attempt).collect()
}

/// Do the rows of a split come to a stage in the same order in every attempt? Sizes of batches and numbers of workers may
/// be others then. So a batch must come by one way, undivided; and what was gathered comes out in an order of its own, as
/// do the partners that a second input has for a row. Nor has what is read in one go, as a view is, an order that is known.
fn come_in_order(plan: &Plan, run: &Run, stage: StageId) -> bool {
    let mut behind = leading_to(plan, stage);
    let read: Vec<StageId> = behind.iter().flat_map(|id| plan.stages[*id].reads()).collect();
    let has_one_way = read.len() == read.iter().collect::<BTreeSet<_>>().len();
    behind.remove(&stage);
    let in_one_go =
        |name: &str| run.splits.iter().any(|entry| entry.source == name && entry.split.detail == Detail::Whole);
    let keeps_order = |id: &StageId| {
        let (stage, pool) = (&plan.stages[*id], &plan.pools[plan.pool_of(*id)]);
        match &stage.role {
            Role::Source(source) => source.properties().repeats == Repeats::InOrder && !in_one_go(&stage.name),
            role => !role.is_breaker() && stage.side.is_none() && !matches!(pool.intake, Intake::Keyed(_)),
        }
    };
    has_one_way && behind.iter().all(keeps_order)
}

/// A stage and all stages whose rows lead to it.
pub(super) fn leading_to(plan: &Plan, stage: StageId) -> BTreeSet<StageId> {
    let mut behind = BTreeSet::from([stage]);
    // Inputs stand before those that read them.
    for (id, stage) in plan.stages.iter().enumerate().rev() {
        if behind.contains(&id) {
            behind.extend(stage.reads());
        }
    }
    behind
}

/// For every source, when its splits count as stored: as the stages want it that its rows come to.
pub(super) fn stored_when(plan: &Plan) -> BTreeMap<StageId, StoredWhen> {
    let own = |stage: &crate::plan::Stage| match &stage.role {
        Role::Source(_) => StoredWhen::Alone,
        Role::Transform(transform) if transform.properties().needs_all_input() => StoredWhen::WithTheRun,
        Role::Transform(_) => StoredWhen::Alone,
        Role::Sink(sink) => match sink.properties().guarantee {
            Guarantee::AnyOrder | Guarantee::ExactlyOnce { .. } => StoredWhen::Alone,
            Guarantee::LastWins => StoredWhen::Preceded,
            Guarantee::AllOrNothing | Guarantee::Stream => StoredWhen::WithTheRun,
        },
    };
    let mut when: Vec<StoredWhen> = plan.stages.iter().map(own).collect();
    // Inputs stand before those that read them.
    for (id, stage) in plan.stages.iter().enumerate().rev() {
        for input in stage.reads() {
            let behind = if stage.side == Some(input) { StoredWhen::WithTheRun } else { when[id] };
            when[input] = when[input].max(behind);
        }
    }
    plan.sources().map(|(id, _)| (id, when[id])).collect()
}
