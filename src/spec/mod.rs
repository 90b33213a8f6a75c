//! A job spec, from text as typed to checked values.
//!
//! ```text
//! text ──load──▶ Value tree ──set, interpolate──▶ Value tree ──decode──▶ structs of the kinds
//!                    │
//!                    └── every problem has a path; `locate` finds its line and column when it is shown
//! ```
//!
//! Knows no threads and no I/O beyond reading the spec.

mod decode;
mod diagnose;
mod interpolate;
mod job;
mod load;
mod locate;
mod problem;
mod units;
mod value;

pub use decode::decode;
pub use job::{BatchSize, Definitions, JobSpec, Limits};
pub use problem::{Path, Place, Problem, Problems, Severity, Step, nearest};
pub use units::{Bytes, Duration, RejectLimit, Retry, Text};
pub use value::{Table, Value};
