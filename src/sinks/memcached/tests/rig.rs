//! What the tests share: servers, listeners that misbehave, batches, and a look into a server.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arrow_array::{ArrayRef, BinaryViewArray, RecordBatch, StringViewArray, cast::AsArray};
use indexmap::IndexMap;

use super::super::{
    Ack, Shared, Spec, default_expire, default_max_value_bytes,
    worker::{Core, Rows, Values},
};
use crate::{
    batch::{Batch, Origin, SplitId},
    jobspec::{self, Retry},
    stage::{Mode, Written},
};

/// A memcached of its own for a test; it dies with the test.
pub(super) struct Daemon {
    child: Child,
    pub(super) address: String,
}

impl Daemon {
    pub(super) fn start(args: &[&str]) -> Daemon {
        for _ in 0..5 {
            let address = unused_address();
            let port = address.rsplit(':').next().unwrap_or_default();
            let mut child = Command::new("memcached")
                .args(["-u", "nobody", "-l", "127.0.0.1", "-t", "1", "-U", "0", "-p", port])
                .args(args)
                .stderr(Stdio::null())
                .spawn()
                .expect("these tests need `memcached` 1.6 on the path");
            for _ in 0..200 {
                if !matches!(child.try_wait(), Ok(None)) {
                    break;
                }
                if TcpStream::connect(&address).is_ok() {
                    return Daemon { child, address };
                }
                thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
        }
        panic!("memcached does not start with {args:?}");
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().expect("the server was running");
        self.child.wait().expect("a killed server ends");
    }

    pub(super) fn client(&self) -> memcache::Client {
        memcache::connect(format!("memcache://{}?protocol=ascii&timeout=5", self.address)).expect("the server runs")
    }

    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.client().get(key).expect("the server answers")
    }

    /// The answer to one command, up to and with `MN`.
    pub(super) fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the server runs");
        stream.write_all(format!("{command}\r\nmn\r\n").as_bytes()).expect("the server takes commands");
        let mut answer = Vec::new();
        while !answer.ends_with(b"MN\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the server answers");
            answer.push(byte[0]);
        }
        String::from_utf8(answer).expect("memcached answers in ASCII")
    }

    pub(super) fn items(&self) -> u64 {
        let stats = self.ask("stats");
        let count = stats.lines().find_map(|line| line.strip_prefix("STAT curr_items ")).expect("a statistic");
        count.trim().parse().expect("a number")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address where nobody listens.
pub(super) fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string()
}

/// A listener that hands every connection, with its number, to `serve` on a thread of its own.
pub(super) fn listen(serve: impl Fn(usize, TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address").to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(number, stream?));
        }
    });
    address
}

/// Reads the greeting and answers it as memcached does.
pub(super) fn greet(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; 4])?;
    stream.write_all(b"MN\r\n")
}

/// A proxy before `target` whose first `bad` connections are cut after `bytes` bytes of requests. Returns its
/// address and the count of its connections.
pub(super) fn cutting_proxy(target: &str, bad: usize, bytes: usize) -> (String, Arc<AtomicUsize>) {
    let target = target.to_owned();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let address = listen(move |number, client| {
        seen.fetch_add(1, Ordering::SeqCst);
        let server = TcpStream::connect(&target)?;
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || io::copy(&mut from, &mut to));
        let limit = if number < bad { bytes as u64 } else { u64::MAX };
        io::copy(&mut (&client).take(limit), &mut &server)?;
        server.shutdown(Shutdown::Both)?;
        client.shutdown(Shutdown::Both)
    });
    (address, count)
}

pub(super) fn millis(millis: u64) -> jobspec::Duration {
    jobspec::Duration(Duration::from_millis(millis))
}

/// A spec with these servers and patience enough for a busy machine.
pub(super) fn spec(servers: &[(&str, &str)]) -> Spec {
    let servers: IndexMap<String, String> =
        servers.iter().map(|(name, address)| ((*name).to_owned(), (*address).to_owned())).collect();
    Spec {
        key: "k".into(),
        value: "v".into(),
        route: (servers.len() > 1).then(|| "r".into()),
        servers,
        ack: Ack::Batch,
        verify: None,
        retry: Retry { attempts: 3, backoff: millis(5), timeout: millis(10_000) },
        expire: default_expire(),
        flags: 0,
        max_value_bytes: default_max_value_bytes(),
    }
}

/// The same with a short timeout, for servers that are silent.
pub(super) fn impatient(servers: &[(&str, &str)], attempts: u32) -> Spec {
    Spec { retry: Retry { attempts, backoff: millis(5), timeout: millis(250) }, ..spec(servers) }
}

pub(super) fn core(spec: &Spec) -> Core {
    Core::new(Arc::new(Shared::new(spec)), Mode::Write)
}

/// Key, value, route of a row.
pub(super) type Row<'a> = (Option<&'a str>, Option<&'a [u8]>, Option<&'a str>);

pub(super) fn batch(rows: &[Row<'_>]) -> Batch {
    let keys: StringViewArray = rows.iter().map(|row| row.0).collect();
    let values: BinaryViewArray = rows.iter().map(|row| row.1).collect();
    let routes: StringViewArray = rows.iter().map(|row| row.2).collect();
    let columns: [(&str, ArrayRef); 3] = [("k", Arc::new(keys)), ("v", Arc::new(values)), ("r", Arc::new(routes))];
    let nullable = columns.map(|(name, column)| (name, column, true));
    let records = RecordBatch::try_from_iter_with_nullable(nullable).expect("columns of equal length");
    Batch::new(records, Origin::derived(SplitId(0), 0, rows.len()))
}

/// Writes a batch by its columns `k`, `v`, and `r`, and checks that every row is accounted for.
pub(super) fn write(core: &mut Core, batch: &Batch) -> Written {
    let column = |index: usize| batch.records.column(index);
    let rows = Rows {
        keys: column(0).as_string_view(),
        values: Values::Binary(column(1).as_binary_view()),
        routes: Some(column(2).as_string_view()),
    };
    let written = core.write(batch, rows, |_| false);
    assert_eq!(written.accepted + written.rejects.len() as u64 + written.failed, batch.rows() as u64);
    assert_eq!(written.failed > 0, written.failure.is_some());
    written
}

/// `count` rows with keys `PREFIX0`, `PREFIX1` … whose value is their key, to the servers in turn.
pub(super) fn numbered(prefix: &str, count: usize, routes: &[&str]) -> Batch {
    let keys: Vec<String> = (0..count).map(|i| format!("{prefix}{i}")).collect();
    let row = |(i, key)| -> Row<'_> {
        let key: &String = key;
        (Some(key), Some(key.as_bytes()), Some(routes[i % routes.len()]))
    };
    let rows: Vec<Row<'_>> = keys.iter().enumerate().map(row).collect();
    batch(&rows)
}

pub(super) fn message(written: &Written) -> &str {
    written.failure.as_ref().map_or("", |failure| &failure.message)
}

/// Runs `work`, which must not take longer than any sum of its timeouts: a hang shows here.
pub(super) fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    assert!(started.elapsed() < limit, "took {:?}", started.elapsed());
    result
}
