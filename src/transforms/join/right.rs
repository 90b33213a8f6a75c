//! The right side: its rows, and a table from keys to rows. Built by one thread, then read by all workers. Where it does
//! not fit into memory, its rows are divided by key and spilled; then so are those of the left side.

use std::{
    mem,
    sync::{Arc, PoisonError},
};

use arrow_array::{
    Array, ArrayRef, BinaryArray, RecordBatch, UInt32Array, UInt64Array, cast::AsArray, new_empty_array,
};
use arrow_row::Rows;
use arrow_schema::DataType;
use arrow_select::concat::concat;

use super::{
    Ready, Setup, Whole, all_valid,
    spilled::{Divided, PARTS},
};
use crate::{
    batch::{Batch, Rejects},
    exchange::Partitions,
    failure::{Exit, Failure},
    memory::Share,
    stage::Side,
    transforms::{
        growth::width,
        keys::{Keys, grouped},
        memory::{bytes, fits, loose},
    },
};

/// Rows written at once where keys are all that there is.
const KEYS: usize = 8192;

/// Rows of the right side and a table from their keys to them.
pub(super) struct Right {
    pub(super) keys: Keys,
    /// The rows of key *i* are `rows[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    rows: Vec<u32>,
    /// The columns that are held.
    pub(super) columns: Vec<ArrayRef>,
    /// How many of them are emitted beside left rows.
    kept: usize,
    /// Where all of the right side is in memory, that counts for as long as it is there.
    _share: Option<Share>,
}

impl Right {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The columns that are emitted beside left rows.
    pub(super) fn kept(&self) -> &[ArrayRef] {
        &self.columns[..self.kept]
    }

    /// The rows of a key, in the order of the input.
    pub(super) fn rows_of(&self, key: u32) -> &[u32] {
        let key = key as usize;
        &self.rows[self.starts[key] as usize..self.starts[key + 1] as usize]
    }

    /// Bytes that the rows of a key take when they are copied, besides what is the same for every row.
    pub(super) fn bytes_of(&self, key: u32) -> usize {
        let of_row = |row: &u32| self.kept().iter().map(|column| behind(column, *row as usize)).sum::<usize>();
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

/// Rows of the right side as they come.
#[derive(Default)]
pub(super) struct Build {
    keys: Keys,
    /// The key of every row; of none where only keys matter.
    ids: Vec<u32>,
    /// The columns that are held, part by part.
    parts: Vec<Vec<ArrayRef>>,
    /// How many rows each part has.
    lens: Vec<usize>,
    /// Bytes of `parts`.
    size: usize,
}

impl Build {
    /// Takes rows with their keys, and with loose columns.
    ///
    /// # Errors
    /// They are more than can be numbered.
    pub(super) fn add<'a>(
        &mut self,
        setup: &Setup,
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        columns: Vec<ArrayRef>,
    ) -> Result<(), Failure> {
        let rows = keys.len();
        let ids = self.keys.number_all(rows, keys)?;
        if !setup.how.widens() {
            return Ok(());
        }
        self.ids.extend(ids);
        if self.ids.len() > u32::MAX as usize {
            return Err(Failure::new(Exit::Unavailable, "more than 4 billion rows on the right side"));
        }
        self.size += columns.iter().map(bytes).sum::<usize>();
        self.parts.push(columns);
        self.lens.push(rows);
        Ok(())
    }

    /// Bytes of memory it takes: of every row there will be its place in the table, too; of every key, where its rows begin.
    pub(super) fn size(&self) -> usize {
        self.size + self.keys.size() + self.keys.len() * 4 + self.ids.capacity() * 8
    }

    /// Has one key more than half of the rows? Then it is no use to divide them by key.
    pub(super) fn is_mostly_one_key(&self) -> bool {
        let mut counts = vec![0_u32; self.keys.len()];
        self.ids.iter().for_each(|id| counts[*id as usize] += 1);
        counts.iter().any(|count| *count as usize * 2 > self.ids.len())
    }

    /// The table.
    pub(super) fn finish(self, setup: &Setup, share: Option<Share>) -> Result<Right, Failure> {
        let Build { keys, ids, mut parts, .. } = self;
        let (starts, rows) = grouped(&ids, keys.len());
        drop(ids);
        let count = parts.first().map_or(setup.held.len(), Vec::len);
        // One column after the other, so that no more than one is there twice.
        let whole = |data_type: &DataType| -> Result<ArrayRef, Failure> {
            let parts: Vec<ArrayRef> = parts.iter_mut().map(|part| part.remove(0)).collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            if parts.is_empty() { Ok(new_empty_array(data_type)) } else { fits(concat(&parts)) }
        };
        let types = setup.rows.right.fields().iter().map(|field| field.data_type()).take(count);
        let columns = types.map(whole).collect::<Result<_, _>>()?;
        Ok(Right { keys, starts, rows, columns, kept: setup.kept, _share: share })
    }

    /// Gives all rows their numbers, as a column behind the others; says how many there are.
    pub(super) fn number(&mut self) -> u64 {
        let mut next = 0;
        for (part, len) in self.parts.iter_mut().zip(&self.lens) {
            part.push(numbers(&mut next, *len));
        }
        next
    }

    /// Puts all rows where others are spilled.
    pub(super) fn spill(self, setup: &Setup, others: &mut Partitions) -> Result<(), Failure> {
        let Build { keys, ids, parts, lens, .. } = self;
        if !setup.how.widens() {
            let all: Vec<u32> = (0..keys.len() as u32).collect();
            let mut chunks = all.chunks(KEYS).map(|ids| ids.iter().map(|id| keys.get(*id)));
            return chunks.try_for_each(|keys| divide(setup, others, keys, Vec::new()));
        }
        let mut ids = ids.as_slice();
        for (columns, len) in parts.into_iter().zip(lens) {
            let (mine, rest) = ids.split_at(len);
            ids = rest;
            divide(setup, others, mine.iter().map(|id| keys.get(*id)), columns)?;
        }
        Ok(())
    }
}

/// The numbers of the next rows.
fn numbers(next: &mut u64, rows: usize) -> ArrayRef {
    let first = *next;
    *next += rows as u64;
    Arc::new(UInt64Array::from_iter_values(first..*next))
}

/// Spills rows with these keys.
pub(super) fn divide<'a>(
    setup: &Setup,
    others: &mut Partitions,
    keys: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    mut columns: Vec<ArrayRef>,
) -> Result<(), Failure> {
    let hashes: Vec<u64> = keys.clone().map(|key| setup.hash.of(key)).collect();
    columns.push(Arc::new(BinaryArray::from_iter_values(keys)));
    let rows = fits(RecordBatch::try_new(Arc::clone(&setup.rows.right), columns))?;
    others.add(&rows, &hashes)
}

