//! Puts parts that are in order together. Of each part the last column is the key: bytes that compare as the rows do. Rows
//! of equal keys come in the order of the parts.

use std::{cmp::Ordering, sync::Arc};

use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, cast::AsArray};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;

use super::{Exchange, Part, PartReader, fits};
use crate::{failure::Failure, values::compact_batch};

/// How many parts are read at once; more are put together in several passes.
pub(super) const FAN_IN: usize = 32;

/// Parts as one.
pub struct Merge {
    inputs: Vec<Input>,
    /// A tournament: at each inner node the input that lost there, at 0 the one that won (Knuth, volume 3, 5.4.1).
    tree: Vec<usize>,
    /// The batches that rows are taken from; those of inputs, and others of which rows wait to go out.
    batches: Vec<RecordBatch>,
    /// Rows that go out next: batch and row.
    places: Vec<(usize, usize)>,
    /// The most rows that go out at once.
    rows: usize,
    schema: SchemaRef,
}

struct Input {
    /// `None` at its end.
    reader: Option<PartReader>,
    keys: BinaryArray,
    /// The batch and the row that is next.
    batch: usize,
    row: usize,
    /// The first bytes of its key, so that most comparisons look no further.
    prefix: u64,
}

impl Merge {
    /// Puts any number of parts together, whose rows go out about `out` bytes at once. Where there are more than can be read
    /// at once, others are written first, about `block` bytes at once; says in how many passes.
    ///
    /// # Errors
    /// A part cannot be read or written.
    pub fn all(
        exchange: &Arc<Exchange>,
        what: &str,
        parts: Vec<Part>,
        schema: SchemaRef,
        [block, out]: [usize; 2],
    ) -> Result<(Merge, u64), Failure> {
        let (parts, passes) = merged(exchange, what, parts, &schema, block)?;
        Ok((Merge::new(parts, schema, out)?, passes))
    }

    /// Opens the parts, of which there are [`FAN_IN`] at most. About `block` bytes go out at once, and 8192 rows at most.
    ///
    /// # Errors
    /// A part cannot be read.
    pub(super) fn new(parts: Vec<Part>, schema: SchemaRef, block: usize) -> Result<Merge, Failure> {
        let (rows, bytes) = parts.iter().fold((0, 0), |(rows, bytes), part| (rows + part.rows, bytes + part.unpacked));
        let width = (bytes / rows.max(1)).max(1) as usize;
        let rows = (block / width).clamp(1, 8192);
        let mut merge =
            Merge { inputs: Vec::new(), tree: Vec::new(), batches: Vec::new(), places: Vec::new(), rows, schema };
        for part in parts {
            let keys = BinaryArray::from_iter_values(std::iter::empty::<&[u8]>());
            merge.inputs.push(Input { reader: Some(part.read()?), keys, batch: 0, row: 0, prefix: 0 });
            merge.load(merge.inputs.len() - 1)?;
        }
        merge.plant();
        Ok(merge)
    }

    /// The next rows, with their keys; nothing at the end.
    ///
    /// # Errors
    /// A part cannot be read.
    pub fn next_rows(&mut self) -> Result<Option<RecordBatch>, Failure> {
        while self.places.len() < self.rows {
            let Some(&winner) = self.tree.first().filter(|winner| self.inputs[**winner].reader.is_some()) else {
                break;
            };
            let input = &mut self.inputs[winner];
            self.places.push((input.batch, input.row));
            input.row += 1;
            if input.row < input.keys.len() {
                input.prefix = prefix(input.keys.value(input.row));
            } else {
                self.load(winner)?;
            }
            self.replay(winner);
        }
        if self.places.is_empty() {
            return Ok(None);
        }
        let columns = (0..self.schema.fields().len()).map(|column| {
            let parts: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            interleave(&parts, &self.places)
        });
        let columns: Result<Vec<ArrayRef>, _> = columns.collect();
        let rows = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(&self.schema), columns));
        self.places.clear();
        self.forget();
        Ok(Some(compact_batch(&fits(rows)?)))
    }

    /// Reads the next batch of an input.
    fn load(&mut self, place: usize) -> Result<(), Failure> {
        let input = &mut self.inputs[place];
        while let Some(reader) = &mut input.reader {
            match reader.next_rows()? {
                // Its file goes now.
                None => input.reader = None,
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => {
                    input.keys = batch.column(batch.num_columns() - 1).as_binary::<i32>().clone();
                    (input.batch, input.row) = (self.batches.len(), 0);
                    input.prefix = prefix(input.keys.value(0));
                    self.batches.push(batch);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Keeps only the batches that inputs stand in.
    fn forget(&mut self) {
        let all = std::mem::take(&mut self.batches);
        for input in self.inputs.iter_mut().filter(|input| input.reader.is_some()) {
            self.batches.push(all[input.batch].clone());
            input.batch = self.batches.len() - 1;
        }
    }

    /// Does input `a` come before input `b`?
    fn is_before(&self, a: usize, b: usize) -> bool {
        let (one, other) = (&self.inputs[a], &self.inputs[b]);
        let order = match (&one.reader, &other.reader) {
            (None, _) => return false,
            (_, None) => return true,
            _ => one.prefix.cmp(&other.prefix),
        };
        let order = order.then_with(|| one.keys.value(one.row).cmp(other.keys.value(other.row)));
        order.then(a.cmp(&b)) == Ordering::Less
    }

    /// Builds the tournament from nothing.
    fn plant(&mut self) {
        let inputs = self.inputs.len();
        self.tree = vec![usize::MAX; inputs];
        for input in 0..inputs {
            let (mut winner, mut node) = (input, (input + inputs) / 2);
            while node > 0 {
                let loser = self.tree[node];
                if loser == usize::MAX {
                    // Its opponent has not come yet.
                    break;
                }
                if self.is_before(loser, winner) {
                    self.tree[node] = std::mem::replace(&mut winner, loser);
                }
                node /= 2;
            }
            self.tree[node] = winner;
        }
    }

    /// The input at `place` has another row: it plays its way up again.
    fn replay(&mut self, place: usize) {
        let (mut winner, mut node) = (place, (place + self.inputs.len()) / 2);
        while node > 0 {
            if self.is_before(self.tree[node], winner) {
                std::mem::swap(&mut self.tree[node], &mut winner);
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }
}

/// The first eight bytes of a key as a number: where those of two keys differ, they compare as the keys do.
pub fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

/// Puts parts together until [`FAN_IN`] at most are left, in the same order; says in how many passes.
///
/// # Errors
/// A part cannot be read or written.
pub(super) fn merged(
    exchange: &Arc<Exchange>,
    what: &str,
    mut parts: Vec<Part>,
    schema: &SchemaRef,
    block: usize,
) -> Result<(Vec<Part>, u64), Failure> {
    let (mut passes, mut at) = (0, 0);
    while parts.len() > FAN_IN {
        let size = FAN_IN.min(parts.len() - FAN_IN + 1);
        if at == 0 || at + size > parts.len() {
            (passes, at) = (passes + 1, 0);
        }
        let rest = parts.split_off(at + size);
        let mut merge = Merge::new(parts.split_off(at), Arc::clone(schema), block)?;
        let mut writer = exchange.write(what, schema)?;
        while let Some(rows) = merge.next_rows()? {
            writer.add(&rows)?;
        }
        parts.push(writer.finish()?);
        parts.extend(rest);
        at += 1;
    }
    Ok((parts, passes))
}
