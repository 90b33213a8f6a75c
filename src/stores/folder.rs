//! A folder with one JSON file per key: `81/bob.json`, and the key beside it where the name does not tell it.
//!
//! A document is written under a name of its own in `.tmp`, made durable, and renamed over the old one. Many at
//! once share the work: where the system can, their file system is made durable as a whole, once before they
//! get their names and once after. File by file, most file systems write their journal for each.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    Access, Change, KeyRange, Session, Store,
    names::{self, Meaning, Name},
};
use crate::failure::Failure;

/// Documents of a group: so many lie in `.tmp` at once.
const GROUP: usize = 4096;

/// So few documents are made durable one by one: a whole file system may have much else to write.
const FEW: usize = 4;

/// The folder of files that have no name yet.
const TEMPORARY: &str = ".tmp";

/// The file that names the run which is writing.
const MARKER: &str = ".writing";

/// What is this old in there was left by a process that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

/// The shared half.
pub(super) struct Folder {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    /// Whether it can be written to, found out once.
    writable: OnceLock<Result<(), Failure>>,
    /// Numbers the files in `.tmp`.
    next: AtomicU64,
    /// What the names there begin with, where the run has a name.
    run: OnceLock<String>,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        let inner =
            Inner { root: root.to_owned(), writable: OnceLock::new(), next: AtomicU64::new(0), run: OnceLock::new() };
        Folder { inner: Arc::new(inner) }
    }
}

impl Store for Folder {
    fn session(&self, access: Access) -> Result<Box<dyn Session>, Failure> {
        let inner = &self.inner;
        match access {
            Access::Read => drop(fs::read_dir(&inner.root).map_err(|error| Failure::reading(&inner.root, &error))?),
            Access::ReadIfThere => {}
            Access::Write => inner.writable.get_or_init(|| inner.prepare()).clone()?,
        }
        let root = (access == Access::Write).then(|| File::open(&inner.root)).transpose();
        let root = root.map_err(|error| Failure::reading(&inner.root, &error))?;
        let absent = access == Access::ReadIfThere && !inner.root.exists();
        Ok(Box::new(FolderSession { inner: Arc::clone(inner), root, absent, touched: BTreeSet::new() }))
    }

    fn parts(&self) -> Result<Vec<KeyRange>, Failure> {
        let part = |shard: String| KeyRange {
            name: self.inner.root.join(&shard).display().to_string(),
            to: Some(format!("{shard}~")),
            from: Some(shard),
        };
        Ok(self.inner.shards()?.into_iter().map(part).collect())
    }

    fn begin(&self, run: &str) -> Result<(), Failure> {
        let temporary = self.inner.root.join(TEMPORARY);
        for entry in fs::read_dir(&temporary).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(run)) {
                fs::remove_file(entry.path()).map_err(|error| Failure::writing(&temporary, &error))?;
            }
        }
        self.inner.run.get_or_init(|| run.to_owned());
        self.inner.writable.get_or_init(|| self.inner.prepare()).clone()?;
        // A later attempt leaves the marker alone: a kill while it is written would make the store look like another.
        if self.is_of(run)? {
            return Ok(());
        }
        let marker = self.inner.root.join(MARKER);
        let mark = || {
            let mut file = File::create(&marker)?;
            file.write_all(run.as_bytes())?;
            file.sync_all()?;
            File::open(&self.inner.root)?.sync_all()
        };
        mark().map_err(|error| Failure::creating(&marker, &error))
    }

    fn is_of(&self, run: &str) -> Result<bool, Failure> {
        let marker = self.inner.root.join(MARKER);
        match fs::read(&marker) {
            Ok(found) => Ok(found == run.as_bytes()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::reading(&marker, &error)),
        }
    }

    fn end(&self, run: &str) -> Result<(), Failure> {
        if !self.is_of(run)? {
            return Ok(());
        }
        let marker = self.inner.root.join(MARKER);
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::writing(&marker, &error)),
            _ => Ok(()),
        }
    }

    fn place(&self, key: &str) -> String {
        self.inner.document(&names::name(key)).display().to_string()
    }
}

impl Inner {
    fn document(&self, name: &Name) -> PathBuf {
        self.root.join(&name.shard).join(format!("{}.json", name.stem))
    }

    /// The file beside a document that holds its key.
    fn beside(&self, name: &Name) -> PathBuf {
        self.root.join(&name.shard).join(format!("{}.key", name.stem))
    }

