//! `runner`: a declarative batch job runner. (The house is described here once it stands.)

pub mod batch;
pub mod expr;
pub mod failure;
pub mod formats;
pub mod kind;
pub mod sinks;
pub mod sources;
pub mod spec;
pub mod stage;
pub mod transforms;
