//! One connection per database file, whatever the number of sinks that write to it.
//!
//! SQLite lets one connection write at a time. Two sinks on one file, each with a transaction of its own, would
//! wait for each other while the rows that would end the wait stand in the queue of the other. So sinks on
//! one file share a connection and its transaction: each writes its batches under the lock, in turn, and the
//! transaction is committed when one of them ends its split while no other is within one. Every split is thus
//! committed whole. A sink that fails takes the transaction with it, and the others hear of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    failure::{Exit, Failure},
    sqlite,
};

/// How a database keeps what is under way, so that a commit is there as a whole or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Journal {
    /// As it does; one that the job makes has a log beside it, as with `wal`.
    #[default]
    Keep,
    /// A log beside the file. The file stays so for good, and whoever reads it must be able to write beside it.
    Wal,
    /// A journal that is removed at every commit.
    Delete,
}

/// The databases that this process writes to, by canonical path.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Database>>> = Mutex::new(BTreeMap::new());

/// How long a sink whose rows wait for a commit lets the others end their splits before it goes on.
const COURTESY: Duration = Duration::from_millis(100);

/// The others have not moved for so long, so the last commit would come never.
const STANDSTILL: Duration = Duration::from_secs(60);

/// One database file.
pub(super) struct Database {
    path: PathBuf,
    state: Mutex<State>,
    /// A transaction has ended, or a sink has left its split.
    moved: Condvar,
}

struct State {
    connection: Connection,
    /// The number of the transaction under way, or of the next one.
    transaction: u64,
    /// The sinks that are within a split of it.
    within: BTreeSet<u64>,
    /// Transactions that were rolled back, and why.
    lost: BTreeMap<u64, Failure>,
    /// Grows with every batch and every end of a split.
    steps: u64,
}

/// A sink's part in a database. Dropped with rows that are not committed, it rolls them back.
pub(super) struct Member {
    database: Arc<Database>,
    id: u64,
    busy: Duration,
    /// The transaction that its last rows went into.
    wrote: Option<u64>,
}

