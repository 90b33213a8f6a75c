//! Line ends, blank lines, headers, long records; and that the size of blocks changes nothing.

use serde_json::json;

use super::*;

fn two() -> Json {
    json!({ "columns": ["a string", "b string"] })
}

#[test]
fn line_ends_are_found_or_told() {
    let folder = Folder::new("newline");
    let row = |record: u8, line: u8, a: &str, b: &str| format!("{record}:{line} {}", json!({ "a": a, "b": b }));
    let plain = vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")];
    let cases: Vec<(&str, &str, Vec<String>)> = vec![
        ("auto", "1\t2\n3\t4\n", plain.clone()),
        ("auto", "1\t2\n3\t4", plain.clone()),
        ("auto", "1\t2\r\n3\t4\r\n", plain.clone()),
        ("auto", "1\t2\r\n3\t4", plain.clone()),
        ("auto", "1\t2\r3\t4\r", plain.clone()),
        ("auto", "1\t2\r3\t4", plain.clone()),
        ("auto", "1\t2\n3\t4\r\n", plain.clone()),
        ("auto", "1\t2\r\n3\t4\n", plain.clone()),
        ("auto", "1\t2", vec![row(1, 1, "1", "2")]),
        ("auto", "1\t2\r", vec![row(1, 1, "1", "2")]),
        ("auto", "1\t2\n3\t\r4\n", vec![row(1, 1, "1", "2"), row(2, 2, "3", "\r4")]),
        ("auto", "1\r\t2\n3\t4\n", vec![row(1, 1, "1\r", "2"), row(2, 2, "3", "4")]),
        ("auto", "1\t2\r\r\n3\t4\r\r\n", plain.clone()),
        ("cr", "1\t2\r3\t\n4\r", vec![row(1, 1, "1", "2"), row(2, 2, "3", "\n4")]),
        // Half of a line end at the very end of the file is not data.
        ("auto", "1\t2\n3\t4\r", plain.clone()),
        ("auto", "1\t2\r\n3\t4\r\r", plain.clone()),
        ("auto", "1\t2\r\n3\t4\r\n\r", plain.clone()),
        ("lf", "1\t2\n3\t4\r", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4\r")]),
        ("lf", "1\t2\r\n3\t4\n", vec![row(1, 1, "1", "2\r"), row(2, 2, "3", "4")]),
        ("crlf", "1\t2\n\r\n3\t\r4\r\n", vec![row(1, 1, "1", "2\n"), row(2, 2, "3", "\r4")]),
        ("crlf", "1\t2\r\n3\t4\r", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4\r")]),
        ("cr", "1\t2\n\r3\t4\r", vec![row(1, 1, "1", "2\n"), row(2, 2, "3", "4")]),
        ("auto", "\u{feff}1\t2\n3\t4\n", plain.clone()),
        ("auto", "", vec![]),
        ("auto", "\u{feff}", vec![]),
        ("auto", "\n\r\n", vec![]),
    ];
    for (newline, text, rows) in cases {
        let mut spec = two();
        spec["newline"] = json!(newline);
        let read = all_sizes(&folder, text.as_bytes(), &spec, 100);
        assert_eq!(read, Read { rows, ..Read::default() }, "{newline} {text:?}");
    }
}

#[test]
fn blank_lines_count_as_lines_only() {
    let folder = Folder::new("blank");
    let read = all_sizes(&folder, b"\n\n1\t2\n\n\nx\n3\t4\n\n5\t6\n\n", &two(), 100);
    assert_eq!(read.rows, [r#"1:3 {"a":"1","b":"2"}"#, r#"3:7 {"a":"3","b":"4"}"#, r#"4:9 {"a":"5","b":"6"}"#]);
    assert_eq!(read.rejects, ["2:6 field_count expected 2 fields, found 1"]);
    let one = json!({ "columns": ["a string"] });
    let read = all_sizes(&folder, b"x\n\ny\n", &one, 100);
    assert_eq!(read.rows, [r#"1:1 {"a":"x"}"#, r#"2:2 {"a":""}"#, r#"3:3 {"a":"y"}"#]);
}

#[test]
fn a_header_orders_the_columns() {
    let folder = Folder::new("header");
    let spec = json!({ "header": true, "columns": ["a uint8", "b string"] });
    let read = all_sizes(&folder, b"\n\xEF\xBB\xBFother\nb\ta\n".split_at(1).1, &spec, 100);
    let failure = read.failure.expect("other is not a column");
    assert!(failure.message.contains("its header has no column `a`"), "{failure}");
    assert_eq!(failure.exit, crate::failure::Exit::Io);
    let read = all_sizes(&folder, b"\nb\tother\ta\nx\ty\t1\n\nz\t\t2\n1\t2\n", &spec, 100);
    assert_eq!(read.rows, [r#"1:3 {"a":1,"b":"x"}"#, r#"2:5 {"a":2,"b":"z"}"#]);
    assert_eq!(read.rejects, ["3:6 field_count expected 3 fields, found 2"]);
    assert_eq!(all_sizes(&folder, b"", &spec, 100), Read::default());
    assert_eq!(all_sizes(&folder, b"a\tb", &spec, 100), Read::default());
    let cases: [(&[u8], &str); 4] = [
        (b"a\tB\n", "its header has no column `b`; did you mean `B`?"),
        (b"c\tc\ta\tb\ta\n", "its header names `a` twice, the second time in field 5"),
        (b"a\tb\xFF\n", "its header is not UTF-8"),
        (&[b'x'; 200], "its header is longer than 100 bytes"),
    ];
    for (text, message) in cases {
        let failure = all_sizes(&folder, text, &spec, 100).failure.expect(message);
        assert!(failure.message.contains(message), "{failure}");
    }
}

#[test]
fn a_record_that_is_too_long_is_one_reject() {
    let folder = Folder::new("long");
    let long = "x".repeat(300);
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("1\t2{end}{long}\t{long}{end}3\t4{end}{end}{long}");
        let read = all_sizes(&folder, text.as_bytes(), &two(), 40);
        assert_eq!(read.rows, [r#"1:1 {"a":"1","b":"2"}"#, r#"3:3 {"a":"3","b":"4"}"#], "{end:?}");
        let why = "too_long the record is longer than 40 bytes";
        assert_eq!(read.rejects, [format!("2:2 {why}"), format!("4:5 {why}")], "{end:?}");
    }
}

#[test]
fn a_record_of_just_the_limit_is_not_too_long() {
    let folder = Folder::new("limit");
    for end in ["\n", "\r\n", "\r", ""] {
        let (fits, long) = (format!("1\t{}{end}", "x".repeat(38)), format!("1\t{}{end}", "x".repeat(39)));
        assert_eq!(all_sizes(&folder, fits.as_bytes(), &two(), 40).rows.len(), 1, "{end:?}");
        let read = all_sizes(&folder, long.as_bytes(), &two(), 40);
        assert_eq!((read.rows.len(), read.rejects.len()), (0, 1), "{end:?}");
    }
}

#[test]
fn a_reject_of_a_long_record_keeps_its_first_kibibyte() {
    let folder = Folder::new("head");
    let text = format!("{}\n", "y".repeat(5000));
    for bytes in [100, 10_000] {
        let path = folder.write("a.tsv", text.as_bytes());
        let spec = json!({ "path": path, "format": "tsv", "columns": ["a string"] });
        let compiled = compile(&spec, Limits { rows: 10, bytes, record: 2000, ..LIMITS }).expect("a sound spec");
        let splits = compiled.stage.splits().expect("a split");
        let mut worker = compiled.stage.worker().expect("a worker");
        let mut rejects = Rejects::default();
        let mut reader = worker.open(SplitId(0), &splits[0]).expect("opens");
        while reader.next_batch(&mut rejects).expect("reads").is_some() {}
        let rejects = rejects.take();
        assert_eq!(rejects.len(), 1);
        assert_eq!(rejects[0].record, &text.as_bytes()[..1024]);
    }
}

#[test]
fn raw_text_belongs_to_its_row() {
    let folder = Folder::new("raw");
    let path = folder.write("a.tsv", b"1\ta\nx\n2\tb\r\n\n3\tc");
    let spec = json!({ "path": path, "format": "tsv", "columns": ["n uint8", "s string"] });
    for bytes in [3, 7, 100] {
        let compiled = compile(&spec, Limits { rows: 2, bytes, record: 50, ..LIMITS }).expect("a sound spec");
        let splits = compiled.stage.splits().expect("a split");
        let mut worker = compiled.stage.worker().expect("a worker");
        let mut reader = worker.open(SplitId(0), &splits[0]).expect("opens");
        let mut raw = Vec::new();
        while let Some(batch) = reader.next_batch(&mut Rejects::default()).expect("reads") {
            assert!(batch.rows() <= 2);
            raw.extend((0..batch.rows()).map(|row| batch.origin.raw(row).expect("raw text").to_vec()));
        }
        assert_eq!(raw, [b"1\ta", b"2\tb", b"3\tc"]);
    }
}

#[test]
fn a_file_may_lack_columns_where_they_may_be_missing() {
    let folder = Folder::new("missing");
    let columns = json!(["a int8", { "name": "b", "type": "string", "nullable": true }]);
    for (format, text) in [("tsv", "x\ta\n\t1\n\t2\n"), ("csv", "x,a\n,1\n,2\n")] {
        let spec = json!({ "format": format, "header": true, "columns": columns, "missing": "null" });
        let read = all_sizes(&folder, text.as_bytes(), &spec, 100);
        assert_eq!(read.rows, [r#"1:2 {"a":1,"b":null}"#, r#"2:3 {"a":2,"b":null}"#], "{format}");
        let spec = json!({ "format": format, "header": true, "columns": columns, "missing": "reject" });
        let failure = all_sizes(&folder, text.as_bytes(), &spec, 100).failure.expect("it fails");
        assert!(failure.message.contains("a.txt`: its header has no column `b`"), "{failure}");
    }
    let spec = json!({ "format": "csv", "columns": columns, "missing": "null" });
    let failure = all_sizes(&folder, b"b\nx\n", &spec, 100).failure.expect("it fails");
    assert!(failure.message.contains("its header has no column `a`, which is not nullable"), "{failure}");
}

#[test]
fn a_separator_at_the_end_of_a_header_is_no_field() {
    let folder = Folder::new("open-end");
    let declared = json!({ "format": "csv", "columns": ["a int8", "b int8"] });
    let rows = [r#"1:2 {"a":1,"b":2}"#, r#"2:3 {"a":3,"b":4}"#];
    let read = all_sizes(&folder, b"a,b,\n1,2,\n3,4\n5\n", &declared, 100);
    assert_eq!(read.rows, rows);
    assert_eq!(read.rejects, ["3:4 field_count expected 3 fields, found 1"]);
    let inferred = json!({ "format": "csv" });
    let read = all_sizes(&folder, b"a,b,\n1,2,\n3,4\n5,6,x\n", &inferred, 100);
    assert_eq!(read.rows, rows);
    assert_eq!(read.rejects, ["3:4 unknown_field field 3 has a value, `x`, but no name in the header"]);
    // What stands first without a name is the index of a data frame.
    let read = all_sizes(&folder, b",a\n0,x\n1,y\n", &inferred, 100);
    assert_eq!(read.rows, [r#"1:2 {"column1":0,"a":"x"}"#, r#"2:3 {"column1":1,"a":"y"}"#]);
}
