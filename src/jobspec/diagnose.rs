//! Problems as people and machines read them.

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document, Problem, Problems, Severity,
    locate::{Located, line_and_column, locate},
    secret::masked,
};

/// Lines wider than this are cut around the place that matters.
const WIDTH: usize = 140;

/// One problem for a machine. Lines and columns count from 1, columns in characters; the end is exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// A fixed word: `unknown-key`.
    pub code: &'static str,
    /// `error` or `note`.
    pub severity: &'static str,
    /// The file, as given on the command line.
    pub file: String,
    /// Where it starts: the line
    pub line: usize,
    /// … and the column.
    pub column: usize,
    /// Where it ends: the line
    pub end_line: usize,
    /// … and the column.
    pub end_column: usize,
    /// The key concerned, `sinks.cache.route`; empty where there is none.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Finding {
    /// What is wrong with a file as a whole.
    pub fn of_file(file: &std::path::Path, message: String) -> Finding {
        Finding {
            code: "file",
            severity: "error",
            file: file.display().to_string(),
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 1,
            path: String::new(),
            message,
            help: None,
        }
    }
}

/// All problems in the order of the text, each with its line shown and its place underlined, and at the end
/// how many there are.
pub fn render(document: &Document, problems: &Problems, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
    let mut out = String::new();
    for (problem, located) in in_order(document, problems) {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Note => Level::NOTE,
        };
        let (message, text) = (masked(&problem.message), masked(located.text));
        let group = level.primary_title(message).element(snippet(&located, &text));
        let help = problem.help.as_deref().map(|help| Element::from(Level::HELP.message(masked(help))));
        out.push_str(&renderer.render(&[group.elements(help)]));
        out.push_str("\n\n");
    }
    out.push_str(&summary(document, problems));
    out
}

/// All problems in the order of the text, for `--format json` and `github`.
pub fn machine(document: &Document, problems: &Problems) -> Vec<Finding> {
    let finding = |(problem, located): (&Problem, Located<'_>)| {
        let (end_line, end_column) = line_and_column(located.text, located.range.end);
        Finding {
            code: problem.code,
            severity: match problem.severity {
                Severity::Error => "error",
                Severity::Note => "note",
            },
            file: located.name.into_owned(),
            line: located.line,
            column: located.column,
            end_line,
            end_column,
            path: problem.place.path().map(ToString::to_string).unwrap_or_default(),
            message: masked(&problem.message).into_owned(),
            help: problem.help.as_deref().map(|help| masked(help).into_owned()),
        }
    };
    in_order(document, problems).into_iter().map(finding).collect()
}

/// By text, the spec's own first, and within a text by place; equal places in the order they were found.
fn in_order<'a>(document: &'a Document, problems: &'a Problems) -> Vec<(&'a Problem, Located<'a>)> {
    let mut all: Vec<_> = problems.iter().map(|problem| (problem, locate(document, &problem.place))).collect();
    all.sort_by(|(_, a), (_, b)| {
        let key =
            |located: &Located<'_>| (located.name != document.name, located.name.to_string(), located.range.start);
        key(a).cmp(&key(b))
    });
    all
}

/// `text` is what is shown of the file; bytes are where they are in it.
fn snippet<'a>(located: &Located<'_>, text: &'a str) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    Snippet::source(text).path(located.name.to_string()).annotation(AnnotationKind::Primary.span(located.range.clone()))
}

/// `2 errors, 1 note in jobs/memc.toml`
fn summary(document: &Document, problems: &Problems) -> String {
    let count = |severity: Severity, word: &str| {
        let count = problems.iter().filter(|problem| problem.severity == severity).count();
        match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            more => Some(format!("{more} {word}s")),
        }
    };
    let parts: Vec<String> =
        [count(Severity::Error, "error"), count(Severity::Note, "note")].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("{} in {}\n", parts.join(", "), document.name) }
}

#[cfg(test)]
#[path = "tests/diagnose.rs"]
mod tests;
