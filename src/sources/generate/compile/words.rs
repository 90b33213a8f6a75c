//! The generators of text.

use super::{
    Call, Compiler, Plain, Scope,
    args::{Bad, Read, wrong},
};
use crate::{
    batch::ColumnType,
    jobspec::{Path, Problem, SpecLocation, Value, nearest},
    sources::generate::{
        fakes::{self, Faker, Locale},
        node::Make,
        pick::Permutation,
        rng::hash,
        values::{self, Pattern, Piece, Texts},
    },
};

/// Keeps the fakes of a template apart from each other.
const PIECES: u64 = 0x7069_6563_6573;

const DIGITS: &[u8] = b"0123456789";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const HEX_DIGITS: &[u8] = b"0123456789abcdef";

fn text(texts: Texts) -> Plain {
    Plain::new(Make::Text(texts), ColumnType::String)
}

pub(super) fn uuid(compiler: &mut Compiler<'_>, call: &Call<'_>) -> Result<Plain, Bad> {
    compiler.args(call, &[])?;
    Ok(text(Texts::Uuid))
}

/// The text that a generator consists of.
fn read(compiler: &mut Compiler<'_>, value: &Value, path: &Path, expected: &str) -> Result<String, Bad> {
    String::read(value).ok_or_else(|| {
        wrong(value, path, expected, compiler.problems);
        Bad
    })
}

pub(super) fn pattern(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let written = read(compiler, call.value, &call.path, "a pattern such as `??-####`")?;
    let Some(parts) = parts(&written) else {
        let place = SpecLocation::inside(call.path.clone(), written.len() - 1..written.len());
        let message = "nothing follows the `\\` that keeps the next character as it is";
        compiler.problems.push(Problem::new("pattern", place, message));
        return Err(Bad);
    };
    let distinct = if call.unique {
        let (counted, domain) = domain(&parts);
        compiler.enough(call, scope, u128::from(domain))?;
        Some((counted, Permutation::new(domain)))
    } else {
        None
    };
    Ok(text(Texts::Pattern(Pattern { parts, distinct })))
}

/// The parts of a pattern; `None` where it ends with a lone `\`.
fn parts(written: &str) -> Option<Vec<values::Part>> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        let legal = match c {
            '#' => DIGITS,
            '?' => LETTERS,
            '^' => HEX_DIGITS,
            '\\' => {
                plain.push(chars.next()?);
                continue;
            }
            c => {
                plain.push(c);
                continue;
            }
        };
        if !plain.is_empty() {
            parts.push(values::Part::Text(std::mem::take(&mut plain).into()));
        }
        parts.push(values::Part::OneOf(legal));
    }
    if !plain.is_empty() {
        parts.push(values::Part::Text(plain.into()));
    }
    Some(parts)
}

/// How many of the last random characters can be counted through, and how many texts they make.
fn domain(parts: &[values::Part]) -> (usize, u64) {
    let sizes = parts.iter().rev().filter_map(|part| match part {
        values::Part::OneOf(legal) => Some(legal.len() as u64),
        values::Part::Text(_) => None,
    });
    let (mut counted, mut domain) = (0, 1_u64);
    for size in sizes {
        match domain.checked_mul(size).filter(|domain| *domain <= Permutation::MAX) {
            Some(more) => (counted, domain) = (counted + 1, more),
            None => break,
        }
    }
    (counted, domain)
}

/// A part of a template as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it stands.
    Text(String),
    /// A name, and where it stands in the text.
    Name(String, std::ops::Range<usize>),
}

impl Part {
    /// The name, where it is one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Part::Name(name, _) => Some(name),
            Part::Text(_) => None,
        }
    }
}

/// The parts of a template; where a `{` is never closed, its place.
pub(super) fn pieces(written: &str) -> Result<Vec<Part>, usize> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = written;
    while let Some(at) = rest.find(['{', '}']) {
        let start = written.len() - rest.len() + at;
        plain.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
        } else if brace == "}" {
            plain.push('}');
            rest = after;
        } else {
            let (name, after) = after.split_once('}').ok_or(start)?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Name(name.trim().to_owned(), start + 1..start + 1 + name.len()));
            rest = after;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

