//! The ledger: what of a job's run is done, durably, so that an interrupted run can be resumed.
//!
//! One small SQLite file per job in the state directory, `NAME.ledger`. It holds one run: a name of its own, what
//! of the spec must not change, the list of its splits as it was when the run began, and of each split whether
//! all sinks have it durably and its `done` action has run.
//!
//! ```text
//! begin ─▶ splits listed ─▶ [run, splits]   durable before the first record is read
//! sinks durable ─▶ [split: stored, n rejects] ─▶ `done` action ─▶ [split: done]
//! every split done ─▶ report ─▶ [run: finished] ─▶ stages clear what they kept for the run
//! ```
//!
//! A run whose ledger is not finished is resumed by the next command, under its name: splits that are stored
//! are not read again. What it is resumed with must be the same: another spec (but for speed, limits and places
//! of reports) or another input is named, and needs `--fresh`, which begins a new run. Of a run in which nothing
//! was stored nothing is left. Where one command runs several jobs, they are finished together: resumed, the
//! command does not begin with the first of them anew.
//!
//! A split is stored when every sink it reaches has it durably and none of them will ever have to see it again.
//! Where a sink's output is whole or absent, or a stage's answer depends on rows it has seen before, all splits
//! are stored at once, at the end: until then an interrupted run reads them all again.
//!
//! The last that a command does for its jobs is to note that their runs are finished, and only then do targets forget
//! them: as long as a run can be resumed, they can tell whether all of it is still there. Killed after the note, a command
//! has done its work, though the shell hears of a kill: the next one begins a new run, as after any other, and first
//! clears what the last one has left.
//!
//! The ledger alone makes nothing exactly once: a process may be killed after a sink has committed and before the
//! ledger says so. So each sink guards itself, under the run's name ([`Attempt`](crate::stage::Attempt)): SQLite and PostgreSQL keep a
//! receipt of every split in the same transaction as its rows ([`receipt`](crate::receipt)), files appear under
//! their names only when all of them are complete, and are the same bytes each time, and what is plainly set under
//! a key may be set again. Receipts go at the end of the run, and nobody removes those of another ledger.
//!
//! A ledger has a name of its own, and notes where each sink wrote to. When a run is resumed, each target is asked what it
//! has ([`Sink::inspect`](crate::stage::Sink::inspect)), and what the ledger says is stored must be there. A target that
//! knows of an unfinished run of the job that no ledger knows here stops the job, until somebody says whether that run is
//! taken over or left beside.
//!
//! A run that fails, and is not killed, may store splits after one that it could not read. Where rows take the place
//! of others ([`Guarantee::replaces`](crate::stage::Guarantee::replaces)) it does not: they would be gone over by older
//! ones.

mod frozen;
mod last;
mod record;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{BuildHasher, RandomState},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use sha2::{Digest, Sha256};

pub use self::status::{SourceStatus, Status, status};
use crate::{
    batch::SplitId,
    failure::{Exit, Failure},
    rejects::stamp,
    sqlite,
    stage::{Split, Splits},
};

/// The file's version, in SQLite's `user_version`.
const VERSION: i64 = 2;

/// How long another process that looks at the ledger is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

const TABLES: &str = "
    CREATE TABLE ledger (id TEXT NOT NULL);
    CREATE TABLE run (id TEXT NOT NULL, ledger TEXT NOT NULL, started INTEGER NOT NULL, attempts INTEGER NOT NULL,
                      finished TEXT, parts TEXT NOT NULL);
    CREATE TABLE target (sink TEXT PRIMARY KEY, target TEXT NOT NULL);
    CREATE TABLE beside (ledger TEXT NOT NULL, run TEXT NOT NULL, PRIMARY KEY (ledger, run));
    CREATE TABLE split (number INTEGER PRIMARY KEY, source TEXT NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL,
                        state INTEGER NOT NULL DEFAULT 0, read INTEGER NOT NULL DEFAULT 0,
                        rejected INTEGER NOT NULL DEFAULT 0, action TEXT);";

/// An open ledger. The job's lock keeps other runs away from it.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Connection,
    id: String,
    broken: Option<Run>,
    uncleared: Option<Run>,
    beside: BTreeSet<(String, String)>,
}

