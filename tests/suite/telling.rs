//! What a run tells people and machines: once, with its time where there is no terminal, and as JSON where that is
//! asked for.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    apps::{apps, text},
    servers::nobody,
    work::{Ran, Work, oracle, timeless},
};

/// A job that copies a file.
const JOB: &str = r#"name = "copy"
rejects.path = "rejects.ndjson"
limits.rejects = 10

[sources.towns]
type = "files"
path = "in/*.csv"
format = "csv"
columns = ["id int64", "town string"]

[sinks.out]
type = "files"
input = "towns"
path = "out.csv"
format = "csv"
"#;

/// A job that keeps documents.
const TODO: &str = r#"name = "todo"

[sources.documents]
type = "files"
path = "in/todo.ndjson"
format = "ndjson"
columns = ["id string", "doc json"]

[sinks.kept]
type = "kv"
input = "documents"
path = "kept"
key = "id"
value = "doc"
"#;

fn copy() -> Work {
    let work = Work::new();
    work.file("copy.toml", JOB);
    work.file("in/a.csv", "id,town\n1,Rom\nx,Ulm\n3,Oslo\n");
    work
}

/// Lines of JSON, which are all there is.
fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_run_says_when_it_began_and_where_to_look_in_the_end() {
    let work = copy();
    let lines: Vec<String> = work.expect(0, &["copy.toml"]).stderr.lines().map(str::to_owned).collect();
    assert!(timeless(&lines[0]).starts_with("copy: started, plan ") && lines[0].ends_with(", 1 split"), "{lines:?}");
    assert!(timeless(&lines[1]).starts_with("copy: done: 3 rows in "), "{lines:?}");
    let ends = ["  rejects: rejects.ndjson", "  report: .runner/copy.report.json"];
    assert_eq!(lines[lines.len() - 2..], ends);
}

#[test]
fn what_is_missing_is_one_line() {
    let work = copy();
    fs::remove_dir_all(work.path("in")).unwrap();
    for args in [&["copy.toml"][..], &["copy.toml", "--quiet"]] {
        let said = work.expect(66, args).stderr;
        assert_eq!((timeless(&said), said.lines().count()), ("error: copy: no file matches `in/*.csv`\n", 1));
    }
}

#[test]
fn a_failure_is_told_once() {
    let work = copy();
    work.file("in/a.csv", "id,twon\n1,Rom\n");
    let failure = "`in/a.csv`: its header has no column `town`; did you mean `twon`?";
    let said = work.expect(74, &["copy.toml"]).stderr;
    assert_eq!(said.matches("no column").count(), 1, "{said}");
    assert!(said.contains("\n  in/a.csv: not read to its end\n"), "{said}");
    let said = work.expect(74, &["copy.toml", "--quiet"]).stderr;
    assert_eq!((timeless(&said), said.lines().count()), (format!("error: copy: {failure}\n").as_str(), 1));
    let said = work.expect(
        65,
        &[
            "copy.toml",
            "--quiet",
            "--set",
            "sources.towns.columns=[\"id int64\", \"twon int64\"]",
            "--set",
            "limits.rejects=0",
        ],
    );
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
}

