//! The source from spec to rows, on real files.

mod csv;
mod damage;
mod decode;
mod infer;
mod lines;
mod list;
mod ndjson;
mod parquet;
mod ranges;
mod shape;

use std::io::Write;

use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};

use super::{FilesSpec, build};
use crate::{
    batch::{Rejects, SplitId},
    failure::Failure,
    jobspec::{BatchSize, Problems, Table, Value},
    kind::{Compiled, Context},
    stage::{Source, Split},
    testing::Folder,
    values::json as row_json,
};

/// How a test reads: the size of batches, the longest record, and the memory of the job.
#[derive(Clone, Copy)]
struct Limits {
    rows: usize,
    bytes: usize,
    record: usize,
    memory: usize,
}

const LIMITS: Limits = Limits { rows: 1000, bytes: 1 << 16, record: (16 << 20), memory: (256 << 20) };

/// What came of reading: rows as `record:line json`, rejects as `record:line code message`.
#[derive(Debug, Default, PartialEq)]
struct Read {
    rows: Vec<String>,
    rejects: Vec<String>,
    failure: Option<Failure>,
}

fn compile(spec: &Json, limits: Limits) -> Result<Compiled<dyn Source>, Vec<String>> {
    let decoded: FilesSpec = serde_json::from_value(spec.clone()).map_err(|error| vec![error.to_string()])?;
    let mut problems = Problems::default();
    let table = Value::Table(Table::new());
    let mut context = Context::of("sources.in", &table, None, &mut problems);
    context.batch = BatchSize { rows: limits.rows, bytes: limits.bytes };
    context.max_record_bytes = limits.record;
    context.memory = limits.memory;
    let compiled = build(decoded, &mut context);
    compiled.ok_or_else(|| problems.iter().map(|problem| format!("{:?} {}", problem.place, problem.message)).collect())
}

fn source(spec: &Json) -> Compiled<dyn Source> {
    compile(spec, LIMITS).expect("a sound spec")
}

fn read_split(source: &dyn Source, split: &Split) -> Read {
    let mut read = Read::default();
    let mut rejects = Rejects::default();
    let mut worker = source.worker().expect("a worker");
    let result = worker.open(SplitId(7), split).and_then(|mut reader| {
        let mut seq = 0;
        while let Some(batch) = reader.next_batch(&mut rejects)? {
            assert_eq!((batch.origin.split, batch.origin.seq), (SplitId(7), seq));
            seq += 1;
            for row in 0..batch.rows() {
                let at = source.locate(split, batch.origin.position(row));
                read.rows.push(format!("{}:{} {}", at.record, at.line, row_json::row(&batch.records, row)));
            }
        }
        assert_eq!(Some(reader.bytes_read()), split.size());
        Ok(())
    });
    read.failure = result.err();
    for reject in rejects.take() {
        let at = source.locate(split, reject.position);
        read.rejects.push(format!("{}:{} {} {}", at.record, at.line, reject.code.0, reject.message));
    }
    read
}

/// Reads one file that holds `bytes`; `spec` lacks only the path.
fn read_bytes(folder: &Folder, name: &str, bytes: &[u8], spec: &Json, limits: Limits) -> Read {
    folder.write(name, bytes);
    let mut spec = spec.clone();
    spec["path"] = json!(folder.text(name));
    if spec.get("format").is_none() {
        spec["format"] = json!("tsv");
    }
    let compiled = compile(&spec, limits).expect("a sound spec");
    let splits = compiled.stage.splits().expect("a split");
    assert_eq!(splits.len(), 1);
    read_split(compiled.stage.as_ref(), &splits[0])
}

/// Reads with blocks of 1 to 64 bytes and batches of 1 to 3 rows: always the same.
fn all_sizes(folder: &Folder, bytes: &[u8], spec: &Json, record: usize) -> Read {
    let expected = read_bytes(folder, "a.txt", bytes, spec, Limits { record, ..LIMITS });
    for size in 1..=64 {
        let limits = Limits { rows: 1 + size % 3, bytes: size, record, ..LIMITS };
        let read = read_bytes(folder, "a.txt", bytes, spec, limits);
        assert_eq!(read, expected, "blocks of {size} bytes, {:?}", String::from_utf8_lossy(bytes));
    }
    expected
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}