impl Member {
    /// Opens the database, or joins those who have it open. `create` says whether a file that is not there
    /// is made, and `journal` how it keeps what is under way.
    pub(super) fn open(path: &Path, busy: Duration, create: bool, journal: Journal) -> Result<Member, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = resolve(path, create)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, database| database.strong_count() > 0);
        let database = match open.get(&path).and_then(Weak::upgrade) {
            Some(database) => database,
            None => {
                let connection = connect(&path, busy, create, journal)?;
                let (within, lost) = (BTreeSet::new(), BTreeMap::new());
                let state = Mutex::new(State { connection, transaction: 0, within, lost, steps: 0 });
                let database = Arc::new(Database { path: path.clone(), state, moved: Condvar::new() });
                open.insert(path, Arc::downgrade(&database));
                database
            }
        };
        Ok(Member { database, id: NEXT.fetch_add(1, Ordering::Relaxed), busy, wrote: None })
    }

    /// Runs `work` in the shared transaction, which is begun if need be. The sink is within a split then.
    ///
    /// # Errors
    /// Those of `work`, which roll the transaction back; another process held the lock for too long; or
    /// another sink's failure took this one's rows with it.
    pub(super) fn within<T>(
        &mut self,
        work: impl FnOnce(&Connection, &Path) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let database = Arc::clone(&self.database);
        let mut state = database.sound(self.wrote)?;
        // Its rows of splits before wait for others to end theirs: let them, so that there is a commit.
        if self.pending(&state) && !state.within.contains(&self.id) && !state.within.is_empty() {
            let number = state.transaction;
            let waiting = |state: &mut State| state.transaction == number && !state.within.is_empty();
            let waited = database.moved.wait_timeout_while(state, COURTESY, waiting);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            state = database.sound(self.wrote)?;
        }
        if state.connection.is_autocommit() {
            begin(&state.connection, &database.path, self.busy)?;
        }
        state.within.insert(self.id);
        state.steps += 1;
        self.wrote = Some(state.transaction);
        let worked = work(&state.connection, &database.path).and_then(|done| {
            // A trigger may roll back by itself; then nothing of the transaction is left.
            let gone = state.connection.is_autocommit();
            let message = || format!("database `{}` rolled the transaction back", database.path.display());
            if gone { Err(Failure::new(Exit::Io, message())) } else { Ok(done) }
        });
        worked.inspect_err(|failure| database.roll_back(&mut state, failure.clone()))
    }

    /// Looks something up, whatever transaction there is.
    pub(super) fn look<T>(&self, work: impl FnOnce(&Connection, &Path) -> Result<T, Failure>) -> Result<T, Failure> {
        let state = self.database.lock();
        work(&state.connection, &self.database.path)
    }

    /// The sink has ended its split. Says whether all of its rows are committed now.
    pub(super) fn end(&mut self) -> Result<bool, Failure> {
        let database = Arc::clone(&self.database);
        let mut state = database.sound(self.wrote)?;
        state.within.remove(&self.id);
        state.steps += 1;
        if !self.pending(&state) {
            return Ok(true);
        }
        if !state.within.is_empty() {
            database.moved.notify_all();
            return Ok(false);
        }
        database.commit(&mut state)?;
        Ok(true)
    }

    /// The sink has nothing more to write: waits until the others let its rows be committed.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let database = Arc::clone(&self.database);
        if self.end()? {
            return Ok(());
        }
        let mut state = database.sound(self.wrote)?;
        let (mut steps, mut since) = (state.steps, Instant::now());
        while self.pending(&state) {
            if state.within.is_empty() {
                return database.commit(&mut state);
            }
            let waited = database.moved.wait_timeout(state, COURTESY);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            state = database.sound(self.wrote)?;
            if state.steps != steps {
                (steps, since) = (state.steps, Instant::now());
            } else if since.elapsed() > STANDSTILL {
                let message = "rows cannot be committed: another sink of the same file does not end its split";
                let failure = format!("database `{}`: {message}", database.path.display());
                return Err(Failure::new(Exit::Unavailable, failure));
            }
        }
        Ok(())
    }

    /// The sink's split is not whole, so its rows must not be kept. They go with the transaction, and with them
    /// those of other sinks in it, who hear of it: their splits will be read again too.
    pub(super) fn undo(&mut self) {
        let mut state = self.database.lock();
        state.within.remove(&self.id);
        if self.pending(&state) {
            let message =
                format!("a split of another sink of database `{}` is not whole", self.database.path.display());
            self.database.roll_back(&mut state, Failure::new(Exit::TryAgain, message));
        }
        self.wrote = None;
    }

    /// Has it rows that are not committed?
    fn pending(&self, state: &State) -> bool {
        self.wrote == Some(state.transaction) && !state.connection.is_autocommit()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.database.lock();
        state.within.remove(&self.id);
        if self.pending(&state) {
            let message = format!("a sink of database `{}` ended before its time", self.database.path.display());
            self.database.roll_back(&mut state, Failure::new(Exit::Io, message));
        }
        self.database.moved.notify_all();
    }
}

impl Database {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless that transaction was rolled back.
    fn sound(&self, transaction: Option<u64>) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.lock();
        match transaction.and_then(|number| state.lost.get(&number)) {
            None => Ok(state),
            Some(Failure { exit, message }) => {
                Err(Failure::new(*exit, format!("rolled back with another sink of the same file: {message}")))
            }
        }
    }

    fn commit(&self, state: &mut State) -> Result<(), Failure> {
        let commit = || {
            fail::fail_point!("sqlite-commit", |_| Err(sqlite::full()));
            state.connection.execute_batch("COMMIT")
        };
        match commit() {
            Ok(()) => {
                fail::fail_point!("sqlite-committed");
                state.transaction += 1;
                self.moved.notify_all();
                Ok(())
            }
            Err(error) => {
                let failure = sqlite::failure(&self.path, "commit to", &error, Exit::Io);
                self.roll_back(state, failure.clone());
                Err(failure)
            }
        }
    }

    fn roll_back(&self, state: &mut State, why: Failure) {
        if !state.connection.is_autocommit() {
            // What cannot be rolled back now is when the connection is closed.
            let _ = state.connection.execute_batch("ROLLBACK");
        }
        state.within.clear();
        state.lost.insert(state.transaction, why);
        state.transaction += 1;
        self.moved.notify_all();
    }
}

