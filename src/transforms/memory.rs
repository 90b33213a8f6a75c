//! What transforms share that hold rows in memory: a budget, rows cut loose from the blocks they were read in, and
//! what they emit at the end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, UInt32Array, cast::AsArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType};
use arrow_select::take::take;

use crate::{
    failure::{Exit, Failure},
    jobspec::Bytes,
    stage::Made,
};

/// Rows of a batch that is emitted at the end.
const ROWS: usize = 8192;

/// How many bytes all workers of a stage may hold together.
#[derive(Debug)]
pub(super) struct Budget {
    held: AtomicUsize,
    limit: usize,
    what: String,
}

/// What one worker holds of a budget; given back when it goes.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    mine: usize,
}

impl Budget {
    /// A budget of `limit` bytes for what `what` names: `the rows of `crew``.
    pub(super) fn new(limit: usize, what: impl Into<String>) -> Arc<Budget> {
        Arc::new(Budget { held: AtomicUsize::new(0), limit, what: what.into() })
    }

    /// The share of one worker, which holds nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), mine: 0 }
    }
}

impl Share {
    /// The worker holds so many bytes now.
    ///
    /// # Errors
    /// All workers of the stage together hold more than the budget.
    pub(super) fn set(&mut self, bytes: usize) -> Result<(), Failure> {
        let Budget { held, limit, what } = self.budget.as_ref();
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        held.fetch_sub(self.mine, Ordering::Relaxed);
        let sum = (before + bytes).saturating_sub(self.mine);
        self.mine = bytes;
        if sum <= *limit {
            return Ok(());
        }
        let message = format!(
            "{what} take {} of memory so far, `limits.memory` allows {}: give the job more, or fewer rows and columns",
            Bytes::about(sum as u64),
            Bytes::about(*limit as u64)
        );
        Err(Failure::new(Exit::Unavailable, message))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

/// What a kernel answers for arrays that were checked before: an error can only be a size that Arrow's 32-bit offsets
/// cannot hold.
pub(super) fn fits<T>(answer: Result<T, ArrowError>) -> Result<T, Failure> {
    answer.map_err(|error| Failure::new(Exit::Unavailable, format!("too many rows to be held together: {error}")))
}

/// The rows at `rows`, with no tie to the block they came from.
pub(super) fn loose(array: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, Failure> {
    Ok(compact(&fits(take(array, rows, None))?))
}

/// The same values in buffers of their own: text that is held must not keep the block alive that it was read in.
pub(super) fn compact(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            let items = list.values().slice(first as usize, (last - first) as usize);
            let lengths = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
            let offsets = OffsetBuffer::from_lengths(lengths);
            let same = ListArray::try_new(Arc::clone(field), offsets, compact(&items), list.nulls().cloned());
            same.map_or_else(|_| Arc::clone(array), |list| Arc::new(list))
        }
        _ => Arc::clone(array),
    }
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
