//! The keys that every sink of a table has.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{batch::ColumnType, jobspec::nearest, kind::Order};

/// The keys of a spec that describe the table and what is written to it. Each kind decodes them among its own.
pub(in crate::sinks) struct Keys {
    pub(in crate::sinks) table: String,
    pub(in crate::sinks) create: Create,
    pub(in crate::sinks) columns: Option<Vec<String>>,
    pub(in crate::sinks) returning: Option<Vec<Returning>>,
    pub(in crate::sinks) mode: WriteMode,
    pub(in crate::sinks) conflict: Option<Vec<String>>,
    pub(in crate::sinks) order: Option<Order>,
    pub(in crate::sinks) receipts: Option<ReceiptsKey>,
    pub(in crate::sinks) before: Vec<String>,
    pub(in crate::sinks) after: Vec<String>,
}

/// What becomes of the table before the first row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TableCreate")]
pub(in crate::sinks) enum Create {
    /// It is made if it is not there.
    #[default]
    IfMissing,
    /// It must be there.
    Never,
    /// It is emptied, or made if it is not there. Its columns, keys, indexes and privileges stay.
    Truncate,
    /// It is dropped and made anew.
    Replace,
}

/// What becomes of a row that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TableWrite")]
pub(in crate::sinks) enum WriteMode {
    /// It is a reject where the table does not allow it twice.
    #[default]
    Insert,
    /// It takes the values of the new one.
    Upsert,
    /// It stays as it is, and counts as stored.
    Ignore,
}

/// A column that the database gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct Returning {
    pub(super) name: String,
    pub(super) column_type: Option<ColumnType>,
}

impl<'de> Deserialize<'de> for Returning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ReturningVisitor)
    }
}

struct ReturningVisitor;

impl Visitor<'_> for ReturningVisitor {
    type Value = Returning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column, as a name or \"name type\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Returning, E> {
        let Some((name, column_type)) = text.trim().split_once(char::is_whitespace) else {
            return Ok(Returning { name: text.trim().to_owned(), column_type: None });
        };
        let parsed = column_type.parse::<ColumnType>().map_err(|error| {
            let help = nearest(&error.unknown, ColumnType::names().chain(["list<T>"]));
            E::custom(format!("`{}` is not a column type; {}", error.unknown, help.unwrap_or_default()))
        })?;
        Ok(Returning { name: name.to_owned(), column_type: Some(parsed) })
    }

    /// Stands for a value that is not known while a spec is only checked.
    fn visit_unit<E: de::Error>(self) -> Result<Returning, E> {
        Ok(Returning { name: String::new(), column_type: None })
    }
}

impl JsonSchema for Returning {
    fn schema_name() -> Cow<'static, str> {
        "ReturnedColumn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaText {
        json_schema!({ "type": "string", "minLength": 1, "description": "A column, as a name or \"name type\"." })
    }
}

/// Where receipts of splits are kept, by which a run is resumed without storing a row twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) enum ReceiptsKey {
    /// Nowhere.
    None,
    /// In a table.
    In { schema: Option<String>, table: Option<String> },
}

/// A table for receipts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReceiptsTable {
    /// Its schema, where the database has such; that of the table that is written to unless given.
    schema: Option<String>,
    /// Its name; `_runner_receipts` unless given.
    table: Option<String>,
}

impl<'de> Deserialize<'de> for ReceiptsKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReceiptsVisitor)
    }
}

struct ReceiptsVisitor;

impl<'de> Visitor<'de> for ReceiptsVisitor {
    type Value = ReceiptsKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`{ schema = \"…\", table = \"…\" }`, or \"none\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ReceiptsKey, E> {
        match text {
            "none" => Ok(ReceiptsKey::None),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    /// Stands for a value that is not known while a spec is only checked.
    fn visit_unit<E: de::Error>(self) -> Result<ReceiptsKey, E> {
        Ok(ReceiptsKey::In { schema: None, table: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ReceiptsKey, A::Error> {
        let ReceiptsTable { schema, table } = ReceiptsTable::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ReceiptsKey::In { schema, table })
    }
}

impl JsonSchema for ReceiptsKey {
    fn schema_name() -> Cow<'static, str> {
        "Receipts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaText {
        let table = generator.subschema_for::<ReceiptsTable>();
        json_schema!({
            "description": "Where receipts of splits are kept: a table, or \"none\", and then a split may be stored twice.",
            "oneOf": [{ "const": "none" }, table],
        })
    }
}
