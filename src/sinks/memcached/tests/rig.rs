//! What the tests share: servers, listeners that misbehave, batches, and a look into a server.

pub(super) use std::time;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{ArrayRef, BinaryViewArray, RecordBatch, StringViewArray, cast::AsArray};
use indexmap::IndexMap;

pub(super) use super::super::{
    server::{Ack, Verify},
    spec::{Servers, Spec, default_max_value_bytes},
};
use super::super::{
    shared,
    spec::default_expire,
    worker::{Core, Rows},
};
pub(super) use crate::{
    batch::RejectCode,
    failure::Exit,
    jobspec::{Bytes, Path, Retry, Share, SpecLocation},
    service::Address,
    testing::{cutting_proxy, listen, unused_address},
};
use crate::{
    batch::{Batch, Origin, SplitId},
    jobspec,
    keyed::Values,
    kind::Order,
    stage::{Mode, Written},
    testing::Daemon,
};

/// A memcached of its own for a test; it dies with the test.
pub(super) struct TestServer {
    daemon: Daemon,
    pub(super) address: String,
}

impl TestServer {
    pub(super) fn start(args: &[&str]) -> TestServer {
        let daemon = Daemon::start(|port| command(port, args));
        TestServer { address: daemon.address.clone(), daemon }
    }

    /// Another process at the same address, after [`TestServer::kill`].
    pub(super) fn start_again(&self) -> TestServer {
        let daemon = Daemon::at(&self.address, |port| command(port, &[])).expect("the port is still free");
        TestServer { address: self.address.clone(), daemon }
    }

    pub(super) fn kill(&mut self) {
        self.daemon.kill();
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

fn command(port: &str, args: &[&str]) -> Command {
    let mut command = Command::new("memcached");
    command.args(["-u", "nobody", "-l", "127.0.0.1", "-t", "1", "-U", "0", "-p", port]).args(args);
    command
}

/// Reads the greeting and answers it as memcached does.
pub(super) fn greet(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; HELLO])?;
    stream.write_all(b"MN\r\n")?;
    stream.read_exact(&mut [0; GREETING - HELLO])?;
    stream.write_all(b"STAT pid 1\r\nSTAT uptime 5\r\nSTAT time 1000005\r\nEND\r\nMN\r\n")
}

/// Bytes that are sent first.
const HELLO: usize = super::super::stream::GREETING.len();

/// Bytes that are sent before the first record: these, and a question for statistics with a barrier.
pub(super) const GREETING: usize = HELLO + "stats\r\nmn\r\n".len();

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
        servers: Servers::Named(servers),
        username: None,
        password: None,
        tls: false,
        ca: None,
        client_certificate: None,
        client_key: None,
        order: Order::Input,
        ack: Ack::Batch,
        verify: None,
        retry: Retry { attempts: Some(3), backoff: millis(5), timeout: millis(10_000), ..Retry::default() },
        expire: default_expire(),
        flags: 0,
        max_value_bytes: default_max_value_bytes(),
    }
}

/// The same with a short timeout, for servers that are silent.
pub(super) fn impatient(servers: &[(&str, &str)], attempts: u32) -> Spec {
    Spec {
        retry: Retry { attempts: Some(attempts), backoff: millis(5), timeout: millis(250), ..Retry::default() },
        ..spec(servers)
    }
}

pub(super) fn core(spec: &Spec) -> Core {
    Core::new(Arc::new(shared(spec)), Mode::Write)
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
    let written = core.write(batch, rows, |_| false).expect("no server has lost anything");
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
