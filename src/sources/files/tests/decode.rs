//! Values of all types, good and bad, and the shape of records.

use serde_json::json;

use super::*;

/// Reads records of one column `x` of a type, after a column `k` that makes blank lines blank.
fn column(folder: &Folder, declaration: Json, no_value: Option<&str>, fields: &[&str]) -> Read {
    let lines: String = fields.iter().map(|field| format!("k\t{field}\n")).collect();
    let mut spec = json!({ "columns": ["k string", declaration] });
    if let Some(text) = no_value {
        spec["null"] = json!(text);
    }
    read_bytes(folder, "column.tsv", lines.as_bytes(), &spec, LIMITS)
}

/// The values of `x` as JSON.
fn values(read: &Read) -> Vec<String> {
    let value = |row: &String| row.split_once(r#""x":"#).map(|(_, rest)| rest[..rest.len() - 1].to_owned());
    read.rows.iter().filter_map(value).collect()
}

/// The code and message of rejects.
fn reasons(read: &Read) -> Vec<&str> {
    read.rejects.iter().filter_map(|reject| reject.split_once(' ')).map(|(_, reason)| reason).collect()
}

#[test]
fn every_type_takes_its_values_and_names_what_it_does_not_take() {
    let folder = Folder::new("types");
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let cases: &[Case] = &[
        ("int8", &["-128", "300"], &["-128"], &["bad_number column `x`: `300` is not a valid int8"]),
        ("int16", &["5", "5 "], &["5"], &["bad_number column `x`: `5 ` is not a valid int16"]),
        ("int32", &["7", "x"], &["7"], &["bad_number column `x`: `x` is not a valid int32"]),
        ("int64", &["-9", ""], &["-9"], &["bad_number column `x`: empty, expected int64"]),
        ("uint8", &["255", "-1"], &["255"], &["bad_number column `x`: `-1` is not a valid uint8"]),
        ("uint16", &["65535", "1.0", "1.5"], &["65535", "1"], &["bad_number column `x`: `1.5` is not a valid uint16"]),
        ("uint32", &["0", "4294967296"], &["0"], &["bad_number column `x`: `4294967296` is not a valid uint32"]),
        ("uint64", &["1", "1e3"], &["1"], &["bad_number column `x`: `1e3` is not a valid uint64"]),
        ("float32", &["0.5", "half"], &["0.5"], &["bad_number column `x`: `half` is not a valid float32"]),
        ("float64", &["-1e3", "1,5"], &["-1000.0"], &["bad_number column `x`: `1,5` is not a valid float64"]),
        (
            "bool",
            &["t", "0", "TRUE", "no"],
            &["true", "false", "true"],
            &["bad_bool column `x`: `no` is not a valid bool"],
        ),
        (
            "date",
            &["2024-02-29", "2023-02-29"],
            &["\"2024-02-29\""],
            &["bad_date column `x`: `2023-02-29` is not a valid date"],
        ),
        (
            "timestamp",
            &["2024-01-01", "2020-12-17 00:00:00 UTC", "now"],
            &["\"2024-01-01T00:00:00Z\"", "\"2020-12-17T00:00:00Z\""],
            &["bad_timestamp column `x`: `now` is not a valid timestamp"],
        ),
        (
            "timestamp_ns",
            &["2024-01-01T00:00:00.000000001Z", "3000-01-01"],
            &["\"2024-01-01T00:00:00.000000001Z\""],
            &["bad_timestamp column `x`: `3000-01-01` is not a valid timestamp_ns"],
        ),
        (
            "string",
            &["", " a ", "\"q\"", "a\0b", "thirteen bytes"],
            &["\"\"", "\" a \"", "\"\\\"q\\\"\"", "\"a\\u0000b\"", "\"thirteen bytes\""],
            &[],
        ),
        ("json", &["{\"a\": [1]}", "{a}"], &["{\"a\": [1]}"], &["bad_json column `x`: `{a}` is not a valid json"]),
        ("binary", &["", "ab"], &["\"\"", "\"YWI=\""], &[]),
        (
            "list<uint32>",
            &["", "1,2", "1, 2 ,3", "1,,2", "1,x,3", "1,2,"],
            &["[]", "[1,2]", "[1,2,3]"],
            &[
                "bad_number column `x`, item 2: empty, expected uint32",
                "bad_number column `x`, item 2: `x` is not a valid uint32",
                "bad_number column `x`, item 3: empty, expected uint32",
            ],
        ),
        ("list<int8>", &["-1,2", "1,200"], &["[-1,2]"], &["bad_number column `x`, item 2: `200` is not a valid int8"]),
        ("list<float64>", &["1.5, 2"], &["[1.5,2.0]"], &[]),
        ("list<bool>", &["t,f", "t,g"], &["[true,false]"], &["bad_bool column `x`, item 2: `g` is not a valid bool"]),
        ("list<string>", &["a, b ,,a longer item"], &["[\"a\",\"b\",\"\",\"a longer item\"]"], &[]),
        (
            "list<date>",
            &["2024-01-01,2024-01-32"],
            &[],
            &["bad_date column `x`, item 2: `2024-01-32` is not a valid date"],
        ),
    ];
    for (name, fields, good, bad) in cases {
        let read = column(&folder, json!(format!("x {name}")), None, fields);
        assert_eq!(values(&read), *good, "{name}");
        assert_eq!(reasons(&read), *bad, "{name}");
    }
}

#[test]
fn absent_and_invalid_values_follow_the_declaration() {
    let folder = Folder::new("null");
    let nullable = |name: &str| json!({ "name": "x", "type": name, "nullable": true });
    let become_null = |name: &str| json!({ "name": "x", "type": name, "nullable": true, "invalid": "null" });
    let drop_items = json!({ "name": "x", "type": "list<uint32>", "invalid": "drop_items" });
    let null =
        |field: &str| format!("unexpected_null column `x`: `{field}` means null, but the column is not nullable");
    type Case = (Json, Option<&'static str>, &'static [&'static str], &'static [&'static str], Vec<String>);
    let cases: Vec<Case> = vec![
        (nullable("int8"), None, &["", "1"], &["null", "1"], vec![]),
        (nullable("string"), None, &["", "a"], &["\"\"", "\"a\""], vec![]),
        (nullable("list<int8>"), None, &["", "1"], &["[]", "[1]"], vec![]),
        (nullable("string"), Some("\\N"), &["\\N", "", "N"], &["null", "\"\"", "\"N\""], vec![]),
        (nullable("list<string>"), Some("\\N"), &["\\N", "\\N,b"], &["null", "[\"\\\\N\",\"b\"]"], vec![]),
        (
            nullable("bool"),
            Some("NA"),
            &["NA", ""],
            &["null"],
            vec!["bad_bool column `x`: empty, expected bool".into()],
        ),
        (json!("x string"), Some("\\N"), &["\\N"], &[], vec![null("\\N")]),
        (json!("x list<int8>"), Some("0"), &["0"], &[], vec![null("0")]),
        (become_null("int8"), None, &["x", "300", "3"], &["null", "null", "3"], vec![]),
        (become_null("list<int8>"), None, &["1,2,x", "3"], &["null", "[3]"], vec![]),
        (become_null("json"), None, &["{", "1"], &["null", "1"], vec![]),
        (drop_items, None, &["1,x,2", "x", "", "1,,4294967296,2 "], &["[1,2]", "[]", "[]", "[1,2]"], vec![]),
        (
            json!({ "name": "x", "type": "list<string>", "separator": ";" }),
            None,
            &["a,b;c"],
            &["[\"a,b\",\"c\"]"],
            vec![],
        ),
        (json!({ "name": "x", "type": "list<uint8>", "separator": " " }), None, &["1 2"], &["[1,2]"], vec![]),
    ];
    for (declaration, text, fields, good, bad) in cases {
        let read = column(&folder, declaration.clone(), text, fields);
        assert_eq!(values(&read), *good, "{declaration}");
        assert_eq!(reasons(&read), bad, "{declaration}");
    }
}

#[test]
fn a_rejected_record_leaves_nothing_behind() {
    let folder = Folder::new("rollback");
    let spec = json!({ "columns": [
        "a list<uint8>", { "name": "b", "type": "string", "nullable": true }, "c float64", "d bool", "e date"
    ], "null": "-" });
    let text = "1,2\tx\t1\tt\t1970-01-01\n3,4\t-\t2\tf\tbad\n5,x\t-\t3\tf\t1970-01-01\n6\t-\t4\tt\t1970-01-02\n7\n";
    let read = read_bytes(&folder, "a.tsv", text.as_bytes(), &spec, LIMITS);
    assert_eq!(
        read.rows,
        [
            r#"1:1 {"a":[1,2],"b":"x","c":1.0,"d":true,"e":"1970-01-01"}"#,
            r#"4:4 {"a":[6],"b":null,"c":4.0,"d":true,"e":"1970-01-02"}"#
        ]
    );
    assert_eq!(
        read.rejects,
        [
            "2:2 bad_date column `e`: `bad` is not a valid date",
            "3:3 bad_number column `a`, item 2: `x` is not a valid uint8",
            "5:5 field_count expected 5 fields, found 1"
        ]
    );
}

#[test]
fn field_counts_go_before_bad_values() {
    let folder = Folder::new("count");
    let spec = json!({ "columns": ["a uint8", "b uint8"] });
    let read = read_bytes(&folder, "a.tsv", b"x\n1\t2\t3\n1\tx\n1\t2\nx\ty\tz", &spec, LIMITS);
    assert_eq!(read.rows, [r#"4:4 {"a":1,"b":2}"#]);
    assert_eq!(
        read.rejects,
        [
            "1:1 field_count expected 2 fields, found 1",
            "2:2 field_count expected 2 fields, found 3",
            "3:3 bad_number column `b`: `x` is not a valid uint8",
            "5:5 field_count expected 2 fields, found 3"
        ]
    );
}

#[test]
fn text_that_is_not_utf8_is_rejected_where_text_is_declared() {
    let folder = Folder::new("utf8");
    let spec = json!({ "columns": ["a string", "b binary", "c list<string>", "d json"] });
    let text = b"\xFF\t1\tx\t1\na\t\xFF\tx\t1\na\t1\tx,\xC3\t1\na\t1\tx\t\"\xFF\"\n\xC3\xA9\t1\tx\t1\n";
    let read = read_bytes(&folder, "a.tsv", text, &spec, LIMITS);
    assert_eq!(
        read.rows,
        [r#"2:2 {"a":"a","b":"/w==","c":["x"],"d":1}"#, r#"5:5 {"a":"é","b":"MQ==","c":["x"],"d":1}"#]
    );
    assert_eq!(
        read.rejects,
        [
            "1:1 invalid_utf8 column `a`: `\u{fffd}` is not UTF-8",
            "3:3 invalid_utf8 column `c`, item 2: `\u{fffd}` is not UTF-8",
            "4:4 invalid_utf8 column `d`: `\"\u{fffd}\"` is not UTF-8"
        ]
    );
}

#[test]
fn a_long_value_is_cut_in_the_message_and_whole_in_the_reject() {
    let folder = Folder::new("cut");
    let long = "é".repeat(70);
    let path = folder.write("a.tsv", format!("{long}\n").as_bytes());
    let compiled = source(&json!({ "path": path, "format": "tsv", "columns": ["a int8"] }));
    let splits = compiled.stage.splits().expect("a split");
    let mut worker = compiled.stage.worker().expect("a worker");
    let mut reader = worker.open(SplitId(0), &splits[0]).expect("opens");
    let mut rejects = Rejects::default();
    let batch = reader.next_batch(&mut rejects).expect("reads").expect("a batch");
    assert_eq!(batch.rows(), 0);
    let rejects = rejects.take();
    assert_eq!(rejects[0].message, format!("column `a`: `{}…` is not a valid int8", "é".repeat(64)));
    assert_eq!(rejects[0].record, long.as_bytes());
    assert!(reader.next_batch(&mut Rejects::default()).expect("reads").is_none());
}
