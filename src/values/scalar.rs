//! Text to single values: integers, floats, booleans, dates, timestamps. Nothing is trimmed, and the whole
//! text must be used up.

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::{RejectCode, calendar};

/// A fixed-width type that can be read from text.
pub trait Scalar: ArrowPrimitiveType {
    /// The reason for a reject where text is no such value.
    const CODE: RejectCode;

    /// Does it stand in quotes in JSON?
    const IN_QUOTES: bool = false;

    /// The value as a word; whole numbers and times of any width that are equal have the same.
    fn bits(value: Self::Native) -> u64;

    /// The value that `text` means.
    fn parse(text: &[u8]) -> Option<Self::Native>;

    /// The same where only finite numbers are meant: not what is too large for the type.
    #[inline]
    fn parse_finite(text: &[u8]) -> Option<Self::Native> {
        Self::parse(text)
    }

    /// The value that an integer of a database means.
    fn from_integer(_: i64) -> Option<Self::Native> {
        None
    }

    /// The value that a float of a database means.
    fn from_float(_: f64) -> Option<Self::Native> {
        None
    }

    /// The value at the start of `text` and how many bytes it takes, where a single pass can tell. It is a
    /// shortcut for lists: `None` says nothing, `parse` decides.
    #[inline]
    fn lead(_text: &[u8]) -> Option<(Self::Native, usize)> {
        None
    }
}

/// Digits that always fit into 64 bits.
const SAFE_DIGITS: usize = 19;

/// The digits at the start of `text`, at most 19, as a number, and how many there are.
#[inline]
fn digits(text: &[u8]) -> (u64, usize) {
    let mut value = 0_u64;
    let mut len = 0;
    for byte in text.iter().take(SAFE_DIGITS) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + u64::from(digit);
        len += 1;
    }
    (value, len)
}

/// The number that `text` is, all of it being digits.
#[inline]
fn unsigned(text: &[u8]) -> Option<u64> {
    let (mut value, len) = digits(text);
    if len == 0 {
        return None;
    }
    for byte in &text[len..] {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

macro_rules! integers {
    ($sign:ident: $($arrow:ty = $native:ty),*) => {$(
        impl Scalar for $arrow {
            const CODE: RejectCode = RejectCode("bad_number");

            #[inline]
            fn bits(value: $native) -> u64 {
                value as u64
            }

            #[inline]
            fn parse(text: &[u8]) -> Option<$native> {
                let value = match $sign(text) {
                    None => $sign(without_zeros(text)?),
                    value => value,
                };
                value.and_then(|value| <$native>::try_from(value).ok())
            }

            fn from_integer(value: i64) -> Option<$native> {
                value.try_into().ok()
            }

            #[inline]
            fn lead(text: &[u8]) -> Option<($native, usize)> {
                let (value, len) = digits(text);
                if len == 0 || len == SAFE_DIGITS {
                    return None;
                }
                Some((<$native>::try_from(value).ok()?, len))
            }
        }
    )*};
}

/// What stands before the decimal point of a number with nothing but zeros behind it, as programs write whole numbers
/// that only know floats.
#[cold]
fn without_zeros(text: &[u8]) -> Option<&[u8]> {
    let point = text.iter().position(|byte| *byte == b'.')?;
    let zeros = &text[point + 1..];
    (!zeros.is_empty() && zeros.iter().all(|byte| *byte == b'0')).then_some(&text[..point])
}

/// A number with an optional minus sign.
#[inline]
fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(rest) => 0_i64.checked_sub_unsigned(unsigned(rest)?),
        None => i64::try_from(unsigned(text)?).ok(),
    }
}

integers!(signed: Int8Type = i8, Int16Type = i16, Int32Type = i32, Int64Type = i64);
integers!(unsigned: UInt8Type = u8, UInt16Type = u16, UInt32Type = u32, UInt64Type = u64);

