//! `runner`: a declarative batch job runner. (The house is described here once it stands.)

pub mod batch;
pub mod cli;
pub mod event;
pub mod exec;
pub mod expr;
pub mod failure;
pub mod formats;
pub mod kind;
pub mod lock;
pub mod plan;
pub mod rejects;
pub mod report;
pub mod sinks;
pub mod sources;
pub mod spec;
pub mod stage;
pub mod transforms;
