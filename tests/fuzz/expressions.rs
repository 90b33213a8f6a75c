//! Expressions put together of others, and text that is hardly one: each is bound or refused, and what is bound gives
//! rows or row errors for any batch.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringViewArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array,
    UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use proptest::{
    collection::vec,
    option,
    prelude::any,
    prop_assert, prop_assert_eq, prop_oneof, sample,
    strategy::{BoxedStrategy, Just, Strategy},
    test_runner::TestCaseResult,
};
use runner::{
    batch::{Batch, Block, Column, Origin, Schema, SplitId},
    expr::{Expr, RowError, compile, predicate},
    values::json,
};

use crate::fuzz;

/// The columns of `tests/data/expressions.tsv`, and some that are never null.
const COLUMNS: &[(&str, &str)] = &[
    ("b", "bool"),
    ("i8", "int8"),
    ("i", "int32"),
    ("n", "int64"),
    ("u", "uint64"),
    ("f", "float64"),
    ("g", "float32"),
    ("s", "string"),
    ("t", "string"),
    ("d", "date"),
    ("ts", "timestamp"),
    ("l", "list<uint32>"),
    ("ls", "list<string>"),
    ("j", "json"),
    ("lu", "list<uint64>"),
    ("ll", "list<list<int64>>"),
    ("ld", "list<date>"),
    ("tn", "timestamp_ns"),
];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let column = |(name, column_type): &(&str, &str)| Column {
        name: (*name).to_owned(),
        column_type: column_type.parse().unwrap(),
        nullable: *name != "t",
    };
    Schema::new(COLUMNS.iter().map(column).collect())
});

static TABLE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lines = include_str!("../data/expressions.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split('\t').next()).filter(|expression| !expression.is_empty()).collect()
});

const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "is null",
    "is distinct from",
    "in",
    "between",
    "like",
    "case",
    "when",
    "then",
    "else",
    "end",
    "cast(",
    "try_cast(",
    "as int",
    "::int",
    "::varchar[]",
    "(",
    ")",
    "[",
    "]",
    ",",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "||",
    "<",
    "=",
    "<>",
    "->",
    "->>",
    "'",
    "''",
    "'x'",
    "\"",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "1e308",
    "2.5",
    "null",
    "true",
    "date '2020-01-01'",
    "interval '1 month'",
    "b",
    "i8",
    "i",
    "n",
    "u",
    "f",
    "g",
    "s",
    "t",
    "d",
    "ts",
    "l",
    "ls",
    "j",
    "lu",
    "ll",
    "ld",
    "tn",
    "[[1], []]",
    "list_contains(",
    "'$[-1].\"a\"'",
    "'/a/0'",
    "array",
    "len(",
    "abs(",
    "round(",
    "substr(",
    "date_trunc('month',",
    "extract(year from",
    "--",
    "/*",
    "*/",
    ".",
    ":",
    ";",
    "?",
    "$1",
    "ü",
    "\0",
    "\n",
    "😀",
];

/// Pieces of a text: words, signs and the spaces between.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let len = if first == '\'' {
            rest[1..].find('\'').map_or(rest.len(), |end| end + 2)
        } else if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        found.push(&rest[..len]);
        rest = &rest[len..];
    }
    found
}

/// One expression with others in the place of some of its columns and literals, in brackets.
fn spliced() -> BoxedStrategy<String> {
    let part = || (0..TABLE.len(), any::<u8>());
    (0..TABLE.len(), vec(part(), 0..4))
        .prop_map(|(base, parts)| {
            let mut text = TABLE[base].to_owned();
            for (part, at) in parts {
                let all = tokens(&text);
                let is_leaf = |token: &&str| {
                    COLUMNS.iter().any(|(name, _)| name == token)
                        || token.starts_with(|c: char| c.is_ascii_digit() || c == '\'')
                };
                let leaves: Vec<usize> = (0..all.len()).filter(|at| is_leaf(&all[*at])).collect();
                let Some(leaf) = leaves.get(usize::from(at) % leaves.len().max(1)) else { continue };
                let other = format!("({})", TABLE[part]);
                let mut all = all.clone();
                all[*leaf] = &other;
                text = all.concat();
            }
            text
        })
        .boxed()
}

/// An expression with words changed, put in and left out.
fn mutated() -> BoxedStrategy<String> {
    let change = (any::<u8>(), 0..3_u8, sample::select(WORDS));
    (spliced(), vec(change, 1..6))
        .prop_map(|(text, changes)| {
            let mut all: Vec<&str> = tokens(&text);
            for (at, what, word) in changes {
                let at = usize::from(at) % (all.len() + 1);
                match what {
                    0 => all.insert(at, word),
                    1 if at < all.len() => all[at] = word,
                    _ if at < all.len() => _ = all.remove(at),
                    _ => {}
                }
            }
            all.concat()
        })
        .boxed()
}

fn soup() -> BoxedStrategy<String> {
    vec(sample::select(WORDS), 0..15).prop_map(|words| words.join(" ")).boxed()
}

