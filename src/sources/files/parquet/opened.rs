//! A Parquet file that is open: its footer, and its bytes.

use std::{
    cell::Cell,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Once, OnceLock},
};

use ::parquet::{
    basic::Compression as Codec,
    errors::{ParquetError, Result as Crate},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

use crate::{
    failure::{Exit, Failure},
    formats::parquet::{Layout, amended, check_depth, is_encrypted, sifted, words},
};

/// A file that is open. Its reader asks for any part of it.
#[derive(Clone)]
pub(super) struct Opened(Arc<Inner>);

pub(super) struct Inner {
    file: File,
    name: String,
    len: u64,
    /// Why it could not be read on: the crate does not hand that on as it is.
    stopped: OnceLock<Failure>,
}

/// What a Parquet file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";
/// What one begins and ends with whose footer is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";

/// The compressions that are read.
const CODECS: &str = "Snappy, gzip, Brotli, LZ4 and Zstandard";

impl Opened {
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        let reading = |error: io::Error| Failure::reading(path, &error);
        if !fs::metadata(path).map_err(reading)?.is_file() {
            let message =
                format!("`{}` is not a regular file, and parquet begins to be read at its end", path.display());
            return Err(Failure::new(Exit::Io, message));
        }
        let file = File::open(path).map_err(reading)?;
        let len = file.metadata().map_err(reading)?.len();
        let name = path.display().to_string();
        let fail = |what: &str| Err(Failure::new(Exit::Io, format!("`{name}` {what}")));
        if len < 12 {
            return fail(&format!("is not a Parquet file: it has {len} byte{}", if len == 1 { "" } else { "s" }));
        }
        let (mut head, mut tail) = ([0; 4], [0; 4]);
        file.read_exact_at(&mut head, 0).and_then(|()| file.read_exact_at(&mut tail, len - 4)).map_err(reading)?;
        match (&head, &tail) {
            (ENCRYPTED, _) | (_, ENCRYPTED) => fail("is encrypted, which is not supported"),
            (_, MAGIC) => Ok(Opened(Arc::new(Inner { file, name, len, stopped: OnceLock::new() }))),
            (MAGIC, _) => fail("is truncated: it does not end with `PAR1`"),
            _ => fail("is not a Parquet file: it does not end with `PAR1`"),
        }
    }

    pub(super) fn metadata(&self) -> Result<ParquetMetaData, Failure> {
        let metadata = self.footer().map_err(|error| words(&error)).and_then(|footer| {
            check_depth(&footer)?;
            let sifted = sifted(&footer);
            self.guard(|| {
                let metadata = ParquetMetaDataReader::decode_metadata(sifted.as_deref().unwrap_or(&footer));
                metadata.and_then(amended).map_err(|error| words(&error))
            })
        });
        let metadata = metadata.map_err(|why| self.corrupt(&format!("has a corrupt footer: {why}")))?;
        if metadata.row_groups().iter().any(|group| group.num_rows() < 0) {
            return Err(self.failure("has a corrupt footer: a row group of less than no rows"));
        }
        if metadata.row_groups().iter().flat_map(|group| group.columns()).any(|chunk| chunk.compression() == Codec::LZO)
        {
            return Err(self.failure(&format!("is compressed with LZO, which is not supported; {CODECS} are")));
        }
        Ok(metadata)
    }

    /// The bytes of the footer, whose length stands behind it.
    fn footer(&self) -> Crate<bytes::Bytes> {
        let mut len = [0; 4];
        len.copy_from_slice(&self.get_bytes(self.0.len - 8, 4)?);
        let len = u64::from(u32::from_le_bytes(len));
        match self.0.len.checked_sub(8 + len) {
            Some(start) => self.get_bytes(start, len as usize),
            None => Err(ParquetError::EOF(format!("its length is said to be {len}, more than the file has"))),
        }
    }

    pub(super) fn layout(&self) -> Result<Layout, Failure> {
        let metadata = Arc::new(self.metadata()?);
        self.guard(|| Layout::new(metadata)).map_err(|why| self.failure(&format!("cannot be read: {why}")))
    }

    /// Calls the crate. On some damage it panics where it should say what is wrong; that is not a bug of ours, and the
    /// file is to blame. What was being made is dropped.
    pub(super) fn guard<T>(&self, call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        quietly(|| catch_unwind(AssertUnwindSafe(call)))
            .unwrap_or_else(|_| Err("its content makes no sense".to_owned()))
    }

    /// The failure of a file that makes no sense, perhaps because it is encrypted.
    pub(super) fn corrupt(&self, what: &str) -> Failure {
        match self.footer() {
            Ok(footer) if is_encrypted(&footer) => self.failure("has encrypted columns, which is not supported"),
            _ => self.failure(what),
        }
    }

    pub(super) fn failure(&self, what: &str) -> Failure {
        let told = || Failure::new(Exit::Io, format!("`{}` {what}", self.0.name));
        self.0.stopped.get().cloned().unwrap_or_else(told)
    }

    /// The file's name for people.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> u64 {
        self.0.len
    }

    /// Notes why it is not read on, for which the crate has no words; an error for the crate.
    pub(super) fn stop(&self, failure: Failure) -> ParquetError {
        let told = ParquetError::General(failure.message.clone());
        // The first one counts.
        let _ = self.0.stopped.set(failure);
        told
    }

    /// Bytes of the file, all of them.
    pub(super) fn get_bytes(&self, start: u64, length: usize) -> Crate<bytes::Bytes> {
        // Asked before there is memory for it: what a damaged header says may be anything.
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.len) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are not all in the file")));
        }
        let mut bytes = vec![0; length];
        match self.0.file.read_exact_at(&mut bytes, start) {
            Ok(()) => Ok(bytes.into()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Some bytes of the file.
    pub(super) fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.file.read_at(into, at).inspect_err(|error| drop(self.broken(error)))
    }

    fn broken(&self, error: &io::Error) -> ParquetError {
        self.stop(Failure::reading(Path::new(&self.0.name), error))
    }
}

thread_local! {
    /// Is a panic of this thread no bug of ours?
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls what may panic without anybody being told of it but the caller: people take a panic's message for a crash.
fn quietly<T>(call: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                told(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = call();
    QUIET.set(outer);
    result
}
