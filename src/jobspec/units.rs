//! Values narrower than text: durations, sizes, limits, retries.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, RandomState},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::{
    bounds,
    narrow::{Narrow, deserialize_narrow},
};

/// A duration such as `20ms`, `12h`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub std::time::Duration);

/// A size in bytes such as `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// How many rejects a job may have: a count, or a share of the records read (`"1%"`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RejectLimit {
    /// So many records.
    Count(u64),
    /// A share of the records read, 0 to 1.
    Share(f64),
}

/// A share of something, such as `99%`: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

/// How often and how patiently an operation on a service is tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries in all; as many as `total` has time for where it is left out.
    #[serde(deserialize_with = "bounds::some_whole::<1, 1000, _, _>")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: Option<u32>,
    /// Pause before the second try; doubled before each further one up to 5 s, with jitter.
    #[serde(deserialize_with = "bounds::wait")]
    pub backoff: Duration,
    /// Limit of one try.
    #[serde(deserialize_with = "bounds::wait")]
    pub timeout: Duration,
    /// No try begins later than this after the first one failed. A server that was never reached in the run is given
    /// up after 5 s, and none is waited for beyond the job's `deadline`.
    #[serde(deserialize_with = "bounds::wait")]
    pub total: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: None,
            backoff: Duration(std::time::Duration::from_millis(20)),
            timeout: Duration(std::time::Duration::from_secs(3)),
            total: Duration(std::time::Duration::from_secs(30)),
        }
    }
}

impl Retry {
    /// Waits longer than this are taken for it, so that no sum of times overflows.
    pub const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

    /// No pause is longer than this, so that a server that is there again is soon found.
    pub const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

    /// A server that was never reached is given up after this time.
    pub const NEVER_REACHED: std::time::Duration = std::time::Duration::from_secs(5);

    /// What `runner plan` says of it; `each` is what one try is limited to.
    pub fn note(&self, each: &str) -> String {
        let Retry { attempts, backoff, total, .. } = self;
        let attempts = attempts.map_or("attempts".to_owned(), |attempts| format!("{attempts} attempts"));
        format!("{attempts} {each}, {total} in all, backoff {backoff} doubling")
    }

    /// How long to wait after attempt number `attempt`, from 1: doubled each time, less up to half of it at random so
    /// that workers do not come back all at once.
    pub fn pause(&self, attempt: u32) -> std::time::Duration {
        let full = self.backoff.0.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(Self::LONGEST_PAUSE);
        let share = RandomState::new().hash_one(attempt) as f64 / u64::MAX as f64;
        full.mul_f64(1.0 - share / 2.0)
    }
}

/// Text that may hold `${VAR}`; what is decoded is what stands there after substitution.
pub type Text = String;

/// Units of time in microseconds, the largest first.
const TIMES: &[(&str, u64)] =
    &[("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Units of size in bytes, the largest first of those that a size is printed in.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Narrow for Duration {
    const EXPECTED: &'static str = "a duration such as `20ms`, `3s`, `12h` or `1h30m`";

    fn unknown() -> Self {
        Duration(std::time::Duration::from_secs(1))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let expected = || format!("expected {}", Self::EXPECTED);
        let mut rest = text;
        let mut total: u64 = 0;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let (number, after) = integer(rest).ok_or_else(expected)?;
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let unknown = || format!("{}\nthe units are `us`, `ms`, `s`, `m`, `h`, `d`", expected());
            let (_, micros) = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(unknown)?;
            if *micros >= last_unit {
                return Err(format!("{}\nthe units go from large to small", expected()));
            }
            last_unit = *micros;
            let more = number.checked_mul(*micros).and_then(|part| total.checked_add(part));
            total = more.unwrap_or(u64::MAX);
            rest = after;
        }
        match std::time::Duration::from_micros(total) {
            _ if text.is_empty() => Err(expected()),
            total if total > bounds::LONGEST => {
                Err(format!("the duration is too long: at most {}", Duration(bounds::LONGEST)))
            }
            total => Ok(Duration(total)),
        }
    }
}

