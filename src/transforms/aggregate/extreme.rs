//! `min` and `max`. Nulls do not count; NaN is above all numbers.

use std::{mem::size_of, ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, BinaryViewArray, PrimitiveArray, cast::AsArray,
    downcast_primitive, types::UInt8Type,
};
use arrow_cast::cast;
use arrow_schema::DataType;

use super::accumulator::{Accumulator, Finished, known};
use crate::{failure::Failure, transforms::memory::fits};

/// The accumulator for values of a type: the least, or the greatest.
pub(super) fn new(of: &DataType, least: bool) -> Box<dyn Accumulator> {
    macro_rules! primitive {
        ($t:ty, $of:ident, $least:ident) => {
            Box::new(Extreme::<$t> { of: $of.clone(), least: $least, values: Vec::new() })
        };
    }
    downcast_primitive! {
        of => (primitive, of, least),
        DataType::Boolean => Box::new(Extreme::<UInt8Type> { of: DataType::Boolean, least, values: Vec::new() }),
        _ => Box::new(ExtremeBytes { of: of.clone(), least, values: Vec::new(), size: 0 }),
    }
}

struct Extreme<T: ArrowPrimitiveType> {
    /// The type of the values as they come.
    of: DataType,
    least: bool,
    values: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> Accumulator for Extreme<T> {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.values.resize(count, None);
        let Some(values) = values else { return Ok(()) };
        // Booleans come as 0 and 1.
        let values = if *values.data_type() == DataType::Boolean {
            fits(cast(values, &DataType::UInt8))?
        } else {
            Arc::clone(values)
        };
        for (value, group) in values.as_primitive::<T>().iter().zip(groups) {
            let Some(value) = value else { continue };
            let best = &mut self.values[*group as usize];
            let better = match *best {
                None => true,
                Some(best) if self.least => value.is_lt(best),
                Some(best) => value.is_gt(best),
            };
            if better {
                *best = Some(value);
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<Option<T::Native>>()
    }

    fn state(&self) -> Vec<DataType> {
        vec![T::DATA_TYPE]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        Ok(vec![Arc::new(known(&self.values, groups).collect::<PrimitiveArray<T>>())])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.values.resize(count, None);
        let values = columns[0].as_primitive::<T>().iter();
        groups.iter().zip(values).for_each(|(group, value)| self.values[*group as usize] = value);
        Ok(())
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.values.resize(count, None);
        let values: ArrayRef = Arc::new(self.values.iter().copied().collect::<PrimitiveArray<T>>());
        Ok((fits(cast(&values, &self.of))?, Vec::new()))
    }
}

/// The same for text and bytes.
struct ExtremeBytes {
    of: DataType,
    least: bool,
    values: Vec<Option<Vec<u8>>>,
    /// Bytes of all values.
    size: usize,
}

impl Accumulator for ExtremeBytes {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.values.resize(count, None);
        let Some(values) = values else { return Ok(()) };
        // Text compares as its bytes do.
        let bytes = fits(cast(values, &DataType::BinaryView))?;
        for (value, group) in bytes.as_binary_view().iter().zip(groups) {
            let Some(value) = value else { continue };
            let best = &mut self.values[*group as usize];
            let better = match best {
                None => true,
                Some(best) if self.least => value < best.as_slice(),
                Some(best) => value > best.as_slice(),
            };
            if better {
                let buffer = best.get_or_insert_default();
                let before = buffer.capacity();
                buffer.clear();
                buffer.extend_from_slice(value);
                self.size += buffer.capacity() - before;
            }
        }
        Ok(())
    }

    fn state(&self) -> Vec<DataType> {
        vec![DataType::BinaryView]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        let values = groups.map(|group| self.values.get(group).and_then(Option::as_deref));
        Ok(vec![Arc::new(values.collect::<BinaryViewArray>())])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        // Of a group that nothing is known of, any value is the best so far.
        self.add(groups, count, columns.first())
    }

    fn size(&self) -> usize {
        self.size + self.values.capacity() * size_of::<Option<Vec<u8>>>()
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.values.resize(count, None);
        let values: ArrayRef = Arc::new(BinaryViewArray::from_iter(std::mem::take(&mut self.values)));
        Ok((fits(cast(&values, &self.of))?, Vec::new()))
    }
}
