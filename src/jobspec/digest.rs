//! A short name for what a job does: equal for both spellings, and for specs that differ only in how fast,
//! where reported, or in what order stages are written.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Table, Value};

/// Keys of the top level that do not change what a job does.
const NOT_OF_JOB: &[&str] = &["description", "limits", "rejects", "report", "state", "on_lost_state"];

/// The sections of stages.
const SECTIONS: &[&str] = &["sources", "transforms", "sinks"];

/// Keys of a stage that do not change what it makes of its rows.
const NOT_OF_STAGE: &[&str] = &["concurrency", "queue", "batch", "retry", "after"];

/// Integers up to here are exact as `float64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The first 16 hex digits of the SHA-256 of a spec's canonical form. Keys are sorted on the levels of job,
/// section and stage; below, order has a meaning (columns) and stays.
pub fn digest(root: &Value) -> String {
    let mut hasher = Sha256::new();
    match root {
        Value::Table(table) => job(table, &mut hasher),
        other => write(other, &mut hasher),
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The same by place in the spec: of every stage (`sources.rows`) and of every other key of the top level that
/// changes what the job does.
pub fn digests(root: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Value::Table(table) = root else { return found };
    for (key, value) in table.iter().filter(|(key, _)| !NOT_OF_JOB.contains(&key.as_str())) {
        match value {
            Value::Table(section) if SECTIONS.contains(&key.as_str()) => {
                found.extend(section.iter().map(|(name, stage)| {
                    let alone = Table::from_iter([(name.clone(), stage.clone())]);
                    let alone = Table::from_iter([(key.clone(), Value::Table(alone))]);
                    (format!("{key}.{name}"), digest(&Value::Table(alone)))
                }));
            }
            other => {
                let alone = Table::from_iter([(key.clone(), other.clone())]);
                found.insert(key.clone(), digest(&Value::Table(alone)));
            }
        }
    }
    found
}

fn job(table: &Table, hasher: &mut Sha256) {
    entries(table, NOT_OF_JOB, hasher, |key, value, hasher| match value {
        Value::Table(section) => {
            let skip = if SECTIONS.contains(&key) { NOT_OF_STAGE } else { &[] };
            entries(section, &[], hasher, |_, value, hasher| match value {
                Value::Table(stage) => entries(stage, skip, hasher, |_, value, hasher| write(value, hasher)),
                other => write(other, hasher),
            });
        }
        other => write(other, hasher),
    });
}

/// A table with its keys sorted, but for those in `skip`.
fn entries(table: &Table, skip: &[&str], hasher: &mut Sha256, value: impl Fn(&str, &Value, &mut Sha256)) {
    let mut sorted: Vec<_> = table.iter().filter(|(key, _)| !skip.contains(&key.as_str())).collect();
    sorted.sort_by_key(|(key, _)| key.as_str());
    hasher.update(format!("t{}:", sorted.len()));
    for (key, entry) in sorted {
        text(key, hasher);
        value(key, entry, hasher);
    }
}

/// Every value begins with its type and, where it has parts, their number: no two have the same form.
fn write(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Null => hasher.update("n"),
        Value::Unknown => hasher.update("u"),
        Value::Bool(yes) => hasher.update(if *yes { "b1" } else { "b0" }),
        Value::Int(number) => hasher.update(format!("i{number};")),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < EXACT => {
            hasher.update(format!("i{};", *number as i128));
        }
        Value::Float(number) => hasher.update(format!("f{number:e};")),
        Value::Text(content) | Value::Substituted(content) => text(content, hasher),
        Value::List(items) => {
            hasher.update(format!("l{}:", items.len()));
            items.iter().for_each(|item| write(item, hasher));
        }
        Value::Table(table) => {
            hasher.update(format!("t{}:", table.len()));
            for (key, entry) in table {
                text(key, hasher);
                write(entry, hasher);
            }
        }
    }
}

fn text(content: &str, hasher: &mut Sha256) {
    hasher.update(format!("s{}:", content.len()));
    hasher.update(content);
}

#[cfg(test)]
#[path = "tests/digest.rs"]
mod tests;
