//! Arrays of a file's types to arrays of ours. What has no like there is null, and said to be bad.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryViewArray, ListArray, PrimitiveArray, StringViewArray,
    builder::{BinaryViewBuilder, StringViewBuilder},
    cast::AsArray,
    new_null_array,
    types::*,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, FieldRef, TimeUnit};
use arrow_select::filter::filter;

use crate::values::{
    RejectCode,
    cell::Unfit,
    foreign, hex,
    json::{
        scan::is_json,
        write::{JsonCells, Rule},
    },
};

/// How values of one type become those of another.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// They are.
    Same,
    /// A timestamp of the same unit, whose time zone is dropped: it was never more than a wish how to show it.
    Zone,
    /// All are null.
    Nothing(DataType),
    /// Arrow's own cast, which loses nothing or says so.
    Kernel(DataType),
    /// An integer as a float, where it is one.
    Exact(DataType),
    /// A timestamp in another unit; what is finer than that is cut off, towards the past.
    Time(TimeUnit, TimeUnit),
    /// A date as the timestamp at its start.
    Days(TimeUnit),
    /// Bytes as text, where they are.
    Utf8,
    /// Bytes of one length, as bytes.
    Fixed,
    /// Text as bytes.
    Bytes,
    /// Text as JSON, where it is.
    Json,
    /// Bytes as JSON, where they are.
    JsonBytes,
    /// Sixteen bytes as the text of a UUID.
    Uuid,
    /// The text that stands for it.
    Shown,
    /// JSON text of anything.
    Text,
    /// Item by item.
    List(Box<Step>, FieldRef),
}

/// What came of an array.
pub(super) struct Made {
    pub(super) array: ArrayRef,
    /// The rows whose values have no like.
    pub(super) bad: Option<BooleanBuffer>,
}

impl Step {
    /// Takes the step. With `drop_items`, bad items of lists are left out of them.
    pub(super) fn apply(&self, array: &ArrayRef, drop_items: bool) -> Result<Made, ArrowError> {
        let made: ArrayRef = match self {
            Step::Same => Arc::clone(array),
            Step::Zone => match array.data_type() {
                DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                    Arc::new(array.as_primitive::<TimestampNanosecondType>().clone().with_timezone_opt(None::<&str>))
                }
                _ => Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<&str>)),
            },
            Step::Nothing(to) => new_null_array(to, array.len()),
            Step::Kernel(to) => kernel(array, to)?,
            Step::Exact(to) => exact(array, to)?,
            Step::Time(from, to) => time(array, *from, *to),
            Step::Days(unit) => days(array, *unit),
            Step::Utf8 => Arc::new(utf8(array.as_binary_view())?),
            Step::Fixed => fixed(array),
            Step::Bytes => Arc::new(array.as_string_view().clone().to_binary_view()),
            Step::Json => Arc::new(json(array.as_string_view())?),
            Step::JsonBytes => Arc::new(json(&utf8(array.as_binary_view())?)?),
            Step::Uuid => strings(array, |row, out| {
                uuid(array.as_fixed_size_binary().value(row), out);
                Ok(())
            }),
            Step::Shown => strings(array, |row, out| foreign::write(array.as_ref(), row, out)),
            Step::Text => {
                let cells = JsonCells::of(array, false);
                strings(array, |row, out| cells.write(row, Rule::Named, out))
            }
            Step::List(item, field) => return list(array.as_list(), item, field, drop_items),
        };
        let bad = newly_null(array, &made);
        Ok(Made { array: made, bad })
    }

    /// The reason for a reject where a value has no like.
    pub(super) fn code(&self) -> RejectCode {
        match self {
            Step::List(item, _) => item.code(),
            Step::Time(..) | Step::Days(_) => RejectCode("bad_timestamp"),
            Step::Utf8 => RejectCode("invalid_utf8"),
            Step::Json | Step::JsonBytes => RejectCode("bad_json"),
            Step::Shown => RejectCode("bad_time"),
            Step::Text => RejectCode("unrepresentable"),
            _ => RejectCode("bad_number"),
        }
    }
}

/// Rows that had a value and have none.
fn newly_null(before: &ArrayRef, after: &ArrayRef) -> Option<BooleanBuffer> {
    if after.null_count() == before.null_count() || before.data_type() == &DataType::Null {
        return None;
    }
    let gone = !after.nulls()?.inner();
    Some(before.nulls().map_or(gone.clone(), |before| before.inner() & &gone))
}

fn kernel(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() })
}

