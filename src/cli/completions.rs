//! `runner completions`: prints a completion script for a shell.

use clap::CommandFactory;

use super::{
    args::{Args, Completions},
    out,
};
use crate::failure::Exit;

/// Prints the script.
pub(super) fn completions(args: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "runner", &mut script);
    out(&String::from_utf8_lossy(&script))
}
