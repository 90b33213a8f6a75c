//! Values as text, and string columns built in one pass without a string per row.

use std::fmt::{self, Debug, Write};

use arrow_array::{Array, ArrayRef, StringViewArray, builder::StringViewBuilder, cast::AsArray};
use arrow_buffer::NullBuffer;

use crate::values::{
    calendar::{self, Form},
    cell::{self, Cell, CellStyle, Unfit},
    hex,
};

use super::value::Value;

/// The strings of a value, read by row.
pub(super) struct Strings<'a> {
    array: &'a StringViewArray,
    constant: bool,
}

impl<'a> Strings<'a> {
    /// The strings of a value whose type binding has made sure of.
    pub(super) fn of(value: &'a Value) -> Self {
        Strings { array: value.array().as_string_view(), constant: value.is_constant() }
    }

    /// The string of row `row`; anything where it is null.
    #[inline]
    pub(super) fn get(&self, row: usize) -> &'a str {
        self.array.value(if self.constant { 0 } else { row })
    }

    /// The string of all rows, where it is one and not null.
    pub(super) fn constant(&self) -> Option<&'a str> {
        (self.constant && self.array.is_valid(0)).then(|| self.array.value(0))
    }

    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(if self.constant { 0 } else { row })
    }

    /// Bytes of all strings together, for `rows` rows.
    pub(super) fn bytes(&self, rows: usize) -> usize {
        if self.constant {
            return rows.saturating_mul(self.array.views()[0] as u32 as usize);
        }
        self.array.views().iter().map(|view| *view as u32 as usize).sum()
    }
}

/// A string column of `rows` rows. `write` appends the text of a row to a scratch string that all rows share;
/// it is not called for rows that `nulls` names. About `bytes` bytes are expected; they lie in one buffer.
pub(super) fn build(
    rows: usize,
    bytes: usize,
    nulls: Option<&NullBuffer>,
    mut write: impl FnMut(usize, &mut String),
) -> StringViewArray {
    let block = bytes.clamp(64, i32::MAX as usize) as u32;
    let mut builder = StringViewBuilder::with_capacity(rows).with_fixed_block_size(block);
    let mut scratch = String::new();
    for row in 0..rows {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            builder.append_null();
            continue;
        }
        scratch.clear();
        write(row, &mut scratch);
        builder.append_value(&scratch);
    }
    builder.finish()
}

/// A string column of which each row is a part of an existing string.
pub(super) fn build_parts<'a>(
    rows: usize,
    bytes: usize,
    nulls: Option<&NullBuffer>,
    part: impl Fn(usize) -> &'a str,
) -> StringViewArray {
    let block = bytes.clamp(64, i32::MAX as usize) as u32;
    let mut builder = StringViewBuilder::with_capacity(rows).with_fixed_block_size(block);
    for row in 0..rows {
        match nulls.is_some_and(|nulls| nulls.is_null(row)) {
            true => builder.append_null(),
            false => builder.append_value(part(row)),
        }
    }
    builder.finish()
}

/// The strings of `parts`, joined row by row. A null part makes the row null, unless nulls are skipped.
pub(super) fn concat(parts: &[Value], skip_nulls: bool, rows: usize) -> StringViewArray {
    let nulls = if skip_nulls { None } else { super::value::common_nulls(parts, rows) };
    let strings: Vec<Strings<'_>> = parts.iter().map(Strings::of).collect();
    let bytes = strings.iter().fold(0_usize, |sum, part| sum.saturating_add(part.bytes(rows)));
    build(rows, bytes, nulls.as_ref(), |row, out| {
        for part in &strings {
            if !(skip_nulls && part.is_null(row)) {
                out.push_str(part.get(row));
            }
        }
    })
}

/// A column as strings.
pub(super) fn to_strings(array: &ArrayRef) -> StringViewArray {
    let cell = Cell::new(array);
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut scratch = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        scratch.clear();
        write(&cell, row, &mut scratch);
        builder.append_value(utf8(&scratch));
    }
    builder.finish()
}

/// One value as text.
pub(super) fn one(array: &ArrayRef, row: usize) -> String {
    let mut out = Vec::new();
    write(&Cell::new(array), row, &mut out);
    utf8(&out).to_owned()
}

fn utf8(text: &[u8]) -> &str {
    simdutf8::basic::from_utf8(text).expect("texts are UTF-8, and so is all that is made of other values")
}

/// Appends a value as SQL casts it to text.
fn write(cell: &Cell<'_>, row: usize, out: &mut Vec<u8>) {
    let written = match cell {
        Cell::Float32(values) => float(values.value(row).is_nan(), values.value(row), out),
        Cell::Float64(values) => float(values.value(row).is_nan(), values.value(row), out),
        Cell::Date(values) => calendar::date(i64::from(values.value(row)), Form::Sql, out),
        Cell::Timestamp(values) => calendar::timestamp(values.value(row), 6, Form::Sql, out),
        Cell::TimestampNs(values) => calendar::timestamp(values.value(row), 9, Form::Sql, out),
        Cell::Binary(values) => {
            hex::push(values.value(row), out);
            Ok(())
        }
        Cell::List(lists, items) => {
            list(items, lists.value_offsets(), row, out);
            Ok(())
        }
        other => other.write(row, &CellStyle::PLAIN, &cell::as_it_is, out),
    };
    written.expect("every value has a text in SQL");
}

/// Appends a float as DuckDB writes it: an exponent has no plus sign.
fn float(is_nan: bool, value: impl Debug, out: &mut Vec<u8>) -> Result<(), Unfit> {
    if is_nan {
        return cell::as_it_is(b"nan", out);
    }
    write!(Text(out), "{value:?}").map_err(|_| "a vector takes all that is written")
}

/// Formatted text goes to the end of the bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn list(items: &Cell<'_>, offsets: &[i32], row: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for at in offsets[row]..offsets[row + 1] {
        if at > offsets[row] {
            out.extend_from_slice(b", ");
        }
        match items.is_valid(at as usize) {
            true => write(items, at as usize, out),
            false => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
}
