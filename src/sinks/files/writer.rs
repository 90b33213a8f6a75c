//! Writes rows to the files they belong to.

use std::{collections::HashMap, path::PathBuf};

use arrow_array::RecordBatch;

use super::{
    STDOUT,
    leftovers::Leftovers,
    output::{Finished, Packing, Suspended, Unfinished},
    parquet::{Pages, Parquet},
    published::Published,
    target::{Target, numbered},
};
use crate::{
    batch::{Batch, Reject, Rejects, SplitId},
    failure::{Exit, Failure},
    formats::Encoder,
    stage::{Mode, Reads, SinkWorker, Written},
    values::cell::Cell,
};

/// So many files are open at once; others are closed, and opened again when more comes for them.
const OPEN: usize = 64;

/// What the worker is told.
pub(super) struct Order {
    pub(super) form: Form,
    pub(super) target: Target,
    /// The day of the run.
    pub(super) date: String,
    pub(super) header: bool,
    pub(super) packing: Packing,
    /// The bytes of a file, before compression, that are not exceeded but by a single row.
    pub(super) max_bytes: Option<u64>,
    pub(super) mode: Mode,
    /// What the job reads.
    pub(super) inputs: Vec<Reads>,
    pub(super) leftovers: Leftovers,
    pub(super) published: Published,
}

/// How rows become bytes.
pub(super) enum Form {
    /// Each by itself.
    Text(Box<dyn Encoder>),
    /// Many together.
    Parquet(Box<Parquet>),
}

/// The one worker of the sink.
pub(super) struct Writer {
    pub(super) order: Order,
    /// The text of a batch; kept for its room.
    text: Vec<u8>,
    pub(super) files: Vec<Keyed>,
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
    pub(super) shown: bool,
}

/// All rows of one target, which may be several files one after the other.
pub(super) struct Keyed {
    path: String,
    pub(super) state: State,
    /// What is not in the file yet, where rows are written together.
    pub(super) pages: Option<Pages>,
    /// Number of the file being written.
    pub(super) part: u32,
    /// What is in it.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) used: u64,
}

