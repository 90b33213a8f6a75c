//! Files that are whole or absent, and what is wrong with specs of them.

use super::*;
use crate::stage::Attempt;

#[test]
fn nothing_has_its_name_before_commit() {
    let folder = Folder::new("atomic");
    let schema = schema(&["s string"]);
    folder.write("new/dir/a.tsv", b"old");
    let spec = json!({ "path": folder.text("new/dir/a.tsv"), "format": "tsv" });
    let compiled = sink(&spec, &schema);
    let temporary = format!("new/dir/.a.tsv.tmp-{}", std::process::id());

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["x"])]);
    assert_eq!(folder.names(), [temporary.as_str(), "new/dir/a.tsv"]);
    drop(worker);
    assert_eq!(folder.names(), ["new/dir/a.tsv"]);
    assert_eq!(fs::read(folder.path("new/dir/a.tsv")).expect("there"), b"old");

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["x"])]);
    drop(worker);
    assert_eq!(fs::read(folder.path("new/dir/a.tsv")).expect("there"), b"old", "a part of the input is not published");

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["x"]), (1, &["y", "z"])]);
    worker.commit().expect("committed");
    drop(worker);
    assert_eq!(folder.names(), ["new/dir/a.tsv"]);
    assert_eq!(fs::read(folder.path("new/dir/a.tsv")).expect("there"), b"x\ny\nz\n");
}

/// A run that is over may be cleared up only when an attempt at the next one has been killed already.
#[test]
fn the_end_of_a_run_removes_what_a_killed_attempt_has_left() {
    let folder = Folder::new("left");
    let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv" });
    let compiled = sink(&spec, &schema(&["s string"]));
    let attempt = |run: &str| Attempt::of(run, "out", folder.path("job.run"));
    compiled.stage.begin(&attempt("0123456789abcdef")).expect("begun");
    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["x"])]);
    std::mem::forget(worker);
    assert_eq!(folder.names(), [".a.tsv.tmp-0123456789abcdef", "job.run/out.files"]);
    compiled.stage.end(&attempt("fedcba9876543210")).expect("ended");
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn without_rows_the_file_is_empty_but_there() {
    let folder = Folder::new("empty");
    let spec = json!({ "path": folder.text("dir/a.tsv"), "format": "tsv", "header": true });
    let mut worker = sink(&spec, &schema(&["s string", "t date"])).stage.worker(Mode::Write).expect("a worker");
    worker.commit().expect("committed");
    assert_eq!(fs::read(folder.path("dir/a.tsv")).expect("there"), b"s\tt\n");
}

#[test]
fn each_split_can_have_its_file() {
    let folder = Folder::new("split");
    let spec = json!({ "path": folder.text("{split}/out-{split}.tsv"), "format": "tsv", "header": true });
    let compiled = sink(&spec, &schema(&["s string"]));
    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(0, &["a"]), (0, &["b"]), (3, &[]), (12, &["c"])]);
    let pid = std::process::id();
    let hidden: Vec<String> =
        ["00000", "00003", "00012"].iter().map(|split| format!("{split}/.out-{split}.tsv.tmp-{pid}")).collect();
    assert_eq!(folder.names(), hidden);
    worker.commit().expect("committed");
    assert_eq!(folder.names(), ["00000/out-00000.tsv", "00003/out-00003.tsv", "00012/out-00012.tsv"]);
    assert_eq!(fs::read(folder.path("00000/out-00000.tsv")).expect("there"), b"s\na\nb\n");
    assert_eq!(fs::read(folder.path("00003/out-00003.tsv")).expect("there"), b"s\n");
    assert_eq!(fs::read(folder.path("00012/out-00012.tsv")).expect("there"), b"s\nc\n");

    let mut worker = compiled.stage.worker(Mode::Write).expect("a worker");
    write_all(worker.as_mut(), &[(20, &["a"]), (21, &["b"])]);
    drop(worker);
    assert_eq!(folder.names().len(), 3, "nothing is left of files that were not committed");
}

#[test]
fn gzip_is_byte_equal_and_python_reads_it() {
    let folder = Folder::new("gzip");
    let schema = schema(&["s string"]);
    let values: Vec<String> = (0..5000).map(|i| format!("value {i}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let write = |name: &str, spec: Json| {
        let mut full = spec;
        full["path"] = json!(folder.text(name));
        full["format"] = json!("tsv");
        let mut worker = sink(&full, &schema).stage.worker(Mode::Write).expect("a worker");
        write_all(worker.as_mut(), &[(0, &values), (1, &values)]);
        worker.commit().expect("committed");
        fs::read(folder.path(name)).expect("there")
    };
    let one = write("a.tsv.gz", json!({}));
    assert_eq!(one, write("b.tsv.gz", json!({ "level": 6 })));
    assert_eq!(one, write("c", json!({ "compression": "gzip" })));
    assert_eq!(&one[3..8], [0; 5], "no name, no time");
    assert!(write("d.gz", json!({ "level": 0 })).len() > 2 * one.len());
    assert!(write("e.gz", json!({ "compression": "none" })).starts_with(b"value 0\n"));
    let script = "import gzip, sys; print(sum(len(line) for line in gzip.open(sys.argv[1])))";
    let length = 2 * values.iter().map(|value| value.len() + 1).sum::<usize>();
    match Command::new("python3").args(["-c", script]).arg(folder.path("a.tsv.gz")).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), length.to_string()),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "python3 cannot be run"),
    }
}

