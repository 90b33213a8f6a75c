//! Every command but `run`: what it prints, to which stream, and its exit code. And what `run` does with
//! several specs and with `--set`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::work::{Work, oracle, project};

const BAD: &str = r#"name = "bad"
seeds = 3

[sources.rows]
type = "files"
path = "${RUNNER_TEST_UNSET}"
format = "tsv"
columns = ["word string"]

[sinks.out]
type = "files"
input = "row"
path = "out.tsv"
format = "tsv"
"#;

const BAD_TEXT: &str = r#"error: unknown key `seeds`
 --> jobs/bad.toml:2:1
  |
2 | seeds = 3
  | ^^^^^
  |
  = help: did you mean `seed`?

note: the environment variable `RUNNER_TEST_UNSET` is not set
 --> jobs/bad.toml:6:9
  |
6 | path = "${RUNNER_TEST_UNSET}"
  |         ^^^^^^^^^^^^^^^^^^^^
  |
  = help: set it, or give a default: `${RUNNER_TEST_UNSET:-…}`

error: there is no stage named `row`
  --> jobs/bad.toml:12:9
   |
12 | input = "row"
   |         ^^^^^
   |
   = help: did you mean `rows`?

2 errors, 1 note in jobs/bad.toml
"#;

const UNSET_TEXT: &str = r#": the environment variable `RUNNER_TEST_UNSET` is not set
 --> jobs/deep/unset.toml:6:9
  |
6 | path = "${RUNNER_TEST_UNSET}"
  |         ^^^^^^^^^^^^^^^^^^^^
  |
  = help: set it, or give a default: `${RUNNER_TEST_UNSET:-…}`

1 "#;

/// A folder of jobs: a good one in both spellings, one with mistakes, one that needs the environment, and files
/// that are not jobs.
fn jobs() -> Work {
    let work = Work::with_memc();
    work.file("jobs/deep/memc.yaml", fs::read_to_string(project("tests/data/memc.yaml")).unwrap());
    work.file("jobs/bad.toml", BAD);
    work.file("jobs/deep/unset.toml", unset());
    work.file("jobs/notes.txt", "no job");
    work.file("jobs/.hidden/bad.toml", "no job");
    work
}

fn unset() -> String {
    BAD.replace("seeds = 3", "").replace("\"row\"", "\"rows\"").replace("\"bad\"", "\"unset\"")
}

/// The digest of the plan of `jobs/memc.toml`.
fn digest(work: &Work) -> String {
    let plan = work.expect(0, &["plan", "jobs/memc.toml"]).stdout;
    let first = plan.lines().next().unwrap();
    first.strip_prefix("job memc, plan ").unwrap().to_owned()
}

#[test]
fn check_tells_people_all_at_once_and_goes_through_folders() {
    let work = jobs();
    let ran = work.expect(78, &["check", "jobs"]);
    let plan = digest(&work);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let unset_plan = lines[lines.len() - 2].rsplit(' ').next().unwrap();
    let expected = format!(
        "{BAD_TEXT}jobs/deep/memc.yaml: job memc is valid, plan {plan}\nnote{UNSET_TEXT}note in jobs/deep/unset.toml\n\
         jobs/deep/unset.toml: job unset is valid, plan {unset_plan}\njobs/memc.toml: job memc is valid, plan {plan}\n"
    );
    assert_eq!((ran.stdout.as_str(), ran.stderr), ("", expected));
}

