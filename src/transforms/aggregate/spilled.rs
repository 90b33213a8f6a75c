//! Rows and groups as they are spilled.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryArray, RecordBatch, StringArray, UInt32Array, UInt64Array, cast::AsArray, types::UInt64Type,
};
use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use arrow_select::take::take;

use super::{Setup, others::Rest, states::States, table::Table};
use crate::{
    batch::RejectCode,
    exchange::{Merge, Part, with_own, without_own},
    failure::Failure,
    memory::Share,
    stage::{Held, Made},
    transforms::memory::{OUT, Refused, fits},
};

/// Rows as the groups take them.
pub(super) struct Input {
    /// The columns of the key.
    pub(super) keys: Vec<ArrayRef>,
    /// What each aggregate is applied to.
    pub(super) arguments: Vec<Option<ArrayRef>>,
    /// The number of each row in the worker's input.
    numbers: Numbers,
}

enum Numbers {
    Run(Range<u64>),
    Each(UInt64Array),
}

impl Input {
    pub(super) fn new(keys: Vec<ArrayRef>, arguments: Vec<Option<ArrayRef>>, numbers: Range<u64>) -> Self {
        Input { keys, arguments, numbers: Numbers::Run(numbers) }
    }

    /// The same where the numbers do not follow each other.
    pub(super) fn each(keys: Vec<ArrayRef>, arguments: Vec<Option<ArrayRef>>, numbers: UInt64Array) -> Self {
        Input { keys, arguments, numbers: Numbers::Each(numbers) }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        match &self.numbers {
            Numbers::Run(numbers) => (numbers.end - numbers.start) as usize,
            Numbers::Each(numbers) => numbers.len(),
        }
    }

    /// The number of a row.
    pub(super) fn number(&self, row: u32) -> u64 {
        match &self.numbers {
            Numbers::Run(numbers) => numbers.start + u64::from(row),
            Numbers::Each(numbers) => numbers.value(row as usize),
        }
    }

    /// Some of the rows.
    pub(super) fn pick(&self, rows: &[u32]) -> Result<Input, Failure> {
        let numbers = Numbers::Each(rows.iter().map(|row| self.number(*row)).collect());
        let rows = UInt32Array::from(rows.to_vec());
        let pick = |array: &ArrayRef| fits(take(array, &rows, None));
        let keys = self.keys.iter().map(pick).collect::<Result<_, _>>()?;
        let arguments = self.arguments.iter().map(|argument| argument.as_ref().map(pick).transpose());
        Ok(Input { keys, arguments: arguments.collect::<Result<_, _>>()?, numbers })
    }
}

/// How rows and groups lie in parts.
pub(super) struct Layout {
    /// Of rows: the key, the arguments that there are, the number.
    rows: SchemaRef,
    /// Of groups: what is emitted, why the group is a reject, the number of its first row as bytes that compare.
    groups: SchemaRef,
    /// Of groups that are not finished.
    pub(super) states: States,
    keys: usize,
}

impl Layout {
    pub(super) fn of(setup: &Setup) -> Layout {
        let output = setup.output.arrow();
        let keys = setup.by.len() + usize::from(setup.window.is_some());
        let key = |place: usize| output.field(place).data_type().clone();
        let states = States::of((0..keys).map(key).collect(), &setup.calls);
        let arguments = setup.calls.iter().filter_map(|call| call.argument.as_ref());
        let types = (0..keys).map(key).chain(arguments.map(|argument| argument.column_type().to_arrow()));
        let types = types.chain([DataType::UInt64]).enumerate();
        let rows: Vec<Field> = types.map(|(place, of)| Field::new(place.to_string(), of, true)).collect();
        let why = Arc::new(Field::new("", DataType::Utf8, true));
        let groups: Vec<_> = output.fields().iter().cloned().chain([why]).collect();
        let groups = with_own(&Arc::new(ArrowSchema::new(groups)), DataType::Binary);
        Layout { rows: Arc::new(ArrowSchema::new(rows)), groups, states, keys }
    }

    pub(super) fn rows(&self) -> SchemaRef {
        Arc::clone(&self.rows)
    }

