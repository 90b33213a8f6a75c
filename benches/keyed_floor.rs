//! The floor for folding operations into documents and for storing those: the same work as hand-written loops in
//! one thread, with no job spec and no general parts. `scripts/bench keyed` builds and runs it.
//!
//! - `keyed_floor make OPERATIONS KEYS FOLDER` makes the input: four TSV files of list, op, id, entry.
//! - `keyed_floor fold FILE...` folds them in a hash map, and makes the text of every document.
//! - `keyed_floor rename FOLDER FILE...` folds, then writes a file per document and renames it into place.
//! - `keyed_floor sync FOLDER FILE...` the same, each file made durable before it is renamed.
//! - `keyed_floor upsert DATABASE FILE...` folds, then upserts into SQLite, a durable transaction per 8,192 rows.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own, run by a script")]

use std::{
    collections::{BTreeMap, HashMap},
    env,
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Files of the input.
const FILES: u64 = 4;
/// Documents of a transaction: what the program is handed at once.
const TRANSACTION: usize = 8192;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["make", operations, keys, folder] => make(operations, keys, Path::new(folder)),
        ["fold", files @ ..] => fold(files).map(|documents| println!("{} documents", documents.len())),
        ["rename", folder, files @ ..] => fold(files).and_then(|documents| rename(&documents, folder, false)),
        ["sync", folder, files @ ..] => fold(files).and_then(|documents| rename(&documents, folder, true)),
        ["upsert", database, files @ ..] => fold(files).and_then(|documents| upsert(&documents, database)),
        // A plain `cargo bench` runs every benchmark with `--bench` alone: that is not a mistake.
        ["--bench"] => Ok(()),
        _ => Err("usage: keyed_floor make|fold|rename|sync|upsert ...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyed_floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Mostly inserts; updates and deletes of entries that are there.
fn make(operations: &str, keys: &str, folder: &Path) -> Result<()> {
    let (operations, keys): (u64, u64) = (operations.parse()?, keys.parse()?);
    let mut state = 1_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut entries: Vec<(u64, Vec<u64>)> = vec![(0, Vec::new()); keys as usize];
    for file in 0..FILES {
        let mut out = BufWriter::new(File::create(folder.join(format!("part-{file}.tsv")))?);
        for n in 0..operations / FILES {
            let list = random(keys);
            let (last, ids) = &mut entries[list as usize];
            match random(10) {
                0..3 if !ids.is_empty() => {
                    let id = ids[random(ids.len() as u64) as usize];
                    writeln!(out, "list-{list}\tupdate\t{id}\t{{\"done\":true,\"turn\":{n}}}")?;
                }
                3 if !ids.is_empty() => {
                    let id = ids.swap_remove(random(ids.len() as u64) as usize);
                    writeln!(out, "list-{list}\tdelete\t{id}\t")?;
                }
                _ => {
                    *last += 1;
                    ids.push(*last);
                    writeln!(out, "list-{list}\tinsert\t\t{{\"date\":\"2023-12-19\",\"title\":\"Task number {n}\"}}")?;
                }
            }
        }
        out.flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Document {
    last: i64,
    entries: BTreeMap<i64, String>,
}

/// The text of every document.
fn fold(files: &[&str]) -> Result<HashMap<String, String>> {
    let texts: Vec<String> = files.iter().map(fs::read_to_string).collect::<std::io::Result<_>>()?;
    let mut documents: HashMap<&str, Document> = HashMap::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let mut fields = line.split('\t');
        let mut field = || fields.next().ok_or("a line has four fields");
        let (list, op, id, entry) = (field()?, field()?, field()?, field()?);
        let document = documents.entry(list).or_default();
        match op {
            "insert" => {
                document.last += 1;
                document.entries.insert(document.last, entry.to_owned());
            }
            "update" => {
                let old = document.entries.get_mut(&id.parse()?).ok_or("an entry is missing")?;
                *old = patched(old, entry)?;
            }
            _ => drop(document.entries.remove(&id.parse()?)),
        }
    }
    Ok(documents.iter().map(|(list, document)| ((*list).to_owned(), text(document))).collect())
}

/// A patch without objects in it and without nulls.
fn patched(old: &str, patch: &str) -> Result<String> {
    let mut old: Map<String, Value> = serde_json::from_str(old)?;
    let patch: Map<String, Value> = serde_json::from_str(patch)?;
    old.extend(patch);
    Ok(serde_json::to_string(&old)?)
}

fn text(document: &Document) -> String {
    let entries: Vec<String> = document.entries.iter().map(|(id, entry)| format!("\"{id}\":{entry}")).collect();
    format!("{{\"next_id\":{},\"entries\":{{{}}}}}", document.last + 1, entries.join(","))
}

fn rename(documents: &HashMap<String, String>, folder: &str, durable: bool) -> Result<()> {
    let folder = Path::new(folder);
    for shard in 0..256 {
        fs::create_dir_all(folder.join(format!("{shard:02x}")))?;
    }
    let temporary = folder.join("temporary");
    for (number, (list, document)) in documents.iter().enumerate() {
        let mut file = File::create(&temporary)?;
        file.write_all(document.as_bytes())?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&temporary, folder.join(format!("{:02x}/{list}.json", number % 256)))?;
    }
    println!("{} documents", documents.len());
    Ok(())
}

fn upsert(documents: &HashMap<String, String>, database: &str) -> Result<()> {
    let mut database = rusqlite::Connection::open(database)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute("CREATE TABLE kv (key TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID", [])?;
    let documents: Vec<(&String, &String)> = documents.iter().collect();
    for group in documents.chunks(TRANSACTION) {
        let transaction = database.transaction()?;
        {
            let mut put = transaction.prepare(
                "INSERT INTO kv (key, document) VALUES (?1, ?2) \
                 ON CONFLICT (key) DO UPDATE SET document = excluded.document",
            )?;
            for (list, document) in group {
                put.execute([list, document])?;
            }
        }
        transaction.commit()?;
    }
    println!("{} documents", documents.len());
    Ok(())
}
