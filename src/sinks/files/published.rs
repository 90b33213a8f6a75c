//! What a run has published, noted in the job's folder before it appears: by that a later attempt sees whether it is
//! still there, and still the same.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Write},
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::output::Finished;
use crate::{failure::Failure, stage::Attempt};

/// The notes of one sink.
pub(super) struct Published {
    /// Where they are kept, if the run can be resumed.
    notes: Option<PathBuf>,
}

fn place(attempt: &Attempt) -> PathBuf {
    attempt.folder.join(format!("{}.{}.published", attempt.stage, attempt.run))
}

/// What a file keeps when it is renamed, and has no longer once something else is written to it or put in its place.
fn mark(file: &Metadata) -> String {
    format!("{} {} {}.{:09}", file.size(), file.ino(), file.mtime(), file.mtime_nsec())
}

impl Published {
    pub(super) fn new(attempt: Option<&Attempt>) -> Self {
        Published { notes: attempt.map(place) }
    }

    /// Notes files that get their names next, durably.
    pub(super) fn note<'a>(&self, files: impl Iterator<Item = &'a Finished>) -> Result<(), Failure> {
        let Some(place) = &self.notes else { return Ok(()) };
        let note = || {
            fail::fail_point!("files-note-published", |_| Err(ErrorKind::StorageFull.into()));
            let mut notes = Vec::new();
            for (hidden, path) in files.filter_map(Finished::paths) {
                notes.extend_from_slice(mark(&fs::metadata(hidden)?).as_bytes());
                notes.push(b'\n');
                notes.extend(std::path::absolute(path)?.into_os_string().into_vec());
                // It is in no name.
                notes.push(0);
            }
            fs::create_dir_all(place.parent().unwrap_or(Path::new(".")))?;
            // Several workers may write to one sink; later notes of a file count.
            let mut file = File::options().create(true).append(true).open(place)?;
            file.write_all(&notes)?;
            file.sync_all()
        };
        note().map_err(|error: io::Error| Failure::creating(place, &error))
    }

    /// What of an attempt's run, all of which was published, is not there any more, in a sentence without its end.
    pub(super) fn lost(attempt: &Attempt) -> Result<Option<String>, Failure> {
        let (place, run) = (place(attempt), &attempt.run);
        let notes = match fs::read(&place) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Some(format!("`{}`, which says what run {run} has written, is gone", place.display())));
            }
            notes => notes.map_err(|error| Failure::reading(&place, &error))?,
        };
        let notes = notes.split(|byte| *byte == 0).filter_map(|note| {
            let end = note.iter().position(|byte| *byte == b'\n')?;
            Some((&note[end + 1..], &note[..end]))
        });
        for (path, noted) in notes.collect::<BTreeMap<_, _>>() {
            let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
            match fs::metadata(&path) {
                Ok(file) if mark(&file).as_bytes() == noted => {}
                Ok(_) => return Ok(Some(format!("`{}` is not what run {run} has written", path.display()))),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Some(format!("`{}`, which run {run} has written, is gone", path.display())));
                }
                Err(error) => return Err(Failure::reading(&path, &error)),
            }
        }
        Ok(None)
    }
}
