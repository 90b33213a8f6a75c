//! `runner check`: validates specs offline. It builds the very plan that `run` runs, but needs none of the
//! environment: a variable without a value is a note here.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Path, PathBuf},
};

use super::{
    Compiled,
    args::{Check, CheckFormat},
    check_sets, compile, complain, err, out, show, told,
};
use crate::{
    failure::{Exit, Failure},
    jobspec::{self, Finding, Mode, Path as JobPath, Problem, SpecLocation},
    plan::Plan,
    report::printable,
};

/// Checks every spec; the answer is 78 where one of them is invalid.
pub(super) fn check(args: &Check) -> Exit {
    let specs = match find(&args.paths) {
        Ok(specs) => specs,
        Err(failure) => {
            complain(&failure);
            return failure.exit;
        }
    };
    if let Err(failure) = check_sets(&specs, &args.set) {
        return told(failure);
    }
    let mut worst = Exit::Done;
    let mut names = Names::default();
    for path in &specs {
        match compile(path, &args.set, Mode::Check) {
            Ok(mut compiled) => {
                if let Some(problem) = compiled.plan.as_ref().and_then(|plan| names.taken(path, plan)) {
                    compiled.problems.push(problem);
                    compiled.plan = None;
                }
                if compiled.plan.is_none() {
                    worst = Exit::Spec;
                }
                let written = tell(path, &compiled, args.format);
                if written != Exit::Done {
                    return written;
                }
            }
            Err(failure) if args.format == CheckFormat::Text => return told(failure),
            Err(failure) => {
                let finding = Finding::of_file(path, failure.message);
                tell_findings(&[finding], args.format);
                return failure.exit;
            }
        }
    }
    worst
}

/// The jobs of several specs. Two that share a name and a state directory would take each other's lock, ledger and
/// report for their own.
#[derive(Default)]
pub(super) struct Names(HashMap<(PathBuf, String), PathBuf>);

impl Names {
    /// What is wrong where another spec has the name already.
    pub(super) fn taken(&mut self, spec: &Path, plan: &Plan) -> Option<Problem> {
        match self.0.entry((plan.state.clone(), plan.name.clone())) {
            Entry::Vacant(free) => {
                free.insert(spec.to_owned());
                None
            }
            // The same file twice is the same job twice.
            Entry::Occupied(first) if first.get() == spec => None,
            Entry::Occupied(first) => {
                let message = format!(
                    "`{}` has the name `{}` too, and its state in the same place",
                    first.get().display(),
                    plan.name
                );
                let help = Some("give one of them another `name`, or a `state.path` of its own".to_owned());
                let place = SpecLocation::value(JobPath::default().key("name"));
                Some(Problem::new("same-name", place, message).help(help))
            }
        }
    }
}

fn tell(path: &Path, compiled: &Compiled, format: CheckFormat) -> Exit {
    match format {
        CheckFormat::Text => {
            if !compiled.problems.is_empty() {
                show(compiled);
            }
            if let Some(plan) = &compiled.plan {
                let path = path.display().to_string();
                err(&format!("{}: job {} is valid, plan {}\n", printable(&path), plan.name, plan.digest));
            }
            Exit::Done
        }
        CheckFormat::Json | CheckFormat::Github => {
            tell_findings(&jobspec::machine(&compiled.document, &compiled.problems), format)
        }
    }
}

fn tell_findings(findings: &[Finding], format: CheckFormat) -> Exit {
    let line = |finding: &Finding| match format {
        CheckFormat::Github => annotation(finding),
        _ => serde_json::to_string(finding).unwrap_or_default() + "\n",
    };
    out(&findings.iter().map(line).collect::<String>())
}

/// A workflow command of GitHub Actions: `::error file=…,line=…::message`.
fn annotation(finding: &Finding) -> String {
    let Finding { severity, file, line, column, end_line, end_column, message, help, .. } = finding;
    let level = if *severity == "note" { "notice" } else { severity };
    let text = help.as_ref().map_or_else(|| message.clone(), |help| format!("{message}; {help}"));
    let place =
        format!("file={},line={line},col={column},endLine={end_line},endColumn={end_column}", escaped(file, true));
    format!("::{level} {place}::{}\n", escaped(&text, false))
}

/// What GitHub's runner would take for its own syntax is percent-encoded.
fn escaped(text: &str, property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

/// The specs that paths stand for: files as they are, folders with all the specs in them and below, sorted.
fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            walk(path, &mut found)?;
            found[before..].sort();
        } else {
            found.push(path.clone());
        }
    }
    if found.is_empty() {
        return Err(Failure::new(Exit::InputMissing, "no job spec found: they end in `.toml`, `.yaml` or `.yml`"));
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::reading(folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| Failure::reading(folder, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let spec = path.extension().is_some_and(|ext| ext == "toml" || ext == "yaml" || ext == "yml");
        if hidden {
            continue;
        } else if path.is_dir() {
            walk(&path, found)?;
        } else if spec {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_cannot_be_broken_out_of() {
        let finding = Finding {
            code: "type",
            severity: "note",
            file: "a,b:c.toml".into(),
            line: 1,
            column: 2,
            end_line: 1,
            end_column: 3,
            path: String::new(),
            message: "100 %\n::error::x".into(),
            help: None,
        };
        let expected = "::notice file=a%2Cb%3Ac.toml,line=1,col=2,endLine=1,endColumn=3::100 %25%0A::error::x\n";
        assert_eq!(annotation(&finding), expected);
    }
}
