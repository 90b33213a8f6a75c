//! What a person sees while a job runs: on a terminal a line per pool, elsewhere one line at the start.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{summary::grouped, tally::Tally};
use crate::{
    batch::SplitId,
    event::{Event, Observer, StageId, StopReason},
    plan::{Plan, Role},
    stage::Split,
};

/// How often lines are drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// Where and how to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line per pool, drawn again and again.
    Terminal,
    /// One line when the run starts and one when it is told to stop.
    Lines,
    /// Nothing.
    Quiet,
}

/// The lines of a terminal that are drawn again and again, and the writer that does not disturb them.
#[derive(Clone, Debug)]
pub struct Screen(MultiProgress);

impl Screen {
    /// A screen on standard error.
    pub fn new() -> Self {
        Screen(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
    }
}

impl Default for Screen {
    fn default() -> Self {
        Screen::new()
    }
}

impl Write for Screen {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
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
}

/// The line of one pool.
struct Line {
    head: StageId,
    /// All its stages, the head too.
    stages: Vec<StageId>,
    bar: ProgressBar,
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
        let mut lines = Vec::new();
        if style == Style::Terminal {
            let template = ProgressStyle::with_template("{prefix} {msg}");
            let template = template.unwrap_or_else(|_| ProgressStyle::default_spinner());
            for pool in &plan.pools {
                let bar = screen.0.add(ProgressBar::new_spinner().with_style(template.clone()));
                bar.set_prefix(format!("{:>16}", plan.stages[pool.head].name));
                let stages = [pool.head].iter().chain(&pool.fused).copied().collect();
                let (head, workers) = (pool.head, pool.workers);
                lines.push(Line { head, stages, bar, workers, waiting: 0, total: Total::Unknown });
            }
        }
        let now = Instant::now();
        Progress { tally: Tally::new(Arc::clone(plan)), style, screen: screen.clone(), lines, start: now, drawn: now }
    }

    /// Takes the lines off the screen and gives the counts back.
    pub fn finish(self) -> Tally {
        self.lines.iter().for_each(|line| line.bar.finish_and_clear());
        self.tally
    }

    fn say(&mut self, text: &str) {
        if self.style != Style::Quiet {
            // A closed standard error is no reason to stop a job.
            let _ = writeln!(self.screen, "{}: {text}", self.tally.plan.name);
        }
    }

    fn line(&mut self, head: StageId) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.head == head)
    }
}

impl Observer for Progress {
    fn on(&mut self, event: &Event) {
        self.tally.on(event);
        match event {
            Event::Listed { stage, splits, first } => {
                if *first == SplitId(0) && self.style == Style::Lines {
                    let text = format!("started, plan {}, {}", self.tally.plan.digest, counted(splits.len()));
                    self.say(&text);
                }
                if let Some(line) = self.line(*stage) {
                    line.total = Total::of(splits);
                }
            }
            Event::Stopping { why } => self.say(match why {
                StopReason::Interrupt => "interrupted, finishing what is under way; once more to abort",
                StopReason::Terminate => "told to stop, finishing what is under way; once more to abort",
                StopReason::Deadline => "out of time, finishing what is under way",
                StopReason::Rejects | StopReason::Failure => "stopping, finishing what is under way",
            }),
            Event::Level { stage, batches } => {
                if let Some(line) = self.line(*stage) {
                    line.waiting = *batches;
                }
            }
            Event::WorkerEnded { stage } => {
                if let Some(line) = self.line(*stage) {
                    line.workers = line.workers.saturating_sub(1);
                    if line.workers == 0 {
                        line.bar.finish_and_clear();
                    }
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self) {
        if self.drawn.elapsed() >= REDRAW {
            self.drawn = Instant::now();
            let seconds = self.start.elapsed().as_secs_f64();
            for line in self.lines.iter().filter(|line| line.workers > 0) {
                line.bar.set_message(line.text(&self.tally, seconds));
            }
        }
    }
}

impl Line {
    fn text(&self, tally: &Tally, seconds: f64) -> String {
        let head = &tally.stages[self.head];
        let rows = head.rows.input;
        let rate = (rows as f64 / seconds.max(0.001)) as u64;
        let mut text = format!("{:>13} rows {:>11} rows/s {:>10}", grouped(rows), grouped(rate), size(head.bytes));
        if !matches!(tally.plan.stages[self.head].role, Role::Source(_)) {
            text += &format!("  {} waiting", self.waiting);
        }
        let rejected: u64 = self.stages.iter().map(|id| tally.stages[*id].rows.rejected).sum();
        if rejected > 0 {
            text += &format!("  {} rejected", grouped(rejected));
        }
        if let Some(left) = self.total.left(rows, head.bytes, seconds) {
            text += &format!("  {} s left", left.as_secs());
        }
        text
    }
}

impl Total {
    /// What a source has to read: bytes where all its splits have a size, else rows.
    fn of(splits: &[Split]) -> Total {
        let bytes: Option<u64> = splits.iter().map(Split::size).sum();
        let rows: Option<u64> = splits.iter().map(Split::rows).sum();
        bytes.map(Total::Bytes).or(rows.map(Total::Rows)).unwrap_or(Total::Unknown)
    }

    /// How long the rest takes at the rate so far.
    fn left(self, rows: u64, bytes: u64, seconds: f64) -> Option<Duration> {
        let (done, total) = match self {
            Total::Bytes(total) => (bytes, total),
            Total::Rows(total) => (rows, total),
            Total::Unknown => return None,
        };
        let left = total.saturating_sub(done) as f64;
        (done > 0).then(|| Duration::from_secs_f64(seconds * left / done as f64))
    }
}

/// `1 split`, `2 splits`.
fn counted(splits: usize) -> String {
    format!("{splits} split{}", if splits == 1 { "" } else { "s" })
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = |n: u64| (64 - n.leading_zeros()).saturating_sub(1) / 10;
    let unit = step(bytes).min(4);
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1_u64 << (10 * unit)) as f64, UNITS[unit as usize]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")];
        cases.iter().for_each(|(bytes, text)| assert_eq!(size(*bytes), *text));
    }

    #[test]
    fn time_left_follows_the_rate_so_far() {
        assert_eq!(Total::Bytes(300).left(0, 100, 2.0), Some(Duration::from_secs(4)));
        assert_eq!(Total::Rows(300).left(300, 0, 2.0), Some(Duration::ZERO));
        assert_eq!(Total::Unknown.left(1, 1, 1.0), None);
    }
}
