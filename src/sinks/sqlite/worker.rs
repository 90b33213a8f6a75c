//! Writes batches: many rows per statement where nothing speaks against it, else row by row.

use std::{path::Path, sync::Arc};

use arrow_array::{ArrayRef, Int64Array};
use rusqlite::{Connection, ErrorCode, Statement};

use super::{
    super::table::{Commit, Layout, PartPlace, Returned, WriteMode},
    Setup,
    bind::{Bound, Unbound},
    database::Member,
    receipts::{CONSTRAINT, Ledger, UNFIT},
    statement,
    table::Ways,
};
use crate::{
    batch::{Batch, RejectCode, SplitId},
    failure::{Exit, Failure},
    receipt::{Answers, Part, Refused},
    sqlite::{self, ValueColumn, quote},
    values::columns::Invalid,
};

/// Rows per statement: fewer cost more calls, more have a longer program to run through.
const ROWS: usize = 32;
/// Parameters per statement, for wide tables; SQLite takes 32,766.
const PARAMETERS: usize = 2048;

/// The connection of the sink's one worker.
pub(super) struct Writer {
    pub(super) setup: Arc<Setup>,
    /// `None` once the last commit is done: the file is closed then, not some time later.
    pub(super) member: Option<Member>,
    pub(super) ways: Ways,
    /// Where the run can be resumed.
    pub(super) ledger: Option<Ledger>,
    /// Room for the text of a value.
    pub(super) text: Vec<u8>,
}

impl super::super::table::Connection for Writer {
    fn write(&mut self, batch: &Batch) -> Result<(Answers, u64), Failure> {
        let Writer { setup, member, ways, text, .. } = self;
        let member = member.as_mut().ok_or_else(|| over(setup))?;
        member.within(|connection, path| Insert::new(setup, ways, (connection, path), batch, text).run())
    }

    fn note(&mut self, place: PartPlace, part: Part) -> Result<(), Failure> {
        let Writer { setup, member, ledger, .. } = self;
        let Some(ledger) = ledger else { return Ok(()) };
        let member = member.as_mut().ok_or_else(|| over(setup))?;
        member.within(|connection, path| ledger.note(&place, &part, connection, path))
    }

    fn load(&mut self, place: PartPlace) -> Result<Option<Vec<u8>>, Failure> {
        let Writer { setup, member, ledger, .. } = self;
        let Some(ledger) = ledger else { return Ok(None) };
        let member = member.as_ref().ok_or_else(|| over(setup))?;
        member.look(|connection, path| ledger.load(&place, connection, path))
    }

    fn commit(&mut self, _split: SplitId) -> Result<Commit, Failure> {
        let durable = self.member.as_mut().ok_or_else(|| over(&self.setup))?.end()?;
        Ok(if durable { Commit::Durable } else { Commit::Later })
    }

    fn discard(&mut self) -> Result<(), Failure> {
        self.member.as_mut().ok_or_else(|| over(&self.setup))?.undo();
        Ok(())
    }

    /// What waits for another sink of the same file is waited for.
    fn close(&mut self) -> Result<(), Failure> {
        self.member.take().ok_or_else(|| over(&self.setup))?.finish()
    }
}

fn over(setup: &Setup) -> Failure {
    Failure::new(Exit::Bug, format!("database `{}` was closed already", setup.database.display()))
}

/// The statements of a batch.
struct Statements<'a> {
    one: Statement<'a>,
    many: Option<Statement<'a>>,
    /// Looks up a row that stood in the way.
    present: Option<Statement<'a>>,
}

/// What a statement gave back.
enum Given {
    /// A row; its values have been taken.
    Row,
    /// No row.
    Nothing,
    /// A value that is not what the spec declares.
    Misfit(String),
}

/// One batch on its way in.
struct Insert<'a> {
    layout: &'a Layout,
    ways: &'a Ways,
    connection: &'a Connection,
    path: &'a Path,
    batch: &'a Batch,
    bound: Vec<Bound<'a>>,
    /// The columns that tell rows apart.
    conflict: Vec<Bound<'a>>,
    accepted: Vec<u32>,
    keys: Vec<i64>,
    /// No key was larger before the next statement.
    last_key: i64,
    /// What the database gives back, other than its row's key.
    given: Vec<ValueColumn>,
    refused: Vec<Refused>,
    bytes: u64,
    text: &'a mut Vec<u8>,
}

