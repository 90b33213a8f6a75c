//! Where files are: odd names, pipes, devices, links, who may read them; a job's own output among its input; and that
//! finding all that out ends at a signal.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions, Permissions},
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink},
    },
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::work::{Work, is_root, until};

/// A job that copies CSV: from `input` to `output`, with `more` keys of the source.
fn copies(input: &str, output: &str, more: &str) -> String {
    format!(
        r#"
        name = "copy"
        [sources.in]
        type = "files"
        path = "{input}"
        format = "csv"
        {more}
        [sinks.out]
        type = "files"
        input = "in"
        path = "{output}"
        format = "csv"
        "#
    )
}

const DECLARED: &str = "columns = [\"id int64\"]";

fn pipe(work: &Work, name: &str) {
    assert!(Command::new("mkfifo").arg(work.path(name)).status().unwrap().success());
}

#[test]
fn every_listed_file_is_read_whatever_its_name() {
    let work = Work::new();
    for (name, id) in [(&b"in/a.csv"[..], 1), (b"in/\xFF\xFE.csv", 2), (b"in/na\xEFve name.csv", 3), (b"in/z\n.csv", 4)]
    {
        let path = work.path("").join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("id\n{id}\n{}\n", if id == 3 { "x" } else { "7" })).unwrap();
    }
    let limits = "[limits]\nrejects = 1\n[rejects]\npath = \"rej.ndjson\"";
    work.file(
        "job.toml",
        copies("in/*.csv", "-", &format!("{DECLARED}\ndone = {{ rename = \"{{name}}.done\" }}\n{limits}")),
    );
    let plan = work.expect(0, &["plan", "job.toml"]).stdout;
    assert!(plan.contains("splits: 4") && plan.contains("in/na\\xEFve name.csv"), "{plan}");
    let ran = work.expect(0, &["job.toml", "-q"]);
    assert_eq!(ran.stdout, "id\n1\n7\n3\n4\n7\n2\n7\n");
    assert_eq!(work.json_lines("rej.ndjson")[0]["file"], "in/na\\xEFve name.csv");
    let ended = fs::read_dir(work.path("in")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(ended.into_iter().all(|name| name.as_bytes().ends_with(b".csv.done")));
}

#[test]
fn a_pipe_is_read_and_written() {
    let work = Work::new();
    pipe(&work, "from");
    pipe(&work, "to");
    work.file("job.toml", copies("from", "to", DECLARED));
    let (from, to) = (work.path("from"), work.path("to"));
    let writer = thread::spawn(move || fs::write(from, "id\n1\n2\n"));
    let reader = thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(to).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    work.expect(0, &["job.toml", "-q"]);
    writer.join().unwrap().unwrap();
    assert_eq!(reader.join().unwrap(), "id\n1\n2\n");
    assert!(["from", "to"].iter().all(|name| fs::metadata(work.path(name)).unwrap().file_type().is_fifo()));
    // What is read from it while a plan is made would be missing from the run.
    work.file("job.toml", copies("from", "to", ""));
    let ran = work.expect(78, &["check", "job.toml"]);
    assert!(ran.stderr.contains("`from` can be read only once; declare them"), "{}", ran.stderr);
    work.file("job.toml", copies("from", "out.csv", &format!("{DECLARED}\ndone = \"delete\"")));
    let ran = work.expect(78, &["job.toml", "-q"]);
    assert!(ran.stderr.contains("`from` is a pipe or a device, and `done` is for regular files"), "{}", ran.stderr);
}

#[test]
fn a_device_stays_one() {
    let work = Work::new();
    work.file("in.csv", "id\n1\n");
    // Only root may make one; what others have is a way to the real one, which they cannot replace.
    match is_root() {
        true => assert!(Command::new("mknod").arg(work.path("null")).args(["c", "1", "3"]).status().unwrap().success()),
        false => symlink("/dev/null", work.path("null")).unwrap(),
    }
    work.file("job.toml", copies("in.csv", "null", DECLARED));
    work.expect(0, &["job.toml", "-q", "--report", "null"]);
    assert!(fs::metadata(work.path("null")).unwrap().file_type().is_char_device());
    assert!(work.list("").iter().all(|name| [".runner", "in.csv", "job.toml", "null"].contains(&name.as_str())));
}

#[test]
fn what_standard_output_is_sent_to_is_added_to() {
    let work = Work::new();
    work.file("in.csv", "id\n1\n");
    work.file("all.txt", "before\n");
    work.file("job.toml", copies("in.csv", "/dev/stdout", DECLARED));
    let all = OpenOptions::new().append(true).open(work.path("all.txt")).unwrap();
    let ended = work.command(&["job.toml", "-q"]).stdin(Stdio::null()).stdout(all).status().unwrap();
    assert_eq!((ended.code(), work.read("all.txt").as_str()), (Some(0), "before\nid\n1\n"));
}

