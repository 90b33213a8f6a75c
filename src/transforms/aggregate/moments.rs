//! Sums, means and deviations. Sums of integers are exact on the way, so that only the result can be too large.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Decimal128Array, Float64Array, Int64Array, UInt64Array,
    cast::AsArray,
    types::{Decimal128Type, Float64Type, Int64Type, UInt64Type},
};
use arrow_cast::cast;
use arrow_schema::DataType;

use super::accumulator::{Accumulator, Finished, known};
use crate::{failure::Failure, transforms::memory::fits};

/// Calls `add` with row and value of every row that has one.
fn integers(values: Option<&ArrayRef>, mut add: impl FnMut(usize, i128)) -> Result<(), Failure> {
    let Some(values) = values else { return Ok(()) };
    if *values.data_type() == DataType::UInt64 {
        let numbers = values.as_primitive::<UInt64Type>();
        each(values, |row| add(row, i128::from(numbers.value(row))));
        return Ok(());
    }
    let wide = fits(cast(values, &DataType::Int64))?;
    let numbers = wide.as_primitive::<Int64Type>();
    each(values, |row| add(row, i128::from(numbers.value(row))));
    Ok(())
}

/// The same for any numbers, as `float64`.
fn floats(values: Option<&ArrayRef>, mut add: impl FnMut(usize, f64)) -> Result<(), Failure> {
    let Some(values) = values else { return Ok(()) };
    let wide = fits(cast(values, &DataType::Float64))?;
    let numbers = wide.as_primitive::<Float64Type>();
    each(values, |row| add(row, numbers.value(row)));
    Ok(())
}

fn each(values: &ArrayRef, add: impl FnMut(usize)) {
    match values.nulls() {
        None => (0..values.len()).for_each(add),
        Some(valid) => valid.valid_indices().for_each(add),
    }
}

/// Floats of all groups; null where a group has none.
fn of_groups(values: impl Iterator<Item = Option<f64>>) -> Finished {
    (Arc::new(values.collect::<Float64Array>()), Vec::new())
}

/// The type of a column of `i128`. They are kept as they are: what a decimal says of its digits does not matter.
const WIDE: DataType = Decimal128Type::DATA_TYPE;

/// `sum` of integers.
#[derive(Default)]
pub(super) struct IntegerSum(Vec<(i128, bool)>);

impl Accumulator for IntegerSum {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.0.resize(count, (0, false));
        integers(values, |row, number| {
            let (sum, any) = &mut self.0[groups[row] as usize];
            *sum += number;
            *any = true;
        })
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<(i128, bool)>()
    }

    fn state(&self) -> Vec<DataType> {
        vec![WIDE]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        let sums = known(&self.0, groups).map(|(sum, any)| any.then_some(sum));
        Ok(vec![Arc::new(sums.collect::<Decimal128Array>())])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.0.resize(count, (0, false));
        for (group, sum) in groups.iter().zip(columns[0].as_primitive::<Decimal128Type>()) {
            self.0[*group as usize] = (sum.unwrap_or_default(), sum.is_some());
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.0.resize(count, (0, false));
        let mut errors = Vec::new();
        let sum = |(group, (sum, any)): (usize, &(i128, bool))| {
            let fitting = i64::try_from(*sum).ok().filter(|_| *any);
            if *any && fitting.is_none() {
                errors.push((group as u32, format!("the sum {sum} is beyond int64")));
            }
            fitting
        };
        let sums: Int64Array = self.0.iter().enumerate().map(sum).collect();
        Ok((Arc::new(sums), errors))
    }
}

/// `sum` of floats.
#[derive(Default)]
pub(super) struct FloatSum(Vec<Option<f64>>);

impl Accumulator for FloatSum {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.0.resize(count, None);
        floats(values, |row, number| {
            let sum = &mut self.0[groups[row] as usize];
            *sum = Some(sum.unwrap_or(0.0) + number);
        })
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<Option<f64>>()
    }

    fn state(&self) -> Vec<DataType> {
        vec![DataType::Float64]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        Ok(vec![Arc::new(known(&self.0, groups).collect::<Float64Array>())])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.0.resize(count, None);
        let sums = columns[0].as_primitive::<Float64Type>();
        groups.iter().zip(sums).for_each(|(group, sum)| self.0[*group as usize] = sum);
        Ok(())
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.0.resize(count, None);
        Ok(of_groups(self.0.into_iter()))
    }
}

/// `avg` of integers.
#[derive(Default)]
pub(super) struct IntegerMean(Vec<(i128, u64)>);

