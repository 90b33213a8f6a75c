//! Which columns of both sides must agree.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::unknown_column;
use crate::{
    batch::Schema,
    jobspec::{Problem, SpecLocation},
    kind::Context,
};

/// Names on the left and on the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// The same on both sides
    Same(Vec<String>),
    /// Left and right
    Pairs(Vec<(String, String)>),
}

impl On {
    /// The places of the columns on either side. What is wrong is recorded.
    pub(super) fn pairs(
        &self,
        context: &mut Context<'_>,
        left: &Schema,
        right: &Schema,
    ) -> Option<Vec<(usize, usize)>> {
        let at = context.path.key("on");
        let named: Vec<(&String, &String, SpecLocation, SpecLocation)> = match self {
            On::Same(names) => {
                let place = |i| SpecLocation::value(at.index(i));
                names.iter().enumerate().map(|(i, name)| (name, name, place(i), place(i))).collect()
            }
            On::Pairs(pairs) => {
                let both = |name: &String| (SpecLocation::key(at.entry(name)), SpecLocation::value(at.entry(name)));
                pairs.iter().map(|(a, b)| (a, b, both(a).0, both(a).1)).collect()
            }
        };
        if named.is_empty() {
            context.problems.push(Problem::new("empty", SpecLocation::value(at), "a join needs a column to join on"));
            return None;
        }
        let pairs: Vec<Option<(usize, usize)>> = named
            .into_iter()
            .map(|(a, b, a_place, b_place)| pair(context, (left, a, a_place), (right, b, b_place)))
            .collect();
        pairs.into_iter().collect()
    }
}

/// A side, the name of a column there, and where it stands in the spec.
type Named<'a> = (&'a Schema, &'a str, SpecLocation);

/// The places of two columns that must agree. They have one type.
fn pair(context: &mut Context<'_>, left: Named<'_>, right: Named<'_>) -> Option<(usize, usize)> {
    let (a, b) = (left.0.find(left.1), right.0.find(right.1));
    if let (Some((a, left_column)), Some((b, right_column))) = (a, b) {
        let (left_type, right_type) = (&left_column.column_type, &right_column.column_type);
        if left_type == right_type {
            return Some((a, b));
        }
        let message = format!("`{}` is {left_type} on the left, `{}` is {right_type} on the right", left.1, right.1);
        let help = Some("bring both to one type with `cast` in a `select`".to_owned());
        context.problems.push(Problem::new("type", right.2, message).help(help));
        return None;
    }
    for (found, (schema, name, place), side) in [(a, left, "left"), (b, right, "right")] {
        if found.is_none() {
            let mut problem = unknown_column(place, name, schema);
            problem.message += &format!(" on the {side}");
            context.problems.push(problem);
        }
    }
    None
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Same(names) => f.write_str(&names.join(", ")),
            On::Pairs(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} = {b}")).collect();
                f.write_str(&pairs.join(", "))
            }
        }
    }
}

impl<'de> Deserialize<'de> for On {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnVisitor)
    }
}

struct OnVisitor;

impl<'de> Visitor<'de> for OnVisitor {
    type Value = On;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of columns, or a table of left and right columns")
    }

    /// Stands for a value that is not known while a spec is only checked.
    fn visit_unit<E: de::Error>(self) -> Result<On, E> {
        Ok(On::Same(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<On, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(On::Same(names))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<On, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = table.next_entry()? {
            pairs.push(pair);
        }
        Ok(On::Pairs(pairs))
    }
}

impl JsonSchema for On {
    fn schema_name() -> Cow<'static, str> {
        "JoinOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaText {
        json_schema!({
            "oneOf": [
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                { "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1 }
            ]
        })
    }
}