/// A value of a type or null; often one that is hard.
fn cells<T: Clone + std::fmt::Debug + 'static>(hard: &[T], any: BoxedStrategy<T>) -> BoxedStrategy<Vec<Option<T>>> {
    let value = prop_oneof![2 => sample::select(hard.to_vec()), 1 => any];
    vec(option::weighted(0.8, value), ROWS).boxed()
}

const ROWS: usize = 6;

fn array<T: Clone + std::fmt::Debug + 'static, A: Array + From<Vec<Option<T>>> + 'static>(
    hard: &[T],
    any: BoxedStrategy<T>,
) -> BoxedStrategy<ArrayRef> {
    cells(hard, any).prop_map(|cells| Arc::new(A::from(cells)) as ArrayRef).boxed()
}

fn texts() -> BoxedStrategy<String> {
    let hard = [
        "",
        "a",
        "a:b:c",
        "1",
        " -7 ",
        "1e400",
        "2020-02-30",
        "[1, 2]",
        "['x', null]",
        "{\"a\":[1]}",
        "Ünïcode 😀 text, long",
        "%_\\",
    ];
    prop_oneof![3 => sample::select(hard.to_vec()).prop_map(str::to_owned), 1 => "[a-cü:\\[\\]'\", 0-9]{0,20}"].boxed()
}

fn lists(items: ArrayRef, lengths: Vec<u8>, item: &str) -> ArrayRef {
    let item: runner::batch::ColumnType = item.parse().unwrap();
    let mut left = items.len();
    let lengths = lengths.iter().map(|len| {
        let len = usize::from(len % 4).min(left);
        left -= len;
        len
    });
    let offsets = OffsetBuffer::from_lengths(lengths.collect::<Vec<_>>());
    let used = items.slice(0, offsets[ROWS] as usize);
    let nulls = NullBuffer::from((0..ROWS).map(|row| row % 3 != 2).collect::<Vec<_>>());
    Arc::new(ListArray::new(item.item_field().into(), offsets, used, Some(nulls)))
}

/// Columns of random values.
fn batches() -> BoxedStrategy<Batch> {
    let lengths = || vec(any::<u8>(), ROWS);
    let floats = [0.0, -0.0, 2.5, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX, 9.3e18, -1e19];
    let documents = ["{\"a\":1}", "[1,\"x\",null]", "null", "\"t\"", "1.5", "[[1],[]]", "{\"a\":{\"b\":[true]}}"];
    let columns = (
        array::<_, BooleanArray>(&[true, false], any::<bool>().boxed()),
        array::<_, Int8Array>(&[0, 1, -1, i8::MIN, i8::MAX], any::<i8>().boxed()),
        array::<_, Int32Array>(&[0, 1, 7, -1, i32::MIN, i32::MAX], any::<i32>().boxed()),
        array::<_, Int64Array>(&[0, 1, -1, i64::MIN, i64::MAX], any::<i64>().boxed()),
        array::<_, UInt64Array>(&[0, 1, 3, u64::MAX], any::<u64>().boxed()),
        array::<_, Float64Array>(&floats, any::<f64>().boxed()),
        array::<_, Float32Array>(&[0.0, 0.5, f32::NAN, f32::MAX, -1e20], any::<f32>().boxed()),
        vec(option::weighted(0.8, texts()), ROWS)
            .prop_map(|texts| Arc::new(texts.into_iter().collect::<StringViewArray>()) as ArrayRef),
        vec(texts(), ROWS)
            .prop_map(|texts| Arc::new(texts.into_iter().map(Some).collect::<StringViewArray>()) as ArrayRef),
        array::<_, Date32Array>(&[0, -1, 18_321, i32::MAX, i32::MIN], any::<i32>().boxed()),
    );
    let more = (
        array::<_, TimestampMicrosecondArray>(
            &[0, -1, 1_577_934_245_123_456, i64::MAX, i64::MIN],
            any::<i64>().boxed(),
        ),
        (array::<_, UInt32Array>(&[0, 1, 2, u32::MAX], any::<u32>().boxed()), lengths())
            .prop_map(|(items, lengths)| lists(items, lengths, "uint32")),
        (vec(option::weighted(0.7, texts()), ROWS), lengths()).prop_map(|(items, lengths)| {
            lists(Arc::new(items.into_iter().collect::<StringViewArray>()), lengths, "string")
        }),
        vec(option::weighted(0.8, sample::select(documents.to_vec())), ROWS)
            .prop_map(|texts| Arc::new(texts.into_iter().collect::<StringViewArray>()) as ArrayRef),
        prop_oneof![1 => Just(0), 9 => 1..=ROWS],
    );
    let nested = (
        (array::<_, UInt64Array>(&[0, 1, u64::MAX, 1 << 63], any::<u64>().boxed()), lengths())
            .prop_map(|(items, lengths)| lists(items, lengths, "uint64")),
        (array::<_, Int64Array>(&[0, 1, -1], any::<i64>().boxed()), lengths(), lengths())
            .prop_map(|(items, inner, outer)| lists(lists(items, inner, "int64"), outer, "list<int64>")),
        (array::<_, Date32Array>(&[0, 18_321, i32::MAX, i32::MIN], any::<i32>().boxed()), lengths())
            .prop_map(|(items, lengths)| lists(items, lengths, "date")),
        array::<_, TimestampNanosecondArray>(&[0, -1, i64::MAX, i64::MIN], any::<i64>().boxed()),
    );
    (columns, more, nested)
        .prop_map(|((b, i8, i, n, u, f, g, s, t, d), (ts, l, ls, j, rows), (lu, ll, ld, tn))| {
            let columns = vec![b, i8, i, n, u, f, g, s, t, d, ts, l, ls, j, lu, ll, ld, tn];
            let records = RecordBatch::try_new(SCHEMA.arrow(), columns).unwrap();
            Batch::new(records, Origin::new(SplitId(0), 0, Block::default(), ROWS)).slice(ROWS - rows, rows)
        })
        .boxed()
}

