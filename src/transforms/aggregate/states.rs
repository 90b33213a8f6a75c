//! The state of groups as it is spilled: in rows, so that it is divided by key, and read a block at a time, as rows of the
//! input are.
//!
//! Of each group there is first a row with its state, then one for each of its items: those of one call, in their order,
//! then those of the next.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, RecordBatch, UInt32Array, UInt64Array,
    cast::AsArray,
    new_null_array,
    types::{UInt32Type, UInt64Type},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;

use super::{accumulator::Accumulator, functions, spilled::Input};
use crate::{
    expr::AggregateCall,
    failure::Failure,
    transforms::memory::{bytes, fits},
};

/// How the state of groups lies in rows.
pub(super) struct States {
    /// The key; in the row of the state the number of the group's first row; whose the row is: 0 is the state of all calls,
    /// n an item of the nth; then the columns of every call.
    schema: SchemaRef,
    keys: usize,
    /// The columns of every call: its state, then its items.
    places: Vec<Range<usize>>,
}

/// Rows of one block, at most.
const ROWS: usize = 8192;

impl States {
    /// Of groups with keys of these types.
    pub(super) fn of(keys: Vec<DataType>, calls: &[AggregateCall]) -> States {
        let count = keys.len();
        let mut types = keys;
        types.extend([DataType::UInt64, DataType::UInt32]);
        let mut places = Vec::new();
        for accumulator in calls.iter().map(functions::new) {
            let start = types.len();
            types.extend(accumulator.state());
            types.extend(accumulator.item());
            places.push(start..types.len());
        }
        let fields = types.into_iter().enumerate();
        let fields: Vec<Field> = fields.map(|(place, of)| Field::new(place.to_string(), of, true)).collect();
        States { schema: Arc::new(Schema::new(fields)), keys: count, places }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Takes all out of accumulators, and gives it to `put` in blocks of about `block` bytes: rows, and the group of each.
    /// `keys` and `firsts` have a row for each group.
    pub(super) fn save(
        &self,
        keys: &[ArrayRef],
        firsts: &[u64],
        accumulators: &mut [Box<dyn Accumulator>],
        block: usize,
        mut put: impl FnMut(&RecordBatch, &[u32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let state = accumulators.iter().filter(|accumulator| accumulator.item().is_none());
        let size = state.map(|accumulator| accumulator.size()).sum::<usize>() + keys.iter().map(bytes).sum::<usize>();
        let step = (block / (size / firsts.len().max(1)).max(1)).clamp(1, ROWS);
        for start in (0..firsts.len()).step_by(step) {
            let groups = start..firsts.len().min(start + step);
            let numbers: ArrayRef = Arc::new(UInt64Array::from(firsts[groups.clone()].to_vec()));
            let mut own = vec![(self.keys, numbers)];
            for (places, accumulator) in self.places.iter().zip(accumulators.iter()) {
                own.extend(places.clone().zip(accumulator.save(groups.clone())?));
            }
            let keys = keys.iter().map(|key| key.slice(start, groups.len())).collect();
            put(&self.rows(keys, 0, own)?, &groups.map(|group| group as u32).collect::<Vec<u32>>())?;
        }
        for (call, (places, accumulator)) in self.places.iter().zip(accumulators).enumerate() {
            while let Some((groups, items)) = accumulator.next_items(block)? {
                let rows = UInt32Array::from(groups.clone());
                let keys = keys.iter().map(|key| fits(take(key, &rows, None))).collect::<Result<_, _>>()?;
                put(&self.rows(keys, call + 1, [(places.end - 1, items)])?, &groups)?;
            }
        }
        Ok(())
    }

    /// Rows with these columns; all others are null.
    fn rows(
        &self,
        keys: Vec<ArrayRef>,
        whose: usize,
        own: impl IntoIterator<Item = (usize, ArrayRef)>,
    ) -> Result<RecordBatch, Failure> {
        let mut columns = keys;
        let len = columns.first().map_or(0, Array::len);
        let others = &self.schema.fields()[self.keys..];
        columns.extend(others.iter().map(|field| new_null_array(field.data_type(), len)));
        columns[self.keys + 1] = Arc::new(UInt32Array::from_value(whose as u32, len));
        own.into_iter().for_each(|(place, column)| columns[place] = column);
        fits(RecordBatch::try_new(self.schema(), columns))
    }

    /// The keys of saved rows, and the number of the first row of each group.
    pub(super) fn input(&self, rows: &RecordBatch) -> Input {
        let numbers = rows.column(self.keys).as_primitive::<UInt64Type>().clone();
        Input::each(rows.columns()[..self.keys].to_vec(), Vec::new(), numbers)
    }

    /// Takes saved rows into accumulators: the group of each, and how many groups there are by now.
    pub(super) fn restore(
        &self,
        rows: &RecordBatch,
        groups: &[u32],
        count: usize,
        accumulators: &mut [Box<dyn Accumulator>],
    ) -> Result<(), Failure> {
        let mut each = vec![Vec::new(); self.places.len() + 1];
        let whose = rows.column(self.keys + 1).as_primitive::<UInt32Type>().values();
        (0_u32..).zip(whose).for_each(|(row, whose)| each[*whose as usize].push(row));
        for (whose, picked) in each.into_iter().enumerate().filter(|(_, picked)| !picked.is_empty()) {
            let groups: Vec<u32> = picked.iter().map(|row| groups[*row as usize]).collect();
            let picked = UInt32Array::from(picked);
            let pick = |place: usize| fits(take(rows.column(place), &picked, None));
            if let Some(call) = whose.checked_sub(1) {
                accumulators[call].add(&groups, count, Some(&pick(self.places[call].end - 1)?))?;
                continue;
            }
            for (places, accumulator) in self.places.iter().zip(accumulators.iter_mut()) {
                let state = places.clone().take(accumulator.state().len());
                let columns: Vec<ArrayRef> = state.map(pick).collect::<Result<_, _>>()?;
                accumulator.restore(&groups, count, &columns)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow_array::{Float64Array, Int64Array};
    use arrow_cast::cast;

    use super::*;
    use crate::{
        expr::{Aggregate, compile_aggregate},
        testing::schema,
        transforms::aggregate::accumulator::Finished,
    };

    const GROUPS: usize = 5;

    /// Values of a type, in several batches; those of the last group are all null.
    fn batches(of: &str) -> Vec<(Vec<u32>, ArrayRef)> {
        let to = schema(&format!("v {of}")).columns()[0].column_type.to_arrow();
        let floats = [f64::NAN, -f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 1e300, 0.1, 0.2, -1e-300];
        let ints = [i64::MAX, i64::MIN, 0, -1, i64::MAX, 7, 1_000_000_007, -86_400_000_000];
        let batch = |start: usize, len: usize| {
            let rows = start..start + len;
            let groups: Vec<u32> = rows.clone().map(|row| (row * 7 % 11 % GROUPS) as u32).collect();
            let last = |row: usize| groups[row - start] as usize == GROUPS - 1 || row.is_multiple_of(11);
            let int = |row: usize| (!last(row)).then(|| ints[row * 7 % 8] / (1 + row as i64 % 3));
            let float = |row: usize| (!last(row)).then(|| floats[row * 7 % 10] / (1 + row % 3) as f64);
            let values: ArrayRef = match &to {
                DataType::Float32 | DataType::Float64 => Arc::new(rows.map(float).collect::<Float64Array>()),
                DataType::Timestamp(..) | DataType::Int64 | DataType::Utf8View => {
                    Arc::new(rows.map(int).collect::<Int64Array>())
                }
                DataType::BinaryView => {
                    let texts: ArrayRef = Arc::new(rows.map(int).collect::<Int64Array>());
                    cast(&texts, &DataType::Utf8View).expect("any number is a text")
                }
                // Within the range of all others.
                _ => Arc::new(rows.map(|row| int(row).map(|int| int & 127)).collect::<Int64Array>()),
            };
            let narrow = if to == DataType::Date32 { DataType::Int32 } else { values.data_type().clone() };
            let values = cast(&values, &narrow).and_then(|values| cast(&values, &to));
            (groups, values.unwrap_or_else(|error| panic!("{of}: {error}")))
        };
        [0, 1, 2, 17, 18, 60].windows(2).map(|pair| batch(pair[0], pair[1] - pair[0])).collect()
    }

    /// All groups, without saving where `saved` is nothing, else before every batch and at the end.
    fn finished(call: &AggregateCall, batches: &[(Vec<u32>, ArrayRef)], saved: Option<usize>) -> Finished {
        let new = || vec![functions::new(call)];
        let states = States::of(vec![DataType::Int64], std::slice::from_ref(call));
        let (mut accumulators, mut count) = (new(), 0);
        for batch in batches.iter().map(Some).chain([None]) {
            if let Some(block) = saved {
                let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count as i64));
                let firsts: Vec<u64> = (0..count as u64).map(|group| 100 + group).collect();
                let mut next = new();
                let put = |rows: &RecordBatch, groups: &[u32]| {
                    let input = states.input(rows);
                    let keys = input.keys[0].as_primitive::<arrow_array::types::Int64Type>().values();
                    assert!(keys.iter().zip(groups).all(|(key, group)| *key == i64::from(*group)));
                    let of_state = rows.column(1).as_primitive::<UInt64Type>().iter().zip(groups);
                    assert!(
                        of_state.into_iter().all(|(first, group)| first.is_none_or(|n| n == 100 + u64::from(*group)))
                    );
                    states.restore(rows, groups, count, &mut next)
                };
                states.save(&[keys], &firsts, &mut accumulators, block, put).expect("it is little");
                accumulators = next;
            }
            let Some((groups, values)) = batch else { continue };
            count = groups.iter().fold(count, |count, group| count.max(*group as usize + 1));
            let values = call.argument.is_some().then_some(values);
            accumulators[0].add(groups, count, values).expect("it is little");
        }
        accumulators.remove(0).finish(count).expect("it is little")
    }

    /// Groups get their numbers in the order in which they come.
    fn numbered(batches: &mut [(Vec<u32>, ArrayRef)]) {
        let mut order = Vec::new();
        for group in batches.iter_mut().flat_map(|(groups, _)| groups) {
            let known = order.iter().position(|known| known == group);
            *group = known.unwrap_or_else(|| {
                order.push(*group);
                order.len() - 1
            }) as u32;
        }
        assert_eq!(order.len(), GROUPS);
    }

    #[test]
    fn every_aggregate_goes_on_from_what_was_saved_to_the_same_bits() {
        let types = [
            "int64?",
            "int32?",
            "uint64?",
            "float64?",
            "float32?",
            "string?",
            "binary?",
            "bool?",
            "date?",
            "timestamp?",
            "timestamp_ns?",
            "list<int64>?",
        ];
        let mut tried = BTreeSet::new();
        for of in types {
            let schema = schema(&format!("v {of}"));
            let mut batches = batches(of.trim_start_matches("list<").trim_end_matches(">?"));
            numbered(&mut batches);
            if of.starts_with("list") {
                for (_, values) in &mut batches {
                    *values = cast(values, &schema.columns()[0].column_type.to_arrow()).expect("lists of one");
                }
            }
            let calls = Aggregate::names().map(|name| format!("{name}(v)")).chain(["count(*)".to_owned()]);
            for text in calls {
                let Ok(call) = compile_aggregate(&text, &schema) else { continue };
                let expected = finished(&call, &batches, None);
                for block in [1, 200, 1 << 20] {
                    let (values, errors) = finished(&call, &batches, Some(block));
                    assert_eq!((&values, &errors), (&expected.0, &expected.1), "{text} of {of}, blocks of {block}");
                }
                tried.insert(text);
            }
        }
        assert_eq!(tried.len(), Aggregate::names().count() + 1, "{tried:?}");
    }
}
