//! The error type of the deserializer: what is wrong, and the way to it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::jobspec::{Path, Step};

/// One mistake. The steps of its path are in reverse: they are added on the way up.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) kind: Kind,
    steps: Vec<Step>,
}

/// What is wrong.
#[derive(Debug)]
pub(super) enum Kind {
    /// The table at the path has a key that it may not have.
    UnknownKey { key: String, legal: &'static [&'static str] },
    /// The only key of the table at the path is none of those that are legal.
    UnknownTag { key: String, legal: &'static [&'static str] },
    /// The table at the path lacks a key.
    MissingKey { key: &'static str },
    /// The word is none of those that are legal.
    UnknownWord { word: String, legal: &'static [&'static str] },
    /// The value has the wrong type.
    Type { expected: String, found: String },
    /// The value has the right type and is too small or too large.
    OutOfRange { expected: String, found: String },
    /// What a type's own code said.
    Custom(String),
    /// An unknown value could not stand in for what was asked.
    Unknown,
}

impl Mistake {
    pub(super) fn new(kind: Kind) -> Self {
        Mistake { kind, steps: Vec::new() }
    }

    pub(super) fn wrong_type(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Mistake::new(Kind::Type { expected: expected.into(), found: found.into() })
    }

    /// The same, one level further up.
    pub(super) fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The way from the decoded value to the mistake.
    pub(super) fn path(&self) -> Path {
        Path(self.steps.iter().rev().cloned().collect())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::UnknownKey { key, .. } | Kind::UnknownTag { key, .. } => write!(f, "unknown key `{key}`"),
            Kind::MissingKey { key } => write!(f, "missing key `{key}`"),
            Kind::UnknownWord { word, .. } => write!(f, "unknown `{word}`"),
            Kind::Type { expected, found } => write!(f, "expected {expected}, found {found}"),
            Kind::OutOfRange { expected, found } => write!(f, "{found} is out of range: expected {expected}"),
            Kind::Custom(message) => f.write_str(message),
            Kind::Unknown => f.write_str("the value is not known"),
        }
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Mistake::new(Kind::Custom(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Mistake::wrong_type(plain(&expected.to_string()), describe(found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = plain(&expected.to_string());
        match found {
            Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => {
                let found = match found {
                    Unexpected::Signed(number) => format!("`{number}`"),
                    Unexpected::Unsigned(number) => format!("`{number}`"),
                    _ => "the number".to_owned(),
                };
                Mistake::new(Kind::OutOfRange { expected, found })
            }
            // The content of a text stays out of the message: it may come from the environment.
            _ => Mistake::new(Kind::Custom(format!("expected {expected}"))),
        }
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Mistake::wrong_type(plain(&expected.to_string()), format!("a list of {length}"))
    }

    fn unknown_variant(word: &str, legal: &'static [&'static str]) -> Self {
        Mistake::new(Kind::UnknownWord { word: word.to_owned(), legal })
    }

    fn unknown_field(key: &str, legal: &'static [&'static str]) -> Self {
        Mistake::new(Kind::UnknownKey { key: key.to_owned(), legal })
    }

    fn missing_field(key: &'static str) -> Self {
        Mistake::new(Kind::MissingKey { key })
    }
}

/// What was found, by its type alone.
fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number with a point",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit => "an unknown value",
        Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map | Unexpected::NewtypeStruct | Unexpected::StructVariant => "a table",
        Unexpected::Other(other) => return other.to_owned(),
        _ => "another value",
    }
    .to_owned()
}

/// What is expected where it is a boolean.
pub(super) const BOOLEAN: &str = "`true` or `false`";

/// Serde's words for what it expects, in the words of a spec. What a type of ours says is left as it is.
fn plain(expected: &str) -> String {
    let range = |low: i128, high: u128| format!("an integer from {low} to {high}");
    match expected {
        "u8" => range(0, u8::MAX.into()),
        "u16" => range(0, u16::MAX.into()),
        "u32" => range(0, u32::MAX.into()),
        "i8" => range(i8::MIN.into(), i8::MAX as u128),
        "i16" => range(i16::MIN.into(), i16::MAX as u128),
        "i32" => range(i32::MIN.into(), i32::MAX as u128),
        "u64" | "u128" | "usize" => "an integer from 0 on".to_owned(),
        "i64" | "i128" | "isize" => "an integer".to_owned(),
        nonzero if nonzero.starts_with("a nonzero") => "an integer from 1 on".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => BOOLEAN.to_owned(),
        "a string" | "a borrowed string" => "text".to_owned(),
        "a character" => "one character".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        tuple if tuple.starts_with("a tuple of size ") => tuple.replace("a tuple of size ", "a list of "),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}
