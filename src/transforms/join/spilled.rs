//! A join whose right side does not fit into memory. Both sides are divided by a hash of the key, and joined one pair of parts
//! after the other (the hash join known as GRACE: Kitsuregawa, Tanaka, Moto-oka, 1983). A pair whose right part is still too
//! large is divided again; one that most of all has rows of one key is joined a block of the right part at a time.
//!
//! Rows stay in the batches they came in: what comes of the pairs is sorted by batch and row, and given back batch by batch.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{
    Array, ArrayRef, BinaryArray, RecordBatch, UInt32Array, UInt64Array, builder::BinaryBuilder, cast::AsArray,
    types::UInt64Type,
};

use super::{
    How, Setup,
    given_back::GivenBack,
    right::{Build, Right, divide},
    runs::Runs,
    unmatched::{Gathered, Met},
};
use crate::{
    batch::{Batch, Rejects, SplitId},
    exchange::{LEVELS, PARTITIONS, Part, PartReader, Partitions},
    failure::{Exit, Failure},
    memory::Share,
    stage::{Backlog, Held, Made},
    transforms::memory::fits,
};

pub(super) use crate::exchange::PARTITIONS as PARTS;

/// Columns of a spilled left row besides its own.
const KNOWN: usize = 4;

/// Rows that are put out at once.
const OUT: usize = 8192;

/// What the workers of a stage have in common.
#[derive(Debug)]
pub(super) struct Divided(Mutex<Sides>);

#[derive(Debug)]
struct Sides {
    /// By the hash of the key.
    pairs: Vec<Pair>,
    account: Held,
}

/// Rows of both sides that can be partners.
#[derive(Debug, Default)]
struct Pair {
    /// As many parts as there were workers.
    left: Vec<Part>,
    right: Option<Part>,
    /// How often they were divided before.
    level: u32,
}

