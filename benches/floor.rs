//! The floor for `jobs/memc.toml`: the same work as a hand-written loop, with no job spec, no schema and no
//! general parts. One thread per file reads, parses, encodes and writes to all four servers.
//!
//! `floor [--no-ack] FILE.tsv.gz...`, with the servers' addresses in `MEMC_IDFA`, `MEMC_GAID`, `MEMC_ADID` and
//! `MEMC_DVID`; `scripts/bench memc` builds and runs it.
//!
//! Items go out as quiet meta sets, which are answered only on error, and a `mn` after each batch, whose answer
//! says that the server has dealt with all before it. With `--no-ack` there is one `mn` per connection, at its
//! end, without which a count taken at exit would come too early.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own, run by a script")]

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use flate2::read::MultiGzDecoder;
use memchr::{memchr, memchr2};

/// Bytes of commands that are sent to a server at a time.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes that are decompressed at a time.
const BLOCK_BYTES: usize = 1 << 20;
/// The longest key that memcached takes.
const KEY_BYTES: usize = 250;
const SERVERS: [&str; 4] = ["MEMC_IDFA", "MEMC_GAID", "MEMC_ADID", "MEMC_DVID"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let files: Vec<PathBuf> = arguments.iter().filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    let acknowledged = !arguments.iter().any(|a| a == "--no-ack");
    if files.is_empty() {
        eprintln!("usage: floor [--no-ack] FILE.tsv.gz...");
        // A plain `cargo bench` runs every benchmark with `--bench` alone: that is not a mistake.
        return if arguments == ["--bench"] { ExitCode::SUCCESS } else { ExitCode::from(64) };
    }
    match load_all(&files, acknowledged) {
        Ok(tally) => {
            println!("{} stored, {} bad", tally.stored, tally.bad);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Tally {
    stored: u64,
    bad: u64,
}

fn load_all(files: &[PathBuf], acknowledged: bool) -> io::Result<Tally> {
    thread::scope(|scope| {
        let threads: Vec<_> = files.iter().map(|file| scope.spawn(move || load(file, acknowledged))).collect();
        threads.into_iter().try_fold(Tally::default(), |sum, thread| {
            let tally = thread.join().map_err(|_| io::Error::other("a thread panicked"))??;
            Ok(Tally { stored: sum.stored + tally.stored, bad: sum.bad + tally.bad })
        })
    })
}

/// Stores one file through connections of its own.
fn load(path: &Path, acknowledged: bool) -> io::Result<Tally> {
    let mut input = MultiGzDecoder::new(BufReader::with_capacity(1 << 18, File::open(path)?));
    let mut servers = Servers::connect(acknowledged)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut filled = 0;
    loop {
        let read = input.read(&mut block[filled..])?;
        filled += read;
        let mut start = 0;
        while let Some(length) = memchr2(b'\n', b'\r', &block[start..filled]) {
            servers.store(&block[start..start + length])?;
            start += length + 1;
        }
        if read == 0 {
            servers.store(&block[start..filled])?;
            return servers.finish();
        }
        block.copy_within(start..filled, 0);
        filled -= start;
        if filled == block.len() {
            return Err(io::Error::other("a line longer than a block"));
        }
    }
}

struct Servers {
    servers: [Server; 4],
    message: Vec<u8>,
    acknowledged: bool,
    tally: Tally,
}

impl Servers {
    fn connect(acknowledged: bool) -> io::Result<Self> {
        let [idfa, gaid, adid, dvid] = SERVERS.map(Server::connect);
        let servers = [idfa?, gaid?, adid?, dvid?];
        Ok(Self { servers, message: Vec::new(), acknowledged, tally: Tally::default() })
    }

    /// Puts the record of one line into its server's batch. An empty line (as within CR LF) is none.
    fn store(&mut self, line: &[u8]) -> io::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        let Some(record) = Record::parse(line) else {
            self.tally.bad += 1;
            return Ok(());
        };
        self.tally.stored += 1;
        record.encode(&mut self.message);
        let server = &mut self.servers[record.server];
        server.add(record.device, record.ident, &self.message);
        if server.batch.len() >= BATCH_BYTES { server.send(self.acknowledged) } else { Ok(()) }
    }

    fn finish(mut self) -> io::Result<Tally> {
        for server in &mut self.servers {
            server.send(true)?;
        }
        for server in &mut self.servers {
            server.settle()?;
            self.tally.stored -= server.refused;
            self.tally.bad += server.refused;
        }
        Ok(self.tally)
    }
}

struct Record<'a> {
    server: usize,
    device: &'a [u8],
    ident: &'a [u8],
    lat: f64,
    lon: f64,
    apps: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (device, rest) = split_tab(line)?;
        let (ident, rest) = split_tab(rest)?;
        let (lat, rest) = split_tab(rest)?;
        let (lon, apps) = split_tab(rest)?;
        let server = match device {
            b"idfa" => 0,
            b"gaid" => 1,
            b"adid" => 2,
            b"dvid" => 3,
            _ => return None,
        };
        if !fits_in_key(ident) || memchr(b'\t', apps).is_some() {
            return None;
        }
        let (lat, lon) = (fast_float2::parse(lat).ok()?, fast_float2::parse(lon).ok()?);
        Some(Self { server, device, ident, lat, lon, apps })
    }

    /// Replaces `message` by the bytes of proto2 `UserApps`, its `apps` unpacked.
    fn encode(&self, message: &mut Vec<u8>) {
        message.clear();
        for app in self.apps.split(|&byte| byte == b',').filter_map(unsigned) {
            message.push(0x08);
            push_varint(message, app);
        }
        message.push(0x11);
        message.extend_from_slice(&self.lat.to_le_bytes());
        message.push(0x19);
        message.extend_from_slice(&self.lon.to_le_bytes());
    }
}

