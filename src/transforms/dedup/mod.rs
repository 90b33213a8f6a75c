//! `dedup`: one row of each key.

mod bloom;
mod first;
mod last;
mod run;
mod runs;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    keys::{Encoder, divided_by, places},
    memory::SPILLS,
};
use crate::{
    batch::Schema,
    failure::Failure,
    jobspec::{Problem, SpecLocation},
    kind::{Compiled, Context, Kind},
    memory::Budget,
    stage::{Transform, TransformProperties, TransformWorker},
};

/// The `dedup` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<DedupSpec>("dedup", compile);

/// Keeps one row of each key, in input order; nulls are equal to each other here. Keys (with `keep = "last"`: rows) that do
/// not fit into `limits.memory` are spilled.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DedupSpec {
    /// The columns that make the key.
    by: Vec<String>,
    /// Which row of a key stays.
    #[serde(default)]
    keep: Keep,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Keep {
    /// The first; rows go on as they come.
    #[default]
    First,
    /// The last; rows go on once the input has ended.
    Last,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: DedupSpec = context.decode()?;
    if spec.by.is_empty() {
        let at = SpecLocation::value(context.path.key("by"));
        context.problems.push(Problem::new("empty", at, "there is no column to tell rows apart by"));
        return None;
    }
    let by = places(context, "by", &spec.by)?;
    let input = context.input().clone();
    let encoder = match Encoder::new(by.iter().map(|place| (input.columns()[*place].column_type.to_arrow(), false))) {
        Ok(encoder) => encoder,
        Err(failure) => {
            context.problem("by", "type", failure.message);
            return None;
        }
    };
    let word = if spec.keep == Keep::First { "first" } else { "last" };
    let notes = vec![format!("the {word} row of each {}", spec.by.join(", ")), SPILLS.to_owned()];
    let budget = Budget::new(&context.held, "the keys and rows to tell apart");
    let workers = divided_by(&input, &by);
    let setup = Setup { by, encoder, schema: input.clone(), keep: spec.keep, budget };
    let stage = Dedup { setup: Arc::new(setup) };
    Some(Compiled { stage: Box::new(stage), output: Some(input), workers, notes })
}

struct Setup {
    by: Vec<usize>,
    encoder: Encoder,
    schema: Schema,
    keep: Keep,
    budget: Arc<Budget>,
}

struct Dedup {
    setup: Arc<Setup>,
}

impl Transform for Dedup {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        let setup = Arc::clone(&self.setup);
        Ok(match self.setup.keep {
            Keep::First => Box::new(first::First::new(setup)),
            Keep::Last => Box::new(last::Worker::new(setup)),
        })
    }

    fn properties(&self) -> TransformProperties {
        TransformProperties {
            pipeline_breaker: self.setup.keep == Keep::Last,
            ordered: true,
            stateful: true,
            not_replayable: Some("it does not know which keys it has let through before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        failure::Exit,
        transforms::testing::{Input, compile, input, problems, rows_of, run},
    };

    const COLUMNS: &str = "k string?, f float64?, n int64";

    fn rows() -> Input {
        input(
            COLUMNS,
            &[
                &[json!(["a", 1.0, 0]), json!([null, 0.0, 1]), json!(["a", 2.0, 2])],
                &[json!(["b", null, 3]), json!([null, -0.0, 4]), json!(["a", 1.0, 5])],
            ],
        )
    }

    #[test]
    fn one_row_of_each_key_stays() {
        let table = [
            (json!({ "by": ["k"] }), vec![0, 1, 3]),
            (json!({ "by": ["k"], "keep": "last" }), vec![3, 4, 5]),
            (json!({ "by": ["k", "f"] }), vec![0, 1, 2, 3]),
            (json!({ "by": ["f", "k"], "keep": "last" }), vec![2, 3, 4, 5]),
            (json!({ "by": ["n"], "keep": "first" }), vec![0, 1, 2, 3, 4, 5]),
        ];
        for (spec, expected) in table {
            let found: Vec<i64> = rows_of(&KIND, &spec, &rows(), None)
                .iter()
                .map(|row| serde_json::from_str::<Json>(row).expect("JSON")[2].as_i64().expect("a number"))
                .collect();
            assert_eq!(found, expected, "{spec}");
        }
    }

    #[test]
    fn rows_are_divided_by_what_has_a_text() {
        let workers = |by: Json| match compile(&KIND, &json!({ "by": by }), (&rows().schema, None), 1) {
            Ok(Compiled { workers: crate::kind::Workers::Keyed(key, 1), .. }) => key.to_string(),
            Ok(Compiled { workers: crate::kind::Workers::One(why), .. }) => why.to_owned(),
            _ => String::new(),
        };
        assert_eq!(workers(json!(["f", "k"])), "k");
        assert_eq!(workers(json!(["f"])), "no column of the key has a text to divide rows by");
    }

    /// All keys come three times, and never twice within what fits into memory; one comes with every batch.
    #[test]
    fn first_keys_that_do_not_fit_into_memory_are_found_on_disk() {
        let row = |n: usize| match n % 50 {
            0 => json!(["a key that comes often", 1.0, n]),
            _ => json!([format!("a key with a long name, number {}", n % 10_000), 1.0, n]),
        };
        let batches: Vec<Vec<Json>> =
            (0..30_000).step_by(500).map(|start| (start..start + 500).map(row).collect()).collect();
        let rows = input(COLUMNS, &batches.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let spec = json!({ "by": ["k"], "keep": "first" });
        let memory = 100_000;
        let ran = run(&KIND, &spec, &rows, None, memory).expect("the rest is spilled");
        let expected = (0..10_000).filter(|n| *n == 0 || n % 50 != 0).map(|n| row(n).to_string());
        assert_eq!(ran.rows, expected.collect::<Vec<_>>());
        // Of 9801 keys each is written once, and again for each level.
        assert!(ran.held.parts > 8 && ran.held.passes > 1, "{:?}", ran.held);
        assert!(ran.held.rows < 3 * 9801 && ran.held.peak < memory as u64, "{:?}", ran.held);
        let much = run(&KIND, &spec, &rows, None, 16 << 20).expect("it fits");
        assert!(much.rows == ran.rows && much.held.parts == 0 && much.held.peak > memory as u64, "{:?}", much.held);
    }

    #[test]
    fn so_little_memory_that_a_batch_of_keys_has_no_room_is_too_little() {
        let rows: Vec<Json> =
            (0..100).map(|n| json!([format!("a key with a long name, number {n}"), 1.0, n])).collect();
        let rows = input(COLUMNS, &[&rows]);
        let failure = run(&KIND, &json!({ "by": ["k"] }), &rows, None, 5000).expect_err("too large");
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.message.starts_with("the keys and rows to tell apart take "), "{failure}");
        assert!(failure.message.contains("`limits.memory` allows 4.9 KiB: give the job more"), "{failure}");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table = [
            (json!({ "by": [] }), "empty | t.by | there is no column to tell rows apart by"),
            (json!({ "by": ["kk"] }), "unknown-column | t.by[0] | there is no column `kk` | did you mean `k`?"),
        ];
        for (spec, expected) in table {
            assert_eq!(problems(&KIND, &spec, COLUMNS, None), [expected], "{spec}");
        }
    }
}
