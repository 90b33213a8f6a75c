//! The kinds of sinks, one file each.

pub mod files;
