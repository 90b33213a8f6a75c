//! How a job spec declares the columns of a file: `"name type"`, or a table where more is to be said.

use std::{borrow::Cow, collections::HashSet, fmt};

use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Column, ColumnType, Schema};
use crate::jobspec::{self, Path, Problem, Problems, SpecLocation};

/// A declared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// May a value be absent?
    pub nullable: bool,
    /// What stands between the items of a list in a text format; a comma unless given.
    pub separator: Option<String>,
    /// What becomes of a value that is not of the type.
    pub invalid: Invalid,
}

/// What becomes of a value that is not of its column's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    /// The record is rejected.
    #[default]
    Reject,
    /// The value is absent.
    Null,
    /// Of a list, the bad items are dropped and the good ones kept.
    DropItems,
}

impl ColumnSpec {
    /// A column of text that is always there.
    pub fn string(name: &str) -> Self {
        ColumnSpec {
            name: name.to_owned(),
            column_type: ColumnType::String,
            nullable: false,
            separator: None,
            invalid: Invalid::Reject,
        }
    }

    /// The byte between the items of a list.
    pub fn separator(&self) -> u8 {
        self.separator.as_ref().and_then(|text| text.bytes().next()).unwrap_or(b',')
    }
}

/// The schema of these columns, which stand at `at`. What is wrong with them is recorded.
pub fn schema(specs: &[ColumnSpec], at: &Path, problems: &mut Problems) -> Option<Schema> {
    if specs.is_empty() {
        problems.push(Problem::new("columns", SpecLocation::value(at.clone()), "no column is declared"));
        return None;
    }
    let mut sound = true;
    let mut names = HashSet::with_capacity(specs.len());
    for (i, spec) in specs.iter().enumerate() {
        let earlier = !names.insert(spec.name.as_str());
        let wrong = match earlier {
            true => Some((None, format!("column `{}` is declared twice", spec.name))),
            false => rule_broken(spec).map(|(key, message)| (Some(key), message)),
        };
        if let Some((key, message)) = wrong {
            let at = at.index(i);
            let at = key.map_or_else(|| at.clone(), |key| at.key(key));
            problems.push(Problem::new("columns", SpecLocation::value(at), message));
            sound = false;
        }
    }
    let column = |spec: &ColumnSpec| Column {
        name: spec.name.clone(),
        column_type: spec.column_type.clone(),
        nullable: spec.nullable,
    };
    sound.then(|| Schema::new(specs.iter().map(column).collect()))
}

/// The first rule that a declaration breaks by itself, and the key that does.
fn rule_broken(spec: &ColumnSpec) -> Option<(&'static str, String)> {
    let list = matches!(spec.column_type, ColumnType::List(_));
    let name = &spec.name;
    if spec.separator.is_some() && !list {
        return Some(("separator", format!("column `{name}` is not a list, so it has no `separator`")));
    }
    if spec.separator.as_ref().is_some_and(|text| !is_separator(text)) {
        let message = "a `separator` is one ASCII character, but no letter, digit, tab or line end";
        return Some(("separator", message.to_owned()));
    }
    let message = match spec.invalid {
        Invalid::DropItems if !list => format!("column `{name}` is not a list, so it has no items to drop"),
        Invalid::Null if !spec.nullable => format!("column `{name}` needs `nullable = true` to become null"),
        _ => return None,
    };
    Some(("invalid", message))
}

/// May this text stand between the items of a list?
pub fn is_separator(text: &str) -> bool {
    matches!(text.as_bytes(), [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\t\r\n\0".contains(byte))
}

impl<'de> Deserialize<'de> for ColumnSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpecVisitor)
    }
}

struct SpecVisitor;

impl<'de> Visitor<'de> for SpecVisitor {
    type Value = ColumnSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column, as \"name type\" or as a table with `name` and `type`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ColumnSpec, E> {
        let (name, column_type) = text
            .trim()
            .split_once(char::is_whitespace)
            .ok_or_else(|| E::custom(format!("`{text}` has no type: a column is \"name type\"")))?;
        let column_type = parse_type(column_type)?;
        Ok(ColumnSpec {
            name: name.to_owned(),
            column_type,
            nullable: false,
            separator: None,
            invalid: Invalid::Reject,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnSpec, A::Error> {
        let table = ColumnTable::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ColumnSpec {
            name: table.name,
            column_type: table.column_type.0,
            nullable: table.nullable,
            separator: table.separator,
            invalid: table.invalid,
        })
    }
}

/// A column that needs more than a name and a type.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ColumnTable {
    /// The column's name.
    name: String,
    /// The column's type.
    #[serde(rename = "type")]
    column_type: TypeName,
    /// May a value be absent?
    #[serde(default)]
    nullable: bool,
    /// What stands between the items of a list in a text format; a comma unless given.
    separator: Option<String>,
    /// What becomes of a value that is not of the type.
    #[serde(default)]
    invalid: Invalid,
}

