//! JSON Merge Patch (RFC 7396) on texts: numbers and strings that a patch does not name keep every digit and
//! escape that they had.

use std::{borrow::Cow, fmt};

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Patches that go deeper are refused.
const DEEPEST: usize = 128;

/// Why a text is not a record, or not a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is not JSON; the sentence says why.
    Json(String),
    /// It goes deeper than patches may.
    Deep,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Json(why) => write!(f, "the record is not JSON: {why}"),
            Bad::Deep => write!(f, "the patch goes deeper than {DEEPEST} objects"),
        }
    }
}

impl From<serde_json::Error> for Bad {
    fn from(error: serde_json::Error) -> Self {
        Bad::Json(error.to_string())
    }
}

/// The text without spaces and line ends between its tokens.
pub(super) fn compact(json: &str) -> Result<String, Bad> {
    let raw: &RawValue = serde_json::from_str(json)?;
    let mut out = String::with_capacity(raw.get().len());
    squeeze(raw.get(), &mut out);
    Ok(out)
}

/// What the patch makes of the target, both JSON; `target` is compact, and so is the answer.
pub(super) fn merge(target: &str, patch: &str) -> Result<String, Bad> {
    let patch: &RawValue = serde_json::from_str(patch)?;
    let mut out = String::with_capacity(target.len() + patch.get().len());
    apply(Some(target), patch.get(), 0, &mut out)?;
    Ok(out)
}

/// A JSON object's members in their order; of members of the same name the last counts.
#[derive(Default)]
struct Members<'a>(IndexMap<Cow<'a, str>, &'a RawValue>);

fn apply(target: Option<&str>, patch: &str, depth: usize, out: &mut String) -> Result<(), Bad> {
    if !is_object(patch) {
        squeeze(patch, out);
        return Ok(());
    }
    if depth == DEEPEST {
        return Err(Bad::Deep);
    }
    let Members(patch) = serde_json::from_str(patch)?;
    let Members(target) = match target.filter(|target| is_object(target)) {
        Some(target) => serde_json::from_str(target)?,
        None => Members::default(),
    };
    out.push('{');
    let mut first = true;
    let mut name = |key: &str, out: &mut String| -> Result<(), Bad> {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        out.push_str(&serde_json::to_string(key)?);
        out.push(':');
        Ok(())
    };
    for (key, value) in &target {
        match patch.get(key) {
            None => {
                name(key, out)?;
                squeeze(value.get(), out);
            }
            Some(change) if change.get() == "null" => {}
            Some(change) => {
                name(key, out)?;
                apply(Some(value.get()), change.get(), depth + 1, out)?;
            }
        }
    }
    for (key, change) in patch.iter().filter(|(key, change)| change.get() != "null" && !target.contains_key(*key)) {
        name(key, out)?;
        apply(None, change.get(), depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

/// Copies valid JSON without what stands between its tokens.
fn squeeze(json: &str, out: &mut String) {
    let bytes = json.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        out.push_str(json);
        return;
    }
    let (mut quoted, mut escaped, mut from) = (false, false, 0);
    for (at, byte) in bytes.iter().enumerate() {
        if quoted {
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if *byte == b'"' {
            quoted = true;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push_str(&json[from..at]);
            from = at + 1;
        }
    }
    out.push_str(&json[from..]);
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members<'de>, A::Error> {
        let mut members = IndexMap::new();
        while let Some(Name(name)) = access.next_key()? {
            members.insert(name, access.next_value()?);
        }
        Ok(Members(members))
    }
}

/// A member's name; borrowed unless it has an escape in it.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_work_as_the_rfc_says() {
        // The examples of RFC 7396, appendix A.
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (target, patch, expected) in cases {
            assert_eq!(merge(target, patch).as_deref(), Ok(expected), "{target} + {patch}");
        }
    }

    #[test]
    fn what_a_patch_does_not_name_stays_as_it_was() {
        let target = r#"{"n":1.50e400,"big":12345678901234567890123,"s":"\u0041 \"","b":0}"#;
        let expected = r#"{"n":1.50e400,"big":12345678901234567890123,"s":"\u0041 \"","b":7}"#;
        assert_eq!(merge(target, r#" { "\u0062" : 7 } "#).as_deref(), Ok(expected));
    }

    #[test]
    fn of_members_of_one_name_the_last_counts() {
        assert_eq!(merge(r#"{"a":1,"b":2,"a":3}"#, r#"{"c":4,"c":5}"#).as_deref(), Ok(r#"{"a":3,"b":2,"c":5}"#));
    }

    #[test]
    fn records_lose_their_spaces_and_nothing_else() {
        let text = " { \"a b\" : [ 1 ,\r\n\t\"x \\\" y\\\\\" , {} ] } ";
        assert_eq!(compact(text).as_deref(), Ok(r#"{"a b":[1,"x \" y\\",{}]}"#));
    }

    #[test]
    fn bad_texts_are_told_and_deep_ones_do_no_harm() {
        assert!(matches!(compact("{"), Err(Bad::Json(_))));
        assert!(matches!(compact("1 2"), Err(Bad::Json(_))));
        assert!(matches!(merge("{}", "nul"), Err(Bad::Json(_))));
        let deep = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
        assert!(merge("{}", &deep(DEEPEST)).is_ok());
        assert_eq!(merge("{}", &deep(DEEPEST + 1)), Err(Bad::Deep));
        assert_eq!(merge("{}", &deep(100_000)), Err(Bad::Deep));
        let lists = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(compact(&lists), Ok(lists));
    }
}
