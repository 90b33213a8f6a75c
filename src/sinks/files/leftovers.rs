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
    /// No notes yet. Where the run cannot be resumed none are made.
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

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::testing::Folder;

    fn attempt(folder: &Folder) -> Attempt {
        Attempt { again: true, ..Attempt::of("0123456789abcdef", "out", folder.path("job.run")) }
    }

    #[test]
    fn what_was_noted_goes_and_nothing_else() {
        let folder = Folder::new("leftovers");
        let attempt = attempt(&folder);
        let odd = std::ffi::OsStr::from_bytes(b".odd\n \xff.tmp");
        let odd = folder.path("").join(odd);
        let [made, other] = [".a.tmp", ".b.tmp"].map(|name| folder.path(name));
        let mut notes = Leftovers::new(Some(&attempt));
        assert_eq!(notes.tag(), attempt.run);
        for path in [&made, &odd, &folder.path("never made")] {
            notes.note(path).expect("noted");
        }
        for path in [&made, &odd, &other] {
            fs::write(path, "x").expect("written");
        }
        Leftovers::remove(&attempt).expect("removed");
        assert_eq!([&made, &odd, &other].map(|path| path.exists()), [false, false, true]);
        assert!(!place(&attempt).exists(), "the notes go too");
        Leftovers::remove(&attempt).expect("there is nothing to remove");
    }

    #[test]
    fn a_note_that_was_cut_off_names_no_file() {
        let folder = Folder::new("leftovers-cut");
        let attempt = attempt(&folder);
        let [first, second] = [".a.tmp", ".b.tmp"].map(|name| folder.path(name));
        let mut notes = Leftovers::new(Some(&attempt));
        notes.note(&first).expect("noted");
        notes.note(&second).expect("noted");
        let whole = fs::read(place(&attempt)).expect("notes");
        let end = whole.iter().position(|byte| *byte == 0).expect("an end") + 1;
        // A shorter name than the one that was meant may be another's file.
        for cut in 0..whole.len() {
            fs::write(place(&attempt), &whole[..cut]).expect("written");
            for path in [&first, &second] {
                fs::write(path, "x").expect("written");
            }
            Leftovers::remove(&attempt).expect("removed");
            assert_eq!([first.exists(), second.exists()], [cut < end, true], "cut at {cut}");
        }
    }

    #[test]
    fn what_cannot_be_removed_is_told_and_stays_noted() {
        let folder = Folder::new("leftovers-stuck");
        let attempt = attempt(&folder);
        let stuck = folder.path("stuck");
        Leftovers::new(Some(&attempt)).note(&stuck).expect("noted");
        // No file can be removed that is a folder.
        fs::create_dir(&stuck).expect("made");
        let failure = Leftovers::remove(&attempt).expect_err("not removed");
        assert!(failure.message.contains("stuck"), "{failure}");
        assert!(place(&attempt).exists());
    }

    #[test]
    fn without_an_attempt_nothing_is_noted() {
        let mut notes = Leftovers::new(None);
        notes.note(Path::new("x")).expect("nothing to do");
        assert_eq!(notes.tag(), std::process::id().to_string());
    }
}
