//! Where the rows come from, and how an operator changes them.

use std::{collections::BTreeMap, fs, process::Command};

use super::{super::killing::Chance, model::Rows};
use crate::{postgres::Database, work::Work};

/// Rows of one file.
const PER_FILE: i64 = 20;

/// Rows of an input at first.
pub const ROWS: i64 = 200;

/// A kind of input.
#[derive(Clone, Copy, PartialEq)]
pub enum Input {
    /// TSV files.
    Files,
    /// An SQLite table, read by its row numbers.
    Table,
    /// The answer to a query on it, whose rows come in the order in which they were written.
    Query,
    /// A PostgreSQL table, read by ranges of its key.
    Keyed,
    /// The same in one go.
    Heap,
}

impl Input {
    /// Is it wholly the same in all attempts, or refused?
    pub fn is_whole(self) -> bool {
        matches!(self, Input::Files | Input::Query | Input::Heap)
    }

    /// Its table in the spec; paths begin with `folder`.
    pub fn spec(self, folder: &str, schema: &str) -> String {
        let keys = match self {
            Input::Files => format!("type = 'files'\npath = '{folder}in/*.tsv'\nformat = 'tsv'"),
            Input::Table => {
                format!("type = 'sqlite'\ndatabase = '{folder}in/rows.db'\ntable = 'people'\nsplit_rows = 20")
            }
            Input::Query => {
                format!("type = 'sqlite'\ndatabase = '{folder}in/rows.db'\nquery = 'select k, v from people'")
            }
            Input::Keyed => format!(
                "type = 'postgres'\nurl = {{ env = 'DATABASE_URL' }}\ntable = '{schema}.people'\nkey = 'k'\n\
                 split_rows = 20"
            ),
            Input::Heap => {
                format!("type = 'postgres'\nurl = {{ env = 'DATABASE_URL' }}\ntable = '{schema}.people'")
            }
        };
        format!("[sources.people]\n{keys}\ncolumns = ['k int64', 'v int64']\n")
    }

    fn run(self, work: &Work, database: Option<&Database>, sql: &str) {
        match self {
            Input::Keyed | Input::Heap => drop(database.unwrap().ask(sql)),
            _ => rusqlite::Connection::open(work.path("in/rows.db")).unwrap().execute_batch(sql).unwrap(),
        }
    }

    /// Makes it, empty.
    pub fn make(self, work: &Work, database: Option<&Database>) {
        fs::create_dir_all(work.path("in")).unwrap();
        let key = if self == Input::Query { "k integer" } else { "k bigint primary key" };
        let key = if self == Input::Table { "k integer primary key" } else { key };
        if self != Input::Files {
            self.run(work, database, &format!("drop table if exists people; create table people ({key}, v bigint)"));
        }
    }

    /// Makes other rows of it.
    pub fn set(self, work: &Work, database: Option<&Database>, old: &Rows, new: &Rows) {
        if self == Input::Files {
            let (old, new) = (files(old), files(new));
            for file in old.keys().chain(new.keys()) {
                let path = work.path("in").join(format!("{file}.tsv"));
                match new.get(file) {
                    None => fs::remove_file(path).unwrap_or_default(),
                    Some(lines) if old.get(file) == Some(lines) => {}
                    Some(lines) => fs::write(path, lines.concat()).unwrap(),
                }
            }
            return;
        }
        let mut sql = String::from("begin;");
        for key in old.keys().filter(|key| !new.contains_key(key)) {
            sql += &format!("delete from people where k = {key};");
        }
        for (key, value) in new {
            sql += &match old.get(key) {
                None => format!("insert into people values ({key}, {value});"),
                Some(old) if old != value => format!("update people set v = {value} where k = {key};"),
                Some(_) => continue,
            };
        }
        self.run(work, database, &(sql + "commit"));
    }

    /// Gives its rows another order, and leaves them as they are.
    pub fn reorder(self, work: &Work, database: Option<&Database>, chance: &mut Chance) {
        match self {
            Input::Files => {
                let names = work.list("in");
                let Some(name) = names.get(chance.below(names.len() as u64) as usize) else { return };
                let name = format!("in/{name}");
                let text = work.read(&name);
                let mut lines: Vec<&str> = text.lines().collect();
                for at in (1..lines.len()).rev() {
                    lines.swap(at, chance.below(at as u64 + 1) as usize);
                }
                work.file(&name, lines.join("\n") + "\n");
            }
            // Their row numbers are what they are.
            Input::Table => self.run(work, database, "vacuum"),
            Input::Query => {
                let sql = "begin; create table p as select * from people order by random(); delete from people; \
                           insert into people select * from p order by rowid; drop table p; commit";
                self.run(work, database, sql);
            }
            Input::Keyed | Input::Heap => {
                let some = chance.below(7) + 2;
                self.run(work, database, &format!("update people set v = v where k % {some} = 0"));
            }
        }
    }

    /// Keeps files as they are now, for a run.
    pub fn keep(self, work: &Work, run: &str) {
        if self == Input::Files && !work.path("kept").join(run).exists() {
            fs::create_dir_all(work.path("kept")).unwrap();
            copy(work, "in", &format!("kept/{run}"));
        }
    }

    /// Makes it as it was when that run began.
    pub fn put_back(self, work: &Work, database: Option<&Database>, run: &str, (old, new): (&Rows, &Rows)) {
        if self == Input::Files {
            fs::remove_dir_all(work.path("in")).unwrap();
            copy(work, &format!("kept/{run}"), "in");
        } else {
            self.set(work, database, old, new);
        }
    }
}

/// Copies a folder with the times of its files.
fn copy(work: &Work, from: &str, to: &str) {
    let status = Command::new("cp").arg("-a").args([work.path(from), work.path(to)]).status().unwrap();
    assert!(status.success(), "{from} is not copied");
}

/// The lines of each file.
fn files(rows: &Rows) -> BTreeMap<i64, Vec<String>> {
    let mut files: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (key, value) in rows {
        files.entry(key.div_euclid(PER_FILE)).or_default().push(format!("{key}\t{value}\n"));
    }
    files
}
