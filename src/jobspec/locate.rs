//! From a place in the values to a place in the text, for when there is a problem to show.

mod inside;

use std::{borrow::Cow, ops::Range};

use super::{
    Document, Format, Path, SpecLocation, Value,
    mark::{Children, Mark, Override},
};

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// What the text is called: the spec's name, `command line`, another file's path.
    pub name: Cow<'a, str>,
    /// The whole text.
    pub text: &'a str,
    /// The bytes meant; may be empty.
    pub range: Range<usize>,
    /// The line on which they start, from 1.
    pub line: usize,
    /// The character of that line with which they start, from 1.
    pub column: usize,
}

/// Where problems with overrides are said to be.
const COMMAND_LINE: &str = "command line";

/// Finds `place` in the text it was written in. A path that leads to nothing (a key that is missing) is found
/// at the nearest table around it.
pub fn locate<'a>(document: &'a Document, place: &'a SpecLocation) -> Located<'a> {
    let (name, text, range) = match place {
        SpecLocation::Text(range) => (document.name.as_str().into(), document.text.as_str(), range.clone()),
        SpecLocation::File(path, text, range) => (path.to_string_lossy(), text.as_str(), range.clone()),
        SpecLocation::Key(path) => in_values(document, path, Part::Key),
        SpecLocation::Value(path) => in_values(document, path, Part::Value),
        SpecLocation::Inside(path, range) => in_values(document, path, Part::Inside(range)),
    };
    let range = on_boundaries(text, range);
    let (line, column) = line_and_column(text, range.start);
    Located { name, text, range, line, column }
}

/// The line and column of a byte, both from 1.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// What is wanted of a value.
#[derive(Clone, Copy)]
enum Part<'r> {
    Key,
    Value,
    Inside(&'r Range<usize>),
}

type Found<'a> = (Cow<'a, str>, &'a str, Range<usize>);

fn in_values<'a>(document: &'a Document, path: &Path, part: Part<'_>) -> Found<'a> {
    // The last override wins, as it did when it was applied.
    let overrides = || document.overrides.iter().rev();
    if let Some(over) = overrides().find(|over| path.0.starts_with(&over.path.0)) {
        let rest = &path.0[over.path.0.len()..];
        let (mark, taken) = over.mark.walk(rest);
        let range = match part {
            Part::Key if taken == 0 => last_step(over, over.steps.len()),
            _ if taken == 0 && !rest.is_empty() => last_step(over, over.steps.len()),
            _ if taken < rest.len() => range_of(&over.text, mark, Part::Key),
            Part::Inside(range) => inside(document.root.get(path), &over.text, Format::Toml, mark, range),
            part => range_of(&over.text, mark, part),
        };
        return (COMMAND_LINE.into(), &over.text, range);
    }
    let (mark, taken) = document.marks.walk(&path.0);
    if taken < path.0.len()
        && let Some(over) = overrides().find(|over| over.path.0.starts_with(&path.0))
    {
        return (COMMAND_LINE.into(), &over.text, last_step(over, path.0.len()));
    }
    let text = document.text.as_str();
    let range = match part {
        _ if taken < path.0.len() => range_of(text, mark, Part::Key),
        Part::Inside(range) => inside(document.root.get(path), text, document.format, mark, range),
        part => range_of(text, mark, part),
    };
    (document.name.as_str().into(), text, range)
}

/// The step with which the first `steps` of an override's path end.
fn last_step(over: &Override, steps: usize) -> Range<usize> {
    over.steps.get(steps.wrapping_sub(1)).cloned().unwrap_or_else(|| over.mark.value.clone())
}

fn range_of(text: &str, mark: &Mark, part: Part<'_>) -> Range<usize> {
    let lines = text.get(mark.value.clone()).is_some_and(|value| value.contains('\n'));
    let table = !matches!(mark.children, Children::None);
    match (&mark.key, part) {
        (Some(key), Part::Key) => key.clone(),
        // A value that is not written, or a table over many lines, is shown by its key.
        (Some(key), _) if mark.value.is_empty() || (table && lines) => key.clone(),
        // So is the whole file, by its start.
        (None, _) if lines && table => mark.value.start..mark.value.start,
        _ => mark.value.clone(),
    }
}

/// Bytes of the decoded text, mapped to those it was written with; the whole value where that cannot be done
/// to the byte: substitution has changed it.
fn inside(value: Option<&Value>, text: &str, format: Format, mark: &Mark, range: &Range<usize>) -> Range<usize> {
    let whole = || range_of(text, mark, Part::Value);
    let Some(raw) = text.get(mark.value.clone()) else { return whole() };
    let Some((written, offsets)) = inside::decode(raw, format) else { return whole() };
    let same = match value {
        // Only interpolation can find fault inside a text that is then unknown: with what was written.
        Some(Value::Unknown) => written.get(range.clone()).is_some_and(|part| part.starts_with('$')),
        Some(value) => value.as_text() == Some(written.as_str()),
        None => false,
    };
    match (offsets.get(range.start), offsets.get(range.end)) {
        (Some(start), _) if same && range.is_empty() => mark.value.start + start..mark.value.start + start,
        (Some(start), Some(end)) if same && start <= end => mark.value.start + start..mark.value.start + end,
        _ => whole(),
    }
}

fn on_boundaries(text: &str, range: Range<usize>) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(range.start);
    start..floor(range.end).max(start)
}

#[cfg(test)]
#[path = "tests/locate.rs"]
mod tests;