impl Divided {
    /// The parts of the right side, which had so many bytes in memory at most.
    pub(super) fn new(right: Vec<Option<Part>>, peak: usize) -> Self {
        let mut account = Held::default();
        account.note(peak);
        right.iter().flatten().for_each(|part| account.spilled(part));
        let pairs = right.into_iter().map(|right| Pair { left: Vec::new(), right, level: 0 }).collect();
        Divided(Mutex::new(Sides { pairs, account }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Sides) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One worker's half.
pub(super) struct Later {
    setup: Arc<Setup>,
    divided: Arc<Divided>,
    share: Share,
    /// Rows of the left side.
    parts: Option<Partitions>,
    account: Held,
    out: Option<GivenBack>,
    /// Right rows without a partner.
    unmatched: Option<Gathered>,
}

/// What comes of the pairs.
struct Found {
    joined: Runs,
    /// Where each batch of the left side stands among all.
    ranks: Vec<u32>,
    /// Right rows without a partner, where they are emitted.
    unmatched: Option<Gathered>,
}

impl Found {
    /// Takes rows of a left row each; of these the places are known.
    fn add(&mut self, columns: Vec<ArrayRef>, places: &[u64]) -> Result<(), Failure> {
        let Found { joined, ranks, .. } = self;
        let ranked = |place: &u64| u64::from(ranks[(place >> 32) as usize]) << 32 | place & u64::from(u32::MAX);
        joined.add(columns, places.iter().map(ranked))
    }
}

impl Later {
    pub(super) fn new(setup: Arc<Setup>, divided: Arc<Divided>) -> Self {
        let share = setup.budget.share();
        Later { setup, divided, share, parts: None, account: Held::default(), out: None, unmatched: None }
    }

    pub(super) fn held(&self) -> Held {
        self.account
    }

    /// About how many bytes of rows wait to be written.
    fn memory(&self) -> usize {
        PARTITIONS * self.share.block()
    }

    fn partitions(&self, schema: arrow_schema::SchemaRef, level: u32) -> Partitions {
        Partitions::new(self.share.exchange(), "join", schema, level, self.memory())
    }

    fn runs(&self, schema: &arrow_schema::SchemaRef) -> Runs {
        Runs::new(self.share.exchange(), Arc::clone(schema), [self.share.block(), self.memory()])
    }

    /// The next right rows without a partner, once all batches were given back.
    pub(super) fn finish(&mut self) -> Result<Option<Made>, Failure> {
        self.out = None;
        self.unmatched.as_mut().map_or(Ok(None), |unmatched| unmatched.next(&self.setup, &mut self.account))
    }

    /// Joins all pairs; `ranks` says for every batch where it stands among all.
    fn join(&mut self, ranks: Vec<u32>) -> Result<Found, Failure> {
        let rows = &self.setup.rows;
        let unmatched = self.setup.how.gathers().then(|| Gathered::new(self.runs(&rows.unmatched)));
        let mut found = Found { joined: self.runs(&rows.joined), ranks, unmatched };
        let mut waiting = self.divided.with(|sides| {
            self.account = sides.account;
            std::mem::take(&mut sides.pairs)
        });
        while let Some(pair) = waiting.pop() {
            self.account.passes = self.account.passes.max(u64::from(pair.level) + 1);
            self.join_pair(pair, &mut found, &mut waiting)?;
            self.share.fits(0);
        }
        Ok(found)
    }

    fn join_pair(&mut self, pair: Pair, found: &mut Found, waiting: &mut Vec<Pair>) -> Result<(), Failure> {
        let Pair { left, right, level } = pair;
        let setup = Arc::clone(&self.setup);
        if left.is_empty() {
            let (Some(unmatched), Some(right)) = (&mut found.unmatched, right) else { return Ok(()) };
            let mut reader = right.read()?;
            while let Some(rows) = reader.next_rows()? {
                unmatched.add_all(&setup, &rows)?;
            }
            return Ok(());
        }
        let mut blocks = Blocks::new(right)?;
        let mut build = blocks.next(&setup, &mut self.share, &mut self.account)?;
        if blocks.more() && level + 1 < LEVELS && !build.is_mostly_one_key() {
            return self.divide(left, build, blocks, level + 1, waiting);
        }
        let mut matched = Matched::default();
        loop {
            let (right, last) = (build.finish(&setup, None)?, !blocks.more());
            matched.begin();
            for part in &left {
                let mut rows = part.read_again()?;
                while let Some(rows) = rows.next_rows()? {
                    probe(&setup, &rows, &right, &mut matched, last, found)?;
                }
            }
            if let Some(unmatched) = &mut found.unmatched {
                unmatched.add_others(&setup, &right, &matched.met)?;
            }
            drop(right);
            if last {
                return Ok(());
            }
            build = blocks.next(&setup, &mut self.share, &mut self.account)?;
        }
    }

    /// Divides both sides of a pair again, of which the first block is in memory.
    fn divide(
        &mut self,
        left: Vec<Part>,
        build: Build,
        mut blocks: Blocks,
        level: u32,
        waiting: &mut Vec<Pair>,
    ) -> Result<(), Failure> {
        let setup = Arc::clone(&self.setup);
        let mut parts = self.partitions(Arc::clone(&setup.rows.right), level);
        build.spill(&setup, &mut parts)?;
        self.share.fits(0);
        while let Some(rows) = blocks.next_rows()? {
            let (keys, columns) = keys_and_columns(&rows);
            divide(&setup, &mut parts, (0..keys.len()).map(|row| keys.value(row)), columns)?;
        }
        let right = parts.finish_all()?;
        let mut parts = self.partitions(Arc::clone(&setup.rows.left), level);
        for part in left {
            let mut reader = part.read()?;
            while let Some(rows) = reader.next_rows()? {
                let (keys, _) = setup.encoded(rows.columns())?;
                let hashes: Vec<u64> = keys.iter().map(|key| setup.hash.of(key.data())).collect();
                parts.add(&rows, &hashes)?;
            }
        }
        for (left, right) in parts.finish_all()?.into_iter().zip(right) {
            left.iter().chain(&right).for_each(|part| self.account.spilled(part));
            waiting.push(Pair { left: left.into_iter().collect(), right, level });
        }
        Ok(())
    }
}

impl Backlog for Later {
    fn put(&mut self, number: u32, batch: Batch) -> Result<(), Failure> {
        let setup = Arc::clone(&self.setup);
        let (keys, valid) = setup.encoded(batch.records.columns())?;
        // A row that can neither have a partner nor go on without one is of no use.
        let all = setup.how.keeps_lonely();
        let is_wanted = |row: &u32| all || valid.as_ref().is_none_or(|valid| valid.is_valid(*row as usize));
        let rows: Vec<u32> = (0..batch.rows() as u32).filter(is_wanted).collect();
        let hashes: Vec<u64> = rows.iter().map(|row| setup.hash.of(keys.row(*row as usize).data())).collect();
        let batch = if rows.len() == batch.rows() { batch } else { batch.pick(rows.clone()) };
        let columns = batch.records.columns().iter().cloned().chain(place_columns(&batch, number, &rows));
        let records = fits(RecordBatch::try_new(Arc::clone(&setup.rows.left), columns.collect()))?;
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let parts = self.partitions(Arc::clone(&setup.rows.left), 0);
                self.parts.insert(parts)
            }
        };
        parts.add(&records, &hashes)
    }

    fn end(&mut self) -> Result<(), Failure> {
        let parts = self.parts.take().map_or_else(|| Ok(Vec::new()), Partitions::finish_all)?;
        self.divided.with(|sides| {
            for (pair, part) in sides.pairs.iter_mut().zip(parts) {
                part.iter().for_each(|part| sides.account.spilled(part));
                pair.left.extend(part);
            }
        });
        Ok(())
    }

    fn order(&mut self, numbers: &[u32]) -> Result<(), Failure> {
        let mut ranks = vec![0; numbers.iter().max().map_or(0, |most| *most as usize + 1)];
        (0..).zip(numbers).for_each(|(rank, number)| ranks[*number as usize] = rank);
        let Found { joined, unmatched, .. } = self.join(ranks)?;
        self.unmatched = unmatched;
        if let Some(unmatched) = &mut self.unmatched {
            unmatched.end(&self.account)?;
        }
        let (merge, passes) = joined.merged(&mut self.account)?;
        self.account.passes += passes;
        self.out = Some(GivenBack::new(Arc::clone(&self.setup), merge));
        Ok(())
    }

    fn next(&mut self, split: SplitId, seq: u64, rows: usize, rejects: &mut Rejects) -> Result<Batch, Failure> {
        match &mut self.out {
            Some(out) => out.next(split, seq, rows, rejects),
            None => Err(Failure::new(Exit::Bug, "no order was given")),
        }
    }
}

/// Of every row where it was read and its text, of which batch it is and which of its rows: see [`Layouts`](super::Layouts).
fn place_columns(batch: &Batch, number: u32, rows: &[u32]) -> [ArrayRef; KNOWN] {
    let positions = || (0..batch.rows()).map(|row| batch.origin.position(row));
    let mut texts = BinaryBuilder::new();
    (0..batch.rows()).for_each(|row| texts.append_option(batch.origin.raw(row)));
    [
        Arc::new(UInt64Array::from_iter_values(positions().map(|position| position.record))),
        Arc::new(UInt64Array::from_iter_values(positions().map(|position| position.line))),
        Arc::new(texts.finish()),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| u64::from(number) << 32 | u64::from(*row)))),
    ]
}

