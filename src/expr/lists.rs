//! Lists: made of parts, of other lists, of text and of JSON.
//!
//! Text is a list as DuckDB writes one: `[1, 2]`, `['a, b', "c", null, d]`. Items in quotes may hold anything, with
//! `\` before a quote or a `\`; others end at a comma, and blanks around them are not part of them.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ListArray, StringViewArray,
    builder::{ArrayBuilder, StringViewBuilder},
    cast::AsArray,
    new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_select::interleave::interleave;
use serde_json::value::RawValue;

use crate::batch::ColumnType;

use super::value::{Faults, Value};

/// A list that is written down has at most so many items, those of lists in it included: it is repeated for every row.
pub(super) const MOST_ITEMS: usize = 1_000;

/// For every row the list of its values in `items`, all of which are of one type.
pub(super) fn list(items: &[Value], item: &ColumnType, rows: usize, faults: &mut Faults<'_>) -> ArrayRef {
    let column_type = ColumnType::List(Box::new(item.clone()));
    let total = rows.checked_mul(items.len()).filter(|total| i32::try_from(*total).is_ok());
    let Some(total) = total.filter(|total| *total > 0) else {
        if rows > 0 && !items.is_empty() {
            (0..rows).for_each(|row| faults.report(row, || "the lists of a batch are too long".to_owned()));
            return new_null_array(&column_type.to_arrow(), rows);
        }
        let none = arrow_array::new_empty_array(&item.to_arrow());
        return of(none, OffsetBuffer::from_lengths(std::iter::repeat_n(0, rows)), None, item);
    };
    let mut places = Vec::with_capacity(total);
    for row in 0..rows {
        places.extend(items.iter().enumerate().map(|(i, value)| (i, value.index(row))));
    }
    let arrays: Vec<&dyn Array> = items.iter().map(|value| value.array().as_ref()).collect();
    let values = interleave(&arrays, &places).expect("binding brought all items to one type, and places lie within");
    of(values, OffsetBuffer::from_lengths(std::iter::repeat_n(items.len(), rows)), None, item)
}

/// How many values there are in a list of length 1, those of lists in it included.
pub(super) fn leaves(value: &ArrayRef) -> usize {
    match value.as_list_opt::<i32>() {
        Some(list) if !list.is_empty() && list.is_valid(0) => {
            let items = list.value(0);
            (0..items.len()).map(|at| leaves(&items.slice(at, 1))).sum::<usize>().max(1)
        }
        _ => 1,
    }
}

/// Lists with their items cast by `cast`. An item that it makes null is that, or takes its list with it if `strict`.
pub(super) fn cast_items(
    array: &ArrayRef,
    item: &ColumnType,
    strict: bool,
    cast: impl FnOnce(&ArrayRef) -> ArrayRef,
) -> ArrayRef {
    let list = array.as_list::<i32>();
    let (first, last) = ends(list.value_offsets());
    let items = list.values().slice(first, last - first);
    let lengths = list.value_offsets().windows(2).map(|pair| (pair[1] - pair[0]) as usize);
    finish(&items, &OffsetBuffer::from_lengths(lengths), list.nulls(), item, strict, cast)
}

/// Where the items of all lists together begin and end.
fn ends(offsets: &[i32]) -> (usize, usize) {
    match offsets {
        [first, .., last] => (*first as usize, *last as usize),
        _ => (0, 0),
    }
}

/// Texts as lists of texts, whose items `cast` brings to their type. What is not a list is null.
pub(super) fn from_text(
    array: &ArrayRef,
    item: &ColumnType,
    strict: bool,
    cast: impl FnOnce(&ArrayRef) -> ArrayRef,
) -> ArrayRef {
    // Of a list of lists, the inner ones are still to be read.
    let nested = matches!(item, ColumnType::List(_));
    parsed(array.as_string_view(), item, strict, cast, |text, items| split(text, nested, items))
}

/// JSON as lists, whose items `cast` brings to their type. What is not JSON array is null. Strings are handed to `cast`
/// without their quotes, unless they are to stay JSON.
pub(super) fn from_json(
    array: &ArrayRef,
    item: &ColumnType,
    strict: bool,
    cast: impl FnOnce(&ArrayRef) -> ArrayRef,
) -> ArrayRef {
    let raw = matches!(item, ColumnType::Json | ColumnType::List(_));
    parsed(array.as_string_view(), item, strict, cast, |text, items| {
        let found: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        for value in found {
            match value.get() {
                "null" => items.append_null(),
                text if !raw && text.starts_with('"') => {
                    items.append_value(serde_json::from_str::<String>(text).ok()?);
                }
                text => items.append_value(text),
            }
        }
        Some(())
    })
}

/// Lists of what `split` appends for each text; a row for which it says `None` is null.
fn parsed(
    texts: &StringViewArray,
    item: &ColumnType,
    strict: bool,
    cast: impl FnOnce(&ArrayRef) -> ArrayRef,
    mut split: impl FnMut(&str, &mut StringViewBuilder) -> Option<()>,
) -> ArrayRef {
    let mut items = StringViewBuilder::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
    for text in texts {
        let before = items.len();
        valid.push(text.is_some_and(|text| split(text, &mut items).is_some()));
        lengths.push(items.len() - before);
    }
    let nulls = NullBuffer::from(valid);
    let items: ArrayRef = Arc::new(items.finish());
    finish(&items, &OffsetBuffer::from_lengths(lengths), Some(&nulls), item, strict, cast)
}

