//! The to-do job: operations on many documents, each in order, into a store that survives being killed.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    running::Running,
    work::{Work, is_root, oracle, project, stage, until},
};

const JOB: &str = "todo.yaml";
const SQLITE: [&str; 4] = ["--set", "sinks.persist.backend=sqlite", "--set", "sinks.persist.path=out/persist.db"];

/// A folder with the to-do job, reading TSV here.
fn folder() -> Work {
    let work = Work::new();
    let text = fs::read_to_string(project("jobs/todo.yaml")).unwrap();
    work.file(JOB, text.replace("format: ndjson", "format: tsv").replace("*.ndjson}", "*.tsv}"));
    work
}

/// Operations on lists, in several files. Most are inserts; some name entries that are gone.
fn operations(work: &Work, files: usize, count: usize, lists: u64) -> Vec<String> {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut names = Vec::new();
    for file in 0..files {
        let mut text = String::new();
        for line in 0..count / files {
            // The product of two even chances: some lists are busy, most are quiet.
            let list = random(lists) * random(lists) / lists;
            let n = file * count + line;
            let _ = match random(10) {
                0..6 => writeln!(text, "list-{list}\tinsert\t\t{{\"n\":{n}, \"t\": \"task {n}\"}}"),
                6..9 => writeln!(text, "list-{list}\tupdate\t{}\t{{\"n\":null,\"done\":{n}}}", 1 + random(30)),
                _ => writeln!(text, "list-{list}\tdelete\t{}\t", 1 + random(60)),
            };
        }
        names.push(format!("data/todo/part-{file}.tsv"));
        work.file(&names[file], text);
    }
    names
}

/// All documents in the folder store, by their files.
fn documents(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    // Beside them stands the marker of a run that is not over.
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    for shard in folders {
        for file in fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().path()) {
            found.insert(file.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&file).unwrap());
        }
    }
    found
}

fn set<'a>(sets: &[&'a str]) -> Vec<&'a str> {
    [JOB].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect()
}

