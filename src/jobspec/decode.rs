//! Values to structs, with every mistake at once.
//!
//! Serde stops at the first mistake. So a mistake is recorded, the value that caused it is repaired (an
//! unknown key taken out, a wrong or missing value made [`Value::Unknown`]) and the whole decoded again,
//! until nothing is left to complain of. Errors find out where they are on their way up: each table and
//! list that an error passes adds its step to the error's path.

mod deserializer;
mod mistake;
mod unknown;

use std::ops::Range;

use serde::de::DeserializeOwned;

use self::{
    deserializer::ValueDeserializer,
    mistake::{BOOLEAN, Kind, Mistake},
};
use super::{Path, Problem, Problems, SpecLocation, Step, Value, meant, nearest};

/// After so many rounds the rest can wait until these mistakes are gone.
const MAX_ROUNDS: usize = 300;

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
    let mut repair = Repair { root: value.clone(), removed: Vec::new(), postponed: Vec::new() };
    let mut clean = true;
    let mut unchecked = None;
    let mut answer = None;
    for _ in 0..MAX_ROUNDS {
        let mistake = match T::deserialize(ValueDeserializer::new(&repair.root)) {
            Ok(decoded) => {
                answer = Some(decoded);
                break;
            }
            Err(mistake) => mistake,
        };
        let at = mistake.path();
        let goes_on = match repair.unknown_on_the_way_to(&at) {
            Some(unknown) => {
                unchecked.get_or_insert_with(|| join(path, &repair.as_written(&unknown)));
                repair.go_around(&unknown)
            }
            // A list that lost an item may be complained of only because of that.
            None if repair.removed.iter().any(|(list, _)| *list == at) => repair.forget(&at),
            None => {
                clean = false;
                let place = join(path, &repair.as_written(&at));
                let also = if at.0.is_empty() { also } else { &[] };
                problems.push(problem(&mistake, place, repair.root.get(&at), also));
                repair.mend(&at, mistake.kind, also)
            }
        };
        if !goes_on {
            break;
        }
    }
    if let (true, Some(place)) = (clean, unchecked) {
        clean = false;
        let message = "what depends on this cannot be checked before its value is known";
        problems.push(Problem::new("unchecked", SpecLocation::Value(place), message).note());
    }
    Decoded { value: answer, clean }
}

/// The tree under repair.
struct Repair {
    root: Value,
    /// Items taken out of lists, in order: the list, and the item's index when it was taken out.
    removed: Vec<(Path, usize)>,
    /// Unknown values that were moved to the end of their tables.
    postponed: Vec<Path>,
}

impl Repair {
    /// Takes the cause of a mistake out of the tree; false where that is not possible.
    fn mend(&mut self, at: &Path, kind: Kind, also: &[&str]) -> bool {
        match (self.root.get_mut(at), kind) {
            (Some(Value::Table(table)), Kind::UnknownKey { key, legal }) => {
                // The key that was meant is not missing, too.
                let meant = meant(&key, legal.iter().chain(also).copied()).filter(|meant| legal.contains(meant));
                if let Some(meant) = meant.filter(|meant| !table.contains_key(*meant)) {
                    table.insert(meant.to_owned(), Value::Unknown);
                }
                table.shift_remove(&key).is_some()
            }
            (Some(Value::Table(table)), Kind::MissingKey { key }) => {
                table.insert(key.to_owned(), Value::Unknown) != Some(Value::Unknown)
            }
            (_, Kind::UnknownKey { .. } | Kind::MissingKey { .. }) => false,
            _ => self.forget(at),
        }
    }

    /// The first unknown value on the way to `at`.
    fn unknown_on_the_way_to(&self, at: &Path) -> Option<Path> {
        let ways = (0..=at.0.len()).map(|steps| Path(at.0[..steps].to_vec()));
        ways.into_iter().find(|way| matches!(self.root.get(way), Some(Value::Unknown)))
    }

