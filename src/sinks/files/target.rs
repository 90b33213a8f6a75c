//! Where rows go: a path in which the split, the date of the run and values of columns may stand.

use sha2::{Digest, Sha256};

use crate::{
    batch::{ColumnType, Schema},
    jobspec,
    values::{
        cell::{Cell, CellStyle, as_it_is},
        hex,
    },
};

/// A path with places to fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Split,
    Date,
    Column(usize),
}

impl Target {
    /// Reads a path. `{split}` and `{date}` mean these, also where there is a column of the name.
    ///
    /// # Errors
    /// A place that nothing can stand in; the sentence says why.
    pub(super) fn parse(path: &str, schema: &Schema) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = path;
        while let Some(open) = rest.find('{') {
            let Some(len) = rest[open..].find('}') else { break };
            parts.push(Part::Text(rest[..open].to_owned()));
            parts.push(place(&rest[open + 1..open + len], schema)?);
            rest = &rest[open + len + 1..];
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Target { parts })
    }

    /// Is it just this path?
    pub(super) fn is(&self, path: &str) -> bool {
        matches!(self.parts.as_slice(), [Part::Text(text)] if text == path)
    }

    /// A path that it may become, with what no name begins with in place of values.
    pub(super) fn sample(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Split => "00000".to_owned(),
            Part::Date => "2000-01-01".to_owned(),
            Part::Column(_) => char::REPLACEMENT_CHARACTER.to_string(),
        };
        self.parts.iter().map(part).collect()
    }

    /// Does the split stand in it?
    pub(super) fn by_split(&self) -> bool {
        self.parts.contains(&Part::Split)
    }

    /// Do values stand in it?
    pub(super) fn by_value(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Column(_)))
    }

    /// Appends to `out` the path of the row at `row`. `scratch` is room for a value.
    pub(super) fn fill(
        &self,
        cells: &[Cell<'_>],
        row: usize,
        split: u32,
        date: &str,
        scratch: &mut Vec<u8>,
        out: &mut String,
    ) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Split => out.push_str(&format!("{split:05}")),
                Part::Date => out.push_str(date),
                Part::Column(column) => {
                    scratch.clear();
                    let cell = &cells[*column];
                    let style = CellStyle::PLAIN;
                    if !cell.is_valid(row) {
                        out.push_str("%null");
                    } else if cell.write(row, &style, &as_it_is, scratch).is_err() {
                        out.push_str("%invalid");
                    } else {
                        escape(scratch, out);
                    }
                }
            }
        }
    }
}

fn place(name: &str, schema: &Schema) -> Result<Part, String> {
    match name {
        "split" => return Ok(Part::Split),
        "date" => return Ok(Part::Date),
        _ => {}
    }
    let Some((i, column)) = schema.find(name) else {
        let names = schema.columns().iter().map(|column| column.name.as_str());
        let help = jobspec::nearest(name, names.chain(["split", "date"])).unwrap_or_default();
        return Err(format!("`{{{name}}}` is not a column, split or date; {help}"));
    };
    let fits = column.column_type.is_integer()
        || matches!(column.column_type, ColumnType::String | ColumnType::Bool | ColumnType::Date);
    if !fits {
        return Err(format!("column `{name}` cannot stand in a path: {}", column.column_type));
    }
    Ok(Part::Column(i))
}

/// A value takes at most so many bytes of a path.
const LONG: usize = 120;

/// Appends a value as a part of a name that cannot leave its folder, be hidden or be mistaken for another: all
/// but letters, digits, `-`, `_`, spaces and inner dots becomes `%` and two hexadecimal digits. Of a long value
/// the start is kept and a hash added.
fn escape(value: &[u8], out: &mut String) {
    if value.is_empty() {
        out.push_str("%empty");
        return;
    }
    let mut escaped = String::new();
    let text = String::from_utf8_lossy(value);
    for (i, character) in text.chars().enumerate() {
        let plain = character.is_alphanumeric() || matches!(character, '-' | '_' | ' ') || (character == '.' && i > 0);
        if plain {
            escaped.push(character);
        } else {
            character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escaped.push_str(&format!("%{byte:02X}")));
        }
        if escaped.len() > LONG {
            let hash = Sha256::digest(value);
            let end = (0..=LONG - 20).rev().find(|end| escaped.is_char_boundary(*end)).unwrap_or(0);
            escaped.truncate(end);
            escaped.push_str("%~");
            escaped.push_str(&hex::text(&hash[..8]));
            break;
        }
    }
    out.push_str(&escaped);
}

/// The name of part `number` of a file: the number stands before the first dot of its name, but the one it
/// begins with.
pub(super) fn numbered(path: &str, number: u32) -> String {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = path[name..].char_indices().skip(1).find(|(_, character)| *character == '.');
    let dot = dot.map_or(path.len(), |(at, _)| name + at);
    format!("{}-{number:05}{}", &path[..dot], &path[dot..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_in_their_folder() {
        let long = "x".repeat(500);
        let cases = [
            ("SE", "SE"),
            ("", "%empty"),
            ("..", "%2E."),
            (".", "%2E"),
            (".hidden", "%2Ehidden"),
            ("a.b", "a.b"),
            ("a/b", "a%2Fb"),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            ("a\0b", "a%00b"),
            ("a\\b:c", "a%5Cb%3Ac"),
            ("%null", "%25null"),
            ("São Tomé", "São Tomé"),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            escape(value.as_bytes(), &mut out);
            assert_eq!(out, expected);
        }
        let other = format!("{long}y");
        let [one, two] = [&long, &other].map(|value| {
            let mut out = String::new();
            escape(value.as_bytes(), &mut out);
            out
        });
        assert!(one.len() < 130 && one.starts_with("xxx") && one.contains("%~"));
        assert_ne!(one, two, "long values that begin alike have files of their own");
    }

    #[test]
    fn parts_are_numbered_before_the_ending() {
        for (path, expected) in [
            ("a", "a-00007"),
            ("out/a.ndjson.gz", "out/a-00007.ndjson.gz"),
            ("o.ut/a", "o.ut/a-00007"),
            ("o/.a.tsv", "o/.a-00007.tsv"),
        ] {
            assert_eq!(numbered(path, 7), expected);
        }
    }
}
