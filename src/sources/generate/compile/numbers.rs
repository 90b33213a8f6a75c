//! The generators of numbers and of times.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::{
    Call, Compiler, Plain, Scope,
    args::{Args, Bad},
};
use crate::{
    batch::ColumnType,
    jobspec::{Problem, SpecLocation},
    sources::generate::{
        node::Make,
        pick::Zipf,
        values::{Floats, Ints},
    },
};

pub(super) fn sequence(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["start", "step"])?;
    let (start, step) = (args.optional("start"), args.optional("step"));
    let (start, step): (i64, i64) = (start?.unwrap_or(1), step?.unwrap_or(1));
    let last = scope.places.map(|places| i128::from(start) + i128::from(step) * i128::from(places.saturating_sub(1)));
    if last.is_some_and(|last| i64::try_from(last).is_err()) {
        return Err(args.problem("step", "range", "the last value does not fit into 64 bits"));
    }
    if call.unique && step == 0 {
        return Err(compiler.not_unique(call, "a sequence with a step of 0 has one value"));
    }
    Ok(Plain::new(Make::Int(Ints::Sequence { start, step }), ColumnType::Int64))
}

pub(super) fn int(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["min", "max"])?;
    let (min, max) = (args.required("min"), args.required("max"));
    let (min, max): (i64, i64) = (min?, max?);
    let ints = range(compiler, call, scope, (min, max), ("min", "max"), |n| n.to_string())?;
    Ok(Plain::new(Make::Int(ints), ColumnType::Int64))
}

/// Integers from one bound to the other, both included.
fn range(
    compiler: &mut Compiler<'_>,
    call: &Call<'_>,
    scope: Scope<'_>,
    (min, max): (i64, i64),
    (low, high): (&str, &str),
    show: impl Fn(i64) -> String,
) -> Result<Ints, Bad> {
    if min > max {
        let message = format!("`{low}` is {} and `{high}` is {}", show(min), show(max));
        compiler.problems.push(Problem::new("range", SpecLocation::value(call.path.entry(low)), message));
        return Err(Bad);
    }
    let pick = compiler.pick(call, scope, max.abs_diff(min) as u128 + 1)?;
    Ok(Ints::Range { min, pick })
}

pub(super) fn float(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["min", "max", "decimals"])?;
    let (min, max, scale) = (args.optional("min"), args.optional("max"), decimals(&mut args));
    let (min, max): (f64, f64) = (min?.unwrap_or(0.0), max?.unwrap_or(1.0));
    let Some(scale) = scale? else {
        if min > max {
            return Err(args.problem("min", "range", format!("`min` is {min} and `max` is {max}")));
        }
        compiler.refuse_unique(call, "without `decimals` there is no end of them")?;
        return Ok(Plain::new(Make::Float(Floats::Range { min, max }), ColumnType::Float64));
    };
    // Rounded to the nearest, so that `0.29` of two decimals is 29, and then back into the range.
    let (low, high) = ((min * scale).round(), (max * scale).round());
    let low = if low / scale < min { low + 1.0 } else { low };
    let high = if high / scale > max { high - 1.0 } else { high };
    if low.abs().max(high.abs()) > (1_u64 << 53) as f64 {
        return Err(args.problem("decimals", "range", "numbers this large do not have so many decimals"));
    }
    match range(compiler, call, scope, (low as i64, high as i64), ("min", "max"), |n| (n as f64 / scale).to_string())? {
        Ints::Range { min, pick } => {
            Ok(Plain::new(Make::Float(Floats::Grid { min, pick, scale }), ColumnType::Float64))
        }
        _ => Err(Bad),
    }
}

/// Ten to the power of `decimals`.
fn decimals(args: &mut Args<'_, '_>) -> Result<Option<f64>, Bad> {
    match args.optional::<u64>("decimals")? {
        None => Ok(None),
        Some(decimals @ 0..=15) => Ok(Some(10_f64.powi(decimals as i32))),
        Some(decimals) => Err(args.problem("decimals", "range", format!("`decimals` is at most 15, not {decimals}"))),
    }
}

