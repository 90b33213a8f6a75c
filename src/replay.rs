//! The source of a replay: it stands in the place of a source whose records were refused, or before a stage that
//! refused rows, and reads them again from the reject file.
//!
//! A split is what was refused of one file. Rejects keep the place that they had there.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_select::concat::concat_batches;

use crate::{
    batch::{Batch, Block, Column, Origin, Position, Raw, Reject, Rejects, Schema, SplitId},
    failure::{Exit, Failure},
    formats::{
        Chunk, Start,
        blocks::{LineEnd, Newline},
        ndjson::NdjsonDecoder,
    },
    rejects::{Entry, KeptRejects, NOT_REPLAYABLE, Record, Why},
    stage::{Detail, Rereader, Source, SourceWorker, Split, SplitReader},
    values::columns::{ColumnSpec, Invalid},
};

/// Records of a batch at most.
const ROWS: usize = 1024;

/// What one stage refused.
#[derive(Clone)]
pub(crate) struct Feed {
    kept: Arc<KeptRejects>,
    /// The stage, as the reject file names it.
    stage: String,
    how: How,
    schema: Schema,
}

/// How records become rows.
#[derive(Clone)]
pub(crate) enum How {
    /// The source decodes their text.
    Text(Arc<dyn Source>),
    /// They are rows of the stage's input, as JSON.
    Rows,
    /// Not at all.
    Never(Why),
}

impl Feed {
    /// `schema` are the columns that the source emits or the stage reads.
    pub(crate) fn new(kept: &Arc<KeptRejects>, stage: &str, how: How, schema: Schema) -> Feed {
        Feed { kept: Arc::clone(kept), stage: stage.to_owned(), how, schema }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    fn entries(&self, file: &str) -> &[Entry] {
        self.kept.stages.get(&self.stage).and_then(|files| files.get(file)).map_or(&[], Vec::as_slice)
    }

    /// What decodes records, if anything does.
    fn rereader(&self) -> Option<Rereader> {
        match &self.how {
            How::Text(source) => source.rereader(),
            How::Rows => {
                let spec = |column: &Column| ColumnSpec {
                    name: column.name.clone(),
                    column_type: column.column_type.clone(),
                    nullable: column.nullable,
                    separator: None,
                    invalid: Invalid::Reject,
                };
                let specs: Vec<ColumnSpec> = self.schema.columns().iter().map(spec).collect();
                // The record was not too long when it was read; its columns may be longer than it was.
                let decoder = Box::new(NdjsonDecoder::new(&specs, &self.schema, 1, usize::MAX));
                Some(Rereader { decoder, newline: Newline::Lf, has_header: false })
            }
            How::Never(_) => None,
        }
    }
}

impl Source for Feed {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        let files = self.kept.stages.get(&self.stage).into_iter().flat_map(|files| files.keys());
        Ok(files.map(|file| Split { name: file.clone(), detail: Detail::Whole }).collect())
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn locate(&self, split: &Split, position: Position) -> Position {
        let entry = self.entries(&split.name).get((position.record as usize).saturating_sub(1));
        entry.map_or(position, |entry| entry.position)
    }
}

impl SourceWorker for Feed {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        let (feed, entries) = (&*self, self.entries(&split.name));
        Ok(Box::new(Reader { feed, id, entries, next: 0, seq: 0, rereader: feed.rereader(), told: None }))
    }
}

struct Reader<'a> {
    feed: &'a Feed,
    id: SplitId,
    entries: &'a [Entry],
    next: usize,
    seq: u64,
    rereader: Option<Rereader>,
    /// The header that the decoder was told.
    told: Option<String>,
}

impl SplitReader for Reader<'_> {
    fn next_batch(&mut self, rejects: &mut Rejects) -> Result<Option<Batch>, Failure> {
        let first = self.next;
        if first == self.entries.len() {
            return Ok(None);
        }
        let mut taken = Taken::default();
        while self.next < self.entries.len().min(first + ROWS) && taken.raw.len() < u32::MAX as usize / 2 {
            let entry = &self.entries[self.next];
            self.next += 1;
            let record = self.feed.kept.record(entry, matches!(self.feed.how, How::Text(_)))?;
            let position = Position { record: self.next as u64, line: 0 };
            match self.decode(entry, &record, position, rejects)? {
                Ok(rows) => taken.rows(rows),
                Err(why) => {
                    rejects.add(Reject::unread(NOT_REPLAYABLE, why, self.id, position, record.raw.clone()));
                }
            }
            taken.end(&record.raw);
        }
        self.seq += 1;
        taken.batch(self.id, self.seq - 1, first as u64 + 1, &self.feed.schema).map(Some)
    }

    fn header(&self) -> Option<Arc<[u8]>> {
        self.told.as_ref().map(|told| told.as_bytes().into())
    }
}

