//! Keeps two runs of one job apart: a locked file in the state directory that names its owner.
//!
//! The lock is the kernel's (`flock`), so it ends with its owner however that dies; the text in the file
//! is for people.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    /// Locked as long as it is open.
    file: File,
}

/// Keeps runs of different jobs, or of one job under two names, from writing one target at once. It lies beside the
/// target, hidden, and is gone when the run ends.
#[derive(Debug)]
pub struct TargetLock {
    /// Locked as long as it is open.
    _file: File,
    path: PathBuf,
}

/// Pause before the second try to get a lock; doubled before each further one.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(1);

/// How often a file is looked at in which no owner stands yet.
const LOOKS: u32 = 5;

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
        let mut file = open(state, &path).map_err(|error| {
            let Failure { exit, message } = Failure::creating(&path, &error);
            Failure::new(exit, format!("{message}; `--state DIR` keeps what is known of the job elsewhere"))
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&mut file, job)),
            Err(TryLockError::Error(error)) => return Err(Failure::creating(&path, &error)),
        }
        write_owner(&mut file).map_err(|error| Failure::writing(&path, &error))?;
        Ok(Lock { file })
    }

    /// Takes the lock, waiting for its owner for as long as `patience` says. `told` hears who holds it, once for
    /// each owner; `given_up` is asked before every further try whether to wait on.
    ///
    /// # Errors
    /// As [`Lock::take`], where the owner still holds it at the end.
    pub fn wait(
        state: &Path,
        job: &str,
        patience: Duration,
        told: &mut dyn FnMut(&Failure),
        given_up: &dyn Fn() -> bool,
    ) -> Result<Lock, Failure> {
        take_patiently(patience, told, given_up, || Lock::take(state, job))
    }
}

/// Tries to take a lock until it is free, `patience` is at an end or `given_up` says so.
fn take_patiently<T>(
    patience: Duration,
    told: &mut dyn FnMut(&Failure),
    given_up: &dyn Fn() -> bool,
    take: impl Fn() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let start = Instant::now();
    let (mut pause, mut owner) = (SHORTEST, None);
    loop {
        let held = match take() {
            Err(held) if held.exit == Exit::TryAgain => held,
            other => return other,
        };
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() || given_up() {
            return Err(held);
        }
        if owner.as_ref() != Some(&held) {
            told(&held);
            owner = Some(held);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST);
    }
}

impl TargetLock {
    /// Takes the lock of a target, by its real path: a file, a folder, or a pattern of files below one. `None` where
    /// there is nothing to lock: a device, a pipe, or a folder in which this process may not create anything, of
    /// which the stage that writes there will tell.
    ///
    /// # Errors
    /// Exit 75 where another run holds it, naming its owner.
    pub fn take(target: &Path) -> Result<Option<TargetLock>, Failure> {
        let Some(path) = beside(target) else { return Ok(None) };
        loop {
            let Ok(mut file) = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
            else {
                return Ok(None);
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let by = owner(&mut file).map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
                    let message = format!("`{}` is being written by {by}", target.display());
                    return Err(Failure::new(Exit::TryAgain, message));
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
            // Its last owner may have removed it between the two calls: then another file can have the name by now.
            let same = fs::metadata(&path).ok().zip(file.metadata().ok());
            if same.is_some_and(|(named, own)| (named.dev(), named.ino()) == (own.dev(), own.ino())) {
                // Whoever is refused without knowing by whom is still refused.
                let _ = write_owner(&mut file);
                return Ok(Some(TargetLock { _file: file, path }));
            }
        }
    }
}

impl TargetLock {
    /// Takes the lock as [`TargetLock::take`] does, waiting for its owner as [`Lock::wait`] does.
    ///
    /// # Errors
    /// Exit 75 where another run still holds it at the end.
    pub fn wait(
        target: &Path,
        patience: Duration,
        told: &mut dyn FnMut(&Failure),
        given_up: &dyn Fn() -> bool,
    ) -> Result<Option<TargetLock>, Failure> {
        take_patiently(patience, told, given_up, || TargetLock::take(target))
    }