pub(super) fn normal(compiler: &mut Compiler<'_>, call: &Call<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["mean", "stddev", "decimals"])?;
    let (mean, stddev, scale) = (args.optional("mean"), args.optional("stddev"), decimals(&mut args));
    let (mean, stddev, scale): (f64, f64, _) = (mean?.unwrap_or(0.0), stddev?.unwrap_or(1.0), scale?);
    if stddev < 0.0 {
        return Err(args.problem("stddev", "range", format!("a standard deviation is not negative, as {stddev} is")));
    }
    compiler.refuse_unique(call, "there is no end of them")?;
    Ok(Plain::new(Make::Float(Floats::Normal { mean, stddev, scale }), ColumnType::Float64))
}

pub(super) fn zipf(compiler: &mut Compiler<'_>, call: &Call<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["n", "s"])?;
    let (n, s) = (args.required("n"), args.optional("s"));
    let (n, s): (u64, f64) = (n?, s?.unwrap_or(1.0));
    if n == 0 || n > 1 << 53 {
        return Err(args.problem("n", "range", format!("`n` lies between 1 and 2^53, not at {n}")));
    }
    if s <= 0.0 || s > 100.0 {
        return Err(args.problem("s", "range", format!("`s` lies above 0 and is at most 100, not {s}")));
    }
    compiler.refuse_unique(call, "low ranks come again and again")?;
    Ok(Plain::new(Make::Int(Ints::Zipf(Zipf::new(n, s))), ColumnType::Int64))
}

pub(super) fn chance(compiler: &mut Compiler<'_>, call: &Call<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["p"])?;
    let p = args.optional("p")?.unwrap_or(0.5);
    if !(0.0..=1.0).contains(&p) {
        return Err(args.problem("p", "range", format!("a chance lies between 0 and 1, not at {p}")));
    }
    compiler.refuse_unique(call, "there are two; use `choice = [true, false]`")?;
    Ok(Plain::new(Make::Chance(super::chance(p)), ColumnType::Bool))
}

pub(super) fn date(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["from", "to"])?;
    let (from, to) = (
        time(&mut args, "from", "a date such as `2024-12-31`", day),
        time(&mut args, "to", "a date such as `2024-12-31`", day),
    );
    let show = |days: i64| {
        let mut text = String::new();
        crate::sources::generate::text::day(days as i32, &mut text);
        text
    };
    let days = range(compiler, call, scope, (from?, to?), ("from", "to"), show)?;
    Ok(Plain::new(Make::Date(days), ColumnType::Date))
}

pub(super) fn timestamp(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let expected = "a time such as `2024-12-31T12:00:00Z`";
    let mut args = compiler.args(call, &["from", "to"])?;
    let (from, to) = (time(&mut args, "from", expected, micros), time(&mut args, "to", expected, micros));
    let show = |micros| DateTime::from_timestamp_micros(micros).unwrap_or_default().to_rfc3339();
    let micros = range(compiler, call, scope, (from?, to?), ("from", "to"), show)?;
    Ok(Plain::new(Make::Timestamp(micros), ColumnType::Timestamp))
}

/// The time at a key, which has no default: nothing that is made depends on when it is made.
fn time(args: &mut Args<'_, '_>, key: &'static str, expected: &str, read: fn(&str) -> Option<i64>) -> Result<i64, Bad> {
    let text: String = args.required(key)?;
    read(&text).ok_or_else(|| args.problem(key, "time", format!("`{text}` is not {expected}")))
}

fn day(text: &str) -> Option<i64> {
    let date: NaiveDate = text.parse().ok()?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).ok().map(i64::from)
}

fn micros(text: &str) -> Option<i64> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.timestamp_micros());
    }
    let plain = text.replacen(' ', "T", 1);
    let local =
        plain.parse::<NaiveDateTime>().ok().or_else(|| plain.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0))?;
    Some(local.and_utc().timestamp_micros())
}