/// A batch as its rows in JSON.
struct Rows(Batch);

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.0.rows()).try_for_each(|row| write!(f, "\n{}", json::row(&self.0.records, row)))
    }
}

fn evaluate(expr: &Expr, batch: &Batch) -> (ArrayRef, Vec<RowError>) {
    let mut errors = Vec::new();
    let values = expr.evaluate(batch, &mut errors);
    (values, errors)
}

fn check((text, Rows(batch)): (String, Rows)) -> TestCaseResult {
    let expr = match compile(&text, &SCHEMA) {
        Ok(expr) => expr,
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(text.get(error.start..error.end).is_some() && !error.message.is_empty(), "{:?}", error);
            }
            return Ok(());
        }
    };
    let (values, errors) = evaluate(&expr, &batch);
    prop_assert_eq!((values.len(), values.data_type()), (batch.rows(), &expr.column_type().to_arrow()));
    let failed: Vec<usize> = errors.iter().map(|error| error.row as usize).collect();
    prop_assert!(
        failed.is_sorted_by(|a, b| a < b) && failed.last().is_none_or(|last| *last < batch.rows()),
        "{:?}",
        failed
    );
    for row in 0..batch.rows() {
        let is_failed = failed.contains(&row);
        prop_assert!(!is_failed || values.is_null(row), "row {} failed and is not null", row);
        prop_assert!(
            is_failed || expr.nullable() || values.is_valid(row),
            "row {} is null, but `{}` is not nullable",
            row,
            expr
        );
    }
    prop_assert!(values.to_data().validate_full().is_ok(), "{:?}", values.to_data().validate_full());
    rows_are_alone(&expr, &batch, &values, &errors)?;
    if *expr.column_type() == runner::batch::ColumnType::Bool {
        prop_assert_eq!(predicate(&expr, &batch, &mut Vec::new()).null_count(), 0);
    }
    reparsed(&expr, &batch, &values, &failed)
}

/// Each row alone has the value and the error that it has among others.
fn rows_are_alone(expr: &Expr, batch: &Batch, values: &ArrayRef, errors: &[RowError]) -> TestCaseResult {
    for row in 0..batch.rows() {
        let (one, its_errors) = evaluate(expr, &batch.slice(row, 1));
        prop_assert_eq!(one.to_data(), values.slice(row, 1).to_data(), "row {} of `{}`", row, expr);
        let here = errors.iter().find(|error| error.row as usize == row).map(|error| &error.message);
        prop_assert_eq!(its_errors.first().map(|error| &error.message), here, "row {} of `{}`", row, expr);
    }
    Ok(())
}

/// The canonical text means the same, where it is not nested too deep for one: it has more brackets.
fn reparsed(expr: &Expr, batch: &Batch, values: &ArrayRef, failed: &[usize]) -> TestCaseResult {
    let canonical = expr.to_string();
    let again = match compile(&canonical, &SCHEMA) {
        Ok(again) => again,
        Err(errors) => {
            // A constant that no row could be brought to the other's type is an error once it is alone in a cast.
            let limits = ["nested deeper", "more than 1000 operators", "at most 1000 items", "out of range for int64"];
            let known = |message: &String| limits.iter().any(|limit| message.contains(limit));
            prop_assert!(errors.iter().all(|error| known(&error.message)), "`{}`: {:?}", canonical, errors);
            return Ok(());
        }
    };
    let (found, errors) = evaluate(&again, batch);
    // A literal that has taken a narrower type is written as a number, which alone is an `int64`.
    if again.column_type() == expr.column_type() {
        prop_assert_eq!(found.to_data(), values.to_data(), "`{}`", canonical);
    } else {
        prop_assert_eq!(found.nulls().cloned(), values.nulls().cloned(), "`{}`", canonical);
    }
    prop_assert_eq!(errors.iter().map(|error| error.row as usize).collect::<Vec<_>>(), failed, "`{}`", canonical);
    Ok(())
}

#[test]
fn expressions_of_expressions() {
    fuzz("expressions", 800, &(spliced(), batches().prop_map(Rows)), check);
}

#[test]
fn changed_expressions() {
    let text = prop_oneof![3 => mutated(), 1 => soup()];
    fuzz("changed expressions", 800, &(text, batches().prop_map(Rows)), check);
}
