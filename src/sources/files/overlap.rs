//! Does a source read what something writes? Asked of everything that a job writes: a run that writes its own input
//! destroys it, and one whose output matches its own glob reads it again the next time.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

use glob::Pattern;

use super::list::{MATCH, list_all, plain};

/// What a source reads.
pub(super) struct Inputs {
    patterns: Vec<String>,
    /// The files that there are, by device and number: looked up where a file is written that is there already.
    listed: OnceLock<HashMap<(u64, u64), Vec<PathBuf>>>,
}

impl Inputs {
    /// What these paths and globs mean.
    pub(super) fn new(patterns: Vec<String>) -> Self {
        Inputs { patterns, listed: OnceLock::new() }
    }

    /// Is this file among them, now or once it is there?
    pub(super) fn has(&self, file: &Path) -> bool {
        let there = fs::metadata(file);
        if there.as_ref().is_ok_and(|there| !there.is_file()) {
            return false;
        }
        let Some(real) = real(file) else { return false };
        if self.patterns.iter().any(|pattern| means(pattern, &real)) {
            return true;
        }
        // A link in a folder that is read may lead to it.
        let Ok(there) = there else { return false };
        let listed = self.listed.get_or_init(|| {
            let mut listed: HashMap<_, Vec<PathBuf>> = HashMap::new();
            for path in list_all(&self.patterns, true).unwrap_or_default() {
                if let Ok(metadata) = fs::metadata(&path) {
                    listed.entry((metadata.dev(), metadata.ino())).or_default().push(path);
                }
            }
            listed
        });
        let same = listed.get(&(there.dev(), there.ino()));
        // Not so where it is another name of the same content, which keeps that when this one is replaced.
        same.is_some_and(|same| same.iter().any(|path| fs::canonicalize(path).is_ok_and(|path| path == real)))
    }
}

/// Is a file, links left aside, what a pattern means?
fn means(pattern: &str, real_file: &Path) -> bool {
    if real(Path::new(pattern)).is_some_and(|path| path == real_file) {
        return true;
    }
    let base: PathBuf = Path::new(pattern).components().take_while(|part| !is_glob(*part)).collect();
    let Ok(rest) = Path::new(pattern).strip_prefix(&base) else { return false };
    let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base };
    let Some(base) = fs::canonicalize(base).ok() else { return false };
    // Compared below the folder, so that no letter of its name means anything.
    let (Ok(below), Ok(rest)) = (real_file.strip_prefix(&base), Pattern::new(&plain(rest).to_string_lossy())) else {
        return false;
    };
    rest.matches_path_with(Path::new(&*below.to_string_lossy()), MATCH)
}

fn is_glob(part: Component<'_>) -> bool {
    part.as_os_str().to_string_lossy().contains(['*', '?', '['])
}

/// Where a file really is. One that is not there yet is where its folder is, or what is there of its folders.
fn real(file: &Path) -> Option<PathBuf> {
    if let Ok(path) = fs::canonicalize(file) {
        return Some(path);
    }
    if let Ok(to) = fs::read_link(file)
        && to != file
    {
        let to = file.parent().unwrap_or(Path::new("")).join(to);
        // A link to nothing; one that leads in a circle is not a file.
        return fs::symlink_metadata(&to).is_err().then(|| real(&to)).flatten();
    }
    let (name, folder) = (file.file_name()?, file.parent()?);
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Some(real(folder)?.join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn what_a_source_reads_is_known_by_its_real_path() {
        let folder = Folder::new("overlap");
        for name in ["in/a.csv", "in/b[1].csv", "other/c.csv", "other/d.csv", "deep/x/y.csv"] {
            folder.write(name, b"x");
        }
        symlink(folder.path("other/c.csv"), folder.path("in/link.csv")).expect("a link");
        symlink(folder.path("in"), folder.path("door")).expect("a link");
        symlink(folder.path("in/later.csv"), folder.path("dangling")).expect("a link");
        fs::hard_link(folder.path("in/a.csv"), folder.path("twin.csv")).expect("a link");
        let cases = [
            ("in/*.csv", "in/a.csv", true),
            ("in/*.csv", "in/new.csv", true),
            ("in/*.csv", "door/new.csv", true),
            ("door/*.csv", "in/new.csv", true),
            ("in/*.csv", "dangling", true),
            ("in/*.csv", "in/../in/./new.csv", true),
            // It is read through the link.
            ("in/*.csv", "other/c.csv", true),
            ("in/*.csv", "other/d.csv", false),
            ("in/*.csv", "in/new.tsv", false),
            ("in/*.csv", "in/.new.csv", false),
            ("in/*.csv", "in/sub/new.csv", false),
            ("in/**", "in/sub/new.csv", true),
            ("**/y.csv", "deep/z/y.csv", true),
            ("in/b[1].csv", "in/b[1].csv", true),
            ("in/a.csv", "in/b.csv", false),
            ("in/a.csv", "door/a.csv", true),
            // Another name of the same content keeps that.
            ("in/a.csv", "twin.csv", false),
            ("no/such/*.csv", "no/such/a.csv", false),
            ("no/such/a.csv", "no/such/a.csv", true),
            ("/dev/null", "/dev/null", false),
        ];
        for (pattern, file, expected) in cases {
            let at = |name: &str| if name.starts_with('/') { name.to_owned() } else { folder.text(name) };
            assert_eq!(Inputs::new(vec![at(pattern)]).has(Path::new(&at(file))), expected, "{pattern} {file}");
        }
    }
}
