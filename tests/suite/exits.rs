//! Every exit code, made to happen. Two are not made here. 70, a bug: nothing outside can make one, so the
//! executor's own tests panic in every role, and `Outcome` is tested to let it decide. And what a code means is
//! not repeated here: the names of the tests say it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    apps::{App, apps, text},
    running::Running,
    servers::{Hold, Servers, nobody},
    work::{Work, errors, gzip, is_root},
};

const COPY: &str = r#"
name = "copy"

[sources.rows]
type = "files"
path = "in/*.tsv"
format = "tsv"
columns = ["word string", "number int64"]

[sinks.copy]
type = "files"
input = "rows"
path = "out/copy.tsv"
format = "tsv"
"#;

/// A folder with a job that copies two files, without services.
fn copy() -> Work {
    let work = Work::new();
    work.file("copy.toml", COPY);
    work.file("in/a.tsv", "one\t1\ntwo\t2\n");
    work.file("in/b.tsv", "three\t3\n");
    work
}

#[test]
fn exit_0_done() {
    let work = copy();
    work.expect(0, &["copy.toml"]);
    assert_eq!(work.read("out/copy.tsv"), "one\t1\ntwo\t2\nthree\t3\n");
    assert_eq!(work.list("out"), ["copy.tsv"]);
    assert_eq!(work.list(".runner"), ["copy.ledger", "copy.lock", "copy.report.json"]);
}

