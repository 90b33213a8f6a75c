//! How fast the formats are decoded and encoded, on one core, from memory: movies of 3.3 KB as ndjson, of which
//! five of twenty fields are declared; rows of nine columns as csv, with quoted notes; the same as tsv.
//!
//! `cargo bench --bench formats` prints MB/s of the best of five rounds.

#![allow(clippy::print_stdout, missing_docs)]

use std::{
    fmt::Write,
    hint::black_box,
    time::{Duration, Instant},
};

use runner::{
    batch::{Batch, Rejects, Schema, SplitId},
    formats::{
        Chunk, Decoder, Encoder, Start,
        blocks::{Blocks, Newline, Piece},
        csv::{CsvDecoder, CsvEncoder, CsvStyle},
        ndjson::{NdjsonDecoder, NdjsonEncoder},
        tsv::{TsvDecoder, TsvEncoder},
    },
    jobspec::{Path, Problems},
    values::{
        cell::CellStyle,
        columns::{self, ColumnSpec},
    },
};

const BYTES: usize = 100_000_000;
const ROUNDS: usize = 5;
const BLOCK: usize = 1 << 20;
const MAX: usize = 16 << 20;

const MOVIE: [&str; 5] = ["titleId string", "primaryTitle string", "startYear date", "isAdult bool", "actors json"];
const ROW: [&str; 9] = [
    "id int64",
    "name string",
    "country string",
    "score float64",
    "born date",
    "active bool",
    "visits int32",
    "note string",
    "email string",
];

fn main() {
    let movies = movies();
    let (specs, schema) = declare(&MOVIE);
    let ndjson = || NdjsonDecoder::new(&specs, &schema, usize::MAX, MAX);
    report("cut into blocks, UTF-8 checked", &movies, || blocks(&movies, false, |chunk| Some(chunk.bytes.len())));
    report("ndjson, 5 of 20 fields", &movies, || drop(batches(&movies, &mut ndjson())));
    for (name, columns) in [
        ("ndjson, no field but one bool", vec!["isAdult bool"]),
        ("ndjson, names as list<string>", vec!["actors list<string>"]),
    ] {
        let (specs, schema) = declare(&columns);
        report(name, &movies, || {
            drop(batches(&movies, &mut NdjsonDecoder::new(&specs, &schema, usize::MAX, MAX)));
        });
    }
    encode("ndjson out, those 5", &batches(&movies, &mut ndjson()), &mut NdjsonEncoder::new(schema.clone()));

    let (specs, schema) = declare(&ROW);
    let csv = rows(',');
    let style = CsvStyle { separator: b',', multiline: true, null: None };
    let decoder = || CsvDecoder::new(&specs, &schema, style, usize::MAX, MAX);
    report("csv, 9 columns", &csv, || drop(batches(&csv, &mut decoder())));
    let all = batches(&csv, &mut decoder());
    encode("csv out", &all, &mut CsvEncoder::new(schema.clone(), plain(), b','));
    encode("ndjson out", &all, &mut NdjsonEncoder::new(schema.clone()));
    let tsv = rows('\t');
    let decoder = || TsvDecoder::new(&specs, &schema, None, usize::MAX, MAX);
    report("tsv, 9 columns", &tsv, || drop(batches(&tsv, &mut decoder())));
    encode("tsv out", &batches(&tsv, &mut decoder()), &mut TsvEncoder::new(schema.clone(), plain()));
}

fn plain() -> CellStyle {
    CellStyle { separator: b';', ..CellStyle::PLAIN }
}

fn declare(columns: &[&str]) -> (Vec<ColumnSpec>, Schema) {
    let specs: Vec<ColumnSpec> =
        columns.iter().map(|column| serde_json::from_value((*column).into()).expect("a column")).collect();
    let schema = columns::schema(&specs, &Path::default(), &mut Problems::default()).expect("a schema");
    (specs, schema)
}

