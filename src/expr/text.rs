//! Values as text, and string columns built in one pass without a string per row.

use std::fmt::Write;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, StringViewArray,
    builder::StringViewBuilder,
    cast::AsArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::NullBuffer;

use crate::batch::ColumnType;

use super::value::Value;

/// The strings of a value, read by row.
pub(super) struct Strings<'a> {
    array: &'a StringViewArray,
    constant: bool,
}

impl<'a> Strings<'a> {
    /// The strings of a value whose type binding has made sure of.
    pub(super) fn of(value: &'a Value) -> Self {
        Strings { array: value.array().as_string_view(), constant: value.is_constant() }
    }

    /// The string of row `row`; anything where it is null.
    #[inline]
    pub(super) fn get(&self, row: usize) -> &'a str {
        self.array.value(if self.constant { 0 } else { row })
    }

    /// The string of all rows, where it is one and not null.
    pub(super) fn constant(&self) -> Option<&'a str> {
        (self.constant && self.array.is_valid(0)).then(|| self.array.value(0))
    }

    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(if self.constant { 0 } else { row })
    }

    /// Bytes of all strings together, for `rows` rows.
    pub(super) fn bytes(&self, rows: usize) -> usize {
        if self.constant {
            return rows.saturating_mul(self.array.views()[0] as u32 as usize);
        }
        self.array.views().iter().map(|view| *view as u32 as usize).sum()
    }
}

/// A string column of `rows` rows. `write` appends the text of a row to a scratch string that all rows share;
/// it is not called for rows that `nulls` names. About `bytes` bytes are expected; they lie in one buffer.
pub(super) fn build(
    rows: usize,
    bytes: usize,
    nulls: Option<&NullBuffer>,
    mut write: impl FnMut(usize, &mut String),
) -> StringViewArray {
    let block = bytes.clamp(64, i32::MAX as usize) as u32;
    let mut builder = StringViewBuilder::with_capacity(rows).with_fixed_block_size(block);
    let mut scratch = String::new();
    for row in 0..rows {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            builder.append_null();
            continue;
        }
        scratch.clear();
        write(row, &mut scratch);
        builder.append_value(&scratch);
    }
    builder.finish()
}

/// A string column of which each row is a part of an existing string.
pub(super) fn build_parts<'a>(
    rows: usize,
    bytes: usize,
    nulls: Option<&NullBuffer>,
    part: impl Fn(usize) -> &'a str,
) -> StringViewArray {
    let block = bytes.clamp(64, i32::MAX as usize) as u32;
    let mut builder = StringViewBuilder::with_capacity(rows).with_fixed_block_size(block);
    for row in 0..rows {
        match nulls.is_some_and(|nulls| nulls.is_null(row)) {
            true => builder.append_null(),
            false => builder.append_value(part(row)),
        }
    }
    builder.finish()
}

/// The strings of `parts`, joined row by row. A null part makes the row null, unless nulls are skipped.
pub(super) fn concat(parts: &[Value], skip_nulls: bool, rows: usize) -> StringViewArray {
    let nulls = if skip_nulls { None } else { super::value::common_nulls(parts, rows) };
    let strings: Vec<Strings<'_>> = parts.iter().map(Strings::of).collect();
    let bytes = strings.iter().fold(0_usize, |sum, part| sum.saturating_add(part.bytes(rows)));
    build(rows, bytes, nulls.as_ref(), |row, out| {
        for part in &strings {
            if !(skip_nulls && part.is_null(row)) {
                out.push_str(part.get(row));
            }
        }
    })
}

/// A scalar column as strings.
pub(super) fn to_strings(array: &ArrayRef, column_type: &ColumnType) -> StringViewArray {
    let mut writer = writer(array, column_type);
    build(array.len(), array.len() * 12, array.nulls(), |row, out| writer(row, out))
}

/// One value as text.
pub(super) fn one(array: &ArrayRef, column_type: &ColumnType, row: usize) -> String {
    let mut out = String::new();
    writer(array, column_type)(row, &mut out);
    out
}

type Writer<'a> = Box<dyn FnMut(usize, &mut String) + 'a>;

