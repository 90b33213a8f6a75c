//! `runner run`: runs jobs, one after the other.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Instant,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGXFSZ},
    flag,
    iterator::Signals as SignalStream,
};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    args::{How, Run},
    check::Names,
    check_sets, complain, err, out, plan_of, told,
};
use crate::{
    exec::{self, LedgerUse, Options, Outcome, Signals},
    expr::clock,
    failure::{Exit, Failure},
    jobspec::{Duration, Mode as SpecMode},
    ledger,
    lock::{Lock, TargetLock},
    plan::Plan,
    rejects::now,
    replace::Destination,
    report::{Progress, Report, Run as RunFacts, Screen, Style, Tally, summary},
    stage::Mode,
};

/// Runs every spec; the first that fails stops the rest.
pub(super) fn run(args: &Run) -> Exit {
    if args.specs.is_empty() {
        complain(&Failure::new(Exit::Usage, "name a job spec: runner run SPEC…"));
        return Exit::Usage;
    }
    if let Err(failure) = check_sets(&args.specs, &args.how.set) {
        return told(failure);
    }
    let screen = Screen::new();
    let signals = match prepare(&screen) {
        Ok(signals) => signals,
        Err(exit) => return exit,
    };
    let mut ended: Vec<Ended> = Vec::new();
    let mut names = Names::default();
    for spec in &args.specs {
        match one(spec, args, &mut names, &screen, &signals) {
            Ok(run) if run.exit == Exit::Done => ended.push(run),
            // The same command goes on with this job, and with those before it, which find nothing left to do.
            Ok(run) => return run.close(),
            Err(exit) => return exit,
        }
    }
    ended.iter().map(Ended::close).find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done)
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
    pub(super) fn close(&self) -> Exit {
        match exec::close(&self.plan, &self.outcome) {
            Ok(()) => self.exit,
            Err(failure) if self.exit == Exit::Done => told(failure),
            Err(failure) => {
                complain(&failure);
                self.exit
            }
        }
    }
}

/// Lets trouble appear on the screen, and signals be counted.
pub(super) fn prepare(screen: &Screen) -> Result<Signals, Exit> {
    trouble_to(screen);
    watch().map_err(|error| told(Failure::new(Exit::Bug, format!("cannot watch for signals: {error}"))))
}

fn one(spec: &Path, args: &Run, names: &mut Names, screen: &Screen, signals: &Signals) -> Result<Ended, Exit> {
    let planned = || {
        let (path, sets) = (spec.to_owned(), args.how.set.clone());
        let stopped = clock::now();
        interruptible(signals, move || clock::stopped_at(stopped, || plan_of(&path, &sets, SpecMode::Run)))
    };
    let mut plan = planned()?;
    names.add(spec, &plan).map_err(told)?;
    let resumes = !args.no_ledger && !args.fresh && args.limit.is_none() && !args.how.dry_run;
    if let Some(since) = resumes.then(|| ledger::interrupted_since(&plan.state, &plan.name)).flatten() {
        // What `now()` was when the run began it still is.
        plan = clock::stopped_at(since, planned)?;
    }
    let ledger = match (args.no_ledger, args.fresh) {
        (true, _) => LedgerUse::Off,
        (false, true) => LedgerUse::Fresh,
        (false, false) => LedgerUse::Resume,
    };
    carry_out(Arc::new(plan), spec, &args.how, (args.limit, ledger), screen, signals)
}

