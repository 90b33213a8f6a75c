//! Which of the server's types go with which of ours.

use tokio_postgres::types::{Kind, Type};

use crate::values::{ColumnType, Family};

/// The type that a statement casts a column to, so that it comes in the form expected here. There is none for
/// lists of lists.
pub(crate) fn wire_type(column_type: &ColumnType) -> Option<String> {
    use ColumnType::*;
    let name = match column_type {
        Bool => "boolean",
        // The server's integers end before it does.
        UInt64 | String | Json => "text",
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => "int8",
        Float32 | Float64 => "float8",
        Binary => "bytea",
        Date => "date",
        Timestamp | TimestampNs => "timestamp",
        List(item) => match item.family() {
            Family::List(_) => return None,
            _ => return Some(format!("{}[]", wire_type(item)?)),
        },
    };
    Some(name.to_owned())
}

/// Can a column of the server's type be read as this type?
pub(crate) fn gives(from: &Type, column_type: &ColumnType) -> bool {
    use ColumnType::*;
    if let Kind::Domain(base) = from.kind() {
        return gives(base, column_type);
    }
    // An array has a name of its own.
    let is = |names: &[&str]| names.contains(&from.name());
    let integer = is(&["int2", "int4", "int8"]);
    match column_type {
        String => true,
        List(wanted) => matches!(from.kind(), Kind::Array(item) if gives(item, wanted)),
        Bool => is(&["bool"]),
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => integer,
        UInt64 => integer || is(&["numeric"]),
        Float32 | Float64 => integer || is(&["float4", "float8", "numeric"]),
        Binary => is(&["bytea"]),
        Date => is(&["date"]),
        Timestamp | TimestampNs => is(&["timestamp", "timestamptz", "date"]),
        Json => is(&["json", "jsonb"]),
    }
}

/// Can a column of the server's type take values of this type?
pub(crate) fn takes(to: &Type, column_type: &ColumnType) -> bool {
    use ColumnType::*;
    if let Kind::Domain(base) = to.kind() {
        return takes(base, column_type);
    }
    let is = |names: &[&str]| names.contains(&to.name());
    let number = is(&["float4", "float8", "numeric"]);
    match column_type {
        // The server's own input reads text into whatever it is, and says where it cannot. In bytes it would take
        // backslashes for something else, without a word.
        String => !is(&["bytea"]),
        List(item) => match (item.family(), to.kind()) {
            (Family::List(_), _) => is(&["json", "jsonb"]),
            (_, Kind::Array(to)) => takes(to, item),
            (_, _) => false,
        },
        Bool => is(&["bool"]),
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => number || is(&["int2", "int4", "int8"]),
        Float32 | Float64 => number,
        Binary => is(&["bytea"]),
        Date => is(&["date", "timestamp", "timestamptz"]),
        Timestamp | TimestampNs => is(&["timestamp", "timestamptz"]),
        Json => is(&["json", "jsonb", "text", "varchar"]),
    }
}

/// The server's type for a column that is made.
pub(crate) fn declared(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "boolean",
        ColumnType::Int8 | ColumnType::UInt8 | ColumnType::Int16 => "smallint",
        ColumnType::UInt16 | ColumnType::Int32 => "integer",
        ColumnType::UInt32 | ColumnType::Int64 => "bigint",
        ColumnType::UInt64 => "numeric(20, 0)",
        ColumnType::Float32 => "real",
        ColumnType::Float64 => "double precision",
        ColumnType::String => "text",
        ColumnType::Binary => "bytea",
        ColumnType::Date => "date",
        ColumnType::Timestamp | ColumnType::TimestampNs => "timestamp",
        ColumnType::Json => "jsonb",
        // The server's arrays of arrays are rectangles; lists of lists need not be.
        ColumnType::List(item) if matches!(**item, ColumnType::List(_)) => "jsonb",
        ColumnType::List(item) => return format!("{}[]", declared(item)),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_matched_both_ways() {
        let cases = [
            (Type::INT4, "int64", true, true),
            (Type::FLOAT8, "int64", false, true),
            (Type::NUMERIC, "uint64", true, true),
            (Type::INT8, "float64", true, false),
            (Type::TEXT, "string", true, true),
            (Type::UUID, "string", true, true),
            (Type::INT8, "string", true, true),
            (Type::DATE, "string", true, true),
            (Type::INTERVAL, "string", true, true),
            (Type::MONEY, "string", true, true),
            (Type::INT4_ARRAY, "string", true, true),
            (Type::BYTEA, "string", true, false),
            (Type::TEXT, "int64", false, false),
            (Type::TIMESTAMPTZ, "timestamp", true, true),
            (Type::DATE, "timestamp", true, false),
            (Type::TIMESTAMP, "date", false, true),
            (Type::JSONB, "json", true, true),
            (Type::TEXT, "json", false, true),
            (Type::BYTEA, "binary", true, true),
            (Type::BOOL, "bool", true, true),
            (Type::TEXT_ARRAY, "list<string>", true, true),
            (Type::TEXT_ARRAY, "list<int8>", false, false),
            (Type::JSONB, "list<list<int8>>", false, true),
            (Type::INT8_ARRAY, "int64", false, false),
        ];
        for (of_server, name, can_give, can_take) in cases {
            let column_type: ColumnType = name.parse().unwrap();
            let found = (gives(&of_server, &column_type), takes(&of_server, &column_type));
            assert_eq!(found, (can_give, can_take), "{of_server} and {name}");
        }
    }
}
