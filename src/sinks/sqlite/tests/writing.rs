//! Rows, keys and rejects: whatever way they are written, the database holds what the answer says.

use arrow_array::{Float64Array, RecordBatch, UInt64Array};
use serde_json::json;

use super::*;

/// 100 rows of which some are there already: the names of the rest.
fn with_doubles() -> Vec<Json> {
    let mut rows = people(100);
    for at in [3, 40, 99] {
        rows[at] = json!(["name 0", "Mars"]);
    }
    rows
}

/// What the database holds must be what was emitted, row for row.
fn agrees(home: &Home, written: &Written) {
    let held = home.ask("SELECT id, name, town FROM t ORDER BY id");
    let put_out: Vec<String> = output(written)
        .iter()
        .map(|row| {
            let row: Json = serde_json::from_str(row).expect("JSON");
            [&row["id"], &row["name"], &row["town"]].map(|v| v.to_string().trim_matches('"').to_owned()).join("|")
        })
        .collect();
    assert_eq!(held, put_out);
}

#[test]
fn keys_go_with_their_rows_whatever_the_way() {
    let made = "";
    let rowid = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, town TEXT);";
    let auto = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, town TEXT);";
    let reused = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, town TEXT);
                  INSERT INTO t VALUES (70, 'old', 'x'); DELETE FROM t;";
    let forgotten = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, town TEXT);
                     INSERT INTO t VALUES (70, 'old', 'x'); DELETE FROM sqlite_sequence;";
    let trigger = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, town TEXT);
                   CREATE TABLE log (n INTEGER PRIMARY KEY, x);
                   CREATE TRIGGER after AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1000 + NEW.id, 1); END;";
    let text_key =
        "CREATE TABLE t (id INTEGER UNIQUE NOT NULL DEFAULT (abs(random() % 1000000000)), name TEXT UNIQUE, town TEXT)";
    for (name, before, create) in [
        ("made", made, "conflict = ['name']"),
        ("rowid", rowid, ""),
        ("auto", auto, ""),
        ("reused", reused, ""),
        ("forgotten", forgotten, ""),
        ("trigger", trigger, ""),
        ("default", text_key, ""),
    ] {
        let home = Home::new(&format!("keys-{name}"));
        home.run(before);
        let input = schema(&PEOPLE);
        let mut worker = home.worker(&format!("returning = ['id']\n{create}"), &input).expect("a worker");
        let written = worker.write(&batch(&input, 0, 0, &with_doubles())).expect("written");
        assert_eq!(written.accepted, 97, "{name}");
        assert!(written.bytes > 97 * 10, "{name}");
        assert!(worker.commit_split(SplitId(0), true).expect("committed").durable);
        let expected = [4, 41, 100].map(|record| format!("{record} constraint UNIQUE constraint failed: t.name"));
        assert_eq!(rejects(&written), expected, "{name}");
        home.run("DELETE FROM t WHERE name = 'old'");
        if name != "default" {
            agrees(&home, &written);
        }
        let first = written.output.as_ref().expect("output").origin.position(3).record;
        assert_eq!(first, 5, "{name}: rows keep their origin");
        worker.commit().expect("committed");
    }
}

#[test]
fn rows_of_two_batches_and_splits_get_keys_in_order() {
    let home = Home::new("order");
    let input = schema(&PEOPLE);
    let mut worker = home.worker("returning = ['id']", &input).expect("a worker");
    let mut keys = Vec::new();
    for (split, seq, rows) in [(0, 0, 70), (0, 1, 5), (1, 0, 33)] {
        let written = worker.write(&batch(&input, split, seq, &people(rows))).expect("written");
        assert!(!written.durable);
        keys.extend(output(&written).iter().map(|row| serde_json::from_str::<Json>(row).expect("JSON")["id"].clone()));
        if seq == 1 || split == 1 {
            assert!(worker.commit_split(SplitId(split), true).expect("committed").durable);
        }
    }
    assert_eq!(keys, (1..=108).map(Json::from).collect::<Vec<_>>());
    assert_eq!(home.ask("SELECT count(*), max(id) FROM t"), ["108|108"]);
}

#[test]
fn constraints_make_rejects_in_sqlites_words() {
    let home = Home::new("constraints");
    home.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INT CHECK (b > 0), c TEXT UNIQUE ON CONFLICT REPLACE) STRICT;
         CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.b = 13 BEGIN SELECT RAISE(ABORT, 'no thirteen'); END;
         CREATE TRIGGER silent BEFORE INSERT ON t WHEN NEW.b = 14 BEGIN SELECT RAISE(IGNORE); END;",
    );
    let input = schema(&["a string?", "b int32?", "c string?"]);
    let mut worker = home.worker("create = 'never'", &input).expect("a worker");
    let rows = [
        json!(["x", 1, "one"]),
        json!([null, 2, "two"]),
        json!(["x", -1, "three"]),
        json!(["x", 4, "one"]),
        json!(["x", 13, "five"]),
        json!(["x", 14, "six"]),
        json!(["x", null, null]),
    ];
    let written = worker.write(&batch(&input, 0, 0, &rows)).expect("written");
    assert_eq!(
        rejects(&written),
        [
            "2 constraint NOT NULL constraint failed: t.a",
            "3 constraint CHECK constraint failed: b > 0",
            "4 constraint UNIQUE constraint failed: t.c",
            "5 constraint no thirteen",
            "6 constraint the database passed the row over",
        ]
    );
    assert_eq!(written.rejects[0].record, br#"{"a":null,"b":2,"c":"two"}"#);
    worker.commit().expect("committed");
    assert_eq!(home.ask("SELECT b, c FROM t ORDER BY id"), ["1|one", "null|null"]);
}

