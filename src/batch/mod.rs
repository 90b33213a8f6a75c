//! Records in motion: a batch of typed columns, where each row came from, and rows that were refused.
//!
//! Pure data. Nothing here knows of threads, files or job specs.

mod origin;
mod reject;

pub use origin::{Block, Origin, Position, Raw, SplitId};
pub use reject::{Reject, Rejects};

pub use crate::values::{Column, ColumnType, RejectCode, Schema, TypeError};

use std::collections::HashSet;

use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use arrow_select::{concat::concat_batches, take::take_record_batch};

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

    /// Bytes of memory this batch keeps alive: every buffer in full, and once, however many columns are
    /// views into it.
    pub fn bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let raw = self.origin.raw_buffer().map_or(0, |buffer| size(buffer, &mut seen));
        let columns = self.records.columns();
        raw + columns.iter().map(|column| sizes(&column.to_data(), &mut seen)).sum::<usize>()
    }

    /// The rows at `rows` (ascending indices into this batch), with their origins.
    pub fn pick(&self, rows: Vec<u32>) -> Batch {
        let origin = self.origin.pick(&rows);
        let indices = UInt32Array::from(rows);
        let records = take_record_batch(&self.records, &indices)
            .expect("indices lie within the batch and every column type can be taken");
        Batch { records, origin }
    }

    /// The batch cut into parts of at most so many rows and about so many bytes, in order; at least one.
    pub fn cut(self, rows: usize, bytes: usize) -> Vec<Batch> {
        let by_bytes = (self.rows() as u128 * bytes as u128 / self.bytes().max(1) as u128) as usize;
        let most = rows.min(by_bytes).max(1);
        if self.rows() <= most {
            return vec![self];
        }
        (0..self.rows()).step_by(most).map(|start| self.slice(start, most.min(self.rows() - start))).collect()
    }

    /// Parts of one batch put together again. They have the same columns.
    pub fn concat(mut parts: Vec<Batch>) -> Option<Batch> {
        if parts.len() <= 1 {
            return parts.pop();
        }
        let origins: Vec<Origin> = parts.iter().map(|part| part.origin.clone()).collect();
        let schema = parts[0].records.schema();
        let records = concat_batches(&schema, parts.iter().map(|part| &part.records)).ok()?;
        Some(Batch { records, origin: Origin::concat(&origins)? })
    }

    /// `len` rows from `start` on, without copying values.
    pub fn slice(&self, start: usize, len: usize) -> Batch {
        Batch { records: self.records.slice(start, len), origin: self.origin.slice(start, len) }
    }
}

/// Bytes of all buffers of an array that are not in `seen` yet.
fn sizes(data: &ArrayData, seen: &mut HashSet<usize>) -> usize {
    let own: usize = data.buffers().iter().map(|buffer| size(buffer, seen)).sum();
    let nulls = data.nulls().map_or(0, |nulls| size(nulls.buffer(), seen));
    own + nulls + data.child_data().iter().map(|child| sizes(child, seen)).sum::<usize>()
}

fn size(buffer: &Buffer, seen: &mut HashSet<usize>) -> usize {
    let start = buffer.data_ptr().as_ptr() as usize;
    if seen.insert(start) { buffer.capacity() } else { 0 }
}
