//! `runner run`: runs jobs, one after the other.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Instant, SystemTime},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGXFSZ},
    flag,
    iterator::Signals as SignalStream,
};
use tracing::{
    Metadata,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::{
    args::{How, Run},
    check::Names,
    check_sets, colors, compile, complain, err, out_json, reports, told,
};
use crate::{
    exchange,
    exec::{self, LedgerUse, Options, Outcome, Signals},
    expr::clock,
    failure::{Exit, Failure},
    jobspec::{Document, Duration, Mode as SpecMode, Problems, machine, render},
    ledger,
    lock::{Lock, TargetLock},
    plan::Plan,
    rejects::now,
    report::{Ending, Level, Progress, Refusal, Report, Run as RunFacts, Screen, Style, Tally},
    stage::Mode,
};

/// Attempts of one command at a run whose targets lose what they have acknowledged.
const ATTEMPTS: u32 = 3;

/// Runs every spec; the first that fails stops the rest.
pub(super) fn run(args: &Run) -> Exit {
    if args.specs.is_empty() {
        complain(&Failure::new(Exit::Usage, "name a job spec: runner run SPEC…"));
        return Exit::Usage;
    }
    let teller = match Teller::new(&args.how) {
        Ok(teller) => teller,
        Err(exit) => return exit,
    };
    let twice = args.specs.iter().enumerate().find(|(at, spec)| args.specs[..*at].contains(spec));
    if let Some((_, spec)) = twice {
        let failure = Failure::new(Exit::Usage, format!("`{}` is named twice", spec.display()));
        return teller.refused(spec, failure);
    }
    if let Err(failure) = check_sets(&args.specs, &args.how.set) {
        return teller.refused(&args.specs[0], failure);
    }
    let (mut ended, mut names) = (Vec::new(), Names::default());
    for spec in &args.specs {
        match one(spec, args, &mut names, &teller) {
            Ok(run) if run.exit == Exit::Done => ended.push(run),
            // The same command resumes this job, and with those before it, which find nothing left to do.
            Ok(run) => return run.close(&teller.screen),
            Err(exit) => return exit,
        }
    }
    ended.iter().map(|run| run.close(&teller.screen)).find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done)
}

/// Tells people and machines what happens, in the way that the command line asks for.
pub(super) struct Teller {
    pub(super) screen: Screen,
    pub(super) signals: Signals,
    /// Is the report printed?
    prints: bool,
}

impl Teller {
    /// Lets trouble appear on the screen, and signals be counted.
    pub(super) fn new(how: &How) -> Result<Teller, Exit> {
        let screen = Screen::new(how.log_format.into(), how.quiet);
        trouble_to(&screen);
        let no_signals = |error| told(Failure::new(Exit::Bug, format!("cannot watch for signals: {error}")));
        Ok(Teller { signals: watch().map_err(no_signals)?, screen, prints: how.format.is_some() })
    }

    /// There is no run because of a failure.
    pub(super) fn refused(&self, spec: &Path, failure: Failure) -> Exit {
        self.screen.failed(&failure.message);
        self.print(&Refusal::failed(spec.display().to_string(), &failure), failure.exit)
    }

    /// There is no run because of what is wrong with the spec.
    pub(super) fn invalid(&self, spec: &Path, document: &Document, problems: &Problems) -> Exit {
        let findings = machine(document, problems);
        if self.screen.is_json() {
            for finding in &findings {
                let level = if finding.severity == "error" { Level::Error } else { Level::Info };
                let facts = ["code", "file", "line", "column", "help"];
                let object = serde_json::to_value(finding).unwrap_or_default();
                self.screen.say(level, &finding.message, &facts.map(|key| (key, object[key].clone())));
            }
        } else {
            err(&render(document, problems, colors()));
        }
        self.print(&Refusal::invalid(spec.display().to_string(), findings), Exit::Spec)
    }

