//! The hand-written loop that `scripts/bench generate` measures jobs/movies.toml against: movies of the same shape from
//! the same word lists, made by two threads, written in order by a third.
//!
//! `movies_floor ROWS PATH`

use std::{
    env,
    fs::File,
    io::Write,
    process::ExitCode,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use fake::locales::{Data, EN};

const THREADS: u64 = 2;
const CHUNK: u64 = 500;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [rows, path] = &args[..] else {
        return ExitCode::from(64);
    };
    let Ok(rows) = rows.parse() else { return ExitCode::from(64) };
    match File::create(path).and_then(|file| write(file, rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(74),
    }
}

/// Takes the threads' chunks in turn, so that the file is in order.
fn write(mut file: File, rows: u64) -> std::io::Result<()> {
    let chunks = rows.div_ceil(CHUNK);
    let receivers: Vec<Receiver<String>> = (0..THREADS).map(|thread| makes(thread, chunks, rows)).collect();
    for chunk in 0..chunks {
        let text = receivers[(chunk % THREADS) as usize].recv().map_err(std::io::Error::other)?;
        file.write_all(text.as_bytes())?;
    }
    file.sync_all()
}

/// Starts a thread that makes every second chunk.
fn makes(thread: u64, chunks: u64, rows: u64) -> Receiver<String> {
    let (sender, receiver) = sync_channel(4);
    thread::spawn(move || {
        for chunk in (thread..chunks).step_by(THREADS as usize) {
            let mut out = String::with_capacity(CHUNK as usize * 3600);
            for row in chunk * CHUNK..((chunk + 1) * CHUNK).min(rows) {
                movie(&mut Random(row.wrapping_mul(0x9e37_79b9_7f4a_7c15)), &mut out);
            }
            if sender.send(out).is_err() {
                return;
            }
        }
    });
    receiver
}

/// SplitMix64 (Steele, Lea and Flood).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len() as u64) as usize]
    }
}

fn movie(random: &mut Random, out: &mut String) {
    use std::fmt::Write;
    let (a, b) = (random.next(), random.next());
    let _ = write!(
        out,
        "{{\"titleId\":\"{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}\"",
        a as u32,
        a >> 48,
        a >> 36 & 0xfff,
        b >> 48,
        b & 0xffff_ffff_ffff
    );
    let _ = write!(out, ",\"ordering\":{}", random.below(10_000));
    phrase(random, ",\"title\":\"", out);
    text(random, ",\"region\":\"", EN::ADDRESS_COUNTRY_CODE, out);
    text(random, ",\"language\":\"", EN::ADDRESS_COUNTRY, out);
    names(random, ",\"types\":[", 5, out);
    names(random, ",\"attributes\":[", 5, out);
    let _ = write!(out, ",\"isOriginalTitle\":{}", random.next() & 1 == 0);
    text(random, ",\"titleType\":\"", EN::NAME_LAST_NAME, out);
    phrase(random, ",\"primaryTitle\":\"", out);
    phrase(random, ",\"originalTitle\":\"", out);
    let _ = write!(out, ",\"isAdult\":{}", random.next() & 1 == 0);
    let (year, month, day) = (1970 + random.below(55), 1 + random.below(12), 1 + random.below(28));
    let _ = write!(out, ",\"startYear\":\"{year}-{month:02}-{day:02}\",\"endYear\":\"{}\"", 1970 + random.below(55));
    let _ = write!(out, ",\"runtimeMinutes\":{}", random.below(10_000));
    list(random, ",\"genres\":[", 5, out, |random, out| out.push_str(random.pick(EN::ADDRESS_COUNTRY)));
    let _ = write!(out, ",\"tconst\":\"#{:06x}\"", random.next() & 0xff_ffff);
    names(random, ",\"directors\":[", 2, out);
    names(random, ",\"writers\":[", 40, out);
    names(random, ",\"actors\":[", 120, out);
    out.push_str("}\n");
}

fn text(random: &mut Random, key: &str, words: &[&'static str], out: &mut String) {
    out.push_str(key);
    out.push_str(random.pick(words));
    out.push('"');
}

fn phrase(random: &mut Random, key: &str, out: &mut String) {
    out.push_str(key);
    for (i, words) in
        [EN::COMPANY_BUZZWORD_HEAD, EN::COMPANY_BUZZWORD_MIDDLE, EN::COMPANY_BUZZWORD_TAIL].iter().enumerate()
    {
        if i > 0 {
            out.push(' ');
        }
        out.push_str(random.pick(words));
    }
    out.push('"');
}

fn names(random: &mut Random, key: &str, count: usize, out: &mut String) {
    list(random, key, count, out, |random, out| {
        out.push_str(random.pick(EN::NAME_FIRST_NAME));
        out.push(' ');
        out.push_str(random.pick(EN::NAME_LAST_NAME));
    });
}

fn list(random: &mut Random, key: &str, count: usize, out: &mut String, item: impl Fn(&mut Random, &mut String)) {
    out.push_str(key);
    for i in 0..count {
        out.push_str(if i == 0 { "\"" } else { ",\"" });
        item(random, out);
        out.push('"');
    }
    out.push(']');
}
