//! A job spec, from text as typed to checked values.
//!
//! ```text
//! text ──load──▶ Value tree ──set, interpolate──▶ Value tree ──decode──▶ structs of the kinds
//!                    │
//!                    └── every problem has a path; `locate` finds its line and column when it is shown
//! ```
//!
//! Knows no threads and no I/O beyond reading the spec and, when a run starts, the secrets it names. Only
//! `load` and the files in its folder name the crates that know TOML and YAML.

pub mod bounds;
mod decode;
mod diagnose;
mod digest;
mod interpolate;
mod job;
mod load;
mod locate;
mod mark;
mod narrow;
mod problem;
mod secret;
mod set;
mod units;
mod value;

pub use decode::decode;
pub use diagnose::{Finding, machine, render};
pub use digest::{digest, digests};
pub use interpolate::Mode;
pub use job::{
    BatchSize, COMMON_KEYS_SINK, COMMON_KEYS_SOURCE, COMMON_KEYS_TRANSFORM, Common, Definitions, JobSpec, Limits,
    OnLostState, Section, Spill, StageSpec, common_schema, schema,
};
pub use load::{Document, Format, ValueOf, Variable, load};
pub use locate::{Located, locate};
pub use narrow::{Narrow, deserialize_narrow};
pub use problem::{Path, Problem, Problems, Severity, SpecLocation, Step, meant, nearest};
pub use secret::{Revealed, Secret};
pub use units::{Bytes, Duration, RejectLimit, Retry, Share, Text};
pub use value::{Table, Value};
