//! `runner schema`: prints the JSON Schemas. The files in `schemas/` are these.

use super::{
    args::{Schema, SchemaOf},
    out,
};
use crate::{failure::Exit, plan, report};

/// Prints the schema.
pub(super) fn schema(args: &Schema) -> Exit {
    let schema = match args.what {
        SchemaOf::Job => plan::schema(),
        SchemaOf::Report => report::schema(),
    };
    out(&(serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"))
}