impl<'a> Insert<'a> {
    fn new(
        setup: &'a Setup,
        ways: &'a Ways,
        at: (&'a Connection, &'a Path),
        batch: &'a Batch,
        text: &'a mut Vec<u8>,
    ) -> Self {
        let layout = &*setup.layout;
        let fields = batch.records.schema_ref();
        let bound = |place: usize| Bound::new(fields.field(place), batch.records.column(place), setup.timestamps);
        let given = |Returned { column, .. }: &Returned| {
            ValueColumn::new(&column.name, &column.column_type, column.nullable, Invalid::Reject)
        };
        Insert {
            layout,
            ways,
            connection: at.0,
            path: at.1,
            batch,
            bound: layout.columns.iter().map(|written| bound(written.place)).collect(),
            conflict: layout.conflicting().map(|written| bound(written.place)).collect(),
            accepted: Vec::with_capacity(batch.rows()),
            keys: Vec::with_capacity(if ways.by_row_key { batch.rows() } else { 0 }),
            last_key: 0,
            given: layout.returned.iter().filter(|_| !ways.by_row_key).map(given).collect(),
            refused: Vec::new(),
            bytes: 0,
            text,
        }
    }

    fn statements(&self) -> Result<Statements<'a>, Failure> {
        let prepare = |sql: &str| self.connection.prepare(sql).map_err(|error| self.failed(&error));
        let asked = !self.given.is_empty();
        let rows = (PARAMETERS / self.bound.len()).min(ROWS);
        let many = self.ways.several && rows > 1 && self.batch.rows() >= rows;
        let present = asked && self.layout.mode == WriteMode::Ignore;
        Ok(Statements {
            one: prepare(&statement::insert(self.layout, 1, asked))?,
            many: many.then(|| prepare(&statement::insert(self.layout, rows, false))).transpose()?,
            present: present.then(|| prepare(&statement::select(self.layout))).transpose()?,
        })
    }

    /// The answers, and the bytes that were written.
    fn run(mut self) -> Result<(Answers, u64), Failure> {
        let mut statements = self.statements()?;
        match statements.many.take() {
            Some(mut many) => self.rows_at_once(&mut many, &mut statements)?,
            None => (0..self.batch.rows()).try_for_each(|row| self.row(row, &mut statements))?,
        }
        let mut returned: Vec<ArrayRef> = Vec::new();
        if self.ways.by_row_key {
            returned.push(Arc::new(Int64Array::from(self.keys)));
        }
        returned.extend(self.given.iter_mut().map(ValueColumn::finish));
        // Many rows of one statement are refused later than one that could not even be bound.
        self.refused.sort_by_key(|(row, ..)| *row);
        Ok((Answers { accepted: self.accepted, refused: self.refused, returned, not_confirmed: 0 }, self.bytes))
    }

    /// Collects rows into one statement; what is left over goes row by row.
    fn rows_at_once(&mut self, many: &mut Statement<'_>, statements: &mut Statements<'_>) -> Result<(), Failure> {
        let width = self.bound.len();
        let room = many.parameter_count() / width;
        if self.ways.by_row_key {
            self.last_key = self.largest_key().map_err(|error| self.failed(&error))?;
        }
        let mut waiting: Vec<u32> = Vec::with_capacity(room);
        for row in 0..self.batch.rows() {
            if !self.bind(row, many, waiting.len() * width)? {
                continue;
            }
            waiting.push(row as u32);
            if waiting.len() == room {
                self.write_many(&waiting, many, statements)?;
                waiting.clear();
            }
        }
        waiting.into_iter().try_for_each(|row| self.row(row as usize, statements))
    }

    /// Where one of many rows is refused, so is the statement; then they go one by one.
    fn write_many(
        &mut self,
        rows: &[u32],
        many: &mut Statement<'_>,
        statements: &mut Statements<'_>,
    ) -> Result<(), Failure> {
        match many.raw_execute() {
            Ok(_) => {
                self.accepted.extend_from_slice(rows);
                if self.ways.by_row_key { self.keys_of(rows.len()) } else { Ok(()) }
            }
            Err(error) if is_refusal(&error) => rows.iter().try_for_each(|row| self.row(*row as usize, statements)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Writes one row.
    fn row(&mut self, row: usize, statements: &mut Statements<'_>) -> Result<(), Failure> {
        if !self.bind(row, &mut statements.one, 0)? {
            return Ok(());
        }
        let written = match self.given.is_empty() {
            true => statements.one.raw_execute().map(|changed| if changed > 0 { Given::Row } else { Given::Nothing }),
            false => self.take_given(&mut statements.one),
        };
        match written {
            Err(error) if is_refusal(&error) => self.refuse(row, CONSTRAINT, sqlite::words(&error)),
            Err(error) => return Err(self.failed(&error)),
            Ok(Given::Row) => self.accept(row),
            Ok(Given::Nothing) if self.layout.mode == WriteMode::Ignore => {
                return self.present(row, statements.present.as_mut());
            }
            Ok(Given::Nothing) => self.refuse(row, CONSTRAINT, "the database passed the row over".to_owned()),
            Ok(Given::Misfit(why)) => return Err(self.misfit(&why)),
        }
        Ok(())
    }

    fn accept(&mut self, row: usize) {
        self.accepted.push(row as u32);
        if self.ways.by_row_key {
            self.last_key = self.connection.last_insert_rowid();
            self.keys.push(self.last_key);
        }
    }

    /// Accepts a row that was there before, with what the database has of it.
    fn present(&mut self, row: usize, select: Option<&mut Statement<'_>>) -> Result<(), Failure> {
        let Some(select) = select else {
            self.accepted.push(row as u32);
            return Ok(());
        };
        for (at, column) in self.conflict.iter().enumerate() {
            // The same values were bound a moment ago.
            if let Err(Unbound::Failed(error)) = column.bind(row, select, at + 1, self.text) {
                return Err(self.failed(&error));
            }
        }
        match self.take_given(select) {
            Ok(Given::Row) => self.accepted.push(row as u32),
            Ok(Given::Nothing) => {
                self.refuse(row, CONSTRAINT, "the row that stands in the way cannot be found".to_owned());
            }
            Ok(Given::Misfit(why)) => return Err(self.misfit(&why)),
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(())
    }

    /// Runs a statement that gives back one row or none; takes its values.
    fn take_given(&mut self, statement: &mut Statement<'_>) -> rusqlite::Result<Given> {
        let mut rows = statement.raw_query();
        let Some(found) = rows.next()? else { return Ok(Given::Nothing) };
        for (at, column) in self.given.iter_mut().enumerate() {
            if let Err(why) = column.push(found.get_ref(at)?) {
                return Ok(Given::Misfit(why));
            }
        }
        while rows.next()?.is_some() {}
        Ok(Given::Row)
    }

    fn misfit(&self, why: &str) -> Failure {
        let (table, path) = (&self.ways.table, self.path.display());
        Failure::new(Exit::Io, format!("database `{path}`, table `{table}`, given back: {why}"))
    }

    /// The keys of the rows that the last statement wrote: each is one more than the largest before.
    fn keys_of(&mut self, rows: usize) -> Result<(), Failure> {
        let (before, last) = (self.last_key, self.connection.last_insert_rowid());
        if last - before != rows as i64 {
            let message = format!("table `{}` gave {rows} rows the keys from {before} to {last}", self.ways.table);
            return Err(Failure::new(Exit::Bug, message));
        }
        self.keys.extend(before + 1..=last);
        self.last_key = last;
        Ok(())
    }

    /// The largest key the table ever had.
    fn largest_key(&self) -> rusqlite::Result<i64> {
        let (key, table) = (&self.layout.returned[0].quoted, quote(&self.ways.table));
        let sql = format!(
            "SELECT max(ifnull((SELECT max(seq) FROM sqlite_sequence WHERE name = ?1), 0), \
                        ifnull((SELECT max({key}) FROM {table}), 0))"
        );
        self.connection.query_row(&sql, [&self.ways.table], |row| row.get(0))
    }

    /// Binds a row's values after the first `before` parameters; a row that SQLite cannot hold is refused.
    fn bind(&mut self, row: usize, statement: &mut Statement<'_>, before: usize) -> Result<bool, Failure> {
        let mut bytes = 0;
        for (i, column) in self.bound.iter().enumerate() {
            match column.bind(row, statement, before + i + 1, self.text) {
                Ok(more) => bytes += more,
                Err(Unbound::Refused(why)) => {
                    self.refuse(row, UNFIT, why);
                    return Ok(false);
                }
                Err(Unbound::Failed(error)) if is_refusal(&error) => {
                    self.refuse(row, CONSTRAINT, sqlite::words(&error));
                    return Ok(false);
                }
                Err(Unbound::Failed(error)) => return Err(self.failed(&error)),
            }
        }
        self.bytes += bytes as u64;
        Ok(true)
    }

    fn refuse(&mut self, row: usize, code: RejectCode, message: String) {
        self.refused.push((row as u32, code, message));
    }

    fn failed(&self, error: &rusqlite::Error) -> Failure {
        sqlite::failure(self.path, "write to", error, Exit::Io)
    }
}

/// Does this error concern the row alone?
fn is_refusal(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig))
}
