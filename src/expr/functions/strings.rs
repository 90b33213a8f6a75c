//! Functions of strings. Places and lengths count characters, from 1.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, cast::AsArray};
use arrow_buffer::BooleanBuffer;
use memchr::memmem::Finder;

use super::{Body, Call, Function, Parameter, Returns};
use crate::{
    batch::ColumnType,
    expr::{
        cast::integers,
        text::{Strings, build, build_parts},
        value::Value,
    },
};

use Parameter::{Integer, Text, TextOrList};

const STRING: Returns = Returns::Type(ColumnType::String);
const BOOL: Returns = Returns::Type(ColumnType::Bool);
const COUNT: Returns = Returns::Type(ColumnType::Int64);

/// The table.
pub(super) const TABLE: &[Function] = &[
    Function { name: "lower", parameters: &[Text], optional: 0, returns: STRING, body: Body::Strict(lower) },
    Function { name: "upper", parameters: &[Text], optional: 0, returns: STRING, body: Body::Strict(upper) },
    Function { name: "trim", parameters: &[Text, Text], optional: 1, returns: STRING, body: Body::Strict(trim) },
    Function { name: "ltrim", parameters: &[Text, Text], optional: 1, returns: STRING, body: Body::Strict(ltrim) },
    Function { name: "rtrim", parameters: &[Text, Text], optional: 1, returns: STRING, body: Body::Strict(rtrim) },
    Function { name: "length", parameters: &[TextOrList], optional: 0, returns: COUNT, body: Body::Strict(length) },
    Function {
        name: "substr",
        parameters: &[Text, Integer, Integer],
        optional: 1,
        returns: STRING,
        body: Body::Strict(substr),
    },
    Function {
        name: "replace",
        parameters: &[Text, Text, Text],
        optional: 0,
        returns: STRING,
        body: Body::Strict(replace),
    },
    Function {
        name: "starts_with",
        parameters: &[Text, Text],
        optional: 0,
        returns: BOOL,
        body: Body::Strict(starts_with),
    },
    Function {
        name: "ends_with",
        parameters: &[Text, Text],
        optional: 0,
        returns: BOOL,
        body: Body::Strict(ends_with),
    },
    Function { name: "contains", parameters: &[Text, Text], optional: 0, returns: BOOL, body: Body::Strict(contains) },
    Function { name: "position", parameters: &[Text, Text], optional: 0, returns: COUNT, body: Body::Strict(position) },
    Function {
        name: "split_part",
        parameters: &[Text, Text, Integer],
        optional: 0,
        returns: STRING,
        body: Body::Strict(split_part),
    },
];

fn lower(call: Call<'_, '_>) -> ArrayRef {
    map_case(&call, str::make_ascii_lowercase, |c, out| out.extend(c.to_lowercase()))
}

fn upper(call: Call<'_, '_>) -> ArrayRef {
    map_case(&call, str::make_ascii_uppercase, |c, out| out.extend(c.to_uppercase()))
}

fn map_case(call: &Call<'_, '_>, ascii: fn(&mut str), other: fn(char, &mut String)) -> ArrayRef {
    let strings = Strings::of(&call.arguments[0]);
    Arc::new(build(call.rows, strings.bytes(call.rows), call.nulls.as_ref(), |row, out| {
        let text = strings.get(row);
        if text.is_ascii() {
            out.push_str(text);
            ascii(out);
        } else {
            text.chars().for_each(|c| other(c, out));
        }
    }))
}

fn trim(call: Call<'_, '_>) -> ArrayRef {
    cut(&call, true, true)
}

fn ltrim(call: Call<'_, '_>) -> ArrayRef {
    cut(&call, true, false)
}

fn rtrim(call: Call<'_, '_>) -> ArrayRef {
    cut(&call, false, true)
}

/// Cuts off spaces, or any of the characters of the second argument.
fn cut(call: &Call<'_, '_>, start: bool, end: bool) -> ArrayRef {
    let strings = Strings::of(&call.arguments[0]);
    let characters = call.arguments.get(1).map(Strings::of);
    Arc::new(build_parts(call.rows, strings.bytes(call.rows), call.nulls.as_ref(), |row| {
        let characters = characters.as_ref().map_or(" ", |characters| characters.get(row));
        let mut text = strings.get(row);
        if start {
            text = text.trim_start_matches(|c| characters.contains(c));
        }
        if end {
            text = text.trim_end_matches(|c| characters.contains(c));
        }
        text
    }))
}

fn length(call: Call<'_, '_>) -> ArrayRef {
    let value = &call.arguments[0];
    let lengths: Vec<i64> = match value.array().as_list_opt::<i32>() {
        Some(list) => (0..call.rows).map(|row| i64::from(list.value_length(value.index(row)))).collect(),
        None => {
            let strings = Strings::of(value);
            (0..call.rows).map(|row| characters(strings.get(row)) as i64).collect()
        }
    };
    Arc::new(Int64Array::new(lengths.into(), call.nulls))
}

fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

fn substr(call: Call<'_, '_>) -> ArrayRef {
    let strings = Strings::of(&call.arguments[0]);
    let start = integers(&call.arguments[1]).values();
    let length = call.arguments.get(2).map(|value| (value, integers(value).values()));
    Arc::new(build_parts(call.rows, strings.bytes(call.rows), call.nulls.as_ref(), |row| {
        let start = start[call.arguments[1].index(row)];
        let length = length.as_ref().map(|(value, lengths)| lengths[value.index(row)]);
        slice(strings.get(row), start, length)
    }))
}

/// Characters from `start`, which counts from the end where it is negative. A negative length reaches back.
fn slice(text: &str, start: i64, length: Option<i64>) -> &str {
    let count = characters(text) as i64;
    let first = match start {
        1.. => start - 1,
        0 => -1,
        _ => count.saturating_add(start),
    };
    let (from, to) = match length {
        None => (first, count),
        Some(length @ 0..) => (first, first.saturating_add(length)),
        Some(length) => (first.saturating_add(length), first),
    };
    let (from, to) = (from.clamp(0, count) as usize, to.clamp(0, count) as usize);
    let from_byte = byte_of(text, from);
    let to_byte = byte_of(text, to.max(from));
    &text[from_byte..to_byte]
}

/// Where character `n` of `text` starts, from 0.
fn byte_of(text: &str, n: usize) -> usize {
    if text.is_ascii() { n.min(text.len()) } else { text.char_indices().nth(n).map_or(text.len(), |(at, _)| at) }
}

fn replace(call: Call<'_, '_>) -> ArrayRef {
    let [text, from, to] = [0, 1, 2].map(|i| Strings::of(&call.arguments[i]));
    Arc::new(build(call.rows, text.bytes(call.rows), call.nulls.as_ref(), |row, out| {
        let (text, from, to) = (text.get(row), from.get(row), to.get(row));
        if from.is_empty() {
            return out.push_str(text);
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(from) {
            out.push_str(before);
            out.push_str(to);
            rest = after;
        }
        out.push_str(rest);
    }))
}

fn starts_with(call: Call<'_, '_>) -> ArrayRef {
    test(call, |text, part| text.starts_with(part))
}

fn ends_with(call: Call<'_, '_>) -> ArrayRef {
    test(call, |text, part| text.ends_with(part))
}

fn contains(call: Call<'_, '_>) -> ArrayRef {
    if let Some(part) = Strings::of(&call.arguments[1]).constant() {
        let finder = Finder::new(part);
        return test(call, |text, _| finder.find(text.as_bytes()).is_some());
    }
    test(call, |text, part| text.contains(part))
}

fn test(call: Call<'_, '_>, f: impl Fn(&str, &str) -> bool) -> ArrayRef {
    let (text, part) = (Strings::of(&call.arguments[0]), Strings::of(&call.arguments[1]));
    let bits = BooleanBuffer::collect_bool(call.rows, |row| f(text.get(row), part.get(row)));
    Arc::new(BooleanArray::new(bits, call.nulls))
}

/// `position(part in text)`: 0 where it is not there.
fn position(call: Call<'_, '_>) -> ArrayRef {
    let (text, part) = (Strings::of(&call.arguments[0]), Strings::of(&call.arguments[1]));
    let place = |row| {
        let text: &str = text.get(row);
        text.find(part.get(row)).map_or(0, |at| characters(&text[..at]) as i64 + 1)
    };
    Arc::new(Int64Array::new((0..call.rows).map(place).collect(), call.nulls))
}

fn split_part(call: Call<'_, '_>) -> ArrayRef {
    let (text, separator) = (Strings::of(&call.arguments[0]), Strings::of(&call.arguments[1]));
    let place: &Value = &call.arguments[2];
    let places = integers(place).values();
    Arc::new(build_parts(call.rows, text.bytes(call.rows), call.nulls.as_ref(), |row| {
        part(text.get(row), separator.get(row), places[place.index(row)])
    }))
}

/// Part `n` from 1, from the end where it is negative; empty where there is none. An empty separator stands
/// between all characters.
fn part<'t>(text: &'t str, separator: &str, n: i64) -> &'t str {
    let steps = n.unsigned_abs().saturating_sub(1);
    let Ok(steps) = usize::try_from(steps) else { return "" };
    let found = match (separator.is_empty(), n) {
        (_, 0) => None,
        (true, _) => return slice(text, n, Some(1)),
        (false, 1..) => text.split(separator).nth(steps),
        (false, _) => text.rsplit(separator).nth(steps),
    };
    found.unwrap_or("")
}
