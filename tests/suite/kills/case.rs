//! One job that is killed again and again.

use std::{
    fs,
    io::Write,
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use super::left::{Left, difference, litter};
use crate::work::Work;

/// Kills that the jobs of a test must survive together, unless `RUNNER_KILLS` says otherwise.
const KILLS: usize = 6;
/// A run that was killed so often may end.
const PER_RUN: usize = 6;

/// Points at which a process is stopped and killed, and how often it may pass them before.
const POINTS: &[(&str, u64)] = &[
    ("ledger-note", 4),
    ("ledger-noted", 4),
    ("run-stored", 1),
    ("run-cleared", 1),
    ("files-published", 3),
    ("changelog-saved", 2),
    ("postgres-commit", 4),
    ("done", 4),
    ("sqlite-commit", 6),
    ("sqlite-committed", 6),
    ("kv-put", 6),
];

/// A job in small.
pub struct Case<'a> {
    pub name: &'a str,
    pub args: &'a [&'a str],
    /// Settings, each with the values that an attempt may have.
    pub vary: &'a [(&'a str, &'a [&'a str])],
    /// A folder with its input.
    pub folder: &'a dyn Fn() -> Work,
    pub left: &'a dyn Fn(&Work) -> Left,
}

pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

impl Case<'_> {
    /// Survives its share of the kills: those of its test are for all of its `ways`.
    pub fn survives(&self, ways: usize) {
        let kills = number("RUNNER_KILLS").map_or(KILLS, |kills| kills as usize).div_ceil(ways);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = number("RUNNER_SEED").unwrap_or(now.as_nanos() as u64) | 1;
        let mut chance = Chance(seed);
        let work = (self.folder)();
        let start = Instant::now();
        work.expect(0, self.args);
        let time = start.elapsed();
        let expected = (self.left)(&work);
        let (mut survived, mut runs) = (0, 0);
        while survived < kills {
            let work = (self.folder)();
            survived += self.torment(&work, time, &mut chance, kills - survived, seed);
            runs += 1;
            let found = (self.left)(&work);
            let all: Vec<&String> = expected.keys().chain(found.keys()).collect();
            for name in all {
                let (expected, found) = (expected.get(name), found.get(name));
                if found != expected {
                    let differs = difference(expected.map_or("", |text| text), found.map_or("", |text| text));
                    let root = work.path("").display().to_string();
                    panic!("{} with RUNNER_SEED={seed}, run {runs}: {name}: {differs}\nsee {root}", self.name);
                }
            }
            let litter = litter(&work.path(""));
            assert!(litter.is_empty(), "{} with RUNNER_SEED={seed} leaves {litter:?}", self.name);
        }
        // What is printed by the usual way is not seen where the test is a good one.
        let took = start.elapsed().as_secs();
        let line = format!("kills: {}: survived {survived} in {runs} runs, {took} s, seed {seed}", self.name);
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Kills attempts at one run until it ends; says how many were killed.
    fn torment(&self, work: &Work, time: Duration, chance: &mut Chance, kills: usize, seed: u64) -> usize {
        let mut killed = 0;
        // One that made what was there before.
        let before = self.finished(work);
        loop {
            let mut args: Vec<String> = self.args.iter().map(|arg| (*arg).to_owned()).collect();
            for (key, values) in self.vary {
                let value = values[chance.below(values.len() as u64) as usize];
                args.extend(["--set".to_owned(), format!("{key}={value}")]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            if killed == kills.min(PER_RUN) {
                let ran = work.run(&args);
                if meets_the_dead(ran.code, &ran.stderr) {
                    continue;
                }
                assert_eq!(ran.code, 0, "{} with RUNNER_SEED={seed}\n{}", self.name, ran.stderr);
                return killed;
            }
            let mut command = work.command(&args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(work.path("stderr")).unwrap());
            let after = time.mul_f64(chance.below(1200) as f64 / 1000.0);
            let (point, passes) = POINTS[chance.below(POINTS.len() as u64) as usize];
            let passes = chance.below(passes + 1);
            if cfg!(feature = "failpoints") && chance.below(2) == 0 {
                // It stays there until it is killed, or never comes by.
                command.env("FAILPOINTS", format!("{point}={passes}*off->sleep(600000)"));
            }
            let mut child = command.spawn().unwrap();
            let start = Instant::now();
            let mut ended = None;
            while start.elapsed() < after && ended.is_none() {
                thread::sleep(Duration::from_millis(1).min(after));
                ended = child.try_wait().unwrap();
            }
            let status = match ended {
                Some(status) => status,
                None => {
                    child.kill().unwrap();
                    child.wait().unwrap()
                }
            };
            match status.code() {
                // Killed at the very end: the last thing that it did is to say so.
                None if self.finished(work).is_some_and(|run| Some(&run) != before.as_ref()) => return killed + 1,
                None => killed += 1,
                Some(0) => return killed,
                Some(code) if meets_the_dead(code, &work.read("stderr")) => {}
                Some(code) => {
                    let name = self.name;
                    panic!("{name} with RUNNER_SEED={seed} exits {code} after {killed} kills\n{}", work.read("stderr"))
                }
            }
        }
    }
}

impl Case<'_> {
    /// The last job's run, if its ledger says that it is over.
    fn finished(&self, work: &Work) -> Option<String> {
        let spec = self.args.iter().rfind(|arg| arg.ends_with(".toml") || arg.ends_with(".yaml"));
        let status = work.expect(0, &["status", spec.unwrap(), "--format", "json"]).stdout;
        let status: Value = serde_json::from_str(&status).unwrap();
        (status["state"] == "finished").then(|| status["run"].as_str().unwrap().to_owned())
    }
}

/// A database may commit what a killed attempt has asked for while the next one is under way, which then says so, and
/// that it is to be tried again.
fn meets_the_dead(code: i32, stderr: &str) -> bool {
    code == 75 && stderr.contains("by a run that had been taken for dead")
}