macro_rules! floats {
    ($($arrow:ty = $native:ty),*) => {$(
        impl Scalar for $arrow {
            const CODE: RejectCode = RejectCode("bad_number");

            #[inline]
            fn bits(value: $native) -> u64 {
                value.to_bits().into()
            }

            #[inline]
            fn parse(text: &[u8]) -> Option<$native> {
                fast_float2::parse(text).ok()
            }

            #[inline]
            fn parse_finite(text: &[u8]) -> Option<$native> {
                Self::parse(text).filter(|value| value.is_finite())
            }

            /// Where a float of 64 bits holds it exactly.
            fn from_integer(value: i64) -> Option<$native> {
                let float = value as f64;
                (float as i128 == i128::from(value)).then_some(float as $native)
            }

            /// A number that is too large for the type is none.
            fn from_float(value: f64) -> Option<$native> {
                Some(value as $native).filter(|narrow| narrow.is_finite() || !value.is_finite())
            }
        }
    )*};
}

floats!(Float32Type = f32, Float64Type = f64);

/// `true`, `t`, `1`, `false`, `f` or `0`; of the words also `True` and `TRUE`.
#[inline]
pub fn bool(text: &[u8]) -> Option<bool> {
    match text {
        b"true" | b"t" | b"1" | b"True" | b"TRUE" => Some(true),
        b"false" | b"f" | b"0" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}

impl Scalar for Date32Type {
    const CODE: RejectCode = RejectCode("bad_date");
    const IN_QUOTES: bool = true;

    #[inline]
    fn bits(value: i32) -> u64 {
        value as u64
    }

    #[inline]
    fn parse(text: &[u8]) -> Option<i32> {
        (text.len() == 10).then(|| date(text)).flatten()
    }
}

impl Scalar for TimestampMicrosecondType {
    const CODE: RejectCode = RejectCode("bad_timestamp");
    const IN_QUOTES: bool = true;

    #[inline]
    fn bits(value: i64) -> u64 {
        value as u64
    }

    #[inline]
    fn parse(text: &[u8]) -> Option<i64> {
        let (seconds, nanos) = timestamp(text)?;
        Some(seconds * 1_000_000 + i64::from(nanos / 1_000))
    }
}

impl Scalar for TimestampNanosecondType {
    const CODE: RejectCode = RejectCode("bad_timestamp");
    const IN_QUOTES: bool = true;

    #[inline]
    fn bits(value: i64) -> u64 {
        value as u64
    }

    #[inline]
    fn parse(text: &[u8]) -> Option<i64> {
        let (seconds, nanos) = timestamp(text)?;
        i64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)).ok()
    }
}

/// Days from 1970-01-01 to the `YYYY-MM-DD` that `text` begins with.
fn date(text: &[u8]) -> Option<i32> {
    if text.get(4) != Some(&b'-') || text.get(7) != Some(&b'-') {
        return None;
    }
    let (year, month, day) = (fixed(text, 0, 4)?, fixed(text, 5, 2)?, fixed(text, 8, 2)?);
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let last = calendar::last_day(year, month)?;
    (1..=last).contains(&day).then(|| calendar::days(year, month, day) as i32)
}

/// Seconds since 1970-01-01 00:00:00 UTC and nanoseconds on top, of `YYYY-MM-DD`, optionally followed by
/// `T` or a space and `HH:MM[:SS[.fraction]]`, optionally followed by `Z`, ` UTC` or an offset. Without an offset the
/// time is UTC. A fraction has at most nine digits.
fn timestamp(text: &[u8]) -> Option<(i64, u32)> {
    let day = i64::from(date(text)?) * 86_400;
    let Some((b'T' | b't' | b' ', time)) = text[10..].split_first() else {
        return (text.len() == 10).then_some((day, 0));
    };
    let minutes = i64::from(clock(time)?);
    let (seconds, rest) = match &time[5..] {
        [b':', rest @ ..] => (fixed(rest, 0, 2).filter(|second| *second < 60)?, &rest[2..]),
        rest => (0, rest),
    };
    let (nanos, rest) = match rest {
        [b'.' | b',', rest @ ..] if time.len() > 5 && time[5] == b':' => fraction(rest)?,
        rest => (0, rest),
    };
    Some((day + minutes * 60 + i64::from(seconds) - offset(rest)?, nanos))
}

