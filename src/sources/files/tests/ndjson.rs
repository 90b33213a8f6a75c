//! Newline-delimited JSON from file to rows: every type, every reject, lines and blocks.

use serde_json::json;

use super::*;

fn spec(columns: Json) -> Json {
    json!({ "format": "ndjson", "columns": columns })
}

/// Reads one record per value, each `{"x": value}`.
fn column(folder: &Folder, declaration: &Json, values: &[&str]) -> Read {
    let lines: String = values.iter().map(|value| format!("{{\"x\": {value}}}\n")).collect();
    all_sizes(folder, lines.as_bytes(), &spec(json!([declaration])), 10_000)
}

fn values(read: &Read) -> Vec<String> {
    let value = |row: &String| row.split_once(r#"{"x":"#).map(|(_, rest)| rest[..rest.len() - 1].to_owned());
    read.rows.iter().filter_map(value).collect()
}

fn reasons(read: &Read) -> Vec<&str> {
    read.rejects.iter().filter_map(|reject| reject.split_once(' ')).map(|(_, reason)| reason).collect()
}

#[test]
fn every_type_takes_its_values_and_names_what_it_does_not_take() {
    let folder = Folder::new("ndjson-types");
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let cases: &[Case] = &[
        (
            "int8",
            &["-128", "300", "1.0", "1.5", "1e1"],
            &["-128", "1"],
            &[
                "bad_number column `x`: `300` is not a valid int8",
                "bad_number column `x`: `1.5` is not a valid int8",
                "bad_number column `x`: `1e1` is not a valid int8",
            ],
        ),
        (
            "int64",
            &["9223372036854775807", "9223372036854775808", "\"1\""],
            &["9223372036854775807"],
            &[
                "bad_number column `x`: `9223372036854775808` is not a valid int64",
                "bad_type column `x`: expected int64, found the string `\"1\"`",
            ],
        ),
        (
            "uint64",
            &["18446744073709551615", "-1"],
            &["18446744073709551615"],
            &["bad_number column `x`: `-1` is not a valid uint64"],
        ),
        (
            "float64",
            &["-1e3", "0.1", "5e-324", "1e400", "true"],
            &["-1000.0", "0.1", "5e-324"],
            &[
                "bad_number column `x`: `1e400` is not a valid float64",
                "bad_type column `x`: expected float64, found the boolean `true`",
            ],
        ),
        ("float32", &["0.5", "1e39"], &["0.5"], &["bad_number column `x`: `1e39` is not a valid float32"]),
        (
            "bool",
            &["true", "false", "1"],
            &["true", "false"],
            &["bad_type column `x`: expected bool, found the number `1`"],
        ),
        (
            "date",
            &["\"2024-02-29\"", "\"2023-02-29\"", "20240229"],
            &["\"2024-02-29\""],
            &[
                "bad_date column `x`: `2023-02-29` is not a valid date",
                "bad_type column `x`: expected date, found the number `20240229`",
            ],
        ),
        (
            "timestamp",
            &["\"2024-01-01T00:00:00Z\"", "\"now\"", "null"],
            &["\"2024-01-01T00:00:00Z\""],
            &[
                "bad_timestamp column `x`: `now` is not a valid timestamp",
                "unexpected_null column `x`: null, but it is not nullable",
            ],
        ),
        (
            "string",
            &[
                "\"\"",
                "\" a \"",
                "\"q\\\"\\u0041\\ud83d\\ude00\"",
                "\"thirteen bytes\"",
                "\"é a long text\\n\"",
                "\"\\ud83d\"",
                "{\"a\": [1]}",
                "[]",
            ],
            &["\"\"", "\" a \"", "\"q\\\"A😀\"", "\"thirteen bytes\"", "\"é a long text\\n\""],
            &[
                "bad_string column `x`: `\\ud83d` is not a valid string",
                "bad_type column `x`: expected string, found the object `{\"a\": [1]}`",
                "bad_type column `x`: expected string, found the list `[]`",
            ],
        ),
        (
            "json",
            &["{\"a\":[1,2.50]}", "null", "\"s\\u0041\"", "7", "{a}"],
            &["{\"a\":[1,2.50]}", "null", "\"s\\u0041\"", "7"],
            &["bad_json byte 8: expected a name in quotes, found `a`"],
        ),
        (
            "binary",
            &["\"\"", "\"YWI=\"", "\"Y\\u0057I=\"", "\"YWI\"", "1"],
            &["\"\"", "\"YWI=\"", "\"YWI=\""],
            &[
                "bad_base64 column `x`: `YWI` is not a valid binary",
                "bad_type column `x`: expected binary, found the number `1`",
            ],
        ),
        (
            "list<uint32>",
            &["[]", "[ 1 , 2 ]", "[1,null]", "[1,-2]", "[[1]]", "[1 2]", "1"],
            &["[]", "[1,2]", "[1,null]"],
            &[
                "bad_number column `x`: `-2` is not a valid uint32",
                "bad_type column `x`: expected list<uint32>, found the list `[1]`",
                "bad_json byte 10: expected `,` or `]`, found `2`",
                "bad_type column `x`: expected list<uint32>, found the number `1`",
            ],
        ),
        (
            "list<list<string>>",
            &["[[\"a\",null],[],null,[\"a longer one\\t\"]]"],
            &["[[\"a\",null],[],null,[\"a longer one\\t\"]]"],
            &[],
        ),
        ("list<json>", &["[1,{\"a\":null},null]"], &["[1,{\"a\":null},null]"], &[]),
        ("list<bool>", &["[true,false,null]"], &["[true,false,null]"], &[]),
        (
            "list<date>",
            &["[\"2024-01-01\"]", "[\"x\"]"],
            &["[\"2024-01-01\"]"],
            &["bad_date column `x`: `x` is not a valid date"],
        ),
    ];
    for (name, fields, good, bad) in cases {
        let read = column(&folder, &json!(format!("x {name}")), fields);
        assert_eq!(values(&read), *good, "{name}");
        assert_eq!(reasons(&read), *bad, "{name}");
    }
}

#[test]
fn absent_and_invalid_values_follow_the_declaration() {
    let folder = Folder::new("ndjson-null");
    let nullable = |name: &str| json!({ "name": "x", "type": name, "nullable": true });
    let become_null = |name: &str| json!({ "name": "x", "type": name, "nullable": true, "invalid": "null" });
    let drop_items = |name: &str| json!({ "name": "x", "type": name, "invalid": "drop_items" });
    let cases: Vec<(Json, &[&str], &[&str])> = vec![
        (nullable("int8"), &["null", "1"], &["null", "1"]),
        (nullable("json"), &["null", "{}"], &["null", "{}"]),
        (nullable("list<int8>"), &["null", "[null]"], &["null", "[null]"]),
        (become_null("int8"), &["300", "\"a\"", "{\"b\":[]}", "3"], &["null", "null", "null", "3"]),
        (become_null("list<int8>"), &["[1,\"x\"]", "[1,[2]]", "[3]"], &["null", "null", "[3]"]),
        (become_null("string"), &["\"\\udfff\"", "\"a\""], &["null", "\"a\""]),
        (drop_items("list<int8>"), &["[1,300,\"x\",{\"a\":1},2]", "[\"y\"]"], &["[1,2]", "[]"]),
        (drop_items("list<list<int8>>"), &["[[1,300],[[7],2],3]"], &["[[1],[2]]"]),
    ];
    for (declaration, fields, good) in cases {
        let read = column(&folder, &declaration, fields);
        assert_eq!(values(&read), *good, "{declaration}");
        assert_eq!(reasons(&read), [""; 0], "{declaration}");
    }
}

#[test]
fn fields_are_found_by_name_in_any_order() {
    let folder = Folder::new("ndjson-fields");
    let columns = json!(["a int8", { "name": "b", "type": "string", "nullable": true }, "é\"c json"]);
    let text = concat!(
        "{\"a\":1,\"b\":\"x\",\"é\\\"c\":[ 1,  2 ]}\n",
        "\r\n",
        "  \t\n",
        "{\"other\":{\"a\":[9,{}]},\"é\\u0022c\":3,\"a\":2}\r\n",
        "{\"b\":null,\"a\":3,\"a\":4,\"b\":\"y\\n\",\"é\\\"c\":\"w\", \"b\" : \"z\"} \n",
        "{\"\\u0061\":5,\"é\\\"c\":{}}\n",
        "{\"a\":6}\n",
        "{}\n",
        "{\"a\":7,\"é\\\"c\":0,\"b\":1,\"b\":\"late\"}\n",
        "{\"a\":8,\"é\\\"c\":0}",
    );
    let read = all_sizes(&folder, text.as_bytes(), &spec(columns), 10_000);
    let c = "\"é\\\"c\"";
    assert_eq!(
        read.rows,
        [
            format!("1:1 {{\"a\":1,\"b\":\"x\",{c}:[ 1,  2 ]}}"),
            format!("2:4 {{\"a\":2,\"b\":null,{c}:3}}"),
            format!("3:5 {{\"a\":4,\"b\":\"z\",{c}:\"w\"}}"),
            format!("4:6 {{\"a\":5,\"b\":null,{c}:{{}}}}"),
            format!("8:10 {{\"a\":8,\"b\":null,{c}:0}}"),
        ]
    );
    assert_eq!(
        read.rejects,
        [
            "5:7 missing_field column `é\"c` is missing and not nullable",
            "6:8 missing_field column `a` is missing and not nullable",
            "7:9 bad_type column `b`: expected string, found the number `1`",
        ]
    );
}

#[test]
fn what_is_no_json_is_refused_wherever_it_is() {
    let folder = Folder::new("ndjson-bad");
    let deep = format!("{{\"a\":1,\"z\":{}", "[".repeat(100_000));
    let just = format!("{{\"a\":1,\"z\":{}{}}}", "[".repeat(127), "]".repeat(127));
    let over = format!("{{\"a\":1,\"z\":{}{}}}", "[".repeat(128), "]".repeat(128));
    let cases: &[(&[u8], &str)] = &[
        (b"[1]", "bad_type the record is a list, not an object"),
        (b"\"a\"", "bad_type the record is not an object"),
        (b"nonsense", "bad_json byte 1: expected a value, found `n`"),
        (b"{\"a\":1", "bad_json byte 7: expected `,` or `}`, found the end of the line"),
        (b"{\"a\":1}}", "bad_json byte 8: expected the end of the line, found `}`"),
        (b"{\"a\":1} {\"a\":2}", "bad_json byte 9: expected the end of the line, found `{`"),
        (b"{\"a\":1,}", "bad_json byte 8: expected a name in quotes, found `}`"),
        (b"{\"a\" 1}", "bad_json byte 6: expected `:`, found `1`"),
        (b"{a:1}", "bad_json byte 2: expected a name in quotes, found `a`"),
        (b"{\"a\":01}", "bad_json byte 7: expected `,` or `}`, found `1`"),
        (b"{\"a\":1,\"z\":[1,]}", "bad_json byte 15: expected a value, found `]`"),
        (b"{\"a\":1,\"z\":{\"b\":1]}", "bad_json byte 18: expected `,` or `}`, found `]`"),
        (b"{\"a\":1,\"z\":tru}", "bad_json byte 12: expected a value, found `t`"),
        (b"{\"a\":1,\"z\":\"x}", "bad_json byte 15: expected the end of a string, found the end of the line"),
        (b"{\"a\":1,\"z\":\"\\x\"}", "bad_json byte 13: expected an escape, found `\\\\`"),
        (b"{\"a\":1,\"z\":\"\t\"}", "bad_json byte 13: expected no control character in a string, found `\\t`"),
        (b"{\"a\":1,\"z\":\0}", "bad_json byte 12: expected a value, found `\\0`"),
        // What is not JSON is refused for that, also where a value is bad before.
        (b"{\"a\":\"x\",\"z\":}", "bad_json byte 14: expected a value, found `}`"),
        (b"{\"a\":1,\"z\":\"\xFF\"}", "invalid_utf8 not UTF-8 at byte 13"),
        (b"\xFF", "invalid_utf8 not UTF-8 at byte 1"),
        (deep.as_bytes(), "too_deep byte 139: nested deeper than 128 levels"),
        (over.as_bytes(), "too_deep byte 139: nested deeper than 128 levels"),
    ];
    for (text, message) in cases {
        let lines = [b"{\"a\":1}\n", *text, b"\n", just.as_bytes(), b"\n{\"a\":3}"].concat();
        for bytes in [1, 64, 1 << 20] {
            let read = read_bytes(&folder, "a", &lines, &spec(json!(["a int8"])), Limits { bytes, ..LIMITS });
            assert_eq!(read.rows, ["1:1 {\"a\":1}", "3:3 {\"a\":1}", "4:4 {\"a\":3}"], "{message}");
            assert_eq!(read.rejects, [format!("2:2 {message}")]);
        }
    }
}

#[test]
fn json_stays_as_it_is_byte_for_byte() {
    let folder = Folder::new("ndjson-raw");
    let raw = r#"{ "b" : [1.50,  1E2, "\u00e9\/" ] , "a":null }"#;
    folder.write("a", format!("{{\"x\":  {raw} }}\n").as_bytes());
    let compiled = source(&json!({ "path": folder.text("a"), "format": "ndjson", "columns": ["x json"] }));
    let splits = compiled.stage.splits().expect("a split");
    let mut worker = compiled.stage.worker().expect("a worker");
    let mut reader = worker.open(SplitId(0), &splits[0]).expect("opens");
    let batch = reader.next_batch(&mut Rejects::default()).expect("reads").expect("a batch");
    let column = arrow_array::cast::AsArray::as_string_view(batch.records.column(0));
    assert_eq!(column.value(0), raw);
}

#[test]
fn a_record_that_is_too_long_is_one_reject() {
    let folder = Folder::new("ndjson-long");
    let text = format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n{{\"a\":2}}\n", "x".repeat(300));
    let read = all_sizes(&folder, text.as_bytes(), &spec(json!(["a int8"])), 40);
    assert_eq!(read.rows, ["1:1 {\"a\":1}", "3:3 {\"a\":2}"]);
    assert_eq!(read.rejects, ["2:2 too_long the record is longer than 40 bytes"]);
}

#[test]
fn keys_that_ndjson_has_no_use_for_are_problems() {
    let cases = [
        ("header", json!(true), "`header` has no effect on ndjson"),
        ("null", json!("\\N"), "`null` has no effect on ndjson: it has a null of its own"),
        ("columns", json!([{ "name": "a", "type": "list<int8>", "separator": ";" }]), "ndjson has lists of its own"),
    ];
    for (key, value, message) in cases {
        let mut spec = json!({ "path": "a", "format": "ndjson", "columns": ["a string"] });
        spec[key] = value;
        let problems = compile(&spec, LIMITS).err().expect(message);
        assert!(problems.iter().any(|problem| problem.contains(message)), "{message}: {problems:?}");
    }
}

#[test]
fn fields_may_be_missing_or_must_not() {
    let folder = Folder::new("ndjson-missing");
    let text = b"{\"a\":1,\"b\":2}\n{\"a\":1}\n{\"a\":1,\"b\":null,\"c\":3}\n";
    let columns = json!(["a int8", { "name": "b", "type": "int8", "nullable": true }]);
    let spec = |missing: Json| json!({ "format": "ndjson", "columns": columns, "missing": missing });
    let lax = read_bytes(&folder, "a.ndjson", text, &spec(json!("null")), LIMITS);
    assert_eq!((lax.rows.len(), lax.rejects.len()), (3, 0));
    assert_eq!(read_bytes(&folder, "a.ndjson", text, &spec(Json::Null), LIMITS), lax, "that is what goes unsaid");
    let strict = read_bytes(&folder, "a.ndjson", text, &spec(json!("reject")), LIMITS);
    assert_eq!(strict.rejects, ["2:2 missing_field column `b` is missing"]);
    assert_eq!(strict.rows, [r#"1:1 {"a":1,"b":2}"#, r#"3:3 {"a":1,"b":null}"#]);
}