#[test]
fn check_tells_machines_on_standard_output() {
    let work = jobs();
    let ran = work.expect(78, &["check", "jobs/bad.toml", "jobs/memc.toml", "--format", "json"]);
    let expected = r#"{"code":"unknown-key","severity":"error","file":"jobs/bad.toml","line":2,"column":1,"end_line":2,"end_column":6,"path":"seeds","message":"unknown key `seeds`","help":"did you mean `seed`?"}
{"code":"variable","severity":"note","file":"jobs/bad.toml","line":6,"column":9,"end_line":6,"end_column":29,"path":"sources.rows.path","message":"the environment variable `RUNNER_TEST_UNSET` is not set","help":"set it, or give a default: `${RUNNER_TEST_UNSET:-…}`"}
{"code":"unknown-input","severity":"error","file":"jobs/bad.toml","line":12,"column":9,"end_line":12,"end_column":14,"path":"sinks.out.input","message":"there is no stage named `row`","help":"did you mean `rows`?"}
"#;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));

    let ran = work.expect(78, &["check", "jobs/bad.toml", "--format", "github"]);
    let expected = "\
::error file=jobs/bad.toml,line=2,col=1,endLine=2,endColumn=6::unknown key `seeds`; did you mean `seed`?
::notice file=jobs/bad.toml,line=6,col=9,endLine=6,endColumn=29::the environment variable `RUNNER_TEST_UNSET` is not set; set it, or give a default: `${RUNNER_TEST_UNSET:-…}`
::error file=jobs/bad.toml,line=12,col=9,endLine=12,endColumn=14::there is no stage named `row`; did you mean `rows`?
";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
}

#[test]
fn a_variable_without_a_value_is_a_note_to_check_and_an_error_to_run() {
    let work = jobs();
    let ran = work.expect(0, &["check", "jobs/deep/unset.toml"]);
    assert!(ran.stderr.starts_with(&format!("note{UNSET_TEXT}note in jobs/deep/unset.toml\n")), "{}", ran.stderr);
    let ran = work.expect(78, &["jobs/deep/unset.toml"]);
    assert_eq!(ran.stderr, format!("error{UNSET_TEXT}error in jobs/deep/unset.toml\n"));
    work.file("word.tsv", "a\n");
    let work = work.env("RUNNER_TEST_UNSET", "word.tsv");
    work.expect(0, &["jobs/deep/unset.toml"]);
    assert_eq!(work.read("out.tsv"), "a\n");
}

#[test]
fn check_without_any_spec_is_a_missing_input() {
    let work = Work::new();
    work.file("empty/notes.txt", "no job");
    let ran = work.expect(66, &["check", "empty"]);
    assert_eq!(ran.stderr, "error: no job spec found: they end in `.toml`, `.yaml` or `.yml`\n");
    let ran = work.expect(66, &["check", "nosuch"]);
    assert_eq!(ran.stderr, "error: cannot read `nosuch`: No such file or directory (os error 2)\n");
}

/// Compares with a file of the project. `UPDATE_EXPECTED=1 cargo test` writes it; read the difference before you
/// keep it.
fn is_as_kept(path: &str, text: &str) {
    let path = project(path);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{} differs; UPDATE_EXPECTED=1 cargo test writes it anew\n{text}", path.display());
}

#[test]
fn the_plan_of_a_job_is_the_same_in_both_spellings() {
    let work = jobs();
    let ran = work.expect(0, &["plan", "jobs/memc.toml"]);
    assert_eq!(ran.stderr, "");
    is_as_kept("tests/data/memc.plan.txt", &ran.stdout);
    assert_eq!(work.expect(0, &["plan", "jobs/deep/memc.yaml"]).stdout, ran.stdout);
    for (format, kept) in [("mermaid", "tests/data/memc.mermaid"), ("dot", "tests/data/memc.dot")] {
        let ran = work.expect(0, &["graph", "jobs/memc.toml", "--format", format]);
        assert_eq!(ran.stderr, "");
        is_as_kept(kept, &ran.stdout);
        assert_eq!(work.expect(0, &["graph", "jobs/deep/memc.yaml", "--format", format]).stdout, ran.stdout);
    }
    let mermaid = work.expect(0, &["graph", "jobs/memc.toml"]).stdout;
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
}

#[test]
fn the_plan_lists_the_splits_there_are() {
    let work = jobs();
    for i in 0..7 {
        work.gzip(&format!("data/appsinstalled/part-{i}.tsv.gz"), "");
    }
    let size = fs::metadata(work.path("data/appsinstalled/part-0.tsv.gz")).unwrap().len();
    let line = |i: usize| format!("      data/appsinstalled/part-{i}.tsv.gz, {size} bytes\n");
    let splits: String = (0..5).map(line).collect();
    let plan = work.expect(0, &["plan", "jobs/memc.toml"]).stdout;
    assert!(plan.contains(&format!("    splits: 7\n{splits}      … and 2 more\n")), "{plan}");
}

