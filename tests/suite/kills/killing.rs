//! How an attempt is killed: at a random instant or at a named point of the program; and how often that was where.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Kills that the jobs of a test must survive together, unless `RUNNER_KILLS` says otherwise.
const KILLS: usize = 6;

/// A point of the program, and how often an attempt may pass it before it is stopped there.
pub type Point = (&'static str, u64);

/// What chance decides, again in the same way with the same seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    pub fn of<'a, T: ?Sized>(&mut self, some: &[&'a T]) -> &'a T {
        some[self.below(some.len() as u64) as usize]
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How many kills each of so many `ways` must survive.
pub fn kills(ways: usize) -> usize {
    number("RUNNER_KILLS").map_or(KILLS, |kills| kills as usize).div_ceil(ways)
}

/// Where chance begins: the same again with `RUNNER_SEED`.
pub fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    number("RUNNER_SEED").unwrap_or(now.as_nanos() as u64) | 1
}

/// How often attempts were killed, and where.
#[derive(Default)]
pub struct Killed(BTreeMap<&'static str, usize>);

impl Killed {
    /// Says so. What is printed by the usual way is not seen where the test is a good one.
    pub fn tell(&self, name: &str, runs: usize, start: Instant, seed: u64) {
        let (took, survived) = (start.elapsed().as_secs(), self.count());
        let line = format!("kills: {name}: survived {survived} in {runs} runs, {took} s, seed {seed}");
        let places: Vec<String> = self.0.iter().map(|(place, times)| format!("{place} {times}")).collect();
        let _ = writeln!(std::io::stderr(), "{line}\nkilled at: {}", places.join(", "));
    }

    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// Runs a command, which says what it has to say in the file `stderr`, and kills it after some time, about as long
    /// as an undisturbed run takes. With the feature `failpoints` every other one is stopped at one of the points, if it
    /// comes by. Gives the exit code of a command that ended before; `meanwhile` is called once, half-way.
    pub fn kill(
        &mut self,
        mut command: Command,
        (stderr, points): (&Path, &[Point]),
        time: Duration,
        chance: &mut Chance,
        meanwhile: &mut dyn FnMut(u32),
    ) -> Option<i32> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(stderr).unwrap());
        let after = time.mul_f64(chance.below(1200) as f64 / 1000.0);
        let (point, passes) = points[chance.below(points.len() as u64) as usize];
        let passes = chance.below(passes + 1);
        let mut stops = cfg!(feature = "failpoints") && chance.below(2) == 0;
        let mut end = after;
        if stops {
            command.env("STOP_AT", format!("{point}={passes}"));
            end = time.mul_f64(1.5);
        }
        let mut place = "a random instant";
        let mut child = command.spawn().unwrap();
        let (start, mut half) = (Instant::now(), Some(meanwhile));
        while start.elapsed() < end {
            thread::sleep(Duration::from_millis(1));
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            if start.elapsed() > after / 2
                && let Some(meanwhile) = half.take()
            {
                meanwhile(child.id());
            }
            if stops && fs::read_to_string(stderr).is_ok_and(|said| said.contains("stopped at ")) {
                // The other threads go on for a moment.
                (place, stops) = (point, false);
                end = start.elapsed() + Duration::from_millis(chance.below(20));
            }
        }
        child.kill().unwrap();
        match child.wait().unwrap().code() {
            Some(code) => Some(code),
            None => {
                *self.0.entry(place).or_default() += 1;
                None
            }
        }
    }
}
