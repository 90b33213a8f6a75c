//! What a job has left in a folder, as text that can be compared.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, types::Value as SqlValue};

use crate::work::Work;

/// What a job left, by name: rows, documents, files.
pub type Left = BTreeMap<String, String>;

/// Every file in a folder.
pub fn files(left: &mut Left, work: &Work, folder: &str) {
    for name in work.list(folder) {
        let path = format!("{folder}/{name}");
        if work.path(&path).is_dir() {
            files(left, work, &path);
        } else {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
            let lines = |bytes: Vec<u8>| bytes.chunks(32).map(hex).collect();
            let bytes = fs::read(work.path(&path)).unwrap();
            left.insert(path, String::from_utf8(bytes).unwrap_or_else(|error| lines(error.into_bytes())));
        }
    }
}

/// All tables of an SQLite file, row by row.
pub fn database(left: &mut Left, work: &Work, path: &str) {
    let connection = Connection::open(work.path(path)).unwrap();
    let sql = "select name from sqlite_schema where type = 'table' and name <> 'sqlite_sequence'";
    let tables: Vec<String> =
        connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for table in tables {
        // What the program keeps for itself while a run is not over.
        if table.starts_with("_runner_") {
            left.insert(format!("{path} {table}"), "there".to_owned());
            continue;
        }
        let mut statement = connection.prepare(&format!("select * from \"{table}\" order by 1, 2")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut text = String::new();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                text.push_str(&format!("{:?}|", row.get::<_, SqlValue>(column).unwrap()));
            }
            text.push('\n');
        }
        left.insert(format!("{path} {table}"), text);
    }
}

/// The reject file: every line once, in no order, without when and in which run.
pub fn rejects(left: &mut Left, work: &Work, path: &str) {
    let mut lines: Vec<String> = Vec::new();
    for mut line in work.json_lines(path) {
        let object = line.as_object_mut().unwrap();
        object.remove("time");
        object.remove("run");
        lines.push(line.to_string());
    }
    lines.sort();
    left.insert(path.to_owned(), lines.join("\n"));
}

/// The lines that are missing, and those that are too much.
pub fn difference(expected: &str, found: &str) -> String {
    let lines = |text: &str| {
        let mut lines: BTreeMap<String, i64> = BTreeMap::new();
        text.lines().for_each(|line| *lines.entry(line.to_owned()).or_default() += 1);
        lines
    };
    let mut counts = lines(expected);
    lines(found).into_iter().for_each(|(line, count)| *counts.entry(line).or_default() -= count);
    let some = |sign: i64| {
        let other =
            |(line, count): (&String, &i64)| (count * sign > 0).then(|| line.chars().take(200).collect::<String>());
        counts.iter().filter_map(other).take(3).collect::<Vec<_>>()
    };
    let all: i64 = counts.values().map(|count| count.abs()).sum();
    format!("{all} lines differ; missing, such as {:?}; too much, such as {:?}", some(1), some(-1))
}

/// What should not be there when a run is over.
pub fn litter(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.contains(".tmp-") || name.ends_with(".run") || name.ends_with("-wal") || name.starts_with("spill-") {
            found.push(path);
        } else if path.is_dir() {
            // What waits there for a name is nothing in the end.
            if name == ".tmp" {
                found.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                found.extend(litter(&path));
            }
        }
    }
    found
}
