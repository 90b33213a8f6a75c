//! The documents that a worker holds: read when their key is first met, spilled when memory is short, the
//! least recently used first, and read again when needed.
//!
//! What was changed is spilled to a [`Spill`], not in the store: a run that fails, is stopped or only
//! rehearses leaves the store as it was. What was only read is dropped.

use std::{collections::HashMap, sync::Arc, vec};

use super::document::{Document, Refusal};
use crate::{
    batch::RejectCode,
    failure::Failure,
    stores::{Session, Spill, Store, UndoLog},
};

/// No place.
const NONE: u32 = u32::MAX;

/// Bytes that a place takes besides its document.
const PLACE: usize = 128;

/// A worker's documents.
pub(super) struct Documents {
    /// Where documents are read from when their key is first met.
    store: Option<(Arc<dyn Store>, Box<dyn Session>)>,
    /// Where they are kept as they were before the run.
    before: Option<Arc<UndoLog>>,
    /// Have some been kept there that are not durable yet?
    unsaved: bool,
    bytes: usize,
    by_key: HashMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The least and the most recently used.
    oldest: u32,
    newest: u32,
    spill: Option<Spill>,
    /// What is left to hand out, where all changed documents are in memory.
    ending: Option<vec::IntoIter<u32>>,
    /// The last key that was handed out of what was spilled.
    handed: Option<String>,
}

struct Slot {
    key: Arc<str>,
    state: State,
    /// Differs from what is in the store.
    changed: bool,
    older: u32,
    newer: u32,
}

enum State {
    Good(Document),
    /// What lies in the store is not a document; the sentence names it.
    Bad(String),
}

impl Documents {
    pub(super) fn new(store: Option<(Arc<dyn Store>, Box<dyn Session>)>, before: Option<Arc<UndoLog>>) -> Self {
        Documents {
            store,
            before,
            unsaved: false,
            bytes: 0,
            by_key: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            spill: None,
            ending: None,
            handed: None,
        }
    }

    /// The place of a key's document, which stays until [`Documents::shrink`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn find(&mut self, key: &str) -> Result<u32, Failure> {
        if let Some(&at) = self.by_key.get(key) {
            if at != self.newest {
                self.unlink(at);
                self.link(at);
            }
            return Ok(at);
        }
        let (state, changed) = self.load(key)?;
        let key: Arc<str> = key.into();
        self.bytes += state.bytes() + key.len() + PLACE;
        let slot = Slot { key: Arc::clone(&key), state, changed, older: NONE, newer: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_key.insert(key, at);
        self.link(at);
        Ok(at)
    }

    /// Changes the document at a place. Nothing has changed where that is refused.
    pub(super) fn change<T>(
        &mut self,
        at: u32,
        change: impl FnOnce(&mut Document) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let slot = &mut self.slots[at as usize];
        match &mut slot.state {
            State::Bad(why) => Err((RejectCode("bad_document"), why.clone())),
            State::Good(document) => {
                let before = document.bytes();
                let done = change(document)?;
                slot.changed = true;
                self.bytes = self.bytes - before + document.bytes();
                Ok(done)
            }
        }
    }

    /// The entry with this id of the document at a place.
    pub(super) fn entry(&self, at: u32, id: i64) -> Option<&str> {
        match &self.slots[at as usize].state {
            State::Good(document) => document.entry(id),
            State::Bad(_) => None,
        }
    }

    /// Appends the document at a place.
    pub(super) fn write(&self, at: u32, out: &mut String) {
        if let State::Good(document) = &self.slots[at as usize].state {
            document.write(out);
        }
    }

    /// Bytes that the documents in memory take, about.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Spills documents until they take no more than `limit` bytes, with some room for more.
    ///
    /// # Errors
    /// They cannot be spilled.
    pub(super) fn shrink(&mut self, limit: usize) -> Result<(), Failure> {
        if self.bytes <= limit {
            return Ok(());
        }
        let goal = limit / 4 * 3;
        let mut going = Vec::new();
        while self.bytes > goal && self.oldest != NONE {
            let at = self.oldest;
            self.unlink(at);
            let slot = &self.slots[at as usize];
            self.bytes -= slot.state.bytes() + slot.key.len() + PLACE;
            going.push(at);
        }
        self.put_aside(&going)?;
        for at in going {
            let slot = &mut self.slots[at as usize];
            slot.state = State::Bad(String::new());
            self.by_key.remove(&slot.key);
            self.free.push(at);
        }
        Ok(())
    }

