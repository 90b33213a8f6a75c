//! Which types of a file go with which of ours, in both directions.

use std::sync::Arc;

use ::parquet::{
    basic::{ConvertedType, LogicalType, Repetition, TimeUnit as Unit, Type as Physical},
    errors::ParquetError,
    schema::types::{SchemaDescriptor, Type, TypePtr},
};
use arrow_schema::{DataType, FieldRef, TimeUnit};

use super::convert::Step;
use crate::values::{Column, ColumnType, Schema};

/// The columns as Parquet knows them.
pub(super) fn descriptor(schema: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    let field = |column: &Column| field(&column.name, &column.column_type, column.nullable);
    let fields = schema.columns().iter().map(field).collect::<Result<Vec<TypePtr>, _>>()?;
    Ok(SchemaDescriptor::new(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?)))
}

fn field(name: &str, column_type: &ColumnType, nullable: bool) -> Result<TypePtr, ParquetError> {
    let repetition = if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let integer = |width, signed| Some(LogicalType::integer(width, signed));
    let (physical, logical) = match column_type {
        ColumnType::Bool => (Physical::BOOLEAN, None),
        ColumnType::Int8 => (Physical::INT32, integer(8, true)),
        ColumnType::Int16 => (Physical::INT32, integer(16, true)),
        ColumnType::Int32 => (Physical::INT32, None),
        ColumnType::Int64 => (Physical::INT64, None),
        ColumnType::UInt8 => (Physical::INT32, integer(8, false)),
        ColumnType::UInt16 => (Physical::INT32, integer(16, false)),
        ColumnType::UInt32 => (Physical::INT32, integer(32, false)),
        ColumnType::UInt64 => (Physical::INT64, integer(64, false)),
        ColumnType::Float32 => (Physical::FLOAT, None),
        ColumnType::Float64 => (Physical::DOUBLE, None),
        ColumnType::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnType::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        ColumnType::Binary => (Physical::BYTE_ARRAY, None),
        ColumnType::Date => (Physical::INT32, Some(LogicalType::Date)),
        ColumnType::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, Unit::MICROS))),
        ColumnType::TimestampNs => (Physical::INT64, Some(LogicalType::timestamp(true, Unit::NANOS))),
        ColumnType::List(item) => {
            let item = field("element", item, true)?;
            let repeated = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
            let repeated = Arc::new(repeated.with_fields(vec![item]).build()?);
            let list = Type::group_type_builder(name).with_repetition(repetition);
            let list = list.with_logical_type(Some(LogicalType::List)).with_fields(vec![repeated]);
            return Ok(Arc::new(list.build()?));
        }
    };
    let column = Type::primitive_type_builder(name, physical).with_repetition(repetition);
    Ok(Arc::new(column.with_logical_type(logical).build()?))
}

/// What a file says of a column beyond its type in Arrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Note {
    #[default]
    None,
    /// Text that is JSON.
    Json,
    /// Bytes that are the text of one of some names.
    Enum,
    /// Sixteen bytes that are a UUID.
    Uuid,
    /// A timestamp in the old form of 96 bits.
    Int96,
}

impl Step {
    /// The way from one type to another, if there is one.
    pub(super) fn find(from: &DataType, note: Note, to: &ColumnType) -> Option<Step> {
        use ColumnType::*;
        use DataType as D;
        let target = to.to_arrow();
        if *from == D::Null {
            return Some(Step::Nothing(target));
        }
        let same = *from == target;
        let whole = matches!(from, D::Decimal128(_, 0) | D::Decimal256(_, 0));
        Some(match to {
            List(to) => match from {
                D::List(item) => {
                    Step::List(Box::new(Step::find(item.data_type(), note, to)?), Arc::new(to.item_field()))
                }
                _ => return None,
            },
            Json => match from {
                D::List(_) | D::Struct(_) | D::Map(..) => Step::Text,
                D::Utf8View => Step::Json,
                D::BinaryView => Step::JsonBytes,
                _ => return None,
            },
            Binary => match from {
                D::Utf8View => Step::Bytes,
                D::FixedSizeBinary(_) => Step::Fixed,
                _ => return same.then_some(Step::Same),
            },
            String => match from {
                D::BinaryView => Step::Utf8,
                D::FixedSizeBinary(16) if note == Note::Uuid => Step::Uuid,
                D::Decimal128(..) | D::Decimal256(..) | D::Time32(_) | D::Time64(_) | D::Interval(_) => Step::Shown,
                _ => return same.then_some(Step::Same),
            },
            Timestamp | TimestampNs => match (from, target) {
                (D::Timestamp(from, zone), D::Timestamp(to, _)) => match (*from == to, zone) {
                    (true, None) => Step::Same,
                    (true, Some(_)) => Step::Zone,
                    (false, _) => Step::Time(*from, to),
                },
                (D::Date32, D::Timestamp(to, _)) => Step::Days(to),
                _ => return None,
            },
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => match from {
                _ if same => Step::Same,
                from if from.is_integer() || whole => Step::Kernel(target),
                _ => return None,
            },
            Float32 | Float64 => match from {
                _ if same => Step::Same,
                from if from.is_integer() => Step::Exact(target),
                D::Float16 => Step::Kernel(target),
                D::Decimal128(..) | D::Decimal256(..) | D::Float32 if *to == Float64 => Step::Kernel(target),
                _ => return None,
            },
            Bool | Date => return same.then_some(Step::Same),
        })
    }
}

