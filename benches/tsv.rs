//! How fast tsv is decoded: 100 MB of lines like those of the memc job, on one core, from memory.
//!
//! `cargo bench --bench tsv` prints MB/s of the best of five rounds, for the whole way and for its parts.

#![allow(clippy::print_stdout, missing_docs)]

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

use arrow_array::{StringViewArray, cast::AsArray};
use runner::{
    batch::{Rejects, SplitId},
    formats::{
        Chunk, Decoder, Encoder, Start,
        blocks::{Blocks, Newline, Piece},
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

fn main() {
    let text = generate();
    let columns = ["dev_type string", "dev_id string", "lat float64", "lon float64", "apps list<uint32>"];
    let strings = ["dev_type string", "dev_id string", "lat string", "lon string", "apps string"];
    report("cut into blocks", &text, || blocks(&text, |_| {}));
    report("and checked for UTF-8", &text, || {
        blocks(&text, |chunk| assert!(simdutf8::basic::from_utf8(&chunk.bytes).is_ok()));
    });
    report("decoded, all columns strings", &text, || assert!(decode(&text, &strings) > 0));
    report("decoded, memc columns", &text, || assert!(decode(&text, &columns) > 0));
    check_views(&text, &strings);
    encode(&text, &columns);
}

/// Lines of a device type, an identifier, a place and about sixty numbers, always the same.
fn generate() -> Vec<u8> {
    let mut state = 42_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut text = Vec::with_capacity(BYTES + 1000);
    while text.len() < BYTES {
        let kind = ["idfa", "gaid", "adid", "dvid"][random(4) as usize];
        let (high, low) = (random(1 << 31), random(1 << 31));
        let (lat, lon) = (random(180_000_000) as f64 / 1e6 - 90.0, random(360_000_000) as f64 / 1e6 - 180.0);
        write!(text, "{kind}\t{high:016x}{low:016x}\t{lat}\t{lon}\t").expect("into memory");
        for i in 0..40 + random(41) {
            let comma = if i == 0 { "" } else { "," };
            write!(text, "{comma}{}", random(10_000)).expect("into memory");
        }
        text.push(b'\n');
    }
    text
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

fn blocks(text: &[u8], mut each: impl FnMut(Chunk)) {
    let mut blocks = Blocks::new(text, Newline::Auto, BLOCK, 16 << 20);
    while let Some(Piece::Records(bytes)) = blocks.next_piece().expect("from memory") {
        each(Chunk { bytes, line_end: blocks.line_end(), utf8: true, last: true });
    }
}

/// All batches, the way the source makes them.
fn batches(text: &[u8], columns: &[&str], mut each: impl FnMut(runner::batch::Batch)) {
    let specs: Vec<ColumnSpec> =
        columns.iter().map(|column| serde_json::from_value((*column).into()).expect("a column")).collect();
    let schema = columns::schema(&specs, &Path::default(), &mut Problems::default()).expect("a schema");
    let mut decoder = TsvDecoder::new(&specs, &schema, None, usize::MAX, 16 << 20);
    let mut start = Start { split: SplitId(0), record: 1, line: 1 };
    blocks(text, |mut chunk| {
        chunk.utf8 = simdutf8::basic::from_utf8(&chunk.bytes).is_ok();
        let mut rejects = Rejects::default();
        let decoded = decoder.decode(&chunk, start, &mut rejects).expect("decodes");
        assert!(rejects.is_empty());
        start.record += decoded.records_read;
        start.line += decoded.lines_read;
        each(decoded.into_batch(start.split, 0));
    });
}

fn decode(text: &[u8], columns: &[&str]) -> usize {
    let mut rows = 0;
    batches(text, columns, |batch| rows += black_box(batch).rows());
    rows
}

/// What arrow's checked constructor costs: it looks at every view, and at its text, once more.
fn check_views(text: &[u8], columns: &[&str]) {
    let mut all = Vec::new();
    batches(text, columns, |batch| all.push(batch));
    report("of it: checking views", text, || {
        for column in all.iter().flat_map(|batch| batch.records.columns()) {
            let (views, buffers, nulls) = column.as_string_view().clone().into_parts();
            black_box(StringViewArray::try_new(views, buffers, nulls).expect("sound views"));
        }
    });
}

fn encode(text: &[u8], columns: &[&str]) {
    let mut all = Vec::new();
    batches(text, columns, |batch| all.push(batch));
    let specs: Vec<ColumnSpec> =
        columns.iter().map(|column| serde_json::from_value((*column).into()).expect("a column")).collect();
    let schema = columns::schema(&specs, &Path::default(), &mut Problems::default()).expect("a schema");
    let mut encoder = TsvEncoder::new(schema, CellStyle::PLAIN);
    let mut out = Vec::new();
    report("encoded, memc columns", text, || {
        for batch in &all {
            out.clear();
            encoder.encode(batch, &mut out, &mut Rejects::default());
            black_box(&out);
        }
    });
}
