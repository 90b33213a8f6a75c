//! What transforms share that hold rows in memory: rows cut loose from the blocks they were read in, and what they emit
//! at the end.

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_select::take::take;

pub(super) use crate::exchange::fits;
use crate::{batch::Schema, failure::Failure, stage::Made, values::compact};

/// What `runner plan` says of a stage that spills.
pub(super) const SPILLS: &str = "spills what does not fit into memory";

/// Bytes of a batch that is emitted at the end, where rows come back that were spilled or sorted.
pub(super) const OUT: usize = 4 << 20;

/// Rows of a batch that is emitted at the end.
const ROWS: usize = 8192;

/// The rows at `rows`, with no tie to the block they came from.
pub(super) fn loose(array: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, Failure> {
    Ok(compact(&fits(take(array, rows, None))?))
}

/// Bytes that a loose array takes.
pub(super) fn bytes(array: &ArrayRef) -> usize {
    array.get_array_memory_size()
}

/// A result that is emitted a batch at a time.
#[derive(Debug)]
pub(super) struct Output {
    records: RecordBatch,
    /// Rows that are rejects instead, ascending.
    refused: std::iter::Peekable<std::vec::IntoIter<Refused>>,
    at: usize,
}

/// A row of a result, and why it is a reject.
pub(super) type Refused = (u32, crate::batch::RejectCode, String);

impl Output {
    /// All of the result; `refused` names the rows of it that are rejects, ascending.
    pub(super) fn new(records: RecordBatch, refused: Vec<Refused>) -> Self {
        Output { records, refused: refused.into_iter().peekable(), at: 0 }
    }

    /// Nothing.
    pub(super) fn none(schema: &Schema) -> Self {
        Output::new(RecordBatch::new_empty(schema.arrow()), Vec::new())
    }

    /// The next batch; nothing once all is out.
    pub(super) fn next(&mut self) -> Option<Made> {
        let len = ROWS.min(self.records.num_rows() - self.at);
        if len == 0 {
            return None;
        }
        let part = self.records.slice(self.at, len);
        let columns = part.columns().iter().map(compact).collect();
        let records = RecordBatch::try_new(part.schema(), columns).unwrap_or(part);
        let (start, end) = (self.at as u32, (self.at + len) as u32);
        self.at += len;
        let mine = std::iter::from_fn(|| self.refused.next_if(|(row, ..)| *row < end));
        let refused = mine.map(|(row, code, why)| (row - start, code, why)).collect();
        Some(Made { records, refused })
    }
}
