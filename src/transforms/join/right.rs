//! The right side: its rows, and a table from keys to rows. Built by one thread, then read by all workers.

use std::sync::{Arc, PoisonError};

use arrow_array::{Array, ArrayRef, UInt32Array, cast::AsArray, new_empty_array};
use arrow_row::Rows;
use arrow_schema::DataType;
use arrow_select::concat::concat;

use super::{Ready, Setup, all_valid};
use crate::{
    batch::{Batch, Rejects},
    failure::{Exit, Failure},
    memory::Share,
    stage::Side,
    transforms::{
        growth::width,
        keys::{Keys, grouped},
        memory::{bytes, fits, loose},
    },
};

/// The right side, whole.
pub(super) struct Right {
    pub(super) keys: Keys,
    /// The rows of key *i* are `rows[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    rows: Vec<u32>,
    /// The columns that are emitted.
    pub(super) columns: Vec<ArrayRef>,
    /// Its memory counts for as long as it is there.
    _share: Share,
}

impl Right {
    /// The rows of a key, in the order of the input.
    pub(super) fn rows_of(&self, key: u32) -> &[u32] {
        let key = key as usize;
        &self.rows[self.starts[key] as usize..self.starts[key + 1] as usize]
    }

    /// Bytes that the rows of a key take when they are copied, besides what is the same for every row.
    pub(super) fn bytes_of(&self, key: u32) -> usize {
        let of_row = |row: &u32| self.columns.iter().map(|column| behind(column, *row as usize)).sum::<usize>();
        self.rows_of(key).iter().map(of_row).sum()
    }
}

/// Bytes behind the views of a value of text, or in a list.
fn behind(column: &ArrayRef, row: usize) -> usize {
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().views()[row] as u32 as usize,
        DataType::BinaryView => column.as_binary_view().views()[row] as u32 as usize,
        DataType::List(item) => column.as_list::<i32>().value_length(row) as usize * width(item.data_type()),
        _ => 0,
    }
}

/// Takes the right side.
pub(super) struct Build {
    setup: Arc<Setup>,
    ready: Ready,
    share: Share,
    keys: Keys,
    /// The key of every row.
    ids: Vec<u32>,
    /// For every column that is emitted, its parts.
    columns: Vec<Vec<ArrayRef>>,
    size: usize,
}

impl Build {
    pub(super) fn new(setup: Arc<Setup>, ready: Ready) -> Self {
        let (share, columns) = (setup.budget.share(), vec![Vec::new(); setup.kept.len()]);
        Build { setup, ready, share, keys: Keys::default(), ids: Vec::new(), columns, size: 0 }
    }

    /// The keys of rows that can have a partner, and which rows these are.
    fn keyed(&self, batch: &Batch) -> Result<(Rows, UInt32Array), Failure> {
        let place = |place: &usize| Arc::clone(batch.records.column(*place));
        let keys: Vec<ArrayRef> = self.setup.right_keys.iter().map(place).collect();
        let valid = all_valid(&keys);
        let rows = (0..batch.rows()).filter(|row| valid.as_ref().is_none_or(|valid| valid.is_valid(*row)));
        let rows = UInt32Array::from_iter_values(rows.map(|row| row as u32));
        let keys: Vec<ArrayRef> = keys.iter().map(|key| loose(key, &rows)).collect::<Result<_, _>>()?;
        Ok((self.setup.encoder.rows(&keys)?, rows))
    }
}

impl Side for Build {
    fn add(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<(), Failure> {
        let (keys, rows) = self.keyed(&batch)?;
        let ids = self.keys.number(&keys)?;
        if self.setup.how.widens() {
            self.ids.extend(ids);
            for (parts, place) in self.columns.iter_mut().zip(&self.setup.kept) {
                let part = loose(batch.records.column(*place), &rows)?;
                self.size += bytes(&part);
                parts.push(part);
            }
        }
        if self.ids.len() > u32::MAX as usize {
            return Err(Failure::new(Exit::Unavailable, "more than 4 billion rows on the right side"));
        }
        // Of every row there will be its place in the table, too; of every key, where its rows begin.
        self.share.set(self.size + self.keys.size() + self.keys.len() * 4 + self.ids.capacity() * 8)
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        let Build { setup, ready, share, keys, ids, columns, .. } = *self;
        let (starts, rows) = grouped(&ids, keys.len());
        drop(ids);
        // One column after the other, so that no more than one is there twice.
        let whole = |(parts, data_type): (Vec<ArrayRef>, _)| {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            if parts.is_empty() { Ok(new_empty_array(data_type)) } else { fits(concat(&parts)) }
        };
        let columns = columns.into_iter().zip(&setup.kept_types).map(whole).collect::<Result<_, _>>()?;
        let right = Right { keys, starts, rows, columns, _share: share };
        *ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(right));
        Ok(())
    }
}
