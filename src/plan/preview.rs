//! A plan cut short: what leads to some stages, and a sink of the caller's that takes what these emit.

use std::collections::BTreeMap;

use super::{Role, Stage, pools::PoolRequest};
use crate::{
    event::StageId,
    failure::{Exit, Failure},
    jobspec::{Common, JobSpec, nearest},
    kind::Workers,
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

/// A sink that rows of these stages come from: the last on the way.
fn sink_behind(stages: &[Stage], ends: &[StageId]) -> Option<StageId> {
    leading_to(stages, ends).into_keys().rev().find(|id| stages[*id].role.is_sink())
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
    requests: Vec<PoolRequest>,
    ends: &[StageId],
    sink: Box<dyn Sink>,
) -> (Vec<Stage>, Vec<PoolRequest>) {
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
    let request =
        PoolRequest { common: Common::default(), workers: Workers::One("rows are shown in order"), partition: None };
    let kept = stages.into_iter().zip(requests).enumerate().filter(|(id, _)| places.contains_key(id));
    let kept = kept.map(|(_, (stage, request))| {
        let side = stage.side.and_then(|side| places.get(&side).copied());
        (Stage { inputs: moved(&stage.inputs), side, ..stage }, request)
    });
    kept.chain([(last, request)]).unzip()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        jobspec::{Problems, Value},
        stage::{Guarantee, Mode, SinkProperties, SinkWorker},
    };

    struct Nothing;

    impl Sink for Nothing {
        fn properties(&self) -> SinkProperties {
            Guarantee::AnyOrder.into()
        }

        fn worker(&self, _mode: Mode) -> Result<Box<dyn SinkWorker>, Failure> {
            Err(Failure::new(Exit::Bug, "it is never run"))
        }
    }

    /// Sinks alone, but for the plan's edges there is no difference: `a` and `b` read nothing, `main` reads `b`,
    /// `lookup` reads `main`.
    fn stages() -> (Vec<Stage>, Vec<PoolRequest>) {
        let stage = |name: &str, inputs: &[StageId], side| Stage {
            name: name.to_owned(),
            kind: "test",
            role: Role::Sink(Box::new(Nothing)),
            inputs: inputs.to_vec(),
            side,
            output: None,
            notes: Vec::new(),
        };
        let request = || PoolRequest { common: Common::default(), workers: Workers::Default(1), partition: None };
        let stages = [("a", &[][..], None), ("b", &[], None), ("main", &[1], Some(0)), ("lookup", &[2], None)];
        stages.into_iter().map(|(name, inputs, side)| (stage(name, inputs, side), request())).unzip()
    }

    fn job() -> JobSpec {
        let sink = json!({ "type": "discard", "input": "x" });
        let text = json!({ "name": "test", "sinks": { "lookup": sink, "main": sink } });
        let value: Value = serde_json::from_value(text).expect("any JSON is a value");
        JobSpec::decode(&value, &mut Problems::default()).expect("it has a name")
    }

    #[test]
    fn only_what_leads_to_the_rows_stays() {
        let (stages, requests) = stages();
        let (stages, requests) = cut(stages, requests, &[1], Box::new(Nothing));
        let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!((names, requests.len()), (vec!["b", "preview"], 2));
        assert_eq!(stages[1].inputs, [0]);
        let (stages, _) = cut(self::stages().0, self::stages().1, &[2], Box::new(Nothing));
        assert_eq!(
            (stages.len(), &stages[2].inputs[..], stages[2].side, &stages[3].inputs[..]),
            (4, &[1][..], Some(0), &[2][..])
        );
    }

    #[test]
    fn rows_of_a_sink_cannot_be_shown() {
        let (mut stages, _) = stages();
        let failure = ends(&job(), &stages, Some("lookup")).expect_err("its rows come from a sink");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("come from the sink `main`"), "{failure}");
        let failure = ends(&job(), &stages, Some("man")).expect_err("there is none");
        assert_eq!(failure.message, "there is no stage named `man`; did you mean `main`?");
        // Without a name the first sink whose rows come from no other.
        stages.drain(..2);
        stages.iter_mut().for_each(|stage| stage.inputs.retain(|input| *input == 2));
        stages[1].inputs = vec![0];
        assert_eq!(ends(&job(), &stages, None), Ok(Vec::new()));
    }
}