#[test]
fn a_bad_spec_has_no_plan_and_no_drawing() {
    let work = jobs();
    for command in ["plan", "graph"] {
        let ran = work.expect(78, &[command, "jobs/bad.toml"]);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", BAD_TEXT), "{command}");
    }
}

#[test]
fn the_published_schemas_are_those_of_the_program() {
    let work = Work::new();
    for of in ["job", "report"] {
        let ran = work.expect(0, &["schema", of]);
        assert_eq!(ran.stderr, "");
        is_as_kept(&format!("schemas/{of}.schema.json"), &ran.stdout);
    }
}

/// The job files of the project. Those of kinds that the program does not have are left out.
fn project_jobs(schema: &str) -> Vec<PathBuf> {
    let known = |text: &str| {
        text.lines().filter_map(|line| line.strip_prefix("type = ")).all(|kind| {
            let kind = kind.split('#').next().unwrap().trim();
            schema.contains(&format!("\"const\": {kind}"))
        })
    };
    let mut jobs: Vec<PathBuf> = fs::read_dir(project("jobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    jobs.retain(|path| path.extension().is_some_and(|ext| ext == "toml") && known(&fs::read_to_string(path).unwrap()));
    jobs.sort();
    assert!(jobs.contains(&project("jobs/memc.toml")));
    jobs
}

#[test]
fn the_project_s_jobs_fit_the_schema_and_are_valid() {
    let work = jobs();
    let schema = work.expect(0, &["schema", "job"]).stdout;
    let jobs = project_jobs(&schema);
    work.file("job.schema.json", schema);
    let paths: Vec<&str> = jobs.iter().map(|path| path.to_str().unwrap()).collect();
    let checked = oracle(&work, "validate.py", &[&["job.schema.json"], &paths[..]].concat());
    assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""));
    let mut check = work.command(&["check"]);
    let output = check.args(&paths).current_dir(project("")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let work = jobs();
    work.file("job.schema.json", work.expect(0, &["schema", "job"]).stdout);
    let memc = work.read("jobs/memc.toml");
    for (part, bad) in [
        ("name = \"memc\"", "nome = \"memc\""),
        ("rejects = \"1%\"", "rejects = -1"),
        ("newline = \"auto\"", "newline = \"any\""),
        ("otherwise = \"reject\"", "otherwise = 1"),
        ("message = \"UserApps\"", "massage = \"UserApps\""),
        ("ack = \"batch\"", "ack = \"each\""),
        ("sample = 1000", "sample = \"many\""),
    ] {
        let spec = memc.replacen(part, bad, 1);
        assert!(spec != memc, "{part}");
        work.file("changed.toml", spec);
        work.expect(78, &["check", "changed.toml"]);
        let checked = oracle(&work, "validate.py", &["job.schema.json", "changed.toml"]);
        assert_eq!(checked.code, 1, "{bad}: {}{}", checked.stdout, checked.stderr);
    }
}

#[test]
fn bash_completes_with_the_script() {
    let work = Work::new();
    let ran = work.expect(0, &["completions", "bash"]);
    assert_eq!(ran.stderr, "");
    work.file("script", &ran.stdout);
    let try_it = "source ./script; COMP_WORDS=(runner ch) COMP_CWORD=1; _runner runner ch runner; echo ${COMPREPLY[@]}";
    let output = Command::new("bash").args(["-c", try_it]).current_dir(work.path("")).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "check\n");
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        assert!(work.expect(0, &["completions", shell]).stdout.contains("completions"), "{shell}");
    }
}

#[test]
fn help_goes_to_standard_output_and_tells_the_exit_codes() {
    let work = Work::new();
    for args in [&["--help"][..], &["help"]] {
        let ran = work.expect(0, args);
        assert_eq!(ran.stderr, "");
        let (_, codes) = ran.stdout.split_once("Exit codes:\n").unwrap();
        assert_eq!(codes.trim_end(), EXIT_CODES.trim_end());
    }
    assert!(work.expect(0, &["--version"]).stdout.starts_with("runner "));
    let nothing = work.expect(64, &[]);
    assert!(nothing.stdout.contains("Usage: runner ") || nothing.stderr.contains("Usage: runner "));
}

