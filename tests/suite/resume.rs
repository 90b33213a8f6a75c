//! Interrupted runs that are resumed: what is read again, what is not, and what must not have changed.

use std::{fs, thread, time::Duration};

use serde_json::Value;

use crate::{
    running::Running,
    work::{Work, stage, until},
};

/// Numbers from files into a table; a file without numbers at all has too many rejects.
const JOB: &str = "name = 'job'\n[rejects]\npath = 'out/rejects.ndjson'\n[limits]\nrejects = 1\n\
    [sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['n int64']\nconcurrency = 1\n\
    done = { rename = '.{name}' }\n\
    [sinks.table]\ntype = 'sqlite'\ninput = 'rows'\ndatabase = 'out/t.db'\ntable = 't'\n";

const BAD: &str = "x\nx\nx\n";

/// Three files, of which the second is bad.
fn broken() -> Work {
    let work = Work::new();
    work.file("job.toml", JOB);
    work.file("in/0.tsv", "1\n2\nx\n");
    work.file("in/1.tsv", BAD);
    work.file("in/2.tsv", "3\n");
    work.expect(65, &["job.toml"]);
    assert_eq!(work.list("in"), [".0.tsv", "1.tsv", "2.tsv"]);
    work
}

fn numbers(work: &Work) -> Vec<i64> {
    let connection = rusqlite::Connection::open(work.path("out/t.db")).unwrap();
    let mut rows = connection.prepare("select n from t order by n").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn status(work: &Work) -> Value {
    serde_json::from_str(&work.expect(0, &["status", "job.toml", "--format", "json"]).stdout).unwrap()
}

#[test]
fn a_higher_limit_goes_on_where_the_lower_one_stopped() {
    let work = broken();
    let before = status(&work);
    assert_eq!((&before["state"], &before["attempts"]), (&"unfinished".into(), &1.into()));
    assert_eq!(work.expect(65, &["job.toml"]).code, 65, "the limit is as it was, and so are the rejects");
    let report = work.report(0, &["job.toml", "--set", "limits.rejects=90%", "--set", "sources.rows.batch.rows=1"]);
    assert_eq!(numbers(&work), [1, 2, 3]);
    let run = &report["run"];
    assert_eq!((&run["id"], &run["attempt"]), (&before["run"], &3.into()));
    assert!(run["splits_kept"].as_u64().unwrap() >= 1 && run["rejects_kept"].as_u64().unwrap() >= 1, "{run}");
    assert_eq!(report["splits"]["done"], 3);
    assert!(stage(&report, "rows")["rows_in"].as_u64().unwrap() < 7, "not all is read again");
    let rejects: Vec<String> = work.json_lines("out/rejects.ndjson").iter().map(|r| r["file"].to_string()).collect();
    assert_eq!(rejects, ["\"in/0.tsv\"", "\"in/1.tsv\"", "\"in/1.tsv\"", "\"in/1.tsv\""], "none lost, none twice");
    assert_eq!(work.list("in"), [".0.tsv", ".1.tsv", ".2.tsv"]);
    assert_eq!((status(&work)["state"].clone(), work.list(".runner").len()), ("finished".into(), 4));
}

/// What a kill between two writes of the reject file leaves: the beginning of a line, of a split that is not stored.
#[test]
fn a_reject_that_was_cut_off_goes() {
    let rest = ["job.toml", "--set", "limits.rejects=90%"];
    let whole = broken();
    whole.expect(0, &rest);
    let line = broken().read("out/rejects.ndjson").lines().last().unwrap().to_owned();
    for cut in [1, line.len() / 2, line.len()] {
        let work = broken();
        let before = work.read("out/rejects.ndjson");
        work.file("out/rejects.ndjson", format!("{before}{}", &line[..cut]));
        work.expect(0, &rest);
        assert_eq!(places(&work), places(&whole), "cut at {cut} of {}", line.len());
    }
}

/// File and record of every reject.
fn places(work: &Work) -> Vec<String> {
    let rejects = work.json_lines("out/rejects.ndjson");
    let mut places: Vec<String> = rejects.iter().map(|line| format!("{} {}", line["file"], line["line"])).collect();
    places.sort();
    places
}

#[test]
fn status_says_what_is_done_and_what_is_left() {
    let work = Work::new();
    work.file("job.toml", JOB);
    assert_eq!(work.expect(0, &["status", "job.toml"]).stdout, "job: no run\n");
    assert_eq!(status(&work)["state"], "none");
    let work = broken();
    let said = work.expect(0, &["status", "job.toml"]).stdout;
    assert!(said.contains(", 1 attempt, not finished\n  rows: 1 of 3 splits done, "), "{said}");
    let source = &status(&work)["sources"][0];
    let count = |key: &str| source[key].as_u64().unwrap();
    assert_eq!((count("splits"), count("done"), count("stored") + count("left")), (3, 1, 2));
    work.expect(0, &["job.toml", "--set", "limits.rejects=90%"]);
    let said = work.expect(0, &["status", "job.toml"]).stdout;
    assert!(
        said.contains("2 attempts, finished ") && said.contains("\n  last ended ") && said.contains("Z: done\n"),
        "{said}"
    );
    work.file(".runner/job.ledger", "this is not a ledger, but a text that somebody has written here");
    let ran = work.expect(74, &["status", "job.toml"]);
    assert!(ran.stderr.contains("--fresh"), "{}", ran.stderr);
    work.expect(74, &["job.toml"]);
    work.file("in/3.tsv", "4\n");
    work.expect(0, &["job.toml", "--fresh"]);
}

#[test]
fn what_has_changed_is_named_and_a_fresh_run_begins_anew() {
    let change = |of: &dyn Fn(&Work), set: &[&str], code: i32, words: &[&str]| {
        let work = broken();
        of(&work);
        let args = [&["job.toml", "--set", "limits.rejects=100%"], set].concat();
        let ran = work.expect(code, &args);
        for words in words {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        }
        if code != 0 {
            assert!(ran.stderr.contains("splits stored; undo that to resume it, or start over with `--fresh`"));
            work.expect(0, &[&args[..], &["--fresh"]].concat());
            assert_eq!(status(&work)["attempts"], 1);
        }
    };
    let nothing = |_: &Work| {};
    let spec = "`sinks.table` has changed since run ";
    change(&nothing, &["--set", "sinks.table.mode=ignore"], 78, &[spec]);
    change(&nothing, &["--set", "seed=3", "--set", "sinks.table.mode=ignore"], 78, &["`seed`, `sinks.table` have"]);
    change(&nothing, &["--set", "sources.rows.batch.rows=1", "--set", "sinks.table.queue=1"], 0, &[]);
    change(&|work| work.file("in/2.tsv", "30\n40\n"), &[], 66, &["`in/2.tsv` is not what it was"]);
    change(&|work| work.file("in/9.tsv", "9\n"), &[], 66, &["`in/9.tsv` is new"]);
    change(&|work| work.file("in/0.tsv", "1\n2\nx\n"), &[], 66, &["`in/0.tsv` is new"]);
    let touched = |work: &Work| {
        thread::sleep(Duration::from_millis(20));
        work.file("in/2.tsv", work.read("in/2.tsv"));
        work.file("in/8.tsv", "");
    };
    change(&touched, &[], 66, &["`in/2.tsv` is not what it was, `in/8.tsv` is new"]);
}

#[test]
fn a_file_that_is_not_stored_and_gone_is_missed() {
    let work = Work::new();
    work.file("job.toml", JOB.replace("rename = '.{name}'", "move = 'old'"));
    work.file("in/0.tsv", "1\n");
    work.file("in/1.tsv", "9223372036854775808\n".repeat(3));
    work.file("in/2.tsv", "3\n");
    work.file("out/t.db", "");
    work.expect(65, &["job.toml"]);
    let left = status(&work)["sources"][0]["next"].as_array().unwrap().clone();
    for name in &left {
        fs::remove_file(work.path(name.as_str().unwrap())).unwrap();
    }
    if let Some(name) = left.first() {
        let ran = work.expect(66, &["job.toml"]);
        assert!(ran.stderr.contains(&format!("`{}` is gone", name.as_str().unwrap())), "{}", ran.stderr);
    }
}

#[test]
fn without_a_ledger_nothing_is_kept_and_one_that_is_there_is_left_alone() {
    let work = Work::new();
    work.file("job.toml", JOB);
    work.file("in/0.tsv", "1\n");
    work.file("in/1.tsv", BAD);
    let report = work.report(65, &["job.toml", "--no-ledger"]);
    assert!(report["run"].is_null());
    assert_eq!(status(&work)["state"], "none");
    assert!(work.json_lines("out/rejects.ndjson").iter().all(|reject| reject["run"].is_null()));
    let work = broken();
    // How the last run ended is another matter.
    let ledger = |work: &Work| {
        let mut status = status(work);
        status.as_object_mut().unwrap().remove("last");
        status
    };
    let before = ledger(&work);
    for args in [&["--dry-run"][..], &["--limit", "1"], &["--no-ledger", "--set", "limits.rejects=90%"]] {
        work.run(&[&["job.toml"], args].concat());
        assert_eq!(ledger(&work), before, "{args:?}");
    }
    work.expect(64, &["job.toml", "--no-ledger", "--fresh"]);
}

#[test]
fn of_a_run_that_stored_nothing_nothing_is_left() {
    let work = Work::new();
    work.file("job.toml", JOB);
    work.file("in/0.tsv", BAD);
    work.expect(65, &["job.toml"]);
    // All of it was rejected, which is known: only a run that did not get so far is forgotten.
    work.file("job.toml", JOB.replace("columns = ['n int64']", "columns = ['n int64', 'm int64']\nmax_ratio = 2"));
    work.run(&["job.toml", "--fresh"]);
    let other = Work::new();
    other.file("job.toml", JOB);
    other.gzip("in/0.tsv", "1\n");
    other.file("job.toml", JOB.replace("format = 'tsv'", "format = 'tsv'\ncompression = 'gzip'"));
    other.file("in/0.tsv", "this is not a gzip");
    other.expect(74, &["job.toml"]);
    assert_eq!(status(&other)["state"], "none");
}

#[test]
fn a_signal_leaves_work_and_the_next_run_goes_on() {
    let work = Work::new();
    work.file(
        "job.toml",
        "name = 'job'\n[definitions.row.fields]\nn = { sequence = {} }\n\
         [sources.rows]\ntype = 'generate'\ndefinition = 'row'\ncount = 400000\nsplits = 400\nconcurrency = 1\n\
         [sinks.table]\ntype = 'sqlite'\ninput = 'rows'\ndatabase = 'out/t.db'\ntable = 't'\n",
    );
    let running = Running::start(&work, &["job.toml"]);
    until("something is stored", || work.path("out/t.db-wal").metadata().is_ok_and(|wal| wal.len() > 300_000));
    running.signal("INT");
    let ran = running.end();
    assert_eq!(ran.code, 75, "{}", ran.stderr);
    assert!(ran.stderr.contains("interrupted, "), "{}", ran.stderr);
    let left = status(&work)["sources"][0]["left"].as_u64().unwrap();
    assert!((1..400).contains(&left), "{left}");
    let report = work.report(75, &["job.toml", "--set", "limits.deadline=1ms"]);
    assert_eq!(report["stopped"], "deadline");
    let report = work.report(0, &["job.toml"]);
    assert_eq!(report["run"]["attempt"], 3);
    assert!(stage(&report, "rows")["rows_in"].as_u64().unwrap() <= left * 1000);
    let found = numbers(&work);
    assert_eq!((found.len(), found.first(), found.last()), (400_000, Some(&found[0]), Some(&(found[0] + 399_999))));
}

#[test]
fn standard_input_cannot_be_gone_on_with() {
    let work = Work::new();
    work.file("job.toml", JOB.replace("in/*.tsv", "-").replace("done = { rename = '.{name}' }\n", ""));
    let report = work.report(0, &["job.toml"]);
    assert!(report["run"].is_null(), "{report}");
    assert_eq!(status(&work)["state"], "none");
}
