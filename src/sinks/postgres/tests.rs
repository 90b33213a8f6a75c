//! Keys of the sink and what they compile to; what it writes is tested with a server.

use super::*;
use crate::{
    batch::Schema,
    jobspec::{Document, Format, Problems, Value},
    kind::Compiled,
    sinks::postgres::{KIND, table},
    stage::Sink,
};

fn value(toml: &str) -> Value {
    let mut problems = Problems::default();
    let document = Document::parse("job.toml", toml, Format::Toml, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    document.root
}

fn input() -> Schema {
    let column = |(name, column_type): (&str, &str)| Column {
        name: name.to_owned(),
        column_type: column_type.parse().unwrap(),
        nullable: name == "note",
    };
    let columns = [("id", "int64"), ("name", "string"), ("note", "json"), ("at", "timestamp_ns"), ("n", "uint64")];
    Schema::new(columns.map(column).to_vec())
}

/// Compiles a sink whose URL and table are given; or says what is wrong with it.
fn with<T>(keys: &str, compile: impl FnOnce(&mut Context<'_>) -> Option<T>) -> Result<T, Vec<String>> {
    let given = |key: &str| keys.lines().any(|line| line.starts_with(key));
    let url = if given("url") { "" } else { "url = { env = 'A' }\n" };
    let table = if given("table") { "" } else { "table = 't'\n" };
    let (input, mut problems) = (input(), Problems::default());
    let value = value(&format!("{url}{table}{keys}"));
    let made = compile(&mut Context::of("sinks.s", &value, Some(&input), &mut problems));
    made.ok_or_else(|| problems.iter().map(|problem| problem.message.clone()).collect())
}

fn compiled(keys: &str) -> Result<Compiled<dyn Sink>, Vec<String>> {
    with(keys, KIND.compile)
}

fn plan(keys: &str) -> Setup {
    with(keys, |context| {
        let spec = context.decode()?;
        Setup::new(spec, context)
    })
    .unwrap()
}

#[test]
fn mistakes_are_found_offline() {
    let cases = [
        ("url = 'postgres://u:tango@h/d'", "a password does not belong in a job spec"),
        ("url = 'postgres://u@h/d?sslmode=require'", "TLS is not built in"),
        ("url = 'mysql://u@h/d'", "expected `postgres://"),
        ("url = 7", "expected a URL, or where it is"),
        ("table = ''", "an identifier is empty"),
        ("table = 'a.b.c'", "expected `table` or `schema.table`"),
        ("columns = []", "`columns` names no column"),
        ("columns = ['nam']", "the input has no column `nam`"),
        ("columns = ['name', 'name']", "column `name` is named twice"),
        ("create = 'never'\nconflict = ['id']", "`conflict` has no effect"),
        ("mode = 'upsert'", "an upsert needs `conflict`"),
        ("mode = 'upsert'\ncolumns = ['name']\nconflict = ['id']", "nothing is written to a column `id`"),
        ("mode = 'upsert'\nconflict = ['id', 'id']", "column `id` is named twice"),
        ("mode = 'ignore'\nreturning = ['id']", "`conflict` must name the columns"),
        ("mode = 'merge'", "unknown value `merge`"),
        ("order = 'any'", "`order` has no effect"),
        ("mode = 'ignore'\norder = 'some'", "unknown value `some`"),
        ("returning = ['id', 'id']", "column `id` is named twice"),
        ("columns = ['name']\nreturning = ['id', 'nr']", "can make one column itself, not `id`, `nr`"),
        (
            "columns = ['name']\nreturning = ['id string']",
            "makes keys of type int64, or another integer; `id` is a string",
        ),
        ("returning = ['id int65']", "`int65` is not a column type; did you mean `int64`?"),
        ("returning = ['x list<list<int8>>']", "cannot come back"),
        ("method = 'copy'\nreturning = ['id']", "`copy` can only insert"),
        ("method = 'copy'\nmode = 'ignore'", "`copy` can only insert"),
        ("retry = { timeout = '0s' }", "within a `timeout` of 0"),
        ("retry = { attempts = 0 }", "out of range"),
        ("statement_timeout = '0s'", "within a `statement_timeout` of 0"),
        ("colums = ['id']", "unknown key `colums`"),
    ];
    for (keys, message) in cases {
        let problems = compiled(keys).err().unwrap_or_default();
        assert!(problems.iter().any(|found| found.contains(message)), "{keys}: {problems:?}");
        assert!(!problems.iter().any(|found| found.contains("tango")), "{problems:?}");
    }
}

#[test]
fn the_output_has_what_comes_back() {
    let cases = [
        ("", "id int64, name string, note json?, at timestamp_ns, n uint64"),
        ("columns = ['name']\nreturning = ['id']", "id int64, name string, note json?, at timestamp_ns, n uint64"),
        (
            "columns = ['id']\nreturning = ['nr int32']",
            "id int64, name string, note json?, at timestamp_ns, n uint64, nr int32?",
        ),
        ("returning = ['note', 'at string']", "id int64, name string, note json?, at string?, n uint64"),
    ];
    for (keys, expected) in cases {
        assert_eq!(compiled(keys).unwrap().output.unwrap().to_string(), expected, "{keys}");
    }
}

#[test]
fn rows_with_equal_keys_go_to_one_worker() {
    let by = |conflict: &str| format!("mode = 'upsert'\nconflict = [{conflict}]");
    let cases = [
        ("".to_owned(), "Default(2)"),
        (by("'id'"), "by id, 2"),
        (by("'id', 'note'"), "by id, 2"),
        (by("'note', 'name', 'id', 'n'"), "by n, 2"),
        // Text may go into a type to which other texts are equal; a table that is made here has none.
        (by("'name'"), "by name, 1"),
        (by("'name'") + "\ncreate = 'replace'", "by name, 2"),
        (by("'note'"), "One"),
        (by("'at'"), "One"),
        ("mode = 'ignore'".to_owned(), "One"),
        (by("'name'") + "\norder = 'any'", "Default(2)"),
    ];
    for (keys, expected) in cases {
        let found = match compiled(&keys).unwrap().workers {
            Workers::Keyed(key, workers) => format!("by {key}, {workers}"),
            Workers::One(_) => "One".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(found, expected, "{keys}");
    }
    let notes = compiled(&(by("'id'") + "\norder = 'any'")).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("of rows with equal keys any may come last")), "{notes:?}");
}

#[test]
fn copy_is_taken_where_it_can_do_the_work() {
    let cases = [
        ("", true),
        ("method = 'insert'", false),
        ("method = 'copy'", true),
        ("returning = ['id']", false),
        ("mode = 'ignore'", false),
        ("mode = 'upsert'\nconflict = ['id']", false),
    ];
    for (keys, copy) in cases {
        assert_eq!(plan(keys).copy, copy, "{keys}");
    }
}

#[test]
fn a_table_is_made_of_the_schema() {
    let made = table::ddl(&plan("table = 'a.b'\ncolumns = ['name', 'note', 'at', 'n']\nreturning = ['id']"));
    let expected = "create table \"a\".\"b\" (\"id\" bigint generated always as identity primary key, \
                    \"name\" text not null, \"note\" jsonb, \"at\" timestamp not null, \"n\" numeric(20, 0) not null)";
    assert_eq!(made, expected);
    let keyed = table::ddl(&plan("columns = ['id', 'name']\nmode = 'upsert'\nconflict = ['name']"));
    assert_eq!(keyed, "create table \"t\" (\"id\" bigint not null, \"name\" text not null, unique (\"name\"))");
}

#[test]
fn the_plan_says_how_it_writes() {
    let notes = compiled("url = 'postgres://u@h:7/d'\nmode = 'ignore'\ncreate = 'replace'").unwrap().notes;
    let expected = [
        "PostgreSQL database `d` on `h:7`",
        "insert, unless it is there, into table `t`, made anew: `id`, `name`, `note`, `at`, `n`",
        "by INSERT, one connection per worker, one transaction per split",
        "attempts of 3s to connect, 1m for a statement, 30s in all, backoff 20ms doubling",
        "`at` is stored to the microsecond",
    ];
    assert_eq!(notes, expected);
}
