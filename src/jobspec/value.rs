//! A spec's values as both spellings have them. Tables keep their written order: it is the order of columns.

use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::{Path, Step};

/// A table in its written order.
pub type Table = IndexMap<String, Value>;

/// One value of a spec.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// YAML's `null`
    Null,
    /// A boolean
    Bool(bool),
    /// An integer; wide enough for `int64` and `uint64`
    Int(i128),
    /// A number with a point
    Float(f64),
    /// Text as it stands in the spec
    Text(String),
    /// Text that a substitution put together: it may also be read as a number or a boolean
    Substituted(String),
    /// A list
    List(Vec<Value>),
    /// A table
    Table(Table),
    /// Stands where a problem has been recorded already, or where an environment variable is not known
    /// while checking: decodes as whatever is asked for, so that the rest can be checked.
    Unknown,
}

impl Value {
    /// What it is, for messages: `text`, `an integer`. Never its content.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number with a point",
            Value::Text(_) | Value::Substituted(_) => "text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Unknown => "an unknown value",
        }
    }

    /// The text, where it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Substituted(text) => Some(text),
            _ => None,
        }
    }

    /// The table, where it is one.
    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value at `path`, counted from here.
    pub fn get(&self, path: &Path) -> Option<&Value> {
        path.0.iter().try_fold(self, |value, step| match (value, step) {
            (Value::Table(table), Step::Key(key)) => table.get(key),
            (Value::List(items), Step::Index(index)) => items.get(*index),
            // One text may stand for a list of one.
            (Value::Text(_) | Value::Substituted(_), Step::Index(0)) => Some(value),
            _ => None,
        })
    }

    /// The value at `path`, counted from here, to be changed.
    pub fn get_mut(&mut self, path: &Path) -> Option<&mut Value> {
        path.0.iter().try_fold(self, |value, step| match (value, step) {
            (Value::Table(table), Step::Key(key)) => table.get_mut(key),
            (Value::List(items), Step::Index(index)) => items.get_mut(*index),
            (text @ (Value::Text(_) | Value::Substituted(_)), Step::Index(0)) => Some(text),
            _ => None,
        })
    }
}

/// The name under which [`Value`] asks a deserializer for a value as it is; see `decode`.
pub(super) const AS_IT_IS: &str = "runner::jobspec::Value";

/// A field of this type takes any value: a constant of a definition, a filter's operand.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(AS_IT_IS, AnyValue)
    }
}

impl JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v.into()))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Int(v.into()))
    }

    fn visit_i128<E: de::Error>(self, v: i128) -> Result<Value, E> {
        Ok(Value::Int(v))
    }

    fn visit_u128<E: de::Error>(self, v: u128) -> Result<Value, E> {
        i128::try_from(v).map(Value::Int).map_err(|_| E::custom("the integer is too large"))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_owned()))
    }

    /// Only our own deserializer calls this: it is how substituted text stays known as such.
    fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Value, E> {
        Ok(Value::Substituted(String::from_utf8_lossy(v).into_owned()))
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Unknown)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut table = Table::new();
        while let Some((key, value)) = access.next_entry()? {
            table.insert(key, value);
        }
        Ok(Value::Table(table))
    }
}
