//! Values of every type through every format and store: what is read back is what was written, to the last digit,
//! and what a format cannot hold is a reject. Nulls and lists with nulls among them.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::DateTime;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::Value;

use crate::{postgres::Database, work::Work};

/// The types that stand alone.
const SCALARS: [&str; 17] = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "string",
    "binary",
    "date",
    "timestamp",
    "timestamp_ns",
    "json",
];

/// Text that has a meaning somewhere on its way.
const ODD: [&str; 22] = [
    "",
    "\\N",
    "\\\\N",
    "null",
    "NULL",
    "a,b",
    " a",
    "a ",
    "\t",
    "a\nb",
    "a\r",
    "\"",
    "\"a\"",
    "'",
    "\\",
    "{1,2}",
    "[1]",
    "a\u{0}b",
    "é",
    "\u{feff}x",
    "😀",
    "a text that is longer than a view holds in itself",
];

/// JSON whose numbers and spelling no reader of doubles gives back.
const DOCUMENTS: [&str; 9] = [
    "1.50",
    "2.22507e-308",
    "123456789012345678901234567890",
    "{\"a\":[1,-0.0,1E+2],\"b\":{\"c\":null}}",
    "\"null\"",
    "true",
    "[]",
    "{\"z\":1,\"a\":0.1234567890123456789}",
    "\"\\u0041\"",
];

const LOST: &str = "unrepresentable";

/// A value as NDJSON has it.
fn scalar(name: &str) -> BoxedStrategy<String> {
    fn int<T: Arbitrary + ToString + Copy + 'static>(edges: [T; 2]) -> BoxedStrategy<String> {
        prop_oneof![prop::sample::select(edges.to_vec()), any::<T>()].prop_map(|n| n.to_string()).boxed()
    }
    fn json<T: serde::Serialize>(value: T) -> String {
        serde_json::to_string(&value).expect("a number or text")
    }
    fn moment(time: DateTime<chrono::Utc>, digits: usize) -> String {
        let fraction = time.timestamp_subsec_nanos() / 10_u32.pow(9 - digits as u32);
        let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:0digits$}") };
        format!("\"{}{fraction}Z\"", time.format("%Y-%m-%dT%H:%M:%S"))
    }
    // The years 1 to 9999.
    let (first, last) = (-62_135_596_800_i64, 253_402_300_799_i64);
    match name {
        "bool" => any::<bool>().prop_map(|bit| bit.to_string()).boxed(),
        "int8" => int([i8::MIN, i8::MAX]),
        "int16" => int([i16::MIN, i16::MAX]),
        "int32" => int([i32::MIN, i32::MAX]),
        "int64" => int([i64::MIN, i64::MAX]),
        "uint8" => int([u8::MIN, u8::MAX]),
        "uint16" => int([u16::MIN, u16::MAX]),
        "uint32" => int([u32::MIN, u32::MAX]),
        "uint64" => int([u64::MIN, u64::MAX]),
        "float32" => {
            any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite()).prop_map(json).boxed()
        }
        "float64" => {
            any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite()).prop_map(json).boxed()
        }
        "string" => text().prop_map(json).boxed(),
        "binary" => prop_oneof![vec(any::<u8>(), 0..20), text().prop_map(String::into_bytes)]
            .prop_map(|bytes| json(STANDARD.encode(bytes)))
            .boxed(),
        "date" => (first / 86_400..=last / 86_400)
            .prop_map(|day| DateTime::from_timestamp(day * 86_400, 0).expect("a day"))
            .prop_map(|day| format!("\"{}\"", day.format("%Y-%m-%d")))
            .boxed(),
        "timestamp" => (first..=last, prop_oneof![Just(0), 0..1_000_000_u32])
            .prop_map(|(second, micros)| moment(DateTime::from_timestamp(second, micros * 1000).expect("a time"), 6))
            .boxed(),
        "timestamp_ns" => prop_oneof![any::<i64>(), prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX])]
            .prop_map(|nanos| moment(DateTime::from_timestamp_nanos(nanos), 9))
            .boxed(),
        "json" => {
            prop_oneof![prop::sample::select(&DOCUMENTS[..]).prop_map(str::to_owned), text().prop_map(json)].boxed()
        }
        other => panic!("no values of {other}"),
    }
}