#[test]
fn a_trigger_that_rolls_back_is_a_failure() {
    let home = Home::new("rollback");
    home.run(
        "CREATE TABLE t (b INT); CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.b = 13
         BEGIN SELECT RAISE(ROLLBACK, 'no thirteen'); END;",
    );
    let input = schema(&["b int32"]);
    let mut worker = home.worker("", &input).expect("a worker");
    let failure = refused(worker.write(&batch(&input, 0, 0, &[json!([1]), json!([13])])));
    assert!(failure.message.ends_with("rolled the transaction back"), "{failure}");
    drop(worker);
    assert_eq!(home.ask("SELECT count(*) FROM t"), ["0"]);
}

#[test]
fn upserts_take_over_and_give_back_the_first_key() {
    let home = Home::new("upsert");
    let input = schema(&["name string", "town string", "n int32"]);
    let keys = "mode = 'upsert'\nconflict = ['name']\nreturning = ['id', 'n']";
    let mut worker = home.worker(keys, &input).expect("a worker");
    let rows = [json!(["a", "Earth", 1]), json!(["b", "Moon", 2]), json!(["a", "Mars", 3])];
    let written = worker.write(&batch(&input, 0, 0, &rows)).expect("written");
    assert_eq!(
        output(&written),
        [
            r#"{"name":"a","town":"Earth","n":1,"id":1}"#,
            r#"{"name":"b","town":"Moon","n":2,"id":2}"#,
            r#"{"name":"a","town":"Mars","n":3,"id":1}"#,
        ]
    );
    worker.commit().expect("committed");
    assert_eq!(home.ask("SELECT * FROM t ORDER BY id"), ["1|a|Mars|3", "2|b|Moon|2"]);
}

#[test]
fn upserts_of_many_rows_and_of_keys_alone() {
    let home = Home::new("upsert-many");
    let input = schema(&PEOPLE);
    for (create, town) in [("replace", "one"), ("never", "two")] {
        let mut worker = home.worker(&format!("mode = 'upsert'\nconflict = ['name']\ncreate = '{create}'"), &input);
        let worker = worker.as_mut().expect("a worker");
        let rows: Vec<Json> = (0..100).map(|i| json!([format!("name {}", i % 80), format!("{town} {i}")])).collect();
        assert_eq!(worker.write(&batch(&input, 0, 0, &rows)).expect("written").accepted, 100);
        worker.commit().expect("committed");
        let last = home.ask("SELECT count(*), max(town) FILTER (WHERE name = 'name 19') FROM t");
        assert_eq!(last, [format!("80|{town} 99")]);
    }
    let keys = "mode = 'upsert'\nconflict = ['name', 'town']\ntable = \"k\"\nreturning = ['name']";
    let mut worker = home.worker(keys, &input).expect("a worker");
    let rows = [json!(["a", "x"]), json!(["a", "x"]), json!(["a", "y"])];
    assert_eq!(worker.write(&batch(&input, 0, 0, &rows)).expect("written").accepted, 3);
    worker.commit().expect("committed");
    assert_eq!(home.ask("SELECT * FROM k"), ["a|x", "a|y"]);
}

