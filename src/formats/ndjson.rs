//! Newline-delimited JSON: one object per line.
//!
//! A line is checked as a whole, also where nobody wants its values: what is not JSON (RFC 8259), is nested
//! deeper than 128 levels or is not UTF-8 is refused. Only declared fields are made values of. Text without
//! escapes is a view into the block that was read; `json` is, byte for byte, what stands in the file.
//!
//! Of a name that a record has twice, the last one counts, but all must be of the type. A missing field is null. Lines of nothing
//! but spaces are not records.

mod column;
mod encode;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;

use self::column::{JsonColumn, Wrong};
pub use self::encode::NdjsonEncoder;
use super::{
    Chunk, Decoded, Decoder, Extra, Missing, Shape, Start,
    records::{self, Limits, Line, read_lines},
};
use crate::{
    batch::{RejectCode, Rejects, Schema},
    failure::Failure,
    values::{
        columns::ColumnSpec,
        fields::shown,
        json::scan::{self, NoJson, Scanner, Text, Why, unescape},
    },
};

/// Decodes the records of one file.
pub struct NdjsonDecoder {
    schema: SchemaRef,
    columns: Vec<JsonColumn>,
    names: HashMap<Box<[u8]>, usize>,
    /// The names of a record's fields in the order in which they came first, with the columns they fill. Most
    /// records are alike: comparing with the name that was there before finds the column.
    layout: Vec<(Box<[u8]>, Option<usize>)>,
    /// Text that had to be written anew: without its escapes.
    side: Vec<u8>,
    limits: Limits,
    shape: Shape,
}

/// Names of so many fields are remembered.
const LAYOUT: usize = 1000;

impl NdjsonDecoder {
    /// A decoder for batches of at most `max_rows` records of at most `max_record` bytes each.
    pub fn new(specs: &[ColumnSpec], schema: &Schema, max_rows: usize, max_record: usize) -> Self {
        NdjsonDecoder {
            schema: schema.arrow(),
            columns: specs.iter().map(JsonColumn::new).collect(),
            names: specs.iter().enumerate().map(|(i, spec)| (spec.name.as_bytes().into(), i)).collect(),
            layout: Vec::new(),
            side: Vec::new(),
            limits: Limits { rows: max_rows.max(1), record: max_record },
            shape: Shape { missing: Missing::Null, extra: Extra::Ignore },
        }
    }

    /// The same with another answer to fields that are missing or not known.
    pub fn shaped(self, shape: Shape) -> Self {
        NdjsonDecoder { shape, ..self }
    }

    /// Decodes the record at the end of `text`. False where there is none. On an error, columns may have got
    /// part of it.
    #[inline]
    fn record(&mut self, text: &[u8], start: usize, rows: usize) -> Result<bool, Wrong> {
        let mut scanner = Scanner { text, at: start };
        match scanner.token() {
            b'{' => scanner.at += 1,
            0 if scanner.at == text.len() => return Ok(false),
            _ => return Err(Wrong::Shape),
        }
        let mut filled = 0;
        if scanner.token() == b'}' {
            scanner.at += 1;
        } else {
            for field in 0.. {
                let key = scanner.key()?;
                match self.column(text, key, field) {
                    Some(column) => {
                        let column = &mut self.columns[column];
                        filled += usize::from(column.value(&mut scanner, &mut self.side, rows)?);
                    }
                    None if self.shape.extra == Extra::Reject => return Err(Wrong::Unknown(key.range())),
                    None => scanner.skip(1)?,
                }
                match scanner.token() {
                    b',' => scanner.at += 1,
                    b'}' => break,
                    _ => return Err(scanner.expected("`,` or `}`").into()),
                }
            }
            scanner.at += 1;
        }
        if scanner.token() != 0 || scanner.at < text.len() {
            return Err(scanner.expected("the end of the line").into());
        }
        if filled < self.columns.len() {
            self.missing(rows)?;
        }
        Ok(true)
    }

    /// The column that a field fills, the `field`th of its record.
    #[inline]
    fn column(&mut self, text: &[u8], key: Text, field: usize) -> Option<usize> {
        let name = &text[key.range()];
        match self.layout.get(field) {
            Some((known, column)) if **known == *name && !key.escaped => *column,
            _ => self.look_up(name, key.escaped, field),
        }
    }

    fn look_up(&mut self, name: &[u8], escaped: bool, field: usize) -> Option<usize> {
        if escaped {
            let mut plain = Vec::new();
            unescape(name, &mut plain).ok()?;
            return self.names.get(plain.as_slice()).copied();
        }
        let column = self.names.get(name).copied();
        if field == self.layout.len() && field < LAYOUT {
            self.layout.push((name.into(), column));
        }
        column
    }

