//! What becomes of a file once all of it is stored.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::failure::Failure;

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    /// It gets another name in its folder; `{name}` stands for the one it has. A file that has that name
    /// already is replaced.
    Rename(String),
    /// It is moved into this folder, which is created if it is missing. A file of the same name there is
    /// replaced.
    Move(PathBuf),
    /// It is deleted.
    Delete,
}

const NAME: &str = "{name}";

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Done::Rename(template) => write!(f, "renamed to `{template}`"),
            Done::Move(folder) => write!(f, "moved to `{}`", folder.display()),
            Done::Delete => f.write_str("deleted"),
        }
    }
}

impl Done {
    /// The key of a value that makes no sense, and why.
    pub(super) fn rule_broken(&self) -> Option<(&'static str, String)> {
        match self {
            Done::Rename(template) if !template.contains(NAME) => {
                Some(("done.rename", format!("`{template}` must contain `{NAME}`, or all files would get one name")))
            }
            Done::Rename(template) if template.contains('/') => {
                Some(("done.rename", format!("`{template}` must not contain `/`; `move` takes a folder")))
            }
            Done::Rename(template) if template == NAME => {
                Some(("done.rename", format!("`{template}` would change nothing")))
            }
            Done::Move(folder) if folder.as_os_str().is_empty() => Some(("done.move", "no folder is given".to_owned())),
            _ => None,
        }
    }

    /// Does it to `path`, durably, and says what was done.
    pub(super) fn run(&self, path: &Path) -> Result<String, Failure> {
        let writing = |error: io::Error| Failure::writing(path, &error);
        let target = match self {
            Done::Delete => {
                fs::remove_file(path).and_then(|()| sync_folder(path)).map_err(writing)?;
                return Ok(format!("deleted `{}`", path.display()));
            }
            Done::Rename(template) => path.with_file_name(renamed(template, path)),
            Done::Move(folder) => {
                fs::create_dir_all(folder).map_err(|error| Failure::creating(folder, &error))?;
                folder.join(path.file_name().unwrap_or_default())
            }
        };
        fail::fail_point!("done-rename", |_| Err(Failure::writing(&target, &io::ErrorKind::StorageFull.into())));
        match fs::rename(path, &target) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => move_across(path, &target),
            result => result,
        }
        .and_then(|()| sync_folder(&target))
        .and_then(|()| sync_folder(path))
        .map_err(|error| Failure::writing(&target, &error))?;
        let verb = if matches!(self, Done::Move(_)) { "moved" } else { "renamed" };
        Ok(format!("{verb} `{}` to `{}`", path.display(), target.display()))
    }
}

/// The name that a template gives to a file.
fn renamed(template: &str, path: &Path) -> OsString {
    let name = path.file_name().unwrap_or_default();
    let mut renamed = OsString::new();
    for (i, part) in template.split(NAME).enumerate() {
        if i > 0 {
            renamed.push(name);
        }
        renamed.push(part);
    }
    renamed
}

/// Moves a file to another file system: a rename cannot. The target appears whole or not at all.
fn move_across(path: &Path, target: &Path) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".moving");
    let temporary = target.with_file_name(name);
    let copied = fs::copy(path, &temporary)
        .and_then(|_| File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, target))
        .and_then(|()| sync_folder(target));
    if copied.is_err() {
        // The copy is of no use; that it cannot be removed changes nothing about the failure.
        let _ = fs::remove_file(&temporary);
        return copied;
    }
    fs::remove_file(path)
}

/// Makes the names in a file's folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_keeps_the_name_in_it() {
        for (template, name) in [(".{name}", ".a.gz"), ("{name}.done", "a.gz.done"), ("{name}-{name}", "a.gz-a.gz")] {
            assert_eq!(renamed(template, Path::new("dir/a.gz")), name);
            assert_eq!(Done::Rename(template.to_owned()).rule_broken(), None);
        }
    }

    #[test]
    fn templates_that_make_no_sense_are_refused() {
        for (done, message) in [
            (Done::Rename("x".into()), "must contain `{name}`"),
            (Done::Rename("done/{name}".into()), "must not contain `/`"),
            (Done::Rename("{name}".into()), "would change nothing"),
            (Done::Move("".into()), "no folder is given"),
        ] {
            let (_, found) = done.rule_broken().expect("a broken rule");
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn a_move_between_file_systems_copies_and_removes() {
        let folder = crate::testing::Folder::new("move_across");
        let (from, to) = (folder.write("from", b"text"), folder.path("to"));
        folder.write("to", b"old");
        move_across(&from, &to).expect("moved");
        assert_eq!(fs::read(&to).expect("there"), b"text");
        assert_eq!(folder.names(), ["to"]);
        assert!(move_across(&from, &to).is_err(), "it is gone");
        assert_eq!(folder.names(), ["to"]);
    }
}