#[test]
fn rows_that_are_there_stay_and_count_as_stored() {
    let home = Home::new("ignore");
    let input = schema(&PEOPLE);
    let keys = "mode = 'ignore'\nconflict = ['name']\nreturning = ['id', 'town']";
    let mut worker = home.worker(keys, &input).expect("a worker");
    let rows = [json!(["a", "Earth"]), json!(["b", "Moon"]), json!(["a", "Mars"])];
    let written = worker.write(&batch(&input, 0, 0, &rows)).expect("written");
    assert_eq!(written.accepted, 3);
    let last = r#"{"name":"a","town":"Earth","id":1}"#;
    assert_eq!(output(&written), [last, r#"{"name":"b","town":"Moon","id":2}"#, last]);
    worker.commit().expect("committed");
    // Without columns that find a row, any that stands in the way stays.
    let mut worker = home.worker("mode = 'ignore'\ncreate = 'never'", &input).expect("a worker");
    let rows: Vec<Json> = people(60).into_iter().chain([json!(["b", "Pluto"])]).collect();
    let written = worker.write(&batch(&input, 0, 0, &rows)).expect("written");
    assert_eq!((written.accepted, rejects(&written)), (61, vec![]));
    worker.commit().expect("committed");
    assert_eq!(home.ask("SELECT count(*) FROM t"), ["62"]);
    assert_eq!(home.ask("SELECT town FROM t WHERE name = 'b'"), ["Moon"]);
}

#[test]
fn what_a_trigger_or_default_adds_comes_back() {
    let home = Home::new("given");
    home.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, made TEXT DEFAULT '2024-01-02', twice TEXT AS (name || name));",
    );
    let input = schema(&["name string"]);
    let keys = "returning = ['twice string', 'made date', 'id']\ncreate = 'never'";
    let mut worker = home.worker(keys, &input).expect("a worker");
    let written = worker.write(&batch(&input, 0, 0, &[json!(["a"])])).expect("written");
    assert_eq!(output(&written), [r#"{"name":"a","twice":"aa","made":"2024-01-02","id":1}"#]);
    drop(worker);
    let mut worker = home.worker("returning = ['twice int64']\ncreate = 'never'", &input).expect("a worker");
    let failure = refused(worker.write(&batch(&input, 0, 0, &[json!(["a"])])));
    assert!(failure.message.ends_with("given back: column `twice`: the text `aa` is not a valid int64"), "{failure}");
}

#[test]
fn values_that_sqlite_cannot_hold_are_rejects() {
    let home = Home::new("unfit");
    let input = schema(&["u uint64", "f float64"]);
    let columns: Vec<arrow_array::ArrayRef> = vec![
        std::sync::Arc::new(UInt64Array::from(vec![1, u64::MAX, 3, 4])),
        std::sync::Arc::new(Float64Array::from(vec![0.5, 1.0, f64::NAN, f64::INFINITY])),
    ];
    let records = RecordBatch::try_new(input.arrow(), columns).expect("columns");
    let batch = Batch::new(records, Origin::derived(SplitId(0), 0, 4));
    let mut worker = home.worker("", &input).expect("a worker");
    let written = worker.write(&batch).expect("written");
    assert_eq!(
        rejects(&written),
        [
            "2 bad_value column `u`: 18446744073709551615 is more than SQLite holds",
            "3 bad_value column `f`: SQLite cannot hold NaN",
        ]
    );
    worker.commit().expect("committed");
    assert_eq!(home.ask("SELECT * FROM t"), ["1|0.5", "4|inf"]);
}

#[test]
fn nothing_is_kept_of_what_was_not_committed() {
    let home = Home::new("uncommitted");
    let input = schema(&PEOPLE);
    let rows = || batch(&input, 0, 0, &people(40));
    let count = || home.ask("SELECT count(*) FROM t");
    let mut worker = home.worker("", &input).expect("a worker");
    worker.write(&rows()).expect("written");
    drop(worker);
    assert_eq!(count(), ["0"], "dropped");
    let mut worker = home.worker("", &input).expect("a worker");
    worker.write(&rows()).expect("written");
    worker.discard_split(SplitId(0)).expect("an answer");
    worker.commit().expect("an answer");
    assert_eq!(count(), ["0"], "of a split of which something is missing");
    let mut worker = home.worker("", &input).expect("a worker");
    worker.write(&rows()).expect("written");
    assert_eq!(count(), ["0"], "before the end of the split");
    assert!(worker.commit_split(SplitId(0), true).expect("an answer").durable);
    assert_eq!(count(), ["40"], "after it");
    worker.commit().expect("an answer");
    assert_eq!(home.folder.names(), ["a.db"], "closed with the last commit, nothing beside it");
    assert!(refused(worker.write(&rows())).message.ends_with("was closed already"));
}

#[test]
fn moments_are_written_as_the_spec_says() {
    let input = schema(&["m timestamp", "n timestamp_ns?"]);
    let rows = [json!(["2024-01-31T12:00:00Z", "2024-01-31T23:59:59.25Z"]), json!(["0001-02-03T04:05:06.5Z", null])];
    for (keys, expected) in [
        ("", ["2024-01-31T12:00:00Z|2024-01-31T23:59:59.250000000Z|0", "0001-02-03T04:05:06.500000Z|null|0"]),
        (
            "timestamps = 'sqlite'",
            ["2024-01-31 12:00:00|2024-01-31 23:59:59.250000000|1", "0001-02-03 04:05:06.500000|null|0"],
        ),
    ] {
        let home = Home::new("moments");
        let mut worker = home.worker(keys, &input).expect("a worker");
        let written = worker.write(&batch(&input, 0, 0, &rows)).expect("written");
        assert_eq!(written.accepted, 2, "{keys}");
        worker.commit_split(SplitId(0), true).expect("committed");
        // The database's own function gives the same text, where there is no fraction.
        assert_eq!(home.ask("SELECT m, n, datetime(m) = m FROM t ORDER BY rowid"), expected, "{keys}");
    }
}

#[test]
fn without_receipts_every_attempt_runs_the_statements_before() {
    let home = Home::new("before");
    let input = schema(&PEOPLE);
    for attempts in ["1", "2"] {
        let keys = "before = ['CREATE TABLE IF NOT EXISTS m (n)', 'INSERT INTO m VALUES (1)']";
        drop(home.worker(keys, &input).expect("a worker"));
        assert_eq!(home.ask("SELECT count(*) FROM m"), [attempts]);
    }
}
