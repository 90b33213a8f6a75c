//! `sort`: all rows, in order. Equal rows keep the order of the input.

mod rows;
mod worker;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use self::worker::Worker;
use super::{keys::Encoder, memory::SPILLS};
use crate::{
    batch::Schema,
    expr::Expr,
    failure::Failure,
    jobspec::{Problem, SpecLocation},
    kind::{Compiled, Context, Kind, Workers},
    memory::Budget,
    stage::{Transform, TransformProperties, TransformWorker},
};

/// The `sort` kind.
pub(super) const KIND: Kind<dyn Transform> = Kind::new::<SortSpec>("sort", compile);

/// Emits all rows in order, once the last is in. What does not fit into `limits.memory` is spilled.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SortSpec {
    /// What to sort by, the most important first: columns or SQL expressions, each with `desc` behind it where the
    /// largest is to come first. Nulls come last either way; rows that are equal in all keep their order.
    by: Vec<String>,
}

fn compile(context: &mut Context<'_>) -> Option<Compiled<dyn Transform>> {
    let spec: SortSpec = context.decode()?;
    let at = context.path.key("by");
    if spec.by.is_empty() {
        context.problems.push(Problem::new("empty", SpecLocation::value(at), "there is nothing to sort by"));
        return None;
    }
    let terms: Vec<Option<(Expr, bool)>> =
        spec.by.iter().enumerate().map(|(i, text)| term(context, &at.index(i), text)).collect();
    let (by, descending): (Vec<Expr>, Vec<bool>) = terms.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
    let types = by.iter().zip(descending).map(|(expr, descending)| (expr.column_type().to_arrow(), descending));
    let encoder = match Encoder::new(types) {
        Ok(encoder) => encoder,
        Err(failure) => {
            context.problem("by", "type", failure.message);
            return None;
        }
    };
    let output = context.input().clone();
    let notes = vec![format!("by {}", spec.by.join(", ")), SPILLS.to_owned()];
    let budget = Budget::new(&context.held, "the rows to sort");
    let stage = Sort { setup: Arc::new(Setup { by, encoder, output: output.clone(), budget }) };
    let workers = Workers::One("all rows are put in one order");
    Some(Compiled { stage: Box::new(stage), output: Some(output), workers, notes })
}

/// One thing to sort by, and whether the largest comes first.
fn term(context: &mut Context<'_>, at: &crate::jobspec::Path, text: &str) -> Option<(Expr, bool)> {
    let last = text.trim_end().rsplit(char::is_whitespace).next().unwrap_or_default();
    let (word, descending) = match last.to_ascii_lowercase().as_str() {
        "desc" => (last.len(), true),
        "asc" => (last.len(), false),
        _ => (0, false),
    };
    let rest = &text[..text.trim_end().len() - word];
    // A column may be named `desc`.
    let (rest, descending) = if rest.trim().is_empty() { (text, false) } else { (rest, descending) };
    Some((context.expr_at(at, 0, rest)?, descending))
}

struct Setup {
    by: Vec<Expr>,
    encoder: Encoder,
    output: Schema,
    budget: Arc<Budget>,
}

struct Sort {
    setup: Arc<Setup>,
}

impl Transform for Sort {
    fn worker(&self) -> Result<Box<dyn TransformWorker>, Failure> {
        Ok(Box::new(Worker::new(Arc::clone(&self.setup))))
    }

    /// Replayed rows are sorted among themselves.
    fn properties(&self) -> TransformProperties {
        TransformProperties { not_replayable: None, ..TransformProperties::BREAKER }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::transforms::testing::{input, problems, rows_of, run};

    const COLUMNS: &str = "a int64?, b string?, n int64";

    #[test]
    fn rows_come_in_order_and_equal_ones_as_they_came() {
        let rows = input(
            COLUMNS,
            &[
                &[json!([2, "x", 0]), json!([null, "B", 1]), json!([1, "a", 2])],
                &[json!([2, "x", 3]), json!([1, null, 4]), json!([-5, "b", 5])],
            ],
        );
        let table = [
            (json!(["a"]), [5, 2, 4, 0, 3, 1]),
            (json!(["a desc"]), [0, 3, 2, 4, 5, 1]),
            (json!(["a DESC ", "b  asc"]), [0, 3, 2, 4, 5, 1]),
            (json!(["b desc", "n desc"]), [3, 0, 5, 2, 1, 4]),
            (json!(["lower(b) desc", "abs(a) asc"]), [0, 3, 5, 1, 2, 4]),
            (json!(["n % 2", "n desc"]), [4, 2, 0, 5, 3, 1]),
        ];
        for (by, expected) in table {
            let found = rows_of(&KIND, &json!({ "by": by }), &rows, None);
            let order: Vec<i64> = found
                .iter()
                .map(|row| serde_json::from_str::<Json>(row).expect("JSON")[2].as_i64().expect("a number"))
                .collect();
            assert_eq!(order, expected, "{by}");
        }
        assert_eq!(rows_of(&KIND, &json!({ "by": ["a"] }), &input(COLUMNS, &[]), None), Vec::<String>::new());
    }

    #[test]
    fn many_rows_come_in_several_batches() {
        let rows: Vec<Json> = (0..20_000).map(|n| json!([n * 7919 % 20_000, null, n])).collect();
        let parts: Vec<&[Json]> = rows.chunks(700).collect();
        let rows = input(COLUMNS, &parts);
        let found = run(&KIND, &json!({ "by": ["a"] }), &rows, None, 16 << 20).expect("it fits").rows;
        let sorted = found.iter().enumerate().all(|(n, row)| row.starts_with(&format!("[{n},")));
        assert!(found.len() == 20_000 && sorted);
        // Whatever fits into memory, the rows and their order are the same.
        for memory in [1 << 12, 1 << 16, 1 << 19] {
            let spilled = run(&KIND, &json!({ "by": ["a"] }), &rows, None, memory).expect("the rest is spilled");
            assert!(spilled.held.parts > 1 && spilled.rows == found, "{memory}: {:?}", spilled.held);
        }
    }

    #[test]
    fn a_column_may_be_named_like_a_direction() {
        let rows = input("desc int64", &[&[json!([1]), json!([2])]]);
        assert_eq!(rows_of(&KIND, &json!({ "by": ["\"desc\" desc"] }), &rows, None), ["[2]", "[1]"]);
    }

    #[test]
    fn rows_that_cannot_be_placed_are_rejects() {
        let rows = input(COLUMNS, &[&[json!([0, "x", 0]), json!([2, "y", 1])]]);
        let ran = run(&KIND, &json!({ "by": ["1 // a"] }), &rows, None, 1 << 20).expect("nothing fails as a whole");
        assert_eq!(ran.rows, [r#"[2,"y",1]"#]);
        assert_eq!(ran.rejects, ["1 expression division by zero: `1 // 0`"]);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table = [
            (json!({ "by": [] }), vec!["empty | t.by | there is nothing to sort by"]),
            (
                json!({ "by": ["a", "c desc", "b dsc"] }),
                vec![
                    "expression | t.by[1][0..1] | there is no column `c` | did you mean `a`?",
                    "expression | t.by[2][2..5] | expected one expression, but `dsc` follows it",
                ],
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(problems(&KIND, &spec, COLUMNS, None), expected, "{spec}");
        }
    }
}