    /// A type of its own may not know what to make of an unknown value. Then the rest is checked without it:
    /// an item is taken out of its list, a key waits until all others of its table have been looked at. False
    /// where there is nothing else to check.
    fn go_around(&mut self, unknown: &Path) -> bool {
        let Some((step, steps)) = unknown.0.split_last() else { return false };
        let parent = Path(steps.to_vec());
        match (self.root.get_mut(&parent), step) {
            (Some(Value::List(items)), Step::Index(index)) => {
                items.remove(*index);
                self.removed.push((parent, *index));
                true
            }
            (Some(Value::Table(table)), Step::Key(key)) if !self.postponed.contains(unknown) => {
                table.shift_remove(key);
                table.insert(key.clone(), Value::Unknown);
                self.postponed.push(unknown.clone());
                true
            }
            _ => self.forget(&parent),
        }
    }

    /// Makes the value at a path unknown; false for the root.
    fn forget(&mut self, at: &Path) -> bool {
        match self.root.get_mut(at) {
            Some(value) if !at.0.is_empty() => {
                *value = Value::Unknown;
                true
            }
            _ => false,
        }
    }

    /// The path that a path of the repaired tree had in the tree as written.
    fn as_written(&self, at: &Path) -> Path {
        let mut at = at.clone();
        for (list, index) in self.removed.iter().rev() {
            if at.0.starts_with(&list.0)
                && let Some(Step::Index(found)) = at.0.get_mut(list.0.len())
                && *found >= *index
            {
                *found += 1;
            }
        }
        at
    }
}

fn problem(mistake: &Mistake, place: Path, value: Option<&Value>, also: &[&str]) -> Problem {
    let secret = matches!(value, Some(Value::Substituted(_)));
    match &mistake.kind {
        Kind::UnknownKey { key, legal } | Kind::UnknownTag { key, legal } => {
            let help = nearest(key, legal.iter().chain(also).copied());
            Problem::new("unknown-key", SpecLocation::Key(place.entry(key)), format!("unknown key `{key}`")).help(help)
        }
        Kind::MissingKey { key } => {
            Problem::new("missing-key", SpecLocation::Key(place), format!("missing key `{key}`"))
        }
        Kind::UnknownWord { word, legal } => {
            let help = if secret { one_of(legal) } else { nearest(word, legal.iter().copied()) };
            let message =
                if secret { "unknown value from the environment".into() } else { format!("unknown value `{word}`") };
            Problem::new("unknown-value", SpecLocation::Value(place), message).help(help)
        }
        Kind::Type { expected, found } => {
            let help = value.filter(|_| expected == BOOLEAN && !secret).and_then(Value::as_text).and_then(boolean);
            Problem::new("type", SpecLocation::Value(place), format!("expected {expected}, found {found}")).help(help)
        }
        Kind::OutOfRange { expected, found } => {
            let found = if secret { "the value" } else { found.as_str() };
            Problem::new("value", SpecLocation::Value(place), format!("{found} is out of range: expected {expected}"))
        }
        Kind::Custom(message) => custom(&without_secrets(message, value), place, value),
        Kind::Unknown => Problem::new("value", SpecLocation::Value(place), "the value is not known"),
    }
}

/// How a boolean that is written as text must be written. YAML 1.2 has no others.
fn boolean(text: &str) -> Option<String> {
    let (meant, quoted) = match text.to_lowercase().as_str() {
        "yes" | "on" | "y" => ("true", false),
        "no" | "off" | "n" => ("false", false),
        "true" => ("true", true),
        "false" => ("false", true),
        _ => return None,
    };
    Some(if quoted { format!("write `{meant}` without quotes") } else { format!("write `{meant}`") })
}

/// What a type's own code said: a sentence and, on a line of its own, what would be right. A sentence that
/// begins with a word of the text in backticks is about that word.
fn custom(message: &str, at: Path, value: Option<&Value>) -> Problem {
    let (sentence, help) = match message.split_once('\n') {
        Some((sentence, help)) => (sentence, Some(help.to_owned())),
        None => (message, None),
    };
    let word = sentence.strip_prefix('`').and_then(|rest| rest.split('`').next());
    let found = value.and_then(Value::as_text).zip(word).and_then(|(text, word)| only(text, word));
    let place = found.map_or_else(|| SpecLocation::Value(at.clone()), |range| SpecLocation::inside(at.clone(), range));
    Problem::new("value", place, sentence).help(help)
}

/// Where `text` has `word`, unless it has it twice, or is it.
fn only(text: &str, word: &str) -> Option<Range<usize>> {
    let mut found = text.match_indices(word).filter(|_| !word.is_empty() && text != word);
    let (at, _) = found.next()?;
    found.next().is_none().then_some(at..at + word.len())
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
