//! The source from spec to rows, on databases that another connection made.

use rusqlite::Connection;

use super::KIND;
use crate::{
    batch::{Rejects, SplitId},
    failure::{Exit, Failure},
    jobspec::{BatchSize, Document, Format, Problems, SpecLocation},
    kind::{Compiled, Context},
    stage::{Detail, Source, Split},
    testing::Folder,
    values::json as row_json,
};

const BATCH: BatchSize = BatchSize { rows: 1000, bytes: 1 << 20 };

/// Compiles a source of these keys in TOML; else its problems as `code place: message`.
fn compile(keys: &str, batch: BatchSize, max_record: usize) -> Result<Compiled<dyn Source>, Vec<String>> {
    let mut problems = Problems::default();
    let document = Document::parse("job.toml", keys, Format::Toml, &mut problems);
    assert!(problems.is_empty(), "the test's own text: {problems:?}");
    let mut context = Context::of("in", &document.root, None, &mut problems);
    context.batch = batch;
    context.max_record_bytes = max_record;
    let compiled = (KIND.compile)(&mut context);
    let list: Vec<String> = problems
        .iter()
        .map(|problem| {
            let (SpecLocation::Value(path) | SpecLocation::Key(path)) = &problem.place else { panic!("{problem:?}") };
            format!("{} {path}: {}", problem.code, problem.message)
        })
        .collect();
    assert_eq!(compiled.is_none(), !list.is_empty(), "a source or a reason: {list:?}");
    compiled.ok_or(list)
}

struct Home(Folder);

impl Home {
    /// A database made by this SQL.
    fn new(name: &str, sql: &str) -> Home {
        let folder = Folder::new(&format!("sqlite-source-{name}"));
        let client = Connection::open(folder.path("a.db")).expect("a database");
        client.execute_batch(sql).expect("sound SQL");
        Home(folder)
    }

    fn keys(&self, keys: &str) -> String {
        format!("database = \"{}\"\n{keys}", self.0.text("a.db"))
    }

    fn source(&self, keys: &str) -> Box<dyn Source> {
        compile(&self.keys(keys), BATCH, 1 << 20).expect("a sound spec").stage
    }

    /// Rows as `split record json`, rejects as `split record code message`.
    fn read(&self, keys: &str) -> (Vec<String>, Vec<String>) {
        read(self.source(keys).as_ref()).expect("all is read")
    }
}

fn read(source: &dyn Source) -> Result<(Vec<String>, Vec<String>), Failure> {
    let (mut rows, mut rejects) = (Vec::new(), Rejects::default());
    let mut worker = source.worker()?;
    for (i, split) in source.splits()?.iter().enumerate() {
        let mut reader = worker.open(SplitId(i as u32), split)?;
        let mut seq = 0;
        while let Some(batch) = reader.next_batch(&mut rejects)? {
            assert_eq!((batch.origin.split, batch.origin.seq), (SplitId(i as u32), seq));
            seq += 1;
            for row in 0..batch.rows() {
                let record = batch.origin.position(row).record;
                rows.push(format!("{i} {record} {}", row_json::row(&batch.records, row)));
            }
        }
    }
    let rejects = rejects.take().into_iter().map(|reject| {
        let (record, code) = (reject.position.record, reject.code.0);
        format!("{} {record} {code} {} {}", reject.split.0, reject.message, String::from_utf8_lossy(&reject.record))
    });
    Ok((rows, rejects.collect()))
}

fn refused<T>(result: Result<T, Failure>) -> Failure {
    result.err().expect("a failure")
}

const NUMBERS: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
    INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)
    SELECT i, 'name ' || i FROM n;";

