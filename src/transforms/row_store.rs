//! RowStore that hold a row each, and may be given another one: the last row of every key, the first value of every group,
//! a sample. What no slot holds any more is thrown away from time to time.

use arrow_array::{Array, ArrayRef, UInt32Array, new_empty_array};
use arrow_schema::DataType;
use arrow_select::interleave::interleave;

use super::memory::{bytes, fits, loose};
use crate::{failure::Failure, values::compact};

/// Rows that nothing holds any more, before they are thrown away.
const STALE: usize = 16_384;

/// Bytes of them.
const STALE_BYTES: usize = 256 << 10;

/// RowStore with a row each.
#[derive(Debug)]
pub(super) struct RowStore {
    types: Vec<DataType>,
    /// Rows as they were put in, columns first.
    chunks: Vec<Vec<ArrayRef>>,
    /// Where the row of each slot is: chunk and row.
    at: Vec<(usize, usize)>,
    /// Rows in all chunks.
    rows: usize,
    bytes: usize,
    /// Bytes that were left when rows were thrown away last, and about those of slots that are new since.
    left: usize,
    /// The call of `put` in which each slot was last filled.
    filled: Vec<u32>,
    calls: u32,
}

impl RowStore {
    /// No slots yet, for rows of these types.
    pub(super) fn new(types: Vec<DataType>) -> Self {
        let (chunks, at, filled) = (Vec::new(), Vec::new(), Vec::new());
        RowStore { types, chunks, at, rows: 0, bytes: 0, left: 0, filled, calls: 0 }
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// Bytes of memory they take.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.at.capacity() * 16 + self.filled.capacity() * 4
    }

    /// Puts rows of `columns` into slots, each a slot and a row; of several for one slot the last. A slot that is not
    /// there yet is the next one.
    pub(super) fn put(&mut self, columns: &[ArrayRef], changes: &[(u32, u32)]) -> Result<(), Failure> {
        self.calls += 1;
        let before = self.at.len();
        let mut taken = Vec::with_capacity(changes.len());
        for &(slot, row) in changes.iter().rev() {
            let slot = slot as usize;
            if slot >= self.at.len() {
                self.at.resize(slot + 1, (0, 0));
                self.filled.resize(slot + 1, 0);
            }
            if std::mem::replace(&mut self.filled[slot], self.calls) != self.calls {
                self.at[slot] = (self.chunks.len(), taken.len());
                taken.push(row);
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        self.rows += taken.len();
        let taken = UInt32Array::from(taken);
        let chunk: Vec<ArrayRef> = columns.iter().map(|column| loose(column, &taken)).collect::<Result<_, _>>()?;
        let size = chunk.iter().map(bytes).sum::<usize>();
        self.bytes += size;
        self.left += size / taken.len() * (self.at.len() - before);
        self.chunks.push(chunk);
        let many = self.rows > 2 * self.at.len() + STALE || self.bytes > 2 * self.left + STALE_BYTES;
        if many || self.calls == u32::MAX {
            self.tidy()?;
        }
        Ok(())
    }

    /// The rows of these slots, one after the other.
    pub(super) fn rows(&self, slots: impl Iterator<Item = usize>) -> Result<Vec<ArrayRef>, Failure> {
        let places: Vec<(usize, usize)> = slots.map(|slot| self.at[slot]).collect();
        let column = |(place, data_type): (usize, &DataType)| {
            if self.chunks.is_empty() {
                return Ok(new_empty_array(data_type));
            }
            let chunks: Vec<&dyn Array> = self.chunks.iter().map(|chunk| chunk[place].as_ref()).collect();
            fits(interleave(&chunks, &places))
        };
        self.types.iter().enumerate().map(column).collect()
    }

    /// Puts the rows that slots hold into one chunk, and throws away the others.
    pub(super) fn tidy(&mut self) -> Result<(), Failure> {
        let chunk: Vec<ArrayRef> = self.rows(0..self.at.len())?.iter().map(compact).collect();
        self.bytes = chunk.iter().map(bytes).sum();
        self.left = self.bytes;
        self.chunks = vec![chunk];
        self.at = (0..self.at.len()).map(|row| (0, row)).collect();
        self.rows = self.at.len();
        self.filled.fill(0);
        self.calls = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringViewArray, cast::AsArray, types::Int64Type};

    use super::*;

    #[test]
    fn slots_hold_what_was_put_last() {
        let mut slots = RowStore::new(vec![DataType::Int64]);
        for round in 0..50_i64 {
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1000).map(|n| round * 1000 + n)));
            let changes: Vec<(u32, u32)> = (0..1000).map(|row| (row % 10, row)).collect();
            slots.put(&[values], &changes).expect("few rows");
        }
        let rows = slots.rows(0..slots.len()).expect("few rows");
        assert_eq!(rows[0].as_primitive::<Int64Type>().values(), &(49_990..50_000).collect::<Vec<i64>>()[..]);
        assert!(slots.size() < 200_000, "{}", slots.size());
    }

    #[test]
    fn what_is_stale_is_thrown_away() {
        let mut slots = RowStore::new(vec![DataType::Int64]);
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        for _ in 0..20 {
            slots.put(&[Arc::clone(&values)], &(0..10_000).map(|row| (row, row)).collect::<Vec<_>>()).expect("few");
        }
        assert!(slots.rows <= 2 * 10_000 + STALE, "{}", slots.rows);
        assert_eq!(slots.rows([7, 3].into_iter()).expect("few")[0].as_primitive::<Int64Type>().values(), &[7, 3]);
    }

    #[test]
    fn few_rows_that_are_large_are_thrown_away_as_well() {
        let mut slots = RowStore::new(vec![DataType::Utf8View]);
        let text = |n: usize| format!("{n:010000}");
        for n in 0..2000 {
            let values: ArrayRef = Arc::new(StringViewArray::from(vec![text(n)]));
            slots.put(&[values], &[(n as u32 % 2, 0)]).expect("few rows");
            assert!(slots.size() < 2 * STALE_BYTES, "{} after {n}", slots.size());
        }
        let rows = slots.rows([1, 0].into_iter()).expect("few rows");
        assert_eq!(rows[0].as_string_view(), &StringViewArray::from(vec![text(1999), text(1998)]));
    }
}