#[test]
fn zstd_is_byte_equal_and_reads_back() {
    let folder = Folder::new("zstd");
    let schema = schema(&["s string"]);
    let values: Vec<String> = (0..5000).map(|i| format!("value {}", i * i)).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let write = |name: &str, spec: Json| {
        let mut full = spec;
        full["path"] = json!(folder.text(name));
        full["format"] = json!("lines");
        let mut worker = sink(&full, &schema).stage.worker(Mode::Write).expect("a worker");
        write_all(worker.as_mut(), &[(0, &values), (1, &values)]);
        worker.commit().expect("committed");
        fs::read(folder.path(name)).expect("there")
    };
    let one = write("a.zst", json!({}));
    assert_eq!(one, write("b", json!({ "compression": "zstd", "level": 3 })));
    assert!(write("c.zst", json!({ "level": 19 })).len() < one.len());
    let text = zstd::decode_all(one.as_slice()).expect("zstd");
    assert_eq!(String::from_utf8_lossy(&text).lines().count(), 10_000);
}

#[test]
fn a_rehearsal_shows_and_writes_nothing() {
    let folder = Folder::new("rehearse");
    let schema = schema(&["s string"]);
    let rehearse = |path: &str| {
        let spec = json!({ "path": folder.text(path), "format": "tsv" });
        let mut worker = sink(&spec, &schema).stage.worker(Mode::Rehearse).expect("a worker");
        let batches: [(u32, &[&str]); 4] = [(0, &[]), (0, &["a", "b", "c", "d"]), (0, &["e"]), (1, &["f"])];
        let mut samples = Vec::new();
        for (split, values) in batches {
            let written = worker.write(&batch(&schema, split, 0, vec![strings(values)])).expect("rehearsed");
            assert_eq!(written.accepted, values.len() as u64);
            samples.push(written.samples);
        }
        worker.commit().expect("nothing to do");
        samples
    };
    assert_eq!(rehearse("new/a.tsv"), [&[][..], &["a", "b", "c"], &[], &[]]);
    assert_eq!(rehearse("new/{split}.tsv"), [&[][..], &["a", "b", "c"], &[], &["f"]]);
    assert!(!folder.path("new").exists());
}

#[test]
fn what_cannot_be_created_or_written_says_so() {
    let folder = Folder::new("fails");
    let schema = schema(&["s string"]);
    folder.write("file", b"");
    folder.write("dir/x", b"");
    for path in ["file/a.tsv", "dir"] {
        let spec = json!({ "path": folder.text(path), "format": "tsv" });
        let failure = sink(&spec, &schema).stage.worker(Mode::Write).err().expect("cannot be created");
        assert_eq!(failure.exit, Exit::CantCreate, "{failure}");
        assert!(failure.message.contains("cannot create `"), "{failure}");
    }
    let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv" });
    let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
    fs::create_dir(folder.path("a.tsv")).expect("a folder in the way");
    let failure = worker.commit().expect_err("cannot be renamed");
    assert_eq!(failure.exit, Exit::Io);
    assert!(failure.message.contains("a.tsv`"), "{failure}");
    drop(worker);
    assert_eq!(folder.names(), ["dir/x", "file"]);
}

/// A device that is always full stands for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_io_failure() {
    use crate::formats::compression::{Codec, OutFile, Output};
    for codec in [Codec::Plain, Codec::Gzip, Codec::Zstd] {
        let file = fs::File::options().write(true).open("/dev/full").expect("the device");
        let mut output = Output::new(OutFile::File(file), codec, codec.default_level()).expect("an encoder");
        let result = output.write_all(&[b'x'; 100]).and_then(|()| output.finish());
        assert_eq!(result.expect_err("full").kind(), std::io::ErrorKind::StorageFull);
    }
}

