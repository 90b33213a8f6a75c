//! The plan of a replay: only what lies behind the stages that refused something, and before these what reads it
//! again.
//!
//! A source that refused records is replaced by one that reads their text from the reject file. Rows that another
//! stage refused come to it from a source of its own. Stages that none of this reaches are left out, but for the
//! second inputs (the `with` of a join) of those that stay: these are read as in any run. No `done` action is run.

use std::{collections::BTreeSet, path::Path as FilePath, sync::Arc};

use super::{
    Plan, Role, Stage,
    compile::{plan, stages},
    pools::PoolRequest,
};
use crate::{
    batch::{Position, Schema},
    event::StageId,
    failure::{Exit, Failure},
    jobspec::{Common, Document, Problems, RejectLimit, Section, Table, Value},
    kind::Workers,
    rejects::{KeptRejects, OWN, Why},
    replay::{Feed, How},
    stage::{Source, SourceWorker, Split},
};

/// Compiles a spec for a replay of the rejects in a file. `None` where the spec has problems. `stamp` tells what it
/// writes from what was written before.
///
/// # Errors
/// The reject file cannot be read or is of another job, or the job cannot do with a part of its input.
pub fn compile_replay(
    document: &mut Document,
    rejects: &FilePath,
    stamp: &str,
    problems: &mut Problems,
) -> Result<Option<Plan>, Failure> {
    beside(&mut document.root, stamp);
    let Some((job, stages, requests)) = stages(document, problems) else { return Ok(None) };
    let is_source = |name: &str| stages.iter().any(|s| s.name == name && matches!(s.role, Role::Source(_)));
    let kept = Arc::new(KeptRejects::open(rejects, &job.name, &is_source)?);
    let (stages, requests) = Graft::new(&stages, &kept)?.apply(stages, requests);
    let mut plan = plan(document, job, stages, requests);
    // Each of them has been counted before.
    plan.limits.rejects = RejectLimit::Count(u64::MAX);
    plan.rejects =
        plan.rejects.map(|path| if kept.is(&path) { stamped(&path.to_string_lossy(), stamp).into() } else { path });
    Ok(Some(plan))
}

/// Sinks that would write over what was stored before write beside it, or add to it.
fn beside(root: &mut Value, stamp: &str) {
    for sink in tables(root, Section::Sinks) {
        let is_files = sink.get("type").and_then(Value::as_text) == Some("files");
        match sink.get_mut("path") {
            Some(Value::Text(path) | Value::Substituted(path)) if is_files && path != "-" => {
                *path = stamped(path, stamp);
            }
            _ => {}
        }
        if let Some(Value::Text(create)) = sink.get_mut("create")
            && matches!(&**create, "replace" | "truncate")
        {
            *create = "if_missing".to_owned();
        }
    }
}

fn tables(root: &mut Value, section: Section) -> impl Iterator<Item = &mut Table> {
    let section = match root {
        Value::Table(root) => root.get_mut(section.key()),
        _ => None,
    };
    let stages = match section {
        Some(Value::Table(stages)) => Some(stages.values_mut()),
        _ => None,
    };
    stages.into_iter().flatten().filter_map(|stage| match stage {
        Value::Table(table) => Some(table),
        _ => None,
    })
}

/// The path with `.replay-STAMP` before the first dot of its name, but the one it begins with.
fn stamped(path: &str, stamp: &str) -> String {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = path[name..].char_indices().skip(1).find(|(_, character)| *character == '.');
    let dot = dot.map_or(path.len(), |(at, _)| name + at);
    format!("{}.replay-{stamp}{}", &path[..dot], &path[dot..])
}

/// What becomes of the stages of a job.
struct Graft {
    kept: Arc<KeptRejects>,
    /// The stages that refused something and can be given it again.
    at: BTreeSet<StageId>,
    /// What was refused by stages that cannot, with the reason.
    lost: Vec<(String, Why)>,
    /// The stages that replayed rows come to.
    main: BTreeSet<StageId>,
    /// Those that second inputs come from.
    side: BTreeSet<StageId>,
}

impl Graft {
    fn new(stages: &[Stage], kept: &Arc<KeptRejects>) -> Result<Graft, Failure> {
        let mut graft = Graft {
            kept: Arc::clone(kept),
            at: BTreeSet::new(),
            lost: Vec::new(),
            main: BTreeSet::new(),
            side: BTreeSet::new(),
        };
        for name in kept.stages.keys() {
            match place(stages, name) {
                Ok(id) => _ = graft.at.insert(id),
                Err(why) => graft.lost.push((name.clone(), Why::Stage(why))),
            }
        }
        graft.main = graft.at.clone();
        for (id, stage) in stages.iter().enumerate() {
            if stage.inputs.iter().any(|input| graft.main.contains(input)) {
                graft.main.insert(id);
            }
        }
        graft.forget_dead_ends(stages);
        let mut left: Vec<StageId> = graft.main.iter().filter_map(|id| stages[*id].side).collect();
        while let Some(id) = left.pop() {
            if graft.side.insert(id) {
                left.extend(stages[id].reads());
            }
        }
        graft.check(stages)?;
        Ok(graft)
    }

