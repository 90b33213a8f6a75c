//! The transform from its keys to documents.

use std::{collections::BTreeMap, fs, path::Path};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, cast::AsArray};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    batch::{Batch, Block, Origin, Rejects, SplitId},
    jobspec::Problems,
    stores::{Backend, Change, open},
    testing::Folder,
    values::json as row_json,
};

fn input() -> Schema {
    let column = |name: &str, column_type, nullable| Column { name: name.to_owned(), column_type, nullable };
    Schema::new(vec![
        column("list", ColumnType::String, true),
        column("what", ColumnType::String, true),
        column("id", ColumnType::Int64, true),
        column("entry", ColumnType::Json, true),
    ])
}

/// The keys of a sound spec, with these changed; a null takes a key away.
fn keys(changes: &Json) -> Json {
    let mut keys = json!({ "key": "list", "op": "what", "id": "id", "record": "entry", "auto_id": true });
    for (key, value) in changes.as_object().expect("a table") {
        match value {
            Json::Null => drop(keys.as_object_mut().expect("a table").shift_remove(key)),
            value => keys[key] = value.clone(),
        }
    }
    keys
}

fn compiled(
    changes: &Json,
    sinks: &Json,
    change: impl FnOnce(&mut Context<'_>),
) -> Result<Compiled<dyn Transform>, Vec<String>> {
    let value = |json: &Json| serde_json::from_value::<Value>(json.clone()).expect("any JSON is a value");
    let (table, sinks, input) = (value(&keys(changes)), value(sinks), input());
    let mut problems = Problems::default();
    let mut context = Context::of("transforms.lists", &table, Some(&input), &mut problems);
    context.sinks = sinks.as_table().expect("a table");
    change(&mut context);
    compile(&mut context).ok_or_else(|| problems.iter().map(|problem| problem.message.clone()).collect())
}

fn changelog(changes: &Json) -> Compiled<dyn Transform> {
    compiled(changes, &json!({}), |_| ()).expect("a sound spec")
}

type Row<'a> = (Option<&'a str>, Option<&'a str>, Option<i64>, Option<&'a str>);

fn batch(seq: u64, rows: &[Row<'_>]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<StringViewArray>()),
    ];
    let records = RecordBatch::try_new(input().arrow(), columns).expect("columns of the schema");
    let block = Block { first_record: 1, ..Block::default() };
    Batch::new(records, Origin::new(SplitId(0), seq, block, rows.len()))
}

/// The documents that a worker emits at the end, and the sizes of the batches.
fn finish(worker: &mut dyn TransformWorker) -> (BTreeMap<String, String>, Vec<usize>) {
    let (mut documents, mut sizes) = (BTreeMap::new(), Vec::new());
    while let Some(crate::stage::Made { records, .. }) = worker.finish().expect("no failure") {
        sizes.push(records.num_rows());
        let [keys, texts] = [0, 1].map(|column| records.column(column).as_string_view());
        for row in 0..records.num_rows() {
            let last = documents.insert(keys.value(row).to_owned(), texts.value(row).to_owned());
            assert_eq!(last, None, "a key is emitted once");
        }
    }
    (documents, sizes)
}

fn codes(rejects: &mut Rejects) -> Vec<(u64, &'static str)> {
    rejects.take().iter().map(|reject| (reject.position.record, reject.code.0)).collect()
}

fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn operations_make_documents_and_bad_ones_are_refused() {
    let stage = changelog(&json!({}));
    assert!(stage.stage.properties().pipeline_breaker);
    assert!(matches!(&stage.workers, Workers::Keyed(key, 2) if key.to_string() == "list"));
    let mut worker = stage.stage.worker().expect("it opens");
    let rows: &[Row<'_>] = &[
        (Some("bob"), Some("insert"), None, Some(r#"{ "t": 1 }"#)),
        (Some("eve"), Some("insert"), Some(5), Some("[]")),
        (Some("bob"), Some("insert"), Some(1), Some("{}")),
        (Some("bob"), Some("update"), Some(1), Some(r#"{"u":2}"#)),
        (Some("bob"), Some("update"), Some(9), Some("{}")),
        (Some("ann"), Some("delete"), Some(1), None),
        (Some("bob"), Some("upsert"), Some(1), Some("{}")),
        (Some("bob"), None, Some(1), Some("{}")),
        (None, Some("insert"), None, Some("{}")),
        (Some("bob"), Some("update"), None, Some("{}")),
        (Some("bob"), Some("delete"), None, None),
        (Some("bob"), Some("insert"), None, None),
        (Some("bob"), Some("insert"), None, Some(" null ")),
        (Some("bob"), Some("update"), Some(1), None),
        (Some("eve"), Some("delete"), Some(5), Some("whatever")),
        (Some("eve"), Some("insert"), None, Some("6")),
        (Some("bob"), Some("insert"), None, Some("{")),
    ];
    let mut rejects = Rejects::default();
    let output = worker.apply(batch(3, rows), &mut rejects).expect("no failure");
    assert_eq!((output.rows(), output.origin.seq), (0, 3));
    let expected = [
        (3, "exists"),
        (5, "missing"),
        (6, "missing"),
        (7, "unknown_op"),
        (8, "unknown_op"),
        (9, "no_key"),
        (10, "no_id"),
        (11, "no_id"),
        (12, "no_record"),
        (13, "no_record"),
        (14, "no_record"),
        (17, "bad_json"),
    ];
    assert_eq!(codes(&mut rejects), expected);
    let documents =
        of(&[("bob", r#"{"next_id":2,"entries":{"1":{"t":1,"u":2}}}"#), ("eve", r#"{"next_id":7,"entries":{"6":6}}"#)]);
    assert_eq!(finish(worker.as_mut()).0, documents);
}

#[test]
fn ids_are_given_only_where_the_spec_says_so() {
    for changes in [json!({ "auto_id": null }), json!({ "auto_id": false, "id": null })] {
        let mut worker = changelog(&changes).stage.worker().expect("it opens");
        let mut rejects = Rejects::default();
        let rows = [(Some("bob"), Some("insert"), None, Some("{}"))];
        worker.apply(batch(0, &rows), &mut rejects).expect("no failure");
        assert_eq!(codes(&mut rejects), [(1, "no_id")]);
        assert!(finish(worker.as_mut()).0.is_empty(), "what did not change is not emitted");
    }
}

#[test]
fn changes_are_put_out_as_they_are_applied() {
    let stage = changelog(&json!({ "emit": "change" }));
    assert!(!stage.stage.properties().pipeline_breaker);
    let shown = stage.output.as_ref().map(ToString::to_string);
    assert_eq!(shown.as_deref(), Some("list string, op string, id int64, record json?, document json"));
    let mut worker = stage.stage.worker().expect("it opens");
    let rows: &[Row<'_>] = &[
        (Some("bob"), Some("insert"), None, Some("{}")),
        (Some("eve"), Some("insert"), None, Some("1")),
        (Some("bob"), Some("update"), Some(7), Some("{}")),
        (Some("bob"), Some("update"), Some(1), Some(r#"{"a":1}"#)),
        (Some("bob"), Some("delete"), Some(1), None),
    ];
    let mut rejects = Rejects::default();
    let output = worker.apply(batch(0, rows), &mut rejects).expect("no failure");
    assert_eq!(codes(&mut rejects), [(3, "missing")]);
    let (bob, eve) = (json!({ "next_id": 2, "entries": {} }), json!({ "next_id": 2, "entries": { "1": 1 } }));
    let row = |list, op, record: Json, document: &Json| {
        json!({ "list": list, "op": op, "id": 1, "record": record, "document": document }).to_string()
    };
    let expected = [
        row("bob", "insert", json!({}), &bob),
        row("eve", "insert", json!(1), &eve),
        row("bob", "update", json!({ "a": 1 }), &bob),
        row("bob", "delete", Json::Null, &bob),
    ];
    let seen: Vec<String> = (0..output.rows()).map(|row| row_json::row(&output.records, row)).collect();
    assert_eq!(seen, expected);
    let records: Vec<u64> = (0..output.rows()).map(|row| output.origin.position(row).record).collect();
    assert_eq!(records, [1, 2, 4, 5], "each row knows where it came from");
    assert_eq!(finish(worker.as_mut()).1, [0_usize; 0], "nothing is left for the end");
}

#[test]
fn many_large_documents_are_put_out_whole() {
    let mut worker = changelog(&json!({ "emit": "change" })).stage.worker().expect("it opens");
    let text = format!("\"{}\"", "x".repeat(700_000));
    let keys: Vec<String> = (0..7).map(|i| format!("k{i}")).collect();
    let rows: Vec<Row<'_>> = keys.iter().map(|key| (Some(&**key), Some("insert"), None, Some(&*text))).collect();
    let output = worker.apply(batch(0, &rows), &mut Rejects::default()).expect("no failure");
    let expected = format!("{{\"next_id\":2,\"entries\":{{\"1\":{text}}}}}");
    let documents = output.records.column(4).as_string_view();
    assert!((0..7).all(|row| documents.value(row) == expected));
}

fn fill(backend: Backend, path: &Path, documents: &[(&str, &str)]) {
    let store = open(backend, path);
    let changes: Vec<Change<'_>> =
        documents.iter().map(|(key, document)| Change { key, document: Some(document) }).collect();
    store.session(Access::Write).and_then(|mut session| session.put(&changes)).expect("it can be written to");
}

fn sinks(path: &Path, backend: &str) -> Json {
    json!({
        "log": { "type": "files", "path": "x" },
        "persist": { "type": "kv", "path": path, "backend": backend, "key": "list", "value": "document" },
    })
}

#[test]
fn documents_go_on_where_they_ended() {
    let folder = Folder::new("changelog-store");
    for (backend, word) in [(Backend::Folder, "folder"), (Backend::Sqlite, "sqlite")] {
        let path = folder.path(word);
        fill(backend, &path, &[("bob", r#"{"next_id":5,"entries":{"3":{"t":1}}}"#), ("bad", "{\"next"), ("odd", "[]")]);
        let stage = compiled(&json!({ "store": "persist" }), &sinks(&path, word), |_| ()).expect("a sound spec");
        let mut worker = stage.stage.worker().expect("it opens");
        let rows: &[Row<'_>] = &[
            (Some("bob"), Some("insert"), None, Some("{}")),
            (Some("bad"), Some("insert"), None, Some("{}")),
            (Some("bob"), Some("update"), Some(3), Some(r#"{"t":null}"#)),
            (Some("odd"), Some("delete"), Some(1), None),
            (Some("bad"), Some("delete"), Some(1), None),
            (Some("new"), Some("insert"), None, Some("0")),
        ];
        let mut rejects = Rejects::default();
        worker.apply(batch(0, rows), &mut rejects).expect("no failure");
        let refused = rejects.take();
        let seen: Vec<_> = refused.iter().map(|reject| (reject.position.record, reject.code.0)).collect();
        assert_eq!(seen, [(2, "bad_document"), (4, "bad_document"), (5, "bad_document")]);
        let place = open(backend, &path).place("bad");
        assert!(refused[0].message.starts_with(&format!("`{place}` is not a document")), "{}", refused[0].message);
        let documents =
            of(&[("bob", r#"{"next_id":6,"entries":{"3":{},"5":{}}}"#), ("new", r#"{"next_id":2,"entries":{"1":0}}"#)]);
        assert_eq!(finish(worker.as_mut()).0, documents);
        let before = open(backend, &path).session(Access::Read).and_then(|mut session| session.get("bob"));
        assert_eq!(before.map(|text| text.map(|text| text.len())), Ok(Some(37)), "the store is as it was");
    }
}

#[test]
fn a_store_that_is_not_there_is_empty_and_one_that_fails_stops_the_stage() {
    let folder = Folder::new("changelog-no-store");
    let stage = compiled(&json!({ "store": "persist" }), &sinks(&folder.path("none"), "folder"), |_| ());
    let mut worker = stage.expect("a sound spec").stage.worker().expect("it opens");
    let rows = [(Some("bob"), Some("insert"), None, Some("{}"))];
    worker.apply(batch(0, &rows), &mut Rejects::default()).expect("no failure");
    assert_eq!(finish(worker.as_mut()).0.len(), 1);
    assert!(folder.names().is_empty(), "nothing is written");
    let path = folder.path("broken");
    fs::create_dir_all(path.join("81/bob.json")).expect("a folder stands for the document");
    let stage = compiled(&json!({ "store": "persist" }), &sinks(&path, "folder"), |_| ()).expect("a sound spec");
    let mut worker = stage.stage.worker().expect("it opens");
    let failure = worker.apply(batch(0, &rows), &mut Rejects::default()).expect_err("it cannot be read");
    assert!(failure.message.starts_with("cannot read `"), "{failure}");
}

/// 4,000 operations over 300 keys, and the documents that come of them.
fn work(memory: usize, workers: usize, emit: &str) -> (BTreeMap<String, String>, Vec<usize>) {
    let stage = compiled(&json!({ "emit": emit }), &json!({}), |context| {
        context.memory = memory;
        context.batch = BatchSize { rows: 64, bytes: 1 << 20 };
    });
    let stage = stage.expect("a sound spec");
    let mut all: Vec<_> = (0..workers).map(|_| stage.stage.worker().expect("it opens")).collect();
    let mut last = BTreeMap::new();
    for seq in 0..40_u64 {
        let names: Vec<String> = (0..100).map(|i| format!("k{}", (seq * 31 + i * i * 7) % 300)).collect();
        let texts: Vec<String> = (0..100).map(|i| format!("{{\"v{}\":{}}}", i % 3, seq * 100 + i)).collect();
        let row = |i: usize| match i % 3 {
            0 | 1 => (Some(&*names[i]), Some("insert"), None, Some(&*texts[i])),
            _ => (Some(&*names[i]), Some("update"), Some(1), Some(&*texts[i])),
        };
        let rows: Vec<Row<'_>> = (0..100).map(row).collect();
        let worker = &mut all[0];
        let output = worker.apply(batch(seq, &rows), &mut Rejects::default()).expect("no failure");
        for row in 0..output.rows() {
            let [key, text] = [0, 4].map(|column| output.records.column(column).as_string_view().value(row).to_owned());
            last.insert(key, text);
        }
    }
    let (documents, sizes) = finish(all[0].as_mut());
    if emit == "change" { (last, sizes) } else { (documents, sizes) }
}

#[test]
fn documents_that_do_not_fit_into_memory_come_out_the_same() {
    let (expected, sizes) = work(256 << 20, 1, "document");
    assert_eq!(expected.len(), 300);
    assert_eq!(sizes, [64, 64, 64, 64, 44]);
    for (memory, workers) in [(1, 1), (20_000, 1), (60_000, 4)] {
        let (documents, sizes) = work(memory, workers, "document");
        assert!(documents == expected, "with {memory} bytes for {workers} workers");
        assert_eq!(sizes, [64, 64, 64, 64, 44]);
    }
    for memory in [1, 20_000, 256 << 20] {
        assert!(work(memory, 1, "change").0 == expected, "the last document of each key, with {memory} bytes");
    }
}

#[test]
fn memory_stays_within_its_limit() {
    let mut documents = Documents::new(None, None);
    for round in 0..3_000_u64 {
        let at = documents.find(&format!("k{}", round % 700)).expect("no store is asked");
        let record = format!("\"{round}\"");
        let operation = document::Operation::Insert(None, &record);
        documents.change(at, |document| document.apply(operation)).expect("it fits");
        documents.shrink(50_000).expect("there is room on disk");
        assert!(documents.bytes() <= 50_000, "{} bytes in round {round}", documents.bytes());
    }
    let mut seen = Vec::new();
    documents
        .hand_out(usize::MAX, usize::MAX, |key, text| seen.push((key.to_owned(), text.len())))
        .expect("no failure");
    assert_eq!(seen.len(), 700);
    assert!(seen.is_sorted());
}

#[test]
fn what_is_used_stays_and_what_was_only_read_is_dropped() {
    let mut documents = Documents::new(None, None);
    let a = documents.find("a").expect("no store is asked");
    documents.find("b").expect("no store is asked");
    documents.find("c").expect("no store is asked");
    assert_eq!(documents.find("a"), Ok(a), "it has not moved");
    let one = documents.bytes() / 3;
    documents.shrink(one * 2).expect("nothing has to be written");
    assert_eq!(documents.bytes(), one, "to three quarters of the limit");
    assert_eq!(documents.find("a"), Ok(a), "the one that was used last has stayed");
    assert_eq!(documents.bytes(), one);
    let mut out = 0;
    documents.hand_out(9, 9, |_, _| out += 1).expect("no failure");
    assert_eq!(out, 0, "nothing was changed");
}

#[test]
fn what_is_wrong_with_the_keys_is_said() {
    let cases = [
        (json!({ "key": "id" }), "`key` must be `string`, and this is `int64`"),
        (json!({ "op": "id" }), "`op` must be `string`, and this is `int64`"),
        (json!({ "id": "list" }), "`id` must be `int64`, and this is `string`"),
        (json!({ "record": "id" }), "`record` must be `json` or `string`, and this is `int64`"),
        (json!({ "emit": "all" }), "unknown value `all`"),
        (json!({ "auto_ids": true }), "unknown key `auto_ids`"),
        (json!({ "store": "nowhere" }), "there is no sink named `nowhere`"),
        (json!({ "store": "log" }), "the sink `log` is not of type `kv`"),
        (
            json!({ "store": "persist", "key": "upper(list)" }),
            "the key of `persist` is `list`, and that of this stage's documents `key`",
        ),
    ];
    for (changes, message) in cases {
        let found = compiled(&changes, &sinks(Path::new("p"), "folder"), |_| ());
        assert_eq!(found.err(), Some(vec![message.to_owned()]), "{changes}");
    }
    let mut other = sinks(Path::new("p"), "folder");
    other["persist"]["value"] = json!("record");
    let message = "the value of `persist` is `record`, and that of this stage's documents `document`";
    assert_eq!(compiled(&json!({ "store": "persist" }), &other, |_| ()).err(), Some(vec![message.to_owned()]));
}

#[test]
fn the_key_is_called_as_its_column() {
    for (key, name) in [("list", "list"), (" list ", "list"), ("upper(list)", "key")] {
        let output = changelog(&json!({ "key": key })).output.map(|schema| schema.columns()[0].name.clone());
        assert_eq!(output.as_deref(), Some(name));
    }
    let value: Value = serde_json::from_value(keys(&json!({ "key": "id", "emit": "change" }))).expect("a value");
    let schema = Schema::new(vec![
        Column { name: "id".into(), column_type: ColumnType::String, nullable: false },
        Column { name: "what".into(), column_type: ColumnType::String, nullable: false },
        Column { name: "entry".into(), column_type: ColumnType::Json, nullable: false },
    ]);
    let mut problems = Problems::default();
    assert!(compile(&mut Context::of("transforms.t", &value, Some(&schema), &mut problems)).is_none());
    assert!(problems.iter().any(|problem| problem.code == "columns"), "{problems:?}");
}
