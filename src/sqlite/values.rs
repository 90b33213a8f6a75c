//! SQLite's values to typed columns. SQLite types values, not columns: each value is checked on its own.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray,
    builder::{BinaryViewBuilder, BooleanBuilder, PrimitiveBuilder, StringViewBuilder},
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, FieldRef};
use rusqlite::types::ValueRef;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use crate::{
    batch::ColumnType,
    formats::{columns::Invalid, fields::shown, scalar::Scalar},
};

/// A column that is being filled.
pub(crate) struct ValueColumn {
    name: String,
    column_type: ColumnType,
    nullable: bool,
    invalid: Invalid,
    store: Store,
}

/// The values of one type.
enum Store {
    Bool(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    TimestampNs(PrimitiveBuilder<TimestampNanosecondType>),
    String(StringViewBuilder),
    Json(StringViewBuilder),
    Binary(BinaryViewBuilder),
    List(Box<ListStore>),
}

struct ListStore {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    items: Store,
    len: usize,
    item_field: FieldRef,
}

/// The value is not of the type.
struct Bad;

impl ValueColumn {
    /// An empty column.
    pub(crate) fn new(name: &str, column_type: &ColumnType, nullable: bool, invalid: Invalid) -> Self {
        let store = Store::new(column_type);
        ValueColumn { name: name.to_owned(), column_type: column_type.clone(), nullable, invalid, store }
    }

    /// Appends a value.
    ///
    /// # Errors
    /// It is not what the column declares; the sentence names the column and the value. A null stands in its
    /// place, so that all columns keep the same length; the row must be left out.
    pub(crate) fn push(&mut self, value: ValueRef<'_>) -> Result<(), String> {
        if value == ValueRef::Null {
            self.store.push_null();
            return match self.nullable {
                true => Ok(()),
                false => Err(format!("column `{}` is null", self.name)),
            };
        }
        match self.store.push(value, self.invalid == Invalid::DropItems) {
            Ok(()) => Ok(()),
            Err(Bad) => {
                self.store.push_null();
                match self.invalid {
                    Invalid::Null => Ok(()),
                    _ => Err(format!("column `{}`: {} is no {}", self.name, describe(value), self.column_type)),
                }
            }
        }
    }

    /// Appends a null in the place of a value that does not matter.
    pub(crate) fn skip(&mut self) {
        self.store.push_null();
    }

