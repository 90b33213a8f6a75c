//! SQLite's values to typed columns. SQLite types values, not columns: each value is checked on its own.

use arrow_array::{
    ArrayRef,
    builder::StringViewBuilder,
    types::{Date32Type, TimestampMicrosecondType, TimestampNanosecondType},
};
use rusqlite::types::ValueRef;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use crate::{
    batch::{Builder, ColumnType, ListBuilder},
    formats::{columns::Invalid, fields::shown, scalar::Scalar},
};

/// A column that is being filled.
pub(crate) struct ValueColumn {
    name: String,
    column_type: ColumnType,
    nullable: bool,
    invalid: Invalid,
    values: Builder,
}

/// The value is not of the type.
struct Bad;

impl ValueColumn {
    /// An empty column.
    pub(crate) fn new(name: &str, column_type: &ColumnType, nullable: bool, invalid: Invalid) -> Self {
        let values = Builder::new(column_type);
        ValueColumn { name: name.to_owned(), column_type: column_type.clone(), nullable, invalid, values }
    }

    /// Appends a value.
    ///
    /// # Errors
    /// It is not what the column declares; the sentence names the column and the value. A null stands in its
    /// place, so that all columns keep the same length; the row must be left out.
    pub(crate) fn push(&mut self, value: ValueRef<'_>) -> Result<(), String> {
        if value == ValueRef::Null {
            self.values.push_null();
            return match self.nullable {
                true => Ok(()),
                false => Err(format!("column `{}` is null", self.name)),
            };
        }
        match push(&mut self.values, value, self.invalid == Invalid::DropItems) {
            Ok(()) => Ok(()),
            Err(Bad) => {
                self.values.push_null();
                match self.invalid {
                    Invalid::Null => Ok(()),
                    _ => Err(format!("column `{}`: {} is no {}", self.name, describe(value), self.column_type)),
                }
            }
        }
    }

    /// Appends a null in the place of a value that does not matter.
    pub(crate) fn skip(&mut self) {
        self.values.push_null();
    }

    /// The values so far; the column is empty afterwards.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        self.values.finish()
    }
}

/// A value in words.
fn describe(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(value) => format!("the integer {value}"),
        ValueRef::Real(value) => format!("the number {value:?}"),
        ValueRef::Text(text) => format!("the text `{}`", shown(text)),
        ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
    }
}

/// Appends a value that is not null.
fn push(column: &mut Builder, value: ValueRef<'_>, drop_items: bool) -> Result<(), Bad> {
    match column {
        Builder::Int8(values) => values.append_value(integer(value)?),
        Builder::Int16(values) => values.append_value(integer(value)?),
        Builder::Int32(values) => values.append_value(integer(value)?),
        Builder::Int64(values) => values.append_value(integer(value)?),
        Builder::UInt8(values) => values.append_value(integer(value)?),
        Builder::UInt16(values) => values.append_value(integer(value)?),
        Builder::UInt32(values) => values.append_value(integer(value)?),
        Builder::UInt64(values) => values.append_value(integer(value)?),
        Builder::Float32(values) => values.append_value(float(value)? as f32),
        Builder::Float64(values) => values.append_value(float(value)?),
        Builder::Date(values) => values.append_value(parsed::<Date32Type>(value)?),
        Builder::Timestamp(values) => values.append_value(parsed::<TimestampMicrosecondType>(value)?),
        Builder::TimestampNs(values) => values.append_value(parsed::<TimestampNanosecondType>(value)?),
        Builder::Bool(values) => match value {
            ValueRef::Integer(bit @ 0..=1) => values.append_value(bit == 1),
            _ => return Err(Bad),
        },
        Builder::String(values) => values.append_value(text(value)?),
        Builder::Json(values) => push_json(values, value)?,
        Builder::Binary(values) => match value {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => values.append_value(bytes),
            _ => return Err(Bad),
        },
        Builder::List(list) => {
            let Ok(Json::Array(items)) = serde_json::from_str(text(value)?) else { return Err(Bad) };
            push_list(list, &items, drop_items)?;
        }
    }
    Ok(())
}

/// Appends a list. Where an item is bad, those before it stand behind the end of the last list: they
/// become part of a list that is null.
fn push_list(list: &mut ListBuilder, items: &[Json], drop_items: bool) -> Result<(), Bad> {
    if list.items.len() + items.len() > i32::MAX as usize {
        return Err(Bad);
    }
    for item in items {
        match push_item(&mut list.items, item, drop_items) {
            Ok(()) => {}
            Err(Bad) if drop_items => {}
            Err(Bad) => {
                if let Builder::List(inner) = &mut list.items {
                    inner.end(false);
                }
                return Err(Bad);
            }
        }
    }
    list.end(true);
    Ok(())
}

