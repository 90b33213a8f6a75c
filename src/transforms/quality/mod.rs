//! `quality`: what can be said of the points of a time series, one record per stream and window.
//!
//! The stage has its input in order, so what follows what is known without looking back: of every stream the last
//! points in order are kept, and of every window a state that takes a slice of points at a time. The loops over points
//! run over slices of plain numbers: one slice is what of a batch belongs to one stream and one window.

mod flat;
mod moments;
mod profile;
mod rules;
mod steps;
mod stream;
#[cfg(test)]
mod tests;
mod times;
mod window;
mod worker;

use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    rules::{ExpectSpec, Rules},
    stream::Terms,
    times::{Times, Unit},
    worker::{Ended, Worker},
};
use super::keys::{Encoder, divided_by, places, unknown_column};
use crate::{
    batch::{Column, Schema},
    failure::Failure,
    jobspec::{Duration, Problem, SpecLocation},
    kind::{Compiled, Context, Kind, Workers},
    memory::Budget,
    stage::{Transform, TransformProperties, TransformWorker},
};

/// The `quality` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<QualitySpec>("quality", compile);

/// Emits one record for each window of each stream, once the input has ended: a profile of its points, and a verdict
/// for each rule. Streams come in the order in which they are first met, windows in the order of time, from the first
/// with a point to the last, those without points in between too. A window takes about half a KiB within
/// `limits.memory`.
///
/// A point belongs to the window that its own time lies in; windows exclude their end. A point is *in order* unless its
/// time lies before that of a point of its stream that came earlier. One out of order counts in its window (`count`, the
/// statistics and range of values) and for nothing that looks at how points follow each other: steps, gaps, flat lines,
/// spikes, rates. Those look across the edges of windows. Of values that follow each other, only finite ones are looked
/// at. A point whose time is null, or lies outside of `years`, is a reject.
///
/// The columns, behind those of `by`:
///
/// - `window_start`, `window_end`: from when, up to before when.
/// - `partial`: does the window reach beyond the stream, which lasts from its first point to one interval after its last?
/// - `count`: points. `expected`: the time that the stream covers of the window, by the interval (`expect.interval`, or
///   else the median step of the stream), rounded, 1 at least. `completeness`: points but for duplicates, by `expected`,
///   1 at most.
/// - `first`, `last`: the earliest and the latest time.
/// - `min_step_seconds`, `median_step_seconds`, `max_step_seconds`: the time from one point in order to the next, where
///   it is not 0; a step counts in the window in which it ends. The median is exact where there are 64 different steps
///   at most, and within 0.4 % otherwise. `jitter_seconds`: the standard deviation of the steps that are not gaps.
/// - `duplicates`: points with the time of the point in order before them. `out_of_order`: points out of order.
/// - `gaps`: steps longer than `max_gap` that end in the window. `gap_seconds`: how much of the window is in a gap.
///   `longest_gap_seconds`: the longest gap that has a part in the window or ends where it begins, all of it.
/// - `nulls`, `nans`, `infinities`: points with no value, or no finite one; the rest of the statistics is about the
///   others. `zeros`, `min`, `mean`, `max`, `stddev` (of a sample).
/// - `out_of_range`, `suspect_range`: values outside of `range`; values within, but outside of `suspect_range`.
/// - `flatlines`: stretches that have flat points in the window. `flat_points`: flat points. `longest_flat_seconds`: the
///   longest time that values had stayed within the tolerance at a point of the window.
/// - `spikes`, `suspect_spikes`: values beyond `threshold`; those beyond `suspect` alone.
/// - `fast_changes`, `suspect_changes`: rates beyond `max`; those beyond `suspect` alone. `max_rate`: per second. A rate
///   counts where it ends; two points of the same time have none.
/// - `values_verdict`: `fail` without a finite value, `suspect` where a value is null, NaN or infinite.
///   `order_verdict`: `suspect` where there are duplicates or points out of order. `gap_verdict`: `fail` where there is
///   such a gap. `range_verdict`, `flatline_verdict`, `spike_verdict`, `rate_verdict`: `fail` or `suspect`
///   where there is such a point; for `flatline`, `suspect` where `longest_flat_seconds` is `suspect_for` at least. All
///   are `pass` else, and `not_evaluated` where there is no such rule, or nothing to apply it to. `verdict`: the worst.
/// - `offences`: JSON, the times of the first points that a rule found, by rule, in the order of the input: the end of a
///   gap, a value out of range, the first flat point of a stretch, a spike, the end of a fast change.
/// - `score`: 0 without points; else `completeness` (1 where it is null) times the share of points that are left by each
///   of: null, NaN and infinite values; duplicates and points out of order, which count half; and the rules of range,
///   flat line, spike and rate, of which suspect points count half.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct QualitySpec {
    /// The columns that name a stream; nulls are equal to each other here. Without them all points are one stream.
    #[serde(default)]
    by: Vec<String>,
    /// The column of times: a `timestamp`, a `timestamp_ns`, or an `int64` with a `unit`.
    time: String,
    /// What a time that is an `int64` counts since 1970.
    unit: Option<Unit>,
    /// The column of values: any number, which may be null. It is looked at as a float64.
    value: String,
    /// How long a window is.
    window: Duration,
    /// Where windows are counted from.
    #[serde(default)]
    align: Align,
    /// The first and the last year that a time may lie in. By default 1971 to 2200: a time that is counted in a finer
    /// unit than it is read in lies in 1970, one in a coarser unit far away.
    #[serde(default = "years")]
    #[schemars(length(min = 2, max = 2))]
    years: Vec<i32>,
    /// What is expected of a stream.
    #[serde(default)]
    expect: ExpectSpec,
    /// How many offences against each rule are listed in a record.
    #[serde(default = "offences")]
    offences: usize,
}

