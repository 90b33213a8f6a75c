//! Constraints that the table checks only when a split is committed.

use super::{KEYED, job, rejects, rows, with};

#[test]
fn a_constraint_is_checked_when_the_table_says_or_at_every_row() {
    let table = "create table t (k bigint unique deferrable initially deferred, v text)";
    let immediate = job(KEYED, "create = 'never'\nconstraints = 'immediate'");
    let database = with(&immediate, &["1\ta\n2\tb\n1\tc\n"]);
    database.ask(table);
    let report = database.work.report(0, &["job.toml"]);
    assert_eq!(rows(&report, "main"), [3, 2, 1, 0]);
    assert_eq!(rejects(&database.work)[0].2, 3);
    let plan = database.work.expect(0, &["plan", "job.toml"]).stdout;
    assert!(plan.contains("deferrable constraints are checked at every row"), "{plan}");
    // Where it is checked only at the commit, the rows of a split that breaks it are looked at one by one.
    for method in ["copy", "insert"] {
        let database = with(&job(KEYED, &format!("create = 'never'\nmethod = '{method}'")), &["1\ta\n2\tb\n1\tc\n"]);
        database.ask(table);
        let report = database.work.report(0, &["job.toml"]);
        assert_eq!(rows(&report, "main"), [3, 2, 1, 0], "{method}");
        let (code, why, record) = rejects(&database.work).remove(0);
        assert!((code.as_str(), record) == ("constraint", 3) && why.contains("Key (k)=(1) already exists"), "{why}");
        assert_eq!(database.ask("select count(*), min(v), max(v) from t"), "2|a|b", "{method}");
    }
    // What has come back of the rows is known to others by then: none of them is stored.
    let database = with(&job(KEYED, "create = 'never'\nreturning = ['v']"), &["1\ta\n2\tb\n1\tc\n"]);
    database.ask(table);
    let ran = database.work.expect(65, &["job.toml"]);
    for words in ["none of its 3 rows are stored", "Key (k)=(1) already exists", "`constraints = \"immediate\"`"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert_eq!(database.ask("select count(*) from t"), "0");
    // So they are where another stage reads the sink: it would have been given all of them.
    let read = "[sinks.next]\ntype = 'files'\ninput = 'main'\npath = 'next.tsv'\nformat = 'tsv'\n";
    let other = with(&job(KEYED, &format!("create = 'never'\n{read}")), &["1\ta\n2\tb\n1\tc\n"]);
    other.ask(table);
    let ran = other.work.expect(65, &["job.toml"]);
    assert!(ran.stderr.contains("none of its 3 rows are stored"), "{}", ran.stderr);
    assert_eq!(other.ask("select count(*) from t"), "0");
    assert!(!other.work.path("next.tsv").exists());
    let report = database.work.report(0, &["job.toml", "--set", "sinks.main.constraints=immediate", "--fresh"]);
    assert_eq!(rows(&report, "main"), [3, 2, 1, 0]);
    assert_eq!(database.ask("select count(*) from t"), "2");
}

/// One row of many points to nothing, and others to rows that come later: only the one is refused, whatever the sizes of
/// batches, with and without receipts; and those that were refused at once are told once.
#[test]
fn of_a_split_that_breaks_a_deferred_constraint_only_the_rows_that_break_it_are_refused() {
    let mut lines: Vec<String> = (0..900).map(|n| format!("{n}\t{}\n", if n < 450 { n + 450 } else { n })).collect();
    lines[100] = "100\t7777\n".to_owned();
    lines[700] = "-1\t0\n".to_owned();
    let text = lines.concat();
    for keys in ["batch = { rows = 100 }", "method = 'insert'", "receipts = 'none'\nbatch = { rows = 700 }"] {
        let database = with(&job("'id int64', 'parent int64'", &format!("create = 'never'\n{keys}")), &[&text]);
        database.ask(
            "create table t (id bigint primary key check (id >= 0), \
             parent bigint references t (id) deferrable initially deferred)",
        );
        let report = database.work.report(0, &["job.toml"]);
        // 700 is not there, so nor is 250, which points to it.
        assert_eq!(rows(&report, "main"), [900, 897, 3, 0], "{keys}");
        let mut records: Vec<u64> = rejects(&database.work).into_iter().map(|(.., record)| record).collect();
        records.sort_unstable();
        assert_eq!(records, [101, 251, 701], "{keys}");
        assert_eq!(database.ask("select count(*) from t where id in (100, 250, 700)"), "0", "{keys}");
    }
}

/// Rows that point to others of the same file, whatever comes first.
#[test]
fn a_deferred_key_may_point_to_a_row_that_comes_later() {
    let text: String = (0..3_000).map(|n| format!("{n}\t{}\n", 2_999 - n)).collect();
    for keys in ["batch = { rows = 100 }", "method = 'insert'", "returning = ['made']"] {
        let database = with(&job("'id int64', 'parent int64'", &format!("create = 'never'\n{keys}")), &[&text]);
        database.ask(
            "create table t (id bigint primary key, parent bigint references t (id) deferrable initially deferred, \
             made bigint generated always as identity)",
        );
        database.work.expect(0, &["job.toml"]);
        assert_eq!(database.ask("select count(*), min(parent), max(parent) from t"), "3000|0|2999", "{keys}");
    }
}

/// The file is whole or absent, so all splits are read again: the receipt of the first says which row was refused late.
#[test]
fn a_row_that_was_refused_at_the_commit_stays_refused_when_the_run_is_resumed() {
    let file = "[sinks.file]\ntype = 'files'\ninput = 'rows'\npath = 'out.tsv'\nformat = 'tsv'\n";
    let job = job(KEYED, &format!("create = 'never'\n{file}")).replace("'100%'", "'40%'");
    let database = with(&job, &["1\ta\n2\tb\n1\tc\n3\td\n", "x\nx\nx\nx\nx\n"]);
    database.ask("create table t (k bigint unique deferrable initially deferred, v text)");
    database.work.expect(65, &["job.toml"]);
    assert_eq!(database.ask("select count(*) from t"), "3");
    let report = database.work.report(0, &["job.toml", "--set", "limits.rejects=90%"]);
    assert_eq!(rows(&report, "main"), [4, 3, 1, 0]);
    assert_eq!(database.ask("select count(*), min(v), max(v) from t"), "3|a|d");
    let of_main: Vec<_> = rejects(&database.work).into_iter().filter(|(code, ..)| code == "constraint").collect();
    assert_eq!((of_main.len(), of_main[0].2), (1, 3));
    assert_eq!(database.work.read("out.tsv").lines().count(), 4);
}
