//! `aggregate`: one row of each group of rows, once the input has ended.

mod accumulator;
mod extreme;
mod functions;
mod moments;
mod others;
mod spilled;
mod states;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod window;
mod worker;

use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    window::{Window, WindowSpec},
    worker::Worker,
};
use super::{
    keys::{Encoder, divided_by, places},
    memory::SPILLS,
};
use crate::{
    batch::{Column, Schema},
    expr::{AggregateCall, compile_aggregate},
    failure::Failure,
    jobspec::{Problem, SpecLocation},
    kind::{Compiled, Context, Kind, Workers},
    memory::Budget,
    stage::{Transform, TransformProperties, TransformWorker},
};

/// The `aggregate` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<AggregateSpec>("aggregate", compile);

/// Emits one row of each group of rows, in the order in which the groups are first met, once the input has ended.
/// Groups that do not fit into `limits.memory` are spilled; what `array_agg` and `count_distinct` keep of a single group
/// must fit. Without `by` and `window` all rows are one group, even where there are none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AggregateSpec {
    /// The columns that make a group; nulls are equal to each other here.
    #[serde(default)]
    by: Vec<String>,
    /// New columns: a name, and an aggregate over an SQL expression: `count(*)`, `count(x)`, `count_distinct(x)`,
    /// `sum(x)`, `min(x)`, `max(x)`, `avg(x)`, `stddev(x)` (of a sample), `first(x)`, `last(x)`, `array_agg(x)`. Sums of
    /// integers are `int64`; a group whose sum is beyond that is a reject.
    columns: IndexMap<String, String>,
    /// Groups by time as well, in windows of equal length.
    window: Option<WindowSpec>,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: AggregateSpec = context.decode()?;
    if spec.columns.is_empty() {
        let place = SpecLocation::value(context.path.key("columns"));
        context.problems.push(Problem::new("empty", place, "there is nothing to compute"));
        return None;
    }
    let by = places(context, "by", &spec.by);
    let calls = calls(context, &spec);
    let window = match &spec.window {
        Some(window) => window::compile(context, window).map(Some),
        None => Some(None),
    };
    let (by, calls, window) = (by?, calls?, window?);
    let output = output(context, &spec, &by, &calls, window.as_ref())?;
    let input = context.input().clone();
    let key_types = by.iter().map(|place| input.columns()[*place].column_type.to_arrow());
    let key_types = key_types.chain(window.as_ref().map(|window| window.column_type.to_arrow()));
    let encoder = match Encoder::new(key_types.map(|data_type| (data_type, false))) {
        Ok(encoder) => encoder,
        Err(failure) => {
            context.problem("by", "type", failure.message);
            return None;
        }
    };
    let workers = match by.is_empty() {
        true if window.is_none() => Workers::One("all rows are one group"),
        true => Workers::One("there is no column to divide rows by"),
        false => divided_by(&input, &by),
    };
    let notes = notes(&spec);
    let names = spec.columns.into_keys().collect();
    let budget = Budget::new(&context.held, "the groups");
    let setup = Setup { by, calls, names, window, encoder, output: output.clone(), budget };
    let stage = Aggregation { setup: Arc::new(setup) };
    Some(Compiled { stage: Box::new(stage), output: Some(output), workers, notes })
}

fn calls(context: &mut Context<'_>, spec: &AggregateSpec) -> Option<Vec<AggregateCall>> {
    let at = context.path.key("columns");
    let bound: Vec<Option<AggregateCall>> = spec
        .columns
        .iter()
        .map(|(name, text)| {
            let call = compile_aggregate(text, context.input());
            context.or_problems(&at.entry(name), 0, call)
        })
        .collect();
    bound.into_iter().collect()
}

/// The columns of `by`, the ends of the window, the aggregates. Two of one name are a problem.
fn output(
    context: &mut Context<'_>,
    spec: &AggregateSpec,
    by: &[usize],
    calls: &[AggregateCall],
    window: Option<&Window>,
) -> Option<Schema> {
    let mut columns: Vec<Column> = by.iter().map(|place| context.input().columns()[*place].clone()).collect();
    let mut clashes = Vec::new();
    for name in window.iter().flat_map(|_| ["window_start", "window_end"]) {
        if columns.iter().any(|column| column.name == name) {
            clashes.push((SpecLocation::key(context.path.key("window")), name.to_owned()));
        }
        let column_type = window.map(|window| window.column_type.clone())?;
        columns.push(Column { name: name.to_owned(), column_type, nullable: false });
    }
    for (name, call) in spec.columns.keys().zip(calls) {
        if columns.iter().any(|column| column.name == *name) {
            clashes.push((SpecLocation::key(context.path.key("columns").entry(name)), name.clone()));
        }
        columns.push(Column { name: name.clone(), column_type: call.column_type(), nullable: call.nullable() });
    }
    let sound = clashes.is_empty();
    for (place, name) in clashes {
        let message = format!("two columns would be named `{name}`");
        context.problems.push(Problem::new("columns", place, message));
    }
    sound.then(|| Schema::new(columns))
}

fn notes(spec: &AggregateSpec) -> Vec<String> {
    let mut notes = Vec::new();
    if !spec.by.is_empty() {
        notes.push(format!("by {}", spec.by.join(", ")));
    }
    notes.extend(spec.window.as_ref().map(|window| format!("in windows of {} of {}", window.every, window.time)));
    notes.extend(spec.columns.iter().map(|(name, call)| format!("{name} = {call}")));
    if !spec.by.is_empty() || spec.window.is_some() {
        notes.push(SPILLS.to_owned());
    }
    notes
}

struct Setup {
    /// Places of the columns that make a group.
    by: Vec<usize>,
    calls: Vec<AggregateCall>,
    /// The names of the calls' columns.
    names: Vec<String>,
    window: Option<Window>,
    encoder: Encoder,
    output: Schema,
    budget: Arc<Budget>,
}

impl Setup {
    /// Is there one group, whatever comes?
    fn is_whole(&self) -> bool {
        self.by.is_empty() && self.window.is_none()
    }
}

struct Aggregation {
    setup: Arc<Setup>,
}

impl Transform for Aggregation {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(Worker::new(Arc::clone(&self.setup))))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties::BREAKER
    }
}