/// What appends the text of a row: one closure per array, not a choice of type per row.
fn writer<'a>(array: &'a ArrayRef, column_type: &'a ColumnType) -> Writer<'a> {
    match column_type {
        ColumnType::Bool => {
            let values = array.as_boolean();
            Box::new(|row, out| out.push_str(if values.value(row) { "true" } else { "false" }))
        }
        ColumnType::Int8 => primitive::<Int8Type>(array, |n, out| shown(out, n)),
        ColumnType::Int16 => primitive::<Int16Type>(array, |n, out| shown(out, n)),
        ColumnType::Int32 => primitive::<Int32Type>(array, |n, out| shown(out, n)),
        ColumnType::Int64 => primitive::<Int64Type>(array, |n, out| shown(out, n)),
        ColumnType::UInt8 => primitive::<UInt8Type>(array, |n, out| shown(out, n)),
        ColumnType::UInt16 => primitive::<UInt16Type>(array, |n, out| shown(out, n)),
        ColumnType::UInt32 => primitive::<UInt32Type>(array, |n, out| shown(out, n)),
        ColumnType::UInt64 => primitive::<UInt64Type>(array, |n, out| shown(out, n)),
        ColumnType::Float32 => primitive::<Float32Type>(array, |x, out| {
            if x.is_nan() { out.push_str("nan") } else { write_infallible(out, format_args!("{x:?}")) }
        }),
        ColumnType::Float64 => primitive::<Float64Type>(array, |x, out| {
            if x.is_nan() { out.push_str("nan") } else { write_infallible(out, format_args!("{x:?}")) }
        }),
        ColumnType::Date => primitive::<Date32Type>(array, |days, out| write_date(out, i64::from(days))),
        ColumnType::Timestamp => {
            primitive::<TimestampMicrosecondType>(array, |us, out| write_timestamp(out, us, 1_000_000, 6))
        }
        ColumnType::TimestampNs => {
            primitive::<TimestampNanosecondType>(array, |ns, out| write_timestamp(out, ns, 1_000_000_000, 9))
        }
        ColumnType::String | ColumnType::Json => {
            let values = array.as_string_view();
            Box::new(|row, out| out.push_str(values.value(row)))
        }
        ColumnType::Binary => {
            let values = array.as_binary_view();
            Box::new(|row, out| {
                values.value(row).iter().for_each(|byte| write_infallible(out, format_args!("{byte:02x}")));
            })
        }
        ColumnType::List(item) => list_writer(array, item),
    }
}

fn list_writer<'a>(array: &'a ArrayRef, item: &'a ColumnType) -> Writer<'a> {
    let list = array.as_list::<i32>();
    let offsets = list.value_offsets();
    let items = list.values();
    let mut item_writer = writer(items, item);
    Box::new(move |row, out| {
        out.push('[');
        for at in offsets[row] as usize..offsets[row + 1] as usize {
            if at > offsets[row] as usize {
                out.push_str(", ");
            }
            if items.is_null(at) { out.push_str("null") } else { item_writer(at, out) }
        }
        out.push(']');
    })
}

fn primitive<'a, T: ArrowPrimitiveType>(array: &'a ArrayRef, write: fn(T::Native, &mut String)) -> Writer<'a> {
    let values = array.as_primitive::<T>().values();
    Box::new(move |row, out| write(values[row], out))
}

fn shown(out: &mut String, number: impl std::fmt::Display) {
    write_infallible(out, format_args!("{number}"));
}

/// Writing to a string cannot fail.
fn write_infallible(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _always_ok = out.write_fmt(text);
}

fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = civil(days);
    write_infallible(out, format_args!("{year:04}-{month:02}-{day:02}"));
}

/// `2020-01-02 03:04:05`, and the fraction where it is not 0.
fn write_timestamp(out: &mut String, ticks: i64, per_second: i64, digits: usize) {
    let seconds = ticks.div_euclid(per_second);
    let fraction = ticks.rem_euclid(per_second);
    write_date(out, seconds.div_euclid(86_400));
    let time = seconds.rem_euclid(86_400);
    write_infallible(out, format_args!(" {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60));
    if fraction != 0 {
        write_infallible(out, format_args!(".{fraction:0digits$}"));
        out.truncate(out.trim_end_matches('0').len());
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. Years are counted from
/// 1 March, so that the leap day is a year's last.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
