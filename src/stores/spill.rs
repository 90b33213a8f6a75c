//! Documents that outgrew memory, for the length of a run: on disk, in a place that the system forgets.

use rusqlite::{Connection, Error, OptionalExtension};

use crate::failure::{Exit, Failure};

/// Memory of its own that it may use, in KiB as SQLite wants it: negative.
const CACHE: i64 = -2048;

/// A store that only its owner sees. It lies in the system's folder for temporary files, whatever `TMPDIR` or
/// `SQLITE_TMPDIR` says of it, has no name there, and is gone when it is dropped or the process ends.
pub struct Spill {
    connection: Connection,
}

impl Spill {
    /// An empty one.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn new() -> Result<Self, Failure> {
        let open = || {
            // The empty name means just that: a file without one.
            let connection = Connection::open("")?;
            connection.pragma_update(None, "cache_size", CACHE)?;
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection
                .execute("CREATE TABLE kv (key TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID", [])?;
            Ok(connection)
        };
        open().map(|connection| Spill { connection }).map_err(|error: Error| {
            Failure::new(Exit::CantCreate, format!("cannot create a temporary file for documents: {error}"))
        })
    }

    /// Keeps documents.
    pub fn put<'a>(&mut self, documents: impl Iterator<Item = (&'a str, String)>) -> Result<(), Failure> {
        let write = || {
            let transaction = self.connection.transaction()?;
            {
                let mut put =
                    transaction.prepare_cached("INSERT OR REPLACE INTO kv (key, document) VALUES (?1, ?2)")?;
                for (key, document) in documents {
                    put.execute([key, &document])?;
                }
            }
            transaction.commit()
        };
        write().map_err(failed)
    }

    /// A key's document.
    pub fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        let get = || {
            let mut get = self.connection.prepare_cached("SELECT document FROM kv WHERE key = ?1")?;
            get.query_row([key], |row| row.get(0)).optional()
        };
        get().map_err(failed)
    }

    /// Hands out documents in the order of their keys, from the one after `after` on, until `take` answers false.
    pub fn walk(&self, after: Option<&str>, mut take: impl FnMut(&str, &str) -> bool) -> Result<(), Failure> {
        let mut walk = || {
            let mut all = self
                .connection
                .prepare_cached("SELECT key, document FROM kv WHERE ?1 IS NULL OR key > ?1 ORDER BY key")?;
            let mut rows = all.query([after])?;
            while let Some(row) = rows.next()? {
                if !take(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?) {
                    break;
                }
            }
            Ok(())
        };
        walk().map_err(failed)
    }
}

fn failed(error: Error) -> Failure {
    Failure::new(Exit::Io, format!("cannot use the temporary file for documents: {error}"))
}
