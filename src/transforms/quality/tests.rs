//! The transform from spec to rows.
