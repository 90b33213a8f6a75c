//! Reads the rows of one split from a cursor, as many at a time as a batch may have, by rows and by bytes.

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema as ArrowSchema};
use tokio_postgres::Row;

use super::Setup;
use crate::{
    batch::{Batch, Block, Origin, RejectCode, Rejects, SplitId},
    failure::{Exit, Failure},
    postgres::{Raw, Server, Session, Values},
    stage::SplitReader,
    values::columns::Invalid,
};

/// Rows that are fetched first, to learn how large they are.
const FIRST: usize = 64;

/// The reader of one split.
pub(super) struct Reader<'a> {
    setup: &'a Setup,
    server: &'a Server,
    session: &'a Session,
    id: SplitId,
    seq: u64,
    /// Rows read.
    read: u64,
    /// Rows of the next fetch.
    next: usize,
    values: Vec<Values>,
}

/// A row that is refused: its place in the batch, and why.
type Refused = (u32, RejectCode, String);

impl<'a> Reader<'a> {
    /// A reader of the cursor `rows` that is open in the session.
    pub(super) fn new(setup: &'a Setup, server: &'a Server, session: &'a Session, id: SplitId) -> Reader<'a> {
        let column = |column: &crate::values::columns::ColumnSpec| {
            Values::new(&column.column_type, column.nullable, column.invalid == Invalid::DropItems)
        };
        let values = setup.columns.iter().map(column).collect();
        let next = FIRST.min(setup.batch.rows.max(1));
        Reader { setup, server, session, id, seq: 0, read: 0, next, values }
    }

    /// Appends the rows to the columns. A row that is refused leaves a null where it is bad. Gives the bytes of
    /// all rows, and the refused ones.
    fn append(&mut self, rows: &[Row]) -> Result<(usize, Vec<Refused>), Failure> {
        let (mut bytes, mut refused) = (0, Vec::new());
        for (i, row) in rows.iter().enumerate() {
            let mut bad: Option<(RejectCode, String)> = None;
            let mut size = 0;
            for (at, (values, column)) in self.values.iter_mut().zip(&self.setup.columns).enumerate() {
                let raw: Option<Raw<'_>> = row.try_get(at).map_err(|error| self.server.failure(&error.into()))?;
                size += raw.as_ref().map_or(0, |raw| raw.0.len());
                if let Err((code, why)) = values.push(raw.map(|raw| raw.0)) {
                    values.push_null();
                    if column.invalid != Invalid::Null {
                        bad.get_or_insert_with(|| (code, format!("column `{}`: {why}", column.name)));
                    }
                }
            }
            if size > self.setup.max_record {
                let message = format!("the record has {size} bytes, the limit is {}", self.setup.max_record);
                bad.get_or_insert((RejectCode("too_long"), message));
            }
            bytes += size;
            refused.extend(bad.map(|(code, message)| (i as u32, code, message)));
        }
        Ok((bytes, refused))
    }

    /// How many rows to fetch next, judged by the size of the last ones.
    fn adapt(&mut self, rows: usize, bytes: usize) {
        let size = (bytes / rows.max(1)).max(1);
        // No more than twice as many as before: the next ones may be larger.
        let most = self.setup.batch.rows.max(1).min(self.next.saturating_mul(2).max(FIRST));
        self.next = (self.setup.batch.bytes / size).clamp(1, most);
    }
}

impl SplitReader for Reader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        let fetched = self.session.ask(&format!("fetch forward {} from rows", self.next), &[]);
        let rows = fetched.map_err(|trouble| self.server.failure(&trouble))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let (bytes, refused) = self.append(&rows)?;
        let block = Block { first_record: self.read + 1, ..Block::default() };
        let origin = Origin::new(self.id, self.seq, block, rows.len());
        self.seq += 1;
        self.read += rows.len() as u64;
        self.adapt(rows.len(), bytes);
        let arrays = self.values.iter_mut().map(Values::finish).collect();
        // Rows that are refused have nulls where there may be none.
        let fields: Vec<Field> =
            self.setup.schema.arrow().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let relaxed = ArrowSchema::new(fields).into();
        let misfit = |error: arrow_schema::ArrowError| Failure::new(Exit::Bug, error.to_string());
        let batch = Batch::new(RecordBatch::try_new(relaxed, arrays).map_err(misfit)?, origin);
        for (row, code, message) in &refused {
            rejects.push(&batch, *row as usize, *code, message.as_str());
        }
        let batch = match refused.is_empty() {
            true => batch,
            false => {
                let is_bad = |row: &u32| refused.binary_search_by_key(row, |(bad, ..)| *bad).is_ok();
                batch.pick((0..batch.rows() as u32).filter(|row| !is_bad(row)).collect())
            }
        };
        let Batch { records, origin, .. } = batch;
        let records = RecordBatch::try_new(self.setup.schema.arrow(), records.columns().to_vec()).map_err(misfit)?;
        Ok(Some(Batch::new(records, origin)))
    }
}
