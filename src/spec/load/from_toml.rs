//! TOML text to values and their places.

use std::ops::Range;

use indexmap::IndexMap;
use toml::{
    Spanned,
    de::{DeFloat, DeInteger, DeTable, DeValue, Error},
};

use super::{MAX_DEPTH, empty, stop, too_deep};
use crate::spec::{
    Place, Problem, Table, Value,
    mark::{Children, Mark},
};

/// Parses a whole spec, or says all that is wrong with its syntax.
pub(super) fn parse(text: &str) -> Result<(Value, Mark), Vec<Problem>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax_problems(text, &errors));
    }
    if root.get_ref().is_empty() {
        return Ok(empty());
    }
    let (root, children) = table(root.get_ref(), 1).map_err(|problem| vec![*problem])?;
    Ok((root, Mark { key: None, value: 0..text.len(), children }))
}

/// Parses one value, where `text` is one.
pub(super) fn parse_value(text: &str) -> Option<(Value, Mark)> {
    let parsed = DeValue::parse(text).ok()?;
    value(&parsed, None, 1).ok()
}

/// One problem per line: what follows on the same line is mostly an echo of the first.
fn syntax_problems(text: &str, errors: &[Error]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut last_line = None;
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = text.get(..span.start).map_or(0, |before| before.matches('\n').count());
        if last_line == Some(line) {
            continue;
        }
        last_line = Some(line);
        let message = error.message().trim().replace('\n', ", ");
        problems.push(Problem::new("syntax", Place::Text(span), message));
    }
    problems
}

fn value(
    source: &Spanned<DeValue<'_>>,
    key: Option<Range<usize>>,
    depth: usize,
) -> Result<(Value, Mark), Box<Problem>> {
    let span = source.span();
    if depth > MAX_DEPTH {
        return Err(too_deep(span));
    }
    let (value, children) = match source.get_ref() {
        DeValue::String(text) => (Value::Text(text.to_string()), Children::None),
        DeValue::Integer(number) => (Value::Int(integer(number, &span)?), Children::None),
        DeValue::Float(number) => (Value::Float(float(number, &span)?), Children::None),
        DeValue::Boolean(yes) => (Value::Bool(*yes), Children::None),
        DeValue::Datetime(time) => (Value::Text(time.to_string()), Children::None),
        DeValue::Array(array) => {
            let mut items = Vec::with_capacity(array.len());
            let mut marks = Vec::with_capacity(array.len());
            for item in array.iter() {
                let (item, mark) = self::value(item, None, depth + 1)?;
                items.push(item);
                marks.push(mark);
            }
            (Value::List(items), Children::List(marks))
        }
        DeValue::Table(entries) => table(entries, depth + 1)?,
    };
    Ok((value, Mark { key, value: span, children }))
}

fn table(source: &DeTable<'_>, depth: usize) -> Result<(Value, Children), Box<Problem>> {
    let mut table = Table::with_capacity(source.len());
    let mut marks = IndexMap::with_capacity(source.len());
    for (key, entry) in source.iter() {
        let (value, mark) = value(entry, Some(key.span()), depth)?;
        table.insert(key.get_ref().to_string(), value);
        marks.insert(key.get_ref().to_string(), mark);
    }
    Ok((Value::Table(table), Children::Table(marks)))
}

fn integer(number: &DeInteger<'_>, span: &Range<usize>) -> Result<i128, Box<Problem>> {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| stop("syntax", span.clone(), "the integer is too large"))
}

fn float(number: &DeFloat<'_>, span: &Range<usize>) -> Result<f64, Box<Problem>> {
    let too_large = || stop("syntax", span.clone(), "the number is too large");
    let parsed: f64 = number.as_str().parse().map_err(|_| too_large())?;
    if parsed.is_infinite() && !number.as_str().contains("inf") { Err(too_large()) } else { Ok(parsed) }
}
