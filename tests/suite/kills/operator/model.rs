//! What may be in the targets after all that has happened, whatever the program did.

use std::collections::{BTreeMap, BTreeSet};

/// The input: a value under each key.
pub type Rows = BTreeMap<i64, i64>;

/// What stands in the two targets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// id, key, value: in the table that gives the ids.
    pub main: Vec<(i64, i64, i64)>,
    /// key, id: in the one that keeps them.
    pub lookup: Vec<(i64, i64)>,
}

impl Found {
    /// What is not in `other`, too.
    fn without(&self, other: &Found) -> Found {
        Found { main: without(&self.main, &other.main), lookup: without(&self.lookup, &other.lookup) }
    }
}

/// What is not in `other`, too.
fn without<T: Ord + Copy>(all: &[T], other: &[T]) -> Vec<T> {
    let left = counted(all, other);
    left.into_iter().flat_map(|(row, count)| (0..count).map(move |_| row)).collect()
}

/// What is known of the runs.
#[derive(Default)]
pub struct Model {
    pub input: Rows,
    /// By a run's name, all that the input was since it began.
    inputs: BTreeMap<String, Vec<Rows>>,
    /// The run whose rows may be in the targets.
    pub run: Option<String>,
    /// What was there before it, or what somebody has made wrong since.
    pub base: Found,
    /// By a run's name, what was there before it.
    bases: BTreeMap<String, Found>,
    /// Pairs whose rows somebody has taken away from the other table.
    stale: BTreeSet<(i64, i64)>,
    /// Is the input read in one go, so that only one state of it is right?
    pub whole: bool,
}

fn counted<T: Ord + Copy>(all: &[T], but: &[T]) -> BTreeMap<T, i64> {
    let mut counts = BTreeMap::new();
    all.iter().for_each(|row| *counts.entry(*row).or_default() += 1);
    but.iter().for_each(|row| *counts.entry(*row).or_default() -= 1);
    counts.retain(|_, count| *count != 0);
    counts
}

impl Model {
    /// Before the first run.
    pub fn new(input: Rows, whole: bool, base: Found) -> Model {
        Model { input, whole, base, ..Model::default() }
    }

    /// Of targets in another directory, in which there was nothing: what a run stores there that may have begun here, in
    /// the ranges that the input had then.
    pub fn elsewhere(&self, run: Option<String>) -> Model {
        let mut inputs = self.inputs.clone();
        if let Some(run) = &run {
            inputs.entry(run.clone()).or_insert_with(|| vec![self.input.clone()]);
        }
        Model { input: self.input.clone(), inputs, run, whole: self.whole, ..Model::default() }
    }

    /// The input becomes another.
    pub fn set(&mut self, rows: Rows) {
        self.inputs.values_mut().for_each(|states| states.push(rows.clone()));
        self.input = rows;
    }

    /// The input as it was when the run began.
    pub fn first(&self) -> Option<Rows> {
        self.inputs.get(self.run.as_ref()?)?.first().cloned()
    }

    /// An attempt has ended, before which the targets held `before`; the run that the ledger knows now is `run`, and it
    /// is done or not. A run other than the last one must have been asked for, or have nothing of that one beside it; or
    /// it is an earlier one that goes on with its rows, and leaves those of the last one beside them.
    pub fn attempted(
        &mut self,
        run: Option<String>,
        asked: bool,
        (before, now): (&Found, &Found),
        done: bool,
    ) -> Result<(), String> {
        let Some(run) = run.filter(|run| self.run.as_ref() != Some(run)) else { return Ok(()) };
        let own = counted(&before.main, &self.base.main);
        let earlier = self.bases.get(&run).map(|base| self.base.without(base));
        if !asked && earlier.is_some() && !own.is_empty() && before == now && !done {
            // It was refused.
            return Ok(());
        }
        let earlier = earlier.unwrap_or_default();
        if !asked && self.run.is_some() && !own.is_empty() && earlier.main.is_empty() {
            return Err(format!("run {run} goes on beside {} rows of run {:?}", own.len(), self.run));
        }
        self.base = before.without(&earlier);
        self.bases.insert(run.clone(), self.base.clone());
        self.inputs.entry(run.clone()).or_insert_with(|| vec![self.input.clone()]);
        self.run = Some(run);
        Ok(())
    }

    /// Somebody has taken rows away.
    pub fn lost(&mut self, now: &Found) {
        self.base.main.retain(|row| now.main.contains(row));
        self.base.lookup.retain(|row| now.lookup.contains(row));
        let there = |(key, id): &(i64, i64)| now.main.iter().any(|row| (row.1, row.0) == (*key, *id));
        self.stale = now.lookup.iter().filter(|pair| !there(pair)).copied().collect();
    }

    /// A copy, in which `base` was of earlier runs, has taken the place of what was there.
    pub fn restored(&mut self, base: Found, now: &Found) {
        self.base = base;
        self.lost(now);
    }

    /// Nothing is there but what was before the first run.
    pub fn cleared(&mut self, now: Found) {
        self.base = now;
        self.bases.clear();
        self.stale.clear();
    }

    /// Holds what is there against what may be there: all of it where the run is done.
    pub fn check(&self, found: &Found, done: bool) -> Result<(), String> {
        let own = counted(&found.main, &self.base.main);
        let lookup = counted(&found.lookup, &self.base.lookup);
        if let Some((row, _)) = own.iter().find(|(_, count)| **count != 1) {
            return Err(format!("id, key, value {row:?} is there {:+} times", own[row]));
        }
        if let Some((row, _)) = lookup.iter().find(|(_, count)| **count != 1) {
            return Err(format!("key, id {row:?} is there {:+} times", lookup[row]));
        }
        let none = Vec::new();
        let states = self.run.as_ref().and_then(|run| self.inputs.get(run)).unwrap_or(&none);
        let mut rows = Rows::new();
        for (_, key, value) in own.keys() {
            if !states.iter().any(|state| state.get(key) == Some(value)) {
                return Err(format!("value {value} of key {key} is in no input of the run"));
            }
            if rows.insert(*key, *value).is_some() {
                return Err(format!("key {key} is there twice"));
            }
        }
        let pairs: BTreeSet<(i64, i64)> = own.keys().map(|(id, key, _)| (*key, *id)).collect();
        let alone = |pair: &&(i64, i64)| !pairs.contains(pair) && (done || !self.stale.contains(pair));
        if let Some(pair) = lookup.keys().find(alone) {
            return Err(format!("key, id {pair:?} is in the lookup table alone"));
        }
        if !done {
            return Ok(());
        }
        if let Some(pair) = pairs.iter().find(|pair| !lookup.contains_key(pair)) {
            return Err(format!("key, id {pair:?} is not in the lookup table"));
        }
        if self.whole && !states.contains(&rows) {
            let differ: Vec<_> = states.iter().map(|state| differing(state, &rows)).collect();
            return Err(format!("the rows are those of no input of the run; by state they differ in {differ:?}"));
        }
        let always = |key: &&i64| states.iter().all(|state| state.contains_key(key));
        match self.input.keys().filter(always).find(|key| !rows.contains_key(key)) {
            Some(key) => Err(format!("key {key} is missing")),
            None => Ok(()),
        }
    }
}

/// Some keys under which two states differ.
fn differing(one: &Rows, other: &Rows) -> Vec<i64> {
    let keys: BTreeSet<&i64> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(key) != other.get(key)).copied().take(5).collect()
}
