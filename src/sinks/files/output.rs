//! A file on its way to its name: unfinished, finished, published. Dropped before that, it is removed.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::leftovers::Leftovers;
use crate::{
    failure::Failure,
    formats::compression::{Codec, OutFile, Output},
    pulse,
    replace::Destination,
};

/// How a whole file is compressed, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    pub(super) codec: Codec,
    pub(super) level: u32,
}

/// A file that is being written.
pub(super) struct Unfinished {
    // Declared first, so that the file is closed before it is removed.
    output: Output,
    file: Temporary,
}

impl Unfinished {
    /// Begins a file that will be called `target`, in new folders if need be.
    /// What it is called until then is noted in `leftovers` first.
    pub(super) fn create(target: PathBuf, packing: Packing, leftovers: &mut Leftovers) -> Result<Self, Failure> {
        let to = Destination::of(&target).map_err(|error| Failure::creating(&target, &error))?;
        if to.is_stream() {
            let file = pulse::external_wait(|| to.open()).map_err(|error| Failure::creating(&target, &error))?;
            let output = Output::new(OutFile::Pipe(file), packing.codec, packing.level);
            let output = output.map_err(|error| Failure::creating(&target, &error))?;
            return Ok(Unfinished { output, file: Temporary { path: None, target, to: Some(to) } });
        }
        let folder = folder(to.path());
        fs::create_dir_all(folder).map_err(|error| Failure::creating(folder, &error))?;
        let mut name = OsString::from(".");
        name.push(to.path().file_name().unwrap_or_default());
        name.push(format!(".tmp-{}", leftovers.tag()));
        let path = to.path().with_file_name(name);
        leftovers.note(&path)?;
        fail::fail_point!("files-create", |_| Err(Failure::creating(&path, &io::ErrorKind::StorageFull.into())));
        let file = to.create(&path).map_err(|error| Failure::creating(&path, &error))?;
        let output = Output::new(OutFile::File(file), packing.codec, packing.level);
        let output = output.map_err(|error| Failure::creating(&path, &error))?;
        Ok(Unfinished { output, file: Temporary { path: Some(path), target, to: Some(to) } })
    }

    /// Begins to write to standard output. That is not whole or absent: what is written is seen at once.
    pub(super) fn stdout(packing: Packing) -> Result<Self, Failure> {
        let target = PathBuf::from("-");
        let output = Output::new(OutFile::Stdout(io::stdout()), packing.codec, packing.level);
        let output = output.map_err(|error| Failure::creating(&target, &error))?;
        Ok(Unfinished { output, file: Temporary { path: None, target, to: None } })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.output.write_all(bytes).map_err(|error| self.file.failure(&error))
    }

    /// Closes the file for a while. A compressed stream ends here; the next one is appended to it, which is the
    /// same to every reader.
    pub(super) fn suspend(self) -> Result<Suspended, Failure> {
        let Unfinished { output, file } = self;
        output.close().map_err(|error| file.failure(&error))?;
        Ok(Suspended(file))
    }

    /// Ends the file and makes its content durable.
    pub(super) fn finish(self) -> Result<Finished, Failure> {
        let Unfinished { output, file } = self;
        output.finish().map_err(|error| file.failure(&error))?;
        Ok(Finished(file))
    }
}

/// A file that is being written, but closed.
pub(super) struct Suspended(Temporary);

impl Suspended {
    /// Opens it again.
    pub(super) fn resume(self, packing: Packing) -> Result<Unfinished, Failure> {
        let file = self.0;
        let opened = file.append().map_err(|error| file.failure(&error))?;
        let opened = if file.path.is_some() { OutFile::File(opened) } else { OutFile::Pipe(opened) };
        let output = Output::new(opened, packing.codec, packing.level);
        let output = output.map_err(|error| file.failure(&error))?;
        Ok(Unfinished { output, file })
    }

    /// Makes its content durable.
    pub(super) fn finish(self) -> Result<Finished, Failure> {
        let file = self.0;
        if file.path.is_some() {
            file.append().and_then(|opened| opened.sync_all()).map_err(|error| file.failure(&error))?;
        }
        Ok(Finished(file))
    }
}

/// A file that is complete and durable, but for its name.
pub(super) struct Finished(Temporary);

impl Finished {
    /// Its hidden name and the file that it becomes; `None` for what was written into at once.
    pub(super) fn paths(&self) -> Option<(&Path, &Path)> {
        self.0.path.as_deref().zip(self.0.to.as_ref().map(Destination::path))
    }

    /// Gives it its name, durably.
    pub(super) fn publish(mut self) -> Result<(), Failure> {
        let file = &mut self.0;
        let Some(path) = &file.path else { return Ok(()) };
        fail::fail_point!("files-rename", |_| Err(file.failure(&io::ErrorKind::StorageFull.into())));
        let Some(to) = &file.to else { return Ok(()) };
        to.take(path).map_err(|error| file.failure(&error))?;
        let synced = sync(folder(to.path())).map_err(|error| file.failure(&error));
        file.path = None;
        synced
    }
}

/// A file under a hidden name, which goes away unless it got its own.
struct Temporary {
    /// Its hidden name; published files and what is written into have none.
    path: Option<PathBuf>,
    /// The name that it will have, as people gave it.
    target: PathBuf,
    /// Where that is; nowhere for standard output.
    to: Option<Destination>,
}

impl Temporary {
    /// Opens it to go on at its end.
    fn append(&self) -> io::Result<File> {
        File::options().append(true).open(self.path.as_deref().unwrap_or(&self.target))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::writing(&self.target, error)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nobody can be told; a leftover is hidden and never read.
            let _ = fs::remove_file(path);
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    fail::fail_point!("files-sync-folder", |_| Err(io::ErrorKind::StorageFull.into()));
    File::open(folder)?.sync_all()
}
