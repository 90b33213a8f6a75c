//! Which files there are, what becomes of them, and specs that make no sense.

use std::fs;

use serde_json::json;

use super::*;
use crate::{failure::Exit, kind::Workers};

fn names(folder: &Folder, path: Json) -> Result<Vec<String>, Failure> {
    let compiled = source(&json!({ "path": path, "format": "tsv", "columns": ["a string"] }));
    let root = format!("{}/", folder.text(""));
    let short = |split: Split| split.name.replace(&root.replace("//", "/"), "");
    Ok(compiled.stage.splits()?.into_iter().map(short).collect())
}

#[test]
fn globs_give_files_in_order_of_name() {
    let folder = Folder::new("glob");
    for name in ["b.tsv", "a.tsv", "c.txt", ".hidden.tsv", "d[1].tsv", "sub/e.tsv", "sub.tsv/f", "sub/.g/h.tsv"] {
        folder.write(name, b"1\n");
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"\xFF.tsv");
        fs::write(folder.path("").join(name), b"1\n").expect("a name that is not UTF-8");
    }
    let cases: Vec<(Json, &[&str])> = vec![
        (json!(format!("{}/./*.tsv", folder.text(""))), &["a.tsv", "b.tsv", "d[1].tsv", "\\xFF.tsv"]),
        (json!([folder.text("a.tsv"), format!("{}/./a.tsv", folder.text(""))]), &["a.tsv"]),
        (json!(folder.text("sub/.g/*")), &["sub/.g/h.tsv"]),
        (json!(folder.text("*.tsv")), &["a.tsv", "b.tsv", "d[1].tsv", "\\xFF.tsv"]),
        (json!(folder.text("?.tsv")), &["a.tsv", "b.tsv", "\\xFF.tsv"]),
        (json!(folder.text("[!ab].tsv")), &["\\xFF.tsv"]),
        (json!(folder.text(".*.tsv")), &[".hidden.tsv"]),
        (json!(folder.text(".hidden.tsv")), &[".hidden.tsv"]),
        (json!(folder.text("d[1].tsv")), &["d[1].tsv"]),
        (json!(folder.text("**/*.tsv")), &["a.tsv", "b.tsv", "d[1].tsv", "sub/e.tsv", "\\xFF.tsv"]),
        (json!(folder.text("sub/**")), &["sub/e.tsv"]),
        (json!(folder.text("**/**/e.tsv")), &["sub/e.tsv"]),
        (json!(folder.text("s*/e.tsv")), &["sub/e.tsv"]),
        (json!([folder.text("c.txt"), folder.text("[ab].tsv"), folder.text("a*")]), &["a.tsv", "b.tsv", "c.txt"]),
    ];
    for (path, expected) in cases {
        assert_eq!(names(&folder, path.clone()).expect("files"), expected, "{path}");
    }
    for missing in ["*.csv", "nothing.tsv", "sub"] {
        let path = folder.text(missing);
        let failure = names(&folder, json!([folder.text("a.tsv"), path])).expect_err(missing);
        let hint = format!(", which is a folder; read what is in it with `{path}/*` or `{path}/**/*`");
        let hint = if missing == "sub" { hint } else { String::new() };
        assert_eq!(failure, Failure::new(Exit::InputMissing, format!("no file matches `{path}`{hint}")));
    }
}

#[test]
fn a_file_once_stored_is_renamed_moved_or_deleted() {
    let cases: Vec<(Json, &[&str], &str)> = vec![
        (json!({ "rename": ".{name}" }), &[".a.tsv", "b.tsv"], "renamed"),
        (json!({ "move": "FOLDER/done/there" }), &["b.tsv", "done/there/a.tsv"], "moved"),
        (json!("delete"), &["b.tsv"], "deleted"),
        (Json::Null, &["a.tsv", "b.tsv"], ""),
    ];
    for (done, expected, verb) in cases {
        let folder = Folder::new("done");
        folder.write("a.tsv", b"1\n");
        folder.write("b.tsv", b"2\n");
        let done = serde_json::from_str(&done.to_string().replace("FOLDER", &folder.text(""))).expect("JSON");
        let done: Json = done;
        let spec = json!({ "path": folder.text("*.tsv"), "format": "tsv", "columns": ["a string"], "done": done });
        let compiled = source(&spec);
        let splits = compiled.stage.splits().expect("splits");
        let said = compiled.stage.done(&splits[0]).expect("done");
        assert_eq!(folder.names(), expected, "{done}");
        assert_eq!(said.is_some(), !verb.is_empty());
        assert!(said.unwrap_or_default().starts_with(verb), "{done}");
    }
}

#[test]
fn a_rename_replaces_what_has_the_name() {
    let folder = Folder::new("replace");
    folder.write("a.tsv", b"new\n");
    folder.write(".a.tsv", b"old\n");
    let spec = json!({ "path": folder.text("*.tsv"), "format": "tsv", "columns": ["a string"],
        "done": { "rename": ".{name}" } });
    let compiled = source(&spec);
    let splits = compiled.stage.splits().expect("splits");
    compiled.stage.done(&splits[0]).expect("done");
    assert_eq!(fs::read(folder.path(".a.tsv")).expect("there"), b"new\n");
    assert_eq!(folder.names(), [".a.tsv"]);
    let failure = compiled.stage.done(&splits[0]).expect_err("it is gone");
    assert_eq!(failure.exit, Exit::Io);
}

