//! Columns that a spec leaves out: names and types by the files.

use serde_json::json;

use super::*;

/// The columns that a spec without any gets for one file, and what the plan says of them.
fn inferred(folder: &Folder, name: &str, bytes: &[u8], spec: &Json) -> Result<(String, String), Vec<String>> {
    folder.write(name, bytes);
    inferred_of(folder, name, spec)
}

fn inferred_of(folder: &Folder, glob: &str, spec: &Json) -> Result<(String, String), Vec<String>> {
    let mut spec = spec.clone();
    spec["path"] = json!(folder.text(glob));
    let compiled = compile(&spec, LIMITS)?;
    let schema = compiled.output.expect("columns");
    let note = compiled.notes.last().cloned().unwrap_or_default();
    Ok((schema.to_string(), note.replace(&folder.text(""), "")))
}

#[test]
fn files_tell_their_columns() {
    let folder = Folder::new("infer");
    let (tsv, csv, ndjson) = (json!({ "format": "tsv" }), json!({ "format": "csv" }), json!({ "format": "ndjson" }));
    let with = |spec: &Json, key: &str, value: Json| {
        let mut spec = spec.clone();
        spec[key] = value;
        spec
    };
    let cases: Vec<(&str, Json, &str)> = vec![
        ("1\ta\n2\tb\n", tsv.clone(), "column1 int64?, column2 string?"),
        ("id\tname\n1\ta\n", with(&tsv, "header", json!(true)), "id int64?, name string?"),
        ("\n\n1\t2024-01-31\n\n", tsv.clone(), "column1 int64?, column2 date?"),
        ("1.5\r\n2\r\n", tsv.clone(), "column1 float64?"),
        // The records of another shape are rejects later, and teach nothing now.
        ("1\t2\nx\n3\t4\n", tsv.clone(), "column1 int64?, column2 int64?"),
        ("\u{feff}a,b\n1,true\n", csv.clone(), "a int64?, b bool?"),
        ("a,b\n", csv.clone(), "a string?, b string?"),
        ("\"a\nb\",\"c\"\"d\"\n1,x\n", csv.clone(), "a\nb int64?, c\"d string?"),
        ("1;2\n", with(&with(&csv, "header", json!(false)), "separator", json!(";")), "column1 int64?, column2 int64?"),
        // An empty field is null unless it is in quotes, and so is the text that means null.
        ("a,b\n,1\n2,\n", csv.clone(), "a int64?, b int64?"),
        ("a,b\n\"\",1\n2,1\n", csv.clone(), "a int64?, b int64?"),
        ("a,b\n\"\",1\n", csv.clone(), "a string?, b int64?"),
        ("a\n\"\"\n1\n", with(&csv, "null", json!("-")), "a string?"),
        ("a,,b\n1,2,3\n", csv.clone(), "a int64?, column2 int64?, b int64?"),
        ("a\n1.10\n", csv.clone(), "a string?"),
        ("a,b\n\"1\",\"2024-01-31\"\n", csv.clone(), "a int64?, b date?"),
        (
            "a\tb\n\\N\t1\n2\t\\N\n",
            with(&with(&tsv, "header", json!(true)), "null", json!("\\N")),
            "a int64?, b int64?",
        ),
        ("a\n\n1\n", with(&with(&tsv, "header", json!(true)), "null", json!("\\N")), "a string?"),
        ("a,b\n\"-\",-\n1,2\n", with(&csv, "null", json!("-")), "a string?, b int64?"),
        ("{\"b\":1,\"a\":[\"x\"]}\n\n{\"a\":[],\"c\":{}}\n", ndjson.clone(), "b int64?, a list<string>?, c json?"),
        ("{\"b\":1}\nno json\n{\"b\":2.5}\n", ndjson.clone(), "b float64?"),
        ("x\n", json!({ "format": "lines" }), "line string"),
        ("x\n-\n", json!({ "format": "lines", "null": "-" }), "line string?"),
    ];
    for (text, spec, expected) in cases {
        let (schema, _) = inferred(&folder, "a.txt", text.as_bytes(), &spec).expect(text);
        assert_eq!(schema, expected, "{text:?} {spec}");
        // Whatever was inferred reads what it was inferred from, but for records of another shape.
        let read = read_bytes(&folder, "a.txt", text.as_bytes(), &spec, LIMITS);
        let unread = ["field_count", "bad_json"];
        assert!(read.rejects.iter().all(|reject| unread.iter().any(|code| reject.contains(code))), "{read:?}");
        assert_eq!(read.failure, None, "{text:?}");
    }
}

