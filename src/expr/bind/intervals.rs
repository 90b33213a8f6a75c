//! Intervals: `ts + interval '1 month 2 days'`. There is no type of them; they are added to a time where they stand.

use sqlparser::ast::{BinaryOperator, Expr as Ast, Interval, UnaryOperator, Value};

use super::{Binder, Bound, calls::applied, operators::integer};
use crate::{
    batch::ColumnType,
    expr::{
        functions,
        node::{Kind, Node},
        types::coerce,
    },
    jobspec::nearest,
};

/// Months and microseconds: months have no fixed length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    months: i64,
    micros: i64,
}

/// The units, each as a span.
const UNITS: &[(&str, Span)] = &[
    ("year", Span { months: 12, micros: 0 }),
    ("quarter", Span { months: 3, micros: 0 }),
    ("month", Span { months: 1, micros: 0 }),
    ("week", Span { months: 0, micros: 604_800_000_000 }),
    ("day", Span { months: 0, micros: 86_400_000_000 }),
    ("hour", Span { months: 0, micros: 3_600_000_000 }),
    ("minute", Span { months: 0, micros: 60_000_000 }),
    ("second", Span { months: 0, micros: 1_000_000 }),
    ("millisecond", Span { months: 0, micros: 1_000 }),
    ("microsecond", Span { months: 0, micros: 1 }),
];

/// The interval that an expression is, brackets or not.
pub(super) fn interval(expr: &Ast) -> Option<&Interval> {
    match expr {
        Ast::Nested(inner) => interval(inner),
        Ast::Interval(interval) => Some(interval),
        _ => None,
    }
}

impl Binder<'_> {
    /// A time and an interval added to it, or taken off.
    pub(super) fn shift(
        &mut self,
        time: Bound,
        time_expr: &Ast,
        op: &BinaryOperator,
        (interval, interval_expr): (&Interval, &Ast),
    ) -> Bound {
        let span = match span(interval) {
            Ok(span) => span,
            Err((message, help)) => return self.error(self.places.of(interval_expr), message, help),
        };
        let sign = match op {
            BinaryOperator::Plus => 1,
            BinaryOperator::Minus => -1,
            _ => {
                let message = format!("`{op}` does not take intervals: they are added to times with `+` and `-`");
                return self.error(self.places.of(interval_expr), message, None);
            }
        };
        let time = time?;
        let is_time = matches!(time.column_type, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampNs);
        let time = match (&time.kind, is_time) {
            (Kind::Null, _) => Node::null_of(ColumnType::Timestamp),
            (_, true) => coerce(time, &ColumnType::Timestamp),
            (_, false) => {
                let message =
                    format!("an interval is added to a date or a timestamp, and this is `{}`", time.column_type);
                return self.error(self.places.of(time_expr), message, None);
            }
        };
        let function = functions::find("add_interval")?;
        Some(applied(function, vec![time, integer(sign * span.months), integer(sign * span.micros)]))
    }
}

/// What is wrong with an interval, and what would be right.
type Wrong = (String, Option<String>);

fn span(interval: &Interval) -> Result<Span, Wrong> {
    let expected = || ("an interval is written like `interval '1 month 2 days'`".to_owned(), None);
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return Err(expected());
    }
    let text = constant(&interval.value).ok_or_else(expected)?;
    let field = interval.leading_field.as_ref().map(|field| field.to_string().to_lowercase());
    let whole = match &field {
        Some(field) => format!("{text} {field}"),
        None => text,
    };
    let words: Vec<&str> = whole.split_whitespace().collect();
    if words.is_empty() || words.len() % 2 == 1 {
        return Err(expected());
    }
    words.chunks(2).try_fold(Span::default(), |sum, pair| {
        let count: i64 = pair[0].parse().map_err(|_| expected())?;
        let unit = unit(pair[1])?;
        let add = |sum: i64, unit: i64| unit.checked_mul(count).and_then(|part| sum.checked_add(part));
        match (add(sum.months, unit.months), add(sum.micros, unit.micros)) {
            // No time lies so many months from another, and either sign must fit.
            (Some(months), Some(micros)) if months.abs() < 1 << 32 && micros != i64::MIN => Ok(Span { months, micros }),
            _ => Err(("the interval is too long".to_owned(), None)),
        }
    })
}

fn unit(name: &str) -> Result<Span, Wrong> {
    let name = name.to_lowercase();
    let found = UNITS.iter().find(|(unit, _)| name.strip_suffix('s').unwrap_or(&name) == *unit);
    let unknown =
        || (format!("`{name}` is not a unit of an interval"), nearest(&name, UNITS.iter().map(|(unit, _)| *unit)));
    found.map(|(_, span)| *span).ok_or_else(unknown)
}

/// The text of a constant.
fn constant(expr: &Ast) -> Option<String> {
    match expr {
        Ast::Nested(inner) => constant(inner),
        Ast::UnaryOp { op: UnaryOperator::Minus, expr } => constant(expr).map(|text| format!("-{text}")),
        Ast::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(digits, _) => Some(digits.replace('_', "")),
            _ => None,
        },
        _ => None,
    }
}
