//! The type of a column of text, by its values.

use arrow_array::types::{Date32Type, Int64Type, TimestampMicrosecondType};

use crate::values::{
    ColumnType,
    scalar::{self, Scalar},
};

/// Can a text be read as a type, and nothing of it is lost?
type Fits = fn(&[u8]) -> bool;

/// The types that text may turn out to be, the narrowest first.
const TYPES: [(ColumnType, Fits); 5] = [
    (ColumnType::Bool, |text| matches!(text, b"true" | b"false")),
    (ColumnType::Int64, is_whole),
    (ColumnType::Float64, is_number),
    (ColumnType::Date, |text| Date32Type::parse(text).is_some()),
    (ColumnType::Timestamp, is_timestamp),
];

/// What the values of a column have in common.
#[derive(Clone, Default)]
pub(super) struct TextShape {
    /// For each type: is there a value that does not fit it?
    unfit: [bool; TYPES.len()],
    /// Is there any value?
    seen: bool,
}

impl TextShape {
    /// One more value.
    pub(super) fn add(&mut self, text: &[u8]) {
        self.seen = true;
        for (unfit, (_, fits)) in self.unfit.iter_mut().zip(TYPES) {
            *unfit = *unfit || !fits(text);
        }
    }

    /// The narrowest type that all values fit.
    pub(super) fn column_type(&self) -> ColumnType {
        let fitting = TYPES.into_iter().zip(self.unfit).find(|(_, unfit)| !unfit);
        match fitting {
            Some(((column_type, _), _)) if self.seen => column_type,
            _ => ColumnType::String,
        }
    }
}

/// Is it a whole number as this program would write it? Zeros before it, as postal codes have them, would be lost.
fn is_whole(text: &[u8]) -> bool {
    is_plain(text) && Int64Type::parse(text).is_some()
}

/// Is it a number whose digits a float keeps, and not too long a whole one?
fn is_number(text: &[u8]) -> bool {
    let whole = text.strip_prefix(b"-").unwrap_or(text).iter().all(u8::is_ascii_digit);
    is_plain(text)
        && !is_code(text)
        && (if whole { Int64Type::parse(text).is_some() } else { scalar::keeps_digits(text) })
}

/// Is it like the codes that are digits, an E and digits? Numbers of that kind have a point or a sign.
fn is_code(text: &[u8]) -> bool {
    let exponent = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    exponent.is_some_and(|at| at > 0 && text[..at].iter().chain(&text[at + 1..]).all(u8::is_ascii_digit))
}

/// Has it neither a plus sign nor zeros before the first digit, as telephone numbers have them?
fn is_plain(text: &[u8]) -> bool {
    match text.strip_prefix(b"-").unwrap_or(text) {
        [b'+', ..] => false,
        [b'0', next, ..] => !next.is_ascii_digit(),
        _ => true,
    }
}

/// Is it a date, or a date and time with no more than microseconds?
fn is_timestamp(text: &[u8]) -> bool {
    let fraction = text.iter().position(|byte| matches!(byte, b'.' | b','));
    let digits = fraction.map_or(0, |at| text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count());
    digits <= 6 && TimestampMicrosecondType::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_type_that_loses_nothing() {
        let cases: &[(&[&str], &str)] = &[
            (&[], "string"),
            (&["true", "false"], "bool"),
            (&["t", "f"], "string"),
            (&["True"], "string"),
            (&["0", "1"], "int64"),
            (&["true", "1"], "string"),
            (&["-5", "9223372036854775807"], "int64"),
            (&["9223372036854775808"], "string"),
            (&["1.5", "9223372036854775808"], "string"),
            (&["007"], "string"),
            (&["-01"], "string"),
            (&["0", "-0", "10"], "int64"),
            (&["00.5"], "string"),
            (&["0.5", "-0.5", "12"], "float64"),
            (&["1e5", "2"], "string"),
            (&["1.5", "2E3"], "string"),
            (&["1e-7", "2.5E+10", "1.0e5"], "float64"),
            (&["19.90", "0.30000000000000004"], "float64"),
            (&["1.5", "98765432109876543.21"], "string"),
            (&["3.14159265358979323846"], "string"),
            (&["+49301234"], "string"),
            (&["1.5", "nan", "-inf"], "float64"),
            (&["1 "], "string"),
            (&["1,5"], "string"),
            (&["0x1f"], "string"),
            (&["2024-02-29"], "date"),
            (&["2023-02-29"], "string"),
            (&["2024-02-29", "2024-02-29 10:00:00"], "timestamp"),
            (&["2024-02-29T10:00:00.123456Z"], "timestamp"),
            (&["2024-02-29T10:00:00+02:00"], "timestamp"),
            (&["2024-02-29T10:00:00.1234567"], "string"),
            (&["2024-02-29", "12"], "string"),
            (&["20240229"], "int64"),
            (&[""], "string"),
            (&["1", ""], "string"),
            (&["{}", "[1]"], "string"),
        ];
        for (values, expected) in cases {
            let mut shape = TextShape::default();
            values.iter().for_each(|value| shape.add(value.as_bytes()));
            assert_eq!(shape.column_type().to_string(), *expected, "{values:?}");
        }
    }
}
