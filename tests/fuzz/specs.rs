//! Job specs that were changed in places: each has a plan or an error within a second, and every error has a place in
//! the text.

use std::{fs, time::Duration};

use proptest::{
    collection::vec,
    prop_assert, sample,
    strategy::{BoxedStrategy, Strategy},
    test_runner::TestCaseResult,
};
use runner::{
    jobspec::{Document, Format, Mode, Problems, machine, render},
    plan,
};

use crate::{
    bytes::{Change, change},
    fuzz,
};

const WORDS: &[&str] = &[
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "=",
    " = ",
    ",",
    ".",
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "#",
    "&a ",
    "*a",
    "<<: ",
    "!tag ",
    "|\n",
    ">\n",
    "---\n",
    "...\n",
    "0",
    "-1",
    "1e9",
    "0x1f",
    "99999999999999999999",
    "true",
    "null",
    "~",
    "${X}",
    "${X:-1}",
    "${",
    "$$",
    "\\u00e9",
    "\\",
    "ü",
    "😀",
    "\u{feff}",
    "\0",
    "\r",
    "type",
    "input",
    "columns",
    "sources",
    "transforms",
    "sinks",
    "name",
    "where",
    "path",
    "concurrency",
    "batch",
    "limits",
    "1MiB",
    "10s",
    "5%",
    "2024-01-01",
    "not ",
    "'x'",
    "(",
    ")",
    "[1, 2]",
    "::int",
    "list<",
    ">",
];

/// The specs of a kind in these folders.
fn texts(extension: &str) -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["jobs", "tests/specs/invalid"] {
        let files = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(files.filter(|path| path.extension().is_some_and(|found| found == extension)));
    }
    paths.sort();
    // The vast ones are there to show limits; changes to them show nothing more.
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).filter(|text| text.len() < 10_000).collect()
}

fn inputs(extension: &str) -> BoxedStrategy<(String, Vec<Change>)> {
    let words = sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()).boxed();
    (sample::select(texts(extension)), vec(change(words), 1..5)).boxed()
}

/// The longest that one spec may keep the processor, in a build without optimisation too.
const LONGEST: Duration = Duration::from_secs(1);

fn check((text, changes): (String, Vec<Change>), format: Format) -> TestCaseResult {
    let mut bytes = text.into_bytes();
    changes.iter().for_each(|change| change.apply(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let before = worked();
    answered(&text, format)?;
    let took = worked().saturating_sub(before);
    prop_assert!(took <= LONGEST, "it took {:?}", took);
    Ok(())
}

/// How long this thread has had the processor, as Linux counts it: others may have it in between.
fn worked() -> Duration {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = counted.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the kernel counts it"))
}

/// Checks one spec.
fn answered(text: &str, format: Format) -> TestCaseResult {
    let mut problems = Problems::default();
    let mut document = Document::parse("job", text, format, &mut problems);
    document.interpolate(Mode::Check, &|_| None, &mut problems);
    let plan = plan::compile(&document, &mut problems);
    prop_assert!(plan.is_some() || problems.any_error(), "neither a plan nor an error");
    let lines = text.lines().count() + 2;
    for found in machine(&document, &problems) {
        let (start, end) = ((found.line, found.column), (found.end_line, found.end_column));
        prop_assert!(start.0 >= 1 && start.1 >= 1 && start <= end, "{:?}", found);
        prop_assert!(found.file != "job" || found.end_line <= lines, "{:?}", found);
        prop_assert!(!found.message.is_empty(), "{:?}", found);
    }
    let shown = render(&document, &problems, false);
    prop_assert!(problems.is_empty() || shown.contains("job"), "{}", shown);
    Ok(())
}

#[test]
fn toml() {
    fuzz("toml", 500, &inputs("toml"), |input| check(input, Format::Toml));
}

#[test]
fn yaml() {
    fuzz("yaml", 500, &inputs("yaml"), |input| check(input, Format::Yaml));
}
