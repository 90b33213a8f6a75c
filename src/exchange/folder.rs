//! Parts as files of a folder that is gone when the run ends. A run that is killed leaves its folder behind, unlocked; the
//! next run beside it removes it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{ReadAt, Store};

/// What the names of folders begin with.
const PREFIX: &str = "spill-";

/// The file in each folder that its owner holds locked.
const LOCK: &str = "lock";

/// A folder that was to be locked so long ago never will be.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// A folder that is made when the first part is.
pub struct Folder {
    /// Where it is made.
    parent: PathBuf,
    path: PathBuf,
    /// The locked file, once there is one.
    made: Mutex<Option<File>>,
}

impl Folder {
    /// A folder of its own in `parent`, which is made, too, where it is missing.
    pub fn new(parent: &Path) -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
        // On a file system that several hosts share, two of them may have the same process number.
        let path = parent.join(format!("{PREFIX}{}-{nanos:09}-{number}", process::id()));
        Folder { parent: parent.to_owned(), path, made: Mutex::new(None) }
    }

    fn make(&self) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_none() {
            fs::create_dir_all(&self.parent)?;
            remove_orphans(&self.parent);
            *made = Some(locked(&self.path)?);
        }
        Ok(())
    }
}

/// Makes a folder that is locked from the first moment at which it has its name.
fn locked(path: &Path) -> io::Result<File> {
    let hidden = path.with_file_name(format!(".{}", path.file_name().unwrap_or_default().display()));
    fs::create_dir(&hidden)?;
    let lock = OpenOptions::new().write(true).create_new(true).open(hidden.join(LOCK))?;
    lock.try_lock()?;
    fs::rename(&hidden, path)?;
    Ok(lock)
}

/// Removes the folders in `parent` of runs that were killed: nobody holds their locks. One that cannot be removed stays.
pub fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let numbers = name.strip_prefix('.').unwrap_or(&name).strip_prefix(PREFIX);
        if !numbers.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')) {
            continue;
        }
        // A hidden one may be about to be locked, unless it is old.
        if name.starts_with('.') && !is_old(&path) {
            continue;
        }
        let lock = OpenOptions::new().write(true).open(path.join(LOCK));
        let left = lock.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |lock| lock.try_lock().is_ok());
        if left {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|facts| facts.modified()).ok();
    modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > FORGOTTEN)
}

impl Store for Folder {
    fn create(&self, name: &str) -> io::Result<Box<dyn Write + Send>> {
        self.make()?;
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }

    fn open_at(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

impl ReadAt for File {
    fn read_exact_at(&self, bytes: &mut [u8], place: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, place)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.made.get_mut().unwrap_or_else(PoisonError::into_inner).is_some() {
            // What cannot be removed now the next run removes.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
