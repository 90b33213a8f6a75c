//! Tab-separated values, as IANA registered them: one record per line, fields separated by tabs, no quotes,
//! no escapes. A value that holds a tab or a line end, or is the text of `null`, cannot be written.
//!
//! A blank line is passed over and counts as a line, unless records have just one field: there it is a
//! record whose field is empty.

use arrow_schema::SchemaRef;
use memchr::{memchr, memchr_iter};

use super::{
    Chunk, Decoded, Decoder, Encoder, Extra, Missing, Shape, Start,
    header::Header,
    records::{self, Limits, Line, read_lines},
};
use crate::{
    batch::{Batch, RejectCode, Rejects, Schema},
    failure::Failure,
    values::{
        cell::{Cell, CellStyle, LIKE_NULL},
        columns::ColumnSpec,
        fields::{Field, FieldColumn},
    },
};

const TAB: u8 = b'\t';

/// Decodes the records of one file.
pub struct TsvDecoder {
    schema: SchemaRef,
    columns: Vec<FieldColumn>,
    header: Header,
    shape: Shape,
    max_rows: usize,
    max_record: usize,
}

impl TsvDecoder {
    /// A decoder for batches of at most `max_rows` records of at most `max_record` bytes each. `null` is the
    /// text that means that there is no value.
    pub fn new(specs: &[ColumnSpec], schema: &Schema, null: Option<&str>, max_rows: usize, max_record: usize) -> Self {
        TsvDecoder {
            schema: schema.arrow(),
            columns: specs.iter().map(|spec| FieldColumn::new(spec, null)).collect(),
            header: Header::of(specs.len()),
            shape: Shape { missing: Missing::Reject, extra: Extra::Ignore },
            max_rows: max_rows.max(1),
            max_record,
        }
    }

    /// The same with another answer to fields that are missing or not known.
    pub fn shaped(self, shape: Shape) -> Self {
        TsvDecoder { shape, ..self }
    }

    /// Decodes one record; on an error, columns may have got part of it.
    #[inline]
    fn record(&mut self, chunk: &Chunk, start: usize, end: usize) -> Result<(), (RejectCode, String)> {
        let bytes = &chunk.bytes[..end];
        let mut at = start;
        let mut field = 0;
        loop {
            let stop = memchr(TAB, &bytes[at..]).map_or(end, |len| at + len);
            match self.header.fields.get(field) {
                Some(Some(column)) => {
                    let column = &mut self.columns[*column];
                    let text = &bytes[at..stop];
                    if let Err(bad) =
                        column.push(Field { text, offset: at, buffer: 0, quoted: false, utf8: chunk.utf8 })
                    {
                        // A record of another shape is refused for that: its values stand in wrong places.
                        let message = column.explain(text, &bad);
                        return self.count(&bytes[start..]).and(Err((bad.code, message)));
                    }
                }
                Some(None) if self.header.open_end => {
                    if let Some(bad) = self.header.beyond(field, &bytes[at..stop], self.shape) {
                        return self.count(&bytes[start..]).and(Err(bad));
                    }
                }
                Some(None) => {}
                None => return self.count(&bytes[start..]),
            }
            field += 1;
            if stop == end {
                break;
            }
            at = stop + 1;
        }
        self.header.absent.iter().for_each(|column| self.columns[*column].push_absent());
        if field == self.header.fields.len() { Ok(()) } else { self.count(&bytes[start..]) }
    }

    /// Has the record as many fields as it should have?
    #[cold]
    fn count(&self, record: &[u8]) -> Result<(), (RejectCode, String)> {
        let (expected, found) = (self.header.fields.len(), memchr_iter(TAB, record).count() + 1);
        if self.header.has(found) {
            return Ok(());
        }
        let s = if expected == 1 { "" } else { "s" };
        Err((RejectCode("field_count"), format!("expected {expected} field{s}, found {found}")))
    }
}

/// The fields of a header.
///
/// # Errors
/// It is not UTF-8.
pub fn names(record: &[u8]) -> Result<Vec<String>, String> {
    let record = std::str::from_utf8(record).map_err(|_| "its header is not UTF-8".to_owned())?;
    Ok(record.split('\t').map(str::to_owned).collect())
}

impl Decoder for TsvDecoder {
    fn header(&mut self, record: &[u8]) -> Result<(), String> {
        self.header = Header::read(names(record)?, &self.columns, self.shape)?;
        Ok(())
    }

    fn decode(&mut self, chunk: &Chunk, start: Start, rejects: &mut Rejects) -> Result<Decoded, Failure> {
        let skip_blank = self.header.fields.len() > 1;
        let limits = Limits { rows: self.max_rows, record: self.max_record };
        let mut rows = 0;
        let read = read_lines(chunk, start, limits, rejects, |at, end| {
            if at == end && skip_blank {
                return Line::Blank;
            }
            match self.record(chunk, at, end) {
                Ok(()) => {
                    rows += 1;
                    Line::Row
                }
                Err((code, message)) => {
                    self.columns.iter_mut().for_each(|column| column.truncate(rows));
                    Line::Bad(code, message)
                }
            }
        });
        let block = chunk.bytes.slice_with_length(0, read.used);
        let columns = self.columns.iter_mut().map(|column| column.finish(std::slice::from_ref(&block))).collect();
        Ok(read.decoded(records::batch(&self.schema, columns)?, chunk, start))
    }
}

/// Encodes batches of one schema.
pub struct TsvEncoder {
    schema: Schema,
    style: CellStyle,
}

impl TsvEncoder {
    /// An encoder for batches of `schema`.
    pub fn new(schema: Schema, style: CellStyle) -> Self {
        TsvEncoder { schema, style }
    }

    /// Can a header hold this name?
    pub fn fits_header(name: &str) -> bool {
        is_plain(name.as_bytes())
    }
}

impl Encoder for TsvEncoder {
    fn header(&mut self, out: &mut Vec<u8>) {
        for (i, column) in self.schema.columns().iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"" } else { b"\t" });
            out.extend_from_slice(column.name.as_bytes());
        }
        out.push(b'\n');
    }

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>, rejects: &mut Rejects) {
        let cells: Vec<Cell<'_>> = batch.records.columns().iter().map(Cell::new).collect();
        for row in 0..batch.rows() {
            let start = out.len();
            match encode_row(&cells, row, &self.style, out) {
                Ok(()) => out.push(b'\n'),
                Err((column, why)) => {
                    out.truncate(start);
                    let message = format!("column `{}`: {why}", self.schema.columns()[column].name);
                    rejects.push(batch, row, RejectCode("unrepresentable"), message);
                }
            }
        }
    }
}

/// Appends a row without its line end, or says which column cannot be written and why.
fn encode_row(
    cells: &[Cell<'_>],
    row: usize,
    style: &CellStyle,
    out: &mut Vec<u8>,
) -> Result<(), (usize, &'static str)> {
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            out.push(TAB);
        }
        let start = out.len();
        cell.write(row, style, &write_text, out).map_err(|why| (i, why))?;
        if style.marked && out[start..] == *style.null.as_bytes() && cell.is_valid(row) {
            return Err((i, LIKE_NULL));
        }
    }
    Ok(())
}

/// Appends text, if tsv can hold it.
fn write_text(text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !is_plain(text) {
        return Err("tsv cannot hold a tab or line end");
    }
    out.extend_from_slice(text);
    Ok(())
}

/// Is this text free of tabs and line ends?
fn is_plain(text: &[u8]) -> bool {
    memchr::memchr3(TAB, b'\n', b'\r', text).is_none()
}
