//! Batches to the bytes of a file. What goes into a row group is for the caller to say.

use ::parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, GzipLevel, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties},
};
use arrow_array::RecordBatch;

use super::types::descriptor;
use crate::batch::Schema;

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
