//! What a person sees while a job runs: on a terminal a line per pool, elsewhere a line at the start and every half
//! minute.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::{
    screen::{Level, Screen},
    tally::{SplitState, Tally},
    text::{clock, counted, grouped, size},
};
use crate::{
    batch::SplitId,
    event::{Event, Observer, StageId, StopReason},
    plan::{Plan, Pool, Role},
    stage::Split,
};

/// How often lines are drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// How often a sign of life comes where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Lines and columns of a terminal that does not say.
const USUAL_SIZE: (usize, usize) = (24, 80);

/// Where and how to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line per pool, drawn again and again.
    Terminal,
    /// A line when the run starts, when it is told to stop, and every half minute.
    Lines,
    /// Nothing.
    Quiet,
}

impl Style {
    /// The one that suits a screen.
    pub fn of(screen: &Screen) -> Style {
        match (screen.is_quiet(), screen.is_terminal()) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Terminal,
            (false, false) => Style::Lines,
        }
    }
}

/// Counts a run and shows it.
pub struct Progress {
    tally: Tally,
    style: Style,
    screen: Screen,
    lines: Vec<Line>,
    start: Instant,
    drawn: Instant,
    heard: Instant,
}

/// The line of one pool.
struct Line {
    head: StageId,
    /// All its stages, the head too.
    stages: Vec<StageId>,
    /// Workers that have not ended.
    workers: usize,
    /// Batches waiting before it.
    waiting: u64,
    /// Bytes or rows there are to read in all, where that is known.
    total: Total,
}

#[derive(Clone, Copy)]
enum Total {
    Bytes(u64),
    Rows(u64),
    Unknown,
}

impl Progress {
    /// Shows a run of this plan.
    pub fn new(plan: &Arc<Plan>, style: Style, screen: &Screen) -> Self {
        let line = |pool: &Pool| {
            let stages = [pool.head].iter().chain(&pool.fused).copied().collect();
            Line { head: pool.head, stages, workers: pool.workers, waiting: 0, total: Total::Unknown }
        };
        let lines = plan.pools.iter().map(line).collect();
        let now = Instant::now();
        let (tally, screen) = (Tally::new(Arc::clone(plan)), screen.clone());
        Progress { tally, style, screen, lines, start: now, drawn: now, heard: now }
    }

    /// Takes the lines off the screen and gives the counts back.
    pub fn finish(self) -> Tally {
        if self.style == Style::Terminal {
            self.screen.draw(&[]);
        }
        self.tally
    }

    fn say(&self, text: &str, facts: &[(&str, serde_json::Value)]) {
        if self.style != Style::Quiet {
            self.screen.say(Level::Info, text, facts);
        }
    }

    fn line(&mut self, head: StageId) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.head == head)
    }

    /// Says how far the run has come.
    fn heartbeat(&self) {
        let elapsed = self.start.elapsed();
        let done = self.tally.splits.iter().filter(|split| split.state >= SplitState::Stored).count();
        let (splits, read, rejected) = (self.tally.splits.len(), self.tally.read(), self.tally.rejected());
        let mut text = format!("running for {}, {} rows read", clock(elapsed), grouped(read));
        text += &format!(", {} of {} done", grouped(done as u64), counted(splits, "split"));
        if rejected > 0 {
            text += &format!(", {} rejected", grouped(rejected));
        }
        let facts = [("seconds", json!(elapsed.as_secs())), ("rows", json!(read)), ("rejected", json!(rejected))];
        self.say(&text, &[&facts[..], &[("splits", json!(splits)), ("splits_done", json!(done))]].concat());
    }

    /// Draws the job, how long it has run, and a line for each pool that works.
    fn draw(&self) {
        let (plan, elapsed) = (&self.tally.plan, self.start.elapsed());
        let (most, width) = self.screen.size().unwrap_or(USUAL_SIZE);
        let room = width.saturating_sub(1);
        let names = self.lines.iter().map(|line| plan.stages[line.head].name.width()).max().unwrap_or(0);
        let title = cut(&format!("{}  {}", plan.name, clock(elapsed)), room);
        let working = self.lines.iter().filter(|line| line.workers > 0);
        let lines = working.map(|line| line.text(&self.tally, elapsed, names, room));
        // What does not fit on the screen would roll out of it, and stay.
        let lines: Vec<String> = [title].into_iter().chain(lines).take(most.saturating_sub(1).max(1)).collect();
        self.screen.draw(&lines);
    }
}

