//! Reads a spec's text and turns it into values. Only this file and those in `load/` know the two spellings.

mod from_toml;
mod from_yaml;

use std::{fs::File, io::Read, ops::Range};

use super::{
    Path, Problem, Problems, SpecLocation, Table, Value,
    mark::{Mark, Override},
};
use crate::failure::Failure;

/// A spec with more bytes than this is refused.
const MAX_BYTES: u64 = 1 << 20;

/// Tables and lists may lie this deep in each other.
const MAX_DEPTH: usize = 64;

/// A job spec: its text, its values, and what ties the two together.
#[derive(Clone, Debug)]
pub struct Document {
    /// What the user calls it: the path as given.
    pub name: String,
    /// The text as read.
    pub text: String,
    /// How it is spelt.
    pub format: Format,
    /// Its values, overrides included. [`Value::Unknown`] where the text could not be parsed.
    pub root: Value,
    /// The environment variables it names, once it has been interpolated.
    pub variables: Vec<Variable>,
    pub(super) marks: Mark,
    pub(super) overrides: Vec<Override>,
}

/// The two spellings of the job language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
}

/// An environment variable that a spec names. Its value is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The text that names it.
    pub path: Path,
    /// Where its value came from.
    pub from: ValueOf,
}

/// Where the value of a variable came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueOf {
    /// The environment.
    Environment,
    /// The default in the spec.
    Default,
    /// Nowhere.
    Nowhere,
}

impl Format {
    /// The format that the file name's extension stands for.
    fn of(path: &std::path::Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "toml" => Some(Format::Toml),
            "yaml" | "yml" => Some(Format::Yaml),
            _ => None,
        }
    }
}

/// Reads the spec at `path`. What is wrong with its text is recorded; the document then has no values.
///
/// # Errors
/// The file does not exist or cannot be read.
pub fn load(path: &std::path::Path, problems: &mut Problems) -> Result<Document, Failure> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| Failure::reading(path, &error))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Failure::reading(path, &error))?;
    let whole = || SpecLocation::Key(Path::default());
    let Some(format) = Format::of(path) else {
        let help = Some("a job spec is a `.toml`, `.yaml` or `.yml` file".to_owned());
        problems.push(Problem::new("format", whole(), "the file name does not say how the spec is spelt").help(help));
        return Ok(Document::unread(&name, Format::Toml));
    };
    if bytes.len() as u64 > MAX_BYTES {
        problems.push(Problem::new("too-large", whole(), format!("a job spec may have {MAX_BYTES} bytes at most")));
        return Ok(Document::unread(&name, format));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Document::parse(&name, &text, format, problems)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            problems.push(Problem::new("encoding", whole(), format!("the file is not UTF-8 from byte {at} on")));
            Ok(Document::unread(&name, format))
        }
    }
}

impl Document {
    /// Parses `text`. What is wrong with it is recorded; the document then has no values.
    pub fn parse(name: &str, text: &str, format: Format, problems: &mut Problems) -> Document {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parsed = match format {
            Format::Toml => from_toml::parse(text),
            Format::Yaml => from_yaml::parse(text),
        };
        let mut document = Document { text: text.to_owned(), ..Document::unread(name, format) };
        match parsed {
            Ok((root, marks)) => (document.root, document.marks) = (root, marks),
            Err(found) => found.into_iter().for_each(|problem| problems.push(problem)),
        }
        document
    }

    fn unread(name: &str, format: Format) -> Document {
        Document {
            name: name.to_owned(),
            text: String::new(),
            format,
            root: Value::Unknown,
            variables: Vec::new(),
            marks: Mark::default(),
            overrides: Vec::new(),
        }
    }
}

/// The TOML value that `text` spells, and the places of its parts.
pub(super) fn parse_value(text: &str) -> Option<(Value, Mark)> {
    from_toml::parse_value(text)
}

fn empty() -> (Value, Mark) {
    (Value::Table(Table::new()), Mark::default())
}

/// A problem that ends the parsing; boxed, for it is larger than what it is returned in place of.
fn stop(code: &'static str, place: Range<usize>, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(code, SpecLocation::Text(place), message))
}

fn too_deep(place: Range<usize>) -> Box<Problem> {
    stop("nesting", place, format!("tables and lists may be nested {MAX_DEPTH} deep at most"))
}

#[cfg(test)]
#[path = "tests/load.rs"]
mod tests;
