//! The source from its keys to batches.

use std::fs;

use arrow_array::cast::AsArray;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    jobspec::{Problems, Value},
    stores::Change,
    testing::Folder,
};

fn source(spec: &Json, change: impl FnOnce(&mut Context<'_>)) -> Result<Compiled<dyn Source>, Vec<String>> {
    let table: Value = serde_json::from_value(spec.clone()).expect("any JSON is a value");
    let mut problems = Problems::default();
    let mut context = Context::of("sources.in", &table, None, &mut problems);
    change(&mut context);
    compile(&mut context).ok_or_else(|| problems.iter().map(|problem| problem.message.clone()).collect())
}

fn fill(backend: Backend, path: &Path, documents: &[(&str, &str)]) {
    let store = stores::open(backend, path);
    let changes: Vec<Change<'_>> =
        documents.iter().map(|(key, document)| Change { key, document: Some(document) }).collect();
    store.session(Access::Write).and_then(|mut session| session.put(&changes)).expect("it can be written to");
}

/// All rows, sorted; the sizes of the batches; the rejects.
fn read(source: &Compiled<dyn Source>) -> (Vec<(String, String)>, Vec<usize>, Vec<Reject>) {
    let (mut rows, mut sizes, mut rejects) = (Vec::new(), Vec::new(), Rejects::default());
    let mut worker = source.stage.worker().expect("it is there");
    for (i, split) in source.stage.splits().expect("it is there").iter().enumerate() {
        let mut reader = worker.open(SplitId(i as u32), split).expect("it can be read");
        let mut seq = 0;
        while let Some(batch) = reader.next_batch(&mut rejects).expect("it can be read") {
            assert_eq!((batch.origin.split, batch.origin.seq), (SplitId(i as u32), seq));
            seq += 1;
            sizes.push(batch.rows());
            let [keys, values] = [0, 1].map(|column| batch.records.column(column).as_string_view());
            rows.extend((0..batch.rows()).map(|row| (keys.value(row).to_owned(), values.value(row).to_owned())));
        }
    }
    rows.sort();
    (rows, sizes, rejects.take())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn all_documents_are_read_with_their_keys() {
    let folder = Folder::new("kv-source-1");
    for (backend, word) in [(Backend::Folder, "folder"), (Backend::Sqlite, "sqlite")] {
        let path = folder.path(word);
        fill(backend, &path, &[("bob", "{}"), ("", "1"), ("Bob", "[2]"), ("bo/b", "\"x\"")]);
        let found = source(&json!({ "path": path, "backend": word }), |_| ()).expect("a sound spec");
        assert_eq!(found.output.as_ref().map(ToString::to_string).as_deref(), Some("key string, value json"));
        assert_eq!(read(&found).0, pairs(&[("", "1"), ("Bob", "[2]"), ("bo/b", "\"x\""), ("bob", "{}")]));
        let some = source(&json!({ "path": path, "backend": word, "prefix": "bo" }), |_| ()).expect("a sound spec");
        assert_eq!(read(&some).0, pairs(&[("bo/b", "\"x\""), ("bob", "{}")]));
    }
}

#[test]
fn batches_are_as_large_as_the_spec_says() {
    let folder = Folder::new("kv-source-2");
    let path = folder.path("kv.db");
    let documents: Vec<(String, String)> = (0..10).map(|i| (format!("k{i}"), "1".repeat(98))).collect();
    let documents: Vec<(&str, &str)> = documents.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    fill(Backend::Sqlite, &path, &documents);
    let spec = json!({ "path": path, "backend": "sqlite" });
    for (batch, sizes) in [((4, 1 << 20), vec![4, 4, 2]), ((100, 250), vec![3, 3, 3, 1])] {
        let (rows, bytes) = batch;
        let found = source(&spec, |context| context.batch = BatchSize { rows, bytes }).expect("a sound spec");
        assert_eq!(read(&found).1, sizes);
    }
}

#[test]
fn what_is_no_document_is_refused() {
    let folder = Folder::new("kv-source-3");
    let path = folder.path("kv");
    let long = "1".repeat(200);
    fill(Backend::Folder, &path, &[("a", "{\"half\":"), ("b", "2"), ("c", "x"), ("long", &long)]);
    let store = stores::open(Backend::Folder, &path);
    fs::write(store.place("c"), b"\"\xff\"").expect("it can be written");
    let found = source(&json!({ "path": path }), |context| context.max_record_bytes = 100).expect("a sound spec");
    let (rows, _, rejects) = read(&found);
    assert_eq!(rows, pairs(&[("b", "2")]));
    let mut codes: Vec<_> = rejects.iter().map(|reject| (reject.code.0, reject.record.len())).collect();
    codes.sort_unstable();
    assert_eq!(codes, [("bad_json", 8), ("invalid_utf8", 3), ("too_long", 200)]);
    assert!(rejects.iter().any(|reject| reject.message.contains("a.json`: it is not JSON")), "{rejects:?}");
}

#[test]
fn a_store_that_is_not_there_is_a_missing_input() {
    let folder = Folder::new("kv-source-4");
    for backend in ["folder", "sqlite"] {
        let found = source(&json!({ "path": folder.path("none"), "backend": backend }), |_| ()).expect("a sound spec");
        assert_eq!(found.stage.splits().err().map(|failure| failure.exit), Some(Exit::InputMissing));
    }
    let message = source(&json!({ "path": "p", "suffix": "x" }), |_| ()).err();
    assert_eq!(message, Some(vec!["unknown key `suffix`".to_owned()]));
}
