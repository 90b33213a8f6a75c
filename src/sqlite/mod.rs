//! What the `sqlite` sink and source share: names in SQL, what SQLite's errors mean, values to typed columns.

mod values;

use std::{path::Path, time::Duration};

use rusqlite::{Connection, Error, ErrorCode, config::DbConfig};

pub(crate) use self::values::ValueColumn;
use crate::failure::{Exit, Failure};

/// A name as it stands in SQL, whatever it is.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names in SQL with commas between them.
pub(crate) fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

/// SQLite's own words for an error.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::SqliteFailure(_, Some(message)) | Error::SqlInputError { msg: message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// Does this error say that another process holds the lock?
pub(crate) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What an error on the database at `path` means for the run; `otherwise` is the exit code where the error
/// itself does not say. `doing` is what was tried: `write`, `create table `t` in`.
pub(crate) fn failure(path: &Path, doing: &str, error: &Error, otherwise: Exit) -> Failure {
    let exit = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Exit::Unavailable,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Exit::Io,
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed) => Exit::Io,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Exit::CantCreate,
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => Exit::NoPermission,
        _ => otherwise,
    };
    Failure::new(exit, format!("cannot {doing} database `{}`: {}", path.display(), words(error)))
}

/// What SQLite says when the disk is full; tests let it say so.
#[cfg(feature = "failpoints")]
pub(crate) fn full() -> Error {
    Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None)
}

/// Sets up a fresh connection: how long it waits for a lock, and that a misspelt column is an error and not a
/// text in double quotes.
pub(crate) fn prepare(connection: &Connection, busy: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(busy)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    Ok(())
}

/// The name of the table or view, as the database spells it.
pub(crate) fn real_name(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND lower(name) = lower(?1)";
    connection.prepare(sql)?.query_map([table], |row| row.get(0))?.next().transpose()
}

/// The names of all tables and views.
pub(crate) fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// One column of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    /// Its name.
    pub(crate) name: String,
    /// The type it was declared with; may be empty.
    pub(crate) declared: String,
    /// Is NULL forbidden?
    pub(crate) not_null: bool,
    /// Has it a default?
    pub(crate) default: bool,
    /// Its place in the primary key, from 1; 0 where it has none.
    pub(crate) key: u32,
    /// Is it computed by the database?
    pub(crate) generated: bool,
}

/// The columns of a table or view.
pub(crate) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<TableColumn>> {
    let sql = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden > 1 FROM pragma_table_xinfo(?1)";
    let column = |row: &rusqlite::Row<'_>| {
        Ok(TableColumn {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            default: row.get(3)?,
            key: row.get(4)?,
            generated: row.get(5)?,
        })
    };
    connection.prepare(sql)?.query_map([table], column)?.collect()
}

/// Is the table declared `STRICT`, and has it rowids?
pub(crate) fn traits(connection: &Connection, table: &str) -> rusqlite::Result<(bool, bool)> {
    let sql = "SELECT strict, type = 'table' AND NOT wr FROM pragma_table_list \
               WHERE schema = 'main' AND lower(name) = lower(?1)";
    connection.query_row(sql, [table], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The column that is the table's row number by another name, where there is one.
pub(crate) fn row_key(columns: &[TableColumn]) -> Option<&TableColumn> {
    let mut keys = columns.iter().filter(|column| column.key > 0);
    keys.next().filter(|key| keys.next().is_none() && key.declared.eq_ignore_ascii_case("integer"))
}
