//! The floor for `jobs/sample_tables.toml`: the same rows into the same two databases as a hand-written loop,
//! with no job spec, no schema and no general parts. One thread inserts into the main table and passes each
//! id on; the other one writes the lookup table.
//!
//! `sqlite_floor [--commit-each] ROWS FOLDER`; `scripts/bench sqlite` builds and runs it. With
//! `--commit-each` every row of both tables has a transaction of its own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own, run by a script")]

use std::{
    env,
    error::Error,
    path::Path,
    process::ExitCode,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rusqlite::{Connection, params};

/// Rows per transaction: what a split of the job has.
const TRANSACTION: usize = 65_536;
/// Rows that are passed on at a time.
const CHUNK: usize = 4096;
const TOWNS: [&str; 3] = ["Earth", "Moon", "Antarctica"];

type Pairs = Vec<(i64, &'static str)>;
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let each = arguments.iter().any(|argument| argument == "--commit-each");
    let plain: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let [rows, folder] = plain[..] else {
        eprintln!("usage: sqlite_floor [--commit-each] ROWS FOLDER");
        // A plain `cargo bench` runs every benchmark: that is not a mistake.
        return if arguments.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(64) };
    };
    let transaction = if each { 1 } else { TRANSACTION };
    match rows.parse().map_err(Into::into).and_then(|rows| write(rows, transaction, Path::new(folder))) {
        Ok(rows) => {
            println!("{rows} pairs");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sqlite_floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(rows: usize, transaction: usize, folder: &Path) -> Outcome<usize> {
    let (send, receive) = sync_channel(4);
    let lookup = folder.join("tracking.db");
    let second = thread::spawn(move || write_lookup(&lookup, &receive, transaction));
    write_main(&folder.join("main.db"), rows, transaction, &send)?;
    drop(send);
    second.join().map_err(|_| "a thread panicked")?
}

fn write_main(path: &Path, rows: usize, transaction: usize, send: &SyncSender<Pairs>) -> Outcome<()> {
    let table =
        "CREATE TABLE sample_table (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, town TEXT NOT NULL)";
    let mut connection = open(path, table)?;
    let mut random = Random(42);
    let mut name = String::with_capacity(36);
    let mut done = 0;
    while done < rows {
        let end = rows.min(done + transaction);
        let work = connection.transaction()?;
        let mut insert = work.prepare("INSERT INTO sample_table (name, town) VALUES (?1, ?2)")?;
        let mut pairs = Vec::with_capacity(CHUNK.min(end - done));
        for _ in done..end {
            random.uuid(&mut name);
            let town = TOWNS[(random.next() % 3) as usize];
            insert.execute(params![name, town])?;
            pairs.push((work.last_insert_rowid(), town));
            if pairs.len() == CHUNK {
                send.send(std::mem::replace(&mut pairs, Vec::with_capacity(CHUNK)))?;
            }
        }
        drop(insert);
        work.commit()?;
        send.send(pairs)?;
        done = end;
    }
    Ok(())
}

fn write_lookup(path: &Path, receive: &Receiver<Pairs>, transaction: usize) -> Outcome<usize> {
    let connection =
        open(path, "CREATE TABLE sample_table_inserted_reference (id INTEGER NOT NULL, town TEXT NOT NULL)")?;
    let mut insert = connection.prepare("INSERT INTO sample_table_inserted_reference (id, town) VALUES (?1, ?2)")?;
    let mut done = 0;
    for (id, town) in receive.iter().flatten() {
        if done % transaction == 0 {
            connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        insert.execute(params![id, town])?;
        done += 1;
        if done % transaction == 0 {
            connection.execute_batch("COMMIT")?;
        }
    }
    if !connection.is_autocommit() {
        connection.execute_batch("COMMIT")?;
    }
    Ok(done)
}

fn open(path: &Path, table: &str) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    connection.execute_batch(table)?;
    Ok(connection)
}

/// A fast stream of numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn uuid(&mut self, text: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        text.clear();
        for bits in [self.next(), self.next()] {
            for digit in 0..16 {
                if matches!(text.len(), 8 | 13 | 18 | 23) {
                    text.push('-');
                }
                text.push(char::from(DIGITS[(bits >> (4 * digit) & 15) as usize]));
            }
        }
    }
}
