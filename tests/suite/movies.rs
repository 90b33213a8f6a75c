//! The movie jobs: made-up rows are the same however they are made, and what is kept of them is right.

use std::fs;

use serde_json::Value;

use crate::work::{Work, project};

fn work() -> Work {
    let work = Work::new();
    for job in ["movies.toml", "movie_list.toml"] {
        work.file(job, fs::read_to_string(project("jobs").join(job)).unwrap());
    }
    work
}

#[test]
fn the_file_is_the_same_however_it_is_made() {
    let made = |more: &[&str], name: &str| {
        let work = work();
        let args = ["movies.toml", "--quiet", "--set", "sources.movies.count=600"];
        let path = format!("sinks.file.path=out/{name}");
        work.expect(0, &[&args[..], &["--set", &path], more].concat());
        fs::read(work.path(&format!("out/{name}"))).unwrap()
    };
    let set = |key: &'static str| ["--set", key];
    for name in ["m.ndjson", "m.ndjson.gz", "m.ndjson.zst"] {
        let whole = made(&[], name);
        for change in [
            &set("sources.movies.concurrency=1")[..],
            &set("sources.movies.concurrency=8"),
            &set("sources.movies.batch.rows=1"),
            &set("sources.movies.batch.rows=10000"),
            &set("sources.movies.splits=7"),
            &[set("sources.movies.splits=20"), set("sources.movies.concurrency=8")].concat(),
        ] {
            assert!(made(change, name) == whole, "{name}: {change:?}");
        }
    }
    assert!(made(&["--set", "seed=8"], "m.ndjson") != made(&[], "m.ndjson"));
}

#[test]
fn the_list_has_what_was_asked_for_and_nothing_else() {
    let work = work();
    work.expect(0, &["movies.toml", "--quiet", "--set", "sources.movies.count=500"]);
    work.expect(0, &["movie_list.toml", "--quiet", "--set", "sinks.file.path=out/list.ndjson"]);
    let kept = |movie: &&Value| movie["isAdult"] == false && movie["startYear"].as_str() >= Some("1990-01-01");
    let movies = work.json_lines("out/movies.ndjson");
    let expected: Vec<Value> = movies
        .iter()
        .filter(kept)
        .map(|movie| {
            let year: i64 = movie["startYear"].as_str().unwrap()[..4].parse().unwrap();
            serde_json::json!({
                "id": movie["titleId"], "title": movie["primaryTitle"], "year": year, "actors": movie["actors"],
            })
        })
        .collect();
    assert!((100..400).contains(&expected.len()), "{}", expected.len());
    assert_eq!(work.json_lines("out/list.ndjson"), expected);
}
