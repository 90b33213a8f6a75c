//! Comma-separated values from file to rows: quotes, line ends in them, what is refused, and another reader.

use std::process::Command;

use serde_json::json;

use super::*;

fn spec() -> Json {
    json!({ "format": "csv", "header": false, "columns": ["a string", "b string"] })
}

fn row(record: u8, line: u8, a: &str, b: &str) -> String {
    format!("{record}:{line} {}", json!({ "a": a, "b": b }))
}

#[test]
fn quotes_hold_separators_line_ends_and_quotes() {
    let folder = Folder::new("csv-quotes");
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("1,2\n3,4\n", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")]),
        ("1,2\r\n3,4\r\n", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")]),
        ("1,2\r3,4\r", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")]),
        ("\u{feff}1,2\n3,4", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")]),
        ("\"1\",\"2\"\n\"3\",\"4\"", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")]),
        ("\"a,b\",\"say \"\"hi\"\"\"\n\"\",\"\"\"\"\n", vec![row(1, 1, "a,b", "say \"hi\""), row(2, 2, "", "\"")]),
        (
            "\"two\nlines\",\"\n\n\"\nx,\"a longer text, in quotes\r\n and \"\"more\"\"\"\ny,z",
            vec![
                row(1, 1, "two\nlines", "\n\n"),
                row(2, 5, "x", "a longer text, in quotes\r\n and \"more\""),
                row(3, 7, "y", "z"),
            ],
        ),
        // Half of a line end at the very end of the file is not data.
        ("1,2\r\n3,4\r", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")]),
        ("1,2\r\n3,\"4\"\r", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4")]),
        ("1,2\n3,\"4\r\"\r\r", vec![row(1, 1, "1", "2"), row(2, 2, "3", "4\r")]),
        ("\"two\r\nlines\",x\r\ny,z\r\n", vec![row(1, 1, "two\r\nlines", "x"), row(2, 3, "y", "z")]),
        ("\"two\rlines\",x\ry,z\r", vec![row(1, 1, "two\rlines", "x"), row(2, 3, "y", "z")]),
        ("5\" disk,a\"b\"\n,\n", vec![row(1, 1, "5\" disk", "a\"b\""), row(2, 2, "", "")]),
        ("\n\n1,2\n\r\n3,4\n\n", vec![row(1, 3, "1", "2"), row(2, 5, "3", "4")]),
        ("é,日本\n", vec![row(1, 1, "é", "日本")]),
        ("", vec![]),
    ];
    for (text, rows) in cases {
        let read = all_sizes(&folder, text.as_bytes(), &spec(), 100);
        assert_eq!(read, Read { rows, ..Read::default() }, "{text:?}");
    }
}

#[test]
fn what_is_malformed_takes_no_neighbours_with_it() {
    let folder = Folder::new("csv-bad");
    let long = "x".repeat(200);
    let cases: Vec<(String, Vec<String>, Vec<&str>)> = vec![
        (
            "1,2\n3\n4,5,6\n7,\"8\n".to_owned(),
            vec![row(1, 1, "1", "2")],
            vec![
                "2:2 field_count expected 2 fields, found 1",
                "3:3 field_count expected 2 fields, found 3",
                "4:4 open_quote a quote is never closed",
            ],
        ),
        (
            "1,\"2\n3,4\n5,6".to_owned(),
            vec![row(2, 2, "3", "4"), row(3, 3, "5", "6")],
            vec!["1:1 open_quote a quote is never closed"],
        ),
        (
            "\"a\nb\",\"2\n3,4\n5,6".to_owned(),
            vec![row(2, 3, "3", "4"), row(3, 4, "5", "6")],
            vec!["1:1 open_quote the quote in line 2 of the record is never closed"],
        ),
        (
            format!("1,\"2\n{long}\n{long}\n3,4\n"),
            vec![row(4, 4, "3", "4")],
            vec![
                "1:1 open_quote a quote is not closed within 100 bytes",
                "2:2 too_long the record is longer than 100 bytes",
                "3:3 too_long the record is longer than 100 bytes",
            ],
        ),
        (
            "\"1\"x,2\n\"1\" ,2\n1,2\n".to_owned(),
            vec![row(3, 3, "1", "2")],
            vec![
                "1:1 bad_quote field 1: text after the closing quote",
                "2:2 bad_quote field 1: text after the closing quote",
            ],
        ),
        ("1,2\n\"".to_owned(), vec![row(1, 1, "1", "2")], vec!["2:2 open_quote a quote is never closed"]),
    ];
    for (text, rows, rejects) in cases {
        let read = read_bytes(&folder, "a", text.as_bytes(), &spec(), Limits { record: 100, ..LIMITS });
        // With all of the file in one block, the end is known before the limit is met.
        let settled = |reject: &String| reject.replace("not closed within 100 bytes", "never closed");
        assert_eq!(read.rows, rows, "{text:?}");
        assert_eq!(
            read.rejects.iter().map(settled).collect::<Vec<_>>(),
            rejects.iter().map(|reject| settled(&(*reject).to_owned())).collect::<Vec<_>>()
        );
        for bytes in 1..64 {
            let again =
                read_bytes(&folder, "a", text.as_bytes(), &spec(), Limits { record: 100, bytes, rows: 2, ..LIMITS });
            assert_eq!(again.rows, rows, "{text:?} in blocks of {bytes}");
            assert_eq!(
                again.rejects.iter().map(settled).collect::<Vec<_>>(),
                read.rejects.iter().map(settled).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn a_record_that_is_too_long_is_one_reject() {
    let folder = Folder::new("csv-long");
    let long = "x".repeat(300);
    for text in [
        format!("1,2\n{long},{long}\n3,4\n"),
        format!("1,2\n{long},2\n3,4"),
        format!("1,2\n\"{}\",\"b\"\n3,4", "x".repeat(50)),
    ] {
        let read = all_sizes(&folder, text.as_bytes(), &spec(), 50);
        assert_eq!(read.rows, [row(1, 1, "1", "2"), row(3, 3, "3", "4")]);
        assert_eq!(read.rejects, ["2:2 too_long the record is longer than 50 bytes"]);
    }
}

#[test]
fn what_is_too_long_is_told_by_its_first_bytes_alone() {
    let folder = Folder::new("csv-beyond");
    let twenty = "x".repeat(20);
    let cases: Vec<(String, Vec<&str>, Vec<&str>)> = vec![
        // The quote is behind what a record may have, or its line does not end in it: up to the next line end.
        (format!("{twenty},\"\n1,2\n"), vec!["1:1 too_long"], vec![r#"2:2 {"a":"1","b":"2"}"#]),
        (
            format!("1,\"{twenty}\n\n\"\n3,4\n"),
            vec!["1:1 too_long", "2:3 open_quote"],
            vec![r#"3:4 {"a":"3","b":"4"}"#],
        ),
        // It ends in it: reading goes on with the next line.
        (format!("1,\"x\n3,4\n{twenty}\"\n"), vec!["1:1 open_quote", "3:3 too_long"], vec![r#"2:2 {"a":"3","b":"4"}"#]),
        // No quote is open where it is too long, but line ends stand in quotes before.
        (format!("\"\n\n\",{twenty}\n5,6\n"), vec!["1:1 too_long"], vec![r#"2:4 {"a":"5","b":"6"}"#]),
    ];
    for (text, rejects, rows) in cases {
        let read = all_sizes(&folder, text.as_bytes(), &spec(), 10);
        let codes: Vec<&str> =
            read.rejects.iter().map(|reject| &reject[..reject.len().min(rejects[0].len())]).collect();
        assert_eq!(
            (codes.len(), &read.rows),
            (rejects.len(), &rows.iter().map(|row| (*row).to_owned()).collect()),
            "{text:?} {read:?}"
        );
        assert!(read.rejects.iter().zip(&rejects).all(|(found, code)| found.starts_with(code)), "{text:?} {read:?}");
    }
}

#[test]
fn a_header_ends_with_its_line_where_all_records_do() {
    let folder = Folder::new("csv-header-line");
    let spec = json!({ "format": "csv", "multiline": false, "columns": ["a string", "b string"] });
    let failure = all_sizes(&folder, b"a,\"b\nc\"\n1,2\n", &spec, 100).failure.expect("an open quote");
    assert!(failure.message.contains("its header has a quote that is not closed"), "{failure}");
}

#[test]
fn lines_that_end_records_always_can_be_told() {
    let folder = Folder::new("csv-lines");
    let mut spec = spec();
    spec["multiline"] = json!(false);
    let read = all_sizes(&folder, b"1,\"2\n3\",4\n\"5,\",\"\"\"6\"\r\n7,8\"\n", &spec, 100);
    assert_eq!(read.rows, [row(2, 2, "3\"", "4"), row(3, 3, "5,", "\"6"), row(4, 4, "7", "8\"")]);
    assert_eq!(read.rejects, ["1:1 open_quote a quote is not closed in its line"]);
}

#[test]
fn other_separators_headers_types_and_nulls() {
    let folder = Folder::new("csv-shape");
    let spec = json!({ "format": "csv", "separator": ";", "null": "NA", "columns": [
        { "name": "n", "type": "int8", "nullable": true },
        { "name": "s \"x\"\n;", "type": "string", "nullable": true },
        { "name": "l", "type": "list<int8>", "nullable": true },
    ] });
    let text =
        "\"l\";other;\"s \"\"x\"\"\n;\";n\n\n1,2;z;NA;\"12\"\nNA;z;\"NA\";NA\n\"3,\"\"4\";z;y;1\n;z;\"\";\"NA\"\n";
    let read = all_sizes(&folder, text.as_bytes(), &spec, 100);
    let row = |n: Json, s: Json, l: Json| json!({ "n": n, "s \"x\"\n;": s, "l": l }).to_string();
    assert_eq!(
        read.rows,
        [
            format!("1:4 {}", row(json!(12), Json::Null, json!([1, 2]))),
            format!("2:5 {}", row(Json::Null, json!("NA"), Json::Null)),
        ]
    );
    assert_eq!(
        read.rejects,
        [
            "3:6 bad_number column `l`, item 2: `\"4` is not a valid int8",
            "4:7 bad_number column `n`: `NA` is not a valid int8",
        ]
    );
    let cases: [(&[u8], &str); 5] = [
        (b"n,s\n", "its header has no column `l`"),
        (b"n,\"l\n", "its header has a quote that is not closed"),
        (b"\"n\"x,l\n", "its header has text after the closing quote of field 1"),
        (b"n,\xFF\n", "its header is not UTF-8"),
        (&[b'x'; 200], "its header is longer than 100 bytes"),
    ];
    for (text, message) in cases {
        let spec = json!({ "format": "csv", "columns": ["n int8", "l int8"] });
        let failure = all_sizes(&folder, text, &spec, 100).failure.expect(message);
        assert!(failure.message.contains(message), "{failure}");
    }
}

#[test]
fn text_that_is_not_utf8_is_rejected_where_text_is_declared() {
    let folder = Folder::new("csv-utf8");
    let spec = json!({ "format": "csv", "header": false, "columns": ["a string", "b binary"] });
    let read = all_sizes(&folder, b"\xFF,1\na,\xFF\n\"\"\"\xC3\",1\n\xC3\xA9,\"x\"\n", &spec, 100);
    assert_eq!(read.rows, [r#"2:2 {"a":"a","b":"/w=="}"#, r#"4:4 {"a":"é","b":"eA=="}"#]);
    assert_eq!(
        read.rejects,
        [
            "1:1 invalid_utf8 column `a`: `\u{fffd}` is not UTF-8",
            "3:3 invalid_utf8 column `a`: `\"\u{fffd}` is not UTF-8"
        ]
    );
}

/// Fields of a few characters that matter, the same in every run.
fn made(seed: u64, records: usize) -> Vec<Vec<String>> {
    let mut state = seed;
    let mut below = |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let mut field = || (0..below(12)).map(|_| ['a', ',', '"', '\n', 'é', ' ', '\r'][below(7) as usize]).collect();
    (0..records).map(|_| vec![field(), field()]).collect()
}

#[test]
fn agrees_with_another_writer_and_reader() {
    let folder = Folder::new("csv-python");
    let records = made(7, 300);
    folder.write("in.json", json!(records).to_string().as_bytes());
    let script = "import csv, json, sys\n\
        rows = json.load(open(sys.argv[1]))\n\
        csv.writer(open(sys.argv[2], 'w', newline='', encoding='utf-8'), lineterminator=sys.argv[3]).writerows(rows)";
    for end in ["\n", "\r\n"] {
        let out = folder.path("out.csv");
        let made = Command::new("python3").args(["-c", script]).arg(folder.path("in.json")).arg(&out).arg(end).output();
        match made {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "python3 cannot be run");
                return;
            }
        }
        let bytes = std::fs::read(&out).expect("there");
        for size in [7, 64, 1 << 16] {
            let mut spec = spec();
            spec["newline"] = json!(if end == "\n" { "lf" } else { "crlf" });
            let read = read_bytes(&folder, "a", &bytes, &spec, Limits { bytes: size, ..LIMITS });
            assert_eq!(read.rejects, [""; 0]);
            let text: Vec<&str> = read.rows.iter().filter_map(|row| row.split_once(' ')).map(|(_, row)| row).collect();
            let expected: Vec<String> =
                records.iter().map(|row| json!({ "a": row[0], "b": row[1] }).to_string()).collect();
            assert_eq!(text, expected);
        }
    }
}

#[test]
fn damage_anywhere_is_harmless() {
    let folder = Folder::new("csv-damage");
    let whole = b"1,\"two \"\"words\"\"\nand a line\"\r\n\"3\",4\r\n5,6\r\n".as_slice();
    for at in 0..whole.len() {
        let mut cases = vec![whole[..at].to_vec()];
        cases.extend(b"\",\r\nx\xFF".iter().map(|byte| [&whole[..at], &[*byte], &whole[at + 1..]].concat()));
        for case in cases {
            let expected = read_bytes(&folder, "a", &case, &spec(), LIMITS);
            assert_eq!(expected.failure, None);
            for bytes in [1, 5] {
                let read = read_bytes(&folder, "a", &case, &spec(), Limits { bytes, rows: 2, ..LIMITS });
                assert_eq!(read, expected, "{:?}", String::from_utf8_lossy(&case));
            }
        }
    }
}

#[test]
fn keys_that_make_no_sense_are_problems() {
    let cases = [
        ("tsv", "separator", json!(";"), "`separator` has no effect on tsv"),
        ("tsv", "multiline", json!(true), "`multiline` has no effect on tsv"),
        ("csv", "separator", json!(""), "a `separator` is one ASCII character"),
        ("csv", "separator", json!("\""), "a `separator` is one ASCII character"),
        ("lines", "header", json!(false), "`header` has no effect on lines"),
        ("lines", "columns", json!(["a string", "b string"]), "lines have one column"),
    ];
    for (format, key, value, message) in cases {
        let mut spec = json!({ "path": "a", "format": format, "columns": ["a string"] });
        spec[key] = value;
        let problems = compile(&spec, LIMITS).err().expect(message);
        assert!(problems.iter().any(|problem| problem.contains(message)), "{message}: {problems:?}");
    }
}
