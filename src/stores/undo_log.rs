//! Documents as they were before a run changed them: so an interrupted run can be resumed from its first
//! operation, whatever it has stored already.
//!
//! A document is put in here, durably, before the run changes it in its store. One that is not in here is in the
//! store as it was when the run began. The file lies in the job's folder in the state directory, and goes with it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};

use crate::failure::{Exit, Failure};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS run (id TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS before (key TEXT NOT NULL PRIMARY KEY, document BLOB) WITHOUT ROWID;";

/// The documents of one store, shared by all workers.
pub struct UndoLog {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Why something could not be put in. The transaction is everybody's, and with it what others had put in may be
    /// lost: from then on nobody may change a document.
    lost: OnceLock<Failure>,
    /// Was there something of this run when it was opened?
    again: bool,
}

impl UndoLog {
    /// Those that attempts at this run have put in; what another run has left goes.
    ///
    /// # Errors
    /// The file cannot be created or read.
    pub fn open(folder: &Path, name: &str, run: &str) -> Result<Self, Failure> {
        fs::create_dir_all(folder).map_err(|error| Failure::creating(folder, &error))?;
        let path = folder.join(format!("{name}.before"));
        let open = || {
            let mut connection = Connection::open(&path)?;
            // Its log is made durable where it matters, by hand.
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            let own = transaction.query_row("SELECT id FROM run", [], |row| row.get::<_, String>(0)).optional()?;
            let again = own.as_deref() == Some(run);
            if !again {
                transaction.execute_batch("DELETE FROM before; DELETE FROM run")?;
                transaction.execute("INSERT INTO run (id) VALUES (?1)", [run])?;
            }
            transaction.commit()?;
            Ok((connection, again))
        };
        match open() {
            Ok((connection, again)) => {
                Ok(UndoLog { path, connection: Mutex::new(connection), lost: OnceLock::new(), again })
            }
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// A key's document as it was, where an attempt has put it in; the inner `None` says that there was none.
    pub fn get(&self, key: &str) -> Result<Option<Option<Vec<u8>>>, Failure> {
        if !self.again {
            return Ok(None);
        }
        let connection = self.lock();
        let found = connection
            .prepare_cached("SELECT document FROM before WHERE key = ?1")
            .and_then(|mut get| get.query_row([key], |row| row.get(0)).optional());
        found.map_err(|error| failed(&self.path, &error))
    }

    /// Puts a document in as it is now, unless it has been. Durable only after [`UndoLog::save`].
    pub fn put(&self, key: &str, document: Option<&[u8]>) -> Result<(), Failure> {
        let connection = self.sound()?;
        let put = || {
            if connection.is_autocommit() {
                connection.execute_batch("BEGIN")?;
            }
            let mut put = connection.prepare_cached("INSERT OR IGNORE INTO before (key, document) VALUES (?1, ?2)")?;
            put.execute(params![key, document])
        };
        put().map(drop).map_err(|error| self.lose(&error))
    }

    /// Makes everything durable that was put in so far, by whomever.
    pub fn save(&self) -> Result<(), Failure> {
        let connection = self.sound()?;
        let save = || {
            fail::fail_point!("before-save", |_| connection.execute_batch("ROLLBACK").and(Err(crate::sqlite::full())));
            if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("COMMIT") }
        };
        save().map_err(|error| self.lose(&error))
    }

    /// The connection, unless something was lost.
    fn sound(&self) -> Result<MutexGuard<'_, Connection>, Failure> {
        let connection = self.lock();
        self.lost.get().map_or(Ok(connection), |failure| Err(failure.clone()))
    }

    fn lose(&self, error: &rusqlite::Error) -> Failure {
        self.lost.get_or_init(|| failed(&self.path, error)).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // What was put in by one that panicked is as good as the rest.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(path: &Path, error: &rusqlite::Error) -> Failure {
    Failure::new(Exit::Io, format!("cannot keep documents as they were in `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_finds_what_it_has_put_in_and_another_does_not() {
        let folder = crate::testing::Folder::new("before");
        let open = |run| UndoLog::open(&folder.path("job.run"), "persist", run).expect("opened");
        let first = open("a");
        first.put("k", Some(b"old")).expect("put");
        first.put("k", Some(b"new")).expect("put");
        first.put("none", None).expect("put");
        first.save().expect("saved");
        first.put("lost", Some(b"x")).expect("put");
        drop(first);
        let second = open("a");
        assert_eq!(second.get("k"), Ok(Some(Some(b"old".to_vec()))));
        assert_eq!(second.get("none"), Ok(Some(None)));
        assert_eq!(second.get("lost"), Ok(None), "it was not made durable, so nothing was changed");
        second.put("none", Some(b"made by the first attempt")).expect("put");
        assert_eq!(second.get("none"), Ok(Some(None)));
        drop(second);
        assert_eq!(open("b").get("k"), Ok(None));
    }

    #[test]
    fn nothing_is_put_in_once_something_was_lost() {
        let folder = crate::testing::Folder::new("before-lost");
        let before = UndoLog::open(&folder.path("job.run"), "persist", "a").expect("opened");
        // As a disk that is full does, this takes the whole transaction with it.
        let trigger = "CREATE TRIGGER full BEFORE INSERT ON before WHEN NEW.key = 'last'
                       BEGIN SELECT RAISE(ROLLBACK, 'full'); END";
        Connection::open(&before.path).expect("opened").execute_batch(trigger).expect("made");
        before.put("k", Some(b"old")).expect("put");
        let lost = before.put("last", None).expect_err("it is refused");
        assert_eq!(before.put("other", None), Err(lost.clone()));
        assert_eq!(before.save(), Err(lost));
        assert_eq!(UndoLog::open(&folder.path("job.run"), "persist", "a").expect("opened").get("k"), Ok(None));
    }
}
