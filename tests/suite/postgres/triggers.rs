//! Rows that a table's own triggers and rules drop or store elsewhere: the server takes them and does not count them.

use super::{Database, KEYED, job, rejects, rows, with};
use crate::work::{Ran, stage};

/// Drops the rows of odd keys.
const DROP_ODD: &str = "create table t (k bigint unique, v text); \
    create function odd() returns trigger language plpgsql as $$ begin \
      if new.k % 2 = 1 then return null; end if; return new; end $$; \
    create trigger odd before insert on t for each row execute function odd()";

const FOUR: &[&str] = &["1\ta\n2\tb\n3\tc\n4\td\n"];

fn not_confirmed(database: &Database, args: &[&str]) -> (u64, [u64; 4], String) {
    let Ran { code, stderr, .. } = database.work.run(&[&["job.toml", "--report", "report.json"], args].concat());
    assert_eq!(code, 0, "{stderr}");
    let report = serde_json::from_str(&database.work.read("report.json")).unwrap();
    (stage(&report, "main")["not_confirmed"].as_u64().unwrap(), rows(&report, "main"), stderr)
}

#[test]
fn rows_that_a_trigger_drops_are_neither_stored_nor_rejected() {
    for (method, mode) in [("copy", "insert"), ("insert", "insert"), ("insert", "upsert")] {
        let keys = format!("method = '{method}'\nmode = '{mode}'\n");
        let more = if mode == "upsert" { "conflict = ['k']" } else { "" };
        let database = with(&job(KEYED, &(keys + more)), FOUR);
        database.ask(DROP_ODD);
        let (dropped, counts, said) = not_confirmed(&database, &[]);
        assert_eq!((dropped, counts), (2, [4, 2, 0, 0]), "{method} {mode}");
        assert!(said.contains("not confirmed by main: 2 rows "), "{said}");
        assert_eq!(database.ask("select string_agg(k::text, ',' order by k) from t"), "2,4");
        assert!(rejects(&database.work).is_empty());
    }
}

#[test]
fn rows_that_a_trigger_stores_elsewhere_are_there_and_counted() {
    let database = with(&job(KEYED, ""), FOUR);
    database.ask(
        "create table t (k bigint, v text); create table other (like t); \
         create function away() returns trigger language plpgsql as $$ begin insert into other values (new.*); \
           return null; end $$; \
         create trigger away before insert on t for each row execute function away()",
    );
    assert_eq!(not_confirmed(&database, &[]).0, 4);
    assert_eq!(database.ask("select (select count(*) from t) || ' ' || (select count(*) from other)"), "0 4");
}

#[test]
fn an_upsert_of_equal_keys_is_confirmed() {
    let keys = "mode = 'upsert'\nconflict = ['k']\n";
    let database = with(&job(KEYED, keys), &["2\ta\n2\tb\n4\tc\n2\td\n"]);
    database.ask("create table t (k bigint unique, v text)");
    assert_eq!(not_confirmed(&database, &[]).0, 0);
    assert_eq!(database.ask("select string_agg(k || v, ',' order by k) from t"), "2d,4c");
    // Of these keys the trigger drops one.
    database.ask(&format!("drop table t; {DROP_ODD}"));
    database.work.file("in/0.tsv", "2\ta\n3\tb\n3\tc\n2\td\n");
    assert_eq!(not_confirmed(&database, &[]).0, 1);
    // Rows that are there already stay, which is no loss.
    database.work.file("job.toml", job(KEYED, "mode = 'ignore'\nconflict = ['k']\n"));
    assert_eq!(not_confirmed(&database, &[]).0, 0);
}

#[test]
fn stages_behind_get_no_rows_that_may_not_be_there() {
    let lookup = "[sinks.lookup]\ntype = 'files'\ninput = 'main'\npath = 'out.csv'\nformat = 'csv'\n";
    let database = with(&job(KEYED, lookup), FOUR);
    database.ask(DROP_ODD);
    let ran = database.work.expect(74, &["job.toml"]);
    assert!(ran.stderr.contains("`main`: the database has not stored 2 of 4 rows by its own count"), "{}", ran.stderr);
    assert_eq!(database.ask("select count(*) from t"), "0");
}

#[test]
fn what_copy_cannot_do_and_insert_can_is_named() {
    let database = with(&job(KEYED, "method = 'copy'"), FOUR);
    database.ask("create table u (k bigint, v text); create view t as select * from u");
    let ran = database.work.expect(73, &["job.toml"]);
    assert!(ran.stderr.contains("cannot copy to view") && ran.stderr.contains("method = \"insert\""), "{}", ran.stderr);
    database.work.file("job.toml", job(KEYED, "method = 'insert'"));
    database.work.expect(0, &["job.toml"]);
    assert_eq!(database.ask("select count(*) from u"), "4");
}
