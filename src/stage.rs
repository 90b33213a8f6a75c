//! The traits of a stage. Each is a pair: a shared half that is immutable and `Sync`, and a worker half
//! that one thread owns. The shared half makes one worker per thread; nothing else is shared, so a
//! client connection belongs to exactly one worker.
//!
//! What a stage is to the engine it says once, as its properties ([`SourceProperties`], [`TransformProperties`],
//! [`SinkProperties`]); `docs/contract.md` tells what each means and what a new kind has to do.
//!
//! Stages know nothing of threads, queues, retries between stages or stopping: the executor owns those.
//! It calls a worker from one thread only. After a worker returned an error or panicked, it is dropped
//! and not called again.

mod attempt;
mod backlog;
mod held;
mod properties;

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use arrow_array::RecordBatch;

pub use self::attempt::{Attempt, Inspection, Kept, OtherRun, Splits};
pub use self::backlog::Backlog;
pub use self::held::Held;
pub use self::properties::{Guarantee, Repeats, SinkProperties, SourceProperties, TransformProperties};
use crate::{
    batch::{Batch, Position, Reject, RejectCode, Rejects, SplitId},
    failure::{Exit, Failure},
    formats::{Decoder, blocks::Newline},
};

/// Where records come from.
pub trait Source: Send + Sync {
    /// Lists the splits, once per run, before the first is opened. Their order is the input's order.
    ///
    /// # Errors
    /// When the input cannot be listed, or there is none.
    fn splits(&self) -> Result<Vec<Split>, Failure>;

    /// Lists the splits again, to resume a run that was interrupted. Of those that it had, `stored` are wholly stored:
    /// their input may since have been moved or deleted, and is missing from the list then. `left` are still to be read.
    /// A source that grows while it is read gives back what is in `left`: what is new beyond that is for the next run.
    ///
    /// # Errors
    /// As [`Source::splits`].
    fn splits_again(&self, _stored: &[&Split], _left: &[&Split]) -> Result<Vec<Split>, Failure> {
        self.splits()
    }

    /// A worker for one thread.
    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure>;

    /// Where in its file a record is that was read at `position` of `split`. They differ where a split does not
    /// begin with its file; counting the lines before it is left until somebody asks.
    fn locate(&self, _split: &Split, position: Position) -> Position {
        position
    }

    /// What the engine must know of it.
    fn properties(&self) -> SourceProperties {
        SourceProperties::default()
    }

    /// What tells of a file whether it reads it, now or in the next run; `None` where it reads no files that others
    /// write.
    fn reads(&self) -> Option<Reads> {
        None
    }

    /// What makes rows again of records that this source refused, from their text as the reject file keeps it;
    /// `None` where they have no text of their own, as in a database.
    fn rereader(&self) -> Option<Rereader> {
        None
    }

    /// Runs the `done` action of a split that is wholly and durably stored. Called in split order, and
    /// never for a split of which anything is missing. Says what it did.
    fn done(&self, _split: &Split) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

/// Tells whether a source reads a file, or will once it is there.
pub type Reads = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// Makes rows of the text of single records.
pub struct Rereader {
    /// Decodes it.
    pub decoder: Box<dyn Decoder>,
    /// What ended the records where they were read.
    pub newline: Newline,
    /// Do names of fields stand at the head of a file? The decoder must be told them first.
    pub has_header: bool,
}

/// The unit of input that can be opened, read, finished and redone on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What people call it: a path, a row range.
    pub name: String,
    /// What it is, frozen when it was listed.
    pub detail: Detail,
}

