//! Column types as the job language names them, and how they stand in Arrow.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use arrow_array::ArrowPrimitiveType;
use arrow_schema::{DataType, Field, SchemaRef};

/// A column's type, as written in a job spec.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `bool`
    Bool,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint8`
    UInt8,
    /// `uint16`
    UInt16,
    /// `uint32`
    UInt32,
    /// `uint64`
    UInt64,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `string`: UTF-8 text
    String,
    /// `binary`: bytes
    Binary,
    /// `date`: days since 1970-01-01
    Date,
    /// `timestamp`: microseconds since 1970-01-01 00:00:00 UTC
    Timestamp,
    /// `timestamp_ns`: nanoseconds since 1970-01-01 00:00:00 UTC (years 1677 to 2262)
    TimestampNs,
    /// `json`: any JSON value, kept as its text
    Json,
    /// `list<T>`
    List(Box<ColumnType>),
}

/// What kind of value a type has. Types of one family are alike wherever their width or precision makes no difference:
/// what matches this has thought of every type, and a new type of a family is known there without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family<'a> {
    /// True or false.
    Truth,
    /// Whole numbers, signed or not.
    Integer,
    /// Numbers with a fraction.
    Float,
    /// Points in time: they have an order, and stand for themselves in a text that is never taken for a number.
    Time,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// JSON as its text.
    Json,
    /// Lists of values of this type.
    List(&'a ColumnType),
}

/// The metadata key under which a field says that it is more than its Arrow type.
const TYPE_KEY: &str = "runner.type";

/// The names in the order in which people are shown them.
const NAMES: &[(&str, ColumnType)] = &[
    ("bool", ColumnType::Bool),
    ("int8", ColumnType::Int8),
    ("int16", ColumnType::Int16),
    ("int32", ColumnType::Int32),
    ("int64", ColumnType::Int64),
    ("uint8", ColumnType::UInt8),
    ("uint16", ColumnType::UInt16),
    ("uint32", ColumnType::UInt32),
    ("uint64", ColumnType::UInt64),
    ("float32", ColumnType::Float32),
    ("float64", ColumnType::Float64),
    ("string", ColumnType::String),
    ("binary", ColumnType::Binary),
    ("date", ColumnType::Date),
    ("timestamp", ColumnType::Timestamp),
    ("timestamp_ns", ColumnType::TimestampNs),
    ("json", ColumnType::Json),
];

/// Hands a macro the types whose values are all of one width: the name, ours, the family, Arrow's, and what an array of
/// them says.
/// Whatever treats all of them alike is made of this list. What is a type's own (how it is read and written, what a
/// file or a database makes of it) is not.
macro_rules! with_scalars {
    ([$($make:tt)+] $($rest:tt)*) => {
        $($make)+! { [
            "int8" Int8 Integer Int8Type (DataType::Int8),
            "int16" Int16 Integer Int16Type (DataType::Int16),
            "int32" Int32 Integer Int32Type (DataType::Int32),
            "int64" Int64 Integer Int64Type (DataType::Int64),
            "uint8" UInt8 Integer UInt8Type (DataType::UInt8),
            "uint16" UInt16 Integer UInt16Type (DataType::UInt16),
            "uint32" UInt32 Integer UInt32Type (DataType::UInt32),
            "uint64" UInt64 Integer UInt64Type (DataType::UInt64),
            "float32" Float32 Float Float32Type (DataType::Float32),
            "float64" Float64 Float Float64Type (DataType::Float64),
            "date" Date Time Date32Type (DataType::Date32),
            "timestamp" Timestamp Time TimestampMicrosecondType (DataType::Timestamp(TimeUnit::Microsecond, _)),
            "timestamp_ns" TimestampNs Time TimestampNanosecondType (DataType::Timestamp(TimeUnit::Nanosecond, _))
        ] $($rest)* }
    };
}
pub(crate) use with_scalars;

impl ColumnType {
    /// The names of the types that stand alone; `list<T>` comes on top.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The field of a list's items: named `item`, nullable, as Arrow's own builders make it.
    pub fn item_field(&self) -> Field {
        mark(Field::new("item", self.to_arrow(), true), self)
    }

    /// True for integers and floats.
    pub fn is_number(&self) -> bool {
        matches!(self.family(), Family::Integer | Family::Float)
    }

    /// True for signed and unsigned integers.
    pub fn is_integer(&self) -> bool {
        self.family() == Family::Integer
    }
}

macro_rules! to_arrow {
    ([$($text:literal $name:ident $family:ident $arrow:ident ($array:pat)),*]) => {
        impl ColumnType {
            /// What kind of value it has.
            pub fn family(&self) -> Family<'_> {
                match self {
                    $(ColumnType::$name => Family::$family,)*
                    ColumnType::Bool => Family::Truth,
                    ColumnType::String => Family::Text,
                    ColumnType::Json => Family::Json,
                    ColumnType::Binary => Family::Bytes,
                    ColumnType::List(item) => Family::List(item),
                }
            }

            /// How a column of this type stands in Arrow.
            pub fn to_arrow(&self) -> DataType {
                match self {
                    $(ColumnType::$name => <arrow_array::types::$arrow as ArrowPrimitiveType>::DATA_TYPE,)*
                    ColumnType::Bool => DataType::Boolean,
                    ColumnType::String | ColumnType::Json => DataType::Utf8View,
                    ColumnType::Binary => DataType::BinaryView,
                    ColumnType::List(item) => DataType::List(Arc::new(item.item_field())),
                }
            }
        }
    };
}
with_scalars!([to_arrow]);

/// JSON text is a string to Arrow; the mark keeps the difference.
fn mark(field: Field, column_type: &ColumnType) -> Field {
    match column_type {
        ColumnType::Json => field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), "json".to_owned())])),
        _ => field,
    }
}

/// Does this field hold JSON text?
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get(TYPE_KEY).is_some_and(|name| name == "json")
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ColumnType::List(item) = self {
            return write!(f, "list<{item}>");
        }
        let name = NAMES.iter().find(|(_, named)| named == self).map_or("list", |(name, _)| name);
        f.write_str(name)
    }
}

/// Text that names no column type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    /// The part of the text that is not a type.
    pub unknown: String,
}

impl FromStr for ColumnType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let text = text.trim();
        if let Some(item) = text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
            return Ok(ColumnType::List(Box::new(item.parse()?)));
        }
        NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, column_type)| column_type.clone())
            .ok_or_else(|| TypeError { unknown: text.to_owned() })
    }
}

/// A named, typed column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, unique in its schema.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// May a value be absent?
    pub nullable: bool,
}

/// The columns of a stage's output, in order. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    columns: Arc<[Column]>,
    arrow: SchemaRef,
}

impl Schema {
    /// A schema of these columns; their names are unique.
    pub fn new(columns: Vec<Column>) -> Self {
        let fields: Vec<Field> = columns
            .iter()
            .map(|c| mark(Field::new(&c.name, c.column_type.to_arrow(), c.nullable), &c.column_type))
            .collect();
        Schema { columns: columns.into(), arrow: Arc::new(arrow_schema::Schema::new(fields)) }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Place and column of that name.
    pub fn find(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    /// The same columns to Arrow.
    pub fn arrow(&self) -> SchemaRef {
        Arc::clone(&self.arrow)
    }

    /// These columns with one more at the end, or with the one of the same name replaced.
    pub fn with(&self, column: Column) -> Schema {
        let mut columns = self.columns.to_vec();
        match columns.iter_mut().find(|old| old.name == column.name) {
            Some(old) => *old = column,
            None => columns.push(column),
        }
        Schema::new(columns)
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, column) in self.columns.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let null = if column.nullable { "?" } else { "" };
            write!(f, "{comma}{} {}{null}", column.name, column.column_type)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_from_its_name() {
        for name in ColumnType::names().map(str::to_owned).chain(["list<uint32>".into(), "list<list<json>>".into()]) {
            let column_type: ColumnType = name.parse().expect("a legal name");
            assert_eq!(column_type.to_string(), name);
        }
    }

    #[test]
    fn an_unknown_type_is_named() {
        assert_eq!("list<uint23>".parse::<ColumnType>(), Err(TypeError { unknown: "uint23".into() }));
    }
}