fn push_item(items: &mut Builder, item: &Json, drop_items: bool) -> Result<(), Bad> {
    if let Builder::Json(values) = items {
        values.append_value(item.to_string());
        return Ok(());
    }
    let whole = item.as_i64().map(ValueRef::Integer);
    match item {
        Json::Null => {
            items.push_null();
            Ok(())
        }
        Json::Bool(bit) if matches!(items, Builder::Bool(_)) => {
            push(items, ValueRef::Integer(i64::from(*bit)), drop_items)
        }
        Json::Number(number) => {
            let value = whole.or_else(|| number.as_f64().map(ValueRef::Real)).ok_or(Bad)?;
            push(items, value, drop_items)
        }
        Json::String(text) => push(items, ValueRef::Text(text.as_bytes()), drop_items),
        Json::Array(inner) => match items {
            Builder::List(list) => push_list(list, inner, drop_items),
            _ => Err(Bad),
        },
        Json::Bool(_) | Json::Object(_) => Err(Bad),
    }
}

/// A date or time from its text.
fn parsed<T: Scalar>(value: ValueRef<'_>) -> Result<T::Native, Bad> {
    T::parse(text(value)?.as_bytes()).ok_or(Bad)
}

/// A whole number that the type has room for.
fn integer<T: TryFrom<i64>>(value: ValueRef<'_>) -> Result<T, Bad> {
    match value {
        ValueRef::Integer(value) => T::try_from(value).map_err(|_| Bad),
        _ => Err(Bad),
    }
}

/// A number; a whole one only where a float can hold it exactly.
fn float(value: ValueRef<'_>) -> Result<f64, Bad> {
    match value {
        ValueRef::Real(value) => Ok(value),
        ValueRef::Integer(value) if (value as f64) as i128 == i128::from(value) => Ok(value as f64),
        _ => Err(Bad),
    }
}

fn text(value: ValueRef<'_>) -> Result<&str, Bad> {
    match value {
        ValueRef::Text(text) => simdutf8::basic::from_utf8(text).map_err(|_| Bad),
        _ => Err(Bad),
    }
}