/// A run as the ledger knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name: 16 hexadecimal digits.
    pub id: String,
    /// The name of the ledger that it began in.
    pub ledger: String,
    /// When its first attempt began.
    pub started: SystemTime,
    /// How many attempts have been made.
    pub attempts: u32,
    /// What must not change, by place in the spec: a digest of each.
    pub parts: BTreeMap<String, String>,
    /// What each sink wrote to, by its name, where it can tell.
    pub targets: BTreeMap<String, String>,
    /// Its splits, by number.
    pub splits: Vec<Entry>,
}

/// A split in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its source.
    pub source: String,
    /// What it is.
    pub split: Split,
    /// How far it has come.
    pub state: State,
    /// Records read of it, where it is stored.
    pub read: u64,
    /// Records rejected of it by all stages, where it is stored.
    pub rejected: u64,
    /// What its `done` action did.
    pub action: Option<String>,
}

/// How far a split has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It must be read, or read again.
    Left = 0,
    /// All sinks have it.
    Stored = 1,
    /// And its `done` action, if it has one, has run.
    Done = 2,
}

/// A split that is stored now.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Its number.
    pub split: SplitId,
    /// Records read of it.
    pub read: u64,
    /// Records rejected of it.
    pub rejected: u64,
}

impl Entry {
    /// A split that nobody has read.
    pub(crate) fn new(source: String, split: Split) -> Entry {
        Entry { source, split, state: State::Left, read: 0, rejected: 0, action: None }
    }
}

impl Run {
    /// A new run of splits that nobody has read.
    pub fn new(
        ledger: &str,
        started: SystemTime,
        parts: BTreeMap<String, String>,
        splits: impl Iterator<Item = (String, Split)>,
    ) -> Run {
        let splits = splits.map(|(source, split)| Entry::new(source, split)).collect();
        let (id, ledger) = (new_id(), ledger.to_owned());
        Run { id, ledger, started, attempts: 0, parts, targets: BTreeMap::new(), splits }
    }

    /// The run's splits as stages know them.
    pub fn keys(&self) -> Splits {
        let split =
            |Entry { source, split, .. }: &'_ Entry| (source.clone(), split.name.clone(), frozen::text(&split.detail));
        let all: Vec<_> = self.splits.iter().map(split).collect();
        Splits::new(all.iter().map(|(source, name, detail)| (source.as_str(), name.as_str(), detail.clone())))
    }

    /// Is every split of it stored?
    pub fn all_stored(&self) -> bool {
        !self.splits.is_empty() && self.splits.iter().all(|entry| entry.state >= State::Stored)
    }
}

/// Where the ledger of a job is.
pub fn path(state: &Path, job: &str) -> PathBuf {
    state.join(format!("{job}.ledger"))
}

/// Where the stages of a job keep what they need to resume a run.
pub fn folder(state: &Path, job: &str) -> PathBuf {
    state.join(format!("{job}.run"))
}

/// A name that no other run has.
pub fn new_id() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut hasher = Sha256::new();
    // Two random states differ, in one process and in two.
    for part in [since.as_nanos() as u64, u64::from(std::process::id()), RandomState::new().hash_one(0)] {
        hasher.update(part.to_le_bytes());
    }
    crate::values::hex::text(&hasher.finalize()[..8])
}

impl Ledger {
    /// Opens the ledger of a job in the state directory; a new one is made where there is none. With `fresh` what
    /// it holds is of no interest: one that cannot be used is made anew.
    ///
    /// # Errors
    /// It cannot be created or read.
    pub fn open(state: &Path, job: &str, fresh: bool) -> Result<Ledger, Failure> {
        let path = path(state, job);
        fs::create_dir_all(state).map_err(|error| Failure::creating(state, &error))?;
        match Ledger::at(&path) {
            Err(_) if fresh => {
                remove(&path)?;
                Ledger::at(&path)
            }
            opened => opened,
        }
    }

