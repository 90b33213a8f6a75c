//! JSON as it is written: values are read one level at a time, and numbers keep all their digits until it is known what
//! they are to be.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// One value and what is in it, a level deep.
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<&'a RawValue>),
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
}

/// The value that the whole of `text` is.
pub(super) fn whole(text: &str) -> Result<&RawValue, Refusal> {
    serde_json::from_str(text).map_err(no_json)
}

fn no_json(error: serde_json::Error) -> Refusal {
    Refusal::new(format!("not JSON: {error}"))
}

/// Reads one level of a value.
pub(super) fn read(raw: &RawValue) -> Result<Json<'_>, Refusal> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Json::Null,
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'"') => Json::Text(serde_json::from_str::<Key<'_>>(text).map_err(no_json)?.0),
        Some(b'[') => Json::List(serde_json::from_str(text).map_err(no_json)?),
        Some(b'{') => Json::Object(serde_json::from_str::<Members<'_>>(text).map_err(no_json)?.0),
        _ => Json::Number(text),
    })
}

/// A string, borrowed where nothing in it is escaped.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        reader.deserialize_str(Strings)
    }
}

/// The members of an object in their order, those of one name too.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Objects;
        impl<'de> Visitor<'de> for Objects {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        reader.deserialize_map(Objects)
    }
}

/// What a text says as an integer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Number(i128),
    /// An integer that no type of protobuf holds.
    TooLarge,
    /// No number of JSON, or one with a fraction.
    No,
}

/// A number of JSON as an integer: `1e3` and `2.0` are integers too.
pub(super) fn integer(text: &str) -> Whole {
    let Some(number) = Decimal::parse(text) else { return Whole::No };
    if number.fraction.is_empty() && number.exponent == 0 && number.whole.len() <= LONGEST {
        let value = number.whole.parse::<i128>().map(|value| if number.negative { -value } else { value });
        return value.map_or(Whole::No, Whole::Number);
    }
    let all = format!("{}{}", number.whole, number.fraction);
    let digits = all.trim_end_matches('0');
    let cut = (all.len() - digits.len()) as i64;
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Whole::Number(0);
    }
    // So many zeros follow the digits; fewer than none is a fraction.
    let zeros = number.exponent + cut - number.fraction.len() as i64;
    match usize::try_from(zeros) {
        Err(_) => Whole::No,
        Ok(zeros) if digits.len().saturating_add(zeros) > LONGEST => Whole::TooLarge,
        Ok(zeros) => format!("{digits}{}", "0".repeat(zeros))
            .parse::<i128>()
            .map_or(Whole::TooLarge, |value| Whole::Number(if number.negative { -value } else { value })),
    }
}

/// More digits than any integer of protobuf has.
const LONGEST: usize = 30;

/// A number of JSON taken apart.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix('+').unwrap_or(exponent)),
            None => (rest, "0"),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let has_zero_before = whole.len() > 1 && whole.starts_with('0');
        let digits_of_exponent = exponent.strip_prefix('-').unwrap_or(exponent);
        let legal = are_digits(whole) && are_digits(fraction) && are_digits(digits_of_exponent);
        if !legal || whole.is_empty() || has_zero_before || digits_of_exponent.is_empty() {
            return None;
        }
        let farthest = if exponent.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
        let exponent = exponent.parse::<i64>().unwrap_or(farthest).clamp(i64::MIN / 4, i64::MAX / 4);
        Some(Decimal { negative, whole, fraction, exponent })
    }
}

/// A number of JSON as a float, the nearest there is; infinite where it is too large.
pub(super) fn float<F: std::str::FromStr>(text: &str) -> Option<F> {
    Decimal::parse(text)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact() {
        let cases = [
            ("0", Whole::Number(0)),
            ("-0", Whole::Number(0)),
            ("18446744073709551615", Whole::Number(u64::MAX.into())),
            ("-9223372036854775808", Whole::Number(i64::MIN.into())),
            ("1e3", Whole::Number(1000)),
            ("-1.50e1", Whole::Number(-15)),
            ("100000.000", Whole::Number(100_000)),
            ("1234500e-2", Whole::Number(12_345)),
            ("0.0e99", Whole::Number(0)),
            ("9007199254740993.0", Whole::Number(9_007_199_254_740_993)),
            ("1e300", Whole::TooLarge),
            ("1e99999999999999999999", Whole::TooLarge),
            ("1e-99999999999999999999", Whole::No),
            ("1.5", Whole::No),
            ("15e-1", Whole::No),
            ("", Whole::No),
            ("-", Whole::No),
            ("+1", Whole::No),
            (" 1", Whole::No),
            ("1 ", Whole::No),
            ("01", Whole::No),
            ("1.", Whole::No),
            (".5", Whole::No),
            ("1e", Whole::No),
            ("0x1", Whole::No),
            ("1_0", Whole::No),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn floats_are_the_nearest() {
        assert_eq!(float::<f64>("2.22507e-308"), Some(2.22507e-308));
        assert_eq!(float::<f32>("0.1"), Some(0.1_f32));
        assert_eq!(float::<f64>("1e400"), Some(f64::INFINITY));
        for text in ["", "inf", "nan", "1.", "+1", " 1"] {
            assert_eq!(float::<f64>(text), None, "{text}");
        }
    }
}
