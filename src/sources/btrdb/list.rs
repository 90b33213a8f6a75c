//! Lists the streams of a collection and cuts them into splits, before anything is read.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Link, Mode, Setup, Title,
    session::{Server, Session},
    span::{Span, hyphenated, time},
    wire::{
        KeyOptValue, LookupStreams, LookupStreamsParams, Nearest, NearestParams, OptValue, StreamDescriptor,
        StreamInfo, StreamInfoParams,
    },
};
use crate::{
    failure::{Exit, Failure},
    service::{ErrorClass, ServiceError},
    stage::Split,
};

/// A run has no more splits than this: each is held in memory.
const MAX_SPLITS: u64 = 1_000_000;

/// So many windows of statistics are asked for at once.
const STAT_WINDOWS: u64 = 4_096;

/// A stream of the collection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stream {
    uuid: [u8; 16],
    title: Title,
}

/// What there is of a stream: its version, its first and its last point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    version: u64,
    first: i64,
    last: i64,
}

/// The splits of all streams, in order of collection, name and UUID.
///
/// # Errors
/// There is no such stream, the server is not to be had, or there would be too many splits.
pub(super) fn splits(setup: &Setup, server: Arc<Server>) -> Result<Vec<Split>, Failure> {
    let mut link = Link { server, session: None };
    let mut streams = link.persist(|session| lookup(setup, session))?;
    if streams.is_empty() {
        return Err(Failure::new(Exit::InputMissing, format!("{}: {}", link.server, setup.nothing())));
    }
    streams.sort_by(|a, b| a.key().cmp(&b.key()));
    streams.dedup();
    let mut splits = Vec::new();
    for stream in &streams {
        match link.persist(|session| extent(setup, session, stream))? {
            None => tracing::warn!("{}: stream {} has no points to read", link.server, stream.name()),
            Some(extent) => setup.cut(stream, extent, &mut splits)?,
        }
    }
    Ok(splits)
}

/// What a stream is called.
pub(super) fn title(stream: &StreamDescriptor) -> Title {
    let name = stream.tags.iter().find(|tag| tag.key == "name").and_then(|tag| tag.val.clone());
    Title { collection: stream.collection.clone(), name: name.map(|name| name.value) }
}

fn lookup(setup: &Setup, session: &mut Session) -> Result<Vec<Stream>, ServiceError> {
    let question = LookupStreamsParams {
        collection: setup.collection.clone(),
        is_collection_prefix: setup.prefix,
        tags: pairs(&setup.tags),
        annotations: pairs(&setup.annotations),
    };
    let mut pieces = session.begin::<LookupStreams>(question)?;
    let mut streams = Vec::new();
    while let Some(piece) = session.next(&mut pieces)? {
        for found in &piece.results {
            let no_uuid =
                |_| ServiceError::silent(ErrorClass::Permanent, format!("a UUID of {} bytes", found.uuid.len()));
            streams.push(Stream { uuid: found.uuid.as_slice().try_into().map_err(no_uuid)?, title: title(found) });
        }
    }
    Ok(streams)
}

fn pairs(wanted: &BTreeMap<String, String>) -> Vec<KeyOptValue> {
    let pair = |(key, value): (&String, &String)| KeyOptValue {
        key: key.clone(),
        val: Some(OptValue { value: value.clone() }),
    };
    wanted.iter().map(pair).collect()
}

