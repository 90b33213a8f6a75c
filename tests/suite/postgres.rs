//! The `postgres` sink and source against a real server: what they store, refuse and give back, and what becomes
//! of a run when the server fails. Its own client, `psql`, says what is in the tables.

mod constraints;
pub mod database;
mod faults;
pub mod targets;
mod triggers;

use std::thread;

use serde_json::Value;

pub use self::database::Database;
use crate::{
    servers::nobody,
    work::{Ran, Work, project, stage, until},
};

/// A job that reads `in/*.tsv` into a sink `main`, whose other keys are given.
fn job(columns: &str, sink: &str) -> String {
    format!(
        "name = 'job'\n[limits]\nrejects = '100%'\n[rejects]\npath = 'rejects.ndjson'\n\
         [sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\nnull = '\\N'\ncolumns = [{columns}]\n\
         [sinks.main]\ntype = 'postgres'\ninput = 'rows'\nurl = {{ env = 'DATABASE_URL' }}\ntable = 't'\n{sink}\n"
    )
}

/// A sink `lookup` that takes what `main` gives.
const LOOKUP: &str = "[sinks.lookup]\ntype = 'postgres'\ninput = 'main'\nurl = { env = 'DATABASE_URL' }\n";

const NAME: &str = "'name string'";
const KEYED: &str = "'k int64', 'v string'";

/// A database with the job in its folder, and files for it to read.
fn with(job: &str, files: &[&str]) -> Database {
    let database = Database::new();
    fill(&database, job, files);
    database
}

fn fill(database: &Database, job: &str, files: &[&str]) {
    database.work.file("job.toml", job);
    for (i, text) in files.iter().enumerate() {
        database.work.file(&format!("in/{i}.tsv"), text);
    }
}

/// The rows of a stage: in, out, rejected, failed.
fn rows(report: &Value, name: &str) -> [u64; 4] {
    ["rows_in", "rows_out", "rejected", "failed"].map(|key| stage(report, name)[key].as_u64().unwrap())
}

/// Code, message and line of every reject, in order of file and line.
fn rejects(work: &Work) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = work.json_lines("rejects.ndjson");
    let mut found: Vec<_> =
        lines.iter().map(|l| (text(&l["reason"]), text(&l["message"]), l["line"].as_u64().unwrap_or(0))).collect();
    found.sort_by_key(|(_, _, line)| *line);
    found
}

/// Lines `prefix0` to `prefix(n-1)`.
fn lines(prefix: &str, count: usize) -> String {
    (0..count).map(|i| format!("{prefix}{i}\n")).collect()
}

#[test]
fn ids_come_back_to_the_rows_they_were_given_to() {
    let texts = ["a", "b", "c", "d"].map(|prefix| lines(prefix, 2_500));
    let job = job(NAME, "returning = ['id']") + LOOKUP + "table = 'reference'\n";
    let database = with(&job, &texts.each_ref().map(String::as_str));
    let report = database.work.report(0, &["job.toml"]);
    assert_eq!(rows(&report, "main"), [10_000, 10_000, 0, 0]);
    assert_eq!(rows(&report, "lookup"), [10_000, 10_000, 0, 0]);
    assert_eq!(database.ask("select count(*), count(distinct id), count(distinct name) from t"), "10000|10000|10000");
    assert_eq!(database.ask("select count(*) from t join reference r using (id) where t.name = r.name"), "10000");
    assert_eq!(database.columns("t"), "id bigint not null, name text not null");
    assert_eq!(database.columns("reference"), "name text not null, id bigint not null");
}

