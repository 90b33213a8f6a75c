//! Both backends are the same to those who use them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::failure::Exit;

/// A folder that goes when the test is over.
struct Root(PathBuf);

impl Root {
    fn new() -> Root {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("runner-stores-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Root(path)
    }

    fn at(&self, backend: Backend) -> PathBuf {
        self.0.join(if backend == Backend::Folder { "folder" } else { "file.db" })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn both(test: impl Fn(Backend, &Path)) {
    for backend in [Backend::Folder, Backend::Sqlite] {
        let root = Root::new();
        test(backend, &root.at(backend));
    }
}

fn put(store: &dyn Store, documents: &[(&str, Option<&str>)]) {
    let changes: Vec<Change<'_>> =
        documents.iter().map(|(key, document)| Change { key, document: *document }).collect();
    store.session(Access::Write).and_then(|mut session| session.put(&changes)).expect("it can be written to");
}

fn get(store: &dyn Store, key: &str) -> Option<String> {
    let document = store.session(Access::ReadIfThere).and_then(|mut session| session.get(key)).expect("it can be read");
    document.map(|bytes| String::from_utf8(bytes).expect("it was text"))
}

/// Keys that are hard to keep in files.
fn awkward() -> Vec<String> {
    let mut keys: Vec<String> =
        ["", ".", "..", "/", "a/b", "../../etc", "a\\b", "%", "%41", "A", "a", "ä", "a\u{308}", "İ"]
            .map(str::to_owned)
            .to_vec();
    keys.extend([" ", "a\nb", "nul\0", "con", "-", ".tmp", "🦀"].map(str::to_owned));
    keys.extend(["x".repeat(300), "X".repeat(300), "ü".repeat(300), "y".repeat(100_000)]);
    keys
}

#[test]
fn any_key_keeps_its_own_document() {
    both(|backend, path| {
        let store = open(backend, path);
        let documents: BTreeMap<String, String> =
            awkward().into_iter().enumerate().map(|(i, key)| (key, format!("{{\"n\":{i}}}"))).collect();
        let changes: Vec<(&str, Option<&str>)> =
            documents.iter().map(|(key, document)| (key.as_str(), Some(document.as_str()))).collect();
        put(store.as_ref(), &changes);
        for (key, document) in &documents {
            assert_eq!(get(store.as_ref(), key).as_ref(), Some(document), "{key:.20}");
        }
        assert_eq!(keys(store.as_ref()), Ok(documents.into_keys().collect()), "{backend:?}");
        let outside: Vec<_> = fs::read_dir(path.parent().expect("it has one")).expect("a folder").collect();
        assert!(outside.len() <= 3, "nothing was written outside: {outside:?}");
    });
}

#[test]
fn documents_are_replaced_and_deleted() {
    both(|backend, path| {
        let store = open(backend, path);
        let long = "k".repeat(500);
        put(store.as_ref(), &[("a", Some("1")), ("b", Some("2")), (&long, Some("3"))]);
        put(store.as_ref(), &[("a", Some("10")), ("b", None), (&long, Some("30")), ("never", None)]);
        assert_eq!(["a", "b", &long].map(|key| get(store.as_ref(), key)), [Some("10".into()), None, Some("30".into())]);
        put(store.as_ref(), &[(&long, None)]);
        assert_eq!(keys(store.as_ref()), Ok(vec!["a".to_owned()]));
        put(store.as_ref(), &[(&long, Some("4"))]);
        assert_eq!(keys(store.as_ref()).map(|keys| keys.len()), Ok(2));
    });
}

#[test]
fn a_store_that_is_not_there_is_missing_or_empty() {
    both(|backend, path| {
        let store = open(backend, path);
        assert_eq!(store.session(Access::Read).err().map(|failure| failure.exit), Some(Exit::InputMissing));
        assert_eq!(get(store.as_ref(), "a"), None);
        assert!(!path.exists(), "reading creates nothing");
        put(store.as_ref(), &[]);
        assert_eq!(keys(store.as_ref()), Ok(vec![]));
    });
}

#[test]
fn what_is_no_store_is_told() {
    let root = Root::new();
    let file = root.0.join("text");
    fs::write(&file, "this is not a database, whatever its name may say of it").expect("it can be written");
    let failure = |backend, path: &Path, access| open(backend, path).session(access).err().map(|failure| failure.exit);
    assert_eq!(failure(Backend::Sqlite, &file, Access::Write), Some(Exit::CantCreate));
    assert_eq!(failure(Backend::Sqlite, &file, Access::Read), Some(Exit::Io));
    assert_eq!(failure(Backend::Folder, &file, Access::Write), Some(Exit::CantCreate));
    assert_eq!(failure(Backend::Folder, &file, Access::Read), Some(Exit::Io));
    let other = root.0.join("other.db");
    let database = rusqlite::Connection::open(&other).expect("a database");
    database.execute("CREATE TABLE accounts (id INTEGER)", []).expect("a table");
    assert_eq!(failure(Backend::Sqlite, &other, Access::Read), Some(Exit::InputMissing));
    assert_eq!(failure(Backend::Sqlite, &other, Access::ReadIfThere), None);
}

#[test]
fn every_key_lies_in_one_part() {
    both(|backend, path| {
        let store = open(backend, path);
        let names: Vec<String> = (0..40_000).map(|i| format!("key {i:05}")).collect();
        // Files take a while to make durable; that there are parts at all shows with fewer, too.
        let names = if backend == Backend::Folder { &names[..300] } else { &names[..] };
        let changes: Vec<(&str, Option<&str>)> = names.iter().map(|key| (key.as_str(), Some("{}"))).collect();
        put(store.as_ref(), &changes);
        let parts = store.parts().expect("it can be read");
        assert!(parts.len() > 2, "{backend:?} has {} parts", parts.len());
        let mut session = store.session(Access::Read).expect("it is there");
        let mut found: Vec<String> =
            parts.iter().flat_map(|part| session.keys(part).expect("it can be read")).collect();
        found.sort_unstable();
        assert_eq!(found, names);
    });
}

#[test]
fn files_that_are_not_ours_are_passed_over() {
    let root = Root::new();
    let path = root.at(Backend::Folder);
    let store = open(Backend::Folder, &path);
    put(store.as_ref(), &[("bob", Some("{}"))]);
    for (file, text) in [("81/README.txt", "x"), ("81/Bob.json", "x"), ("00/bob.json", "x"), ("notes.json", "x")] {
        fs::create_dir_all(path.join(file).parent().expect("a folder")).expect("it can be made");
        fs::write(path.join(file), text).expect("it can be written");
    }
    assert_eq!(keys(store.as_ref()), Ok(vec!["bob".to_owned()]));
}

#[test]
fn nothing_is_left_beside_the_documents() {
    let root = Root::new();
    let path = root.at(Backend::Folder);
    fs::create_dir_all(path.join(".tmp")).expect("a folder");
    let old = path.join(".tmp/1-1");
    fs::write(&old, "half a docu").expect("it can be written");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    fs::File::options().write(true).open(&old).and_then(|file| file.set_modified(long_ago)).expect("its time is set");
    let fresh = path.join(".tmp/1-2");
    fs::write(&fresh, "another process may be at it").expect("it can be written");
    let mut gone = std::process::Command::new("true").spawn().expect("a process");
    gone.wait().expect("it ends");
    fs::write(path.join(format!(".tmp/0123456789abcdef-{}-7", gone.id())), "half").expect("it can be written");
    let store = open(Backend::Folder, &path);
    put(store.as_ref(), &[("bob", Some("{}"))]);
    let left: Vec<_> = fs::read_dir(path.join(".tmp")).expect("a folder").flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, [fresh]);
}

#[test]
fn a_failed_group_leaves_no_temporary_files_and_the_old_documents() {
    let root = Root::new();
    let path = root.at(Backend::Folder);
    let store = open(Backend::Folder, &path);
    put(store.as_ref(), &[("bob", Some("1"))]);
    // A folder stands where the second document should lie.
    fs::create_dir_all(store.place("eve")).expect("a folder");
    let mut session = store.session(Access::Write).expect("it can be written to");
    let changes = [("eve", Some("2")), ("bob", Some("2"))].map(|(key, document)| Change { key, document });
    let failure = session.put(&changes).expect_err("a folder cannot be replaced by a file");
    assert_eq!(failure.exit, Exit::Io);
    assert!(failure.message.contains("eve.json"), "{failure}");
    assert_eq!(get(store.as_ref(), "bob").as_deref(), Some("1"));
    assert_eq!(fs::read_dir(path.join(".tmp")).expect("a folder").count(), 0);
}

#[test]
fn reading_does_not_wait_for_writing() {
    let root = Root::new();
    let path = root.at(Backend::Sqlite);
    let store = open(Backend::Sqlite, &path);
    put(store.as_ref(), &[("bob", Some("1"))]);
    let mut other = rusqlite::Connection::open(&path).expect("a database");
    let transaction = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).expect("nobody writes");
    transaction.execute("UPDATE kv SET document = '2'", []).expect("the table is there");
    let start = Instant::now();
    assert_eq!(get(store.as_ref(), "bob").as_deref(), Some("1"), "the last commit");
    assert!(start.elapsed() < Duration::from_secs(20));
    transaction.commit().expect("nobody else writes");
    assert_eq!(get(store.as_ref(), "bob").as_deref(), Some("2"));
}

#[test]
fn many_write_and_read_at_once() {
    both(|backend, path| {
        let store = open(backend, path);
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = Arc::clone(&store);
                thread::spawn(move || {
                    let mut session = store.session(Access::Write).expect("it can be written to");
                    for round in 0..10 {
                        let keys: Vec<String> = (0..20).map(|i| format!("{thread} {i}")).collect();
                        let text = format!("{round}");
                        let changes: Vec<Change<'_>> =
                            keys.iter().map(|key| Change { key, document: Some(&text) }).collect();
                        session.put(&changes).expect("all of them can write");
                        assert_eq!(session.get(&keys[7]), Ok(Some(text.clone().into_bytes())));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(!path.with_extension("db-wal").exists(), "the last one to write closes the file");
        assert_eq!(keys(store.as_ref()).map(|keys| keys.len()), Ok(80));
        assert!(!path.with_extension("db-wal").exists(), "and so does the last one to read");
    });
}

#[test]
fn scratch_keeps_documents_in_order() {
    let mut spill = Spill::new().expect("a temporary file");
    let put = |spill: &mut Spill, documents: &[(&str, &str)]| {
        spill.put(documents.iter().map(|(key, text)| (*key, (*text).to_owned()))).expect("there is room");
    };
    put(&mut spill, &[("b", "1"), ("", "2"), ("c", "3")]);
    put(&mut spill, &[("b", "4")]);
    assert_eq!(spill.get("b"), Ok(Some("4".to_owned())));
    assert_eq!(spill.get("d"), Ok(None));
    let walk = |after: Option<&str>, most: usize| {
        let mut seen = Vec::new();
        let taken = spill.walk(after, |key, text| {
            seen.push(format!("{key}={text}"));
            seen.len() < most
        });
        taken.map(|()| seen.join(" "))
    };
    assert_eq!(walk(None, 9), Ok("=2 b=4 c=3".to_owned()));
    assert_eq!(walk(Some(""), 1), Ok("b=4".to_owned()));
    assert_eq!(walk(Some("c"), 9), Ok(String::new()));
}

#[test]
fn sinks_are_read_as_their_tables_say() {
    let text = |text: &str| Value::Text(text.to_owned());
    let table = |pairs: &[(&str, &str)]| -> Table { pairs.iter().map(|(k, v)| ((*k).to_owned(), text(v))).collect() };
    let address = |backend, path: &str| Some(Address { backend, path: path.into() });
    assert_eq!(Address::of(&table(&[("path", "p")])), address(Backend::Folder, "p"));
    assert_eq!(Address::of(&table(&[("path", "p"), ("backend", "sqlite")])), address(Backend::Sqlite, "p"));
    assert_eq!(Address::of(&table(&[("path", "p"), ("backend", "tape")])), None);
    assert_eq!(Address::of(&table(&[])), None);
    let all: Table =
        [("a", "kv"), ("b", "files")].map(|(n, k)| (n.to_owned(), Value::Table(table(&[("type", k)])))).into();
    assert_eq!(sinks(&all).map(|(name, _)| name).collect::<Vec<_>>(), ["a"]);
}
