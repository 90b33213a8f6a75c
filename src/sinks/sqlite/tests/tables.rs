//! The table before the first row: made, found, refused. Files that are not a database.

use serde_json::json;

use super::*;
use crate::failure::Exit;

#[test]
fn a_new_table_has_the_columns_types() {
    let home = Home::new("types");
    let input = schema(&[
        "b bool",
        "i int8?",
        "u uint32",
        "f float32",
        "s string?",
        "x binary",
        "d date",
        "t timestamp",
        "n timestamp_ns",
        "j json",
        "l list<uint32>",
    ]);
    let mut worker = home.worker("table = \"odd \\\"name\\\"\"", &input).expect("a worker");
    let row = json!([
        true,
        null,
        7,
        0.5,
        "é",
        "x",
        "2024-02-29",
        "2024-02-29T01:02:03.5Z",
        "1970-01-01T00:00:00.000000001Z",
        "{\"a\":[1]}",
        "[1,2]"
    ]);
    assert_eq!(worker.write(&batch(&input, 0, 0, &[row])).expect("written").accepted, 1);
    worker.commit().expect("committed");
    let sql = home.ask("SELECT sql FROM sqlite_schema WHERE type = 'table'");
    let expected = "CREATE TABLE \"odd \"\"name\"\"\" (\"b\" INTEGER NOT NULL, \"i\" INTEGER, \"u\" INTEGER NOT NULL, \
                    \"f\" REAL NOT NULL, \"s\" TEXT, \"x\" BLOB NOT NULL, \"d\" TEXT NOT NULL, \"t\" TEXT NOT NULL, \
                    \"n\" TEXT NOT NULL, \"j\" TEXT NOT NULL, \"l\" TEXT NOT NULL)";
    assert_eq!(sql, [expected]);
    let values =
        "1|null|7|0.5|é|x[120]|2024-02-29|2024-02-29T01:02:03.500000Z|1970-01-01T00:00:00.000000001Z|{\"a\":[1]}|[1,2]";
    assert_eq!(home.ask("SELECT * FROM \"odd \"\"name\"\"\""), [values]);
}

#[test]
fn keys_of_a_new_table() {
    let cases = [
        ("", "CREATE TABLE \"t\" (\"name\" TEXT NOT NULL, \"town\" TEXT NOT NULL)"),
        (
            "returning = ['id']",
            "CREATE TABLE \"t\" (\"id\" INTEGER PRIMARY KEY AUTOINCREMENT, \"name\" TEXT NOT NULL, \"town\" TEXT NOT NULL)",
        ),
        (
            "conflict = ['town', 'name']",
            "CREATE TABLE \"t\" (\"name\" TEXT NOT NULL, \"town\" TEXT NOT NULL, PRIMARY KEY (\"town\", \"name\"))",
        ),
        (
            "conflict = ['name']\nreturning = ['id']\nmode = 'upsert'",
            "CREATE TABLE \"t\" (\"id\" INTEGER PRIMARY KEY AUTOINCREMENT, \"name\" TEXT NOT NULL, \"town\" TEXT NOT NULL, \
             UNIQUE (\"name\"))",
        ),
    ];
    for (keys, expected) in cases {
        let home = Home::new("new-keys");
        home.worker(keys, &schema(&PEOPLE)).expect("a worker");
        assert_eq!(home.ask("SELECT sql FROM sqlite_schema WHERE name = 't'"), [expected]);
    }
}

#[test]
fn create_says_what_becomes_of_a_table_that_is_there() {
    let home = Home::new("create");
    let input = schema(&PEOPLE);
    for (create, before, after) in [("if_missing", 0, 3), ("never", 3, 6), ("if_missing", 6, 9), ("replace", 0, 3)] {
        let mut worker = home.worker(&format!("create = '{create}'"), &input).expect("a worker");
        assert_eq!(home.ask("SELECT count(*) FROM t"), [before.to_string()]);
        worker.write(&batch(&input, 0, 0, &people(3))).expect("written");
        worker.commit().expect("committed");
        assert_eq!(home.ask("SELECT count(*) FROM t"), [after.to_string()]);
    }
}

