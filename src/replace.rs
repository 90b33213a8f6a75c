//! Where a file that is written whole goes, and how it takes the place of an older one: at once, and so that nothing
//! but its content changes. A link still points to it, its owner is the same, and nobody may read it who may not read
//! the older one.
//!
//! What is not a regular file is written into, and never replaced: a pipe, a device, what `/dev/stdout` stands for.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The file behind all links.
    path: PathBuf,
    there: There,
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Nothing,
    File(Kept),
    /// What takes bytes and is not a regular file.
    Stream,
}

/// What a file keeps when another takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    owner: u32,
    group: u32,
    /// Who may read and write it.
    mode: u32,
}

/// A link leads to another at most so many times.
const LINKS: usize = 40;

impl Destination {
    /// What a path leads to.
    ///
    /// # Errors
    /// It is a folder, or cannot be looked up.
    pub fn of(path: &Path) -> io::Result<Self> {
        if Destination::is_own_stream(path) {
            return Ok(Destination { path: path.to_owned(), there: There::Stream });
        }
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Destination { path: follow(path)?, there: There::Nothing });
            }
            metadata => metadata?,
        };
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        if !metadata.is_file() {
            return Ok(Destination { path: path.to_owned(), there: There::Stream });
        }
        let path = match fs::symlink_metadata(path)?.is_symlink() {
            true => fs::canonicalize(path)?,
            false => path.to_owned(),
        };
        let kept = Kept { owner: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o777 };
        Ok(Destination { path, there: There::File(kept) })
    }

    /// Is it one of the files that this process was started with? A redirected one is added to.
    fn is_own_stream(path: &Path) -> bool {
        let own = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"];
        own.iter().any(|own| path.starts_with(own))
    }

    /// The file behind all links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is it written into, and not replaced?
    pub fn is_stream(&self) -> bool {
        self.there == There::Stream
    }

    /// Opens what is written into. A pipe opens once another program reads from it.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn open(&self) -> io::Result<File> {
        File::options().append(true).open(&self.path)
    }

    /// Makes a file that will take the place of the one that is there. Nobody may read it meanwhile who may not read
    /// that one.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn create(&self, temporary: &Path) -> io::Result<File> {
        let There::File(kept) = self.there else { return File::create(temporary) };
        // One that a killed process has left may be open to anybody.
        match fs::remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        let mode = kept.give(&file)?;
        // It may have to be opened again before it is whole.
        file.set_permissions(Permissions::from_mode(mode | 0o600))?;
        Ok(file)
    }

    /// Gives a file made by [`Destination::create`], whole by now, the name, in place of what has it.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn take(&self, temporary: &Path) -> io::Result<()> {
        if let There::File(kept) = self.there {
            let now = fs::metadata(temporary)?.mode() & 0o777;
            let mode = now & !0o600 | (kept.mode & 0o600);
            if mode != now {
                fs::set_permissions(temporary, Permissions::from_mode(mode))?;
            }
        }
        fs::rename(temporary, &self.path)
    }
}

impl Kept {
    /// Gives a file the same owner and group, as far as that is allowed; who may then do what with it. Where the group
    /// is another, it may do no more than everybody.
    fn give(self, file: &File) -> io::Result<u32> {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (self.owner, self.group) {
            let both = fchown(file, Some(self.owner), Some(self.group));
            if both.is_err() && own.gid() != self.group && fchown(file, None, Some(self.group)).is_err() {
                return Ok(self.for_strangers());
            }
        }
        Ok(self.mode)
    }

    fn for_strangers(self) -> u32 {
        let group = (self.mode >> 3) & self.mode & 0o7;
        self.mode & !0o070 | group << 3
    }
}

/// Where links lead, the last of which leads to nothing.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            // It is not a link, or not there.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("its links lead in a circle"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::Folder;

    fn replace(path: &Path, text: &str) {
        let destination = Destination::of(path).expect("a destination");
        let temporary = path.with_file_name("tmp");
        let mut file = destination.create(&temporary).expect("made");
        io::Write::write_all(&mut file, text.as_bytes()).expect("written");
        destination.take(&temporary).expect("renamed");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o777
    }

    #[test]
    fn what_takes_a_place_keeps_mode_and_links() {
        let folder = Folder::new("replace-keeps");
        let file = folder.write("sub/file", b"old");
        let (link, far) = (folder.path("link"), folder.path("far"));
        symlink("sub/file", &link).expect("a link");
        symlink(&link, &far).expect("a link");
        for wanted in [0o600, 0o640, 0o444, 0o604] {
            fs::set_permissions(&file, Permissions::from_mode(wanted)).expect("set");
            replace(&far, "new");
            assert_eq!((mode(&file), fs::read(&file).expect("there")), (wanted, b"new".to_vec()));
            assert!(fs::symlink_metadata(&far).expect("there").is_symlink());
        }
        assert_eq!(folder.names(), ["far", "link", "sub/file"]);
    }

    #[test]
    fn a_link_to_nothing_is_followed() {
        let folder = Folder::new("replace-dangling");
        let link = folder.path("link");
        symlink("later", &link).expect("a link");
        replace(&link, "new");
        assert_eq!(fs::read(folder.path("later")).expect("there"), b"new");
        symlink("round", folder.path("round")).expect("a link");
        assert!(Destination::of(&folder.path("round")).is_err());
    }

    #[test]
    fn what_is_left_of_a_killed_process_is_not_written_into() {
        let folder = Folder::new("replace-left");
        let file = folder.write("file", b"old");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
        let left = folder.write("tmp", b"a longer text than the new one");
        fs::set_permissions(&left, Permissions::from_mode(0o666)).expect("set");
        replace(&file, "new");
        assert_eq!((mode(&file), fs::read(&file).expect("there")), (0o600, b"new".to_vec()));
    }

    #[test]
    fn streams_are_known_and_folders_refused() {
        for path in ["/dev/null", "/dev/stdout", "/proc/self/fd/1"] {
            assert!(Destination::of(Path::new(path)).expect("a destination").is_stream(), "{path}");
        }
        let folder = Folder::new("replace-folder");
        assert!(!Destination::of(&folder.path("new")).expect("a destination").is_stream());
        let error = Destination::of(&folder.path("")).expect_err("a folder");
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn another_group_may_do_no_more_than_everybody() {
        for (mode, expected) in [(0o640, 0o600), (0o644, 0o644), (0o664, 0o644), (0o770, 0o700), (0o604, 0o604)] {
            assert_eq!(Kept { owner: 0, group: 0, mode }.for_strangers(), expected, "{mode:o}");
        }
    }
}
