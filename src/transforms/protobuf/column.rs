//! The columns of one batch, looked up once per batch so that rows are read without asking for types.

use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, StringViewArray,
    cast::AsArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::NullBuffer;

use crate::batch::ColumnType;

/// A column as its values are read.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

/// The values, by type.
#[derive(Debug)]
pub(super) enum Values<'a> {
    Bool(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Text(&'a StringViewArray),
    Binary(&'a BinaryViewArray),
    /// Days since 1970.
    Date(&'a [i32]),
    /// Microseconds since 1970.
    Micros(&'a [i64]),
    /// Nanoseconds since 1970.
    Nanos(&'a [i64]),
    Json(&'a StringViewArray),
    /// Row *i* has the items `offsets[i]..offsets[i + 1]`.
    List {
        offsets: &'a [i32],
        items: Box<Column<'a>>,
    },
}

impl<'a> Column<'a> {
    /// `array` read as a column of type `column_type`; `None` where it is of another type.
    pub(super) fn new(array: &'a ArrayRef, column_type: &ColumnType) -> Option<Self> {
        macro_rules! primitive {
            ($variant:ident, $t:ty) => {
                Values::$variant(array.as_primitive_opt::<$t>()?.values())
            };
        }
        let values = match column_type {
            ColumnType::Bool => Values::Bool(array.as_boolean_opt()?),
            ColumnType::Int8 => primitive!(Int8, Int8Type),
            ColumnType::Int16 => primitive!(Int16, Int16Type),
            ColumnType::Int32 => primitive!(Int32, Int32Type),
            ColumnType::Int64 => primitive!(Int64, Int64Type),
            ColumnType::UInt8 => primitive!(UInt8, UInt8Type),
            ColumnType::UInt16 => primitive!(UInt16, UInt16Type),
            ColumnType::UInt32 => primitive!(UInt32, UInt32Type),
            ColumnType::UInt64 => primitive!(UInt64, UInt64Type),
            ColumnType::Float32 => primitive!(Float32, Float32Type),
            ColumnType::Float64 => primitive!(Float64, Float64Type),
            ColumnType::String => Values::Text(array.as_string_view_opt()?),
            ColumnType::Json => Values::Json(array.as_string_view_opt()?),
            ColumnType::Binary => Values::Binary(array.as_binary_view_opt()?),
            ColumnType::Date => primitive!(Date, Date32Type),
            ColumnType::Timestamp => primitive!(Micros, TimestampMicrosecondType),
            ColumnType::TimestampNs => primitive!(Nanos, TimestampNanosecondType),
            ColumnType::List(item) => {
                let list = array.as_list_opt::<i32>()?;
                let items = Box::new(Column::new(list.values(), item)?);
                Values::List { offsets: list.value_offsets(), items }
            }
        };
        Some(Column { values, nulls: array.nulls().filter(|nulls| nulls.null_count() > 0) })
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }
}
