//! One file per kind of transform.

pub mod protobuf;
