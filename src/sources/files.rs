//! The `files` source: files found by glob, one split each, or several of a large one; read in blocks;
//! optionally renamed, moved or deleted once all of it is stored.

mod done;
mod infer;
mod list;
mod overlap;
mod parquet;
mod ranges;
mod reader;
mod spec;
#[cfg(test)]
mod tests;

use std::{fs, path::Path, sync::Arc};

use self::{
    done::Done,
    infer::Inferred,
    list::{freeze, list_all, names_differ, shown},
    overlap::Inputs,
    parquet::{Footer, ParquetReader},
    ranges::Ranges,
    reader::FileReader,
    spec::{FilesSpec, STDIN, check, notes},
};
use crate::{
    batch::{Position, Schema, SplitId},
    failure::{Exit, Failure},
    formats::{
        Decoder, Format, Shape,
        csv::{self, CsvDecoder, CsvStyle},
        lines::LinesDecoder,
        ndjson::NdjsonDecoder,
        tsv::TsvDecoder,
    },
    jobspec::BatchSize,
    kind::{Compiled, Context, Kind, Workers},
    stage::{Detail, Reads, Rereader, Source, SourceProperties, SourceWorker, Split, SplitReader},
    values::columns::{self, ColumnSpec},
};

/// The `files` source.
pub(super) const KIND: Kind<dyn Source> = Kind::new::<FilesSpec>("files", compile);

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let spec = context.decode::<FilesSpec>()?;
    build(spec, context)
}

/// The source that `spec` describes.
fn build(mut spec: FilesSpec, context: &mut Context<'_>) -> Option<Compiled<dyn Source>> {
    let before = context.problems.iter().count();
    if spec.format == Format::Lines && spec.columns.is_none() {
        spec.columns = Some(vec![ColumnSpec { nullable: spec.null.is_some(), ..ColumnSpec::string("line") }]);
    }
    check(&spec, context);
    let mut notes = notes(&spec);
    let inferred = spec.columns.is_none();
    if inferred {
        let sound = context.problems.iter().count() == before;
        let Inferred { columns, note } = infer::infer(&spec, sound, context)?;
        spec.columns = Some(columns);
        notes.push(note);
    }
    let at = context.path.key("columns");
    let schema = columns::schema(spec.columns(), &at, context.problems);
    let schema = schema.filter(|_| context.problems.iter().count() == before)?;
    let (batch, max_record, memory) = (context.batch, context.max_record_bytes, context.memory);
    let shape = spec.shape(inferred);
    let setup = Arc::new(Setup { spec, schema: schema.clone(), batch, max_record, memory, inferred, shape });
    let stage = Box::new(Files { setup, ranges: Ranges::default() });
    Some(Compiled { stage, output: Some(schema), workers: Workers::Threads, notes })
}

/// What all workers share.
struct Setup {
    spec: FilesSpec,
    schema: Schema,
    batch: BatchSize,
    max_record: usize,
    memory: usize,
    /// Are the columns those that the files had, and not declared ones?
    inferred: bool,
    /// What is done about fields that are missing or not known.
    shape: Shape,
}

impl Setup {
    /// A decoder for one file of text.
    fn decoder(&self) -> Result<Box<dyn Decoder>, Failure> {
        let FilesSpec { null, format, .. } = &self.spec;
        let columns = self.spec.columns();
        let (null, schema, rows, max) = (null.as_deref(), &self.schema, self.batch.rows, self.max_record);
        Ok(match format {
            Format::Tsv => Box::new(TsvDecoder::new(columns, schema, null, rows, max).shaped(self.shape)),
            Format::Csv => {
                let separator = csv::separator(self.spec.separator.as_deref());
                let style = CsvStyle { separator, multiline: self.spec.multiline.unwrap_or(true), null };
                Box::new(CsvDecoder::new(columns, schema, style, rows, max).shaped(self.shape))
            }
            Format::Ndjson => Box::new(NdjsonDecoder::new(columns, schema, rows, max).shaped(self.shape)),
            Format::Lines => Box::new(LinesDecoder::new(&columns[0], schema, null, rows, max)),
            Format::Parquet => return Err(Failure::new(Exit::Bug, "parquet is not a format of text")),
        })
    }
}

struct Files {
    setup: Arc<Setup>,
    ranges: Ranges,
}

impl Source for Files {
    fn properties(&self) -> SourceProperties {
        SourceProperties { has_action: self.setup.spec.done.is_some(), ..SourceProperties::default() }
    }

    fn splits(&self) -> Result<Vec<Split>, Failure> {
        self.splits_again(&[], &[])
    }

    fn splits_again(&self, stored: &[&Split], _left: &[&Split]) -> Result<Vec<Split>, Failure> {
        let (streams, paths): (Vec<_>, Vec<_>) = self.setup.spec.path.0.iter().partition(|path| *path == STDIN);
        // What is stored may have another name by now.
        let files = list_all(paths, !stored.is_empty())?;
        if let Some(Done::Move(_)) = self.setup.spec.done {
            names_differ(&files)?;
        }
        let mut splits = Vec::new();
        splits.extend(streams.first().map(|name| Split { name: (*name).clone(), detail: Detail::Stream }));
        for path in files {
            self.must_be_file(&path)?;
            splits.extend(self.ranges.cut(&self.setup, freeze(&path)?)?);
        }
        Ok(splits)
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        Ok(Box::new(Worker { setup: Arc::clone(&self.setup), footer: Footer::default() }))
    }

    fn reads(&self) -> Option<Reads> {
        let named = self.setup.spec.path.0.iter().filter(|path| *path != STDIN && !path.is_empty());
        let inputs = Inputs::new(named.cloned().collect());
        Some(Arc::new(move |file| inputs.has(file)))
    }

    fn rereader(&self) -> Option<Rereader> {
        let (newline, has_header) = (self.setup.spec.newline, self.setup.spec.has_header());
        Some(Rereader { decoder: self.setup.decoder().ok()?, newline, has_header })
    }

    fn locate(&self, split: &Split, position: Position) -> Position {
        self.ranges.locate(&self.setup, split, position)
    }

    /// A file of several splits is done with once all of them are.
    fn done(&self, split: &Split) -> Result<Option<String>, Failure> {
        match (&self.setup.spec.done, &split.detail) {
            (Some(done), Detail::File { path, .. }) if self.ranges.was_last(split) => done.run(path).map(Some),
            _ => Ok(None),
        }
    }
}

impl Files {
    /// Only a regular file is done with once it is stored: what comes of a pipe or a device is not in it.
    fn must_be_file(&self, path: &Path) -> Result<(), Failure> {
        match &self.setup.spec.done {
            Some(_) if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) => {
                let message = format!("`{}` is a pipe or a device, and `done` is for regular files", shown(path));
                Err(Failure::new(Exit::Spec, message))
            }
            _ => Ok(()),
        }
    }
}

struct Worker {
    setup: Arc<Setup>,
    footer: Footer,
}

impl SourceWorker for Worker {
    fn open<'a>(&'a mut self, id: SplitId, split: &Split) -> Result<Box<dyn SplitReader + 'a>, Failure> {
        if self.setup.spec.format == Format::Parquet {
            return Ok(Box::new(ParquetReader::open(&self.setup, id, split, &mut self.footer)?));
        }
        Ok(Box::new(FileReader::open(&self.setup, id, split)?))
    }
}
