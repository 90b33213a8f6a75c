//! Types narrower than text: one way to decode them all.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{self, Visitor},
};

/// A type that a spec spells as text (or as a number) and that not every text is.
pub trait Narrow: Sized {
    /// What is expected, for messages: ``a duration such as `20ms` ``.
    const EXPECTED: &'static str;

    /// Stands in where the text is not known yet; any harmless value.
    fn unknown() -> Self;

    /// Parses the text. The error says what would be right, with a hint on a second line where there is one, and
    /// never repeats the text: it may be a secret.
    ///
    /// # Errors
    /// The text is none.
    fn from_text(text: &str) -> Result<Self, String>;

    /// From an integer, where one may stand for it.
    fn from_integer(_number: u64) -> Option<Self> {
        None
    }
}

/// What `Deserialize` of a [`Narrow`] type does.
///
/// # Errors
/// The value is not a text, or not one of the type's.
pub fn deserialize_narrow<'de, T: Narrow, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(NarrowVisitor(PhantomData))
}

struct NarrowVisitor<T>(PhantomData<T>);

impl<T: Narrow> Visitor<'_> for NarrowVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::from_integer(number).ok_or_else(|| E::invalid_type(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Ok(T::unknown())
    }
}
