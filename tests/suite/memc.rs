//! `jobs/memc.toml` as it stands in the project: what it stores, what it refuses, and what becomes of it when
//! files and servers fail.

use std::{fs, os::unix::fs::MetadataExt};

use serde_json::{Value, json};

use crate::{
    apps::{App, apps, per_device, text},
    running::Running,
    servers::{DEVICES, Hold, Memcached, Servers, get, hangs_up, nobody, service, silent},
    work::{Ran, Work, gzip, oracle, stage, until},
};

const JOB: &str = "jobs/memc.toml";
const DATA: &str = "data/appsinstalled";
/// Small and quick: one worker per stage, batches of 100 rows, a second for a server that is silent.
const BRISK: [&str; 8] = [
    "--set",
    "sources.installs.batch.rows=100",
    "--set",
    "sources.installs.concurrency=1",
    "--set",
    "sinks.cache.concurrency=1",
    "--set",
    "sinks.cache.retry.backoff=1ms",
];

fn job<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [JOB].iter().chain(more).copied().collect()
}

fn brisk<'a>(more: &[&'a str]) -> Vec<&'a str> {
    job(&[&BRISK[..], more].concat())
}

/// A folder with the job, its servers, and these files in the folder it reads.
fn folder(files: &[(&str, Vec<u8>)]) -> (Work, Servers) {
    let servers = Servers::start();
    let work = servers.in_env(Work::with_memc());
    for (name, bytes) in files {
        work.file(&format!("{DATA}/{name}"), bytes);
    }
    (work, servers)
}

/// What the last run's report, in its usual place, says.
fn report(work: &Work) -> Value {
    serde_json::from_str(&work.read("jobs/.runner/memc.report.json")).unwrap()
}

/// The rows of a stage: in, out, rejected, filtered, failed.
fn rows(report: &Value, name: &str) -> [u64; 5] {
    ["rows_in", "rows_out", "rejected", "filtered", "failed"].map(|key| stage(report, name)[key].as_u64().unwrap())
}

/// Name and state of every split, as the report lists them.
fn splits(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = report["splits"]["list"].as_array().unwrap();
    let mut splits: Vec<_> = list.iter().map(|split| (text(&split["name"]), text(&split["state"]))).collect();
    splits.sort();
    splits
}

fn held(servers: &Servers, apps: &[App]) -> Vec<String> {
    let missing = apps.iter().filter(|app| servers.of(app.device).get(&app.key()) != Some(app.value()));
    missing.map(App::key).collect()
}

#[test]
fn the_job_loads_an_export_and_every_key_is_there() {
    let all = apps("a", 3_000);
    let (one, rest) = all.split_at(1_000);
    let (two, three) = rest.split_at(1_000);
    let members: Vec<u8> = one.chunks(300).flat_map(|part| gzip(text(part, "\n").as_bytes())).collect();
    let last_open = text(three, "\r").trim_end().to_owned();
    let (work, servers) = folder(&[
        ("part-0.tsv.gz", members),
        ("part-1.tsv.gz", gzip(text(two, "\r\n").as_bytes())),
        ("part-2.tsv.gz", gzip(last_open.as_bytes())),
    ]);

    let ran = work.expect(0, &job(&[]));

    assert_eq!(ran.stdout, "");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].starts_with("memc: started, plan ") && lines[0].ends_with(", 3 splits"), "{}", ran.stderr);
    assert!(lines[1].starts_with("memc: done: 3,000 rows in "), "{}", ran.stderr);
    let renamed = "  renamed `data/appsinstalled/part-0.tsv.gz` to `data/appsinstalled/.part-0.tsv.gz`, and 2 more";
    assert_eq!(lines[lines.len() - 1], renamed);
    assert_eq!(work.list(DATA), [".part-0.tsv.gz", ".part-1.tsv.gz", ".part-2.tsv.gz"]);
    let times = [0, 1, 2].map(|i| changed(&work, &format!("{DATA}/.part-{i}.tsv.gz")));
    assert!(times.is_sorted(), "renamed in order of name: {times:?}");
    assert_eq!(work.read("out/memc.rejects.ndjson"), "");

    let report = report(&work);
    for name in ["installs", "known", "packed", "cache"] {
        assert_eq!(rows(&report, name), [3_000, 3_000, 0, 0, 0], "{name}");
    }
    assert_eq!(report["verified"][0]["checked"], 1_000);
    assert_eq!(report["verified"][0]["found"], 1_000);
    let splits = report["splits"]["list"].as_array().unwrap();
    for (i, split) in splits.iter().enumerate() {
        let (from, to) = (format!("{DATA}/part-{i}.tsv.gz"), format!("{DATA}/.part-{i}.tsv.gz"));
        let detail = format!("renamed `{from}` to `{to}`");
        assert_eq!(*split, json!({ "source": "installs", "name": from, "state": "done", "detail": detail }));
    }

    assert_eq!(servers.items(), per_device(&all));
    assert_eq!(held(&servers, &all[..40]), [""; 0]);
    let found = read_back(&work, &[".part-0.tsv.gz", ".part-1.tsv.gz", ".part-2.tsv.gz"]);
    assert_eq!(counts(&found), [3_000, 3_000, 3_000, 0, 0, 0]);
    assert_eq!(found["same_bytes"], 3_000);
}

/// When the file's entry in its folder last changed.
fn changed(work: &Work, path: &str) -> (i64, i64) {
    let metadata = fs::metadata(work.path(path)).unwrap();
    (metadata.ctime(), metadata.ctime_nsec())
}

/// What an independent client finds in the servers.
fn read_back(work: &Work, files: &[&str]) -> Value {
    let files: Vec<String> = files.iter().map(|name| format!("{DATA}/{name}")).collect();
    let args: Vec<&str> = ["--exact"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let ran = oracle(work, "read_back.py", &args);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn counts(found: &Value) -> [u64; 6] {
    ["records", "keys", "equal", "missing", "different", "extra"].map(|key| found[key].as_u64().unwrap())
}

#[test]
#[expect(clippy::print_stderr)]
fn a_real_export_is_stored_as_an_independent_reader_reads_it() {
    let Some(path) = std::env::var_os("RUNNER_REAL_EXPORT") else {
        eprintln!("skipped: RUNNER_REAL_EXPORT names no file");
        return;
    };
    let (work, _servers) = folder(&[("real.tsv.gz", gzip(&fs::read(path).unwrap()))]);
    work.expect(0, &job(&[]));
    assert_eq!(work.list(DATA), [".real.tsv.gz"]);
    let found = read_back(&work, &[".real.tsv.gz"]);
    let report = report(&work);
    let [records, keys, equal, ..] = counts(&found);
    assert!(records > 0 && equal == keys, "{found}");
    assert_eq!(rows(&report, "cache")[1], records);
    assert_eq!(report["rejects"]["total"], found["rejected_lines"].as_array().unwrap().len());
}

/// The servers that the environment names are shared with other tests: nothing is counted there.
#[test]
fn the_servers_of_the_environment_are_used() {
    let all = apps(&format!("env{}x", std::process::id()), 8);
    let mut work = Work::with_memc();
    for (_, variable) in DEVICES {
        work = work.env(variable, &service(variable));
    }
    work.gzip(&format!("{DATA}/one.tsv.gz"), text(&all, "\n"));
    work.expect(0, &job(&[]));
    for app in &all {
        let address = service(DEVICES.iter().find(|(device, _)| *device == app.device).unwrap().1);
        assert_eq!(get(&address, &app.key()), Some(app.value()));
    }
}
