//! What unit tests of kinds share: a folder of a test's own, a stage from its keys, batches from JSON, a sink's answer
//! with its accounts checked, servers that live as long as the test, and a bad line before them.

mod daemon;
mod folder;
mod stage;

pub(crate) use self::{
    daemon::{Daemon, cutting_proxy, listen, unused_address},
    folder::Folder,
    stage::{batch, compiled, memory, records, rejects, schema, table, write},
};
