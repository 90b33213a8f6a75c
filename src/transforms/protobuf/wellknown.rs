//! Timestamps, durations and field masks: message types that JSON writes as text.

use chrono::DateTime;

use super::{
    refusal::Refusal,
    wire::{Out, Tag, Wire},
};

/// The content of a `google.protobuf.Timestamp` or `Duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds {
    pub(super) seconds: i64,
    pub(super) nanos: i32,
}

/// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Ten thousand years either way.
const MAX_DURATION: i64 = 315_576_000_000;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

impl Seconds {
    /// A point in time, in nanoseconds since 1970. The nanoseconds of a timestamp count forward even before
    /// 1970.
    pub(super) fn timestamp(nanos: i128) -> Result<Seconds, Refusal> {
        let seconds = nanos.div_euclid(NANOS_PER_SECOND) as i64;
        if !TIMESTAMPS.contains(&seconds) {
            return Err(Refusal::new("lies outside the years 1 to 9999 that a timestamp can hold"));
        }
        Ok(Seconds { seconds, nanos: nanos.rem_euclid(NANOS_PER_SECOND) as i32 })
    }

    /// Writes both fields, which are 1 and 2 and have implicit presence.
    pub(super) fn put(self, out: &mut Out) {
        if self.seconds != 0 {
            out.varint(&Tag::new(1, Wire::Varint), self.seconds as u64);
        }
        if self.nanos != 0 {
            out.varint(&Tag::new(2, Wire::Varint), i64::from(self.nanos) as u64);
        }
    }
}

/// Reads `2024-02-29T12:00:00.5+01:00`. JSON has `T` and `Z` in upper case, at most nine digits of a second, and no leap
/// seconds.
pub(super) fn timestamp(text: &str) -> Result<Seconds, Refusal> {
    let refuse = || Refusal::not(text, "timestamp of RFC 3339");
    let bytes = text.as_bytes();
    let fraction = bytes.get(19..).and_then(|rest| rest.strip_prefix(b".")).unwrap_or_default();
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if bytes.get(10) != Some(&b'T') || bytes.get(17..19) == Some(b"60") || digits > 9 || text.ends_with('z') {
        return Err(refuse());
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| refuse())?;
    let nanos = i128::from(time.timestamp()) * NANOS_PER_SECOND + i128::from(time.timestamp_subsec_nanos());
    Seconds::timestamp(nanos)
}

/// Reads `1.5s`, `-0.000000001s`.
pub(super) fn duration(text: &str) -> Result<Seconds, Refusal> {
    let read = || {
        let number = text.strip_suffix('s')?;
        let (sign, number) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return None;
        }
        let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
        let seconds: i64 = whole.parse().ok().filter(|seconds| *seconds <= MAX_DURATION)?;
        Some(Seconds { seconds: i64::from(sign) * seconds, nanos: sign * nanos })
    };
    read().ok_or_else(|| Refusal::not(text, "duration"))
}

/// A path of a field mask as the `.proto` file spells it: `userName.id` is `user_name.id`.
///
/// # Errors
/// It is spelt with `_` already, and would not come back as it was.
pub(super) fn snake_case(path: &str) -> Result<String, Refusal> {
    let mut snake = String::with_capacity(path.len() + 4);
    for letter in path.chars() {
        match letter {
            '_' => return Err(Refusal::not(path, "path of a field mask as JSON spells it, such as `userName`")),
            letter if letter.is_ascii_uppercase() => snake.extend(['_', letter.to_ascii_lowercase()]),
            letter => snake.push(letter),
        }
    }
    Ok(snake)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: i32) -> Option<Seconds> {
        Some(Seconds { seconds, nanos })
    }

    #[test]
    fn durations() {
        let cases = [
            ("1.5s", at(1, 500_000_000)),
            ("-0.000000001s", at(0, -1)),
            ("-3s", at(-3, 0)),
            ("315576000000s", at(MAX_DURATION, 0)),
            ("315576000001s", None),
            ("1.5", None),
            ("s", None),
            (".5s", None),
            ("1.s", None),
            ("1.0000000001s", None),
            ("--1s", None),
            ("99999999999999999999s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn timestamps() {
        let cases = [
            ("1970-01-01T00:00:00Z", at(0, 0)),
            ("1969-12-31T23:59:59.5Z", at(-1, 500_000_000)),
            ("2024-02-29T12:00:00.000000001+01:00", at(1_709_204_400, 1)),
            ("9999-12-31T23:59:59.999999999Z", at(253_402_300_799, 999_999_999)),
            ("0000-12-31T23:59:59Z", None),
            ("2023-02-29T12:00:00Z", None),
            ("2024-02-29", None),
            ("2024-02-29t12:00:00Z", None),
            ("2024-02-29 12:00:00Z", None),
            ("2024-02-29T12:00:00z", None),
            ("2016-12-31T23:59:60Z", None),
            ("2024-02-29T12:00:00.1234567891Z", None),
            ("2024-02-29T12:00:00", None),
            ("2024-02-29T12:00:00.Z", None),
        ];
        for (text, expected) in cases {
            assert_eq!(timestamp(text).ok(), expected, "{text}");
        }
    }
}