#[test]
fn mistakes_are_told_at_their_place() {
    let column = "columns = ['a string']";
    let cases = [
        (format!("database = ''\ntable = 't'\n{column}"), "database in.database: no file is named"),
        (format!("database = 'a'\n{column}"), "query in: what is to be read? A `table` or a `query` is needed"),
        (
            format!("database = 'a'\ntable = 't'\nquery = 'SELECT 1'\n{column}"),
            "query in.query: a source reads a `table` or a `query`, not both",
        ),
        (
            format!("database = 'a'\nquery = 'SELECT 1'\nsplit_rows = 7\n{column}"),
            "query in.split_rows: `split_rows` has no effect: a query is one split",
        ),
        ("database = 'a'\ntable = 't'\ncolumns = []".to_owned(), "columns in.columns: no column is declared"),
        (
            "database = 'a'\ntable = 't'\ncolumns = [{ name = 'a', type = 'list<int8>', separator = ';' }]".to_owned(),
            "columns in.columns[0]: column `a`: lists stand in SQLite as JSON, without a `separator`",
        ),
    ];
    for (keys, expected) in cases {
        assert_eq!(compile(&keys, BATCH, 1).err().expect("problems"), [expected], "{keys}");
    }
    for keys in ["table = 't'", "table = 't'\ncolumns = ['a string']\nsplit_rows = 0", "tabel = 't'"] {
        assert!(compile(&format!("database = 'a'\n{keys}"), BATCH, 1).is_err(), "{keys}");
    }
}

#[test]
fn the_plan_says_what_is_read() {
    let table = compile("database = 'a'\ntable = 't'\ncolumns = ['a string']", BATCH, 1).expect("sound");
    assert_eq!(table.notes, ["table `t` of `a`, read-only, about 100000 rows a split"]);
    let query = compile("database = 'a'\nquery = 'SELECT 1 AS a'\ncolumns = ['a int8']", BATCH, 1).expect("sound");
    assert_eq!(
        query.notes,
        ["a query on `a`, read-only, one split; rows may come in another order when they are read again"]
    );
    assert_eq!(query.output.expect("output").to_string(), "a int8");
}