/// Where windows are counted from.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Align {
    /// From the time of the first point of each stream in the input.
    #[default]
    First,
    /// From 1970-01-01 00:00:00 UTC.
    Epoch,
}

fn years() -> Vec<i32> {
    vec![1971, 2200]
}

fn offences() -> usize {
    10
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: QualitySpec = context.decode()?;
    let by = places(context, "by", &spec.by);
    let time = column(context, "time", &spec.time);
    let time = time.and_then(|(place, column)| compile_times(context, &spec, (place, &column)));
    let value = column(context, "value", &spec.value).and_then(|(place, column)| number(context, place, &column));
    let terms = terms(context, &spec);
    let (by, times, value, terms) = (by?, time?, value?, terms?);
    let output = output(context, &by, &times)?;
    let input = context.input().clone();
    let types = by.iter().map(|place| (input.columns()[*place].column_type.to_arrow(), false));
    let encoder = match Encoder::new(types) {
        Ok(encoder) => encoder,
        Err(failure) => {
            context.problem("by", "type", failure.message);
            return None;
        }
    };
    let workers = match by.is_empty() {
        true => Workers::One("all points are one stream"),
        false => divided_by(&input, &by),
    };
    let notes = notes(&spec);
    let budget = Budget::new(&context.held, "the windows");
    let setup = Setup { by, times, value, terms, encoder, output: output.clone(), budget };
    let stage = Quality { setup: Arc::new(setup), ended: Arc::default() };
    Some(Compiled { stage: Box::new(stage), output: Some(output), workers, notes })
}

/// The column that `key` names.
fn column(context: &mut Context<'_>, key: &str, name: &str) -> Option<(usize, Column)> {
    let schema = context.input().clone();
    match schema.find(name) {
        Some((place, column)) => Some((place, column.clone())),
        None => {
            let place = SpecLocation::value(context.path.key(key));
            context.problems.push(unknown_column(place, name, &schema));
            None
        }
    }
}

fn compile_times(context: &mut Context<'_>, spec: &QualitySpec, column: (usize, &Column)) -> Option<Times> {
    match spec.years[..] {
        [first, last] => times::compile(context, column, spec.unit, [first, last]),
        _ => {
            context.problem("years", "range", "two years: the first, then the last");
            None
        }
    }
}

fn number(context: &mut Context<'_>, place: usize, column: &Column) -> Option<usize> {
    if column.column_type.is_number() {
        return Some(place);
    }
    context.problem("value", "type", format!("a value is a number, not {}", column.column_type));
    None
}

fn terms(context: &mut Context<'_>, spec: &QualitySpec) -> Option<Terms> {
    let rules: Option<Rules> = rules::compile(context, &spec.expect);
    let every = rules::nanos(spec.window);
    if every.is_none() {
        context.problem("window", "range", "must be above 0 and below 292 years");
    }
    Some(Terms { every: every?, from_epoch: spec.align == Align::Epoch, rules: rules?, cap: spec.offences })
}

/// The columns of `by`, then those of the record. Two of one name are a problem.
fn output(context: &mut Context<'_>, by: &[usize], times: &Times) -> Option<Schema> {
    let mut columns: Vec<Column> = by.iter().map(|place| context.input().columns()[*place].clone()).collect();
    let own = profile::columns(&times.output());
    let clash = columns.iter().position(|column| own.iter().any(|other| other.name == column.name));
    if let Some(place) = clash {
        let at = SpecLocation::value(context.path.key("by").index(place));
        let message = format!("two columns would be named `{}`", columns[place].name);
        let help = Some("give it another name in a `select` before this stage".to_owned());
        context.problems.push(Problem::new("columns", at, message).help(help));
        return None;
    }
    columns.extend(own);
    Some(Schema::new(columns))
}

fn notes(spec: &QualitySpec) -> Vec<String> {
    let by = (!spec.by.is_empty()).then(|| format!("by {}", spec.by.join(", ")));
    by.into_iter().chain([format!("in windows of {} of {}", spec.window, spec.time)]).collect()
}

/// What a job says of the stage.
#[derive(Debug)]
struct Setup {
    /// Places of the columns that name a stream.
    by: Vec<usize>,
    times: Times,
    /// SpecLocation of the values.
    value: usize,
    terms: Terms,
    encoder: Encoder,
    output: Schema,
    budget: Arc<Budget>,
}

impl Setup {
    /// A time as it stands in the output.
    fn spelled(&self, nanos: i64) -> String {
        times::spelled(nanos, &self.times.output())
    }
}

struct Quality {
    setup: Arc<Setup>,
    ended: Arc<Mutex<Ended>>,
}

impl Transform for Quality {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(Worker::new(Arc::clone(&self.setup), Arc::clone(&self.ended))))
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties::BREAKER
    }
}