/// Minutes since midnight of the `HH:MM` that `text` begins with.
fn clock(text: &[u8]) -> Option<u32> {
    let (hour, minute) = (fixed(text, 0, 2)?, fixed(text, 3, 2)?);
    (text[2] == b':' && hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

/// One to nine digits after a decimal point as nanoseconds, and what follows them.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let (value, len) = digits(text);
    let missing = 9_u32.checked_sub(len as u32).filter(|missing| *missing < 9)?;
    Some((value as u32 * 10_u32.pow(missing), &text[len..]))
}

/// Seconds east of UTC: of nothing, `Z`, ` UTC`, `+HH`, `+HHMM` or `+HH:MM`.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, hour, minute) = match text {
        b"" | b"Z" | b"z" | b" UTC" | b"UTC" => return Some(0),
        [sign, hour @ ..] if hour.len() == 2 => (sign, fixed(hour, 0, 2)?, 0),
        [sign, rest @ ..] if rest.len() == 4 => (sign, fixed(rest, 0, 2)?, fixed(rest, 2, 2)?),
        [sign, rest @ ..] if rest.len() == 5 && rest[2] == b':' => (sign, fixed(rest, 0, 2)?, fixed(rest, 3, 2)?),
        _ => return None,
    };
    let seconds = i64::from(hour * 60 + minute) * 60;
    match sign {
        b'+' if hour < 24 && minute < 60 => Some(seconds),
        b'-' if hour < 24 && minute < 60 => Some(-seconds),
        _ => None,
    }
}

