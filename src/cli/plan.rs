//! `runner plan`: prints the plan of a job.

use super::{args::Plan, check_sets, out, plan_of, told};
use crate::{failure::Exit, jobspec::Mode, plan::explain, report::printable};

/// Prints the plan. The splits are listed as far as they can be: a missing input is said, not an error.
pub(super) fn plan(args: &Plan) -> Exit {
    if let Err(failure) = check_sets(std::slice::from_ref(&args.spec), &args.set) {
        return told(failure);
    }
    let plan = match plan_of(&args.spec, &args.set, Mode::Check) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let splits: Vec<_> = plan
        .sources()
        .map(|(id, source)| (plan.stages[id].name.clone(), source.splits().map_err(|failure| failure.message)))
        .collect();
    // Names and patterns of the spec may hold anything.
    out(&printable(&explain(&plan, &splits)))
}
