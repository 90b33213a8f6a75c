//! Which accumulator each aggregate function has; those that count.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Int64Array, UInt32Array,
    cast::AsArray,
    types::{Int64Type, UInt32Type},
};
use arrow_schema::DataType;
use arrow_select::take::take;

use super::{
    accumulator::{Accumulator, Finished, Items, known},
    extreme, moments,
    values::{Ends, List},
};
use crate::{
    batch::ColumnType,
    expr::{Aggregate, AggregateCall},
    failure::Failure,
    transforms::{
        keys::{Encoder, Keys},
        memory::fits,
    },
};

/// The accumulator of a call.
pub(super) fn new(call: &AggregateCall) -> Box<dyn Accumulator> {
    let own = call.argument.as_ref().map_or(ColumnType::Int64, |argument| argument.column_type().clone());
    match call.function {
        Aggregate::CountRows | Aggregate::Count => Box::new(Count::default()),
        Aggregate::CountDistinct => Box::new(Distinct::new(own.to_arrow())),
        Aggregate::Sum if own.is_integer() => Box::new(moments::IntegerSum::default()),
        Aggregate::Sum => Box::new(moments::FloatSum::default()),
        Aggregate::Avg if own.is_integer() => Box::new(moments::IntegerMean::default()),
        Aggregate::Avg => Box::new(moments::FloatMean::default()),
        Aggregate::Stddev => Box::new(moments::Deviation::default()),
        Aggregate::Min => extreme::new(&own.to_arrow(), true),
        Aggregate::Max => extreme::new(&own.to_arrow(), false),
        Aggregate::First => Box::new(Ends::new(own.to_arrow(), true)),
        Aggregate::Last => Box::new(Ends::new(own.to_arrow(), false)),
        Aggregate::ArrayAgg => Box::new(List::new(&own)),
    }
}

/// `count(*)`, and `count(x)` where it has values.
#[derive(Default)]
struct Count(Vec<i64>);

impl Accumulator for Count {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.0.resize(count, 0);
        match values.and_then(|values| values.nulls()) {
            None => groups.iter().for_each(|group| self.0[*group as usize] += 1),
            Some(valid) => valid.valid_indices().for_each(|row| self.0[groups[row] as usize] += 1),
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.0.capacity() * 8
    }

    fn state(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        Ok(vec![Arc::new(Int64Array::from_iter_values(known(&self.0, groups)))])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.0.resize(count, 0);
        let counts = columns[0].as_primitive::<Int64Type>().values();
        groups.iter().zip(counts).for_each(|(group, count)| self.0[*group as usize] = *count);
        Ok(())
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.0.resize(count, 0);
        Ok((Arc::new(Int64Array::from(self.0)), Vec::new()))
    }
}

/// Items that are taken out at once, at most.
const ITEMS: u32 = 8192;

/// `count_distinct(x)`: the different pairs of group and value.
struct Distinct {
    /// The type of the values.
    of: DataType,
    encoder: Option<Encoder>,
    keys: Keys,
    counts: Vec<i64>,
    /// How many keys were taken out as items.
    taken: u32,
}

impl Distinct {
    fn new(of: DataType) -> Self {
        Distinct { of, encoder: None, keys: Keys::default(), counts: Vec::new(), taken: 0 }
    }
}

impl Accumulator for Distinct {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.counts.resize(count, 0);
        let Some(values) = values else { return Ok(()) };
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new([(DataType::UInt32, false), (self.of.clone(), false)])?,
        };
        let (mut groups, mut values) = (groups.to_vec(), Arc::clone(values));
        if let Some(valid) = values.nulls().filter(|nulls| nulls.null_count() > 0).cloned() {
            groups = valid.valid_indices().map(|row| groups[row]).collect();
            let rows = UInt32Array::from_iter_values(valid.valid_indices().map(|row| row as u32));
            values = fits(take(&values, &rows, None))?;
        }
        let pairs: [ArrayRef; 2] = [Arc::new(UInt32Array::from(groups.clone())), values];
        let mut next = self.keys.len() as u32;
        for (pair, group) in self.keys.number(&encoder.rows(&pairs)?)?.into_iter().zip(groups) {
            if pair == next {
                self.counts[group as usize] += 1;
                next += 1;
            }
        }
        self.encoder = Some(encoder);
        Ok(())
    }

    fn size(&self) -> usize {
        self.keys.size() + self.counts.capacity() * 8
    }

    fn state(&self) -> Vec<DataType> {
        Vec::new()
    }

    fn save(&self, _groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _groups: &[u32], count: usize, _columns: &[ArrayRef]) -> Result<(), Failure> {
        self.counts.resize(count, 0);
        Ok(())
    }

    fn item(&self) -> Option<DataType> {
        Some(self.of.clone())
    }

    fn next_items(&mut self, bytes: usize) -> Result<Option<Items>, Failure> {
        let all = self.keys.len() as u32;
        let Some(encoder) = self.encoder.as_ref().filter(|_| self.taken < all) else { return Ok(None) };
        let (start, mut size) = (self.taken, 0);
        while self.taken < all && self.taken - start < ITEMS && size < bytes {
            size += self.keys.get(self.taken).len();
            self.taken += 1;
        }
        let mut pairs = encoder.columns((start..self.taken).map(|id| self.keys.get(id)))?;
        let values = pairs.pop().zip(pairs.pop());
        Ok(values.map(|(values, groups)| (groups.as_primitive::<UInt32Type>().values().to_vec(), values)))
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.counts.resize(count, 0);
        Ok((Arc::new(Int64Array::from(self.counts)), Vec::new()))
    }
}
