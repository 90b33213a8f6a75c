//! Rows in memory with their keys, and the order that these give them.

use std::{cmp::Ordering, mem::size_of, sync::Arc};

use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow_row::Rows;
use arrow_select::interleave::interleave;

use crate::{failure::Failure, transforms::memory::fits, values::compact};

/// What a batch takes besides its values, about.
const BATCH: usize = 512;

/// Rows as they came, with their keys.
#[derive(Default)]
pub(super) struct Held {
    batches: Vec<RecordBatch>,
    /// The keys of all rows, one behind the other; for every row where its key ends.
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

impl Held {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory they take.
    pub(super) fn size(&self) -> usize {
        self.size + self.keys.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// Are there as many as can be told apart?
    pub(super) fn is_full(&self) -> bool {
        self.keys.len() > u32::MAX as usize / 2
    }

    /// Adds a batch of loose rows; row *i* has the key of `keys` at `kept[i]`.
    pub(super) fn add(&mut self, batch: RecordBatch, keys: &Rows, kept: &[u32]) {
        let at = self.batches.len() as u32;
        for (row, &place) in (0_u32..).zip(kept) {
            let key = keys.row(place as usize);
            let key = key.data();
            let mut first = [0; 8];
            let len = key.len().min(8);
            first[..len].copy_from_slice(&key[..len]);
            let (prefix, start) = (u64::from_be_bytes(first), self.keys.len() as u32);
            self.places.push(Place { prefix, key: start, len: key.len() as u32, batch: at, row });
            self.keys.extend_from_slice(key);
        }
        self.size += BATCH + batch.columns().iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        self.batches.push(batch);
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
        Sorted { held: self, at: 0, width }
    }
}

/// Rows in order.
pub(super) struct Sorted {
    held: Held,
    at: usize,
    /// Bytes of a row, about.
    width: usize,
}

impl Sorted {
    /// The next rows, about `bytes` of them and 8192 at most, as columns; with their keys behind the others where these
    /// are wanted. Nothing once all are out.
    pub(super) fn next(&mut self, bytes: usize, with_keys: bool) -> Result<Option<Vec<ArrayRef>>, Failure> {
        let rows = (bytes / self.width).clamp(1, 8192).min(self.held.len() - self.at);
        if rows == 0 {
            return Ok(None);
        }
        let Held { batches, keys, places, .. } = &self.held;
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
