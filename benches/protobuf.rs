//! How fast the `protobuf` transform encodes: rows of 60 `uint32` and two doubles, on one core.
//!
//! `cargo bench --bench protobuf`

use std::{sync::Arc, time::Instant};

use arrow_array::{ArrayRef, BinaryViewArray, Float64Array, ListArray, RecordBatch, UInt32Array, cast::AsArray};
use arrow_buffer::OffsetBuffer;
use runner::{
    batch::{Batch, Block, Column, ColumnType, Origin, Rejects, Schema, SplitId},
    jobspec::{Document, Format, Problems},
    plan::{Plan, Role, compile},
};

const ROWS: usize = 100_000;
const APPS: usize = 60;
const BATCH: usize = 8_192;
const ROUNDS: usize = 10;

fn main() {
    let (records, plan) = (records(), plan());
    let Role::Transform(stage) = &plan.stages[1].role else { panic!("the second stage is the transform") };
    let mut worker = stage.worker().expect("a worker needs nothing");
    let mut rates: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let mut bytes = 0;
            for at in (0..ROWS).step_by(BATCH) {
                let slice = records.slice(at, BATCH.min(ROWS - at));
                let origin = Origin::new(SplitId(0), 0, Block::default(), slice.num_rows());
                let done = worker.apply(Batch::new(slice, origin), &mut Rejects::default()).expect("good rows");
                let values: &BinaryViewArray = done.records.column(3).as_binary_view();
                bytes += values.lengths().map(u64::from).sum::<u64>();
            }
            let seconds = start.elapsed().as_secs_f64();
            (ROWS as f64 / seconds, bytes as f64 / seconds)
        })
        .collect();
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (rows, bytes) = rates[ROUNDS / 2];
    #[expect(clippy::print_stdout, reason = "a benchmark's answer")]
    {
        println!("{:.2} M rows/s, {:.0} MB/s (median of {ROUNDS} rounds)", rows / 1e6, bytes / 1e6);
    }
}

/// Ids of one to four bytes, as in the logs that this stands for.
fn records() -> RecordBatch {
    let column = |name: &str, column_type| Column { name: name.into(), column_type, nullable: false };
    let apps = ColumnType::List(Box::new(ColumnType::UInt32));
    let schema =
        Schema::new(vec![column("apps", apps), column("lat", ColumnType::Float64), column("lon", ColumnType::Float64)]);
    let ids: UInt32Array = (0..(ROWS * APPS) as u32).map(|i| i.wrapping_mul(2_654_435_761) % 10_000).collect();
    let offsets = OffsetBuffer::from_lengths(vec![APPS; ROWS]);
    let item = Arc::new(ColumnType::UInt32.item_field());
    let place: ArrayRef = Arc::new((0..ROWS).map(|i| i as f64 / 1000.0).collect::<Float64Array>());
    let apps: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(ids), None));
    let records = RecordBatch::try_new(schema.arrow(), vec![apps, Arc::clone(&place), place]);
    records.expect("the columns are of the schema")
}

/// The transform of a job; its source is never opened.
fn plan() -> Plan {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/appsinstalled.proto");
    let text = format!(
        r#"name = "bench"
        [sources.rows]
        type = "files"
        path = "none.tsv"
        format = "tsv"
        columns = ["apps list<uint32>", "lat float64", "lon float64"]
        [transforms.packed]
        type = "protobuf"
        input = "rows"
        schema = '{proto}'
        message = "UserApps"
        into = "value"
        [sinks.none]
        type = "discard"
        input = "packed""#
    );
    let mut problems = Problems::default();
    let document = Document::parse("bench.toml", &text, Format::Toml, &mut problems);
    compile(&document, &mut problems).unwrap_or_else(|| panic!("{problems:?}"))
}
