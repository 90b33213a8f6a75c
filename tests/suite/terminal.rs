//! What a person sees at a terminal while a job runs, at two widths and after the terminal was made narrower. The
//! terminal is tmux's.

use std::process::Command;

use crate::work::{Work, project, until};

/// It runs until it is told to stop.
const JOB: &str = r#"name = "endless"

[definitions.numbers.fields.n]
sequence = { start = 1 }

[sources.numbers]
type = "generate"
count = 2000000000
concurrency = 1
definition = "numbers"

[transforms.odd]
type = "filter"
input = "numbers"
where = "n % 2 = 1"
concurrency = 1

[sinks.nowhere]
type = "discard"
input = "odd"
"#;

/// One terminal; it goes with the test.
struct Terminal {
    name: String,
    work: Work,
}

impl Terminal {
    /// A terminal of so many columns in which the job runs.
    fn start(columns: usize) -> Terminal {
        if Command::new("tmux").arg("-V").output().is_err() {
            let installed = Command::new(project("scripts/apt-install")).arg("tmux").status().unwrap();
            assert!(installed.success(), "this test needs tmux");
        }
        let work = Work::new();
        work.file("job.toml", JOB);
        let name = format!("runner-suite-{}-{columns}", work.path("").file_name().unwrap().to_string_lossy());
        let terminal = Terminal { name, work };
        let command = format!("exec '{}' job.toml", env!("CARGO_BIN_EXE_runner"));
        let width = columns.to_string();
        let folder = terminal.work.path("");
        let folder = folder.to_str().unwrap();
        let start = ["new-session", "-d", "-x", &width, "-y", "30", "-c", folder, "sh", "-c", &command];
        terminal.tmux(&[&["-f", "/dev/null"], &start[..], &[";", "set", "remain-on-exit", "on"]].concat());
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .args(["-u", "-L", &self.name])
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env_remove("TMUX");
        let output = command.output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The lines that are on it and in what was rolled out of it, as they are folded.
    fn lines(&self) -> Vec<String> {
        self.captured(&["capture-pane", "-p", "-S", "-"])
    }

    fn captured(&self, args: &[&str]) -> Vec<String> {
        let text = self.tmux(args);
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Waits until the job has run for some seconds and says what is there then, all numbers being `N`.
    fn seen_running(&self) -> Vec<String> {
        let mut seen = Vec::new();
        until("the job has run for a while", || {
            seen = self.lines();
            seen.first().is_some_and(|title| !title.contains("0:00")) && seen.iter().any(|line| line.contains("left"))
        });
        seen.iter().map(|line| without_numbers(line)).collect()
    }

    /// Ctrl-C, and what stays.
    fn interrupt(&self) -> Vec<String> {
        self.tmux(&["send-keys", "C-c"]);
        // Its line "Pane is dead" waits for a signal that some environments keep from tmux.
        until("the job has ended", || self.tmux(&["list-panes", "-F", "#{pane_dead}"]).trim() == "1");
        let lines = self.captured(&["capture-pane", "-p", "-J", "-S", "-"]);
        lines.iter().filter(|line| !line.starts_with("Pane is dead")).map(|line| without_numbers(line)).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).output();
    }
}

/// Numbers, times and rates stand as `N`, however wide they are, and runs of spaces as one.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if text.ends_with('N') => {}
            '0'..='9' => text.push('N'),
            ',' | ':' | '.' if text.ends_with('N') => {}
            ' ' if text.ends_with(' ') => {}
            _ => text.push(c),
        }
    }
    text.replace("N N", "N")
}

#[test]
fn a_wide_terminal_shows_all_there_is() {
    let terminal = Terminal::start(120);
    let lines = terminal.seen_running();
    let bar = "[..........] N % N left";
    let source = format!("numbers {bar} N rows N rows/s N B");
    assert_eq!(
        lines,
        ["endless N", source.as_str(), "odd N rows N rows/s N waiting", "nowhere N rows N rows/s N waiting"]
    );
    let lines = terminal.interrupt();
    let table = [
        "endless: interrupted, finishing what is under way; once more to abort",
        "endless: interrupted, N of N splits left: N rows in N s, N rows/s",
        " stage type rows in rows out rejected filtered not stored busy s",
        " numbers generate N N",
    ];
    assert_eq!(lines[..3], table[..3], "{lines:?}");
    assert!(lines[3].starts_with(table[3]), "{lines:?}");
    assert_eq!(lines.last().unwrap(), " report: .runner/endless.report.json");
}

#[test]
fn a_narrow_terminal_has_no_torn_lines() {
    let terminal = Terminal::start(45);
    let lines = terminal.seen_running();
    let source = "numbers [..........] N % N left";
    assert!(lines.len() == 4 && lines[0] == "endless N", "{lines:?}");
    assert!(lines[1].starts_with(source) && lines[2].starts_with("odd N rows"), "{lines:?}");
    let shown = terminal.lines();
    assert!(shown.iter().all(|line| line.chars().count() < 45), "{shown:?}");
    let lines = terminal.interrupt();
    assert!(lines.iter().any(|line| line == " stage rows in rows out filtered"), "{lines:?}");
}

#[test]
fn a_terminal_that_becomes_narrower_keeps_nothing_of_the_wide_lines() {
    let terminal = Terminal::start(120);
    terminal.seen_running();
    terminal.tmux(&["resize-window", "-x", "45"]);
    // What a terminal rolls out of sight while it folds lines is its own affair.
    let screen = || terminal.captured(&["capture-pane", "-p"]);
    let narrow = |line: &String| line.chars().count() < 45;
    let mut lines = Vec::new();
    until("the lines fit", || {
        lines = screen();
        lines.len() == 4 && lines.iter().all(narrow)
    });
    assert_eq!(lines.iter().filter(|line| line.starts_with("endless")).count(), 1, "{lines:?}");
    terminal.tmux(&["resize-window", "-x", "100"]);
    until("there is room again", || screen().iter().any(|line| line.len() > 60));
    assert_eq!(screen().len(), 4);
}
