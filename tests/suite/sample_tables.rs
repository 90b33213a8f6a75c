//! `jobs/sample_tables.toml` as it stands in the project: two databases that agree, whatever the run was like.
//! What they hold is asked of Python's own SQLite.

use std::{fs, io::Write, process::Command, process::Stdio};

use serde_json::Value;

use crate::{
    servers::service,
    work::{Ran, Work, project, stage},
};

const JOB: &str = "jobs/sample_tables.toml";

fn folder() -> Work {
    let work = Work::new();
    work.file(JOB, fs::read_to_string(project(JOB)).unwrap());
    work
}

fn job<'a>(more: &[&'a str]) -> Vec<&'a str> {
    more.iter().flat_map(|set| ["--set", *set]).chain([JOB]).collect()
}

/// The answer of Python's SQLite to a query over `main` and `track`, one row per line.
fn ask(work: &Work, sql: &str) -> String {
    let program = "import sqlite3, sys\n\
        database = sqlite3.connect(sys.argv[1])\n\
        database.execute('attach ? as track', (sys.argv[2],))\n\
        for row in database.execute(sys.argv[3]): print(*row, sep='|')\n";
    let mut python = Command::new(service("RUNNER_TEST_PYTHON"));
    python.args(["-c", program]).args([work.path("out/main.db"), work.path("out/tracking.db")]).arg(sql);
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Main rows, lookup rows, pairs that agree, distinct ids, smallest and largest of them.
fn pairs(work: &Work) -> String {
    ask(
        work,
        "select (select count(*) from main.sample_table), (select count(*) from sample_table_inserted_reference), \
         count(*), count(distinct m.id), min(m.id), max(m.id) \
         from main.sample_table m join track.sample_table_inserted_reference t on t.id = m.id and t.town = m.town",
    )
}

/// Every row of both databases.
fn dump(work: &Work) -> String {
    let main = ask(work, "select * from main.sample_table order by id");
    main + &ask(work, "select * from track.sample_table_inserted_reference order by id")
}

#[test]
fn every_main_row_has_its_lookup_row() {
    let work = folder();
    let report = work.report(0, &job(&[]));
    assert_eq!(pairs(&work), "5000|5000|5000|5000|1|5000");
    for name in ["rows", "main", "lookup"] {
        assert_eq!(stage(&report, name)["rows_out"], 5000, "{name}");
    }
    assert_eq!(work.list("out"), ["main.db", "tracking.db"], "closed: nothing beside the databases");
    assert_eq!(
        ask(&work, "select town, count(*) > 1500 from main.sample_table group by 1"),
        "Antarctica|1\nEarth|1\nMoon|1"
    );
    assert_eq!(ask(&work, "select count(distinct name), max(length(name)) from main.sample_table"), "5000|36");
    // A second run adds to them.
    work.expect(0, &job(&[]));
    assert_eq!(pairs(&work), "10000|10000|10000|10000|1|10000");
}

#[test]
fn the_same_seed_gives_the_same_databases() {
    let expected = {
        let work = folder();
        work.expect(0, &job(&[]));
        dump(&work)
    };
    let variations: [&[&str]; 4] = [
        &["sources.rows.concurrency=1", "sources.rows.batch.rows=1"],
        &["sources.rows.concurrency=8", "sources.rows.splits=9", "sources.rows.batch.rows=77"],
        &["sources.rows.splits=3", "sinks.main.queue=1", "sinks.lookup.batch.rows=10"],
        &["sinks.main.concurrency=8", "sinks.lookup.concurrency=8"],
    ];
    for variation in variations {
        let work = folder();
        work.expect(0, &job(variation));
        assert_eq!(dump(&work), expected, "{variation:?}");
    }
    let other = folder();
    other.expect(0, &job(&["seed=43"]));
    assert_ne!(dump(&other), expected);
}

#[test]
fn the_plan_says_why_there_is_one_writer() {
    let work = folder();
    let args: Vec<&str> = ["plan"].into_iter().chain(job(&["sinks.main.concurrency=8"])).collect();
    let plan = work.expect(0, &args).stdout;
    assert!(plan.contains("sink main (sqlite): 1 worker (a database file has one writer)"), "{plan}");
    assert!(plan.contains("one writer per database file; a transaction per split"), "{plan}");
    assert!(!work.path("out").exists(), "a plan touches no database");
}

#[test]
fn both_tables_may_be_in_one_file() {
    for splits in ["1", "7"] {
        let work = folder();
        let splits = format!("sources.rows.splits={splits}");
        work.expect(0, &job(&["sinks.lookup.database=out/main.db", &splits, "sources.rows.batch.rows=100"]));
        let sql = "select count(*) from sample_table m join main.sample_table_inserted_reference t using (id, town)";
        assert_eq!(ask(&work, sql), "5000");
    }
}

/// Two sinks on one file that read one source, with more batches than queues hold: neither may wait for the
/// other for ever.
#[test]
fn two_sinks_on_one_file_do_not_wait_for_each_other() {
    let work = folder();
    let text = work.read(JOB).replace("input = \"main\" ", "input = \"rows\" ").replace("tracking.db", "main.db");
    work.file(JOB, text);
    for concurrency in ["1", "4"] {
        let workers = format!("sources.rows.concurrency={concurrency}");
        let sets = ["sources.rows.count=20000", "sources.rows.splits=4", "sources.rows.batch.rows=50", &workers];
        work.expect(0, &job(&[&sets[..], &["sinks.main.create=replace", "sinks.lookup.create=replace"]].concat()));
        let sql = "select (select count(*) from sample_table), count(*) from main.sample_table_inserted_reference";
        assert_eq!(ask(&work, sql), "20000|20000");
    }
}

#[test]
fn a_rehearsal_touches_nothing_and_shows_the_statements() {
    let work = folder();
    let ran = work.expect(0, &[&["--dry-run"][..], &job(&[])].concat());
    assert!(
        ran.stderr.contains(r#"main would INSERT OR ABORT INTO "sample_table" ("name", "town")"#),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains(r#"lookup would {"id":1,"town":""#), "{}", ran.stderr);
    assert!(!work.path("out").exists());
}

/// Another process that holds a database's lock until it is told to let go.
struct Lock(std::process::Child);

impl Lock {
    fn on(work: &Work, path: &str) -> Lock {
        let program = "import sqlite3, sys\n\
            database = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            database.execute('begin immediate')\n\
            print('locked', flush=True)\n\
            sys.stdin.read(1)\n";
        let mut python = Command::new(service("RUNNER_TEST_PYTHON"));
        python.args(["-c", program]).arg(work.path(path)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut said).unwrap();
        assert_eq!(said, "locked\n");
        Lock(child)
    }

    fn release(mut self) {
        let _ = self.0.stdin.take().unwrap().write_all(b"x");
        self.0.wait().unwrap();
    }
}

#[test]
fn a_lock_of_another_process_is_waited_for_and_then_nothing_is_lost() {
    let work = folder();
    work.expect(0, &job(&[]));
    for (path, sink) in [("out/main.db", "main"), ("out/tracking.db", "lookup")] {
        let lock = Lock::on(&work, path);
        let ran = work.expect(69, &job(&["sinks.main.busy_timeout=200ms", "sinks.lookup.busy_timeout=200ms"]));
        assert!(
            ran.stderr.contains("database is locked, held by another process for longer than 200ms"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(path), "{sink}: {}", ran.stderr);
        lock.release();
        assert_eq!(pairs(&work), "5000|5000|5000|5000|1|5000", "{sink}: nothing was written");
    }
    // A lock that goes away in time is only waited for.
    let lock = Lock::on(&work, "out/main.db");
    let release = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        lock.release();
    });
    work.expect(0, &job(&["sinks.main.busy_timeout=30s"]));
    release.join().unwrap();
    assert_eq!(pairs(&work), "10000|10000|10000|10000|1|10000");
}

#[test]
fn a_table_may_be_emptied_and_stay_what_it_is() {
    let work = folder();
    let empty = ["sinks.main.create=truncate", "sinks.lookup.create=truncate"];
    work.expect(0, &job(&empty));
    ask(&work, "alter table main.sample_table add column extra integer default 7");
    ask(&work, "create index main.by_town on sample_table (town)");
    work.expect(0, &job(&empty));
    assert_eq!(pairs(&work), "5000|5000|5000|5000|5001|10000", "the rows of the first run are gone, and ids go on");
    let path = work.path("out/main.db");
    let one =
        |sql: &str| rusqlite::Connection::open(&path).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("select sum(extra) from sample_table"), 35_000);
    assert_eq!(one("select count(*) from sqlite_schema where name = 'by_town'"), 1);
}

/// A database that others read stays as they know it, unless the spec says otherwise.
#[test]
fn the_mode_of_the_journal_stays_or_is_set() {
    let mode = |work: &Work, path: &str| {
        let connection = rusqlite::Connection::open(work.path(path)).unwrap();
        connection.query_row("pragma journal_mode", [], |row| row.get::<_, String>(0)).unwrap()
    };
    let cases = [(None, "keep", "wal"), (Some("delete"), "keep", "delete"), (Some("wal"), "keep", "wal")];
    let more = [(Some("delete"), "wal", "wal"), (Some("wal"), "delete", "delete"), (None, "delete", "delete")];
    for (before, key, after) in cases.into_iter().chain(more) {
        let work = folder();
        if let Some(before) = before {
            work.file("out/main.db", "");
            let connection = rusqlite::Connection::open(work.path("out/main.db")).unwrap();
            connection.query_row(&format!("pragma journal_mode = {before}"), [], |_| Ok(())).unwrap();
            connection.execute_batch("create table theirs (n integer)").unwrap();
        }
        work.expect(0, &job(&[&format!("sinks.main.journal_mode={key}")]));
        assert_eq!(mode(&work, "out/main.db"), after, "{before:?}, {key}");
        assert_eq!(pairs(&work), "5000|5000|5000|5000|1|5000", "{before:?}, {key}");
    }
}

#[test]
fn rows_that_violate_a_constraint_are_rejects_and_have_no_lookup_row() {
    let work = folder();
    work.expect(0, &job(&["sources.rows.count=0"]));
    ask(&work, "create unique index main.one_of_each on sample_table (town)");
    let sets = ["limits.rejects=99%", "rejects.path=out/rejects.ndjson", "sources.rows.count=300"];
    let report = work.report(0, &job(&sets));
    assert_eq!(pairs(&work), "3|3|3|3|1|3");
    assert_eq!(stage(&report, "main")["rejected"], 297);
    let rejects = work.json_lines("out/rejects.ndjson");
    assert_eq!(rejects.len(), 297);
    assert_eq!((&rejects[0]["reason"], &rejects[0]["stage"]), (&Value::from("constraint"), &Value::from("main")));
    assert_eq!(rejects[0]["message"], "UNIQUE constraint failed: sample_table.town");
}

#[test]
fn what_does_not_fit_is_said_before_the_first_row() {
    let work = folder();
    work.expect(0, &job(&[]));
    let cases: [(&str, i32, &str); 4] = [
        ("sinks.main.table=sample_tabel", 0, ""),
        ("sinks.lookup.table=sample_table_inserted_referenc", 73, "did you mean `sample_table_inserted_reference`"),
        ("sinks.lookup.columns=[\"id\", \"name\"]", 73, "has no column `name`"),
        ("sinks.main.database=jobs/sample_tables.toml", 74, "file is not a database"),
    ];
    for (set, code, message) in cases {
        let create = if set.contains("lookup") { "never" } else { "if_missing" };
        let create = format!("sinks.lookup.create={create}");
        let before = work.list("out");
        let Ran { stderr, .. } = work.expect(code, &job(&[set, &create, "sources.rows.count=10"]));
        assert!(stderr.contains(message), "{set}: {stderr}");
        assert_eq!(work.list("out"), before);
    }
    assert_eq!(ask(&work, "select count(*) from main.sample_table"), "5000");
    work.file("out/file", "");
    work.expect(73, &job(&["sinks.main.database=out/file/main.db"]));
    work.expect(73, &job(&["sinks.main.database=out"]));
}

/// The limit of a file's size stands for a disk that is full.
#[test]
fn a_disk_that_is_full_is_an_error_and_nothing_half_done_is_reported() {
    let work = folder();
    let runner = env!("CARGO_BIN_EXE_runner");
    let script = "trap '' XFSZ; ulimit -f 400; exec \"$0\" \"$@\"";
    let args = job(&["sources.rows.count=200000", "sources.rows.splits=4"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, runner]).args(args).args(["--format", "json"]).current_dir(work.path(""));
    let output = shell.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{stderr}");
    assert!(stderr.contains("out/main.db"), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stage(&report, "main")["rows_out"], 0);
    assert_eq!(ask(&work, "select count(*) from main.sample_table"), "0");
}
