//! Mistakes in a spec, each at its place; what the plan says; the rehearsal.

use serde_json::json;

use super::*;
use crate::kind::Workers;

const INPUT: [&str; 4] = ["id int64", "name string", "town string?", "Id string"];

#[test]
fn mistakes_are_told_at_their_place() {
    let cases: &[(&str, &[&str])] = &[
        ("database = ''", &["database out.database: no file is named"]),
        ("database = ':memory:'", &["database out.database: `:memory:` is not a file: it would be gone with the run"]),
        ("database = 'out/'", &["database out.database: `out/` names no file"]),
        ("table = ''", &["table out.table: no table is named"]),
        ("table = 'SQLite_x'", &["table out.table: `SQLite_x`: SQLite keeps names with `sqlite_` for itself"]),
        (
            "columns = ['nam', 'town', 'town', 'height']",
            &[
                "columns out.columns[0]: the input has no column `nam` (did you mean `name`?)",
                "columns out.columns[2]: column `town` is named twice",
                "columns out.columns[3]: the input has no column `height` (legal here: `id`, `name`, `town`, `Id`)",
            ],
        ),
        ("columns = []", &["columns out.columns: `columns` names no column"]),
        ("returning = []", &["columns out.returning: `returning` names no column"]),
        (
            "columns = ['name']\nreturning = ['id', 'id int64']",
            &["columns out.returning[1]: column `id` is named twice"],
        ),
        ("columns = ['name']\nreturning = ['']", &["columns out.returning[0]: no column is named"]),
        (
            "columns = ['name']\nreturning = ['id', 'made']",
            &["columns out.returning: a new table can make one column itself, not `id`, `made`"],
        ),
        (
            "columns = ['name']\nreturning = ['id string']",
            &["columns out.returning: a new table makes keys of type int64; `id` is a string"],
        ),
        (
            "columns = ['name']\nmode = 'upsert'",
            &["conflict out.mode: an upsert needs `conflict`: the columns by which a row is found to be there already"],
        ),
        (
            "columns = ['name']\nmode = 'ignore'\nreturning = ['id']",
            &[
                "conflict out.mode: to give back rows that were there already, `conflict` must name the columns that find them",
            ],
        ),
        (
            "columns = ['name']\ncreate = 'never'\nconflict = ['name']",
            &["conflict out.conflict: `conflict` has no effect: rows are only inserted"],
        ),
        (
            "columns = ['name', 'town']\nmode = 'upsert'\nconflict = ['nam', 'id']",
            &[
                "columns out.conflict[0]: nothing is written to a column `nam` (did you mean `name`?)",
                "columns out.conflict[1]: nothing is written to a column `id` (legal here: `name`, `town`)",
            ],
        ),
        ("", &["columns out.table: column `Id` is there twice: SQLite takes `A` and `a` for one name"]),
        (
            "columns = ['name']\nreturning = ['id int46']",
            &["value out.returning[0]: `int46` is not a column type; did you mean `int16`?"],
        ),
        ("busy_timeout = '5 s'", &["busy_timeout"]),
        ("create = 'always'", &["create"]),
        ("mode = 'replace'", &["mode"]),
        ("colums = ['name']", &["colums"]),
    ];
    for (keys, expected) in cases {
        let defaults = [("database = ", "database = 'a.db'"), ("table = ", "table = 't'"), ("columns = ", "")];
        let mut text = (*keys).to_owned();
        for (key, line) in defaults {
            if !keys.contains(key) {
                text.push_str(&format!("\n{line}"));
            }
        }
        if !keys.contains("columns = ") && !keys.is_empty() {
            text.push_str("\ncolumns = ['name']");
        }
        let problems = compile(&text, &schema(&INPUT)).err().expect("problems");
        assert_eq!(problems.len(), expected.len(), "{keys}: {problems:?}");
        for (problem, expected) in problems.iter().zip(*expected) {
            let same =
                problem == expected || (!expected.contains(' ') && problem.contains(expected.trim_end_matches("[0]")));
            assert!(same, "{keys}: {problem}");
        }
    }
}

#[test]
fn an_unknown_environment_is_no_mistake() {
    let text = "database = ''\ntable = ''\ncolumns = ['name']";
    let mut problems = Problems::default();
    let mut document = Document::parse("job.toml", text, Format::Toml, &mut problems);
    let crate::jobspec::Value::Table(table) = &mut document.root else { panic!("a table") };
    table.insert("database".into(), crate::jobspec::Value::Unknown);
    table.insert("table".into(), crate::jobspec::Value::Unknown);
    let input = schema(&INPUT);
    let mut context = Context::of("out", &document.root, Some(&input), &mut problems);
    assert!((KIND.compile)(&mut context).is_some(), "{problems:?}");
}

#[test]
fn the_plan_says_what_is_written_and_by_how_many() {
    let text = "database = 'a.db'\ntable = 't'\ncolumns = ['name', 'town']\nreturning = ['id', 'made timestamp']\n\
                create = 'never'\nmode = 'upsert'\nconflict = ['name']\nbusy_timeout = '1m'";
    let compiled = compile(text, &schema(&INPUT)).expect("a sound spec");
    assert!(matches!(compiled.workers, Workers::One("a database file has one writer")));
    let notes = [
        "upsert by `name` into table `t` of `a.db`, which must be there: `name`, `town`",
        "one writer per database file; a transaction per split; waits 1m for other processes",
        "the database gives back `id`, `made`",
    ];
    assert_eq!(compiled.notes, notes);
    let output = compiled.output.expect("output").to_string();
    assert_eq!(output, "id int64, name string, town string?, Id string, made timestamp?");
}

#[test]
fn a_rehearsal_shows_the_statement_and_touches_nothing() {
    let home = Home::new("rehearsal");
    let input = schema(&["id string", "name string", "town string"]);
    let keys = "columns = ['name', 'town']\nreturning = ['id', 'town']";
    let mut worker = home.sink(keys, &input).stage.worker(Mode::Rehearse).expect("a worker");
    let rows: Vec<Json> = (0..5).map(|i| json!(["x", format!("name {i}"), "Earth"])).collect();
    let written = worker.write(&batch(&input, 0, 0, &rows)).expect("written");
    let insert = r#"INSERT OR ABORT INTO "t" ("name", "town") VALUES (?, ?) RETURNING "id", "town""#;
    let values = (0..3).map(|i| format!(r#"{{"name":"name {i}","town":"Earth"}}"#));
    assert_eq!(written.samples, [insert.to_owned()].into_iter().chain(values).collect::<Vec<_>>());
    assert_eq!((written.accepted, written.durable), (5, true));
    assert_eq!(output(&written)[4], r#"{"id":5,"name":"name 4","town":"Earth"}"#);
    let written = worker.write(&batch(&input, 0, 1, &rows)).expect("written");
    assert!(written.samples.is_empty());
    assert_eq!(output(&written)[0], r#"{"id":6,"name":"name 0","town":"Earth"}"#);
    worker.commit().expect("committed");
    assert!(home.folder.names().is_empty());
}
