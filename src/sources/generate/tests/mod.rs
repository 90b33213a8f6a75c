//! The source from spec to rows.

mod problems;
mod values;

use serde_json::Value as Json;

use super::KIND;
use crate::{
    batch::{Rejects, SplitId},
    jobspec::{BatchSize, Document, Format, Path, Problems, Severity, SpecLocation, Table, Value},
    kind::{Compiled, Context},
    stage::Source,
    values::json,
};

const BATCH: BatchSize = BatchSize { rows: 1000, bytes: 1 << 20 };

/// A job with one source, `rows`, of a definition with these fields.
fn job(fields: &str, source: &str) -> String {
    format!("[definitions.d.fields]\n{fields}\n\n[sources.rows]\ntype = \"generate\"\ndefinition = \"d\"\n{source}\n")
}

/// Compiles the source `name` of a job; else its problems as `code place message`, notes as `note:…`.
fn compile(text: &str, name: &str, batch: BatchSize, seed: u64) -> Result<Compiled<dyn Source>, Vec<String>> {
    let mut problems = Problems::default();
    let document = Document::parse("job.toml", text, Format::Toml, &mut problems);
    assert!(problems.is_empty(), "the job's own text: {problems:?}\n{text}");
    compile_values(&document.root, name, batch, seed)
}

fn compile_values(root: &Value, name: &str, batch: BatchSize, seed: u64) -> Result<Compiled<dyn Source>, Vec<String>> {
    let none = Table::new();
    let section = |key: &str| root.as_table().and_then(|root| root.get(key)?.as_table()).unwrap_or(&none);
    let mut own = section("sources").get(name).and_then(Value::as_table).expect("the source").clone();
    own.shift_remove("type");
    let mut problems = Problems::default();
    let own = Value::Table(own);
    let mut context = Context::of("", &own, None, &mut problems);
    context.path = Path::default().entry("sources").entry(name);
    context.common = &["concurrency"];
    (context.batch, context.seed) = (batch, seed);
    (context.definitions, context.sources) = (section("definitions"), section("sources"));
    let compiled = (KIND.compile)(&mut context);
    let shown = |place: &SpecLocation| match place {
        SpecLocation::Key(path) => format!("key {path}"),
        SpecLocation::Value(path) => path.to_string(),
        SpecLocation::Inside(path, range) => format!("{path}[{}..{}]", range.start, range.end),
        other => format!("{other:?}"),
    };
    let list: Vec<String> = problems
        .iter()
        .map(|problem| {
            let note = if problem.severity == Severity::Note { "note:" } else { "" };
            let help = problem.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            format!("{note}{} {}: {}{help}", problem.code, shown(&problem.place), problem.message)
        })
        .collect();
    assert_eq!(compiled.is_none(), !list.is_empty(), "a source or a reason: {list:?}");
    compiled.ok_or(list)
}

/// All rows of a source and what was rejected, split by split.
fn read(source: &dyn Source) -> (Vec<Json>, Vec<String>) {
    let (mut rows, mut rejects) = (Vec::new(), Rejects::default());
    let mut worker = source.worker().expect("a worker");
    for (i, split) in source.splits().expect("splits").iter().enumerate() {
        let mut reader = worker.open(SplitId(i as u32), split).expect("a reader");
        let mut seq = 0;
        while let Some(batch) = reader.next_batch(&mut rejects).expect("a generator does not fail") {
            assert_eq!((batch.origin.split, batch.origin.seq), (SplitId(i as u32), seq));
            seq += 1;
            let row = |row| serde_json::from_str(&json::row(&batch.records, row)).expect("JSON");
            rows.extend((0..batch.rows()).map(row));
        }
    }
    let rejects = rejects
        .take()
        .into_iter()
        .map(|reject| format!("{} {} {}", reject.position.record, reject.code.0, reject.message));
    (rows, rejects.collect())
}

/// All rows of the source `rows` of a sound job.
fn rows_of(text: &str) -> Vec<Json> {
    let compiled = compile(text, "rows", BATCH, 42).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let (rows, rejects) = read(compiled.stage.as_ref());
    assert_eq!(rejects, Vec::<String>::new());
    rows
}

/// The values of one field, made so many times.
fn values(field: &str, count: usize) -> Vec<Json> {
    rows_of(&job(&format!("x = {field}"), &format!("count = {count}")))
        .into_iter()
        .map(|mut row| row["x"].take())
        .collect()
}

/// One of everything, with references between two sources.
const EVERYTHING: &str = r##"
[definitions.user.fields]
id = { uuid = {} }
handle = { pattern = "??-####", unique = true }

[sources.users]
type = "generate"
definition = "user"
count = 300

[definitions.all]
primary_key = ["seq", "id"]

