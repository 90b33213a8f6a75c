//! Files as people use them: through pipes, in ranges, with rejects that name their line.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use serde_json::json;

use crate::work::{Work, stage};

fn piped(work: &Work, job: &str, input: &[u8]) -> Output {
    let mut command = work.command(&[job, "--quiet"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn standard_input_to_standard_output() {
    let work = Work::new();
    work.file(
        "job.toml",
        r#"
        name = "pipe"
        [limits]
        rejects = 1
        [sources.in]
        type = "files"
        path = "-"
        format = "csv"
        columns = ["id int8", "note string"]
        [sinks.out]
        type = "files"
        input = "in"
        path = "-"
        format = "ndjson"
        "#,
    );
    let ran = piped(&work, "job.toml", b"note,id\n\"a, b\",1\nx,y\n\"two\nlines\",2\n");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{err}");
    assert_eq!(out, "{\"id\":1,\"note\":\"a, b\"}\n{\"id\":2,\"note\":\"two\\nlines\"}\n");
    let ran = piped(&work, "job.toml", b"note\nx\n");
    assert_eq!(ran.status.code(), Some(74));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("`-`: its header has no column `id`"));
}

/// Twelve megabytes are three ranges: the order is the file's, and a reject far behind the first range has the
/// line of the file.
#[test]
fn a_large_file_is_read_in_ranges() {
    let work = Work::new();
    let filling = "x".repeat(970);
    let bad = 11_000;
    let lines: String = (1..=12_500)
        .map(|i| if i == bad { "{\"n\": oops}\n".to_owned() } else { format!("{{\"z\":\"{filling}\",\"n\":{i}}}\n") })
        .collect();
    work.file("big.ndjson", lines);
    work.file(
        "job.toml",
        r#"
        name = "ranges"
        [limits]
        rejects = 1
        threads = 4
        [rejects]
        path = "rejects.ndjson"
        [sources.in]
        type = "files"
        path = "big.ndjson"
        format = "ndjson"
        columns = ["n int32"]
        done = { rename = ".{name}" }
        [sinks.out]
        type = "files"
        input = "in"
        path = "out.txt"
        format = "lines"
        "#,
    );
    let report = work.report(0, &["job.toml"]);
    let expected: String = (1..=12_500).filter(|i| *i != bad).map(|i| format!("{i}\n")).collect();
    assert_eq!(work.read("out.txt"), expected);
    let rejects = work.json_lines("rejects.ndjson");
    assert_eq!(rejects.len(), 1);
    let place = json!([rejects[0]["file"], rejects[0]["line"], rejects[0]["record"]]);
    assert_eq!(place, json!(["big.ndjson", bad, "{\"n\": oops}"]));
    assert_eq!(stage(&report, "in")["rejected"], json!(1), "{}", stage(&report, "in"));
    assert!(work.path(".big.ndjson").exists() && !work.path("big.ndjson").exists());
}