/// What a split is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A file as it was when it was listed; a file that has changed since fails its split.
    File {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// When it was last modified.
        modified: Option<SystemTime>,
        /// The bytes in which the records of this split begin, where the file is more than one split.
        range: Option<Range<u64>>,
    },
    /// A stream that can be read once: standard input.
    Stream,
    /// Rows `start..end` of a generator, from 0.
    Rows {
        /// First row.
        start: u64,
        /// One past the last row.
        end: u64,
    },
    /// Rows of a table with whole-number keys from `start` to `end`, both included.
    Keys {
        /// Lowest key.
        start: i64,
        /// Highest key.
        end: i64,
    },
    /// All there is, in one go: the answer to a query.
    Whole,
    /// What a source holds between two marks of its own, such as keys: from the first mark on, up to before
    /// the second; where there is none, that end is open.
    Part {
        /// The first mark.
        from: Option<String>,
        /// The second mark.
        to: Option<String>,
    },
}

impl Split {
    /// Bytes to read, where they are known.
    pub fn size(&self) -> Option<u64> {
        match &self.detail {
            Detail::File { range: Some(Range { start, end }), .. } => Some(end - start),
            Detail::File { size, .. } => Some(*size),
            Detail::Stream | Detail::Rows { .. } | Detail::Keys { .. } | Detail::Part { .. } | Detail::Whole => None,
        }
    }

    /// Rows to read, where they are known.
    pub fn rows(&self) -> Option<u64> {
        match self.detail {
            Detail::Rows { start, end } => Some(end - start),
            Detail::Stream | Detail::File { .. } | Detail::Keys { .. } | Detail::Part { .. } | Detail::Whole => None,
        }
    }
}

/// One thread's half of a source. It may own a connection that all its splits are read through.
pub trait SourceWorker: Send {
    /// Opens a split. The reader is read to its end, or dropped early when the run stops.
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure>;
}

/// Reads one split from its start to its end.
pub trait SplitReader {
    /// The next batch, or `None` at the end. Batches of a split are numbered from 0 without gaps; a batch
    /// may have no rows. Records that cannot be read go into `rejects` and are not in the batch.
    ///
    /// # Errors
    /// The split has failed for good. What was read before stays valid: return it first.
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure>;

    /// The names of fields at the head of the file, once they were read, where it has such.
    fn header(&self) -> Option<Arc<[u8]>> {
        None
    }

    /// Bytes of the split read so far, as they lie on disk or wire; 0 where it has no size.
    fn bytes_read(&self) -> u64 {
        0
    }
}

/// Something that makes records of records.
pub trait Transform: Send + Sync {
    /// A worker for one thread.
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure>;

    /// What the engine must know of it.
    fn properties(&self) -> TransformProperties {
        TransformProperties::default()
    }

    /// Called before the first worker is made, where the run can be resumed should it be interrupted.
    ///
    /// # Errors
    /// What an earlier attempt has left cannot be used.
    fn begin(&self, _attempt: &Attempt) -> Result<(), Failure> {
        Ok(())
    }

    /// Where it reads a second input: what takes that input, all of it, before the first batch of the other
    /// reaches any worker.
    fn side(&self) -> Option<Box<dyn Side>> {
        None
    }
}

/// Takes the second input of a transform, in one thread, and leaves what it made of it in the shared half.
pub trait Side: Send {
    /// One more batch.
    ///
    /// # Errors
    /// The stage cannot go on: the input is larger than memory allows.
    fn add(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<(), Failure>;

    /// That was all; what was made of it must be ready for the workers when this returns.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

/// One thread's half of a transform.
pub trait TransformWorker: Send {
    /// Takes a batch and returns what it became, with the same split and sequence number. A batch whose
    /// rows were all dropped is returned empty: it still carries the order and the acknowledgement.
    /// Every row of the input is either in the result, in `rejects`, or dropped on purpose; the executor
    /// counts the last as filtered, or as gathered where [`TransformProperties::pipeline_breaker`] says so. One that makes several
    /// rows of one says how many it dropped, and so does one that gathers rows and drops others: [`Rejects::dropped`].
    ///
    /// # Errors
    /// The stage cannot go on at all.
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure>;

    /// What a gathering transform emits after its last input, a batch at a time; called until it answers
    /// `None`. Where it has a [`backlog`](Self::backlog), all batches were given back before. Not called where something is
    /// missing from the input: then there is no right answer.
    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        Ok(None)
    }

    /// Where nothing can go on before all input is in, though rows stay in the batches that they came in: what takes the
    /// batches in place of [`apply`](Self::apply) and gives them back. Asked before the first batch, after the second input.
    fn backlog(&mut self) -> Option<&mut dyn Backlog> {
        None
    }

    /// What it has held in memory and spilled, where it can spill; asked when it is given nothing more, after the last of
    /// what it puts out.
    fn held(&self) -> Held {
        Held::default()
    }
}

/// What a gathering transform emits at the end.
#[derive(Debug)]
pub struct Made {
    /// The rows.
    pub records: RecordBatch,
    /// Those of them that are rejects instead, ascending: the row, the reason in a word and in a sentence.
    pub refused: Vec<(u32, RejectCode, String)>,
}

impl From<RecordBatch> for Made {
    fn from(records: RecordBatch) -> Self {
        Made { records, refused: Vec::new() }
    }
}

/// Where records go.
pub trait Sink: Send + Sync {
    /// What it promises of its rows, and so what the engine does for it; and what it writes.
    fn properties(&self) -> SinkProperties;

