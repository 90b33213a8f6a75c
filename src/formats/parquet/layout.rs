//! The columns of a file, which of them are wanted, and how they become columns of ours.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ::parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
            RowSelection, RowSelector,
        },
    },
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        reader::ChunkReader,
    },
};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, DataType, FieldRef, SchemaRef};
use arrow_select::take::take_record_batch;

use super::{
    amend::with_bytes,
    convert::Step,
    size::{compact, row_bytes},
    types::{Note, hint, inferred, named, note},
    words,
};
use crate::{
    formats::{Extra, Missing, Shape},
    jobspec,
    values::{
        ColumnType, RejectCode, Schema,
        columns::{ColumnSpec, Invalid},
        fields::shown,
        json,
    },
};

/// What a file's footer says of its columns.
pub struct Layout {
    metadata: Arc<ParquetMetaData>,
    schema: SchemaRef,
    columns: Vec<Found>,
}

/// A column of a file.
struct Found {
    /// Its place among the top-level fields.
    root: usize,
    field: FieldRef,
    note: Note,
}

impl Layout {
    /// Reads the columns off a footer.
    ///
    /// # Errors
    /// It makes no sense; the sentence says why.
    pub fn new(metadata: Arc<ParquetMetaData>) -> Result<Self, String> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let plain = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options).map_err(|error| words(&error))?;
        let schema = Arc::clone(plain.schema());
        let roots = metadata.file_metadata().schema_descr().root_schema().get_fields().to_vec();
        let places: HashMap<&str, usize> = roots.iter().enumerate().map(|(i, root)| (root.name(), i)).collect();
        let mut columns: Vec<Found> = Vec::new();
        let mut met = HashSet::new();
        for field in schema.fields() {
            if !met.insert(field.name()) {
                return Err(format!("it has two columns of the name `{}`", field.name()));
            }
            let Some(root) = places.get(field.name().as_str()).copied() else { continue };
            columns.push(Found { root, field: Arc::clone(field), note: note(&roots[root]) });
        }
        Ok(Layout { metadata, schema, columns })
    }

    /// The columns as a spec would declare them.
    pub fn columns(&self) -> Vec<ColumnSpec> {
        let column = |found: &Found| ColumnSpec {
            column_type: inferred(found.field.data_type(), found.note),
            nullable: found.field.is_nullable(),
            ..ColumnSpec::string(found.field.name())
        };
        self.columns.iter().map(column).collect()
    }

    /// How it differs from a file with these columns, in a sentence, but for what `shape` allows.
    pub fn differs(&self, columns: &[ColumnSpec], shape: Shape) -> Option<String> {
        let own = self.columns();
        let places: HashMap<&str, &ColumnSpec> = own.iter().map(|own| (own.name.as_str(), own)).collect();
        for column in columns {
            let (name, wanted) = (&column.name, &column.column_type);
            match places.get(name.as_str()) {
                None if shape.missing == Missing::Null => {}
                None => return Some(format!("it has no column `{name}`")),
                Some(own) if own.column_type != *wanted => {
                    return Some(format!("its column `{name}` is {}, not {wanted}", own.column_type));
                }
                Some(_) => {}
            }
        }
        let known: HashSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let more = own.iter().find(|own| !known.contains(own.name.as_str()) && shape.extra == Extra::Reject)?;
        Some(format!("it has a column `{}` more", more.name))
    }

    /// What it takes to read these columns, whose schema is `schema`. Text is taken to be UTF-8 as the file says,
    /// unless `as_bytes` asks to look: then reading takes longer, and a row that has other bytes is refused.
    ///
    /// # Errors
    /// A column is not there, or its type in the file is none that can become the declared one.
    pub fn project(
        &self,
        specs: &[ColumnSpec],
        schema: &Schema,
        missing: Missing,
        as_bytes: bool,
    ) -> Result<Projection, String> {
        let places: HashMap<&str, usize> =
            self.columns.iter().enumerate().map(|(i, found)| (found.field.name().as_str(), i)).collect();
        let mut columns = Vec::new();
        let mut hints: HashMap<&str, DataType> = HashMap::new();
        let mut roots = HashSet::new();
        for spec in specs {
            let Some(place) = places.get(spec.name.as_str()).copied() else {
                if missing == Missing::Null && spec.nullable {
                    let step = Step::Nothing(spec.column_type.to_arrow());
                    columns.push(Wanted { spec: spec.clone(), place: None, step });
                    continue;
                }
                let help = jobspec::nearest(&spec.name, self.columns.iter().map(|column| column.field.name().as_str()));
                let help = help.map_or_else(String::new, |help| format!("; {help}"));
                return Err(format!("it has no column `{}`{help}", spec.name));
            };
            let found = &self.columns[place];
            let mut found_type = found.field.data_type().clone();
            if let Some(bytes) = bytes_of(&found_type).filter(|_| as_bytes || is_binary(&spec.column_type)) {
                found_type = bytes;
                roots.insert(found.root);
            }
            let hint = hint(&found_type, found.note, &spec.column_type);
            let step = Step::find(&hint, found.note, &spec.column_type).ok_or_else(|| {
                let (name, wanted) = (&spec.name, &spec.column_type);
                format!(
                    "column `{name}` is {} in it, which cannot be read as {wanted}",
                    named(found.field.data_type(), found.note)
                )
            })?;
            hints.insert(&spec.name, hint);
            columns.push(Wanted { spec: spec.clone(), place: Some(found.root), step });
        }
        let hinted = |field: &FieldRef| match hints.get(field.name().as_str()) {
            Some(hint) => Arc::new(field.as_ref().clone().with_data_type(hint.clone())),
            None => Arc::clone(field),
        };
        let hints: Vec<FieldRef> = self.schema.fields().iter().map(hinted).collect();
        let options = ArrowReaderOptions::new().with_schema(Arc::new(arrow_schema::Schema::new(hints)));
        let metadata = match roots.is_empty() {
            true => Arc::clone(&self.metadata),
            false => Arc::new(with_bytes(&self.metadata, &roots).map_err(|error| words(&error))?),
        };
        let metadata = ArrowReaderMetadata::try_new(metadata, options).map_err(|error| words(&error))?;
        // The reader gives columns in the order of the file.
        let mut order: Vec<usize> = columns.iter().filter_map(|column| column.place).collect();
        order.sort_unstable();
        let mask = ProjectionMask::roots(metadata.metadata().file_metadata().schema_descr(), order.iter().copied());
        for column in &mut columns {
            column.place = column.place.and_then(|root| order.binary_search(&root).ok());
        }
        Ok(Projection { metadata, mask, columns, schema: schema.arrow() })
    }
}

