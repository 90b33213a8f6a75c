//! Tab-separated values, as IANA registered them: one record per line, fields separated by tabs, no quotes,
//! no escapes. A value that holds a tab or a line end cannot be written.
//!
//! A blank line is passed over and counts as a line, unless records have just one field: there it is a
//! record whose field is empty.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use memchr::{memchr, memchr_iter};

use super::{
    Chunk, Decoded, Decoder, Encoder, Start,
    cells::{Cell, CellStyle},
    columns::ColumnSpec,
    fields::{Field, FieldColumn, shown},
    too_long,
};
use crate::{
    batch::{Batch, Block, Position, Raw, Reject, RejectCode, Rejects, Schema},
    failure::{Exit, Failure},
    spec,
};

const TAB: u8 = b'\t';

/// Decodes the records of one file.
pub struct TsvDecoder {
    schema: SchemaRef,
    columns: Vec<FieldColumn>,
    /// For each field of a record the column it fills.
    fields: Vec<Option<usize>>,
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
            fields: (0..specs.len()).map(Some).collect(),
            max_rows: max_rows.max(1),
            max_record,
        }
    }

    /// Decodes one record; on an error, columns may have got part of it.
    #[inline]
    fn record(&mut self, chunk: &Chunk, start: usize, end: usize) -> Result<(), (RejectCode, String)> {
        let bytes = &chunk.bytes[..end];
        let mut at = start;
        let mut field = 0;
        loop {
            let stop = memchr(TAB, &bytes[at..]).map_or(end, |len| at + len);
            match self.fields.get(field) {
                Some(Some(column)) => {
                    let column = &mut self.columns[*column];
                    let text = &bytes[at..stop];
                    if let Err(bad) = column.push(Field { text, offset: at, utf8: chunk.utf8 }) {
                        // A record of another shape is refused for that: its values stand in wrong places.
                        let message = column.explain(text, &bad);
                        return self.count(&bytes[start..]).and(Err((bad.code, message)));
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
        if field == self.fields.len() { Ok(()) } else { self.count(&bytes[start..]) }
    }

    /// Has the record as many fields as it should have?
    #[cold]
    fn count(&self, record: &[u8]) -> Result<(), (RejectCode, String)> {
        let (expected, found) = (self.fields.len(), memchr_iter(TAB, record).count() + 1);
        if expected == found {
            return Ok(());
        }
        let s = if expected == 1 { "" } else { "s" };
        Err((RejectCode("field_count"), format!("expected {expected} field{s}, found {found}")))
    }

    fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    fn finish(&mut self, chunk: &Chunk, used: usize) -> Result<RecordBatch, Failure> {
        let block = chunk.bytes.slice_with_length(0, used);
        let columns = self.columns.iter_mut().map(|column| column.finish(&block)).collect::<Result<_, _>>();
        columns
            .and_then(|columns| RecordBatch::try_new(Arc::clone(&self.schema), columns))
            .map_err(|error| Failure::new(Exit::Bug, format!("decoded columns do not fit together: {error}")))
    }
}

impl Decoder for TsvDecoder {
    fn header(&mut self, record: &[u8]) -> Result<(), String> {
        let record = std::str::from_utf8(record).map_err(|_| "its header is not UTF-8".to_owned())?;
        let names: Vec<&str> = record.split('\t').collect();
        let declared = |name: &str| self.columns.iter().any(|column| column.name() == name);
        let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name) && declared(name));
        if let Some((i, name)) = twice {
            let name = shown(name.as_bytes());
            return Err(format!("its header names `{name}` twice, the second time in field {}", i + 1));
        }
        if let Some(missing) = self.columns.iter().find(|column| !names.contains(&column.name())) {
            // What is no header may be long.
            let help = spec::nearest(missing.name(), names.iter().copied()).filter(|help| help.len() < 500);
            let help = help.map_or(String::new(), |help| format!("; {}", help.replace("legal here", "it has")));
            return Err(format!("its header has no column `{}`{help}", missing.name()));
        }
        self.fields = names.iter().map(|name| self.columns.iter().position(|column| column.name() == *name)).collect();
        Ok(())
    }

    fn decode(&mut self, chunk: &Chunk, start: Start, rejects: &mut Rejects) -> Result<Decoded, Failure> {
        let bytes: &[u8] = &chunk.bytes;
        let skip_blank = self.fields.len() > 1;
        let mut records = Records::default();
        let (mut at, mut line, mut rows) = (0, 0_u32, 0);
        while at < bytes.len() && records.starts.len() < self.max_rows {
            let (end, next) = chunk.line_end.find(bytes, at).unwrap_or((bytes.len(), bytes.len()));
            if end > at || !skip_blank {
                let taken = if end - at > self.max_record {
                    let position = records.position(start, line);
                    rejects.add(too_long(start.split, position, &bytes[at..end], self.max_record));
                    false
                } else if let Err((code, message)) = self.record(chunk, at, end) {
                    self.truncate(rows);
                    let (split, position) = (start.split, records.position(start, line));
                    rejects.add(Reject { code, message, split, position, record: bytes[at..end].to_vec() });
                    false
                } else {
                    true
                };
                records.push(at, end, line, taken);
                rows += usize::from(taken);
            }
            line += 1;
            at = next;
        }
        let batch = self.finish(chunk, at)?;
        Ok(records.decoded(batch, chunk, start, at, line))
    }
}

/// The records of a batch while it is read.
#[derive(Default)]
struct Records {
    starts: Vec<u32>,
    ends: Vec<u32>,
    /// Lines before the first record: blank ones.
    first_line: u32,
    /// Line of each record, less that of the first; empty while every line is a record.
    lines: Vec<u32>,
    /// The records that are rows; empty while all are.
    picked: Vec<u32>,
    rejected: bool,
}

impl Records {
    fn position(&self, start: Start, line: u32) -> Position {
        Position { record: start.record + self.starts.len() as u64, line: start.line + u64::from(line) }
    }

    #[inline]
    fn push(&mut self, start: usize, end: usize, line: u32, taken: bool) {
        let record = self.starts.len() as u32;
        if record == 0 {
            self.first_line = line;
        }
        let line = line - self.first_line;
        if line != record && self.lines.is_empty() {
            self.lines.extend(0..record);
        }
        if !self.lines.is_empty() {
            self.lines.push(line);
        }
        if !taken && !self.rejected {
            self.rejected = true;
            self.picked.extend(0..record);
        }
        if taken && self.rejected {
            self.picked.push(record);
        }
        self.starts.push(start as u32);
        self.ends.push(end as u32);
    }

    fn decoded(self, records: RecordBatch, chunk: &Chunk, start: Start, used: usize, lines: u32) -> Decoded {
        let records_read = self.starts.len() as u64;
        let bytes = chunk.bytes.slice_with_length(0, used);
        let block = Block {
            first_record: start.record,
            first_line: start.line + u64::from(self.first_line),
            lines: (!self.lines.is_empty()).then(|| self.lines.into()),
            raw: Some(Raw { bytes, starts: self.starts.into(), ends: self.ends.into() }),
        };
        let picked = self.rejected.then_some(self.picked);
        Decoded { records, block, picked, records_read, lines_read: u64::from(lines), bytes_read: used }
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
        cell.write(row, style, &write_text, out).map_err(|why| (i, why))?;
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
