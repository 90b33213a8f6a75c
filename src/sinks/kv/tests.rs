//! The sink from its keys to what the store holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use arrow_array::{ArrayRef, RecordBatch};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    batch::{Block, Column, Origin, Schema, SplitId},
    formats::testing::Folder,
    jobspec::{Problems, Value},
    stores::{Part, keys},
};

fn input(value: ColumnType) -> Schema {
    Schema::new(vec![
        Column { name: "k".into(), column_type: ColumnType::String, nullable: true },
        Column { name: "v".into(), column_type: value, nullable: true },
        Column { name: "n".into(), column_type: ColumnType::Int64, nullable: true },
    ])
}

fn compiled(spec: &Json, value: ColumnType) -> Result<Compiled<dyn Sink>, Vec<String>> {
    let table: Value = serde_json::from_value(spec.clone()).expect("any JSON is a value");
    let (input, mut problems) = (input(value), Problems::default());
    let mut context = Context::of("sinks.out", &table, Some(&input), &mut problems);
    compile(&mut context).ok_or_else(|| problems.iter().map(|problem| problem.message.clone()).collect())
}

fn batch(value: ColumnType, rows: &[(Option<&str>, Option<&str>)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(key, _)| *key).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|(_, value)| *value).collect::<StringViewArray>()),
        Arc::new((0..rows.len() as i64).map(|n| (n != 2).then_some(n)).collect::<arrow_array::Int64Array>()),
    ];
    let records = RecordBatch::try_new(input(value).arrow(), columns).expect("columns of the schema");
    let block = Block { first_record: 1, ..Block::default() };
    Batch::new(records, Origin::new(SplitId(0), 0, block, rows.len()))
}

/// What a store holds.
fn held(path: &std::path::Path, backend: Backend) -> BTreeMap<String, String> {
    let store = stores::open(backend, path);
    let mut session = store.session(Access::Read).expect("it is there");
    let mut get = |key: &str| String::from_utf8(session.get(key).expect("it can be read").expect("it is there"));
    let keys = keys(store.as_ref()).expect("it can be read").into_iter();
    keys.map(|key| (key.clone(), get(&key).expect("it was text"))).collect()
}

fn codes(written: &Written) -> Vec<(u64, &'static str)> {
    written.rejects.iter().map(|reject| (reject.position.record, reject.code.0)).collect()
}

fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn documents_are_stored_and_bad_rows_refused() {
    let folder = Folder::new("kv-sink-1");
    for (backend, name) in [(Backend::Folder, "kv"), (Backend::Sqlite, "kv.db")] {
        let path = folder.path(name);
        let word = if backend == Backend::Folder { "folder" } else { "sqlite" };
        let spec = json!({ "path": path, "backend": word, "key": "k", "value": "v" });
        let sink = compiled(&spec, ColumnType::String).expect("a sound spec");
        assert_eq!(sink.stage.properties(), SinkProperties::of_files(Guarantee::LastWins, vec![path.clone()]));
        assert!(matches!(&sink.workers, Workers::Keyed(key, 2) if key.to_string() == "k"));
        let mut worker = sink.stage.worker(Mode::Write).expect("it can be written to");
        let rows = [
            (Some("a"), Some("1")),
            (None, Some("2")),
            (Some("b"), Some("{")),
            (Some("a"), Some(r#"{"x":1}"#)),
            (Some(""), Some("null")),
            (Some("c"), Some("4")),
            (Some("c"), None),
        ];
        let written = worker.write(&batch(ColumnType::String, &rows)).expect("no failure");
        assert_eq!(codes(&written), [(2, "no_key"), (3, "bad_json")]);
        assert_eq!((written.accepted, written.failed, written.durable), (5, 0, true));
        assert_eq!(held(&path, backend), of(&[("", "null"), ("a", r#"{"x":1}"#)]), "durable before it answers");
        let written = worker.write(&batch(ColumnType::String, &[(Some("a"), None)])).expect("no failure");
        assert_eq!((written.accepted, held(&path, backend)), (1, of(&[("", "null")])));
        assert_eq!(worker.commit(), Ok(()));
    }
}

#[test]
fn a_row_whose_expression_fails_is_refused_once() {
    let folder = Folder::new("kv-sink-2");
    let spec = json!({ "path": folder.path("kv"), "key": "k", "value": "cast(1 / (n - 1) as string)" });
    let sink = compiled(&spec, ColumnType::Json).expect("a sound spec");
    let mut worker = sink.stage.worker(Mode::Write).expect("it can be written to");
    let rows = [(Some("a"), None), (Some("b"), None), (Some("c"), None)];
    let written = worker.write(&batch(ColumnType::Json, &rows)).expect("no failure");
    assert_eq!((codes(&written), written.accepted), (vec![(2, "expression")], 2));
}

#[test]
fn a_rehearsal_shows_documents_and_touches_nothing() {
    let folder = Folder::new("kv-sink-3");
    let path = folder.path("kv");
    for ack in ["each", "none"] {
        let spec = json!({ "path": path, "key": "k", "value": "v", "ack": ack });
        let sink = compiled(&spec, ColumnType::Json).expect("a sound spec");
        let mut worker = sink.stage.worker(Mode::Rehearse).expect("nothing is needed");
        let long = format!("\"{}\"", "x".repeat(300));
        let rows = [(Some("a"), Some("1")), (Some("b"), None), (Some("c"), Some(&*long)), (Some("d"), Some("2"))];
        let written = worker.write(&batch(ColumnType::Json, &rows)).expect("no failure");
        assert_eq!(written.samples[..2], ["a = 1", "b is deleted"]);
        assert_eq!((written.samples.len(), written.samples[2].chars().count()), (3, 205));
        let written = worker.write(&batch(ColumnType::Json, &rows)).expect("no failure");
        assert_eq!((written.samples.len(), worker.commit()), (0, Ok(())));
        assert!(!path.exists());
    }
}

#[test]
fn what_is_wrong_with_the_keys_is_said() {
    let sound = json!({ "path": "p", "key": "k", "value": "v" });
    let cases = [
        ("key", json!("n"), "`key` must be `string`, and this is `int64`"),
        ("value", json!("n"), "`value` must be `json` or `string`, and this is `int64`"),
        ("path", json!(""), "`path` names nothing"),
        ("backend", json!("tape"), "unknown value `tape`"),
        ("ack", json!("batch"), "unknown value `batch`"),
        ("delete_when", json!("true"), "unknown key `delete_when`"),
    ];
    for (key, value, message) in cases {
        let mut spec = sound.clone();
        spec[key] = value;
        assert_eq!(compiled(&spec, ColumnType::Json).err(), Some(vec![message.to_owned()]), "{key}");
    }
}

/// A store that notes what it was given, and can refuse.
#[derive(Clone, Default)]
struct Notes {
    puts: Arc<Mutex<Vec<Vec<String>>>>,
    refuses: bool,
}

impl Store for Notes {
    fn session(&self, _access: Access) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn parts(&self) -> Result<Vec<Part>, Failure> {
        Ok(Vec::new())
    }

    fn place(&self, key: &str) -> String {
        key.to_owned()
    }
}

impl Session for Notes {
    fn get(&mut self, _key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    fn put(&mut self, changes: &[Change<'_>]) -> Result<(), Failure> {
        if self.refuses {
            return Err(Failure::new(Exit::Io, "the disk is full"));
        }
        let line = |change: &Change<'_>| format!("{}={:.3}", change.key, change.document.unwrap_or("-"));
        self.puts.lock().expect("no panic").push(changes.iter().map(line).collect());
        Ok(())
    }

    fn keys(&mut self, _part: &Part) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

fn worker(notes: &Notes, ack: Ack) -> Box<dyn SinkWorker> {
    let bound = |text: &str| crate::expr::compile(text, &input(ColumnType::Json)).expect("an expression");
    let columns = Arc::new(Columns { key: bound("k"), value: bound("v"), parse: false });
    let kv = Kv { path: "p".into(), store: Arc::new(notes.clone()), columns, ack };
    kv.worker(Mode::Write).expect("it opens")
}

#[test]
fn a_mailbox_takes_at_once_and_keeps_the_newest() {
    let notes = Notes::default();
    let mut worker = worker(&notes, Ack::None);
    for rows in [[(Some("b"), Some("1")), (Some("a"), Some("2"))], [(Some("b"), Some("3")), (Some("c"), None)]] {
        let written = worker.write(&batch(ColumnType::Json, &rows)).expect("no failure");
        assert_eq!((written.accepted, written.durable), (2, false));
    }
    assert!(notes.puts.lock().expect("no panic").is_empty());
    assert_eq!(worker.commit(), Ok(()));
    assert_eq!(*notes.puts.lock().expect("no panic"), [["a=2", "b=3", "c=-"]]);
}

#[test]
fn a_full_mailbox_is_emptied_before_more_is_taken() {
    let notes = Notes::default();
    let mut worker = worker(&notes, Ack::None);
    let large = "1".repeat(MAILBOX / 4);
    for i in 0..10 {
        let key = format!("k{i}");
        worker.write(&batch(ColumnType::Json, &[(Some(&*key), Some(&*large))])).expect("no failure");
    }
    let puts = notes.puts.lock().expect("no panic").iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(puts, [4, 4], "what waits stays below its limit");
    for _ in 0..10 {
        worker.write(&batch(ColumnType::Json, &[(Some("same"), Some(&*large))])).expect("no failure");
    }
    assert_eq!(notes.puts.lock().expect("no panic").len(), 2, "a newer document takes the older one's room");
}

#[test]
fn what_cannot_be_stored_is_said() {
    let notes = Notes { refuses: true, ..Notes::default() };
    let rows = batch(ColumnType::Json, &[(Some("b"), Some("1")), (Some("a"), Some("2"))]);
    let written = worker(&notes, Ack::Each).write(&rows).expect("rows fail, not the stage");
    assert_eq!((written.accepted, written.failed), (0, 2));
    assert_eq!(written.failure, Some(Failure::new(Exit::Io, "the disk is full")));
    let mut behind = worker(&notes, Ack::None);
    let written = behind.write(&rows).expect("taken at once");
    assert_eq!((written.accepted, written.failed, written.durable), (2, 0, false));
    let said = "2 documents could not be stored: the disk is full";
    assert_eq!(behind.commit(), Err(Failure::new(Exit::Io, said)));
}
