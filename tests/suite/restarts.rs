//! Servers that lose what they held, and samples that show it: exit 0 means that everything can be read back.

use std::{fs, path::Path, process::Command};

use crate::{
    running::Running,
    servers::{Memcached, nobody},
    work::{Work, soon},
};

const JOB: &str = r#"
name = "prices"

[sources.lines]
type = "files"
path = ["a.csv", "b.csv"]
format = "csv"
columns = ["k string", "n int64"]

[sinks.cache]
type = "memcached"
input = "lines"
key = "k"
value = "cast(n as string)"
servers = { only = "SERVER" }
"#;

fn work(server: &Memcached) -> Work {
    let work = Work::new();
    work.file("prices.toml", JOB.replace("SERVER", &server.address));
    work
}

#[test]
fn what_a_flushed_server_lost_is_sent_again_by_the_same_command() {
    let server = Memcached::start(&[]);
    let work = work(&server);
    work.file("a.csv", "k,n\none,1\ntwo,2\n");
    work.file("b.csv", "k,n\nthree,3\nfour,no number\n");
    // The first file is stored and noted; the second has a record too many that is not a number.
    work.expect(65, &["prices.toml", "--quiet"]);
    assert_eq!(server.get("one"), Some(b"1".to_vec()));
    server.flush();
    let ran = work.expect(0, &["prices.toml", "--set", "limits.rejects=1"]);
    assert!(ran.stderr.contains("was flushed and has lost what it held; it is sent again"), "{}", ran.stderr);
    for (key, value) in [("one", "1"), ("two", "2"), ("three", "3")] {
        assert_eq!(server.get(key), Some(value.as_bytes().to_vec()), "{key}");
    }
}

#[test]
fn a_run_that_lacks_its_report_alone_is_asked_for_what_it_has_stored() {
    let server = Memcached::start(&[]);
    let work = work(&server);
    work.file("a.csv", "k,n\none,1\ntwo,2\n");
    work.file("b.csv", "k,n\nthree,3\n");
    let no_report = ["prices.toml", "--report", "prices.toml/report.json"];
    assert_ne!(work.run(&no_report).code, 0);
    assert_eq!(server.items(), 3);
    server.flush();
    let ran = work.expect(0, &["prices.toml"]);
    assert!(ran.stderr.contains("was flushed and has lost what it held; it is sent again"), "{}", ran.stderr);
    for (key, value) in [("one", "1"), ("two", "2"), ("three", "3")] {
        assert_eq!(server.get(key), Some(value.as_bytes().to_vec()), "{key}");
    }
    assert!(!work.path(".runner/prices.run").exists());
    // Where the input is done with, somebody has to put it back.
    let job = work.read("prices.toml").replacen("\n[sinks", "done = { rename = \".{name}\" }\n\n[sinks", 1);
    work.file("prices.toml", job);
    assert_ne!(work.run(&no_report).code, 0);
    server.flush();
    let ran = work.expect(78, &["prices.toml"]);
    assert!(ran.stderr.contains("input that it came from is gone after its `done` action"), "{}", ran.stderr);
}

#[test]
fn what_is_still_there_is_not_sent_again() {
    let server = Memcached::start(&[]);
    let work = work(&server);
    work.file("a.csv", "k,n\none,1\ntwo,2\n");
    work.file("b.csv", "k,n\nthree,3\nfour,no number\n");
    work.expect(65, &["prices.toml", "--quiet"]);
    // Another client's value: it stays, as the split of that key is stored.
    memcache::connect(format!("memcache://{}?protocol=ascii", server.address))
        .unwrap()
        .set("one", "theirs", 0)
        .unwrap();
    let ran = work.expect(0, &["prices.toml", "--set", "limits.rejects=1"]);
    assert!(!ran.stderr.contains("lost"), "{}", ran.stderr);
    assert_eq!((server.get("one"), server.get("three")), (Some(b"theirs".to_vec()), Some(b"3".to_vec())));
}

/// A job of so many records that something can happen meanwhile.
fn long(server: &Memcached) -> Work {
    let work = work(server);
    let done = "done = { rename = \".{name}\" }\nbatch = { rows = 100 }\n\n[sinks";
    work.file("prices.toml", JOB.replace("SERVER", &server.address).replacen("\n[sinks", done, 1));
    for file in ["a", "b"] {
        let lines: String = (0..LONG / 2).map(|n| format!("{file}-{n},{n}\n")).collect();
        work.file(&format!("{file}.csv"), format!("k,n\n{lines}"));
    }
    work
}

const LONG: usize = 100_000;

