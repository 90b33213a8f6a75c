//! Puts environment variables into a spec's texts, after parsing: what a variable holds can never become
//! structure. `${NAME}` is a variable, `${NAME:-default}` one with a default, `$$` a dollar.

use std::ops::Range;

use super::{
    Document, Path, Problem, Problems, SpecLocation, Value,
    load::{ValueOf, Variable},
    problem::VARIABLE,
};

/// What a variable without a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An error: the job is about to run.
    Run,
    /// A note: the spec is only checked, elsewhere than where it runs.
    Check,
}

impl Document {
    /// Replaces the variables in all text values, keys excepted. All that cannot be replaced is recorded.
    pub fn interpolate(&mut self, mode: Mode, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        let mut walk = Walk { mode, env, problems, variables: Vec::new() };
        walk.value(&mut self.root, &Path::default());
        self.variables = walk.variables;
    }
}

struct Walk<'a> {
    mode: Mode,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Problems,
    variables: Vec<Variable>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, path: &Path) {
        match value {
            Value::List(items) => {
                items.iter_mut().enumerate().for_each(|(index, item)| self.value(item, &path.index(index)));
            }
            Value::Table(table) => table.iter_mut().for_each(|(key, item)| self.value(item, &path.entry(key))),
            Value::Text(text) if text.contains('$') => {
                let text = std::mem::take(text);
                *value = self.text(&text, path);
            }
            _ => {}
        }
    }

    /// What a text becomes. One that cannot be put together stays as it was written, or is unknown: so the
    /// places of problems in it stay right.
    fn text(&mut self, text: &str, path: &Path) -> Value {
        let mut out = String::with_capacity(text.len());
        let mut substituted = false;
        let mut complete = true;
        let mut wrong = false;
        for part in parts(text) {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Malformed { range, message } => {
                    wrong = true;
                    let place = SpecLocation::inside(path.clone(), range);
                    let help = Some("a variable is written `${NAME}` or `${NAME:-default}`, a dollar `$$`".to_owned());
                    self.problems.push(Problem::new(VARIABLE, place, message).help(help));
                }
                Part::Variable { range, name, default } => {
                    substituted = true;
                    match self.lookup(name, default, path, &range) {
                        Some(value) => out.push_str(&value),
                        None => {
                            complete = false;
                            wrong |= self.mode == Mode::Run || range == (0..text.len());
                        }
                    }
                }
            }
        }
        match (wrong, complete, substituted) {
            (true, ..) => Value::Unknown,
            (_, false, _) => Value::Substituted(text.to_owned()),
            (.., true) => Value::Substituted(out),
            (.., false) => Value::Text(out),
        }
    }

    /// The value of a variable; that it has none is recorded.
    fn lookup(&mut self, name: &str, default: Option<&str>, path: &Path, range: &Range<usize>) -> Option<String> {
        // As in a shell, `:-` also replaces what is set but empty.
        let set = (self.env)(name).filter(|value| default.is_none() || !value.is_empty());
        let from = match (&set, default) {
            (Some(_), _) => ValueOf::Environment,
            (None, Some(_)) => ValueOf::Default,
            (None, None) => ValueOf::Nowhere,
        };
        self.variables.push(Variable { name: name.to_owned(), path: path.clone(), from });
        if from == ValueOf::Nowhere {
            let place = SpecLocation::inside(path.clone(), range.clone());
            let message = format!("the environment variable `{name}` is not set");
            let help = Some(format!("set it, or give a default: `${{{name}:-…}}`"));
            let problem = Problem::new(VARIABLE, place, message).help(help);
            self.problems.push(if self.mode == Mode::Check { problem.note() } else { problem });
        }
        set.or_else(|| default.map(str::to_owned))
    }
}

/// A piece of a text.
enum Part<'t> {
    Literal(&'t str),
    Variable { range: Range<usize>, name: &'t str, default: Option<&'t str> },
    Malformed { range: Range<usize>, message: &'static str },
}

/// Cuts a text into its pieces.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$').map(|found| at + found) {
        parts.push(Part::Literal(&text[at..dollar]));
        let after = &text[dollar + 1..];
        if after.starts_with('$') {
            parts.push(Part::Literal("$"));
            at = dollar + 2;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}').map(|length| dollar + 2 + length);
            parts.push(variable(text, dollar, end));
            at = end.map_or(text.len(), |end| end + 1);
        } else {
            parts.push(Part::Literal("$"));
            at = dollar + 1;
        }
    }
    parts.push(Part::Literal(&text[at..]));
    parts
}

/// The variable that starts at `dollar` and whose `}` is at `end`.
fn variable(text: &str, dollar: usize, end: Option<usize>) -> Part<'_> {
    let Some(end) = end else {
        return Part::Malformed { range: dollar..text.len(), message: "`${` has no `}`" };
    };
    let range = dollar..end + 1;
    let inner = &text[dollar + 2..end];
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let mut letters = name.chars();
    let starts_well = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if name.is_empty() {
        Part::Malformed { range, message: "the variable has no name" }
    } else if starts_well && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Part::Variable { range, name, default }
    } else {
        Part::Malformed { range, message: "a variable's name has letters, digits and `_` only" }
    }
}

#[cfg(test)]
#[path = "tests/interpolate.rs"]
mod tests;