#[test]
fn a_table_that_does_not_fit_is_found_before_the_first_row() {
    let cases: &[(&str, &str, &str)] = &[
        ("CREATE TABLE tt (x)", "create = 'never'", "there is no table `t`; did you mean `tt`"),
        ("CREATE TABLE t (nam TEXT, town TEXT)", "", "table `t` has no column `name`; did you mean `nam`"),
        (
            "CREATE TABLE t (name TEXT, town INT)",
            "",
            "column `town` of table `t` is declared `INT`, which cannot hold string values",
        ),
        (
            "CREATE TABLE t (name TEXT, town TEXT, age INT NOT NULL)",
            "",
            "column `age` of table `t` must have a value, and gets none",
        ),
        (
            "CREATE TABLE t (name TEXT, town TEXT AS (name))",
            "",
            "column `town` of table `t` is computed by the database",
        ),
        ("CREATE VIEW t AS SELECT 'a' AS name, 'b' AS town", "", "`t` is a view"),
        (
            "CREATE TABLE t (name TEXT, town TEXT)",
            "returning = ['id']",
            "table `t` has no column `id`; legal here: `name`, `town`",
        ),
        (
            "CREATE TABLE t (name TEXT, town TEXT, id INT)",
            "returning = ['id']",
            "column `id` of table `t` may be null; declare its type in `returning`: \"id int64\"",
        ),
        (
            "CREATE TABLE t (name TEXT, town TEXT)",
            "mode = 'upsert'\nconflict = ['name']",
            "ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint",
        ),
        ("CREATE VIEW t AS SELECT 1", "create = 'replace'", "use DROP VIEW to delete view t"),
    ];
    for (before, keys, expected) in cases {
        let home = Home::new("unfit-table");
        home.run(before);
        let failure = refused(home.worker(keys, &schema(&PEOPLE)));
        assert_eq!(failure.exit, Exit::CantCreate, "{before}: {failure}");
        assert!(failure.message.contains(expected) && failure.message.contains(&home.path()), "{before}: {failure}");
    }
    let home = Home::new("unfit-fits");
    home.run("CREATE TABLE T (ID INTEGER PRIMARY KEY, NAME VARCHAR(20), Town TEXT, x INT NOT NULL DEFAULT 1)");
    let mut worker = home.worker("returning = ['id']", &schema(&PEOPLE)).expect("names in other letters are the same");
    assert_eq!(worker.write(&batch(&schema(&PEOPLE), 0, 0, &people(50))).expect("written").accepted, 50);
}

#[test]
fn files_that_cannot_be_written_are_failures_with_their_path() {
    let home = Home::new("files");
    let input = schema(&PEOPLE);
    let failure = refused(home.worker("create = 'never'", &input));
    assert_eq!(failure.exit, Exit::CantCreate);
    assert!(failure.message.contains("there is no database") && home.folder.names().is_empty(), "{failure}");
    home.folder.write("a.db", &b"this is text, and a good deal more of it than the header of a database".repeat(20));
    let failure = refused(home.worker("", &input));
    assert_eq!(failure.exit, Exit::Io, "{failure}");
    assert!(failure.message.contains("file is not a database") && failure.message.contains("a.db"), "{failure}");
    for database in [home.folder.text("a.db/b.db"), home.folder.text(".").trim_end_matches("/.").to_owned()] {
        let sink = compile(&format!("database = \"{database}\"\ntable = 't'"), &input).expect("sound");
        let failure = refused(sink.stage.worker(Mode::Write));
        assert_eq!(failure.exit, Exit::CantCreate, "{failure}");
        assert!(failure.message.contains("a.db") || failure.message.contains(&database), "{failure}");
    }
}

#[test]
fn folders_are_made_and_strange_names_are_names() {
    let home = Home::new("folders");
    let database = home.folder.text("new/folder/file:x?mode=ro");
    let sink = compile(&format!("database = \"{database}\"\ntable = 't'"), &schema(&PEOPLE)).expect("sound");
    let mut worker = sink.stage.worker(Mode::Write).expect("a worker");
    worker.commit().expect("committed");
    assert_eq!(home.folder.names(), ["new/folder/file:x?mode=ro"]);
}