    #[cold]
    fn missing(&mut self, rows: usize) -> Result<(), Wrong> {
        let lacking = self.columns.iter_mut().enumerate().filter(|(_, column)| column.rows() == rows);
        for (i, column) in lacking {
            if self.shape.missing == Missing::Reject || !column.push_null() {
                return Err(Wrong::Missing(i));
            }
        }
        Ok(())
    }

    /// Why a record is refused. What is not JSON is refused for that, whatever its values.
    #[cold]
    fn refuse(&self, text: &[u8], start: usize, wrong: Wrong) -> Line {
        if let Err(error) = std::str::from_utf8(&text[start..]) {
            let message = format!("not UTF-8 at byte {}", error.valid_up_to() + 1);
            return Line::Bad(RejectCode("invalid_utf8"), message);
        }
        let mut scanner = Scanner { text, at: start };
        let whole = scanner.skip(0).and_then(|()| match scanner.token() {
            0 if scanner.at == text.len() => Ok(()),
            _ => Err(scanner.expected("the end of the line")),
        });
        if let Err(error) = whole {
            return no_json(error, text, start);
        }
        match wrong {
            Wrong::Json(error) => no_json(error, text, start),
            Wrong::Shape => {
                let first = text[start..].iter().find(|byte| !byte.is_ascii_whitespace());
                let message = if first == Some(&b'[') {
                    "the record is a list, not an object"
                } else {
                    "the record is not an object"
                };
                Line::Bad(RejectCode("bad_type"), message.to_owned())
            }
            Wrong::Missing(column) => {
                let (name, nullable) = (self.columns[column].name(), self.columns[column].is_nullable());
                let why = if nullable { "" } else { " and not nullable" };
                Line::Bad(RejectCode("missing_field"), format!("column `{name}` is missing{why}"))
            }
            Wrong::Unknown(name) => {
                let name = shown(&text[name]);
                let message = format!("field `{name}` was not there when the columns were inferred");
                Line::Bad(RejectCode("unknown_field"), message)
            }
            Wrong::Value(bad) => Line::Bad(bad.code, bad.message.into_string()),
        }
    }
}

fn no_json(error: NoJson, text: &[u8], start: usize) -> Line {
    let byte = error.at - start + 1;
    match error.why {
        Why::TooDeep => {
            Line::Bad(RejectCode("too_deep"), format!("byte {byte}: nested deeper than {} levels", scan::MAX_DEPTH))
        }
        Why::Expected(what) => {
            let found = match std::str::from_utf8(&text[error.at..]).ok().and_then(|rest| rest.chars().next()) {
                Some(character) => format!("found `{}`", shown(character.escape_debug().to_string().as_bytes())),
                None => "found the end of the line".to_owned(),
            };
            Line::Bad(RejectCode("bad_json"), format!("byte {byte}: expected {what}, {found}"))
        }
    }
}

impl Decoder for NdjsonDecoder {
    fn header(&mut self, _: &[u8]) -> Result<(), String> {
        Err("ndjson has no header".to_owned())
    }

    fn decode(&mut self, chunk: &Chunk, start: Start, rejects: &mut Rejects) -> Result<Decoded, Failure> {
        let limits = self.limits;
        let mut rows = 0;
        let read = read_lines(chunk, start, limits, rejects, |at, end| {
            let text = &chunk.bytes[..end];
            let side = self.side.len();
            let result = if chunk.utf8 || simdutf8::basic::from_utf8(&text[at..]).is_ok() {
                self.record(text, at, rows)
            } else {
                Err(Wrong::Shape)
            };
            match result {
                Ok(true) => {
                    rows += 1;
                    Line::Row
                }
                Ok(false) => Line::Blank,
                Err(wrong) => {
                    self.columns.iter_mut().for_each(|column| column.truncate(rows));
                    self.side.truncate(side);
                    self.refuse(text, at, wrong)
                }
            }
        });
        let mut buffers = vec![chunk.bytes.slice_with_length(0, read.used)];
        if !self.side.is_empty() {
            let room = Vec::with_capacity(self.side.len());
            buffers.push(Buffer::from_vec(std::mem::replace(&mut self.side, room)));
        }
        let columns = self.columns.iter_mut().map(|column| column.finish(&buffers)).collect();
        Ok(read.decoded(records::batch(&self.schema, columns)?, chunk, start))
    }
}
