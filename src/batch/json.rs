//! A row as a JSON object: for rejects, rehearsals and previews. Not for speed.

use arrow_array::{
    Array, ArrayRef, RecordBatch,
    cast::AsArray,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field};
use serde_json::{Map, Value, json};

use super::types::is_json;

/// Row `row` of `records` as one line of JSON, columns in schema order.
pub fn row(records: &RecordBatch, row: usize) -> String {
    let fields = records.schema();
    let object: Map<String, Value> = fields
        .fields()
        .iter()
        .zip(records.columns())
        .map(|(field, column)| (field.name().clone(), value(field, column, row)))
        .collect();
    Value::Object(object).to_string()
}

/// One value. Bytes become hexadecimal text; a number that JSON cannot hold becomes its name as text.
pub fn value(field: &Field, column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    macro_rules! number {
        ($t:ty) => {
            json!(column.as_primitive::<$t>().value(row))
        };
    }
    match field.data_type() {
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8View => text(field, column.as_string_view().value(row)),
        DataType::BinaryView => Value::String(hex(column.as_binary_view().value(row))),
        DataType::List(item) => {
            let items = column.as_list::<i32>().value(row);
            Value::Array((0..items.len()).map(|i| value(item, &items, i)).collect())
        }
        _ => Value::String(shown(column, row)),
    }
}

fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

fn text(field: &Field, text: &str) -> Value {
    let parsed = is_json(field).then(|| serde_json::from_str(text).ok()).flatten();
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn shown(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default().with_display_error(true);
    match ArrayFormatter::try_new(column.as_ref(), &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => error.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