[definitions.all.fields]
line = { template = "{seq}: {company} <{mail}>" }
id = { uuid = {} }
seq = { sequence = { start = 10, step = 5 } }
mail = { template = "u{doubled}@{domain_name}" }
doubled = { expr = "seq * 2" }
int = { int = { min = -5, max = 5 }, null_rate = 0.3 }
each = { int = { min = 1, max = 5000 }, unique = true }
float = { float = { min = -1, max = 1 } }
price = { float = { min = 0, max = 10, decimals = 2 } }
normal = { normal = { mean = 3, stddev = 2 } }
zipf = { zipf = { n = 100, s = 1.2 } }
bool = { bool = {} }
town = { choice = ["Earth", "Moon"] }
weighted = { choice = { values = [1, 2, 3.5], weights = [1, 1, 2] } }
day = { date = { from = "2020-01-01", to = "2020-12-31" } }
moment = { timestamp = { from = "2020-01-01", to = "2020-12-31T12:00:00Z" } }
name = { fake = "name", locale = "ja_jp", null_rate = 0.1 }
tags = { list = { of = { fake = "word", null_rate = 0.2 }, min = 0, max = 4 }, null_rate = 0.1 }
nested = { list = { of = { list = { of = { sequence = {} }, count = 2 } }, count = 2 } }
object = { object = { city = { fake = "city" }, at = { date = { from = "2020-01-01", to = "2020-01-31" } }, n = [1, 2] } }
owner = { ref = { source = "users", column = "id" } }
constant = "Hello world"

[sources.rows]
type = "generate"
definition = "all"
count = 1000
"##;

fn everything(batch: BatchSize, splits: &str, seed: u64) -> Vec<Json> {
    let text = EVERYTHING.replace("count = 1000", &format!("count = 1000\n{splits}"));
    let compiled = compile(&text, "rows", batch, seed).unwrap_or_else(|problems| panic!("{problems:#?}"));
    read(compiled.stage.as_ref()).0
}

#[test]
fn any_batch_size_and_any_split_gives_the_same_rows() {
    let whole = everything(BatchSize { rows: 10_000, bytes: 1 << 30 }, "", 42);
    assert_eq!(whole.len(), 1000);
    assert_eq!(whole, everything(BatchSize { rows: 1, bytes: 1 << 30 }, "", 42));
    assert_eq!(whole, everything(BatchSize { rows: 37, bytes: 1 << 30 }, "splits = 7", 42));
    assert_eq!(whole, everything(BatchSize { rows: 10_000, bytes: 2000 }, "splits = 1000", 42));
    assert_ne!(whole, everything(BATCH, "", 43));
}

#[test]
fn a_smaller_count_gives_the_first_rows() {
    let few = rows_of(&EVERYTHING.replace("count = 1000", "count = 10"));
    assert_eq!(few, rows_of(EVERYTHING)[..10]);
}

#[test]
fn values_do_not_change_from_version_to_version() {
    let row = &rows_of(EVERYTHING)[7];
    let made = |column: &str| row[column].to_string();
    for (column, wanted) in [
        ("id", "\"8b93c06f-a3e2-4df9-b5eb-09641aade5df\""),
        ("each", "1203"),
        ("price", "8.3"),
        ("normal", "3.099394403762995"),
        ("zipf", "10"),
        ("town", "\"Earth\""),
        ("weighted", "3.5"),
        ("day", "\"2020-07-28\""),
        ("moment", "\"2020-08-03T07:28:45.544220Z\""),
        ("tags", "[\"quisquam\"]"),
        ("owner", "\"905014c5-8cc3-4280-9dd5-02d21ca54d2f\""),
        ("line", "\"45: MacGyver and Connelly and Sons <u90@padberg.info>\""),
    ] {
        assert_eq!((column, made(column).as_str()), (column, wanted), "{row:#}");
    }
}

#[test]
fn splits_share_the_rows_and_say_which() {
    let compiled = compile(&job("x = 1", "count = 10\nsplits = 3"), "rows", BATCH, 0).expect("sound");
    let names: Vec<String> = compiled.stage.splits().expect("splits").into_iter().map(|split| split.name).collect();
    assert_eq!(names, ["rows 0..3", "rows 3..6", "rows 6..10"]);
    for (count, wanted) in [(0, 1), (65_536, 1), (65_537, 2), (1_000_000, 16)] {
        let compiled = compile(&job("x = 1", &format!("count = {count}")), "rows", BATCH, 0).expect("sound");
        assert_eq!(compiled.stage.splits().expect("splits").len(), wanted, "{count}");
    }
    // Never more splits than rows.
    let compiled = compile(&job("x = 1", "count = 2\nsplits = 9"), "rows", BATCH, 0).expect("sound");
    assert_eq!(compiled.stage.splits().expect("splits").len(), 2);
}

