//! Transforms in whole jobs: against DuckDB, over memory, and as `runner preview` shows them.

use serde_json::json;

use crate::work::{Work, oracle, stage};

#[test]
fn rows_are_those_of_duckdb() {
    let work = Work::new();
    let ran = oracle(&work, "transforms.py", &[env!("CARGO_BIN_EXE_runner")]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// A job with two files of crews and one of people, `rest` behind them.
fn crews(rest: &str) -> Work {
    let work = Work::new();
    work.file("data/crew1.tsv", "t1\tn1,n2\nt2\t\\N\nt3\tn3\n");
    work.file("data/crew2.tsv", "t4\tn2,nobody\nt5\tn1\textra\nt6\tn3,n1\n");
    work.file("data/names.tsv", "n1\tAnn\nn2\tBob\nn3\tCleo, Queen\n");
    let sources = r#"
        name = "crews"
        limits = { rejects = 1 }
        rejects = { path = "out/rejects.ndjson" }
        [sources.crew]
        type = "files"
        path = "data/crew*.tsv"
        format = "tsv"
        null = "\\N"
        columns = ["title string", { name = "directors", type = "list<string>", nullable = true }]
        done = { rename = "{name}.done" }
        [sources.names]
        type = "files"
        path = "data/names.tsv"
        format = "tsv"
        columns = ["id string", "name string"]
        [transforms.each]
        type = "explode"
        input = "crew"
        column = "directors"
        into = "id"
        [transforms.named]
        type = "join"
        input = "each"
        with = "names"
        on = ["id"]
        [transforms.counted]
        type = "aggregate"
        input = "named"
        by = ["name"]
        columns = { titles = "count(*)", last = "max(title)" }
        [sinks.out]
        type = "files"
        input = "counted"
        path = "out/counts.tsv"
        format = "tsv"
    "#;
    work.file("job.toml", format!("{sources}{rest}"));
    work
}

#[test]
fn lists_become_rows_that_are_joined_and_counted() {
    let work = crews("");
    let report = work.report(0, &["job.toml"]);
    assert_eq!(work.read("out/counts.tsv"), "Ann\t2\tt6\nBob\t2\tt4\nCleo, Queen\t2\tt6\n");
    assert_eq!(work.list("data"), ["crew1.tsv.done", "crew2.tsv.done", "names.tsv"]);
    let rows = |name: &str| {
        let one = stage(&report, name);
        ["rows_in", "made", "rows_out", "filtered", "gathered"].map(|key| one[key].as_u64().unwrap_or(0))
    };
    assert_eq!(rows("each"), [5, 3, 7, 1, 0]);
    assert_eq!(rows("named")[..4], [7 + 3, 0, 6, 1]);
    assert_eq!(rows("counted"), [6, 3, 3, 0, 6]);
}

#[test]
fn a_side_beyond_the_memory_is_spilled_and_where_it_cannot_be_nothing_is_written() {
    let work = crews("");
    let others: String =
        (0..60_000).map(|n| format!("id{n}\tsomebody with a name of some length, number {n}\n")).collect();
    work.file("data/names.tsv", work.read("data/names.tsv") + &others);
    let ran = work.expect(74, &["--set", "limits.memory=2MiB", "--set", "limits.spill.max=100KiB", "job.toml"]);
    assert!(ran.stderr.contains("`limits.spill.max` allows 100.0 KiB"), "{}", ran.stderr);
    assert!(!work.path("out/counts.tsv").exists());
    assert_eq!(work.list("data"), ["crew1.tsv", "crew2.tsv", "names.tsv"]);
    work.expect(0, &["--set", "limits.memory=2MiB", "job.toml"]);
    let spilled = work.read("out/counts.tsv");
    assert!(spilled.lines().count() > 2, "{spilled}");
    let others = crews("");
    others.expect(0, &["job.toml"]);
    assert_eq!(others.read("out/counts.tsv"), spilled);
}

#[test]
fn a_sample_by_share_is_the_same_with_any_number_of_workers() {
    let work = Work::new();
    let lines: String = (0..5000).map(|n| format!("{n}\n")).collect();
    for file in 0..3 {
        work.file(&format!("data/{file}.tsv"), &lines);
    }
    work.file(
        "job.toml",
        r#"
        name = "some"
        [sources.lines]
        type = "files"
        path = "data/*.tsv"
        format = "tsv"
        columns = ["n int64"]
        [transforms.some]
        type = "sample"
        input = "lines"
        share = 0.05
        [sinks.out]
        type = "files"
        input = "some"
        path = "out.tsv"
        format = "tsv"
    "#,
    );
    let sampled = |sets: &[&str]| {
        let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).chain(["job.toml"]).collect();
        work.expect(0, &args);
        work.read("out.tsv")
    };
    let one = sampled(&["sources.lines.concurrency=1"]);
    assert!((650..850).contains(&one.lines().count()), "{}", one.lines().count());
    assert_eq!(one, sampled(&["sources.lines.concurrency=3", "transforms.some.concurrency=3"]));
    assert_eq!(one, sampled(&["sources.lines.batch.rows=77", "transforms.some.queue=1"]));
    assert_ne!(one, sampled(&["seed=1"]));
}

/// Shows a stage; the answer is what was printed.
fn preview(work: &Work, args: &[&str]) -> String {
    let args: Vec<&str> = ["preview", "job.toml"].iter().chain(args).copied().collect();
    work.expect(0, &args).stdout
}

#[test]
fn preview_shows_any_stage_and_touches_nothing() {
    let work = crews("");
    let before = work.list("data");
    let crew = "\
title   directors
string  list<string>
──────  ────────────
t1      [\"n1\",\"n2\"]
t2      null

first 2 rows of crew
";
    assert_eq!(preview(&work, &["crew", "--rows", "2", "--limit", "2"]), crew);
    let counted = "\
name         titles  last
string        int64  string
───────────  ──────  ──────
Ann               2  t6
Bob               2  t4
Cleo, Queen       2  t6

3 rows of counted in all
1 record rejected on the way
  crew: field_count: expected 2 fields, found 3 (data/crew2.tsv:2)
";
    assert_eq!(preview(&work, &["counted"]), counted);
    assert_eq!(preview(&work, &["out"]), counted, "a sink shows its input");
    assert_eq!(preview(&work, &[]), counted, "as does the job without a stage");
    assert!(
        preview(&work, &["named", "--rows=1"]).contains("t1     n1      Ann\n")
            || preview(&work, &["named", "--rows=1"]).contains("t1")
    );
    assert_eq!(work.list("data"), before, "no `done` action");
    assert_eq!(work.list(""), ["data", "job.toml"], "no output, no rejects, no report, no lock");
}

#[test]
fn preview_says_what_is_wrong() {
    let work = crews("[sinks.again]\ntype = \"discard\"\ninput = \"each\"\n");
    let ran = work.expect(64, &["preview", "job.toml", "nmed"]);
    assert!(ran.stderr.contains("there is no stage named `nmed`; did you mean `named`?"), "{}", ran.stderr);
    assert!(preview(&work, &["again"]).contains("7 rows of each in all"));
    work.expect(64, &["preview", "job.toml", "each", "--rows", "0"]);
    work.expect(66, &["preview", "--set", "sources.names.path=gone.tsv", "job.toml"]);
    let ran = work.expect(78, &["preview", "job.toml", "--set", "transforms.each.column=director"]);
    assert!(ran.stderr.contains("did you mean `directors`?"), "{}", ran.stderr);
    // Stages that a preview does not need are not run.
    work.expect(0, &["preview", "--set", "sources.names.path=gone.tsv", "job.toml", "each"]);
}

#[test]
fn preview_stops_before_the_first_sink() {
    let work = Work::new();
    work.file("data/rows.tsv", "Ann\nBob\n");
    work.file(
        "job.toml",
        r#"
        name = "chain"
        [sources.rows]
        type = "files"
        path = "data/rows.tsv"
        format = "tsv"
        columns = ["name string"]
        [sinks.lookup]
        type = "sqlite"
        input = "main"
        database = "out/lookup.db"
        table = "people"
        create = "if_missing"
        [sinks.main]
        type = "sqlite"
        input = "rows"
        database = "out/main.db"
        table = "people"
        create = "if_missing"
        returning = ["id"]
    "#,
    );
    let rows = "name\nstring\n──────\nAnn\nBob\n\n2 rows of rows in all\n";
    assert_eq!(preview(&work, &["main"]), rows);
    assert_eq!(preview(&work, &[]), rows, "`lookup` stands first, but reads `main`");
    let ran = work.expect(64, &["preview", "job.toml", "lookup"]);
    assert!(ran.stderr.contains("the rows of `lookup` come from the sink `main`"), "{}", ran.stderr);
    assert_eq!(work.list(""), ["data", "job.toml"]);
}

#[test]
fn preview_stops_when_it_has_enough() {
    let work = crews("");
    let lines: String = (0..300_000).map(|n| format!("t{n}\tn1\n")).collect();
    for file in 0..4 {
        work.file(&format!("data/crew{file}.tsv"), &lines);
    }
    let text = preview(&work, &["each", "--rows", "3"]);
    assert!(text.contains("first 3 rows of each"), "{text}");
    let all = preview(&work, &["counted", "--limit", "1000"]);
    assert!(all.contains("Ann       1000  t999\n"), "{all}");
    assert_eq!(json!(all.lines().count()), 6);
}
