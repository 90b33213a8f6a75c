//! Comparisons. Floats are ordered as people expect: 0.0 equals -0.0, and nan equals itself and is the greatest.

use std::fmt;

use arrow_array::{
    Array, ArrowPrimitiveType, BooleanArray, Datum, ListArray, Scalar, StringViewArray, UInt32Array,
    cast::AsArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_ord::cmp;
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take;

use super::value::{Value, common_nulls};

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        })
    }
}

/// `left op right`; null where either is.
pub(super) fn compare(op: Comparison, left: &Value, right: &Value, rows: usize) -> BooleanArray {
    BooleanArray::new(bits(op, left, right, rows), common_nulls([left, right], rows))
}

/// `left is distinct from right`: never null, and two nulls are not distinct.
pub(super) fn distinct(left: &Value, right: &Value, rows: usize) -> BooleanBuffer {
    let differ = bits(Comparison::NotEqual, left, right, rows);
    let (left, right) = (left.nulls(rows), right.nulls(rows));
    if left.is_none() && right.is_none() {
        return differ;
    }
    let valid = |nulls: Option<NullBuffer>| nulls.map_or_else(|| BooleanBuffer::new_set(rows), NullBuffer::into_inner);
    let (left, right) = (valid(left), valid(right));
    &(&left ^ &right) | &(&differ & &(&left & &right))
}

/// The comparison of every row, nulls not regarded. All orders here are total, so two of them make all six.
fn bits(op: Comparison, left: &Value, right: &Value, rows: usize) -> BooleanBuffer {
    match op {
        Comparison::Equal => equal(left, right, rows),
        Comparison::NotEqual => !&equal(left, right, rows),
        Comparison::Less => less(left, right, rows),
        Comparison::GreaterOrEqual => !&less(left, right, rows),
        Comparison::Greater => less(right, left, rows),
        Comparison::LessOrEqual => !&less(right, left, rows),
    }
}

/// Calls `primitive::<Type>(…)` for the arrays' type, or `other` for types that are not primitive.
macro_rules! by_type {
    ($data_type:expr, $t:ident => $primitive:expr, $other:expr) => {
        match $data_type {
            DataType::Int8 => by_type!(@ Int8Type, $t => $primitive),
            DataType::Int16 => by_type!(@ Int16Type, $t => $primitive),
            DataType::Int32 => by_type!(@ Int32Type, $t => $primitive),
            DataType::Int64 => by_type!(@ Int64Type, $t => $primitive),
            DataType::UInt8 => by_type!(@ UInt8Type, $t => $primitive),
            DataType::UInt16 => by_type!(@ UInt16Type, $t => $primitive),
            DataType::UInt32 => by_type!(@ UInt32Type, $t => $primitive),
            DataType::UInt64 => by_type!(@ UInt64Type, $t => $primitive),
            DataType::Date32 => by_type!(@ Date32Type, $t => $primitive),
            DataType::Timestamp(TimeUnit::Microsecond, _) => by_type!(@ TimestampMicrosecondType, $t => $primitive),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => by_type!(@ TimestampNanosecondType, $t => $primitive),
            _ => $other,
        }
    };
    (@ $type:ty, $t:ident => $primitive:expr) => {{
        type $t = $type;
        $primitive
    }};
}

fn equal(left: &Value, right: &Value, rows: usize) -> BooleanBuffer {
    let types = (left.array().data_type(), right.array().data_type());
    match types {
        (DataType::Float64, _) => {
            each::<Float64Type, Float64Type>(left, right, rows, |a, b| a == b || (a.is_nan() && b.is_nan()))
        }
        (DataType::Float32, _) => {
            each::<Float32Type, Float32Type>(left, right, rows, |a, b| a == b || (a.is_nan() && b.is_nan()))
        }
        (DataType::UInt64, DataType::Int64) => {
            each::<UInt64Type, Int64Type>(left, right, rows, |a, b| i128::from(a) == i128::from(b))
        }
        (DataType::Int64, DataType::UInt64) => equal(right, left, rows),
        (DataType::Utf8View, _) => equal_strings(left, right, rows),
        (DataType::List(_), _) => equal_lists(left, right, rows),
        (data_type, _) => by_type!(
            data_type,
            T => each::<T, T>(left, right, rows, |a, b| a == b),
            by_kernel(left, right, rows, |a, b| cmp::eq(a, b))
        ),
    }
}

