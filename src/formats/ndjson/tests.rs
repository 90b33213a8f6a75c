//! The decoder against another reader of JSON, on records made and damaged by chance, the same in every run.

use serde_json::{Map, Value, json};

use super::*;
use crate::{
    batch::SplitId,
    formats::blocks::LineEnd,
    jobspec::{Path, Problems},
    values::{columns, json as row_json},
};

/// Numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn text(&mut self) -> String {
        const CHARACTERS: [char; 12] = ['a', 'b', ' ', '"', '\\', '\n', '\u{1}', 'é', '😀', '/', '{', ','];
        (0..self.below(20)).map(|_| CHARACTERS[self.below(12) as usize]).collect()
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth > 3 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(1 << 30) as i64 - (1 << 29)),
            3 => json!(self.below(1 << 30) as f64 / 8.0 - 1e5),
            4 | 5 => json!(self.text()),
            6 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect(),
            _ => Value::Object((0..self.below(4)).map(|_| (self.text(), self.value(depth + 1))).collect()),
        }
    }

    fn record(&mut self) -> Value {
        let mut record = Map::new();
        for name in ["int", "float", "text", "bool", "json", "list", "unknown", "other"] {
            if self.below(8) > 0 {
                let value = match name {
                    "int" => json!(self.below(1000)),
                    "float" => json!(self.below(1000) as f64 / 8.0),
                    "text" => json!(self.text()),
                    "bool" => json!(self.below(2) == 0),
                    "list" => json!([self.text(), null, self.text()]),
                    _ => self.value(0),
                };
                record.insert(name.to_owned(), if self.below(20) == 0 { self.value(2) } else { value });
            }
        }
        Value::Object(record)
    }
}

const COLUMNS: [(&str, &str); 6] = [
    ("int", "int64"),
    ("float", "float64"),
    ("text", "string"),
    ("bool", "bool"),
    ("json", "json"),
    ("list", "list<string>"),
];

fn decoder() -> NdjsonDecoder {
    let specs: Vec<ColumnSpec> = COLUMNS
        .iter()
        .map(|(name, of)| json!({ "name": name, "type": of, "nullable": true }))
        .map(|spec| serde_json::from_value(spec).expect("a column"))
        .collect();
    let schema = columns::schema(&specs, &Path::default(), &mut Problems::default()).expect("a schema");
    NdjsonDecoder::new(&specs, &schema, 1000, 100_000)
}

fn decode(text: &[u8]) -> (Vec<Value>, Vec<&'static str>) {
    let utf8 = std::str::from_utf8(text).is_ok();
    let chunk = Chunk { bytes: text.to_vec().into(), line_end: LineEnd::Any, utf8, last: true };
    let mut rejects = Rejects::default();
    let start = Start { split: SplitId(0), record: 1, line: 1 };
    let records = decoder().decode(&chunk, start, &mut rejects).expect("decodes").records;
    let rows = (0..records.num_rows()).map(|row| row_json::row(&records, row));
    (
        rows.map(|row| serde_json::from_str(&row).expect("JSON")).collect(),
        rejects.take().iter().map(|reject| reject.code.0).collect(),
    )
}

/// What the columns should be of a record, if all of it fits.
fn expected(record: &Value) -> Option<Value> {
    let fits = |name: &str, value: &Value| match name {
        // A whole number may be written as one that only knows floats writes it.
        "int" => value.is_i64() || value.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() < 1e15),
        "float" => value.is_number(),
        "text" => value.is_string(),
        "bool" => value.is_boolean(),
        "list" => value.as_array().is_some_and(|items| items.iter().all(|item| item.is_null() || item.is_string())),
        _ => true,
    };
    let mut row = Map::new();
    for (name, _) in COLUMNS {
        let value = record.get(name).cloned().unwrap_or(Value::Null);
        if !value.is_null() && !fits(name, &value) {
            return None;
        }
        let value = match name {
            "float" => value.as_f64().map_or(Value::Null, Value::from),
            "int" if value.is_f64() => value.as_f64().map_or(Value::Null, |float| Value::from(float as i64)),
            _ => value,
        };
        row.insert(name.to_owned(), value);
    }
    Some(Value::Object(row))
}

#[test]
fn records_made_by_chance_are_read_as_another_reader_does() {
    let mut chance = Chance(1);
    let records: Vec<Value> = (0..900).map(|_| chance.record()).collect();
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let (rows, rejects) = decode(lines.join("\n").as_bytes());
    let good: Vec<Value> = records.iter().filter_map(expected).collect();
    for (row, expected) in rows.iter().zip(&good) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), good.len());
    assert_eq!(rows.len() + rejects.len(), records.len());
    assert!(good.len() > 500 && rejects.len() > 50, "{} {}", good.len(), rejects.len());
}

/// A line cut short or with any byte changed is one record or none, and is read if it is JSON that fits.
#[test]
fn damage_by_chance_is_noticed() {
    let mut chance = Chance(2);
    for _ in 0..30 {
        let line = chance.record().to_string().into_bytes();
        for at in 0..line.len() {
            let mut damaged = line.clone();
            damaged[at] = chance.below(256) as u8;
            for text in [&damaged[..], &line[..at]] {
                if text.contains(&b'\n') || text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let (rows, rejects) = decode(text);
                assert_eq!(rows.len() + rejects.len(), 1);
                let theirs = serde_json::from_slice::<Value>(text).ok().filter(Value::is_object);
                // The other reader refuses half a surrogate pair and vast numbers also where nobody wants them. It does
                // not tell whether a whole number was written as `1.0` or as `1e0`.
                if let Some(record) = theirs.filter(|record| !record["int"].is_f64()) {
                    assert_eq!(rows.first(), expected(&record).as_ref(), "{}", String::from_utf8_lossy(text));
                }
            }
        }
    }
}
