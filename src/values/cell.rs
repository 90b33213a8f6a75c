//! Typed columns to text, value by value, for all text formats: the other direction of `fields`.

use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, ListArray, PrimitiveArray, StringViewArray,
    cast::AsArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, TimeUnit};

pub use super::Unfit;
use super::calendar::{self, Form};

/// How values are written.
#[derive(Clone, Debug)]
pub struct CellStyle {
    /// What stands for no value.
    pub null: String,
    /// Does that text mean no value and nothing else? Then a value that has the same text is refused.
    pub marked: bool,
    /// What stands between the items of a list.
    pub separator: u8,
}

impl CellStyle {
    /// Nothing stands for no value, and a comma between items.
    pub const PLAIN: CellStyle = CellStyle { null: String::new(), marked: false, separator: b',' };
}

/// One column, by its type.
pub enum Cell<'a> {
    /// `bool`
    Bool(&'a BooleanArray),
    /// `int8`
    Int8(&'a PrimitiveArray<Int8Type>),
    /// `int16`
    Int16(&'a PrimitiveArray<Int16Type>),
    /// `int32`
    Int32(&'a PrimitiveArray<Int32Type>),
    /// `int64`
    Int64(&'a PrimitiveArray<Int64Type>),
    /// `uint8`
    UInt8(&'a PrimitiveArray<UInt8Type>),
    /// `uint16`
    UInt16(&'a PrimitiveArray<UInt16Type>),
    /// `uint32`
    UInt32(&'a PrimitiveArray<UInt32Type>),
    /// `uint64`
    UInt64(&'a PrimitiveArray<UInt64Type>),
    /// `float32`
    Float32(&'a PrimitiveArray<Float32Type>),
    /// `float64`
    Float64(&'a PrimitiveArray<Float64Type>),
    /// `date`
    Date(&'a PrimitiveArray<Date32Type>),
    /// `timestamp`
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    /// `timestamp_ns`
    TimestampNs(&'a PrimitiveArray<TimestampNanosecondType>),
    /// `string`, `json`
    String(&'a StringViewArray),
    /// `binary`
    Binary(&'a BinaryViewArray),
    /// `list<T>`
    List(&'a ListArray, Box<Cell<'a>>),
    /// A type that no column of a job has.
    Other,
}

impl<'a> Cell<'a> {
    /// The column's values.
    pub fn new(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Boolean => Cell::Bool(column.as_boolean()),
            DataType::Int8 => Cell::Int8(column.as_primitive()),
            DataType::Int16 => Cell::Int16(column.as_primitive()),
            DataType::Int32 => Cell::Int32(column.as_primitive()),
            DataType::Int64 => Cell::Int64(column.as_primitive()),
            DataType::UInt8 => Cell::UInt8(column.as_primitive()),
            DataType::UInt16 => Cell::UInt16(column.as_primitive()),
            DataType::UInt32 => Cell::UInt32(column.as_primitive()),
            DataType::UInt64 => Cell::UInt64(column.as_primitive()),
            DataType::Float32 => Cell::Float32(column.as_primitive()),
            DataType::Float64 => Cell::Float64(column.as_primitive()),
            DataType::Date32 => Cell::Date(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Cell::Timestamp(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Cell::TimestampNs(column.as_primitive()),
            DataType::Utf8View => Cell::String(column.as_string_view()),
            DataType::BinaryView => Cell::Binary(column.as_binary_view()),
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                Cell::List(lists, Box::new(Cell::new(lists.values())))
            }
            _ => Cell::Other,
        }
    }

    /// Appends the value at `row`. `text` appends text in the way of the format.
    ///
    /// # Errors
    /// The format cannot hold the value; part of it may have been appended.
    #[inline]
    pub fn write<F>(&self, row: usize, style: &CellStyle, text: &F, out: &mut Vec<u8>) -> Result<(), Unfit>
    where
        F: Fn(&[u8], &mut Vec<u8>) -> Result<(), Unfit>,
    {
        macro_rules! number {
            ($values:ident, $buffer:expr) => {
                if $values.is_null(row) {
                    out.extend_from_slice(style.null.as_bytes());
                } else {
                    out.extend_from_slice($buffer.format($values.value(row)).as_bytes());
                }
            };
        }
        match self {
            Cell::Int8(values) => number!(values, itoa::Buffer::new()),
            Cell::Int16(values) => number!(values, itoa::Buffer::new()),
            Cell::Int32(values) => number!(values, itoa::Buffer::new()),
            Cell::Int64(values) => number!(values, itoa::Buffer::new()),
            Cell::UInt8(values) => number!(values, itoa::Buffer::new()),
            Cell::UInt16(values) => number!(values, itoa::Buffer::new()),
            Cell::UInt32(values) => number!(values, itoa::Buffer::new()),
            Cell::UInt64(values) => number!(values, itoa::Buffer::new()),
            Cell::Float32(values) => number!(values, zmij::Buffer::new()),
            Cell::Float64(values) => number!(values, zmij::Buffer::new()),
            _ if self.is_null(row) => out.extend_from_slice(style.null.as_bytes()),
            Cell::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Cell::Date(values) => calendar::date(i64::from(values.value(row)), Form::Iso, out)?,
            Cell::Timestamp(values) => calendar::timestamp(values.value(row), 6, Form::Iso, out)?,
            Cell::TimestampNs(values) => calendar::timestamp(values.value(row), 9, Form::Iso, out)?,
            Cell::String(values) => text(values.value(row).as_bytes(), out)?,
            Cell::Binary(values) => text(values.value(row), out)?,
            Cell::List(lists, items) => {
                let offsets = lists.value_offsets();
                let (first, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                return list(items, first..end, style, text, out);
            }
            Cell::Other => return Err("no text format can hold a value of this type"),
        }
        Ok(())
    }

    /// Is there a value at `row`?
    pub fn is_valid(&self, row: usize) -> bool {
        match self {
            Cell::Int8(values) => values.is_valid(row),
            Cell::Int16(values) => values.is_valid(row),
            Cell::Int32(values) => values.is_valid(row),
            Cell::Int64(values) => values.is_valid(row),
            Cell::UInt8(values) => values.is_valid(row),
            Cell::UInt16(values) => values.is_valid(row),
            Cell::UInt32(values) => values.is_valid(row),
            Cell::UInt64(values) => values.is_valid(row),
            Cell::Float32(values) => values.is_valid(row),
            Cell::Float64(values) => values.is_valid(row),
            other => !other.is_null(row),
        }
    }

    /// Is there no value at `row`? Numbers are not asked: they look for themselves when they are written.
    fn is_null(&self, row: usize) -> bool {
        match self {
            Cell::Bool(values) => values.is_null(row),
            Cell::Date(values) => values.is_null(row),
            Cell::Timestamp(values) => values.is_null(row),
            Cell::TimestampNs(values) => values.is_null(row),
            Cell::String(values) => values.is_null(row),
            Cell::Binary(values) => values.is_null(row),
            Cell::List(lists, _) => lists.is_null(row),
            _ => false,
        }
    }
}

/// Why a value that a file would give back as none is refused.
pub const LIKE_NULL: Unfit = "it is the text of `null`, and would be read back as no value";

/// Appends text as it is.
pub fn as_it_is(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    out.extend_from_slice(text);
    Ok(())
}

/// Appends items with the separator between them.
fn list<F>(
    items: &Cell<'_>,
    range: std::ops::Range<usize>,
    style: &CellStyle,
    text: &F,
    out: &mut Vec<u8>,
) -> Result<(), Unfit>
where
    F: Fn(&[u8], &mut Vec<u8>) -> Result<(), Unfit>,
{
    if let Cell::List(..) = items {
        return Err("no text format can hold a list of lists");
    }
    let all = out.len();
    // Integers hold no separator but perhaps a minus sign: the common case needs no look at each item.
    macro_rules! integers {
        ($values:ident) => {
            if $values.null_count() == 0 && style.separator != b'-' {
                integers(&$values.values()[range], style.separator, out);
                return Ok(());
            }
        };
    }
    match items {
        Cell::Int32(values) => integers!(values),
        Cell::Int64(values) => integers!(values),
        Cell::UInt32(values) => integers!(values),
        Cell::UInt64(values) => integers!(values),
        _ => {}
    }
    for item in range.clone() {
        if item > range.start {
            out.push(style.separator);
        }
        if !items.is_valid(item) {
            return Err("an item is null, which text has no way to say");
        }
        let start = out.len();
        items.write(item, style, text, out)?;
        let written = &out[start..];
        if memchr::memchr(style.separator, written).is_some() {
            return Err("an item holds the separator");
        }
        if style.separator != b' ' && (written.starts_with(b" ") || written.ends_with(b" ")) {
            return Err("an item begins or ends with a space, which is not part of it in text");
        }
    }
    match range.len() == 1 && out.len() == all {
        true => Err("a list of one empty text is the same as an empty list in text"),
        false => Ok(()),
    }
}

/// Appends integers with the separator between them.
fn integers<T: itoa::Integer + Copy>(values: &[T], separator: u8, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(separator);
        }
        out.extend_from_slice(buffer.format(*value).as_bytes());
    }
}
