//! Jobs that are killed while an operator changes what is around them: between a kill and the next attempt a row of the
//! input, the target, the state directory, the host or the working directory is not what it was. Each attempt ends well
//! with the right rows, or says why not and leaves no row twice and no wrong id.

mod folder;
mod input;
mod memory;
mod model;
mod target;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use self::{
    input::{Input, ROWS},
    model::{Found, Model, Rows},
    target::{Copy, Target},
};
use super::killing::{Chance, Killed, Point, kills, seed};
use crate::{
    postgres::{Database, targets::Pool},
    work::{Ran, Work},
};

/// A run that was killed so often may end.
const PER_RUN: usize = 4;

/// An operator who has not got a run to its end by then never will.
const ATTEMPTS: usize = 60;

const POINTS: &[Point] = &[
    ("ledger-note", 0),
    ("ledger-note", 1),
    ("ledger-noted", 1),
    ("run-stored", 0),
    ("run-finished", 0),
    ("run-cleared", 0),
    ("sqlite-commit", 3),
    ("sqlite-commit", 12),
    ("sqlite-committed", 3),
    ("sqlite-committed", 12),
];

const POSTGRES_POINTS: &[Point] = &[
    ("ledger-note", 0),
    ("ledger-note", 1),
    ("ledger-noted", 1),
    ("run-stored", 0),
    ("run-finished", 0),
    ("run-cleared", 0),
    ("postgres-commit", 3),
    ("postgres-commit", 12),
    ("postgres-committed", 3),
    ("postgres-committed", 12),
];

/// A job, its folder, and what has happened to it.
struct Trial<'a> {
    work: &'a Work,
    database: Option<&'a Database>,
    pool: Option<&'a Pool>,
    input: Input,
    target: Target,
    /// Are its paths the same in every directory?
    absolute: bool,
    model: Model,
    chance: &'a mut Chance,
    copies: Vec<Copy>,
    /// What was there before the operator lost some of it.
    aside: Option<Copy>,
    next_copy: u64,
    /// May there be another host?
    hosts: bool,
    /// Are we on it?
    there: bool,
    /// Is the state directory moved away?
    moved: bool,
    /// Are we in another directory for once?
    elsewhere: bool,
    flags: Vec<&'static str>,
    put_back: bool,
    /// Is everything stored and noted? Where the input is another one then, the next run is a new one.
    over: bool,
    /// How often the operator did what.
    acts: &'a mut BTreeMap<String, usize>,
    /// What was done, and what came of it.
    log: String,
}