/// Makes a plan on a thread of its own. A signal ends that at once: nothing has been begun yet.
pub(super) fn interruptible(
    signals: &Signals,
    plan: impl FnOnce() -> Result<Plan, Exit> + Send + 'static,
) -> Result<Plan, Exit> {
    const LOOK: std::time::Duration = std::time::Duration::from_millis(20);
    // As much as the main thread has: expressions may be nested deep.
    const STACK: usize = 8 << 20;
    let (sender, answer) = mpsc::channel();
    let make = move || _ = sender.send(plan());
    let started = std::thread::Builder::new().name("plan".to_owned()).stack_size(STACK).spawn(make);
    started.map_err(|error| told(Failure::new(Exit::Unavailable, format!("cannot start threads: {error}"))))?;
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(plan) => return plan,
            Err(RecvTimeoutError::Disconnected) => return Err(Exit::Bug),
            Err(RecvTimeoutError::Timeout) if signals.any() => {
                return Err(told(Failure::new(Exit::TryAgain, "interrupted before the run began")));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Runs a plan and tells how it ended: so many rows of every source, with this use of the ledger.
pub(super) fn carry_out(
    plan: Arc<Plan>,
    spec: &Path,
    args: &How,
    (limit, ledger): (Option<u64>, LedgerUse),
    screen: &Screen,
    signals: &Signals,
) -> Result<Ended, Exit> {
    if let Some(path) = &args.report
        && plan.sources().any(|(_, source)| source.reads().is_some_and(|reads| reads(path)))
    {
        let message = format!("--report {}: the job reads this file", path.display());
        return Err(told(Failure::new(Exit::Usage, message)));
    }
    // A rehearsal writes nothing that another run could disturb.
    let lock = (!args.dry_run).then(|| lock(&plan, args.wait, signals)).transpose();
    let lock = lock.map_err(told)?;
    let targets = if args.dry_run { Ok(Vec::new()) } else { lock_targets(&plan, args.wait, signals) };
    let _targets = targets.map_err(told)?;
    let mode = if args.dry_run { Mode::Rehearse } else { Mode::Write };
    let options = Options { mode, limit, ledger };
    let mut progress = Progress::new(&plan, style(args.quiet), screen);
    let (started, start) = (now(), Instant::now());
    let mut outcome = exec::run(&plan, &options, signals, &mut progress);
    let seconds = start.elapsed().as_secs_f64();
    let tally = progress.finish();
    if outcome.aborted.is_none() {
        let bugs = tally.imbalances().into_iter().map(|what| Failure::new(Exit::Bug, what));
        outcome.failures.extend(bugs);
    }
    let facts = RunFacts {
        spec: spec.display().to_string(),
        started,
        ended: now(),
        seconds,
        dry_run: args.dry_run,
        limit,
        exit: outcome.exit(),
    };
    let exit = finish(args, &plan, facts, &tally, &outcome);
    // Without its report the run is not over: the same command writes that, and stores nothing twice.
    outcome.complete &= exit == outcome.exit();
    Ok(Ended { plan, outcome, exit, _lock: lock })
}

/// Keeps other runs of the job away, or waits for the end of one for as long as `wait` says. A signal ends that.
fn lock(plan: &Plan, wait: Option<Duration>, signals: &Signals) -> Result<Lock, Failure> {
    let Some(Duration(patience)) = wait else { return Lock::take(&plan.state, &plan.name) };
    let mut told = |held: &Failure| err(&format!("{held}; waiting for its end\n"));
    let signalled = || signals.any();
    Lock::wait(&plan.state, &plan.name, patience, &mut told, &signalled)
}

/// Keeps other runs away from what the job writes, whatever they are called: a job spec may be reached by several
/// paths, and several jobs may name one file.
fn lock_targets(plan: &Plan, wait: Option<Duration>, signals: &Signals) -> Result<Vec<TargetLock>, Failure> {
    let patience = wait.map_or(std::time::Duration::ZERO, |wait| wait.0);
    let own = plan.sinks().flat_map(|(_, sink)| sink.properties().targets).chain(plan.rejects.clone());
    let mut told = |held: &Failure| err(&format!("{held}; waiting for its end\n"));
    let signalled = || signals.interrupt.load(Ordering::SeqCst) + signals.terminate.load(Ordering::SeqCst) > 0;
    let mut locks: Vec<TargetLock> = Vec::new();
    for target in own.filter(|target| target.as_os_str() != "-") {
        // Two sinks may write to one table.
        if !locks.iter().any(|lock| lock.is_of(&target)) {
            locks.extend(TargetLock::wait(&target, patience, &mut told, &signalled)?);
        }
    }
    Ok(locks)
}

/// Tells people and machines how a run ended.
fn finish(args: &How, plan: &Plan, facts: RunFacts, tally: &Tally, outcome: &Outcome) -> Exit {
    let exit = facts.exit;
    if !args.quiet || exit != Exit::Done {
        err(&summary(tally, outcome, exit, facts.seconds, args.dry_run));
    }
    let report = Report::new(facts, tally, outcome);
    let text = serde_json::to_string(&report).unwrap_or_default();
    if args.format.is_some() {
        out(&format!("{text}\n"));
    }
    let path = args.report.clone().or_else(|| plan.report.clone());
    // Without a path of its own a rehearsal leaves the report of the last real run alone.
    let path = path.or_else(|| (!args.dry_run).then(|| plan.state.join(format!("{}.report.json", plan.name))));
    match path.map_or(Ok(()), |path| save(&path, &report)) {
        Ok(()) => exit,
        Err(failure) => {
            complain(&failure);
            if exit == Exit::Done { failure.exit } else { exit }
        }
    }
}

/// Writes the report beside its place and renames it: a reader never sees half of one. What is no regular file is
/// written into.
fn save(path: &Path, report: &Report) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report).unwrap_or_default() + "\n";
    let creating = |error: std::io::Error| Failure::creating(path, &error);
    let to = match path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        true => Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, "it is a folder")),
        false => Destination::of(path),
    };
    let to = to.map_err(creating)?;
    if to.is_stream() {
        return to.open().and_then(|mut file| file.write_all(text.as_bytes())).map_err(creating);
    }
    let mut name = to.path().file_name().unwrap_or_default().to_owned();
    // The job's lock keeps others away from it. What a killed process leaves under it the next one replaces.
    name.push(".tmp-report");
    let temporary = to.path().with_file_name(name);
    let write = || {
        if let Some(folder) = to.path().parent() {
            std::fs::create_dir_all(folder)?;
        }
        fail::fail_point!("report-write", |_| Err(std::io::ErrorKind::StorageFull.into()));
        to.create(&temporary)?.write_all(text.as_bytes())?;
        fail::fail_point!("report-rename", |_| Err(std::io::ErrorKind::StorageFull.into()));
        to.take(&temporary)
    };
    write().map_err(|error| {
        // It is of no use; that it cannot be removed changes nothing about the failure.
        let _ = std::fs::remove_file(&temporary);
        creating(error)
    })
}

fn style(quiet: bool) -> Style {
    match (quiet, std::io::stderr().is_terminal()) {
        (true, _) => Style::Quiet,
        (false, true) => Style::Terminal,
        (false, false) => Style::Lines,
    }
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
    struct ToScreen(Screen);
    impl<'a> MakeWriter<'a> for ToScreen {
        type Writer = Screen;
        fn make_writer(&'a self) -> Screen {
            self.0.clone()
        }
    }
    let subscriber = tracing_subscriber::fmt()
        .with_writer(ToScreen(screen.clone()))
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        .without_time()
        .with_ansi(super::colors())
        .finish();
    // Where a test runs several commands in one process, the first one's screen serves all.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
