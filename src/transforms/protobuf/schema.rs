//! Reading a `.proto` file and what it imports, and finding a message in it.

use std::{
    error::Error,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use miette::Diagnostic;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::Compiler;

use super::resolver::Resolver;
use crate::jobspec::nearest;

/// A `.proto` file, compiled.
#[derive(Debug)]
pub(super) struct ProtoFile {
    pool: DescriptorPool,
    file: FileDescriptor,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LoadError {
    /// The file cannot be read, or cannot be compiled for a reason that has no place in a file.
    Schema(String),
    /// A folder of `include`, by its place there, cannot be read.
    Include(usize, String),
    /// A place in the file, or in one that it imports.
    At { path: PathBuf, text: String, range: Range<usize>, message: String, help: Option<String> },
}

/// Compiles the file at `path`. Imports are looked for in `include`, or where it is empty beside the file;
/// the standard `google/protobuf/*.proto` are always there.
pub(super) fn load(path: &Path, include: &[PathBuf]) -> Result<ProtoFile, Vec<LoadError>> {
    let mut errors = Vec::new();
    if let Err(error) = fs::File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink())) {
        errors.push(LoadError::Schema(format!("cannot read `{}`: {error}", path.display())));
    }
    for (i, folder) in include.iter().enumerate() {
        if let Err(error) = fs::read_dir(folder) {
            errors.push(LoadError::Include(i, format!("cannot read folder `{}`: {error}", folder.display())));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let folders = Folders::new(path, include);
    folders.compile(path)
}

/// Folders that files are named by: as the spec wrote them, and as the file system knows them.
struct Folders {
    written: Vec<PathBuf>,
    real: Vec<PathBuf>,
}

impl Folders {
    fn new(path: &Path, include: &[PathBuf]) -> Self {
        let mut written = include.to_vec();
        let target = real(path);
        if !include.iter().any(|folder| target.starts_with(real(folder))) {
            let own = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            written.push(own.unwrap_or(Path::new(".")).to_owned());
        }
        let real = written.iter().map(|folder| real(folder)).collect();
        Folders { written, real }
    }

    fn compile(&self, path: &Path) -> Result<ProtoFile, Vec<LoadError>> {
        let compile = || -> Result<ProtoFile, Box<protox::Error>> {
            let mut compiler = Compiler::with_file_resolver(Resolver::new(&self.real));
            compiler.open_file(real(path))?;
            let pool = compiler.descriptor_pool();
            let named = compiler.files().find(|file| !file.is_import()).map(|file| file.name().to_owned());
            let file = named.and_then(|name| pool.get_file_by_name(&name));
            let file = file.ok_or_else(|| protox::Error::new("the compiler lost the file"))?;
            Ok(ProtoFile { pool, file })
        };
        compile().map_err(|error| self.explain(&error))
    }

    /// An error of the compiler, and those that came with it, each at its place.
    fn explain(&self, error: &protox::Error) -> Vec<LoadError> {
        let file = error.file().and_then(|name| self.find(name));
        let related = error.related().into_iter().flatten();
        let all = std::iter::once(error as &dyn Diagnostic).chain(related);
        all.map(|one| match &file {
            // A parse error without a label: the file ended too early.
            Some(file) if error.is_parse() || one.labels().is_some() => place(one, file),
            _ => LoadError::Schema(match error.source() {
                Some(cause) => format!("{}: {cause}", sentence(one)),
                None => sentence(one),
            }),
        })
        .collect()
    }

    /// Path and text of the file that the compiler calls `name`.
    fn find(&self, name: &str) -> Option<(PathBuf, String)> {
        let path = self.written.iter().map(|folder| folder.join(name)).find(|path| path.is_file())?;
        let text = fs::read_to_string(&path).ok()?;
        Some((path.strip_prefix(".").map(Path::to_owned).unwrap_or(path), text))
    }
}

/// What is said of a file that is written in an edition, and what to do.
const EDITION: (&str, &str) =
    ("editions are not supported", "write the file in `proto2` or `proto3`: a message is the same on the wire");

fn place(error: &dyn Diagnostic, (path, text): &(PathBuf, String)) -> LoadError {
    // Where two places are at odds, the later one is at fault, unless one says so of itself.
    let mut labels: Vec<_> = error.labels().into_iter().flatten().collect();
    labels.sort_by_key(|label| label.label() == Some("found here"));
    let label = labels.last();
    let range = label.map_or(text.len()..text.len(), |label| label.offset()..label.offset() + label.len());
    let range = range.start.min(text.len())..range.end.min(text.len());
    let help = error.help().map(|help| help.to_string().replace('\'', "`"));
    let (message, help) = match &text[range.clone()] {
        "edition" => (EDITION.0.to_owned(), Some(EDITION.1.to_owned())),
        _ => (sentence(error), help),
    };
    LoadError::At { path: path.clone(), text: text.clone(), range, message, help }
}

fn sentence(error: &dyn Diagnostic) -> String {
    error.to_string().replace('\'', "`")
}

/// The path without links and dots, so that one can be seen to lie within another.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl ProtoFile {
    /// The message called `name`: in full, or without the package. A message of the file itself goes before
    /// one that it imports.
    ///
    /// # Errors
    /// A sentence and a hint.
    pub(super) fn message(&self, name: &str) -> Result<MessageDescriptor, (String, Option<String>)> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let in_package = format!("{}.{name}", self.file.package_name());
        let named = [name, &in_package].into_iter().find_map(|name| self.pool.get_message_by_name(name));
        if let Some(message) = named.filter(|message| !message.is_map_entry()) {
            return Ok(message);
        }
        let ending = format!(".{name}");
        let found: Vec<MessageDescriptor> =
            self.messages().into_iter().filter(|message| message.full_name().ends_with(&ending)).collect();
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err((format!("`{}` has no message `{name}`", self.file.name()), self.hint(name))),
            many => {
                let names: Vec<String> = many.iter().map(|message| format!("`{}`", message.full_name())).collect();
                Err((
                    format!("there is more than one message `{name}`"),
                    Some(format!("write one of {}", names.join(", "))),
                ))
            }
        }
    }

    /// The messages of the file and of those that it imports, the standard ones apart.
    fn messages(&self) -> Vec<MessageDescriptor> {
        let own = |message: &MessageDescriptor| !message.is_map_entry() && message.package_name() != "google.protobuf";
        self.pool.all_messages().filter(own).collect()
    }

    fn hint(&self, name: &str) -> Option<String> {
        let messages = self.messages();
        let short = !name.contains('.');
        nearest(name, messages.iter().map(|message| if short { message.name() } else { message.full_name() }))
    }
}
