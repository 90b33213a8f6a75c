//! Access to json: `entry ->> 'title'` and `entry -> 'items'`. What the path leads to is taken over as it is written,
//! numbers to their last digit; the rest of a document is read past.

use std::{borrow::Cow, fmt, sync::Arc};

use arrow_array::{ArrayRef, builder::StringViewBuilder};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

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
    /// Into an array from its end: 1 is its last item
    FromEnd(usize),
    /// Of a pointer such as `/a/0`: a key in an object, a place in an array
    Either(String, Option<usize>),
}

const NO_PATH: &str = "this is not a constant path into json";
const ONE_VALUE: &str = "a path into json leads to one value: wildcards are not supported";

/// What is wrong with `text` as a path: a key; or `$` and steps `.key`, `."key"`, `[0]`, `[-1]`; or a pointer `/key/0`.
///
/// # Errors
/// The sentence.
pub(super) fn check_path(text: &str) -> Result<(), &'static str> {
    steps(text).map(drop)
}

fn steps(text: &str) -> Result<Vec<Step>, &'static str> {
    if let Some(pointer) = text.strip_prefix('/') {
        return pointer.split('/').map(token).collect();
    }
    let Some(mut rest) = text.strip_prefix('$') else {
        return match text {
            "" => Ok(Vec::new()),
            "*" => Err(ONE_VALUE),
            key => Ok(vec![Step::Key(key.to_owned())]),
        };
    };
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = match rest.strip_prefix('[') {
            Some(indexed) => index(indexed)?,
            None => member(rest.strip_prefix('.').ok_or(NO_PATH)?)?,
        };
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

/// One part of a pointer: `~1` stands for `/`, `~0` for `~`.
fn token(text: &str) -> Result<Step, &'static str> {
    let plain = text.replace("~1", "/").replace("~0", "~");
    let is_place = text == "0" || !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    let place = if is_place { text.parse().ok() } else { None };
    Ok(Step::Either(plain, place))
}

/// A place in an array, after its `[`; and what follows it.
fn index(text: &str) -> Result<(Step, &str), &'static str> {
    let (place, after) = text.split_once(']').ok_or(NO_PATH)?;
    let from_end = place.strip_prefix("#-").or_else(|| place.strip_prefix('-'));
    let digits = from_end.unwrap_or(place);
    if digits == "*" {
        return Err(ONE_VALUE);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_PATH);
    }
    let number = digits.parse().map_err(|_| NO_PATH)?;
    Ok((if from_end.is_some() { Step::FromEnd(number) } else { Step::Index(number) }, after))
}

/// A key, after its `.`; and what follows it. In double quotes it may hold anything, with `\` before a quote or a `\`.
fn member(text: &str) -> Result<(Step, &str), &'static str> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut key = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().ok_or(NO_PATH)? {
                '"' => return Ok((Step::Key(key), chars.as_str())),
                '\\' => key.push(chars.next().ok_or(NO_PATH)?),
                other => key.push(other),
            }
        }
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    match &text[..end] {
        "*" => Err(ONE_VALUE),
        "" if text.starts_with('.') => Err(ONE_VALUE),
        key if key.is_empty() || key.contains(['"', '\'']) => Err(NO_PATH),
        key => Ok((Step::Key(key.to_owned()), &text[end..])),
    }
}

fn extract(call: Call<'_, '_>) -> ArrayRef {
    each(call, |found| Ok(Some(compact(found))))
}

/// Strings lose their quotes, and json's null is null.
fn extract_string(call: Call<'_, '_>) -> ArrayRef {
    each(call, |found| match found {
        "null" => Ok(None),
        quoted if quoted.starts_with('"') => serde_json::from_str(quoted).map(|text: String| Some(text.into())),
        other => Ok(Some(compact(other))),
    })
}

/// The same JSON without the blanks between its parts; what stands in the parts stays.
fn compact(json: &str) -> Cow<'_, str> {
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    if !json.bytes().any(is_blank) {
        return Cow::Borrowed(json);
    }
    let (mut quoted, mut escaped) = (false, false);
    let kept = |c: &char| {
        let keep = quoted || !c.is_ascii_whitespace();
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        keep
    };
    Cow::Owned(json.chars().filter(kept).collect())
}

/// What a part of a document becomes.
type Taken<'a> = Result<Option<Cow<'a, str>>, serde_json::Error>;

fn each(call: Call<'_, '_>, text_of: for<'a> fn(&'a str) -> Taken<'a>) -> ArrayRef {
    let documents = Strings::of(&call.arguments[0]);
    let path = Strings::of(&call.arguments[1]).constant().and_then(|path| steps(path).ok()).unwrap_or_default();
    let mut builder = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if !call.is_valid(row) {
            builder.append_null();
            continue;
        }
        match find(documents.get(row), &path).and_then(|found| found.map_or(Ok(None), text_of)) {
            Ok(found) => builder.append_option(found),
            Err(error) => {
                call.faults.report(row, || format!("not json: {error}"));
                builder.append_null();
            }
        }
    }
    Arc::new(builder.finish())
}

/// What the path leads to in a document, as it is written there.
fn find<'d>(document: &'d str, path: &[Step]) -> Result<Option<&'d str>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(document);
    let found = Find(path).deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// Reads a document and keeps what the path leads to.
#[derive(Clone, Copy)]
struct Find<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => <&RawValue as serde::Deserialize>::deserialize(reader).map(|found| Some(found.get())),
            _ => reader.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de str>;

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
        let [step, rest @ ..] = self.0 else { return Ok(None) };
        let mut found = None;
        match step {
            Step::Index(index) | Step::Either(_, Some(index)) => {
                for _ in 0..*index {
                    if items.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(None);
                    }
                }
                found = items.next_element_seed(Find(rest))?.flatten();
            }
            Step::FromEnd(back) => {
                let mut all: Vec<&RawValue> = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                if let Some(item) = all.len().checked_sub(*back).and_then(|at| all.get(at)) {
                    found = find(item.get(), rest).map_err(A::Error::custom)?;
                }
            }
            Step::Key(_) | Step::Either(_, None) => {}
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
        Ok(matches!(self.0, Some(Step::Key(wanted) | Step::Either(wanted, _)) if wanted == key))
    }
}
