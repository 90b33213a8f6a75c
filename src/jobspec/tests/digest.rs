//! Tests of `jobspec::digest`.

use super::*;
use crate::jobspec::{Document, Format, Mode, Problems};

const MEMC_TOML: &str = include_str!("memc.toml");
const MEMC_YAML: &str = include_str!("memc.yaml");
const TODO_TOML: &str = include_str!("todo.toml");
const TODO_YAML: &str = include_str!("todo.yaml");

fn of(text: &str, format: Format) -> String {
    let mut problems = Problems::default();
    let mut document = Document::parse("job", text, format, &mut problems);
    document.interpolate(Mode::Run, &|_| None, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    digest(&document.root)
}

#[test]
fn both_spellings_have_one_digest() {
    let memc = of(MEMC_TOML, Format::Toml);
    assert_eq!(memc, of(MEMC_YAML, Format::Yaml));
    assert_eq!(memc.len(), 16);
    let todo = of(TODO_TOML, Format::Toml);
    assert_eq!(todo, of(TODO_YAML, Format::Yaml));
    assert_ne!(memc, todo);
}

/// It names what a ledger remembers: it must not change between versions by accident.
#[test]
fn the_canonical_form_stays() {
    assert_eq!(
        of("name = 'a'\nseed = 1", Format::Toml),
        digest(&{
            let mut table = Table::new();
            table.insert("seed".into(), Value::Float(1.0));
            table.insert("name".into(), Value::Substituted("a".into()));
            Value::Table(table)
        })
    );
    let expected =
        Sha256::digest("t2:s4:names1:as4:seedi1;").iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(of("name = 'a'\nseed = 1", Format::Toml), expected);
}

#[test]
fn what_does_not_change_the_work_does_not_change_the_digest() {
    let base = "name = 'a'\n[sources.s]\ntype = 'x'\nn = 1\n[sinks.t]\ntype = 'y'\ncolumns = { a = 1, b = 2 }\n";
    let same = [
        "[sinks.t]\ncolumns = { a = 1, b = 2 }\ntype = 'y'\n[sources.s]\nn = 1.0\ntype = \"x\"",
        "description = 'd'\nreport.path = 'r'\nrejects.path = 'r'\nstate.path = 's'\nlimits.rejects = 5\n[sources.s]\ntype = 'x'\nn = 1\nconcurrency = 2\nbatch.rows = 1\n[sinks.t]\ntype = 'y'\nqueue = 3\nretry.attempts = 1\ncolumns = { a = 1, b = 2 }",
    ];
    let other = [
        base.replace("a = 1, b = 2", "b = 2, a = 1"),
        base.replace("n = 1", "n = 2"),
        base.replace("n = 1", "n = '1'"),
        base.replace("n = 1", "n = true"),
        base.replace("n = 1", "n = [1]"),
        base.replace("n = 1", "m = 1"),
        base.replace("sinks.t", "sinks.u"),
        base.replace("name = 'a'", "name = 'b'"),
        format!("{base}partition_by = 'a'"),
        format!("{base}[definitions.d]\nretry = 1"),
    ];
    for text in same {
        assert_eq!(of(&format!("name = 'a'\n{text}"), Format::Toml), of(base, Format::Toml), "{text}");
    }
    let with_definition = |extra: &str| of(&format!("{base}[definitions.d]\n{extra} = 1"), Format::Toml);
    assert_ne!(with_definition("retry"), with_definition("queue"));
    for text in other {
        assert_ne!(of(&text, Format::Toml), of(base, Format::Toml), "{text}");
    }
}
