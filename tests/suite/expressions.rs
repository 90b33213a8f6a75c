//! The table of expressions that the unit tests evaluate, evaluated by DuckDB. Where it differs on purpose the table
//! says why; any other difference, and any reason that is not needed, fails.

use crate::work::{Work, oracle, project};

#[test]
fn values_are_those_of_duckdb() {
    let table = project("tests/data/expressions.tsv");
    let ran = oracle(&Work::new(), "expressions.py", &[table.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let checked: usize = ran.stdout.split_whitespace().next().unwrap().parse().unwrap();
    assert!(checked >= 150, "{}", ran.stdout);
}