/// What a type of a file says beyond its type in Arrow; of a list, its items.
pub(super) fn note(found: &Type) -> Note {
    if let Type::GroupType { fields, .. } = found {
        let [repeated] = fields.as_slice() else { return Note::None };
        return match repeated.as_ref() {
            Type::GroupType { fields, .. } if fields.len() == 1 => note(&fields[0]),
            Type::GroupType { .. } => Note::None,
            item => note(item),
        };
    }
    let info = found.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::Json), _) | (None, ConvertedType::JSON) => Note::Json,
        (Some(LogicalType::Enum), _) | (None, ConvertedType::ENUM) => Note::Enum,
        (Some(LogicalType::Uuid), _) => Note::Uuid,
        _ if found.get_physical_type() == Physical::INT96 => Note::Int96,
        _ => Note::None,
    }
}

/// The type that a column is read as: text and bytes as views, and as they lie in lists.
pub(super) fn hint(found: &DataType, note: Note, wanted: &ColumnType) -> DataType {
    match (found, wanted) {
        (DataType::Utf8, _) => DataType::Utf8View,
        (DataType::Binary, _) => DataType::BinaryView,
        (DataType::List(item), ColumnType::List(wanted)) => {
            let of = hint(item.data_type(), note, wanted);
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(of)))
        }
        (nested, ColumnType::Json) if nested.is_nested() => viewed(nested),
        (DataType::Timestamp(TimeUnit::Nanosecond, None), ColumnType::Timestamp) if note == Note::Int96 => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        (other, _) => other.clone(),
    }
}

/// The type with views of text and bytes in it, so that a value that many rows have is held once.
fn viewed(found: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(viewed(field.data_type())));
    match found {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::List(item) => DataType::List(field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::Map(entry, sorted) => DataType::Map(field(entry), *sorted),
        other => other.clone(),
    }
}

/// The type of ours that is closest.
pub(super) fn inferred(found: &DataType, note: Note) -> ColumnType {
    match found {
        DataType::Boolean => ColumnType::Bool,
        DataType::Int8 => ColumnType::Int8,
        DataType::Int16 => ColumnType::Int16,
        DataType::Int32 => ColumnType::Int32,
        DataType::Int64 => ColumnType::Int64,
        DataType::UInt8 => ColumnType::UInt8,
        DataType::UInt16 => ColumnType::UInt16,
        DataType::UInt32 => ColumnType::UInt32,
        DataType::UInt64 => ColumnType::UInt64,
        DataType::Float16 | DataType::Float32 => ColumnType::Float32,
        DataType::Float64 => ColumnType::Float64,
        DataType::Decimal128(..=18, 0) => ColumnType::Int64,
        DataType::Utf8 if note == Note::Json => ColumnType::Json,
        DataType::Binary if note != Note::Enum => ColumnType::Binary,
        DataType::FixedSizeBinary(_) if note != Note::Uuid => ColumnType::Binary,
        DataType::Date32 => ColumnType::Date,
        DataType::Timestamp(TimeUnit::Nanosecond, _) if note != Note::Int96 => ColumnType::TimestampNs,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::List(item) if item.data_type().is_nested() => ColumnType::Json,
        DataType::List(item) => ColumnType::List(Box::new(inferred(item.data_type(), note))),
        DataType::Struct(_) | DataType::Map(..) => ColumnType::Json,
        // Text, and what only text can show without loss: decimals, times of day, UUIDs, intervals.
        _ => ColumnType::String,
    }
}

/// What people call the type of a column of a file.
pub(super) fn named(found: &DataType, note: Note) -> String {
    match (found, note) {
        (DataType::Struct(_), _) => "a struct".to_owned(),
        (DataType::Map(..), _) => "a map".to_owned(),
        (DataType::List(item), _) if item.data_type().is_nested() => "a list of nested values".to_owned(),
        (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale), _) => {
            format!("decimal({precision}, {scale})")
        }
        (DataType::Time32(_) | DataType::Time64(_), _) => "a time of day".to_owned(),
        (DataType::Interval(_), _) => "an interval".to_owned(),
        (DataType::FixedSizeBinary(_), Note::Uuid) => "uuid".to_owned(),
        (other, note) => inferred(other, note).to_string(),
    }
}
