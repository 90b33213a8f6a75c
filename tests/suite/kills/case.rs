//! One job that is killed again and again.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    killing::{Chance, Killed, Point, kills, seed},
    left::{Left, difference, litter},
};
use crate::work::Work;

/// A run that was killed so often may end.
const PER_RUN: usize = 6;

/// Points at which a process is stopped and killed, and how often it may pass them before.
const POINTS: &[Point] = &[
    ("ledger-note", 4),
    ("ledger-noted", 4),
    ("run-stored", 1),
    ("run-finished", 1),
    ("run-cleared", 1),
    ("files-published", 3),
    ("changelog-saved", 2),
    ("postgres-commit", 4),
    ("postgres-committed", 4),
    ("done", 4),
    ("sqlite-commit", 6),
    ("sqlite-committed", 6),
    ("kv-put", 6),
    ("spill-write", 12),
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

impl Case<'_> {
    /// Survives its share of the kills: those of its test are for all of its `ways`.
    pub fn survives(&self, ways: usize) {
        let (kills, seed) = (kills(ways), seed());
        let mut chance = Chance(seed);
        let work = (self.folder)();
        let start = Instant::now();
        work.expect(0, self.args);
        let time = start.elapsed();
        let expected = (self.left)(&work);
        let (mut killed, mut runs) = (Killed::default(), 0);
        while killed.count() < kills {
            let work = (self.folder)();
            let at_end = self.torment(&work, time, &mut chance, &mut killed, kills, seed);
            runs += 1;
            let mut found = (self.left)(&work);
            found.retain(|name, _| !at_end || !is_trace(name));
            let all: Vec<&String> = expected.keys().chain(found.keys()).collect();
            for name in all {
                let (expected, found) = (expected.get(name), found.get(name));
                if found != expected {
                    let differs = difference(expected.map_or("", |text| text), found.map_or("", |text| text));
                    let root = work.path("").display().to_string();
                    panic!("{} with RUNNER_SEED={seed}, run {runs}: {name}: {differs}\nsee {root}", self.name);
                }
            }
            let mut litter = litter(&work.path(""));
            // What a finished run has no more time to remove goes with the next one.
            litter.retain(|path| !at_end || !goes_later(path));
            assert!(litter.is_empty(), "{} with RUNNER_SEED={seed} leaves {litter:?}", self.name);
            if at_end {
                self.clears_up(&work, seed);
            }
        }
        killed.tell(self.name, runs, start, seed);
    }

    /// The next run removes what a finished one had no more time to remove.
    fn clears_up(&self, work: &Work, seed: u64) {
        let ran = work.run(self.args);
        // Its input may be gone.
        if ran.code != 0 {
            return;
        }
        let found = (self.left)(work);
        let mut traces: Vec<String> = found.into_keys().filter(|name| is_trace(name)).collect();
        traces.extend(litter(&work.path("")).iter().map(|path| path.display().to_string()));
        assert!(traces.is_empty(), "{} with RUNNER_SEED={seed}, the next run leaves {traces:?}", self.name);
    }

    /// Kills attempts at one run until it ends. Was the last one killed, too, after the run was over?
    fn torment(
        &self,
        work: &Work,
        time: Duration,
        chance: &mut Chance,
        killed: &mut Killed,
        kills: usize,
        seed: u64,
    ) -> bool {
        let enough = kills.min(killed.count() + PER_RUN);
        // One that made what was there before.
        let before = self.finished(work);
        loop {
            let mut args: Vec<String> = self.args.iter().map(|arg| (*arg).to_owned()).collect();
            for (key, values) in self.vary {
                let value = values[chance.below(values.len() as u64) as usize];
                args.extend(["--set".to_owned(), format!("{key}={value}")]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            if killed.count() == enough {
                let ran = work.run(&args);
                if meets_the_dead(ran.code, &ran.stderr) {
                    continue;
                }
                assert_eq!(ran.code, 0, "{} with RUNNER_SEED={seed}\n{}", self.name, ran.stderr);
                return false;
            }
            let command = work.command(&args);
            match killed.kill(command, (&work.path("stderr"), POINTS), time, chance, &mut |_| ()) {
                // Killed at the very end: the last thing that it did is to say so.
                None if self.finished(work).is_some_and(|run| Some(&run) != before.as_ref()) => return true,
                None => {}
                Some(0) => return false,
                Some(code) if meets_the_dead(code, &work.read("stderr")) => {}
                Some(code) => {
                    let (name, killed) = (self.name, killed.count());
                    panic!("{name} with RUNNER_SEED={seed} exits {code} after {killed} kills\n{}", work.read("stderr"))
                }
            }
        }
    }
}

/// Is it something that a finished run removes last: what it knows of its targets, and what it spilled?
fn goes_later(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".run") || name.starts_with("spill-")
}

/// Is it something that targets keep of a run that is not over?
fn is_trace(name: &str) -> bool {
    name.contains("_runner_") || name.ends_with("/.writing")
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
