//! `generate`: records that are made up from a definition, with overrides merged over it.
//!
//! Value *n* of a column follows from the job's seed, the names of the source and the column, and *n*,
//! and from nothing else: any split, batch size and concurrency gives the same rows.
//!
//! ```text
//! definition + overrides ──compile──▶ Record (fields, each after those it reads)
//!                                       │ make(rows)
//!                                       ▼
//!                        columns, each filled at once from the cells of its rows
//! ```

mod cells;
mod compile;
mod fakes;
mod node;
mod pick;
mod record;
mod rng;
mod text;
mod values;

use std::sync::Arc;

use arrow_array::ArrayRef;
use schemars::{Schema as JsonSchema, SchemaGenerator, json_schema};

use self::{
    cells::Rows,
    compile::{
        Compiler, GENERATORS, MAX_ITEMS,
        args::{Args, Bad, Read, wrong},
    },
    record::{Record, records, relaxed},
};
use crate::{
    batch::{Batch, Block, Origin, RejectCode, Rejects, Schema, SplitId},
    expr::RowError,
    failure::{Exit, Failure},
    jobspec::{BatchSize, Path, Problem, Problems, Severity, SpecLocation, Step, Table, Value, nearest},
    kind::{Compiled, Context, Kind, Workers},
    stage::{Detail, Source, SourceWorker, Split, SplitReader},
};

pub use self::fakes::{FakeInfo, names};

/// The kind.
pub(super) const KIND: Kind<dyn Source> = Kind {
    name: "generate",
    schema,
    check: |context| {
        compile(context);
    },
    compile,
    side: None,
};

/// One generator as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorInfo {
    /// Its key in a field's table.
    pub name: &'static str,
    /// What it makes.
    pub about: &'static str,
    /// A field that uses it.
    pub example: &'static str,
}

/// Every generator of the language.
pub fn generators() -> impl Iterator<Item = GeneratorInfo> {
    GENERATORS.iter().map(|(name, about, example)| GeneratorInfo { name, about, example })
}

/// Rows of a split at most where the spec does not say how many splits there are.
const SPLIT_ROWS: u64 = 65_536;

/// Bytes of a split, about, where its rows are wide: what is made ahead of a sink that keeps the order is then little.
const SPLIT_BYTES: u64 = 8 << 20;

/// Wide rows are not cut into more splits than this.
const WIDE_SPLITS: u64 = 10_000;

/// More splits than this are not listed.
const MAX_SPLITS: u64 = 1_000_000;

/// Rows that are made when the spec is compiled, to learn how large they are; fewer where each has many items.
const SAMPLE_ROWS: u64 = 64;

/// The kind's own keys.
const KEYS: &[&str] = &["definition", "count", "overrides", "splits"];

fn schema(_: &mut SchemaGenerator) -> JsonSchema {
    json_schema!({
        "type": "object",
        "required": ["definition", "count"],
        "additionalProperties": false,
        "properties": {
            "definition": { "type": "string", "description": "The definition of the records, by its name." },
            "count": { "type": "integer", "minimum": 0, "description": "How many rows are made." },
            "overrides": {
                "type": "object", "additionalProperties": field_schema(),
                "description": "Fields of the definition that are made otherwise.",
            },
            "splits": {
                "type": "integer", "minimum": 1, "maximum": MAX_SPLITS,
                "description": "Into how many splits the rows are divided; by default each has about 65,536.",
            },
        },
    })
}

/// The JSON Schema of a job's `definitions`.
pub fn definitions_schema() -> JsonSchema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["fields"],
            "additionalProperties": false,
            "properties": {
                "primary_key": {
                    "type": "array", "items": { "type": "string" },
                    "description": "The fields that tell records apart.",
                },
                "fields": {
                    "type": "object", "minProperties": 1, "additionalProperties": field_schema(),
                    "description": "The fields of a record, in the order of its columns.",
                },
            },
        },
    })
}

/// The JSON Schema of a field: a constant, or a table with one generator.
fn field_schema() -> JsonSchema {
    let mut keys = serde_json::Map::new();
    for GeneratorInfo { name, about, .. } in generators() {
        keys.insert(name.to_owned(), serde_json::json!({ "description": about }));
    }
    keys.insert("null_rate".into(), serde_json::json!({ "type": "number", "minimum": 0, "maximum": 1 }));
    keys.insert("unique".into(), serde_json::json!({ "type": "boolean" }));
    keys.insert("locale".into(), serde_json::json!({ "type": "string" }));
    json_schema!({
        "anyOf": [
            { "type": ["boolean", "number", "string", "array"] },
            { "type": "object", "properties": keys, "additionalProperties": false },
        ],
    })
}

