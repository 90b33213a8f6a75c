//! Takes batches apart into streams; at the end, puts the windows of all of them out.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, cast::AsArray, types::Float64Type};
use arrow_cast::cast;
use arrow_ord::partition::partition;
use arrow_schema::DataType;
use arrow_select::{concat::concat, interleave::interleave};

use super::{
    Setup,
    profile::{Profiles, Row, arrays},
    stream::{Points, Scratch, Stream},
};
use crate::{
    batch::{Batch, Rejects, SplitId},
    failure::{Exit, Failure},
    memory::Share,
    stage::{Made, TransformWorker},
    transforms::{
        keys::Keys,
        memory::{bytes, fits, loose},
    },
    values::compact,
};

/// Rows of a batch that is emitted at the end.
const ROWS: usize = 4096;

/// More windows of one stream than this are not emitted: its times are wrong.
const MOST_WINDOWS: i128 = 10_000_000;

/// What the workers of a stage have in common: the streams of those that have ended. The last one to end emits the
/// streams of all, so that their order follows from the input and not from who had which.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Workers that have not ended.
    pub(super) left: usize,
    parts: Vec<Part>,
}

/// The streams of one worker.
#[derive(Debug)]
struct Part {
    /// Of every column that names streams, the values of these, one after the other.
    names: Vec<ArrayRef>,
    streams: Vec<(First, Stream)>,
    /// What they take is held until they are emitted.
    share: Share,
}

/// Where in the input a stream was first met: split, batch, record.
type First = (SplitId, u64, u64);

/// One thread's streams.
pub(super) struct Worker {
    setup: Arc<Setup>,
    ended: Arc<Mutex<Ended>>,
    share: Share,
    keys: Keys,
    /// For every column that names streams, parts that hold the value of one stream after the other.
    names: Vec<Vec<ArrayRef>>,
    streams: Vec<(First, Stream)>,
    /// Bytes of `names` and of `streams`.
    size: usize,
    times: Vec<i64>,
    scratch: Scratch,
    out: Option<Output>,
}

impl Worker {
    pub(super) fn new(setup: Arc<Setup>, ended: Arc<Mutex<Ended>>) -> Self {
        ended.lock().unwrap_or_else(PoisonError::into_inner).left += 1;
        let (share, names) = (setup.budget.share(), vec![Vec::new(); setup.by.len()]);
        let (keys, streams, times, scratch) = (Keys::default(), Vec::new(), Vec::new(), Scratch::default());
        Worker { setup, ended, share, keys, names, streams, size: 0, times, scratch, out: None }
    }

    /// Where the points of one stream follow each other: from, up to before, and which stream.
    fn runs(&mut self, batch: &Batch) -> Result<Vec<(usize, usize, usize)>, Failure> {
        if self.setup.by.is_empty() {
            self.start(batch, 0, 0);
            return Ok(vec![(0, batch.rows(), 0)]);
        }
        let columns: Vec<ArrayRef> =
            self.setup.by.iter().map(|place| Arc::clone(batch.records.column(*place))).collect();
        let ranges = fits(partition(&columns))?.ranges();
        let firsts = UInt32Array::from_iter_values(ranges.iter().map(|range| range.start as u32));
        let firsts: Vec<ArrayRef> = columns.iter().map(|column| loose(column, &firsts)).collect::<Result<_, _>>()?;
        let known = self.keys.len() as u32;
        let ids = self.keys.number(&self.setup.encoder.rows(&firsts)?)?;
        let mut new = Vec::new();
        for (row, (id, range)) in (0_u32..).zip(ids.iter().zip(&ranges)) {
            if *id == known + new.len() as u32 {
                new.push(row);
                self.start(batch, range.start, *id as usize);
            }
        }
        if !new.is_empty() {
            let new = UInt32Array::from(new);
            for (parts, column) in self.names.iter_mut().zip(&firsts) {
                let part = loose(column, &new)?;
                self.size += bytes(&part);
                parts.push(part);
            }
        }
        Ok(ranges.into_iter().zip(ids).map(|(range, id)| (range.start, range.end, id as usize)).collect())
    }

    /// A stream begins at this row, unless it has before.
    fn start(&mut self, batch: &Batch, row: usize, id: usize) {
        if id == self.streams.len() {
            let first = (batch.origin.split, batch.origin.seq, batch.origin.position(row).record);
            let stream = Stream::new(self.times[row], &self.setup.terms);
            self.size += stream.size();
            self.streams.push((first, stream));
        }
    }