#[test]
fn compressed_files_are_looked_into() {
    let folder = Folder::new("infer-gzip");
    let text = b"a,b\n1,2024-01-31T10:00:00Z\n";
    let spec = json!({ "format": "csv" });
    let expected = "a int64?, b timestamp?";
    for (name, bytes) in [("a.csv.gz", gzip(text)), ("a.csv.zst", zstd::encode_all(&text[..], 3).expect("in memory"))] {
        let (schema, note) = inferred(&folder, name, &bytes, &spec).expect(name);
        assert_eq!(schema, expected, "{name}");
        assert_eq!(note, format!("columns inferred from 1 record of `{name}`"));
    }
    // What breaks later is the run's business, as long as something was read.
    let lines: Vec<u8> = (0..200_000).flat_map(|n| format!("{n},{}\n", n * 7919 % 1000).into_bytes()).collect();
    let packed = gzip(&[b"a,b\n".as_slice(), &lines].concat());
    let (schema, _) = inferred(&folder, "cut.csv.gz", &packed[..packed.len() / 2], &spec).expect("half of it");
    assert_eq!(schema, "a int64?, b int64?");
    let problems = inferred(&folder, "cut.csv.gz", &packed[..12], &spec).expect_err("nothing of it");
    assert!(problems[0].contains("`columns` cannot be inferred: cannot read `"), "{problems:?}");
}

#[test]
fn a_sample_is_bounded_and_later_records_are_judged_by_it() {
    let folder = Folder::new("infer-bounds");
    let spec = json!({ "format": "csv" });
    let lines = |rows: usize| format!("a\n{}x\n", "1\n".repeat(rows));
    let last = crate::sources::files::infer::RECORDS;
    let (schema, note) = inferred(&folder, "a.csv", lines(last).as_bytes(), &spec).expect("a sample");
    assert_eq!(
        (schema.as_str(), note.as_str()),
        ("a int64?", "columns inferred from the first 20000 records of `a.csv`")
    );
    let read = read_bytes(&folder, "a.csv", lines(last).as_bytes(), &spec, LIMITS);
    assert_eq!(read.rows.len(), last);
    assert_eq!(read.rejects, ["20001:20002 bad_number column `a`: `x` is not a valid int64"]);
    let (schema, _) = inferred(&folder, "a.csv", lines(last - 1).as_bytes(), &spec).expect("a sample");
    assert_eq!(schema, "a string?", "the last record of the sample counts");
    // Long records: the bytes end the sample.
    let long = format!("a\n{}x\n", format!("{}1\n", "1.".to_owned() + &"0".repeat(9998)).repeat(1000));
    let (schema, note) = inferred(&folder, "a.csv", long.as_bytes(), &spec).expect("a sample");
    assert_eq!(schema, "a string?", "{note}");
    assert!(note.starts_with("columns inferred from the first "), "{note}");
}

#[test]
fn the_head_of_every_file_is_sampled() {
    let folder = Folder::new("infer-files");
    let spec = json!({ "format": "csv" });
    folder.write("0.csv", b"");
    folder.write("1.csv", b"b,a\n1,\n");
    folder.write("2.csv", b"a,b\nx,2.5\n");
    let (schema, note) = inferred_of(&folder, "*.csv", &spec).expect("columns");
    assert_eq!(schema, "b float64?, a string?", "the first file that has a header names them");
    assert_eq!(note, "columns inferred from 2 records of 3 files");
    for file in 3..20 {
        folder.write(&format!("{file}.csv"), b"a,b\nx,3\n");
    }
    folder.write("9.csv", b"a,b\nx,nothing\n");
    let (schema, note) = inferred_of(&folder, "*.csv", &spec).expect("columns");
    assert_eq!(schema, "b string?, a string?", "what only the last file has counts");
    assert_eq!(note, "columns inferred from 19 records of 20 files");
    // Each file has its share, and what a short one leaves is for those after it.
    let long = format!("a,b\n{}", "x,1\n".repeat(30_000));
    folder.write("3.csv", long.as_bytes());
    let (schema, note) = inferred_of(&folder, "*.csv", &spec).expect("columns");
    assert_eq!(schema, "b string?, a string?");
    assert!(note.starts_with("columns inferred from the first ") && note.ends_with(" records of 20 files"), "{note}");
}

#[test]
fn files_with_other_headers_are_told_unless_that_may_be() {
    let folder = Folder::new("infer-headers");
    folder.write("1.csv", b"a,b\n1,2\n");
    folder.write("2.csv", b"c,a\n3,4\n");
    let spec = |missing: Json, extra: Json| json!({ "format": "csv", "missing": missing, "extra": extra });
    let problem = |spec: &Json| {
        let problems = inferred_of(&folder, "*.csv", spec).expect_err("they differ");
        problems[0].replace(&folder.text(""), "")
    };
    let told = problem(&spec(Json::Null, Json::Null));
    assert!(told.contains("`2.csv`: its header has no column `b`, unlike that of `1.csv`"), "{told}");
    let told = problem(&spec(json!("reject"), json!("ignore")));
    assert!(told.contains("has no column `b`"), "{told}");
    let (schema, _) = inferred_of(&folder, "*.csv", &spec(json!("null"), Json::Null)).expect("all of them");
    assert_eq!(schema, "a int64?, b int64?, c int64?");
    folder.write("2.csv", b"c,a,b\n3,4,5\n");
    let told = problem(&spec(Json::Null, json!("reject")));
    assert!(told.contains("`2.csv`: its header has a column `c`, unlike that of `1.csv`"), "{told}");
    let (schema, _) = inferred_of(&folder, "*.csv", &spec(Json::Null, json!("ignore"))).expect("those of the first");
    assert_eq!(schema, "a int64?, b int64?");
}

