//! Reads files through the `files` source as a job would, in batches and blocks of any size.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use runner::{
    batch::{Rejects, SplitId},
    exchange::{Exchange, Folder},
    failure::Failure,
    jobspec::{BatchSize, Definitions, Path, Problems, Table, Value},
    kind::{Compiled, Context},
    memory::Memory,
    sources,
    stage::Source,
    values::json,
};
use serde_json::Value as Json;

/// A file that goes when it is dropped.
pub struct TemporaryFile(pub PathBuf);

impl TemporaryFile {
    pub fn new(extension: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("runner-fuzz-{}-{}{extension}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        TemporaryFile(std::env::temp_dir().join(name))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The size of batches and blocks, and of the longest record.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub rows: usize,
    pub bytes: usize,
    pub record: usize,
}

/// What came of reading: the record and line of each row and reject, with the row as JSON or the reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    pub rows: Vec<(u64, u64, String)>,
    pub rejects: Vec<(u64, u64, String, Vec<u8>)>,
    pub failure: Option<Failure>,
}

/// Compiles a `files` source; its problems where it cannot be.
pub fn compile(spec: &Json, sizes: Sizes) -> Result<Compiled<dyn Source>, Vec<String>> {
    let table: Value = serde_json::from_value(spec.clone()).unwrap();
    let (definitions, tables, mut problems) = (Definitions::new(), Table::new(), Problems::default());
    let mut context = Context {
        path: Path::default().key("in"),
        table: &table,
        common: &[],
        input: None,
        side: None,
        batch: BatchSize { rows: sizes.rows, bytes: sizes.bytes },
        max_record_bytes: sizes.record,
        memory: 1 << 20,
        held: Memory::new(1 << 20, Exchange::new(Box::new(Folder::new(&std::env::temp_dir())), None)),
        seed: 0,
        definitions: &definitions,
        sources: &tables,
        sinks: &tables,
        problems: &mut problems,
    };
    let kind = sources::KINDS.iter().find(|kind| kind.name == "files").unwrap();
    let compiled = (kind.compile)(&mut context);
    compiled.ok_or_else(|| problems.iter().map(|problem| problem.message.clone()).collect())
}

/// Reads all of what a compiled source lists.
pub fn read(source: &dyn Source) -> Read {
    let mut read = Read::default();
    let mut rejects = Rejects::default();
    let mut worker = source.worker().unwrap();
    for split in source.splits().unwrap() {
        let result = worker.open(SplitId(0), &split).and_then(|mut reader| {
            while let Some(batch) = reader.next_batch(&mut rejects)? {
                for row in 0..batch.rows() {
                    let at = source.locate(&split, batch.origin.position(row));
                    read.rows.push((at.record, at.line, json::row(&batch.records, row)));
                }
            }
            Ok(())
        });
        for reject in rejects.take() {
            let at = source.locate(&split, reject.position);
            let why = format!("{}: {}", reject.code.0, reject.message);
            // How much is kept of a record that is too long depends on the blocks.
            let record = if reject.code.0 == "too_long" { Vec::new() } else { reject.record };
            read.rejects.push((at.record, at.line, why, record));
        }
        read.failure = result.err();
    }
    read
}