    /// Leaves out what leads to no sink, but only to second inputs.
    fn forget_dead_ends(&mut self, stages: &[Stage]) {
        let mut useful: BTreeSet<StageId> = BTreeSet::new();
        for id in self.main.iter().rev() {
            let read = useful.iter().any(|reader| stages[*reader].inputs.contains(id));
            if read || stages[*id].role.is_sink() {
                useful.insert(*id);
            }
        }
        for id in self.at.difference(&useful) {
            let name = &stages[*id].name;
            let why = format!("the rows of `{name}` are only looked up by a join");
            self.lost.push((name.clone(), Why::Stage(why)));
        }
        self.at.retain(|id| useful.contains(id));
        self.main = useful;
    }

    /// Would anything that is emitted be wrong?
    fn check(&self, stages: &[Stage]) -> Result<(), Failure> {
        let refuse = |message: String| Err(Failure::new(Exit::Usage, format!("cannot replay: {message}")));
        for id in &self.main {
            let Stage { name, role, .. } = &stages[*id];
            if self.side.contains(id) {
                return refuse(format!("`{name}` is needed whole by a join, and in part as well"));
            }
            if let Role::Transform(transform) = role
                && let Some(why) = transform.properties().not_replayable
            {
                return refuse(format!("rows that were rejected come to `{name}`, but {why}"));
            }
        }
        Ok(())
    }

    /// The stages of the replay: what reads rows again, then what stays of the job, in its order.
    fn apply(self, stages: Vec<Stage>, requests: Vec<PoolRequest>) -> (Vec<Stage>, Vec<PoolRequest>) {
        let mut new = Vec::new();
        for (name, why) in &self.lost {
            let feed = Feed::new(&self.kept, name, How::Never(why.clone()), Schema::new(Vec::new()));
            new.push((source(name.clone(), "replay", feed), request()));
        }
        let mut own = std::collections::BTreeMap::new();
        for id in self.at.iter().filter(|id| !matches!(stages[**id].role, Role::Source(_))) {
            let Some(input) = input_of(&stages, *id) else { continue };
            let name = &stages[*id].name;
            own.insert(*id, new.len());
            let feed = Feed::new(&self.kept, name, How::Rows, input);
            new.push((source(format!("{name}{OWN}"), "replay", feed), request()));
        }
        let stays = |id: &StageId| self.main.contains(id) || self.side.contains(id);
        let first = new.len();
        let places: Vec<Option<StageId>> = (0..stages.len())
            .scan(first, |next, id| Some(stays(&id).then(|| std::mem::replace(next, *next + 1))))
            .collect();
        for ((id, stage), request) in stages.into_iter().enumerate().zip(requests).filter(|((id, _), _)| stays(id)) {
            let main = self.main.contains(&id);
            let reads = stage.inputs.iter().filter(|input| !main || self.main.contains(input));
            let inputs = reads.filter_map(|input| places[*input]).chain(own.get(&id).copied()).collect();
            let side = stage.side.and_then(|side| places[side]);
            let role = match stage.role {
                Role::Source(of) if main => {
                    let schema = stage.output.clone().unwrap_or_else(|| Schema::new(Vec::new()));
                    Role::Source(Box::new(Feed::new(&self.kept, &stage.name, How::Text(Arc::from(of)), schema)))
                }
                Role::Source(of) => Role::Source(Box::new(Undone(of))),
                role => role,
            };
            new.push((Stage { inputs, side, role, ..stage }, request));
        }
        new.into_iter().unzip()
    }
}

/// The stage of that name, where it can be given what it refused.
fn place(stages: &[Stage], name: &str) -> Result<StageId, String> {
    let Some(id) = stages.iter().position(|stage| stage.name == name) else {
        return Err(format!("the job has no stage `{name}`"));
    };
    match &stages[id].role {
        Role::Source(source) if source.rereader().is_none() => {
            Err(format!("the records of `{name}` have no text that could be read again"))
        }
        _ => Ok(id),
    }
}

fn input_of(stages: &[Stage], id: StageId) -> Option<Schema> {
    stages[id].inputs.first().and_then(|input| stages[*input].output.clone())
}

fn source(name: String, kind: &'static str, feed: Feed) -> Stage {
    let output = Some(feed.schema().clone());
    let role = Role::Source(Box::new(feed));
    Stage { name, kind, role, inputs: Vec::new(), side: None, output, notes: Vec::new() }
}

fn request() -> PoolRequest {
    PoolRequest { common: Common::default(), workers: Workers::Default(1), partition: None }
}

/// A source that is only looked up in: its `done` action is not run.
struct Undone(Box<dyn Source>);

impl Source for Undone {
    fn splits(&self) -> Result<Vec<Split>, Failure> {
        self.0.splits()
    }

    fn worker(&self) -> Result<Box<dyn SourceWorker>, Failure> {
        self.0.worker()
    }

    fn locate(&self, split: &Split, position: Position) -> Position {
        self.0.locate(split, position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_stands_before_the_ending() {
        for (path, expected) in [
            ("a", "a.replay-7"),
            ("out/a.tsv.gz", "out/a.replay-7.tsv.gz"),
            ("o.ut/{town}.csv", "o.ut/{town}.replay-7.csv"),
            (".a.tsv", ".a.replay-7.tsv"),
        ] {
            assert_eq!(stamped(path, "7"), expected);
        }
    }
}