#[test]
fn the_sample_job_gives_both_databases_the_same_pairs() {
    let database = Database::new();
    let job = std::fs::read_to_string(project("jobs/sample_tables_postgres.toml")).unwrap();
    database.work.file("jobs/sample_tables_postgres.toml", job);
    std::fs::create_dir(database.work.path("out")).unwrap();
    let report = database.work.report(0, &["jobs/sample_tables_postgres.toml"]);
    assert_eq!(rows(&report, "main"), [5_000, 5_000, 0, 0]);
    assert_eq!(rows(&report, "lookup"), [5_000, 5_000, 0, 0]);
    let lookup = rusqlite::Connection::open(database.work.path("out/tracking.db")).unwrap();
    let sql = "select group_concat(id || '|' || town, char(10)) from \
               (select * from sample_table_inserted_reference order by id)";
    let pairs: String = lookup.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(pairs.lines().count(), 5_000);
    assert!(pairs == database.ask("select id, town from sample_table order by id"));
    // Again: more rows with more ids, all of them in both.
    database.work.report(0, &["jobs/sample_tables_postgres.toml"]);
    let pairs: String = lookup.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(pairs.lines().count(), 10_000);
    assert!(pairs == database.ask("select id, town from sample_table order by id"));
}

#[test]
fn rows_that_a_constraint_refuses_leave_the_rest_of_the_batch_alone() {
    let bad = [(3, "a1"), (500, "too long"), (501, "x"), (999, "nul\\0")];
    let text: String = (1..=1_000)
        .map(|line| match bad.iter().find(|(at, _)| *at == line) {
            Some((_, name)) => format!("{}\n", name.replace("\\0", "\0")),
            None => format!("a{line}\n"),
        })
        .collect();
    for method in ["copy", "insert"] {
        let database = with(&job(NAME, &format!("create = 'never'\nmethod = '{method}'")), &[&text]);
        database.ask("create table t (name varchar(5) constraint one unique constraint no_x check (name <> 'x'))");
        let report = database.work.report(0, &["job.toml"]);
        assert_eq!(rows(&report, "main"), [1_000, 996, 4, 0], "{method}");
        let found = rejects(&database.work);
        let told: Vec<_> = found.iter().map(|(code, message, line)| (code.as_str(), message.as_str(), *line)).collect();
        let expected = [
            ("constraint", "duplicate key value violates unique constraint \"one\": Key (name)=(a1) already exists", 3),
            ("bad_value", "value too long for type character varying(5)", 500),
            (
                "constraint",
                "new row for relation \"t\" violates check constraint \"no_x\": Failing row contains (x)",
                501,
            ),
            ("bad_value", "invalid byte sequence for encoding \"UTF8\": 0x00", 999),
        ];
        assert_eq!(told, expected, "{method}");
        assert_eq!(database.ask("select count(*), min(name) from t"), "996|a1");
    }
}

/// An identity that the server would always generate is given, as COPY does it; text goes through the server's own input.
#[test]
fn given_identities_and_texts_of_any_type_are_taken() {
    let text = "7\t1234567890987654321.1234567890\t23:59:59.5\t1 day 02:00:00\t$12.30\t10.0.0.0/8\t{1,2}\tt\n\
                8\tnone\t23:59:59.5\t1 day\t$1\t::1\t{}\tf\n";
    let columns = "'id int64', 'n string', 't string', 'i string', 'm string', 'a string', 'l string', 'b string'";
    for keys in ["method = 'copy'", "method = 'insert'", "mode = 'upsert'\nconflict = ['id']"] {
        let database = with(&job(columns, &format!("create = 'never'\n{keys}")), &[text]);
        database.ask(
            "create table t (id bigint generated always as identity unique, n numeric(30, 10), t time, i interval, \
             m money, a inet, l int[], b boolean)",
        );
        let report = database.work.report(0, &["job.toml"]);
        assert_eq!(rows(&report, "main"), [2, 1, 1, 0], "{keys}");
        assert_eq!(rejects(&database.work)[0].1, "invalid input syntax for type numeric: \"none\"", "{keys}");
        let expected = "7|1234567890987654321.1234567890|23:59:59.5|1 day 02:00:00|$12.30|10.0.0.0/8|{1,2}|t";
        assert_eq!(database.ask("select * from t"), expected, "{keys}");
    }
}

