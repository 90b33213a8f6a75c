//! Aggregates that keep values as they are: `first`, `last`, `array_agg`.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use arrow_array::{Array, ArrayRef, ListArray, new_empty_array, new_null_array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, FieldRef};
use arrow_select::{concat::concat, take::take};

use super::accumulator::{Accumulator, Finished, Items};
use crate::{
    batch::ColumnType,
    failure::{Exit, Failure},
    transforms::{
        keys::grouped,
        memory::{bytes, fits},
        row_store::RowStore,
    },
    values::compact,
};

/// `first` and `last`: the value of the first or last row of a group, null or not.
pub(super) struct Ends {
    of: DataType,
    first: bool,
    slots: RowStore,
}

impl Ends {
    pub(super) fn new(of: DataType, first: bool) -> Self {
        Ends { slots: RowStore::new(vec![of.clone()]), of, first }
    }
}

impl Accumulator for Ends {
    fn add(&mut self, groups: &[u32], _count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        let Some(values) = values else { return Ok(()) };
        let rows = groups.iter().copied().zip(0_u32..);
        let changes: Vec<(u32, u32)> = if self.first {
            let mut next = self.slots.len() as u32;
            let is_new = |(group, _): &(u32, u32)| {
                let new = *group == next;
                next += u32::from(new);
                new
            };
            rows.filter(is_new).collect()
        } else {
            rows.collect()
        };
        self.slots.put(std::slice::from_ref(values), &changes)
    }

    fn size(&self) -> usize {
        self.slots.size()
    }

    fn tidy(&mut self) -> Result<(), Failure> {
        self.slots.tidy()
    }

    fn state(&self) -> Vec<DataType> {
        vec![self.of.clone()]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        self.slots.rows(groups)
    }

    fn restore(&mut self, groups: &[u32], _count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        let changes: Vec<(u32, u32)> = groups.iter().copied().zip(0..).collect();
        self.slots.put(columns, &changes)
    }

    fn finish(self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        if self.slots.len() < count {
            // Of no rows at all there is one group.
            return Ok((new_null_array(&self.of, count), Vec::new()));
        }
        let mut columns = self.slots.rows(0..count)?;
        let values = columns.pop().unwrap_or_else(|| new_empty_array(&self.of));
        Ok((values, Vec::new()))
    }
}

/// `array_agg`: all values in input order, nulls among them. Null where a group has no rows.
pub(super) struct List {
    item: FieldRef,
    /// The group of every row.
    groups: Vec<u32>,
    parts: VecDeque<ArrayRef>,
    /// Bytes of `parts`.
    size: usize,
    /// How many of the last parts have few values.
    small: usize,
    /// How many rows were taken out as items.
    taken: usize,
}

impl List {
    pub(super) fn new(of: &ColumnType) -> Self {
        let item = ColumnType::List(Box::new(of.clone())).to_arrow();
        let item = match item {
            DataType::List(field) => field,
            _ => Arc::new(of.item_field()),
        };
        List { item, groups: Vec::new(), parts: VecDeque::new(), size: 0, small: 0, taken: 0 }
    }
}

/// Parts with fewer values than that take more memory than their values, and are joined when there are so many.
const FEW: usize = 64;

impl List {
    /// Makes one part of the last ones, which have few values.
    fn join(&mut self) -> Result<(), Failure> {
        let parts = self.parts.split_off(self.parts.len() - self.small);
        self.size -= parts.iter().map(bytes).sum::<usize>();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let part = compact(&fits(concat(&parts))?);
        self.size += bytes(&part);
        self.parts.push_back(part);
        self.small = 0;
        Ok(())
    }
}

impl Accumulator for List {
    fn add(&mut self, groups: &[u32], _count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        let Some(values) = values else { return Ok(()) };
        self.groups.extend_from_slice(groups);
        if self.groups.len() > i32::MAX as usize {
            return Err(Failure::new(Exit::Unavailable, "more than 2 billion values in the lists of `array_agg`"));
        }
        let part = compact(values);
        self.size += bytes(&part);
        self.small = if part.len() < FEW { self.small + 1 } else { 0 };
        self.parts.push_back(part);
        if self.small == FEW { self.join() } else { Ok(()) }
    }

    fn size(&self) -> usize {
        // The order of the values takes as much again as their groups.
        self.size + self.groups.capacity() * 8
    }

    fn state(&self) -> Vec<DataType> {
        Vec::new()
    }

    fn save(&self, _groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _groups: &[u32], _count: usize, _columns: &[ArrayRef]) -> Result<(), Failure> {
        Ok(())
    }

    fn item(&self) -> Option<DataType> {
        Some(self.item.data_type().clone())
    }

    fn next_items(&mut self, _bytes: usize) -> Result<Option<Items>, Failure> {
        // A part is what came with one batch, and no more than that.
        let Some(part) = self.parts.pop_front() else { return Ok(None) };
        let start = self.taken;
        self.taken += part.len();
        Ok(Some((self.groups[start..self.taken].to_vec(), part)))
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        let (starts, rows) = grouped(&self.groups, count);
        let lengths: Vec<usize> = starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
        let parts: Vec<&dyn Array> = self.parts.iter().map(AsRef::as_ref).collect();
        let all = if parts.is_empty() { new_empty_array(self.item.data_type()) } else { fits(concat(&parts))? };
        self.parts = VecDeque::new();
        let items = fits(take(&all, &arrow_array::UInt32Array::from(rows), None))?;
        let valid = NullBuffer::from_iter(lengths.iter().map(|length| *length > 0));
        let nulls = Some(valid).filter(|valid| valid.null_count() > 0);
        let list = fits(ListArray::try_new(self.item, OffsetBuffer::from_lengths(lengths), items, nulls))?;
        Ok((Arc::new(list), Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;

    use super::*;

    #[test]
    fn a_list_of_values_that_come_one_by_one_takes_little_more_than_the_values() {
        let mut list = List::new(&ColumnType::Int64);
        for n in 0..10_000 {
            let value: ArrayRef = Arc::new(Int64Array::from(vec![n]));
            list.add(&[0], 1, Some(&value)).expect("few values");
        }
        assert!(list.size() < 10_000 * 8 + 16_384 * 8 + 40_000, "{}", list.size());
        let (lists, _) = Box::new(list).finish(1).expect("few values");
        assert_eq!(lists.to_data().child_data()[0], Int64Array::from_iter_values(0..10_000).to_data());
    }
}