/// The keys of spilled rows of the right side, and their columns.
fn keys_and_columns(rows: &RecordBatch) -> (&BinaryArray, Vec<ArrayRef>) {
    let columns = rows.num_columns() - 1;
    (rows.column(columns).as_binary::<i32>(), rows.columns()[..columns].to_vec())
}

/// A right part, a block at a time.
struct Blocks {
    reader: Option<PartReader>,
    next: Option<RecordBatch>,
}

impl Blocks {
    fn new(part: Option<Part>) -> Result<Self, Failure> {
        let mut blocks = Blocks { reader: part.map(Part::read).transpose()?, next: None };
        blocks.next_rows()?;
        Ok(blocks)
    }

    /// Is there another one?
    fn more(&self) -> bool {
        self.next.is_some()
    }

    fn next_rows(&mut self) -> Result<Option<RecordBatch>, Failure> {
        let next = self.reader.as_mut().map(PartReader::next_rows).transpose()?.flatten();
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// As many rows as fit, and some in any case.
    fn next(&mut self, setup: &Setup, share: &mut Share, account: &mut Held) -> Result<Build, Failure> {
        let mut build = Build::default();
        while let Some(rows) = self.next_rows()? {
            let (keys, columns) = keys_and_columns(&rows);
            build.add(setup, (0..keys.len()).map(|row| keys.value(row)), columns)?;
            account.note(build.size());
            if !share.fits(build.size()) {
                break;
            }
        }
        Ok(build)
    }
}

/// Which left rows of a pair have had a partner in an earlier block, and which right rows of this block have one.
#[derive(Default)]
struct Matched {
    rows: Vec<bool>,
    at: usize,
    met: Met,
}

impl Matched {
    /// A block begins: the first row is next.
    fn begin(&mut self) {
        (self.at, self.met) = (0, Met::default());
    }