#[test]
fn rows_that_are_there_are_replaced_or_stay() {
    let before = "create table t (id bigint generated always as identity, k bigint unique, v text); \
                  insert into t (k, v) values (1, 'old'), (2, 'old')";
    // 3 comes twice in one batch, and a row without a key is refused.
    let text = "2\tnew\n3\tfirst\n3\tlast\n\\N\tnone\n";
    let columns = "{ name = 'k', type = 'int64', nullable = true }, 'v string'";
    let cases = [
        ("upsert", "1|old,2|new,3|last", "new|2|2,first|3|3,last|3|3"),
        ("ignore", "1|old,2|old,3|first", "new|2|2,first|3|3,last|3|3"),
    ];
    for (mode, table, given) in cases {
        let sink = format!("mode = '{mode}'\nconflict = ['k']\nreturning = ['id']");
        let job = job(columns, &sink) + LOOKUP + "table = 'reference'\ncreate = 'replace'\n";
        let database = with(&job, &[text]);
        database.ask(before);
        let report = database.work.report(0, &["job.toml"]);
        assert_eq!(rows(&report, "main"), [4, 3, 1, 0], "{mode}");
        assert_eq!(rejects(&database.work)[0].1, "`k` is null, and `conflict` needs it");
        assert_eq!(database.list("select k, v from t order by k"), table, "{mode}");
        let by_key = "select r.v, r.k, t.k from reference r join t using (id) order by r.v <> 'new', r.v";
        assert_eq!(database.list(by_key), given, "{mode}");
    }
}

#[test]
fn of_rows_with_one_key_the_last_of_the_input_stays() {
    let day = |word: &str| (0..6_000).map(|key| format!("{key}\t{word}\n")).collect::<String>();
    let (old, new) = (day("old"), day("new"));
    let keys = "mode = 'upsert'\nconflict = ['k']\nconcurrency = 3\nbatch = { rows = 500 }";
    for columns in [KEYED, "'k string', 'v string'"] {
        let database = with(&job(columns, keys), &[&old, &new]);
        let report = database.work.report(0, &["job.toml"]);
        assert_eq!(rows(&report, "main"), [12_000, 12_000, 0, 0]);
        assert_eq!(database.list("select v, count(*) from t group by v"), "new|6000", "{columns}");
    }
    // To a domain of a case-folding collation, texts that differ are one key.
    let database = with(&job("'k string', 'v string'", keys), &["a\told\n", "A\tnew\n"]);
    database.ask(
        "create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         create table t (k text collate folding unique, v text)",
    );
    let ran = database.work.expect(73, &["job.toml"]);
    assert!(ran.stderr.contains("different texts may be equal"), "{}", ran.stderr);
    database.work.expect(0, &["job.toml", "--set", "sinks.main.concurrency=1"]);
    assert_eq!(database.list("select k, v from t"), "a|new");
    database.work.expect(0, &["job.toml", "--set", "sinks.main.order=any"]);
}

#[test]
fn modes_without_a_key_or_with_a_table_of_their_own() {
    let database = with(&job(KEYED, "mode = 'ignore'"), &["1\ta\n1\tb\n"]);
    database.ask("create table t (k bigint unique, v text)");
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.list("select k, v from t"), "1|a");

    // The table that is made has the index that `conflict` needs; a second run replaces.
    let database = with(&job(KEYED, "mode = 'upsert'\nconflict = ['k']"), &["1\ta\n2\tb\n"]);
    database.work.expect(0, &["job.toml"]);
    database.work.file("in/0.tsv", "2\tc\n3\td\n");
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.list("select k, v from t order by k"), "1|a,2|c,3|d");

    let database = with(&job(KEYED, "mode = 'upsert'\nconflict = ['k', 'v']"), &["1\ta\n1\ta\n"]);
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.list("select k, v from t"), "1|a");
}

