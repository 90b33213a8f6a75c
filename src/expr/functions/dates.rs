//! Functions of dates and timestamps. All work in UTC on microseconds; binding has cast dates to timestamps.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray, cast::AsArray, types::TimestampMicrosecondType,
};

use super::{Body, Call, Function, Parameter, Returns};
use crate::{
    batch::ColumnType,
    expr::{cast::integers, text::Strings, value::without},
    values::calendar::{self, civil},
};

use Parameter::{DatePart, DateUnit, Integer, Time};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

const COUNT: Returns = Returns::Type(ColumnType::Int64);

/// The table. `extract(year from d)` and `date_part('year', d)` are one function; `year(d)` is short for it.
/// `ts + interval '1 month 2 days'` is `add_interval(ts, 1, 172800000000)`: months and microseconds.
pub(super) const TABLE: &[Function] = &[
    Function {
        name: "date_part",
        parameters: &[DatePart, Time],
        optional: 0,
        returns: COUNT,
        body: Body::Strict(part),
    },
    Function {
        name: "date_trunc",
        parameters: &[DateUnit, Time],
        optional: 0,
        returns: Returns::Type(ColumnType::Timestamp),
        body: Body::Checked(truncate),
    },
    Function {
        name: "epoch",
        parameters: &[Time],
        optional: 0,
        returns: Returns::Type(ColumnType::Float64),
        body: Body::Strict(epoch),
    },
    Function {
        name: "add_interval",
        parameters: &[Time, Integer, Integer],
        optional: 0,
        returns: Returns::Type(ColumnType::Timestamp),
        body: Body::Checked(add_interval),
    },
    Function { name: "year", parameters: &[Time], optional: 0, returns: COUNT, body: Body::Strict(year) },
    Function { name: "month", parameters: &[Time], optional: 0, returns: COUNT, body: Body::Strict(month) },
    Function { name: "day", parameters: &[Time], optional: 0, returns: COUNT, body: Body::Strict(day) },
    Function { name: "hour", parameters: &[Time], optional: 0, returns: COUNT, body: Body::Strict(hour) },
];

/// Takes a part out of a time in microseconds.
type Take = fn(i64) -> i64;

/// Cuts a time down; none where the result is before all times.
type Cut = fn(i64) -> Option<i64>;

/// What [`part`] can take out of a time.
const PARTS: &[(&str, Take)] = &[
    ("year", |us| civil(days(us)).0),
    ("quarter", |us| (civil(days(us)).1 - 1) / 3 + 1),
    ("month", |us| civil(days(us)).1),
    ("week", |us| iso_week(days(us))),
    ("day", |us| civil(days(us)).2),
    ("dow", |us| (days(us) + 4).rem_euclid(7)),
    ("isodow", |us| weekday(days(us)) + 1),
    ("doy", |us| day_of_year(days(us))),
    ("hour", |us| us.rem_euclid(DAY) / (3_600 * SECOND)),
    ("minute", |us| us.rem_euclid(3_600 * SECOND) / (60 * SECOND)),
    ("second", |us| us.rem_euclid(60 * SECOND) / SECOND),
    ("millisecond", |us| us.rem_euclid(60 * SECOND) / 1_000),
    ("microsecond", |us| us.rem_euclid(60 * SECOND)),
];

/// What [`truncate`] can cut a time down to.
const UNITS: &[(&str, Cut)] = &[
    ("decade", |us| start(us, |(year, ..)| (year - year.rem_euclid(10), 1))),
    ("year", |us| start(us, |(year, ..)| (year, 1))),
    ("quarter", |us| start(us, |(year, month, _)| (year, (month - 1) / 3 * 3 + 1))),
    ("month", |us| start(us, |(year, month, _)| (year, month))),
    ("week", |us| (days(us) - weekday(days(us))).checked_mul(DAY)),
    ("day", |us| us.checked_sub(us.rem_euclid(DAY))),
    ("hour", |us| us.checked_sub(us.rem_euclid(3_600 * SECOND))),
    ("minute", |us| us.checked_sub(us.rem_euclid(60 * SECOND))),
    ("second", |us| us.checked_sub(us.rem_euclid(SECOND))),
    ("millisecond", |us| us.checked_sub(us.rem_euclid(1_000))),
    ("microsecond", Some),
];

/// The names of the parts of a time.
pub(super) fn part_names() -> Vec<&'static str> {
    PARTS.iter().map(|(name, _)| *name).collect()
}

/// The names of the units of time.
pub(super) fn unit_names() -> Vec<&'static str> {
    UNITS.iter().map(|(name, _)| *name).collect()
}

fn part(call: Call<'_, '_>) -> ArrayRef {
    let name = Strings::of(&call.arguments[0]).constant().unwrap_or_default();
    let found = PARTS.iter().find(|(part, _)| part.eq_ignore_ascii_case(name));
    let take = found.map_or((|us| us) as Take, |(_, take)| *take);
    counts(&call, 1, take)
}