    /// Had the next row a partner before? From now on it has if it is `found`.
    fn next(&mut self, found: bool) -> bool {
        if self.at == self.rows.len() {
            self.rows.push(false);
        }
        let before = std::mem::replace(&mut self.rows[self.at], found);
        self.rows[self.at] |= before;
        self.at += 1;
        before
    }
}

/// Finds the partners of left rows in a block of the right side; in the last block rows that have none are known.
fn probe(
    setup: &Setup,
    left: &RecordBatch,
    right: &Right,
    matched: &mut Matched,
    last: bool,
    found: &mut Found,
) -> Result<(), Failure> {
    let (keys, valid) = setup.encoded(left.columns())?;
    let mut out = Pairs { left, right, rows: Vec::new(), partners: Vec::new() };
    for row in 0..left.num_rows() {
        let is_valid = valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        let key = is_valid.then(|| right.keys.find(keys.row(row).data())).flatten();
        let before = matched.next(key.is_some());
        if setup.how.gathers() {
            matched.met.note(right, &key);
        }
        let is_alone = last && !before && key.is_none();
        match (setup.how, key) {
            (How::Inner | How::Left | How::Right | How::Full, Some(key)) => {
                for partner in right.rows_of(key) {
                    out.push(row, Some(*partner), found)?;
                }
            }
            (How::Left | How::Full | How::Anti, None) if is_alone => out.push(row, None, found)?,
            (How::Semi, Some(_)) if !before => out.push(row, None, found)?,
            _ => {}
        }
    }
    out.flush(found)
}

/// Rows to put out: a left row, and its partner.
struct Pairs<'a> {
    left: &'a RecordBatch,
    right: &'a Right,
    rows: Vec<u32>,
    partners: Vec<Option<u32>>,
}

impl Pairs<'_> {
    fn push(&mut self, row: usize, partner: Option<u32>, found: &mut Found) -> Result<(), Failure> {
        self.rows.push(row as u32);
        self.partners.push(partner);
        if self.rows.len() == OUT { self.flush(found) } else { Ok(()) }
    }

    fn flush(&mut self, found: &mut Found) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let (rows, partners) = (std::mem::take(&mut self.rows), UInt32Array::from(std::mem::take(&mut self.partners)));
        // The text stands at the first of several rows that are made of one.
        let first = |i: usize| (i == 0 || rows[i] != rows[i - 1]).then_some(rows[i]);
        let texts = UInt32Array::from_iter((0..rows.len()).map(first));
        let rows = UInt32Array::from(rows);
        let [.., record, line, text, place] = self.left.columns() else {
            return Err(Failure::new(Exit::Bug, "spilled rows have lost columns"));
        };
        let left = &self.left.columns()[..self.left.num_columns() - KNOWN];
        let take = |(column, rows): (&ArrayRef, &UInt32Array)| fits(arrow_select::take::take(column, rows, None));
        let left = left.iter().zip(std::iter::repeat(&rows));
        let right = self.right.kept().iter().zip(std::iter::repeat(&partners));
        let known = [(record, &rows), (line, &rows), (text, &texts)];
        let columns = left.chain(right).chain(known).map(take).collect::<Result<Vec<_>, _>>()?;
        let places = take((place, &rows))?;
        found.add(columns, places.as_primitive::<UInt64Type>().values())
    }
}
