//! The plan in words: what `runner plan` prints.

use std::fmt::Write;

use super::{Intake, Plan, Pool, Stage};
use crate::stage::Split;

/// The plan as text. `splits` are the splits of each source, as far as they could be listed.
pub fn explain(plan: &Plan, splits: &[(String, Result<Vec<Split>, String>)]) -> String {
    let mut text = format!("job {}, plan {}\n", plan.name, plan.digest);
    if let Some(description) = &plan.description {
        let _ = writeln!(text, "  {description}");
    }
    let limits = &plan.limits;
    let _ = writeln!(text, "  rejects allowed: {}, memory: {}", limits.rejects, limits.memory);
    for pool in &plan.pools {
        text.push('\n');
        let listed = splits.iter().find(|(name, _)| *name == plan.stages[pool.head].name).map(|(_, listed)| listed);
        pool_lines(&mut text, plan, pool, listed.and_then(|listed| listed.as_ref().ok()).map(Vec::len));
        for &fused in &pool.fused {
            stage_lines(&mut text, &plan.stages[fused], "+ ", " (fused)");
        }
        if let Some(listed) = listed {
            split_lines(&mut text, listed);
        }
        let readers: Vec<&str> =
            pool.next.iter().map(|edge| plan.stages[plan.pools[edge.to].head].name.as_str()).collect();
        if !readers.is_empty() {
            let _ = writeln!(text, "    → {}", readers.join(", "));
        }
    }
    text
}

/// `splits` is how many splits a source has, where that is known: a worker without one would have nothing to do.
fn pool_lines(text: &mut String, plan: &Plan, pool: &Pool, splits: Option<usize>) {
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    let workers = splits.map_or(pool.workers, |splits| pool.workers.min(splits.max(1)));
    let mut tail = format!(": {workers} worker{}", plural(workers));
    if workers < pool.workers {
        let splits = splits.unwrap_or_default();
        let _ = write!(
            tail,
            " of {}, as there {} {splits} split{}",
            pool.workers,
            if splits == 1 { "is" } else { "are" },
            plural(splits)
        );
    }
    if let Some(remark) = pool.remark {
        let _ = write!(tail, " ({remark})");
    }
    match &pool.intake {
        Intake::Splits => {}
        Intake::Any => {
            let _ = write!(tail, ", queue of {} batches", pool.queue);
        }
        Intake::Ordered => {
            let _ = write!(tail, ", queue of {} batches, in input order", pool.queue);
        }
        Intake::BySplit => {
            let _ = write!(tail, ", queue of {} batches each, a split to one worker", pool.queue);
        }
        Intake::Keyed(expr) => {
            let _ = write!(tail, ", queue of {} batches each, partitioned by {expr}", pool.queue);
        }
    }
    stage_lines(text, &plan.stages[pool.head], "", &tail);
}

fn stage_lines(text: &mut String, stage: &Stage, mark: &str, tail: &str) {
    let _ = writeln!(text, "{mark}{} {} ({}){tail}", stage.role.word(), stage.name, stage.kind);
    for note in &stage.notes {
        let _ = writeln!(text, "    {note}");
    }
    if let Some(output) = &stage.output {
        let _ = writeln!(text, "    output: {output}");
    }
}

fn split_lines(text: &mut String, listed: &Result<Vec<Split>, String>) {
    const SHOWN: usize = 5;
    let splits = match listed {
        Ok(splits) => splits,
        Err(why) => {
            let _ = writeln!(text, "    splits: {why}");
            return;
        }
    };
    let _ = writeln!(text, "    splits: {}", splits.len());
    for split in splits.iter().take(SHOWN) {
        let size = split.size().map_or(String::new(), |bytes| format!(", {bytes} bytes"));
        let _ = writeln!(text, "      {}{size}", split.name);
    }
    if splits.len() > SHOWN {
        let _ = writeln!(text, "      … and {} more", splits.len() - SHOWN);
    }
}