pub(super) enum State {
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
        let (state, pages) = (State::Absent, None);
        self.files.push(Keyed { path: path.clone(), state, pages, part: 0, rows: 0, bytes: 0, used: 0 });
        self.known.insert(path, self.files.len() - 1);
        self.files.len() - 1
    }

    /// Opens a file, if need be in the place of the one that was left alone for longest.
    pub(super) fn make_open(&mut self, file: usize) -> Result<(), Failure> {
        self.touch(file);
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
                self.files[file].pages = self.pages()?;
                State::Open(unfinished)
            }
        };
        self.files[file].state = state;
        self.open.push(file);
        Ok(())
    }

    /// Notes that a file is in use.
    pub(super) fn touch(&mut self, file: usize) {
        self.clock += 1;
        self.files[file].used = self.clock;
    }

    /// Begins a file of a target, with its header.
    fn create(&mut self, file: usize) -> Result<(Unfinished, u64), Failure> {
        let Keyed { path, part, .. } = &self.files[file];
        let packing = self.order.packing;
        let mut unfinished = if path == STDOUT {
            Unfinished::stdout(packing)?
        } else {
            let path = if self.order.max_bytes.is_some() { numbered(path, *part) } else { path.clone() };
            let path = PathBuf::from(path);
            if self.order.inputs.iter().any(|reads| reads(&path)) {
                let message = format!("`{}` is an input of this job; write to another folder", path.display());
                return Err(Failure::new(Exit::CantCreate, message));
            }
            Unfinished::create(path, packing, &mut self.order.leftovers)?
        };
        let mut header = Vec::new();
        if let (true, Form::Text(encoder)) = (self.order.header, &mut self.order.form) {
            encoder.header(&mut header);
            unfinished.write(&header)?;
        }
        Ok((unfinished, header.len() as u64))
    }

    /// Ends a file that is begun, but for its name.
    pub(super) fn end(&mut self, file: usize) -> Result<(), Failure> {
        if let Some(pages) = self.files[file].pages.take() {
            let bytes = pages.finish()?;
            self.make_open(file)?;
            if let State::Open(unfinished) = &mut self.files[file].state {
                unfinished.write(&bytes)?;
            }
        }
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

    /// Makes text of a batch; what cannot be text.
    fn encode(&mut self, batch: &Batch) -> Vec<Reject> {
        self.text.clear();
        let mut rejects = Rejects::default();
        if let Form::Text(encoder) = &mut self.order.form {
            encoder.encode(batch, &mut self.text, &mut rejects);
        }
        rejects.take()
    }

    /// Writes rows that all belong to one target. A file that would grow too large is ended before the row that
    /// would make it so: so where files end does not depend on how rows came in batches.
    fn put(&mut self, file: usize, batch: &Batch, written: &mut Written) -> Result<(), Failure> {
        self.make_open(file)?;
        let rejects = self.encode(batch);
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
        let accepted = (batch.rows() - rejects.len()) as u64;
        keyed.rows += accepted;
        keyed.bytes += size;
        written.accepted += accepted;
        written.bytes += size;
        written.rejects.extend(rejects);
        Ok(())
    }

    /// The rows of each target, in the order in which the targets come up.
    pub(super) fn groups(&mut self, records: &RecordBatch, split: SplitId) -> Vec<(usize, Vec<u32>)> {
        let cells: Vec<Cell<'_>> = records.columns().iter().map(Cell::new).collect();
        let mut groups: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut group_of = HashMap::new();
        let (mut path, mut scratch) = (String::new(), Vec::new());
        for row in 0..records.num_rows() {
            path.clear();
            let Order { target, date, .. } = &self.order;
            target.fill(&cells, row, split.0, date, &mut scratch, &mut path);
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
        let rejects = self.encode(batch);
        let show = !self.shown && !self.text.is_empty();
        self.shown |= show;
        let accepted = (batch.rows() - rejects.len()) as u64;
        let samples = if show { samples(&self.text) } else { Vec::new() };
        Written { accepted, rejects, bytes: self.text.len() as u64, samples, ..Written::default() }
    }
}

impl SinkWorker for Writer {
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure> {
        let split = batch.origin.split;
        let rehearses = self.order.mode == Mode::Rehearse;
        let parquet = matches!(self.order.form, Form::Parquet(_));
        if self.split.is_none() || (self.order.target.by_split() && self.split != Some(split)) {
            let before = self.split.replace(split);
            self.shown = false;
            if let Some(before) = before {
                self.write_window(before)?;
            }
            if self.order.target.by_split() && !rehearses {
                self.end_all()?;
                self.begin(split)?;
            }
        }
        match (rehearses, parquet) {
            (true, true) => return self.rehearse_rows(batch),
            (true, false) => return Ok(self.rehearse(batch)),
            (false, true) => return self.gather(batch),
            (false, false) => {}
        }
        let mut written = Written::default();
        if !self.order.target.by_value() {
            self.put(0, batch, &mut written)?;
            return Ok(written);
        }
        for (file, rows) in self.groups(&batch.records, split) {
            if rows.len() == batch.rows() {
                self.put(file, batch, &mut written)?;
            } else {
                self.put(file, &batch.pick(rows), &mut written)?;
            }
        }
        Ok(written)
    }

    /// Gives the files their names. Where this is not called, the temporary files go with the worker.
    fn commit(&mut self) -> Result<(), Failure> {
        self.write_window(self.split.unwrap_or(SplitId(0)))?;
        self.end_all()?;
        self.finished.sort_by_key(|(target, part, _)| (*target, *part));
        self.order.published.note(self.finished.iter().map(|(.., finished)| finished))?;
        for (_, _, finished) in self.finished.drain(..) {
            finished.publish()?;
            fail::fail_point!("files-published");
        }
        Ok(())
    }
}

/// The first lines of a text.
fn samples(text: &[u8]) -> Vec<String> {
    const LINES: usize = 3;
    String::from_utf8_lossy(text).lines().take(LINES).map(str::to_owned).collect()
}
