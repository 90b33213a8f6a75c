//! What is wrong with a spec, and where: a path into its values, or a place in another file.

use std::{fmt, ops::Range, path::PathBuf};

/// The way from a spec's root to a value: `sinks.cache.servers.idfa`, `sources.installs.columns[4]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into a table
    Key(String),
    /// Into a list
    Index(usize),
}

impl Path {
    /// This path and a key more. The key may be dotted: `columns.year` is two steps.
    pub fn key(&self, key: &str) -> Path {
        let steps = key.split('.').map(|part| Step::Key(part.to_owned()));
        Path(self.0.iter().cloned().chain(steps).collect())
    }

    /// This path and a key more, taken as it is, dots and all.
    pub fn entry(&self, key: &str) -> Path {
        Path(self.0.iter().cloned().chain([Step::Key(key.to_owned())]).collect())
    }

    /// This path and a place in a list more.
    pub fn index(&self, index: usize) -> Path {
        Path(self.0.iter().cloned().chain([Step::Index(index)]).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecLocation {
    /// The key that a path ends with; the whole file for the empty path.
    Key(Path),
    /// The value at a path.
    Value(Path),
    /// Bytes of the text at a path, counted in the decoded string.
    Inside(Path, Range<usize>),
    /// Bytes of the spec's own text: it could not even be parsed.
    Text(Range<usize>),
    /// Bytes of another file that the spec names, whose text is given.
    File(PathBuf, String, Range<usize>),
}

impl SpecLocation {
    /// The value at `path`.
    pub fn value(path: Path) -> SpecLocation {
        SpecLocation::Value(path)
    }

    /// The key that `path` ends with.
    pub fn key(path: Path) -> SpecLocation {
        SpecLocation::Key(path)
    }

    /// The path, where it has one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            SpecLocation::Key(path) | SpecLocation::Value(path) | SpecLocation::Inside(path, _) => Some(path),
            SpecLocation::Text(_) | SpecLocation::File(..) => None,
        }
    }

    /// Bytes `range` of the text at `path`.
    pub fn inside(path: Path, range: Range<usize>) -> SpecLocation {
        SpecLocation::Inside(path, range)
    }
}

/// Does a problem make the spec invalid?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The spec is invalid.
    Error,
    /// Worth knowing; the spec is valid.
    Note,
}

/// One thing wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A fixed word for tests and machines: `unknown-key`, `type`, `expression` …
    pub code: &'static str,
    /// Error or note.
    pub severity: Severity,
    /// Where.
    pub place: SpecLocation,
    /// One sentence: lower case, names in backticks, no full stop.
    pub message: String,
    /// What would be right: `did you mean `route`?`, the legal values.
    pub help: Option<String>,
}

impl Problem {
    /// An error.
    pub fn new(code: &'static str, place: SpecLocation, message: impl Into<String>) -> Self {
        Problem { code, severity: Severity::Error, place, message: message.into(), help: None }
    }

    /// The same with a hint.
    pub fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// The same as a note.
    pub fn note(mut self) -> Self {
        self.severity = Severity::Note;
        self
    }
}

/// The code of what is wrong with a variable in a text.
pub(super) const VARIABLE: &str = "variable";

/// Everything wrong with a spec, in the order it was found.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Records one more. One that is already there is not recorded twice. Nor is what follows from a variable without a
    /// value: what a text says that is not known cannot be right or wrong. Only a whole job cannot be one.
    pub fn push(&mut self, problem: Problem) {
        let whole = Path::default();
        let at = problem.place.path().filter(|path| **path != whole);
        let unknown = |known: &Problem| known.code == VARIABLE && at.is_some() && known.place.path() == at;
        let follows = problem.code != VARIABLE && self.0.iter().any(unknown);
        if !follows && !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Is any of them an error?
    pub fn any_error(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The legal name that `name` may be a slip of the keyboard for.
pub(super) fn near<'a>(name: &str, legal: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    legal
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(name.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// What other tools call a thing, and what it is called here.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("sources", &["inputs", "readers", "extract", "extractors"]),
    ("transforms", &["steps", "tasks", "stages", "jobs", "processors", "pipeline", "transformations", "transform"]),
    ("sinks", &["outputs", "writers", "targets", "destinations", "loaders", "load"]),
    ("type", &["kind", "connector", "plugin"]),
    ("input", &["inputs", "from", "source", "upstream", "depends_on", "needs"]),
    ("concurrency", &["workers", "threads", "parallelism"]),
    ("path", &["file", "filename", "files", "glob", "location"]),
    ("columns", &["fields", "schema", "select"]),
    ("where", &["condition", "filter", "predicate", "expression"]),
    ("database", &["db", "dsn"]),
    ("by", &["group_by", "order_by", "keys", "key"]),
];

/// The legal name for what other tools call `name`.
fn synonym<'a>(name: &str, legal: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let mut legal = legal.into_iter();
    legal.find(|here| SYNONYMS.iter().any(|(word, others)| word == here && others.contains(&name.as_str())))
}

/// The legal name that was meant: one that is called so elsewhere, or one that is spelt nearly so.
pub fn meant<'a>(name: &str, legal: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let legal: Vec<&str> = legal.into_iter().collect();
    synonym(name, legal.iter().copied()).or_else(|| near(name, legal))
}

/// How many letters must be changed, added, left out or swapped to make one name the other, in any case.
pub(super) fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(&one.to_lowercase(), &other.to_lowercase())
}

/// `did you mean `X`?` for the legal name nearest to `name`, or the list of legal names where none is near.
pub fn nearest<'a>(name: &str, legal: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let legal: Vec<&str> = legal.into_iter().collect();
    match meant(name, legal.iter().copied()) {
        Some(candidate) => Some(format!("did you mean `{candidate}`?")),
        None if legal.is_empty() => None,
        None => Some(format!("legal here: {}", legal.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))),
    }
}