    /// Hands out some more of the changed documents, about so many rows and bytes; in the order of their keys,
    /// and none where there are no more. Nothing is changed any more once this was called.
    ///
    /// # Errors
    /// What was spilled cannot be read.
    pub(super) fn hand_out(
        &mut self,
        rows: usize,
        bytes: usize,
        mut take: impl FnMut(&str, &str),
    ) -> Result<(), Failure> {
        self.begin_to_hand_out()?;
        let (mut count, mut size) = (0, 0);
        let mut room = |key: &str, text: &str| {
            (count, size) = (count + 1, size + key.len() + text.len());
            count < rows && size < bytes
        };
        if let Some(spill) = &self.spill {
            let mut last = None;
            spill.walk(self.handed.as_deref(), |key, text| {
                take(key, text);
                last = Some(key.to_owned());
                room(key, text)
            })?;
            self.handed = last.or(self.handed.take());
            return Ok(());
        }
        let mut text = String::new();
        while let Some(at) = self.ending.as_mut().and_then(Iterator::next) {
            text.clear();
            self.write(at, &mut text);
            let key = &self.slots[at as usize].key;
            take(key, &text);
            if !room(key, &text) {
                break;
            }
        }
        Ok(())
    }

    /// Makes documents durable as they were before the run. To be called before anything is emitted.
    pub(super) fn save(&mut self) -> Result<(), Failure> {
        match &self.before {
            Some(before) if std::mem::take(&mut self.unsaved) => before.save(),
            _ => Ok(()),
        }
    }

    /// Puts the changed documents in order, once: those in memory where all are there, else all of them spilled.
    fn begin_to_hand_out(&mut self) -> Result<(), Failure> {
        if self.ending.is_some() {
            return Ok(());
        }
        self.save()?;
        fail::fail_point!("changelog-saved");
        // Nothing is read from it any more, and whoever writes to it is the last one at it.
        self.store = None;
        let slots = &self.slots;
        let mut changed: Vec<u32> = self.by_key.values().copied().filter(|at| slots[*at as usize].changed).collect();
        if self.spill.is_some() {
            self.put_aside(&std::mem::take(&mut changed))?;
        }
        changed.sort_unstable_by(|a, b| self.slots[*a as usize].key.cmp(&self.slots[*b as usize].key));
        self.ending = Some(changed.into_iter());
        Ok(())
    }

    fn put_aside(&mut self, places: &[u32]) -> Result<(), Failure> {
        let changed = || places.iter().map(|at| &self.slots[*at as usize]).filter(|slot| slot.changed);
        if changed().next().is_none() {
            return Ok(());
        }
        let mut spill = match self.spill.take() {
            Some(spill) => spill,
            None => Spill::new()?,
        };
        let text = |slot: &Slot| {
            let mut text = String::new();
            if let State::Good(document) = &slot.state {
                document.write(&mut text);
            }
            text
        };
        spill.put(changed().map(|slot| (&*slot.key, text(slot))))?;
        self.spill = Some(spill);
        Ok(())
    }

    /// A document from where it was spilled to, or from the store; says whether it is a changed one.
    fn load(&mut self, key: &str) -> Result<(State, bool), Failure> {
        if let Some(spill) = &self.spill
            && let Some(text) = spill.get(key)?
        {
            return Ok((State::read(text.as_bytes(), || "what was spilled".to_owned()), true));
        }
        let Some((store, session)) = &mut self.store else { return Ok((State::Good(Document::default()), false)) };
        let text = match self.before.as_ref().map(|before| before.get(key)).transpose()?.flatten() {
            Some(before) => before,
            None => {
                let now = session.get(key)?;
                if let Some(before) = &self.before {
                    before.put(key, now.as_deref())?;
                    self.unsaved = true;
                }
                now
            }
        };
        let state = match text {
            Some(text) => State::read(&text, || store.place(key)),
            None => State::Good(Document::default()),
        };
        Ok((state, false))
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
    }

    /// Makes a document the most recently used one.
    fn link(&mut self, at: u32) {
        let newest = std::mem::replace(&mut self.newest, at);
        let slot = &mut self.slots[at as usize];
        (slot.older, slot.newer) = (newest, NONE);
        match newest {
            NONE => self.oldest = at,
            newest => self.slots[newest as usize].newer = at,
        }
    }
}

impl State {
    fn read(text: &[u8], place: impl Fn() -> String) -> State {
        match Document::parse(text) {
            Ok(document) => State::Good(document),
            Err(why) => State::Bad(format!("`{}` is not a document of a changelog: {why}", place())),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            State::Good(document) => document.bytes(),
            State::Bad(why) => why.len(),
        }
    }
}
