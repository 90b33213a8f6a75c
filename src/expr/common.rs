//! What types have in common: the type that values of two of them can be brought to.

use crate::batch::ColumnType;

/// The type that values of both types can be brought to without being asked: numbers to wider numbers, dates to
/// timestamps, json to its text. Text and numbers have none.
pub(super) fn common(a: &ColumnType, b: &ColumnType) -> Option<ColumnType> {
    use ColumnType::{Date, Float64, Json, String, Timestamp, TimestampNs};
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (a, b) if a.is_integer() && b.is_integer() => Some(common_integer(a, b)),
        (a, b) if a.is_number() && b.is_number() => Some(Float64),
        (Date, Timestamp) | (Timestamp, Date) => Some(Timestamp),
        (Date | Timestamp, TimestampNs) | (TimestampNs, Date | Timestamp) => Some(TimestampNs),
        (String, Json) | (Json, String) => Some(String),
        (ColumnType::List(a), ColumnType::List(b)) => common(a, b).map(|item| ColumnType::List(Box::new(item))),
        _ => None,
    }
}

/// `uint64` where neither can be negative and one is that wide, else `int64`.
pub(super) fn common_integer(a: &ColumnType, b: &ColumnType) -> ColumnType {
    let wide = *a == ColumnType::UInt64 || *b == ColumnType::UInt64;
    if wide && is_unsigned(a) && is_unsigned(b) { ColumnType::UInt64 } else { ColumnType::Int64 }
}

/// True for integers that cannot be negative.
pub(super) fn is_unsigned(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::UInt8 | ColumnType::UInt16 | ColumnType::UInt32 | ColumnType::UInt64)
}
