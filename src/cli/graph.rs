//! `runner graph`: draws the plan of a job.

use super::{
    args::{Graph, GraphFormat},
    out, plan_of,
};
use crate::{
    failure::Exit,
    plan::{dot, mermaid},
    spec::Mode,
};

/// Prints the drawing.
pub(super) fn graph(args: &Graph) -> Exit {
    match plan_of(&args.spec, &args.set, Mode::Check) {
        Ok(plan) => {
            out(&match args.format {
                GraphFormat::Mermaid => mermaid(&plan),
                GraphFormat::Dot => dot(&plan),
            });
            Exit::Done
        }
        Err(exit) => exit,
    }
}
