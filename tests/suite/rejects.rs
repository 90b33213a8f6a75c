//! Rejects against their limit: which worker was faster shows neither in where a job fails nor in its reject file.

use serde_json::Value;

use crate::work::Work;

fn job(limit: &str, concurrency: usize) -> String {
    format!(
        r#"
        name = "job"
        rejects.path = "rejects.ndjson"
        limits.rejects = {limit}

        [sources.rows]
        type = "files"
        path = "in/*.tsv"
        format = "tsv"
        columns = ["n int64"]
        concurrency = {concurrency}
        batch.rows = 7

        [sinks.out]
        type = "discard"
        input = "rows"
        "#
    )
}

/// Eight files of 200 lines; the numbers of the bad ones, by file.
fn work(bad: &[&[usize]]) -> Work {
    let work = Work::new();
    for (file, bad) in bad.iter().enumerate() {
        let line = |n: usize| if bad.contains(&n) { format!("x{file}.{n}\n") } else { format!("{n}\n") };
        work.file(&format!("in/{file}.tsv"), (1..=200).map(line).collect::<String>());
    }
    work
}

/// File and line of every reject, in the order of the reject file.
fn places(work: &Work) -> Vec<(String, u64)> {
    let place = |line: Value| (line["file"].as_str().unwrap().to_owned(), line["line"].as_u64().unwrap());
    work.json_lines("rejects.ndjson").into_iter().map(place).collect()
}

fn expected(bad: &[&[usize]], count: usize) -> Vec<(String, u64)> {
    let all = bad
        .iter()
        .enumerate()
        .flat_map(|(file, lines)| lines.iter().map(move |line| (format!("in/{file}.tsv"), *line as u64)));
    all.take(count).collect()
}

const BAD: &[&[usize]] = &[&[], &[150], &[3, 199], &[], &[1, 2], &[77], &[200], &[5]];

#[test]
fn a_job_that_fails_for_its_rejects_does_so_at_the_same_one_every_time() {
    for limit in [0, 2, 3, 6] {
        for concurrency in [1, 2, 4, 4, 4] {
            let work = work(BAD);
            work.file("job.toml", job(&limit.to_string(), concurrency));
            let report = work.report(65, &["job.toml", "--no-ledger"]);
            assert_eq!(places(&work), expected(BAD, limit + 1), "limit {limit}, {concurrency} workers");
            assert_eq!(report["rejects"]["total"], limit + 1, "{}", report["rejects"]);
            let why = report["failures"].to_string();
            let allowed = if limit == 0 { "allows none".to_owned() } else { format!("allows {limit} ") };
            assert!(why.contains(&allowed) && why.contains(&format!("{} record", limit + 1)), "{why}");
        }
    }
}

#[test]
fn within_the_limit_the_rejects_are_in_input_order() {
    for concurrency in [1, 4] {
        let work = work(BAD);
        work.file("job.toml", job("8", concurrency));
        work.expect(0, &["job.toml"]);
        assert_eq!(places(&work), expected(BAD, 8));
    }
}

#[test]
fn the_rejects_that_a_run_shows_are_the_first_in_input_order() {
    let first = ["x1.150", "x2.3", "x2.199", "x4.1", "x4.2"];
    for (limit, code, shown) in [("8", 0, 5), ("100%", 0, 5), ("1", 65, 2)] {
        for concurrency in [1, 2, 4, 4, 4] {
            let work = work(BAD);
            let limit = if limit.ends_with('%') { format!("'{limit}'") } else { limit.to_owned() };
            work.file("job.toml", job(&limit, concurrency));
            let ran = work
                .expect(code, &["job.toml", "--no-ledger", "--report", "report.json", "--set", "report.samples=true"]);
            assert!(ran.stderr.contains("such as: column `n`: `x1.150`"), "{}", ran.stderr);
            let report: Value = serde_json::from_str(&work.read("report.json")).unwrap();
            let samples = &report["rejects"]["reasons"][0]["samples"];
            let samples: Vec<&str> = samples.as_array().unwrap().iter().map(|said| said.as_str().unwrap()).collect();
            assert_eq!(samples.len(), shown, "limit {limit}, {concurrency} workers: {samples:?}");
            assert!(samples.iter().zip(first).all(|(said, text)| said.contains(&format!("`{text}`"))), "{samples:?}");
        }
    }
}

#[test]
fn a_limit_that_is_raised_finds_the_rejects_of_what_was_stored_before() {
    let work = work(BAD);
    work.file("job.toml", job("3", 4));
    work.expect(65, &["job.toml"]);
    assert_eq!(places(&work), expected(BAD, 4));
    work.expect(0, &["job.toml", "--set", "limits.rejects=8"]);
    assert_eq!(places(&work), expected(BAD, 8), "none lost, none twice");
}

/// Two sinks refuse the same two of three rows.
#[test]
fn a_record_that_two_sinks_refuse_counts_once() {
    for (limit, code) in [("100%", 0), ("67%", 0), ("66%", 65), ("2", 0), ("1", 65)] {
        let work = Work::new();
        let database = rusqlite::Connection::open(work.path("t.db")).unwrap();
        database
            .execute_batch("create table a (n integer check (n < 2)); create table b (n integer check (n < 2))")
            .unwrap();
        drop(database);
        work.file("in/0.tsv", "1\n2\n3\n");
        let sink = |name: &str| {
            format!(
                "[sinks.{name}]\ntype = \"sqlite\"\ninput = \"rows\"\ndatabase = \"t.db\"\ntable = \"{name}\"\ncreate = \"never\"\n"
            )
        };
        let quoted = if limit.ends_with('%') { format!("\"{limit}\"") } else { limit.to_owned() };
        let sinks = format!("{}{}[sinks.out]", sink("a"), sink("b"));
        work.file("job.toml", job(&quoted, 1).replace("[sinks.out]", &sinks));
        work.expect(code, &["job.toml"]);
        if code == 0 {
            assert_eq!(places(&work).len(), 4, "each sink says why");
        }
    }
}

#[test]
fn a_split_is_said_to_lack_its_action_only_where_it_has_one() {
    const JOB: &str = "name = 'job'\n[sources.rows]\ntype = 'files'\npath = 'in/*.csv'\nformat = 'csv'\n\
                       columns = ['n int64']\nDONE\n[sinks.out]\ntype = 'files'\ninput = 'rows'\npath = '-'\n\
                       format = 'ndjson'\n";
    let cases = [
        ("", "in/a.csv: all of it was written; it counts when the job succeeds"),
        ("done = 'delete'", "in/a.csv: stored, but its `done` action has not run"),
    ];
    for (done, said) in cases {
        let work = Work::new();
        work.file("job.toml", JOB.replace("DONE", done));
        work.file("in/a.csv", "n\n1\n");
        work.file("in/b.csv", "n\nx\n");
        let ran = work.expect(65, &["job.toml"]);
        assert!(ran.stderr.contains(said), "{done}: {}", ran.stderr);
        assert_eq!(ran.stderr.contains("`done` action"), !done.is_empty(), "{}", ran.stderr);
        assert!(work.path("in/a.csv").exists());
    }
}
