//! Standard error, where people read: the lines of a terminal that are drawn again and again, and the writer that does
//! not tear them. Where there is no terminal every line has its time, and a machine may ask for JSON.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::text::printable;

/// A service that fails now and then is no news: its retries are told once they have gone on for so long, and then no
/// more often than that.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a run tells people what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Sentences
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be
    Info,
    /// Trouble that may pass
    Warning,
    /// Something failed for good
    Error,
}

/// Standard error, shared by all who write to it.
#[derive(Clone, Debug)]
pub struct Screen {
    format: LogFormat,
    quiet: bool,
    /// Is it no terminal? Then lines have their time.
    stamped: bool,
    told: Arc<Mutex<Told>>,
}

/// What is on it, and what was said of trouble so far.
#[derive(Debug, Default)]
struct Told {
    /// The lines that are drawn again and again, and what brings the cursor back to their start.
    picture: String,
    /// The job that runs now.
    job: String,
    failures: Vec<String>,
    retries: HashMap<String, Retries>,
}

/// The retries of one service.
#[derive(Debug)]
struct Retries {
    since: Instant,
    told: Option<Instant>,
    count: u64,
}

impl Screen {
    /// A screen on standard error. A quiet one shows errors only.
    pub fn new(format: LogFormat, quiet: bool) -> Self {
        let stamped = !io::stderr().is_terminal();
        Screen { format, quiet, stamped, told: Arc::default() }
    }

    /// Is there a terminal on which lines can be drawn again?
    pub fn is_terminal(&self) -> bool {
        let is_able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        !self.stamped && self.format == LogFormat::Text && is_able
    }

    /// Does it show errors only?
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How many columns the terminal has, where it is one.
    pub fn width(&self) -> Option<usize> {
        self.size().map(|(_, columns)| columns)
    }

    /// How many lines and columns the terminal has, where it is one.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        let size = console::Term::stderr().size_checked().filter(|_| !self.stamped);
        size.map(|(lines, columns)| (usize::from(lines), usize::from(columns)))
    }

    /// What is said from now on is of this job.
    pub fn begin(&self, job: &str) {
        self.lock().job = job.to_owned();
    }

    /// Says a line; `facts` are for machines.
    pub fn say(&self, level: Level, text: &str, facts: &[(&str, Value)]) {
        if self.quiet && level != Level::Error {
            return;
        }
        let job = self.lock().job.clone();
        let word = match level {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let line = match self.format {
            LogFormat::Json => {
                let mut object = Map::new();
                object.insert("time".to_owned(), json!(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)));
                object.insert("level".to_owned(), json!(word));
                if !job.is_empty() {
                    object.insert("job".to_owned(), json!(job));
                }
                object.insert("message".to_owned(), json!(text));
                object.extend(facts.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
                format!("{}\n", Value::Object(object))
            }
            LogFormat::Text => {
                let job = if job.is_empty() { job } else { format!("{job}: ") };
                let level = if level == Level::Info { String::new() } else { format!("{word}: ") };
                // What is said before a run begins is the answer to a command.
                let stamp = if job.is_empty() { String::new() } else { self.stamp() };
                format!("{stamp}{level}{job}{}\n", printable(text))
            }
        };
        self.write(&line);
    }

    /// Says what has failed for good, once.
    pub fn failed(&self, message: &str) {
        if !self.has_told(message) {
            self.lock().failures.push(message.to_owned());
            self.say(Level::Error, message, &[]);
        }
    }

    /// Was it said that this has failed? Where several servers are down that is the sum of what was said of each.
    pub fn has_told(&self, message: &str) -> bool {
        let told = self.lock();
        let is_told = |message: &str| told.failures.iter().any(|told| told == message);
        is_told(message) || message.split("; ").all(is_told)
    }

    /// Says that `service` is tried again, where that has gone on for some time.
    pub fn retries(&self, service: &str, message: &str) {
        let now = Instant::now();
        let count = {
            let mut told = self.lock();
            let fresh = || Retries { since: now, told: None, count: 0 };
            let retries = told.retries.entry(service.to_owned()).or_insert_with(fresh);
            retries.count += 1;
            if retries.told.unwrap_or(retries.since).elapsed() < PATIENCE {
                return;
            }
            retries.told = Some(now);
            retries.count
        };
        self.say(Level::Warning, &format!("{message} ({count} failed attempts so far)"), &[]);
    }

    /// Writes text that stands as it is, above the picture.
    pub fn write(&self, text: &str) {
        let told = self.lock();
        put(&if told.picture.is_empty() { text.to_owned() } else { format!("{CLEAR}{text}{}", told.picture) });
    }

    /// Draws these lines in place of those that were drawn before; none is as wide as the terminal. The cursor stays at
    /// the start of the first: so nothing needs to be counted to take them away again, not even where a terminal that
    /// became narrower has folded them.
    pub(super) fn draw(&self, lines: &[String]) {
        let mut told = self.lock();
        told.picture = match lines.len() {
            0 => String::new(),
            1 => format!("{}\r", lines[0]),
            more => format!("{}\r\x1b[{}A", lines.join("\n"), more - 1),
        };
        put(&format!("{CLEAR}{}", told.picture));
    }

    /// What begins a line where there is no terminal: its time.
    pub fn stamp(&self) -> String {
        if self.stamped { format!("{} ", Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)) } else { String::new() }
    }

    /// Is JSON wanted?
    pub fn is_json(&self) -> bool {
        self.format == LogFormat::Json
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes everything away from the line of the cursor on. The space is for terminals that keep, in what can be rolled
/// back, whatever is taken away from the very first place on.
const CLEAR: &str = "\r \x1b[J\r";

/// Writes in one piece. A closed standard error is no reason to stop a job.
fn put(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
