//! Documents by key: what the `kv` sink writes, the `kv` source reads, the `changelog` transform goes on from,
//! and the commands `get` and `keys` show.
//!
//! It is a room of its own because kinds never import each other, and these must agree on where a document
//! lies, to the byte.
//!
//! A [`Store`] is the half that all workers share; each worker has a [`Session`]. A document is either old or
//! new, never a mixture, whenever the process is killed; when [`Session::put`] has returned, the new one
//! survives a loss of power.

mod folder;
mod names;
mod spill;
mod sqlite;
#[cfg(test)]
mod tests;
mod undo_log;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::{spill::Spill, undo_log::UndoLog};
use crate::{
    failure::Failure,
    jobspec::{Table, Value},
};

/// How documents are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A folder with one JSON file per key.
    #[default]
    Folder,
    /// One SQLite file: the better choice for many small documents.
    Sqlite,
}

/// Where documents lie; shared by all workers.
pub trait Store: Send + Sync {
    /// A session for one thread.
    ///
    /// # Errors
    /// With [`Access::Read`] where there is no such store, with [`Access::Write`] where nothing can be written.
    fn session(&self, access: Access) -> Result<Box<dyn Session>, Failure>;

    /// The store divided into parts, in an order that stays; every key lies in one of them.
    fn parts(&self) -> Result<Vec<KeyRange>, Failure>;

    /// Those who write are of this run from now on: what its earlier attempts were writing when they were killed
    /// goes, and a marker of the run is kept in the store, by which it is known again.
    ///
    /// # Errors
    /// Nothing can be written there, or removed.
    fn begin(&self, run: &str) -> Result<(), Failure>;

    /// Is this the store that the run has begun to write to? One that was removed, made anew, or put back from before
    /// the run has no marker of it.
    ///
    /// # Errors
    /// It cannot be read.
    fn is_of(&self, run: &str) -> Result<bool, Failure>;

    /// The run is over: its marker goes. Another run's stays.
    ///
    /// # Errors
    /// It cannot be removed.
    fn end(&self, run: &str) -> Result<(), Failure>;

    /// What people call the place of a key's document.
    fn place(&self, key: &str) -> String;
}

/// One thread's way to a store.
pub trait Session: Send {
    /// A key's document. Never waits for those who write.
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Failure>;

    /// Stores and deletes documents, each of another key. When it returns, all of them are durable: many
    /// documents share the cost of that.
    ///
    /// # Errors
    /// Some of the changes may have been made.
    fn put(&mut self, changes: &[Change<'_>]) -> Result<(), Failure>;

    /// The keys in a part, sorted.
    fn keys(&mut self, part: &KeyRange) -> Result<Vec<String>, Failure>;
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read a store that must be there.
    Read,
    /// To read a store; one that is not there is empty.
    ReadIfThere,
    /// To write; a store that is not there is created.
    Write,
}

/// A new document for a key, or none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key.
    pub key: &'a str,
    /// Its document; `None` deletes it.
    pub document: Option<&'a str>,
}

/// Part of a store, between two marks that only the store understands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// What people call it.
    pub name: String,
    /// The first mark, which is in it.
    pub from: Option<String>,
    /// The second mark, which is not.
    pub to: Option<String>,
}

/// A store as a spec describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// How documents are kept.
    pub backend: Backend,
    /// The folder or file.
    pub path: PathBuf,
}

impl Address {
    /// The store that the table of a `kv` sink describes; `None` where it describes none, which is said when
    /// the sink itself is compiled, or where the path comes from a variable that is not known.
    pub fn of(sink: &Table) -> Option<Address> {
        let backend = match sink.get("backend") {
            None => Backend::default(),
            Some(word) => match word.as_text()? {
                "folder" => Backend::Folder,
                "sqlite" => Backend::Sqlite,
                _ => return None,
            },
        };
        Some(Address { backend, path: PathBuf::from(sink.get("path")?.as_text()?) })
    }

    /// The store there. Nothing is opened or created yet.
    pub fn store(&self) -> Arc<dyn Store> {
        open(self.backend, &self.path)
    }
}

/// The `kv` sinks among a spec's sinks, in their written order.
pub fn sinks(sinks: &Table) -> impl Iterator<Item = (&str, &Table)> {
    let tables = sinks.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_table()?)));
    tables.filter(|(_, table)| table.get("type").and_then(Value::as_text) == Some("kv"))
}

/// The store at `path`. Nothing is opened or created yet.
pub fn open(backend: Backend, path: &Path) -> Arc<dyn Store> {
    match backend {
        Backend::Folder => Arc::new(folder::Folder::new(path)),
        Backend::Sqlite => Arc::new(sqlite::Sqlite::new(path)),
    }
}

/// All keys of a store, sorted.
pub fn keys(store: &dyn Store) -> Result<Vec<String>, Failure> {
    let mut session = store.session(Access::Read)?;
    let mut keys = Vec::new();
    for part in store.parts()? {
        keys.extend(session.keys(&part)?);
    }
    keys.sort_unstable();
    Ok(keys)
}
