//! Batches to records.

use arrow_array::Array;

use crate::{
    batch::{Batch, RejectCode, Rejects, Schema},
    formats::Encoder,
    values::cell::{self, Cell, CellStyle, Unfit},
};

/// Encodes batches of one schema. A field gets quotes where it holds a separator, a quote or a line end, or
/// would mean null without them.
pub struct CsvEncoder {
    schema: Schema,
    style: CellStyle,
    separator: u8,
    /// May text other than that of `string` and list columns need quotes?
    careful: bool,
}

impl CsvEncoder {
    /// An encoder for batches of `schema`; `separator` stands between fields.
    pub fn new(schema: Schema, style: CellStyle, separator: u8) -> Self {
        let careful = !style.null.is_empty() || b"+-.:".contains(&separator);
        CsvEncoder { schema, style, separator, careful }
    }

    #[inline]
    fn row(&self, cells: &[Cell<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), (usize, Unfit)> {
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                out.push(self.separator);
            }
            match cell {
                Cell::String(values) if !values.is_null(row) => self.text(values.value(row).as_bytes(), i, out),
                Cell::Binary(values) if !values.is_null(row) => self.text(values.value(row), i, out),
                Cell::List(values, _) if values.is_valid(row) => self.other(cell, row, i, out)?,
                _ if self.careful && cell.is_valid(row) => self.other(cell, row, i, out)?,
                _ => cell.write(row, &self.style, &cell::as_it_is, out).map_err(|why| (i, why))?,
            }
        }
        out.push(b'\n');
        Ok(())
    }

    /// Appends a value that is there and may need quotes.
    fn other(&self, cell: &Cell<'_>, row: usize, column: usize, out: &mut Vec<u8>) -> Result<(), (usize, Unfit)> {
        let start = out.len();
        cell.write(row, &self.style, &cell::as_it_is, out).map_err(|why| (column, why))?;
        if self.needs_quotes(&out[start..], column) {
            let text = out.split_off(start);
            quoted(&text, out);
        }
        Ok(())
    }

    #[inline]
    fn text(&self, text: &[u8], column: usize, out: &mut Vec<u8>) {
        if self.needs_quotes(text, column) {
            quoted(text, out);
        } else {
            out.extend_from_slice(text);
        }
    }

    #[inline]
    fn needs_quotes(&self, text: &[u8], column: usize) -> bool {
        let special = |byte: &u8| *byte == self.separator || matches!(byte, b'"' | b'\n' | b'\r');
        let like_null =
            || text == self.style.null.as_bytes() && (self.style.marked || self.schema.columns()[column].nullable);
        text.iter().any(special) || like_null()
    }
}

impl Encoder for CsvEncoder {
    fn header(&mut self, out: &mut Vec<u8>) {
        for (i, column) in self.schema.columns().iter().enumerate() {
            if i > 0 {
                out.push(self.separator);
            }
            let name = column.name.as_bytes();
            if name.iter().any(|byte| *byte == self.separator || matches!(byte, b'"' | b'\n' | b'\r')) {
                quoted(name, out);
            } else {
                out.extend_from_slice(name);
            }
        }
        out.push(b'\n');
    }

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>, rejects: &mut Rejects) {
        let cells: Vec<Cell<'_>> = batch.records.columns().iter().map(Cell::new).collect();
        for row in 0..batch.rows() {
            let start = out.len();
            if let Err((column, why)) = self.row(&cells, row, out) {
                out.truncate(start);
                let message = format!("column `{}`: {why}", self.schema.columns()[column].name);
                rejects.push(batch, row, RejectCode("unrepresentable"), message);
            }
        }
    }
}

/// Appends text in quotes, its own quotes doubled.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=quote]);
        out.push(b'"');
        rest = &rest[quote + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
