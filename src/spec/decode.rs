//! Values to structs, with every mistake at once.
//!
//! Serde stops at the first mistake. So a mistake is recorded, the value that caused it is repaired (an
//! unknown key taken out, a wrong or missing value made [`Value::Unknown`]) and the whole decoded again,
//! until nothing is left to complain of. Errors find out where they are on their way up: each table and
//! list that an error passes adds its step to the error's path.

mod deserializer;
mod mistake;
mod unknown;

use serde::de::DeserializeOwned;

use self::{
    deserializer::ValueDeserializer,
    mistake::{Kind, Mistake},
};
use super::{Path, Place, Problem, Problems, Step, Value, nearest};

/// After so many mistakes in one table the rest can wait for the next round.
const MAX_MISTAKES: usize = 100;

/// Decodes `value`, which stands at `path`, into `T`; every mistake is recorded. `also` lists further legal
/// keys of the top level, for the hint about a misspelt one. `None` where there was a mistake.
pub fn decode<T: DeserializeOwned>(value: &Value, path: &Path, also: &[&str], problems: &mut Problems) -> Option<T> {
    let decoded = decode_partly(value, path, also, problems);
    decoded.value.filter(|_| decoded.clean)
}

/// What came of a value that may have mistakes.
pub(super) struct Decoded<T> {
    /// What could be decoded, with harmless values where there were mistakes.
    pub(super) value: Option<T>,
    /// Were there none?
    pub(super) clean: bool,
}

/// The same, keeping what was decoded beside the mistakes.
pub(super) fn decode_partly<T: DeserializeOwned>(
    value: &Value,
    path: &Path,
    also: &[&str],
    problems: &mut Problems,
) -> Decoded<T> {
    let mut repaired = value.clone();
    for found in 0..MAX_MISTAKES {
        let mistake = match T::deserialize(ValueDeserializer::new(&repaired)) {
            Ok(decoded) => return Decoded { value: Some(decoded), clean: found == 0 },
            Err(mistake) => mistake,
        };
        let at = mistake.path();
        if matches!(mistake.kind, Kind::Unknown) || (is_unknown(&repaired, &at) && !mistake.is_about_a_key()) {
            let message = "this cannot be checked before the values it depends on are known";
            if found == 0 {
                problems.push(Problem::new("unchecked", Place::Value(join(path, &at)), message).note());
            }
            return Decoded { value: None, clean: false };
        }
        problems.push(problem(&mistake, &at, &repaired, path, also));
        if !repair(&mut repaired, &at, mistake.kind) {
            break;
        }
    }
    Decoded { value: None, clean: false }
}

fn is_unknown(root: &Value, at: &Path) -> bool {
    // Below an unknown value there is nothing to repair either.
    (0..=at.0.len()).any(|steps| matches!(root.get(&Path(at.0[..steps].to_vec())), Some(Value::Unknown)))
}

/// Takes the cause of a mistake out of the tree; false where that is not possible.
fn repair(root: &mut Value, at: &Path, kind: Kind) -> bool {
    if at.0.is_empty() && !matches!(kind, Kind::UnknownKey { .. } | Kind::MissingKey { .. }) {
        return false;
    }
    match (root.get_mut(at), kind) {
        (Some(Value::Table(table)), Kind::UnknownKey { key, .. }) => table.shift_remove(&key).is_some(),
        (Some(Value::Table(table)), Kind::MissingKey { key }) => {
            table.insert(key.to_owned(), Value::Unknown) != Some(Value::Unknown)
        }
        (Some(value), Kind::Type { .. } | Kind::UnknownWord { .. } | Kind::Custom(_) | Kind::OutOfRange { .. }) => {
            *value = Value::Unknown;
            true
        }
        _ => false,
    }
}

fn problem(mistake: &Mistake, at: &Path, root: &Value, base: &Path, also: &[&str]) -> Problem {
    let place = join(base, at);
    let value = root.get(at);
    let secret = matches!(value, Some(Value::Substituted(_)));
    match &mistake.kind {
        Kind::UnknownKey { key, legal } => {
            let also = if at.0.is_empty() { also } else { &[] };
            let help = nearest(key, legal.iter().chain(also).copied());
            Problem::new("unknown-key", Place::Key(place.entry(key)), format!("unknown key `{key}`")).help(help)
        }
        Kind::MissingKey { key } => Problem::new("missing-key", Place::Key(place), format!("missing key `{key}`")),
        Kind::UnknownWord { word, legal } => {
            let help = if secret { one_of(legal) } else { nearest(word, legal.iter().copied()) };
            let message = if secret { "unknown word from the environment".into() } else { format!("unknown `{word}`") };
            Problem::new("unknown-value", Place::Value(place), message).help(help)
        }
        Kind::Type { expected, found } => {
            Problem::new("type", Place::Value(place), format!("expected {expected}, found {found}"))
        }
        Kind::OutOfRange { expected, found } => {
            let found = if secret { "the value" } else { found.as_str() };
            Problem::new("value", Place::Value(place), format!("{found} is out of range: expected {expected}"))
        }
        Kind::Custom(message) => Problem::new("value", Place::Value(place), without_secrets(message, value)),
        Kind::Unknown => Problem::new("value", Place::Value(place), "the value is not known"),
    }
}

fn one_of(legal: &[&str]) -> Option<String> {
    let legal: Vec<String> = legal.iter().map(|word| format!("`{word}`")).collect();
    (!legal.is_empty()).then(|| format!("legal here: {}", legal.join(", ")))
}

/// A message that repeats what came from the environment is replaced as a whole.
fn without_secrets(message: &str, value: Option<&Value>) -> String {
    let mut secrets = Vec::new();
    if let Some(value) = value {
        collect_substituted(value, &mut secrets);
    }
    if secrets.iter().any(|secret| message.contains(secret)) {
        return "the value from the environment is not valid here".to_owned();
    }
    message.to_owned()
}

fn collect_substituted<'v>(value: &'v Value, into: &mut Vec<&'v str>) {
    match value {
        Value::Substituted(text) if !text.is_empty() => into.push(text),
        Value::List(items) => items.iter().for_each(|item| collect_substituted(item, into)),
        Value::Table(table) => table.values().for_each(|item| collect_substituted(item, into)),
        _ => {}
    }
}

fn join(base: &Path, at: &Path) -> Path {
    let steps: Vec<Step> = base.0.iter().chain(&at.0).cloned().collect();
    Path(steps)
}

#[cfg(test)]
#[path = "tests/decode.rs"]
mod tests;
