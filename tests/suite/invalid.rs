//! One bad spec per mistake in `tests/specs/invalid`, named after it, with what `runner check` says of it
//! beside it. `UPDATE_EXPECTED=1 cargo test` writes what it says now; read the difference before you keep it.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;

use crate::work::{Work, project};

const FOLDER: &str = "tests/specs/invalid";
const EXPECTED: &str = ".expected";

/// Names of the files in the folder that end like this, sorted.
fn names(ends: &[&str]) -> Vec<String> {
    let files = fs::read_dir(project(FOLDER)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.filter(|name| ends.iter().any(|end| name.ends_with(end))).collect();
    names.sort();
    names
}

fn specs() -> Vec<String> {
    names(&[".toml", ".yaml"])
}

fn beside(spec: &str) -> PathBuf {
    project(FOLDER).join(format!("{spec}{EXPECTED}"))
}

/// Runs `check` in the folder of the specs, so that paths in messages are short and the same everywhere:
/// exit code, standard output, standard error.
fn check(args: &[&str]) -> (i32, String, String) {
    let work = Work::new();
    let args: Vec<&str> = ["check"].into_iter().chain(args.iter().copied()).collect();
    let output = work.command(&args).current_dir(project(FOLDER)).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What `--format json` says of a spec.
fn findings(spec: &str) -> Vec<Value> {
    let (code, json, text) = check(&[spec, "--format", "json"]);
    assert_eq!((code, text.as_str()), (78, ""), "{spec}");
    json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_mistake_is_told_in_full() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    for spec in specs() {
        let (code, _, text) = check(&[&spec]);
        if update {
            fs::write(beside(&spec), &text).unwrap();
        }
        let known = fs::read_to_string(beside(&spec)).unwrap_or_default();
        if code != 78 || text != known {
            wrong.push(format!("── {spec}: exit code {code}\n{text}── expected\n{known}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_spec_has_its_expected_text_and_no_text_is_left_over() {
    let specs: BTreeSet<String> = specs().into_iter().collect();
    let texts = names(&[EXPECTED]);
    let texts: BTreeSet<String> =
        texts.iter().filter_map(|name| name.strip_suffix(EXPECTED)).map(String::from).collect();
    assert_eq!(specs, texts);
    assert!(specs.len() > 100, "{}: where are they?", specs.len());
}

#[test]
fn both_spellings_say_the_same() {
    // What only YAML can get wrong has no twin.
    let twins = specs().into_iter().filter(|spec| spec.ends_with(".yaml") && !spec.starts_with("yaml-"));
    let messages = |spec: &str| -> Vec<String> {
        let (_, _, text) = check(&[spec]);
        text.lines().filter(|line| line.starts_with("error:")).map(str::to_owned).collect()
    };
    let mut count = 0;
    for yaml in twins {
        let toml = yaml.replace(".yaml", ".toml");
        let said = messages(&toml);
        assert!(!said.is_empty(), "{toml}");
        assert_eq!(messages(&yaml), said, "{yaml}");
        count += 1;
    }
    assert!(count > 8, "{count} twins");
}

#[test]
fn machines_are_told_the_same_places() {
    for spec in specs() {
        let (_, _, text) = check(&[&spec]);
        let places: Vec<&str> = text.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).collect();
        let found = findings(&spec);
        let place = |finding: &Value| {
            let file = finding["file"].as_str().unwrap();
            format!("{file}:{}:{}", finding["line"], finding["column"])
        };
        assert_eq!(found.iter().map(place).collect::<Vec<_>>(), places, "{spec}");
        for finding in &found {
            let end = (finding["end_line"].as_u64(), finding["end_column"].as_u64());
            assert!(end >= (finding["line"].as_u64(), finding["column"].as_u64()), "{finding}");
            let message = finding["message"].as_str().unwrap();
            assert!(!message.is_empty() && !message.starts_with(char::is_uppercase), "{message}");
            assert!(!message.ends_with('.') && !message.contains('\n'), "{message}");
        }
    }
}

#[test]
fn many_mistakes_have_codes_in_the_order_of_the_file() {
    let codes: Vec<Value> = findings("many.toml").iter().map(|finding| finding["code"].clone()).collect();
    let expected = [
        "value",
        "type",
        "value",
        "unknown-key",
        "unused",
        "variable",
        "value",
        "value",
        "unused",
        "expression",
        "unknown-value",
        "cycle",
        "type",
        "type",
        "value",
        "value",
        "value",
        "unknown-type",
        "unknown-input",
    ];
    assert_eq!(codes, expected);
}

#[test]
fn a_variable_without_a_value_is_an_error_only_where_the_job_runs() {
    let work = Work::new();
    // Two paths that nobody knows yet are not the same path, and neither is empty.
    let spec = r#"
name = "variable"
sources.lines = { type = "files", path = ["${RUNNER_TEST_UNSET}"], format = "tsv", columns = ["id string"] }
sinks.one = { type = "files", input = "lines", path = "${RUNNER_TEST_ONE}", format = "tsv" }
sinks.two = { type = "files", input = "lines", path = "${RUNNER_TEST_TWO}", format = "tsv" }
"#;
    work.file("job.toml", spec);
    let checked = work.expect(0, &["check", "job.toml"]);
    let notes: Vec<&str> = checked.stderr.lines().filter(|line| line.starts_with("note:")).collect();
    let unset = |name: &str| format!("the environment variable `{name}` is not set");
    let names = ["RUNNER_TEST_UNSET", "RUNNER_TEST_ONE", "RUNNER_TEST_TWO"];
    assert_eq!(notes, names.map(|name| format!("note: {}", unset(name))), "{}", checked.stderr);
    assert!(checked.stderr.contains("3 notes in job.toml\njob.toml: job variable is valid"), "{}", checked.stderr);

    let ran = work.expect(78, &["run", "job.toml"]);
    for name in names {
        assert!(ran.stderr.contains(&format!("error: {}", unset(name))), "{}", ran.stderr);
    }
    assert!(ran.stderr.contains("--> job.toml:3:44"), "{}", ran.stderr);
    assert_eq!(work.list("."), ["job.toml"], "nothing was begun");
}