    /// Is it the lock of this target?
    pub fn is_of(&self, target: &Path) -> bool {
        beside(target).is_some_and(|path| path == self.path)
    }
}

impl Drop for TargetLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The lock file of a target. Its folder is made where it is missing: the target will need it.
fn beside(target: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(target).ok();
    let metadata = real.as_ref().and_then(|real| fs::metadata(real).ok());
    if metadata.is_some_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return None;
    }
    let target = real.as_deref().unwrap_or(target);
    // Only the part before the first placeholder is a place.
    let literal: PathBuf = target.iter().take_while(|part| !part.as_encoded_bytes().contains(&b'{')).collect();
    let pattern = target.strip_prefix(&literal).ok()?;
    let (folder, name) = match pattern.as_os_str().is_empty() {
        true => (literal.parent()?.to_owned(), literal.file_name()?.to_owned()),
        false => (literal, pattern.as_os_str().to_owned()),
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
    fs::create_dir_all(folder).ok()?;
    let name = name.to_string_lossy().replace('/', "%");
    // Names have 255 bytes at most.
    let name: String = name.chars().take(60).collect();
    Some(fs::canonicalize(folder).ok()?.join(format!(".{name}.runner-lock")))
}

impl Drop for Lock {
    /// Whoever looks at the file between two owners must not take the last one for the next.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

fn open(state: &Path, path: &PathBuf) -> std::io::Result<File> {
    std::fs::create_dir_all(state)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn write_owner(file: &mut File) -> std::io::Result<()> {
    let owner = Owner { pid: std::process::id(), host: host(), since: crate::rejects::now() };
    let text = serde_json::to_string(&owner).unwrap_or_default();
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()))
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { pid, host, since } = self;
        write!(f, "process {pid} on {host} since {since}")
    }
}

fn held(file: &mut File, job: &str) -> Failure {
    let by = owner(file).map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
    Failure::new(Exit::TryAgain, format!("job `{job}` is being run by {by}"))
}

/// Who holds the lock. One who has just got it may not have written that yet.
fn owner(file: &mut File) -> Option<Owner> {
    for _ in 0..LOOKS {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if let Some(owner) = read.ok().and_then(|_| serde_json::from_str(&text).ok()) {
            return Some(owner);
        }
        std::thread::sleep(SHORTEST);
    }
    None
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

    #[test]
    fn a_target_has_one_writer_whatever_path_leads_to_it() {
        let folder = std::env::temp_dir().join(format!("runner-lock-target-{}", std::process::id()));
        fs::create_dir_all(folder.join("real")).expect("made");
        std::os::unix::fs::symlink(folder.join("real"), folder.join("link")).expect("linked");
        for name in ["new.csv", "{split}.csv", "{a}/b/{c}.csv"] {
            let first = TargetLock::take(&folder.join("real").join(name)).expect("free").expect("a lock");
            let held = TargetLock::take(&folder.join("link").join(name)).expect_err("by another path");
            assert_eq!(held.exit, Exit::TryAgain);
            assert!(held.message.contains(&format!("process {}", std::process::id())), "{held}");
            TargetLock::take(&folder.join("link/other.csv")).expect("another target").expect("a lock");
            drop(first);
            assert_eq!(fs::read_dir(folder.join("real")).expect("there").count(), 0, "nothing is left");
        }
        assert!(TargetLock::take(Path::new("/dev/null")).expect("nothing to lock").is_none());
        fs::remove_dir_all(&folder).expect("made above");
    }

    #[test]
    fn waiting_ends_with_the_owner_with_patience_or_when_told() {
        let state = std::env::temp_dir().join(format!("runner-lock-wait-{}", std::process::id()));
        let first = Lock::take(&state, "job").expect("the first gets it");
        let mut said = Vec::new();
        let mut told = |failure: &Failure| said.push(failure.message.clone());
        for (patience, given_up) in [(Duration::from_millis(50), false), (Duration::from_secs(600), true)] {
            let second = Lock::wait(&state, "job", patience, &mut told, &|| given_up).expect_err("it is held");
            assert_eq!(second.exit, Exit::TryAgain);
        }
        assert_eq!(said.len(), 1, "the owner is named once, and not where nobody waits");
        let owner = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(first);
        });
        let wait = Duration::from_secs(600);
        Lock::wait(&state, "job", wait, &mut |_| (), &|| false).expect("it is let go meanwhile");
        owner.join().expect("it does not panic");
        assert_eq!(std::fs::read_to_string(state.join("job.lock")).expect("it stays"), "", "nobody owns it now");
        std::fs::remove_dir_all(&state).expect("made above");
    }
}
