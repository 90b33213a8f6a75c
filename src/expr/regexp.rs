//! Regular expressions: compiled once, when the expression is bound.

use regex::{Captures, Regex, RegexBuilder};

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(super) struct Regexp {
    /// As written, for the canonical text.
    pub(super) written: String,
    regex: Regex,
    /// `g`: every match is replaced, not only the first
    all: bool,
    /// `i`
    any_case: bool,
}

/// Why there is no regular expression.
pub(super) enum RegexpError {
    /// No option has that letter
    Option(char),
    /// The sentence says what is wrong with the pattern
    Pattern(String),
}

impl Regexp {
    /// Compiles a pattern with `options`, each of which must be among `legal`.
    ///
    /// # Errors
    /// The pattern is none, or too large; or there is no such option.
    pub(super) fn compile(written: &str, options: &str, legal: &str) -> Result<Regexp, RegexpError> {
        if let Some(unknown) = options.chars().find(|option| !legal.contains(*option)) {
            return Err(RegexpError::Option(unknown));
        }
        let any_case = options.contains('i');
        let regex = RegexBuilder::new(written).case_insensitive(any_case).build().map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            RegexpError::Pattern(format!("`{written}` is not a regular expression: {last}"))
        })?;
        Ok(Regexp { written: written.to_owned(), regex, all: options.contains('g'), any_case })
    }

    /// Can `replacement` be put in the place of a match?
    ///
    /// # Errors
    /// The sentence says what is wrong with it.
    pub(super) fn check_replacement(&self, replacement: &str) -> Result<(), String> {
        let groups = self.regex.captures_len() - 1;
        let mut rest = replacement;
        while let Some((_, after)) = rest.split_once('\\') {
            let mut chars = after.chars();
            match chars.next() {
                Some('\\') => {}
                Some(digit) if digit.is_ascii_digit() => {
                    if digit as usize - '0' as usize > groups {
                        return Err(format!("`\\{digit}` stands for a group, and `{}` has {groups}", self.written));
                    }
                }
                _ => return Err("after a `\\` stands the number of a group, or another `\\`".to_owned()),
            }
            rest = chars.as_str();
        }
        Ok(())
    }

    /// The options as one more argument, where there are any.
    pub(super) fn options(&self) -> &'static str {
        match (self.all, self.any_case) {
            (false, false) => "",
            (true, false) => ", 'g'",
            (false, true) => ", 'i'",
            (true, true) => ", 'gi'",
        }
    }

    /// Is it anywhere in `text`?
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Appends `text` to `out` with matches replaced. `\1` to `\9` in the replacement stand for groups, `\0` for
    /// the whole match.
    pub(super) fn replace(&self, text: &str, replacement: &str, out: &mut String) {
        let limit = if self.all { usize::MAX } else { 1 };
        let mut done = 0;
        for found in self.regex.captures_iter(text).take(limit) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(&text[done..whole.start()]);
            expand(replacement, &found, out);
            done = whole.end();
        }
        out.push_str(&text[done..]);
    }
}

fn expand(replacement: &str, found: &Captures<'_>, out: &mut String) {
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some(digit @ '0'..='9') => {
                let group = found.get(digit as usize - '0' as usize);
                out.push_str(group.map_or("", |group| group.as_str()));
            }
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}
