//! The command line: arguments, one call, the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Tests stop the program at points that the environment names.
    #[cfg(feature = "failpoints")]
    let _points = (fail::FailScenario::setup(), stop_at());
    ExitCode::from(runner::cli::main(std::env::args_os()).code())
}

/// `STOP_AT=POINT=PASSES`: a thread that comes to the point after PASSES passes says so, and stays there until the process is
/// killed.
#[cfg(feature = "failpoints")]
#[expect(clippy::print_stderr, reason = "a test waits for the line")]
fn stop_at() -> Option<()> {
    use std::sync::atomic::{AtomicU64, Ordering};

    let wanted = std::env::var("STOP_AT").ok()?;
    let (point, passes) = wanted.split_once('=')?;
    let (name, passes, passed) = (point.to_owned(), passes.parse::<u64>().ok()?, AtomicU64::new(0));
    let stop = move || {
        if passed.fetch_add(1, Ordering::SeqCst) == passes {
            eprintln!("stopped at {name}");
            loop {
                std::thread::park();
            }
        }
    };
    fail::cfg_callback(point, stop).ok()
}
