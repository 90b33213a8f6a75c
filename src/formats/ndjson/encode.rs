//! Batches to lines of JSON.

use arrow_array::{Array, ArrayRef, BinaryViewArray, ListArray, StringViewArray, cast::AsArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    batch::{Batch, ColumnType, RejectCode, Rejects, Schema},
    formats::{
        Encoder,
        cells::{self, Cell, CellStyle, Unfit},
        json::quote,
    },
};

/// Encodes batches of one schema: an object per row, its fields in the order of the columns.
///
/// Dates and timestamps are ISO 8601 text, bytes are base64, `json` is written as it is. A number that JSON
/// does not have, NaN or an infinity, makes its row a reject.
pub struct NdjsonEncoder {
    schema: Schema,
    /// What stands before each value: comma, name and colon.
    names: Vec<Vec<u8>>,
    style: CellStyle,
}

impl NdjsonEncoder {
    /// An encoder for batches of `schema`.
    pub fn new(schema: Schema) -> Self {
        let name = |(i, column): (usize, &crate::batch::Column)| {
            let mut text = vec![if i == 0 { b'{' } else { b',' }];
            quote(column.name.as_bytes(), &mut text);
            text.push(b':');
            text
        };
        let names = schema.columns().iter().enumerate().map(name).collect();
        NdjsonEncoder { schema, names, style: CellStyle { null: "null".to_owned(), separator: b',' } }
    }

    fn row(&self, columns: &[Values<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), (usize, Unfit)> {
        for (i, (name, column)) in self.names.iter().zip(columns).enumerate() {
            out.extend_from_slice(name);
            column.write(row, &self.style, out).map_err(|why| (i, why))?;
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

impl Encoder for NdjsonEncoder {
    /// There is none: every record names its fields.
    fn header(&mut self, _: &mut Vec<u8>) {}

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>, rejects: &mut Rejects) {
        let types = self.schema.columns().iter().map(|column| &column.column_type);
        let columns: Vec<Values<'_>> =
            batch.records.columns().iter().zip(types).map(|(column, of)| Values::new(column, of)).collect();
        for row in 0..batch.rows() {
            let start = out.len();
            if let Err((column, why)) = self.row(&columns, row, out) {
                out.truncate(start);
                let message = format!("column `{}`: {why}", self.schema.columns()[column].name);
                rejects.push(batch, row, RejectCode("unrepresentable"), message);
            }
        }
    }
}

/// The values of a column.
struct Values<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Text(&'a StringViewArray),
    Json(&'a StringViewArray),
    Binary(&'a BinaryViewArray),
    List(&'a ListArray, Box<Values<'a>>),
    Other(Cell<'a>),
}

impl<'a> Values<'a> {
    fn new(column: &'a ArrayRef, column_type: &ColumnType) -> Self {
        let kind = match (column.data_type(), column_type) {
            (DataType::Utf8View, ColumnType::Json) => Kind::Json(column.as_string_view()),
            (DataType::Utf8View, _) => Kind::Text(column.as_string_view()),
            (DataType::BinaryView, _) => Kind::Binary(column.as_binary_view()),
            (DataType::List(_), ColumnType::List(item)) => {
                let lists = column.as_list::<i32>();
                Kind::List(lists, Box::new(Values::new(lists.values(), item)))
            }
            _ => Kind::Other(Cell::new(column)),
        };
        Values { nulls: column.nulls(), kind }
    }

    #[inline]
    fn write(&self, row: usize, style: &CellStyle, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Text(values) => quote(values.value(row).as_bytes(), out),
            Kind::Json(values) => one_line(values.value(row).as_bytes(), out),
            Kind::Binary(values) => base64(values.value(row), out),
            Kind::List(lists, items) => {
                let offsets = lists.value_offsets();
                out.push(b'[');
                for item in offsets[row]..offsets[row + 1] {
                    if item > offsets[row] {
                        out.push(b',');
                    }
                    items.write(item as usize, style, out)?;
                }
                out.push(b']');
            }
            Kind::Other(cell) => other(cell, row, style, out)?,
        }
        Ok(())
    }
}

/// Appends a number, a boolean, or a time in quotes.
#[inline]
fn other(cell: &Cell<'_>, row: usize, style: &CellStyle, out: &mut Vec<u8>) -> Result<(), Unfit> {
    const NOT_FINITE: Unfit = "JSON has no number for NaN and infinities";
    match cell {
        Cell::Float32(values) if !values.value(row).is_finite() => return Err(NOT_FINITE),
        Cell::Float64(values) if !values.value(row).is_finite() => return Err(NOT_FINITE),
        Cell::Date(_) | Cell::Timestamp(_) | Cell::TimestampNs(_) => {
            out.push(b'"');
            cell.write(row, style, &cells::as_it_is, out)?;
            out.push(b'"');
        }
        cell => cell.write(row, style, &cells::as_it_is, out)?,
    }
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