/// JSON is kept as its text; SQLite may have made numbers of it.
fn push_json(values: &mut StringViewBuilder, value: ValueRef<'_>) -> Result<(), Bad> {
    match value {
        ValueRef::Integer(number) => values.append_value(itoa::Buffer::new().format(number)),
        ValueRef::Real(number) if number.is_finite() => values.append_value(zmij::Buffer::new().format(number)),
        _ => {
            let text = text(value)?;
            serde_json::from_str::<IgnoredAny>(text).map_err(|_| Bad)?;
            values.append_value(text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;
    use crate::batch::{Column, Schema, json};

    fn column(column_type: &str, invalid: Invalid) -> ValueColumn {
        let nullable = invalid == Invalid::Null;
        ValueColumn::new("c", &column_type.parse().expect("a type"), nullable, invalid)
    }

    /// What one value becomes, as JSON text, or why not.
    fn read(column_type: &str, invalid: Invalid, value: ValueRef<'_>) -> Result<String, String> {
        let mut column = column(column_type, invalid);
        column.push(value)?;
        let array = column.finish();
        let declared = Column { name: "c".into(), column_type: column.column_type.clone(), nullable: true };
        let schema = Schema::new(vec![declared]).arrow();
        assert_eq!((array.len(), array.data_type()), (1, schema.field(0).data_type()));
        Ok(json::value(schema.field(0), &array, 0).to_string())
    }

    #[test]
    fn values_of_the_declared_type_are_taken() {
        let cases: &[(&str, ValueRef<'_>, &str)] = &[
            ("bool", ValueRef::Integer(1), "true"),
            ("int8", ValueRef::Integer(-128), "-128"),
            ("int64", ValueRef::Integer(i64::MIN), "-9223372036854775808"),
            ("uint64", ValueRef::Integer(i64::MAX), "9223372036854775807"),
            ("float64", ValueRef::Real(0.1), "0.1"),
            ("float64", ValueRef::Integer(7), "7.0"),
            ("float32", ValueRef::Real(0.5), "0.5"),
            ("string", ValueRef::Text(b""), "\"\""),
            ("binary", ValueRef::Blob(b"\xFF"), "\"ff\""),
            ("binary", ValueRef::Text(b"a"), "\"61\""),
            ("date", ValueRef::Text(b"2024-02-29"), "\"2024-02-29\""),
            ("timestamp", ValueRef::Text(b"2024-02-29 01:02:03"), "\"2024-02-29T01:02:03\""),
            ("timestamp_ns", ValueRef::Text(b"1970-01-01T00:00:00.000000001Z"), "\"1970-01-01T00:00:00.000000001\""),
            ("json", ValueRef::Text(b"{\"a\":[1]}"), "{\"a\":[1]}"),
            ("json", ValueRef::Integer(12), "12"),
            ("json", ValueRef::Real(1.5), "1.5"),
            ("list<uint32>", ValueRef::Text(b"[1, 2]"), "[1,2]"),
            ("list<list<string>>", ValueRef::Text(b"[[\"a\"],[]]"), "[[\"a\"],[]]"),
            ("list<bool>", ValueRef::Text(b"[true,null]"), "[true,null]"),
            ("list<json>", ValueRef::Text(b"[{\"a\":1},2]"), "[{\"a\":1},2]"),
            ("list<float64>", ValueRef::Text(b"[]"), "[]"),
        ];
        for (column_type, value, expected) in cases {
            assert_eq!(read(column_type, Invalid::Reject, *value).as_deref(), Ok(*expected), "{column_type}");
        }
    }

    #[test]
    fn other_values_are_refused_by_name() {
        let cases: &[(&str, ValueRef<'_>, &str)] = &[
            ("int8", ValueRef::Integer(128), "column `c`: the integer 128 is no int8"),
            ("uint8", ValueRef::Integer(-1), "column `c`: the integer -1 is no uint8"),
            ("int64", ValueRef::Text(b"7"), "column `c`: the text `7` is no int64"),
            ("int64", ValueRef::Real(7.0), "column `c`: the number 7.0 is no int64"),
            ("bool", ValueRef::Integer(2), "column `c`: the integer 2 is no bool"),
            ("float64", ValueRef::Integer(i64::MAX), "column `c`: the integer 9223372036854775807 is no float64"),
            ("string", ValueRef::Integer(7), "column `c`: the integer 7 is no string"),
            ("string", ValueRef::Text(b"\xFF"), "column `c`: the text `\u{FFFD}` is no string"),
            ("date", ValueRef::Text(b"2023-02-29"), "column `c`: the text `2023-02-29` is no date"),
            ("json", ValueRef::Text(b"{"), "column `c`: the text `{` is no json"),
            ("list<uint8>", ValueRef::Text(b"[1, 256]"), "column `c`: the text `[1, 256]` is no list<uint8>"),
            ("list<uint8>", ValueRef::Text(b"1"), "column `c`: the text `1` is no list<uint8>"),
            ("binary", ValueRef::Real(0.0), "column `c`: the number 0.0 is no binary"),
            ("string", ValueRef::Blob(b"abc"), "column `c`: a blob of 3 bytes is no string"),
            ("string", ValueRef::Null, "column `c` is null"),
        ];
        for (column_type, value, expected) in cases {
            assert_eq!(read(column_type, Invalid::Reject, *value), Err((*expected).to_owned()));
        }
    }

    #[test]
    fn invalid_values_may_become_null_and_items_be_dropped() {
        assert_eq!(read("int8", Invalid::Null, ValueRef::Integer(128)).as_deref(), Ok("null"));
        let mixed = ValueRef::Text(b"[1, 256, \"x\", 2]");
        assert_eq!(read("list<uint8>", Invalid::DropItems, mixed).as_deref(), Ok("[1,2]"));
    }

    #[test]
    fn a_bad_list_leaves_the_next_one_whole() {
        for (column_type, bad, good) in
            [("list<uint8>", "[1, 2, 300]", "[3]"), ("list<list<uint8>>", "[[1], [2, 300]]", "[[3]]")]
        {
            let mut column = column(column_type, Invalid::Reject);
            assert!(column.push(ValueRef::Text(bad.as_bytes())).is_err());
            assert!(column.push(ValueRef::Text(good.as_bytes())).is_ok());
            column.skip();
            let array = column.finish();
            let declared = Column { name: "c".into(), column_type: column.column_type.clone(), nullable: true };
            let schema = Schema::new(vec![declared]).arrow();
            let shown = [0, 1, 2].map(|row| json::value(schema.field(0), &array, row).to_string());
            assert_eq!(shown, ["null", good, "null"]);
        }
    }
}