/// The type with bytes in place of text; `None` where it is not text and no list of texts.
fn bytes_of(found: &DataType) -> Option<DataType> {
    match found {
        DataType::Utf8 => Some(DataType::Binary),
        DataType::List(item) => {
            let of = bytes_of(item.data_type())?;
            Some(DataType::List(Arc::new(item.as_ref().clone().with_data_type(of))))
        }
        _ => None,
    }
}

/// Is it bytes, or lists of them?
fn is_binary(wanted: &ColumnType) -> bool {
    match wanted {
        ColumnType::List(item) => is_binary(item),
        wanted => *wanted == ColumnType::Binary,
    }
}

/// The wanted columns of one file.
#[derive(Clone)]
pub struct Projection {
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    columns: Vec<Wanted>,
    schema: SchemaRef,
}

#[derive(Clone)]
struct Wanted {
    spec: ColumnSpec,
    /// Its place among the columns that are read; `None` where the file lacks it.
    place: Option<usize>,
    step: Step,
}

/// Rows of a file.
pub struct Rows {
    /// Those that are sound.
    pub records: RecordBatch,
    /// Which ones these are; absent where all are.
    pub kept: Option<Vec<u32>>,
    /// The others, in order.
    pub refused: Vec<Refused>,
}

/// A row that is not as declared.
pub struct Refused {
    /// Which one it is.
    pub row: u32,
    /// The reason in a word.
    pub code: RejectCode,
    /// The reason in a sentence.
    pub message: String,
    /// Its columns as JSON.
    pub record: Vec<u8>,
}

