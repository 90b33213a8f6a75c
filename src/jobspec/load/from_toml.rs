//! TOML text to values and their places.

use std::ops::Range;

use indexmap::IndexMap;
use toml::{
    Spanned,
    de::{DeFloat, DeInteger, DeTable, DeValue, Error},
};

use super::{MAX_DEPTH, empty, stop, too_deep};
use crate::jobspec::{
    Problem, SpecLocation, Table, Value,
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

/// One problem per line: what follows on the same line is mostly an echo of the first. So are the keys of a
/// table that is there twice.
fn syntax_problems(text: &str, errors: &[Error]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut last_line = None;
    let mut repeated = 0..0;
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = text.get(..span.start).map_or(0, |before| before.matches('\n').count());
        let again = error.message() == "duplicate key";
        if last_line == Some(line) || (again && repeated.contains(&span.start)) {
            continue;
        }
        last_line = Some(line);
        if again && is_header(text, span.start) {
            let length = text[span.end..].find("\n[").unwrap_or(text.len() - span.end);
            repeated = span.end..span.end + length;
        }
        problems.push(problem(text, error, span));
    }
    problems
}

/// The parser's own words, but where they would differ from what is said of YAML, or leave out what is meant.
fn problem(text: &str, error: &Error, span: Range<usize>) -> Problem {
    match error.message() {
        "duplicate key" => {
            let message = format!("`{}` is already set", text.get(span.clone()).unwrap_or_default());
            Problem::new("duplicate-key", SpecLocation::Text(span), message)
        }
        deep if deep.starts_with("cannot recurse further") => *too_deep(span),
        _ if let Some(word) = bare_word(text, span.start) => {
            let help = Some(format!("write `\"{}\"`", &text[word.clone()]));
            Problem::new("syntax", SpecLocation::Text(word), "text needs quotes").help(help)
        }
        message => Problem::new("syntax", SpecLocation::Text(span), message.trim().replace('\n', ", ")),
    }
}

/// The text without quotes that stands as a value on the line of `at`, where it is that which the parser stumbles over.
fn bare_word(text: &str, at: usize) -> Option<Range<usize>> {
    let line = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[line..].find('\n').map_or(text.len(), |length| line + length);
    // The value around `at`: from the last `=`, `,` or `[` before it.
    let start = text[line..text.ceil_char_boundary(end.min(at + 1))].rfind(['=', ',', '['])? + line + 1;
    let value = &text[start..end];
    let start = start + value.len() - value.trim_start().len();
    let word = text[start..end].split([',', ']', '}', '#']).next()?.trim_end();
    let begins_as_text =
        word.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '/' | '.' | '$' | '*' | '~'));
    let is_plain =
        !word.contains(['"', '\'', '=', '[', '{', '\\']) && !matches!(word, "true" | "false" | "inf" | "nan");
    (begins_as_text && is_plain).then(|| start..start + word.len())
}

/// Does what stands at `at` name a table?
fn is_header(text: &str, at: usize) -> bool {
    let line = text.get(..at).and_then(|before| before.rsplit('\n').next());
    line.is_some_and(|line| line.trim_start().starts_with('['))
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
