//! The program while it runs: what it says so far, and signals to it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use crate::work::{Ran, Work, soon};

/// A started program; it ends with the test.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    stdout: Arc<Mutex<String>>,
}

impl Running {
    pub fn start(work: &Work, args: &[&str]) -> Running {
        Running::spawn(&mut work.command(args))
    }

    pub fn spawn(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, stdout) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stderr.take().unwrap(), Arc::clone(&said)),
            collect(child.stdout.take().unwrap(), Arc::clone(&stdout)),
        ];
        Running { child, said, readers, stdout }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said this on standard error.
    pub fn wait_for(&self, text: &str) {
        let said = soon(|| self.said.lock().unwrap().contains(text));
        assert!(said, "it does not say `{text}` but\n{}", self.said.lock().unwrap());
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let mut code = None;
        let ended = soon(|| {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        assert!(ended, "it does not end; so far it says\n{}", self.said.lock().unwrap());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let [stdout, stderr] = [&self.stdout, &self.said].map(|text| text.lock().unwrap().clone());
        Ran { code: code.unwrap().code().unwrap_or(-1), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl std::io::Read + Send + 'static, text: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = String::new();
        while from.read_line(&mut line).is_ok_and(|len| len > 0) {
            text.lock().unwrap().push_str(&line);
            line.clear();
        }
    })
}

/// A spec may lie where nothing can be written.
#[test]
fn the_state_directory_may_be_elsewhere() {
    let work = Work::new();
    let job = "name = 'job'\n[state]\npath = 'of-spec'\n[sources.n]\ntype = 'files'\npath = 'in.csv'\nformat = 'csv'\n\
               columns = ['n int64']\n[sinks.out]\ntype = 'files'\ninput = 'n'\npath = 'out.csv'\nformat = 'csv'\n";
    work.file("in.csv", "n\n1\n");
    work.file("job.toml", job.replace("[state]\npath = 'of-spec'\n", ""));
    work.file(".runner", "a file stands where the directory would be");
    let ran = work.expect(73, &["job.toml"]);
    assert!(ran.stderr.contains("`--state DIR` keeps what is known of the job elsewhere"), "{}", ran.stderr);
    assert!(!work.path("out.csv").exists());
    let files = |dir: &str| work.list(dir).into_iter().filter(|name| !name.contains("-")).collect::<Vec<_>>();
    let expected = ["job.ledger", "job.lock", "job.report.json"];
    work.expect(0, &["job.toml", "--state", "a/b"]);
    assert_eq!(files("a/b"), expected);
    let state = |args: &[&str], env: &str| {
        let output = work.command(args).env("RUNNER_STATE", env).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(state(&["status", "job.toml"], "none-yet"), "job: no run\n");
    assert!(state(&["status", "job.toml"], "a/b").contains(", 1 attempt, finished "));
    assert!(state(&["status", "job.toml", "--state", "a/b"], "none-yet").contains(", 1 attempt, finished "));
    // An empty variable names nothing: where nothing is named, the file is in the way.
    assert_eq!(work.command(&["job.toml"]).env("RUNNER_STATE", "").output().unwrap().status.code(), Some(73));
    // The command line goes before the environment, and that before the spec.
    work.file("job.toml", job);
    state(&["run", "job.toml"], "of-env");
    assert_eq!(files("of-env"), expected);
    state(&["run", "--state", "of-line", "job.toml"], "of-env-2");
    assert_eq!(files("of-line"), expected);
    assert_eq!(["of-spec", "of-env-2"].map(|dir| work.path(dir).exists()), [false, false]);
    work.expect(0, &["job.toml"]);
    assert_eq!(files("of-spec"), expected);
}
