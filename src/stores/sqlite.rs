//! One SQLite file with a table `kv (key, document)`.
//!
//! The file keeps a write-ahead log, so those who read see the last commit and never wait for one under way.
//! Within the process one connection writes; a batch of documents is one transaction, durable when it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::{Access, Change, KeyRange, Session, Store};
use crate::failure::{Exit, Failure};

/// How long another process may hold the file before writing is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys of a part.
const PART: i64 = 16_384;

const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS kv (key TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID";
const PUT: &str = "INSERT INTO kv (key, document) VALUES (?1, ?2) \
                   ON CONFLICT (key) DO UPDATE SET document = excluded.document";
const DELETE: &str = "DELETE FROM kv WHERE key = ?1";
const GET: &str = "SELECT CAST(document AS BLOB) FROM kv WHERE key = ?1";
const KEYS: &str = "SELECT key FROM kv WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key";
const UNMARK: &str = "DROP TABLE IF EXISTS _runner_writing";
const MARK: &str = "CREATE TABLE _runner_writing AS SELECT ?1 AS run";
const IS_OF: &str = "SELECT 1 FROM _runner_writing WHERE run = ?1";
const MARKS: &str = "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) - 1 AS place FROM kv) \
                     WHERE place > 0 AND place % ?1 = 0 ORDER BY key";

/// The shared half.
pub(super) struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// The one connection that writes, once somebody wants to.
    writer: Mutex<Option<Connection>>,
    /// Sessions that may write. With the last of them the connection goes, and with that the log beside the file.
    writers: AtomicUsize,
}

impl Sqlite {
    pub(super) fn new(path: &Path) -> Self {
        Sqlite {
            inner: Arc::new(Inner { path: path.to_owned(), writer: Mutex::new(None), writers: AtomicUsize::new(0) }),
        }
    }
}

impl Store for Sqlite {
    fn session(&self, access: Access) -> Result<Box<dyn Session>, Failure> {
        let inner = Arc::clone(&self.inner);
        let there = inner.path.exists();
        let reader = match access {
            Access::Read => Some(inner.reader()?),
            Access::ReadIfThere => there.then(|| inner.reader()).transpose()?,
            Access::Write => {
                drop(inner.writer()?);
                inner.writers.fetch_add(1, Ordering::SeqCst);
                return Ok(Box::new(SqliteSession { inner, reader: None, writes: true }));
            }
        };
        // A database of another program may have no such table: it is there, but no store.
        let reader = match reader {
            Some(reader) if !inner.has_table(&reader, "kv")? => match access {
                Access::ReadIfThere => None,
                _ => return Err(inner.no_table()),
            },
            reader => reader,
        };
        Ok(Box::new(SqliteSession { inner, reader, writes: false }))
    }

    fn parts(&self) -> Result<Vec<KeyRange>, Failure> {
        let failed = |error| self.inner.reading(&error);
        let reader = self.inner.reader()?;
        let mut statement = reader.prepare(MARKS).map_err(failed)?;
        let found = statement.query_map([PART], |row| row.get(0)).and_then(Iterator::collect);
        let marks: Vec<String> = found.map_err(failed)?;
        let from = std::iter::once(None).chain(marks.iter().cloned().map(Some));
        let to = marks.iter().cloned().map(Some).chain([None]);
        let name = |from: &Option<String>| {
            let path = self.inner.path.display();
            from.as_ref().map_or_else(|| format!("{path}"), |key| format!("{path} from `{key}`"))
        };
        Ok(from.zip(to).map(|(from, to)| KeyRange { name: name(&from), from, to }).collect())
    }

    fn begin(&self, run: &str) -> Result<(), Failure> {
        self.inner.mark(Some(run))
    }

    fn is_of(&self, run: &str) -> Result<bool, Failure> {
        if !self.inner.path.exists() {
            return Ok(false);
        }
        let reader = self.inner.reader()?;
        if !self.inner.has_table(&reader, "_runner_writing")? {
            return Ok(false);
        }
        let found = reader.query_row(IS_OF, [run], |_| Ok(()));
        found.optional().map(|found| found.is_some()).map_err(|error| self.inner.reading(&error))
    }

    fn end(&self, run: &str) -> Result<(), Failure> {
        match self.is_of(run)? {
            true => self.inner.mark(None),
            false => Ok(()),
        }
    }

    fn place(&self, key: &str) -> String {
        format!("{}, key `{key}`", self.inner.path.display())
    }
}

