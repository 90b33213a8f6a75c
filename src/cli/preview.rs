//! `runner preview`: the first rows that come to a stage, as a table. Everything before the stage runs as in a job;
//! no sink is touched, no `done` action is run, no reject file is written.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use arrow_array::RecordBatch;

use super::{Compiled, args::Preview, check_sets, complain, out, read, show, table::table, told};
use crate::{
    batch::Batch,
    event::{Event, Observer},
    exec::{self, LedgerUse, Options, Signals},
    failure::{Exit, Failure},
    jobspec::{Mode as SpecMode, Problems, RejectLimit},
    plan::{Plan, compile_preview},
    report::printable,
    stage::{Guarantee, Mode, Sink, SinkProperties, SinkWorker, Split, Written},
};

/// Rejects that are told in full.
const REJECTS: usize = 5;

/// Shows the rows.
pub(super) fn preview(args: &Preview) -> Exit {
    if let Err(failure) = check_sets(std::slice::from_ref(&args.spec), &args.set) {
        return told(failure);
    }
    let signals = Signals::default();
    let collector = Collector { wanted: args.rows.get(), rows: Arc::default(), signals: signals.clone() };
    let plan = match plan(args, collector.clone()) {
        Ok(plan) => Arc::new(plan),
        Err(exit) => return exit,
    };
    let options = Options { mode: Mode::Rehearse, limit: args.limit, ledger: LedgerUse::Off };
    let mut refused = Refused { plan: Arc::clone(&plan), splits: Vec::new(), count: 0, told: Vec::new() };
    let outcome = exec::run(&plan, &options, &signals, &mut refused);
    let written = out(&printable(&shown(&plan, &collector, &refused)));
    outcome.failures.iter().for_each(complain);
    let enough = collector.lock().count >= collector.wanted;
    // Once there are enough rows we stopped the run ourselves.
    let exit = if enough && outcome.failures.is_empty() { Exit::Done } else { outcome.exit() };
    if exit == Exit::Done { written } else { exit }
}

/// The plan up to the stage, with any number of rejects allowed and no file for them.
fn plan(args: &Preview, collector: Collector) -> Result<Plan, Exit> {
    let mut problems = Problems::default();
    let document = read(&args.spec, &args.set, SpecMode::Run, &mut problems).map_err(told)?;
    let plan = compile_preview(&document, args.stage.as_deref(), Box::new(collector), &mut problems).map_err(told)?;
    if problems.any_error() {
        show(&Compiled { document, problems, plan: None });
        return Err(Exit::Spec);
    }
    let mut plan = plan.ok_or(Exit::Spec)?;
    plan.rejects = None;
    plan.limits.rejects = RejectLimit::Count(u64::MAX);
    Ok(plan)
}

fn shown(plan: &Plan, collector: &Collector, refused: &Refused) -> String {
    let rows = collector.lock();
    let ends = plan.stages.last().map_or(&[][..], |preview| &preview.inputs[..]);
    let Some(schema) = ends.first().and_then(|end| plan.stages[*end].output.as_ref()) else { return String::new() };
    // A file or a pipe gets whole lines.
    let width = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let width = width.filter(|_| console::Term::stdout().is_term());
    let names: Vec<&str> = ends.iter().map(|end| plan.stages[*end].name.as_str()).collect();
    let mut text = table(schema, &rows.parts, width);
    let (first, all) = if rows.count >= collector.wanted { ("first ", "") } else { ("", " in all") };
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let _ = writeln!(text, "\n{first}{} row{} of {}{all}", rows.count, plural(rows.count), names.join(", "));
    if refused.count > 0 {
        let _ = writeln!(text, "{} record{} rejected on the way", refused.count, plural(refused.count));
        refused.told.iter().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
        if refused.count > refused.told.len() {
            let _ = writeln!(text, "  … and {} more", refused.count - refused.told.len());
        }
    }
    text
}

/// The sink that takes the rows, and stops the run when there are enough.
#[derive(Clone)]
struct Collector {
    wanted: usize,
    rows: Arc<Mutex<Rows>>,
    signals: Signals,
}

#[derive(Default)]
struct Rows {
    parts: Vec<RecordBatch>,
    count: usize,
}

impl Collector {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Collector {
    fn properties(&self) -> SinkProperties {
        Guarantee::Stream.into()
    }

    fn worker(&self, _mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl SinkWorker for Collector {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let mut rows = self.lock();
        let taken = batch.rows().min(self.wanted - rows.count);
        if taken > 0 {
            rows.parts.push(batch.records.slice(0, taken));
            rows.count += taken;
        }
        if rows.count == self.wanted {
            // As a user would who has seen enough: sources stop, what is under way drains.
            self.signals.interrupt.store(1, Ordering::SeqCst);
        }
        Ok(Written { accepted: batch.rows() as u64, durable: true, ..Written::default() })
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Counts rejects and keeps the first few.
struct Refused {
    plan: Arc<Plan>,
    splits: Vec<Split>,
    count: usize,
    told: Vec<String>,
}

impl Observer for Refused {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Listed { splits, .. } => self.splits.extend_from_slice(splits),
            Event::Rejected { stage, rejects } => {
                self.count += rejects.len();
                let room = REJECTS.saturating_sub(self.told.len());
                for reject in rejects.iter().take(room) {
                    let stage = &self.plan.stages[*stage].name;
                    let file = self.splits.get(reject.split.0 as usize).map_or("", |split| split.name.as_str());
                    let place = match (file, reject.position.line) {
                        ("", _) => String::new(),
                        (file, 0) => format!(" ({file}, record {})", reject.position.record),
                        (file, line) => format!(" ({file}:{line})"),
                    };
                    self.told.push(format!("{stage}: {}: {}{place}", reject.code.0, reject.message));
                }
            }
            _ => {}
        }
    }
}