fn year(call: Call<'_, '_>) -> ArrayRef {
    counts(&call, 0, |us| civil(days(us)).0)
}

fn month(call: Call<'_, '_>) -> ArrayRef {
    counts(&call, 0, |us| civil(days(us)).1)
}

fn day(call: Call<'_, '_>) -> ArrayRef {
    counts(&call, 0, |us| civil(days(us)).2)
}

fn hour(call: Call<'_, '_>) -> ArrayRef {
    counts(&call, 0, |us| us.rem_euclid(DAY) / (3_600 * SECOND))
}

fn counts(call: &Call<'_, '_>, argument: usize, take: Take) -> ArrayRef {
    let value = &call.arguments[argument];
    let times = value.array().as_primitive::<TimestampMicrosecondType>().values();
    let counts = (0..call.rows).map(|row| take(times[value.index(row)])).collect();
    Arc::new(Int64Array::new(counts, call.nulls.clone()))
}

/// Seconds since 1970-01-01.
fn epoch(call: Call<'_, '_>) -> ArrayRef {
    let value = &call.arguments[0];
    let times = value.array().as_primitive::<TimestampMicrosecondType>().values();
    let seconds = (0..call.rows).map(|row| times[value.index(row)] as f64 / SECOND as f64).collect();
    Arc::new(Float64Array::new(seconds, call.nulls))
}

fn truncate(call: Call<'_, '_>) -> ArrayRef {
    let name = Strings::of(&call.arguments[0]).constant().unwrap_or_default();
    let found = UNITS.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name));
    let cut = found.map_or(Some as Cut, |(_, cut)| *cut);
    let value = &call.arguments[1];
    let times = value.array().as_primitive::<TimestampMicrosecondType>().values();
    let mut failed = Vec::new();
    let mut answers = vec![0; call.rows];
    for (row, answer) in answers.iter_mut().enumerate() {
        match cut(times[value.index(row)]) {
            Some(time) => *answer = time,
            None if call.is_valid(row) => {
                failed.push(row);
                call.faults.report(row, || format!("the start of its {name} is out of range for timestamp"));
            }
            None => {}
        }
    }
    Arc::new(TimestampMicrosecondArray::new(answers.into(), without(call.nulls, &failed, call.rows)))
}

fn add_interval(call: Call<'_, '_>) -> ArrayRef {
    let times = call.arguments[0].array().as_primitive::<TimestampMicrosecondType>().values();
    let (months, micros) = (integers(&call.arguments[1]).values(), integers(&call.arguments[2]).values());
    let mut failed = Vec::new();
    let mut answers = vec![0; call.rows];
    for (row, answer) in answers.iter_mut().enumerate() {
        let [time, month, micro] = [0, 1, 2].map(|i| call.arguments[i].index(row));
        match shifted(times[time], months[month], micros[micro]) {
            Some(time) => *answer = time,
            None if call.is_valid(row) => {
                failed.push(row);
                call.faults.report(row, || "a time and an interval together are out of range for timestamp".to_owned());
            }
            None => {}
        }
    }
    Arc::new(TimestampMicrosecondArray::new(answers.into(), without(call.nulls, &failed, call.rows)))
}

/// So many months later on the same day of the month, or on its last day where it has no such day; then so many
/// microseconds later.
fn shifted(us: i64, months: i64, micros: i64) -> Option<i64> {
    if months == 0 {
        return us.checked_add(micros);
    }
    let (year, month, day) = civil(days(us));
    let month = (year * 12 + month - 1).checked_add(months).filter(|month| month.abs() < 1 << 40)?;
    let first = |month: i64| days_of(month.div_euclid(12), month.rem_euclid(12) + 1);
    let day = first(month) + day.min(first(month + 1) - first(month)) - 1;
    day.checked_mul(DAY)?.checked_add(us.rem_euclid(DAY))?.checked_add(micros)
}

fn days(us: i64) -> i64 {
    us.div_euclid(DAY)
}

/// Days since Monday.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

fn day_of_year(days: i64) -> i64 {
    days - days_of(civil(days).0, 1) + 1
}

/// A week belongs to the year that its Thursday is in.
fn iso_week(days: i64) -> i64 {
    (day_of_year(days - weekday(days) + 3) - 1) / 7 + 1
}

/// The first of the month that `to` names.
fn start(us: i64, to: fn((i64, i64, i64)) -> (i64, i64)) -> Option<i64> {
    let (year, month) = to(civil(days(us)));
    days_of(year, month).checked_mul(DAY)
}

/// Days from 1970-01-01 to the first of a month.
fn days_of(year: i64, month: i64) -> i64 {
    calendar::days(year, month, 1)
}