#[test]
fn four_servers_that_are_down_are_four_lines() {
    let mut work = Work::with_memc();
    for name in ["MEMC_IDFA", "MEMC_GAID", "MEMC_ADID", "MEMC_DVID"] {
        work = work.env(name, &nobody());
    }
    work.gzip("data/appsinstalled/part.tsv.gz", text(&apps("down", 400), "\n"));
    for more in [&[][..], &["--quiet"]] {
        let args = [&["jobs/memc.toml", "--set", "sinks.cache.retry.attempts=3"], more].concat();
        let said = work.expect(69, &args).stderr;
        let told: Vec<&str> = said.lines().filter(|line| line.contains("refused")).collect();
        assert_eq!(told.len(), 4, "{said}");
        for (line, server) in told.iter().zip(["idfa", "gaid", "adid", "dvid"]) {
            let begin = format!("error: memc: memcached server `{server}` (127.0.0.1:");
            assert!(timeless(line).starts_with(&begin), "{said}");
            assert!(line.contains(") is down, given up after 3 attempts: "), "{said}");
        }
        assert_eq!(said.lines().count() == 4, !more.is_empty(), "{said}");
    }
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let work = copy();
    let told = objects(&work.expect(0, &["copy.toml", "--log-format", "json"]).stderr);
    assert_eq!(told.len(), 2);
    assert_eq!([&told[0]["level"], &told[0]["job"]], ["info", "copy"]);
    assert!(told[0]["message"].as_str().unwrap().starts_with("started, "), "{}", told[0]);
    assert_eq!([&told[1]["message"], &told[1]["report"]], ["done", ".runner/copy.report.json"]);
    assert_eq!([&told[1]["exit_code"], &told[1]["rows"], &told[1]["rejected"]], [0, 3, 1]);

    work.file("in/a.csv", "id,twon\n1,Rom\n");
    let told = objects(&work.expect(74, &["copy.toml", "--log-format", "json"]).stderr);
    let levels: Vec<&str> = told.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["info", "error", "info"], "{told:?}");
    assert_eq!(told[2]["exit_code"], 74);

    let told = objects(&work.expect(78, &["copy.toml", "--log-format", "json", "--set", "sinks.out.pth=x"]).stderr);
    assert_eq!((told[0]["code"].as_str(), told[0]["column"].as_u64()), (Some("unknown-key"), Some(17)), "{told:?}");
}

#[test]
fn standard_output_has_json_in_every_case() {
    let work = copy();
    let run = |code: i32, args: &[&str]| -> Value {
        let Ran { stdout, .. } = work.expect(code, args);
        let mut all = objects(&stdout);
        assert_eq!(all.len(), 1, "{stdout}");
        all.remove(0)
    };
    let json = ["--format", "json"];
    let bad = ["copy.toml", "--set", "sources.towns.formt=tsv"];
    let invalid = run(78, &[&bad[..], &json].concat());
    assert_eq!([&invalid["exit_code"], &invalid["format"]], [78, 1]);
    assert_eq!([&invalid["spec"], &invalid["problems"][0]["help"]], ["copy.toml", "did you mean `format`?"]);
    let unread = run(66, &[&["nosuch.toml"], &json[..]].concat());
    assert!(unread["failures"][0]["message"].as_str().unwrap().contains("`nosuch.toml`"), "{unread}");
    let stranger = run(64, &[&["copy.toml", "--set", "sinks.nosuch.path=x"], &json[..]].concat());
    assert_eq!(stranger["failures"][0]["exit_code"], 64);
    let missing = run(66, &[&["copy.toml", "--set", "sources.towns.path=nosuch"], &json[..]].concat());
    assert_eq!([&missing["job"], &missing["failures"][0]["message"]], ["copy", "no file matches `nosuch`"]);
    assert_eq!(run(66, &[&["check", "nosuch.toml"], &json[..]].concat())["code"], "file");
    let status = run(78, &[&["status"], &bad[..], &json].concat());
    assert_eq!([&status["state"], &status["problems"][0]["code"]], ["unknown", "unknown-key"]);

    work.file("report.schema.json", work.expect(0, &["schema", "report"]).stdout);
    work.file("invalid.json", invalid.to_string());
    work.file("unread.json", unread.to_string());
    let checked = oracle(&work, "validate.py", &["report.schema.json", "invalid.json", "unread.json"]);
    assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""));
}

#[test]
fn the_last_reports_are_kept() {
    let work = copy();
    let kept = |work: &Work| work.list(".runner/reports").len();
    let run = |keep: &str| work.expect(0, &["copy.toml", "-q", "--fresh", "--set", &format!("report.keep={keep}")]);
    run("3");
    assert!(!work.path(".runner/reports").exists(), "there is one report");
    (0..4).for_each(|_| _ = run("3"));
    assert_eq!(kept(&work), 2);
    let times = |name: &str| serde_json::from_str::<Value>(&work.read(name)).unwrap()["started"].to_string();
    let names = work.list(".runner/reports");
    let [older, newer] = [0, 1].map(|i| times(&format!(".runner/reports/{}", names[i])));
    assert!(older < newer && newer < times(".runner/copy.report.json"), "{names:?}");
    // Those of another job, whose name begins in the same way, stay.
    work.file("more.toml", JOB.replace("\"copy\"", "\"copy-2\"").replace("out.csv", "more.csv"));
    (0..3).for_each(|_| _ = work.expect(0, &["more.toml", "-q", "--fresh"]));
    assert_eq!(kept(&work), 4);
    run("1");
    assert_eq!(kept(&work), 2);
    assert!(work.expect(78, &["copy.toml", "--set", "report.keep=0"]).stderr.contains("an integer from 1 on"));
}

