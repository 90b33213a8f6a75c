//! Lines of text, whatever they hold: one column, one row per line, blank ones too.

use arrow_schema::SchemaRef;

use super::{
    Chunk, Decoded, Decoder, Encoder, Start,
    records::{self, Limits, Line, read_lines},
};
use crate::{
    batch::{Batch, RejectCode, Rejects, Schema},
    failure::Failure,
    values::{
        cell::{Cell, CellStyle, LIKE_NULL, Unfit},
        columns::ColumnSpec,
        fields::{Field, FieldColumn},
    },
};

/// Decodes the lines of one file.
pub struct LinesDecoder {
    schema: SchemaRef,
    column: FieldColumn,
    limits: Limits,
}

impl LinesDecoder {
    /// A decoder for batches of at most `max_rows` lines of at most `max_record` bytes each.
    pub fn new(spec: &ColumnSpec, schema: &Schema, null: Option<&str>, max_rows: usize, max_record: usize) -> Self {
        let limits = Limits { rows: max_rows.max(1), record: max_record };
        LinesDecoder { schema: schema.arrow(), column: FieldColumn::new(spec, null), limits }
    }
}

impl Decoder for LinesDecoder {
    fn header(&mut self, _: &[u8]) -> Result<(), String> {
        Err("lines have no header".to_owned())
    }

    fn decode(&mut self, chunk: &Chunk, start: Start, rejects: &mut Rejects) -> Result<Decoded, Failure> {
        let column = &mut self.column;
        let mut rows = 0;
        let read = read_lines(chunk, start, self.limits, rejects, |at, end| {
            let text = &chunk.bytes[at..end];
            match column.push(Field { text, offset: at, buffer: 0, quoted: false, utf8: chunk.utf8 }) {
                Ok(()) => {
                    rows += 1;
                    Line::Row
                }
                Err(bad) => {
                    column.truncate(rows);
                    Line::Bad(bad.code, column.explain(text, &bad))
                }
            }
        });
        let block = chunk.bytes.slice_with_length(0, read.used);
        let columns = column.finish(&[block]).map(|column| vec![column]);
        Ok(read.decoded(records::batch(&self.schema, columns)?, chunk, start))
    }
}

/// Encodes batches of one column, a line per row.
pub struct LinesEncoder {
    schema: Schema,
    style: CellStyle,
}

impl LinesEncoder {
    /// An encoder for batches of `schema`, which has one column.
    pub fn new(schema: Schema, style: CellStyle) -> Self {
        LinesEncoder { schema, style }
    }
}

impl Encoder for LinesEncoder {
    /// There is none.
    fn header(&mut self, _: &mut Vec<u8>) {}

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>, rejects: &mut Rejects) {
        let cell = Cell::new(batch.records.column(0));
        for row in 0..batch.rows() {
            let start = out.len();
            let written = cell.write(row, &self.style, &one_line, out);
            let like_null = self.style.marked && out[start..] == *self.style.null.as_bytes() && cell.is_valid(row);
            match written.and(if like_null { Err(LIKE_NULL) } else { Ok(()) }) {
                Ok(()) => out.push(b'\n'),
                Err(why) => {
                    out.truncate(start);
                    let message = format!("column `{}`: {why}", self.schema.columns()[0].name);
                    rejects.push(batch, row, RejectCode("unrepresentable"), message);
                }
            }
        }
    }
}

fn one_line(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    if memchr::memchr2(b'\n', b'\r', text).is_some() {
        return Err("a line cannot hold a line end");
    }
    out.extend_from_slice(text);
    Ok(())
}