    fn add(&mut self, batch: &Batch) -> Result<(), Failure> {
        let runs = self.runs(batch)?;
        let values = fits(cast(batch.records.column(self.setup.value), &DataType::Float64))?;
        let values = values.as_primitive::<Float64Type>();
        let all = Points { times: &self.times, values: values.values(), valid: values.nulls().map(|valid| (valid, 0)) };
        for (from, to, id) in runs {
            let stream = &mut self.streams[id].1;
            let before = stream.size();
            stream.add(all.slice(from, to - from), &self.setup.terms, &mut self.scratch);
            self.size = (self.size + stream.size()).saturating_sub(before);
            if stream.span() > MOST_WINDOWS {
                return Err(self.too_many_windows(id));
            }
        }
        Ok(())
    }

    fn too_many_windows(&self, id: usize) -> Failure {
        let stream = &self.streams[id].1;
        let ends = stream.windows.first_key_value().zip(stream.windows.last_key_value());
        let (first, last) = ends.map_or((0, 0), |((_, first), (_, last))| (first.first, last.last));
        let message = format!(
            "the times of a stream, from {} to {}, lie in {} windows, more than {MOST_WINDOWS}: there are wrong times, or \
             the window is too short",
            self.setup.spelled(first),
            self.setup.spelled(last),
            stream.span()
        );
        Failure::new(Exit::Rejects, message)
    }

    /// Hands in the streams. The last worker gets those of all.
    fn hand_in(&mut self) -> Result<Option<Vec<Part>>, Failure> {
        let mut names = Vec::new();
        for parts in mem::take(&mut self.names).iter().filter(|parts| !parts.is_empty()) {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            names.push(fits(concat(&parts))?);
        }
        let share = mem::replace(&mut self.share, self.setup.budget.share());
        let part = Part { names, streams: mem::take(&mut self.streams), share };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.left -= 1;
        if !part.streams.is_empty() {
            ended.parts.push(part);
        }
        Ok((ended.left == 0).then(|| mem::take(&mut ended.parts)))
    }
}

impl TransformWorker for Worker {
    fn apply(&mut self, batch: Batch, rejects: &mut Rejects) -> Result<Batch, Failure> {
        let batch = self.setup.times.read(batch, &mut self.times, rejects);
        if batch.rows() > 0 {
            self.add(&batch)?;
            self.share.set(self.size + self.keys.size())?;
        }
        let records = RecordBatch::new_empty(self.setup.output.arrow());
        Ok(Batch::new(records, batch.origin.pick(&[])))
    }

    fn finish(&mut self) -> Result<Option<Made>, Failure> {
        if self.out.is_none() {
            let all = self.hand_in()?.unwrap_or_default();
            self.out = Some(Output::new(all));
        }
        let setup = Arc::clone(&self.setup);
        self.out.as_mut().map_or(Ok(None), |out| out.next(&setup))
    }
}

/// The windows of all streams, a batch at a time.
#[derive(Debug)]
struct Output {
    /// For every worker, the columns that name its streams.
    names: Vec<Vec<ArrayRef>>,
    /// The streams in the order of the input; where each has its name.
    streams: VecDeque<((usize, usize), Stream)>,
    /// The one that is being emitted.
    open: Option<((usize, usize), Profiles)>,
    _shares: Vec<Share>,
}

impl Output {
    fn new(parts: Vec<Part>) -> Self {
        let (mut names, mut streams, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for (worker, part) in parts.into_iter().enumerate() {
            names.push(part.names);
            shares.push(part.share);
            let of_worker = part.streams.into_iter().enumerate();
            streams.extend(of_worker.map(|(place, (first, stream))| (first, (worker, place), stream)));
        }
        streams.sort_by_key(|(first, ..)| *first);
        let streams = streams.into_iter().map(|(_, at, stream)| (at, stream)).collect();
        Output { names, streams, open: None, _shares: shares }
    }

    fn next(&mut self, setup: &Setup) -> Result<Option<Made>, Failure> {
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        while rows.len() < ROWS {
            let Some((at, row)) = self.row(setup) else { break };
            rows.push(row);
            places.push(at);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for column in 0..setup.by.len() {
            let values: Vec<&dyn Array> = self.names.iter().map(|names| names[column].as_ref()).collect();
            columns.push(compact(&fits(interleave(&values, &places))?));
        }
        columns.extend(arrays(&rows, &setup.times.output()));
        Ok(Some(fits(RecordBatch::try_new(setup.output.arrow(), columns))?.into()))
    }

    fn row(&mut self, setup: &Setup) -> Option<((usize, usize), Row)> {
        loop {
            if let Some((at, profiles)) = &mut self.open {
                match profiles.next(&setup.terms) {
                    Some(row) => return Some((*at, row)),
                    None => self.open = None,
                }
            }
            let (at, stream) = self.streams.pop_front()?;
            self.open = Some((at, Profiles::new(stream, &setup.terms)));
        }
    }
}
