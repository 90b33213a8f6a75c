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
    kind::Context,
    spec::{Place, Problem},
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
        let named: Vec<(&String, &String, Place, Place)> = match self {
            On::Same(names) => {
                let place = |i| Place::value(at.index(i));
                names.iter().enumerate().map(|(i, name)| (name, name, place(i), place(i))).collect()
            }
            On::Pairs(pairs) => {
                let both = |name: &String| (Place::key(at.entry(name)), Place::value(at.entry(name)));
                pairs.iter().map(|(a, b)| (a, b, both(a).0, both(a).1)).collect()
            }
        };
        if named.is_empty() {
            context.problems.push(Problem::new("empty", Place::value(at), "a join needs a column to join on"));
            return None;
        }
        let mut found = Vec::new();
        for (left_name, right_name, left_place, right_place) in named {
            let pair = match (left.find(left_name), right.find(right_name)) {
                (Some(a), Some(b)) if a.1.column_type == b.1.column_type => Some((a.0, b.0)),
                (Some((_, a)), Some((_, b))) => {
                    let (a, b) = (&a.column_type, &b.column_type);
                    let message = format!("`{left_name}` is {a} on the left, `{right_name}` is {b} on the right");
                    let help = Some("bring both to one type with `cast` in a `select`".to_owned());
                    context.problems.push(Problem::new("type", right_place, message).help(help));
                    None
                }
                (a, b) => {
                    let missing =
                        [(a, left_place, left_name, left, "left"), (b, right_place, right_name, right, "right")];
                    for (_, place, name, schema, side) in missing.into_iter().filter(|(found, ..)| found.is_none()) {
                        let mut problem = unknown_column(place, name, schema);
                        problem.message += &format!(" on the {side}");
                        context.problems.push(problem);
                    }
                    None
                }
            };
            found.push(pair);
        }
        found.into_iter().collect()
    }
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
