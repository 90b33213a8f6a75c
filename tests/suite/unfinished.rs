//! Runs that have stored everything and could not write their report, or whose command failed in a later job. The same
//! command has little left to do; but what was stored must still be there when it says that all is done.

use std::fs;

use crate::{
    kills::left::{Left, database, files},
    postgres::Database,
    work::{Ran, Work},
};

const SOURCE: &str =
    "[sources.rows]\ntype = 'files'\npath = 'in/*.tsv'\nformat = 'tsv'\ncolumns = ['k string', 'n int64']\n";

/// Sinks, and what the job leaves with each.
const SINKS: [(&str, &str); 6] = [
    ("a file", "type = 'files'\npath = 'out/all.csv'\nformat = 'csv'\n"),
    ("files", "type = 'files'\npath = 'out/{k}/{split}.ndjson.gz'\nformat = 'ndjson'\n"),
    ("Parquet files", "type = 'files'\npath = 'out/{split}.parquet'\nformat = 'parquet'\nconcurrency = 2\n"),
    ("documents", "type = 'kv'\nkey = 'k'\nvalue = 'cast(n as text)'\npath = 'out/store'\n"),
    (
        "documents in SQLite",
        "type = 'kv'\nkey = 'k'\nvalue = 'cast(n as text)'\npath = 'out/store'\nbackend = 'sqlite'\n",
    ),
    ("a table", "type = 'sqlite'\ndatabase = 'out/t.db'\ntable = 't'\n"),
];

/// Where the report cannot be written, the run is not finished.
const NO_REPORT: [&str; 3] = ["job.toml", "--report", "job.toml/report.json"];

fn job(sink: &str) -> Work {
    let work = Work::new();
    work.file("job.toml", format!("name = 'job'\n{SOURCE}[sinks.all]\ninput = 'rows'\n{sink}"));
    work.file("in/0.tsv", "a\t1\nb\t2\n");
    work.file("in/1.tsv", "c\t3\n");
    work
}

/// What the job has left; of a database its tables.
fn left(work: &Work) -> Left {
    let mut left = Left::new();
    match ["out/t.db", "out/store"].into_iter().find(|path| work.path(path).is_file()) {
        Some(path) => database(&mut left, work, path),
        None => files(&mut left, work, "out"),
    }
    left
}

fn attempt(work: &Work) -> u64 {
    serde_json::from_str::<serde_json::Value>(&work.read(".runner/job.report.json")).unwrap()["run"]["attempt"]
        .as_u64()
        .unwrap()
}

#[test]
fn what_is_still_there_is_not_stored_again() {
    for (name, sink) in SINKS {
        let work = job(sink);
        work.expect(73, &NO_REPORT);
        let time = || {
            let (first, _) = left(&work).pop_first().unwrap();
            fs::metadata(work.path(&first)).unwrap().modified().unwrap()
        };
        let stored = name.contains("file").then(time);
        let ran = work.expect(0, &["job.toml"]);
        assert!(!ran.stderr.contains("again"), "{name}: {}", ran.stderr);
        assert_eq!((attempt(&work), work.list(".runner").contains(&"job.run".to_owned())), (2, false), "{name}");
        assert_eq!(name.contains("file").then(time), stored, "{name}");
        let whole = job(sink);
        whole.expect(0, &["job.toml"]);
        assert_eq!(left(&work), left(&whole), "{name}");
    }
}

#[test]
fn what_was_removed_or_replaced_is_stored_again_or_missed() {
    for (name, sink) in SINKS {
        let whole = job(sink);
        whole.expect(0, &["job.toml"]);
        let expected = left(&whole);
        let (first, _) = expected.first_key_value().unwrap();
        type Change<'a> = (&'a str, &'a dyn Fn(&Work));
        let changes: [Change<'_>; 3] = [
            ("removed", &|work| fs::remove_dir_all(work.path("out")).unwrap()),
            ("one file removed", &|work| fs::remove_file(work.path(first)).unwrap()),
            ("put back from before", &|work| {
                let _ = fs::remove_dir_all(work.path("out"));
                let mut copy = std::process::Command::new("cp");
                copy.arg("-r").args([work.path("before"), work.path("out")]);
                assert!(copy.status().unwrap().success());
            }),
        ];
        for (what, change) in changes {
            if what.starts_with("one") && !name.contains("file") {
                // A document more or less may be somebody else's doing.
                continue;
            }
            let work = job(sink);
            work.file("in/0.tsv", "a\t7\n");
            work.expect(0, &["job.toml"]);
            fs::rename(work.path("out"), work.path("before")).unwrap();
            work.file("in/0.tsv", "a\t1\nb\t2\n");
            work.expect(73, &NO_REPORT);
            change(&work);
            let Ran { code, stderr, .. } = work.run(&["job.toml"]);
            let again = match name {
                "a table" => {
                    assert_eq!(code, 78, "{name} {what}: {stderr}");
                    assert!(stderr.contains("out/t.db") && stderr.contains("put it back to resume"), "{stderr}");
                    let _ = fs::remove_dir_all(work.path("out"));
                    work.expect(0, &["job.toml", "--fresh"])
                }
                _ => {
                    assert_eq!(code, 0, "{name} {what}: {stderr}");
                    assert!(stderr.contains("it is sent again"), "{name} {what}: {stderr}");
                    work.expect(0, &["job.toml"])
                }
            };
            assert_eq!(again.code, 0);
            assert_eq!(left(&work), expected, "{name} {what}");
        }
    }
}

