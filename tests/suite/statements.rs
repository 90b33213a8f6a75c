//! Statements that a job runs in its database before the first row and when everything is stored.

use crate::{
    postgres::Database,
    work::{Work, stage},
};

/// What a job adds to its target: how many rows the table had then.
const NOTES: &str = "before = ['create table if not exists said (word text)',\n\
                               \"insert into said select 'before ' || count(*) from t; -- and that is all\"]\n\
                     after = [\"insert into said select 'after ' || count(*) from t\", 'analyze']\n";

const SQLITE: &str = "type = 'sqlite'\ndatabase = 'out/t.db'\ntable = 't'\n";
const POSTGRES: &str = "type = 'postgres'\nurl = { env = 'DATABASE_URL' }\ntable = 't'\n";

fn job(sink: &str, more: &str) -> String {
    format!(
        "name = 'job'\n[limits]\nrejects = '30%'\n\
         [sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['n int64']\nconcurrency = 1\n\
         [sinks.table]\ninput = 'rows'\n{sink}{more}"
    )
}

/// One of the databases, and the folder of a job.
enum Target {
    Sqlite(Work),
    Postgres(Database),
}

impl Target {
    /// Both, each with a job of two files; the second has more rejects than are allowed.
    fn all(more: &str) -> [Target; 2] {
        let fill = |work: &Work, sink: &str| {
            work.file("job.toml", job(sink, more));
            work.file("in/0.tsv", "1\n2\n");
            work.file("in/1.tsv", "x\nx\n3\n");
        };
        let (folder, server) = (Work::new(), Database::new());
        fill(&folder, SQLITE);
        fill(&server.work, POSTGRES);
        [Target::Sqlite(folder), Target::Postgres(server)]
    }

    fn work(&self) -> &Work {
        match self {
            Target::Sqlite(work) => work,
            Target::Postgres(server) => &server.work,
        }
    }

    fn run(&self, sql: &str) {
        match self {
            Target::Sqlite(work) => {
                rusqlite::Connection::open(work.path("out/t.db")).unwrap().execute_batch(sql).unwrap()
            }
            Target::Postgres(server) => drop(server.ask(sql)),
        }
    }

    /// The one text that a query gives.
    fn ask(&self, sql: &str) -> String {
        match self {
            Target::Sqlite(work) => {
                let connection = rusqlite::Connection::open(work.path("out/t.db")).unwrap();
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Target::Postgres(server) => server.ask(sql),
        }
    }

    fn said(&self) -> String {
        match self {
            Target::Sqlite(_) => {
                self.ask("select group_concat(word, ', ') from (select word from said order by rowid)")
            }
            Target::Postgres(_) => self.ask("select string_agg(word, ', ' order by ctid) from said"),
        }
    }
}

const REST: [&str; 3] = ["job.toml", "--set", "limits.rejects=90%"];

#[test]
fn statements_run_once_before_the_first_row_and_when_all_is_stored() {
    for target in Target::all(NOTES) {
        let work = target.work();
        let plan = work.expect(0, &["plan", "job.toml"]).stdout;
        assert!(plan.contains("once before the first row: create table if not exists said (word text)"), "{plan}");
        assert!(plan.contains("when everything is stored: analyze"), "{plan}");
        work.expect(65, &[&REST[..1], &["--dry-run"]].concat());
        work.expect(65, &["job.toml"]);
        assert_eq!(target.said(), "before 0", "a run that is not over has not come to its end");
        work.expect(0, &REST);
        assert_eq!(target.said(), "before 0, after 3");
        work.expect(0, &[&REST[..], &["--limit", "1"]].concat());
        assert_eq!(target.said(), "before 0, after 3, before 3, after 4");
    }
}

#[test]
fn what_fails_after_all_is_stored_is_done_by_the_next_attempt_alone() {
    for target in Target::all("after = ['insert into missing values (1)']\n") {
        let work = target.work();
        work.file("in/1.tsv", "3\n");
        let ran = work.expect(74, &["job.toml"]);
        assert!(ran.stderr.contains("the `after` statement `insert into missing values (1)`"), "{}", ran.stderr);
        assert_eq!(target.ask("select cast(count(*) as text) from t"), "3");
        // The statement is made right, in the database or in the spec.
        let spec = work.read("job.toml");
        work.file("job.toml", spec.replace("into missing", "into absent"));
        work.expect(74, &["job.toml"]);
        target.run("create table absent (n integer)");
        let report = work.report(0, &["job.toml"]);
        assert_eq!(stage(&report, "table")["rows_in"], 0, "nothing is written again");
        let counts = "select (select count(*) from t) || ' ' || (select count(*) from absent)";
        assert_eq!(target.ask(counts), "3 1");
    }
}

#[test]
fn what_fails_before_the_first_row_stores_nothing() {
    for target in Target::all("before = ['create table made (n integer)', 'no sql']\n") {
        let work = target.work();
        work.file("in/1.tsv", "3\n");
        let ran = work.expect(73, &["job.toml"]);
        assert!(ran.stderr.contains("before") && ran.stderr.contains("syntax error"), "{}", ran.stderr);
        work.file("job.toml", work.read("job.toml").replace("no sql", "insert into made values (7)"));
        work.expect(0, &["job.toml"]);
        let counts = "select (select count(*) from t) || ' ' || (select count(*) from made)";
        assert_eq!(target.ask(counts), "3 1", "neither statement was kept of the first try");
    }
}

#[test]
fn a_statement_may_make_the_table_that_is_written() {
    for target in Target::all("create = 'never'\nbefore = ['create table t (n integer check (n < 3))']\n") {
        let work = target.work();
        let text = work.read("job.toml").replace("'30%'", "'100%'");
        work.file("job.toml", text);
        if matches!(target, Target::Sqlite(_)) {
            work.file("out/t.db", "");
        }
        let report = work.report(0, &["job.toml"]);
        assert_eq!(stage(&report, "table")["rejected"], 1);
        assert_eq!(target.ask("select cast(count(*) as text) from t"), "2");
    }
}

/// Once in a run, also where the table is emptied or made anew.
#[test]
fn statements_go_with_what_becomes_of_the_table() {
    const MARK: &str = "before = ['create table if not exists m (n integer)', 'insert into m values (1)']\n";
    let cases = [("create = 'replace'", "3 1", "3 2"), ("create = 'truncate'", "3 1", "3 2"), ("", "3 1", "6 2")];
    for (key, resumed, again) in cases {
        for target in Target::all(&format!("{key}\n{MARK}")) {
            let counts = || target.ask("select (select count(*) from t) || ' ' || (select count(*) from m)");
            target.work().expect(73, &["job.toml", "--report", "job.toml/report.json", REST[1], REST[2]]);
            target.work().expect(0, &REST);
            assert_eq!(counts(), resumed, "{key}: rows and statements of a resumed run");
            target.work().expect(0, &REST);
            assert_eq!(counts(), again, "{key}: of the next run");
        }
    }
}

#[test]
fn statements_that_say_nothing_are_mistakes() {
    for target in Target::all("before = ['select 1', ' ; ', \"a\\u0000\"]\nafter = ['']\n") {
        let ran = target.work().expect(78, &["check", "job.toml"]);
        assert_eq!(ran.stderr.matches("the statement is empty").count(), 2, "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("the statement holds a NUL").count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("job.toml:15:"), "{}", ran.stderr);
    }
}
