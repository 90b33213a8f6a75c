//! Keeps two runs of one job apart: a locked file in the state directory that names its owner.
//!
//! The lock is the kernel's (`flock`), so it ends with its owner however that dies; the text in the file
//! is for people.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    /// Locked as long as it is open.
    _file: File,
}

#[derive(Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
    since: String,
}

impl Lock {
    /// Takes the lock of a job in the state directory `state`, which is made where it is missing.
    ///
    /// # Errors
    /// Exit 75 where another run holds it, naming its owner; 73 where the file cannot be made.
    pub fn take(state: &Path, job: &str) -> Result<Lock, Failure> {
        let path = state.join(format!("{job}.lock"));
        let mut file = open(state, &path).map_err(|error| Failure::creating(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&mut file, job)),
            Err(TryLockError::Error(error)) => return Err(Failure::creating(&path, &error)),
        }
        let owner = Owner { pid: std::process::id(), host: host(), since: crate::rejects::now() };
        let text = serde_json::to_string(&owner).unwrap_or_default();
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::writing(&path, &error))?;
        Ok(Lock { _file: file })
    }
}

fn open(state: &Path, path: &PathBuf) -> std::io::Result<File> {
    std::fs::create_dir_all(state)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn held(file: &mut File, job: &str) -> Failure {
    let mut text = String::new();
    let owner = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Owner>(&text).ok());
    let by = match owner {
        Some(Owner { pid, host, since }) => format!("process {pid} on {host} since {since}"),
        None => "another process".to_owned(),
    };
    Failure::new(Exit::TryAgain, format!("job `{job}` is being run by {by}"))
}

/// This machine's name, as far as the system tells it.
fn host() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.map_or_else(|_| "an unnamed host".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_gets_it_afterwards() {
        let state = std::env::temp_dir().join(format!("runner-lock-{}", std::process::id()));
        let first = Lock::take(&state, "job").expect("the first gets it");
        let second = Lock::take(&state, "job").expect_err("the second does not");
        assert_eq!(second.exit, Exit::TryAgain);
        assert!(second.message.contains(&format!("process {}", std::process::id())), "{second}");
        Lock::take(&state, "other").expect("another job has its own");
        drop(first);
        Lock::take(&state, "job").expect("free again");
        std::fs::remove_dir_all(&state).expect("made above");
    }
}