#[test]
fn batches_keep_within_rows_and_bytes() {
    let text = job("x = { list = { of = { fake = \"name\" }, count = 100 } }", "count = 500");
    let compiled = compile(&text, "rows", BatchSize { rows: 1000, bytes: 100_000 }, 0).expect("sound");
    let mut worker = compiled.stage.worker().expect("a worker");
    let split = &compiled.stage.splits().expect("splits")[0];
    let mut reader = worker.open(SplitId(0), split).expect("a reader");
    let mut first = 1;
    while let Some(batch) = reader.next_batch(&mut Rejects::default()).expect("rows") {
        assert!(batch.bytes() < 200_000, "{}", batch.bytes());
        assert_eq!(batch.origin.position(0).record, first);
        assert_eq!((batch.origin.position(0).line, batch.origin.raw(0)), (0, None));
        first += batch.rows() as u64;
    }
    assert_eq!(first, 501);
}

#[test]
fn an_override_changes_its_own_column_only() {
    let fields = "a = { fake = \"name\" }\nb = { int = { min = 0, max = 99 } }\nc = \"text\"";
    let plain = rows_of(&job(fields, "count = 50"));
    let over = rows_of(&job(fields, "count = 50\noverrides = { b = { choice = [true, false] } }"));
    for (plain, over) in plain.iter().zip(&over) {
        assert_eq!((&plain["a"], &plain["c"]), (&over["a"], &over["c"]));
        assert!(plain["b"].is_i64() && over["b"].is_boolean());
    }
}

#[test]
fn a_null_rate_moves_no_values() {
    for field in ["{ fake = \"name\"", "{ list = { of = { int = { min = 0, max = 9 } }, count = 3 }", "{ uuid = {}"] {
        let full = values(&format!("{field} }}"), 10_000);
        let some = values(&format!("{field}, null_rate = 0.25 }}"), 10_000);
        let nulls = some.iter().filter(|value| value.is_null()).count();
        assert!(nulls.abs_diff(2500) < 200, "{nulls}");
        assert!(full.iter().zip(&some).all(|(full, some)| some.is_null() || some == full));
        assert!(values(&format!("{field}, null_rate = 1 }}"), 100).iter().all(Json::is_null));
        assert!(values(&format!("{field}, null_rate = 0 }}"), 100).iter().all(|value| !value.is_null()));
    }
}

#[test]
fn sources_of_one_definition_have_different_rows() {
    let text = format!("{EVERYTHING}\n[sources.others]\ntype = \"generate\"\ndefinition = \"all\"\ncount = 1000\n");
    let others = compile(&text, "others", BATCH, 42).expect("sound");
    let (others, rows) = (read(others.stage.as_ref()).0, rows_of(&text));
    assert!(rows.iter().zip(&others).all(|(row, other)| row["id"] != other["id"]));
}

#[test]
fn a_reference_finds_a_row_of_its_source() {
    let users = compile(EVERYTHING, "users", BATCH, 42).expect("sound");
    let ids: Vec<Json> = read(users.stage.as_ref()).0.into_iter().map(|mut row| row["id"].take()).collect();
    let rows = rows_of(EVERYTHING);
    assert!(rows.iter().all(|row| ids.contains(&row["owner"])));
    let used = ids.iter().filter(|id| rows.iter().any(|row| row["owner"] == **id)).count();
    assert!(used > 270, "{used} of 300 are referred to");
}

#[test]
fn a_unique_reference_takes_each_row_once() {
    let field = "owner = { ref = { source = \"users\", column = \"handle\" }, unique = true }";
    let text = EVERYTHING
        .replace("owner = { ref = { source = \"users\", column = \"id\" } }", field)
        .replace("count = 1000", "count = 300");
    let mut owners: Vec<String> = rows_of(&text).iter().map(|row| row["owner"].to_string()).collect();
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners.len(), 300);
}

#[test]
fn references_may_be_followed_and_may_lead_back_to_the_source() {
    let fields = "id = { sequence = {} }\nboss = { ref = { source = \"rows\", column = \"id\" } }\n\
                  over = { ref = { source = \"rows\", column = \"boss\" } }";
    let rows = rows_of(&job(fields, "count = 40"));
    let bosses: Vec<&Json> = rows.iter().map(|row| &row["boss"]).collect();
    assert!(rows.iter().all(|row| (1..=40).contains(&row["boss"].as_i64().unwrap()) && bosses.contains(&&row["over"])));
}

#[test]
fn a_row_on_which_an_expression_fails_is_rejected() {
    let fields = "n = { sequence = { start = -1 } }\nx = { expr = \"10 // n\" }\ny = { expr = \"x + 1\" }";
    let compiled = compile(&job(fields, "count = 4"), "rows", BATCH, 0).expect("sound");
    let (rows, rejects) = read(compiled.stage.as_ref());
    assert_eq!(rows.len(), 3);
    assert_eq!(rows.iter().map(|row| row["y"].as_i64()).collect::<Vec<_>>(), [Some(-9), Some(11), Some(6)]);
    assert_eq!(rejects.len(), 1);
    assert!(rejects[0].starts_with("2 expression "), "{rejects:?}");
}
