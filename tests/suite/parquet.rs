//! Parquet in whole jobs: as DuckDB and pyarrow read and write it, from a generator and back, and as `plan` and
//! `preview` show columns that nobody declared.

use std::fs;

use serde_json::json;

use crate::work::{Work, oracle, stage};

#[test]
fn others_read_what_is_written_and_the_other_way_round() {
    let work = Work::new();
    let ran = oracle(&work, "parquet.py", &[env!("CARGO_BIN_EXE_runner")]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// A job that makes rows as CSV and as Parquet, and one that makes CSV of the Parquet.
fn made() -> Work {
    let work = Work::new();
    work.file(
        "make.toml",
        r#"
        name = "make"
        seed = 3
        [definitions.point]
        primary_key = ["id"]
        [definitions.point.fields]
        id = { uuid = {} }
        number = { int = { min = -5, max = 900 } }
        name = { fake = "name" }
        tags = { list = { of = { fake = "country" }, count = 3 } }
        sound = { bool = {} }
        day = { date = { from = "1970-01-01", to = "2024-12-31" } }
        [sources.points]
        type = "generate"
        definition = "point"
        count = 30000
        [sinks.csv]
        type = "files"
        input = "points"
        path = "made.csv"
        format = "csv"
        list_separator = "|"
        [sinks.parquet]
        type = "files"
        input = "points"
        path = "data/made.parquet"
        format = "parquet"
        row_group_rows = 2500
        "#,
    );
    work.file(
        "read.toml",
        r#"
        name = "read"
        limits = { rejects = 1 }
        [sources.points]
        type = "files"
        path = "data/*.parquet"
        format = "parquet"
        [sinks.csv]
        type = "files"
        input = "points"
        path = "read.csv"
        format = "csv"
        list_separator = "|"
        "#,
    );
    work
}

#[test]
fn generated_rows_come_back_from_parquet() {
    let work = made();
    work.expect(0, &["make.toml"]);
    let first = fs::read(work.path("data/made.parquet")).unwrap();
    work.expect(0, &["make.toml", "--set", "sources.points.concurrency=1", "--set", "sources.points.batch.rows=77"]);
    assert!(first == fs::read(work.path("data/made.parquet")).unwrap(), "equal rows are equal bytes");
    let report = work.report(0, &["read.toml"]);
    assert_eq!(stage(&report, "points")["rows_out"], 30_000);
    assert!(work.read("made.csv") == work.read("read.csv"));
    assert_eq!(work.read("made.csv").lines().count(), 30_001);
}

#[test]
fn files_of_splits_are_the_same_whoever_writes_them() {
    let work = Work::new();
    for file in 0..5 {
        let lines: String = (0..3000).map(|n| format!("{}\n", n * n % (file + 1000))).collect();
        work.file(&format!("data/{file}.txt"), lines);
    }
    work.file(
        "job.toml",
        r#"
        name = "parts"
        sources.lines = { type = "files", path = "data/*.txt", format = "lines", batch = { rows = 100 } }
        sinks.parts = { type = "files", input = "lines", path = "parts/{split}.parquet", format = "parquet" }
        "#,
    );
    let write = |workers: &str| {
        let concurrency = format!("sinks.parts.concurrency={workers}");
        work.expect(0, &["job.toml", "--set", &concurrency]);
        let names = work.list("parts");
        names.into_iter().map(|name| fs::read(work.path(&format!("parts/{name}"))).unwrap()).collect::<Vec<_>>()
    };
    let one = write("1");
    assert_eq!(one.len(), 5);
    assert!(one == write("3"));
}

#[test]
fn columns_that_nobody_declared_are_shown() {
    let work = made();
    let ran = work.expect(78, &["check", "read.toml"]);
    assert!(ran.stderr.contains("no file matches `data/*.parquet`"), "{}", ran.stderr);
    work.expect(0, &["make.toml", "--set", "sources.points.count=3"]);
    let plan = work.expect(0, &["plan", "read.toml"]).stdout;
    assert!(plan.contains("id string, number int64, name string, tags list<string>, sound bool, day date"), "{plan}");
    assert!(plan.contains("parquet from `data/*.parquet`"), "{plan}");
    let preview = work.expect(0, &["preview", "read.toml", "points"]).stdout;
    assert!(preview.contains("3 rows of points in all"), "{preview}");
    let plan = work.expect(0, &["plan", "make.toml"]).stdout;
    assert!(plan.contains("parquet to `data/made.parquet`") && plan.contains("zstd, level 3"), "{plan}");
}

#[test]
fn a_damaged_file_fails_by_itself_and_a_reject_is_told_by_its_record() {
    let work = made();
    work.expect(0, &["make.toml", "--set", "sources.points.count=9000"]);
    let mut bytes = fs::read(work.path("data/made.parquet")).unwrap();
    let end = bytes.len() / 2;
    bytes[end - 400..end].fill(0);
    work.file("data/worse.parquet", &bytes);
    let ran = work.expect(74, &["read.toml"]);
    assert!(ran.stderr.contains("`data/worse.parquet` is corrupt after "), "{}", ran.stderr);
    assert!(!work.path("read.csv").exists());

    fs::remove_file(work.path("data/worse.parquet")).unwrap();
    let columns = "sources.points.columns=[\"number uint64\", \"name string\"]";
    work.expect(65, &["read.toml", "--set", columns, "--set", "limits.rejects=0"]);
    let rejects = "rejects.path=rejects.ndjson";
    work.expect(0, &["read.toml", "--set", columns, "--set", "limits.rejects=\"5%\"", "--set", rejects]);
    let refused = work.json_lines("rejects.ndjson");
    assert!(refused.len() > 10 && refused.len() < 200, "{}", refused.len());
    let first = &refused[0];
    assert_eq!((&first["reason"], &first["file"]), (&json!("bad_number"), &json!("data/made.parquet")));
    let number = first["number"].as_u64().unwrap() as usize;
    let made = work.read("made.csv");
    let line = made.lines().nth(number).unwrap();
    let record: serde_json::Value = serde_json::from_str(first["record"].as_str().unwrap()).unwrap();
    assert!(record["number"].as_i64().unwrap() < 0, "{record}");
    assert!(
        line.contains(&format!(",{},", record["number"])) && line.contains(record["name"].as_str().unwrap()),
        "{line}"
    );
}

#[test]
fn a_page_that_the_memory_does_not_hold_is_refused_by_name() {
    let work = Work::new();
    work.file("long.txt", format!("{}\nshort\n", "long ".repeat(2 << 20)));
    work.file(
        "make.toml",
        r#"
        name = "make"
        sources.lines = { type = "files", path = "long.txt", format = "lines" }
        sinks.made = { type = "files", input = "lines", path = "made.parquet", format = "parquet" }
        "#,
    );
    work.file(
        "read.toml",
        r#"
        name = "read"
        sources.lines = { type = "files", path = "made.parquet", format = "parquet" }
        sinks.read = { type = "files", input = "lines", path = "read.txt", format = "lines" }
        "#,
    );
    work.expect(0, &["make.toml"]);
    assert!(fs::metadata(work.path("made.parquet")).unwrap().len() < 100_000);
    let ran = work.expect(69, &["read.toml", "--set", "limits.memory=8MiB"]);
    let told = "`made.parquet`: column `line` has a page of 10.0 MiB, ";
    assert!(ran.stderr.contains(told) && ran.stderr.contains("; `limits.memory` allows 8.0 MiB: "), "{}", ran.stderr);
    assert!(!work.path("read.txt").exists());
    work.expect(0, &["read.toml", "--set", "limits.memory=32MiB"]);
    assert!(work.read("read.txt") == work.read("long.txt"));
}
