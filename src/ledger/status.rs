//! What a job's ledger says of its last run, for `runner status`.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::{Entry, PATIENCE, State, VERSION, foreign, last, path, unusable, version};
use crate::{failure::Failure, rejects::stamp};

/// Splits that are left are named one by one up to so many.
const NAMED: usize = 20;

/// How far the last run of a job has come.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The run's name.
    pub run: String,
    /// When its first attempt began, UTC, RFC 3339.
    pub started: String,
    /// How many attempts have been made.
    pub attempts: u32,
    /// When it was finished; absent where there is something left to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Its sources.
    pub sources: Vec<SourceStatus>,
}

/// How far the splits of a source have come.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub source: String,
    /// How many splits it has.
    pub splits: usize,
    /// How many are stored, their `done` action run.
    pub done: usize,
    /// How many are stored, with the `done` action left.
    pub stored: usize,
    /// How many are left.
    pub left: usize,
    /// Records rejected of those that are stored.
    pub rejected: u64,
    /// The first of those that are left.
    pub next: Vec<String>,
}

/// What the ledger of a job says; `None` where it knows of no run.
///
/// # Errors
/// It cannot be read.
pub fn status(state: &Path, job: &str) -> Result<Option<Status>, Failure> {
    let path = path(state, job);
    if !path.exists() {
        return Ok(None);
    }
    // One that is opened read-only cannot read what a killed run has left in the log beside the file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        let version = version(&connection)?;
        Ok((connection, version))
    };
    let (connection, version) = open().map_err(|error| unusable(&path, &error))?;
    match version {
        VERSION => {}
        // Made, and nothing written yet.
        0 => return Ok(None),
        other => return Err(foreign(&path, other)),
    }
    let Some((run, finished)) = last::read(&connection, &path)? else { return Ok(None) };
    let (started, attempts) = (stamp(run.started), run.attempts);
    Ok(Some(Status { run: run.id, started, attempts, finished, sources: sources(&run.splits) }))
}

fn sources(entries: &[Entry]) -> Vec<SourceStatus> {
    let mut sources: Vec<SourceStatus> = Vec::new();
    for Entry { source, split, state, rejected, .. } in entries {
        if sources.last().is_none_or(|last| last.source != *source) {
            sources.push(SourceStatus { source: source.clone(), ..SourceStatus::default() });
        }
        let Some(counts) = sources.last_mut() else { continue };
        counts.splits += 1;
        counts.rejected += rejected;
        match state {
            State::Done => counts.done += 1,
            State::Stored => counts.stored += 1,
            State::Left => {
                counts.left += 1;
                if counts.next.len() < NAMED {
                    counts.next.push(split.name.clone());
                }
            }
        }
    }
    sources
}
