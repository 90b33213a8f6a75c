//! Values of columns as text, for templates, and as JSON, for objects.

use std::cell::RefCell;

use arrow_array::{Array, ArrayRef, cast::AsArray};

use crate::{
    batch::{ColumnType, Family},
    values::{
        calendar::{self, Form},
        cell::{Cell, CellStyle, Unfit, as_it_is},
        json::{
            scan,
            write::{JsonCells, Rule},
        },
    },
};

/// Room for the text of one value.
pub(super) type Scratch = RefCell<Vec<u8>>;

/// Appends a value as plain text; nothing where it is null.
pub(super) fn write(column: &ArrayRef, column_type: &ColumnType, row: usize, scratch: &Scratch, out: &mut String) {
    match column_type.family() {
        _ if column.is_null(row) => {}
        Family::Text | Family::Json => out.push_str(column.as_string_view().value(row)),
        Family::Bytes | Family::List(_) => {
            append(scratch, out, |text| JsonCells::of(column, false).write(row, Rule::Shown, text))
        }
        Family::Truth | Family::Integer | Family::Float | Family::Time => {
            append(scratch, out, |text| plain(&Cell::new(column), row, text))
        }
    }
}

/// Appends a value that is not text itself. An expression may make a year that has more than four digits.
fn plain(cell: &Cell<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let style = CellStyle::PLAIN;
    cell.write(row, &style, &as_it_is, out).or_else(|why| match cell {
        Cell::Date(values) => calendar::date(i64::from(values.value(row)), Form::Sql, out),
        Cell::Timestamp(values) => calendar::timestamp(values.value(row), 6, Form::Sql, out),
        _ => Err(why),
    })
}

/// Appends a value as JSON.
pub(super) fn write_json(cells: &JsonCells<'_>, row: usize, scratch: &Scratch, out: &mut String) {
    append(scratch, out, |text| cells.write(row, Rule::Shown, text));
}

/// Text between quotes, with what JSON wants escaped.
pub(super) fn quote(text: &str, out: &mut String) {
    append(&Scratch::default(), out, |scratch| {
        scan::quote(text.as_bytes(), scratch);
        Ok(())
    });
}

/// A day as `2024-12-31`.
pub(super) fn day(days: i32, out: &mut String) {
    append(&Scratch::default(), out, |text| calendar::date(i64::from(days), Form::Sql, text));
}

/// Appends text that is made as bytes.
fn append(scratch: &Scratch, out: &mut String, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>) {
    let mut text = scratch.borrow_mut();
    text.clear();
    write(&mut text).expect("every value of a generator has a text");
    out.push_str(simdutf8::basic::from_utf8(&text).expect("what is made of values is UTF-8"));
}