    /// The places of the columns that its workers read, where these need not be all. In batches that were divided the lists
    /// of the others are not given as lists, which spares a copy: see [`Batch::for_reader_of`].
    fn columns(&self) -> Option<Vec<usize>> {
        None
    }

    /// A worker for one thread. In [`Mode::Rehearse`] it does all but write and touches no service.
    ///
    /// # Errors
    /// The output cannot be created or reached at all.
    fn worker(&self, mode: Mode) -> Result<Box<dyn SinkWorker>, Failure>;

    /// What the target has of a run, and of others of the job that are not over; called before [`Sink::begin`], and
    /// changes nothing. A sink that keeps nothing of runs has nothing to say.
    ///
    /// # Errors
    /// The target cannot be reached or read.
    fn inspect(&self, _attempt: &Attempt) -> Result<Inspection, Failure> {
        Ok(Inspection::default())
    }

    /// Paths that it may write, with something in place of what only rows tell: no source of the job may read these.
    fn may_write(&self) -> Vec<PathBuf> {
        self.properties().files
    }

    /// What the sources of the job read: where only rows tell what it writes, it must refuse these.
    fn avoid(&self, _reads: Vec<Reads>) {}

    /// Called before the first worker is made, where the run can be resumed should it be interrupted. A sink that
    /// promises to hold every row once guards itself from then on: it keeps, under the run's name, what it needs to
    /// know its rows again.
    ///
    /// # Errors
    /// What an earlier attempt has left cannot be used.
    fn begin(&self, _attempt: &Attempt) -> Result<(), Failure> {
        Ok(())
    }

    /// Is what this run has stored still there? Answers with what was lost, in a sentence without its end. Called with
    /// the attempt before [`Sink::begin`], where earlier attempts have stored something, and without it at the end of a
    /// run. The engine forgets then that splits are stored which lead to this sink: they are read again.
    ///
    /// # Errors
    /// It cannot be found out.
    fn check(&self, _attempt: Option<&Attempt>) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    /// The run is over, and everything is stored: what was kept under its name goes. It may be called again, after
    /// a kill.
    ///
    /// # Errors
    /// Some of it could not be removed.
    fn end(&self, _attempt: &Attempt) -> Result<(), Failure> {
        Ok(())
    }

    /// Everything is stored: does what the spec wants done after that. The run is finished only when it is done, so it may
    /// be called again, after a kill.
    ///
    /// # Errors
    /// It could not be done. The next attempt at the run does it again.
    fn after(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Reads back what was written, after all workers are closed without error; `None` where the spec
    /// does not ask for it.
    fn verify(&self) -> Result<Option<Verified>, Failure> {
        Ok(None)
    }
}

/// Does a run write, or only show what it would write?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Write.
    Write,
    /// `--dry-run`: everything but the write.
    Rehearse,
}

/// One thread's half of a sink.
pub trait SinkWorker: Send {
    /// Writes a batch. Every row is accounted for in the answer.
    ///
    /// # Errors
    /// The sink cannot go on at all; none of the batch's rows count as accepted.
    fn write(&mut self, batch: &Batch) -> Result<Written, Failure>;