/// Takes the right side.
pub(super) struct Taker {
    setup: Arc<Setup>,
    ready: Ready,
    share: Share,
    build: Build,
    /// From the moment on at which there was no more room: all rows.
    others: Option<Partitions>,
    /// How many of these have a number, where rows get one.
    numbered: u64,
    /// The most bytes held.
    peak: usize,
}

impl Taker {
    pub(super) fn new(setup: Arc<Setup>, ready: Ready) -> Self {
        let share = setup.budget.share();
        Taker { setup, ready, share, build: Build::default(), others: None, numbered: 0, peak: 0 }
    }

    /// The keys of rows that can be emitted, and which rows these are. One with a null in its key has no partner, as left
    /// rows with a null are not looked for.
    fn keyed(&self, batch: &Batch) -> Result<(Rows, UInt32Array), Failure> {
        let place = |place: &usize| Arc::clone(batch.records.column(*place));
        let keys: Vec<ArrayRef> = self.setup.right_keys.iter().map(place).collect();
        let valid = if self.setup.how.gathers() { None } else { all_valid(&keys) };
        let rows = (0..batch.rows()).filter(|row| valid.as_ref().is_none_or(|valid| valid.is_valid(*row)));
        let rows = UInt32Array::from_iter_values(rows.map(|row| row as u32));
        let keys: Vec<ArrayRef> = keys.iter().map(|key| loose(key, &rows)).collect::<Result<_, _>>()?;
        Ok((self.setup.encoder.rows(&keys)?, rows))
    }
}

impl Side for Taker {
    fn add(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<(), Failure> {
        let (keys, rows) = self.keyed(&batch)?;
        let held = self.setup.held.iter().map(|place| loose(batch.records.column(*place), &rows));
        let mut columns = held.collect::<Result<Vec<_>, _>>()?;
        let keys = (0..keys.num_rows()).map(|row| keys.row(row).data());
        if let Some(others) = &mut self.others {
            if self.setup.how.gathers() {
                columns.push(numbers(&mut self.numbered, keys.len()));
            }
            return divide(&self.setup, others, keys, columns);
        }
        self.build.add(&self.setup, keys, columns)?;
        let size = self.build.size();
        self.peak = self.peak.max(size);
        if !self.share.fits(size) {
            let (schema, memory) = (Arc::clone(&self.setup.rows.right), 16 * self.share.block());
            let mut others = Partitions::new(self.share.exchange(), "right", schema, 0, memory);
            if self.setup.how.gathers() {
                self.numbered = self.build.number();
            }
            mem::take(&mut self.build).spill(&self.setup, &mut others)?;
            self.share.fits(0);
            self.others = Some(others);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        let Taker { setup, ready, share, build, others, peak, .. } = *self;
        let whole = match others {
            None => Whole::Held(Arc::new(build.finish(&setup, Some(share))?)),
            Some(others) => {
                let parts = others.finish_all()?;
                debug_assert_eq!(parts.len(), PARTS);
                Whole::Spilled(Arc::new(Divided::new(parts, peak)))
            }
        };
        *ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(whole);
        Ok(())
    }
}
