//! One bad spec per mistake in `tests/specs/invalid`, named after it, with what `runner check` says of it
//! beside it. `UPDATE_EXPECTED=1 cargo test` writes what it says now; read the difference before you keep it.

use std::{fs, path::PathBuf};

use crate::work::{Work, project};

fn specs() -> Vec<PathBuf> {
    let mut specs: Vec<PathBuf> = fs::read_dir(project("tests/specs/invalid"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml" || ext == "yaml"))
        .collect();
    specs.sort();
    specs
}

/// Runs `check` in the folder of the specs, so that paths in messages are short and the same everywhere.
fn check(name: &str) -> (i32, String) {
    let work = Work::new();
    let output = work
        .command(&["check", name])
        .current_dir(project("tests/specs/invalid"))
        .env_remove("RUNNER_TEST_UNSET")
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_mistake_is_told_in_full() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    for spec in specs() {
        let name = spec.file_name().unwrap().to_str().unwrap().to_owned();
        let (code, text) = check(&name);
        let expected = spec.with_file_name(format!("{name}.expected"));
        if update {
            fs::write(&expected, &text).unwrap();
        }
        let known = fs::read_to_string(&expected).unwrap_or_default();
        if code != 78 || text != known {
            wrong.push(format!("── {name}: exit code {code}\n{text}── expected\n{known}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_spellings_say_the_same() {
    for spec in specs().iter().filter(|path| path.extension().is_some_and(|ext| ext == "yaml")) {
        let stem = spec.file_stem().unwrap().to_str().unwrap();
        let messages = |name: &str| -> Vec<String> {
            let (_, text) = check(name);
            text.lines().filter(|line| line.starts_with("error:")).map(str::to_owned).collect()
        };
        let toml = messages(&format!("{stem}.toml"));
        assert!(!toml.is_empty(), "{stem}.toml");
        assert_eq!(messages(&format!("{stem}.yaml")), toml, "{stem}");
    }
}