#[test]
fn the_table_is_made_kept_or_made_anew() {
    let database = with(&job(KEYED, "columns = ['v']"), &["1\ta\n"]);
    let run = |create: &str| database.work.run(&["job.toml", "--set", &format!("sinks.main.create={create}")]);
    let never = run("never");
    assert_eq!(never.code, 73, "{}", never.stderr);
    assert!(never.stderr.contains("table `t` does not exist"), "{}", never.stderr);
    for (create, expected) in [("truncate", "a"), ("if_missing", "a,a"), ("never", "a,a,a"), ("replace", "a")] {
        assert_eq!(run(create).code, 0, "{create}");
        assert_eq!(database.list("select v from t"), expected, "{create}");
    }
    // What others have made of the table stays, but for its rows.
    database.ask("alter table t add column w int default 7; create view seen as select v, w from t");
    assert_eq!((run("if_missing").code, run("truncate").code), (0, 0));
    assert_eq!(database.list("select v, w from seen"), "a|7");
    database.ask(
        "create table points (v text); alter table t add primary key (v); \
                  alter table points add foreign key (v) references t (v)",
    );
    let refused = run("truncate");
    assert_eq!(refused.code, 73, "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot truncate a table referenced in a foreign key"), "{}", refused.stderr);
    let elsewhere = database.work.run(&["job.toml", "--set", "sinks.main.table=nowhere.t"]);
    assert_eq!(elsewhere.code, 73, "{}", elsewhere.stderr);
    let qualified = format!("sinks.main.table={}.other", database.schema);
    database.work.expect(0, &["job.toml", "--set", &qualified]);
    assert_eq!(database.list("select v from other"), "a");
}

/// The server may go on for a while with what a killed attempt has asked for.
#[test]
fn a_table_that_is_being_made_is_waited_for() {
    for (create, expected) in [("if_missing", "old,a"), ("replace", "a")] {
        let database = with(&job(KEYED, "columns = ['v']"), &["1\ta\n"]);
        let dead = format!("create table t (v text); insert into t values ('old'); select pg_sleep(1), '{create}'");
        thread::scope(|scope| {
            scope.spawn(|| database.ask(&dead));
            let asleep = format!(
                "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%, ''{create}''%'"
            );
            until("the table is being made", || database.ask(&asleep) == "1");
            database.work.expect(0, &["job.toml", "--set", &format!("sinks.main.create={create}")]);
        });
        assert_eq!(database.list("select v from t"), expected, "{create}");
    }
}

#[test]
fn a_table_that_does_not_fit_is_found_before_the_first_row() {
    let keyed = "mode = 'upsert'\nconflict = ['k']\n";
    let cases = [
        ("create table t (k bigint, w text)", "", 73, "has no column `v`; did you mean `k`?"),
        ("create table t (k text, v text)", "", 73, "cannot take column `k`: it is `text` there and `int64` here"),
        ("create table t (k bigint, v bytea)", "", 73, "cannot take column `v`: it is `bytea` there"),
        ("create table t (k bigint, v text)", keyed, 73, "no unique or exclusion constraint matching"),
        (
            "create table t (k bigint, v text generated always as ('x') stored)",
            "method = 'insert'",
            73,
            "cannot insert a non-DEFAULT value",
        ),
        ("create table t (k bigint, v text)", "returning = ['id']", 73, "has no column `id`"),
        (
            "create table t (k bigint, v text, id text)",
            "returning = ['id']",
            73,
            "cannot give column `id`: it is `text` there and `int64` here",
        ),
        ("create view t as select 1::bigint as k, 'a'::text as v", "", 73, "cannot insert into"),
    ];
    for (table, keys, code, message) in cases {
        let database = with(&job(KEYED, keys), &["1\ta\n"]);
        database.ask(table);
        let ran = database.work.expect(code, &["job.toml"]);
        assert!(ran.stderr.contains(message), "{table}: {}", ran.stderr);
    }
}

