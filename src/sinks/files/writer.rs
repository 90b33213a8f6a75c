//! Writes rows to the files they belong to.

use std::{collections::HashMap, path::PathBuf};

use super::{
    STDOUT,
    leftovers::Leftovers,
    output::{Finished, Packing, Suspended, Unfinished},
    target::{Target, numbered},
};
use crate::{
    batch::{Batch, Rejects, SplitId},
    failure::Failure,
    formats::{Encoder, cells::Cell},
    stage::{Mode, SinkWorker, Written},
};

/// So many files are open at once; others are closed, and opened again when more comes for them.
const OPEN: usize = 64;

/// What the worker is told.
pub(super) struct Order {
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) target: Target,
    /// The day of the run.
    pub(super) date: String,
    pub(super) header: bool,
    pub(super) packing: Packing,
    /// The bytes of a file, before compression, that are not exceeded but by a single row.
    pub(super) max_bytes: Option<u64>,
    pub(super) mode: Mode,
    pub(super) leftovers: Leftovers,
}

/// The one worker of the sink.
pub(super) struct Writer {
    order: Order,
    /// The text of a batch; kept for its room.
    text: Vec<u8>,
    files: Vec<Keyed>,
    /// Places in `files` by path.
    known: HashMap<String, usize>,
    /// Places in `files` of those that are open.
    open: Vec<usize>,
    /// Counts writes, to tell which file was left alone for longest.
    clock: u64,
    /// Files that lack only their names, in the order in which their targets first came up.
    finished: Vec<(usize, u32, Finished)>,
    /// Targets of earlier splits.
    earlier: usize,
    split: Option<SplitId>,
    /// In a rehearsal: has some been shown since the last file began?
    shown: bool,
}

/// All rows of one target, which may be several files one after the other.
struct Keyed {
    path: String,
    state: State,
    /// Number of the file being written.
    part: u32,
    /// What is in it.
    rows: u64,
    bytes: u64,
    used: u64,
}

enum State {
    Absent,
    Open(Unfinished),
    Suspended(Suspended),
}

impl Writer {
    /// A worker. A target that is one file whatever the rows exists even where none come, and that it cannot be
    /// created is known at once.
    pub(super) fn new(order: Order) -> Result<Self, Failure> {
        let mut writer = Writer {
            order,
            text: Vec::new(),
            files: Vec::new(),
            known: HashMap::new(),
            open: Vec::new(),
            clock: 0,
            finished: Vec::new(),
            earlier: 0,
            split: None,
            shown: false,
        };
        if writer.order.mode == Mode::Write && !writer.order.target.by_split() {
            writer.begin(SplitId(0))?;
        }
        Ok(writer)
    }

    /// Begins the one file of a split, or of all; where values decide, rows do that.
    fn begin(&mut self, split: SplitId) -> Result<(), Failure> {
        if self.order.target.by_value() {
            return Ok(());
        }
        let mut path = String::new();
        self.order.target.fill(&[], 0, split.0, &self.order.date, &mut Vec::new(), &mut path);
        let file = self.place(path);
        self.make_open(file)
    }

    /// The place of a target in `files`.
    fn place(&mut self, path: String) -> usize {
        if let Some(file) = self.known.get(&path) {
            return *file;
        }
        self.files.push(Keyed { path: path.clone(), state: State::Absent, part: 0, rows: 0, bytes: 0, used: 0 });
        self.known.insert(path, self.files.len() - 1);
        self.files.len() - 1
    }

    /// Opens a file, if need be in the place of the one that was left alone for longest.
    fn make_open(&mut self, file: usize) -> Result<(), Failure> {
        self.clock += 1;
        self.files[file].used = self.clock;
        if let State::Open(_) = self.files[file].state {
            return Ok(());
        }
        if self.open.len() >= OPEN {
            let oldest = (0..self.open.len()).min_by_key(|i| self.files[self.open[*i]].used).unwrap_or(0);
            let oldest = &mut self.files[self.open.swap_remove(oldest)];
            oldest.state = match std::mem::replace(&mut oldest.state, State::Absent) {
                State::Open(unfinished) => State::Suspended(unfinished.suspend()?),
                other => other,
            };
        }
        let state = match std::mem::replace(&mut self.files[file].state, State::Absent) {
            State::Suspended(suspended) => State::Open(suspended.resume(self.order.packing)?),
            _ => {
                let (unfinished, bytes) = self.create(file)?;
                (self.files[file].rows, self.files[file].bytes) = (0, bytes);
                State::Open(unfinished)
            }
        };
        self.files[file].state = state;
        self.open.push(file);
        Ok(())
    }

    /// Begins a file of a target, with its header.
    fn create(&mut self, file: usize) -> Result<(Unfinished, u64), Failure> {
        let Keyed { path, part, .. } = &self.files[file];
        let packing = self.order.packing;
        let mut unfinished = if path == STDOUT {
            Unfinished::stdout(packing)?
        } else {
            let path = if self.order.max_bytes.is_some() { numbered(path, *part) } else { path.clone() };
            Unfinished::create(PathBuf::from(path), packing, &mut self.order.leftovers)?
        };
        let mut header = Vec::new();
        if self.order.header {
            self.order.encoder.header(&mut header);
            unfinished.write(&header)?;
        }
        Ok((unfinished, header.len() as u64))
    }

