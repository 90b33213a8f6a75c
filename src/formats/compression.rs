//! Compression of files, chosen by name or by the spec.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read, Stdin, Stdout, Write},
    ops::RangeInclusive,
    path::Path,
};

use flate2::{bufread::GzDecoder, write::GzEncoder};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pulse;

/// How a file is compressed, as a spec says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// By the file's name: `.gz` is gzip, `.zst` is zstd, anything else is not compressed.
    #[default]
    Auto,
    /// Not compressed.
    None,
    /// gzip, of any number of members.
    Gzip,
    /// zstd, of any number of frames.
    Zstd,
}

/// How one file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// How a file of this name is compressed.
    pub fn codec(self, path: &Path) -> Codec {
        let named = |name: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(name));
        match self {
            Compression::Auto if named("gz") => Codec::Gzip,
            Compression::Auto if named("zst") => Codec::Zstd,
            Compression::Auto | Compression::None => Codec::Plain,
            Compression::Gzip => Codec::Gzip,
            Compression::Zstd => Codec::Zstd,
        }
    }
}

impl Codec {
    /// How hard it can compress.
    pub fn levels(self) -> RangeInclusive<u32> {
        match self {
            Codec::Plain => 0..=0,
            Codec::Gzip => 0..=9,
            Codec::Zstd => 1..=19,
        }
    }

    /// How hard it compresses unless told otherwise.
    pub fn default_level(self) -> u32 {
        match self {
            Codec::Plain => 0,
            Codec::Gzip => 6,
            Codec::Zstd => 3,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Plain => "not compressed",
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
        })
    }
}

/// Compressed bytes are read in pieces of this size.
const READ_BYTES: usize = 128 << 10;

/// A file may unpack to so many bytes before anybody asks how small it was.
const HARMLESS: u64 = 16 << 20;

/// The bytes of a file as they were before compression.
pub struct Input {
    stream: Stream,
    unpacked: u64,
    /// How many times its size a file may unpack to.
    max_ratio: u32,
}

enum Stream {
    Plain(Counted),
    Gzip(Gunzip),
    Zstd(Box<zstd::Decoder<'static, BufReader<Counted>>>),
}

/// Where bytes come from.
pub enum InFile {
    /// A file.
    File(File),
    /// A pipe or a device: another program writes to it when it likes.
    Pipe(File),
    /// Standard input.
    Stdin(Stdin),
}

impl Input {
    /// Reads what is compressed in this way. What unpacks to more than `max_ratio` times its size is an error.
    ///
    /// # Errors
    /// There is no memory for a decoder.
    pub fn new(from: InFile, codec: Codec, max_ratio: u32) -> io::Result<Self> {
        let counted = Counted { from, bytes: 0 };
        let buffered = |counted| BufReader::with_capacity(READ_BYTES, counted);
        let stream = match codec {
            Codec::Plain => Stream::Plain(counted),
            Codec::Gzip => Stream::Gzip(Gunzip::new(buffered(counted))),
            Codec::Zstd => Stream::Zstd(Box::new(zstd::Decoder::with_buffer(buffered(counted))?)),
        };
        Ok(Input { stream, unpacked: 0, max_ratio })
    }

