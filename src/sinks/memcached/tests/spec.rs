//! What the compiler says of a spec.
