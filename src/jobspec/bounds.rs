//! Least and greatest values of numbers in a spec. What is larger than these is a slip of the keyboard, and would take
//! memory or threads that no machine has before anybody sees why.

use std::{fmt, time};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::{Bytes, Duration, Retry};

/// A whole number from `LEAST` to `MOST`.
///
/// # Errors
/// The value is none, or lies outside.
pub fn whole<'de, const LEAST: u64, const MOST: u64, N, D>(deserializer: D) -> Result<N, D::Error>
where
    N: TryFrom<usize>,
    D: Deserializer<'de>,
{
    let bounds = Whole { least: LEAST, most: MOST };
    let number = deserializer.deserialize_u64(bounds)?;
    let fitting = usize::try_from(number).ok().and_then(|number| N::try_from(number).ok());
    fitting.ok_or_else(|| D::Error::invalid_value(Unexpected::Unsigned(number), &bounds))
}

/// The same, where it may be left out.
///
/// # Errors
/// As [`whole`].
pub fn some_whole<'de, const LEAST: u64, const MOST: u64, N, D>(deserializer: D) -> Result<Option<N>, D::Error>
where
    N: TryFrom<usize>,
    D: Deserializer<'de>,
{
    struct Bounded<const LEAST: u64, const MOST: u64, N>(N);
    impl<'de, const LEAST: u64, const MOST: u64, N: TryFrom<usize>> Deserialize<'de> for Bounded<LEAST, MOST, N> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            whole::<LEAST, MOST, N, D>(deserializer).map(Bounded)
        }
    }
    Option::<Bounded<LEAST, MOST, N>>::deserialize(deserializer).map(|found| found.map(|Bounded(number)| number))
}

/// A size from `LEAST` to `MOST` bytes.
///
/// # Errors
/// The value is none, or lies outside.
pub fn size<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let size = Bytes::deserialize(deserializer)?;
    if (LEAST..=MOST).contains(&size.0) {
        return Ok(size);
    }
    let (least, most) = (Bytes(LEAST), Bytes(MOST));
    Err(D::Error::custom(format!("the size is out of range: expected from {least} to {most}")))
}

/// The same, where it may be left out.
///
/// # Errors
/// As [`size`].
pub fn some_size<'de, const LEAST: u64, const MOST: u64, D>(deserializer: D) -> Result<Option<Bytes>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Bounded<const LEAST: u64, const MOST: u64>(Bytes);
    impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Bounded<LEAST, MOST> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            size::<LEAST, MOST, D>(deserializer).map(Bounded)
        }
    }
    Option::<Bounded<LEAST, MOST>>::deserialize(deserializer).map(|found| found.map(|Bounded(size)| size))
}

/// A time to wait for something: [`Retry::LONGEST_WAIT`] at most.
///
/// # Errors
/// The value is none, or longer.
pub fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let wait = Duration::deserialize(deserializer)?;
    match wait.0 <= Retry::LONGEST_WAIT {
        true => Ok(wait),
        false => Err(D::Error::custom(format!("the time is too long: at most {}", Duration(Retry::LONGEST_WAIT)))),
    }
}

/// A time in which something must move: long enough for any machine to get round to it, or 0 for ever.
///
/// # Errors
/// The value is none, or shorter.
pub fn patience<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let patience = Duration::deserialize(deserializer)?;
    match patience.0.is_zero() || patience.0 >= SHORTEST_PATIENCE {
        true => Ok(patience),
        false => {
            let least = Duration(SHORTEST_PATIENCE);
            Err(D::Error::custom(format!("the time is too short: at least {least}, or `0s` for ever")))
        }
    }
}

const SHORTEST_PATIENCE: time::Duration = time::Duration::from_millis(100);

/// No duration in a spec is longer: a hundred years, which every clock and every sum of times can hold.
pub(super) const LONGEST: time::Duration = time::Duration::from_secs(36_500 * 24 * 60 * 60);

#[derive(Clone, Copy)]
struct Whole {
    least: u64,
    most: u64,
}

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from {} to {}", self.least, self.most)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        let is_legal = (self.least..=self.most).contains(&number);
        if is_legal { Ok(number) } else { Err(E::invalid_value(Unexpected::Unsigned(number), &self)) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}
