//! One job, every way to run it: `run`, `--limit`, `--dry-run`, `preview`, `replay`, and a kill with a resume. All go
//! through one engine, so each gives what an interpreter of a few lines says of the same input.

use std::{thread, time::Duration};

use crate::work::{Work, stage};

/// A small generator of random numbers (SplitMix64, Steele, Lea and Flood).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// A random job over random files.
struct Case {
    /// By file, the cells: those that are not numbers are rejects of the source.
    files: Vec<Vec<String>>,
    /// Rows with this remainder are rejects of the filter; those with the next one are dropped.
    modulus: i64,
    factor: i64,
    workers: u64,
    batch: u64,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut random = Random(seed);
        let cell = |random: &mut Random| match random.below(40) {
            0 => format!("bad{}", random.below(100)),
            _ => random.below(1000).to_string(),
        };
        let file = |random: &mut Random| (0..random.below(400)).map(|_| cell(random)).collect();
        let files = (0..=random.below(4)).map(|_| file(&mut random)).collect();
        let (modulus, factor) = (3 + random.below(9) as i64, 1 + random.below(5) as i64);
        Case { files, modulus, factor, workers: 1 + random.below(3), batch: 1 + random.below(90) }
    }

    fn work(&self) -> Work {
        let work = Work::new();
        for (number, cells) in self.files.iter().enumerate() {
            work.file(&format!("in/{number}.tsv"), cells.iter().map(|cell| format!("{cell}\n")).collect::<String>());
        }
        let Case { modulus, factor, workers, batch, .. } = self;
        let job = format!(
            r#"
            name = "job"
            rejects.path = "rejects.ndjson"
            limits.rejects = "100%"

            [sources.rows]
            type = "files"
            path = "in/*.tsv"
            format = "tsv"
            columns = ["n int64"]
            done = {{ rename = "{{name}}.done" }}
            concurrency = {workers}
            batch.rows = {batch}

            [transforms.good]
            type = "filter"
            input = "rows"
            where = "n % {modulus} <> 0"
            otherwise = "reject"
            concurrency = {workers}

            [transforms.some]
            type = "filter"
            input = "good"
            where = "n % {modulus} <> 1"

            [transforms.made]
            type = "select"
            input = "some"
            columns = {{ x = "n * {factor}" }}

            [sinks.file]
            type = "files"
            input = "made"
            path = "out.tsv"
            format = "tsv"

            [sinks.table]
            type = "sqlite"
            input = "made"
            database = "out.db"
            table = "t"
            "#
        );
        work.file("job.toml", job);
        work
    }

    /// The numbers that are read, in input order.
    fn numbers(&self) -> Vec<i64> {
        self.files.iter().flatten().filter_map(|cell| cell.parse().ok()).collect()
    }

    /// What comes of these numbers.
    fn output(&self, numbers: &[i64]) -> Vec<i64> {
        let stays = |n: &&i64| **n % self.modulus > 1;
        numbers.iter().filter(stays).map(|n| n * self.factor).collect()
    }

    fn rejects(&self, numbers: &[i64]) -> usize {
        let bad = self.files.iter().flatten().filter(|cell| cell.parse::<i64>().is_err()).count();
        bad + numbers.iter().filter(|n| **n % self.modulus == 0).count()
    }
}

fn lines(work: &Work, path: &str) -> Vec<i64> {
    work.read(path).lines().map(|line| line.parse().unwrap()).collect()
}

/// What both sinks have; they must agree.
fn stored(work: &Work) -> Vec<i64> {
    let connection = rusqlite::Connection::open(work.path("out.db")).unwrap();
    let mut rows = connection.prepare("select x from t order by rowid").unwrap();
    let table: Vec<i64> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let file = lines(work, "out.tsv");
    assert_eq!(table, file, "the table and the file");
    file
}

fn names(work: &Work) -> Vec<String> {
    work.list("in")
}

#[test]
fn every_way_to_run_a_job_gives_the_same() {
    for seed in 0..6 {
        let case = Case::new(seed);
        let (numbers, files) = (case.numbers(), case.files.len());
        let all = case.output(&numbers);

        let work = case.work();
        work.expect(0, &["job.toml"]);
        assert_eq!(stored(&work), all, "seed {seed}");
        assert_eq!(work.json_lines("rejects.ndjson").len(), case.rejects(&numbers), "seed {seed}");
        assert!(names(&work).iter().all(|name| name.ends_with(".done")) && names(&work).len() == files);

        // What was mended is replayed: together they are what a good input would have given.
        let mended = work.read("rejects.ndjson").replace("\"record\":\"bad", "\"record\":\"1");
        work.file("mended.ndjson", &mended);
        let ran = work.run(&["replay", "job.toml", "mended.ndjson"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let replayed: Vec<String> = work.list("").into_iter().filter(|name| name.starts_with("out.replay-")).collect();
        let good: Vec<i64> =
            case.files.iter().flatten().filter_map(|cell| cell.strip_prefix("bad")?.parse().ok()).collect();
        let good: Vec<i64> = good.iter().map(|n| format!("1{n}").parse().unwrap()).collect();
        let again: Vec<i64> = replayed.iter().flat_map(|name| lines(&work, name)).collect();
        assert_eq!(again, case.output(&good), "seed {seed}");

        for limit in [1, 7, 150, 5000] {
            let work = case.work();
            work.expect(0, &["job.toml", "--limit", &limit.to_string()]);
            assert_eq!(stored(&work), case.output(&numbers[..numbers.len().min(limit)]), "seed {seed}, limit {limit}");
            assert!(names(&work).iter().all(|name| !name.ends_with(".done")), "no action runs");
            assert!(work.list(".runner").iter().all(|name| !name.contains("ledger")), "nothing is noted");
        }

        let work = case.work();
        let report = work.report(0, &["job.toml", "--dry-run"]);
        assert_eq!(stage(&report, "file")["rows_in"], all.len(), "seed {seed}");
        assert!(
            !work.path("out.tsv").exists() && !work.path("out.db").exists() && !work.path("rejects.ndjson").exists()
        );

        let shown = work.expect(0, &["preview", "job.toml", "made", "--rows", "20"]).stdout;
        let shown: Vec<i64> = shown.lines().filter_map(|line| line.trim().parse().ok()).collect();
        assert_eq!(shown, all[..all.len().min(20)], "seed {seed}");

        killed_and_resumed(&case, seed, &all);
    }
}

/// Kills runs at moments of their lives until one comes to its end.
fn killed_and_resumed(case: &Case, seed: u64, all: &[i64]) {
    let work = case.work();
    let mut random = Random(seed ^ 0xdead);
    for _ in 0..3 {
        let mut child = work.command(&["job.toml", "--quiet"]).spawn().unwrap();
        thread::sleep(Duration::from_millis(random.below(60)));
        let _ = child.kill();
        child.wait().unwrap();
    }
    // One that was killed in the moment after its last word had finished: then this is a new run, with nothing to read.
    let ran = work.run(&["job.toml"]);
    assert!(
        ran.code == 0 || (ran.code == 66 && names(&work).iter().all(|name| name.ends_with(".done"))),
        "{}",
        ran.stderr
    );
    assert_eq!(stored(&work), all, "seed {seed}, killed");
}