impl Projection {
    /// The footer.
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.metadata.metadata()
    }

    /// Reads `take` rows of a row group, behind the first `skip`, page by page. A batch has at most `rows` rows, and
    /// fewer where rows are so large that they would take much more than `bytes`.
    ///
    /// # Errors
    /// As the crate gives them.
    pub fn reader<T: ChunkReader + 'static>(
        &self,
        input: T,
        group: usize,
        (skip, take): (usize, usize),
        (rows, bytes): (usize, usize),
    ) -> Result<ParquetRecordBatchReader, ParquetError> {
        let size = (bytes as u64 / self.row_size(group)).clamp(1, rows.max(1) as u64) as usize;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(size);
        let all = usize::try_from(self.metadata().row_group(group).num_rows()).unwrap_or(0);
        if (skip, take) != (0, all) {
            let selection = RowSelection::from(vec![RowSelector::skip(skip), RowSelector::select(take)]);
            builder = builder.with_row_selection(selection);
        }
        builder.build()
    }

    /// About how many bytes a row of a row group takes.
    fn row_size(&self, group: usize) -> u64 {
        let group = self.metadata().row_group(group);
        let rows = group.num_rows().max(1) as u64;
        let chunks = group.columns().iter().enumerate().filter(|(leaf, _)| self.mask.leaf_included(*leaf));
        // A value of a fixed length takes that, however often it stands in a dictionary that the file has once.
        let size = |chunk: &ColumnChunkMetaData| {
            let fixed = u64::try_from(chunk.column_descr().type_length()).unwrap_or(0).saturating_mul(rows);
            fixed.max(chunk.uncompressed_size().max(0) as u64)
        };
        let unpacked = chunks.map(|(_, chunk)| size(chunk)).fold(0, u64::saturating_add);
        let fixed = self.schema.fields().iter().map(|field| field.data_type().primitive_width().unwrap_or(16) as u64);
        unpacked / rows + fixed.sum::<u64>().max(1)
    }

    /// The rows as declared. A row with more than `max` bytes is refused.
    ///
    /// # Errors
    /// Arrays do not fit together, which a sound file has no way to bring about.
    pub fn rows(&self, read: &RecordBatch, max: usize) -> Result<Rows, String> {
        let mut wrong = Wrong { rows: read.num_rows(), first: Vec::new() };
        let mut columns = Vec::with_capacity(self.columns.len());
        for (i, column) in self.columns.iter().enumerate() {
            let made = match column.place {
                Some(place) => column.convert(i, read.column(place), &mut wrong).map_err(|error| error.to_string())?,
                None => new_null_array(&column.spec.column_type.to_arrow(), read.num_rows()),
            };
            columns.push(made);
        }
        // A row that is refused may be null where the schema says that none is, so the schema comes last.
        let too_long = is_long(&columns, max).then(|| sizes(&columns, read.num_rows()));
        for (row, _) in too_long.iter().flatten().enumerate().filter(|(_, size)| **size > max as u64) {
            wrong.push(row, usize::MAX);
        }
        if wrong.first.is_empty() {
            let records = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| error.to_string())?;
            return Ok(Rows { records: compact(records), kept: None, refused: Vec::new() });
        }
        let refused = wrong.all().into_iter().map(|(row, column)| self.refuse(read, row, column, max)).collect();
        let kept = wrong.others();
        let records = pick(&columns, &self.schema, &kept).map_err(|error| error.to_string())?;
        Ok(Rows { records: compact(records), kept: Some(kept), refused })
    }

    fn refuse(&self, read: &RecordBatch, row: usize, column: usize, max: usize) -> Refused {
        let record = json::row(read, row).into_bytes();
        let (code, message) = match self.columns.get(column) {
            None => (RejectCode("too_long"), format!("the record is longer than {max} bytes")),
            // A column that is not read has nothing wrong.
            Some(Wanted { place: None, .. }) => (RejectCode("unexpected_null"), String::new()),
            Some(Wanted { spec, place: Some(place), step }) => {
                let values = read.column(*place);
                if values.is_null(row) || values.data_type() == &DataType::Null {
                    let message = format!("column `{}`: null, but it is not nullable", spec.name);
                    (RejectCode("unexpected_null"), message)
                } else {
                    let value = json::value(read.schema().field(*place), values, row);
                    let wrong = match step {
                        Step::Shown => "is not a time of day".to_owned(),
                        Step::Text => "has a date or time in it that has no text".to_owned(),
                        _ => format!("is not a valid {}", spec.column_type),
                    };
                    (step.code(), format!("column `{}`: `{}` {wrong}", spec.name, shown(value.as_bytes())))
                }
            }
        };
        let record =
            if column == usize::MAX { record[..record.len().min(crate::formats::HEAD)].to_vec() } else { record };
        Refused { row: row as u32, code, message, record }
    }
}

