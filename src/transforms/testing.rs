//! A transform from its spec to rows, for tests: batches are written as JSON, rows are read as JSON.

use arrow_array::{ArrayRef, RecordBatch};
use serde_json::Value as Json;

use crate::testing::memory as held;
pub(super) use crate::testing::schema;
use crate::{
    batch::{Batch, Block, Origin, Rejects, Schema, SplitId},
    failure::Failure,
    jobspec::Value,
    kind::{Compiled, Kind},
    stage::{Held, Made, Transform},
    testing::{compiled, records},
    values::json,
};

/// Batches of one schema.
pub(super) struct Input {
    pub(super) schema: Schema,
    pub(super) batches: Vec<Batch>,
}

/// What came of running a transform.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ran {
    /// As JSON: a list of values per row.
    pub(super) rows: Vec<String>,
    /// Where each was read, of those that are not made at the end.
    pub(super) lines: Vec<u64>,
    /// `line code message`
    pub(super) rejects: Vec<String>,
    /// Rows said to be dropped.
    pub(super) dropped: u64,
    /// What was held and spilled.
    pub(super) held: Held,
}

/// Batches of rows, each row a list of JSON values; lines are counted from 1 over all batches.
pub(super) fn input(columns: &str, batches: &[&[Json]]) -> Input {
    let schema = schema(columns);
    let mut first = 1;
    let batches = batches.iter().enumerate().map(|(seq, rows)| {
        let records = records(&schema, rows);
        let block = Block { first_record: first, first_line: first, ..Block::default() };
        first += rows.len() as u64;
        Batch::new(records, Origin::new(SplitId(0), seq as u64, block, rows.len()))
    });
    let batches = batches.collect();
    Input { schema, batches }
}

/// Compiles a transform; its problems as `code | place | message | help`.
pub(super) fn compile(
    kind: &Kind<dyn Transform>,
    spec: &Json,
    (left, right): (&Schema, Option<&Schema>),
    memory: usize,
) -> Result<Compiled<dyn Transform>, Vec<String>> {
    let table: Value = serde_json::from_value(spec.clone()).expect("any JSON is a value");
    compiled(kind, "t", &table, [Some(left), right], |context| {
        (context.memory, context.held, context.seed) = (memory, held(memory), 7);
    })
}

/// The problems of a spec that is wrong.
pub(super) fn problems(kind: &Kind<dyn Transform>, spec: &Json, left: &str, right: Option<&str>) -> Vec<String> {
    let right = right.map(schema);
    compile(kind, spec, (&schema(left), right.as_ref()), 1 << 20).map(|_| ()).expect_err("something is wrong with it")
}

/// Runs a transform with one worker over one input, or over two.
pub(super) fn run(
    kind: &Kind<dyn Transform>,
    spec: &Json,
    left: &Input,
    right: Option<&Input>,
    memory: usize,
) -> Result<Ran, Failure> {
    let schemas = (&left.schema, right.map(|right| &right.schema));
    let compiled = compile(kind, spec, schemas, memory).unwrap_or_else(|problems| panic!("{problems:?}"));
    let output = compiled.output.expect("a transform puts something out").arrow();
    let stage = compiled.stage;
    let (mut ran, mut rejects) = (Ran::default(), Rejects::default());
    let mut worker = stage.worker()?;
    if let Some((mut side, right)) = stage.side().zip(right) {
        for batch in &right.batches {
            side.add(batch.clone(), &mut rejects)?;
        }
        side.finish()?;
    }
    if let Some(backlog) = worker.backlog() {
        (0..).zip(&left.batches).try_for_each(|(number, batch)| backlog.put(number, batch.clone()))?;
        backlog.end()?;
        backlog.order(&(0..left.batches.len() as u32).collect::<Vec<_>>())?;
    }
    for batch in &left.batches {
        let (split, seq) = (batch.origin.split, batch.origin.seq);
        let out = match worker.backlog() {
            Some(backlog) => backlog.next(split, seq, batch.rows(), &mut rejects)?,
            None => worker.apply(batch.clone(), &mut rejects)?,
        };
        assert_eq!(out.records.schema(), output);
        assert_eq!((out.origin.len(), out.origin.split, out.origin.seq), (out.rows(), split, seq));
        ran.rows.extend(rows(&out.records));
        ran.lines.extend((0..out.rows()).map(|row| out.origin.position(row).line));
    }
    let mut made = 0;
    while let Some(Made { records, refused }) = worker.finish()? {
        assert!(stage.properties().pipeline_breaker);
        assert_eq!(records.schema(), output);
        // Counted over all batches, as a run does it: how the rows are cut into batches may depend on memory.
        ran.rejects.extend(refused.iter().map(|(row, code, why)| format!("made {} {} {why}", made + row, code.0)));
        made += records.num_rows() as u32;
        let kept = (0..records.num_rows() as u32).filter(|row| refused.iter().all(|(other, ..)| other != row));
        let len = records.num_rows();
        ran.rows.extend(rows(&Batch::new(records, Origin::derived(SplitId(1), 0, len)).pick(kept.collect()).records));
    }
    (ran.held, ran.dropped) = (worker.held(), rejects.take_dropped());
    let told = rejects.take();
    ran.rejects.extend(told.iter().map(|one| format!("{} {} {}", one.position.line, one.code.0, one.message)));
    Ok(ran)
}

/// The rows that come out where nothing is rejected.
pub(super) fn rows_of(kind: &Kind<dyn Transform>, spec: &Json, left: &Input, right: Option<&Input>) -> Vec<String> {
    let ran = run(kind, spec, left, right, 1 << 20).expect("nothing fails");
    assert_eq!(ran.rejects, Vec::<String>::new());
    ran.rows
}

fn rows(records: &RecordBatch) -> impl Iterator<Item = String> {
    (0..records.num_rows()).map(|row| {
        let fields = records.schema();
        let value = |(field, column): (&arrow_schema::FieldRef, &ArrayRef)| {
            serde_json::from_str::<Json>(&json::value(field, column, row)).expect("JSON")
        };
        let values: Vec<Json> = fields.fields().iter().zip(records.columns()).map(value).collect();
        Json::Array(values).to_string()
    })
}