/// Casts the items and puts the lists together.
fn finish(
    items: &ArrayRef,
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
    item: &ColumnType,
    strict: bool,
    cast: impl FnOnce(&ArrayRef) -> ArrayRef,
) -> ArrayRef {
    let values = cast(items);
    let mut nulls = nulls.cloned();
    if strict && values.null_count() > items.null_count() {
        let lost = |at: usize| items.is_valid(at) && values.is_null(at);
        let whole = offsets.windows(2).map(|pair| !(pair[0] as usize..pair[1] as usize).any(lost));
        nulls = NullBuffer::union(nulls.as_ref(), Some(&whole.collect::<Vec<bool>>().into()));
    }
    of(values, offsets.clone(), nulls, item)
}

fn of(values: ArrayRef, offsets: OffsetBuffer<i32>, nulls: Option<NullBuffer>, item: &ColumnType) -> ArrayRef {
    Arc::new(ListArray::new(Arc::new(item.item_field()), offsets, values, nulls))
}

/// Appends the items of a list that is written down; as they are written if they are lists themselves (`raw`).
fn split(text: &str, raw: bool, items: &mut StringViewBuilder) -> Option<()> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    if inner.trim().is_empty() {
        return Some(());
    }
    let mut rest = inner;
    loop {
        let item = Item::first(rest)?;
        let written = rest[..item.end].trim();
        match written {
            _ if !item.quoted && written.eq_ignore_ascii_case("null") => items.append_null(),
            _ if raw => items.append_value(written),
            _ if item.quoted => items.append_value(unquote(written)),
            _ => items.append_value(written),
        }
        match rest.get(item.end + 1..) {
            Some(next) => rest = next,
            None => return Some(()),
        }
    }
}

/// The item that a text begins with.
struct Item {
    end: usize,
    quoted: bool,
}

impl Item {
    /// None where a quote or a bracket is not closed, or closed without being open.
    fn first(text: &str) -> Option<Item> {
        let (mut depth, mut quoted) = (0_usize, false);
        let mut at = 0;
        while let Some(byte) = text.as_bytes().get(at) {
            match byte {
                b'"' | b'\'' => {
                    quoted |= depth == 0;
                    at = closing(text, at)?;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.checked_sub(1)?,
                b',' if depth == 0 => return Some(Item { end: at, quoted }),
                _ => {}
            }
            at += 1;
        }
        (depth == 0).then_some(Item { end: at, quoted })
    }
}

/// Where the quote at `start` is closed.
fn closing(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            byte if *byte == bytes[start] => return Some(at),
            _ => at += 1,
        }
    }
}

/// A text without its quotes, and without the `\` before what they protect.
fn unquote(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(quote) = rest.find(['"', '\'']) {
        plain.push_str(&rest[..quote]);
        let Some(close) = closing(rest, quote) else { break };
        let mut escaped = false;
        for c in rest[quote + 1..close].chars() {
            if c == '\\' && !escaped {
                escaped = true;
            } else {
                plain.push(c);
                escaped = false;
            }
        }
        rest = &rest[close + 1..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, raw: bool) -> Option<Vec<Option<String>>> {
        let mut builder = StringViewBuilder::new();
        split(text, raw, &mut builder)?;
        Some(builder.finish().iter().map(|item| item.map(str::to_owned)).collect())
    }

    #[test]
    fn written_lists_are_taken_apart() {
        let cases: &[(&str, Option<&[Option<&str>]>)] = &[
            ("[]", Some(&[])),
            (" [ ] ", Some(&[])),
            ("[a]", Some(&[Some("a")])),
            ("[ a b , c ]", Some(&[Some("a b"), Some("c")])),
            ("[,]", Some(&[Some(""), Some("")])),
            ("[a,]", Some(&[Some("a"), Some("")])),
            ("[null, NULL, \"null\"]", Some(&[None, None, Some("null")])),
            ("['a, b', \"c]\"]", Some(&[Some("a, b"), Some("c]")])),
            ("[\"a\\\"b\", 'c\\\\']", Some(&[Some("a\"b"), Some("c\\")])),
            ("['a' 'b']", Some(&[Some("a b")])),
            ("[a[b,c]d]", Some(&[Some("a[b,c]d")])),
            ("['ü', ö]", Some(&[Some("ü"), Some("ö")])),
            ("", None),
            ("a", None),
            ("[a", None),
            ("a]", None),
            ("['a]", None),
            ("['a\\']", None),
            ("[\\", None),
            ("[a]]", None),
            ("[[a]", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|items| items.iter().map(|item| item.map(str::to_owned)).collect());
            assert_eq!(items(text, false), expected, "{text}");
        }
        assert_eq!(items("[[1, 'x'], []]", true), Some(vec![Some("[1, 'x']".into()), Some("[]".into())]));
    }
}