    /// The values so far; the column is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        self.store.finish()
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

/// Matches a store: one arm for integers, one for floats, one for times, and the others.
macro_rules! match_store {
    ($store:expr, $integers:ident => $integer:expr, $floats:ident: $F:ident => $float:expr,
     $times:ident: $T:ident => $time:expr, $($other:pat => $then:expr,)*) => {
        match $store {
            Store::Int8($integers) => $integer,
            Store::Int16($integers) => $integer,
            Store::Int32($integers) => $integer,
            Store::Int64($integers) => $integer,
            Store::UInt8($integers) => $integer,
            Store::UInt16($integers) => $integer,
            Store::UInt32($integers) => $integer,
            Store::UInt64($integers) => $integer,
            Store::Float32($floats) => { #[allow(dead_code)] type $F = f32; $float }
            Store::Float64($floats) => { #[allow(dead_code)] type $F = f64; $float }
            Store::Date($times) => { #[allow(dead_code)] type $T = Date32Type; $time }
            Store::Timestamp($times) => { #[allow(dead_code)] type $T = TimestampMicrosecondType; $time }
            Store::TimestampNs($times) => { #[allow(dead_code)] type $T = TimestampNanosecondType; $time }
            $($other => $then,)*
        }
    };
}

impl Store {
    fn new(column_type: &ColumnType) -> Store {
        match column_type {
            ColumnType::Bool => Store::Bool(BooleanBuilder::new()),
            ColumnType::Int8 => Store::Int8(PrimitiveBuilder::new()),
            ColumnType::Int16 => Store::Int16(PrimitiveBuilder::new()),
            ColumnType::Int32 => Store::Int32(PrimitiveBuilder::new()),
            ColumnType::Int64 => Store::Int64(PrimitiveBuilder::new()),
            ColumnType::UInt8 => Store::UInt8(PrimitiveBuilder::new()),
            ColumnType::UInt16 => Store::UInt16(PrimitiveBuilder::new()),
            ColumnType::UInt32 => Store::UInt32(PrimitiveBuilder::new()),
            ColumnType::UInt64 => Store::UInt64(PrimitiveBuilder::new()),
            ColumnType::Float32 => Store::Float32(PrimitiveBuilder::new()),
            ColumnType::Float64 => Store::Float64(PrimitiveBuilder::new()),
            ColumnType::Date => Store::Date(PrimitiveBuilder::new()),
            ColumnType::Timestamp => Store::Timestamp(PrimitiveBuilder::new()),
            ColumnType::TimestampNs => Store::TimestampNs(PrimitiveBuilder::new()),
            ColumnType::String => Store::String(StringViewBuilder::new()),
            ColumnType::Json => Store::Json(StringViewBuilder::new()),
            ColumnType::Binary => Store::Binary(BinaryViewBuilder::new()),
            ColumnType::List(item) => Store::List(Box::new(ListStore {
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
                items: Store::new(item),
                len: 0,
                item_field: Arc::new(item.item_field()),
            })),
        }
    }

    fn push_null(&mut self) {
        match_store!(self, values => values.append_null(), values: F => values.append_null(),
            values: T => values.append_null(),
            Store::Bool(values) => values.append_null(),
            Store::String(values) | Store::Json(values) => values.append_null(),
            Store::Binary(values) => values.append_null(),
            Store::List(list) => list.close(false),
        );
    }

    /// Appends a value that is not null.
    fn push(&mut self, value: ValueRef<'_>, drop_items: bool) -> Result<(), Bad> {
        match_store!(self,
            values => values.append_value(integer(value)?.try_into().map_err(|_| Bad)?),
            values: F => values.append_value(float(value)? as F),
            values: T => values.append_value(T::parse(text(value)?.as_bytes()).ok_or(Bad)?),
            Store::Bool(values) => match value {
                ValueRef::Integer(bit @ 0..=1) => values.append_value(bit == 1),
                _ => return Err(Bad),
            },
            Store::String(values) => values.append_value(text(value)?),
            Store::Json(values) => push_json(values, value)?,
            Store::Binary(values) => match value {
                ValueRef::Blob(bytes) | ValueRef::Text(bytes) => values.append_value(bytes),
                _ => return Err(Bad),
            },
            Store::List(list) => {
                let Ok(Json::Array(items)) = serde_json::from_str(text(value)?) else { return Err(Bad) };
                list.push(&items, drop_items)?;
            },
        );
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match_store!(self, values => Arc::new(values.finish()), values: F => Arc::new(values.finish()),
            values: T => Arc::new(values.finish()),
            Store::Bool(values) => Arc::new(values.finish()),
            Store::String(values) | Store::Json(values) => Arc::new(values.finish()),
            Store::Binary(values) => Arc::new(values.finish()),
            Store::List(list) => {
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                list.len = 0;
                let items = list.items.finish()?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::try_new(Arc::clone(&list.item_field), offsets, items, list.nulls.finish())?)
            },
        ))
    }
}

impl ListStore {
    /// Ends the list that the items since the last end make up.
    fn close(&mut self, valid: bool) {
        self.offsets.push(self.len as i32);
        self.nulls.append(valid);
    }

    /// Appends a list. Where an item is bad, those before it stand behind the end of the last list: they
    /// become part of a list that is null.
    fn push(&mut self, items: &[Json], drop_items: bool) -> Result<(), Bad> {
        if self.len + items.len() > i32::MAX as usize {
            return Err(Bad);
        }
        for item in items {
            match self.push_item(item, drop_items) {
                Ok(()) => self.len += 1,
                Err(Bad) if drop_items => {}
                Err(Bad) => {
                    if let Store::List(inner) = &mut self.items {
                        inner.close(false);
                        self.len += 1;
                    }
                    return Err(Bad);
                }
            }
        }
        self.close(true);
        Ok(())
    }

    fn push_item(&mut self, item: &Json, drop_items: bool) -> Result<(), Bad> {
        if let Store::Json(values) = &mut self.items {
            values.append_value(item.to_string());
            return Ok(());
        }
        let whole = item.as_i64().map(ValueRef::Integer);
        match item {
            Json::Null => {
                self.items.push_null();
                Ok(())
            }
            Json::Bool(bit) if matches!(self.items, Store::Bool(_)) => {
                self.items.push(ValueRef::Integer(i64::from(*bit)), drop_items)
            }
            Json::Number(number) => {
                let value = whole.or_else(|| number.as_f64().map(ValueRef::Real)).ok_or(Bad)?;
                self.items.push(value, drop_items)
            }
            Json::String(text) => self.items.push(ValueRef::Text(text.as_bytes()), drop_items),
            Json::Array(inner) => match &mut self.items {
                Store::List(list) => list.push(inner, drop_items),
                _ => Err(Bad),
            },
            Json::Bool(_) | Json::Object(_) => Err(Bad),
        }
    }
}

fn integer(value: ValueRef<'_>) -> Result<i64, Bad> {
    match value {
        ValueRef::Integer(value) => Ok(value),
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
        let array = column.finish().expect("an array");
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
            let array = column.finish().expect("an array");
            let declared = Column { name: "c".into(), column_type: column.column_type.clone(), nullable: true };
            let schema = Schema::new(vec![declared]).arrow();
            let shown = [0, 1, 2].map(|row| json::value(schema.field(0), &array, row).to_string());
            assert_eq!(shown, ["null", good, "null"]);
        }
    }
}
