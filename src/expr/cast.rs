//! Casts between types. What cannot be cast fails on its row, or is null for `try_cast`; of a list, the item.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray,
    cast::AsArray,
    types::{Date32Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType},
};
use arrow_buffer::NullBuffer;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;

use crate::batch::{ColumnType, Family};

use super::{
    lists, text,
    value::{Faults, Value},
};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// May a value of type `from` be cast to `to`?
pub(super) fn allowed(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Binary, Date, Json, List, String, Timestamp, TimestampNs};
    match (from, to) {
        (from, to) if from == to => true,
        (List(from), List(to)) => allowed(from, to),
        (String, List(to)) => allowed(from, to),
        (Json, List(to)) => matches!(**to, Json) || allowed(if is_list(to) { from } else { &String }, to),
        (List(_), _) | (_, List(_)) => false,
        (String, _) | (_, String) => true,
        (Binary | Json, _) | (_, Binary | Json) => false,
        // What is a time of another kind is not one of these.
        (Date | Timestamp | TimestampNs, Date | Timestamp | TimestampNs) => true,
        (from, to) => is_numeric(from) && is_numeric(to),
    }
}

/// Is it a number, or true or false, which stand for one and zero?
fn is_numeric(column_type: &ColumnType) -> bool {
    match column_type.family() {
        Family::Truth | Family::Integer | Family::Float => true,
        Family::Time | Family::Text | Family::Bytes | Family::Json | Family::List(_) => false,
    }
}

/// Are there values of type `from` that have no like in `to`?
pub(super) fn can_fail(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Binary, Bool, Date, Float32, Float64, Int64, Json, List, String, Timestamp};
    match (from, to) {
        (from, to) if from == to => false,
        (List(from), List(to)) => can_fail(from, to),
        (_, List(_)) | (Binary, String) => true,
        (_, String | Bool) => *from == String,
        (Bool, _) | (String, Binary) => false,
        (String, _) => true,
        (Json, _) => false,
        (from, Float64) => !from.is_number(),
        (from, Float32) => *from == Float64,
        (from, Int64) => matches!(from, ColumnType::UInt64 | Float32 | Float64),
        (Timestamp | ColumnType::TimestampNs, Date) | (ColumnType::TimestampNs, Timestamp) => false,
        _ => true,
    }
}

/// `value` in type `to`. With `lenient`, what cannot be cast is null and no error.
pub(super) fn cast(
    value: &Value,
    from: &ColumnType,
    to: &ColumnType,
    lenient: bool,
    rows: usize,
    faults: &mut Faults<'_>,
) -> Value {
    let value = &without_json_nulls(value, from, to);
    let array = value.array();
    let answer = cast_array(array, from, to, !lenient);
    if answer.null_count() == array.null_count() {
        return match value {
            Value::Column(_) => Value::Column(answer),
            Value::Constant(_) => Value::Constant(answer),
        };
    }
    if !lenient {
        report(value, &answer, from, to, rows, faults);
    }
    match value {
        Value::Column(_) => Value::Column(answer),
        Value::Constant(_) => Value::Constant(answer),
    }
}

/// A list that is `null` in JSON is null, and not a value that cannot be cast.
fn without_json_nulls(value: &Value, from: &ColumnType, to: &ColumnType) -> Value {
    if *from != ColumnType::Json || !is_list(to) {
        return value.clone();
    }
    let kept = keep(value.array(), |text| text.trim() != "null");
    match value {
        Value::Column(_) => Value::Column(kept),
        Value::Constant(_) => Value::Constant(kept),
    }
}

fn is_list(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::List(_))
}

/// Every row that was not null and now is.
fn report(value: &Value, answer: &ArrayRef, from: &ColumnType, to: &ColumnType, rows: usize, faults: &mut Faults<'_>) {
    let array = value.array();
    for row in 0..rows {
        let at = value.index(row);
        if array.is_valid(at) && answer.is_null(at) {
            faults.report(row, || {
                let shown = text::one(array, at);
                let article =
                    if matches!(to, ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64) {
                        "an"
                    } else {
                        "a"
                    };
                match leaf(from) {
                    ColumnType::String | ColumnType::Json => format!("`{shown}` is not {article} {to}"),
                    _ => format!("`{shown}` is out of range for {to}"),
                }
            });
        }
    }
}

/// What lists are made of in the end.
fn leaf(column_type: &ColumnType) -> &ColumnType {
    match column_type {
        ColumnType::List(item) => leaf(item),
        other => other,
    }
}

