//! Could sources wait for each other for ever? A source reads ahead no further than its memory, so it waits wherever
//! its rows do:
//!
//! - for the sources of the second input of a stage that it leads to, which is taken whole before the first;
//! - at a stage that needs its input in order, for the sources before it in that order;
//! - there, for itself, where its rows come both directly and by way of a sink that holds them back until their
//!   split is stored.
//!
//! A circle of such waits never ends once the input is larger than memory, so it is refused whatever the input.

use std::collections::{BTreeMap, BTreeSet};

use super::{Role, Stage, pools::PoolRequest};
use crate::{event::StageId, kind::Workers};

/// For every source that leads to a stage, the ways: by which sinks.
type Ways = BTreeMap<StageId, BTreeSet<Vec<StageId>>>;

/// A circle of waits: the sources in it, and the stage at which the first of them waits for the second.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    pub(crate) sources: Vec<StageId>,
    pub(crate) at: StageId,
}

/// A circle of waits among the sources, if there is one.
pub(crate) fn circle(stages: &[Stage], requests: &[PoolRequest]) -> Option<Circle> {
    let mut ways: Vec<Ways> = Vec::new();
    // By source, whom it waits for and where.
    let mut waits: BTreeMap<StageId, BTreeMap<StageId, StageId>> = BTreeMap::new();
    for (id, (stage, request)) in stages.iter().zip(requests).enumerate() {
        let mut own = Ways::new();
        for input in &stage.inputs {
            ways[*input].iter().for_each(|(source, ways)| own.entry(*source).or_default().extend(ways.iter().cloned()));
        }
        for (source, of) in &own {
            let earlier = own
                .keys()
                .filter(|other| in_order(stage, request) && (*other < source || (*other == source && of.len() > 1)));
            let side = stage.side.iter().flat_map(|side| ways[*side].keys());
            for other in earlier.chain(side) {
                waits.entry(*source).or_default().entry(*other).or_insert(id);
            }
        }
        match stage.role {
            Role::Source(_) => _ = own.insert(id, BTreeSet::from([Vec::new()])),
            Role::Sink(_) => own.values_mut().for_each(|ways| {
                *ways = std::mem::take(ways).into_iter().map(|way| [way, vec![id]].concat()).collect();
            }),
            Role::Transform(_) => {}
        }
        ways.push(own);
    }
    waits.keys().find_map(|source| back_to(*source, &waits))
}

/// Does a stage wait for the rows before those that are there?
fn in_order(stage: &Stage, request: &PoolRequest) -> bool {
    let keyed = request.partition.is_some() || matches!(request.workers, Workers::Keyed(..));
    keyed || stage.role.needs_order()
}

/// The way from a source by its waits back to itself.
fn back_to(start: StageId, waits: &BTreeMap<StageId, BTreeMap<StageId, StageId>>) -> Option<Circle> {
    let mut seen = BTreeSet::new();
    let mut left = vec![vec![start]];
    while let Some(way) = left.pop() {
        let next = waits.get(way.last()?).into_iter().flatten();
        for (other, _) in next {
            if *other == start {
                let second = way.get(1).unwrap_or(&start);
                return Some(Circle { at: waits[&start][second], sources: way });
            }
            if seen.insert(*other) {
                left.push(way.iter().copied().chain([*other]).collect());
            }
        }
    }
    None
}