impl Accumulator for IntegerMean {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.0.resize(count, (0, 0));
        integers(values, |row, number| {
            let (sum, rows) = &mut self.0[groups[row] as usize];
            *sum += number;
            *rows += 1;
        })
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<(i128, u64)>()
    }

    fn state(&self) -> Vec<DataType> {
        vec![WIDE, DataType::UInt64]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        let sums = Decimal128Array::from_iter_values(known(&self.0, groups.clone()).map(|(sum, _)| sum));
        let rows = UInt64Array::from_iter_values(known(&self.0, groups).map(|(_, rows)| rows));
        Ok(vec![Arc::new(sums), Arc::new(rows)])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.0.resize(count, (0, 0));
        let sums = columns[0].as_primitive::<Decimal128Type>().values();
        let rows = columns[1].as_primitive::<UInt64Type>().values();
        for (group, (sum, rows)) in groups.iter().zip(sums.iter().zip(rows)) {
            self.0[*group as usize] = (*sum, *rows);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.0.resize(count, (0, 0));
        Ok(of_groups(self.0.into_iter().map(|(sum, rows)| (rows > 0).then(|| sum as f64 / rows as f64))))
    }
}

/// `avg` of floats.
#[derive(Default)]
pub(super) struct FloatMean(Vec<(f64, u64)>);

impl Accumulator for FloatMean {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.0.resize(count, (0.0, 0));
        floats(values, |row, number| {
            let (sum, rows) = &mut self.0[groups[row] as usize];
            *sum += number;
            *rows += 1;
        })
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<(f64, u64)>()
    }

    fn state(&self) -> Vec<DataType> {
        vec![DataType::Float64, DataType::UInt64]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        let sums = Float64Array::from_iter_values(known(&self.0, groups.clone()).map(|(sum, _)| sum));
        let rows = UInt64Array::from_iter_values(known(&self.0, groups).map(|(_, rows)| rows));
        Ok(vec![Arc::new(sums), Arc::new(rows)])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.0.resize(count, (0.0, 0));
        let sums = columns[0].as_primitive::<Float64Type>().values();
        let rows = columns[1].as_primitive::<UInt64Type>().values();
        for (group, (sum, rows)) in groups.iter().zip(sums.iter().zip(rows)) {
            self.0[*group as usize] = (*sum, *rows);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.0.resize(count, (0.0, 0));
        Ok(of_groups(self.0.into_iter().map(|(sum, rows)| (rows > 0).then(|| sum / rows as f64))))
    }
}

/// `stddev`: the deviation of a sample, by Welford's method. Null where a group has less than two values.
#[derive(Default)]
pub(super) struct Deviation(Vec<Moments>);

#[derive(Clone, Copy, Default)]
struct Moments {
    rows: u64,
    mean: f64,
    /// Sum of the squares of the distances from the mean.
    squares: f64,
}

impl Accumulator for Deviation {
    fn add(&mut self, groups: &[u32], count: usize, values: Option<&ArrayRef>) -> Result<(), Failure> {
        self.0.resize(count, Moments::default());
        floats(values, |row, number| {
            let Moments { rows, mean, squares } = &mut self.0[groups[row] as usize];
            *rows += 1;
            let before = number - *mean;
            *mean += before / *rows as f64;
            *squares += before * (number - *mean);
        })
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<Moments>()
    }

    fn state(&self) -> Vec<DataType> {
        vec![DataType::UInt64, DataType::Float64, DataType::Float64]
    }

    fn save(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>, Failure> {
        let rows = UInt64Array::from_iter_values(known(&self.0, groups.clone()).map(|of| of.rows));
        let means = Float64Array::from_iter_values(known(&self.0, groups.clone()).map(|of| of.mean));
        let squares = Float64Array::from_iter_values(known(&self.0, groups).map(|of| of.squares));
        Ok(vec![Arc::new(rows), Arc::new(means), Arc::new(squares)])
    }

    fn restore(&mut self, groups: &[u32], count: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.0.resize(count, Moments::default());
        let rows = columns[0].as_primitive::<UInt64Type>().values();
        let [means, squares] = [1, 2].map(|column| columns[column].as_primitive::<Float64Type>().values());
        for (row, group) in groups.iter().enumerate() {
            self.0[*group as usize] = Moments { rows: rows[row], mean: means[row], squares: squares[row] };
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.0.resize(count, Moments::default());
        let deviation = |of: Moments| (of.rows > 1).then(|| (of.squares / (of.rows - 1) as f64).sqrt());
        Ok(of_groups(self.0.into_iter().map(deviation)))
    }
}
