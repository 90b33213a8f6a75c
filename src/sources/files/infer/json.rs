//! The types of the fields of JSON objects, by their values.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::text::{TextShape, is_number, is_whole};
use crate::batch::ColumnType;

/// What the objects of a file have in common.
#[derive(Default)]
pub(super) struct JsonShape {
    fields: Vec<(String, ValueShape)>,
    places: HashMap<String, usize>,
}

impl JsonShape {
    /// One more object; what is none teaches nothing.
    pub(super) fn add(&mut self, line: &str) {
        let Ok(Fields(fields)) = serde_json::from_str::<Fields<'_>>(line) else { return };
        for (name, value) in fields {
            let place = *self.places.entry(name).or_insert_with_key(|name| {
                self.fields.push((name.clone(), ValueShape::default()));
                self.fields.len() - 1
            });
            self.fields[place].1.add(value.get());
        }
    }

    /// The fields in the order in which they came first, with their types.
    pub(super) fn columns(self) -> Vec<(String, ColumnType)> {
        self.fields.into_iter().map(|(name, shape)| (name, shape.column_type())).collect()
    }
}

/// The fields of an object, values as they are written.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

/// What the values of a field have in common.
#[derive(Default)]
struct ValueShape {
    bools: bool,
    whole: bool,
    /// Is one of the whole numbers none that a `float64` can tell from its neighbours?
    beyond: bool,
    floats: bool,
    /// The texts, where there are any.
    texts: Option<TextShape>,
    /// The items of the lists, where there are any.
    items: Option<Box<ValueShape>>,
    /// Is there a value that only `json` keeps as it is?
    others: bool,
}

impl ValueShape {
    /// One more value.
    fn add(&mut self, value: &str) {
        match value.as_bytes().first() {
            Some(b'n') | None => {}
            Some(b't' | b'f') => self.bools = true,
            // Half of a surrogate pair is not text.
            Some(b'"') if value.contains('\\') && serde_json::from_str::<Cow<'_, str>>(value).is_err() => {
                self.others = true;
            }
            Some(b'"') => {
                let text = value.trim_matches('"');
                self.texts.get_or_insert_default().add(text.as_bytes());
            }
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(value) {
                Ok(items) => {
                    let shape = self.items.get_or_insert_default();
                    items.iter().for_each(|item| shape.add(item.get()));
                }
                Err(_) => self.others = true,
            },
            Some(b'{') => self.others = true,
            Some(_) => self.add_number(value.as_bytes()),
        }
    }

    fn add_number(&mut self, text: &[u8]) {
        match (is_whole(text), is_number(text)) {
            (true, exact) => {
                self.whole = true;
                self.beyond |= !exact;
            }
            (false, true) => self.floats = true,
            // Read as a number, it would be written otherwise.
            (false, false) => self.others = true,
        }
    }

    /// The narrowest type that keeps all values.
    fn column_type(&self) -> ColumnType {
        let numbers = self.whole || self.floats;
        match (self.bools, numbers, &self.texts, &self.items, self.others) {
            (true, false, None, None, false) => ColumnType::Bool,
            (false, true, None, None, false) if self.floats && self.beyond => ColumnType::Json,
            (false, true, None, None, false) if self.floats => ColumnType::Float64,
            (false, true, None, None, false) => ColumnType::Int64,
            (false, false, Some(texts), None, false) => match texts.column_type() {
                found @ (ColumnType::Date | ColumnType::Timestamp) => found,
                // Text in quotes that looks like a number is text.
                _ => ColumnType::String,
            },
            (false, false, None, Some(items), false) => match items.column_type() {
                ColumnType::Json | ColumnType::List(_) => ColumnType::Json,
                item => ColumnType::List(Box::new(item)),
            },
            _ => ColumnType::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_type_that_keeps_all_values() {
        let cases: &[(&[&str], &str)] = &[
            (&["null"], "json"),
            (&["true", "null", "false"], "bool"),
            (&["1", "-2", "9223372036854775807"], "int64"),
            (&["1", "2.5"], "float64"),
            (&["1e3"], "json"),
            (&["1e-7"], "float64"),
            (&["1.50"], "json"),
            (&["1.5", "9007199254740993"], "json"),
            (&["2.22507e-308"], "float64"),
            (&["1e999"], "json"),
            (&["9223372036854775808"], "json"),
            (&["1", "\"1\""], "json"),
            (&["\"1\"", "\"2\""], "string"),
            (&["\"true\""], "string"),
            (&["\"\""], "string"),
            (&["\"2024-01-31\""], "date"),
            (&["\"2024-01-31\"", "\"2024-01-31T10:00:00Z\""], "timestamp"),
            (&["\"2024-01-31\"", "\"soon\""], "string"),
            (&["\"\\u0032024-01-31\""], "string"),
            (&["\"a\\ud83d\\ude00\""], "string"),
            (&["\"a\\ud83d\"", "\"b\""], "json"),
            (&["[\"\\ude00\"]"], "json"),
            (&["{}"], "json"),
            (&["{\"a\":1}", "null"], "json"),
            (&["[]"], "json"),
            (&["[null]"], "json"),
            (&["[1,null]", "[]"], "list<int64>"),
            (&["[1,2.5]"], "list<float64>"),
            (&["[\"a\",\"b\"]", "null"], "list<string>"),
            (&["[\"2024-01-31\"]"], "list<date>"),
            (&["[1,\"a\"]"], "json"),
            (&["[[1]]"], "json"),
            (&["[{}]"], "json"),
            (&["[1]", "1"], "json"),
        ];
        for (values, expected) in cases {
            let mut shape = JsonShape::default();
            values.iter().for_each(|value| shape.add(&format!("{{\"a\": {value} }}")));
            let columns = shape.columns();
            let [(name, column_type)] = columns.as_slice() else { panic!("{values:?}: {columns:?}") };
            assert_eq!((name.as_str(), column_type.to_string().as_str()), ("a", *expected), "{values:?}");
        }
    }

    #[test]
    fn fields_come_in_the_order_of_their_first_mention() {
        let mut shape = JsonShape::default();
        for line in ["{\"b\":1,\"a\":true}", "no json", "[1]", "{\"c\":\"x\",\"\\u0061\":false,\"b\":2}", ""] {
            shape.add(line);
        }
        let columns: Vec<String> = shape.columns().iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        assert_eq!(columns, ["b int64", "a bool", "c string"]);
    }
}