impl Inner {
    /// Leaves the marker of this run, or none. The connection goes, unless somebody writes already.
    fn mark(&self, run: Option<&str>) -> Result<(), Failure> {
        let mut writer = self.writer()?;
        let connection = writer.as_mut().expect("opened by whoever asks for it");
        let mark = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(UNMARK, [])?;
            run.map(|run| transaction.execute(MARK, [run])).transpose()?;
            transaction.commit()
        };
        let marked = mark(connection);
        if self.writers.load(Ordering::SeqCst) == 0 {
            drop(writer.take());
        }
        marked.map_err(|error| Failure::new(exit(&error, Exit::Io), self.says("write", &error)))
    }

    /// A connection that cannot write and sees what was committed last.
    fn reader(&self) -> Result<Connection, Failure> {
        // SQLite itself does not tell a missing file from one that cannot be opened.
        fs::File::open(&self.path).map_err(|error| Failure::reading(&self.path, &error))?;
        // One that is opened read-only leaves its log behind when it is the last; this one only may not write.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let reader = Connection::open_with_flags(&self.path, flags)?;
            reader.busy_timeout(PATIENCE)?;
            reader.pragma_update(None, "query_only", true)?;
            Ok(reader)
        };
        open().map_err(|error| self.reading(&error))
    }

    fn has_table(&self, reader: &Connection, name: &str) -> Result<bool, Failure> {
        let found = reader.query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [name], |_| Ok(()));
        found.optional().map(|found| found.is_some()).map_err(|error| self.reading(&error))
    }

    fn no_table(&self) -> Failure {
        Failure::new(Exit::InputMissing, format!("`{}` holds no documents: it has no table `kv`", self.path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A transaction that panicked was rolled back when it was dropped.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that writes, opened when it is first wanted.
    fn writer(&self) -> Result<MutexGuard<'_, Option<Connection>>, Failure> {
        let mut writer = self.lock();
        if writer.is_none() {
            *writer = Some(self.prepare()?);
        }
        Ok(writer)
    }

    /// Creates the file and its table, and makes sure that it can be written to.
    fn prepare(&self) -> Result<Connection, Failure> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|error| Failure::creating(&self.path, &error))?;
        }
        let open = || {
            let mut writer = Connection::open(&self.path)?;
            writer.busy_timeout(PATIENCE)?;
            writer.pragma_update(None, "journal_mode", "WAL")?;
            // In a write-ahead log only this makes each commit survive a loss of power.
            writer.pragma_update(None, "synchronous", "FULL")?;
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(CREATE, [])?;
            transaction.commit()?;
            // A file that may not be written opens all the same.
            let closed = writer.is_readonly("main")?;
            Ok((writer, closed))
        };
        match open() {
            Ok((writer, false)) => Ok(writer),
            Ok((_, true)) => {
                let message = format!("cannot create `{}`: it is there, and read-only", self.path.display());
                Err(Failure::new(Exit::CantCreate, message))
            }
            Err(error) => Err(Failure::new(exit(&error, Exit::CantCreate), self.says("create", &error))),
        }
    }

    fn reading(&self, error: &Error) -> Failure {
        Failure::new(exit(error, Exit::Io), self.says("read", error))
    }

    fn says(&self, what: &str, error: &Error) -> String {
        format!("cannot {what} `{}`: {error}", self.path.display())
    }
}

/// Another process that does not let go of the file is a service that does not answer.
fn exit(error: &Error, otherwise: Exit) -> Exit {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Exit::Unavailable,
        _ => otherwise,
    }
}

/// One thread's half.
struct SqliteSession {
    inner: Arc<Inner>,
    /// `None` where there was nothing to read when it began.
    reader: Option<Connection>,
    writes: bool,
}

impl Drop for SqliteSession {
    fn drop(&mut self) {
        drop(self.reader.take());
        if self.writes && self.inner.writers.fetch_sub(1, Ordering::SeqCst) == 1 {
            drop(self.inner.lock().take());
        }
    }
}

impl Session for SqliteSession {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        if self.writes && self.reader.is_none() {
            self.reader = Some(self.inner.reader()?);
        }
        let Some(reader) = &self.reader else { return Ok(None) };
        let found = reader.prepare_cached(GET).and_then(|mut get| get.query_row([key], |row| row.get(0)).optional());
        found.map_err(|error| self.inner.reading(&error))
    }

    fn put(&mut self, changes: &[Change<'_>]) -> Result<(), Failure> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut writer = self.inner.writer()?;
        let writer = writer.as_mut().expect("opened by whoever asks for it");
        let mut write = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut put = transaction.prepare_cached(PUT)?;
                let mut delete = transaction.prepare_cached(DELETE)?;
                for Change { key, document } in changes {
                    match document {
                        Some(document) => put.execute(params![key, document])?,
                        None => delete.execute([key])?,
                    };
                }
            }
            fail::fail_point!("store-commit", |_| Err(crate::sqlite::full()));
            transaction.commit()
        };
        write().map_err(|error| Failure::new(exit(&error, Exit::Io), self.inner.says("write", &error)))
    }

    fn keys(&mut self, part: &KeyRange) -> Result<Vec<String>, Failure> {
        if self.writes && self.reader.is_none() {
            self.reader = Some(self.inner.reader()?);
        }
        let Some(reader) = &self.reader else { return Ok(Vec::new()) };
        let from = part.from.as_deref().unwrap_or_default();
        let list = || -> rusqlite::Result<Vec<String>> {
            let mut keys = reader.prepare_cached(KEYS)?;
            keys.query_map(params![from, part.to], |row| row.get(0))?.collect()
        };
        list().map_err(|error| self.inner.reading(&error))
    }
}