    fn at(path: &Path) -> Result<Ledger, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error: &rusqlite::Error| unusable(path, error);
        let mut connection = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
        sqlite::prepare(&connection, PATIENCE).map_err(|error| failed(&error))?;
        // What is committed survives a loss of power; a commit waits for the disk once.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            .map_err(|error| failed(&error))?;
        let version = version(&connection).map_err(|error| failed(&error))?;
        match version {
            VERSION => {}
            0 => {
                let mut make = || {
                    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                    // Another process may have been faster, one that only looks at the ledger.
                    if self::version(&transaction)? != 0 {
                        return Ok(());
                    }
                    transaction.execute_batch(TABLES)?;
                    transaction.execute("INSERT INTO ledger VALUES (?1)", [new_id()])?;
                    transaction.pragma_update(None, "user_version", VERSION)?;
                    transaction.commit()
                };
                make().map_err(|error| failed(&error))?;
            }
            other => return Err(foreign(path, other)),
        }
        let last = last::read(&connection, path)?;
        let look = || {
            let id = connection.query_row("SELECT id FROM ledger", [], |row| row.get(0))?;
            let mut beside = connection.prepare("SELECT ledger, run FROM beside")?;
            let beside =
                beside.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
            Ok((id, beside))
        };
        let (id, beside): (_, BTreeSet<_>) = look().map_err(|error| failed(&error))?;
        let (broken, uncleared) = match last {
            Some((run, None)) => (Some(run), None),
            Some((run, Some(_))) => {
                (None, Some(run).filter(|run| beside.contains(&(run.ledger.clone(), run.id.clone()))))
            }
            None => (None, None),
        };
        Ok(Ledger { path: path.to_owned(), connection, id, broken, uncleared, beside })
    }

    /// Its name, which no other ledger has.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Was it decided that this run, of another ledger or of one that was lost, is not resumed?
    pub fn is_beside(&self, ledger: &str, run: &str) -> bool {
        self.beside.contains(&(ledger.to_owned(), run.to_owned()))
    }

    /// Notes that a run that a target has receipts of is not resumed: the job goes on beside it.
    pub fn leave_beside(&mut self, ledger: &str, run: &str) -> Result<(), Failure> {
        self.beside.insert((ledger.to_owned(), run.to_owned()));
        self.write(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO beside VALUES (?1, ?2)", [ledger, run]).map(drop)
        })
    }

    /// Notes that the interrupted run, if there is one, is not resumed: the next run is a new one, also where this attempt
    /// ends before its own has begun.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn abandon(&mut self) -> Result<(), Failure> {
        let Some(run) = self.broken.take() else { return Ok(()) };
        self.write(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO beside VALUES (?1, ?2)", [&run.ledger, &run.id])?;
            transaction.execute_batch("DELETE FROM run; DELETE FROM split")
        })?;
        self.beside.insert((run.ledger, run.id));
        Ok(())
    }

    /// The interrupted run, if there is one.
    pub fn broken(&self) -> Option<&Run> {
        self.broken.as_ref()
    }

    /// Notes that the run of this name has ended well: the next one is a new one. What targets keep of it is its own
    /// business until that is gone. Gives the run, if it is there.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn finish(&mut self, run: &str) -> Result<Option<Run>, Failure> {
        let now = stamp(SystemTime::now());
        self.write(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO beside SELECT ledger, id FROM run WHERE id = ?1", [run])?;
            transaction.execute("UPDATE run SET finished = ?1 WHERE id = ?2", [now.as_str(), run]).map(drop)
        })?;
        Ok(self.broken.take().filter(|broken| broken.id == run))
    }

    /// The last run, if it is finished, and targets may keep something of it.
    pub fn uncleared(&self) -> Option<&Run> {
        self.uncleared.as_ref()
    }

    /// Targets keep nothing of this run any more.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn cleared(&mut self, run: &str) -> Result<(), Failure> {
        self.write(|transaction| transaction.execute("DELETE FROM beside WHERE run = ?1", [run]).map(drop))
    }

    /// Notes that an attempt at a run begins; a new run takes the place of the last one.
    pub fn begin(&mut self, run: &Run) -> Result<(), Failure> {
        let again = run.attempts > 0;
        self.write(|transaction| {
            transaction.execute_batch("DELETE FROM target")?;
            let mut target = transaction.prepare("INSERT INTO target VALUES (?1, ?2)")?;
            for (sink, text) in &run.targets {
                target.execute([sink, text])?;
            }
            if again {
                transaction.execute("UPDATE run SET attempts = ?1", [run.attempts + 1])?;
                let mut left =
                    transaction.prepare("UPDATE split SET state = 0, read = 0, rejected = 0 WHERE number = ?1")?;
                for (number, _) in run.splits.iter().enumerate().filter(|(_, entry)| entry.state == State::Left) {
                    left.execute([number as i64])?;
                }
                return Ok(());
            }
            transaction.execute_batch("DELETE FROM run; DELETE FROM split")?;
            let mut insert = transaction
                .prepare("INSERT INTO split (number, source, name, detail, state) VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (number, Entry { source, split, state, .. }) in run.splits.iter().enumerate() {
                let detail = frozen::text(&split.detail);
                insert.execute(params![number as i64, source, split.name, detail, *state as i64])?;
            }
            let parts = serde_json::to_string(&run.parts).unwrap_or_default();
            let started = millis(run.started);
            let insert = "INSERT INTO run (id, ledger, started, attempts, parts) VALUES (?1, ?2, ?3, 1, ?4)";
            transaction.execute(insert, params![run.id, run.ledger, started, parts]).map(drop)
        })
    }

    /// Notes splits that are stored and splits whose `done` action has run, all at once.
    pub fn note(&mut self, stored: &[Stored], done: &[(SplitId, Option<String>)]) -> Result<(), Failure> {
        if stored.is_empty() && done.is_empty() {
            return Ok(());
        }
        fail::fail_point!("ledger-note");
        self.write(|transaction| {
            let mut store = transaction
                .prepare("UPDATE split SET state = max(state, 1), read = ?2, rejected = ?3 WHERE number = ?1")?;
            for Stored { split, read, rejected } in stored {
                store.execute(params![split.0, *read as i64, *rejected as i64])?;
            }
            let mut act = transaction.prepare("UPDATE split SET state = 2, action = ?2 WHERE number = ?1")?;
            for (split, action) in done {
                act.execute(params![split.0, action])?;
            }
            Ok(())
        })?;
        fail::fail_point!("ledger-noted");
        Ok(())
    }

    /// These splits are not stored any more.
    pub fn forget_splits(&mut self, splits: &[SplitId]) -> Result<(), Failure> {
        self.write(|transaction| {
            let mut forget = transaction.prepare("UPDATE split SET state = 0, action = NULL WHERE number = ?1")?;
            splits.iter().try_for_each(|split| forget.execute([split.0]).map(drop))
        })
    }

    /// Forgets the run: nothing of it is stored anywhere.
    pub fn forget(mut self) -> Result<(), Failure> {
        self.write(|transaction| transaction.execute_batch("DELETE FROM run; DELETE FROM split; DELETE FROM target"))
    }

    fn write(&mut self, work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>) -> Result<(), Failure> {
        let written = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&transaction)?;
            fail::fail_point!("ledger-commit", |_| Err(sqlite::full()));
            transaction.commit()
        })();
        written.map_err(|error| {
            Failure::new(Exit::Io, format!("cannot write ledger `{}`: {}", self.path.display(), sqlite::words(&error)))
        })
    }
}

