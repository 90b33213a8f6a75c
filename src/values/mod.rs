//! Values: their types, the columns they are built in, and their text in both directions.
//!
//! ```text
//! text ──fields──▶ scalar ──▶ builder ──▶ column ──▶ cell ──▶ text
//! JSON ──json::read──▶ scalar ──▶ builder ──▶ column ──▶ json::write ──▶ JSON
//! ```
//!
//! What a value can be is said here and nowhere else: formats, stores, expressions and generators read it, build it
//! and write it through these files, so that a type has the same edges everywhere. Text that cannot be read as a value
//! is refused with a reason, and so is a value that has no text: nothing here makes a value of what people are shown.
//!
//! A new type of one width is a name, a family and a line in `types`, its text in `scalar` and `cell`, and what others
//! make of it: `formats/parquet/types`, `postgres/types`, `sinks/sqlite/bind` and `transforms/protobuf/column`. The
//! compiler names them all, but for what is told by a [`Family`].

pub(crate) mod builder;
pub mod calendar;
pub mod cell;
pub mod columns;
mod compact;
pub mod fields;
pub(crate) mod foreign;
pub mod hex;
pub mod json;
pub mod scalar;
mod types;

pub use compact::{compact, compact_batch};
pub(crate) use types::with_scalars;
pub use types::{Column, ColumnType, Family, Schema, TypeError};

/// Why a value or record was refused: a short fixed word that reports count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectCode(pub &'static str);

/// A reason why a value cannot be written.
pub type Unfit = &'static str;
