//! The type of a column of text, by its values.

use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::{batch::ColumnType, values::scalar::Scalar};

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
pub(super) fn is_whole(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        b"0" => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    plain && Int64Type::parse(text).is_some()
}

/// Is it a number that comes out with the same digits, spelled the same? A long one would lose digits, `1.10` its
/// zero, and `1e5` is more often a code than a number. Of whole numbers only those that a `float64` can tell apart.
pub(super) fn is_number(text: &[u8]) -> bool {
    const EXACT: u64 = 1 << 53;
    let Some(value) = Float64Type::parse(text) else { return false };
    if is_whole(text) {
        return Int64Type::parse(text).is_some_and(|whole| whole.unsigned_abs() <= EXACT);
    }
    if !value.is_finite() {
        return !text.starts_with(b"+")
            && text.iter().any(u8::is_ascii_alphabetic)
            && !text.iter().any(u8::is_ascii_digit);
    }
    zmij::Buffer::new().format(value).as_bytes() == text
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
            (&["0", "-7", "10"], "int64"),
            (&["0", "-0"], "string"),
            (&["1.0", "2"], "float64"),
            (&["1.0"], "float64"),
            (&["1.9", "1.10"], "string"),
            (&["1.50"], "string"),
            (&["12345678901234567.89"], "string"),
            (&["0.1234567890123456789"], "string"),
            (&["1.5", "9007199254740993"], "string"),
            (&["1.5", "9007199254740992"], "float64"),
            (&["2.2250738585072014e-308"], "float64"),
            (&["1E5"], "string"),
            (&["00.5"], "string"),
            (&["0.5", "-0.5", "12"], "float64"),
            (&["1e5", "2"], "string"),
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
