//! What a person reads when a run is over.

use std::{fmt::Write, path::PathBuf};

use serde_json::json;

use super::{
    screen::{Level, Screen},
    tally::{SplitState, Tally, reasons},
    text::{counted, grouped, printable},
};
use crate::{event::StopReason, exec::Outcome, failure::Exit, formats::TOO_LONG, plan::Role};

/// Splits named one by one at most.
const NAMED: usize = 5;

/// How a run ended, beside its counts and its outcome.
#[derive(Debug)]
pub struct Ending {
    /// The code it leads to.
    pub exit: Exit,
    /// How long it took.
    pub seconds: f64,
    /// Was nothing written?
    pub dry_run: bool,
    /// Where the report is, where one was written.
    pub report: Option<PathBuf>,
}

impl Ending {
    /// Tells it on the screen; on a quiet one only what failed and was not told before.
    pub fn tell(&self, tally: &Tally, outcome: &Outcome, screen: &Screen) {
        if screen.is_json() {
            let facts = [
                ("exit_code", json!(self.exit.code())),
                ("seconds", json!(self.seconds)),
                ("rows", json!(tally.read())),
                ("rejected", json!(tally.rejected())),
                ("report", json!(self.report)),
            ];
            outcome.failures.iter().for_each(|failure| screen.failed(&failure.message));
            screen.say(Level::Info, &verdict(outcome, self.exit), &facts);
        } else if screen.is_quiet() || (!began(tally) && !outcome.failures.is_empty()) {
            // Where nothing was read, what is wrong is all there is to say.
            outcome.failures.iter().for_each(|failure| screen.failed(&failure.message));
        } else {
            screen.write(&summary(tally, outcome, self, screen));
        }
    }
}

/// The summary of a run: what became of the rows at each stage, why records were refused, what is left. Failures that
/// the screen has told already are not told again.
fn summary(tally: &Tally, outcome: &Outcome, ending: &Ending, screen: &Screen) -> String {
    let &Ending { exit, seconds, dry_run, .. } = ending;
    let mut text = String::new();
    let plan = &tally.plan;
    let rehearsal = if dry_run { " (dry run, nothing was written)" } else { "" };
    let read = tally.read();
    let rate = if seconds > 0.0 { read as f64 / seconds } else { 0.0 };
    let _ = writeln!(
        text,
        "{}{}: {}{rehearsal}: {} rows in {seconds:.1} s, {} rows/s",
        screen.stamp(),
        plan.name,
        verdict(outcome, exit),
        grouped(read),
        grouped(rate as u64)
    );
    if let Some(run) = outcome.run.as_ref().filter(|run| run.attempt > 1) {
        let (kept, splits) = (run.kept, outcome.splits);
        let _ = writeln!(text, "  resumed run {}: {kept} of {splits} splits were done", run.id);
    }
    table(&mut text, tally, screen.width());
    for (stage, code, refused) in reasons(tally) {
        let example = refused.samples().next().map_or(String::new(), |message| format!(", such as: {message}"));
        let hint = if code == TOO_LONG { "; `limits.max_record_bytes` is the limit" } else { "" };
        let _ = writeln!(text, "  rejected by {stage}: {} × {}{example}{hint}", grouped(refused.count), code.0);
    }
    for (stage, counts) in plan.stages.iter().zip(&tally.stages) {
        if counts.rows.not_confirmed > 0 {
            let (rows, name) = (counted(counts.rows.not_confirmed as usize, "row"), &stage.name);
            let why = "the table's triggers or rules dropped them or stored them elsewhere";
            let _ = writeln!(text, "  not confirmed by {name}: {rows} that the database took and did not count: {why}");
        }
        for line in &counts.rehearsed {
            let _ = writeln!(text, "  {} would {line}", stage.name);
        }
        if let Some(verified) = &counts.verified {
            let _ = writeln!(text, "  {} read back: {verified}", stage.name);
        }
    }
    splits(&mut text, tally, outcome);
    for failure in outcome.failures.iter().filter(|failure| !screen.has_told(&failure.message)) {
        let _ = writeln!(text, "  failed: {failure}");
    }
    if let Some(path) = plan.rejects.as_ref().filter(|_| tally.rejected() > 0 && !dry_run) {
        let _ = writeln!(text, "  rejects: {}", path.display());
    }
    if let Some(path) = &ending.report {
        let _ = writeln!(text, "  report: {}", path.display());
    }
    printable(&text).into_owned()
}

