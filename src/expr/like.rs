//! `like` and `ilike`: patterns compiled once, matched without a regular expression.

use std::{fmt, str::Chars};

use memchr::memmem::Finder;

use super::quoted::Quoted;

/// A compiled pattern: parts of the text, with `%` between them.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As written, for the canonical text.
    written: String,
    escape: Option<char>,
    /// `ilike`: the text is brought to lower case, as the pattern was.
    any_case: bool,
    parts: Vec<Part>,
}

/// What stands between two `%`.
#[derive(Clone, Debug)]
enum Part {
    /// Plain text
    Text(Box<Finder<'static>>),
    /// Text with at least one `_`; `None` is any one character
    Wild(Vec<Option<char>>),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// It ends with the escape character, which then escapes nothing.
    pub(super) fn compile(written: &str, escape: Option<char>, any_case: bool) -> Result<Pattern, String> {
        let mut parts = vec![Vec::new()];
        let mut chars = written.chars();
        while let Some(c) = chars.next() {
            if c == '%' && escape != Some('%') {
                parts.push(Vec::new());
                continue;
            }
            let Some(part) = parts.last_mut() else { continue };
            if Some(c) == escape {
                let escaped =
                    chars.next().ok_or_else(|| format!("the pattern ends with its escape character `{c}`"))?;
                push(part, escaped, any_case);
            } else if c == '_' {
                part.push(None);
            } else {
                push(part, c, any_case);
            }
        }
        let parts = parts.into_iter().map(Part::new).collect();
        Ok(Pattern { written: written.to_owned(), escape, any_case, parts })
    }

    /// A function that matches one text after the other, with a scratch string between them.
    pub(super) fn matcher(&self) -> impl FnMut(&str) -> bool + '_ {
        let mut lower = String::new();
        move |text| {
            if !self.any_case {
                return self.matches(text);
            }
            lower.clear();
            lower.extend(text.chars().map(lowered));
            self.matches(&lower)
        }
    }

    /// The first part at the start, the last at the end, those between them as early as they fit.
    fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = self.parts.as_slice() else { return text.is_empty() };
        let Some(mut text) = first.strip_start(text) else { return false };
        let [between @ .., last] = rest else { return text.is_empty() };
        for part in between {
            match part.skip_past(text) {
                Some(after) => text = after,
                None => return false,
            }
        }
        last.ends(text)
    }
}

fn push(part: &mut Vec<Option<char>>, c: char, any_case: bool) {
    part.push(Some(if any_case { lowered(c) } else { c }));
}

/// One character for each, so that `_` stands for one of the text as it was: `İ` becomes `i`.
fn lowered(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

impl Part {
    fn new(chars: Vec<Option<char>>) -> Part {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(text) => Part::Text(Box::new(Finder::new(&text).into_owned())),
            None => Part::Wild(chars),
        }
    }

    /// The text after this part, which must stand at its start.
    fn strip_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Part::Text(finder) => text.as_bytes().starts_with(finder.needle()).then(|| &text[finder.needle().len()..]),
            Part::Wild(wild) => {
                let mut chars = text.chars();
                let all_fit = wild.iter().all(|&want| fits(want, chars.next()));
                all_fit.then_some(chars.as_str())
            }
        }
    }

    /// The text after the first place where this part fits.
    fn skip_past<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Part::Text(finder) => finder.find(text.as_bytes()).map(|at| &text[at + finder.needle().len()..]),
            Part::Wild(_) => text.char_indices().find_map(|(at, _)| self.strip_start(&text[at..])),
        }
    }

    /// Does the text end with this part?
    fn ends(&self, text: &str) -> bool {
        match self {
            Part::Text(finder) => text.as_bytes().ends_with(finder.needle()),
            Part::Wild(wild) => {
                let mut chars: std::iter::Rev<Chars<'_>> = text.chars().rev();
                wild.iter().rev().all(|&want| fits(want, chars.next()))
            }
        }
    }
}

fn fits(want: Option<char>, got: Option<char>) -> bool {
    got.is_some_and(|got| want.is_none_or(|want| want == got))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}like {}", if self.any_case { "i" } else { "" }, Quoted(&self.written))?;
        match self.escape {
            Some(escape) => write!(f, " escape {}", Quoted(&escape.to_string())),
            None => Ok(()),
        }
    }
}
