//! A plan cut short: what leads to some stages, and a sink of the caller's that takes what these put out.

use std::collections::BTreeMap;

use super::{Role, Stage, pools::Wish};
use crate::{
    event::StageId,
    failure::{Exit, Failure},
    kind::Workers,
    spec::{Common, JobSpec, nearest},
    stage::Sink,
};

/// The stages whose output is the output of the stage of that name or, where that is a sink, its input. Without a name,
/// the input of the first sink that reads no other.
///
/// # Errors
/// There is no such stage, or its rows come from a sink.
pub(super) fn ends(job: &JobSpec, stages: &[Stage], name: Option<&str>) -> Result<Vec<StageId>, Failure> {
    let find = |name: &str| stages.iter().position(|stage| stage.name == name);
    let of = |id: StageId| if stages[id].role.is_sink() { stages[id].inputs.clone() } else { vec![id] };
    let Some(name) = name else {
        let sinks = job.sinks.keys().filter_map(|name| find(name)).map(of);
        let first = sinks.into_iter().find(|ends| sink_behind(stages, ends).is_none());
        return first.ok_or_else(|| Failure::new(Exit::Usage, "the job has no sink"));
    };
    let Some(id) = find(name) else {
        let help = nearest(name, stages.iter().map(|stage| stage.name.as_str())).unwrap_or_default();
        return Err(Failure::new(Exit::Usage, format!("there is no stage named `{name}`; {help}")));
    };
    let ends = of(id);
    match sink_behind(stages, &ends) {
        None => Ok(ends),
        Some(sink) => {
            let sink = &stages[sink].name;
            let message = format!(
                "the rows of `{name}` come from the sink `{sink}`, which is not written to here; preview `{sink}` to see what it would be given"
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// A sink that rows of these stages come from.
fn sink_behind(stages: &[Stage], ends: &[StageId]) -> Option<StageId> {
    leading_to(stages, ends).into_keys().find(|id| stages[*id].role.is_sink())
}

/// These stages and all they read, in order, with the places they have then.
fn leading_to(stages: &[Stage], ends: &[StageId]) -> BTreeMap<StageId, StageId> {
    let mut found = BTreeMap::new();
    let mut left = ends.to_vec();
    while let Some(id) = left.pop() {
        if found.insert(id, 0).is_none() {
            left.extend(stages[id].reads());
        }
    }
    found.values_mut().enumerate().for_each(|(place, id)| *id = place);
    found
}

/// The stages that lead to `ends`, and `sink` behind these.
pub(super) fn cut(
    stages: Vec<Stage>,
    wishes: Vec<Wish>,
    ends: &[StageId],
    sink: Box<dyn Sink>,
) -> (Vec<Stage>, Vec<Wish>) {
    let places = leading_to(&stages, ends);
    let moved = |ids: &[StageId]| ids.iter().filter_map(|id| places.get(id).copied()).collect::<Vec<_>>();
    let last = Stage {
        name: "preview".to_owned(),
        kind: "preview",
        role: Role::Sink(sink),
        inputs: moved(ends),
        side: None,
        output: None,
        notes: Vec::new(),
    };
    let wish = Wish { common: Common::default(), workers: Workers::One("rows are shown in order"), partition: None };
    let kept = stages.into_iter().zip(wishes).enumerate().filter(|(id, _)| places.contains_key(id));
    let kept = kept.map(|(_, (stage, wish))| {
        let side = stage.side.and_then(|side| places.get(&side).copied());
        (Stage { inputs: moved(&stage.inputs), side, ..stage }, wish)
    });
    kept.chain([(last, wish)]).unzip()
}
