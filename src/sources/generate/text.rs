//! Values of columns as text, for templates, and as JSON, for objects.

use arrow_array::{
    Array,
    cast::AsArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};

use super::values::push;
use crate::batch::ColumnType;

/// Appends a value as plain text; nothing where it is null.
pub(super) fn write(column: &dyn Array, column_type: &ColumnType, row: usize, out: &mut String) {
    match column_type {
        _ if column.is_null(row) => {}
        ColumnType::String => out.push_str(column.as_string_view().value(row)),
        ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampNs => time(column, column_type, row, out),
        _ => write_json(column, column_type, row, out),
    }
}

/// Appends a value as JSON. A number that JSON cannot hold becomes null.
pub(super) fn write_json(column: &dyn Array, column_type: &ColumnType, row: usize, out: &mut String) {
    macro_rules! number {
        ($t:ty) => {
            push(out, column.as_primitive::<$t>().value(row))
        };
    }
    match column_type {
        _ if column.is_null(row) => out.push_str("null"),
        ColumnType::Bool => push(out, column.as_boolean().value(row)),
        ColumnType::Int8 => number!(Int8Type),
        ColumnType::Int16 => number!(Int16Type),
        ColumnType::Int32 => number!(Int32Type),
        ColumnType::Int64 => number!(Int64Type),
        ColumnType::UInt8 => number!(UInt8Type),
        ColumnType::UInt16 => number!(UInt16Type),
        ColumnType::UInt32 => number!(UInt32Type),
        ColumnType::UInt64 => number!(UInt64Type),
        ColumnType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row)), out),
        ColumnType::Float64 => float(column.as_primitive::<Float64Type>().value(row), out),
        ColumnType::String => quote(column.as_string_view().value(row), out),
        ColumnType::Json => out.push_str(column.as_string_view().value(row)),
        ColumnType::Binary => {
            out.push('"');
            column.as_binary_view().value(row).iter().for_each(|byte| push(out, format_args!("{byte:02x}")));
            out.push('"');
        }
        ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampNs => {
            out.push('"');
            time(column, column_type, row, out);
            out.push('"');
        }
        ColumnType::List(item) => {
            let items = column.as_list::<i32>().value(row);
            let mut before = '[';
            for i in 0..items.len() {
                out.push(before);
                write_json(items.as_ref(), item, i, out);
                before = ',';
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
    }
}

/// Text between quotes, with what JSON wants escaped.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => push(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A day as `2024-12-31`.
pub(super) fn day(days: i32, out: &mut String) {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(days)));
    push(out, date.unwrap_or_default());
}

fn time(column: &dyn Array, column_type: &ColumnType, row: usize, out: &mut String) {
    let moment = match column_type {
        ColumnType::Date => return day(column.as_primitive::<Date32Type>().value(row), out),
        ColumnType::TimestampNs => {
            Some(DateTime::from_timestamp_nanos(column.as_primitive::<TimestampNanosecondType>().value(row)))
        }
        _ => DateTime::from_timestamp_micros(column.as_primitive::<TimestampMicrosecondType>().value(row)),
    };
    out.push_str(&moment.unwrap_or_default().to_rfc3339_opts(SecondsFormat::AutoSi, true));
}

fn float(number: f64, out: &mut String) {
    if number.is_finite() { push(out, format_args!("{number:?}")) } else { out.push_str("null") }
}
