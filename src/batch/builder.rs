//! A column that is built value by value, whatever its type.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray,
    builder::{ArrayBuilder, BinaryViewBuilder, BooleanBuilder, PrimitiveBuilder, StringViewBuilder},
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::FieldRef;

use super::ColumnType;

/// The values so far of a column of one type.
#[expect(missing_docs, reason = "one variant for each column type, of the same name")]
pub enum Builder {
    Bool(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    TimestampNs(PrimitiveBuilder<TimestampNanosecondType>),
    String(StringViewBuilder),
    Json(StringViewBuilder),
    Binary(BinaryViewBuilder),
    List(Box<ListBuilder>),
}

/// Lists, and the items of all of them one after the other.
pub struct ListBuilder {
    /// The items.
    pub items: Builder,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
    field: FieldRef,
}

/// Does the same with whatever a builder holds; lists come first.
macro_rules! each {
    ($builder:expr, $list:ident => $of_list:expr, $values:ident => $of_values:expr) => {
        match $builder {
            Builder::List($list) => $of_list,
            Builder::Bool($values) => $of_values,
            Builder::Int8($values) => $of_values,
            Builder::Int16($values) => $of_values,
            Builder::Int32($values) => $of_values,
            Builder::Int64($values) => $of_values,
            Builder::UInt8($values) => $of_values,
            Builder::UInt16($values) => $of_values,
            Builder::UInt32($values) => $of_values,
            Builder::UInt64($values) => $of_values,
            Builder::Float32($values) => $of_values,
            Builder::Float64($values) => $of_values,
            Builder::Date($values) => $of_values,
            Builder::Timestamp($values) => $of_values,
            Builder::TimestampNs($values) => $of_values,
            Builder::String($values) | Builder::Json($values) => $of_values,
            Builder::Binary($values) => $of_values,
        }
    };
}

impl Builder {
    /// An empty column.
    pub fn new(column_type: &ColumnType) -> Builder {
        match column_type {
            ColumnType::Bool => Builder::Bool(BooleanBuilder::new()),
            ColumnType::Int8 => Builder::Int8(PrimitiveBuilder::new()),
            ColumnType::Int16 => Builder::Int16(PrimitiveBuilder::new()),
            ColumnType::Int32 => Builder::Int32(PrimitiveBuilder::new()),
            ColumnType::Int64 => Builder::Int64(PrimitiveBuilder::new()),
            ColumnType::UInt8 => Builder::UInt8(PrimitiveBuilder::new()),
            ColumnType::UInt16 => Builder::UInt16(PrimitiveBuilder::new()),
            ColumnType::UInt32 => Builder::UInt32(PrimitiveBuilder::new()),
            ColumnType::UInt64 => Builder::UInt64(PrimitiveBuilder::new()),
            ColumnType::Float32 => Builder::Float32(PrimitiveBuilder::new()),
            ColumnType::Float64 => Builder::Float64(PrimitiveBuilder::new()),
            ColumnType::Date => Builder::Date(PrimitiveBuilder::new()),
            ColumnType::Timestamp => Builder::Timestamp(PrimitiveBuilder::new()),
            ColumnType::TimestampNs => Builder::TimestampNs(PrimitiveBuilder::new()),
            ColumnType::String => Builder::String(StringViewBuilder::new()),
            ColumnType::Json => Builder::Json(StringViewBuilder::new()),
            ColumnType::Binary => Builder::Binary(BinaryViewBuilder::new()),
            ColumnType::List(item) => Builder::List(Box::new(ListBuilder {
                items: Builder::new(item),
                ends: vec![0],
                nulls: NullBufferBuilder::new(0),
                field: Arc::new(item.item_field()),
            })),
        }
    }

    /// Values so far.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        each!(self, list => list.ends.len() - 1, values => values.len())
    }

    /// Appends that there is no value.
    pub fn push_null(&mut self) {
        each!(self, list => list.end(false), values => values.append_null());
    }

    /// The column, which is empty again after.
    pub fn finish(&mut self) -> ArrayRef {
        each!(self, list => list.finish(), values => Arc::new(values.finish()))
    }
}

impl ListBuilder {
    /// Ends the list of the items since the last end. Where it is not valid it is null, and no reader of the column
    /// sees its items.
    pub fn end(&mut self, valid: bool) {
        self.ends.push(self.items.len() as i32);
        self.nulls.append(valid);
    }

    fn finish(&mut self) -> ArrayRef {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let (field, items) = (Arc::clone(&self.field), self.items.finish());
        Arc::new(ListArray::new(field, OffsetBuffer::new(ends.into()), items, self.nulls.finish()))
    }
}
