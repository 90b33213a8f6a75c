//! Comma-separated values after RFC 4180: a field may stand in quotes, and then holds separators, line ends
//! and, doubled, quotes. The separator can be another character.
//!
//! A quote that is not the first character of its field is data. Text after a closing quote makes the record
//! a reject, and so does a quote that is never closed: then only the lines up to the one it stands in are
//! lost, and reading goes on with the next. A field in quotes is never null, but for an empty one in a column that
//! has no empty value, such as one of numbers, where an empty field is.
//!
//! A blank line is passed over and counts as a line, unless records have just one field.

mod encode;
mod field;

use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;

pub use self::encode::CsvEncoder;
use self::field::{Ending, Form, Unfinished};
use super::{
    Chunk, Decoded, Decoder, Extra, Missing, RecordEnd, Shape, Start, first_line,
    header::Header,
    records::{self, Limits, Line, Read},
};
use crate::{
    batch::{RejectCode, Rejects, Schema},
    failure::Failure,
    values::{
        columns::ColumnSpec,
        fields::{Field, FieldColumn},
    },
};

/// Decodes the records of one file.
pub struct CsvDecoder {
    schema: SchemaRef,
    columns: Vec<FieldColumn>,
    header: Header,
    shape: Shape,
    separator: u8,
    multiline: bool,
    /// Text that had to be written anew: with its quotes no longer doubled.
    side: Vec<u8>,
    limits: Limits,
}

/// What may stand between fields.
pub const SEPARATOR_RULE: &str = "a `separator` is one ASCII character, but no letter, digit, quote or line end";