const EXIT_CODES: &str = "    0  done; rejects, if any, within the limit
   64  the command line is wrong
   65  more rejects than the job allows
   66  an input is missing, or is not what the interrupted run began with
   69  a service did not answer after all retries or for `limits.stall`, or `limits.memory` does not suffice
   70  a bug in runner
   73  an output cannot be created
   74  reading or writing failed
   75  try again: locked by another run, or stopped with work left
   77  permission denied
   78  the job spec is invalid, or it or a target has changed since the interrupted run
  130  aborted by a second SIGINT
  143  aborted by a second SIGTERM";

/// A job that copies `in.tsv` to a file of its own name.
fn copy(work: &Work, name: &str) {
    let spec = BAD.replace("seeds = 3", "").replace("\"row\"", "\"rows\"").replace("\"bad\"", &format!("{name:?}"));
    let spec = spec.replace("${RUNNER_TEST_UNSET}", "in.tsv").replace("out.tsv", &format!("{name}.tsv"));
    work.file(&format!("{name}.toml"), spec);
}

#[test]
fn several_specs_run_one_after_the_other_until_one_fails() {
    let work = Work::new();
    work.file("in.tsv", "a\n");
    ["one", "two", "three"].iter().for_each(|name| copy(&work, name));
    work.expect(0, &["run", "one.toml", "two.toml"]);
    assert_eq!([work.read("one.tsv"), work.read("two.tsv")], ["a\n", "a\n"]);

    fs::remove_file(work.path("one.tsv")).unwrap();
    work.file("two.toml", work.read("two.toml").replace("in.tsv", "nosuch.tsv"));
    let ran = work.expect(66, &["one.toml", "two.toml", "three.toml"]);
    assert_eq!(work.read("one.tsv"), "a\n");
    assert!(!work.path("three.tsv").exists());
    assert!(!ran.stderr.contains("three"), "{}", ran.stderr);
}

#[test]
fn set_changes_any_key_for_this_run() {
    let work = Work::new();
    work.file("in.tsv", "a\nb\tc\n");
    copy(&work, "job");
    work.expect(65, &["job.toml"]);
    work.expect(0, &["job.toml", "--set", "limits.rejects=1", "--set", "sinks.out.path='else.tsv'"]);
    assert_eq!(work.read("else.tsv"), "a\n");
}

#[test]
fn what_cannot_be_set_is_a_wrong_command_line_and_what_may_not_be_a_wrong_spec() {
    let work = jobs();
    for (set, said) in [
        ("x", "expected `path=value`, such as `limits.rejects=5`"),
        ("=1", "expected `path=value`, such as `limits.rejects=5`"),
        ("limits.rejects.x=1", "`limits.rejects` is text, not a table"),
        ("sinks.cach.ack=none", "there is no such job, stage or definition"),
    ] {
        for args in [&["jobs/memc.toml"][..], &["check", "jobs/memc.toml"], &["plan", "jobs/memc.toml"]] {
            let ran = work.expect(64, &[args, &["--set", set]].concat());
            assert_eq!((ran.stdout.as_str(), ran.stderr), ("", format!("error: --set {set}: {said}\n")), "{args:?}");
        }
    }
    let ran = work.expect(78, &["jobs/memc.toml", "--set", "limits.nosuch=1", "--set", "sinks.cache.ack=maybe"]);
    let expected = "error: unknown key `nosuch`
 --> command line:1:14
  |
1 | --set limits.nosuch=1
  |              ^^^^^^
  |
  = help: legal here: `rejects`, `deadline`, `stall`, `threads`, `memory`, `spill`, `max_record_bytes`

error: unknown value `maybe`
 --> command line:1:23
  |
1 | --set sinks.cache.ack=maybe
  |                       ^^^^^
  |
  = help: legal here: `batch`, `none`

2 errors in jobs/memc.toml
";
    assert_eq!(ran.stderr, expected);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_mistake() {
    let work = Work::new();
    let mut child = work.command(&["schema", "job"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}