#[test]
fn what_is_lost_on_the_way_is_sent_again_before_the_run_ends() {
    let server = Memcached::start(&[]);
    let work = long(&server);
    let run = Running::start(&work, &["prices.toml"]);
    assert!(soon(|| server.get("a-9999").is_some()));
    server.flush();
    let ran = run.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("was flushed and has lost what it held; it is sent again"), "{}", ran.stderr);
    assert_eq!(server.items(), LONG);
    assert_eq!((work.path(".a.csv").exists(), work.path(".b.csv").exists()), (true, true));
    let report: serde_json::Value = serde_json::from_str(&work.read(".runner/prices.report.json")).unwrap();
    assert_eq!((&report["failures"], &report["run"]["attempt"]), (&serde_json::json!([]), &serde_json::json!(2)));
}

#[test]
fn a_server_that_loses_everything_again_and_again_ends_the_run() {
    let server = Memcached::start(&[]);
    let work = long(&server);
    let run = Running::start(&work, &["prices.toml"]);
    for _ in 0..3 {
        assert!(soon(|| server.get("a-9999").is_some()));
        server.flush();
    }
    let ran = run.end();
    assert_eq!(ran.code, 69, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("it is sent again").count(), 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("has lost what it held; the same command sends it again"), "{}", ran.stderr);
    // The input waits for that command.
    assert_eq!((work.path("a.csv").exists(), work.path("b.csv").exists()), (true, true));
    work.expect(0, &["prices.toml"]);
    assert_eq!(server.items(), LONG);
}

#[test]
fn what_a_restarted_server_lost_is_sent_again_before_the_run_ends() {
    let mut server = Memcached::start(&[]);
    let work = long(&server);
    let run = Running::start(&work, &["prices.toml"]);
    assert!(soon(|| server.get("a-9999").is_some()));
    server.restart();
    let ran = run.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("was restarted and has lost what it held; it is sent again"), "{}", ran.stderr);
    assert_eq!((server.items(), server.get("a-0")), (LONG, Some(b"0".to_vec())));
    assert!(work.path(".b.csv").exists());
}