/// Integers as floats; null where going back gives another integer.
fn exact(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let floats = kernel(array, to)?;
    let wide = kernel(&floats, &DataType::Float64)?;
    let wide = wide.as_primitive::<Float64Type>();
    // Every integer of 64 bits is one of 128, and so is every float that came of one.
    macro_rules! same {
        ($($name:ident $t:ty),*) => {
            match array.data_type() {
                $(DataType::$name => {
                    let values = array.as_primitive::<$t>().values();
                    values.iter().zip(wide.values()).map(|(i, f)| i128::from(*i) == *f as i128).collect()
                })*
                _ => vec![true; array.len()],
            }
        };
    }
    let same: Vec<bool> = same!(
        Int8 Int8Type, Int16 Int16Type, Int32 Int32Type, Int64 Int64Type,
        UInt8 UInt8Type, UInt16 UInt16Type, UInt32 UInt32Type, UInt64 UInt64Type
    );
    if same.iter().all(|same| *same) {
        return Ok(floats);
    }
    arrow_select::nullif::nullif(&floats, &same.into_iter().map(|same| Some(!same)).collect())
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn time(array: &ArrayRef, from: TimeUnit, to: TimeUnit) -> ArrayRef {
    let (here, there) = (per_second(from), per_second(to));
    let change = move |value: i64| match there >= here {
        true => value.checked_mul(there / here),
        false => Some(value.div_euclid(here / there)),
    };
    fn changed<F: ArrowPrimitiveType<Native = i64>, T: ArrowPrimitiveType<Native = i64>>(
        array: &ArrayRef,
        change: impl Fn(i64) -> Option<i64>,
    ) -> ArrayRef {
        let made: PrimitiveArray<T> = array.as_primitive::<F>().unary_opt(change);
        Arc::new(made)
    }
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match (from, to) {
        (Second, Nanosecond) => changed::<TimestampSecondType, TimestampNanosecondType>(array, change),
        (Millisecond, Nanosecond) => changed::<TimestampMillisecondType, TimestampNanosecondType>(array, change),
        (Microsecond, Nanosecond) => changed::<TimestampMicrosecondType, TimestampNanosecondType>(array, change),
        (Second, _) => changed::<TimestampSecondType, TimestampMicrosecondType>(array, change),
        (Millisecond, _) => changed::<TimestampMillisecondType, TimestampMicrosecondType>(array, change),
        (_, _) => changed::<TimestampNanosecondType, TimestampMicrosecondType>(array, change),
    }
}

fn days(array: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    let day = 86_400 * per_second(unit);
    let dates = array.as_primitive::<Date32Type>();
    let start = |days: i32| i64::from(days).checked_mul(day);
    match unit {
        TimeUnit::Nanosecond => Arc::new(dates.unary_opt::<_, TimestampNanosecondType>(start)),
        _ => Arc::new(dates.unary_opt::<_, TimestampMicrosecondType>(start)),
    }
}

/// The values for which `keep` is true; the others are null.
fn kept<'a, T>(values: impl Iterator<Item = Option<T>> + 'a, keep: impl Fn(T) -> bool + 'a) -> NullBuffer {
    values.map(|value| value.is_some_and(&keep)).collect::<Vec<bool>>().into()
}

fn utf8(bytes: &BinaryViewArray) -> Result<StringViewArray, ArrowError> {
    let valid = kept(bytes.iter(), |bytes| simdutf8::basic::from_utf8(bytes).is_ok());
    let mut builder = StringViewBuilder::with_capacity(bytes.len());
    for (row, bytes) in bytes.iter().enumerate() {
        let text = bytes.filter(|_| valid.is_valid(row)).and_then(|bytes| std::str::from_utf8(bytes).ok());
        builder.append_option(text);
    }
    Ok(builder.finish())
}

fn json(strings: &StringViewArray) -> Result<StringViewArray, ArrowError> {
    let valid = kept(strings.iter(), is_json);
    let (views, buffers, _) = strings.clone().into_parts();
    StringViewArray::try_new(views, buffers, Some(valid).filter(|valid| valid.null_count() > 0))
}

fn fixed(array: &ArrayRef) -> ArrayRef {
    let values = array.as_fixed_size_binary();
    let mut builder = BinaryViewBuilder::with_capacity(values.len());
    values.iter().for_each(|bytes| builder.append_option(bytes));
    Arc::new(builder.finish())
}

/// Text made of the values that are there; null where one has none.
fn strings(array: &ArrayRef, write: impl Fn(usize, &mut Vec<u8>) -> Result<(), Unfit>) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut text = Vec::new();
    for row in 0..array.len() {
        text.clear();
        let written = array.is_valid(row) && write(row, &mut text).is_ok();
        builder.append_option(std::str::from_utf8(&text).ok().filter(|_| written));
    }
    Arc::new(builder.finish())
}

fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend(hex::pair(*byte));
    }
}

fn list(lists: &ListArray, item: &Step, field: &FieldRef, drop_items: bool) -> Result<Made, ArrowError> {
    let Made { array: items, bad } = item.apply(lists.values(), drop_items)?;
    let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
    let Some(bad) = bad else {
        let array = ListArray::try_new(Arc::clone(field), offsets, items, nulls)?;
        return Ok(Made { array: Arc::new(array), bad: None });
    };
    if drop_items {
        let good = !&bad;
        let mut lengths = offsets.windows(2).map(|ends| {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            good.slice(start, end - start).count_set_bits()
        });
        let (from, to) = (offsets.first() as usize, offsets.last() as usize);
        let kept = filter(&items.slice(from, to - from), &good.slice(from, to - from).into())?;
        let array = ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(&mut lengths), kept, nulls)?;
        return Ok(Made { array: Arc::new(array), bad: None });
    }
    let is_bad = |ends: &[i32]| bad.slice(ends[0] as usize, (ends[1] - ends[0]) as usize).count_set_bits() > 0;
    let rows: BooleanBuffer = offsets.windows(2).map(is_bad).collect();
    let valid = nulls.map_or(!&rows, |nulls| nulls.inner() & &!&rows);
    let rows = lists.nulls().map_or(rows.clone(), |nulls| nulls.inner() & &rows);
    let array = ListArray::try_new(Arc::clone(field), offsets, items, Some(NullBuffer::new(valid)))?;
    Ok(Made { array: Arc::new(array), bad: Some(rows).filter(|rows| rows.count_set_bits() > 0) })
}