/// May this text stand between fields?
pub fn is_separator(text: &str) -> bool {
    matches!(text.as_bytes(), [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n\0".contains(byte))
}

/// The byte between fields: a comma unless given.
pub fn separator(text: Option<&str>) -> u8 {
    text.and_then(|text| text.bytes().next()).unwrap_or(b',')
}

/// The fields of a header.
///
/// # Errors
/// It is not a record; the sentence says why.
pub fn names(record: &[u8], separator: u8) -> Result<Vec<String>, String> {
    let form = Form { separator, line_end: super::blocks::LineEnd::Lf, last: true };
    let record = [record, b"\n"].concat();
    let mut names = Vec::new();
    let mut at = 0;
    loop {
        let cut = form.field(&record, at).map_err(|_| "its header has a quote that is not closed".to_owned())?;
        if cut.behind_quote {
            return Err(format!("its header has text after the closing quote of field {}", names.len() + 1));
        }
        let mut name = record[cut.text].to_vec();
        if cut.doubled {
            field::undouble(&std::mem::take(&mut name), &mut name);
        }
        names.push(String::from_utf8(name).map_err(|_| "its header is not UTF-8".to_owned())?);
        match cut.ending {
            Ending::Field => at = cut.next,
            Ending::Record => return Ok(names),
        }
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub struct CsvStyle<'a> {
    /// What stands between fields.
    pub separator: u8,
    /// May a field in quotes hold line ends?
    pub multiline: bool,
    /// The text that means that there is no value.
    pub null: Option<&'a str>,
}

/// A record as it lies in a block.
struct Record {
    end: usize,
    next: usize,
    lines: u32,
    /// `None`: it is too long.
    became: Option<Line>,
}

impl CsvDecoder {
    /// A decoder for batches of at most `max_rows` records of at most `max_record` bytes each.
    pub fn new(specs: &[ColumnSpec], schema: &Schema, style: CsvStyle<'_>, max_rows: usize, max_record: usize) -> Self {
        CsvDecoder {
            schema: schema.arrow(),
            columns: specs.iter().map(|spec| FieldColumn::new(spec, style.null)).collect(),
            header: Header::of(specs.len()),
            shape: Shape { missing: Missing::Reject, extra: Extra::Ignore },
            separator: style.separator,
            multiline: style.multiline,
            side: Vec::new(),
            limits: Limits { rows: max_rows.max(1), record: max_record },
        }
    }

    /// The same with another answer to fields that are missing or not known.
    pub fn shaped(self, shape: Shape) -> Self {
        CsvDecoder { shape, ..self }
    }

    /// Takes back what came of a record that is not a row.
    fn truncate(&mut self, rows: usize, side: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
        self.side.truncate(side);
    }

    /// How the records of a chunk are written.
    fn form(&self, chunk: &Chunk) -> Form {
        Form { separator: self.separator, line_end: chunk.line_end, last: chunk.last }
    }

    /// Reads the record at `start`.
    #[inline]
    fn next(&mut self, chunk: &Chunk, start: usize) -> Result<Record, Unfinished> {
        let form = self.form(chunk);
        if self.multiline {
            return self.record(chunk, &chunk.bytes, start, form);
        }
        let (end, next) = chunk.line_end.find_or_end(&chunk.bytes, start);
        let form = Form { last: true, ..form };
        match self.record(chunk, &chunk.bytes[..end], start, form) {
            Ok(record) => Ok(Record { next, ..record }),
            Err(_) => {
                let became = Line::Bad(OPEN_QUOTE, "a quote is not closed in its line".to_owned());
                Ok(Record { end, next, lines: 1, became: Some(became) })
            }
        }
    }

    /// Reads the record at `start` of `bytes`, which are the chunk's or less.
    #[inline]
    fn record(&mut self, chunk: &Chunk, bytes: &[u8], start: usize, form: Form) -> Result<Record, Unfinished> {
        let (mut at, mut lines, mut field) = (start, 1, 0);
        let mut bad = None;
        loop {
            let cut = form.field(bytes, at)?;
            lines += cut.line_ends;
            if let Some(Some(column)) = self.header.fields.get(field)
                && bad.is_none()
            {
                bad = self.push(*column, chunk, bytes, &cut).err();
            } else if self.header.open_end && bad.is_none() {
                bad = self.header.beyond(field, &bytes[cut.text.clone()], self.shape);
            }
            if cut.behind_quote {
                bad = Some((BAD_QUOTE, format!("field {}: text after the closing quote", field + 1)));
            }
            field += 1;
            match cut.ending {
                Ending::Field => at = cut.next,
                Ending::Record => {
                    let blank = cut.end == start && self.header.fields.len() > 1 && !cut.quoted;
                    self.header.absent.iter().for_each(|column| self.columns[*column].push_absent());
                    let became = if blank { Line::Blank } else { self.judge(field, bad) };
                    return Ok(Record { end: cut.end, next: cut.next, lines, became: Some(became) });
                }
            }
        }
    }

    /// Appends a field to its column.
    #[inline]
    fn push(
        &mut self,
        column: usize,
        chunk: &Chunk,
        bytes: &[u8],
        cut: &field::Cut,
    ) -> Result<(), (RejectCode, String)> {
        let column = &mut self.columns[column];
        let (quoted, utf8) = (cut.quoted, chunk.utf8);
        let raw = &bytes[cut.text.clone()];
        let field = if cut.doubled {
            let offset = self.side.len();
            field::undouble(raw, &mut self.side);
            Field { text: &self.side[offset..], offset, buffer: 1, quoted, utf8 }
        } else {
            Field { text: raw, offset: cut.text.start, buffer: 0, quoted, utf8 }
        };
        column.push(field).map_err(|bad| (bad.code, column.explain(field.text, &bad)))
    }

    /// What a record of so many fields is. One of another shape is refused for that: its values stand in wrong
    /// places.
    #[inline]
    fn judge(&self, found: usize, bad: Option<(RejectCode, String)>) -> Line {
        let expected = self.header.fields.len();
        match bad {
            Some((BAD_QUOTE, message)) => Line::Bad(BAD_QUOTE, message),
            _ if !self.header.has(found) => {
                let s = if expected == 1 { "" } else { "s" };
                Line::Bad(RejectCode("field_count"), format!("expected {expected} field{s}, found {found}"))
            }
            Some((code, message)) => Line::Bad(code, message),
            None => Line::Row,
        }
    }

    /// What is done with a record that has no end, because the quote at `quote` is open and nothing follows.
    #[cold]
    fn never_closed(&self, chunk: &Chunk, start: usize, quote: usize) -> Record {
        let (end, next) = chunk.line_end.find_or_end(&chunk.bytes, quote);
        self.open_quote(chunk, start, quote, (end, next), "never closed")
    }

    /// What is done with a record that is too long. That depends on as many bytes of it as it may have and on no
    /// others, so that it is the same whatever the blocks: where a quote is open behind them whose line ends in them,
    /// the lines up to that one are lost, and else all up to the next line end. `None`: that is not in this chunk.
    #[cold]
    fn beyond_limit(&self, chunk: &Chunk, start: usize) -> Option<Record> {
        let (len, limit) = (chunk.bytes.len(), start + self.limits.record);
        let form = Form { last: false, ..self.form(chunk) };
        let allowed = &chunk.bytes[..len.min(limit + 1)];
        let mut at = start;
        let quote = loop {
            match form.field(allowed, at) {
                Ok(cut) if cut.ending == Ending::Field => at = cut.next,
                Ok(_) => break None,
                Err(unfinished) => break unfinished.quote,
            }
        };
        if let Some((quote, ends)) = quote.and_then(|quote| Some((quote, chunk.line_end.find(allowed, quote)?))) {
            let how = format!("not closed within {} bytes", self.limits.record);
            return Some(self.open_quote(chunk, start, quote, ends, &how));
        }
        let (end, next) = match chunk.line_end.find(&chunk.bytes, limit) {
            Some(found) => found,
            None if chunk.last => (len, len),
            None => return None,
        };
        Some(Record { end, next, lines: chunk.line_end.count(&chunk.bytes[start..limit]) + 1, became: None })
    }

    /// The record at `start`, of which only the lines up to that of an open quote are given up.
    fn open_quote(&self, chunk: &Chunk, start: usize, quote: usize, ends: (usize, usize), how: &str) -> Record {
        let lines = chunk.line_end.count(&chunk.bytes[start..quote]) + 1;
        let which = if lines == 1 { "a quote".to_owned() } else { format!("the quote in line {lines} of the record") };
        let became = Some(Line::Bad(OPEN_QUOTE, format!("{which} is {how}")));
        Record { end: ends.0, next: ends.1, lines, became }
    }
}

const OPEN_QUOTE: RejectCode = RejectCode("open_quote");
const BAD_QUOTE: RejectCode = RejectCode("bad_quote");

impl Decoder for CsvDecoder {
    fn quotes(&self) -> Option<u8> {
        self.multiline.then_some(self.separator)
    }

    fn first_record(&self, chunk: &Chunk) -> Option<RecordEnd> {
        if !self.multiline {
            return Some(first_line(chunk));
        }
        let form = self.form(chunk);
        let (mut at, mut lines) = (0, 1);
        loop {
            let cut = form.field(&chunk.bytes, at).ok()?;
            lines += u64::from(cut.line_ends);
            match cut.ending {
                Ending::Field => at = cut.next,
                Ending::Record => return Some(RecordEnd { end: cut.end, next: cut.next, lines }),
            }
        }
    }

    fn header(&mut self, record: &[u8]) -> Result<(), String> {
        self.header = Header::read(names(record, self.separator)?, &self.columns, self.shape)?;
        Ok(())
    }

    fn decode(&mut self, chunk: &Chunk, start: Start, rejects: &mut Rejects) -> Result<Decoded, Failure> {
        let limits = self.limits;
        let mut read = Read::new();
        let mut rows = 0;
        while read.used < chunk.bytes.len() && read.len() < limits.rows {
            let at = read.used;
            let side = self.side.len();
            let found = self.next(chunk, at);
            let len = found.as_ref().map_or(chunk.bytes.len(), |record| record.end) - at;
            let record = match found {
                _ if self.multiline && len > limits.record => self.beyond_limit(chunk, at),
                Ok(record) => Some(record),
                Err(Unfinished { quote: Some(quote) }) if chunk.last => Some(self.never_closed(chunk, at, quote)),
                Err(_) => None,
            };
            let Some(record) = record else {
                self.truncate(rows, side);
                break;
            };
            let became = record.became.filter(|_| record.end - at <= limits.record);
            if let Some(Line::Row) = became {
                rows += 1;
            } else {
                self.truncate(rows, side);
            }
            read.take(chunk, start, limits, rejects, at..record.end, became);
            read.step(record.next, record.lines);
        }
        let mut buffers = vec![chunk.bytes.slice_with_length(0, read.used)];
        if !self.side.is_empty() {
            let room = Vec::with_capacity(self.side.len());
            buffers.push(Buffer::from_vec(std::mem::replace(&mut self.side, room)));
        }
        let columns = self.columns.iter_mut().map(|column| column.finish(&buffers)).collect();
        Ok(read.decoded(records::batch(&self.schema, columns)?, chunk, start))
    }
}
