//! The sink from spec to rows in a database, read back by a connection of its own.

mod spec;
mod tables;
mod together;
mod writing;

use rusqlite::{Connection, types::ValueRef};
use serde_json::{Value as Json, json};

use super::KIND;
use crate::{
    batch::{Batch, Block, Column, Origin, Schema, SplitId},
    failure::Failure,
    jobspec::{Document, Format, Problems, SpecLocation},
    kind::{Compiled, Context},
    sqlite::ValueColumn,
    stage::{Mode, Sink, SinkWorker, Written},
    testing::Folder,
    values::{columns::Invalid, json as row_json},
};

/// Columns as `name type`, with a `?` behind those that may be null.
fn schema(columns: &[&str]) -> Schema {
    let column = |text: &&str| {
        let (name, column_type) = text.split_once(' ').expect("name and type");
        let nullable = column_type.ends_with('?');
        let column_type = column_type.trim_end_matches('?').parse().expect("a type");
        Column { name: name.to_owned(), column_type, nullable }
    };
    Schema::new(columns.iter().map(column).collect())
}

/// A batch of rows, given as lists of JSON values; lists and JSON as their text.
fn batch(schema: &Schema, split: u32, seq: u64, rows: &[Json]) -> Batch {
    let columns = schema.columns().iter().enumerate().map(|(i, column)| {
        let mut filled = ValueColumn::new(&column.name, &column.column_type, column.nullable, Invalid::Reject);
        for row in rows {
            let value = &row[i];
            let pushed = match value {
                Json::Null => filled.push(ValueRef::Null),
                Json::Bool(bit) => filled.push(ValueRef::Integer((*bit).into())),
                Json::Number(number) => match number.as_i64() {
                    Some(whole) => filled.push(ValueRef::Integer(whole)),
                    None => filled.push(ValueRef::Real(number.as_f64().expect("a number"))),
                },
                Json::String(text) => filled.push(ValueRef::Text(text.as_bytes())),
                other => filled.push(ValueRef::Text(other.to_string().as_bytes())),
            };
            pushed.expect("a value of the column's type");
        }
        filled.finish()
    });
    let records = arrow_array::RecordBatch::try_new(schema.arrow(), columns.collect()).expect("columns of the schema");
    let block = Block { first_record: 1, ..Block::default() };
    Batch::new(records, Origin::new(SplitId(split), seq, block, rows.len()))
}

/// Compiles a sink of these keys in TOML; else its problems as `code place: message (help)`.
fn compile(keys: &str, input: &Schema) -> Result<Compiled<dyn Sink>, Vec<String>> {
    let mut problems = Problems::default();
    let document = Document::parse("job.toml", keys, Format::Toml, &mut problems);
    assert!(problems.is_empty(), "the test's own text: {problems:?}");
    let mut context = Context::of("out", &document.root, Some(input), &mut problems);
    let compiled = (KIND.compile)(&mut context);
    let list: Vec<String> = problems
        .iter()
        .map(|problem| {
            let (SpecLocation::Value(path) | SpecLocation::Key(path) | SpecLocation::Inside(path, _)) = &problem.place
            else {
                panic!("{problem:?}")
            };
            let help = problem.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            format!("{} {path}: {}{help}", problem.code, problem.message)
        })
        .collect();
    assert_eq!(compiled.is_none(), !list.is_empty(), "a sink or a reason: {list:?}");
    compiled.ok_or(list)
}

/// A database of a test.
struct Home {
    folder: Folder,
}

impl Home {
    fn new(name: &str) -> Home {
        Home { folder: Folder::new(&format!("sqlite-{name}")) }
    }

    fn path(&self) -> String {
        self.folder.text("a.db")
    }

    fn sink(&self, keys: &str, input: &Schema) -> Compiled<dyn Sink> {
        let database = self.path();
        let table = if keys.contains("table = ") { "" } else { "table = \"t\"" };
        compile(&format!("database = \"{database}\"\n{table}\n{keys}"), input).expect("a sound spec")
    }

    fn worker(&self, keys: &str, input: &Schema) -> Result<Box<dyn SinkWorker>, Failure> {
        self.sink(keys, input).stage.worker(Mode::Write)
    }

    /// Runs SQL as another process would.
    fn run(&self, sql: &str) {
        self.client().execute_batch(sql).expect("sound SQL");
    }

    fn client(&self) -> Connection {
        Connection::open(self.path()).expect("a database")
    }

    /// The answer to a query, one text per row.
    fn ask(&self, sql: &str) -> Vec<String> {
        let client = self.client();
        let mut statement = client.prepare(sql).expect("sound SQL");
        let width = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let cells: Result<Vec<String>, _> = (0..width).map(|i| row.get_ref(i).map(shown)).collect();
            Ok(cells?.join("|"))
        };
        statement.query_map([], row).expect("an answer").collect::<Result<_, _>>().expect("rows")
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("x{bytes:?}"),
    }
}

/// Rejects as `record code message`.
fn rejects(written: &Written) -> Vec<String> {
    let reject =
        |reject: &crate::batch::Reject| format!("{} {} {}", reject.position.record, reject.code.0, reject.message);
    written.rejects.iter().map(reject).collect()
}

/// The rows that go on to other stages, as JSON.
fn output(written: &Written) -> Vec<String> {
    let batch = written.output.as_ref().expect("output");
    (0..batch.rows()).map(|row| row_json::row(&batch.records, row)).collect()
}

/// So many rows of `name string, town string`.
fn people(count: usize) -> Vec<Json> {
    let town = |i| if i % 2 == 0 { "Earth" } else { "Moon" };
    (0..count).map(|i| json!([format!("name {i}"), town(i)])).collect()
}

const PEOPLE: [&str; 2] = ["name string", "town string"];

/// The error of something that has no `Debug`.
fn refused<T>(result: Result<T, Failure>) -> Failure {
    result.err().expect("a failure")
}