    /// Rows as they are spilled.
    pub(super) fn pack(&self, input: &Input) -> Result<RecordBatch, Failure> {
        let numbers: ArrayRef = match &input.numbers {
            Numbers::Run(numbers) => Arc::new(UInt64Array::from_iter_values(numbers.clone())),
            Numbers::Each(numbers) => Arc::new(numbers.clone()),
        };
        let columns = input.keys.iter().chain(input.arguments.iter().flatten()).cloned().chain([numbers]);
        fits(RecordBatch::try_new(self.rows(), columns.collect()))
    }

    fn unpack(&self, setup: &Setup, rows: &RecordBatch) -> Input {
        let (keys, rest) = rows.columns().split_at(self.keys);
        let mut rest = rest.iter();
        let arguments = setup.calls.iter().map(|call| call.argument.as_ref().and_then(|_| rest.next().cloned()));
        let arguments = arguments.collect();
        let numbers = rows.column(rows.num_columns() - 1).as_primitive::<UInt64Type>().clone();
        Input::each(keys.to_vec(), arguments, numbers)
    }

    /// Spilled groups as they are emitted.
    pub(super) fn made(&self, setup: &Setup, rows: &RecordBatch) -> Result<Made, Failure> {
        let records = without_own(rows, setup.output.arrow())?;
        let why = rows.column(records.num_columns()).as_string::<i32>().iter().zip(0_u32..);
        let refused = why.filter_map(|(why, row)| Some((row, RejectCode("expression"), why?.to_owned()))).collect();
        Ok(Made { records, refused })
    }
}

/// Takes what was spilled into groups, one part after the other, and puts all of these groups in the order in which they
/// were first met.
pub(super) fn groups(
    setup: &Setup,
    layout: &Layout,
    rests: Vec<Rest>,
    share: &mut Share,
    account: &mut Held,
) -> Result<Merge, Failure> {
    let mut waiting: Vec<(Rest, u32)> = rests.into_iter().rev().map(|rest| (rest, 1)).collect();
    let mut runs = Vec::new();
    while let Some((rest, level)) = waiting.pop() {
        account.passes = account.passes.max(u64::from(level));
        let mut table = regain(setup, layout, rest, level, share)?;
        account.note(table.peak());
        let firsts = table.take_firsts();
        let (records, refused, others) = table.finish(setup, account)?;
        if !firsts.is_empty() {
            let run = write(layout, &records, refused, &firsts, share)?;
            account.spilled(&run);
            runs.push(run);
        }
        share.fits(0);
        waiting.extend(others.into_iter().rev().map(|part| (part, level + 1)));
    }
    let (schema, blocks) = (Arc::clone(&layout.groups), [share.block(), OUT]);
    let (merge, passes) = Merge::all(share.exchange(), "groups", runs, schema, blocks)?;
    account.passes += 1 + passes;
    Ok(merge)
}

/// The groups of one part, as many as have room: first what was known of them, then their rows.
fn regain(setup: &Setup, layout: &Layout, rest: Rest, level: u32, share: &mut Share) -> Result<Table, Failure> {
    let mut table = Table::new(setup, level);
    if let Some(states) = rest.states {
        let mut reader = states.read()?;
        while let Some(states) = reader.next_rows()? {
            table.restore(setup, layout, &states, share)?;
        }
        table.end_states()?;
    }
    if let Some(rows) = rest.rows {
        let mut reader = rows.read()?;
        while let Some(rows) = reader.next_rows()? {
            table.add(setup, layout, layout.unpack(setup, &rows), share)?;
        }
    }
    Ok(table)
}

/// Writes groups, which are in the order of their first rows.
fn write(
    layout: &Layout,
    records: &RecordBatch,
    refused: Vec<Refused>,
    firsts: &[u64],
    share: &Share,
) -> Result<Part, Failure> {
    debug_assert!(firsts.is_sorted(), "groups are spilled and come back in the order in which they were first met");
    let mut why = vec![None; records.num_rows()];
    refused.into_iter().for_each(|(row, _, reason)| why[row as usize] = Some(reason));
    let mut run = share.exchange().write("groups", &layout.groups)?;
    let mut columns = records.columns().to_vec();
    columns.push(Arc::new(StringArray::from(why)));
    columns.push(Arc::new(BinaryArray::from_iter_values(firsts.iter().map(|first| first.to_be_bytes()))));
    run.add_in_blocks(&fits(RecordBatch::try_new(Arc::clone(&layout.groups), columns))?, share.block())?;
    run.finish()
}