/// Where nobody knows what was published, it is published again.
#[test]
fn files_of_which_the_notes_are_gone_are_written_again() {
    let work = job(SINKS[0].1);
    work.expect(73, &NO_REPORT);
    fs::remove_dir_all(work.path(".runner/job.run")).unwrap();
    let ran = work.expect(0, &["job.toml"]);
    assert!(
        ran.stderr.contains(".published`, which says what run ") && ran.stderr.contains("is gone; it is sent again")
    );
    assert_eq!(work.read("out/all.csv"), "k,n\na,1\nb,2\nc,3\n");
}

/// A changed job is another one: what the last run keeps in its target is in nobody's way, and goes.
#[test]
fn a_changed_job_begins_anew_and_clears_what_the_last_run_kept() {
    for (name, sink) in SINKS {
        let work = job(sink);
        work.expect(73, &NO_REPORT);
        work.file("job.toml", work.read("job.toml").replace("'n int64'", "'n int32'"));
        let ran = work.expect(0, &["job.toml"]);
        assert!(ran.stderr.contains(" had stored all of its input when it was interrupted: a new run follows it"));
        assert_eq!(attempt(&work), 1, "{name}");
        let kept = left(&work).into_keys().find(|name| name.contains("_runner_") || name.contains(".writing"));
        assert_eq!(kept, None, "{name}");
    }
}

/// What one target does not let go of stays there, and nowhere else.
#[test]
fn each_target_forgets_the_run_whatever_another_does() {
    let table = |name: &str| {
        format!("[sinks.{name}]\ninput = 'rows'\ntype = 'sqlite'\ndatabase = 'out/{name}.db'\ntable = 't'\n")
    };
    let work = job("type = 'sqlite'\ndatabase = 'out/all.db'\ntable = 't'\n");
    work.file("job.toml", work.read("job.toml") + &table("more"));
    work.expect(73, &NO_REPORT);
    let open = |name: &str| rusqlite::Connection::open(work.path("out").join(name)).unwrap();
    open("all.db")
        .execute_batch("create trigger keep before delete on _runner_receipts begin select raise(abort, 'kept'); end")
        .unwrap();
    let ran = work.expect(0, &["job.toml"]);
    assert!(ran.stderr.contains("goes when the next one begins: ") && ran.stderr.contains("kept"), "{}", ran.stderr);
    let kept = |name: &str| open(name).table_exists(None, "_runner_receipts").unwrap();
    assert_eq!((kept("all.db"), kept("more.db")), (true, false));
}

#[test]
fn what_a_stream_was_given_is_given_again() {
    let work = job("type = 'files'\npath = '-'\nformat = 'csv'\n");
    assert_eq!(work.expect(73, &NO_REPORT).stdout, "k,n\na,1\nb,2\nc,3\n");
    let ran = work.expect(0, &["job.toml"]);
    assert_eq!(ran.stdout, "k,n\na,1\nb,2\nc,3\n", "{}", ran.stderr);
    // What is done with its input cannot be.
    let work = job("type = 'files'\npath = '-'\nformat = 'csv'\n");
    work.file("job.toml", work.read("job.toml").replace("format = 'tsv'", "format = 'tsv'\ndone = 'delete'"));
    work.expect(73, &NO_REPORT);
    let ran = work.expect(78, &["job.toml"]);
    assert!(ran.stderr.contains("what `-` was given is not kept there, and input that it came from"), "{}", ran.stderr);
}

/// The jobs of a command are finished together: one that was done is asked again when a later one has failed.
#[test]
fn an_earlier_job_of_the_command_is_asked_again() {
    let work = job("type = 'files'\npath = 'out/all.csv'\nformat = 'csv'\n");
    work.file(
        "next.toml",
        work.read("job.toml").replace("'job'", "'next'").replace("in/*.tsv", "more/*.tsv").replace("all", "more"),
    );
    let both = ["job.toml", "next.toml"];
    work.expect(66, &both);
    fs::remove_file(work.path("out/all.csv")).unwrap();
    work.file("more/0.tsv", "d\t4\n");
    let ran = work.expect(0, &both);
    assert!(ran.stderr.contains("out/all.csv`, which run ") && ran.stderr.contains("is gone; it is sent again"));
    assert_eq!(
        (work.read("out/all.csv"), work.read("out/more.csv")),
        ("k,n\na,1\nb,2\nc,3\n".into(), "k,n\nd,4\n".into())
    );
}

#[test]
fn rows_of_a_database_that_was_put_back_are_missed() {
    let server = Database::new();
    let work = &server.work;
    let sink = "type = 'postgres'\nurl = { env = 'DATABASE_URL' }\ntable = 't'\n";
    work.file("job.toml", format!("name = 'job'\n{SOURCE}[sinks.all]\ninput = 'rows'\n{sink}"));
    work.file("in/0.tsv", "a\t1\nb\t2\n");
    for (change, code) in [("select 1", 0), ("drop table t, _runner_receipts", 78)] {
        server.ask("drop table if exists t; drop table if exists _runner_receipts");
        assert_eq!(work.run(&["job.toml", "--fresh", "--report", "job.toml/report.json"]).code, 73);
        server.ask(change);
        let ran = work.run(&["job.toml"]);
        assert_eq!(ran.code, code, "{change}: {}", ran.stderr);
    }
    work.expect(0, &["job.toml", "--fresh"]);
    assert_eq!(server.ask("select k, n from t order by k"), "a|1\nb|2");
    assert_eq!(server.ask("select to_regclass('_runner_receipts') is null"), "t");
}
