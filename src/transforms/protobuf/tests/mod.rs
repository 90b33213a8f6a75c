//! What the tests share: a `.proto` from text, batches from columns, and encoding to bytes or the reason why not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod columns;
mod json;
mod problems;
mod scalars;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use arrow_array::{ArrayRef, ListArray, RecordBatch};
use arrow_buffer::OffsetBuffer;
use prost_reflect::MessageDescriptor;

use super::{bound, encode::Layout, schema};
use crate::batch::{Column, ColumnType, Schema};

/// A folder that is gone after the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("runner-protobuf-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        for (name, text) in files {
            let path = folder.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Message `M` of this `.proto` text.
pub(super) fn message(text: &str) -> MessageDescriptor {
    let folder = Folder::new(&[("test.proto", text)]);
    let file = schema::load(&folder.path("test.proto"), &[]).unwrap_or_else(|errors| panic!("{errors:?}"));
    file.message("M").unwrap()
}

/// Columns of a batch: name, type, values; nullable where there are nulls.
pub(super) type Columns<'a> = &'a [(&'a str, &'a str, ArrayRef)];

pub(super) fn batch(columns: Columns<'_>) -> (Schema, RecordBatch) {
    let described = columns.iter().map(|(name, column_type, array)| Column {
        name: (*name).to_owned(),
        column_type: column_type.parse::<ColumnType>().unwrap(),
        nullable: array.null_count() > 0,
    });
    let schema = Schema::new(described.collect());
    let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array)).collect();
    (schema.clone(), RecordBatch::try_new(schema.arrow(), arrays).unwrap())
}

/// One row whose items are all of `items`.
pub(super) fn list(item: &str, items: &ArrayRef) -> ArrayRef {
    let field = item.parse::<ColumnType>().unwrap().item_field();
    Arc::new(ListArray::new(field.into(), OffsetBuffer::from_lengths([items.len()]), Arc::clone(items), None))
}

/// What becomes of each row: its bytes, or code and message of its reject.
pub(super) fn encode(message: &MessageDescriptor, columns: Columns<'_>) -> Vec<Result<Vec<u8>, String>> {
    let (schema, records) = batch(columns);
    let bound = bound::bind(message, &schema, &BTreeMap::new()).unwrap();
    let mut refusals = BTreeMap::new();
    let values = bound
        .encode(&records, &mut Layout::default(), |row, refusal| {
            refusals.insert(row, format!("{}: {}", refusal.code.0, refusal.message()));
        })
        .unwrap();
    let mut values = values.iter().map(|value| value.unwrap().to_vec()).collect::<Vec<_>>().into_iter();
    let rows = (0..records.num_rows()).map(|row| match refusals.get(&row) {
        Some(refusal) => Err(refusal.clone()),
        None => Ok(values.next().unwrap()),
    });
    rows.collect()
}
