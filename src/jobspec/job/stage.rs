//! What all stages have in common: their name, kind, inputs, and the keys that the executor reads.

use std::{collections::HashMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use crate::jobspec::{
    Bytes, Path, Problem, Problems, SpecLocation, Table, Value, bounds,
    decode::{Decoded, decode_partly},
    problem::distance,
};

/// One stage: what is common to all kinds, checked, and the rest as written.
#[derive(Clone, Debug, PartialEq)]
pub struct StageSpec {
    /// Its name.
    pub name: String,
    /// Which of the three tables it stands in.
    pub section: Section,
    /// Where it stands: `sinks.cache`.
    pub path: Path,
    /// The word behind `type =`; `None` where there was a problem with it.
    pub kind: Option<String>,
    /// The stages it reads from, each with the place where it is named. Empty for sources.
    pub inputs: Vec<(String, Path)>,
    /// What the executor reads.
    pub common: Common,
    /// The kind's own keys: a table.
    pub table: Value,
    /// There was a problem with it, or its kind or input is not known yet: it cannot be compiled.
    pub broken: bool,
}

/// One of the three tables that hold stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// `sources`
    Sources,
    /// `transforms`
    Transforms,
    /// `sinks`
    Sinks,
}

/// What the executor reads of a stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// How many workers it gets.
    pub concurrency: Option<usize>,
    /// How many batches may wait before it.
    pub queue: Option<usize>,
    /// Rows of which this expression has the same value go to the same worker, in order.
    pub partition_by: Option<String>,
    /// How large a source makes its batches, or the most that another stage gets at once. Other stages
    /// get batches as they come where this is not given.
    pub batch: Option<BatchSize>,
}

/// How many rows and bytes a batch has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    /// rows
    pub rows: usize,
    /// bytes
    pub bytes: usize,
}

impl Default for BatchSize {
    fn default() -> Self {
        BatchSize { rows: 8192, bytes: 1 << 20 }
    }
}

/// The keys that all sources have.
pub const COMMON_KEYS_SOURCE: &[&str] = &["type", "concurrency", "batch"];
/// The keys that all transforms have.
pub const COMMON_KEYS_TRANSFORM: &[&str] = &["type", "input", "concurrency", "queue", "partition_by", "batch"];
/// The keys that all sinks have.
pub const COMMON_KEYS_SINK: &[&str] = COMMON_KEYS_TRANSFORM;

/// More workers than this are a slip of the keyboard.
const MAX_CONCURRENCY: usize = 1024;

impl Section {
    /// The key of the table.
    pub fn key(self) -> &'static str {
        match self {
            Section::Sources => "sources",
            Section::Transforms => "transforms",
            Section::Sinks => "sinks",
        }
    }

    /// The keys that all its stages have.
    pub fn common_keys(self) -> &'static [&'static str] {
        match self {
            Section::Sources => COMMON_KEYS_SOURCE,
            Section::Transforms => COMMON_KEYS_TRANSFORM,
            Section::Sinks => COMMON_KEYS_SINK,
        }
    }
}

/// As in a sentence: `source`.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key().trim_end_matches('s'))
    }
}

/// The JSON Schema of the keys that all stages of a section have, `type` excepted.
pub fn common_schema(section: Section, generator: &mut SchemaGenerator) -> Schema {
    match section {
        Section::Sources => SourceKeys::json_schema(generator),
        Section::Transforms | Section::Sinks => StageKeys::json_schema(generator),
    }
}

/// The keys that all sources have.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SourceKeys {
    /// The kind of source.
    #[schemars(skip)]
    r#type: Option<String>,
    /// How many workers it gets.
    #[serde(default)]
    concurrency: Option<Concurrency>,
    /// How large its batches are.
    #[serde(default)]
    batch: Option<Batch>,
}

/// The keys that all transforms and sinks have.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StageKeys {
    /// The kind of stage.
    #[schemars(skip)]
    r#type: Option<String>,
    /// The stage whose rows it gets, or a list of stages with equal columns.
    #[serde(deserialize_with = "any_value")]
    #[schemars(with = "InputSchema")]
    #[expect(dead_code, reason = "read from the value itself, which knows where each name stands")]
    input: (),
    /// How many workers it gets.
    #[serde(default)]
    concurrency: Option<Concurrency>,
    /// How many batches may wait before it.
    #[serde(default)]
    #[serde(deserialize_with = "bounds::some_whole::<1, 4096, _, _>")]
    #[schemars(range(min = 1, max = 4096))]
    queue: Option<usize>,
    /// An expression: rows of which it has the same value go to the same worker, in order.
    #[serde(default)]
    partition_by: Option<String>,
    /// The most that it gets at once; larger batches are cut.
    #[serde(default)]
    batch: Option<Batch>,
}

