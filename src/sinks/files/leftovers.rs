//! Hidden files that a killed attempt has left: each is noted in the job's folder before it is made, and removed
//! when the next attempt begins. No other run's files are touched: the lock keeps this job's folder to one run.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use crate::{failure::Failure, stage::Attempt};

/// The notes of one sink.
pub(super) struct Leftovers {
    tag: String,
    /// Where they are kept, and the file once something is noted.
    notes: Option<(PathBuf, Option<File>)>,
}

fn place(attempt: &Attempt) -> PathBuf {
    attempt.folder.join(format!("{}.files", attempt.stage))
}

impl Leftovers {
    /// No notes yet. Where the run cannot be gone on with none are made.
    pub(super) fn new(attempt: Option<&Attempt>) -> Self {
        match attempt {
            Some(attempt) => Leftovers { tag: attempt.run.clone(), notes: Some((place(attempt), None)) },
            None => Leftovers { tag: std::process::id().to_string(), notes: None },
        }
    }

    /// What tells this run's hidden files from those of others.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// Notes a file that will be made.
    pub(super) fn note(&mut self, path: &Path) -> Result<(), Failure> {
        let Some((place, file)) = &mut self.notes else { return Ok(()) };
        let mut note = || {
            fail::fail_point!("files-note", |_| Err(std::io::ErrorKind::StorageFull.into()));
            if file.is_none() {
                fs::create_dir_all(place.parent().unwrap_or(Path::new(".")))?;
                *file = Some(File::options().create(true).append(true).open(&*place)?);
            }
            // The working directory may be another one next time. A zero byte is in no name.
            let mut line = std::path::absolute(path)?.into_os_string().into_encoded_bytes();
            line.push(0);
            file.as_mut().map_or(Ok(()), |file| file.write_all(&line))
        };
        note().map_err(|error| Failure::creating(place, &error))
    }

    /// Removes what earlier attempts have left, and the notes.
    pub(super) fn remove(attempt: &Attempt) -> Result<(), Failure> {
        let place = place(attempt);
        let notes = match fs::read(&place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            notes => notes.map_err(|error| Failure::reading(&place, &error))?,
        };
        // A last one that is cut off was not made.
        let whole = notes.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
        for name in notes[..whole].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let path = PathBuf::from(OsString::from_vec(name.to_vec()));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Failure::writing(&path, &error)),
                _ => {}
            }
        }
        fs::remove_file(&place).map_err(|error| Failure::writing(&place, &error))
    }
}