/// A compiled source.
struct Generate {
    made: Arc<Makes>,
    count: u64,
    splits: u64,
}

/// What all workers of a source share.
struct Makes {
    record: Record,
    schema: Schema,
    batch: BatchSize,
    /// Rows that a batch may have so that the items of no column are more than Arrow counts.
    most_rows: usize,
    /// Bytes of a row, estimated from the first ones.
    row_bytes: usize,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let errors = |problems: &Problems| problems.iter().filter(|found| found.severity == Severity::Error).count();
    let before = errors(context.problems);
    let keys = keys(context);
    let name = context.path.0.last().map(|step| match step {
        Step::Key(name) => name.clone(),
        Step::Index(i) => i.to_string(),
    });
    let (definition, count, splits) = keys;
    let record = record(context, &name.unwrap_or_default(), definition.as_deref(), count);
    let (record, count, splits) = (record?, count?, splits.ok()?);
    if errors(context.problems) > before {
        return None;
    }
    let schema = record.schema();
    let items = record.fields.iter().map(|field| field.node.most_items()).max().unwrap_or(1).min(MAX_ITEMS);
    let most_rows = (i32::MAX as u64 / items.max(1)) as usize;
    let mut makes = Makes { record, schema, batch: context.batch, most_rows, row_bytes: 1 };
    let sample = count.min((SAMPLE_ROWS * 64 / items.max(1)).clamp(1, SAMPLE_ROWS)) as usize;
    if sample > 0 {
        let columns = makes.rows(0, sample).0;
        let sampled =
            Batch::new(records(&relaxed(&makes.schema), columns, sample), Origin::derived(SplitId(0), 0, sample));
        makes.row_bytes = sampled.bytes().div_ceil(sample);
    }
    let splits = splits.unwrap_or_else(|| {
        let by_bytes = (u128::from(count) * makes.row_bytes as u128).div_ceil(SPLIT_BYTES.into());
        let wide = by_bytes.min(WIDE_SPLITS.into()) as u64;
        count.div_ceil(SPLIT_ROWS).max(wide).clamp(1, MAX_SPLITS)
    });
    let splits = splits.min(count.max(1));
    let output = Some(makes.schema.clone());
    let notes = vec![
        format!("{count} rows in {splits} split{}", if splits == 1 { "" } else { "s" }),
        format!("about {} bytes a row", makes.row_bytes),
    ];
    let stage = Generate { made: Arc::new(makes), count, splits };
    Some(Compiled { stage: Box::new(stage), output, workers: Workers::Threads, notes })
}

type Keys = (Option<String>, Option<u64>, Result<Option<u64>, Bad>);

/// The kind's own keys but for `overrides`; a mistake in one hides none of the others.
fn keys(context: &mut Context<'_>) -> Keys {
    let args = Args::open(context.table, context.path.clone(), KEYS, context.common, context.problems);
    let Ok(mut args) = args else { return (None, None, Err(Bad)) };
    let definition: Result<String, Bad> = args.required("definition");
    let count = args.required("count").and_then(|count: u64| match i64::try_from(count) {
        Ok(_) => Ok(count),
        Err(_) => Err(args.problem("count", "range", "row numbers are integers of 64 bits with a sign")),
    });
    let splits = args.optional("splits").and_then(|splits| match splits {
        Some(splits) if splits == 0 || splits > MAX_SPLITS => {
            let message = format!("a source has 1 to {MAX_SPLITS} splits, not {splits}");
            Err(args.problem("splits", "range", message))
        }
        splits => Ok(splits),
    });
    (definition.ok(), count.ok(), splits)
}

/// Compiles the definition with the overrides over it.
fn record(context: &mut Context<'_>, source: &str, definition: Option<&str>, count: Option<u64>) -> Option<Record> {
    let overrides_path = context.path.entry("overrides");
    let overrides = match context.table {
        Value::Table(table) => table.get("overrides"),
        _ => None,
    };
    let overrides = overrides.map(|value| compile::table(value, &overrides_path, context.problems));
    let (fields, path) = fields(context, definition?)?;
    let overrides = match overrides {
        Some(Ok(table)) => Some((table, &overrides_path)),
        Some(Err(Bad)) => return None,
        None => None,
    };
    let fields = compile::merge(fields, &path, overrides, context.problems);
    let mut compiler = Compiler {
        seed: context.seed,
        definitions: context.definitions,
        sources: context.sources,
        problems: context.problems,
        following: Vec::new(),
    };
    compiler.record(source, &fields, count, None)
}