/// One row of every type, one of nulls; what each looks like as text.
const TYPES: &[(&str, &str)] = &[
    ("bool", "true"),
    ("int8", "-128"),
    ("int16", "-32768"),
    ("int32", "-2147483648"),
    ("int64", "-9223372036854775808"),
    ("uint8", "255"),
    ("uint16", "65535"),
    ("uint32", "4294967295"),
    ("uint64", "18446744073709551615"),
    ("float32", "0.1"),
    ("float64", "-1.7976931348623157e308"),
    ("string", "a\\b \"Жук\" 🐞"),
    ("binary", "bytes"),
    ("date", "1969-12-31"),
    ("timestamp", "1969-12-31T23:59:59.999999Z"),
    ("timestamp_ns", "2020-02-29T01:02:03.000001000Z"),
    ("json", "{\"a\": [1, null]}"),
    ("list<int32>", "1,-2,3"),
    ("list<string>", "a\\,b\",Ж"),
    ("list<float64>", "0.5,1e300"),
    ("list<date>", "2000-01-01,2001-12-31"),
];

#[test]
fn every_type_comes_back_as_it_was_written() {
    // A list's separator may not stand in its items, so text with a comma is tried through the column of text.
    let columns: Vec<String> = TYPES
        .iter()
        .enumerate()
        .map(|(i, (name, _))| format!("{{ name = 'c{i}', type = '{name}', nullable = true }}"))
        .collect();
    let columns = columns.join(", ");
    let values: Vec<&str> = TYPES.iter().map(|(_, value)| *value).collect();
    let nulls = vec!["\\N"; TYPES.len()];
    let mut odd = nulls.clone();
    (odd[9], odd[10], odd[11], odd[17]) = ("NaN", "-inf", "\\\\N", "");
    let text = [values, nulls, odd].map(|row| row.join("\t") + "\n").concat();
    let plain = "[sinks.plain]\ntype = 'files'\ninput = 'rows'\npath = 'plain.tsv'\nformat = 'tsv'\nnull = '\\N'\n";
    for method in ["copy", "insert"] {
        let database = with(&(job(&columns, &format!("method = '{method}'")) + plain), &[&text]);
        let ran = database.work.expect(0, &["job.toml"]);
        assert_eq!(database.work.read("rejects.ndjson"), "", "{}", ran.stderr);
        let back = format!(
            "name = 'back'\n[sources.t]\ntype = 'postgres'\nurl = {{ env = 'DATABASE_URL' }}\ntable = 't'\n\
             columns = [{columns}]\n\
             [sinks.file]\ntype = 'files'\ninput = 't'\npath = 'back.tsv'\nformat = 'tsv'\nnull = '\\N'\n"
        );
        database.work.file("back.toml", back);
        database.work.expect(0, &["back.toml"]);
        assert_eq!(database.work.read("back.tsv"), database.work.read("plain.tsv"), "{method}");
        assert_eq!(
            database.ask("select c8, c16, c17[2], c3 from t limit 1"),
            "18446744073709551615|{\"a\": [1, null]}|-2|-2147483648"
        );
    }
}

#[test]
fn any_concurrency_stores_the_same() {
    let texts = ["a", "b", "c", "d", "e"].map(|prefix| lines(prefix, 700));
    let mut found = Vec::new();
    for concurrency in [1, 2, 4] {
        let keys = format!("concurrency = {concurrency}\nbatch = {{ rows = 100 }}");
        let database = with(&job(NAME, &keys), &texts.each_ref().map(String::as_str));
        database.work.expect(0, &["job.toml"]);
        found.push(database.ask("select count(*), md5(string_agg(name, ',' order by name)) from t"));
    }
    assert!(found[0].starts_with("3500|") && found.iter().all(|one| *one == found[0]), "{found:?}");
}