#[test]
fn a_file_that_is_replaced_keeps_links_and_who_may_read_it() {
    let work = Work::new();
    work.file("in.csv", "id\n1\n");
    work.file("real/out.csv", "old");
    work.file("real/report.json", "old");
    for name in ["out.csv", "report.json"] {
        fs::set_permissions(work.path(&format!("real/{name}")), Permissions::from_mode(0o600)).unwrap();
        symlink(format!("real/{name}"), work.path(name)).unwrap();
    }
    if is_root() {
        chown(work.path("real/out.csv"), Some(12_345), Some(23_456)).unwrap();
    }
    work.file("job.toml", copies("in.csv", "out.csv", DECLARED));
    work.expect(0, &["job.toml", "-q", "--report", "report.json"]);
    assert_eq!(work.read("out.csv"), "id\n1\n");
    for name in ["out.csv", "report.json"] {
        assert!(fs::symlink_metadata(work.path(name)).unwrap().is_symlink(), "{name}");
        assert_eq!(fs::metadata(work.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
    if is_root() {
        let metadata = fs::metadata(work.path("out.csv")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12_345, 23_456));
    }
    assert_eq!(work.list("real"), ["out.csv", "report.json"]);
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing() {
    let work = Work::new();
    work.file("in.csv", "id\n1\n");
    work.file("folder/keep", "");
    work.file("job.toml", copies("in.csv", "out.csv", DECLARED));
    for report in ["folder/", "folder", "new/"] {
        let ran = work.expect(73, &["job.toml", "-q", "--report", report]);
        assert!(ran.stderr.contains("it is a folder"), "{}", ran.stderr);
    }
    assert_eq!(work.list("folder"), ["keep"]);
    let named: Vec<String> =
        work.list("").into_iter().filter(|name| name.contains("report") || name == "new").collect();
    assert_eq!(named, [""; 0]);
}

#[test]
fn a_job_does_not_write_what_it_reads() {
    let work = Work::new();
    work.file("in/a.csv", "id\n1\n2\n");
    symlink("in", work.path("door")).unwrap();
    let cases = [
        ("in/a.csv", "in/a.csv", ""),
        ("in/a.csv", "door/a.csv", ""),
        ("in/*.csv", "in/out.csv", ""),
        ("door/*.csv", "./in/out.csv", ""),
        ("in/*.csv", "in/{id}.csv", ""),
        ("in/*.csv", "in/part-{split}.csv", ""),
        ("in/*.csv", "other/out.csv", "[rejects]\npath = \"in/rejects.csv\""),
        ("in/*.csv", "other/out.csv", "[report]\npath = \"in/report.csv\""),
    ];
    for (input, output, more) in cases {
        work.file("job.toml", copies(input, output, &format!("{DECLARED}\n{more}")));
        for args in [&["check", "job.toml"][..], &["job.toml", "-q"]] {
            let ran = work.expect(78, args);
            assert!(ran.stderr.contains("is what `in` reads"), "{input} {output}: {}", ran.stderr);
        }
    }
    work.file("job.toml", copies("in/*.csv", "out.csv", DECLARED));
    let ran = work.expect(64, &["job.toml", "-q", "--report", "door/report.csv"]);
    assert!(ran.stderr.contains("--report door/report.csv: the job reads this file"), "{}", ran.stderr);
    // What only rows tell is seen at the run.
    work.file("job.toml", copies("in/a.csv", "door/{name}.csv", "columns = [\"name string\"]"));
    work.file("in/a.csv", "name\nb\na\n");
    work.expect(0, &["check", "job.toml"]);
    let ran = work.expect(73, &["job.toml", "-q"]);
    assert!(ran.stderr.contains("`door/a.csv` is an input of this job"), "{}", ran.stderr);
    assert_eq!((work.read("in/a.csv").as_str(), work.list("in")), ("name\nb\na\n", vec!["a.csv".to_owned()]));
}

#[test]
fn columns_are_those_of_all_files_and_others_are_told() {
    let work = Work::new();
    for file in 0..30 {
        let line = if file == 29 { "{\"n\":29,\"late\":true}\n" } else { "{\"n\":1}\n" };
        work.file(&format!("in/{file:02}.ndjson"), line);
    }
    let job = copies("in/*.ndjson", "-", "").replace("\"csv\"", "\"ndjson\"");
    work.file("job.toml", &job);
    let plan = work.expect(0, &["plan", "job.toml"]).stdout;
    assert!(plan.contains("columns inferred from 30 records of 30 files"), "{plan}");
    assert!(plan.contains("n int64?, late bool?"), "{plan}");
    assert!(work.expect(0, &["job.toml", "-q"]).stdout.ends_with("{\"n\":29,\"late\":true}\n"));
    // The last record of a long file is in no sample.
    work.file("in/00.ndjson", "{\"n\":1}\n".repeat(30_000) + "{\"n\":2,\"later\":1}\n");
    let ran = work.expect(65, &["job.toml", "-q"]);
    assert!(ran.stderr.contains("1 record was rejected"), "{}", ran.stderr);
    let ran = work.expect(0, &["job.toml", "-q", "--set", "limits.rejects=1", "--set", "rejects.path=rej.ndjson"]);
    assert!(!ran.stdout.contains("{\"n\":2,"), "{}", ran.stdout);
    let reject = &work.json_lines("rej.ndjson")[0];
    assert_eq!((reject["reason"].as_str(), reject["line"].as_u64()), (Some("unknown_field"), Some(30_001)));
    assert!(reject["message"].as_str().unwrap().contains("field `later`"), "{reject}");
    work.file(
        "job.toml",
        job.replace("format = \"ndjson\"\n        \n", "format = \"ndjson\"\n        extra = \"ignore\"\n"),
    );
    work.expect(0, &["job.toml", "-q"]);
}

/// The time to plan grows with the columns, not with their square; and a signal ends it.
#[test]
fn planning_a_wide_file_ends_at_a_signal() {
    const COLUMNS: usize = 150_000;
    let work = Work::new();
    let names: Vec<String> = (0..COLUMNS).map(|i| format!("column_number_{i}")).collect();
    work.file("in.csv", names.join(",") + "\n" + &"1,".repeat(COLUMNS - 1) + "1\n");
    work.file("job.toml", copies("in.csv", "out.csv", ""));
    let mut child = work.command(&["job.toml", "-q"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(150));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let asked = Instant::now();
    let mut status = None;
    until("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    // Generous, as the machine may be busy: planning alone takes longer than this without the answer.
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(status.and_then(|status| status.code()), Some(75));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("interrupted before"), "{said}");
    assert!(!work.path("out.csv").exists());
}
