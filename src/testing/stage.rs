//! A stage from its keys, batches from JSON, and what a sink answers.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryViewArray, ListArray, RecordBatch, StringViewArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use serde_json::Value as Json;

use crate::{
    batch::{Batch, Block, Column, ColumnType, Origin, Schema, SplitId},
    exchange::{Exchange, Folder},
    jobspec::{Document, Format, Problem, Problems, Severity, SpecLocation, Value},
    kind::{Compiled, Context, Kind},
    memory::Memory,
    stage::{SinkWorker, Written},
};

/// A schema from `"id int64, name string?"`; a `?` behind the columns that may be null.
pub(crate) fn schema(text: &str) -> Schema {
    let column = |text: &str| {
        let (name, type_name) = text.trim().split_once(' ').expect("a name and a type");
        let nullable = type_name.ends_with('?');
        let column_type: ColumnType = type_name.trim_end_matches('?').parse().expect("a type");
        Column { name: name.to_owned(), column_type, nullable }
    };
    Schema::new(text.split(", ").map(column).collect())
}

/// Rows, each a list of JSON values; bytes as text, JSON as what it is.
pub(crate) fn records(schema: &Schema, rows: &[Json]) -> RecordBatch {
    let column = |(place, column): (usize, &Column)| {
        array(&column.column_type, &rows.iter().map(|row| row[place].clone()).collect::<Vec<_>>())
    };
    let columns = schema.columns().iter().enumerate().map(column).collect();
    RecordBatch::try_new(schema.arrow(), columns).expect("rows of the schema")
}

/// A batch of such rows, whose records are counted from 1.
pub(crate) fn batch(schema: &Schema, split: u32, seq: u64, rows: &[Json]) -> Batch {
    let block = Block { first_record: 1, first_line: 1, ..Block::default() };
    Batch::new(records(schema, rows), Origin::new(SplitId(split), seq, block, rows.len()))
}

fn array(column_type: &ColumnType, values: &[Json]) -> ArrayRef {
    if let ColumnType::List(item) = column_type {
        let items: Vec<Json> = values.iter().flat_map(|list| list.as_array().cloned().unwrap_or_default()).collect();
        let offsets = OffsetBuffer::from_lengths(values.iter().map(|list| list.as_array().map_or(0, Vec::len)));
        let valid = NullBuffer::from_iter(values.iter().map(|list| !list.is_null()));
        let field = Arc::new(item.item_field());
        return Arc::new(ListArray::try_new(field, offsets, array(item, &items), Some(valid)).expect("a list"));
    }
    let text = values.iter().map(|value| match value {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    });
    if *column_type == ColumnType::Binary {
        return Arc::new(text.map(|text| text.map(String::into_bytes)).collect::<BinaryViewArray>());
    }
    let text: ArrayRef = Arc::new(text.collect::<StringViewArray>());
    let data_type = column_type.to_arrow();
    let array = cast(&text, &data_type).expect("values of the type");
    assert_eq!(array.null_count(), text.null_count(), "{values:?} as {column_type}");
    array
}

/// A stage's keys in TOML, as the compiler hands them to a kind.
pub(crate) fn table(toml: &str) -> Value {
    let mut problems = Problems::default();
    let document = Document::parse("job.toml", toml, Format::Toml, &mut problems);
    assert!(problems.is_empty(), "the test's own text: {problems:?}");
    document.root
}

/// Compiles the stage `name` of these keys, with these inputs; else its problems as [`told`]. `set` changes what the kind compiles in.
pub(crate) fn compiled<S: ?Sized>(
    kind: &Kind<S>,
    name: &str,
    table: &Value,
    [input, side]: [Option<&Schema>; 2],
    set: impl FnOnce(&mut Context<'_>),
) -> Result<Compiled<S>, Vec<String>> {
    let mut problems = Problems::default();
    let mut context = Context::of(name, table, input, &mut problems);
    context.side = side;
    set(&mut context);
    match (kind.compile)(&mut context) {
        Some(compiled) if problems.is_empty() => Ok(compiled),
        compiled => {
            assert!(compiled.is_some() || !problems.is_empty(), "no stage, and no reason");
            Err(problems.iter().map(told).collect())
        }
    }
}

/// What stages of a job with so much memory hold together; they spill into the system's folder for temporary files.
pub(crate) fn memory(limit: usize) -> Arc<Memory> {
    Memory::new(limit, Exchange::new(Box::new(Folder::new(&std::env::temp_dir())), None))
}

/// A problem as `code | place | message | help`.
pub(crate) fn told(problem: &Problem) -> String {
    let place = match &problem.place {
        SpecLocation::Key(path) => format!("key {path}"),
        SpecLocation::Value(path) => path.to_string(),
        SpecLocation::Inside(path, range) => format!("{path}[{range:?}]"),
        other => format!("{other:?}"),
    };
    let note = if problem.severity == Severity::Note { "note " } else { "" };
    let help = problem.help.as_ref().map_or(String::new(), |help| format!(" | {help}"));
    format!("{note}{} | {place} | {}{help}", problem.code, problem.message)
}

/// Writes a batch, and checks the answer as the contract has it: every row is accounted for once.
pub(crate) fn write(worker: &mut dyn SinkWorker, batch: &Batch) -> Written {
    let written = worker.write(batch).expect("the sink can go on");
    check(&written, batch);
    written
}

/// Checks a sink's answer for a batch.
fn check(written: &Written, batch: &Batch) {
    let Written { accepted, rejects, failed, failure, output, .. } = written;
    assert_eq!(accepted + rejects.len() as u64 + failed, batch.rows() as u64, "a row is lost, or counted twice");
    assert_eq!(*failed > 0, failure.is_some(), "rows fail exactly where there is a reason");
    let mut records: Vec<u64> = rejects.iter().map(|reject| reject.position.record).collect();
    records.sort_unstable();
    records.dedup();
    assert_eq!(records.len(), rejects.len(), "a row is refused twice");
    if let Some(output) = output {
        assert_eq!((output.rows() as u64, output.origin.seq), (*accepted, batch.origin.seq));
    }
}

/// Rejects as `record code message`.
pub(crate) fn rejects(written: &Written) -> Vec<String> {
    let told =
        |reject: &crate::batch::Reject| format!("{} {} {}", reject.position.record, reject.code.0, reject.message);
    written.rejects.iter().map(told).collect()
}