#[test]
fn who_may_not_in_is_told_so_and_no_password_is_printed() {
    let tries = "retry = { attempts = 3 }\n";
    let database = with(&job(NAME, tries), &["a\n"]);
    let source = "name = 'source'\n[sources.t]\ntype = 'postgres'\nurl = { env = 'DATABASE_URL' }\ntable = 't'\n\
                  columns = ['name string']\nretry = { attempts = 3 }\n[sinks.none]\ntype = 'discard'\ninput = 't'\n";
    database.work.file("source.toml", source);
    let at = database.address();
    let cases = [
        (format!("postgres://guarded:walnut@{at}"), 77, 77, "password authentication failed for user \"guarded\""),
        (format!("postgres://guarded@{at}"), 77, 77, "password missing"),
        (format!("postgres://guarded:tango@{at}?sslmode=require"), 78, 78, "TLS is not built in"),
        (format!("postgres://runner:walnut@{}/no_such_db", at.split('/').next().unwrap()), 73, 66, "does not exist"),
        (format!("postgres://runner:walnut@{}/x?connect_timeout=1", nobody()), 69, 69, "given up after 3 attempts"),
        ("walnut".to_owned(), 78, 78, "expected `postgres://user@host:port/database`"),
    ];
    for (url, sink, source, message) in cases {
        for (job, code) in [("job.toml", sink), ("source.toml", source)] {
            let mut command = database.work.command(&[job]);
            let output = command.env("DATABASE_URL", &url).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{job} {url}: {said}");
            assert!(said.contains(message) && !said.contains("walnut"), "{job} {url}: {said}");
        }
    }
    let output = database.work.command(&["job.toml"]).env_remove("DATABASE_URL").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    // A permission that lacks inside the database: the table is another's.
    database.ask("create table t (name text)");
    let schema = &database.schema;
    database.ask(&format!("grant usage on schema {schema} to guarded"));
    let url = format!("postgres://guarded:tango@{at}?options=-c%20search_path%3D{schema}");
    for (args, message) in [
        (&["job.toml", "--no-ledger"][..], "permission denied for table t"),
        (&["source.toml"], "permission denied for table t"),
        (&["job.toml"], "cannot keep receipts, without which"),
    ] {
        let output = database.work.command(args).env("DATABASE_URL", &url).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(77) && said.contains(message), "{said}");
    }
}

#[test]
fn a_rehearsal_needs_no_server_and_shows_rows() {
    let text = job(NAME, "returning = ['id']") + LOOKUP + "table = 'reference'\n";
    let work = Work::new().env("DATABASE_URL", &format!("postgres://runner@{}/x", nobody()));
    work.file("job.toml", text);
    work.file("in/0.tsv", "a\nb\n");
    let Ran { stderr, .. } = work.expect(0, &["job.toml", "--dry-run"]);
    for line in ["insert into t {\"name\":\"b\"}", "insert into reference {\"name\":\"b\",\"id\":2}"] {
        assert!(stderr.contains(line), "{stderr}");
    }
}

/// A job that reads a table, or what its keys say, into a file.
fn reading(keys: &str) -> String {
    format!(
        "name = 'reading'\n[limits]\nrejects = '100%'\n[rejects]\npath = 'rejects.ndjson'\n\
         [sources.t]\ntype = 'postgres'\nurl = {{ env = 'DATABASE_URL' }}\n{keys}\n\
         [sinks.file]\ntype = 'files'\ninput = 't'\npath = 'out.tsv'\nformat = 'tsv'\n"
    )
}

#[test]
fn a_table_is_read_in_ranges_of_its_key() {
    let keys =
        "table = 't'\ncolumns = ['id int64', 'name string']\nkey = 'id'\nsplit_rows = 300\nbatch = { rows = 100 }";
    let database = with(&reading(keys), &[]);
    database.ask(
        "create table t (id int, name text); insert into t select 7 * i, 'n' || i from generate_series(-500, 499) i",
    );
    let expected: String = (-500..500).map(|i| format!("{}\tn{i}\n", 7 * i)).collect();
    for concurrency in [1, 2, 4] {
        let set = format!("sources.t.concurrency={concurrency}");
        let report = database.work.report(0, &["job.toml", "--set", &set]);
        assert_eq!(database.work.read("out.tsv"), expected, "{concurrency}");
        let splits = report["splits"]["list"].as_array().unwrap();
        let names: Vec<_> = splits.iter().map(|split| split["name"].as_str().unwrap()).collect();
        let ranges = ["-3500 to -1401", "-1400 to 699", "700 to 2799", "2800 to 3493"];
        assert_eq!(names, ranges.map(|range| format!("table `t`, \"id\" {range}")));
    }
    database.ask("truncate t");
    assert_eq!(database.work.report(0, &["job.toml"])["splits"]["list"].as_array().map(Vec::len), Some(0));
    database.ask("insert into t values (1, 'a'), (null, 'b')");
    let ran = database.work.expect(66, &["job.toml"]);
    assert!(ran.stderr.contains("`key` \"id\" is null in 1 rows"), "{}", ran.stderr);
}

