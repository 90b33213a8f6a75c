//! `runner status`: how far the last run of a job has come, as its ledger has it.

use std::fmt::Write;

use serde::Serialize;

use super::{
    args::{Status as Args, StatusFormat},
    out, plan_of, told,
};
use crate::{
    failure::Exit,
    jobspec::Mode as SpecMode,
    ledger::{self, SourceStatus, Status},
};

/// Splits named one by one for people.
const NAMED: usize = 5;

/// What `--format json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    job: &'a str,
    /// `none`, where the job has not been run; `unfinished` or `finished`.
    state: &'static str,
    #[serde(flatten)]
    run: Option<&'a Status>,
}

pub(super) fn status(args: &Args) -> Exit {
    let plan = match plan_of(&args.spec, &args.set, SpecMode::Check) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let found = match ledger::status(&plan.state, &plan.name) {
        Ok(found) => found,
        Err(failure) => return told(failure),
    };
    match args.format {
        StatusFormat::Text => out(&text(&plan.name, found.as_ref())),
        StatusFormat::Json => {
            let state = match &found {
                None => "none",
                Some(Status { finished: None, .. }) => "unfinished",
                Some(_) => "finished",
            };
            let answer = Answer { job: &plan.name, state, run: found.as_ref() };
            out(&format!("{}\n", serde_json::to_string(&answer).unwrap_or_default()));
        }
    }
    Exit::Done
}

fn text(job: &str, found: Option<&Status>) -> String {
    let Some(Status { run, started, attempts, finished, sources }) = found else {
        return format!("{job}: no run\n");
    };
    let plural = if *attempts == 1 { "" } else { "s" };
    let mut text = format!("{job}: run {run}, begun {started}, {attempts} attempt{plural}");
    if let Some(finished) = finished {
        let _ = writeln!(text, ", finished {finished}");
        return text;
    }
    text.push_str(", not finished\n");
    for SourceStatus { source, splits, done, stored, left, rejected, next } in sources {
        let _ = write!(text, "  {source}: {done} of {splits} splits done, {left} left");
        if *stored > 0 {
            let _ = write!(text, ", {stored} stored with their `done` action left");
        }
        if *rejected > 0 {
            let _ = write!(text, ", {rejected} rejects");
        }
        text.push('\n');
        for name in next.iter().take(NAMED) {
            let _ = writeln!(text, "    {name}");
        }
        if *left > NAMED {
            let _ = writeln!(text, "    … and {} more", left - NAMED);
        }
    }
    text
}