#[test]
fn exit_64_the_command_line_is_wrong() {
    let work = copy();
    for (args, said) in [
        (&["copy.toml", "--nosuch"][..], "error: unexpected argument '--nosuch' found"),
        (&["copy.toml", "--limit", "many"], "error: invalid value 'many' for '--limit <ROWS>'"),
        (&["copy.toml", "--format", "xml"], "error: invalid value 'xml' for '--format <FORMAT>'"),
        (&["check"], "error: the following required arguments were not provided:"),
        (&["run"], "error: name a job spec: runner run SPEC…"),
        (&["copy.toml", "--set", "limits.rejects"], "error: --set limits.rejects: "),
    ] {
        let ran = work.expect(64, args);
        assert!(ran.stderr.starts_with(said), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    assert_eq!(work.list(""), ["copy.toml", "in"], "nothing was begun");
}

#[test]
fn exit_65_more_rejects_than_allowed() {
    let work = copy();
    work.file("in/b.tsv", "three\tthree\n");
    let ran = work.expect(65, &["copy.toml"]);
    assert!(ran.stderr.contains("copy: stopped, too many rejects, "), "{}", ran.stderr);
    let why = "1 record was rejected; this job allows none (limits.rejects = 0)\n";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    assert_eq!(work.list("out"), [""; 0], "output is whole or absent");
    work.expect(0, &["copy.toml", "--set", "limits.rejects=1"]);
    assert_eq!(work.read("out/copy.tsv"), "one\t1\ntwo\t2\n");
}

#[test]
fn exit_66_an_input_is_missing() {
    let work = copy();
    let ran = work.expect(66, &["nosuch.toml"]);
    assert_eq!(ran.stderr, "error: cannot read `nosuch.toml`: No such file or directory (os error 2)\n");
    fs::remove_dir_all(work.path("in")).unwrap();
    let ran = work.expect(66, &["copy.toml"]);
    assert_eq!(errors(&ran), ["copy: no file matches `in/*.tsv`"]);
    assert_eq!(ran.stderr.lines().count(), 1);
    assert!(!work.path("out/copy.tsv").exists());
}

#[test]
fn exit_69_a_service_is_unavailable() {
    let all = apps("x", 40);
    let (work, servers) = (Work::with_memc(), Servers::start());
    let work = servers.in_env(work).env("MEMC_DVID", &nobody());
    work.gzip("data/appsinstalled/part.tsv.gz", text(&all, "\n"));
    let ran = work.expect(69, &["jobs/memc.toml", "--set", "sinks.cache.retry.attempts=2"]);
    assert!(ran.stderr.contains("memc: failed with exit code 69, 1 of 1 splits left: "), "{}", ran.stderr);
    assert!(errors(&ran)[0].starts_with("memc: memcached server `dvid` ("), "{}", ran.stderr);
    assert_eq!(servers.items(), [10, 10, 10, 0]);
}

#[test]
fn exit_69_nothing_moves() {
    let work = copy();
    // Nobody ever writes to it: opening it never ends.
    assert!(Command::new("mkfifo").arg(work.path("in/c.tsv")).status().unwrap().success());
    let args = ["copy.toml", "--set", "limits.stall=300ms", "--set", "sources.rows.concurrency=1"];
    let ran = work.expect(69, &args);
    let said = "copy: nothing has moved for 300ms: `rows` has 1 worker inside a call of `rows`; `copy` has 1 worker \
                waiting for input, 0 of 4 batches in its queue";
    assert_eq!(errors(&ran), [said]);
    assert!(!work.path("out/copy.tsv").exists());
}

#[test]
fn who_waits_for_standard_input_does_not_hang() {
    let work = copy();
    let sets = ["limits.stall=200ms", "sources.rows.path=-"];
    let args: Vec<&str> = ["copy.toml"].into_iter().chain(sets.iter().flat_map(|set| ["--set", *set])).collect();
    let mut child = work.command(&args).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(800));
    assert_eq!(child.try_wait().unwrap(), None, "it waits on");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"four\t4\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(work.read("out/copy.tsv"), "four\t4\n");
}

#[test]
fn exit_73_an_output_cannot_be_created() {
    // Below a regular file nobody can create anything, root neither.
    for set in ["state.path='in/a.tsv/state'", "rejects.path='in/a.tsv/rejects'", "sinks.copy.path='in/a.tsv/out'"] {
        let work = copy();
        let ran = work.expect(73, &["copy.toml", "--set", set]);
        assert!(ran.stderr.contains("cannot create `in/a.tsv"), "{set}: {}", ran.stderr);
        assert!(!work.path("out/copy.tsv").exists(), "{set}: {}", ran.stderr);
    }
    let work = copy();
    let ran = work.expect(73, &["copy.toml", "--report", "in/a.tsv/report"]);
    assert!(errors(&ran)[0].starts_with("copy: cannot create `in/a.tsv/report`: "), "{}", ran.stderr);
    assert_eq!(work.read("out/copy.tsv"), "one\t1\ntwo\t2\nthree\t3\n", "the job itself was done");
}

#[test]
fn exit_74_reading_fails() {
    let work = copy();
    let whole = gzip(b"four\t4\n");
    work.file("in/c.tsv.gz", &whole[..whole.len() - 4]);
    let ran = work.expect(74, &["copy.toml", "--set", "sources.rows.path=['in/*.tsv', 'in/*.tsv.gz']"]);
    assert!(errors(&ran)[0].starts_with("copy: `in/c.tsv.gz` is truncated after "), "{}", ran.stderr);
    assert_eq!(work.list("out"), [""; 0], "whole or absent, and no temporary left");
}

#[test]
fn exit_74_writing_fails() {
    let work = copy();
    work.file("in/b.tsv", "three\tthree\n");
    let args = ["copy.toml", "--set", "rejects.path=/dev/full", "--set", "limits.rejects=1"];
    let ran = work.expect(74, &args);
    assert!(errors(&ran)[0].starts_with("copy: cannot write `/dev/full`: No space left on device"), "{}", ran.stderr);
}

/// A device is not a file to be made durable: what is thrown away is well written.
#[test]
fn rejects_may_be_thrown_away() {
    let work = copy();
    work.file("in/b.tsv", "three\tthree\n");
    work.expect(0, &["copy.toml", "--set", "rejects.path=/dev/null", "--set", "limits.rejects=1"]);
}

/// A run of the memc job that stands still: its first file is done, of its second the server for `idfa` has got
/// something and does not answer, and there is a third.
struct Stuck {
    work: Work,
    servers: Servers,
    hold: Hold,
    running: Running,
    all: Vec<App>,
}

const MEMC: &str = "jobs/memc.toml";

fn stuck(more: &[&str]) -> Stuck {
    let all = apps("q", 5_000);
    let idfa = |app: &&App| app.device == "idfa";
    let one: Vec<App> = all.iter().filter(|app| !idfa(app)).take(50).cloned().collect();
    let rest: Vec<App> = all.iter().filter(idfa).cloned().collect();
    let (two, three) = rest.split_at(1_000);
    let servers = Servers::start();
    let hold = Hold::before(&servers.0[0]);
    let work = servers.in_env(Work::with_memc()).env("MEMC_IDFA", &hold.address);
    for (name, apps) in [("a", &one[..]), ("b", two), ("c", three)] {
        work.gzip(&format!("data/appsinstalled/{name}.tsv.gz"), text(apps, "\n"));
    }
    let all = [&one[..], two, three].concat();
    let small = ["sources.installs.batch.rows=20", "sources.installs.concurrency=1", "sinks.cache.concurrency=1"];
    let more_sets = ["sinks.cache.queue=1", "sinks.cache.retry.timeout=60s"];
    let sets = small.iter().chain(&more_sets);
    let args: Vec<&str> =
        [MEMC].into_iter().chain(sets.flat_map(|set| ["--set", *set])).chain(more.iter().copied()).collect();
    let running = Running::start(&work, &args);
    hold.wait();
    crate::work::until("the first file is stored", || {
        let status = work.expect(0, &["status", MEMC, "--format", "json"]).stdout;
        serde_json::from_str::<Value>(&status).unwrap()["sources"][0]["stored"] == 1
    });
    Stuck { work, servers, hold, running, all }
}

impl Stuck {
    /// Lets the run go on, and checks that it stopped with two files left, which a rerun loads.
    fn stops(self, word: &str, verdict: &str) {
        let Stuck { work, servers, hold, running, all } = self;
        hold.release();
        let ran = running.end();
        assert_eq!(ran.code, 75, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("memc: {verdict}, 2 of 3 splits left: ")), "{}", ran.stderr);
        assert!(ran.stderr.contains("  data/appsinstalled/b.tsv.gz: read in part\n"), "{}", ran.stderr);
        assert_eq!(work.list("data/appsinstalled"), [".a.tsv.gz", "b.tsv.gz", "c.tsv.gz"]);
        let report: Value = serde_json::from_str(&work.read("jobs/.runner/memc.report.json")).unwrap();
        assert_eq!((report["stopped"].as_str(), report["exit_code"].as_u64()), (Some(word), Some(75)));
        let states: Vec<&Value> =
            report["splits"]["list"].as_array().unwrap().iter().map(|split| &split["state"]).collect();
        assert_eq!(states, ["stopped", "waiting", "done"]);
        assert!(servers.0[0].items() < 1_000, "it stopped on the way");

        work.expect(0, &[MEMC]);
        assert_eq!(work.list("data/appsinstalled"), [".a.tsv.gz", ".b.tsv.gz", ".c.tsv.gz"]);
        assert_eq!(servers.items().iter().sum::<usize>(), all.len());
        assert!(all.iter().step_by(50).all(|app| servers.of(app.device).get(&app.key()) == Some(app.value())));
    }

    /// Signals twice and checks that the run ends at once, the server silent as before.
    fn aborts(self, signal: &str, said: &str, code: i32) {
        let Stuck { work, hold, running, all, servers } = self;
        running.signal(signal);
        running.wait_for(said);
        running.signal(signal);
        let ran = running.end();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains("memc: aborted, 3 of 3 splits left: "), "{}", ran.stderr);
        // memcached may lose what it holds until the run has ended.
        assert_eq!(work.list("data/appsinstalled"), ["a.tsv.gz", "b.tsv.gz", "c.tsv.gz"]);
        hold.release();
        work.expect(0, &[MEMC]);
        assert_eq!(servers.items().iter().sum::<usize>(), all.len());
    }
}

