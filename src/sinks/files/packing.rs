//! How files are compressed: text as a whole, Parquet page by page.

use std::{fmt, ops::RangeInclusive, path::Path};

use schemars::JsonSchema;
use serde::Deserialize;

use super::output;
use crate::formats::{Format, compression, parquet::PageCodec};

/// How a file is compressed, as a spec says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "FileCompression")]
pub(super) enum Compression {
    /// By the file's name: `.gz` is gzip, `.zst` is zstd, anything else is not compressed. Of parquet: zstd.
    #[default]
    Auto,
    /// Not compressed.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// Snappy; parquet only.
    Snappy,
    /// LZ4; parquet only.
    Lz4,
}

/// How a file, or what is in it, is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Gzip,
    Zstd,
    Snappy,
    Lz4,
}

impl Compression {
    /// How a file of this format and name is compressed.
    pub(super) fn codec(self, format: Format, path: &Path) -> Codec {
        match self {
            Compression::Auto if format == Format::Parquet => Codec::Zstd,
            Compression::Auto => match compression::Compression::Auto.codec(path) {
                compression::Codec::Plain => Codec::Plain,
                compression::Codec::Gzip => Codec::Gzip,
                compression::Codec::Zstd => Codec::Zstd,
            },
            Compression::None => Codec::Plain,
            Compression::Gzip => Codec::Gzip,
            Compression::Zstd => Codec::Zstd,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
        }
    }

    /// Why files of this format cannot be compressed like this.
    pub(super) fn rule_broken(self, format: Format) -> Option<String> {
        let word = match self {
            Compression::Snappy if format != Format::Parquet => "snappy",
            Compression::Lz4 if format != Format::Parquet => "lz4",
            _ => return None,
        };
        Some(format!("{} files are not compressed with {word}: only the pages of parquet are", format.name()))
    }

    /// Does the name say that the whole file is compressed?
    pub(super) fn is_packed(path: &Path) -> bool {
        compression::Compression::Auto.codec(path) != compression::Codec::Plain
    }
}

impl Codec {
    /// How hard it can compress, where there is a choice.
    pub(super) fn levels(self) -> Option<RangeInclusive<u32>> {
        match self {
            Codec::Gzip => Some(compression::Codec::Gzip.levels()),
            Codec::Zstd => Some(compression::Codec::Zstd.levels()),
            Codec::Plain | Codec::Snappy | Codec::Lz4 => None,
        }
    }

    /// How hard it compresses unless told otherwise.
    pub(super) fn default_level(self) -> u32 {
        match self {
            Codec::Gzip => compression::Codec::Gzip.default_level(),
            Codec::Zstd => compression::Codec::Zstd.default_level(),
            Codec::Plain | Codec::Snappy | Codec::Lz4 => 0,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Plain => "not compressed",
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
        })
    }
}

/// How a file, or what is in it, is compressed, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    pub(super) codec: Codec,
    pub(super) level: u32,
}

impl Packing {
    /// How a file of this format is compressed as a whole.
    pub(super) fn around(self, format: Format) -> output::Packing {
        let codec = match self.codec {
            Codec::Gzip if format != Format::Parquet => compression::Codec::Gzip,
            Codec::Zstd if format != Format::Parquet => compression::Codec::Zstd,
            _ => compression::Codec::Plain,
        };
        output::Packing { codec, level: self.level }
    }

    /// How the pages of Parquet are compressed.
    pub(super) fn pages(self) -> PageCodec {
        match self.codec {
            Codec::Plain => PageCodec::Plain,
            Codec::Gzip => PageCodec::Gzip(self.level),
            Codec::Zstd => PageCodec::Zstd(self.level),
            Codec::Snappy => PageCodec::Snappy,
            Codec::Lz4 => PageCodec::Lz4,
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.codec.levels() {
            Some(_) => write!(f, "{}, level {}", self.codec, self.level),
            None => write!(f, "{}", self.codec),
        }
    }
}