/// Can there be another host, with a state directory of its own?
fn has_hosts() -> bool {
    let status = Command::new("unshare").args(["--mount", "--uts", "true"]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The run that the ledger of `job.toml` knows last, if it is over.
fn finished(work: &Work) -> Option<String> {
    let status = work.expect(0, &["status", "job.toml", "--format", "json"]).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    (status["state"] == "finished").then(|| status["run"].as_str().unwrap().to_owned())
}

/// How an attempt ended: one that was killed at the very end has done all the same, which its ledger says. `before` is
/// the last run that was over before, and becomes the one that is now.
fn ended(work: &Work, code: Option<i32>, before: &mut Option<String>) -> Option<i32> {
    let last = std::mem::replace(before, finished(work));
    code.or_else(|| (before.is_some() && *before != last).then_some(0))
}

impl Trial<'_> {
    fn note(&mut self, what: &str) {
        let _ = writeln!(self.log, "{what}");
    }

    /// Notes what the operator does, and counts it.
    fn act(&mut self, what: &str) {
        self.note(what);
        let kind: String = what.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect();
        *self.acts.entry(kind.replace("NN", "N").replace("NN", "N")).or_default() += 1;
    }

    /// The program where the operator is now.
    fn command(&self, args: &[&str]) -> Command {
        let inner = self.work.command(args);
        let mut command = Command::new(inner.get_program());
        if self.there {
            fs::create_dir_all(self.work.path(".runner")).unwrap();
            fs::create_dir_all(self.work.path("state-there")).unwrap();
            fs::write(self.work.path("machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
            command = Command::new("unshare");
            let script = "set -e; hostname there; mount --bind \"$1\" \"$2\"; \
                          if [ -e /etc/machine-id ]; then mount --bind \"$3\" /etc/machine-id; fi; \
                          shift 3; exec \"$@\"";
            command.args(["--mount", "--uts", "sh", "-c", script, "sh"]);
            command.args(["state-there", ".runner", "machine-id"].map(|name| self.work.path(name)));
            command.arg(inner.get_program());
        }
        command.args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(if self.elsewhere { self.work.path("elsewhere") } else { self.work.path("") });
        command
    }

    /// Where the state directory of this host is.
    fn state(&self) -> &'static str {
        if self.there { "state-there" } else { ".runner" }
    }

    /// The run that the ledger knows, whether everything of it is stored and noted, and whether it is finished.
    fn run(&self) -> (Option<String>, [bool; 2]) {
        let spec = self.work.path("job.toml").display().to_string();
        let output = self.command(&["status", &spec, "--format", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            self.fail(&format!("no status: {error}: {}", String::from_utf8_lossy(&output.stderr)))
        });
        let sources = status["sources"].as_array().into_iter().flatten();
        let mut left = sources.map(|source| source["splits"] != source["done"]).peekable();
        let over = left.peek().is_some() && left.all(|left| !left);
        (status["run"].as_str().map(str::to_owned), [over, status["state"] == "finished"])
    }

    fn found(&self) -> Found {
        self.target.found(self.work, self.database, "out")
    }

    fn fail(&self, why: &str) -> ! {
        panic!("{why}\n{}see {}", self.log, self.work.path("").display())
    }

    /// Makes an attempt, killed or not, and looks at what came of it. Gives its exit code unless it was killed.
    fn attempt(&mut self, killing: Option<(&mut Killed, Duration)>) -> Option<i32> {
        let spec = self.work.path("job.toml").display().to_string();
        let mut args = vec![spec];
        args.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        let mut settings = vec![("sources.people.batch.rows", ["7", "50", "333"])];
        if !matches!(self.input, Input::Query | Input::Heap) {
            settings.push(("sources.people.concurrency", ["1", "2", "3"]));
        }
        if self.target == Target::Postgres {
            settings.push(("sinks.main.concurrency", ["1", "2", "3"]));
        }
        for (key, values) in settings {
            args.extend(["--set".to_owned(), format!("{key}={}", values[self.chance.below(3) as usize])]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = self.command(&args);
        let pool = self.pool.filter(|_| self.chance.below(2) == 0);
        if let Some(pool) = pool {
            command.env("DATABASE_URL", &pool.url);
        } else if let Some(database) = self.database {
            command.env("DATABASE_URL", database.url());
        }
        let before = self.found();
        let stderr = self.work.path("stderr");
        // In another directory files of the same name are others: a job is let alone there.
        let other_files = self.elsewhere && !self.absolute && self.target != Target::Postgres;
        let code = match killing {
            Some((killed, time)) if !other_files => {
                let points = if self.target == Target::Postgres { POSTGRES_POINTS } else { POINTS };
                killed.kill(command, (&stderr, points), time.mul_f64(0.6), self.chance, &mut |_| ())
            }
            _ => {
                let output = command.stdin(Stdio::null()).output().unwrap();
                fs::write(&stderr, output.stderr).unwrap();
                Some(output.status.code().unwrap_or(-1))
            }
        };
        self.target.settle(self.database);
        let now = self.found();
        let (run, [over, finished]) = self.run();
        let (said, flags) = (self.work.read("stderr"), self.flags.join(" "));
        let where_ = match (self.there, self.elsewhere, pool.is_some()) {
            (true, ..) => " on the other host",
            (_, true, _) => " in another directory",
            (.., true) => " by the pool",
            _ => "",
        };
        let (rows, pairs) = (now.main.len(), now.lookup.len());
        self.note(&format!(
            "attempt{where_} {flags}: {code:?}, run {run:?}, {rows} rows, {pairs} pairs\n{}",
            said.lines().map(|line| format!("    {line}\n")).collect::<String>()
        ));
        if other_files && self.done_elsewhere(code, run.as_ref()) {
            return Some(0);
        }
        let fresh = self.flags.contains(&"--fresh");
        let last = self.model.run.clone();
        let done = code == Some(0) || finished;
        if let Err(why) = self.model.attempted(run, fresh, (&before, &now), done) {
            self.fail(&why);
        }
        if last != self.model.run {
            if let Some(run) = &self.model.run {
                self.input.keep(self.work, run);
            }
            if last.is_some() {
                self.copies.clear();
                self.aside = None;
            }
        }
        if let Err(why) = self.model.check(&now, done) {
            self.fail(&why);
        }
        // Asked for again until there is a new run.
        self.flags.retain(|flag| *flag == "--fresh" && last == self.model.run);
        self.elsewhere = false;
        // On another host nobody knows of it, and it is so all the same.
        self.over = over || (self.over && last == self.model.run);
        // Killed between its last word and its end, it has finished all the same.
        if finished { Some(0) } else { code }
    }

    /// Has the job been done in the other directory, where its files are others? Then all of it is there.
    fn done_elsewhere(&mut self, code: Option<i32>, run: Option<&String>) -> bool {
        let found = self.target.found(self.work, self.database, "elsewhere/out");
        if code != Some(0) {
            if !found.main.is_empty() {
                self.fail("something was stored elsewhere by a run that failed");
            }
            return false;
        }
        if found.main.is_empty() {
            return false;
        }
        if let Err(why) = self.model.elsewhere(run.cloned()).check(&found, true) {
            self.fail(&format!("elsewhere: {why}"));
        }
        true
    }

    /// Changes one thing.
    fn change(&mut self) {
        let (work, database) = (self.work, self.database);
        if self.moved {
            self.act("the state directory is moved back");
            self.moved = false;
            let _ = fs::remove_dir_all(work.path(self.state()));
            fs::rename(work.path("moved"), work.path(self.state())).unwrap();
            return;
        }
        let first = if self.over { 4 } else { 0 };
        let what = match first + self.chance.below(11 - first) {
            0..=2 => return self.change_input(),
            3 => {
                self.input.reorder(work, database, self.chance);
                "the input is reordered".to_owned()
            }
            4 => {
                let copy = self.copy();
                self.aside = Some(copy);
                let how = self.target.lose(work, database, self.chance);
                self.model.lost(&self.found());
                format!("target: {how}")
            }
            5 => {
                let copy = self.copy();
                self.copies.push(copy);
                "the target is copied".to_owned()
            }
            6 if !self.copies.is_empty() => {
                let copy = self.copies.swap_remove(self.chance.below(self.copies.len() as u64) as usize);
                let main_only = self.chance.below(2) == 0;
                self.restore(copy, main_only)
            }
            7 => {
                let _ = fs::remove_dir_all(work.path(self.state()));
                "the state directory is lost".to_owned()
            }
            8 => {
                fs::create_dir_all(work.path(self.state())).unwrap();
                fs::rename(work.path(self.state()), work.path("moved")).unwrap();
                self.moved = true;
                "the state directory is moved away".to_owned()
            }
            9 if self.hosts => {
                self.there = !self.there;
                "we are on the other host".to_owned()
            }
            10 => {
                self.elsewhere = true;
                "we are in another directory".to_owned()
            }
            _ => "nothing is changed".to_owned(),
        };
        self.act(&what);
    }

    fn change_input(&mut self) {
        let mut rows = self.model.input.clone();
        let keys: Vec<i64> = rows.keys().copied().collect();
        let some = keys[self.chance.below(keys.len() as u64) as usize];
        let what = match self.chance.below(4) {
            0 => {
                let key = self.chance.below(ROWS as u64 * 2) as i64;
                rows.entry(key).or_insert(1000);
                format!("key {key} is inserted")
            }
            1 => {
                rows.remove(&some);
                format!("key {some} is deleted")
            }
            _ => {
                *rows.get_mut(&some).unwrap() += 1;
                format!("key {some} is updated")
            }
        };
        self.act(&what);
        self.input.set(self.work, self.database, &self.model.input, &rows);
        self.model.set(rows);
    }

    fn copy(&mut self) -> Copy {
        self.next_copy += 1;
        self.target.copy(self.work, self.database, self.next_copy, self.model.base.clone())
    }

    fn restore(&mut self, copy: Copy, main_only: bool) -> String {
        let how = self.target.restore(self.work, self.database, &copy, main_only, self.chance);
        self.model.restored(copy.base, &self.found());
        format!("the target is restored, {how}{}", if main_only { ", without the lookup table" } else { "" })
    }

    /// What an operator does after such an end.
    fn react(&mut self, code: i32, said: &str) {
        let says = |words: &str| said.contains(words);
        let what = match code {
            75 if says("is under way elsewhere") => {
                self.target.age(self.work, self.database);
                "a minute goes by".to_owned()
            }
            75 if says("by a run that had been taken for dead") => "try again".to_owned(),
            66 if !self.put_back && self.model.first().is_some() && self.chance.below(3) > 0 => {
                let (first, run) = (self.model.first().unwrap(), self.model.run.clone().unwrap());
                self.input.put_back(self.work, self.database, &run, (&self.model.input, &first));
                self.model.set(first);
                self.put_back = true;
                "the input is put back".to_owned()
            }
            66 => self.start_over(),
            78 if says("`--adopt` resumes it") => match self.chance.below(4) {
                0 => self.start_over(),
                1 => {
                    self.flags = vec!["--fresh"];
                    "start over beside it".to_owned()
                }
                _ => {
                    self.flags = vec!["--adopt"];
                    "adopt it".to_owned()
                }
            },
            78 if says("put it back to resume") && self.chance.below(2) == 0 => match self.aside.take() {
                Some(copy) => self.restore(copy, false),
                None => self.start_over(),
            },
            78 if says("put it back to resume") || says("--fresh") => self.start_over(),
            _ => self.fail(&format!("nobody knows what to do after {code}")),
        };
        self.act(&what);
    }

    fn start_over(&mut self) -> String {
        self.target.clear(self.work, self.database);
        self.model.cleared(self.found());
        self.copies.clear();
        self.aside = None;
        self.put_back = false;
        self.flags = vec!["--fresh"];
        if self.moved {
            self.moved = false;
            let _ = fs::remove_dir_all(self.work.path("moved"));
        }
        let other = if self.there { ".runner" } else { "state-there" };
        let _ = fs::remove_dir_all(self.work.path(other));
        "clear the target and start over".to_owned()
    }

    /// Attempts until the run is done.
    fn torment(&mut self, time: Duration, killed: &mut Killed, kills: usize) {
        let enough = kills.min(killed.count() + PER_RUN);
        for _ in 0..ATTEMPTS {
            let killing = (killed.count() < enough).then_some((&mut *killed, time));
            let last = killing.is_none();
            match self.attempt(killing) {
                Some(0) => return,
                Some(code) => {
                    let said = self.work.read("stderr");
                    self.react(code, &said);
                }
                None => {}
            }
            if !last && self.flags.is_empty() && self.chance.below(8) > 0 {
                self.change();
            }
        }
        self.fail("no end is in sight");
    }
}

/// What a test tries: kinds of input and target.
struct Ways<'a> {
    name: &'a str,
    inputs: &'a [Input],
    targets: &'a [Target],
    database: Option<&'a Database>,
    pool: Option<&'a Pool>,
    /// How many share the kills.
    of: usize,
}

impl Ways<'_> {
    fn survive(&self) {
        let (kills, seed, hosts) = (kills(self.of), seed(), has_hosts());
        if !hosts {
            let _ = writeln!(std::io::stderr(), "{}: no other host, as `unshare` may not make one here", self.name);
        }
        let mut chance = Chance(seed);
        let (mut killed, mut runs, start) = (Killed::default(), 0, Instant::now());
        let (mut time, mut acts) = (None, BTreeMap::new());
        while killed.count() < kills {
            let folder = Work::new();
            let work = self.database.map_or(&folder, |database| &database.work);
            for name in work.list("") {
                let path = work.path(&name);
                let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
            let input = self.inputs[chance.below(self.inputs.len() as u64) as usize];
            let target = self.targets[chance.below(self.targets.len() as u64) as usize];
            let absolute = chance.below(2) == 0;
            let name = format!("{} with RUNNER_SEED={seed}, run {runs}, ", self.name);
            let (schema, folder) = (self.database.map_or("", |database| &database.schema), work.path(""));
            let folder = if absolute { folder.display().to_string() } else { String::new() };
            let job = format!("name = 'job'\n{}{}", input.spec(&folder, schema), target.spec(&folder, schema));
            work.file("job.toml", &job);
            fs::create_dir(work.path("elsewhere")).unwrap();
            std::os::unix::fs::symlink(work.path("in"), work.path("elsewhere/in")).unwrap();
            let rows: Rows = (0..ROWS).map(|key| (key, key)).collect();
            let fill = || {
                input.make(work, self.database);
                input.set(work, self.database, &Rows::new(), &rows);
                target.clear(work, self.database);
            };
            fill();
            let time = *time.get_or_insert_with(|| {
                let start = Instant::now();
                let Ran { code, stderr, .. } = work.run(&["job.toml"]);
                assert_eq!(code, 0, "{stderr}");
                let time = start.elapsed();
                fs::remove_dir_all(work.path(".runner")).unwrap();
                fill();
                time
            });
            let model = Model::new(rows, input.is_whole(), target.found(work, self.database, "out"));
            let mut trial = Trial {
                work,
                database: self.database,
                pool: self.pool,
                input,
                target,
                absolute,
                model,
                chance: &mut chance,
                copies: Vec::new(),
                aside: None,
                next_copy: 0,
                hosts,
                there: false,
                moved: false,
                elsewhere: false,
                flags: Vec::new(),
                put_back: false,
                over: false,
                acts: &mut acts,
                log: name + &job,
            };
            let copy = trial.copy();
            trial.copies.push(copy);
            trial.torment(time, &mut killed, kills);
            runs += 1;
        }
        killed.tell(self.name, runs, start, seed);
        let acts: Vec<String> = acts.iter().map(|(act, times)| format!("{act} {times}")).collect();
        let _ = writeln!(std::io::stderr(), "operator: {}", acts.join(", "));
    }
}

#[test]
fn sqlite() {
    let targets = [true, false].map(|one_file| Target::Sqlite { one_file });
    let inputs = [Input::Files, Input::Table, Input::Query];
    Ways { name: "operator, SQLite", inputs: &inputs, targets: &targets, database: None, pool: None, of: 1 }.survive();
}

#[test]
fn postgres() {
    let database = Database::new();
    // Source and sinks hold a transaction for each of their workers.
    let pool = Pool::before(&database, 16);
    let inputs = [Input::Files, Input::Keyed, Input::Heap];
    // An attempt takes three times as long as with files.
    let (targets, database, pool) = ([Target::Postgres], Some(&database), Some(&pool));
    Ways { name: "operator, PostgreSQL", inputs: &inputs, targets: &targets, database, pool, of: 2 }.survive();
}