fn text() -> BoxedStrategy<String> {
    let any = vec(any::<char>(), 0..16).prop_map(String::from_iter);
    prop_oneof![prop::sample::select(&ODD[..]).prop_map(str::to_owned), any].boxed()
}

fn value(name: &str) -> BoxedStrategy<String> {
    match name.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
        None => scalar(name),
        Some(item) => vec(prop_oneof![4 => value(item), 1 => Just("null".to_owned())], 0..4)
            .prop_map(|items| format!("[{}]", items.join(",")))
            .boxed(),
    }
}

/// A row has a value of one type, and none of all others.
#[derive(Clone, Debug)]
struct Row {
    column: usize,
    value: String,
}

fn rows(types: &[String]) -> impl Strategy<Value = Vec<Row>> + use<> {
    let row = |(column, name): (usize, &String)| value(name).prop_map(move |value| Row { column, value }).boxed();
    vec(prop::strategy::Union::new(types.iter().enumerate().map(row)), 150)
}

fn lists(of: &[&str]) -> Vec<String> {
    of.iter().map(|item| format!("list<{item}>")).collect()
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

/// What one target is tried with.
struct Target {
    types: Vec<String>,
    /// The keys of the sink that writes, and of the source that reads again.
    write: &'static str,
    read: &'static str,
    /// The reason of a reject, and the values that are ones: those that it cannot hold.
    reason: &'static str,
    lacks: fn(&str, &str) -> bool,
}

impl Target {
    fn columns(&self) -> String {
        let column = |(i, name): (usize, &String)| format!(", {{ name = 'c{i}', type = '{name}', nullable = true }}");
        let rest: String = self.types.iter().enumerate().map(column).collect();
        format!("columns = ['id int64'{rest}]")
    }

    fn line(&self, id: usize, row: &Row) -> String {
        let fields = (0..self.types.len()).map(|i| match i == row.column {
            true => format!(",\"c{i}\":{}", row.value),
            false => format!(",\"c{i}\":null"),
        });
        format!("{{\"id\":{id}{}}}\n", fields.collect::<String>())
    }

    /// Writes rows and reads them again, each time by a run of the program.
    fn check(&self, work: &Work, rows: &[Row]) -> Result<(), TestCaseError> {
        let lines: Vec<String> = rows.iter().enumerate().map(|(id, row)| self.line(id, row)).collect();
        let columns = self.columns();
        work.file("in.ndjson", lines.concat());
        work.file(
            "write.toml",
            format!(
                "name = 'write'\nlimits = {{ rejects = '100%' }}\nrejects = {{ path = 'rejects.ndjson' }}\n\
                 [sources.in]\ntype = 'files'\npath = 'in.ndjson'\nformat = 'ndjson'\n{columns}\n\
                 [sinks.out]\ninput = 'in'\n{}\n",
                self.write
            ),
        );
        work.file(
            "read.toml",
            format!(
                "name = 'read'\n[sources.in]\n{}\n{columns}\n\
                 [sinks.out]\ntype = 'files'\ninput = 'in'\npath = 'back.ndjson'\nformat = 'ndjson'\n",
                self.read
            ),
        );
        work.expect(0, &["write.toml", "--quiet", "--fresh"]);
        let refused = work.json_lines("rejects.ndjson");
        let reasons: BTreeSet<&str> = refused.iter().filter_map(|line| line["reason"].as_str()).collect();
        prop_assert!(reasons.iter().all(|reason| *reason == self.reason), "{:?}", refused);
        work.expect(0, &["read.toml", "--quiet", "--fresh"]);
        let mut back: Vec<String> = work.read("back.ndjson").lines().map(|line| format!("{line}\n")).collect();
        let id = |line: &String| line[6..].split(',').next().and_then(|id| id.parse::<usize>().ok());
        back.sort_by_key(id);
        let kept = |(id, row): &(usize, &Row)| {
            (!(self.lacks)(&self.types[row.column], &row.value)).then(|| lines[*id].clone())
        };
        let expected: Vec<String> = rows.iter().enumerate().filter_map(|row| kept(&row)).collect();
        for (found, wanted) in back.iter().zip(&expected) {
            prop_assert_eq!(found, wanted);
        }
        prop_assert_eq!((back.len(), refused.len()), (expected.len(), rows.len() - expected.len()), "{:?}", refused);
        Ok(())
    }

    fn holds(&self, cases: u32, work: &Work) {
        let config = Config { cases, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
        let ran = TestRunner::new(config).run(&rows(&self.types), |rows| self.check(work, &rows));
        ran.unwrap_or_else(|error| panic!("{error}"));
    }
}

fn nothing(_: &str, _: &str) -> bool {
    false
}

/// The text of a value in a text format, its items joined by commas; `None` where a list cannot be told from another.
fn plain(name: &str, value: &str) -> Option<Vec<u8>> {
    let item = |name: &str, value: &Value, written: &str| match value {
        Value::String(text) if name == "binary" => STANDARD.decode(text).expect("base64"),
        Value::String(text) if name != "json" => text.clone().into_bytes(),
        _ => written.as_bytes().to_vec(),
    };
    let parsed: Value = serde_json::from_str(value).expect("JSON");
    let Some(of) = name.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) else {
        return Some(item(name, &parsed, value));
    };
    let items: Vec<Vec<u8>> = parsed.as_array()?.iter().map(|value| item(of, value, &value.to_string())).collect();
    let is_space = |byte: Option<&u8>| byte == Some(&b' ');
    let odd = |item: &Vec<u8>| item.contains(&b',') || is_space(item.first()) || is_space(item.last());
    let nulls = parsed.as_array()?.iter().any(Value::is_null);
    let lost = nulls || items.iter().any(odd) || (items.len() == 1 && items[0].is_empty());
    (!lost).then(|| items.join(&b','))
}

fn not_in_csv(name: &str, value: &str) -> bool {
    plain(name, value).is_none()
}

fn not_in_tsv(name: &str, value: &str) -> bool {
    plain(name, value).is_none_or(|text| text == b"\\N" || text.iter().any(|byte| b"\t\r\n".contains(byte)))
}

fn not_in_sqlite(name: &str, value: &str) -> bool {
    name == "uint64" && value.parse::<u64>().is_ok_and(|number| i64::try_from(number).is_err())
}

fn text_types() -> Vec<String> {
    [names(&SCALARS), lists(&SCALARS[..16])].concat()
}

fn nested() -> Vec<String> {
    [names(&SCALARS), lists(&SCALARS), lists(&["list<int32>", "list<string>", "list<binary>", "list<list<json>>"])]
        .concat()
}

#[test]
fn csv_gives_back_what_it_takes() {
    for write in [
        "type = 'files'\npath = 'a.csv'\nformat = 'csv'\nnull = '\\N'",
        "type = 'files'\npath = 'a.csv'\nformat = 'csv'\nnull = ''",
    ] {
        let read = write;
        Target { types: text_types(), write, read, reason: LOST, lacks: not_in_csv }.holds(3, &Work::new());
    }
}

#[test]
fn tsv_gives_back_what_it_takes() {
    let write = "type = 'files'\npath = 'a.tsv'\nformat = 'tsv'\nnull = '\\N'";
    Target { types: text_types(), write, read: write, reason: LOST, lacks: not_in_tsv }.holds(4, &Work::new());
}

#[test]
fn ndjson_gives_back_what_it_takes() {
    let write = "type = 'files'\npath = 'a.ndjson'\nformat = 'ndjson'";
    Target { types: nested(), write, read: write, reason: LOST, lacks: nothing }.holds(4, &Work::new());
}

#[test]
fn parquet_gives_back_what_it_takes() {
    let write = "type = 'files'\npath = 'a.parquet'\nformat = 'parquet'";
    Target { types: nested(), write, read: write, reason: LOST, lacks: nothing }.holds(4, &Work::new());
}

#[test]
fn sqlite_gives_back_what_it_takes() {
    let write = "type = 'sqlite'\ndatabase = 'a.db'\ntable = 't'\ncreate = 'replace'";
    let read = "type = 'sqlite'\ndatabase = 'a.db'\ntable = 't'";
    Target { types: nested(), write, read, reason: "bad_value", lacks: not_in_sqlite }.holds(4, &Work::new());
}

/// Its `jsonb` is a normal form of JSON, and its times end at microseconds: neither is tried here.
#[test]
fn postgres_gives_back_what_it_takes() {
    let database = Database::new();
    let write = "type = 'postgres'\nurl = { env = 'DATABASE_URL' }\ntable = 't'\ncreate = 'replace'";
    let read = "type = 'postgres'\nurl = { env = 'DATABASE_URL' }\ntable = 't'";
    let types = [names(&SCALARS[..15]), lists(&SCALARS[..15])].concat();
    let lacks = |name: &str, value: &str| name.contains("string") && value.contains("\\u0000");
    Target { types, write, read, reason: "bad_value", lacks }.holds(3, &database.work);
}

#[test]
fn kv_gives_back_the_documents_it_takes() {
    for backend in ["folder", "sqlite"] {
        let config = Config { cases: 3, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
        let work = Work::new();
        let ran = TestRunner::new(config).run(&vec(value("json"), 1..60), |documents| {
            let lines =
                documents.iter().enumerate().map(|(i, value)| format!("{{\"key\":\"k{i:02}\",\"value\":{value}}}\n"));
            let lines: Vec<String> = lines.collect();
            work.file("in.ndjson", lines.concat());
            let _ = std::fs::remove_dir_all(work.path("store"));
            let _ = std::fs::remove_file(work.path("store"));
            let store = format!("type = 'kv'\npath = 'store'\nbackend = '{backend}'");
            let columns = "columns = ['key string', 'value json']";
            work.file(
                "write.toml",
                format!(
                    "name = 'w'\n[sources.in]\ntype = 'files'\npath = 'in.ndjson'\nformat = 'ndjson'\n{columns}\n\
                     [sinks.out]\ninput = 'in'\n{store}\nkey = 'key'\nvalue = 'value'\n"
                ),
            );
            work.file(
                "read.toml",
                format!(
                    "name = 'r'\n[sources.in]\n{store}\n\
                     [sinks.out]\ntype = 'files'\ninput = 'in'\npath = 'back.ndjson'\nformat = 'ndjson'\n"
                ),
            );
            work.expect(0, &["write.toml", "--quiet", "--fresh"]);
            work.expect(0, &["read.toml", "--quiet", "--fresh"]);
            let mut back: Vec<String> = work.read("back.ndjson").lines().map(|line| format!("{line}\n")).collect();
            back.sort();
            prop_assert_eq!(back, lines);
            Ok(())
        });
        ran.unwrap_or_else(|error| panic!("{backend}: {error}"));
    }
}

/// Lines have one column, so each type has a run of its own, and its rows have no number.
#[test]
fn lines_give_back_what_they_take() {
    for name in ["string", "binary", "float64", "json", "timestamp", "list<string>", "list<binary>"] {
        let config = Config { cases: 2, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
        let work = Work::new();
        let column = format!("columns = [{{ name = 'c', type = '{name}', nullable = true }}]");
        let lines = "type = 'files'\npath = 'a.txt'\nformat = 'lines'\nnull = '\\N'";
        let ran = TestRunner::new(config).run(&vec(prop_oneof![9 => value(name), 1 => Just("null".to_owned())], 100), |values| {
            let all: Vec<String> = values.iter().map(|value| format!("{{\"c\":{value}}}\n")).collect();
            work.file("in.ndjson", all.concat());
            let write = format!(
                "name = 'w'\nlimits = {{ rejects = '100%' }}\nrejects = {{ path = 'rejects.ndjson' }}\n[sources.in]\ntype = 'files'\n\
                 path = 'in.ndjson'\nformat = 'ndjson'\n{column}\n[sinks.out]\ninput = 'in'\n{lines}\n"
            );
            let read = format!(
                "name = 'r'\n[sources.in]\n{lines}\n{column}\n\
                 [sinks.out]\ntype = 'files'\ninput = 'in'\npath = 'back.ndjson'\nformat = 'ndjson'\n"
            );
            work.file("write.toml", write);
            work.file("read.toml", read);
            work.expect(0, &["write.toml", "--quiet", "--fresh"]);
            work.expect(0, &["read.toml", "--quiet", "--fresh"]);
            let first = std::cell::Cell::new(true);
            let kept = |value: &&String| {
                *value == "null" || plain(name, value).is_some_and(|text| {
                    text != b"\\N" && !text.iter().any(|byte| b"\r\n".contains(byte))
                })
            };
            let expected: String = values
                .iter()
                .filter(kept)
                .map(|value| {
                    // The first bytes of a file may be its mark; nothing else is lost with it.
                    let marked = first.replace(false) && value.starts_with("\"\u{feff}");
                    format!("{{\"c\":{}}}\n", if marked { value.replacen('\u{feff}', "", 1) } else { value.clone() })
                })
                .collect();
            prop_assert_eq!(work.read("back.ndjson"), expected);
            Ok(())
        });
        ran.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