/// `array` in type `to`, null where a value has no like there. An item of a list that has none is null, or takes the
/// list with it if `strict`.
fn cast_array(array: &ArrayRef, from: &ColumnType, to: &ColumnType, strict: bool) -> ArrayRef {
    use ColumnType::{Binary, Bool, Date, Float32, Float64, Json, List, String, Timestamp, TimestampNs};
    match (from, to) {
        (from, to) if from == to => Arc::clone(array),
        (List(from), List(to)) => lists::cast_items(array, to, strict, |items| cast_array(items, from, to, strict)),
        (String, List(to)) => lists::from_text(array, to, strict, |items| cast_array(items, &String, to, strict)),
        // Items that are lists are still JSON; those that are not have become text.
        (Json, List(to)) => {
            let items_are = if matches!(**to, Json | List(_)) { Json } else { String };
            lists::from_json(array, to, strict, |items| cast_array(items, &items_are, to, strict))
        }
        (Json, String) => Arc::clone(array),
        (String, Json) => keep(array, |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()),
        (Binary, String) | (String, Binary) => kernel(array, to),
        (_, String) => Arc::new(text::to_strings(array)),
        (String, Bool) => Arc::new(strings_to_bools(array)),
        (String, _) => kernel(&trimmed(array), to),
        (Float64, Bool) => Arc::new(BooleanArray::from_unary(array.as_primitive::<Float64Type>(), |x| x != 0.0)),
        (Float32, Bool) => Arc::new(BooleanArray::from_unary(array.as_primitive::<Float32Type>(), |x| x != 0.0)),
        (Float64, Float32) => convert::<Float64Type, Float32Type>(array, |x| {
            let narrow = x as f32;
            (narrow.is_finite() || !x.is_finite()).then_some(narrow)
        }),
        (Float64, to) if to.is_integer() => {
            let whole: ArrayRef =
                Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even));
            kernel(&whole, to)
        }
        (Float32, to) if to.is_integer() => {
            let whole: ArrayRef =
                Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even));
            kernel(&whole, to)
        }
        (Date, Timestamp) => {
            convert::<Date32Type, TimestampMicrosecondType>(array, |days| i64::from(days).checked_mul(MICROS_PER_DAY))
        }
        (Date, TimestampNs) => convert::<Date32Type, TimestampNanosecondType>(array, |days| {
            i64::from(days).checked_mul(MICROS_PER_DAY)?.checked_mul(1000)
        }),
        (Timestamp, TimestampNs) => {
            convert::<TimestampMicrosecondType, TimestampNanosecondType>(array, |us| us.checked_mul(1000))
        }
        (TimestampNs, Timestamp) => {
            convert::<TimestampNanosecondType, TimestampMicrosecondType>(array, |ns| Some(ns.div_euclid(1000)))
        }
        (Timestamp, Date) => convert::<TimestampMicrosecondType, Date32Type>(array, |us| day(us, MICROS_PER_DAY)),
        (TimestampNs, Date) => {
            convert::<TimestampNanosecondType, Date32Type>(array, |ns| day(ns, MICROS_PER_DAY * 1000))
        }
        _ => kernel(array, to),
    }
}

/// `array` as it is compared with values of the Arrow type `to`, which binding has made the wider of the two; what has
/// no like there is null. A `uint64` and an `int64` are compared as they are.
pub(super) fn widened(array: &ArrayRef, from: &ColumnType, to: &DataType) -> ArrayRef {
    wider(from, to).map_or_else(|| Arc::clone(array), |wider| cast_array(array, from, &wider, true))
}

/// The type that values of type `from` are brought to beside those of the Arrow type `to`; none where they stay.
fn wider(from: &ColumnType, to: &DataType) -> Option<ColumnType> {
    use ColumnType::{Float64, Int8, Int16, Int32, Int64, List, Timestamp, TimestampNs, UInt64};
    match (from, to) {
        (List(from), DataType::List(to)) => wider(from, to.data_type()).map(|item| List(Box::new(item))),
        (UInt64, DataType::Int64) | (Int64, DataType::UInt64) => None,
        (Int8 | Int16 | Int32, DataType::UInt64) => Some(Int64),
        _ => [Int64, UInt64, Float64, Timestamp, TimestampNs]
            .into_iter()
            .find(|wider| wider.to_arrow() == *to && wider != from),
    }
}

/// The day of a time. It always fits: 2⁶³ µs are fewer than 2³¹ days.
fn day(ticks: i64, per_day: i64) -> Option<i32> {
    i32::try_from(ticks.div_euclid(per_day)).ok()
}

/// Arrow's own cast, which makes null what cannot be cast.
fn kernel(array: &ArrayRef, to: &ColumnType) -> ArrayRef {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(array, &to.to_arrow(), &options)
        .expect("binding allows only pairs of types that the kernel casts, and a safe cast does not fail on values")
}

fn convert<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    array: &ArrayRef,
    f: impl Fn(A::Native) -> Option<B::Native>,
) -> ArrayRef {
    let answer: PrimitiveArray<B> = array.as_primitive::<A>().unary_opt(f);
    Arc::new(answer)
}

/// The same strings, null where `test` refuses them.
fn keep(array: &ArrayRef, test: impl Fn(&str) -> bool) -> ArrayRef {
    let strings = array.as_string_view();
    let valid: NullBuffer = strings.iter().map(|text| text.is_some_and(&test)).collect::<Vec<bool>>().into();
    let (views, buffers, _) = strings.clone().into_parts();
    match arrow_array::StringViewArray::try_new(views, buffers.to_vec(), Some(valid)) {
        Ok(kept) => Arc::new(kept),
        Err(_) => Arc::clone(array),
    }
}

/// Numbers and dates may have blanks around them.
fn trimmed(array: &ArrayRef) -> ArrayRef {
    let strings = array.as_string_view();
    let blank = |text: &str| text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if !strings.iter().flatten().any(blank) {
        return Arc::clone(array);
    }
    Arc::new(text::build_parts(strings.len(), 0, strings.nulls(), |row| strings.value(row).trim()))
}

fn strings_to_bools(array: &ArrayRef) -> BooleanArray {
    const TRUE: [&str; 5] = ["true", "t", "1", "yes", "y"];
    const FALSE: [&str; 5] = ["false", "f", "0", "no", "n"];
    let is_one_of = |text: &str, words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    array
        .as_string_view()
        .iter()
        .map(|text| {
            let text = text?.trim();
            if is_one_of(text, &TRUE) { Some(true) } else { is_one_of(text, &FALSE).then_some(false) }
        })
        .collect()
}

/// Numbers as `int64`, for counts and places; binding has cast them.
pub(super) fn integers(value: &Value) -> &PrimitiveArray<Int64Type> {
    value.array().as_primitive::<Int64Type>()
}
