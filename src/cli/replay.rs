//! `runner replay`: gives a job the records of a reject file again. What is good now is stored, what is not is
//! rejected anew.

use std::sync::Arc;

use chrono::Utc;

use super::{
    args, check_sets, read,
    run::{self, Teller},
};
use crate::{
    exec::LedgerUse,
    failure::Exit,
    jobspec::{Mode as SpecMode, Problems},
    plan::{Plan, compile_replay},
    report::Level,
};

/// Replays.
pub(super) fn replay(args: &args::Replay) -> Exit {
    let teller = match Teller::new(&args.run) {
        Ok(teller) => teller,
        Err(exit) => return exit,
    };
    if let Err(failure) = check_sets(std::slice::from_ref(&args.spec), &args.run.set) {
        return teller.refused(&args.spec, failure);
    }
    let compiled = match plan(args, &teller) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    if compiled.stages.is_empty() {
        let what = format!("`{}` holds no rejects", args.rejects.display());
        teller.screen.begin(&compiled.name);
        teller.screen.say(Level::Info, &what, &[]);
        return Exit::Done;
    }
    // What is done of a replay is in its files, not in the ledger: that belongs to the runs of the whole job.
    let how = (None, LedgerUse::Off);
    let again = || plan(args, &teller);
    match run::carry_out(Arc::new(compiled), &again, &args.spec, &args.run, how, &teller) {
        Ok(ended) => ended.close(&teller.screen),
        Err(exit) => exit,
    }
}

fn plan(args: &args::Replay, teller: &Teller) -> Result<Plan, Exit> {
    let own = args.clone();
    let (document, problems, plan) = teller.interruptible(&args.spec, move || {
        let mut problems = Problems::default();
        let mut document = read(&own.spec, &own.run.set, SpecMode::Run, &mut problems)?;
        let stamp = Utc::now().format("%Y%m%dT%H%M%S%3fZ").to_string();
        let plan = compile_replay(&mut document, &own.rejects, &stamp, &mut problems)?;
        Ok((document, problems, plan))
    })?;
    if problems.any_error() {
        return Err(teller.invalid(&args.spec, &document, &problems));
    }
    let mut plan = plan.ok_or(Exit::Spec)?;
    // The report of the run that rejected them is left alone.
    plan.report = Some(plan.state.join(format!("{}.replay.report.json", plan.name)));
    if plan.rejects.is_none() {
        let what = "the job names no reject file, so what is rejected anew is only counted";
        teller.screen.say(Level::Warning, what, &[]);
    }
    Ok(plan)
}
