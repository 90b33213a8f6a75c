//! Windows of event time: each row belongs to the one that its own time lies in, however late it comes.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, TimestampMicrosecondArray, TimestampNanosecondArray,
    cast::AsArray,
    types::{TimestampMicrosecondType, TimestampNanosecondType},
};
use arrow_cast::cast;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    batch::{ColumnType, RejectCode},
    expr::Expr,
    failure::Failure,
    jobspec::{Duration, Problem, SpecLocation},
    kind::Context,
    transforms::memory::fits,
};

/// Windows of time that follow each other without gaps. They are counted from Monday, 3 January 2000, so that windows
/// of `7d` are weeks; windows without rows are left out. Adds the columns `window_start` and `window_end`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowSpec {
    /// The time of a row: a column or an SQL expression, a date or a timestamp. A row where it is null is a reject.
    pub(super) time: String,
    /// How long a window is.
    pub(super) every: Duration,
}

/// Compiled windows.
pub(super) struct Window {
    time: Expr,
    text: String,
    /// Length and start of the count, in units of the type.
    every: i64,
    origin: i64,
    /// `timestamp` or `timestamp_ns`
    pub(super) column_type: ColumnType,
}

/// Monday, 3 January 2000, in microseconds.
const ORIGIN: i64 = 946_857_600_000_000;

/// Compiles the window of a spec.
pub(super) fn compile(context: &mut Context<'_>, spec: &WindowSpec) -> Option<Window> {
    let at = context.path.key("window");
    let time = context.expr_at(&at.entry("time"), 0, &spec.time);
    let micros = i64::try_from(spec.every.0.as_micros()).ok().filter(|micros| *micros > 0);
    if micros.is_none() {
        let place = SpecLocation::value(at.entry("every"));
        context.problems.push(Problem::new("range", place, "a window is one microsecond long at least"));
    }
    let (time, micros) = (time?, micros?);
    let (column_type, scale) = match time.column_type() {
        ColumnType::Date | ColumnType::Timestamp => (ColumnType::Timestamp, 1),
        ColumnType::TimestampNs => (ColumnType::TimestampNs, 1000),
        other => {
            let message = format!("`time` must be a date or a timestamp, not {other}");
            context.problems.push(Problem::new("type", SpecLocation::value(at.entry("time")), message));
            return None;
        }
    };
    let Some(every) = micros.checked_mul(scale) else {
        context.problems.push(Problem::new("range", SpecLocation::value(at.entry("every")), "the window is too long"));
        return None;
    };
    Some(Window { time, text: spec.time.clone(), every, origin: ORIGIN * scale, column_type })
}

impl Window {
    /// The expression of the time.
    pub(super) fn time(&self) -> &Expr {
        &self.time
    }

    /// The start of the window of every row; the rows that are in none, and why.
    pub(super) fn starts(&self, times: &ArrayRef) -> Result<(ArrayRef, Vec<(u32, String)>), Failure> {
        let times = fits(cast(times, &self.column_type.to_arrow()))?;
        let ticks = match self.column_type {
            ColumnType::TimestampNs => times.as_primitive::<TimestampNanosecondType>().values(),
            _ => times.as_primitive::<TimestampMicrosecondType>().values(),
        };
        let mut outside = Vec::new();
        let mut starts = Vec::with_capacity(ticks.len());
        for (row, tick) in ticks.iter().enumerate() {
            let start = times.is_valid(row).then(|| self.start(*tick)).flatten();
            if start.is_none() {
                let what = if times.is_null(row) { "is null" } else { "is too far away" };
                outside.push((row as u32, format!("the time of a window, `{}`, {what}", self.text)));
            }
            starts.push(start.unwrap_or_default());
        }
        Ok((self.array(starts), outside))
    }

    /// Where windows with these starts end.
    pub(super) fn ends(&self, starts: &ArrayRef) -> ArrayRef {
        let ends = |starts: &[i64]| self.array(starts.iter().map(|start| start.saturating_add(self.every)).collect());
        match self.column_type {
            ColumnType::TimestampNs => ends(starts.as_primitive::<TimestampNanosecondType>().values()),
            _ => ends(starts.as_primitive::<TimestampMicrosecondType>().values()),
        }
    }

    fn start(&self, tick: i64) -> Option<i64> {
        let since = i128::from(tick) - i128::from(self.origin);
        let start = since.div_euclid(i128::from(self.every)) * i128::from(self.every) + i128::from(self.origin);
        i64::try_from(start).ok()
    }

    fn array(&self, ticks: Vec<i64>) -> ArrayRef {
        match self.column_type {
            ColumnType::TimestampNs => Arc::new(TimestampNanosecondArray::from(ticks)),
            _ => Arc::new(TimestampMicrosecondArray::from(ticks)),
        }
    }
}

/// Why a row is in no window.
pub(super) const OUTSIDE: RejectCode = RejectCode("window");
