//! Which files there are: what paths and globs mean, and what a file was when it was listed.
//!
//! Every name that a pattern matches is listed, also one that is not UTF-8: what is not a character stands there for
//! one that only `*`, `?` and `[!…]` match.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt::Write,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

use crate::{
    failure::{Exit, Failure},
    stage::{Detail, Split},
};

/// How a name matches a part of a pattern: hidden ones only where the part has the dot, too.
pub(super) const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files that a path or glob means, in order. A file whose very name it is goes before any meaning as a glob.
pub(super) fn list(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let literal = Path::new(pattern);
    if fs::metadata(literal).is_ok_and(|metadata| !metadata.is_dir()) {
        return Ok(vec![plain(literal)]);
    }
    let mut walk = Walk { parts: parts(pattern)?, found: Vec::new() };
    let root = if pattern.starts_with('/') { "/" } else { "" };
    walk.descend(Path::new(root), 0)?;
    let mut files = walk.found;
    files.sort();
    files.dedup();
    if files.is_empty() {
        let mut message = format!("no file matches `{pattern}`");
        if literal.is_dir() {
            let folder = pattern.trim_end_matches('/');
            let _ = write!(message, ", which is a folder; read what is in it with `{folder}/*` or `{folder}/**/*`");
        }
        return Err(Failure::new(Exit::InputMissing, message));
    }
    Ok(files)
}

/// The files that some paths and globs mean, in order, each once. A pattern that matches nothing is passed over where
/// that `may_be`.
pub(super) fn list_all<'a>(
    patterns: impl IntoIterator<Item = &'a String>,
    may_be: bool,
) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for pattern in patterns {
        match list(pattern) {
            Err(failure) if failure.exit == Exit::InputMissing && may_be => {}
            found => files.extend(found?),
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// One part of a pattern, between two slashes.
enum Part {
    /// Just this name.
    Name(String),
    /// Names like this.
    Like(Pattern),
    /// `**`: this folder and all below it.
    Below,
}

fn parts(pattern: &str) -> Result<Vec<Part>, Failure> {
    let spec =
        |error: glob::PatternError| Failure::new(Exit::Spec, format!("`{pattern}` is not a glob: {}", error.msg));
    Pattern::new(pattern).map_err(spec)?;
    let mut parts = Vec::new();
    for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            "**" if matches!(parts.last(), Some(Part::Below)) => {}
            "**" => parts.push(Part::Below),
            _ if part.contains(['*', '?', '[']) => parts.push(Part::Like(Pattern::new(part).map_err(spec)?)),
            _ => parts.push(Part::Name(part.to_owned())),
        }
    }
    if let Some(Part::Below) = parts.last() {
        parts.push(Part::Like(Pattern::new("*").map_err(spec)?));
    }
    Ok(parts)
}

/// A walk through the folders that a pattern reaches.
struct Walk {
    parts: Vec<Part>,
    found: Vec<PathBuf>,
}

impl Walk {
    /// Goes on in `base` with the parts of the pattern from the one at `at` on.
    fn descend(&mut self, base: &Path, at: usize) -> Result<(), Failure> {
        let Some(part) = self.parts.get(at) else {
            // A name that cannot be looked up is kept: opening it will say why.
            if !base.is_dir() {
                self.found.push(base.to_owned());
            }
            return Ok(());
        };
        match part {
            Part::Name(name) => {
                let next = base.join(name);
                if fs::symlink_metadata(&next).is_ok() { self.descend(&next, at + 1) } else { Ok(()) }
            }
            Part::Like(pattern) => {
                let pattern = pattern.clone();
                for name in names(base)? {
                    if pattern.matches_with(&name.to_string_lossy(), MATCH) {
                        self.descend(&base.join(name), at + 1)?;
                    }
                }
                Ok(())
            }
            Part::Below => {
                self.descend(base, at + 1)?;
                for name in names(base)? {
                    let next = base.join(&name);
                    if !name.as_bytes().starts_with(b".") && next.is_dir() && !leads_back(&next, base) {
                        self.descend(&next, at)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The names in a folder; none where it is not a folder.
fn names(folder: &Path) -> Result<Vec<OsString>, Failure> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let reading = |error: io::Error| Failure::reading(folder, &error);
    let entries = fs::read_dir(folder).map_err(reading)?;
    entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(reading)).collect()
}

/// Is a folder in `base` a link to one that `base` lies in? Following it would never end.
fn leads_back(folder: &Path, base: &Path) -> bool {
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let is_link = fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink());
    is_link && matches!((fs::canonicalize(folder), fs::canonicalize(base)), (Ok(to), Ok(from)) if from.starts_with(&to))
}

/// A path without `.` and doubled slashes, so that two spellings of one file are one.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// Files that are all moved into one folder must not replace each other there.
pub(super) fn names_differ(files: &[PathBuf]) -> Result<(), Failure> {
    let mut seen = HashMap::new();
    for path in files {
        if let Some(other) = seen.insert(path.file_name(), path) {
            let (one, two) = (shown(other), shown(path));
            let message = format!("`{one}` and `{two}` have the same name, so `done.move` would lose one of them");
            return Err(Failure::new(Exit::Spec, message));
        }
    }
    Ok(())
}

/// A path for people. Bytes that are not UTF-8 are shown as such: no two paths look the same.
pub(super) fn shown(path: &Path) -> String {
    let mut shown = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        shown.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| _ = write!(shown, "\\x{byte:02X}"));
    }
    shown
}

/// The file as it is now.
pub(super) fn freeze(path: &Path) -> Result<Split, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::reading(path, &error))?;
    let modified = metadata.modified().ok();
    let detail = Detail::File { path: path.to_owned(), size: metadata.len(), modified, range: None };
    Ok(Split { name: shown(path), detail })
}

/// Is the file still what was listed? A pipe or a device is whatever it gives.
pub(super) fn unchanged(split: &Split, path: &Path, metadata: io::Result<fs::Metadata>) -> Result<(), Failure> {
    let now = metadata.map_err(|error| Failure::reading(path, &error))?;
    if !now.is_file() {
        return Ok(());
    }
    if let Detail::File { size, modified, .. } = &split.detail
        && *size == now.len()
        && *modified == now.modified().ok()
    {
        return Ok(());
    }
    Err(Failure::new(Exit::Io, format!("`{}` has changed since it was listed", shown(path))))
}
