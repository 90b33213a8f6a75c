//! What the guides tell people to look at and to run: the files are there, and the tests and recipes go by these names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::work::project;

/// Folders that guides name files in.
const ROOTS: [&str; 10] =
    [".ci/", ".github/", "benches/", "docs/", "jobs/", "proto/", "schemas/", "scripts/", "src/", "tests/"];

/// Every guide by its path, with its text.
fn guides() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "justfile"].map(PathBuf::from).into();
    for folder in ["docs", ".github", ".github/ISSUE_TEMPLATE", ".github/workflows"] {
        let entries = fs::read_dir(project(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let texts = entries.map(|name| Path::new(folder).join(name)).filter(|path| project_file(path).is_file());
        paths.extend(texts);
    }
    assert!(paths.len() > 8, "{paths:?}");
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(project_file(&path)).unwrap());
    paths.into_iter().map(read).collect()
}

fn project_file(path: &Path) -> PathBuf {
    project(path.to_str().unwrap())
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The files that a text names, but for those with something to fill in.
fn files(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "`()[],;:'\"|".contains(c));
    let named = |word: &&str| {
        let is_guide = word.ends_with(".md") || ["Cargo.toml", "deny.toml", "justfile"].contains(word);
        let has_place = word.contains(['*', '{', '…']) || word.contains("NAME");
        !has_place && (is_guide || ROOTS.iter().any(|root| word.starts_with(root)))
    };
    words.map(|word| word.trim_end_matches(['.', '?'])).filter(named).collect()
}

#[test]
fn files_that_guides_name_are_there() {
    let found = files("see `src/lib.rs`, (docs/a.md). `src/NAME.rs` jobs/*.toml README.md: x.rs");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["README.md", "docs/a.md", "src/lib.rs"]);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (guide, text) in guides() {
        let named = files(&text);
        count += named.len();
        let gone = named.into_iter().filter(|path| !project(path).exists());
        wrong.extend(gone.map(|path| format!("{} names {path}, which is not there", guide.display())));
    }
    none(&wrong);
    assert!(count > 100, "{count} files: where are the others?");
}

/// The words behind a command, up to the end of the line, a comment, a quotation or something to fill in.
fn arguments<'t>(text: &'t str, command: &'t str) -> impl Iterator<Item = &'t str> {
    let rest = text.match_indices(command).map(move |(at, _)| &text[at + command.len()..]);
    let ends = |rest: &'t str| rest.split(['\n', '`', '#', '{']).next().unwrap_or_default();
    rest.flat_map(move |rest| ends(rest).split_whitespace().filter(|word| !word.starts_with('-')))
}

#[test]
fn tests_that_guides_name_are_there() {
    let suite: String = fs::read_dir(project("tests/suite"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let in_suite = |word: &str| match word.strip_suffix("::") {
        Some(module) => suite.contains(&format!("mod {module};\n")),
        None => suite.lines().any(|line| line.starts_with("fn ") && line.contains(word)),
    };
    let in_lib = |path: &str| {
        let path = format!("src/{}", path.trim_end_matches("::").replace("::", "/"));
        project(&path).is_dir() || project(&format!("{path}.rs")).is_file()
    };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (guide, text) in guides() {
        let tests = arguments(&text, "cargo test --test suite").map(|word| (word, in_suite(word)));
        for (word, is_there) in tests.chain(arguments(&text, "cargo test --lib").map(|word| (word, in_lib(word)))) {
            count += 1;
            if !is_there {
                wrong.push(format!("{} runs the tests `{word}`, which are not there", guide.display()));
            }
        }
    }
    none(&wrong);
    assert!(count > 10, "{count} tests: where are the others?");
}

/// Is a line this command, a word in each of its places?
fn is_command(line: &str, command: &str) -> bool {
    let mut parts = command.split("{{").map(|part| part.split_once("}}").map_or(part, |(_, behind)| behind));
    let mut rest = parts.next().and_then(|part| line.strip_prefix(part));
    for part in parts {
        rest = rest.and_then(|rest| {
            let word = rest.find(' ').unwrap_or(rest.len());
            rest[word..].strip_prefix(part).filter(|_| word > 0)
        });
    }
    rest.is_some_and(str::is_empty)
}

#[test]
fn recipes_are_commands_of_the_guide() {
    assert!(is_command("a=1 run all::", "a={{ n }} run {{ what }}"));
    assert!(
        ["a= run all::", "a=1 run", "a=1 run all:: b"].iter().all(|line| !is_command(line, "a={{ n }} run {{ what }}"))
    );
    let guide = fs::read_to_string(project("CONTRIBUTING.md")).unwrap();
    let lines: Vec<&str> = guide.lines().map(|line| line.split(" #").next().unwrap_or_default().trim_end()).collect();
    let recipes = fs::read_to_string(project("justfile")).unwrap();
    let commands: Vec<&str> = recipes.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(commands.len() > 10, "{commands:?}");
    let unknown = commands.iter().filter(|command| !command.starts_with('@'));
    let unknown = unknown.filter(|command| !lines.iter().any(|line| is_command(line, command)));
    none(&unknown.map(|command| format!("CONTRIBUTING.md does not have the command `{command}`")).collect::<Vec<_>>());
}