#[test]
fn what_comes_after_the_sample_is_no_less_told() {
    let folder = Folder::new("infer-later");
    let write = |name: &str, line: &str| folder.write(name, line.as_bytes());
    // A file that came when the columns were known already.
    let read_later = |format: &str, extra: Json, first: &str, later: &str| {
        write("a.txt", first);
        let spec = json!({ "path": folder.text("a.txt"), "format": format, "extra": extra });
        let compiled = compile(&spec, LIMITS).expect("columns");
        write("a.txt", later);
        let splits = compiled.stage.splits().expect("a split");
        read_split(compiled.stage.as_ref(), &splits[0])
    };
    let read =
        read_later("ndjson", Json::Null, "{\"a\":1}\n", "{\"a\":2}\n{\"a\":3,\"e mail\":null}\n{\"\\u0061\":4}\n");
    assert_eq!(read.rows, [r#"1:1 {"a":2}"#, r#"3:3 {"a":4}"#]);
    assert_eq!(read.rejects, ["2:2 unknown_field field `e mail` was not there when the columns were inferred"]);
    let read = read_later("ndjson", json!("ignore"), "{\"a\":1}\n", "{\"a\":3,\"b\":4}\n");
    assert_eq!((read.rows.len(), read.rejects.len()), (1, 0));
    let read = read_later("csv", Json::Null, "a\n1\n", "a,b\n1,2\n");
    let why = read.failure.expect("it fails").message;
    assert!(
        why.contains("a.txt`: its header has a column `b` that was not there when the columns were inferred"),
        "{why}"
    );
    let read = read_later("csv", json!("ignore"), "a\n1\n", "a,b\n1,2\n");
    assert_eq!(read.rows, [r#"1:2 {"a":1}"#]);
}

#[test]
fn why_columns_cannot_be_inferred_is_told() {
    let folder = Folder::new("infer-not");
    let (tsv, csv, ndjson) = (json!({ "format": "tsv" }), json!({ "format": "csv" }), json!({ "format": "ndjson" }));
    let cases: Vec<(&[u8], &Json, &str)> = vec![
        (b"", &tsv, "the files hold no record; declare them"),
        (b"\n\n", &csv, "the files hold no record; declare them"),
        (b"{}\n[]\n", &ndjson, "the files hold no record with a field; declare them"),
        (
            b"[{\"a\":1},{\"a\":2}]\n",
            &ndjson,
            "`a.txt` begins with a JSON array, and ndjson has an object in each line; write one object per line, as `jq -c '.[]'` does",
        ),
        (
            b"{\n \"a\": 1\n}\n",
            &ndjson,
            "`a.txt` begins with a JSON object that goes over several lines, and ndjson has an object in each line; write one object per line, as `jq -c .` does",
        ),
        (b"a,b,a\n", &csv, "`a.txt`: its header names `a` twice, the second time in field 3"),
        (b"a,\"b\n1,2\n", &csv, "`a.txt`: its header has a quote that is not closed"),
        (b"a,\"b\"c\n", &csv, "`a.txt`: its header has text after the closing quote of field 2"),
        (b"a\xFF\tb\n", &tsv, "`a.txt`: its first record is not UTF-8"),
    ];
    for (bytes, spec, why) in cases {
        let problems = inferred(&folder, "a.txt", bytes, spec).expect_err(why);
        let told = problems[0].replace(&folder.text(""), "");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(told.ends_with(&format!("`columns` cannot be inferred: {why}")), "{told}");
    }
    let problems = inferred_of(&folder, "b.txt", &tsv).expect_err("no such file");
    assert!(
        problems[0].contains("no file matches `") && problems[0].ends_with("or make the file first"),
        "{problems:?}"
    );
    let problems = compile(&json!({ "format": "tsv", "path": "-" }), LIMITS).err().expect("standard input");
    assert!(problems[0].contains("standard input can be read only once; declare them"), "{problems:?}");
    let problems = compile(&json!({ "format": "csv", "path": "/dev/null" }), LIMITS).err().expect("no regular file");
    assert!(problems[0].ends_with("`/dev/null` can be read only once; declare them"), "{problems:?}");
    // While a spec is checked, a path from the environment is the empty text.
    let problems = compile(&json!({ "format": "csv", "path": "" }), LIMITS).err().expect("no path");
    assert!(problems[0].ends_with("`columns` cannot be inferred: the path is not known; declare them"), "{problems:?}");
    // Other problems are told at once.
    let spec = json!({ "format": "csv", "path": "no/such/file", "separator": "ab", "max_ratio": 0 });
    let problems = compile(&spec, LIMITS).err().expect("several");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(compile(&json!({ "format": "tsv", "path": "a", "columns": [] }), LIMITS).is_err(), "none is not left out");
}
