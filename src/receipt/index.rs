//! Answers by the digest of their row, for rows that come back in another order. It lies in a private file of SQLite's,
//! which goes with it, and takes little memory however many rows there are.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::SchemaRef;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    failure::{Exit, Failure},
    sqlite,
};

/// Answers that have not been asked for yet.
pub(super) struct Index {
    connection: Connection,
    converter: RowConverter,
    left: u64,
    next: i64,
}

/// What was answered for a row.
pub(super) enum Given {
    /// It was accepted; what was given back, to be decoded.
    Accepted(Vec<u8>),
    /// It was refused: the reason in a word and in a sentence.
    Refused(String, String),
}

/// Memory that it takes at most, in KiB.
const CACHE: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192; \
                     CREATE TABLE answer (digest BLOB, seq INTEGER, code TEXT, given BLOB, \
                     PRIMARY KEY (digest, seq)) WITHOUT ROWID; BEGIN";

impl Index {
    /// An empty one; `schema` describes what is given back.
    pub(super) fn new(schema: &SchemaRef) -> Result<Index, Failure> {
        let open = || {
            let connection = Connection::open("")?;
            connection.execute_batch(CACHE)?;
            Ok(connection)
        };
        let connection = open().map_err(|error| failed(&error))?;
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(|error| super::broken(&error))?;
        Ok(Index { connection, converter, left: 0, next: 0 })
    }

    /// What was given back, row by row, as [`Index::accepted`] takes it.
    pub(super) fn encode(&self, returned: &RecordBatch) -> Result<Rows, Failure> {
        self.converter.convert_columns(returned.columns()).map_err(|error| super::broken(&error))
    }

    /// Adds an accepted row: its digest, and what was given back.
    pub(super) fn accepted(&mut self, digest: u128, given: &[u8]) -> Result<(), Failure> {
        self.add(digest, None, given)
    }

    /// Adds a refused row.
    pub(super) fn refused(&mut self, digest: u128, code: &str, why: &str) -> Result<(), Failure> {
        self.add(digest, Some(code), why.as_bytes())
    }

    fn add(&mut self, digest: u128, code: Option<&str>, given: &[u8]) -> Result<(), Failure> {
        let sql = "INSERT INTO answer VALUES (?1, ?2, ?3, ?4)";
        let added = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut add| add.execute(params![digest.to_be_bytes(), self.next, code, given]));
        added.map_err(|error| failed(&error))?;
        (self.next, self.left) = (self.next + 1, self.left + 1);
        Ok(())
    }

    /// Takes out the first answer for a row.
    pub(super) fn take(&mut self, digest: u128) -> Result<Option<Given>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        let sql = "DELETE FROM answer WHERE digest = ?1 AND seq = (SELECT min(seq) FROM answer WHERE digest = ?1) \
                   RETURNING code, given";
        let answer = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Vec<u8>>(1)?));
        let taken = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut take| take.query_row([digest.to_be_bytes()], answer).optional());
        let Some((code, given)) = taken.map_err(|error| failed(&error))? else { return Ok(None) };
        self.left -= 1;
        Ok(Some(match code {
            Some(code) => Given::Refused(code, String::from_utf8_lossy(&given).into_owned()),
            None => Given::Accepted(given),
        }))
    }

    /// The columns of what was given back.
    pub(super) fn decode(&self, rows: &[Vec<u8>]) -> Result<Vec<ArrayRef>, Failure> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.iter().map(|row| parser.parse(row)));
        columns.map_err(|error| super::broken(&error))
    }

    /// Answers that nobody has asked for.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

fn failed(error: &rusqlite::Error) -> Failure {
    let words = sqlite::words(error);
    Failure::new(Exit::Io, format!("cannot match rows that come in another order, in a temporary file: {words}"))
}
