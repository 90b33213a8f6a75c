//! `runner graph`: draws the plan of a job.

use super::{
    args::{Graph, GraphFormat},
    check_sets, out, plan_of, told,
};
use crate::{
    failure::Exit,
    jobspec::Mode,
    plan::{dot, mermaid},
};

/// Prints the drawing.
pub(super) fn graph(args: &Graph) -> Exit {
    if let Err(failure) = check_sets(std::slice::from_ref(&args.spec), &args.set) {
        return told(failure);
    }
    match plan_of(&args.spec, &args.set, Mode::Check) {
        Ok(plan) => out(&match args.format {
            GraphFormat::Mermaid => mermaid(&plan),
            GraphFormat::Dot => dot(&plan),
        }),
        Err(exit) => exit,
    }
}
