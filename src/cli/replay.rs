//! `runner replay`: gives a job the records of a reject file again. What is good now is stored, what is not is
//! rejected anew.

use std::sync::Arc;

use chrono::Utc;

use super::{Compiled, args, check_sets, complain, err, read, run, show, told};
use crate::{
    exec::LedgerUse,
    failure::Exit,
    jobspec::{Mode as SpecMode, Problems},
    plan::{Plan, compile_replay},
    report::Screen,
};

/// Replays.
pub(super) fn replay(args: &args::Replay) -> Exit {
    if let Err(failure) = check_sets(std::slice::from_ref(&args.spec), &args.run.set) {
        return told(failure);
    }
    let screen = Screen::new();
    let signals = match run::prepare(&screen) {
        Ok(signals) => signals,
        Err(exit) => return exit,
    };
    let own = args.clone();
    let plan = match run::interruptible(&signals, move || plan(&own)) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    if plan.stages.is_empty() {
        err(&format!("{}: `{}` holds no rejects\n", plan.name, args.rejects.display()));
        return Exit::Done;
    }
    // What is done of a replay is in its files, not in the ledger: that belongs to the runs of the whole job.
    let how = (None, LedgerUse::Off);
    match run::carry_out(Arc::new(plan), &args.spec, &args.run, how, &screen, &signals) {
        Ok(ended) => ended.close(),
        Err(exit) => exit,
    }
}

fn plan(args: &args::Replay) -> Result<Plan, Exit> {
    let mut problems = Problems::default();
    let mut document = read(&args.spec, &args.run.set, SpecMode::Run, &mut problems).map_err(told)?;
    let stamp = Utc::now().format("%Y%m%dT%H%M%S%3fZ").to_string();
    let plan = compile_replay(&mut document, &args.rejects, &stamp, &mut problems).map_err(told)?;
    if problems.any_error() {
        show(&Compiled { document, problems, plan: None });
        return Err(Exit::Spec);
    }
    let mut plan = plan.ok_or(Exit::Spec)?;
    // The report of the run that rejected them is left alone.
    plan.report = Some(plan.state.join(format!("{}.replay.report.json", plan.name)));
    if plan.rejects.is_none() {
        let what = "the job names no reject file, so what is rejected anew is only counted";
        complain(&crate::failure::Failure::new(Exit::Done, what));
    }
    Ok(plan)
}
