//! The one owner of a run's facts: receives every event, settles splits, watches the clock and signals.

mod afterwards;
mod lost;

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::RecvTimeoutError;

use super::{
    Options, Outcome, Signals,
    blocking_calls::BlockingCalls,
    commit_barrier::CommitBarriers,
    journal::Journal,
    launch::Launched,
    reject_limit::RejectCounter,
    resume::{Beginning, KeptSplit, stored_when},
    split_log::{Share, SplitLog},
    watchdog::Watchdog,
    worker::guard,
};
use crate::{
    batch::{Reject, SplitId},
    event::{Closed, Event, Observer, StageId, StopReason},
    failure::{Exit, Failure},
    jobspec::RejectLimit,
    plan::{Plan, PoolId, Role},
    rejects::RejectFile,
    stage::{Sink, Split},
};

/// How often the clock, the signals and the observer's display are looked after.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Different failures kept at most.
const FAILURES: usize = 100;

pub(super) struct Coordinator<'a> {
    plan: &'a Arc<Plan>,
    options: &'a Options,
    signals: &'a Signals,
    observer: &'a mut dyn Observer,
    run: Launched,
    journal: Journal,
    log: SplitLog,
    rejects: RejectCounter,
    /// Rows that sinks have taken and not given back.
    rows_stored: u64,
    /// A sink has failed: what it had begun to write by then, nobody knows.
    a_sink_failed: bool,
    deadline: Option<Instant>,
    looked: Instant,
    barriers: CommitBarriers,
    blocking_calls: BlockingCalls,
    watchdog: Watchdog,
    outcome: Outcome,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        plan: &'a Arc<Plan>,
        options: &'a Options,
        signals: &'a Signals,
        observer: &'a mut dyn Observer,
        run: Launched,
        (beginning, rejects): (Beginning, Option<RejectFile>),
        blocking_calls: BlockingCalls,
    ) -> Self {
        let journal = Journal::new(beginning, rejects);
        let outcome = Outcome { splits: run.splits.len(), run: journal.run(), ..Outcome::default() };
        let when = stored_when(plan);
        let splits = (0..run.splits.len()).map(|split| run.source_of(SplitId(split as u32)));
        // A share of rejects is known only at the end of the input, and what a target has lost by then is read again.
        let act_at_end = matches!(plan.limits.rejects, RejectLimit::Share(_))
            || plan.sinks().any(|(_, sink)| sink.properties().may_lose);
        let log = SplitLog::new(splits.map(|source| when[&source]), act_at_end);
        let looked = Instant::now();
        let barriers = CommitBarriers::new(plan, &run.workers);
        let states = run.states.iter().cloned().chain([(None, Arc::clone(&blocking_calls.state))]);
        let states: Vec<_> = states.collect();
        let deadline = plan.limits.deadline.map(|after| looked + after.0);
        deadline.iter().for_each(|end| states.iter().for_each(|(_, state)| state.pulse.set_deadline(*end)));
        let watchdog = Watchdog::new(plan, states);
        Coordinator {
            plan,
            options,
            signals,
            observer,
            run,
            journal,
            log,
            rejects: RejectCounter::new(plan.limits.rejects),
            rows_stored: 0,
            a_sink_failed: false,
            deadline,
            looked,
            barriers,
            blocking_calls,
            watchdog,
            outcome,
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        while self.barriers.left() > 0 {
            match self.run.events.recv_timeout(TICK) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look_around();
            if self.outcome.aborted.is_some() {
                return self.outcome;
            }
        }
        self.finish()
    }

    fn take(&mut self, mut event: Event) {
        if let Event::Rejected { rejects, .. } = &mut event {
            rejects.iter_mut().for_each(|reject| self.locate(reject));
        }
        match &event {
            Event::WaitsToCommit { stage } => self.barriers.waits(self.plan.pool_of(*stage)),
            Event::WorkerEnded { stage } => self.barriers.ended(self.plan.pool_of(*stage)),
            Event::Worked { stage, split, rows, .. } => match self.plan.stages[*stage].role {
                Role::Source(_) => self.log.read(*split, rows.input),
                Role::Sink(_) => {
                    self.rows_stored += rows.output;
                    self.a_sink_failed |= rows.failed > 0;
                }
                Role::Transform(_) => {}
            },
            Event::Withdrawn { rows, .. } | Event::Refused { rows, .. } => self.rows_stored -= rows,
            Event::Rejected { stage, rejects } => self.rejected(*stage, rejects),
            Event::Closed { split, how: Closed::Failed(failure) } => {
                let name = &self.split(*split).name;
                let message = if failure.message.contains(name.as_str()) {
                    failure.message.clone()
                } else {
                    format!("`{name}`: {failure}")
                };
                self.note(Failure::new(failure.exit, message));
            }
            Event::Answered { failure: Some(failure), .. } => self.note(failure.clone()),
            Event::Failed { stage, failure } => {
                self.a_sink_failed |= matches!(self.plan.stages[*stage].role, Role::Sink(_));
                self.note(self.named(*stage, failure));
            }
            Event::Stopping { why } => self.outcome.stopped = self.outcome.stopped.or(Some(*why)),
            _ => {}
        }
        self.observer.on(&event);
        match event {
            Event::Settled { split, complete } => {
                self.rejects.settled(split);
                self.log.answered(split, complete);
            }
            Event::Kept { splits } => splits.into_iter().for_each(|split| self.keep(split)),
            _ => {}
        }
        while let Some(pool) = self.barriers.due() {
            self.judge(pool);
        }
    }

    /// Nothing can be refused any more before this pool commits: is the run whole, and within its limit?
    fn judge(&mut self, pool: PoolId) {
        // Every pool before this one has ended, so all that it could read has been judged.
        self.judge_rejects(true);
        let whole = !self.run.shared.partial.load(Ordering::SeqCst);
        self.run.shared.barriers[pool].open(whole);
    }

    /// Names the place of a reject in its file.
    fn locate(&self, reject: &mut Reject) {
        let Some(stage) = self.run.shared.source_of.get(reject.split.0 as usize) else { return };
        if let Role::Source(source) = &self.plan.stages[*stage].role {
            reject.position = source.locate(self.split(reject.split), reject.position);
        }
    }

    fn rejected(&mut self, stage: StageId, rejects: &[Reject]) {
        for reject in rejects {
            if self.rejects.add((reject.split, reject.position.record)) {
                self.log.rejected(reject.split, 1);
            }
            // What a stage made at the end is of no file.
            let file = self.run.splits.get(reject.split.0 as usize).map_or("", |split| split.name.as_str());
            let (stages, of) = (&self.plan.stages, &self.plan.stages[stage]);
            let input = of.inputs.first().and_then(|input| stages[*input].output.as_ref());
            if let Err(failure) = self.journal.reject((stage, &of.name), input, file, reject) {
                self.fail(failure);
            }
        }
        self.judge_rejects(false);
    }

    /// Are there too many rejects? Then nothing that is whole or absent appears, and sources read only what decides
    /// at which reject the job fails.
    fn judge_rejects(&mut self, ended: bool) {
        if !self.rejects.too_many(self.log.sum().read, ended) {
            return;
        }
        if !self.outcome.too_many_rejects {
            self.outcome.too_many_rejects = true;
            self.run.shared.partial.store(true, Ordering::SeqCst);
            if self.outcome.stopped.is_none() {
                self.outcome.stopped = Some(StopReason::Rejects);
                self.observer.on(&Event::Stopping { why: StopReason::Rejects });
            }
        }
        match self.rejects.last() {
            Some(last) => self.run.shared.cutoff.set(last),
            None => self.stop(StopReason::Rejects),
        }
    }

    /// What an earlier attempt has read and rejected counts, too.
    fn keep(&mut self, split: SplitId) {
        let Some(&KeptSplit { read, rejected, .. }) = self.journal.kept.get(&split) else { return };
        self.rejects.kept(rejected);
        self.log.kept(split, Share { read, rejected });
    }

    /// Notes what is stored, and only then runs the `done` actions that are due.
    fn save(&mut self, ended: bool) {
        let stored = self.log.to_note();
        if let Err(failure) = self.journal.save(&stored) {
            self.fail(failure);
            return;
        }
        self.log.noted();
        while let Some(split) = self.next_due(ended) {
            match self.done(split) {
                Ok(action) => {
                    self.log.acted();
                    fail::fail_point!("done");
                    self.journal.acted(split, action.clone());
                    self.observer.on(&Event::Done { split, action });
                }
                Err(failure) => self.fail(failure),
            }
        }
    }

    /// The next split whose `done` action is due: in a job that fails for its rejects, only of those before the reject
    /// at which it does.
    fn next_due(&mut self, ended: bool) -> Option<SplitId> {
        let end = match self.outcome.too_many_rejects {
            true => self.rejects.last().map_or(SplitId(0), |(split, _)| split),
            false => SplitId(u32::MAX),
        };
        self.log.next_due(end, ended)
    }

    fn done(&mut self, split: SplitId) -> Result<Option<String>, Failure> {
        if !self.options.settles() {
            return Ok(None);
        }
        // An earlier attempt has done it.
        if let Some(KeptSplit { gone: true, action, .. }) = self.journal.kept.get(&split) {
            return Ok(action.clone());
        }
        let stage = self.run.source_of(split);
        let split = self.split(split).clone();
        self.call_blocking(stage, move |plan| match &plan.stages[stage].role {
            Role::Source(source) => source.done(&split),
            _ => unreachable!("splits belong to sources"),
        })
    }

    /// The sinks, in their order.
    fn sinks(&self) -> Vec<StageId> {
        self.plan.sinks().map(|(stage, _)| stage).collect()
    }

    /// Asks a sink something.
    fn ask<T: Send + 'static>(
        &mut self,
        stage: StageId,
        question: impl FnOnce(&dyn Sink) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.call_blocking(stage, move |plan| match &plan.stages[stage].role {
            Role::Sink(sink) => question(&**sink),
            _ => unreachable!("it is among the sinks"),
        })
    }

    /// Calls a stage, looking around until it answers. Where it does not, the run is over.
    fn call_blocking<T: Send + 'static>(
        &mut self,
        stage: StageId,
        call: impl FnOnce(&Plan) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let plan = Arc::clone(self.plan);
        let answer = self.blocking_calls.call(move || guard(&plan, stage, || call(&plan)));
        while self.outcome.aborted.is_none() {
            match answer.recv_timeout(TICK) {
                Ok(answer) => return answer,
                Err(_) => _ = self.watch(),
            }
        }
        let name = &self.plan.stages[stage].name;
        Err(Failure::new(Exit::Unavailable, format!("`{name}` did not answer before the run was aborted")))
    }

    fn split(&self, split: SplitId) -> &Split {
        &self.run.splits[split.0 as usize]
    }

    /// Says what went wrong, once, and keeps it for the report.
    fn note(&mut self, failure: Failure) {
        if self.outcome.aborted.is_some() {
            // What was under way then failed for that.
            return;
        }
        let known = &mut self.outcome.failures;
        // A service that fails tends to say so for every batch. A bug is never left out.
        if !known.contains(&failure) && (known.len() < FAILURES || failure.exit == Exit::Bug) {
            tracing::error!("{failure}");
            known.push(failure);
        }
    }

    fn named(&self, stage: StageId, failure: &Failure) -> Failure {
        Failure::new(failure.exit, format!("`{}`: {failure}", self.plan.stages[stage].name))
    }

    /// A failure of the run itself, not of a stage.
    fn fail(&mut self, failure: Failure) {
        self.note(failure);
        self.run.shared.partial.store(true, Ordering::SeqCst);
        self.stop(StopReason::Failure);
    }

    /// Stops the sources; what is under way drains.
    fn stop(&mut self, why: StopReason) {
        if self.outcome.stopped.is_none() {
            self.outcome.stopped = Some(why);
            self.observer.on(&Event::Stopping { why });
        }
        self.run.shared.stop.store(true, Ordering::SeqCst);
    }

    fn look_around(&mut self) {
        if self.watch() && self.outcome.aborted.is_none() {
            self.save(false);
        }
    }

    /// Watches signals, the clock and whether anything moves, unless that was done just now.
    fn watch(&mut self) -> bool {
        if self.looked.elapsed() < TICK {
            return false;
        }
        self.looked = Instant::now();
        let count = |signal: &AtomicUsize| signal.load(Ordering::SeqCst);
        let (interrupts, terminates) = (count(&self.signals.interrupt), count(&self.signals.terminate));
        if let Some(exit) = self.signals.abort() {
            self.abort(exit);
        } else if interrupts == 1 && self.outcome.stopped.is_none() {
            self.stop(StopReason::Interrupt);
        } else if terminates == 1 && self.outcome.stopped.is_none() {
            self.stop(StopReason::Terminate);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) && self.outcome.stopped.is_none() {
            self.stop(StopReason::Deadline);
        }
        for (stage, gauge) in &self.run.gauges {
            self.observer.on(&Event::Level { stage: *stage, batches: gauge.batches() });
        }
        if self.outcome.aborted.is_none() && self.watchdog.is_stalled() {
            let failure = self.watchdog.diagnosis(self.plan, &self.run.gauges);
            let exit = failure.exit;
            self.note(failure);
            self.abort(exit);
        }
        self.observer.tick();
        true
    }

    /// Ends the run without waiting for anything.
    fn abort(&mut self, exit: Exit) {
        self.outcome.aborted = Some(exit);
        self.outcome.unfinished = self.log.len() - self.log.done_count();
    }

    fn finish(mut self) -> Outcome {
        self.drain();
        self.answer_late();
        self.judge_rejects(true);
        if self.nothing_is_lost() {
            // What went to a stream counts only with a run of which nothing is missing.
            if !self.run.shared.partial.load(Ordering::SeqCst) {
                self.log.run_ended();
            }
            self.save(true);
        }
        // The last actions.
        if let Err(failure) = self.journal.save(&[]).and_then(|()| self.arrange_rejects()) {
            self.fail(failure);
        }
        // Whoever runs the command again for a failure resumes this run, and stores nothing twice.
        let failed = !self.outcome.failures.is_empty() || !self.outcome.lost.is_empty();
        self.verify();
        for (stage, gauge) in &self.run.gauges {
            self.observer.on(&Event::Queue { stage: *stage, high: gauge.high() });
        }
        self.outcome.unfinished = self.log.len() - self.log.done_count();
        let failed = failed || !self.after();
        self.close(failed);
        self.observer.tick();
        self.outcome
    }

    /// Says whether anything is left to do; a run of which nothing came is forgotten.
    fn close(&mut self, failed: bool) {
        let plan = self.plan;
        // After a failure what targets keep of the run stays, too: the next attempt asks them what they have.
        let closed = if self.outcome.unfinished == 0 && !self.outcome.too_many_rejects && !failed {
            fail::fail_point!("run-stored");
            self.outcome.complete = true;
            Ok(())
        } else if self.is_blank() {
            self.journal.forget(plan)
        } else {
            Ok(())
        };
        if let Err(failure) = closed {
            self.note(failure);
        }
    }

    /// Was this the first attempt, and has nothing come of it but rejects?
    fn is_blank(&self) -> bool {
        self.journal.is_first_attempt() && self.rows_stored == 0 && self.log.done_count() == 0 && !self.a_sink_failed
    }

    /// Puts the reject file in input order, and says why the job fails where there are too many.
    fn arrange_rejects(&mut self) -> Result<(), Failure> {
        let last = self.rejects.last().filter(|_| self.outcome.too_many_rejects);
        for (stage, code, rejects) in self.journal.arrange_rejects(last)? {
            self.observer.on(&Event::BehindCutoff { stage, code, rejects });
        }
        if self.outcome.too_many_rejects {
            let (count, read, limit) = (self.rejects.count(), self.log.sum().read, self.plan.limits.rejects);
            self.note(Failure::new(Exit::Rejects, too_many(count, read, limit)));
        }
        Ok(())
    }

    /// Takes the events that are there.
    fn drain(&mut self) {
        while let Ok(event) = self.run.events.try_recv() {
            self.take(event);
        }
    }

    /// Input that was gathered is stored once everything is.
    fn answer_late(&mut self) {
        let late = std::mem::take(&mut *self.run.shared.late.lock().unwrap_or_else(PoisonError::into_inner));
        for ack in late.into_values() {
            if !self.run.shared.partial.load(Ordering::SeqCst) {
                ack.acknowledge();
            }
            // One at a time: nobody else makes room for the events.
            self.drain();
        }
    }
}

/// Why a job fails for its rejects.
fn too_many(count: u64, read: u64, limit: RejectLimit) -> String {
    let were = if count == 1 { "record was" } else { "records were" };
    match limit {
        RejectLimit::Count(0) => format!("{count} {were} rejected; this job allows none (limits.rejects = 0)"),
        RejectLimit::Count(most) => {
            format!("{count} {were} rejected; this job allows {most} (limits.rejects = {most})")
        }
        RejectLimit::Share(_) => format!("{count} of {read} records were rejected; this job allows {limit}"),
    }
}
