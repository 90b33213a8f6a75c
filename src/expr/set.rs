//! Sets of constants, in which the values of a long `in` list are looked up.

use std::collections::HashSet;

use arrow_array::{
    ArrayRef, BooleanArray,
    cast::AsArray,
    types::{Int64Type, UInt64Type},
};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use crate::batch::ColumnType;

use super::{text::Strings, value::Value};

/// A set of constants.
#[derive(Clone, Debug)]
pub(super) enum SetOf {
    Integers(HashSet<i64>),
    Unsigned(HashSet<u64>),
    Strings(HashSet<Box<str>>),
}

impl SetOf {
    /// The values of type `of` that are among the constants `all`, none of which is null; none for a type that has no
    /// sets here. Integers may be `int64` or `uint64`.
    pub(super) fn new<'a>(all: impl Iterator<Item = &'a ArrayRef>, of: &ColumnType) -> Option<SetOf> {
        match of {
            ColumnType::Int64 => Some(SetOf::Integers(all.filter_map(integer).flat_map(i64::try_from).collect())),
            ColumnType::UInt64 => Some(SetOf::Unsigned(all.filter_map(integer).flat_map(u64::try_from).collect())),
            ColumnType::String => Some(SetOf::Strings(all.map(|one| one.as_string_view().value(0).into()).collect())),
            _ => None,
        }
    }

    /// SQL's `in`: null where nothing was found and the list has a null.
    pub(super) fn contains(&self, operand: &Value, has_null: bool, rows: usize) -> BooleanArray {
        let found = match self {
            SetOf::Integers(set) => {
                let numbers = operand.array().as_primitive::<Int64Type>().values();
                BooleanBuffer::collect_bool(rows, |row| set.contains(&numbers[operand.index(row)]))
            }
            SetOf::Unsigned(set) => {
                let numbers = operand.array().as_primitive::<UInt64Type>().values();
                BooleanBuffer::collect_bool(rows, |row| set.contains(&numbers[operand.index(row)]))
            }
            SetOf::Strings(set) => {
                let strings = Strings::of(operand);
                BooleanBuffer::collect_bool(rows, |row| set.contains(strings.get(row)))
            }
        };
        let mut nulls = operand.nulls(rows);
        if has_null {
            nulls = NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::new(found.clone())));
        }
        BooleanArray::new(found, nulls)
    }
}

/// The value of a constant that is an integer.
fn integer(one: &ArrayRef) -> Option<i128> {
    let signed = one.as_primitive_opt::<Int64Type>().map(|one| one.value(0).into());
    signed.or_else(|| one.as_primitive_opt::<UInt64Type>().map(|one| one.value(0).into()))
}