#[test]
fn specs_that_make_no_sense_are_problems() {
    let base = json!({ "path": "a.tsv", "format": "tsv" });
    let cases = [
        ("path", json!("out/"), "`out/` names no file"),
        ("path", json!(""), "`` names no file"),
        ("list_separator", json!("\t"), "a `list_separator` is one ASCII character"),
        ("list_separator", json!(""), "a `list_separator` is one ASCII character"),
        ("separator", json!(";"), "`separator` has no effect on tsv: only csv has a choice"),
        ("null", json!("a\tb"), "`null` must not contain a tab"),
        ("level", json!(3), "`level` has no effect"),
        ("format", json!("cvs"), "unknown variant `cvs`"),
        ("columns", json!([]), "unknown field `columns`"),
    ];
    for (name, level, message) in
        [("a.gz", 10, "level 10 is not between 0 and 9"), ("a.zst", 0, "level 0 is not between 1 and 19")]
    {
        let spec = json!({ "path": name, "format": "tsv", "level": level });
        let problems = compile(&spec, &schema(&["s string"]), &Value::Table(Table::new())).err().expect(name);
        assert_eq!(problems, [message]);
    }
    let others = [
        ("ndjson", "header", json!(true), "`header` has no effect on ndjson: it has no header"),
        ("ndjson", "null", json!(""), "`null` has no effect on ndjson: it has a null of its own"),
        ("ndjson", "list_separator", json!(","), "`list_separator` has no effect on ndjson: it has lists of its own"),
        ("lines", "header", json!(false), "`header` has no effect on lines: it has no header"),
        ("csv", "separator", json!("\""), csv::SEPARATOR_RULE),
        ("csv", "null", json!("a,b"), "`null` must not contain a separator, quote or line end"),
    ];
    for (format, key, value, message) in others {
        let mut spec = json!({ "path": "a", "format": format });
        spec[key] = value;
        let problems = compile(&spec, &schema(&["s string"]), &Value::Table(Table::new())).err().expect(key);
        assert_eq!(problems, [message]);
    }
    let spec = json!({ "path": "a", "format": "lines" });
    let problems = compile(&spec, &schema(&["a string", "b date"]), &Value::Table(Table::new())).err().expect("two");
    assert_eq!(problems, ["lines hold one column, but the input has 2"]);
    for (key, value, message) in cases {
        let mut spec = base.clone();
        spec[key] = value;
        let problems = compile(&spec, &schema(&["s string"]), &Value::Table(Table::new())).err().expect(message);
        assert!(problems.iter().any(|problem| problem.contains(message)), "{message}: {problems:?}");
    }
    let nested = Schema::new(vec![Column {
        name: "a\tb".into(),
        column_type: ColumnType::List(Box::new(ColumnType::Json)),
        nullable: false,
    }]);
    let spec = json!({ "path": "a.tsv", "format": "tsv", "header": true });
    let problems = compile(&spec, &nested, &Value::Table(Table::new())).err().expect("two problems");
    assert_eq!(
        problems,
        ["tsv cannot hold column `a\tb`: list<json>", "column `a\tb` has a tab or line end in its name"]
    );
}

#[test]
fn what_the_environment_does_not_tell_is_not_complained_of() {
    let unknown = ["path", "list_separator"].map(|key| (key.to_owned(), Value::Unknown));
    let table = Value::Table(unknown.into_iter().collect());
    let spec = json!({ "path": "", "list_separator": "", "format": "tsv", "level": 3 });
    assert!(compile(&spec, &schema(&["s string"]), &table).is_ok());
}

#[test]
fn the_plan_says_what_will_be_written() {
    let spec = json!({ "path": "out/{split}.tsv.gz", "format": "tsv", "level": 9 });
    let compiled = sink(&spec, &schema(&["s string"]));
    assert_eq!(compiled.notes, ["tsv to `out/{split}.tsv.gz`, one file per split", "gzip, level 9"]);
    assert!(matches!(compiled.workers, Workers::One("one writer keeps the input's order")));
    assert_eq!(compiled.stage.properties().guarantee, Guarantee::AllOrNothing);
    assert!(compiled.output.is_none());
    let mut generator = schemars::SchemaGenerator::default();
    let keys = (super::super::KIND.schema)(&mut generator);
    let text = serde_json::to_string(&(keys, generator.definitions())).expect("JSON");
    for key in ["path", "format", "header", "null", "separator", "list_separator", "compression", "level"] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}: {text}");
    }
}

#[test]
fn a_rejected_row_is_told_by_its_columns() {
    let folder = Folder::new("told");
    let schema = schema(&["s string"]);
    let spec = json!({ "path": folder.text("a.tsv"), "format": "tsv" });
    let mut worker = sink(&spec, &schema).stage.worker(Mode::Write).expect("a worker");
    let batch = batch(&schema, 4, 0, vec![strings(&["a\tb"])]);
    let written = worker.write(&batch).expect("written");
    assert_eq!(written.rejects[0].record, row_json::row(&batch.records, 0).as_bytes());
    assert_eq!(written.rejects[0].split, SplitId(4));
}
