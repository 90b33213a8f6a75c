//! In what order stages are compiled, and which of them wait for each other for ever.

use std::collections::{HashSet, VecDeque};

use super::{others, reads};
use crate::jobspec::{JobSpec, Problem, Problems, SpecLocation, StageSpec, nearest};

/// The stages so that inputs come before those that read them. Unknown inputs and cycles are recorded; a
/// stage on or behind a cycle is left out.
pub(super) fn order<'a>(job: &'a JobSpec, problems: &mut Problems) -> Vec<&'a StageSpec> {
    let known = |name: &str| job.stages().any(|stage| stage.name == name);
    // Where there is no source, that is what is wrong.
    for stage in job.stages().filter(|_| !job.sources.is_empty()) {
        for (name, path) in reads(stage).filter(|(name, _)| !known(name)) {
            let help = nearest(&name, others(job, stage));
            let message = format!("there is no stage named `{name}`");
            problems.push(Problem::new("unknown-input", SpecLocation::value(path), message).help(help));
        }
    }
    let mut ordered: Vec<&StageSpec> = Vec::new();
    let mut left: Vec<&StageSpec> = job.stages().collect();
    loop {
        let placed = |name: &str| !known(name) || ordered.iter().any(|done| done.name == name);
        let (ready, waiting): (Vec<_>, Vec<_>) =
            left.iter().copied().partition(|stage| reads(stage).all(|(name, _)| placed(&name)));
        if ready.is_empty() {
            report_cycles(&waiting, problems);
            return ordered;
        }
        ordered.extend(ready);
        left = waiting;
    }
}

/// Names each cycle among the stages that wait for each other, once. There is at least one: every waiting
/// stage waits for another.
fn report_cycles(waiting: &[&StageSpec], problems: &mut Problems) {
    let mut named: HashSet<&str> = HashSet::new();
    for stage in waiting {
        let Some(way) = way_back(stage, waiting) else { continue };
        if way.iter().any(|name| named.contains(name)) {
            continue;
        }
        named.extend(&way);
        let shown: Vec<String> = way.iter().map(|name| format!("`{name}`")).collect();
        let message = match way.as_slice() {
            [_, _] => format!("`{}` reads itself", stage.name),
            _ => format!("`{}` reads itself: {}", stage.name, shown.join(" ← ")),
        };
        let input = reads(stage).find(|(name, _)| *name == way[1]);
        let place = input.map_or_else(|| stage.path.key("input"), |(_, path)| path);
        problems.push(Problem::new("cycle", SpecLocation::value(place), message));
    }
}

/// The shortest way from a stage through its inputs back to itself.
fn way_back<'a>(start: &'a StageSpec, waiting: &[&'a StageSpec]) -> Option<Vec<&'a str>> {
    let mut ways: VecDeque<Vec<&StageSpec>> = VecDeque::from([vec![start]]);
    let mut met: HashSet<&str> = HashSet::new();
    while let Some(way) = ways.pop_front() {
        for (name, _) in reads(way[way.len() - 1]) {
            if name == start.name {
                return Some(way.iter().map(|stage| stage.name.as_str()).chain([start.name.as_str()]).collect());
            }
            let next = waiting.iter().find(|stage| stage.name == name);
            if let Some(next) = next.filter(|stage| met.insert(&stage.name)) {
                ways.push_back(way.iter().copied().chain([*next]).collect());
            }
        }
    }
    None
}
