//! Rows in memory with their keys, and the order that these give them.

use std::{cmp::Ordering, mem::size_of, sync::Arc};

use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow_row::Rows;
use arrow_select::interleave::interleave;

use crate::{
    exchange::prefix,
    failure::{Exit, Failure},
    transforms::memory::fits,
    values::compact,
};

/// What a batch takes besides its values, about.
const BATCH: usize = 512;

/// Rows as they came, with their keys.
#[derive(Default)]
pub(super) struct Unsorted {
    batches: Vec<RecordBatch>,
    /// The keys of all rows, one behind the other.
    keys: Vec<u8>,
    places: Vec<Place>,
    /// Bytes of `batches`.
    size: usize,
}

/// A row, and what of its key decides most comparisons.
#[derive(Clone, Copy)]
struct Place {
    /// The first eight bytes of its key.
    prefix: u64,
    /// Where its key begins, and how long it is.
    key: u32,
    len: u32,
    batch: u32,
    row: u32,
}

impl Unsorted {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory they take.
    pub(super) fn size(&self) -> usize {
        self.size + self.keys.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// Do their keys take so much that those of a further batch may not have room?
    pub(super) fn is_full(&self) -> bool {
        self.keys.len() > u32::MAX as usize / 2
    }

    /// Adds a batch of loose rows; row *i* has the key of `keys` at `kept[i]`.
    ///
    /// # Errors
    /// The keys of the batch alone take more than 2 GiB.
    pub(super) fn add(&mut self, batch: RecordBatch, keys: &Rows, kept: &[u32]) -> Result<(), Failure> {
        let at = self.batches.len() as u32;
        for (row, &place) in (0_u32..).zip(kept) {
            let key = keys.row(place as usize);
            let key = key.data();
            let Ok(start) = u32::try_from(self.keys.len()) else {
                return Err(Failure::new(Exit::Unavailable, "the keys of a batch to sort take more than 2 GiB"));
            };
            self.places.push(Place { prefix: prefix(key), key: start, len: key.len() as u32, batch: at, row });
            self.keys.extend_from_slice(key);
        }
        self.size += BATCH + batch.columns().iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        self.batches.push(batch);
        Ok(())
    }

    /// Puts them in order; equal ones stay as they came.
    pub(super) fn sorted(mut self) -> Sorted {
        let keys = &self.keys;
        let key = |place: &Place| &keys[place.key as usize..][..place.len as usize];
        self.places.sort_unstable_by(|a, b| {
            let order = a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b)));
            // As they came.
            if order == Ordering::Equal { (a.batch, a.row).cmp(&(b.batch, b.row)) } else { order }
        });
        let width = (self.size / self.len().max(1)).max(1);
        Sorted { rows: self, at: 0, width }
    }
}

/// Rows in order.
pub(super) struct Sorted {
    rows: Unsorted,
    at: usize,
    /// Bytes of a row, about.
    width: usize,
}

impl Sorted {
    /// The next rows, about `bytes` of them and 8192 at most, as columns; with their keys behind the others where these
    /// are wanted. Nothing once all are out.
    pub(super) fn next(&mut self, bytes: usize, with_keys: bool) -> Result<Option<Vec<ArrayRef>>, Failure> {
        let rows = (bytes / self.width).clamp(1, 8192).min(self.rows.len() - self.at);
        if rows == 0 {
            return Ok(None);
        }
        let Unsorted { batches, keys, places, .. } = &self.rows;
        let places = &places[self.at..self.at + rows];
        self.at += rows;
        let at: Vec<(usize, usize)> = places.iter().map(|place| (place.batch as usize, place.row as usize)).collect();
        let columns = batches.first().map_or(0, RecordBatch::num_columns);
        let column = |column: usize| {
            let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            Ok(compact(&fits(interleave(&parts, &at))?))
        };
        let mut columns: Vec<ArrayRef> = (0..columns).map(column).collect::<Result<_, Failure>>()?;
        if with_keys {
            let keys = places.iter().map(|place| &keys[place.key as usize..][..place.len as usize]);
            columns.push(Arc::new(BinaryArray::from_iter_values(keys)));
        }
        Ok(Some(columns))
    }
}