    /// Creates the folder, and tries every folder in it that will be written to.
    fn prepare(&self) -> Result<(), Failure> {
        let creating = |path: &Path, error: &io::Error| Failure::creating(path, error);
        let temporary = self.root.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(|error| creating(&temporary, &error))?;
        self.sweep(&temporary);
        let shards = self.shards()?.into_iter().map(|shard| self.root.join(shard));
        for folder in [self.root.clone(), temporary].into_iter().chain(shards) {
            // Asked, not tried: what is made to try stays when the process is killed.
            let may = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            rustix::fs::access(&folder, may).map_err(|error| creating(&folder, &error.into()))?;
        }
        Ok(())
    }

    /// Removes what killed processes left. Where that fails it stays: it is hidden and never read.
    fn sweep(&self, temporary: &Path) {
        let Some(before) = SystemTime::now().checked_sub(LEFT_BEHIND) else { return };
        for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|modified| modified < before) || entry.file_name().to_str().is_some_and(is_orphan) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The folders of documents that are there, sorted.
    fn shards(&self) -> Result<Vec<String>, Failure> {
        let names = list(&self.root)?;
        Ok(names.into_iter().filter(|name| names::is_shard(name)).collect())
    }

    /// A new file of which no other process and no other thread has the name.
    fn create_in(&self, folder: &Path) -> io::Result<(PathBuf, File)> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let run = self.run.get().map(|run| format!("{run}-")).unwrap_or_default();
            let path = folder.join(format!("{run}{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                file => return file.map(|file| (path, file)),
            }
        }
    }
}

