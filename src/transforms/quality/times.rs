//! The time of each point in nanoseconds, and times that cannot be right.

use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{Int64Type, TimestampMicrosecondType, TimestampNanosecondType},
};
use chrono::{DateTime, NaiveDate};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    batch::{Batch, Column, ColumnType, RejectCode, Rejects},
    jobspec::{Problem, SpecLocation},
    kind::Context,
};

/// Why a point has no place in any window.
const TIME: RejectCode = RejectCode("time");

/// What an `int64` column of times counts, from 1970-01-01 00:00:00 UTC on.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanos,
}

/// The time column.
#[derive(Debug)]
pub(super) struct Times {
    place: usize,
    name: String,
    unit: Unit,
    /// Did the spec name the unit? Then it may be the wrong one.
    named: bool,
    /// Nanoseconds from the first on, up to before the second, that a time may be; and the years they are.
    bounds: (i64, i64),
    years: [i32; 2],
}

/// The units with their names and nanoseconds.
const UNITS: [(Unit, &str, i64); 4] = [
    (Unit::Seconds, "s", 1_000_000_000),
    (Unit::Millis, "ms", 1_000_000),
    (Unit::Micros, "us", 1_000),
    (Unit::Nanos, "ns", 1),
];

impl Unit {
    fn name_and_nanos(self) -> (&'static str, i64) {
        let found = UNITS.iter().find(|(unit, ..)| *unit == self);
        found.map_or(("ns", 1), |(_, name, nanos)| (name, *nanos))
    }
}

/// The time column of that name. `years` are the first and the last that a time may lie in.
pub(super) fn compile(
    context: &mut Context<'_>,
    (place, column): (usize, &Column),
    unit: Option<Unit>,
    years: [i32; 2],
) -> Option<Times> {
    let own = match column.column_type {
        ColumnType::Timestamp => Some(Unit::Micros),
        ColumnType::TimestampNs => Some(Unit::Nanos),
        ColumnType::Int64 => None,
        ref other => {
            let message = format!("a time is a `timestamp`, a `timestamp_ns` or an `int64`, not {other}");
            context.problem("time", "type", message);
            return None;
        }
    };
    let bounds = bounds(context, years);
    let unit = match (own, unit) {
        (Some(own), None) => Some((own, false)),
        (None, Some(unit)) => Some((unit, true)),
        (Some(_), Some(_)) => {
            let message =
                format!("`unit` is for times that are `int64`; `{}` is a {}", column.name, column.column_type);
            context.problems.push(Problem::new("unit", SpecLocation::key(context.path.key("unit")), message));
            None
        }
        (None, None) => {
            let help = Some("add `unit = \"ns\"`, or \"us\", \"ms\", \"s\"".to_owned());
            let place = SpecLocation::value(context.path.key("time"));
            let message = format!("`{}` is an int64, which does not say what it counts", column.name);
            context.problems.push(Problem::new("unit", place, message).help(help));
            None
        }
    };
    let (bounds, (unit, named)) = (bounds?, unit?);
    Some(Times { place, name: column.name.clone(), unit, named, bounds, years })
}

/// The nanoseconds of the years; they must be countable, and their difference too.
fn bounds(context: &mut Context<'_>, [first, last]: [i32; 2]) -> Option<(i64, i64)> {
    let start = |year| {
        let day = NaiveDate::from_ymd_opt(year, 1, 1)?.and_hms_opt(0, 0, 0)?;
        day.and_utc().timestamp_nanos_opt()
    };
    let bounds = if first <= last && last.saturating_sub(first) < 290 {
        start(first).zip(last.checked_add(1).and_then(start))
    } else {
        None
    };
    if bounds.is_none() {
        let message = "the first and the last year of a time: from 1678 to 2261, and fewer than 290 apart";
        context.problem("years", "range", message);
    }
    bounds
}

impl Times {
    /// The type of the times that are emitted: that of the column, or the one that holds what its unit can say.
    pub(super) fn output(&self) -> ColumnType {
        if self.unit == Unit::Nanos { ColumnType::TimestampNs } else { ColumnType::Timestamp }
    }

    /// The times of a batch; points whose time is absent or cannot be right are rejects, and left out of the batch.
    pub(super) fn read(&self, batch: Batch, times: &mut Vec<i64>, rejects: &mut Rejects) -> Batch {
        let column = batch.records.column(self.place);
        self.nanos(column, times);
        let (from, to) = self.bounds;
        let sound = times.iter().fold(true, |all, time| all & (from <= *time) & (*time < to));
        if sound && column.null_count() == 0 {
            return batch;
        }
        let column = ArrayRef::clone(column);
        let mut kept = Vec::with_capacity(times.len());
        for (row, time) in times.iter().enumerate() {
            if column.is_null(row) {
                rejects.push(&batch, row, TIME, format!("`{}` is null", self.name));
            } else if !(from..to).contains(time) {
                rejects.push(&batch, row, TIME, self.implausible(raw(&column)[row]));
            } else {
                kept.push(row as u32);
            }
        }
        let batch = batch.pick(kept);
        self.nanos(batch.records.column(self.place), times);
        batch
    }

    fn nanos(&self, column: &ArrayRef, times: &mut Vec<i64>) {
        let (_, nanos) = self.unit.name_and_nanos();
        times.clear();
        times.extend(raw(column).iter().map(|count| count.saturating_mul(nanos)));
    }

    /// Says what a time would be, and in which unit it would be right.
    fn implausible(&self, count: i64) -> String {
        let (unit, nanos) = self.unit.name_and_nanos();
        let [first, last] = self.years;
        let counts = if self.named { format!(" `{unit}`") } else { String::new() };
        let shown = shown(count, nanos).unwrap_or_else(|| "far beyond any calendar".to_owned());
        let mut message =
            format!("`{}` is {count}{counts}: that is {shown}, not in the years {first} to {last}", self.name);
        let right = UNITS.iter().find(|(_, _, nanos)| {
            count.checked_mul(*nanos).is_some_and(|time| (self.bounds.0..self.bounds.1).contains(&time))
        });
        if let Some((_, unit, nanos)) = right {
            let shown = self::shown(count, *nanos).unwrap_or_default();
            message.push_str(&format!("; counted in `{unit}` it would be {shown}"));
        }
        message
    }
}

/// The numbers behind a column of times.
fn raw(column: &ArrayRef) -> &[i64] {
    if let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() {
        times.values()
    } else if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        times.values()
    } else {
        column.as_primitive::<Int64Type>().values()
    }
}

/// A time for people, to the second.
fn shown(count: i64, nanos: i64) -> Option<String> {
    let time = i128::from(count) * i128::from(nanos);
    let seconds = i64::try_from(time.div_euclid(1_000_000_000)).ok()?;
    Some(DateTime::from_timestamp(seconds, 0)?.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A time as files spell it: with a fraction unless that is zero.
pub(super) fn spelled(nanos: i64, column_type: &ColumnType) -> String {
    let time = DateTime::from_timestamp_nanos(nanos);
    let format = match (nanos.rem_euclid(1_000_000_000), column_type) {
        (0, _) => "%Y-%m-%dT%H:%M:%SZ",
        (_, ColumnType::TimestampNs) => "%Y-%m-%dT%H:%M:%S%.9fZ",
        _ => "%Y-%m-%dT%H:%M:%S%.6fZ",
    };
    time.format(format).to_string()
}
