//! What of a spec a preview needs.

use std::collections::HashSet;

use crate::{
    jobspec::{Document, Section, Value},
    transforms,
};

/// The values of a spec without the stages that do not lead to the one of that name: so a mistake further on, or a job
/// that has no sink yet, is no hindrance. Without a name it is that of the first sink or, where there is none, of the
/// last stage that no other reads. `None`, and the name as it was, where there is no such stage.
pub(super) fn needed(document: &Document, name: Option<&str>) -> (Option<Value>, Option<String>) {
    let as_it_is = || (None, name.map(str::to_owned));
    let Value::Table(root) = &document.root else { return as_it_is() };
    let all: Vec<(Section, &String, &Value)> = [Section::Sources, Section::Transforms, Section::Sinks]
        .into_iter()
        .filter_map(|section| Some((section, root.get(section.key())?.as_table()?)))
        .flat_map(|(section, stages)| stages.iter().map(move |(name, stage)| (section, name, stage)))
        .collect();
    let read: HashSet<&str> = all.iter().flat_map(|(_, _, stage)| named_inputs(stage)).collect();
    let last = || all.iter().rev().find(|(_, name, _)| !read.contains(name.as_str())).map(|(_, name, _)| name.as_str());
    let has_sinks = all.iter().any(|(section, ..)| *section == Section::Sinks);
    let Some(end) = name.or_else(|| (!has_sinks).then(last).flatten()) else { return as_it_is() };
    let mut kept: HashSet<&str> = HashSet::new();
    let mut left = vec![end];
    while let Some(name) = left.pop() {
        let stage = all.iter().find(|(_, other, _)| other.as_str() == name);
        if let Some((_, name, stage)) = stage.filter(|_| kept.insert(name)) {
            // An input that is not a stage is a mistake of this one.
            left.extend(named_inputs(stage).into_iter().filter(|input| *input != name.as_str()));
        }
    }
    if !all.iter().any(|(_, name, _)| name.as_str() == end) {
        // That there is no such stage comes before what is wrong with the others.
        return (Some(document.root.clone()), name.map(str::to_owned));
    }
    let mut pruned = root.clone();
    for section in [Section::Sources, Section::Transforms, Section::Sinks] {
        if let Some(Value::Table(stages)) = pruned.get_mut(section.key()) {
            stages.retain(|name, _| kept.contains(name.as_str()));
        }
    }
    (Some(Value::Table(pruned)), Some(end.to_owned()))
}

/// The stages that a stage names as its inputs, as far as that can be read.
fn named_inputs(stage: &Value) -> Vec<&str> {
    let Value::Table(table) = stage else { return Vec::new() };
    let kind = table.get("type").and_then(Value::as_text);
    let side = transforms::KINDS.iter().find(|known| Some(known.name) == kind).and_then(|kind| kind.side);
    let names = |key: &str| match table.get(key) {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_text).collect(),
        Some(value) => value.as_text().into_iter().collect(),
        None => Vec::new(),
    };
    [Some("input"), side].into_iter().flatten().flat_map(names).collect()
}
