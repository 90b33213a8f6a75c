//! Sums, means and deviations. Sums of integers are exact on the way, so that only the result can be too large.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array,
    cast::AsArray,
    types::{Float64Type, Int64Type, UInt64Type},
};
use arrow_cast::cast;
use arrow_schema::DataType;

use super::accumulator::{Accumulator, Finished};
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

    fn finish(mut self: Box<Self>, count: usize) -> Result<Finished, Failure> {
        self.0.resize(count, Moments::default());
        let deviation = |of: Moments| (of.rows > 1).then(|| (of.squares / (of.rows - 1) as f64).sqrt());
        Ok(of_groups(self.0.into_iter().map(deviation)))
    }
}