/// The number that the `len` digits from `start` on are.
fn fixed(text: &[u8], start: usize, len: usize) -> Option<u32> {
    let text = text.get(start..start + len)?;
    let (value, found) = digits(text);
    (found == len).then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: Scalar>(cases: &[(&str, Option<T::Native>)]) {
        for (text, value) in cases {
            assert_eq!(&T::parse(text.as_bytes()), value, "{text:?} as {}", T::DATA_TYPE);
        }
    }

    #[test]
    fn integers_are_whole_and_in_range() {
        all::<Int8Type>(&[("127", Some(127)), ("128", None), ("-128", Some(-128)), ("-129", None), ("", None)]);
        all::<Int8Type>(&[("-", None), ("1 ", None), (" 1", None), ("+1", None), ("007", Some(7))]);
        all::<Int8Type>(&[
            ("1.0", Some(1)),
            ("-7.00", Some(-7)),
            ("1.", None),
            (".0", None),
            ("1.5", None),
            ("128.0", None),
        ]);
        all::<UInt8Type>(&[("255", Some(255)), ("256", None), ("-1", None), ("0x1", None)]);
        all::<Int16Type>(&[("-32768", Some(i16::MIN)), ("32768", None)]);
        all::<UInt16Type>(&[("65535", Some(u16::MAX)), ("65536", None)]);
        all::<Int32Type>(&[("-2147483648", Some(i32::MIN)), ("2147483648", None)]);
        all::<UInt32Type>(&[("4294967295", Some(u32::MAX)), ("4294967296", None)]);
        all::<Int64Type>(&[("-9223372036854775808", Some(i64::MIN)), ("9223372036854775807", Some(i64::MAX))]);
        all::<Int64Type>(&[("9223372036854775808", None), ("-9223372036854775809", None)]);
        all::<UInt64Type>(&[("18446744073709551615", Some(u64::MAX)), ("18446744073709551616", None)]);
        all::<UInt64Type>(&[("00000000000000000000001", Some(1)), ("0000000000000000000000x", None)]);
    }

    #[test]
    fn floats_take_the_whole_text() {
        all::<Float64Type>(&[("55.1", Some(55.1)), ("-1e300", Some(-1e300)), ("1.5x", None), ("", None), (" 1", None)]);
        all::<Float32Type>(&[("0.1", Some(0.1)), (".5", Some(0.5)), ("inf", Some(f32::INFINITY)), ("-", None)]);
        assert!(Float64Type::parse(b"nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn booleans_have_ten_spellings() {
        for (text, value) in [("true", true), ("t", true), ("1", true), ("false", false), ("f", false), ("0", false)] {
            assert_eq!(bool(text.as_bytes()), Some(value));
        }
        assert_eq!(
            ["TRUE", "True", "FALSE", "False"].map(|text| bool(text.as_bytes())),
            [Some(true), Some(true), Some(false), Some(false)]
        );
        assert!(["", "yes", "2", "truee", "tRUE", "T"].iter().all(|text| bool(text.as_bytes()).is_none()));
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        all::<Date32Type>(&[("1970-01-01", Some(0)), ("1969-12-31", Some(-1)), ("2000-02-29", Some(11_016))]);
        all::<Date32Type>(&[("1900-02-29", None), ("2023-02-29", None), ("2024-02-29", Some(19_782))]);
        all::<Date32Type>(&[("2024-13-01", None), ("2024-00-01", None), ("2024-01-00", None), ("2024-04-31", None)]);
        all::<Date32Type>(&[("2024-1-1", None), ("2024/01/01", None), ("2024-01-01 ", None), ("", None)]);
        all::<Date32Type>(&[("0001-01-01", Some(-719_162)), ("9999-12-31", Some(2_932_896))]);
    }

    #[test]
    fn timestamps_are_iso_8601() {
        let micros = 1_704_067_200_000_000;
        all::<TimestampMicrosecondType>(&[
            ("2024-01-01", Some(micros)),
            ("2024-01-01T00:00", Some(micros)),
            ("2024-01-01 00:00:00Z", Some(micros)),
            ("2024-01-01 00:00:00 UTC", Some(micros)),
            ("2024-01-01T01:30:00+01:30", Some(micros)),
            ("2023-12-31T23:00:00-0100", Some(micros)),
            ("2023-12-31T22:00:00.000000-02", Some(micros)),
            ("2024-01-01T00:00:01.5Z", Some(micros + 1_500_000)),
            ("2024-01-01T00:00:00.123456789", Some(micros + 123_456)),
            ("1969-12-31T23:59:59.9Z", Some(-100_000)),
        ]);
        let bad = [
            "2024-01-01T",
            "2024-01-01T24:00",
            "2024-01-01T00:60",
            "2024-01-01T00:00:60",
            "2024-01-01T00:00:00.",
            "2024-01-01T00:00:00.1234567890",
            "2024-01-01T00:00.5",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00?",
            "2024-01-01 00:00:00  UTC",
            "2024-01-01 UTC",
            "2024-01-01T00:00:00+1",
            "2024-01-01x00:00",
            "2024-01-01T0",
            "2024-01-01T00:0",
            "2024-01-01T00-00",
            "",
        ];
        for text in bad {
            assert_eq!(TimestampMicrosecondType::parse(text.as_bytes()), None, "{text}");
        }
        all::<TimestampNanosecondType>(&[
            ("1970-01-01T00:00:00.000000001Z", Some(1)),
            ("2262-04-11T23:47:16.854775807Z", Some(i64::MAX)),
            ("2262-04-11T23:47:16.854775808Z", None),
            ("1677-09-21", None),
            ("1677-09-22", Some(-9_223_286_400_000_000_000)),
            ("9999-01-01", None),
        ]);
    }

    #[test]
    fn a_lead_agrees_with_parsing() {
        assert_eq!(UInt32Type::lead(b"12,3"), Some((12, 2)));
        assert_eq!(UInt32Type::lead(b"4294967296,"), None);
        assert_eq!(UInt32Type::lead(b",1"), None);
        assert_eq!(UInt64Type::lead(b"18446744073709551615"), None, "too long to tell in one pass");
        assert_eq!(Float64Type::lead(b"1"), None);
    }
}
