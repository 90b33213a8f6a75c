//! tsv, csv, ndjson and lines: any bytes are rows, rejects or a failure, whatever the blocks and batches.

use std::{fmt, fs};

use proptest::{
    prelude::{Just, any},
    prop_assert, prop_assert_eq, prop_oneof, sample,
    strategy::{BoxedStrategy, Strategy},
    test_runner::TestCaseResult,
};
use serde_json::{Value as Json, json};

use crate::{
    bytes::soup,
    files::{Read, Sizes, TemporaryFile, compile, read},
    fuzz,
};

/// A file and how it is read.
#[derive(Clone)]
struct Input {
    spec: Json,
    text: Vec<u8>,
    sizes: Sizes,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} \"{}\"", self.spec, self.sizes, self.text.escape_ascii())
    }
}

const COLUMNS: &[&str] = &[
    r#"["a int64", "b string", "c list<string>"]"#,
    r#"["a string"]"#,
    r#"[{"name": "a", "type": "float64", "nullable": true}, {"name": "b", "type": "json", "nullable": true}]"#,
    r#"[{"name": "a", "type": "bool", "nullable": true, "invalid": "null"}, "b date", "c timestamp"]"#,
    r#"[{"name": "c", "type": "list<int64>", "nullable": true, "invalid": "drop_items"}, "a binary", "b uint8"]"#,
];

fn sizes() -> impl Strategy<Value = Sizes> {
    let record = prop_oneof![3 => Just(16_usize << 20), 1 => 1..80_usize];
    (1..5_usize, prop_oneof![1..40_usize, 1..500_usize], record).prop_map(|(rows, bytes, record)| Sizes {
        rows,
        bytes,
        record,
    })
}

fn inputs(format: &'static str) -> BoxedStrategy<Input> {
    let columns = sample::select(COLUMNS).prop_map(|text| serde_json::from_str::<Json>(text).unwrap());
    let newline = sample::select(vec!["auto", "auto", "lf", "crlf", "cr"]);
    let choices = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let spec =
        (columns, newline, choices).prop_map(move |(mut columns, newline, (header, null, separator, multiline))| {
            let list = columns.as_array_mut().unwrap();
            match format {
                "lines" => list.truncate(1),
                "ndjson" => {}
                _ => list.retain(|column| !column.to_string().contains("list<json")),
            }
            let mut spec = json!({ "format": format, "newline": newline, "columns": columns });
            if header && matches!(format, "tsv" | "csv") {
                spec["header"] = json!(true);
            } else if format == "csv" {
                spec["header"] = json!(false);
            }
            if null && format != "ndjson" {
                spec["null"] = json!("\\N");
            }
            if separator && format == "csv" {
                spec["separator"] = json!(";");
            }
            if multiline && format == "csv" {
                spec["multiline"] = json!(false);
            }
            spec
        });
    (spec, soup(60), sizes()).prop_map(|(spec, text, sizes)| Input { spec, text, sizes }).boxed()
}

/// Every record is a row or a reject, and they are counted through.
fn whole(read: &Read) -> TestCaseResult {
    let mut records: Vec<u64> =
        read.rows.iter().map(|row| row.0).chain(read.rejects.iter().map(|reject| reject.0)).collect();
    records.sort_unstable();
    let counted: Vec<u64> = (1..=records.len() as u64).collect();
    prop_assert_eq!(records, counted, "{:?}", read);
    let lines: Vec<u64> = read.rows.iter().map(|row| row.1).collect();
    prop_assert!(lines.is_sorted(), "{:?}", lines);
    Ok(())
}

fn check(input: Input) -> TestCaseResult {
    let file = TemporaryFile::new(".txt");
    fs::write(&file.0, &input.text).unwrap();
    let mut spec = input.spec;
    spec["path"] = json!(file.0);
    let large = Sizes { rows: 1000, bytes: 1 << 16, record: input.sizes.record };
    let compiled =
        compile(&spec, large).map_err(|problems| proptest::test_runner::TestCaseError::fail(problems.join("; ")))?;
    let once = read(compiled.stage.as_ref());
    whole(&once)?;
    let compiled = compile(&spec, input.sizes).unwrap();
    prop_assert_eq!(&read(compiled.stage.as_ref()), &once);
    inferred(spec, large)
}

/// The same file with its columns left out: what they are inferred from has no value that disagrees with them.
fn inferred(mut spec: Json, sizes: Sizes) -> TestCaseResult {
    spec.as_object_mut().unwrap().remove("columns");
    let Ok(compiled) = compile(&spec, sizes) else { return Ok(()) };
    let read = read(compiled.stage.as_ref());
    whole(&read)?;
    for (_, _, why, record) in &read.rejects {
        let shape =
            ["field_count", "bad_json", "bad_type: the record", "too_deep", "too_long", "open_quote", "bad_quote"];
        let other = ["invalid_utf8", "bad_string"];
        let known = shape.iter().chain(&other).any(|code| why.starts_with(code));
        prop_assert!(known || std::str::from_utf8(record).is_err(), "{} of {}", why, spec);
    }
    Ok(())
}

#[test]
fn tsv() {
    fuzz("tsv", 600, &inputs("tsv"), check);
}

#[test]
fn csv() {
    fuzz("csv", 600, &inputs("csv"), check);
}

#[test]
fn ndjson() {
    fuzz("ndjson", 600, &inputs("ndjson"), check);
}

#[test]
fn lines() {
    fuzz("lines", 300, &inputs("lines"), check);
}
