//! Typed columns to JSON, value by value: for NDJSON, for lists and objects as text, for records that are shown.
//!
//! Bytes are base64, dates and times ISO 8601 in quotes, `json` stands as it is.

use arrow_array::{
    Array, ArrayRef, BinaryViewArray, ListArray, MapArray, RecordBatch, StringViewArray, cast::AsArray,
    types::Float16Type,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::scan::quote;
use crate::values::{
    cell::{self, Cell, CellStyle, Unfit},
    foreign,
    types::is_json,
};

/// What is done about values that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// They are refused: what is written must be what is read back.
    Exact,
    /// NaN and the infinities are their names in quotes: in JSON text that is made of a value of another kind.
    Named,
    /// That, and a time without a text is its number. For people, and never for data.
    Shown,
}

/// The values of a column.
pub(crate) struct JsonCells<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
}

/// Nulls are asked for before a cell is, and lists are written here.
const STYLE: CellStyle = CellStyle::PLAIN;

enum Kind<'a> {
    Text(&'a StringViewArray),
    Json(&'a StringViewArray),
    Binary(&'a BinaryViewArray),
    Number(Cell<'a>),
    Time(Cell<'a>),
    List(&'a ListArray, Box<JsonCells<'a>>),
    // What only files bring.
    Null,
    Object(Vec<(Vec<u8>, JsonCells<'a>)>),
    Map(&'a MapArray, Box<JsonCells<'a>>, Box<JsonCells<'a>>),
    Bytes(&'a ArrayRef),
    Decimal(&'a ArrayRef),
    Foreign(&'a ArrayRef),
}

impl<'a> JsonCells<'a> {
    /// The values of `column`, which is of this field's type.
    pub(crate) fn new(field: &Field, column: &'a ArrayRef) -> Self {
        JsonCells::of(column, is_json(field))
    }

    /// The values of `column`; is it of the type `json`?
    pub(crate) fn of(column: &'a ArrayRef, json: bool) -> Self {
        let kind = match column.data_type() {
            DataType::Utf8View if json => Kind::Json(column.as_string_view()),
            DataType::Utf8View => Kind::Text(column.as_string_view()),
            DataType::BinaryView => Kind::Binary(column.as_binary_view()),
            DataType::List(item) => {
                let lists = column.as_list::<i32>();
                Kind::List(lists, Box::new(JsonCells::new(item, lists.values())))
            }
            DataType::Null => Kind::Null,
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(column.as_struct().columns());
                Kind::Object(columns.map(|(field, column)| (name(field), JsonCells::new(field, column))).collect())
            }
            DataType::Map(entry, _) => {
                let maps = column.as_map();
                let json = matches!(entry.data_type(), DataType::Struct(fields) if fields.last().is_some_and(|of| is_json(of)));
                let (keys, values) = (JsonCells::of(maps.keys(), false), JsonCells::of(maps.values(), json));
                Kind::Map(maps, Box::new(keys), Box::new(values))
            }
            DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_) => Kind::Bytes(column),
            DataType::Float16 | DataType::Decimal128(..) | DataType::Decimal256(..) => Kind::Decimal(column),
            _ => match Cell::new(column) {
                Cell::Other => Kind::Foreign(column),
                time if time.is_time() => Kind::Time(time),
                number => Kind::Number(number),
            },
        };
        JsonCells { nulls: column.nulls(), kind }
    }

    /// Appends the value at `row`.
    ///
    /// # Errors
    /// JSON has no such value; part of one may have been appended.
    #[inline]
    pub(crate) fn write(&self, row: usize, rule: Rule, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Text(values) => quote(values.value(row).as_bytes(), out),
            Kind::Json(values) => one_line(values.value(row).as_bytes(), out),
            Kind::Binary(values) => base64(values.value(row), out),
            Kind::Number(cell) => number(cell, row, rule, out)?,
            Kind::Time(cell) => time(cell, row, rule, out)?,
            Kind::List(lists, items) => {
                let offsets = lists.value_offsets();
                out.push(b'[');
                for item in offsets[row]..offsets[row + 1] {
                    if item > offsets[row] {
                        out.push(b',');
                    }
                    items.write(item as usize, rule, out)?;
                }
                out.push(b']');
            }
            kind => kind.write_foreign(row, rule, out)?,
        }
        Ok(())
    }
}

impl Kind<'_> {
    /// Appends a value that only files bring.
    fn write_foreign(&self, row: usize, rule: Rule, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Kind::Object(fields) => object(fields, row, rule, out)?,
            Kind::Map(maps, keys, values) => map(maps, keys, values, row, rule, out)?,
            Kind::Bytes(array) => match array.data_type() {
                DataType::Utf8 => quote(array.as_string::<i32>().value(row).as_bytes(), out),
                DataType::Binary => base64(array.as_binary::<i32>().value(row), out),
                _ => base64(array.as_fixed_size_binary().value(row), out),
            },
            Kind::Decimal(array) => match array.as_primitive_opt::<Float16Type>() {
                Some(halves) => float(f64::from(halves.value(row)), rule, out, |out| {
                    out.extend_from_slice(zmij::Buffer::new().format(f32::from(halves.value(row))).as_bytes());
                })?,
                None => foreign::write(array.as_ref(), row, out)?,
            },
            Kind::Foreign(array) => {
                let start = out.len();
                out.push(b'"');
                let written = foreign::write(array.as_ref(), row, out);
                match foreign::number(array.as_ref(), row).filter(|_| written.is_err() && rule == Rule::Shown) {
                    Some(number) => {
                        out.truncate(start);
                        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                    }
                    None => {
                        written?;
                        out.push(b'"');
                    }
                }
            }
            _ => out.extend_from_slice(b"null"),
        }
        Ok(())
    }
}

#[inline]
fn number(cell: &Cell<'_>, row: usize, rule: Rule, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match cell {
        Cell::Float32(values) if !values.value(row).is_finite() => not_finite(f64::from(values.value(row)), rule, out),
        Cell::Float64(values) if !values.value(row).is_finite() => not_finite(values.value(row), rule, out),
        cell => cell.write(row, &STYLE, &cell::as_it_is, out),
    }
}

fn float(value: f64, rule: Rule, out: &mut Vec<u8>, finite: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unfit> {
    if !value.is_finite() {
        return not_finite(value, rule, out);
    }
    finite(out);
    Ok(())
}

#[cold]
fn not_finite(value: f64, rule: Rule, out: &mut Vec<u8>) -> Result<(), Unfit> {
    if rule == Rule::Exact {
        return Err("JSON has no number for NaN and infinities");
    }
    quote(value.to_string().as_bytes(), out);
    Ok(())
}

fn time(cell: &Cell<'_>, row: usize, rule: Rule, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let start = out.len();
    out.push(b'"');
    let written = cell.write(row, &STYLE, &cell::as_it_is, out);
    if written.is_err() && rule == Rule::Shown {
        out.truncate(start);
        let number = match cell {
            Cell::Date(values) => i64::from(values.value(row)),
            Cell::Timestamp(values) => values.value(row),
            Cell::TimestampNs(values) => values.value(row),
            _ => return written,
        };
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        return Ok(());
    }
    out.push(b'"');
    written
}

fn object(fields: &[(Vec<u8>, JsonCells<'_>)], row: usize, rule: Rule, out: &mut Vec<u8>) -> Result<(), Unfit> {
    out.push(b'{');
    for (i, (name, values)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        values.write(row, rule, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Appends a map as an object: its keys are text there, whatever they are here.
fn map(
    maps: &MapArray,
    keys: &JsonCells<'_>,
    values: &JsonCells<'_>,
    row: usize,
    rule: Rule,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let offsets = maps.value_offsets();
    let mut key = Vec::new();
    out.push(b'{');
    for entry in offsets[row]..offsets[row + 1] {
        if entry > offsets[row] {
            out.push(b',');
        }
        key.clear();
        keys.write(entry as usize, rule, &mut key)?;
        if key.starts_with(b"\"") {
            out.extend_from_slice(&key);
        } else {
            quote(&key, out);
        }
        out.push(b':');
        values.write(entry as usize, rule, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Appends JSON text. A line end can stand in it only between values, where a space means the same.
fn one_line(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(len) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..len]);
        out.push(b' ');
        rest = &rest[len + 1..];
    }
    out.extend_from_slice(rest);
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room is just what base64 takes");
    out.truncate(start + written);
    out.push(b'"');
}

/// A field's name as JSON, and the colon.
fn name(field: &Field) -> Vec<u8> {
    let mut text = Vec::new();
    quote(field.name().as_bytes(), &mut text);
    text.push(b':');
    text
}

/// Row `row` of `records` as one line of JSON, columns in schema order, for people: see [`Rule::Shown`].
pub fn row(records: &RecordBatch, row: usize) -> String {
    let schema = records.schema();
    let columns = schema.fields().iter().zip(records.columns());
    let fields: Vec<_> = columns.map(|(field, column)| (name(field), JsonCells::new(field, column))).collect();
    let mut out = Vec::new();
    shown(object(&fields, row, Rule::Shown, &mut out), out)
}

/// One value as JSON, for people: see [`Rule::Shown`].
pub fn value(field: &Field, column: &ArrayRef, row: usize) -> String {
    let mut out = Vec::new();
    shown(JsonCells::new(field, column).write(row, Rule::Shown, &mut out), out)
}

/// What has no text even for people, such as a time of day of −5 seconds, is cut short with the reason.
fn shown(written: Result<(), Unfit>, mut out: Vec<u8>) -> String {
    if let Err(why) = written {
        out.extend_from_slice(format!("… ({why})").as_bytes());
    }
    String::from_utf8_lossy(&out).into_owned()
}