    /// For [`Guarantee::ExactlyOnce`]: every row of the split that concerns this worker has been handed over. Makes
    /// them durable, together with what the sink keeps to know the split again. Rows that were accepted may be refused
    /// now only where `may_refuse`: where no other stage reads the sink.
    ///
    /// # Errors
    /// None of the split is stored. The worker is not called again.
    fn commit_split(&mut self, _split: SplitId, _may_refuse: bool) -> Result<Committed, Failure> {
        Ok(Committed::default())
    }

    /// For [`Guarantee::ExactlyOnce`]: part of the split is missing, or of one that must come before it. It will be
    /// read again, so none of it may be kept.
    ///
    /// # Errors
    /// The worker is not called again.
    fn discard_split(&mut self, _split: SplitId) -> Result<(), Failure> {
        Ok(())
    }

    /// Makes durable whatever [`Written::durable`] said was not yet. Called once, after the last batch. With
    /// [`Guarantee::AllOrNothing`] it is called only where nothing is missing from the run, and puts the output in
    /// its place; otherwise the worker is dropped, and its output must stay absent.
    ///
    /// # Errors
    /// Rows that were accepted and not yet durable are not stored.
    fn commit(&mut self) -> Result<(), Failure>;
}

/// A sink's answer for a split that has ended.
#[derive(Debug, Default)]
pub struct Committed {
    /// Is all durable now that was accepted so far? Output of rows that are not is held back.
    pub durable: bool,
    /// Rows of the split that were accepted first and are refused after all, with the reason.
    pub rejects: Vec<Reject>,
}

impl From<bool> for Committed {
    fn from(durable: bool) -> Committed {
        Committed { durable, rejects: Vec::new() }
    }
}

/// A sink's answer for one batch: `accepted + rejects + failed` is the number of its rows.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows that the destination took.
    pub accepted: u64,
    /// How many of these it has not stored by its own count, though it refused none: it does not say which.
    pub not_confirmed: u64,
    /// Rows that the destination can never take, with the reason.
    pub rejects: Vec<Reject>,
    /// Rows that should have been stored and were not, because a service failed.
    pub failed: u64,
    /// Why rows failed; present exactly where `failed` is not 0.
    pub failure: Option<Failure>,
    /// Bytes written.
    pub bytes: u64,
    /// Are the accepted rows safe now, or only after [`SinkWorker::commit`]?
    pub durable: bool,
    /// In a rehearsal: a few lines that show what would have been written.
    pub samples: Vec<String>,
    /// The accepted rows as the destination has them now, with what it added (a generated id), for a sink
    /// that other stages read. Keeps the batch's split and sequence number.
    pub output: Option<Batch>,
}

impl Written {
    /// How many samples a rehearsal shows of a batch, at most.
    pub const SAMPLES: usize = 3;
}

/// What reading back showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Records looked for.
    pub checked: u64,
    /// Records found with the value that was written.
    pub found: u64,
    /// Share found, lower end of its 95 % interval (Wilson).
    pub low: f64,
    /// Share found, upper end of its 95 % interval (Wilson).
    pub high: f64,
    /// The share that the spec requires.
    pub required: f64,
}

impl Verified {
    /// Why the run has failed, where fewer records can be there than the spec requires.
    pub fn failure(&self) -> Option<Failure> {
        let required = format!("`verify` requires {} %", (self.required * 1e8).round() / 1e6);
        (self.high < self.required).then(|| Failure::new(Exit::Io, format!("read back: {self}; {required}")))
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = if self.checked == 0 { 0.0 } else { self.found as f64 / self.checked as f64 };
        write!(
            f,
            "{} of {} found, {:.2} % (95 % interval {:.2} to {:.2} %)",
            self.found,
            self.checked,
            share * 100.0,
            self.low * 100.0,
            self.high * 100.0
        )
    }
}