impl Wanted {
    /// The column as declared; what is wrong with it is noted as that of column `i`.
    fn convert(&self, i: usize, values: &ArrayRef, wrong: &mut Wrong) -> Result<ArrayRef, ArrowError> {
        let made = self.step.apply(values, self.spec.invalid == Invalid::DropItems)?;
        if let Some(bad) = made.bad.filter(|_| self.spec.invalid != Invalid::Null) {
            wrong.push_all(&bad, i);
        }
        if !self.spec.nullable && made.array.logical_null_count() > 0 {
            let nulls = made.array.logical_nulls().map(|nulls| !nulls.inner());
            nulls.iter().for_each(|nulls| wrong.push_all(nulls, i));
        }
        Ok(made.array)
    }
}

/// Rows that are refused, each for the first column that is wrong.
struct Wrong {
    rows: usize,
    first: Vec<(usize, usize)>,
}

impl Wrong {
    fn push(&mut self, row: usize, column: usize) {
        self.first.push((row, column));
    }

    fn push_all(&mut self, rows: &BooleanBuffer, column: usize) {
        self.first.extend(rows.set_indices().map(|row| (row, column)));
    }

    /// Rows in order, each once.
    fn all(&mut self) -> Vec<(usize, usize)> {
        self.first.sort_by_key(|(row, column)| Reverse((*row, *column)));
        self.first.reverse();
        self.first.dedup_by_key(|(row, _)| *row);
        self.first.clone()
    }

    /// The rows that are not wrong.
    fn others(&self) -> Vec<u32> {
        let mut wrong = vec![false; self.rows];
        self.first.iter().for_each(|(row, _)| wrong[*row] = true);
        (0..self.rows as u32).filter(|row| !wrong[*row as usize]).collect()
    }
}

/// Some rows of columns that may have nulls in the others.
fn pick(columns: &[ArrayRef], schema: &SchemaRef, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
    let loose: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let all = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(loose)), columns.to_vec())?;
    let picked = take_record_batch(&all, &UInt32Array::from(rows.to_vec()))?;
    RecordBatch::try_new(Arc::clone(schema), picked.columns().to_vec())
}

/// May there be a row of more than so many bytes?
fn is_long(columns: &[ArrayRef], max: usize) -> bool {
    columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>() > max
}

fn sizes(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let loose = columns.iter().map(|column| ("", Arc::clone(column), true));
    RecordBatch::try_from_iter_with_nullable(loose).map_or_else(|_| vec![0; rows], |records| row_bytes(&records))
}