/// When the run of a job began that was interrupted, if one was and its ledger can be read.
pub fn interrupted_since(state: &Path, job: &str) -> Option<SystemTime> {
    let path = path(state, job);
    if !path.exists() {
        return None;
    }
    Ledger::at(&path).ok()?.broken().map(|run| run.started)
}

/// The ledgers and names of runs that targets have receipts of, and that this job's were begun beside.
pub fn beside(state: &Path, job: &str) -> BTreeSet<(String, String)> {
    let path = path(state, job);
    let ledger = path.exists().then(|| Ledger::at(&path).ok()).flatten();
    ledger.map(|ledger| ledger.beside).unwrap_or_default()
}

/// Removes a ledger that cannot be used.
fn remove(path: &Path) -> Result<(), Failure> {
    for ending in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(ending);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Failure::creating(Path::new(&file), &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn unusable(path: &Path, error: &rusqlite::Error) -> Failure {
    let Failure { exit, message } = sqlite::failure(path, "use ledger, the", error, Exit::CantCreate);
    Failure::new(exit, format!("{message}; `--fresh` makes a new one, and begins the job anew"))
}

fn foreign(path: &Path, version: i64) -> Failure {
    let message =
        format!("ledger `{}` is of another version of this program ({version}, not {VERSION})", path.display());
    let help = "finish the run with that version, or start over with `--fresh`";
    Failure::new(Exit::Spec, format!("{message}; {help}"))
}

fn millis(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

#[cfg(test)]
mod tests;
