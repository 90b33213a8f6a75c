//! Rows put together of several columns: `case`, `coalesce`.

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_select::interleave::interleave;

use super::value::Value;

/// Which of several values each row takes.
pub(super) struct Choice {
    values: Vec<Value>,
    taken: Vec<(usize, usize)>,
    left: BooleanBuffer,
}

impl Choice {
    /// Nothing chosen yet, for `rows` rows.
    pub(super) fn new(rows: usize) -> Self {
        Choice { values: Vec::new(), taken: vec![(0, 0); rows], left: BooleanBuffer::new_set(rows) }
    }

    /// The rows that have not chosen.
    pub(super) fn left(&self) -> &BooleanBuffer {
        &self.left
    }

    /// All rows of `rows` that have not chosen take `value`.
    pub(super) fn take(&mut self, rows: &BooleanBuffer, value: Value) {
        let number = self.values.len();
        for row in (&self.left & rows).set_indices() {
            self.taken[row] = (number, value.index(row));
        }
        self.left = &self.left & &!rows;
        self.values.push(value);
    }

    /// The column of what was chosen. The last value is taken by all rows that are left.
    pub(super) fn finish(mut self, last: Value) -> ArrayRef {
        let rows = self.taken.len();
        let all = BooleanBuffer::new_set(rows);
        self.take(&all, last);
        let arrays: Vec<&dyn Array> = self.values.iter().map(|value| value.array().as_ref()).collect();
        interleave(&arrays, &self.taken).expect("binding brought all values to one type, and indices lie within them")
    }
}

/// Rows that are true and not null.
pub(super) fn truths(condition: &BooleanArray) -> BooleanBuffer {
    match condition.nulls() {
        Some(valid) => condition.values() & valid.inner(),
        None => condition.values().clone(),
    }
}