/// The name of a stage, or a list of names.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Input")]
#[expect(dead_code, reason = "it only describes")]
enum InputSchema {
    One(String),
    Several(#[schemars(length(min = 1))] Vec<String>),
}

/// `batch = { rows = 8192, bytes = "1MiB" }`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Batch {
    /// Rows at most; 8192 where it is not given.
    #[serde(deserialize_with = "bounds::some_whole::<1, 1_048_576, _, _>")]
    #[schemars(range(min = 1, max = 1_048_576))]
    rows: Option<usize>,
    /// Bytes at most; `1MiB` where it is not given.
    #[serde(deserialize_with = "bounds::some_size::<1, { 1 << 30 }, _>")]
    bytes: Option<Bytes>,
}

/// A number of workers.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Concurrency(#[schemars(range(min = 1, max = 1024))] usize);

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match usize::deserialize(deserializer)? {
            workers @ 1..=MAX_CONCURRENCY => Ok(Concurrency(workers)),
            _ => Err(serde::de::Error::custom(format!("a stage has from 1 to {MAX_CONCURRENCY} workers"))),
        }
    }
}

fn any_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    Value::deserialize(deserializer).map(|_| ())
}

impl From<Batch> for BatchSize {
    fn from(batch: Batch) -> Self {
        let default = BatchSize::default();
        let bytes = batch.bytes.map(|Bytes(bytes)| usize::try_from(bytes).unwrap_or(usize::MAX));
        BatchSize { rows: batch.rows.unwrap_or(default.rows), bytes: bytes.unwrap_or(default.bytes) }
    }
}

/// The stages named so far, and where.
#[derive(Default)]
pub(super) struct Names(HashMap<String, Path>);

/// Decodes what `value` has in common with all stages of its section.
pub(super) fn decode(
    section: Section,
    name: &str,
    value: &Value,
    names: &mut Names,
    problems: &mut Problems,
) -> (String, StageSpec) {
    let path = Path::default().entry(section.key()).entry(name);
    let mut broken = !check_name(name, &path, names, problems);
    let Split { shared, own, clean } = split(section, value, &path, problems);
    broken |= !clean;
    if matches!(value, Value::Table(_)) && !shared.contains_key("type") {
        problems.push(Problem::new("missing-key", SpecLocation::Key(path.clone()), "missing key `type`"));
        broken = true;
    }
    let before = inputs(section, &shared, &path, problems);
    let Decoded { value: keys, clean } = match value {
        Value::Table(_) => common(section, shared, &path, problems),
        _ => Decoded { value: None, clean: false },
    };
    let (kind, common) = keys.unwrap_or_default();
    broken |= !clean || kind.is_none() || before.is_none();
    let stage = StageSpec {
        name: name.to_owned(),
        section,
        path,
        kind,
        inputs: before.unwrap_or_default(),
        common,
        table: Value::Table(own),
        broken,
    };
    (name.to_owned(), stage)
}

/// Is the name legal, and the first of its kind?
fn check_name(name: &str, path: &Path, names: &mut Names, problems: &mut Problems) -> bool {
    let mut letters = name.chars();
    let starts_well = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        let message = "a stage's name starts with a letter or `_` and has letters, digits, `-` and `_` only";
        problems.push(Problem::new("name", SpecLocation::Key(path.clone()), message));
        return false;
    }
    if let Some(first) = names.0.get(name) {
        let message = format!("the name `{name}` is already taken by `{first}`");
        problems.push(Problem::new("name", SpecLocation::Key(path.clone()), message));
        return false;
    }
    names.0.insert(name.to_owned(), path.clone());
    true
}

/// A stage's keys.
#[derive(Default)]
struct Split {
    /// Those common to all stages.
    shared: Table,
    /// The kind's own.
    own: Table,
    /// None had to be refused.
    clean: bool,
}

