//! What a ledger holds of its last run.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime},
};

use rusqlite::Connection;

use super::{Entry, Run, State, frozen, unusable};
use crate::{
    failure::{Exit, Failure},
    stage::Split,
};

/// The run in a ledger, and when it was finished.
pub(super) fn read(connection: &Connection, path: &Path) -> Result<Option<(Run, Option<String>)>, Failure> {
    let damaged = || {
        let message = format!("ledger `{}` is damaged; `--fresh` makes a new one", path.display());
        Failure::new(Exit::Io, message)
    };
    let rows = || -> rusqlite::Result<Option<(Run, Option<String>, String)>> {
        let mut found = connection.prepare("SELECT id, started, attempts, parts, finished, ledger FROM run")?;
        let mut rows = found.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(row.get::<_, i64>(1)?.unsigned_abs());
        let (id, attempts, ledger) = (row.get(0)?, row.get(2)?, row.get(5)?);
        let (parts, targets, splits) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let run = Run { id, ledger, started, attempts, parts, targets, splits };
        Ok(Some((run, row.get(4)?, row.get(3)?)))
    };
    let Some((mut run, finished, parts)) = rows().map_err(|error| unusable(path, &error))? else { return Ok(None) };
    run.parts = serde_json::from_str(&parts).map_err(|_| damaged())?;
    let targets = || -> rusqlite::Result<BTreeMap<String, String>> {
        let mut targets = connection.prepare("SELECT sink, target FROM target")?;
        targets.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    run.targets = targets().map_err(|error| unusable(path, &error))?;
    let entries = || -> rusqlite::Result<Vec<Option<Entry>>> {
        let sql = "SELECT source, name, detail, state, read, rejected, action FROM split ORDER BY number";
        let entry = |row: &rusqlite::Row<'_>| {
            let detail = frozen::detail(&row.get::<_, String>(2)?);
            let state = match row.get::<_, i64>(3)? {
                0 => State::Left,
                1 => State::Stored,
                _ => State::Done,
            };
            let [read, rejected] = [row.get::<_, i64>(4)?, row.get(5)?].map(i64::unsigned_abs);
            let (source, name, action) = (row.get(0)?, row.get(1)?, row.get(6)?);
            Ok(detail.map(|detail| Entry { source, split: Split { name, detail }, state, read, rejected, action }))
        };
        connection.prepare(sql)?.query_map([], entry)?.collect()
    };
    let entries = entries().map_err(|error| unusable(path, &error))?;
    run.splits = entries.into_iter().collect::<Option<_>>().ok_or_else(damaged)?;
    Ok(Some((run, finished)))
}