#[test]
fn status_tells_of_runs_that_failed() {
    let work = copy();
    let status = || work.expect(0, &["status", "copy.toml"]).stdout;
    assert_eq!(status(), "copy: no run\n");
    work.expect(66, &["copy.toml", "-q", "--set", "sources.towns.path=nosuch"]);
    let text = status();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "copy: no run in the ledger");
    assert!(lines[1].starts_with("  last ended 2") && lines[1].ends_with(": failed with exit code 66"), "{text}");
    assert_eq!(lines[2..], ["    no file matches `nosuch`", "  report: .runner/copy.report.json"]);
    work.expect(0, &["copy.toml", "-q"]);
    let text = status();
    assert!(text.starts_with("copy: run ") && text.contains("Z: done\n"), "{text}");
    let found = objects(&work.expect(0, &["status", "copy.toml", "--format", "json"]).stdout).remove(0);
    assert_eq!((&found["state"], &found["last"]["exit_code"]), (&json!("finished"), &json!(0)));
}

#[test]
fn control_characters_of_data_and_names_stay_away_from_the_terminal() {
    let work = copy();
    work.file("in/\u{1b}[31mred.csv", "id,town\n\u{1b}[2J,Rom\n2,\u{1b}]0;title\u{7}\n");
    let run = work.expect(0, &["copy.toml"]);
    let preview = work.expect(0, &["preview", "copy.toml"]);
    let plan = work.expect(0, &["plan", "copy.toml"]);
    work.file("in/b\u{9b}.csv", "id,twon\u{1b}[1m\n");
    let failed = work.expect(74, &["copy.toml", "--fresh"]);
    let missing = work.run(&["plan", "nosuch\u{1b}[0m.toml"]);
    let bad = work.expect(78, &["check", "copy.toml", "--set", "sinks.out.format=\"\u{1b}[31m\""]);
    for ran in [run, preview, plan, failed, missing, bad] {
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains("u{1b}") || all.contains('␛'), "{all}");
        assert!(!all.chars().any(|c| c.is_control() && c != '\n'), "{all:?}");
    }
}

#[test]
fn there_are_signs_of_life_where_there_is_no_terminal() {
    let work = copy();
    let mut command = work.command(&["copy.toml", "--set", "sources.towns.path=-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"id,town\n1,Rom\n").unwrap();
    let start = Instant::now();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let beat = lines.find(|line| line.contains("running for")).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(29), "{beat}");
    assert!(timeless(&beat).starts_with("copy: running for 0:3"), "{beat}");
    assert!(beat.contains(" rows read, 0 of 1 split done"), "{beat}");
    drop(input);
    assert!(lines.any(|line| line.contains("copy: done: 1 rows in ")));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_full_disk_is_not_success() {
    let work = copy();
    work.expect(0, &["copy.toml", "-q"]);
    work.file("in/todo.ndjson", "{\"id\":\"1\",\"doc\":{}}\n");
    work.file("todo.toml", TODO);
    work.expect(0, &["todo.toml", "-q"]);
    let commands: [&[&str]; 9] = [
        &["schema", "job"],
        &["schema", "report"],
        &["get", "todo.toml", "1"],
        &["keys", "todo.toml"],
        &["plan", "copy.toml"],
        &["status", "copy.toml"],
        &["preview", "copy.toml"],
        &["generators"],
        &["copy.toml", "--format", "json"],
    ];
    for args in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = work.command(args).stdin(Stdio::null()).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{args:?}: {said}");
        assert!(said.contains("error: cannot write to standard output: No space left on device"), "{args:?}: {said}");
    }
}
