//! Tests of `jobspec::diagnose`.

use super::*;
use crate::jobspec::{Format, JobSpec, Mode};

const TEXT: &str = "name = \"memc\"

[limits]
reject = \"1%\"

[sinks.cache]
type = \"memcached\"
input = \"installs\"
queue = \"eight\"
concurrency = 5000

[sources.installs]
path = \"${DATA}/x\"
";

fn check(text: &str) -> (Document, Problems) {
    let mut problems = Problems::default();
    let mut document = Document::parse("jobs/memc.toml", text, Format::Toml, &mut problems);
    document.interpolate(Mode::Check, &|_| None, &mut problems);
    JobSpec::decode(&document.root, &mut problems);
    (document, problems)
}

#[test]
fn problems_are_shown_in_the_order_of_the_text() {
    let (document, problems) = check(TEXT);
    let expected = "\
error: unknown key `reject`
 --> jobs/memc.toml:4:1
  |
4 | reject = \"1%\"
  | ^^^^^^
  |
  = help: did you mean `rejects`?

error: expected an integer from 1 to 4096, found text
 --> jobs/memc.toml:9:9
  |
9 | queue = \"eight\"
  |         ^^^^^^^

error: a stage has from 1 to 1024 workers
  --> jobs/memc.toml:10:15
   |
10 | concurrency = 5000
   |               ^^^^

error: missing key `type`
  --> jobs/memc.toml:12:10
   |
12 | [sources.installs]
   |          ^^^^^^^^

note: the environment variable `DATA` is not set
  --> jobs/memc.toml:13:9
   |
13 | path = \"${DATA}/x\"
   |         ^^^^^^^
   |
   = help: set it, or give a default: `${DATA:-…}`

4 errors, 1 note in jobs/memc.toml
";
    assert_eq!(render(&document, &problems, false), expected);
    let colored = render(&document, &problems, true);
    assert!(colored.contains('\u{1b}') && colored.contains("did you mean"), "{colored}");
}

#[test]
fn nothing_wrong_is_nothing_to_show() {
    let (document, problems) = check("name = 'a'");
    assert_eq!(render(&document, &problems, false), "");
    assert_eq!(machine(&document, &problems), []);
}

#[test]
fn one_problem_is_counted_as_one() {
    let (document, problems) = check("name = 'a'\nsed = 1");
    assert!(render(&document, &problems, false).ends_with("\n\n1 error in jobs/memc.toml\n"));
}

#[test]
fn a_problem_with_the_whole_file_is_at_its_start() {
    let (document, problems) = check("# only a comment");
    let shown = render(&document, &problems, false);
    assert!(shown.starts_with("error: missing key `name`\n --> jobs/memc.toml:1:1\n"), "{shown}");
    let (document, problems) = check("");
    let shown = render(&document, &problems, false);
    assert!(shown.starts_with("error: missing key `name`\n --> jobs/memc.toml:1:1\n"), "{shown}");
}

#[test]
fn overrides_are_shown_as_typed_and_last() {
    let mut problems = Problems::default();
    let mut document = Document::parse("job.toml", "name = 'a'\nx = 1", Format::Toml, &mut problems);
    document.set("limits.rejects=some").unwrap();
    JobSpec::decode(&document.root, &mut problems);
    let expected = "\
error: unknown key `x`
 --> job.toml:2:1
  |
2 | x = 1
  | ^
  |
  = help: legal here: `name`, `description`, `seed`, `limits`, `rejects`, `report`, `state`, `on_lost_state`, `definitions`, `sources`, `transforms`, `sinks`

error: expected a number of records, or a share such as `1%`
 --> command line:1:22
  |
1 | --set limits.rejects=some
  |                      ^^^^

2 errors in job.toml
";
    assert_eq!(render(&document, &problems, false), expected);
}

#[test]
fn long_lines_are_cut() {
    let (document, problems) =
        check(&format!("name = 'a'\ndescription = '{}'\nseed = '{}'", "x".repeat(500), "y".repeat(2000)));
    let shown = render(&document, &problems, false);
    assert!(shown.contains("jobs/memc.toml:3:8") && shown.contains("3 | ... = 'yyy"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= WIDTH + 10), "{shown}");
}

#[test]
fn machines_get_the_same() {
    let (document, problems) = check(TEXT);
    let findings = machine(&document, &problems);
    assert_eq!(findings.len(), 5);
    let expected = Finding {
        code: "unknown-key",
        severity: "error",
        file: "jobs/memc.toml".to_owned(),
        line: 4,
        column: 1,
        end_line: 4,
        end_column: 7,
        path: "limits.reject".to_owned(),
        message: "unknown key `reject`".to_owned(),
        help: Some("did you mean `rejects`?".to_owned()),
    };
    assert_eq!(findings[0], expected);
    let json = serde_json::to_string(&findings[4]).unwrap();
    let expected = r#"{"code":"variable","severity":"note","file":"jobs/memc.toml","line":13,"column":9,"end_line":13,"end_column":16,"path":"sources.installs.path","message":"the environment variable `DATA` is not set","help":"set it, or give a default: `${DATA:-…}`"}"#;
    assert_eq!(json, expected);
}
