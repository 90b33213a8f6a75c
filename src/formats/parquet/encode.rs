//! Batches to the bytes of a file. What goes into a row group is for the caller to say.

use std::sync::Arc;

use ::parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, GzipLevel, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::{SchemaDescriptor, Type, TypePtr},
};
use arrow_array::RecordBatch;

use crate::batch::{ColumnType, Schema};

/// What a file says it was written by. It holds no version: equal rows are to give equal bytes.
pub const CREATED_BY: &str = "runner";

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageCodec {
    /// Not at all.
    Plain,
    /// Snappy.
    Snappy,
    /// LZ4, raw blocks.
    Lz4,
    /// gzip, at a level from 0 to 9.
    Gzip(u32),
    /// zstd, at a level from 1 to 19.
    Zstd(u32),
}

/// How a file is written.
#[derive(Clone, Debug)]
pub struct ParquetStyle {
    /// How pages are compressed.
    pub codec: PageCodec,
    /// The columns.
    pub schema: Schema,
}

/// A file under way. Its bytes are taken off it piece by piece.
pub struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetEncoder {
    /// Begins a file.
    ///
    /// # Errors
    /// The level is none of the codec's.
    pub fn new(style: &ParquetStyle) -> Result<Self, ParquetError> {
        let compression = match style.codec {
            PageCodec::Plain => Compression::UNCOMPRESSED,
            PageCodec::Snappy => Compression::SNAPPY,
            PageCodec::Lz4 => Compression::LZ4_RAW,
            PageCodec::Gzip(level) => Compression::GZIP(GzipLevel::try_new(level)?),
            PageCodec::Zstd(level) => Compression::ZSTD(ZstdLevel::try_new(level as i32)?),
        };
        let properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(compression)
            .set_max_row_group_row_count(None)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(descriptor(&style.schema)?);
        Ok(ParquetEncoder { writer: ArrowWriter::try_new_with_options(Vec::new(), style.schema.arrow(), options)? })
    }

    /// Adds rows to the current row group. Where they end does not show in the file only if the calls are the same.
    ///
    /// # Errors
    /// As the crate gives them.
    pub fn write(&mut self, records: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(records)
    }

    /// The bytes of memory that the current row group takes until it is ended.
    pub fn memory(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().capacity()
    }

    /// Ends the current row group.
    ///
    /// # Errors
    /// As the crate gives them.
    pub fn end_group(&mut self) -> Result<(), ParquetError> {
        self.writer.flush()
    }

    /// The bytes since the last call.
    ///
    /// # Errors
    /// As the crate gives them.
    pub fn take(&mut self) -> Result<Vec<u8>, ParquetError> {
        self.writer.sync()?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    /// Ends the file; the bytes since the last call of `take`.
    ///
    /// # Errors
    /// As the crate gives them.
    pub fn finish(mut self) -> Result<Vec<u8>, ParquetError> {
        self.writer.finish()?;
        self.take()
    }
}

/// The columns as Parquet knows them.
fn descriptor(schema: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    let field = |column: &crate::batch::Column| field(&column.name, &column.column_type, column.nullable);
    let fields = schema.columns().iter().map(field).collect::<Result<Vec<TypePtr>, _>>()?;
    Ok(SchemaDescriptor::new(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?)))
}

fn field(name: &str, column_type: &ColumnType, nullable: bool) -> Result<TypePtr, ParquetError> {
    let repetition = if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let integer = |width, signed| Some(LogicalType::integer(width, signed));
    let (physical, logical) = match column_type {
        ColumnType::Bool => (Physical::BOOLEAN, None),
        ColumnType::Int8 => (Physical::INT32, integer(8, true)),
        ColumnType::Int16 => (Physical::INT32, integer(16, true)),
        ColumnType::Int32 => (Physical::INT32, None),
        ColumnType::Int64 => (Physical::INT64, None),
        ColumnType::UInt8 => (Physical::INT32, integer(8, false)),
        ColumnType::UInt16 => (Physical::INT32, integer(16, false)),
        ColumnType::UInt32 => (Physical::INT32, integer(32, false)),
        ColumnType::UInt64 => (Physical::INT64, integer(64, false)),
        ColumnType::Float32 => (Physical::FLOAT, None),
        ColumnType::Float64 => (Physical::DOUBLE, None),
        ColumnType::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnType::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        ColumnType::Binary => (Physical::BYTE_ARRAY, None),
        ColumnType::Date => (Physical::INT32, Some(LogicalType::Date)),
        ColumnType::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        ColumnType::TimestampNs => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
        ColumnType::List(item) => {
            let item = field("element", item, true)?;
            let repeated = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
            let repeated = Arc::new(repeated.with_fields(vec![item]).build()?);
            let list = Type::group_type_builder(name).with_repetition(repetition);
            let list = list.with_logical_type(Some(LogicalType::List)).with_fields(vec![repeated]);
            return Ok(Arc::new(list.build()?));
        }
    };
    let column = Type::primitive_type_builder(name, physical).with_repetition(repetition);
    Ok(Arc::new(column.with_logical_type(logical).build()?))
}
