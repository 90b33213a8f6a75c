//! The table that a person reads when a run is over.

use std::fmt::Write;

use super::tally::{SplitState, Tally, reasons};
use crate::{event::StopReason, exec::Outcome, failure::Exit, plan::Role};

/// Splits named one by one at most.
const NAMED: usize = 5;

/// The summary of a run: what became of the rows at each stage, why records were refused, what is left.
pub fn summary(tally: &Tally, outcome: &Outcome, exit: Exit, seconds: f64, dry_run: bool) -> String {
    let mut text = String::new();
    let plan = &tally.plan;
    let rehearsal = if dry_run { " (dry run, nothing was written)" } else { "" };
    let read = tally.read();
    let rate = if seconds > 0.0 { read as f64 / seconds } else { 0.0 };
    let _ = writeln!(
        text,
        "{}: {}{rehearsal}: {} rows in {seconds:.1} s, {} rows/s",
        plan.name,
        verdict(outcome, exit),
        grouped(read),
        grouped(rate as u64)
    );
    if let Some(run) = outcome.run.as_ref().filter(|run| run.attempt > 1) {
        let (kept, splits) = (run.kept, outcome.splits);
        let _ = writeln!(text, "  resumed run {}: {kept} of {splits} splits were done", run.id);
    }
    table(&mut text, tally);
    for (stage, code, refused) in reasons(tally) {
        let example = refused.samples.first().map_or(String::new(), |message| format!(", such as: {message}"));
        let _ = writeln!(text, "  rejected by {stage}: {} × {}{example}", grouped(refused.count), code.0);
    }
    if let Some(path) = plan.rejects.as_ref().filter(|_| tally.rejected() > 0 && !dry_run) {
        let _ = writeln!(text, "  rejects are in {}", path.display());
    }
    for (stage, counts) in plan.stages.iter().zip(&tally.stages) {
        for line in &counts.rehearsed {
            let _ = writeln!(text, "  {} would {line}", stage.name);
        }
        if let Some(verified) = &counts.verified {
            let _ = writeln!(text, "  {} read back: {verified}", stage.name);
        }
    }
    splits(&mut text, tally);
    for failure in &outcome.failures {
        let _ = writeln!(text, "  failed: {failure}");
    }
    text
}

fn verdict(outcome: &Outcome, exit: Exit) -> String {
    let left = format!("{} of {} splits left", outcome.unfinished, outcome.splits);
    match exit {
        Exit::Done => "done".to_owned(),
        Exit::Rejects => format!("stopped, too many rejects, {left}"),
        Exit::TryAgain => match outcome.stopped {
            Some(StopReason::Deadline) => format!("stopped at its deadline, {left}"),
            _ => format!("interrupted, {left}"),
        },
        Exit::Interrupted | Exit::Terminated => format!("aborted, {left}"),
        _ => format!("failed with exit code {}, {left}", exit.code()),
    }
}

/// One line per stage, columns as wide as they must be.
fn table(text: &mut String, tally: &Tally) {
    let mut rows = vec![
        ["stage", "type", "rows in", "rows out", "rejected", "filtered", "not stored", "busy s"].map(str::to_owned),
    ];
    for (stage, counts) in tally.plan.stages.iter().zip(&tally.stages) {
        let counted = counts.rows;
        let filtered = if matches!(stage.role, Role::Transform(_)) { grouped(counted.filtered) } else { String::new() };
        let failed = if stage.role.is_sink() || counted.failed > 0 { grouped(counted.failed) } else { String::new() };
        rows.push([
            stage.name.clone(),
            stage.kind.to_owned(),
            grouped(counted.input),
            grouped(counted.output),
            grouped(counted.rejected),
            filtered,
            failed,
            format!("{:.2}", counts.busy.as_secs_f64()),
        ]);
    }
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, &width))| if i < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn splits(text: &mut String, tally: &Tally) {
    let mut named = 0;
    for split in &tally.splits {
        let why = match &split.state {
            SplitState::Failed(why) => format!("failed: {why}"),
            SplitState::Incomplete | SplitState::Open => "not wholly stored".to_owned(),
            SplitState::Stopped => "read in part".to_owned(),
            SplitState::Stored => "stored, but its `done` action has not run".to_owned(),
            SplitState::Waiting | SplitState::Done => continue,
        };
        named += 1;
        if named <= NAMED {
            let _ = writeln!(text, "  {}: {why}", split.split.name);
        }
    }
    if named > NAMED {
        let _ = writeln!(text, "  … and {} more splits; the report names them", named - NAMED);
    }
    let actions: Vec<&str> = tally.splits.iter().filter_map(|split| split.action.as_deref()).collect();
    if let (Some(first), n) = (actions.first(), actions.len()) {
        let more = if n > 1 { format!(", and {} more", n - 1) } else { String::new() };
        let _ = writeln!(text, "  {first}{more}");
    }
}

/// A number with commas between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        cases.iter().for_each(|(number, text)| assert_eq!(grouped(*number), *text));
    }
}
