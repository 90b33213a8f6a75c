//! Records in motion: a batch of typed columns, where each row came from, and rows that were refused.
//!
//! Pure data. Nothing here knows of threads, files or job specs.

pub mod json;
mod origin;
mod reject;
mod types;

pub use origin::{Block, Origin, Position, Raw, SplitId};
pub use reject::{Reject, RejectCode, Rejects};
pub use types::{Column, ColumnType, Schema, TypeError};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;

/// Typed columns plus the origin of every row.
///
/// `origin.len() == records.num_rows()` always holds.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The columns.
    pub records: RecordBatch,
    /// Where each row came from.
    pub origin: Origin,
}

impl Batch {
    /// A batch; `origin` describes exactly the rows of `records`.
    pub fn new(records: RecordBatch, origin: Origin) -> Self {
        debug_assert_eq!(records.num_rows(), origin.len());
        Batch { records, origin }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.records.num_rows()
    }

    /// Bytes of memory this batch keeps alive, roughly: shared buffers count in full.
    pub fn bytes(&self) -> usize {
        self.records.get_array_memory_size().max(self.origin.raw_bytes())
    }

    /// The rows at `rows` (ascending indices into this batch), with their origins.
    pub fn pick(&self, rows: Vec<u32>) -> Batch {
        let origin = self.origin.pick(&rows);
        let indices = UInt32Array::from(rows);
        let records = take_record_batch(&self.records, &indices)
            .expect("indices lie within the batch and every column type can be taken");
        Batch { records, origin }
    }

    /// `len` rows from `start` on, without copying values.
    pub fn slice(&self, start: usize, len: usize) -> Batch {
        Batch { records: self.records.slice(start, len), origin: self.origin.slice(start, len) }
    }
}
