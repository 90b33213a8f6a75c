//! `jobs/memc.toml` as it stands in the project: what it stores, what it refuses, and what becomes of it when
//! files and servers fail.

use std::{fs, os::unix::fs::MetadataExt};

use serde_json::{Value, json};

use crate::{
    apps::{App, apps, per_device, text},
    running::Running,
    servers::{DEVICES, Hold, Memcached, Servers, get, hangs_up, nobody, service, silent},
    work::{Ran, Work, errors, gzip, oracle, project, stage, timeless, until},
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
    assert!(
        timeless(lines[0]).starts_with("memc: started, plan ") && lines[0].ends_with(", 3 splits"),
        "{}",
        ran.stderr
    );
    assert!(timeless(lines[1]).starts_with("memc: done: 3,000 rows in "), "{}", ran.stderr);
    let renamed = "  renamed `data/appsinstalled/part-0.tsv.gz` to `data/appsinstalled/.part-0.tsv.gz`, and 2 more";
    assert_eq!(lines[lines.len() - 2..], [renamed, "  report: jobs/.runner/memc.report.json"]);
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

/// The README's first command, on fewer records.
#[test]
fn the_made_up_export_is_made_and_loaded_by_one_command() {
    let (work, servers) = folder(&[]);
    let maker = fs::read_to_string(project("jobs/appsinstalled.toml")).unwrap();
    work.file("jobs/appsinstalled.toml", maker);
    work.expect(0, &["--set", "sources.apps.count=3000", "jobs/appsinstalled.toml", JOB]);
    let files = [".part-00000.tsv.gz", ".part-00001.tsv.gz", ".part-00002.tsv.gz"];
    assert_eq!(work.list(DATA), files);
    assert_eq!(counts(&read_back(&work, &files)), [3_000, 3_000, 3_000, 0, 0, 0]);
    assert_eq!(servers.items().iter().sum::<usize>(), 3_000);
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

/// Everything that makes one line bad: the bytes of the line, the stage that refuses it, the reason and what is
/// said of it.
fn bad_lines() -> Vec<(Vec<u8>, &'static str, &'static str, &'static str)> {
    let key = |len: usize| format!("idfa\t{}\t1\t2\t3", "k".repeat(len - "idfa:".len())).into_bytes();
    let huge = format!("gaid\thuge\t1\t2\t{}", ["4294967295"; 180_000].join(",")).into_bytes();
    let unkind = "column `lat`: empty, expected float64";
    let control = "the key `idfa:a\\x01b` has a space or control character in it";
    let delete = "the key `idfa:a\\x7fb` has a space or control character in it";
    vec![
        (b"idfa\tshort\t1\t2".to_vec(), "installs", "field_count", "expected 5 fields, found 4"),
        (b"idfa\tlong\t1\t2\t3\t4".to_vec(), "installs", "field_count", "expected 5 fields, found 6"),
        (b"idfa\tlat\tx1\t2\t3".to_vec(), "installs", "bad_number", "column `lat`: `x1` is not a valid float64"),
        (b"idfa\tlon\t1\t2,5\t3".to_vec(), "installs", "bad_number", "column `lon`: `2,5` is not a valid float64"),
        (b"idfa\tnone\t\t2\t3".to_vec(), "installs", "bad_number", unkind),
        (
            b"idfa\t\xff\xfe\t1\t2\t3".to_vec(),
            "installs",
            "invalid_utf8",
            "column `dev_id`: `\u{fffd}\u{fffd}` is not UTF-8",
        ),
        (b"idfa\t\t1\t2\t3".to_vec(), "known", "filter", "not so: dev_type <> '' and dev_id <> ''"),
        (b"\tid\t1\t2\t3".to_vec(), "known", "filter", "not so: dev_type <> '' and dev_id <> ''"),
        (b"tv\tid\t1\t2\t3".to_vec(), "cache", "no_route", "no server for `route` value `tv`"),
        (key(251), "cache", "bad_key", "the key has 251 bytes, the limit is 250"),
        (
            b"idfa\ta b\t1\t2\t3".to_vec(),
            "cache",
            "bad_key",
            "the key `idfa:a b` has a space or control character in it",
        ),
        (b"idfa\ta\x01b\t1\t2\t3".to_vec(), "cache", "bad_key", control),
        (b"idfa\ta\x7fb\t1\t2\t3".to_vec(), "cache", "bad_key", delete),
        (huge, "cache", "too_large", "the value has 1080018 bytes, the limit is 1048516"),
    ]
}

#[test]
fn every_bad_line_is_a_reject_and_its_neighbours_are_stored() {
    let bad = bad_lines();
    let good = apps("n", bad.len());
    let mut text = Vec::new();
    for ((line, ..), app) in bad.iter().zip(&good) {
        text.extend([line, &b"\n"[..], app.line().as_bytes(), b"\n"].concat());
    }
    // What looks odd and is good: items that are not numbers are left out, a key may have 250 bytes.
    let (odd, longest) = ("adid\todd\t-1e2\t.5\t7,x,-1,,4294967296,8", "k".repeat(245));
    text.extend(format!("{odd}\nidfa\t{longest}\t1\t2\t\n").bytes());
    let (work, servers) = folder(&[("mixed.tsv.gz", gzip(&text))]);

    let ran = work.expect(0, &job(&["--set", "limits.rejects=14"]));

    let rejects = work.json_lines("out/memc.rejects.ndjson");
    let mut seen: Vec<Value> = rejects.iter().map(without_time).collect();
    for reject in &mut seen {
        // What is refused behind the source is kept as its stage was given it, too.
        let row = reject.as_object_mut().unwrap().remove("row");
        assert_eq!(row.is_some(), reject["stage"] != "installs", "{reject}");
    }
    seen.sort_by_key(|reject| reject["line"].as_u64());
    let expected: Vec<Value> = bad.iter().enumerate().map(|(i, bad)| reject(bad, 2 * i + 1)).collect();
    assert_eq!(seen.len(), expected.len(), "{}", ran.stderr);
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(seen, expected);
    }
    assert_eq!(held(&servers, &good), [""; 0]);
    let odd = App { device: "adid", id: "odd".to_owned(), lat: -100.0, lon: 0.5, apps: vec![7, 8] };
    let longest = App { device: "idfa", id: longest, lat: 1.0, lon: 2.0, apps: vec![] };
    assert_eq!(held(&servers, &[odd, longest]), [""; 0]);
    assert_eq!(servers.items().iter().sum::<usize>(), good.len() + 2);
    assert_eq!(work.list(DATA), [".mixed.tsv.gz"]);
    assert!(ran.stderr.contains("  rejected by cache: 4 × bad_key, such as: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("  rejects: out/memc.rejects.ndjson"), "{}", ran.stderr);
    let report = report(&work);
    assert_eq!(rows(&report, "installs"), [30, 24, 6, 0, 0]);
    assert_eq!(rows(&report, "known"), [24, 22, 2, 0, 0]);
    assert_eq!(rows(&report, "cache"), [22, 16, 6, 0, 0]);
    assert_eq!(report["rejects"]["total"], 14);
}

fn without_time(reject: &Value) -> Value {
    let mut reject = reject.clone();
    let time = reject.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    let run = reject.as_object_mut().unwrap().remove("run").unwrap();
    assert_eq!(run.as_str().unwrap().len(), 16, "{run}");
    assert_eq!(reject.as_object_mut().unwrap().remove("split").unwrap(), 0);
    reject
}

fn reject((line, stage, reason, message): &(Vec<u8>, &str, &str, &str), at: usize) -> Value {
    let file = format!("{DATA}/mixed.tsv.gz");
    let mut reject = json!({
        "job": "memc", "stage": stage, "reason": reason, "message": message, "file": file, "line": at, "number": at,
    });
    match std::str::from_utf8(line) {
        Ok(text) => reject["record"] = json!(text),
        Err(_) => reject["record_hex"] = json!(line.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
    reject
}

/// A file of 100 lines of which so many are bad.
fn hundred(prefix: &str, bad: usize) -> Vec<u8> {
    let good = apps(prefix, 100 - bad);
    gzip((text(&good, "\n") + &"idfa\tbad\n".repeat(bad)).as_bytes())
}

#[test]
fn rejects_within_the_share_are_no_failure() {
    let (work, servers) = folder(&[("part-0.tsv.gz", hundred("s", 1)), ("part-1.tsv.gz", hundred("t", 1))]);
    work.expect(0, &job(&[]));
    assert_eq!(work.list(DATA), [".part-0.tsv.gz", ".part-1.tsv.gz"]);
    assert_eq!(servers.items().iter().sum::<usize>(), 198);
}

#[test]
fn more_rejects_than_the_share_are_known_at_the_end_of_the_input() {
    for (bad, code, begin) in [(2, 0, "."), (3, 65, "")] {
        let (work, _servers) = folder(&[
            ("part-0.tsv.gz", hundred("s", 1)),
            ("part-1.tsv.gz", hundred("t", bad)),
            ("part-2.tsv.gz", hundred("u", 0)),
        ]);
        let ran = work.expect(code, &job(&[]));
        assert_eq!(work.list(DATA), [0, 1, 2].map(|i| format!("{begin}part-{i}.tsv.gz")));
        if code == 0 {
            continue;
        }
        let why = "4 of 300 records were rejected; this job allows 1%\n";
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
        let report = report(&work);
        assert_eq!(
            [&report["exit_code"], &report["stopped"], &report["splits"]["done"]],
            [&json!(65), &json!("rejects"), &json!(0)]
        );
        assert_eq!(splits(&report), [0, 1, 2].map(|i| (format!("{DATA}/part-{i}.tsv.gz"), "stored".to_owned())));
        assert_eq!(work.json_lines("out/memc.rejects.ndjson").len(), 4);
    }
}

#[test]
fn a_count_of_rejects_may_be_reached_but_not_passed() {
    for (bad, code, names) in [(3, 0, [".part-0.tsv.gz"]), (4, 65, ["part-0.tsv.gz"])] {
        let (work, _servers) = folder(&[("part-0.tsv.gz", hundred("c", bad))]);
        work.expect(code, &job(&["--set", "limits.rejects=3"]));
        assert_eq!(work.list(DATA), names);
        assert_eq!(
            report(&work)["rejects"],
            json!({
                "total": bad, "limit": "3", "path": "out/memc.rejects.ndjson",
                "reasons": [{ "stage": "installs", "reason": "field_count", "count": bad }],
            })
        );
    }
}

#[test]
fn a_truncated_file_is_loaded_as_far_as_it_goes_and_left_where_it_is() {
    let all = apps("g", 900);
    let [one, two, three] = [0, 1, 2].map(|i| &all[300 * i..300 * (i + 1)]);
    let members: Vec<Vec<u8>> = two.chunks(100).map(|part| gzip(text(part, "\n").as_bytes())).collect();
    let mut cut = members.concat();
    cut.truncate(cut.len() - members[2].len() / 2);
    let (work, servers) = folder(&[
        ("part-0.tsv.gz", gzip(text(one, "\n").as_bytes())),
        ("part-1.tsv.gz", cut),
        ("part-2.tsv.gz", gzip(text(three, "\n").as_bytes())),
    ]);

    let ran = work.expect(74, &job(&[]));

    // A row of the second file, sent later, would replace one of the third: that counts as stored only behind it.
    assert_eq!(work.list(DATA), [".part-0.tsv.gz", "part-1.tsv.gz", "part-2.tsv.gz"]);
    let report = report(&work);
    let message = report["failures"][0]["message"].as_str().unwrap();
    let loaded: usize = message
        .strip_prefix("`data/appsinstalled/part-1.tsv.gz` is truncated after ")
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{message}"));
    assert!((200..300).contains(&loaded), "{message}");
    assert_eq!(report["failures"], json!([{ "exit_code": 74, "message": message }]));
    assert!(ran.stderr.contains("memc: failed with exit code 74, 2 of 3 splits left: "), "{}", ran.stderr);
    assert!(errors(&ran).contains(&format!("memc: {message}").as_str()), "{}", ran.stderr);
    let state = |i: usize, state: &str| (format!("{DATA}/part-{i}.tsv.gz"), state.to_owned());
    assert_eq!(splits(&report), [state(0, "done"), state(1, "failed"), state(2, "stored")]);
    assert_eq!(rows(&report, "cache")[1], 600 + loaded as u64);
    assert_eq!(servers.items().iter().sum::<usize>(), 600 + loaded);
    assert_eq!(held(&servers, &two[..loaded]), [""; 0]);
}

#[test]
fn a_corrupt_file_is_loaded_as_far_as_it_goes() {
    let all = apps("h", 300);
    let mut members: Vec<Vec<u8>> = all.chunks(100).map(|part| gzip(text(part, "\n").as_bytes())).collect();
    let checksum = members[1].len() - 8;
    members[1][checksum] ^= 1;
    let (work, servers) = folder(&[("part-0.tsv.gz", members.concat())]);
    work.expect(74, &job(&[]));
    let report = report(&work);
    let message = report["failures"][0]["message"].as_str().unwrap();
    let begin = "`data/appsinstalled/part-0.tsv.gz` is corrupt after ";
    assert!(message.starts_with(begin), "{message}");
    assert_eq!(work.list(DATA), ["part-0.tsv.gz"]);
    let loaded = rows(&report, "cache")[1] as usize;
    assert!((100..=200).contains(&loaded), "{loaded}");
    assert!(message.starts_with(&format!("{begin}{loaded} records")), "{message}");
    assert_eq!(servers.items().iter().sum::<usize>(), loaded);
    assert_eq!(held(&servers, &all[..loaded]), [""; 0]);
}

/// Loads with another server for `gaid` that is of no use; the other three get theirs.
fn gaid_is_lost(address: &str, more: &[&str]) -> (Ran, Value, [usize; 4]) {
    let all = apps("d", 400);
    let (work, servers) = folder(&[("part-0.tsv.gz", gzip(text(&all, "\n").as_bytes()))]);
    let work = work.env("MEMC_GAID", address);
    let ran = work.expect(69, &brisk(more));
    assert_eq!(work.list(DATA), ["part-0.tsv.gz"], "not wholly stored, so not renamed");
    let others: Vec<App> = all.into_iter().filter(|app| app.device != "gaid").collect();
    assert_eq!(held(&servers, &others), [""; 0]);
    let report = report(&work);
    assert_eq!(splits(&report), [(format!("{DATA}/part-0.tsv.gz"), "incomplete".to_owned())]);
    assert_eq!(report["exit_code"], 69);
    assert!(ran.stderr.contains("memc: failed with exit code 69, 1 of 1 splits left: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("  data/appsinstalled/part-0.tsv.gz: not wholly stored\n"), "{}", ran.stderr);
    (ran, report, servers.items())
}

#[test]
fn a_server_that_is_down_hangs_or_hangs_up_costs_only_its_own_records() {
    const TRIES: [&str; 4] = ["--set", "sinks.cache.retry.timeout=1s", "--set", "sinks.cache.retry.attempts=3"];
    let (_listener, hanging) = silent();
    let cases = [(nobody(), "Connection refused"), (hanging, "no answer within the timeout"), (hangs_up(), "")];
    for (address, why) in cases {
        let (ran, report, items) = gaid_is_lost(&address, &TRIES);
        assert_eq!(items, [100, 0, 100, 100]);
        assert_eq!(rows(&report, "cache"), [400, 300, 0, 0, 100], "{}", ran.stderr);
        let start = format!("memcached server `gaid` ({address}) is down, given up after 3 attempts: ");
        let failures = report["failures"].as_array().unwrap();
        let message = failures[0]["message"].as_str().unwrap();
        assert!(message.starts_with(&start) && message.contains(why), "{message}");
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(errors(&ran).contains(&format!("memc: {message}").as_str()), "{}", ran.stderr);
    }
}

#[test]
fn a_server_that_is_killed_on_the_way_loses_the_rest_and_a_rerun_stores_it() {
    let all = apps("k", 400);
    let (work, mut servers) = folder(&[("part-0.tsv.gz", gzip(text(&all, "\n").as_bytes()))]);
    // While idfa is held, the first batch waits: gaid has got its 25 rows of it and gets no more.
    let idfa = Hold::before(&servers.0[0]);
    let work = work.env("MEMC_IDFA", &idfa.address);
    let patience = ["--set", "sinks.cache.retry.timeout=30s", "--set", "sinks.cache.retry.attempts=3"];
    let running = Running::start(&work, &brisk(&patience));
    idfa.wait();
    until("gaid has its part of the first batch", || servers.0[1].items() == 25);
    servers.0[1].kill();
    idfa.release();
    let ran = running.end();

    assert_eq!(ran.code, 69, "{}", ran.stderr);
    let report = report(&work);
    // It may have died before it answered for what it had got.
    let [took, out, rejected, filtered, failed] = rows(&report, "cache");
    assert_eq!([took, rejected, filtered, out + failed], [400, 0, 0, 400], "{}", ran.stderr);
    assert!([75, 100].contains(&failed), "{}", ran.stderr);
    assert_eq!([&report["verified"][0]["checked"], &report["verified"][0]["found"]], [300, 300], "gaid is not asked");
    assert_eq!([0, 2, 3].map(|i| servers.0[i].items()), [100; 3]);
    assert_eq!(work.list(DATA), ["part-0.tsv.gz"]);

    servers.0[1] = Memcached::start(&[]);
    let work = servers.in_env(work);
    // Another server than the run began with has nothing of what was stored.
    let ran = work.expect(78, &job(&[]));
    assert!(ran.stderr.contains("`sinks.cache` has changed since run "), "{}", ran.stderr);
    work.expect(0, &job(&["--fresh"]));
    assert_eq!(held(&servers, &all), [""; 0]);
    assert_eq!(work.list(DATA), [".part-0.tsv.gz"]);
}

#[test]
fn a_server_that_is_full_is_tried_again_and_its_records_count_as_not_stored() {
    // Two megabytes, and an error instead of pushing others out.
    let full = Memcached::start(&["-m", "2", "-M"]);
    let big = |i: usize| App { device: "gaid", id: format!("big{i}"), lat: 1.0, lon: 2.0, apps: vec![9_999; 100_000] };
    let all: Vec<App> = (0..20).map(big).chain(apps("f", 100)).collect();
    let (work, servers) = folder(&[("part-0.tsv.gz", gzip(text(&all, "\n").as_bytes()))]);
    let work = work.env("MEMC_GAID", &full.address);
    let ran = work.expect(69, &brisk(&["--set", "sinks.cache.retry.attempts=3"]));
    let report = report(&work);
    let stored = full.items();
    let [_, out, _, _, failed] = rows(&report, "cache");
    assert_eq!(out as usize, 75 + stored, "{}", ran.stderr);
    assert!(failed > 0 && out + failed == 120, "{}", ran.stderr);
    let server = format!("memcached server `gaid` ({}) has not stored ", full.address);
    let why = " after 3 attempts: `SERVER_ERROR out of memory storing object`";
    for failure in report["failures"].as_array().unwrap() {
        let message = failure["message"].as_str().unwrap();
        assert!(message.starts_with(&server) && message.ends_with(why), "{message}");
    }
    assert_eq!([0, 2, 3].map(|i| servers.0[i].items()), [25; 3]);
    assert_eq!(work.list(DATA), ["part-0.tsv.gz"]);
}

#[test]
fn without_acknowledgement_a_sample_shows_what_was_stored() {
    let all = apps("v", 2_000);
    let (work, servers) = folder(&[("part-0.tsv.gz", gzip(text(&all, "\n").as_bytes()))]);
    let ran = work.expect(0, &job(&["--set", "sinks.cache.ack=none"]));
    assert_eq!(servers.items(), per_device(&all));
    assert_eq!(held(&servers, &all[..40]), [""; 0]);
    let report = report(&work);
    let verified = &report["verified"][0];
    assert_eq!(
        [&verified["sink"], &verified["checked"], &verified["found"]],
        [&json!("cache"), &json!(1_000), &json!(1_000)]
    );
    let low = verified["low"].as_f64().unwrap();
    assert!((0.995..1.0).contains(&low) && verified["high"] == 1.0, "{verified}");
    let line = "  cache read back: 1000 of 1000 found, 100.00 % (95 % interval 99.62 to 100.00 %)\n";
    assert!(ran.stderr.contains(line), "{}", ran.stderr);
    assert_eq!(work.list(DATA), [".part-0.tsv.gz"]);
}

#[test]
fn without_acknowledgement_a_server_that_is_lost_is_told_at_the_end() {
    let (_listener, hanging) = silent();
    for address in [nobody(), hanging, hangs_up()] {
        let more = ["--set", "sinks.cache.ack=none", "--set", "sinks.cache.retry.timeout=200ms"];
        let (ran, report, items) = gaid_is_lost(&address, &more);
        assert_eq!(items, [100, 0, 100, 100]);
        let [took, out, rejected, filtered, failed] = rows(&report, "cache");
        assert_eq!([took, rejected, filtered], [400, 0, 0]);
        assert!(failed >= 100 && out + failed == 400, "{}", ran.stderr);
        assert!(report["failures"][0]["message"].as_str().unwrap().contains(&address), "{}", report["failures"]);
    }
}

#[test]
fn what_the_server_pushed_out_is_not_found_again() {
    let small = Memcached::start(&["-m", "2"]);
    let big = |i: usize| App { device: "gaid", id: format!("big{i}"), lat: 1.0, lon: 2.0, apps: vec![9_999; 50_000] };
    let all: Vec<App> = (0..60).map(big).collect();
    let (work, _servers) = folder(&[("part-0.tsv.gz", gzip(text(&all, "\n").as_bytes()))]);
    let work = work.env("MEMC_GAID", &small.address);
    work.expect(0, &brisk(&["--set", "sources.installs.batch.rows=5", "--set", "sinks.cache.verify.min=0%"]));
    let report = report(&work);
    assert_eq!(rows(&report, "cache"), [60, 60, 0, 0, 0], "acknowledged all the same");
    let [checked, found] = ["checked", "found"].map(|key| report["verified"][0][key].as_u64().unwrap());
    assert_eq!((checked, found), (60, small.items() as u64));
    assert!(found < checked, "{found}");
}

#[test]
fn a_rehearsal_shows_what_it_would_write_and_writes_nothing() {
    let all = apps("r", 50);
    let text = text(&all, "\n") + "idfa\tbad\n";
    let (work, servers) = folder(&[("part-0.tsv.gz", gzip(text.as_bytes()))]);
    let ran = work.expect(0, &job(&["--dry-run", "--set", "limits.rejects=1"]));
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("memc: done (dry run, nothing was written): 51 rows in "), "{}", ran.stderr);
    let value: String = all[0].value()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let (key, address, bytes) = (all[0].key(), &servers.0[0].address, all[0].value().len());
    let sample = format!("  cache would set {key} → idfa ({address}), {bytes} bytes: {value}…\n");
    assert!(ran.stderr.contains(&sample), "{sample}\n{}", ran.stderr);
    assert!(ran.stderr.contains("  rejected by installs: 1 × field_count"), "{}", ran.stderr);
    assert_eq!(servers.items(), [0; 4]);
    assert_eq!(work.list(DATA), ["part-0.tsv.gz"]);
    assert_eq!(work.list(""), ["data", "jobs", "proto"], "no reject file either");
    assert_eq!(work.list("jobs"), ["memc.toml"], "no state");
}

#[test]
fn a_limit_reads_the_first_rows_and_renames_nothing() {
    let all = apps("l", 500);
    let (one, two) = all.split_at(100);
    let (work, servers) = folder(&[
        ("part-0.tsv.gz", gzip(text(one, "\n").as_bytes())),
        ("part-1.tsv.gz", gzip(text(two, "\n").as_bytes())),
    ]);
    work.expect(0, &job(&["--limit", "130"]));
    assert_eq!(servers.items(), per_device(&all[..130]));
    assert_eq!(held(&servers, &all[..130]), [""; 0]);
    assert_eq!(work.list(DATA), ["part-0.tsv.gz", "part-1.tsv.gz"]);
    let report = report(&work);
    assert_eq!((&report["limit"], rows(&report, "cache")), (&json!(130), [130, 130, 0, 0, 0]));
}

#[test]
fn a_second_run_finds_nothing_to_load() {
    let (work, _servers) = folder(&[("part-0.tsv.gz", hundred("w", 0))]);
    work.expect(0, &job(&[]));
    let ran = work.expect(66, &job(&[]));
    assert_eq!(errors(&ran), ["memc: no file matches `data/appsinstalled/*.tsv.gz`"]);
    assert_eq!(work.list(DATA), [".part-0.tsv.gz"]);
}
