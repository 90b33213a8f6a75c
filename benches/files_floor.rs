//! The hand-written loops that `scripts/bench files` measures runner against: the same filters and projections
//! with no job spec, no schema and no general parts. Threads take blocks of whole lines in turn; one writes what
//! became of them, in order.
//!
//! `files_floor movies|titles IN OUT`

use std::{
    env,
    fs::File,
    io::{self, Error, Write},
    os::unix::fs::FileExt,
    process::ExitCode,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use memchr::{memchr, memchr_iter, memrchr};
use serde::Deserialize;
use serde_json::value::RawValue;

const THREADS: u64 = 2;
const BLOCK: u64 = 1 << 20;
/// The longest line.
const LINE: u64 = 1 << 16;

/// Makes output of whole lines.
type Work = fn(&[u8], &mut Vec<u8>) -> io::Result<()>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [work, input, output] = &args[..] else {
        // A plain `cargo bench` runs every benchmark with `--bench` alone: that is not a mistake.
        return if args.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(64) };
    };
    let (head, work): (&[u8], Work) = match work.as_str() {
        "movies" => (b"", movies),
        "titles" => (b"id,title,year,genres\n", titles),
        _ => return ExitCode::from(64),
    };
    match run(work, head, input, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(74),
    }
}

/// Takes the threads' blocks in turn, so that the output is in order.
fn run(work: Work, head: &[u8], input: &str, output: &str) -> io::Result<()> {
    let size = File::open(input)?.metadata()?.len();
    let mut out = File::create(output)?;
    out.write_all(head)?;
    let receivers: Vec<_> = (0..THREADS).map(|thread| start(work, input.to_owned(), thread, size)).collect();
    for block in 0..size.div_ceil(BLOCK) {
        let text = receivers[(block % THREADS) as usize].recv().map_err(Error::other)??;
        out.write_all(&text)?;
    }
    out.sync_all()
}

/// Starts a thread that does every second block.
fn start(work: Work, input: String, thread: u64, size: u64) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(4);
    thread::spawn(move || {
        let mut room = vec![0; (BLOCK + LINE + 1) as usize];
        for start in (0..size.div_ceil(BLOCK)).skip(thread as usize).step_by(THREADS as usize) {
            let mut text = Vec::with_capacity(BLOCK as usize);
            let done = File::open(&input)
                .and_then(|file| lines(&file, start * BLOCK, size, &mut room))
                .and_then(|lines| work(lines, &mut text));
            if sender.send(done.map(|()| text)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The lines that begin in a block: those after its first line end, or the byte before it.
fn lines<'a>(file: &File, start: u64, size: u64, room: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let from = start.saturating_sub(1);
    let room = &mut room[..((start + BLOCK + LINE).min(size) - from) as usize];
    file.read_exact_at(room, from)?;
    let first = if start == 0 { 0 } else { memchr(b'\n', room).map_or(room.len(), |at| at + 1) };
    let end = (start + BLOCK - 1).min(size - 1) - from;
    let last = memchr(b'\n', &room[end as usize..]).map_or(room.len(), |at| end as usize + at + 1);
    Ok(&room[first.min(last)..last])
}

/// What is read of a movie; other fields are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Movie<'a> {
    #[serde(borrow)]
    title_id: &'a RawValue,
    #[serde(borrow)]
    primary_title: &'a RawValue,
    start_year: &'a str,
    is_adult: bool,
    #[serde(borrow)]
    actors: &'a RawValue,
}

fn movies(lines: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let lines = simdutf8::basic::from_utf8(lines).map_err(Error::other)?;
    for line in lines.lines() {
        let movie: Movie<'_> = serde_json::from_str(line).map_err(Error::other)?;
        if !movie.is_adult && movie.start_year >= "1990-01-01" {
            let parts = [
                "{\"id\":",
                movie.title_id.get(),
                ",\"title\":",
                movie.primary_title.get(),
                ",\"year\":",
                &movie.start_year[..4],
                ",\"actors\":",
                movie.actors.get(),
                "}\n",
            ];
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        }
    }
    Ok(())
}

/// tconst, titleType, primaryTitle, originalTitle, isAdult, startYear, endYear, runtimeMinutes, genres.
fn titles(lines: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let line = &line[..line.len() - 1];
        let mut ends = memchr_iter(b'\t', line);
        let mut fields = [&line[..0]; 9];
        let mut from = 0;
        for field in &mut fields {
            let end = ends.next().unwrap_or(line.len());
            *field = &line[from..end];
            from = (end + 1).min(line.len());
        }
        let [id, kind, title, _, _, year, .., genres] = fields;
        if kind == b"movie" && year != b"\\N" && year >= b"1990".as_slice() {
            field(id, b',', out);
            field(title, b',', out);
            field(year, b',', out);
            field(genres, b'\n', out);
        }
    }
    Ok(())
}

/// A field of CSV, quoted where it must be.
fn field(text: &[u8], end: u8, out: &mut Vec<u8>) {
    if memrchr(b',', text).is_some() || memrchr(b'"', text).is_some() {
        out.push(b'"');
        for byte in text {
            if *byte == b'"' {
                out.push(b'"');
            }
            out.push(*byte);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(text);
    }
    out.push(end);
}