/// Numbers that look random and are the same in every run.
fn random() -> impl FnMut(u64) -> u64 {
    let mut state = 42_u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

const FIRST: [&str; 8] = ["Ada", "Bernadette", "Chen", "Dmitri", "Elisabeth", "Femi", "Gabriela", "Hugo"];
const LAST: [&str; 8] = ["Ng", "Lovelace", "García", "Schwarzenbacher", "Okafor", "Li", "Johansson", "Ivanov"];

fn movies() -> Vec<u8> {
    let mut random = random();
    let mut text = String::with_capacity(BYTES + 10_000);
    for id in 0_u64.. {
        if text.len() > BYTES {
            break;
        }
        let mut names = |count: u64, text: &mut String| {
            for i in 0..count {
                let comma = if i == 0 { "" } else { "," };
                let _ = write!(text, "{comma}\"{} {}\"", FIRST[random(8) as usize], LAST[random(8) as usize]);
            }
        };
        let _ = write!(text, "{{\"titleId\":\"tt{id:08}\",\"ordering\":{},\"title\":\"Title {id}\"", id % 9);
        for field in ["region", "language", "types", "attributes", "titleType", "tconst", "originalTitle"] {
            let _ = write!(text, ",\"{field}\":\"{field} {}\"", id % 997);
        }
        let _ = write!(text, ",\"isOriginalTitle\":{},\"primaryTitle\":\"A title of number {id}\"", id % 2 == 0);
        let (adult, year, month) = (id % 10 == 0, 1950 + id % 75, 1 + id % 12);
        let _ = write!(text, ",\"isAdult\":{adult},\"startYear\":\"{year}-{month:02}-01\",\"endYear\":null");
        let _ = write!(text, ",\"runtimeMinutes\":{},\"genres\":[\"a\",\"b\"],\"directors\":[", 60 + id % 90);
        names(2, &mut text);
        text.push_str("],\"writers\":[");
        names(40, &mut text);
        text.push_str("],\"actors\":[");
        names(120, &mut text);
        text.push_str("]}\n");
    }
    text.into_bytes()
}

fn rows(separator: char) -> Vec<u8> {
    let mut random = random();
    let mut text = String::with_capacity(BYTES + 1000);
    let s = separator;
    for id in 0_u64.. {
        if text.len() > BYTES {
            break;
        }
        let (first, last) = (FIRST[random(8) as usize], LAST[random(8) as usize]);
        let (day, score, visits) = (1 + id % 28, random(10_000) as f64 / 100.0, random(1000));
        let _ = write!(text, "{id}{s}{first} {last}{s}SE{s}{score}{s}1980-01-{day:02}{s}{}{s}{visits}{s}", id % 2 == 0);
        let note = "bought two lamps, and a \"\"very\"\" large table";
        let _ = match separator {
            ',' => writeln!(text, "\"{note}\"{s}{first}.{id}@example.com"),
            _ => writeln!(text, "{note}{s}{first}.{id}@example.com"),
        };
    }
    text.into_bytes()
}

fn report(name: &str, text: &[u8], mut round: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed());
    }
    println!("{name:32} {:7.0} MB/s", text.len() as f64 / 1e6 / best.as_secs_f64());
}

/// Blocks as the source cuts them; `each` says how much of one it used.
fn blocks(text: &[u8], ragged: bool, mut each: impl FnMut(&Chunk) -> Option<usize>) {
    let mut blocks = Blocks::new(text, Newline::Auto, BLOCK, MAX);
    if ragged {
        blocks = blocks.ragged(Some(b','));
    }
    while let Some(Piece::Records(bytes)) = blocks.next_piece().expect("from memory") {
        let (utf8, last) = (simdutf8::basic::from_utf8(&bytes).is_ok(), blocks.ended());
        let chunk = Chunk { bytes, line_end: blocks.line_end(), utf8, last };
        let used = each(&chunk).unwrap_or(chunk.bytes.len());
        if ragged && used < chunk.bytes.len() {
            blocks.give_back(&chunk.bytes[used..]);
        }
    }
}

fn batches(text: &[u8], decoder: &mut dyn Decoder) -> Vec<Batch> {
    let mut all = Vec::new();
    let mut start = Start { split: SplitId(0), record: 1, line: 1 };
    let mut rejects = Rejects::default();
    blocks(text, decoder.cuts(), |chunk| {
        let decoded = decoder.decode(chunk, start, &mut rejects).expect("decodes");
        start.record += decoded.records_read;
        start.line += decoded.lines_read;
        let used = decoded.bytes_read;
        let batch = black_box(decoded.into_batch(start.split, 0));
        // A part is enough to encode, and more would measure how memory is given out.
        if all.len() < 8 {
            all.push(batch);
        }
        Some(used)
    });
    assert!(rejects.is_empty());
    all
}

/// How fast batches are encoded, by the size of what is written.
fn encode(name: &str, batches: &[Batch], encoder: &mut dyn Encoder) {
    let mut out = Vec::new();
    let mut written = Vec::new();
    let mut round = |keep: bool| {
        for batch in batches {
            out.clear();
            encoder.encode(batch, &mut out, &mut Rejects::default());
            if keep {
                written.extend_from_slice(black_box(&out));
            }
        }
    };
    round(true);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round(false);
        best = best.min(start.elapsed());
    }
    println!("{name:32} {:7.0} MB/s", written.len() as f64 / 1e6 / best.as_secs_f64());
}