fn less(left: &Value, right: &Value, rows: usize) -> BooleanBuffer {
    let types = (left.array().data_type(), right.array().data_type());
    match types {
        (DataType::Float64, _) => {
            each::<Float64Type, Float64Type>(left, right, rows, |a, b| a < b || (!a.is_nan() && b.is_nan()))
        }
        (DataType::Float32, _) => {
            each::<Float32Type, Float32Type>(left, right, rows, |a, b| a < b || (!a.is_nan() && b.is_nan()))
        }
        (DataType::UInt64, DataType::Int64) => {
            each::<UInt64Type, Int64Type>(left, right, rows, |a, b| i128::from(a) < i128::from(b))
        }
        (DataType::Int64, DataType::UInt64) => {
            each::<Int64Type, UInt64Type>(left, right, rows, |a, b| i128::from(a) < i128::from(b))
        }
        (data_type, _) => by_type!(
            data_type,
            T => each::<T, T>(left, right, rows, |a, b| a < b),
            by_kernel(left, right, rows, |a, b| cmp::lt(a, b))
        ),
    }
}

/// `f` of every row. A constant is read once, so that the loops have nothing to decide.
fn each<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    left: &Value,
    right: &Value,
    rows: usize,
    f: impl Fn(A::Native, B::Native) -> bool,
) -> BooleanBuffer {
    let a = left.array().as_primitive::<A>().values();
    let b = right.array().as_primitive::<B>().values();
    match (left.is_constant(), right.is_constant()) {
        (false, false) => BooleanBuffer::collect_bool(rows, |i| f(a[i], b[i])),
        (false, true) => {
            let b = b[0];
            BooleanBuffer::collect_bool(rows, |i| f(a[i], b))
        }
        (true, false) => {
            let a = a[0];
            BooleanBuffer::collect_bool(rows, |i| f(a, b[i]))
        }
        (true, true) => same(f(a[0], b[0]), rows),
    }
}

fn same(answer: bool, rows: usize) -> BooleanBuffer {
    if answer { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) }
}

/// Bytes and their length that a string view holds in itself.
const INLINE: u32 = 12;

fn equal_strings(left: &Value, right: &Value, rows: usize) -> BooleanBuffer {
    match (left, right) {
        (Value::Column(column), Value::Constant(constant)) | (Value::Constant(constant), Value::Column(column)) => {
            equal_to(column.as_string_view(), constant.as_string_view(), rows)
        }
        _ => by_kernel(left, right, rows, |a, b| cmp::eq(a, b)),
    }
}

/// A short string is its view: one comparison of 16 bytes. Of a longer one, length and first four bytes are
/// compared before the rest is looked up.
fn equal_to(column: &StringViewArray, constant: &StringViewArray, rows: usize) -> BooleanBuffer {
    let views = column.views();
    let wanted = constant.views()[0];
    if wanted as u32 <= INLINE {
        return BooleanBuffer::collect_bool(rows, |i| views[i] == wanted);
    }
    let text = constant.value(0);
    BooleanBuffer::collect_bool(rows, |i| views[i] as u64 == wanted as u64 && column.value(i) == text)
}

/// Lists are equal where they are as long and their items are: within lists a null equals a null.
fn equal_lists(left: &Value, right: &Value, rows: usize) -> BooleanBuffer {
    let (a, b) = (left.array().as_list::<i32>(), right.array().as_list::<i32>());
    let range = |list: &ListArray, at: usize| list.value_offsets()[at] as u32..list.value_offsets()[at + 1] as u32;
    let (mut of_a, mut of_b, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
    for row in 0..rows {
        let (i, j) = (left.index(row), right.index(row));
        let (x, y) = (range(a, i), range(b, j));
        let as_long = a.is_valid(i) && b.is_valid(j) && x.len() == y.len();
        lengths.push(as_long.then_some(x.len()));
        if as_long {
            of_a.extend(x);
            of_b.extend(y);
        }
    }
    let count = of_a.len();
    let items = |list: &ListArray, places: Vec<u32>| {
        let places = UInt32Array::from(places);
        Value::Column(take(list.values(), &places, None).expect("places lie within the items of the list"))
    };
    let differ = distinct(&items(a, of_a), &items(b, of_b), count);
    let mut next = 0;
    let equal = lengths.into_iter().map(|length| {
        length.is_some_and(|length| {
            next += length;
            differ.slice(next - length, length).count_set_bits() == 0
        })
    });
    equal.collect()
}

fn by_kernel(
    left: &Value,
    right: &Value,
    rows: usize,
    kernel: impl Fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, arrow_schema::ArrowError>,
) -> BooleanBuffer {
    let answer = match (left, right) {
        (Value::Column(a), Value::Column(b)) => kernel(a, b),
        (Value::Column(a), Value::Constant(b)) => kernel(a, &Scalar::new(b)),
        (Value::Constant(a), Value::Column(b)) => kernel(&Scalar::new(a), b),
        (Value::Constant(a), Value::Constant(b)) => {
            kernel(a, b).map(|one| BooleanArray::new(same(one.value(0), rows), None))
        }
    };
    answer.expect("binding compares only equal types that have an order").values().clone()
}