/// The one path of a file, however it was spelled, whether it is there or not.
pub(super) fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = |path: &Path| fs::canonicalize(path).ok();
    let in_folder = || Some(there(absolute.parent()?)?.join(absolute.file_name()?));
    there(&absolute).or_else(in_folder).unwrap_or(absolute)
}

/// The one path of a file, however it was spelled; folders are made for a new one.
fn resolve(path: &Path, create: bool) -> Result<PathBuf, Failure> {
    if let Ok(found) = fs::canonicalize(path) {
        return Ok(found);
    }
    if !create {
        let message = format!("there is no database `{}`, and `create` is \"never\"", path.display());
        return Err(Failure::new(Exit::CantCreate, message));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |error| Failure::creating(folder, &error);
    fs::create_dir_all(folder).map_err(cannot)?;
    let folder = fs::canonicalize(folder).map_err(cannot)?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

fn connect(path: &Path, busy: Duration, create: bool, journal: Journal) -> Result<Connection, Failure> {
    let failed = |error: &rusqlite::Error| sqlite::failure(path, "open", error, Exit::CantCreate);
    let more = if create { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    sqlite::prepare(&connection, busy).map_err(|error| failed(&error))?;
    let mode = match journal {
        // One of which nothing has been written yet.
        Journal::Keep if fs::metadata(path).is_ok_and(|file| file.len() == 0) => Some("wal"),
        Journal::Keep => None,
        Journal::Wal => Some("wal"),
        Journal::Delete => Some("delete"),
    };
    // Changing it needs a lock that SQLite itself does not always wait for.
    let set = || set_journal(&connection, mode);
    let found = patient(busy, set).map_err(|error| waited(failed(&error), &error, busy))?;
    if let Some(mode) = mode.filter(|mode| *mode != found) {
        let message = format!("database `{}` stays in journal mode `{found}` and not `{mode}`", path.display());
        return Err(Failure::new(Exit::CantCreate, message));
    }
    Ok(connection)
}

/// Sets the mode of the journal, or leaves it; gives the one that the database has now. A commit is on disk when it
/// returns: where the journal is removed by it, that must be on disk, too.
fn set_journal(connection: &Connection, mode: Option<&str>) -> rusqlite::Result<String> {
    let pragma = mode.map_or("PRAGMA journal_mode".to_owned(), |mode| format!("PRAGMA journal_mode = {mode}"));
    let found: String = connection.query_row(&pragma, [], |row| row.get(0))?;
    connection.execute_batch(if found == "wal" {
        "PRAGMA synchronous = FULL"
    } else {
        "PRAGMA synchronous = EXTRA"
    })?;
    Ok(found)
}

/// Begins to write, waiting for other processes.
pub(super) fn begin(connection: &Connection, path: &Path, busy: Duration) -> Result<(), Failure> {
    let begun =
        connection.busy_timeout(busy).and_then(|()| patient(busy, || connection.execute_batch("BEGIN IMMEDIATE")));
    begun.map_err(|error| waited(sqlite::failure(path, "write to", &error, Exit::Io), &error, busy))
}

/// Tries again until the time is over, where SQLite answers at once that the file is locked.
fn patient<T>(busy: Duration, mut attempt: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error) if sqlite::is_busy(&error) && start.elapsed() < busy => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}

/// Says how long was waited for another process.
fn waited(failure: Failure, error: &rusqlite::Error, busy: Duration) -> Failure {
    if !sqlite::is_busy(error) {
        return failure;
    }
    let Failure { exit, message } = failure;
    Failure::new(exit, format!("{message}, held by another process for longer than {}", crate::jobspec::Duration(busy)))
}