fn split(section: Section, value: &Value, path: &Path, problems: &mut Problems) -> Split {
    let Value::Table(table) = value else {
        if *value != Value::Unknown {
            let message = format!("expected a table, found {}", value.describe());
            problems.push(Problem::new("type", SpecLocation::Value(path.clone()), message));
        }
        return Split::default();
    };
    let mut table = table.clone();
    let mut clean = true;
    if section == Section::Sources {
        for key in ["input", "queue", "partition_by"] {
            if table.shift_remove(key).is_some() {
                clean = false;
                let message = format!("a source has no `{key}`: nothing comes before it");
                problems.push(Problem::new("unknown-key", SpecLocation::Key(path.entry(key)), message));
            }
        }
    }
    let required = if section == Section::Sources { &["type"][..] } else { &["type", "input"] };
    for key in required {
        clean &= !misspelt(key, &mut table, path, problems);
    }
    let (shared, own) = table.into_iter().partition(|(key, _)| section.common_keys().contains(&key.as_str()));
    Split { shared, own, clean }
}

/// Is the required key there but for a letter? Then it is put right, its value unknown: it is not missing, too.
/// The kind cannot tell: without a type there is none.
fn misspelt(key: &str, table: &mut Table, path: &Path, problems: &mut Problems) -> bool {
    if table.contains_key(key) {
        return false;
    }
    let is_slip = |other: &str| distance(other, key) == 1 || (key == "type" && other == "kind");
    let Some(slip) = table.keys().find(|other| is_slip(other)).cloned() else { return false };
    let elsewhere = slip == "kind";
    let help = if elsewhere { format!("`{slip}` is called `{key}` here") } else { format!("did you mean `{key}`?") };
    let help = Some(help);
    let problem = Problem::new("unknown-key", SpecLocation::Key(path.entry(&slip)), format!("unknown key `{slip}`"));
    problems.push(problem.help(help));
    table.shift_remove(&slip);
    table.insert(key.to_owned(), Value::Unknown);
    true
}

/// The stages named as input; `None` where there was a problem or they are not known.
fn inputs(section: Section, shared: &Table, path: &Path, problems: &mut Problems) -> Option<Vec<(String, Path)>> {
    let at = path.entry("input");
    let mut wrong = |path: &Path, value: &Value, expected: &str| {
        if *value != Value::Unknown {
            let message = format!("expected {expected}, found {}", value.describe());
            problems.push(Problem::new("type", SpecLocation::Value(path.clone()), message));
        }
    };
    match shared.get("input") {
        // That it is missing is found when the common keys are decoded.
        None => (section == Section::Sources).then(Vec::new),
        Some(Value::List(items)) if items.is_empty() => {
            problems.push(Problem::new("value", SpecLocation::Value(at), "the list of inputs is empty"));
            None
        }
        Some(Value::List(items)) => {
            let named = |(index, item): (usize, &Value)| {
                let at = at.index(index);
                if item.as_text().is_none() {
                    wrong(&at, item, "the name of a stage");
                }
                item.as_text().map(|name| (name.to_owned(), at))
            };
            let found: Vec<_> = items.iter().enumerate().map(named).collect();
            found.into_iter().collect()
        }
        Some(value) => {
            if value.as_text().is_none() {
                wrong(&at, value, "the name of a stage, or a list of names");
            }
            value.as_text().map(|name| vec![(name.to_owned(), at)])
        }
    }
}

/// The kind, and what the executor reads.
fn common(section: Section, shared: Table, path: &Path, problems: &mut Problems) -> Decoded<(Option<String>, Common)> {
    let shared = Value::Table(shared);
    let workers = |concurrency: Option<Concurrency>| concurrency.map(|Concurrency(workers)| workers);
    if section == Section::Sources {
        let Decoded { value, clean } = decode_partly::<SourceKeys>(&shared, path, &[], problems);
        let value = value.map(|keys| {
            let (concurrency, batch) = (workers(keys.concurrency), keys.batch.map(BatchSize::from));
            (keys.r#type, Common { concurrency, batch, ..Common::default() })
        });
        return Decoded { value, clean };
    }
    let Decoded { value, clean } = decode_partly::<StageKeys>(&shared, path, &[], problems);
    let value = value.map(|keys| {
        let common = Common {
            concurrency: workers(keys.concurrency),
            queue: keys.queue,
            partition_by: keys.partition_by,
            batch: keys.batch.map(BatchSize::from),
        };
        (keys.r#type, common)
    });
    Decoded { value, clean }
}
