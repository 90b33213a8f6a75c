//! Standard error, where people read: the lines of a terminal that are drawn again and again, and the writer that does
//! not tear them. Where there is no terminal every line has its time, and a machine may ask for JSON.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{SecondsFormat, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
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
    bars: MultiProgress,
    format: LogFormat,
    quiet: bool,
    /// Is it no terminal? Then lines have their time.
    stamped: bool,
    told: Arc<Mutex<Told>>,
}

/// What was said of trouble so far.
#[derive(Debug, Default)]
struct Told {
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
        let target = match format {
            LogFormat::Text => ProgressDrawTarget::stderr(),
            LogFormat::Json => ProgressDrawTarget::hidden(),
        };
        Screen { bars: MultiProgress::with_draw_target(target), format, quiet, stamped, told: Arc::default() }
    }

    /// Is there a terminal on which lines can be drawn again?
    pub fn is_terminal(&self) -> bool {
        !self.stamped && self.format == LogFormat::Text
    }

    /// Does it show errors only?
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How many columns the terminal has, where it is one.
    pub fn width(&self) -> Option<usize> {
        let term = console::Term::stderr();
        (!self.stamped).then(|| term.size_checked().map(|(_, columns)| usize::from(columns))).flatten()
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
                format!("{}{level}{job}{}\n", self.stamp(), printable(text))
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

    /// Writes text that stands as it is, in one piece.
    pub fn write(&self, text: &str) {
        // A closed standard error is no reason to stop a job.
        let _ = self.bars.suspend(|| io::stderr().lock().write_all(text.as_bytes()));
    }

    /// What begins a line where there is no terminal: its time.
    pub fn stamp(&self) -> String {
        if self.stamped { format!("{} ", Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)) } else { String::new() }
    }

    /// Is JSON wanted?
    pub fn is_json(&self) -> bool {
        self.format == LogFormat::Json
    }

    /// One more line that is drawn again and again.
    pub(super) fn add_line(&self) -> ProgressBar {
        let template = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        self.bars.add(ProgressBar::new_spinner().with_style(template))
    }

    /// The terminal was made narrower: lines of these widths are folded now, and what `indicatif` does not know to be
    /// there has to go before it draws them anew.
    pub(super) fn narrowed(&self, lines: &[usize], width: usize) {
        let folded = lines.iter().map(|line| line.div_ceil(width.max(1)).max(1)).sum::<usize>();
        let surplus = folded.saturating_sub(lines.len());
        self.bars.suspend(|| {
            if surplus > 0 {
                let _ = io::stderr().lock().write_all(format!("\x1b[{surplus}A\r\x1b[J").as_bytes());
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