pub(super) fn template(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let written = read(compiler, call.value, &call.path, "a template such as `{company}: {catch_phrase}`")?;
    let locale = locale(compiler, call);
    let parts = pieces(&written).map_err(|start| {
        let place = SpecLocation::inside(call.path.clone(), start..start + 1);
        compiler.problems.push(Problem::new("template", place, "this `{` is never closed; `{{` stands for one"));
        Bad
    })?;
    let locale = locale?;
    let mut pieces = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => pieces.push(Piece::Text(text.as_str().into())),
            // What is wrong with the field has been recorded.
            Part::Name(name, _) if scope.record.has(name) => {
                pieces.extend(scope.record.position(name).map(Piece::Field));
            }
            Part::Name(name, range) => {
                let place = SpecLocation::inside(call.path.clone(), range.clone());
                let faker = part_faker(compiler, name, locale, scope, place);
                pieces.extend(faker.map(|faker| Piece::Fake(faker, hash(PIECES, i as u64))));
            }
        }
    }
    compiler.refuse_unique(call, "its parts may come together again")?;
    if pieces.len() < parts.len() { Err(Bad) } else { Ok(text(Texts::Template(pieces))) }
}

/// The fake that a name in a template stands for.
fn part_faker(
    compiler: &mut Compiler<'_>,
    name: &str,
    locale: Locale,
    scope: Scope<'_>,
    place: SpecLocation,
) -> Option<Faker> {
    if fakes::is_known(name) {
        return find(compiler, name, locale, place).ok();
    }
    let mut legal: Vec<&str> = scope.record.names().collect();
    legal.extend(fakes::every_name().map(|name| -> &str { name }));
    let message = format!("`{name}` is neither a field of the record nor a fake");
    let help = nearest(name, legal).filter(|help| short(help));
    compiler.problems.push(Problem::new("unknown-name", place, message).help(help));
    None
}

/// A list of all fakes is no help; the command that lists them is.
fn short(help: &str) -> bool {
    help.starts_with("did you mean")
}

pub(super) fn fake(compiler: &mut Compiler<'_>, call: &Call<'_>) -> Result<Plain, Bad> {
    let locale = locale(compiler, call);
    let name = read(compiler, call.value, &call.path, "the name of a fake, such as `name`")?;
    let faker = find(compiler, &name, locale?, SpecLocation::value(call.path.clone()))?;
    compiler.refuse_unique(call, "made-up text comes again")?;
    Ok(text(Texts::Fake(faker)))
}

fn locale(compiler: &mut Compiler<'_>, call: &Call<'_>) -> Result<Locale, Bad> {
    let Some(value) = call.locale else { return Ok(Locale::default()) };
    let path = call.outer.entry("locale");
    let name = read(compiler, value, &path, "the name of a locale, such as `de_de`")?;
    Locale::find(&name).ok_or_else(|| {
        let help = nearest(&name, Locale::names());
        let problem = Problem::new("unknown-locale", SpecLocation::value(path), format!("there is no locale `{name}`"));
        compiler.problems.push(problem.help(help));
        Bad
    })
}

fn find(compiler: &mut Compiler<'_>, name: &str, locale: Locale, place: SpecLocation) -> Result<Faker, Bad> {
    let problem = match fakes::find(name, locale) {
        Ok(faker) => return Ok(faker),
        Err(fakes::Missing::Name) => {
            let help = nearest(name, fakes::every_name()).filter(|help| short(help));
            let help = help.unwrap_or_else(|| "`runner generators` lists them all".to_owned());
            Problem::new("unknown-fake", place, format!("there is no fake `{name}`")).help(Some(help))
        }
        Err(fakes::Missing::Locale(locales)) => {
            let help = Some(format!("`locale` may be {}", locales.join(", ")));
            let message = format!("there is no fake `{name}` for the locale `{}`", locale.name());
            Problem::new("unknown-locale", place, message).help(help)
        }
    };
    compiler.problems.push(problem);
    Err(Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_taken_apart() {
        let name = |name: &str, range| Part::Name(name.into(), range);
        let text = |text: &str| Part::Text(text.into());
        for (written, wanted) in [
            ("{a}:{b}", vec![name("a", 1..2), text(":"), name("b", 5..6)]),
            ("x{{y}}{ a }", vec![text("x{y}"), name("a", 7..10)]),
            ("", vec![]),
            ("a } b", vec![text("a } b")]),
        ] {
            assert_eq!(pieces(written), Ok(wanted), "{written}");
        }
        assert_eq!(pieces("ab {c"), Err(3));
    }

    #[test]
    fn the_domain_of_a_pattern_is_counted_from_its_end() {
        let count = |written: &str| domain(&parts(written).unwrap());
        assert_eq!(count("??-####"), (6, 26 * 26 * 10_000));
        assert_eq!(count("\\#^"), (1, 16));
        assert_eq!(count(&"#".repeat(30)), (18, 10_u64.pow(18)));
        assert_eq!(parts("ab\\"), None);
    }
}
