//! A folder for one test, the program run in it, and what that left behind.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::servers::{DEVICES, service};

/// A folder that goes when the test is over.
pub struct Work {
    root: PathBuf,
    env: Vec<(String, String)>,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Work {
    /// An empty folder.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("runner-suite-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).unwrap();
        Work { root, env: Vec::new() }
    }

    /// A folder with the project's `proto` folder in it.
    pub fn with_proto() -> Self {
        let work = Work::new();
        work.file("proto/appsinstalled.proto", fs::read_to_string(project("proto/appsinstalled.proto")).unwrap());
        work
    }

    /// A folder with the project's `proto` folder and its `jobs/memc.toml`.
    pub fn with_memc() -> Self {
        let work = Work::with_proto();
        work.file("jobs/memc.toml", fs::read_to_string(project("jobs/memc.toml")).unwrap());
        work
    }

    /// Sets an environment variable for the program.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a file, and the folders above it.
    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a gzipped file.
    pub fn gzip(&self, path: &str, text: impl AsRef<[u8]>) {
        self.file(path, gzip(text.as_ref()));
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Lines of a file of JSON objects.
    pub fn json_lines(&self, path: &str) -> Vec<Value> {
        self.read(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Names of the files in a folder, sorted, hidden ones too.
    pub fn list(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What stands in all files of the folder and of those below it, but in those of these names.
    pub fn texts(&self, except: &[&str]) -> String {
        texts(&self.root, except)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command.args(args).current_dir(&self.root).env("NO_COLOR", "1");
        // A test says what its runs see.
        for variable in DEVICES.iter().map(|(_, variable)| *variable).chain(["APPS_INSTALLED"]) {
            command.env_remove(variable);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        finished(&mut self.command(args))
    }

    /// Runs the program and expects this exit code.
    pub fn expect(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "runner {args:?}\n{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs a job with `--format json` and gives the report.
    pub fn report(&self, code: i32, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        let ran = self.expect(code, &args);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }
}

fn texts(folder: &Path, except: &[&str]) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &texts(&path, except);
        } else if path.is_file() && !except.contains(&path.file_name().unwrap().to_str().unwrap()) {
            all += &String::from_utf8_lossy(&fs::read(&path).unwrap());
        }
    }
    all
}

impl Drop for Work {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Waits for something to become true. What is slow here is the machine; what never comes fails the test.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(soon(holds), "waited in vain until {what}");
}

/// Does it become true within half a minute?
pub fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > Duration::from_secs(30) {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Do the tests run as root, whom permission bits do not stop?
pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs one of the programs in `tests/oracle`, in the folder of a test with its variables.
pub fn oracle(work: &Work, program: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(service("RUNNER_TEST_PYTHON"));
    command.arg(project("tests/oracle").join(program)).args(args).current_dir(&work.root);
    command.envs(work.env.iter().map(|(name, value)| (name, value)));
    finished(&mut command)
}

/// Runs a command to its end. One that hangs is killed, and fails its test, before it holds up all others.
fn finished(command: &mut Command) -> Ran {
    const PATIENCE: Duration = Duration::from_secs(300);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (id, (over, ended)) = (child.id(), mpsc::channel::<()>());
    let guard = thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(over);
    guard.join().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A line of a run without the time that it begins with.
pub fn timeless(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no time: {line}"));
    assert_eq!((time.len(), time.ends_with('Z')), ("2024-01-31T12:00:00Z".len(), true), "{line}");
    rest
}

/// What a run said has failed.
pub fn errors(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter_map(|line| line.split_once("Z error: ").map(|(_, said)| said)).collect()
}

/// One member of a gzip file.
pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A path in the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The stage of that name in a report.
pub fn stage<'a>(report: &'a Value, name: &str) -> &'a Value {
    let stages = report["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("no stage {name}"))
}
