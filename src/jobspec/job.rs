//! A job as its spec describes it: everything but the kinds' own keys, which stay as values until the kind
//! that knows them compiles them.

mod stage;

use std::{num::NonZeroUsize, path::PathBuf};

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use self::stage::Names;
pub use self::stage::{
    BatchSize, COMMON_KEYS_SINK, COMMON_KEYS_SOURCE, COMMON_KEYS_TRANSFORM, Common, Section, StageSpec, common_schema,
};
use super::{
    Bytes, Duration, Path, Problem, Problems, RejectLimit, SpecLocation, Table, Value, bounds, decode::decode_partly,
};

/// Generator definitions by name, as written.
pub type Definitions = Table;

/// A job spec whose top level is checked. A stage with a mistake in it is marked, so that the others can be
/// compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// What it is called; also in the ledger and the report.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Every generated value follows from it.
    pub seed: u64,
    /// What it may use.
    pub limits: Limits,
    /// Where rejected records go.
    pub rejects: Option<PathBuf>,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// How many reports the state directory keeps.
    pub keep: usize,
    /// Do messages of rejects, which may hold values, stand in the report?
    pub samples: bool,
    /// The state directory; `.runner` beside the spec where there is none.
    pub state: Option<PathBuf>,
    /// What becomes of a run that only a target knows of.
    pub on_lost_state: OnLostState,
    /// Generator definitions by name, as written.
    pub definitions: Definitions,
    /// Where records come from, by name.
    pub sources: IndexMap<String, StageSpec>,
    /// What makes records of records, by name.
    pub transforms: IndexMap<String, StageSpec>,
    /// Where records go, by name.
    pub sinks: IndexMap<String, StageSpec>,
}

/// What a job may use.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How many records may be rejected before the job counts as failed.
    pub rejects: RejectLimit,
    /// How long the job may run; then it stops as if interrupted.
    pub deadline: Option<Duration>,
    /// For how long nothing may move before the job fails instead of hanging: no batch, no byte, no call of a stage
    /// that returns; 5 minutes unless given, `0s` for ever. Waiting for standard input does not count.
    #[serde(deserialize_with = "bounds::patience")]
    pub stall: Duration,
    /// How many threads stages that are bound by the processor have; all cores where it is not given.
    #[serde(deserialize_with = "bounds::some_whole::<1, 256, _, _>")]
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<NonZeroUsize>,
    /// How many bytes may wait in all queues together. A stage that gathers rows may hold as many; those that can spill hold
    /// half of it together.
    #[serde(deserialize_with = "bounds::size::<1, { 1 << 50 }, _>")]
    pub memory: Bytes,
    /// Where `sort`, `aggregate` and `dedup` put rows or keys that do not fit into `memory`.
    pub spill: Spill,
    /// A record with more bytes is rejected.
    #[serde(deserialize_with = "bounds::size::<1, { 1 << 30 }, _>")]
    pub max_record_bytes: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            rejects: RejectLimit::Count(0),
            deadline: None,
            stall: Duration(std::time::Duration::from_secs(300)),
            threads: None,
            memory: Bytes(256 << 20),
            spill: Spill::default(),
            max_record_bytes: Bytes(16 << 20),
        }
    }
}

impl Limits {
    /// The folder that rows are spilled to, of a job with this state directory.
    pub fn spill_folder<'a>(&'a self, state: &'a std::path::Path) -> &'a std::path::Path {
        self.spill.path.as_deref().unwrap_or(state)
    }
}

/// Where rows go that do not fit into memory. They are gone when the run ends.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spill {
    /// A folder; the state directory where it is not given. Best on a fast disk of the machine itself.
    pub path: Option<PathBuf>,
    /// How many bytes they may take there; any number where it is not given.
    #[serde(deserialize_with = "bounds::some_size::<1, { 1 << 60 }, _>")]
    pub max: Option<Bytes>,
}

/// A job: where records come from, what is made of them, where they go.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Top {
    /// What the job is called: letters, digits, `-` and `_`.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]+$"))]
    name: String,
    /// What the job is for, in words.
    #[serde(default)]
    description: Option<String>,
    /// Every generated value follows from it.
    #[serde(default)]
    seed: u64,
    /// What the job may use.
    #[serde(default)]
    limits: Limits,
    /// The reject file.
    #[serde(default)]
    rejects: Option<FilePath>,
    /// The report.
    #[serde(default)]
    report: Option<Report>,
    /// The state directory.
    #[serde(default)]
    state: Option<FilePath>,
    /// What to do when a database holds receipts of an unfinished run of this job that the state directory does not
    /// know: in a container that starts from its image, or on another host.
    #[serde(default)]
    on_lost_state: OnLostState,
}

/// What becomes of a run that only a target knows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostState {
    /// The job fails, and says what can be done.
    #[default]
    Fail,
    /// The run is taken over from the receipts, as with `--adopt`.
    Adopt,
}

/// Where the report goes, and what it may hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Report {
    /// Relative to the directory that the command runs in; the state directory where it is not given.
    #[serde(default)]
    path: Option<PathBuf>,
    /// How many reports the state directory keeps: the last one as `NAME.report.json`, older ones in `reports`; 20
    /// unless given. A report that has a path of its own replaces the one before.
    #[serde(default = "twenty")]
    keep: NonZeroUsize,
    /// Put a few messages of every reason for rejects into it; they may hold values.
    #[serde(default)]
    samples: bool,
}