impl std::str::FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, micros) in TIMES {
            if left >= *micros {
                write!(f, "{}{unit}", left / micros)?;
                left %= micros;
            }
        }
        Ok(())
    }
}

impl Narrow for Bytes {
    const EXPECTED: &'static str = "a size such as `64KiB`, `1MiB` or `512`";

    fn unknown() -> Self {
        Bytes(1 << 20)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let expected = || format!("expected {}", Self::EXPECTED);
        let (number, unit) = integer(text).ok_or_else(expected)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let unknown =
            || format!("{}\nthe units are `B`, `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB`, `TB`", expected());
        let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(unknown)?;
        number.checked_mul(*bytes).map(Bytes).ok_or_else(|| "the size is too large".to_owned())
    }

    fn from_integer(number: u64) -> Option<Self> {
        Some(Bytes(number))
    }
}

impl Bytes {
    /// A size for people, to a tenth.
    pub(crate) fn about(bytes: u64) -> String {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match units.iter().find(|(_, shift)| bytes >> shift > 0) {
            Some((unit, shift)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
            None => format!("{bytes} B"),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*bytes);
        match SIZES.iter().find(fits) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Narrow for RejectLimit {
    const EXPECTED: &'static str = "a number of records, or a share such as `1%`";

    fn unknown() -> Self {
        RejectLimit::Count(0)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let expected = || format!("expected {}", Self::EXPECTED);
        match text.strip_suffix('%') {
            None => text.parse().map(RejectLimit::Count).map_err(|_| expected()),
            Some(percent) => share(percent, expected).map(RejectLimit::Share),
        }
    }

    fn from_integer(number: u64) -> Option<Self> {
        Some(RejectLimit::Count(number))
    }
}

impl Narrow for Share {
    const EXPECTED: &'static str = "a share such as `99%`";

    fn unknown() -> Self {
        Share(0.0)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let expected = || format!("expected {}", Self::EXPECTED);
        share(text.strip_suffix('%').ok_or_else(expected)?, expected).map(Share)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Dividing by 100 and multiplying again may leave a last digit that nobody wrote.
        write!(f, "{}%", (self.0 * 1e14).round() / 1e12)
    }
}

/// The share that a number of per cents is.
fn share(percent: &str, expected: impl Fn() -> String) -> Result<f64, String> {
    if !percent.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(expected());
    }
    match percent.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Ok(_) => Err("a share is at most `100%`".to_owned()),
        Err(_) => Err(expected()),
    }
}

impl fmt::Display for RejectLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RejectLimit::Count(count) => write!(f, "{count}"),
            RejectLimit::Share(share) => Share(*share).fmt(f),
        }
    }
}

/// Splits digits off the front.
fn integer(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

macro_rules! narrow {
    ($type:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_narrow(deserializer)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

narrow!(Duration, {
    "type": "string",
    "description": "A duration: numbers with the units `d`, `h`, `m`, `s`, `ms`, `us`, from large to small.",
    "pattern": r"^([0-9]+(d|h|m|s|ms|us))+$|\$\{",
    "examples": ["20ms", "3s", "12h", "1h30m"],
});

narrow!(Bytes, {
    "type": ["integer", "string"],
    "description": "A size: a number of bytes, or a number with one of the units `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB`, `TB`.",
    "minimum": 0,
    "pattern": r"^[0-9]+(B|[KMGT]iB|[kKMGT]B)?$|\$\{",
    "examples": ["64KiB", "1MiB", 512],
});

narrow!(Share, {
    "type": "string",
    "description": "A share: a number of per cents.",
    "pattern": r"^[0-9]+(\.[0-9]+)?%$|\$\{",
    "examples": ["99%", "99.5%"],
});

narrow!(RejectLimit, {
    "type": ["integer", "string"],
    "description": "How many rejected records a job may have: a number, or a share of the records read.",
    "minimum": 0,
    "pattern": r"^[0-9]+$|^[0-9]+(\.[0-9]+)?%$|\$\{",
    "examples": [0, 5, "1%", "0.5%"],
});

#[cfg(test)]
#[path = "tests/units.rs"]
mod tests;
