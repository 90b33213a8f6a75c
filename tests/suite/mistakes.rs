//! Mistakes of beginners that are not in a spec alone, and the way out that they are told. Those in a spec are in
//! `tests/specs/invalid`.

use crate::work::{Work, errors};

const JOB: &str = r#"name = "copy"

[sources.s]
type = "files"
path = "in/*.csv"
format = "csv"
columns = ["id int64", "day date"]

[sinks.out]
type = "files"
input = "s"
path = "out.csv"
format = "csv"
"#;

fn copy() -> Work {
    let work = Work::new();
    work.file("copy.toml", JOB);
    work.file("in/a.csv", "id,day\n1,2024-02-29\n");
    work
}

#[test]
fn a_word_that_is_no_command_is_told_the_command() {
    let work = copy();
    for (word, meant) in
        [("validate", "check"), ("lint", "check"), ("exec", "run"), ("staus", "status"), ("plann", "plan")]
    {
        let ran = work.expect(64, &[word, "copy.toml"]);
        let said = format!("error: there is no command `{word}`, and no file of that name; did you mean `{meant}`?\n");
        assert_eq!(ran.stderr, said);
    }
    // A file may be named so.
    work.file("lint", JOB);
    assert!(work.expect(78, &["lint"]).stderr.contains("`.toml`, `.yaml` or `.yml`"));
    assert!(work.expect(66, &["nosuch.toml"]).stderr.contains("cannot read `nosuch.toml`"));
}

#[test]
fn two_specs_of_one_name_are_both_named() {
    let work = copy();
    work.file("copy2.toml", JOB);
    work.file("elsewhere/copy.toml", JOB);
    let said = "error: `copy.toml` has the name `copy` too, and its state in the same place\n --> copy2.toml:1:8\n";
    assert!(work.expect(78, &["check", "copy.toml", "copy2.toml"]).stderr.contains(said));
    assert!(work.expect(78, &["copy.toml", "copy2.toml"]).stderr.contains(said));
    assert!(work.expect(64, &["copy.toml", "copy.toml"]).stderr.contains("error: `copy.toml` is named twice\n"));
    // Each has its state beside it.
    work.expect(0, &["check", "copy.toml", "elsewhere/copy.toml"]);
}

#[test]
fn a_folder_is_not_a_file() {
    let work = copy();
    for path in ["in", "in/"] {
        let ran = work.expect(66, &["copy.toml", "--set", &format!("sources.s.path={path}")]);
        let said =
            format!("copy: no file matches `{path}`, which is a folder; read what is in it with `in/*` or `in/**/*`");
        assert_eq!(errors(&ran), [said]);
    }
}

#[test]
fn a_variable_without_a_value_is_all_that_is_said_of_a_text() {
    let work = copy();
    let columns =
        "[transforms.t]\ntype = \"select\"\ninput = \"s\"\ncolumns = { a = \"id + ${SALT}\", b = \"${SALT}\" }\n\n";
    let spec = JOB.replace("input = \"s\"", "input = \"t\"").replace("[sinks.out]", &format!("{columns}[sinks.out]"));
    work.file("salt.toml", spec);
    let told = |code: i32, args: &[&str], level: &str| {
        let said = work.expect(code, args).stderr;
        let said: Vec<&str> =
            said.lines().filter(|line| line.starts_with("error:") || line.starts_with("note:")).collect();
        let unset = format!("{level}: the environment variable `SALT` is not set");
        assert_eq!(said, [unset.as_str(), unset.as_str()]);
    };
    told(78, &["salt.toml"], "error");
    told(0, &["check", "salt.toml"], "note");
}

#[test]
fn dates_of_other_countries_are_recognized() {
    let work = copy();
    for (day, order) in
        [("29/02/2024", "DD/MM/YYYY"), ("02/29/2024", "MM/DD/YYYY"), ("04.02.2024", "DD.MM.YYYY or MM.DD.YYYY")]
    {
        work.file("in/a.csv", format!("id,day\n1,{day}\n"));
        let ran = work.expect(65, &["copy.toml", "--fresh"]);
        let said = format!(
            "`{day}` is not a valid date: dates are YYYY-MM-DD, and this looks like {order}; read it as string"
        );
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
    work.file("in/a.csv", "id,day\n1,2024/02/29\n");
    assert!(!work.expect(65, &["copy.toml", "--fresh"]).stderr.contains("looks like"));
}

#[test]
fn the_limit_that_a_record_exceeds_is_named() {
    let work = copy();
    work.file("in/a.csv", format!("id,day\n1,{}\n", "x".repeat(200)));
    let ran = work.expect(65, &["copy.toml", "--set", "limits.max_record_bytes=100"]);
    let said = "rejected by s: 1 × too_long, such as: the record is longer than 100 bytes; `limits.max_record_bytes` is the limit\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}

#[test]
fn a_preview_needs_no_sink_and_nothing_that_comes_later() {
    let work = copy();
    let (before, _) = JOB.split_once("[sinks.out]").unwrap();
    let later = "[transforms.few]\ntype = \"filter\"\ninput = \"s\"\nwhere = \"id < 10\"\n\n\
                 [transforms.bad]\ntype = \"filter\"\ninput = \"few\"\nwhere = \"nosuch < 10\"\n";
    work.file("begun.toml", before);
    work.file("later.toml", format!("{before}{later}"));
    let shown = |args: &[&str]| work.expect(0, args).stdout;
    assert!(shown(&["preview", "begun.toml"]).contains("1  2024-02-29\n\n1 row of s"));
    assert!(shown(&["preview", "later.toml", "s"]).contains("1 row of s"));
    assert!(shown(&["preview", "later.toml", "few"]).contains("1 row of few"));
    // What is previewed must be right, and all that leads to it.
    let ran = work.expect(78, &["preview", "later.toml"]);
    assert!(ran.stderr.contains("error: there is no column `nosuch`"), "{}", ran.stderr);
    assert!(work.expect(64, &["preview", "begun.toml", "nosuch"]).stderr.contains("there is no stage named `nosuch`"));
}

/// Whatever is wrong with a URL, what stands where a password stands is shown nowhere.
#[test]
fn a_password_in_a_spec_is_shown_nowhere() {
    const JOB: &str = "name = 'job'\n[sources.t]\ntype = 'postgres'\nurl = 'postgres://u:PASSWORD@h/d'\ntable = 't'\n\
                       columns = ['n int64']\n[sinks.none]\ntype = 'discard'\ninput = 't'\n";
    for password in ["canary", "ca@nary", "ca#nary", "ca%nary", "ca/nary", "ca?nary", "ca\"nary", "ca nary"] {
        let work = Work::new();
        work.file("job.toml", JOB.replace("PASSWORD", password));
        let set = format!("sources.t.url=postgres://u:{password}@h/d");
        let json = ["--format", "json"];
        let commands = [
            vec!["check", "job.toml"],
            ["check", "job.toml"].into_iter().chain(json).collect(),
            vec!["job.toml"],
            ["job.toml"].into_iter().chain(json).collect(),
            vec!["plan", "job.toml", "--set", &set],
        ];
        for args in commands {
            let ran = work.expect(78, &args);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!said.contains("nary"), "{password}, {args:?}: {said}");
            assert!(said.contains("password"), "{password}, {args:?}: {said}");
        }
    }
}