/// Was anything read, or at least listed?
fn began(tally: &Tally) -> bool {
    tally.read() > 0 || !tally.splits.is_empty()
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

/// The columns of the table, and which may be left out first where the terminal is too narrow for all of them. Those
/// with numbers in them go last.
const COLUMNS: [(&str, u8); 8] = [
    ("stage", 0),
    ("type", 1),
    ("rows in", 0),
    ("rows out", 0),
    ("rejected", 4),
    ("filtered", 3),
    ("not stored", 5),
    ("busy s", 2),
];

/// One line per stage, columns as wide as they must be.
fn table(text: &mut String, tally: &Tally, width: Option<usize>) {
    let mut rows = vec![COLUMNS.map(|(head, _)| head.to_owned())];
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
    let widest = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(widest).collect();
    let shown = fitting(&rows, &widths, width);
    for row in &rows {
        let cells = shown.iter().map(|&i| {
            let (cell, width) = (&row[i], widths[i]);
            if i < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// The columns that fit: one after the other is left out, the least important first, those that say nothing before
/// those that do.
fn fitting(rows: &[[String; 8]], widths: &[usize], width: Option<usize>) -> Vec<usize> {
    let says = |i: usize| rows[1..].iter().any(|row| !matches!(row[i].as_str(), "" | "0"));
    let mut shown: Vec<usize> = (0..COLUMNS.len()).collect();
    let needed = |shown: &[usize]| shown.iter().map(|i| widths[*i] + 2).sum::<usize>();
    while let Some(width) = width
        && needed(&shown) > width
    {
        let droppable = shown.iter().filter(|i| COLUMNS[**i].1 > 0);
        let Some(least) = droppable.min_by_key(|i| (says(**i) && COLUMNS[**i].1 > 2, COLUMNS[**i].1)).copied() else {
            break;
        };
        shown.retain(|i| *i != least);
    }
    shown
}

fn splits(text: &mut String, tally: &Tally, outcome: &Outcome) {
    let mut named = 0;
    for split in &tally.splits {
        let why = match &split.state {
            // What failed is told where failures are told.
            SplitState::Failed(why) if outcome.failures.iter().any(|failure| failure.message.contains(why)) => {
                "not read to its end".to_owned()
            }
            SplitState::Failed(why) => format!("failed: {why}"),
            SplitState::Incomplete | SplitState::Open => "not wholly stored".to_owned(),
            SplitState::Stopped => "read in part".to_owned(),
            SplitState::Stored if tally.has_action(split.stage) => {
                "stored, but its `done` action has not run".to_owned()
            }
            SplitState::Stored => "all of it was written; it counts when the job succeeds".to_owned(),
            SplitState::Waiting | SplitState::Done => continue,
        };
        named += 1;
        if named <= NAMED {
            let _ = writeln!(text, "  {}: {why}", split.name());
        }
    }
    if named > NAMED {
        let _ = writeln!(text, "  … and {}; the report names them", counted(named - NAMED, "more split"));
    }
    let actions: Vec<&str> = tally.splits.iter().filter_map(|split| split.action.as_deref()).collect();
    if let (Some(first), n) = (actions.first(), actions.len()) {
        let more = if n > 1 { format!(", and {} more", n - 1) } else { String::new() };
        let _ = writeln!(text, "  {first}{more}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_left_out_until_the_table_fits() {
        let row = |cells: [&str; 8]| cells.map(str::to_owned);
        let head = COLUMNS.map(|(head, _)| head.to_owned());
        let rows = [head, row(["rows", "files", "1,000", "999", "1", "", "0", "0.01"])];
        let widths: Vec<usize> = (0..8).map(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0)).collect();
        let heads = |width| {
            let shown = fitting(&rows, &widths, width);
            shown.into_iter().map(|i| COLUMNS[i].0).collect::<Vec<_>>()
        };
        assert_eq!(heads(None).len(), 8);
        assert_eq!(heads(Some(120)).len(), 8);
        assert_eq!(heads(Some(60)), ["stage", "rows in", "rows out", "rejected", "filtered", "not stored"]);
        assert_eq!(heads(Some(45)), ["stage", "rows in", "rows out", "rejected"]);
        assert_eq!(heads(Some(10)), ["stage", "rows in", "rows out"]);
    }
}
