//! Tests of `jobspec::interpolate`.

use super::*;
use crate::jobspec::{Format, Severity};

fn env(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("db.example".into()),
        "PORT" => Some("5432".into()),
        "EMPTY" => Some(String::new()),
        "TRICK" => Some("${HOST}\"\nx = 1".into()),
        _ => None,
    }
}

/// Interpolates one text, written in TOML as a literal string.
fn run(text: &str, mode: Mode) -> (Value, Vec<String>, Vec<Variable>) {
    let mut problems = Problems::default();
    let mut document = Document::parse("job.toml", &format!("a = ['{text}']"), Format::Toml, &mut problems);
    document.interpolate(mode, &env, &mut problems);
    let found = problems
        .iter()
        .map(|problem| {
            let SpecLocation::Inside(path, range) = &problem.place else { panic!("{problem:?}") };
            assert_eq!(path.to_string(), "a[0]");
            let severity = if problem.severity == Severity::Error { "error" } else { "note" };
            format!("{severity} {}: {}", &text[range.clone()], problem.message)
        })
        .collect();
    (document.root.get(&Path::default().key("a").index(0)).unwrap().clone(), found, document.variables)
}

#[test]
fn variables_are_replaced() {
    let plain = |text: &str| Value::Text(text.into());
    let put = |text: &str| Value::Substituted(text.into());
    let cases = [
        ("nothing", plain("nothing")),
        ("${HOST}", put("db.example")),
        ("${HOST}:${PORT}/x", put("db.example:5432/x")),
        ("${NONE:-a b}", put("a b")),
        ("${NONE:-}", put("")),
        ("${HOST:-other}", put("db.example")),
        ("${EMPTY}", put("")),
        ("${EMPTY:-full}", put("full")),
        ("$${HOST}", plain("${HOST}")),
        ("$$${PORT}", put("$5432")),
        ("5$ and $PORT", plain("5$ and $PORT")),
        ("${TRICK}", put("${HOST}\"\nx = 1")),
    ];
    for (text, expected) in cases {
        for mode in [Mode::Run, Mode::Check] {
            assert_eq!(run(text, mode), (expected.clone(), vec![], run(text, mode).2), "{text}");
        }
    }
}

#[test]
fn variables_without_value_are_errors_in_a_run_and_notes_in_a_check() {
    let missing =
        |severity: &str, name: &str| format!("{severity} ${{{name}}}: the environment variable `{name}` is not set");
    let (value, found, _) = run("${A}, ${HOST}, ${B}", Mode::Run);
    assert_eq!((value, found), (Value::Unknown, vec![missing("error", "A"), missing("error", "B")]));
    let (value, found, _) = run("${A}", Mode::Check);
    assert_eq!((value, found), (Value::Unknown, vec![missing("note", "A")]));
    let (value, found, _) = run("x ${A} ${HOST}", Mode::Check);
    assert_eq!((value, found), (Value::Substituted("x ${A} ${HOST}".into()), vec![missing("note", "A")]));
}

#[test]
fn malformed_variables_are_errors_in_both_modes() {
    let cases = [
        ("x ${A", "error ${A: `${` has no `}`"),
        ("${}", "error ${}: the variable has no name"),
        ("${:-x}", "error ${:-x}: the variable has no name"),
        ("${1A}", "error ${1A}: a variable's name has letters, digits and `_` only"),
        ("ü ${A-B} ü", "error ${A-B}: a variable's name has letters, digits and `_` only"),
    ];
    for (text, expected) in cases {
        for mode in [Mode::Run, Mode::Check] {
            let (value, found, _) = run(text, mode);
            assert_eq!((value, found), (Value::Unknown, vec![expected.to_owned()]), "{text}");
        }
    }
}

#[test]
fn the_names_of_variables_are_kept_and_not_their_values() {
    let (.., variables) = run("${HOST} ${NONE:-x} ${A}", Mode::Check);
    let found: Vec<_> = variables.iter().map(|variable| (variable.name.as_str(), variable.from)).collect();
    let expected = [("HOST", ValueOf::Environment), ("NONE", ValueOf::Default), ("A", ValueOf::Nowhere)];
    assert_eq!(found, expected);
    assert_eq!(variables[0].path.to_string(), "a[0]");
}

#[test]
fn keys_are_left_alone() {
    let mut problems = Problems::default();
    let mut document = Document::parse("job.yaml", "${HOST}: ${HOST}", Format::Yaml, &mut problems);
    document.interpolate(Mode::Run, &env, &mut problems);
    let table = document.root.as_table().unwrap();
    assert_eq!(table.get("${HOST}"), Some(&Value::Substituted("db.example".into())));
}