#[test]
fn a_query_is_read_and_bad_values_are_rejects() {
    let keys = "query = 'select n, l, s from t order by n -- all of it'\ncolumns = [\
                'n int8', { name = 'l', type = 'list<uint8>', invalid = 'drop_items' }, \
                { name = 's', type = 'int8', nullable = true, invalid = 'null' }]";
    let database = with(&reading(keys), &[]);
    database.ask(
        "create table t (n int, l int[], s int); insert into t values \
         (1, '{1,300,2}', 5), (2, '{}', 500), (300, '{}', 1), (null, '{}', 1), (4, null, null), (5, '{{1},{2}}', 1)",
    );
    let report = database.work.report(0, &["job.toml"]);
    assert_eq!(database.work.read("out.tsv"), "1\t1,2\t5\n2\t\t\n");
    assert_eq!(rows(&report, "t"), [6, 2, 4, 0]);
    let mut found: Vec<_> = rejects(&database.work).into_iter().map(|(code, message, _)| (code, message)).collect();
    found.sort();
    let expected = [
        ("bad_list", "column `l`: the array has several dimensions"),
        ("bad_number", "column `n`: the number is out of range"),
        ("unexpected_null", "column `l`: there is no value"),
        ("unexpected_null", "column `n`: there is no value"),
    ];
    assert_eq!(found, expected.map(|(code, message)| (code.to_owned(), message.to_owned())));
    // An int64, an array of one item and an int64 are 40 bytes as they come.
    database.ask("delete from t; insert into t values (6, '{}', 1), (7, '{1}', 1)");
    database.work.expect(0, &["job.toml", "--set", "limits.max_record_bytes=39"]);
    assert_eq!(database.work.read("out.tsv"), "6\t\t1\n");
    assert_eq!(rejects(&database.work)[0].1, "the record has 48 bytes, the limit is 39");
}

#[test]
fn an_input_that_is_not_as_declared_is_missing() {
    let cases = [
        ("table = 'tt'\ncolumns = ['n int64']", "relation \"tt\" does not exist"),
        ("table = 't'\ncolumns = ['m int64']", "there is no column `m`; did you mean `n`?"),
        ("table = 't'\ncolumns = ['s int64']", "column `s` is `text` there, which is not read as `int64`"),
        ("table = 't'\ncolumns = ['n int64']\nkey = 's'", "`key` is a column of whole numbers, and `s` is `text`"),
        ("table = 't'\ncolumns = ['n int64']\nkey = 'm'", "there is no column `m`"),
        ("query = 'selec 1'\ncolumns = ['n int64']", "syntax error"),
    ];
    for (keys, message) in cases {
        let database = with(&reading(keys), &[]);
        database.ask("create table t (n int, s text)");
        let ran = database.work.expect(66, &["job.toml"]);
        assert!(ran.stderr.contains(message), "{keys}: {}", ran.stderr);
    }
}

#[test]
fn a_query_cannot_write() {
    let keys = "query = 'select drop_it() as n'\ncolumns = ['n int64']";
    let database = with(&reading(keys), &[]);
    database.ask("create table t (n int); create function drop_it() returns bigint language sql as 'delete from t; select 1::bigint'; insert into t values (1)");
    let ran = database.work.run(&["job.toml"]);
    assert!(ran.code != 0 && ran.stderr.contains("read-only transaction"), "{}", ran.stderr);
    assert_eq!(database.ask("select n from t"), "1");
}