fn split_tab(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = memchr(b'\t', text)?;
    Some((&text[..tab], &text[tab + 1..]))
}

/// Whether a key of a device type, a colon and this can be sent in the text protocol.
fn fits_in_key(ident: &[u8]) -> bool {
    let longest = KEY_BYTES - "idfa:".len();
    (1..=longest).contains(&ident.len()) && ident.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

/// The value of a text that is wholly decimal digits and fits.
fn unsigned(text: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let value = text.iter().try_fold(0u32, |value, byte| value.checked_mul(10)?.checked_add(digit(byte)?));
    value.filter(|_| !text.is_empty())
}

fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Server {
    answers: BufReader<TcpStream>,
    batch: Vec<u8>,
    /// A `mn` has been sent whose answer has not been read.
    unsettled: bool,
    refused: u64,
}

impl Server {
    fn connect(variable: &str) -> io::Result<Self> {
        let address = env::var(variable).map_err(|_| io::Error::other(format!("`{variable}` is not set")))?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let batch = Vec::with_capacity(BATCH_BYTES + (1 << 16));
        Ok(Self { answers: BufReader::new(stream), batch, unsettled: false, refused: 0 })
    }

    fn add(&mut self, device: &[u8], ident: &[u8], message: &[u8]) {
        self.batch.extend_from_slice(b"ms ");
        self.batch.extend_from_slice(device);
        self.batch.push(b':');
        self.batch.extend_from_slice(ident);
        self.batch.push(b' ');
        push_decimal(&mut self.batch, message.len());
        self.batch.extend_from_slice(b" q\r\n");
        self.batch.extend_from_slice(message);
        self.batch.extend_from_slice(b"\r\n");
    }

    /// Sends the batch. The answer to its `mn` is awaited only before the next batch to the same server, so
    /// that the next one is made while this one is stored.
    fn send(&mut self, acknowledged: bool) -> io::Result<()> {
        self.settle()?;
        if acknowledged {
            self.batch.extend_from_slice(b"mn\r\n");
            self.unsettled = true;
        }
        self.answers.get_mut().write_all(&self.batch)?;
        self.batch.clear();
        Ok(())
    }

    /// Reads up to the answer of the last `mn`; every line before it is a refused item.
    fn settle(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        while self.unsettled {
            line.clear();
            if self.answers.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b"MN\r\n" {
                self.unsettled = false;
            } else {
                self.refused += 1;
            }
        }
        Ok(())
    }
}

fn push_decimal(out: &mut Vec<u8>, value: usize) {
    if value >= 10 {
        push_decimal(out, value / 10);
    }
    out.push(b'0' + (value % 10) as u8);
}