/// The `fields` of a definition, and where they stand; its `primary_key` is checked on the way.
fn fields<'v>(context: &mut Context<'v>, name: &str) -> Option<(&'v Table, Path)> {
    let Some(definition) = context.definitions.get(name) else {
        let message = format!("there is no definition named `{name}`");
        let help = nearest(name, context.definitions.keys().map(String::as_str));
        let place = SpecLocation::value(context.path.entry("definition"));
        context.problems.push(Problem::new("unknown-definition", place, message).help(help));
        return None;
    };
    let path = Path::default().entry("definitions").entry(name);
    let mut args = Args::open(definition, path.clone(), &["primary_key", "fields"], &[], context.problems).ok()?;
    let key: Result<Option<Vec<Value>>, Bad> = args.optional("primary_key");
    let fields_path = path.entry("fields");
    let Some(fields) = args.raw("fields") else {
        let _: Result<String, Bad> = args.required("fields");
        return None;
    };
    let fields = compile::table(fields, &fields_path, args.problems).ok()?;
    if fields.is_empty() {
        args.problem("fields", "empty", "a record has at least one field");
        return None;
    }
    let mut known = key.is_ok();
    for (i, field) in key.ok().flatten().unwrap_or_default().iter().enumerate() {
        let at = path.entry("primary_key").index(i);
        let Some(field) = String::read(field) else {
            wrong(field, &at, "the name of a field", args.problems);
            known = false;
            continue;
        };
        if !fields.contains_key(&field) {
            let help = nearest(&field, fields.keys().map(String::as_str));
            let message = format!("the definition has no field `{field}`");
            args.problems.push(Problem::new("unknown-field", SpecLocation::value(at), message).help(help));
            known = false;
        }
    }
    known.then_some((fields, fields_path))
}

impl Source for Generate {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        let bound = |k: u64| (u128::from(k) * u128::from(self.count) / u128::from(self.splits)) as u64;
        let split = |k| {
            let (start, end) = (bound(k), bound(k + 1));
            Split { name: format!("rows {start}..{end}"), detail: Detail::Rows { start, end } }
        };
        Ok((0..self.splits).map(split).collect())
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        Ok(Box::new(Worker(Arc::clone(&self.made))))
    }
}

struct Worker(Arc<Makes>);

impl SourceWorker for Worker {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let Detail::Rows { start, end } = split.detail else {
            return Err(Failure::new(Exit::Bug, format!("`{}` is not a range of rows", split.name)));
        };
        Ok(Box::new(Reader { made: &self.0, id, next: start, end, seq: 0, row_bytes: self.0.row_bytes }))
    }
}

struct Reader<'a> {
    made: &'a Makes,
    id: SplitId,
    next: u64,
    end: u64,
    seq: u64,
    /// Bytes of a row, from the batch before.
    row_bytes: usize,
}

impl SplitReader for Reader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        if self.next == self.end {
            return Ok(None);
        }
        let within = self.made.batch.bytes / self.row_bytes.max(1);
        let rows = within.clamp(1, self.made.batch.rows.max(1)).min(self.made.most_rows);
        let rows = rows.min(usize::try_from(self.end - self.next).unwrap_or(usize::MAX));
        let (columns, errors) = self.made.rows(self.next, rows);
        let block = Block { first_record: self.next + 1, ..Block::default() };
        let origin = Origin::new(self.id, self.seq, block, rows);
        let schema = &self.made.schema;
        let batch = match errors.is_empty() {
            true => Batch::new(records(schema, columns, rows), origin),
            false => refuse(schema, Batch::new(records(&relaxed(schema), columns, rows), origin), errors, rejects),
        };
        self.row_bytes = batch.bytes() / rows;
        self.next += rows as u64;
        self.seq += 1;
        Ok(Some(batch))
    }
}

/// Takes out the rows on which an expression failed; what is left has the columns of `schema`.
fn refuse(schema: &Schema, batch: Batch, mut errors: Vec<RowError>, rejects: &mut Rejects) -> Batch {
    errors.sort_by_key(|error| error.row);
    errors.dedup_by_key(|error| error.row);
    for error in &errors {
        rejects.push(&batch, error.row as usize, RejectCode("expression"), error.message.as_str());
    }
    let failed = |row: &u32| errors.binary_search_by_key(row, |error| error.row).is_ok();
    let Batch { records: left, origin, .. } = batch.pick((0..batch.rows() as u32).filter(|row| !failed(row)).collect());
    Batch::new(records(schema, left.columns().to_vec(), left.num_rows()), origin)
}

impl Makes {
    /// `len` rows from `start` on, and the rows among them on which an expression failed.
    fn rows(&self, start: u64, len: usize) -> (Vec<ArrayRef>, Vec<RowError>) {
        let made = self.record.make(Rows::Run { start, len });
        let column = |at: &usize| made.columns[*at].clone().expect("a record makes all of its fields");
        (self.record.columns.iter().map(column).collect(), made.errors)
    }
}

#[cfg(test)]
mod tests;
