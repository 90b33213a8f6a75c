//! `--set limits.rejects=5`: overrides from the command line.

use std::ops::Range;

use super::{
    Document, Path, Step, Table, Value,
    load::parse_value,
    mark::{Mark, Override},
};

/// What precedes an override where it is shown.
const OPTION: &str = "--set ";

impl Document {
    /// Applies one override, `path=value`. The path is dotted; a key with other characters is quoted, a place
    /// in a list is `[0]`. The value is a TOML value, or else text as it stands. Missing tables are made. The name
    /// of the job that is meant may stand before it all: `memc:limits.rejects=5`.
    ///
    /// # Errors
    /// There is no `=`, the path is malformed, or it leads through something that is not a table or list.
    pub fn set(&mut self, typed: &str) -> Result<(), String> {
        let (_, at) = job_of(typed);
        let (steps, value_at) = parse_path(&typed[at..])?;
        let (text, shift) = (format!("{OPTION}{typed}"), OPTION.len() + at);
        let written = &typed[at + value_at..];
        let (value, mark) = parse_value(written)
            .unwrap_or_else(|| (Value::Text(written.to_owned()), Mark { value: 0..written.len(), ..Mark::default() }));
        let path = Path(steps.iter().map(|(step, _)| step.clone()).collect());
        if self.root != Value::Unknown {
            insert(&mut self.root, &path, value)?;
        }
        let steps = steps.into_iter().map(|(_, at)| at.start + shift..at.end + shift).collect();
        self.overrides.push(Override { path, text, steps, mark: mark.shift(shift + value_at) });
        Ok(())
    }
}

impl Document {
    /// Is an override meant for this spec? One that names a job is for that job alone; one of a stage or
    /// definition is for the specs that have it; others are for all.
    ///
    /// # Errors
    /// The override is malformed.
    pub fn has_place_of(&self, typed: &str) -> Result<bool, String> {
        let (job, at) = job_of(typed);
        if job.is_some_and(|job| self.root.get(&Path::default().key("name")).and_then(Value::as_text) != Some(job)) {
            return Ok(false);
        }
        let (steps, _) = parse_path(&typed[at..])?;
        let (Some((Step::Key(section), _)), Some((name, _))) = (steps.first(), steps.get(1)) else {
            return Ok(true);
        };
        if !["sources", "transforms", "sinks", "definitions"].contains(&section.as_str()) {
            return Ok(true);
        }
        let place = Path(vec![Step::Key(section.clone()), name.clone()]);
        Ok(self.root == Value::Unknown || self.root.get(&place).is_some())
    }
}

/// The job that an override names, and where its path begins.
fn job_of(typed: &str) -> (Option<&str>, usize) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match typed.split_once(':') {
        Some((job, _)) if !job.is_empty() && job.chars().all(legal) => (Some(job), job.len() + 1),
        _ => (None, 0),
    }
}

fn insert(root: &mut Value, path: &Path, value: Value) -> Result<(), String> {
    let mut at = root;
    for (i, step) in path.0.iter().enumerate() {
        let here = || Path(path.0[..i].to_vec());
        at = match (step, at) {
            (Step::Key(key), Value::Table(table)) => {
                table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()))
            }
            (Step::Index(index), Value::List(items)) => {
                let length = items.len();
                items.get_mut(*index).ok_or_else(|| format!("`{}` has {length} items; the first is `[0]`", here()))?
            }
            (Step::Key(_), other) => return Err(format!("`{}` is {}, not a table", here(), other.describe())),
            (Step::Index(_), other) => return Err(format!("`{}` is {}, not a list", here(), other.describe())),
        };
    }
    *at = value;
    Ok(())
}

/// A step of a path, and where it stands.
type PlacedStep = (Step, Range<usize>);

/// The steps of the path, and where the value begins.
fn parse_path(typed: &str) -> Result<(Vec<PlacedStep>, usize), String> {
    let mut steps = Vec::new();
    let mut at = 0;
    loop {
        let rest = &typed[at..];
        let (step, length) = if rest.starts_with('[') && !steps.is_empty() { index(rest)? } else { key(rest)? };
        steps.push((step, at..at + length));
        at += length;
        match typed[at..].chars().next() {
            Some('.') => at += 1,
            Some('[') => {}
            Some('=') => return Ok((steps, at + 1)),
            _ => return Err("expected `path=value`, such as `limits.rejects=5`".to_owned()),
        }
    }
}

/// `[3]` at the front.
fn index(rest: &str) -> Result<(Step, usize), String> {
    let malformed = || "a place in a list is written `[0]`".to_owned();
    let end = rest.find(']').ok_or_else(malformed)?;
    let index = rest[1..end].parse().map_err(|_| malformed())?;
    Ok((Step::Index(index), end + 1))
}

/// A bare or quoted key at the front.
fn key(rest: &str) -> Result<(Step, usize), String> {
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let end = rest[1..].find(quote).ok_or_else(|| format!("the key has no closing `{quote}`"))?;
        return Ok((Step::Key(rest[1..=end].to_owned()), end + 2));
    }
    let end = rest.find(['.', '[', '=']).unwrap_or(rest.len());
    match &rest[..end] {
        "" => Err("expected `path=value`, such as `limits.rejects=5`".to_owned()),
        name => Ok((Step::Key(name.to_owned()), end)),
    }
}

#[cfg(test)]
#[path = "tests/set.rs"]
mod tests;
