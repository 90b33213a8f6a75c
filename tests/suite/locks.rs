//! Two runs of one job at once: the second is turned away or waits, and nobody waits for the dead.

use std::{
    io::Write,
    process::{Child, Stdio},
    thread,
};

use crate::{
    running::Running,
    work::{Work, until},
};

const JOB: &str = r#"
name = "slow"

[sources.words]
type = "files"
path = "-"
format = "lines"

[sinks.out]
type = "files"
input = "words"
path = "out.txt"
format = "lines"
"#;

/// A run that goes on until its standard input ends.
struct Owner(Child);

impl Owner {
    fn start(work: &Work) -> Owner {
        let mut command = work.command(&["slow.toml", "--quiet"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let named = format!("{{\"pid\":{},", child.id());
        let lock = work.path(".runner/slow.lock");
        until("the run has its lock", || std::fs::read_to_string(&lock).is_ok_and(|text| text.starts_with(&named)));
        Owner(child)
    }

    fn ends_well(mut self, text: &str) {
        self.0.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn work() -> Work {
    let work = Work::new();
    work.file("slow.toml", JOB);
    work
}

#[test]
fn the_second_is_turned_away_at_once_and_told_by_whom() {
    let work = work();
    let owner = Owner::start(&work);
    let ran = work.expect(75, &["slow.toml"]);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let said = format!("error: job `slow` is being run by process {} on {} since 20", owner.0.id(), host.trim());
    assert!(ran.stderr.starts_with(&said), "{}", ran.stderr);
    let ran = work.expect(75, &["slow.toml", "--wait", "200ms"]);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].ends_with("; waiting for its end") && lines[1].starts_with(&said), "{}", ran.stderr);
    // Another job in the same state directory is not kept away, nor is this one in another.
    work.expect(0, &["slow.toml", "--set", "name=other", "--set", "sinks.out.path=other.txt"]);
    work.expect(0, &["slow.toml", "--set", "state.path=elsewhere", "--set", "sinks.out.path=other.txt"]);
    owner.ends_well("one\n");
    assert_eq!(work.read("out.txt"), "one\n");
}

#[test]
fn who_waits_runs_after_the_owner() {
    let work = work();
    let owner = Owner::start(&work);
    let waiting = Running::start(&work, &["run", "slow.toml", "--wait", "5m", "--set", "sinks.out.path=second.txt"]);
    waiting.wait_for(&format!("job `slow` is being run by process {} on ", owner.0.id()));
    assert!(!work.path("second.txt").exists());
    owner.ends_well("one\n");
    let ran = waiting.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(work.path("second.txt").exists() && work.read("out.txt") == "one\n");
}

#[test]
fn a_signal_ends_the_waiting() {
    let work = work();
    let owner = Owner::start(&work);
    let waiting = Running::start(&work, &["slow.toml", "--wait", "5m"]);
    waiting.wait_for("; waiting for its end\n");
    waiting.signal("TERM");
    let ran = waiting.end();
    assert_eq!(ran.code, 75, "{}", ran.stderr);
    owner.ends_well("one\n");
}

#[test]
fn the_lock_of_a_killed_run_is_free() {
    let work = work();
    for _ in 0..3 {
        let mut owner = Owner::start(&work);
        let waiting = Running::start(&work, &["slow.toml", "--wait", "5m"]);
        waiting.wait_for("; waiting for its end\n");
        owner.0.kill().unwrap();
        owner.0.wait().unwrap();
        let ran = waiting.end();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        // What the dead has written into it misleads nobody.
        work.file(".runner/slow.lock", "{\"pid\":1,\"host\":\"gone\",\"since\":\"2001-01-01T00:00:00Z\"}");
        work.expect(0, &["slow.toml"]);
    }
}

#[test]
fn of_many_at_once_one_runs_at_a_time() {
    let work = work();
    let job = JOB.replace(r#""-""#, r#""in.txt""#).replace(
        r#"type = "files"
input = "words"
path = "out.txt"
format = "lines""#,
        r#"type = "sqlite"
input = "words"
database = "out.db"
table = "words"
create = "if_missing"
columns = ["line"]"#,
    );
    work.file("slow.toml", job);
    work.file("in.txt", "a\nb\nc\n");
    let codes = |args: &[&str]| -> Vec<i32> {
        thread::scope(|scope| {
            let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| work.run(args).code)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        })
    };
    assert_eq!(codes(&["slow.toml", "--wait", "60s"]), [0; 6], "all had their turn");
    let turned_away = codes(&["slow.toml"]);
    assert!(turned_away.contains(&0) && turned_away.iter().all(|code| [0, 75].contains(code)), "{turned_away:?}");
}

#[test]
fn a_time_to_wait_must_be_one() {
    let work = work();
    let ran = work.expect(64, &["slow.toml", "--wait", "soon"]);
    assert!(ran.stderr.contains("invalid value 'soon' for '--wait <TIME>': expected a duration"), "{}", ran.stderr);
    work.expect(64, &["slow.toml", "--wait", "5m", "--dry-run"]);
}

/// A release switch: one job spec reached by two paths, with a state folder each, and one output.
#[test]
fn two_paths_to_one_job_do_not_write_one_output() {
    let work = Work::new();
    let spec = JOB.replace("path = \"out.txt\"", &format!("path = \"{}\"", work.path("shared/out.txt").display()));
    for release in ["releases/1", "releases/2"] {
        work.file(&format!("{release}/slow.toml"), &spec);
    }
    let link = work.path("current");
    std::os::unix::fs::symlink("releases/1", &link).unwrap();
    let mut command = work.command(&["current/slow.toml", "--quiet"]);
    let mut first = Owner(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    until("the output is locked", || work.path("shared").exists() && !work.list("shared").is_empty());
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("releases/2", &link).unwrap();
    let second = work.expect(75, &["current/slow.toml"]);
    let by = format!("is being written by process {}", first.0.id());
    assert!(second.stderr.contains(&by), "{}", second.stderr);
    first.0.stdin.take().unwrap().write_all(b"a\n").unwrap();
    assert!(first.0.wait().unwrap().success());
    assert_eq!((work.read("shared/out.txt"), work.list("shared")), ("a\n".to_owned(), vec!["out.txt".to_owned()]));
}

#[test]
fn two_specs_of_one_name_in_one_folder_are_refused() {
    let work = Work::new();
    work.file("jobs/a.toml", JOB);
    work.file("jobs/b.toml", JOB.replace("out.txt", "other.txt"));
    let said = work.expect(78, &["check", "jobs"]).stderr;
    assert!(said.contains("jobs/a.toml") && said.contains("slow"), "{said}");
    work.file("jobs/b.toml", JOB.replace("name = \"slow\"", "name = \"slow\"\nstate.path = \"elsewhere\""));
    work.expect(0, &["check", "jobs"]);
}