/// Is the process gone that a temporary file names, as `RUN-PID-NUMBER` or `PID-NUMBER`? The lock on the folder keeps
/// runs on other machines away from it.
fn is_orphan(name: &str) -> bool {
    let pid: Option<u32> = name.rsplit('-').nth(1).and_then(|pid| pid.parse().ok());
    // Where the system does not list its processes there, nobody is known to be gone.
    Path::new("/proc/self").exists() && pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Names in a folder that are UTF-8, sorted.
fn list(folder: &Path) -> Result<Vec<String>, Failure> {
    let reading = |error: &io::Error| Failure::reading(folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| reading(&error))? {
        names.extend(entry.map_err(|error| reading(&error))?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// One thread's half.
struct FolderSession {
    inner: Arc<Inner>,
    /// The folder, open since before anything was written: so it hears of whatever fails to be written.
    root: Option<File>,
    /// There was no folder when it began: nothing needs to be looked for.
    absent: bool,
    /// Folders whose names are not durable yet.
    touched: BTreeSet<PathBuf>,
}

/// A file that lacks only its name; removed if it does not get it.
struct Pending {
    path: PathBuf,
    target: PathBuf,
    named: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.named {
            // Nobody can be told; a leftover is hidden and never read.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Session for FolderSession {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        if self.absent {
            return Ok(None);
        }
        let path = self.inner.document(&names::name(key));
        match fs::read(&path) {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::reading(&path, &error)),
        }
    }

    fn put(&mut self, changes: &[Change<'_>]) -> Result<(), Failure> {
        self.touched.clear();
        let whole = self.root.as_ref().filter(|_| changes.len() > FEW && CAN_SYNC_WHOLE);
        let whole = whole.map(File::try_clone).transpose().map_err(|error| self.writing(&error))?;
        for group in changes.chunks(GROUP) {
            self.group(group, whole.as_ref())?;
        }
        if let Some(whole) = &whole {
            return sync_whole(whole).map_err(|error| self.writing(&error));
        }
        for folder in &self.touched {
            sync(folder).map_err(|error| Failure::writing(folder, &error))?;
        }
        Ok(())
    }

    fn keys(&mut self, part: &KeyRange) -> Result<Vec<String>, Failure> {
        let KeyRange { from, to, .. } = part;
        let mut keys = Vec::new();
        for shard in self.inner.shards()? {
            if from.as_ref().is_none_or(|from| shard >= *from) && to.as_ref().is_none_or(|to| shard < *to) {
                self.shard_keys(&shard, &mut keys)?;
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }
}

impl FolderSession {
    fn writing(&self, error: &io::Error) -> Failure {
        Failure::writing(&self.inner.root, error)
    }

    /// Writes a group of documents and makes their contents durable, then gives them their names. `whole` is
    /// what to make durable as a whole; each file on its own where it is not given.
    fn group(&mut self, changes: &[Change<'_>], whole: Option<&File>) -> Result<(), Failure> {
        let mut pending = Vec::with_capacity(changes.len());
        let mut gone = Vec::new();
        for change in changes {
            let name = names::name(change.key);
            match change.document {
                Some(document) => {
                    // The key's own file comes first: a document is never there without it.
                    if name.hashed && !self.inner.beside(&name).exists() {
                        pending.push(self.write(change.key, self.inner.beside(&name), whole.is_none())?);
                    }
                    pending.push(self.write(document, self.inner.document(&name), whole.is_none())?);
                }
                None => gone.push(name),
            }
        }
        if let Some(whole) = whole {
            sync_whole(whole).map_err(|error| self.writing(&error))?;
        }
        pending.iter_mut().try_for_each(|file| self.publish(file))?;
        gone.iter().try_for_each(|name| self.remove(name))
    }

    fn write(&self, text: &str, target: PathBuf, durable: bool) -> Result<Pending, Failure> {
        let created = self.inner.create_in(&self.inner.root.join(TEMPORARY));
        let (path, mut file) = created.map_err(|error| Failure::writing(&target, &error))?;
        let pending = Pending { path, target, named: false };
        fail::fail_point!("folder-write", |_| Err(Failure::writing(
            &pending.target,
            &io::ErrorKind::StorageFull.into()
        )));
        let written = file.write_all(text.as_bytes()).and_then(|()| if durable { file.sync_data() } else { Ok(()) });
        written.map_err(|error| Failure::writing(&pending.target, &error))?;
        Ok(pending)
    }

    /// Gives a file its name.
    fn publish(&mut self, file: &mut Pending) -> Result<(), Failure> {
        fail::fail_point!("folder-rename", |_| Err(Failure::writing(&file.target, &io::ErrorKind::StorageFull.into())));
        let folder = file.target.parent().unwrap_or(&self.inner.root);
        let named = match fs::rename(&file.path, &file.target) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.touched.insert(self.inner.root.clone());
                fs::create_dir_all(folder).and_then(|()| fs::rename(&file.path, &file.target))
            }
            named => named,
        };
        named.map_err(|error| Failure::writing(&file.target, &error))?;
        file.named = true;
        if !self.touched.contains(folder) {
            self.touched.insert(folder.to_owned());
        }
        Ok(())
    }

    fn remove(&mut self, name: &Name) -> Result<(), Failure> {
        let document = self.inner.document(name);
        match fs::remove_file(&document) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::writing(&document, &error)),
            Ok(()) => {}
        }
        if name.hashed {
            // A key without a document says nothing: it may as well stay.
            let _ = fs::remove_file(self.inner.beside(name));
        }
        self.touched.extend(document.parent().map(Path::to_owned));
        Ok(())
    }

    fn shard_keys(&self, shard: &str, keys: &mut Vec<String>) -> Result<(), Failure> {
        let folder = self.inner.root.join(shard);
        for file in list(&folder)? {
            let Some(stem) = file.strip_suffix(".json") else { continue };
            let key = match names::meaning(stem) {
                Meaning::Key(key) => key,
                Meaning::Foreign => continue,
                Meaning::Beside => {
                    let path = folder.join(format!("{stem}.key"));
                    fs::read_to_string(&path).map_err(|error| Failure::reading(&path, &error))?
                }
            };
            // A file that someone copied to another folder is not found under its key.
            if names::name(&key).shard == shard {
                keys.push(key);
            }
        }
        Ok(())
    }
}

/// Can this system make a file system durable as a whole, and say so when that failed?
const CAN_SYNC_WHOLE: bool = cfg!(target_os = "linux");

/// Makes everything durable that was written to the file system of an open file.
#[cfg(target_os = "linux")]
fn sync_whole(of: &File) -> io::Result<()> {
    fail::fail_point!("folder-sync-whole", |_| Err(io::ErrorKind::StorageFull.into()));
    rustix::fs::syncfs(of).map_err(io::Error::from)
}

/// Never called: see [`CAN_SYNC_WHOLE`].
#[cfg(not(target_os = "linux"))]
fn sync_whole(of: &File) -> io::Result<()> {
    of.sync_all()
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    fail::fail_point!("folder-sync", |_| Err(io::ErrorKind::StorageFull.into()));
    File::open(folder)?.sync_all()
}
