//! Values of Arrow types that no column of a job has, which Parquet files bring: as text, or not at all.

use arrow_array::{Array, cast::AsArray, types::*};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};

use super::{
    calendar::{self, Form},
    cell::Unfit,
};

/// Appends the value at `row`, which is not null, as the text that stands for it.
///
/// # Errors
/// It has none. Part of one may have been appended.
pub(crate) fn write(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    macro_rules! native {
        ($t:ty) => {
            i64::from(array.as_primitive::<$t>().value(row))
        };
    }
    match array.data_type() {
        DataType::Decimal128(..) => out.extend(array.as_primitive::<Decimal128Type>().value_as_string(row).bytes()),
        DataType::Decimal256(..) => out.extend(array.as_primitive::<Decimal256Type>().value_as_string(row).bytes()),
        DataType::Time32(TimeUnit::Second) => calendar::time_of_day(native!(Time32SecondType), 0, out)?,
        DataType::Time32(_) => calendar::time_of_day(native!(Time32MillisecondType), 3, out)?,
        DataType::Time64(TimeUnit::Microsecond) => calendar::time_of_day(native!(Time64MicrosecondType), 6, out)?,
        DataType::Time64(_) => calendar::time_of_day(native!(Time64NanosecondType), 9, out)?,
        DataType::Timestamp(TimeUnit::Second, _) => {
            calendar::timestamp(native!(TimestampSecondType), 0, Form::Iso, out)?;
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            calendar::timestamp(native!(TimestampMillisecondType), 3, Form::Iso, out)?;
        }
        DataType::Interval(_) => shown(array, row, out)?,
        _ => return Err("there is no text for a value of its type"),
    }
    Ok(())
}

/// The number that stands for the value at `row`, where one does: what people are shown of a value without text.
pub(crate) fn number(array: &dyn Array, row: usize) -> Option<i64> {
    Some(match array.data_type() {
        DataType::Time32(TimeUnit::Second) => array.as_primitive::<Time32SecondType>().value(row).into(),
        DataType::Time32(_) => array.as_primitive::<Time32MillisecondType>().value(row).into(),
        DataType::Time64(TimeUnit::Microsecond) => array.as_primitive::<Time64MicrosecondType>().value(row),
        DataType::Time64(_) => array.as_primitive::<Time64NanosecondType>().value(row),
        DataType::Timestamp(TimeUnit::Second, _) => array.as_primitive::<TimestampSecondType>().value(row),
        DataType::Timestamp(TimeUnit::Millisecond, _) => array.as_primitive::<TimestampMillisecondType>().value(row),
        _ => return None,
    })
}

/// Appends what Arrow shows of a value; an error is an error, and never text.
fn shown(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
    let text = formatter.and_then(|formatter| formatter.value(row).try_to_string());
    out.extend_from_slice(text.map_err(|_| "there is no text for it")?.as_bytes());
    Ok(())
}
