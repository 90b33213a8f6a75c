//! `runner status`: how far the last run of a job has come, as its ledger has it, and how it ended, as its report has
//! it: a run may end before it has a ledger.

use std::{fmt::Write, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{
    args::{Status as Args, StatusFormat},
    compile, out, out_json, reports, show, told,
};
use crate::{
    failure::{Exit, Failure},
    jobspec::{Finding, Mode as SpecMode, machine},
    ledger::{self, SourceStatus, Status},
    plan::Plan,
    report::printable,
};

/// Splits, and failures, named one by one for people.
const NAMED: usize = 5;

/// What `--format json` prints.
#[derive(Default, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    /// `none`, where the job's ledger knows of no run; `unfinished` or `finished`; `unknown`, where the spec is invalid
    /// or something cannot be read.
    state: &'static str,
    #[serde(flatten)]
    run: Option<&'a Status>,
    /// How the last run ended that left a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<&'a Last>,
    /// What is wrong with the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Finding>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// How the last run ended.
#[derive(Serialize)]
struct Last {
    ended: String,
    exit_code: u64,
    failures: Vec<String>,
    report: PathBuf,
}

impl Last {
    fn of(plan: &Plan) -> Option<Last> {
        let (path, report) = reports::last(plan)?;
        let message = |failure: &Value| failure["message"].as_str().map(str::to_owned);
        let failures = report["failures"].as_array()?.iter().filter_map(message).collect();
        let (ended, exit_code) = (report["ended"].as_str()?.to_owned(), report["exit_code"].as_u64()?);
        Some(Last { ended, exit_code, failures, report: path })
    }
}

pub(super) fn status(args: &Args) -> Exit {
    let refused = |failure: Failure| match args.format {
        StatusFormat::Text => told(failure),
        StatusFormat::Json => {
            let exit = failure.exit;
            let _ = out_json(&Answer { state: "unknown", failure: Some(failure.message), ..Answer::default() });
            exit
        }
    };
    let compiled = match compile(&args.spec, &args.set, SpecMode::Check) {
        Ok(compiled) => compiled,
        Err(failure) => return refused(failure),
    };
    let Some(plan) = &compiled.plan else {
        match args.format {
            StatusFormat::Text => show(&compiled),
            StatusFormat::Json => {
                let problems = machine(&compiled.document, &compiled.problems);
                let _ = out_json(&Answer { state: "unknown", problems, ..Answer::default() });
            }
        }
        return Exit::Spec;
    };
    let found = match ledger::status(&plan.state, &plan.name) {
        Ok(found) => found,
        Err(failure) => return refused(failure),
    };
    let last = Last::of(plan);
    match args.format {
        StatusFormat::Text => out(&printable(&(text(&plan.name, found.as_ref()) + &ended(last.as_ref())))),
        StatusFormat::Json => {
            let state = match &found {
                None => "none",
                Some(Status { finished: None, .. }) => "unfinished",
                Some(_) => "finished",
            };
            let (job, run, last) = (Some(plan.name.as_str()), found.as_ref(), last.as_ref());
            out_json(&Answer { job, state, run, last, ..Answer::default() })
        }
    }
}

/// How the last run ended that left a report, with the first of its failures.
fn ended(last: Option<&Last>) -> String {
    let Some(Last { ended, exit_code, failures, report }) = last else { return String::new() };
    let how = if *exit_code == 0 { "done".to_owned() } else { format!("failed with exit code {exit_code}") };
    let mut text = format!("  last ended {ended}: {how}\n");
    for failure in failures.iter().take(NAMED) {
        let _ = writeln!(text, "    {failure}");
    }
    if failures.len() > NAMED {
        let _ = writeln!(text, "    … and {} more", failures.len() - NAMED);
    }
    let _ = writeln!(text, "  report: {}", report.display());
    text
}

fn text(job: &str, found: Option<&Status>) -> String {
    let Some(Status { run, started, attempts, finished, sources }) = found else {
        return format!("{job}: no run in the ledger\n");
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
