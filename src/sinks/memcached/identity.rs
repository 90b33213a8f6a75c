//! Which process a server is, and whether it still holds what it took.
//!
//! memcached keeps everything in memory: one that was restarted or flushed since it acknowledged rows has lost them, and
//! says nothing about it. So every connection asks who is there, what was first seen is kept for the run, in all its
//! attempts, and each later answer is compared with that.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    failure::{Exit, Failure},
    stage::Attempt,
};

/// How far apart two answers about one start may be: the server's clock ticks in seconds, and may be set.
const CLOCK: u64 = 3;

/// What a server says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its process.
    pub(super) pid: u64,
    /// When that was started, in seconds since 1970 by its own clock. In containers all processes have one number.
    pub(super) started: u64,
    /// How often it was told to forget everything.
    pub(super) flushes: u64,
    /// Values that it has pushed out to make room.
    pub(super) evictions: u64,
}

impl Identity {
    /// Reads the lines of an answer to `stats`.
    pub(super) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Identity {
        let (mut identity, mut time, mut uptime) = (Identity::default(), 0, 0);
        for line in lines {
            let mut words = line.split_ascii_whitespace().skip(1);
            let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
            let place = match name {
                "pid" => &mut identity.pid,
                "time" => &mut time,
                "uptime" => &mut uptime,
                "cmd_flush" => &mut identity.flushes,
                "evictions" => &mut identity.evictions,
                _ => continue,
            };
            *place = value.parse().unwrap_or_default();
        }
        identity.started = u64::saturating_sub(time, uptime);
        identity
    }

    /// What has been lost since the server said `self`, if it says `now`. Values pushed out count where `evictions`
    /// says so.
    pub(super) fn lost(&self, now: &Identity, evictions: bool) -> Option<String> {
        if self.pid != now.pid || self.started.abs_diff(now.started) > CLOCK {
            return Some("was restarted and has lost what it held".to_owned());
        }
        if now.flushes > self.flushes {
            return Some("was flushed and has lost what it held".to_owned());
        }
        let pushed_out = now.evictions.saturating_sub(self.evictions);
        (evictions && pushed_out > 0).then(|| {
            let values = crate::service::count(pushed_out, "value");
            format!("has pushed {values} out to make room")
        })
    }
}

/// The servers as they were when they were first met in this run, and the first loss.
#[derive(Debug, Default)]
pub(super) struct Identities(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The run, and where they are kept for its later attempts.
    kept: Option<(String, PathBuf)>,
    /// By the server's address.
    first: BTreeMap<String, Identity>,
    lost: Option<String>,
    /// Have earlier attempts stored something?
    resumed: bool,
}

/// The servers of a run, as they are kept.
#[derive(Serialize, Deserialize)]
struct Servers<'a> {
    run: Cow<'a, str>,
    servers: Cow<'a, BTreeMap<String, Identity>>,
}

/// Where the servers of a stage are kept.
fn file(attempt: &Attempt) -> PathBuf {
    attempt.folder.join(format!("{}.servers", attempt.stage))
}

impl Identities {
    /// Begins an attempt: goes on with what earlier ones have seen, unless nothing of theirs is stored any more.
    ///
    /// # Errors
    /// What they have left cannot be read or removed.
    pub(super) fn begin(&self, attempt: &Attempt) -> Result<(), Failure> {
        let first = if attempt.stored { Identities::of(attempt)?.unwrap_or_default() } else { BTreeMap::new() };
        let (run, file) = (attempt.run.clone(), file(attempt));
        // Also where none is known yet: that there is a file says that none was forgotten.
        write(&file, &run, &first).map_err(|error| Failure::writing(&file, &error))?;
        *self.known() = Known { kept: Some((run, file)), first, lost: None, resumed: attempt.stored };
        Ok(())
    }

    /// The servers that earlier attempts at the run have met; `None` where nobody knows any more.
    ///
    /// # Errors
    /// What is kept of them cannot be read.
    pub(super) fn of(attempt: &Attempt) -> Result<Option<BTreeMap<String, Identity>>, Failure> {
        let file = file(attempt);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| Failure::reading(&file, &error))?,
        };
        let kept: Servers<'_> = serde_json::from_str(&text)
            .map_err(|_| Failure::new(Exit::Io, format!("`{}` is damaged; `--fresh` starts over", file.display())))?;
        Ok((kept.run == attempt.run).then(|| kept.servers.into_owned()))
    }

    /// The servers that were met in this run.
    pub(super) fn met(&self) -> BTreeMap<String, Identity> {
        self.known().first.clone()
    }

    /// A connection was made to `server` at this address, which says so of itself. To be called before a row counts as
    /// acknowledged.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(super) fn meet(&self, server: &str, address: &str, now: Identity) -> Result<(), Failure> {
        let mut known = self.known();
        if let Some(first) = known.first.get(address) {
            if let Some(loss) = first.lost(&now, false) {
                known.lost.get_or_insert_with(|| format!("{server} {loss}"));
            }
            return Ok(());
        }
        known.first.insert(address.to_owned(), now);
        match &known.kept {
            Some((run, file)) => write(file, run, &known.first).map_err(|error| Failure::writing(file, &error)),
            None => Ok(()),
        }
    }

    /// Have earlier attempts stored something, of which no sample was kept?
    pub(super) fn is_resumed(&self) -> bool {
        self.known().resumed
    }

    /// The first loss that a connection showed.
    pub(super) fn lost(&self) -> Option<String> {
        self.known().lost.clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the whole file durably, or leaves the old one.
fn write(file: &Path, run: &str, servers: &BTreeMap<String, Identity>) -> io::Result<()> {
    let kept = Servers { run: Cow::Borrowed(run), servers: Cow::Borrowed(servers) };
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = file.with_extension("servers.new");
    fs::write(&new, serde_json::to_string(&kept)?)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, file)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_from_statistics() {
        let text = "STAT pid 71\r\nSTAT uptime 100\r\nSTAT time 1000\r\nSTAT version 1.6.18\r\nSTAT cmd_flush 2\r\n\
                    STAT evictions 5\r\nEND";
        let expected = Identity { pid: 71, started: 900, flushes: 2, evictions: 5 };
        assert_eq!(Identity::read(text.lines()), expected);
    }

    #[test]
    fn what_a_server_has_lost_is_seen() {
        let first = Identity { pid: 1, started: 1000, flushes: 0, evictions: 3 };
        let later = |change: &dyn Fn(&mut Identity)| {
            let mut now = first;
            change(&mut now);
            (first.lost(&now, false).is_some(), first.lost(&now, true).is_some())
        };
        assert_eq!(later(&|_| ()), (false, false));
        assert_eq!(later(&|now| now.started += 1), (false, false));
        assert_eq!(later(&|now| now.pid = 2), (true, true));
        assert_eq!(later(&|now| now.started += 60), (true, true));
        assert_eq!(later(&|now| now.flushes += 1), (true, true));
        assert_eq!(later(&|now| now.evictions += 1), (false, true));
    }
}
