//! The sink from its keys to what the store holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    batch::Schema,
    failure::Exit,
    jobspec::Value,
    stage::Guarantee,
    stores::{KeyRange, keys},
    testing::{self, Folder, rejects, schema, write},
};

fn input(value: ColumnType) -> Schema {
    schema(&format!("k string?, v {value}?, n int64?"))
}

fn compiled(spec: &Json, value: ColumnType) -> Result<Compiled<dyn Sink>, Vec<String>> {
    let table: Value = serde_json::from_value(spec.clone()).expect("any JSON is a value");
    testing::compiled(&KIND, "sinks.out", &table, [Some(&input(value)), None], |_| {})
}

/// Rows with their number in `n`, which the third does not have.
fn batch(value: ColumnType, rows: &[(Option<&str>, Option<&str>)]) -> Batch {
    let number = |n: usize| (n != 2).then_some(n);
    let rows = rows.iter().enumerate().map(|(n, (key, value))| json!([key, value, number(n)]));
    testing::batch(&input(value), 0, 0, &rows.collect::<Vec<_>>())
}

/// What a store holds.
fn held(path: &std::path::Path, backend: Backend) -> BTreeMap<String, String> {
    let store = stores::open(backend, path);
    let mut session = store.session(Access::Read).expect("it is there");
    let mut get = |key: &str| String::from_utf8(session.get(key).expect("it can be read").expect("it is there"));
    let keys = keys(store.as_ref()).expect("it can be read").into_iter();
    keys.map(|key| (key.clone(), get(&key).expect("it was text"))).collect()
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
        let written = write(&mut *worker, &batch(ColumnType::String, &rows));
        let said = [
            "2 no_key the key is null",
            "3 bad_json the value is not JSON: EOF while parsing an object at line 1 column 1",
        ];
        assert_eq!(rejects(&written), said);
        assert_eq!((written.accepted, written.failed, written.durable), (5, 0, true));
        assert_eq!(held(&path, backend), of(&[("", "null"), ("a", r#"{"x":1}"#)]), "durable before it answers");
        let written = write(&mut *worker, &batch(ColumnType::String, &[(Some("a"), None)]));
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
    let written = write(&mut *worker, &batch(ColumnType::Json, &rows));
    assert_eq!((written.rejects.len(), written.accepted), (1, 2));
    assert!(rejects(&written)[0].starts_with("2 expression "), "{:?}", rejects(&written));
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
        let written = write(&mut *worker, &batch(ColumnType::Json, &rows));
        assert_eq!(written.samples[..2], ["a = 1", "b is deleted"]);
        assert_eq!((written.samples.len(), written.samples[2].chars().count()), (3, 205));
        let written = write(&mut *worker, &batch(ColumnType::Json, &rows));
        assert_eq!((written.samples.len(), worker.commit()), (0, Ok(())));
        assert!(!path.exists());
    }
}

#[test]
fn what_is_wrong_with_the_keys_is_said() {
    let sound = json!({ "path": "p", "key": "k", "value": "v" });
    let cases = [
        ("key", json!("n"), "type | sinks.out.key | `key` must be `string`, and this is `int64`"),
        ("value", json!("n"), "type | sinks.out.value | `value` must be `json` or `string`, and this is `int64`"),
        ("path", json!(""), "path | sinks.out.path | `path` names nothing"),
        ("backend", json!("tape"), "unknown-value | sinks.out.backend | unknown value `tape`"),
        ("order", json!("none"), "unknown-value | sinks.out.order | unknown value `none`"),
        ("ack", json!("batch"), "unknown-value | sinks.out.ack | unknown value `batch`"),
        ("delete_when", json!("true"), "unknown-key | key sinks.out.delete_when | unknown key `delete_when`"),
    ];
    for (key, value, message) in cases {
        let mut spec = sound.clone();
        spec[key] = value;
        let problems = compiled(&spec, ColumnType::Json).map(|_| ()).expect_err("it is wrong");
        let told: Vec<&str> = problems[0].split(" | ").take(3).collect();
        assert_eq!((problems.len(), told.join(" | ").as_str()), (1, message), "{key}");
    }
}

#[test]
fn order_is_kept_unless_it_is_given_up() {
    let spec = json!({ "path": "p", "key": "k", "value": "v" });
    for (order, guarantee, note) in [
        (None, Guarantee::LastWins, "of rows with equal keys the last one of the input stays"),
        (Some("input"), Guarantee::LastWins, "of rows with equal keys the last one of the input stays"),
        (Some("any"), Guarantee::AnyOrder, "of rows with equal keys any one may stay"),
    ] {
        let mut spec = spec.clone();
        if let Some(order) = order {
            spec["order"] = json!(order);
        }
        let sink = compiled(&spec, ColumnType::Json).expect("a sound spec");
        assert_eq!(sink.stage.properties().guarantee, guarantee);
        assert_eq!(sink.notes.last().map(String::as_str), Some(note));
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

    fn parts(&self) -> Result<Vec<KeyRange>, Failure> {
        Ok(Vec::new())
    }

    fn begin(&self, _run: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn is_of(&self, _run: &str) -> Result<bool, Failure> {
        Ok(true)
    }

    fn end(&self, _run: &str) -> Result<(), Failure> {
        Ok(())
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

    fn keys(&mut self, _part: &KeyRange) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

fn worker(notes: &Notes, ack: Ack) -> Box<dyn SinkWorker> {
    let bound = |text: &str| crate::expr::compile(text, &input(ColumnType::Json)).expect("an expression");
    let columns = Arc::new(Columns { key: bound("k"), value: bound("v"), parse: false });
    let store = Arc::new(notes.clone());
    let kv = Kv { path: "p".into(), store, columns, order: Order::Input, ack };
    kv.worker(Mode::Write).expect("it opens")
}

#[test]
fn a_mailbox_takes_at_once_and_keeps_the_newest() {
    let notes = Notes::default();
    let mut worker = worker(&notes, Ack::None);
    for rows in [[(Some("b"), Some("1")), (Some("a"), Some("2"))], [(Some("b"), Some("3")), (Some("c"), None)]] {
        let written = write(&mut *worker, &batch(ColumnType::Json, &rows));
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
        write(&mut *worker, &batch(ColumnType::Json, &[(Some(&*key), Some(&*large))]));
    }
    let puts = notes.puts.lock().expect("no panic").iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(puts, [4, 4], "what waits stays below its limit");
    for _ in 0..10 {
        write(&mut *worker, &batch(ColumnType::Json, &[(Some("same"), Some(&*large))]));
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
