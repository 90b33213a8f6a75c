//! Access to json: `entry ->> 'title'` and `entry -> 'items'`. Only what the path leads to is built; the rest of a
//! document is read past.

use std::{fmt, sync::Arc};

use arrow_array::{ArrayRef, builder::StringViewBuilder};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::{Body, Call, Function, Parameter, Returns};
use crate::{batch::ColumnType, expr::text::Strings};

use Parameter::{JsonPath, Text};

/// The table: the operators `->` and `->>` are these functions.
pub(super) const TABLE: &[Function] = &[
    Function {
        name: "json_extract",
        parameters: &[Text, JsonPath],
        optional: 0,
        returns: Returns::Type(ColumnType::Json),
        body: Body::CheckedPartial(extract),
    },
    Function {
        name: "json_extract_string",
        parameters: &[Text, JsonPath],
        optional: 0,
        returns: Returns::Type(ColumnType::String),
        body: Body::CheckedPartial(extract_string),
    },
];

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Into an object
    Key(String),
    /// Into an array, from 0
    Index(usize),
}

/// Is `text` a path: a key, or `$` and steps `.key` and `[0]`?
pub(super) fn is_path(text: &str) -> bool {
    steps(text).is_some()
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let Some(mut rest) = text.strip_prefix('$') else { return Some(vec![Step::Key(text.to_owned())]) };
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(indexed) = rest.strip_prefix('[') {
            let (index, after) = indexed.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        } else {
            let named = rest.strip_prefix('.')?;
            let end = named.find(['.', '[']).unwrap_or(named.len());
            if end == 0 {
                return None;
            }
            steps.push(Step::Key(named[..end].to_owned()));
            rest = &named[end..];
        }
    }
    Some(steps)
}

fn extract(call: Call<'_, '_>) -> ArrayRef {
    each(call, |found| Some(found.to_string()))
}

/// Strings lose their quotes, and json's null is null.
fn extract_string(call: Call<'_, '_>) -> ArrayRef {
    each(call, |found| match found {
        Json::Null => None,
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

fn each(call: Call<'_, '_>, text_of: fn(Json) -> Option<String>) -> ArrayRef {
    let documents = Strings::of(&call.arguments[0]);
    let path = Strings::of(&call.arguments[1]).constant().and_then(steps).unwrap_or_default();
    let mut builder = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if !call.is_valid(row) {
            builder.append_null();
            continue;
        }
        let text = documents.get(row);
        let mut reader = serde_json::Deserializer::from_str(text);
        match Find(&path).deserialize(&mut reader).and_then(|found| reader.end().map(|()| found)) {
            Ok(found) => builder.append_option(found.and_then(text_of)),
            Err(error) => {
                call.faults.report(row, || format!("not json: {error}"));
                builder.append_null();
            }
        }
    }
    Arc::new(builder.finish())
}

/// Reads a document and keeps what the path leads to.
struct Find<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<Json>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => serde::Deserialize::deserialize(reader).map(Some),
            _ => reader.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Json>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(KeyIs(self.0.first()))? {
            match (is_wanted, self.0) {
                (true, [_, rest @ ..]) => found = map.next_value_seed(Find(rest))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let [Step::Index(index), rest @ ..] = self.0 {
            for _ in 0..*index {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element_seed(Find(rest))?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Compares a key without keeping it.
struct KeyIs<'p>(Option<&'p Step>);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(matches!(self.0, Some(Step::Key(wanted)) if wanted == key))
    }
}