#[test]
fn the_same_documents_come_of_any_concurrency_and_of_an_independent_fold() {
    let (count, lists) = (1_000_000, 10_000);
    let work = folder();
    let files = operations(&work, 5, count, lists);
    let mut first = None;
    for concurrency in ["1", "3", "8"] {
        let _ = fs::remove_dir_all(work.path("out"));
        let of = |stage: &str| format!("{stage}.concurrency={concurrency}");
        let (read, fold, keep) = (of("sources.operations"), of("transforms.lists"), of("sinks.persist"));
        let report = work.report(0, &set(&[&read, &fold, &keep, "sources.operations.batch.rows=500"]));
        assert_eq!(stage(&report, "lists")["rows_in"], count);
        let found = documents(&work.path("out/persist"));
        assert!(found.len() > lists as usize / 2, "{} lists", found.len());
        assert_eq!(stage(&report, "persist")["rows_out"], found.len());
        assert!(first.get_or_insert_with(|| found.clone()) == &found, "concurrency {concurrency}");
    }
    let args: Vec<&str> = ["out/persist"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let said = oracle(&work, "fold_todo.py", &args);
    let said: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    assert_eq!((&said["different"], &said["lists"]), (&json!([]), &json!(first.unwrap().len())));
    let rejects = work.json_lines("out/todo.rejects.ndjson");
    assert_eq!(said["refused"], rejects.len());
}

#[test]
fn sqlite_and_little_memory_make_the_same_documents() {
    let work = folder();
    let files = operations(&work, 3, 20_000, 300);
    for more in [&["--set", "limits.memory=64KiB"][..], &["--set", "sinks.persist.ack=none"]] {
        let _ = fs::remove_dir_all(work.path("out"));
        work.expect(0, &[&[JOB], &SQLITE[..], more].concat());
        let args: Vec<&str> = ["out/persist.db"].into_iter().chain(files.iter().map(String::as_str)).collect();
        let said = oracle(&work, "fold_todo.py", &args);
        let said: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
        assert_eq!(said["different"], json!([]), "{more:?}");
        assert_eq!(work.list("out"), ["persist.db", "todo.rejects.ndjson"], "the log beside the file is gone");
    }
}

#[test]
fn the_plan_shows_how_rows_are_divided() {
    let ran = folder().expect(0, &["plan", JOB]);
    let expected = "transform lists (changelog): 3 workers, queue of 8 batches each, partitioned by list\n    \
                    documents go on from `persist`, ids given where there are none\n    \
                    emits each changed document once, at the end\n    \
                    output: list string, document json\n    → persist\n\n\
                    sink persist (kv): 3 workers, queue of 4 batches each, partitioned by list\n    \
                    one file per key in `out/persist`\n    every batch durable before the next\n    \
                    of rows with equal keys the last one of the input stays\n";
    assert!(ran.stdout.ends_with(expected), "{}", ran.stdout);
}

#[test]
fn a_second_run_goes_on_and_people_can_look_at_their_lists() {
    let work = folder();
    work.file(
        "data/todo/a.tsv",
        "bob\tinsert\t\t{\"t\":\"Dentist\"}\nbob\tupdate\t1\t{\"n\":1}\nEve/..\tinsert\t7\t[1]\n",
    );
    for store in [&[][..], &SQLITE[..]] {
        for _ in 0..2 {
            work.expect(0, &[&[JOB], store, &["--set", "limits.rejects=1"]].concat());
        }
        let get = |code, key| work.expect(code, &[&["get", JOB, key], store].concat());
        assert_eq!(
            get(0, "bob").stdout,
            "{\"next_id\":3,\"entries\":{\"1\":{\"t\":\"Dentist\",\"n\":1},\"2\":{\"t\":\"Dentist\"}}}\n"
        );
        assert_eq!(get(0, "Eve/..").stdout, "{\"next_id\":8,\"entries\":{\"7\":[1]}}\n");
        assert_eq!(get(66, "nobody").stderr, "error: `persist` has no document for `nobody`\n");
        let keys = |more: &[&str]| work.expect(0, &[&["keys", JOB], more, store].concat()).stdout;
        assert_eq!(keys(&[]), "Eve/..\nbob\n");
        assert_eq!(keys(&["--prefix", "b"]), "bob\n");
        let second = &work.json_lines("out/todo.rejects.ndjson")[0];
        assert_eq!(second["reason"], "exists", "the second insert with an id: {second}");
    }
}

#[test]
fn get_and_keys_say_which_store_they_need() {
    let work = folder();
    let missing = work.expect(66, &["keys", JOB]);
    assert!(missing.stderr.contains("`out/persist`"), "{}", missing.stderr);
    let named = work.expect(66, &["get", "todo.yaml:persist", "bob"]);
    assert!(named.stderr.contains("`out/persist`"), "{}", named.stderr);
    let other = work.expect(64, &["get", "todo.yaml:persists", "bob"]);
    assert!(other.stderr.contains("no sink `persists` of type `kv`; did you mean `persist`?"), "{}", other.stderr);
    let two = work.read(JOB)
        + "  second:\n    type: kv\n    input: lists\n    path: ${SECOND}\n    key: list\n    value: document\n";
    work.file("two.yaml", two);
    let several = work.expect(64, &["keys", "two.yaml"]);
    assert!(several.stderr.contains("name one: `two.yaml:persist`, `two.yaml:second`"), "{}", several.stderr);
    let unset = work.expect(78, &["keys", "two.yaml:second"]);
    assert!(unset.stderr.contains("the path of `second` comes from a variable that is not set"), "{}", unset.stderr);
    work.file("none.yaml", work.read(JOB).replace("type: kv", "type: discard"));
    assert!(work.expect(78, &["keys", "none.yaml"]).stderr.contains("is not of type `kv`"));
}

#[test]
fn a_rehearsal_shows_documents_and_writes_nothing() {
    let work = folder();
    work.file("data/todo/a.tsv", "bob\tinsert\t\t{\"t\": 1}\n");
    let ran = work.expect(0, &[JOB, "--dry-run", "--set", "limits.memory=1KiB"]);
    assert!(ran.stderr.contains("bob = {\"next_id\":2,\"entries\":{\"1\":{\"t\":1}}}"), "{}", ran.stderr);
    assert!(!work.path("out").exists());
}

#[test]
fn a_document_that_is_none_takes_no_other_key_with_it() {
    let work = folder();
    work.file("data/todo/a.tsv", "bob\tinsert\t\t1\nbad\tinsert\t\t2\nbad\tinsert\t\t3\neve\tinsert\t\t4\n");
    work.expect(0, &[JOB]);
    let bad = documents(&work.path("out/persist")).into_keys().find(|file| file.ends_with("bad.json")).unwrap();
    let bad = format!("out/persist/{}", bad.display());
    work.file(&bad, "{\"next_id\":3,\"entr");
    work.expect(0, &[JOB]);
    let rejects = work.json_lines("out/todo.rejects.ndjson");
    assert_eq!(rejects.len(), 2);
    for reject in &rejects {
        assert_eq!(reject["reason"], "bad_document");
        let said = reject["message"].as_str().unwrap();
        assert!(said.starts_with(&format!("`{bad}` is not a document of a changelog: ")), "{said}");
    }
    assert_eq!(work.read(&bad), "{\"next_id\":3,\"entr", "it is left for people to look at");
    assert_eq!(work.expect(0, &["get", JOB, "eve"]).stdout, "{\"next_id\":3,\"entries\":{\"1\":4,\"2\":4}}\n");
}

#[test]
fn a_store_that_cannot_be_written_to_stops_the_run_before_it_begins() {
    let work = folder();
    work.file("data/todo/a.tsv", "bob\tinsert\t\t1\n");
    work.expect(0, &[JOB]);
    work.expect(0, &[&[JOB], &SQLITE[..]].concat());
    let shard = documents(&work.path("out/persist")).into_keys().next().unwrap();
    let shard = work.path("out/persist").join(shard.parent().unwrap());
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for path in ["", "out", "out/persist", "out/persist/.tmp", "out/todo.rejects.ndjson", ".runner"] {
        mode(&work.path(path), 0o777);
    }
    for file in fs::read_dir(work.path(".runner")).unwrap() {
        let path = file.unwrap().path();
        mode(&path, if path.is_dir() { 0o777 } else { 0o666 });
    }
    let run = |more: &[&str]| {
        let mut command = work.command(&[&[JOB], more].concat());
        // Permission bits do not stop root.
        if is_root() {
            command.uid(65534);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let before = documents(&work.path("out/persist"));
    for (path, closed, open) in [(work.path("out/persist"), 0o555, 0o777), (shard, 0o555, 0o777)] {
        mode(&path, closed);
        let (code, stderr) = run(&[]);
        mode(&path, open);
        assert_eq!(code, Some(73), "{}: {stderr}", path.display());
        assert!(stderr.contains("cannot create `out/persist"), "{stderr}");
        assert_eq!(documents(&work.path("out/persist")), before);
    }
    mode(&work.path("out/persist.db"), 0o444);
    let (code, stderr) = run(&SQLITE);
    mode(&work.path("out/persist.db"), 0o666);
    assert_eq!(code, Some(73), "{stderr}");
    assert!(stderr.contains("cannot create `out/persist.db`"), "{stderr}");
    assert_eq!(run(&[]).0, Some(0), "with the permissions it goes on");
}

#[test]
fn a_killed_run_leaves_each_document_old_or_new() {
    let work = folder();
    let long = "x".repeat(20_000);
    let lines: String = (0..300).map(|i| format!("list-{i}\tinsert\t\t\"{long}\"\n")).collect();
    work.file("data/todo/a.tsv", lines);
    work.expect(0, &[JOB]);
    let touched = || fs::metadata(work.path("out/persist/.tmp")).unwrap().modified().unwrap();
    let (mut most, mut round) = (1, 0);
    // Killed later and later, and often enough that some were killed while they wrote.
    while round < 12 || (most == 1 && round < 60) {
        let before = touched();
        let running = Running::start(&work, &[JOB, "--set", "sinks.persist.batch.rows=10"]);
        until("it is about to write", || touched() != before);
        thread::sleep(Duration::from_millis(15 * round));
        running.signal("KILL");
        drop(running);
        round += 1;
        for (file, text) in documents(&work.path("out/persist")) {
            // What a killed run leaves half done has a hidden name.
            if file.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.')) {
                continue;
            }
            let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
            let entries = document["entries"].as_object().unwrap();
            assert_eq!(document["next_id"], entries.len() + 1, "{file:?}");
            assert!(entries.values().all(|entry| entry == &json!(long)), "{file:?}");
            most = most.max(entries.len());
        }
    }
    assert!(most > 1, "no run got as far as its documents");
    work.expect(0, &[JOB]);
}

/// A store that is held by somebody else does not answer: everything before it must wait, within its limits.
#[test]
fn mailboxes_stay_within_their_limits_while_the_store_is_slow() {
    let work = folder();
    work.file("data/todo/none.tsv", "");
    let job = work
        .read(JOB)
        .replace("emit: document ", "emit: change ")
        .replace("name: todo", "name: todo\ndefinitions:\n  operation:\n    fields:\n      list: { pattern: \"l-###\" }\n      op: insert\n      id: { int: { min: 1, max: 2 }, null_rate: 1.0 }\n      entry: { object: { n: { sequence: {} } } }");
    let (before, after) = (job.find("    type: files").unwrap(), job.find("transforms:").unwrap());
    let source = "    type: generate\n    definition: operation\n    count: 1000000\n    batch: { rows: 200 }\n";
    work.file("slow.yaml", [&job[..before], source, &job[after..]].concat());
    fs::create_dir_all(work.path("out")).unwrap();
    let mut other = rusqlite::Connection::open(work.path("out/persist.db")).unwrap();
    other.pragma_update(None, "journal_mode", "WAL").unwrap();
    other
        .execute_batch("CREATE TABLE kv (key TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID")
        .unwrap();
    let args = [&["slow.yaml", "--format", "json", "--set", "limits.memory=16MiB"], &SQLITE[..]].concat();
    let running = Running::start(&work, &args);
    let written = || work.path("out/persist.db-wal").metadata().is_ok_and(|log| log.len() > 100_000);
    until("it writes", written);
    let held = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let start = Instant::now();
    // The memory that it has once everything waits is the memory it keeps.
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    thread::sleep(Duration::from_millis(700));
    let early = resident();
    thread::sleep(Duration::from_millis(1_300));
    let late = resident();
    assert!(late < early + 8_000, "{early} KiB, then {late} KiB");
    let waited = start.elapsed().as_secs_f64();
    running.signal("TERM");
    drop(held);
    drop(other);
    let ran = running.end();
    assert_eq!(ran.code, 75, "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let number = |stage: &Value, key: &str| stage["queue"][key].as_f64().unwrap_or_else(|| panic!("{stage:#}"));
    for (name, queue, senders) in [("lists", 8.0, 2.0), ("persist", 4.0, 3.0)] {
        let stage = stage(&report, name);
        let high = number(stage, "high_batches");
        // Each sender may wait with one more, and the worker may be taking one.
        assert!(high >= queue && high <= queue + senders + 1.0, "{name}: {high}\n{stage:#}");
    }
    let blocked = stage(&report, "lists")["blocked_seconds"].as_f64().unwrap();
    assert!(blocked > waited / 2.0, "{blocked} of {waited} s\n{report:#}");
}

#[test]
fn documents_can_be_read_by_another_job() {
    let work = folder();
    work.file("data/todo/a.tsv", "bob\tinsert\t\t1\nann\tinsert\t\t2\nzoe\tinsert\t\t3\n");
    work.expect(0, &[JOB]);
    let copy = "name = 'copy'\n[sources.all]\ntype = 'kv'\npath = 'out/persist'\nprefix = 'b'\n\
                [sinks.copy]\ntype = 'kv'\ninput = 'all'\npath = 'out/copy.db'\nbackend = 'sqlite'\nkey = 'key'\n\
                value = 'value'\n";
    work.file("copy.toml", copy);
    work.expect(0, &["copy.toml"]);
    assert_eq!(work.expect(0, &["keys", "copy.toml"]).stdout, "bob\n");
    assert_eq!(work.expect(0, &["get", "copy.toml", "bob"]).stdout, "{\"next_id\":2,\"entries\":{\"1\":1}}\n");
    fs::remove_dir_all(work.path("out")).unwrap();
    work.expect(66, &["copy.toml"]);
}