fn twenty() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(19)
}

/// A table with a path in it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FilePath {
    /// Relative to the directory that the command runs in.
    path: PathBuf,
}

/// The top-level keys whose tables have names for keys.
const NAMED: &[&str] = &["definitions", "sources", "transforms", "sinks"];

/// The JSON Schema of the top level, but for `definitions`, `sources`, `transforms` and `sinks`: what may stand
/// in those the kinds know, and [`common_schema`]. Its definitions are left in the generator.
pub fn schema(generator: &mut SchemaGenerator) -> Schema {
    Top::json_schema(generator)
}

impl JobSpec {
    /// Decodes the top level and what is common to all stages. Every mistake is recorded; a stage with one is
    /// marked as broken. `None` where the spec is not a table at all, or could not be parsed.
    pub fn decode(root: &Value, problems: &mut Problems) -> Option<JobSpec> {
        let table = match root {
            Value::Table(table) => table,
            Value::Unknown => {
                // It could not be parsed, which has been said; or all of it is a variable whose value is not known.
                if !problems.any_error() {
                    let message = "a job spec is a table, not text";
                    problems.push(Problem::new("type", SpecLocation::Value(Path::default()), message));
                }
                return None;
            }
            other => {
                let message = format!("a job spec is a table, not {}", other.describe());
                problems.push(Problem::new("type", SpecLocation::Value(Path::default()), message));
                return None;
            }
        };
        let (named, plain): (Table, Table) =
            table.clone().into_iter().partition(|(key, _)| NAMED.contains(&key.as_str()));
        let top: Top = decode_partly(&Value::Table(plain), &Path::default(), NAMED, problems).value?;
        if table.get("name").is_some_and(|name| name.as_text().is_some()) {
            check_job_name(&top.name, problems);
        }
        let mut names = Names::default();
        let mut section = |section: Section, problems: &mut Problems| {
            let stages = outdented(entries(&named, section.key(), problems), section, problems);
            stages.iter().map(|(name, value)| stage::decode(section, name, value, &mut names, problems)).collect()
        };
        Some(JobSpec {
            sources: section(Section::Sources, problems),
            transforms: section(Section::Transforms, problems),
            sinks: section(Section::Sinks, problems),
            name: top.name,
            description: top.description,
            seed: top.seed,
            limits: top.limits,
            rejects: top.rejects.map(|file| file.path),
            samples: top.report.as_ref().is_some_and(|report| report.samples),
            keep: top.report.as_ref().map_or_else(twenty, |report| report.keep).get(),
            report: top.report.and_then(|report| report.path),
            state: top.state.map(|file| file.path),
            on_lost_state: top.on_lost_state,
            definitions: entries(&named, "definitions", problems),
        })
    }

    /// All stages, sources first.
    pub fn stages(&self) -> impl Iterator<Item = &StageSpec> {
        self.sources.values().chain(self.transforms.values()).chain(self.sinks.values())
    }
}

/// How stages that stand in a list, as in other tools, are written here.
fn named_in_list(key: &str, value: &Value) -> Option<String> {
    let Value::List(items) = value else { return None };
    let name = items.iter().find_map(|item| item.as_table()?.get("name")?.as_text()).unwrap_or("NAME");
    Some(format!("each has its name for a key: write `{name}:` below `{key}:`, or `[{key}.{name}]` in TOML"))
}

fn check_job_name(name: &str, problems: &mut Problems) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(legal) {
        let place = SpecLocation::Value(Path::default().key("name"));
        problems.push(Problem::new("value", place, "a job's name has letters, digits, `-` and `_` only"));
    }
}

/// The stages of a section. Where the keys of a stage stand beside its name instead of below it, as a YAML line does that
/// is not indented enough, that is all that is said of the stage.
fn outdented(mut stages: Table, section: Section, problems: &mut Problems) -> Table {
    let Some(at) = stages.get_index_of("type").filter(|at| !matches!(stages[*at], Value::Table(_))) else {
        return stages;
    };
    let place = SpecLocation::Key(Path::default().entry(section.key()).entry("type"));
    let stage = stages[..at].iter().rfind(|(_, value)| !matches!(value, Value::Text(_))).map(|(name, _)| name.clone());
    let (message, help) = match &stage {
        Some(name) => (format!("`type` belongs inside the {section} `{name}`"), format!("indent what is `{name}`'s")),
        None => (format!("`type` belongs inside a {section}"), format!("give the {section} a name: `{section}.NAME`")),
    };
    problems.push(Problem::new("indent", place, message).help(Some(help)));
    stages.retain(|name, value| matches!(value, Value::Table(_)) && Some(name) != stage.as_ref());
    stages.extend(stage.map(|name| (name, Value::Unknown)));
    stages
}

/// The table at `key`; empty where there is none.
fn entries(named: &Table, key: &str, problems: &mut Problems) -> Table {
    match named.get(key) {
        Some(Value::Table(table)) => table.clone(),
        None | Some(Value::Null | Value::Unknown) => Table::new(),
        Some(other) => {
            let place = SpecLocation::Value(Path::default().key(key));
            let problem = Problem::new("type", place, format!("expected a table, found {}", other.describe()));
            problems.push(problem.help(named_in_list(key, other)));
            Table::new()
        }
    }
}

#[cfg(test)]
#[path = "tests/job.rs"]
mod tests;