#[test]
fn exit_75_interrupted_with_work_left() {
    let stuck = stuck(&[]);
    stuck.running.signal("INT");
    stuck.running.wait_for("memc: interrupted, finishing what is under way; once more to abort\n");
    stuck.stops("interrupt", "interrupted");
}

#[test]
fn exit_75_told_to_stop_with_work_left() {
    let stuck = stuck(&[]);
    stuck.running.signal("TERM");
    stuck.running.wait_for("memc: told to stop, finishing what is under way; once more to abort\n");
    stuck.stops("terminate", "interrupted");
}

#[test]
fn exit_75_out_of_time() {
    let stuck = stuck(&["--set", "limits.deadline=4s"]);
    stuck.running.wait_for("memc: out of time, finishing what is under way\n");
    stuck.stops("deadline", "stopped at its deadline");
}

#[test]
fn exit_75_locked_by_another_run() {
    let Stuck { work, hold, running, servers: _servers, .. } = stuck(&[]);
    let ran = work.expect(75, &[MEMC]);
    let said = format!("error: job `memc` is being run by process {} on ", running.id());
    assert!(ran.stderr.starts_with(&said), "{}", ran.stderr);
    assert_eq!(work.list("data/appsinstalled"), ["a.tsv.gz", "b.tsv.gz", "c.tsv.gz"]);
    work.expect(0, &[MEMC, "--dry-run"]);
    hold.release();
    assert_eq!(running.end().code, 0);
    work.expect(66, &[MEMC]);
}