    /// Calls something that may take long before a run has begun, on a thread of its own: a signal ends that at once.
    pub(super) fn interruptible<T: Send + 'static>(
        &self,
        spec: &Path,
        call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Exit> {
        const LOOK: std::time::Duration = std::time::Duration::from_millis(20);
        // As much as the main thread has: expressions may be nested deep.
        const STACK: usize = 8 << 20;
        let (sender, answer) = mpsc::channel();
        let make = move || _ = sender.send(call());
        let refused = |exit, message: String| self.refused(spec, Failure::new(exit, message));
        let started = std::thread::Builder::new().name("plan".to_owned()).stack_size(STACK).spawn(make);
        started.map_err(|error| refused(Exit::Unavailable, format!("cannot start threads: {error}")))?;
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(answer) => return answer.map_err(|failure| self.refused(spec, failure)),
                Err(RecvTimeoutError::Disconnected) => return Err(Exit::Bug),
                Err(RecvTimeoutError::Timeout) if self.signals.any() => {
                    return Err(refused(Exit::TryAgain, "interrupted before the run began".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn print(&self, refusal: &Refusal, exit: Exit) -> Exit {
        if self.prints {
            let _ = out_json(refusal);
        }
        exit
    }
}

/// A job that was run.
pub(super) struct Ended {
    plan: Arc<Plan>,
    outcome: Outcome,
    exit: Exit,
    /// Held until it is closed.
    _lock: Option<Lock>,
}

impl Ended {
    /// The run is over, and everybody has been told.
    pub(super) fn close(&self, screen: &Screen) -> Exit {
        match exec::close(&self.plan, &self.outcome) {
            Ok(()) => self.exit,
            Err(failure) => {
                screen.failed(&failure.message);
                if self.exit == Exit::Done { failure.exit } else { self.exit }
            }
        }
    }
}

fn one(spec: &Path, args: &Run, names: &mut Names, teller: &Teller) -> Result<Ended, Exit> {
    teller.screen.begin("");
    let compile = |now| {
        let (path, sets) = (spec.to_owned(), args.how.set.clone());
        teller.interruptible(spec, move || clock::stopped_at(now, || compile(&path, &sets, SpecMode::Run)))
    };
    let mut compiled = compile(clock::now())?;
    let resumes = !args.no_ledger && !args.fresh && args.limit.is_none() && !args.how.dry_run;
    let interrupted = compiled.plan.as_ref().filter(|_| resumes);
    if let Some(since) = interrupted.and_then(|plan| interrupted_since(plan, args.adopt)) {
        // What `now()` was when the run began it still is.
        compiled = compile(since)?;
    }
    if let Some(problem) = compiled.plan.as_ref().and_then(|plan| names.taken(spec, plan)) {
        compiled.problems.push(problem);
        compiled.plan = None;
    }
    let Some(plan) = compiled.plan else { return Err(teller.invalid(spec, &compiled.document, &compiled.problems)) };
    let plan = Arc::new(plan);
    let ledger = match (args.no_ledger, args.fresh, args.adopt) {
        (true, ..) => LedgerUse::Off,
        (_, true, _) => LedgerUse::Fresh,
        (.., true) => LedgerUse::Adopt,
        _ => LedgerUse::Resume,
    };
    let again = || {
        let since = ledger::interrupted_since(&plan.state, &plan.name).unwrap_or(plan.now);
        let compiled = compile(since)?;
        compiled.plan.ok_or_else(|| teller.invalid(spec, &compiled.document, &compiled.problems))
    };
    carry_out(Arc::clone(&plan), &again, spec, &args.how, (args.limit, ledger), teller)
}

/// When the run began that this attempt resumes.
fn interrupted_since(plan: &Plan, adopt: bool) -> Option<SystemTime> {
    let known = ledger::interrupted_since(&plan.state, &plan.name);
    known.or_else(|| (adopt || plan.adopts).then(|| exec::adopted_since(plan)).flatten())
}

/// Runs a plan and tells how it ended: so many rows of every source, with this use of the ledger. `again` makes the
/// plan of a further attempt.
pub(super) fn carry_out(
    plan: Arc<Plan>,
    again: &dyn Fn() -> Result<Plan, Exit>,
    spec: &Path,
    args: &How,
    (limit, ledger): (Option<u64>, LedgerUse),
    teller: &Teller,
) -> Result<Ended, Exit> {
    let Teller { screen, signals, .. } = teller;
    if let Some(path) = &args.report
        && plan.sources().any(|(_, source)| source.reads().is_some_and(|reads| reads(path)))
    {
        let message = format!("--report {}: the job reads this file", path.display());
        return Err(teller.refused(spec, Failure::new(Exit::Usage, message)));
    }
    // A rehearsal writes nothing that another run could disturb.
    let lock = (!args.dry_run).then(|| lock(&plan, args.wait, signals, screen)).transpose();
    let lock = lock.map_err(|failure| teller.refused(spec, failure))?;
    let targets = if args.dry_run { Ok(Vec::new()) } else { lock_targets(&plan, args.wait, signals, screen) };
    let _targets = targets.map_err(|failure| teller.refused(spec, failure))?;
    if !args.dry_run {
        exchange::remove_orphans(plan.limits.spill_folder(&plan.state));
    }
    screen.begin(&plan.name);
    let mode = if args.dry_run { Mode::Rehearse } else { Mode::Write };
    let options = Options { mode, limit, ledger };
    let (started, start) = (now(), Instant::now());
    let (plan, mut outcome, tally) = attempts(plan, again, options, teller)?;
    let seconds = start.elapsed().as_secs_f64();
    let facts = RunFacts {
        spec: spec.display().to_string(),
        started,
        ended: now(),
        seconds,
        dry_run: args.dry_run,
        limit,
        exit: outcome.exit(),
    };
    let exit = finish(args, &plan, facts, &tally, &outcome, screen);
    // Without its report the run is not over: the same command writes that, and stores nothing twice.
    outcome.complete &= exit == outcome.exit();
    Ok(Ended { plan, outcome, exit, _lock: lock })
}

/// Makes an attempt at a run, and another where a target has lost what it had acknowledged: with the plan that `again`
/// gives, as stages know of the attempt that they were made for.
fn attempts(
    mut plan: Arc<Plan>,
    again: &dyn Fn() -> Result<Plan, Exit>,
    mut options: Options,
    Teller { screen, signals, .. }: &Teller,
) -> Result<(Arc<Plan>, Outcome, Tally), Exit> {
    let (start, deadline, mut attempt) = (Instant::now(), plan.limits.deadline, 1);
    loop {
        let mut progress = Progress::new(&plan, Style::of(screen), screen);
        let mut outcome = exec::run(&plan, &options, signals, &mut progress);
        let tally = progress.finish();
        if outcome.aborted.is_none() {
            let bugs = tally.imbalances().into_iter().map(|what| Failure::new(Exit::Bug, what));
            outcome.failures.extend(bugs);
        }
        let left = deadline.map(|deadline| deadline.0.saturating_sub(start.elapsed()));
        if attempt == ATTEMPTS || !outcome.has_only_losses() || left.is_some_and(|left| left.is_zero()) {
            outcome.give_up_what_is_lost();
            return Ok((plan, outcome, tally));
        }
        for loss in &outcome.lost {
            screen.say(Level::Warning, &format!("{loss}; it is sent again"), &[]);
        }
        let mut next = again()?;
        next.limits.deadline = left.map(Duration);
        plan = Arc::new(next);
        options.ledger = LedgerUse::Resume;
        attempt += 1;
    }
}

/// Keeps other runs of the job away, or waits for the end of one for as long as `wait` says. A signal ends that.
fn lock(plan: &Plan, wait: Option<Duration>, signals: &Signals, screen: &Screen) -> Result<Lock, Failure> {
    let Some(Duration(patience)) = wait else { return Lock::take(&plan.state, &plan.name) };
    let mut told = |held: &Failure| screen.say(Level::Info, &format!("{held}; waiting for its end"), &[]);
    Lock::wait(&plan.state, &plan.name, patience, &mut told, &|| signals.any())
}

/// Keeps other runs away from what the job writes, whatever they are called: a job spec may be reached by several
/// paths, and several jobs may name one file.
fn lock_targets(
    plan: &Plan,
    wait: Option<Duration>,
    signals: &Signals,
    screen: &Screen,
) -> Result<Vec<TargetLock>, Failure> {
    let patience = wait.map_or(std::time::Duration::ZERO, |wait| wait.0);
    let own = plan.sinks().flat_map(|(_, sink)| sink.properties().targets).chain(plan.rejects.clone());
    let mut told = |held: &Failure| screen.say(Level::Info, &format!("{held}; waiting for its end"), &[]);
    let mut locks: Vec<TargetLock> = Vec::new();
    for target in own.filter(|target| target.as_os_str() != "-") {
        // Two sinks may write to one table.
        if !locks.iter().any(|lock| lock.is_of(&target)) {
            locks.extend(TargetLock::wait(&target, patience, &mut told, &|| signals.any())?);
        }
    }
    Ok(locks)
}

/// Tells people and machines how a run ended.
fn finish(args: &How, plan: &Plan, facts: RunFacts, tally: &Tally, outcome: &Outcome, screen: &Screen) -> Exit {
    let (mut exit, seconds) = (facts.exit, facts.seconds);
    let report = Report::new(facts, tally, outcome);
    let file = reports::File::of(plan, args.report.as_deref(), args.dry_run);
    let saved = file.as_ref().map_or(Ok(()), |file| file.save(&report));
    let path = file.filter(|_| saved.is_ok()).map(|file| file.path);
    let ended = Ending { exit, seconds, dry_run: args.dry_run, report: path };
    ended.tell(tally, outcome, screen);
    if let Err(failure) = saved {
        screen.failed(&failure.message);
        exit = if exit == Exit::Done { failure.exit } else { exit };
    }
    if args.format.is_some() {
        let written = out_json(&report);
        exit = if exit == Exit::Done { written } else { exit };
    }
    exit
}

/// Counts SIGINT and SIGTERM for the executor. A file that grows beyond what the system allows is an error of the
/// write like others, not the end of the process: where SIGXFSZ is handled, whatever the handler does, it is.
fn watch() -> std::io::Result<Signals> {
    flag::register(SIGXFSZ, Arc::default())?;
    let signals = Signals::default();
    let mut stream = SignalStream::new([SIGINT, SIGTERM])?;
    let counts = signals.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::SeqCst);
        stream.forever().for_each(|signal| {
            count(if signal == SIGINT { &counts.interrupt } else { &counts.terminate });
        });
    })?;
    Ok(signals)
}

/// Lets warnings and errors of the run appear above the progress lines.
fn trouble_to(screen: &Screen) {
    // Where a test runs several commands in one process, the first one's screen serves all.
    let _ = tracing::subscriber::set_global_default(Trouble(screen.clone()));
}

/// Shows what workers say of trouble.
struct Trouble(Screen);

impl tracing::Subscriber for Trouble {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        match (said.service, *event.metadata().level()) {
            (Some(service), _) => self.0.retries(&service, &said.message),
            (None, tracing::Level::ERROR) => self.0.failed(&said.message),
            (None, _) => self.0.say(Level::Warning, &said.message, &[]),
        }
    }

    // Nothing is said of spans.
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// The text of an event and, where a service is tried again, its name.
#[derive(Default)]
struct Said {
    message: String,
    service: Option<String>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "retries" => self.service = Some(format!("{value:?}")),
            _ => {}
        }
    }
}
