//! The command line: arguments, one call, the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Tests stop the program at points that the environment names.
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    ExitCode::from(runner::cli::main(std::env::args_os()).code())
}