    /// Ends a file that is begun, but for its name.
    fn end(&mut self, file: usize) -> Result<(), Failure> {
        self.open.retain(|open| *open != file);
        let keyed = &mut self.files[file];
        let finished = match std::mem::replace(&mut keyed.state, State::Absent) {
            State::Absent => return Ok(()),
            State::Open(unfinished) => unfinished.finish()?,
            State::Suspended(suspended) => suspended.finish()?,
        };
        self.finished.push((self.earlier + file, keyed.part, finished));
        Ok(())
    }

    fn end_all(&mut self) -> Result<(), Failure> {
        (0..self.files.len()).try_for_each(|file| self.end(file))?;
        self.earlier += self.files.len();
        self.files.clear();
        self.known.clear();
        Ok(())
    }

    /// Writes rows that all belong to one target. A file that would grow too large is ended before the row that
    /// would make it so: so where files end does not depend on how rows came in batches.
    fn put(&mut self, file: usize, batch: &Batch, written: &mut Written) -> Result<(), Failure> {
        self.make_open(file)?;
        self.text.clear();
        let mut rejects = Rejects::default();
        self.order.encoder.encode(batch, &mut self.text, &mut rejects);
        let size = self.text.len() as u64;
        let Keyed { rows, bytes, .. } = self.files[file];
        if size > 0 && self.order.max_bytes.is_some_and(|max| bytes + size > max) {
            if batch.rows() > 1 {
                let half = batch.rows() / 2;
                self.put(file, &batch.slice(0, half), written)?;
                return self.put(file, &batch.slice(half, batch.rows() - half), written);
            }
            if rows > 0 {
                self.end(file)?;
                self.files[file].part += 1;
                self.make_open(file)?;
            }
        }
        let keyed = &mut self.files[file];
        if let State::Open(unfinished) = &mut keyed.state {
            unfinished.write(&self.text)?;
        }
        let rejects = rejects.take();
        let accepted = (batch.rows() - rejects.len()) as u64;
        keyed.rows += accepted;
        keyed.bytes += size;
        written.accepted += accepted;
        written.bytes += size;
        written.rejects.extend(rejects);
        Ok(())
    }

    /// The rows of each target, in the order in which the targets come up.
    fn groups(&mut self, batch: &Batch) -> Vec<(usize, Vec<u32>)> {
        let cells: Vec<Cell<'_>> = batch.records.columns().iter().map(Cell::new).collect();
        let mut groups: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut group_of = HashMap::new();
        let (mut path, mut scratch) = (String::new(), Vec::new());
        for row in 0..batch.rows() {
            path.clear();
            let Order { target, date, .. } = &self.order;
            target.fill(&cells, row, batch.origin.split.0, date, &mut scratch, &mut path);
            let file = match self.known.get(&path) {
                Some(file) => *file,
                None => self.place(path.clone()),
            };
            let group = *group_of.entry(file).or_insert_with(|| {
                groups.push((file, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(row as u32);
        }
        groups
    }

    /// Encodes, and shows the first lines of each file where one target is one file.
    fn rehearse(&mut self, batch: &Batch) -> Written {
        self.text.clear();
        let mut rejects = Rejects::default();
        self.order.encoder.encode(batch, &mut self.text, &mut rejects);
        let show = !self.shown && !self.text.is_empty();
        self.shown |= show;
        let rejects = rejects.take();
        let accepted = (batch.rows() - rejects.len()) as u64;
        let samples = if show { samples(&self.text) } else { Vec::new() };
        Written { accepted, rejects, bytes: self.text.len() as u64, samples, ..Written::default() }
    }
}

impl SinkWorker for Writer {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let split = batch.origin.split;
        let rehearses = self.order.mode == Mode::Rehearse;
        if self.split.is_none() || (self.order.target.by_split() && self.split != Some(split)) {
            self.split = Some(split);
            self.shown = false;
            if self.order.target.by_split() && !rehearses {
                self.end_all()?;
                self.begin(split)?;
            }
        }
        if rehearses {
            return Ok(self.rehearse(batch));
        }
        let mut written = Written::default();
        if !self.order.target.by_value() {
            self.put(0, batch, &mut written)?;
            return Ok(written);
        }
        for (file, rows) in self.groups(batch) {
            if rows.len() == batch.rows() {
                self.put(file, batch, &mut written)?;
            } else {
                self.put(file, &batch.pick(rows), &mut written)?;
            }
        }
        Ok(written)
    }

    /// Nothing gets its name where the input was not whole: the temporary files go with the worker. What went to
    /// standard output is there in any case.
    fn commit(&mut self, whole: bool) -> Result<bool, Failure> {
        let whole = whole || self.order.target.is(STDOUT);
        if whole {
            self.end_all()?;
            self.finished.sort_by_key(|(target, part, _)| (*target, *part));
            for (_, _, finished) in self.finished.drain(..) {
                finished.publish()?;
                fail::fail_point!("files-published");
            }
        }
        Ok(whole)
    }
}

/// The first lines of a text.
fn samples(text: &[u8]) -> Vec<String> {
    const LINES: usize = 3;
    String::from_utf8_lossy(text).lines().take(LINES).map(str::to_owned).collect()
}
