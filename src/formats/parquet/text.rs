//! Values as JSON text: for columns that have no type of ours, and for the record of a reject.

use arrow_array::{Array, RecordBatch, cast::AsArray, types::*};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::formats::{cells, json::quote};

/// A row as an object.
pub(super) fn row(records: &RecordBatch, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let schema = records.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    object(names.zip(records.columns().iter().map(|column| column.as_ref())), row, &mut out);
    out
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a dyn Array)>, row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (name, column)) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        quote(name.as_bytes(), out);
        out.push(b':');
        value(column, row, out);
    }
    out.push(b'}');
}

/// Appends one value. Bytes are base64, times ISO 8601; a number that JSON does not have is its name in quotes.
pub(super) fn value(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    macro_rules! number {
        ($buffer:expr, $t:ty) => {
            out.extend_from_slice($buffer.format(array.as_primitive::<$t>().value(row)).as_bytes())
        };
    }
    match array.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Boolean => out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" }),
        DataType::Int8 => number!(itoa::Buffer::new(), Int8Type),
        DataType::Int16 => number!(itoa::Buffer::new(), Int16Type),
        DataType::Int32 => number!(itoa::Buffer::new(), Int32Type),
        DataType::Int64 => number!(itoa::Buffer::new(), Int64Type),
        DataType::UInt8 => number!(itoa::Buffer::new(), UInt8Type),
        DataType::UInt16 => number!(itoa::Buffer::new(), UInt16Type),
        DataType::UInt32 => number!(itoa::Buffer::new(), UInt32Type),
        DataType::UInt64 => number!(itoa::Buffer::new(), UInt64Type),
        DataType::Float32 if array.as_primitive::<Float32Type>().value(row).is_finite() => {
            number!(zmij::Buffer::new(), Float32Type);
        }
        DataType::Float64 if array.as_primitive::<Float64Type>().value(row).is_finite() => {
            number!(zmij::Buffer::new(), Float64Type);
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => out.extend_from_slice(shown(array, row).as_bytes()),
        DataType::Utf8 => quote(array.as_string::<i32>().value(row).as_bytes(), out),
        DataType::Utf8View => quote(array.as_string_view().value(row).as_bytes(), out),
        DataType::Binary => base64(array.as_binary::<i32>().value(row), out),
        DataType::BinaryView => base64(array.as_binary_view().value(row), out),
        DataType::FixedSizeBinary(_) => base64(array.as_fixed_size_binary().value(row), out),
        DataType::Date32 | DataType::Timestamp(..) => time(array, row, out),
        DataType::List(_) => list(array, row, out),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(|column| column.as_ref());
            object(fields.iter().map(|field| field.name().as_str()).zip(columns), row, out);
        }
        DataType::Map(..) => map(array, row, out),
        _ => quote(shown(array, row).as_bytes(), out),
    }
}

/// The text that people read of a value.
pub(super) fn shown(array: &dyn Array, row: usize) -> String {
    let options = FormatOptions::default().with_display_error(true);
    match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => error.to_string(),
    }
}

/// Appends a date or timestamp. One whose year has more than four digits is as Arrow shows it, or a number.
fn time(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'"');
    macro_rules! timestamp {
        ($t:ty, $digits:expr) => {{
            let value = array.as_primitive::<$t>().value(row);
            (value, cells::timestamp(value, $digits, out))
        }};
    }
    let (value, written) = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => timestamp!(TimestampSecondType, 0),
        DataType::Timestamp(TimeUnit::Millisecond, _) => timestamp!(TimestampMillisecondType, 3),
        DataType::Timestamp(TimeUnit::Microsecond, _) => timestamp!(TimestampMicrosecondType, 6),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => timestamp!(TimestampNanosecondType, 9),
        _ => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            (days, cells::date(days, out))
        }
    };
    if written.is_ok() {
        out.push(b'"');
        return;
    }
    out.truncate(start);
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
    match formatter.and_then(|formatter| formatter.value(row).try_to_string()) {
        Ok(text) => quote(text.as_bytes(), out),
        Err(_) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

fn list(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let lists = array.as_list::<i32>();
    let offsets = lists.value_offsets();
    out.push(b'[');
    for item in offsets[row]..offsets[row + 1] {
        if item > offsets[row] {
            out.push(b',');
        }
        value(lists.values().as_ref(), item as usize, out);
    }
    out.push(b']');
}

/// Appends a map as an object: its keys are text there, whatever they are here.
fn map(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let maps = array.as_map();
    let offsets = maps.value_offsets();
    let mut key = Vec::new();
    out.push(b'{');
    for entry in offsets[row]..offsets[row + 1] {
        if entry > offsets[row] {
            out.push(b',');
        }
        key.clear();
        value(maps.keys().as_ref(), entry as usize, &mut key);
        if key.starts_with(b"\"") {
            out.extend_from_slice(&key);
        } else {
            quote(&key, out);
        }
        out.push(b':');
        value(maps.values().as_ref(), entry as usize, out);
    }
    out.push(b'}');
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    quote(STANDARD.encode(bytes).as_bytes(), out);
}