#[test]
fn a_move_refuses_to_lose_files_of_one_name() {
    let folder = Folder::new("same");
    folder.write("x/a.tsv", b"1\n");
    folder.write("y/a.tsv", b"2\n");
    let spec = json!({ "path": folder.text("*/a.tsv"), "format": "tsv", "columns": ["a string"],
        "done": { "move": folder.text("done") } });
    let failure = source(&spec).stage.splits().expect_err("one name");
    assert!(failure.message.contains("have the same name"), "{failure}");
}

#[test]
fn specs_that_make_no_sense_are_problems() {
    let base = json!({ "path": "a", "format": "tsv", "columns": ["a string"] });
    let cases = [
        ("path", json!([]), "no path is given"),
        ("path", json!("a***"), "is not a glob"),
        ("path", json!(["a", "[x"]), "Index(1)"),
        ("path", json!(7), "a path or glob, or a list of them"),
        ("columns", json!(["a list<list<int8>>"]), "tsv cannot hold list<list<int8>>"),
        ("columns", json!(["a list<json>"]), "tsv cannot hold list<json>"),
        ("columns", json!([]), "no column is declared"),
        ("done", json!({ "rename": "x" }), "must contain `{name}`"),
        ("done", json!({ "rename": "a/{name}" }), "must not contain `/`"),
        ("done", json!("keep"), "unknown variant `keep`"),
        ("newline", json!("lfcr"), "unknown variant `lfcr`"),
        ("format", json!("cvs"), "unknown variant `cvs`"),
        ("compression", json!("zip"), "unknown variant `zip`"),
        ("comment", json!("#"), "unknown field `comment`"),
        ("max_ratio", json!(0), "a `max_ratio` is at least 1"),
    ];
    for (key, value, message) in cases {
        let mut spec = base.clone();
        spec[key] = value;
        let problems = compile(&spec, LIMITS).err().expect(message);
        assert!(problems.iter().any(|problem| problem.contains(message)), "{message}: {problems:?}");
    }
}

#[test]
fn standard_input_is_a_split_without_size() {
    let folder = Folder::new("stdin");
    let path = folder.write("b.tsv", b"1\n");
    let spec = json!({ "path": [path, "-", "-"], "format": "lines" });
    let splits = source(&spec).stage.splits().expect("splits");
    assert_eq!((splits.len(), &splits[0].detail, splits[0].size()), (2, &crate::stage::Detail::Stream, None));
    let mut spec = json!({ "path": "-", "format": "lines", "done": "delete" });
    let problems = compile(&spec, LIMITS).err().expect("no file");
    assert!(problems[0].contains("`done` has no effect on standard input"), "{problems:?}");
    spec = json!({ "path": "a", "format": "lines", "compression": "none", "max_ratio": 2 });
    let problems = compile(&spec, LIMITS).err().expect("not compressed");
    assert!(problems[0].contains("`max_ratio` has no effect"), "{problems:?}");
}

#[test]
fn what_the_environment_does_not_tell_is_not_complained_of() {
    let rename: Table = [("rename".to_owned(), Value::Unknown)].into_iter().collect();
    let table = Value::Table([("done".to_owned(), Value::Table(rename))].into_iter().collect());
    let mut problems = crate::jobspec::Problems::default();
    let context = crate::kind::Context::of("sources.s", &table, None, &mut problems);
    assert!(!context.knows("done.rename") && context.knows("done") && context.knows("path"));
    // A leading `./` is not part of a name either.
    assert_eq!(super::super::list::plain(std::path::Path::new("./a//b/./c")), std::path::Path::new("a/b/c"));
    let unknown = serde_json::from_value::<super::super::spec::Paths>(Json::Null).expect("stands for any path");
    assert_eq!(unknown.0, [""]);
}

#[test]
fn the_plan_says_what_will_be_done() {
    let spec = json!({ "path": "x/*.gz", "format": "tsv", "columns": ["a string", "b list<int8>"], "header": true,
        "done": { "rename": ".{name}" } });
    let compiled = source(&spec);
    assert!(matches!(compiled.workers, Workers::Threads));
    assert_eq!(compiled.output.expect("columns").to_string(), "a string, b list<int8>");
    assert_eq!(
        compiled.notes,
        [
            "tsv from `x/*.gz`",
            "gzip where named .gz, zstd where named .zst, fields by header",
            "each file, once stored: renamed to `.{name}`"
        ]
    );
}

#[test]
fn the_schema_names_every_key() {
    let mut generator = schemars::SchemaGenerator::default();
    let keys = (super::super::KIND.schema)(&mut generator);
    let text = serde_json::to_string(&(keys, generator.definitions())).expect("JSON");
    for key in ["path", "format", "header", "newline", "null", "columns", "compression", "done", "rename", "crlf"] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}: {text}");
    }
}
