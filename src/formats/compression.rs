//! Compression of files, chosen by name or by the spec.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

use flate2::{bufread::MultiGzDecoder, write::GzEncoder};
use schemars::JsonSchema;
use serde::Deserialize;

/// How a file is compressed, as a spec says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// By the file's name: `.gz` is gzip, anything else is not compressed.
    #[default]
    Auto,
    /// Not compressed.
    None,
    /// gzip, of any number of members.
    Gzip,
}

impl Compression {
    /// Is a file of this name gzip?
    pub fn is_gzip(self, path: &Path) -> bool {
        match self {
            Compression::Auto => path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")),
            Compression::None => false,
            Compression::Gzip => true,
        }
    }
}

/// Compressed bytes are read in pieces of this size.
const READ_BYTES: usize = 128 << 10;

/// The bytes of a file as they were before compression.
pub enum Input {
    /// Not compressed.
    Plain(Counted),
    /// gzip.
    Gzip(Box<MultiGzDecoder<BufReader<Counted>>>),
}

impl Input {
    /// Reads `file`, which is gzip or not.
    pub fn new(file: File, gzip: bool) -> Self {
        let counted = Counted { file, bytes: 0 };
        if gzip {
            Input::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, counted))))
        } else {
            Input::Plain(counted)
        }
    }

    /// Bytes of the file read so far, as they lie on disk.
    pub fn bytes_read(&self) -> u64 {
        match self {
            Input::Plain(counted) => counted.bytes,
            Input::Gzip(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Plain(counted) => counted.read(into),
            // What is unpacked in the call that meets damage is lost: keep calls small.
            Input::Gzip(decoder) => {
                let len = into.len().min(READ_BYTES);
                decoder.read(&mut into[..len])
            }
        }
    }
}

/// A file that counts what was read from it.
pub struct Counted {
    file: File,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(into)?;
        self.bytes += len as u64;
        Ok(len)
    }
}

/// A file that is being written.
pub enum Output {
    /// Not compressed.
    Plain(File),
    /// gzip. Its header holds neither time nor name, so that equal input gives equal bytes.
    Gzip(Box<GzEncoder<File>>),
}

impl Output {
    /// Writes to `file`; with a level of 0 to 9, as gzip.
    pub fn new(file: File, gzip: Option<u32>) -> Self {
        match gzip {
            Some(level) => Output::Gzip(Box::new(GzEncoder::new(file, flate2::Compression::new(level)))),
            None => Output::Plain(file),
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As the file gives them.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Plain(file) => file.write_all(bytes),
            Output::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Ends the compressed stream and makes the file's content durable.
    ///
    /// # Errors
    /// As the file gives them.
    pub fn finish(self) -> io::Result<()> {
        let file = match self {
            Output::Plain(file) => file,
            Output::Gzip(encoder) => encoder.finish()?,
        };
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_unless_the_spec_does() {
        let cases = [
            (Compression::Auto, "a.tsv.gz", true),
            (Compression::Auto, "a.tsv.GZ", true),
            (Compression::Auto, "a.tsv", false),
            (Compression::Auto, "gz", false),
            (Compression::None, "a.gz", false),
            (Compression::Gzip, "a", true),
        ];
        for (compression, name, gzip) in cases {
            assert_eq!(compression.is_gzip(Path::new(name)), gzip, "{compression:?} {name}");
        }
    }
}