#[test]
fn values_pushed_out_are_told_and_a_sample_says_whether_they_were_ours() {
    let server = Memcached::start(&["-m", "2"]);
    let work = work(&server);
    let job = JOB.replace("SERVER", &server.address).replace("n int64", "n string").replace("cast(n as string)", "n");
    work.file("prices.toml", job);
    work.file("a.csv", "k,n\n");
    let long = "x".repeat(5000);
    let lines: String = (0..3000).map(|i| format!("key-{i},{long}\n")).collect();
    work.file("b.csv", format!("k,n\n{lines}"));
    let ran = work.expect(74, &["prices.toml"]);
    assert!(ran.stderr.contains("values out to make room: a sample is read back"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`verify` requires 99 %"), "{}", ran.stderr);
    let args = ["prices.toml", "--fresh", "--set", "sinks.cache.verify.sample=500"];
    work.expect(74, &args);
    work.expect(0, &[&args[..], &["--set", "sinks.cache.verify.min=1%"]].concat());
    // A full cache makes room for what is new: what is pushed out then is older than the run.
    work.file(
        "b.csv",
        format!("k,n\n{}", lines.lines().take(20).map(|line| format!("new-{line}\n")).collect::<String>()),
    );
    let ran = work.expect(0, &["prices.toml", "--fresh"]);
    assert!(ran.stderr.contains("values out to make room: a sample is read back"), "{}", ran.stderr);
    assert!(ran.stderr.contains("20 of 20 found"), "{}", ran.stderr);
}

#[test]
fn an_address_is_corrected_without_a_word_where_nothing_was_stored() {
    let server = Memcached::start(&[]);
    let work = work(&server);
    work.file("a.csv", "k,n\none,1\n");
    work.file("b.csv", "k,n\ntwo,2\n");
    let wrong = format!("sinks.cache.servers.only={}", nobody());
    work.expect(69, &["prices.toml", "--set", &wrong, "--set", "sinks.cache.retry.attempts=1"]);
    let ran = work.expect(0, &["prices.toml"]);
    assert!(ran.stderr.contains("was interrupted with nothing stored: a new run takes its place"), "{}", ran.stderr);
    assert_eq!(server.items(), 2);
    // A row that may have been stored is told.
    work.file("b.csv", "k,n\ntwo,2\nthree,no number\n");
    work.expect(65, &["prices.toml"]);
    let ran = work.expect(78, &["prices.toml", "--set", &wrong]);
    assert!(ran.stderr.contains("was interrupted with 2 of 2 splits stored; undo that to resume it"), "{}", ran.stderr);
}

/// What was kept of the servers is gone: nobody knows whether they are the same, so they get everything again.
#[test]
fn servers_that_nobody_remembers_get_everything_again() {
    let server = Memcached::start(&[]);
    let work = work(&server);
    work.file("a.csv", "k,n\none,1\n");
    work.file("b.csv", "k,n\ntwo,2\n");
    assert_ne!(work.run(&["prices.toml", "--report", "prices.toml/report.json"]).code, 0);
    fs::remove_file(work.path(".runner/prices.run/cache.servers")).unwrap();
    server.flush();
    let ran = work.expect(0, &["prices.toml"]);
    assert!(ran.stderr.contains("has met is not known any more; it is sent again"), "{}", ran.stderr);
    assert_eq!(server.items(), 2);
}

/// Whoever starts over has given the interrupted run up, also where the attempt that did so came to nothing: what that run
/// had noted of its servers and of its rejects is gone then.
#[test]
fn a_run_that_was_started_over_is_not_resumed() {
    let server = Memcached::start(&[]);
    let work = work(&server);
    let more = "[sinks.table]\ntype = 'sqlite'\ninput = 'lines'\ndatabase = 'out/t.db'\ntable = 't'\n\
                [rejects]\npath = 'rejects.ndjson'\n[limits]\nrejects = 5\n";
    work.file("prices.toml", work.read("prices.toml") + more);
    work.file("a.csv", "k,n\none,1\ntwo,no number\n");
    work.file("b.csv", "k,n\nthree,3\n");
    assert_ne!(work.run(&["prices.toml", "--report", "prices.toml/report.json"]).code, 0);
    assert_eq!(server.items(), 2);
    remove(&work.path("out"));
    work.file("out", "a folder cannot be made here");
    work.expect(73, &["prices.toml", "--fresh"]);
    let status = work.expect(0, &["status", "prices.toml"]).stdout;
    assert!(status.contains("no run"), "{status}");
    server.flush();
    fs::remove_file(work.path("out")).unwrap();
    work.expect(0, &["prices.toml"]);
    assert_eq!((server.items(), work.read("rejects.ndjson").lines().count()), (2, 1));
}

/// A store that was removed or put back from before the run is not what the run has written to; one that is gives back
/// what is there, and is not written again.
#[test]
fn a_store_of_documents_is_known_again() {
    const STORE: &str = r#"
name = "prices"

[sources.lines]
type = "files"
path = ["a.csv", "b.csv"]
format = "csv"
columns = ["k string", "v string"]

[sinks.store]
type = "kv"
input = "lines"
key = "k"
value = "v"
path = "store"
backend = "BACKEND"
"#;
    type Change = (&'static str, bool, fn(&Work));
    let changes: [Change; 4] = [
        ("nothing", false, |_| ()),
        ("removed", true, |work| remove(&work.path("store"))),
        ("put back", true, |work| {
            remove(&work.path("store"));
            fs::rename(work.path("before"), work.path("store")).unwrap();
        }),
        ("another document", false, |work| {
            let other = "name = 'other'\n[sources.n]\ntype = 'files'\npath = 'n.csv'\nformat = 'csv'\n\
                         columns = ['k string', 'v string']\n[sinks.s]\ntype = 'kv'\ninput = 'n'\nkey = 'k'\nvalue = 'v'\n\
                         path = 'store'\nbackend = 'BACKEND'\n";
            let backend = if work.path("store").is_dir() { "folder" } else { "sqlite" };
            work.file("other.toml", other.replace("BACKEND", backend));
            work.file("n.csv", "k,v\none,7\n");
            work.expect(0, &["other.toml", "--quiet", "--no-ledger"]);
        }),
    ];
    for backend in ["folder", "sqlite"] {
        for (what, lost, change) in &changes {
            let work = Work::new();
            work.file("prices.toml", STORE.replace("BACKEND", backend));
            work.file("a.csv", "k,v\none,1\n");
            work.file("b.csv", "k,v\n");
            work.expect(0, &["prices.toml", "--quiet"]);
            copy(&work.path("store"), &work.path("before"));
            work.file("a.csv", "k,v\none,2\n");
            work.file("b.csv", "k,v\nthree,3\nfour,no json\n");
            work.expect(65, &["prices.toml", "--quiet"]);
            change(&work);
            let ran = work.expect(0, &["prices.toml", "--set", "limits.rejects=1"]);
            let said = "`store` is not what run ";
            assert_eq!(ran.stderr.contains(said), *lost, "{backend}, {what}: {}", ran.stderr);
            let get = |key| work.expect(0, &["get", "prices.toml", key]).stdout;
            let one = if *what == "another document" { "7\n" } else { "2\n" };
            assert_eq!((get("one"), get("three")), (one.to_owned(), "3\n".to_owned()), "{backend}, {what}");
            let marked = match backend {
                "folder" => work.path("store/.writing").exists(),
                _ => tables(&work.path("store")) != ["kv"],
            };
            assert!(!marked, "{backend}, {what}: nothing of the run stays");
        }
    }
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

fn tables(path: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut names = connection.prepare("select name from sqlite_schema where type = 'table'").unwrap();
    names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}