/// Version and bounds of a stream, or `None` where there is no point in the range, or no stream any more.
fn extent(setup: &Setup, session: &mut Session, stream: &Stream) -> Result<Option<Extent>, ServiceError> {
    let uuid = stream.uuid.to_vec();
    let question = StreamInfoParams { uuid: uuid.clone(), omit_version: false, omit_descriptor: true };
    let version = match session.ask::<StreamInfo>(question) {
        Ok(answer) => answer.version_major,
        Err(trouble) if trouble.is_no_stream() => return Ok(None),
        Err(trouble) => return Err(trouble),
    };
    let mut nearest = |time, backward| {
        let question = NearestParams { uuid: uuid.clone(), time, version_major: version, backward };
        match session.ask::<Nearest>(question) {
            Ok(answer) => Ok(answer.value.map(|point| point.time)),
            Err(trouble) if trouble.is_no_point() || trouble.is_no_stream() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    };
    let (Some(first), Some(last)) = (nearest(setup.from, false)?, nearest(setup.to, true)?) else { return Ok(None) };
    // Where nothing lies between them, the nearest points lie outside.
    if first >= setup.to || last < setup.from {
        return Ok(None);
    }
    if version == 0 || first < setup.from || last >= setup.to || first > last {
        let message = format!(
            "stream {}: the answers contradict each other: version {version}, points from {} to {}",
            stream.name(),
            time(first),
            time(last)
        );
        return Err(ServiceError::silent(ErrorClass::Permanent, message));
    }
    Ok(Some(Extent { version, first, last }))
}

impl Stream {
    fn key(&self) -> (&str, &Option<String>, &[u8; 16]) {
        (&self.title.collection, &self.title.name, &self.uuid)
    }

    /// `collection/name`
    fn path(&self) -> String {
        let Title { collection, name } = &self.title;
        name.as_ref().map_or_else(|| collection.clone(), |name| format!("{collection}/{name}"))
    }

    fn name(&self) -> String {
        format!("`{}` {}", self.path(), hyphenated(&self.uuid))
    }
}

impl Setup {
    /// Adds the splits of a stream.
    fn cut(&self, stream: &Stream, extent: Extent, splits: &mut Vec<Split>) -> Result<(), Failure> {
        let Extent { version, first, last } = extent;
        let ends = ends(self.mode, first, last, self.window, self.to);
        if ends.0 > MAX_SPLITS - (splits.len() as u64).min(MAX_SPLITS) {
            let message = format!(
                "stream {}, from {} to {}, would make {} splits of this `window`; a run has at most {MAX_SPLITS}",
                stream.name(),
                time(first),
                time(last),
                ends.0
            );
            return Err(Failure::new(Exit::Spec, message));
        }
        let path = stream.path();
        let mut start = first;
        for end in ends.1 {
            splits.push(Span { uuid: stream.uuid, version, start, end }.split(&path));
            start = end;
        }
        Ok(())
    }

    /// What was looked for and is not there.
    fn nothing(&self) -> String {
        let Setup { collection, tags, annotations, .. } = self;
        let place = match self.prefix {
            true => format!("a collection whose name begins with `{collection}`"),
            false => format!("the collection `{collection}`"),
        };
        let wanted = |what: &str, pairs: &BTreeMap<String, String>| {
            pairs.iter().map(|(key, value)| format!("{what} `{key}` = `{value}`")).collect::<Vec<_>>()
        };
        let wanted = [wanted("tag", tags), wanted("annotation", annotations)].concat();
        let with = if wanted.is_empty() { String::new() } else { format!(" with {}", wanted.join(", ")) };
        format!("there is no stream in {place}{with}")
    }
}

/// How many splits a stream from `first` to `last` has, and where each ends; one begins where the last ended.
fn ends(mode: Mode, first: i64, last: i64, window: i64, to: i64) -> (u64, impl Iterator<Item = i64>) {
    // Sums of times may be more than 64 bits hold.
    let (origin, width) = (i128::from(first), i128::from(window.max(1)));
    let windows = ((i128::from(last) - origin) / width + 1) as u64;
    // A window that is cut short by `to` stands alone: the server makes statistics of windows of one width.
    let whole = if origin + i128::from(windows) * width > i128::from(to) { windows - 1 } else { windows };
    let step = match mode {
        Mode::Raw => 1,
        Mode::Stat => STAT_WINDOWS,
    };
    let count = whole.div_ceil(step) + (windows - whole);
    let end = move |i: u64| {
        let windows = if (i - 1) * step >= whole { windows } else { (i * step).min(whole) };
        (origin + i128::from(windows) * width).min(i128::from(to)) as i64
    };
    (count, (1..=count).map(end))
}

#[cfg(test)]
#[path = "tests/list.rs"]
mod tests;
