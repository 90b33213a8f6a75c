//! A part of the shared server for one test, or a server of its own.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    servers::service,
    work::{Work, is_root, until},
};

/// `nobody`, as whom a server runs where the tests are root's.
const NOBODY: u32 = 65534;

fn program(name: &str) -> PathBuf {
    PathBuf::from(service("POSTGRES_BIN")).join(name)
}

/// What `psql` prints for a statement, without the last line end.
fn psql(url: &str, sql: &str) -> String {
    let output =
        Command::new(program("psql")).args([url, "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
    let (said, text) = (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    assert!(output.status.success(), "{sql}: {said}");
    text.trim_end_matches('\n').to_owned()
}

fn url(server: &str, schema: &str) -> String {
    format!("{server}?options=-c%20search_path%3D{schema}")
}

/// A schema of its own in the server that `scripts/with-services` started, and a folder whose runs see it.
pub struct Database {
    pub work: Work,
    pub schema: String,
    server: String,
}

impl Database {
    pub fn new() -> Database {
        Database::on(&service("DATABASE_URL"))
    }

    pub fn on(server: &str) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        psql(server, &format!("create schema {schema}"));
        let work = Work::new().env("DATABASE_URL", &url(server, &schema));
        Database { work, schema, server: server.to_owned() }
    }

    /// Where tables without a schema are this test's.
    pub fn url(&self) -> String {
        url(&self.server, &self.schema)
    }

    /// `host:port/database`
    pub fn address(&self) -> String {
        self.server.rsplit_once('@').unwrap().1.to_owned()
    }

    /// What the server says: rows as lines, values between bars.
    pub fn ask(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }

    /// The same with the rows on one line, between commas.
    pub fn list(&self, sql: &str) -> String {
        self.ask(sql).replace('\n', ",")
    }

    /// The columns of a table.
    pub fn columns(&self, table: &str) -> String {
        self.ask(&format!(
            "select string_agg(attname || ' ' || format_type(atttypid, atttypmod) \
             || case when attnotnull then ' not null' else '' end, ', ' order by attnum) \
             from pg_attribute where attrelid = '{table}'::regclass and attnum > 0"
        ))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let sql = format!("set client_min_messages = warning; drop schema if exists {} cascade", self.schema);
            let _ = Command::new(program("psql")).args([&self.server, "-AtqX", "-c", &sql]).output();
        }
    }
}

/// A server for one test, which may be stopped and started again at the same port.
pub struct Server {
    folder: Work,
    port: u16,
    child: Option<Child>,
}

impl Server {
    pub fn start() -> Server {
        let folder = Work::new();
        if is_root() {
            chown(folder.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o700)).unwrap();
        let data = folder.path("data");
        let args = ["-U", "runner", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"];
        let output = launcher("initdb").args(args).arg(data).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Server { folder, port, child: None };
        server.resume();
        server
    }

    /// Starts it, again.
    pub fn resume(&mut self) {
        let (data, sockets) = (self.folder.path("data"), self.folder.path(""));
        let mut command = launcher("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(sockets).args(["-p", &self.port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB", "-c", "autovacuum=off"]);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("the server is ready", || {
            fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|text| text.contains("\nready"))
        });
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let quit = format!("kill -QUIT {}", child.id());
        assert!(Command::new("sh").args(["-c", &quit]).status().unwrap().success());
        let _ = child.wait();
        let _ = fs::remove_file(self.folder.path("data/postmaster.pid"));
    }

    pub fn url(&self) -> String {
        format!("postgres://runner@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of the server's as another user than root, ended with the tests should they be killed.
fn launcher(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program(name)).current_dir("/");
    command
}
