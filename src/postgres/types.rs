//! Which of the server's types go with which of ours.

use tokio_postgres::types::{Kind, Type};

use crate::batch::ColumnType;

/// The type that a statement casts a column to, so that it comes in the form expected here. There is none for
/// lists of lists.
pub(crate) fn wire_type(column_type: &ColumnType) -> Option<String> {
    use ColumnType::{Binary, Bool, Date, Float32, Float64, Json, List, String, Timestamp, TimestampNs, UInt64};
    Some(match column_type {
        Bool => "boolean".to_owned(),
        UInt64 | String | Json => "text".to_owned(),
        Float32 | Float64 => "float8".to_owned(),
        Binary => "bytea".to_owned(),
        Date => "date".to_owned(),
        Timestamp | TimestampNs => "timestamp".to_owned(),
        List(item) if matches!(**item, List(_)) => return None,
        List(item) => format!("{}[]", wire_type(item)?),
        _ => "int8".to_owned(),
    })
}

/// Can a column of the server's type be read as this type?
pub(crate) fn gives(from: &Type, column_type: &ColumnType) -> bool {
    let integer = matches!(from.name(), "int2" | "int4" | "int8");
    match (from.kind(), column_type) {
        (Kind::Domain(base), _) => gives(base, column_type),
        (_, ColumnType::String) => true,
        (Kind::Array(item), ColumnType::List(wanted)) => gives(item, wanted),
        (Kind::Array(_), _) | (_, ColumnType::List(_)) => false,
        (_, ColumnType::Bool) => from.name() == "bool",
        (_, ColumnType::UInt64) => integer || from.name() == "numeric",
        (_, wanted) if wanted.is_integer() => integer,
        (_, wanted) if wanted.is_number() => integer || matches!(from.name(), "float4" | "float8" | "numeric"),
        (_, ColumnType::Binary) => from.name() == "bytea",
        (_, ColumnType::Date) => from.name() == "date",
        (_, ColumnType::Json) => matches!(from.name(), "json" | "jsonb"),
        (_, _) => matches!(from.name(), "timestamp" | "timestamptz" | "date"),
    }
}

/// Can a column of the server's type take values of this type?
pub(crate) fn takes(to: &Type, column_type: &ColumnType) -> bool {
    let number = matches!(to.name(), "float4" | "float8" | "numeric");
    match (to.kind(), column_type) {
        (Kind::Domain(base), _) => takes(base, column_type),
        // The server's own input reads text into whatever it is, and says where it cannot. In bytes it would take
        // backslashes for something else, without a word.
        (_, ColumnType::String) => to.name() != "bytea",
        (_, ColumnType::List(item)) if matches!(**item, ColumnType::List(_)) => {
            matches!(to.name(), "json" | "jsonb")
        }
        (Kind::Array(to), ColumnType::List(item)) => takes(to, item),
        (Kind::Array(_), _) | (_, ColumnType::List(_)) => false,
        (_, ColumnType::Bool) => to.name() == "bool",
        (_, given) if given.is_integer() => number || matches!(to.name(), "int2" | "int4" | "int8"),
        (_, given) if given.is_number() => number,
        (_, ColumnType::Binary) => to.name() == "bytea",
        (_, ColumnType::Date) => matches!(to.name(), "date" | "timestamp" | "timestamptz"),
        (_, ColumnType::Timestamp | ColumnType::TimestampNs) => matches!(to.name(), "timestamp" | "timestamptz"),
        (_, _) => matches!(to.name(), "json" | "jsonb" | "text" | "varchar"),
    }
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