    /// Bytes read so far, as they lie on disk.
    pub fn bytes_read(&self) -> u64 {
        match &self.stream {
            Stream::Plain(counted) => counted.bytes,
            Stream::Gzip(decoder) => decoder.bytes_read(),
            Stream::Zstd(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }

    /// Is that still in proportion?
    fn check_ratio(&self) -> io::Result<()> {
        if self.unpacked <= HARMLESS || self.unpacked / u64::from(self.max_ratio) <= self.bytes_read() {
            return Ok(());
        }
        Err(io::Error::other(format!("it unpacks to more than {} times its size (`max_ratio`)", self.max_ratio)))
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // What is unpacked in the call that meets damage is lost: keep calls small.
        let small = into.len().min(READ_BYTES);
        let len = match &mut self.stream {
            Stream::Plain(counted) => return counted.read(into),
            Stream::Gzip(decoder) => decoder.read(&mut into[..small])?,
            Stream::Zstd(decoder) => decoder.read(&mut into[..small]).map_err(corrupt)?,
        };
        self.unpacked += len as u64;
        self.check_ratio()?;
        Ok(len)
    }
}

/// The members of a gzip file, one after the other. Zeros behind the last one are padding, as tapes and disk images
/// have it.
enum Gunzip {
    Inside(Box<GzDecoder<BufReader<Counted>>>),
    Between(BufReader<Counted>),
    /// Changing from one to the other.
    Nowhere,
}

impl Gunzip {
    fn new(input: BufReader<Counted>) -> Self {
        Gunzip::Inside(Box::new(GzDecoder::new(input)))
    }

    /// Bytes read so far, as they lie on disk.
    fn bytes_read(&self) -> u64 {
        match self {
            Gunzip::Inside(decoder) => decoder.get_ref().get_ref().bytes,
            Gunzip::Between(input) => input.get_ref().bytes,
            Gunzip::Nowhere => 0,
        }
    }
}

impl Read for Gunzip {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Gunzip::Inside(decoder) => match decoder.read(into)? {
                    0 if !into.is_empty() => {}
                    len => return Ok(len),
                },
                Gunzip::Between(input) => {
                    let Some(first) = input.fill_buf()?.first() else { return Ok(0) };
                    if *first == 0 {
                        return padding(input).map(|()| 0);
                    }
                }
                Gunzip::Nowhere => return Ok(0),
            }
            *self = match std::mem::replace(self, Gunzip::Nowhere) {
                Gunzip::Inside(decoder) => Gunzip::Between(decoder.into_inner()),
                Gunzip::Between(input) => Gunzip::new(input),
                Gunzip::Nowhere => Gunzip::Nowhere,
            };
        }
    }
}

/// Passes over zeros up to the end.
fn padding(input: &mut BufReader<Counted>) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "something follows the padding"));
        }
        let len = bytes.len();
        input.consume(len);
    }
}

/// zstd has no kind for damage.
fn corrupt(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => error,
    }
}

/// A file that counts what was read from it.
struct Counted {
    from: InFile,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = match &mut self.from {
            InFile::File(file) => file.read(into)?,
            InFile::Pipe(file) => pulse::external_wait(|| file.read(into))?,
            InFile::Stdin(stdin) => pulse::external_wait(|| stdin.read(into))?,
        };
        pulse::heartbeat();
        self.bytes += len as u64;
        Ok(len)
    }
}

/// Where bytes go.
pub enum OutFile {
    /// A file.
    File(File),
    /// A pipe or a device: another program reads from it when it likes.
    Pipe(File),
    /// Standard output.
    Stdout(Stdout),
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            OutFile::File(file) => {
                fail::fail_point!("files-write", |_| Err(io::ErrorKind::StorageFull.into()));
                file.write(bytes)
            }
            OutFile::Pipe(file) => pulse::external_wait(|| file.write(bytes)),
            OutFile::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            OutFile::File(file) | OutFile::Pipe(file) => file.flush(),
            OutFile::Stdout(stdout) => stdout.flush(),
        }
    }
}

/// A file that is being written. Headers hold neither time nor name, so that equal input gives equal bytes.
pub struct Output {
    packer: Packer,
    /// What has not been given to the packer yet.
    pending: Vec<u8>,
}

