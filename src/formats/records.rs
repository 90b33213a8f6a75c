//! The records of a batch while it is read: where each lies, which line it is, which became rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};

use super::{Chunk, Decoded, Start, too_long};
use crate::{
    batch::{Block, Position, Raw, Reject, RejectCode, Rejects},
    failure::{Exit, Failure},
};

/// How much a batch takes.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Records of a batch.
    pub(super) rows: usize,
    /// Bytes of a record.
    pub(super) record: usize,
}

/// What a line turned out to be.
pub(super) enum Line {
    /// A row.
    Row,
    /// No record.
    Blank,
    /// A record that is refused.
    Bad(RejectCode, String),
}

/// What was read of a chunk.
pub(super) struct Read {
    records: Records,
    /// Bytes used up.
    pub(super) used: usize,
    lines: u32,
}

/// Reads records that are one line each: `line` gets where each starts and ends.
#[inline]
pub(super) fn read_lines(
    chunk: &Chunk,
    start: Start,
    limits: Limits,
    rejects: &mut Rejects,
    mut line: impl FnMut(usize, usize) -> Line,
) -> Read {
    let bytes: &[u8] = &chunk.bytes;
    let mut read = Read::new();
    while read.used < bytes.len() && read.records.len() < limits.rows {
        let at = read.used;
        let (end, next) = chunk.line_end.find_or_end(bytes, at);
        let became = if end - at > limits.record { None } else { Some(line(at, end)) };
        read.take(chunk, start, limits, rejects, at..end, became);
        read.step(next, 1);
    }
    read
}

impl Read {
    pub(super) fn new() -> Self {
        Read { records: Records::default(), used: 0, lines: 0 }
    }

    /// Records so far.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Goes on at `next`, so many lines further.
    #[inline]
    pub(super) fn step(&mut self, next: usize, lines: u32) {
        self.used = next;
        self.lines += lines;
    }

    /// Notes what became of the record at `place`; `None` is a record that is too long.
    #[inline]
    pub(super) fn take(
        &mut self,
        chunk: &Chunk,
        start: Start,
        limits: Limits,
        rejects: &mut Rejects,
        place: std::ops::Range<usize>,
        became: Option<Line>,
    ) {
        let taken = match became {
            Some(Line::Row) => true,
            Some(Line::Blank) => return,
            refused => {
                let (text, position) = (&chunk.bytes[place.clone()], self.position(start));
                rejects.add(match refused {
                    Some(Line::Bad(code, message)) => {
                        Reject::unread(code, message, start.split, position, text.to_vec())
                    }
                    _ => too_long(start.split, position, text, limits.record),
                });
                false
            }
        };
        self.records.push(place.start, place.end, self.lines, taken);
    }

    fn position(&self, start: Start) -> Position {
        Position { record: start.record + self.records.len() as u64, line: start.line + u64::from(self.lines) }
    }

    /// The rows and what is known of their records.
    pub(super) fn decoded(self, rows: RecordBatch, chunk: &Chunk, start: Start) -> Decoded {
        let Read { records, used, lines } = self;
        let records_read = records.len() as u64;
        let bytes = chunk.bytes.slice_with_length(0, used);
        let block = Block {
            first_record: start.record,
            first_line: start.line + u64::from(records.first_line),
            records: None,
            lines: (!records.lines.is_empty()).then(|| records.lines.into()),
            raw: Some(Raw { bytes, starts: records.starts.into(), ends: records.ends.into() }),
        };
        let picked = records.rejected.then_some(records.picked);
        Decoded { records: rows, block, picked, records_read, lines_read: u64::from(lines), bytes_read: used }
    }
}

/// A batch of decoded columns.
pub(super) fn batch(schema: &SchemaRef, columns: Result<Vec<ArrayRef>, ArrowError>) -> Result<RecordBatch, Failure> {
    columns
        .and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns))
        .map_err(|error| Failure::new(Exit::Bug, format!("decoded columns do not fit together: {error}")))
}

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
    fn len(&self) -> usize {
        self.starts.len()
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
}
