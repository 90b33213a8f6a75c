//! Random and mutated input for everything that reads what others wrote: decoders, compressed files, job specs,
//! expressions, JSON that becomes protobuf. Nothing may panic, and what must hold of any input is checked.
//!
//! `cargo test` tries the same inputs every time, for some seconds. `FUZZ_SECONDS=60` makes each target go on for so
//! long with new ones, `FUZZ_CASES=1000000` tries so many of each, and `FUZZ_SEED=N` begins with the seed that a failure
//! named.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test, in helpers too")]
#![allow(clippy::print_stdout, reason = "each target says how much it has tried")]
#![allow(unreachable_pub, reason = "the modules of one program of tests")]

mod bytes;
mod compressed;
mod decoders;
mod expressions;
mod files;
mod protobuf;
mod specs;

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner},
};

/// Tries inputs of `strategy`: `cases` of them, or as many rounds of so many as there is time for. The smallest input
/// that fails is shown with its seed.
pub fn fuzz<S: Strategy>(name: &str, cases: u32, strategy: &S, check: impl Fn(S::Value) -> TestCaseResult) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let time = number("FUZZ_SECONDS").map(Duration::from_secs);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let first = number("FUZZ_SEED").unwrap_or_else(|| if time.is_some() { now() } else { 0 });
    let cases = number("FUZZ_CASES").map_or(cases, |cases| u32::try_from(cases).expect("at most 4 billion"));
    let (start, tried) = (Instant::now(), Cell::new(0_u64));
    let mut seed = first;
    loop {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 5_000, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let counted = |input| {
            tried.set(tried.get() + 1);
            check(input)
        };
        if let Err(error) = runner.run(strategy, counted) {
            panic!("{name}, FUZZ_SEED={seed}: {error}");
        }
        seed = seed.wrapping_add(1);
        if time.is_none_or(|time| start.elapsed() >= time) {
            break;
        }
    }
    println!("fuzz {name}: {} inputs in {:.1} s, seeds from {first}", tried.get(), start.elapsed().as_secs_f64());
}
