//! The places that values are made for: rows of a column, and items of the lists in them.

use super::rng::{Rng, hash};

/// Decides about nulls; apart from values, so that another rate moves none of them.
const NULLS: u64 = 0x6e75_6c6c_7261_7465;

/// One place. A value depends on `seed` and `n` alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Of the column, or of the list that the item is in.
    pub(super) seed: u64,
    /// Number of the row, or of the item in its list.
    pub(super) n: u64,
    /// The row's index in the columns that are being made.
    pub(super) row: usize,
}

impl Cell {
    /// 64 bits of this place.
    pub(super) fn key(self) -> u64 {
        hash(self.seed, self.n)
    }

    /// A generator for this place.
    pub(super) fn rng(self) -> Rng {
        Rng::new(self.key())
    }

    /// 64 bits that say whether there is a value here.
    pub(super) fn null_key(self) -> u64 {
        hash(self.seed ^ NULLS, self.n)
    }
}

/// Which rows of a source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rows<'a> {
    /// `len` rows from `start` on.
    Run {
        /// Number of the first, from 0.
        start: u64,
        /// How many.
        len: usize,
    },
    /// These.
    Picked(&'a [u64]),
}

/// A list that items are made for: its key and the index of the row it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent {
    /// 64 bits of the list's own place.
    pub(super) key: u64,
    /// The row's index.
    pub(super) row: u32,
}

/// Many places at once, in the order of their values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'a> {
    span: Span<'a>,
    /// Keeps apart what is made for the same place: the members of an object.
    salt: u64,
}

#[derive(Clone, Copy, Debug)]
enum Span<'a> {
    Rows {
        seed: u64,
        rows: Rows<'a>,
    },
    /// Items `offsets[i]..offsets[i + 1]` are those of list `parents[i]`.
    Items {
        parents: &'a [Parent],
        offsets: &'a [i32],
    },
}

impl<'a> Cells<'a> {
    /// The cells of a column.
    pub(super) fn rows(seed: u64, rows: Rows<'a>) -> Self {
        Cells { span: Span::Rows { seed, rows }, salt: 0 }
    }

    /// The items of lists.
    pub(super) fn items(parents: &'a [Parent], offsets: &'a [i32]) -> Self {
        Cells { span: Span::Items { parents, offsets }, salt: 0 }
    }

    /// The same places under another seed.
    pub(super) fn salted(self, salt: u64) -> Self {
        Cells { salt: self.salt ^ salt, ..self }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self.span {
            Span::Rows { rows: Rows::Run { len, .. }, .. } => len,
            Span::Rows { rows: Rows::Picked(rows), .. } => rows.len(),
            Span::Items { offsets, .. } => offsets.last().map_or(0, |end| *end as usize),
        }
    }

    /// Calls `each` for every place, in order.
    pub(super) fn each(&self, mut each: impl FnMut(Cell)) {
        let salt = self.salt;
        match self.span {
            Span::Rows { seed, rows: Rows::Run { start, len } } => {
                (0..len).for_each(|row| each(Cell { seed: seed ^ salt, n: start + row as u64, row }));
            }
            Span::Rows { seed, rows: Rows::Picked(rows) } => {
                rows.iter().enumerate().for_each(|(row, n)| each(Cell { seed: seed ^ salt, n: *n, row }));
            }
            Span::Items { parents, offsets } => {
                for (parent, ends) in parents.iter().zip(offsets.windows(2)) {
                    let (seed, row) = (parent.key ^ salt, parent.row as usize);
                    (0..(ends[1] - ends[0]) as u64).for_each(|n| each(Cell { seed, n, row }));
                }
            }
        }
    }
}
