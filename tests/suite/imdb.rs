//! The IMDb jobs: the sample is whole, and what is made of it is what DuckDB makes of it.

use std::fs;

use crate::work::{Work, oracle, project, stage};

fn work() -> Work {
    let work = Work::new();
    for job in ["imdb_sample.toml", "imdb.toml"] {
        work.file(job, fs::read_to_string(project("jobs").join(job)).unwrap());
    }
    work
}

#[test]
fn movies_and_their_directors_are_those_of_duckdb() {
    let work = work();
    work.expect(0, &["imdb_sample.toml", "--quiet"]);
    let report = work.report(0, &["imdb.toml"]);
    let ran = oracle(&work, "imdb.py", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let rows: u64 = ran.stdout.trim().parse().unwrap();
    assert!((4_000..8_000).contains(&rows), "{rows}");
    assert_eq!(stage(&report, "file")["rows_in"], rows);
    let read: u64 =
        ["titles", "crew", "people"].map(|name| stage(&report, name)["rows_out"].as_u64().unwrap()).iter().sum();
    assert_eq!(read, 45_000);
    // Every director is somebody.
    assert_eq!(stage(&report, "named")["filtered"], 0);
}

#[test]
fn the_list_is_the_same_with_any_workers_and_batches() {
    let work = work();
    let fewer =
        ["titles=3000", "crews=3000", "people=500"].map(|set| format!("sources.{}", set.replace('=', ".count=")));
    let sets: Vec<&str> = fewer.iter().flat_map(|set| ["--set", set]).collect();
    work.expect(0, &[&["imdb_sample.toml", "--quiet"], sets.as_slice()].concat());
    let list = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        work.expect(0, &[&["imdb.toml", "--quiet"], sets.as_slice()].concat());
        work.read("out/imdb.ndjson")
    };
    let whole = list(&[]);
    assert!(whole.lines().count() > 500 && whole.contains(r#""title":"\""#), "{}", whole.lines().count());
    for sets in [
        ["sources.crew.batch.rows=7", "transforms.named.concurrency=3"],
        ["sources.people.batch.rows=1", "transforms.each.queue=1"],
    ] {
        assert!(list(&sets) == whole, "{sets:?}");
    }
}

#[test]
fn the_columns_need_not_be_declared() {
    let work = work();
    work.expect(0, &["imdb_sample.toml", "--quiet"]);
    let job = work.read("imdb.toml");
    let source = job.split("[sources.titles]").nth(1).and_then(|rest| rest.split("columns = [").next()).unwrap();
    let job = format!(
        "name = \"inferred\"\n[sources.titles]{source}\n[sinks.file]\ntype = \"discard\"\ninput = \"titles\"\n"
    );
    work.file("inferred.toml", job);
    let plan = work.expect(0, &["plan", "inferred.toml"]).stdout;
    let columns = "tconst string?, titleType string?, primaryTitle string?, originalTitle string?, isAdult int64?, \
                   startYear int64?, endYear int64?, runtimeMinutes int64?, genres string?";
    assert!(plan.contains(&format!("output: {columns}")), "{plan}");
    assert!(plan.contains("columns inferred from 20000 records of `data/imdb/title.basics.tsv.gz`"), "{plan}");
    let report = work.report(0, &["inferred.toml"]);
    assert_eq!(
        (&stage(&report, "titles")["rows_out"], &stage(&report, "titles")["rejected"]),
        (&20_000.into(), &0.into())
    );
    let ran = work.expect(78, &["check", "inferred.toml", "--set", "sources.titles.path=gone/*.tsv"]);
    assert!(
        ran.stderr.contains("`columns` cannot be inferred: no file matches `gone/*.tsv`; declare them"),
        "{}",
        ran.stderr
    );
}
