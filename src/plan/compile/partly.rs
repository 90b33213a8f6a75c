//! What is known of a stage that has mistakes, so that those behind it are checked in the same round.
//!
//! The stage is compiled once more without the values that are wrong. Columns that it emits then are there with these
//! types; what is missing among them may be one that a mistake stands in the way of. So behind such a stage nobody is told
//! that a column is missing.

use indexmap::IndexSet;

use super::{Compiler, Inputs};
use crate::{
    batch::Schema,
    jobspec::{Path, Problem, Problems, SpecLocation, StageSpec, Step, Table, Value},
    kind::Kind,
};

/// How often values that are wrong are taken out: without one, another may be.
const ROUNDS: usize = 3;

/// What a message says that may follow from a column that is not known.
const MISSING: [&str; 3] = ["no column `", "written to a column `", "a new table "];

impl<'a> Compiler<'a> {
    /// Checks a stage whose input has mistakes, as far as its columns are known. Says whether it could.
    pub(super) fn check_partly<S: ?Sized>(&mut self, spec: &'a StageSpec, kind: &Kind<S>) -> bool {
        let Some(inputs) = self.inputs_partly(spec) else { return false };
        let mut problems = Problems::default();
        let compiled = (kind.compile)(&mut self.context(spec, &spec.table, &inputs, &mut problems));
        let output = match compiled {
            Some(compiled) if !problems.any_error() => compiled.output,
            _ => self.without_mistakes(spec, kind, &inputs, problems.iter()),
        };
        self.partly.extend(output.map(|output| (spec.name.as_str(), output)));
        let follows = |problem: &&Problem| MISSING.iter().any(|words| problem.message.contains(words));
        problems.iter().filter(|problem| !follows(problem)).for_each(|problem| self.problems.push(problem.clone()));
        true
    }

    /// What a stage emits without the values that are wrong.
    pub(super) fn without_mistakes<'p, S: ?Sized>(
        &mut self,
        spec: &StageSpec,
        kind: &Kind<S>,
        inputs: &Inputs,
        wrong: impl Iterator<Item = &'p Problem>,
    ) -> Option<Schema> {
        let mut wrong: IndexSet<Path> = wrong.filter_map(|problem| within(spec, problem)).collect();
        for _ in 0..ROUNDS {
            let before = wrong.len();
            // A condition cannot be left out, and changes no column.
            for instead in [None, Some("true")] {
                let table =
                    without(&spec.table, &wrong.iter().map(|path| path.0.as_slice()).collect::<Vec<_>>(), instead);
                let mut problems = Problems::default();
                let compiled = (kind.compile)(&mut self.context(spec, &table, inputs, &mut problems));
                if let Some(compiled) = compiled.filter(|_| !problems.any_error()) {
                    return compiled.output;
                }
                wrong.extend(problems.iter().filter_map(|problem| within(spec, problem)));
            }
            if wrong.len() == before {
                break;
            }
        }
        None
    }

    /// What a stage reads, where something is known of all of it.
    fn inputs_partly(&self, spec: &StageSpec) -> Option<Inputs> {
        let schema = |name: &str| match self.done.get(name) {
            Some(Some(id)) => self.stages[*id].output.clone(),
            _ => self.partly.get(name).cloned(),
        };
        let all: Option<Vec<Schema>> = spec.inputs.iter().map(|(name, _)| schema(name)).collect();
        let side = match super::side(spec) {
            Some((name, _)) => Some((0, schema(&name)?)),
            None => None,
        };
        Some(Inputs { ids: Vec::new(), schema: Some(all?.into_iter().next()?), side })
    }
}

/// The place of a mistake within the stage's own table.
fn within(spec: &StageSpec, problem: &Problem) -> Option<Path> {
    let (SpecLocation::Key(path) | SpecLocation::Value(path) | SpecLocation::Inside(path, _)) = &problem.place else {
        return None;
    };
    let rest = path.0.strip_prefix(spec.path.0.as_slice())?;
    (!rest.is_empty()).then(|| Path(rest.to_vec()))
}

/// The same value without what stands at these paths, or with a text in its place.
fn without(value: &Value, wrong: &[&[Step]], instead: Option<&str>) -> Value {
    let kept = |step: Step, value: &Value| {
        let behind = wrong.iter().filter_map(|path| path.split_first());
        let wrong: Vec<&[Step]> = behind.filter(|(first, _)| **first == step).map(|(_, rest)| rest).collect();
        match wrong.iter().any(|path| path.is_empty()) {
            true => instead.map(|text| Value::Text(text.to_owned())),
            false => Some(without(value, &wrong, instead)),
        }
    };
    match value {
        Value::Table(table) => {
            let entries =
                table.iter().filter_map(|(key, value)| Some((key.clone(), kept(Step::Key(key.clone()), value)?)));
            Value::Table(entries.collect::<Table>())
        }
        Value::List(items) => {
            Value::List(items.iter().enumerate().filter_map(|(i, item)| kept(Step::Index(i), item)).collect())
        }
        other => other.clone(),
    }
}