/// A column type by its name.
struct TypeName(ColumnType);

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TypeVisitor)
    }
}

struct TypeVisitor;

impl Visitor<'_> for TypeVisitor {
    type Value = TypeName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column type, such as \"string\" or \"list<uint32>\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TypeName, E> {
        parse_type(text).map(TypeName)
    }
}

fn parse_type<E: de::Error>(text: &str) -> Result<ColumnType, E> {
    text.parse::<ColumnType>().map_err(|error| {
        let help = jobspec::nearest(&error.unknown, ColumnType::names().chain(["list<T>"]));
        // The line after the first is the hint: see `jobspec::decode`.
        E::custom(format!("`{}` is not a column type\n{}", error.unknown, help.unwrap_or_default()))
    })
}

const NAME_AND_TYPE: &str = "^\\s*\\S+\\s+\\S";

impl JsonSchema for ColumnSpec {
    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaText {
        let table = generator.subschema_for::<ColumnTable>();
        json_schema!({
            "description": "A column, as \"name type\" or as a table.",
            "oneOf": [{ "type": "string", "pattern": NAME_AND_TYPE }, table],
        })
    }
}

impl JsonSchema for TypeName {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaText {
        let names: Vec<&str> = ColumnType::names().collect();
        json_schema!({
            "description": "A column's type; `list<T>` is a list of values of type T.",
            "type": "string",
            "anyOf": [{ "enum": names }, { "pattern": "^list<.+>$" }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ColumnSpec, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let short = read(r#""apps list<uint32>""#).expect("short");
        assert_eq!(short, read(r#"{"name": "apps", "type": "list<uint32>"}"#).expect("long"));
        assert_eq!(short.separator(), b',');
        let long = r#"{"name": "a b", "type": "list<string>", "nullable": true, "separator": ";", "invalid": "null"}"#;
        let long = read(long).expect("all keys");
        assert_eq!(
            (long.name.as_str(), long.nullable, long.separator(), long.invalid),
            ("a b", true, b';', Invalid::Null)
        );
    }

    #[test]
    fn mistakes_name_what_would_be_right() {
        let cases = [
            (r#""apps list<uint23>""#, "`uint23` is not a column type\ndid you mean `uint32`?"),
            (r#"{"name": "a", "type": "text"}"#, "`text` is not a column type\nlegal here: `bool`"),
            (r#""apps""#, "`apps` has no type"),
            (r#"{"name": "a", "typ": "string"}"#, "unknown field `typ`"),
            (r#"{"name": "a"}"#, "missing field `type`"),
            ("7", "a column, as \"name type\""),
            (r#"{"name": "a", "type": "string", "invalid": "drop"}"#, "unknown variant `drop`"),
        ];
        for (json, message) in cases {
            let error = read(json).expect_err(json);
            assert!(error.contains(message), "{json}: {error}");
        }
    }

    #[test]
    fn declarations_that_make_no_sense_are_problems() {
        let cases = [
            (r#"[]"#, "no column is declared"),
            (r#"["a string", "a date"]"#, "column `a` is declared twice"),
            (r#"[{"name": "a", "type": "string", "separator": ","}]"#, "is not a list, so it has no `separator`"),
            (r#"[{"name": "a", "type": "list<string>", "separator": "||"}]"#, "is one ASCII character"),
            (r#"[{"name": "a", "type": "list<string>", "separator": "x"}]"#, "is one ASCII character"),
            (r#"[{"name": "a", "type": "string", "invalid": "drop_items"}]"#, "no items to drop"),
            (r#"[{"name": "a", "type": "int8", "invalid": "null"}]"#, "needs `nullable = true`"),
        ];
        for (json, message) in cases {
            let specs: Vec<ColumnSpec> = serde_json::from_str(json).expect("decodes");
            let mut problems = Problems::default();
            assert!(schema(&specs, &Path::default().key("columns"), &mut problems).is_none());
            assert!(problems.iter().any(|problem| problem.message.contains(message)), "{json}: {problems:?}");
        }
    }

    #[test]
    fn the_schema_offers_both_spellings() {
        let text = serde_json::to_string(&schemars::schema_for!(ColumnSpec)).expect("a schema");
        assert!(text.contains(r#""oneOf""#) && text.contains("nullable") && text.contains("timestamp_ns"), "{text}");
    }
}