impl Reader<'_> {
    /// The row of a record, none where it is refused once more; or why it cannot be tried.
    fn decode(
        &mut self,
        entry: &Entry,
        record: &Record,
        position: Position,
        rejects: &mut Rejects,
    ) -> Result<Result<RecordBatch, String>, Failure> {
        if let How::Never(why) = &self.feed.how {
            let own = entry.why.as_ref().filter(|own| **own != Why::NoRow);
            return Ok(Err(own.unwrap_or(why).sentence()));
        }
        if let Some(why) = &entry.why {
            return Ok(Err(why.sentence()));
        }
        let split = self.id;
        let rereader = match self.told_of(record.header.as_deref()) {
            Ok(rereader) => rereader,
            Err(why) => return Ok(Err(why)),
        };
        let line_end = rereader.newline.line_end().unwrap_or(match record.text.contains(&b'\n') {
            // A file whose records hold line feeds ends them with something else, unless quotes are around them.
            true if !rereader.decoder.cuts() => LineEnd::Cr,
            _ => LineEnd::Lf,
        });
        let utf8 = std::str::from_utf8(&record.text).is_ok();
        let chunk = Chunk { bytes: Buffer::from_vec(record.text.clone()), line_end, utf8, last: true };
        let start = Start { split, record: position.record, line: position.line };
        let mut own = Rejects::default();
        let decoded = rereader.decoder.decode(&chunk, start, &mut own)?;
        if decoded.records_read != 1 || decoded.bytes_read < chunk.bytes.len() {
            return Ok(Err("what is kept of it is not one record".to_owned()));
        }
        own.take().into_iter().for_each(|reject| rejects.add(reject));
        Ok(Ok(decoded.records))
    }

    /// The decoder, which knows the header of the record's file.
    fn told_of(&mut self, header: Option<&str>) -> Result<&mut Rereader, String> {
        let Some(rereader) = &self.rereader else { return Err(Why::NoRow.sentence()) };
        if rereader.has_header && (header.is_none() || self.told.as_deref() != header) {
            let Some(header) = header else { return Err("the header of its file was not kept".to_owned()) };
            self.rereader = self.feed.rereader();
            let told = self.rereader.as_mut().map(|rereader| rereader.decoder.header(header.as_bytes()));
            if let Some(Err(why)) = told {
                self.told = None;
                return Err(why);
            }
            self.told = Some(header.to_owned());
        }
        self.rereader.as_mut().ok_or_else(|| Why::NoRow.sentence())
    }
}

/// The rows of some records, and the text of all of them.
#[derive(Default)]
struct Taken {
    parts: Vec<RecordBatch>,
    /// For every row its record.
    picked: Vec<u32>,
    raw: Vec<u8>,
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl Taken {
    fn rows(&mut self, records: RecordBatch) {
        let record = self.starts.len() as u32;
        self.picked.extend(std::iter::repeat_n(record, records.num_rows()));
        self.parts.push(records);
    }

    /// That was all of a record, whose text is this.
    fn end(&mut self, raw: &[u8]) {
        self.starts.push(self.raw.len() as u32);
        self.raw.extend_from_slice(raw);
        self.ends.push(self.raw.len() as u32);
    }

    fn batch(self, split: SplitId, seq: u64, first_record: u64, schema: &Schema) -> Result<Batch, Failure> {
        let Taken { parts, picked, raw, starts, ends } = self;
        let raw = Raw { bytes: Buffer::from_vec(raw), starts: starts.into(), ends: ends.into() };
        let block = Block { first_record, raw: Some(raw), ..Block::default() };
        let bug = |error| Failure::new(Exit::Bug, format!("replayed rows do not fit together: {error}"));
        let records = concat_batches(&schema.arrow(), &parts).map_err(bug)?;
        Ok(Batch::new(records, Origin::picked(split, seq, block, picked)))
    }
}
