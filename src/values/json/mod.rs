//! JSON: one scanner of its text, one reader of typed values, one writer with one way to escape strings.
//!
//! A number that is only carried stays as it is written: no number is read but into a column that has a type for it.

pub(crate) mod read;
pub(crate) mod scan;
pub(crate) mod write;

pub use self::write::{row, value};
