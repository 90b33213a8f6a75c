//! SQLite's values to typed columns. SQLite types values, not columns: each value is checked on its own.

use arrow_array::{ArrayRef, builder::make_view};
use arrow_buffer::Buffer;
use rusqlite::types::ValueRef;

use crate::values::{
    ColumnType,
    builder::{Builder, Store, match_store},
    columns::Invalid,
    fields::shown,
    json::{
        read::Reader,
        scan::{Scanner, is_json},
    },
    scalar::Scalar,
};

/// A column that is being filled.
pub(crate) struct ValueColumn {
    name: String,
    column_type: ColumnType,
    nullable: bool,
    invalid: Invalid,
    values: Builder,
    text: Text,
}

/// The value is not of the type.
struct Bad;

impl ValueColumn {
    /// An empty column.
    pub(crate) fn new(name: &str, column_type: &ColumnType, nullable: bool, invalid: Invalid) -> Self {
        // A row that is refused leaves a null where it is bad, whatever the column declares.
        let (values, text) = (Builder::new(column_type, true), Text::default());
        ValueColumn { name: name.to_owned(), column_type: column_type.clone(), nullable, invalid, values, text }
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
        let before = self.values.values.len();
        match push(&mut self.values.values, &mut self.text, value, self.invalid == Invalid::DropItems) {
            Ok(()) => {
                self.values.end_value();
                Ok(())
            }
            Err(Bad) => {
                self.values.values.truncate(before);
                self.values.push_null();
                match self.invalid {
                    Invalid::Null => Ok(()),
                    _ => {
                        Err(format!("column `{}`: {} is not a valid {}", self.name, describe(value), self.column_type))
                    }
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
        self.values.finish(&self.text.take()).expect("all views were made of these buffers")
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

/// The room that a column's text lies in.
#[derive(Default)]
struct Text {
    /// Text as it came, which is what lists are read from.
    plain: Vec<u8>,
    /// Items of lists that had to be written anew: without their escapes, or from base64.
    side: Vec<u8>,
}

impl Text {
    /// A view of a copy of this text.
    fn view(&mut self, text: &[u8]) -> Result<u128, Bad> {
        let start = self.keep(text)?;
        Ok(make_view(text, 0, start as u32))
    }

    /// Copies text; where the copy starts.
    fn keep(&mut self, text: &[u8]) -> Result<usize, Bad> {
        let start = self.plain.len();
        // Views count in 32 bits; a batch ends long before that many bytes, unless one value has them.
        if u32::try_from(start + text.len()).is_err() {
            return Err(Bad);
        }
        self.plain.extend_from_slice(text);
        Ok(start)
    }

    fn take(&mut self) -> [Buffer; 2] {
        [&mut self.plain, &mut self.side].map(|text| {
            let room = Vec::with_capacity(text.len());
            Buffer::from_vec(std::mem::replace(text, room))
        })
    }
}

/// Appends a value that is not null.
fn push(column: &mut Store, out: &mut Text, value: ValueRef<'_>, drop_items: bool) -> Result<(), Bad> {
    match_store!(column, values: T => values.push(scalar::<T>(value)?),
        Store::Bool(values) => match value {
            ValueRef::Integer(bit @ 0..=1) => values.push(bit == 1),
            _ => return Err(Bad),
        },
        Store::String(views) => views.push(out.view(text(value)?.as_bytes())?),
        Store::Json(views) => views.push(json(value, out)?),
        Store::Binary(views) => match value {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => views.push(out.view(bytes)?),
            _ => return Err(Bad),
        },
        Store::List(_) => push_list(column, out, text(value)?, drop_items)?,
    );
    Ok(())
}

/// Appends a list, which is a JSON array as text.
fn push_list(column: &mut Store, out: &mut Text, list: &str, drop_items: bool) -> Result<(), Bad> {
    let start = out.keep(list.as_bytes())?;
    let mut scanner = Scanner { text: &out.plain, at: start };
    let mut reader = Reader { scanner: &mut scanner, side: &mut out.side, drop_items, depth: 0, bits: true };
    reader.push(column).map_err(|_| Bad)?;
    if scanner.token() != 0 || scanner.at < out.plain.len() { Err(Bad) } else { Ok(()) }
}

/// A number of any width, or a date or time from its text.
fn scalar<T: Scalar>(value: ValueRef<'_>) -> Result<T::Native, Bad> {
    let found = match value {
        ValueRef::Integer(value) => T::from_integer(value),
        ValueRef::Real(value) => T::from_float(value),
        ValueRef::Text(_) if T::IN_QUOTES => T::parse(text(value)?.as_bytes()),
        _ => None,
    };
    found.ok_or(Bad)
}

fn text(value: ValueRef<'_>) -> Result<&str, Bad> {
    match value {
        ValueRef::Text(text) => simdutf8::basic::from_utf8(text).map_err(|_| Bad),
        _ => Err(Bad),
    }
}

/// JSON is kept as its text; SQLite may have made numbers of it.
fn json(value: ValueRef<'_>, out: &mut Text) -> Result<u128, Bad> {
    match value {
        ValueRef::Integer(number) => out.view(itoa::Buffer::new().format(number).as_bytes()),
        ValueRef::Real(number) if number.is_finite() => out.view(zmij::Buffer::new().format(number).as_bytes()),
        _ => {
            let text = text(value)?;
            if !is_json(text) {
                return Err(Bad);
            }
            out.view(text.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;
    use crate::{
        batch::{Column, Schema},
        values::json,
    };

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
            ("binary", ValueRef::Blob(b"\xFF"), "\"/w==\""),
            ("binary", ValueRef::Text(b"a"), "\"YQ==\""),
            ("date", ValueRef::Text(b"2024-02-29"), "\"2024-02-29\""),
            ("timestamp", ValueRef::Text(b"2024-02-29 01:02:03"), "\"2024-02-29T01:02:03Z\""),
            ("timestamp_ns", ValueRef::Text(b"1970-01-01T00:00:00.000000001Z"), "\"1970-01-01T00:00:00.000000001Z\""),
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
            ("int8", ValueRef::Integer(128), "column `c`: the integer 128 is not a valid int8"),
            ("uint8", ValueRef::Integer(-1), "column `c`: the integer -1 is not a valid uint8"),
            ("int64", ValueRef::Text(b"7"), "column `c`: the text `7` is not a valid int64"),
            ("int64", ValueRef::Real(7.0), "column `c`: the number 7.0 is not a valid int64"),
            ("bool", ValueRef::Integer(2), "column `c`: the integer 2 is not a valid bool"),
            (
                "float64",
                ValueRef::Integer(i64::MAX),
                "column `c`: the integer 9223372036854775807 is not a valid float64",
            ),
            ("string", ValueRef::Integer(7), "column `c`: the integer 7 is not a valid string"),
            ("string", ValueRef::Text(b"\xFF"), "column `c`: the text `\u{FFFD}` is not a valid string"),
            ("date", ValueRef::Text(b"2023-02-29"), "column `c`: the text `2023-02-29` is not a valid date"),
            ("json", ValueRef::Text(b"{"), "column `c`: the text `{` is not a valid json"),
            ("list<uint8>", ValueRef::Text(b"[1, 256]"), "column `c`: the text `[1, 256]` is not a valid list<uint8>"),
            ("list<uint8>", ValueRef::Text(b"1"), "column `c`: the text `1` is not a valid list<uint8>"),
            ("binary", ValueRef::Real(0.0), "column `c`: the number 0.0 is not a valid binary"),
            ("string", ValueRef::Blob(b"abc"), "column `c`: a blob of 3 bytes is not a valid string"),
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
