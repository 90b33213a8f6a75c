//! Typed columns to text, value by value, for all text formats: the other direction of `fields`.

use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, ListArray, PrimitiveArray, StringViewArray, cast::AsArray,
};
use arrow_schema::{DataType, TimeUnit};

pub use super::Unfit;
use super::{
    calendar::{self, Form},
    scalar::Scalar,
    with_scalars,
};

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

macro_rules! cell {
    ([$($text:literal $name:ident $family:ident $arrow:ident ($array:pat)),*]) => {
        /// One column, by its type.
        pub enum Cell<'a> {
            $(
                #[doc = concat!("`", $text, "`")]
                $name(&'a PrimitiveArray<arrow_array::types::$arrow>),
            )*
            /// `bool`
            Bool(&'a BooleanArray),
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
                    $($array => Cell::$name(column.as_primitive()),)*
                    DataType::Boolean => Cell::Bool(column.as_boolean()),
                    DataType::Utf8View => Cell::String(column.as_string_view()),
                    DataType::BinaryView => Cell::Binary(column.as_binary_view()),
                    DataType::List(_) => {
                        let lists = column.as_list::<i32>();
                        Cell::List(lists, Box::new(Cell::new(lists.values())))
                    }
                    _ => Cell::Other,
                }
            }

            /// Do its values stand in quotes in JSON, and are not text?
            pub fn is_time(&self) -> bool {
                match self {
                    $(Cell::$name(_) => <arrow_array::types::$arrow as Scalar>::IN_QUOTES,)*
                    Cell::Bool(_) | Cell::String(_) | Cell::Binary(_) | Cell::List(..) | Cell::Other => false,
                }
            }

            /// Is there a value at `row`?
            pub fn is_valid(&self, row: usize) -> bool {
                match self {
                    $(Cell::$name(values) => values.is_valid(row),)*
                    Cell::Bool(values) => values.is_valid(row),
                    Cell::String(values) => values.is_valid(row),
                    Cell::Binary(values) => values.is_valid(row),
                    Cell::List(lists, _) => lists.is_valid(row),
                    Cell::Other => true,
                }
            }
        }
    };
}
with_scalars!([cell]);

impl Cell<'_> {
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
            _ if !self.is_valid(row) => out.extend_from_slice(style.null.as_bytes()),
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
