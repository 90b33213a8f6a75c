//! Functions of lists. Places count from 1; negative ones from the end.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, ListArray, UInt32Array, cast::AsArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_select::take::take;

use super::{Body, Call, Function, Parameter, Returns};
use crate::{
    batch::ColumnType,
    expr::{
        cast::{integers, widened},
        compare::{Comparison, compare},
        text::{Strings, build, to_strings},
        value::Value,
    },
};

use Parameter::{Integer, Item, List, Text};

/// The table. `length` of a list is with the strings: one function for both.
pub(super) const TABLE: &[Function] = &[
    Function {
        name: "list_contains",
        parameters: &[List, Item],
        optional: 0,
        returns: Returns::Type(ColumnType::Bool),
        body: Body::Strict(list_contains),
    },
    Function {
        name: "list_element",
        parameters: &[List, Integer],
        optional: 0,
        returns: Returns::Item,
        body: Body::Partial(list_element),
    },
    Function {
        name: "array_to_string",
        parameters: &[List, Text],
        optional: 0,
        returns: Returns::Type(ColumnType::String),
        body: Body::Strict(array_to_string),
    },
];

/// Which items of the list's values are those of row `row`.
fn items(list: &ListArray, value: &Value, row: usize) -> std::ops::Range<usize> {
    let at = value.index(row);
    let offsets = list.value_offsets();
    offsets[at] as usize..offsets[at + 1] as usize
}

/// `list[n]`: null where there is no such item.
fn list_element(call: Call<'_, '_>) -> ArrayRef {
    let (value, place) = (&call.arguments[0], &call.arguments[1]);
    let list = value.array().as_list::<i32>();
    let places = integers(place).values();
    let indices: UInt32Array = (0..call.rows)
        .map(|row| {
            let range = if call.is_valid(row) { items(list, value, row) } else { return None };
            let at = match places[place.index(row)] {
                0 => return None,
                n @ 1.. => (range.start as i64).checked_add(n - 1)?,
                n => (range.end as i64).checked_add(n)?,
            };
            usize::try_from(at).ok().filter(|at| range.contains(at)).map(|at| at as u32)
        })
        .collect();
    take(list.values(), &indices, None).expect("indices lie within the items, and every column type can be taken")
}

/// Is the second argument among the items? Null items are not a match.
fn list_contains(call: Call<'_, '_>) -> ArrayRef {
    let (value, wanted) = (&call.arguments[0], &call.arguments[1]);
    // One list for all rows has no items of a row's own to compare with what that row looks for.
    let value = &if wanted.is_constant() { value.clone() } else { Value::Column(value.clone().into_column(call.rows)) };
    let list = value.array().as_list::<i32>();
    let Some((&first, &last)) = list.value_offsets().first().zip(list.value_offsets().last()) else {
        return Arc::new(BooleanArray::new(BooleanBuffer::new_unset(call.rows), call.nulls));
    };
    let (first, count) = (first as usize, (last - first) as usize);
    let ColumnType::List(item) = call.first_type else { return value.clone().into_column(call.rows) };
    let values = list.values().slice(first, count);
    let values = Value::Column(widened(&values, item, wanted.array().data_type()));
    let wanted = match wanted {
        Value::Constant(_) => wanted.clone(),
        Value::Column(column) => {
            let mut owners = vec![0_u32; count];
            for row in 0..call.rows {
                let range = items(list, value, row);
                owners[range.start - first..range.end - first].fill(row as u32);
            }
            let owners = UInt32Array::from(owners);
            Value::Column(take(column, &owners, None).expect("every item belongs to a row of the column"))
        }
    };
    let equal = compare(Comparison::Equal, &values, &wanted, count);
    let hit = |at: usize| equal.is_valid(at - first) && equal.value(at - first);
    let bits = BooleanBuffer::collect_bool(call.rows, |row| items(list, value, row).any(hit));
    Arc::new(BooleanArray::new(bits, call.nulls))
}

/// The items' texts with the second argument between them; null items are left out.
fn array_to_string(call: Call<'_, '_>) -> ArrayRef {
    let value = &call.arguments[0];
    let list = value.array().as_list::<i32>();
    let texts = to_strings(list.values());
    let separator = Strings::of(&call.arguments[1]);
    let valid: Option<&NullBuffer> = texts.nulls();
    Arc::new(build(call.rows, texts.total_buffer_bytes_used() + texts.len(), call.nulls.as_ref(), |row, out| {
        let present = items(list, value, row).filter(|at| valid.is_none_or(|valid| valid.is_valid(*at)));
        for (i, at) in present.enumerate() {
            if i > 0 {
                out.push_str(separator.get(row));
            }
            out.push_str(texts.value(at));
        }
    }))
}