#[test]
fn exit_77_permission_denied() {
    let work = copy();
    let runner = work.path("runner");
    // Root is stopped by no permission bits, and another user may not reach the project's folder.
    fs::hard_link(env!("CARGO_BIN_EXE_runner"), &runner)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_runner"), &runner).map(drop))
        .unwrap();
    fs::set_permissions(work.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(&runner);
        command.args(args).current_dir(work.path("")).env("NO_COLOR", "1").stdin(Stdio::null());
        if is_root() {
            command.uid(65_534).gid(65_534);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let deny = |path: &str| fs::set_permissions(work.path(path), fs::Permissions::from_mode(0o000)).unwrap();

    deny("in/b.tsv");
    let (code, said) = run(&["copy.toml"]);
    assert_eq!(code, 77, "{said}");
    assert!(said.contains("Z error: copy: cannot read `in/b.tsv`: Permission denied (os error 13)\n"), "{said}");
    assert_eq!(work.list("out"), [""; 0]);

    deny("copy.toml");
    let (code, said) = run(&["copy.toml"]);
    assert_eq!((code, said.as_str()), (77, "error: cannot read `copy.toml`: Permission denied (os error 13)\n"));
}

#[test]
fn exit_78_the_spec_is_invalid() {
    let work = copy();
    work.file("copy.toml", COPY.replace("input = \"rows\"", "input = \"${RUNNER_TEST_UNSET}\""));
    let ran = work.expect(78, &["copy.toml"]);
    assert!(ran.stderr.contains("RUNNER_TEST_UNSET"), "{}", ran.stderr);
    assert_eq!(work.list(""), ["copy.toml", "in"], "nothing was begun");
}

#[test]
fn exit_130_aborted_by_a_second_interrupt() {
    stuck(&[]).aborts("INT", "memc: interrupted, finishing what is under way", 130);
}

#[test]
fn exit_143_aborted_by_a_second_terminate() {
    stuck(&[]).aborts("TERM", "memc: told to stop, finishing what is under way", 143);
}