impl Observer for Progress {
    fn on(&mut self, event: &Event) {
        self.tally.on(event);
        match event {
            Event::Listed { stage, splits, first } => {
                if *first == SplitId(0) && self.style == Style::Lines {
                    let text = format!("started, plan {}, {}", self.tally.plan.digest, counted(splits.len(), "split"));
                    self.say(&text, &[("plan", json!(self.tally.plan.digest))]);
                }
                if let Some(line) = self.line(*stage) {
                    line.total = Total::of(splits);
                }
            }
            Event::Stopping { why } => self.say(
                match why {
                    StopReason::Interrupt => "interrupted, finishing what is under way; once more to abort",
                    StopReason::Terminate => "told to stop, finishing what is under way; once more to abort",
                    StopReason::Deadline => "out of time, finishing what is under way",
                    StopReason::Rejects | StopReason::Failure => "stopping, finishing what is under way",
                },
                &[],
            ),
            Event::Level { stage, batches } => {
                if let Some(line) = self.line(*stage) {
                    line.waiting = *batches;
                }
            }
            Event::WorkerEnded { stage } => {
                if let Some(line) = self.line(*stage) {
                    line.workers = line.workers.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self) {
        if self.style == Style::Terminal && self.drawn.elapsed() >= REDRAW {
            self.drawn = Instant::now();
            self.draw();
        }
        if self.style == Style::Lines && self.heard.elapsed() >= HEARTBEAT {
            self.heard = Instant::now();
            self.heartbeat();
        }
    }
}

impl Line {
    /// What it says within `width` columns, the most important first; `names` is the width of the longest name.
    fn text(&self, tally: &Tally, elapsed: Duration, names: usize, width: usize) -> String {
        let head = &tally.stages[self.head];
        let rows = head.rows.input;
        let seconds = elapsed.as_secs_f64();
        let is_source = matches!(tally.plan.stages[self.head].role, Role::Source(_));
        let names = names.min(width / 4).max(4);
        let name = cut(&tally.plan.stages[self.head].name, names);
        let mut parts = Vec::new();
        if let Some((share, left)) = self.total.left(rows, head.bytes, seconds) {
            let filled = (share * 10.0) as usize;
            let bar = format!("[{}{}]", "#".repeat(filled), ".".repeat(10 - filled));
            parts.push(format!("{bar} {:>3.0} %", share * 100.0));
            parts.push(format!("{} left", clock(left)));
        }
        let rejected: u64 = self.stages.iter().map(|id| tally.stages[*id].rows.rejected).sum();
        if rejected > 0 {
            parts.push(format!("{} rejected", grouped(rejected)));
        }
        parts.push(format!("{} rows", grouped(rows)));
        parts.push(format!("{} rows/s", grouped((rows as f64 / seconds.max(0.001)) as u64)));
        match is_source {
            true => parts.push(size(head.bytes)),
            false => parts.push(format!("{} waiting", self.waiting)),
        }
        let mut text = format!("{name}{}", " ".repeat(names - name.width()));
        for part in parts {
            if text.width() + 2 + part.width() > width {
                break;
            }
            text += "  ";
            text += &part;
        }
        cut(&text, width)
    }
}

impl Total {
    /// What a source has to read: bytes where all its splits have a size, else rows.
    fn of(splits: &[Split]) -> Total {
        let bytes: Option<u64> = splits.iter().map(Split::size).sum();
        let rows: Option<u64> = splits.iter().map(Split::rows).sum();
        bytes.map(Total::Bytes).or(rows.map(Total::Rows)).unwrap_or(Total::Unknown)
    }

    /// The share that is read, from 0 to 1, and how long the rest takes at the rate so far.
    fn left(self, rows: u64, bytes: u64, seconds: f64) -> Option<(f64, Duration)> {
        let (done, total) = match self {
            Total::Bytes(total) => (bytes, total),
            Total::Rows(total) => (rows, total),
            Total::Unknown => return None,
        };
        let left = total.saturating_sub(done) as f64;
        let share = (done as f64 / total.max(1) as f64).min(1.0);
        (done > 0).then(|| (share, Duration::from_secs_f64(seconds * left / done as f64)))
    }
}

/// The text within `width` columns; `…` stands for what is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    // Names are ASCII, and so is all else that is drawn.
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_the_rate_so_far() {
        let third = Some((1.0 / 3.0, Duration::from_secs(4)));
        assert_eq!(Total::Bytes(300).left(0, 100, 2.0), third);
        assert_eq!(Total::Rows(300).left(300, 0, 2.0), Some((1.0, Duration::ZERO)));
        assert_eq!(Total::Unknown.left(1, 1, 1.0), None);
    }
}