enum Packer {
    Plain(OutFile),
    Gzip(Box<GzEncoder<OutFile>>),
    Zstd(Box<zstd::Encoder<'static, OutFile>>),
}

/// Packers get their input in pieces of this size, however it comes: what they make of it depends on the pieces, and
/// equal rows are to give equal bytes whatever the batches were.
const PIECE: usize = 128 << 10;

impl Output {
    /// Writes in this way, at one of its levels.
    ///
    /// # Errors
    /// There is no memory for an encoder.
    pub fn new(to: OutFile, codec: Codec, level: u32) -> io::Result<Self> {
        let packer = match codec {
            Codec::Plain => Packer::Plain(to),
            Codec::Gzip => Packer::Gzip(Box::new(GzEncoder::new(to, flate2::Compression::new(level)))),
            Codec::Zstd => {
                let mut encoder = zstd::Encoder::new(to, level as i32)?;
                encoder.include_checksum(true)?;
                Packer::Zstd(Box::new(encoder))
            }
        };
        Ok(Output { packer, pending: Vec::new() })
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As the file gives them.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Packer::Plain(to) = &mut self.packer {
            return to.write_all(bytes);
        }
        while self.pending.len() + bytes.len() >= PIECE {
            let (piece, rest) = bytes.split_at(PIECE - self.pending.len());
            if self.pending.is_empty() {
                self.packer.write_all(piece)?;
            } else {
                self.pending.extend_from_slice(piece);
                self.packer.write_all(&self.pending)?;
                self.pending.clear();
            }
            bytes = rest;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the compressed stream and makes a file's content durable.
    ///
    /// # Errors
    /// As the file gives them.
    pub fn finish(self) -> io::Result<()> {
        match self.end()? {
            OutFile::File(file) => {
                fail::fail_point!("files-sync", |_| Err(io::ErrorKind::StorageFull.into()));
                file.sync_all()
            }
            OutFile::Pipe(mut file) => file.flush(),
            OutFile::Stdout(mut stdout) => stdout.flush(),
        }
    }

    /// Ends the compressed stream and closes the file, whose content may not be durable yet.
    ///
    /// # Errors
    /// As the file gives them.
    pub fn close(self) -> io::Result<()> {
        self.end()?.flush()
    }

    fn end(mut self) -> io::Result<OutFile> {
        self.packer.write_all(&self.pending)?;
        match self.packer {
            Packer::Plain(to) => Ok(to),
            Packer::Gzip(encoder) => encoder.finish(),
            Packer::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Packer {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Packer::Plain(to) => to.write_all(bytes),
            Packer::Gzip(encoder) => encoder.write_all(bytes),
            Packer::Zstd(encoder) => encoder.write_all(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_behind_a_gzip_file_are_padding_and_nothing_else_is() {
        let member = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(text).expect("into memory");
            encoder.finish().expect("into memory")
        };
        let folder = crate::testing::Folder::new("gunzip");
        let read = |parts: &[&[u8]]| {
            let path = folder.write("a.gz", &parts.concat());
            let file = InFile::File(File::open(path).expect("there"));
            let mut text = String::new();
            let mut input = Input::new(file, Codec::Gzip, 1000).expect("a decoder");
            let read = input.read_to_string(&mut text).map(|_| text).map_err(|error| error.kind());
            read.inspect(|_| assert_eq!(input.bytes_read() as usize, parts.concat().len()))
        };
        let (one, two, none) = (member(b"one"), member(b"two"), member(b""));
        assert_eq!(read(&[&one, &two]), Ok("onetwo".to_owned()));
        assert_eq!(read(&[&one, &none, &two, &none]), Ok("onetwo".to_owned()));
        assert_eq!(read(&[&one, &[0; 700_000]]), Ok("one".to_owned()));
        assert_eq!(read(&[&one, &two, &[0]]), Ok("onetwo".to_owned()));
        assert!(read(&[&one, &[0; 512], &two]).is_err(), "what follows padding is not read, so it must be told");
        assert!(read(&[&one, b"x"]).is_err());
        assert!(read(&[&one[..one.len() - 1]]).is_err());
    }

    #[test]
    fn the_name_decides_unless_the_spec_does() {
        let cases = [
            (Compression::Auto, "a.tsv.gz", Codec::Gzip),
            (Compression::Auto, "a.tsv.GZ", Codec::Gzip),
            (Compression::Auto, "a.tsv.zst", Codec::Zstd),
            (Compression::Auto, "a.tsv", Codec::Plain),
            (Compression::Auto, "gz", Codec::Plain),
            (Compression::None, "a.gz", Codec::Plain),
            (Compression::Gzip, "a", Codec::Gzip),
            (Compression::Zstd, "a.gz", Codec::Zstd),
        ];
        for (compression, name, codec) in cases {
            assert_eq!(compression.codec(Path::new(name)), codec, "{compression:?} {name}");
        }
    }
}