#[test]
fn a_table_is_divided_by_its_key() {
    let home = Home::new("split", NUMBERS);
    let keys = "table = 'T'\ncolumns = ['NAME string', 'id int32']\nsplit_rows = 4";
    let splits = home.source(keys).splits().expect("splits");
    let split = |name: &str, start, end| Split { name: name.to_owned(), detail: Detail::Keys { start, end } };
    assert_eq!(splits, [split("t, id 1 to 3", 1, 3), split("t, id 4 to 6", 4, 6), split("t, id 7 to 10", 7, 10)]);
    let (rows, rejects) = home.read(keys);
    assert_eq!((rows.len(), rejects.len()), (10, 0));
    assert_eq!(rows[0], r#"0 1 {"NAME":"name 1","id":1}"#);
    assert_eq!(rows[9], r#"2 4 {"NAME":"name 10","id":10}"#);
}

#[test]
fn keys_that_lie_far_apart_make_no_more_splits_than_their_rows_need() {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY);
               INSERT INTO t VALUES (-9223372036854775808), (-5), (1), (2), (3), (1000000), (9223372036854775807);";
    let home = Home::new("far", sql);
    let names = |rows: u64| -> Vec<String> {
        let keys = format!("table = 't'\ncolumns = ['id int64']\nsplit_rows = {rows}");
        let names: Vec<String> = home.source(&keys).splits().expect("splits").into_iter().map(|s| s.name).collect();
        assert_eq!(home.read(&keys).0.len(), 7, "{names:?}");
        names
    };
    let expected = [
        "t, id -9223372036854775808 to 0",
        "t, id 1 to 2",
        "t, id 3 to 9223372036854775806",
        "t, id 9223372036854775807 to 9223372036854775807",
    ];
    assert_eq!(names(2), expected);
    assert_eq!(names(1).len(), 7);
    assert_eq!(names(7), ["t, id -9223372036854775808 to 9223372036854775807"]);
}

#[test]
fn tables_without_a_key_are_divided_by_hidden_row_numbers_or_not_at_all() {
    let cases = [
        ("CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x'), ('y');", Some("rowid")),
        ("CREATE TABLE t (rowid TEXT, a TEXT); INSERT INTO t VALUES ('7', 'x'), ('8', 'y');", Some("_rowid_")),
        (
            "CREATE TABLE t (k INTEGER PRIMARY KEY, a TEXT) WITHOUT ROWID; INSERT INTO t VALUES (1, 'x'), (2, 'y');",
            None,
        ),
        ("CREATE TABLE u (a TEXT); INSERT INTO u VALUES ('x'), ('y'); CREATE VIEW t AS SELECT a FROM u;", None),
        (
            "CREATE TABLE t (rowid TEXT, oid TEXT, _rowid_ TEXT, a TEXT);
          INSERT INTO t (a) VALUES ('x'), ('y');",
            None,
        ),
    ];
    for (sql, key) in cases {
        let home = Home::new("hidden", sql);
        let keys = "table = 't'\ncolumns = ['a string']\nsplit_rows = 1";
        let names: Vec<String> = home.source(keys).splits().expect("splits").into_iter().map(|s| s.name).collect();
        let expected =
            key.map_or(vec!["t".to_owned()], |key| vec![format!("t, {key} 1 to 1"), format!("t, {key} 2 to 2")]);
        assert_eq!(names, expected, "{sql}");
        let rows: Vec<String> = home.read(keys).0.iter().map(|row| row[4..].to_owned()).collect();
        assert_eq!(rows, [r#"{"a":"x"}"#, r#"{"a":"y"}"#], "{sql}");
    }
    let empty = Home::new("empty", "CREATE TABLE t (id INTEGER PRIMARY KEY)");
    assert_eq!(empty.read("table = 't'\ncolumns = ['id int64']"), (vec![], vec![]));
}

#[test]
fn a_query_is_one_split_and_its_columns_go_by_name() {
    let home = Home::new("query", NUMBERS);
    let keys = "query = 'SELECT id * 2 AS twice, id FROM t WHERE id > 8 ORDER BY id DESC'\ncolumns = ['id int8', 'twice int8']";
    assert_eq!(home.read(keys).0, [r#"0 1 {"id":10,"twice":20}"#, r#"0 2 {"id":9,"twice":18}"#]);
    assert_eq!(home.source(keys).splits().expect("a split")[0].detail, Detail::Whole);
}

#[test]
fn batches_have_the_size_asked_for_and_it_changes_nothing() {
    let home = Home::new("batch", NUMBERS);
    let keys = home.keys("table = 't'\ncolumns = ['id int64', 'name string']");
    let whole = read(compile(&keys, BATCH, 1 << 20).expect("sound").stage.as_ref()).expect("read");
    for (rows, bytes, batches) in [(1, 1 << 20, 10), (3, 1 << 20, 4), (1000, 1, 10), (1000, 40, 5), (5, 1 << 20, 2)] {
        let source = compile(&keys, BatchSize { rows, bytes }, 1 << 20).expect("sound").stage;
        assert_eq!(read(source.as_ref()).expect("read"), whole);
        let mut worker = source.worker().expect("a worker");
        let splits = source.splits().expect("splits");
        let mut reader = worker.open(SplitId(0), &splits[0]).expect("a reader");
        let mut count = 0;
        while let Some(batch) = reader.next_batch(&mut Rejects::default()).expect("a batch") {
            count += usize::from(batch.rows() > 0);
        }
        assert_eq!(count, batches, "{rows} rows, {bytes} bytes");
        assert!(reader.bytes_read() > 100);
    }
}

#[test]
fn values_that_do_not_fit_are_rejects() {
    let home = Home::new(
        "rejects",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b);
         INSERT INTO t (a, b) VALUES (1, 'x'), ('two', 'y'), (NULL, 'z'), (4, 5), (300, 'v'), (6, x'00ff'), (7, 'w');",
    );
    let (rows, rejects) =
        home.read("table = 't'\ncolumns = ['a int8', { name = 'b', type = 'string', nullable = true }]");
    assert_eq!(rows, [r#"0 1 {"a":1,"b":"x"}"#, r#"0 7 {"a":7,"b":"w"}"#]);
    let expected = [
        r#"0 2 bad_value column `a`: the text `two` is not a valid int8 {"a":"two","b":"y"}"#,
        r#"0 3 bad_value column `a` is null {"a":null,"b":"z"}"#,
        r#"0 4 bad_value column `b`: the integer 5 is not a valid string {"a":4,"b":5}"#,
        r#"0 5 bad_value column `a`: the integer 300 is not a valid int8 {"a":300,"b":"v"}"#,
        r#"0 6 bad_value column `b`: a blob of 2 bytes is not a valid string {"a":6,"b":"00ff"}"#,
    ];
    assert_eq!(rejects, expected);
    let null = "columns = ['id int8', { name = 'a', type = 'int8', nullable = true, invalid = 'null' }]";
    assert_eq!(home.read(&format!("table = 't'\n{null}")).0[1], r#"0 2 {"id":2,"a":null}"#);
}

#[test]
fn a_record_that_is_too_long_is_a_reject() {
    let home = Home::new("long", "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (printf('%.*c', 5000, 'x')), ('y');");
    let source = compile(&home.keys("table = 't'\ncolumns = ['a string']"), BATCH, 100).expect("sound").stage;
    let (rows, rejects) = read(source.as_ref()).expect("read");
    assert_eq!(rows, [r#"0 2 {"a":"y"}"#]);
    assert!(rejects[0].starts_with("0 1 too_long the record is longer than 100 bytes {\"a\":\"xxx"), "{rejects:?}");
    assert!(rejects[0].len() < 1200);
}

#[test]
fn what_is_not_there_is_missing_input() {
    let home = Home::new("missing", NUMBERS);
    let cases = [
        ("table = 'tt'\ncolumns = ['id int8']", "there is no table `tt`; did you mean `t`"),
        ("table = 't'\ncolumns = ['nane string']", "table `t` has no column `nane`; did you mean `name`"),
        (
            "query = 'SELECT id FROM t'\ncolumns = ['name string']",
            "the query's answer has no column `name`; legal here: `id`",
        ),
    ];
    for (keys, expected) in cases {
        let failure = refused(home.source(keys).splits());
        assert_eq!(failure.exit, Exit::InputMissing, "{failure}");
        assert!(failure.message.ends_with(expected), "{failure}");
    }
    let gone = compile("database = 'no/such.db'\ntable = 't'\ncolumns = ['id int8']", BATCH, 1).expect("sound").stage;
    let failure = refused(gone.splits());
    assert_eq!(failure.exit, Exit::InputMissing);
    assert!(failure.message.contains("no/such.db"), "{failure}");
}

#[test]
fn databases_that_cannot_be_read_are_failures_and_are_never_written() {
    let home = Home::new("broken", NUMBERS);
    for query in ["SELECT nonsense FROM t", "SELECT \"nonsense\" AS id FROM t", "DELETE FROM t RETURNING id"] {
        let keys = format!("query = '{query}'\ncolumns = ['id int8']");
        let failure = refused(read(home.source(&keys).as_ref()));
        assert_eq!(failure.exit, Exit::Io, "{query}: {failure}");
        assert!(failure.message.contains("a.db"), "{failure}");
    }
    home.0.write("a.db", &b"this is text, and a good deal more of it than the header of a database".repeat(20));
    let failure = refused(home.source("table = 't'\ncolumns = ['id int8']").splits());
    assert_eq!(failure.exit, Exit::Io);
    assert!(failure.message.contains("file is not a database"), "{failure}");
}

#[test]
fn a_lock_of_another_process_is_a_service_that_does_not_answer() {
    let home = Home::new("locked", NUMBERS);
    let other = Connection::open(home.0.path("a.db")).expect("a database");
    other.execute_batch("BEGIN EXCLUSIVE").expect("a lock");
    let failure = refused(home.source("table = 't'\ncolumns = ['id int8']\nbusy_timeout = '50ms'").splits());
    assert_eq!(failure.exit, Exit::Unavailable, "{failure}");
}

#[test]
fn of_an_immutable_file_only_the_file_is_read() {
    let folder = Folder::new("sqlite-source-immutable");
    let name = "a b%20?#é.db";
    let client = Connection::open(folder.path(name)).expect("a database");
    let sql = "PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1); \
               PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (2)";
    client.execute_batch(sql).expect("sound SQL");
    let rows = |path: &str, more: &str| {
        let keys = format!("database = {:?}\ntable = 't'\ncolumns = ['n int64']\n{more}", folder.text(path));
        let compiled = compile(&keys, BATCH, 1 << 20).expect("a sound spec");
        (read(compiled.stage.as_ref()).expect("all is read").0.len(), compiled.notes[0].contains("taken for immutable"))
    };
    assert_eq!(rows(name, ""), (2, false), "what another process has written since the last checkpoint is seen");
    assert_eq!(rows(name, "immutable = true"), (1, true));
    std::fs::create_dir(folder.path("alone")).expect("made");
    std::fs::copy(folder.path(name), folder.path("alone/a.db")).expect("copied");
    assert_eq!(rows("alone/a.db", "immutable = true"), (1, true));
    let beside = folder.names().into_iter().filter(|name| name.starts_with("alone/")).count();
    assert_eq!(beside, 1, "no file is made beside it");
}
