//! Tests by table: expressions and their values over a small batch, and what is wrong with wrong ones.

mod errors;

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array, Int32Array,
    Int64Array, ListArray, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt64Array,
    builder::{ListBuilder, StringViewBuilder},
    cast::AsArray,
    types::UInt32Type,
};

use super::{ExprError, RowError, compile, predicate, text};
use crate::batch::{Batch, Block, Column, ColumnType, Origin, Schema, SplitId};

fn schema() -> Schema {
    let column = |name: &str, column_type: &str, nullable: bool| Column {
        name: name.into(),
        column_type: column_type.parse().expect("a legal type"),
        nullable,
    };
    Schema::new(vec![
        column("b", "bool", true),
        column("i8", "int8", true),
        column("i", "int32", true),
        column("n", "int64", true),
        column("u", "uint64", true),
        column("f", "float64", true),
        column("g", "float32", true),
        column("s", "string", true),
        column("t", "string", false),
        column("d", "date", true),
        column("ts", "timestamp", true),
        column("l", "list<uint32>", true),
        column("ls", "list<string>", true),
        column("j", "json", true),
        column("bin", "binary", true),
        column("Twice", "int32", true),
        column("TWICE", "int32", true),
    ])
}

fn batch() -> Batch {
    let l =
        ListArray::from_iter_primitive::<UInt32Type, _, _>([Some(vec![Some(1), Some(2), Some(3)]), Some(vec![]), None]);
    let mut ls = ListBuilder::new(StringViewBuilder::new());
    ls.append_value([Some("x"), None, Some("yy")]);
    ls.append_value([Some("z")]);
    ls.append_null();
    let micros = [Some(1_577_934_245_123_456), Some(-1_000_000), None];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int8Array::from(vec![Some(127), Some(-5), None])),
        Arc::new(Int32Array::from(vec![Some(7), Some(0), None])),
        Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(2), None])),
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(3), None])),
        Arc::new(Float64Array::from(vec![Some(2.5), Some(-1.5), None])),
        Arc::new(Float32Array::from(vec![Some(0.5), Some(2.0), None])),
        Arc::new(StringViewArray::from(vec![Some("hello"), Some("Ünïcode wörld strings"), None])),
        Arc::new(StringViewArray::from(vec!["a", "", "a:b:c"])),
        Arc::new(Date32Array::from(vec![Some(18_321), Some(-1), None])),
        Arc::new(TimestampMicrosecondArray::from(micros.to_vec())),
        Arc::new(l),
        Arc::new(ls.finish()),
        Arc::new(StringViewArray::from(vec![Some("{\"a\":1}"), Some("[1]"), None])),
        Arc::new(BinaryViewArray::from(vec![Some(b"ab".as_slice()), Some(b"\xff"), None])),
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        Arc::new(Int32Array::from(vec![1, 2, 3])),
    ];
    let records = RecordBatch::try_new(schema().arrow(), columns).expect("columns as the schema says");
    Batch::new(records, Origin::new(SplitId(0), 0, Block::default(), 3))
}

/// What an expression gives: a text per row, joined by ` | `; one text where all rows agree.
fn outcome(expression: &str) -> String {
    let Ok(expr) = compile(expression, &schema()) else { return "error".into() };
    let mut errors = Vec::new();
    let values = expr.evaluate(&batch(), &mut errors);
    assert_eq!(*values.data_type(), expr.column_type().to_arrow(), "{expression}");
    let shown = |row: usize| {
        if errors.iter().any(|error: &RowError| error.row as usize == row) {
            assert!(values.is_null(row), "{expression}: a failed row is null");
            return "error".to_owned();
        }
        assert!(values.is_valid(row) || expr.nullable(), "{expression} is null but not nullable");
        if values.is_null(row) { "null".to_owned() } else { text::one(&values, row) }
    };
    let rows: Vec<String> = (0..3).map(shown).collect();
    if rows.iter().all(|row| *row == rows[0]) { rows[0].clone() } else { rows.join(" | ") }
}

/// The table: `expression<TAB>value`, and why where DuckDB says otherwise.
fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../../tests/data/expressions.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut fields = line.split('\t');
        (fields.next().expect("an expression"), fields.next().expect("a value"))
    })
}

#[test]
fn every_expression_has_the_value_in_the_table() {
    assert!(table().count() > 400);
    let wrong: Vec<String> = table()
        .filter(|(expression, expected)| outcome(expression) != *expected)
        .map(|(expression, expected)| format!("{expression}\n  is {}\n  not {expected}", outcome(expression)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const DOCUMENT: &str = include_str!("../../docs/expressions.md");

#[test]
fn the_document_names_every_function() {
    let named = |name: &str| DOCUMENT.contains(&format!("`{name}("));
    let missing: Vec<&str> = super::functions::names().filter(|name| !named(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_document_tells_differences_as_they_are() {
    let mut checked = 0;
    for line in DOCUMENT.lines().skip_while(|line| !line.starts_with("| expression |")).skip(2) {
        let mut cells = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']));
        let (Some(expression), Some(here)) = (cells.next(), cells.next()) else { continue };
        if let Some(expression) = expression.strip_prefix('`') {
            assert_eq!(outcome(expression.trim_end_matches('`')), here.trim_matches('`'), "{expression}");
            checked += 1;
        }
    }
    assert!(checked >= 19, "{checked}");
}

#[test]
fn a_slice_of_the_batch_gives_the_slice_of_the_value() {
    for (expression, _) in table() {
        let Ok(expr) = compile(expression, &schema()) else { continue };
        let mut all_errors = Vec::new();
        let all = expr.evaluate(&batch(), &mut all_errors);
        for (start, len) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 1)] {
            let mut errors = Vec::new();
            let part = expr.evaluate(&batch().slice(start, len), &mut errors);
            assert_eq!(
                part.to_data(),
                all.slice(start, len).to_data(),
                "{expression}, rows {start} to {}",
                start + len
            );
            let inside = all_errors.iter().filter(|e| (start..start + len).contains(&(e.row as usize)));
            let shifted: Vec<RowError> =
                inside.map(|e| RowError { row: e.row - start as u32, message: e.message.clone() }).collect();
            assert_eq!(errors, shifted, "{expression}");
        }
    }
}

#[test]
fn canonical_text_means_the_same() {
    for (expression, expected) in table().filter(|(_, expected)| *expected != "error") {
        let expr = compile(expression, &schema()).expect("it has a value");
        assert_eq!(outcome(&expr.to_string()), expected, "{expression} became {expr}");
    }
}

#[test]
fn a_failed_row_is_listed_once_with_its_reason() {
    let expr = compile("cast(t as int) + cast(t as int) // i", &schema()).expect("legal");
    let mut errors = Vec::new();
    let values = expr.evaluate(&batch(), &mut errors);
    let rows: Vec<(u32, &str)> = errors.iter().map(|error| (error.row, error.message.as_str())).collect();
    assert_eq!(rows, [(0, "`a` is not an int32"), (1, "`` is not an int32"), (2, "`a:b:c` is not an int32")]);
    assert_eq!(values.null_count(), 3);
}

#[test]
fn a_failed_part_makes_the_whole_row_null() {
    let expr = compile("coalesce(try_cast(s as int), 14 // i, 5)", &schema()).expect("legal");
    let mut errors = Vec::new();
    let values = expr.evaluate(&batch(), &mut errors);
    assert_eq!(errors, [RowError { row: 1, message: "division by zero: `14 // 0`".into() }]);
    assert!(values.is_null(1));
}

#[test]
fn a_predicate_has_no_nulls() {
    let expr = compile("i = 7 or 7 // i = 1", &schema()).expect("legal");
    let mut errors = Vec::new();
    let chosen = predicate(&expr, &batch(), &mut errors);
    assert_eq!(chosen.null_count(), 0);
    assert_eq!(chosen.values().iter().collect::<Vec<bool>>(), [true, false, false]);
    assert_eq!(errors.len(), 1);
    let text = compile("s", &schema()).expect("legal");
    assert_eq!(predicate(&text, &batch(), &mut errors).true_count(), 0);
}

#[test]
fn columns_and_canonical_text_are_told() {
    let table = [
        ("T || ':' || s", "t || ':' || s", vec![7, 8]),
        ("(1 + 2) * i > f", "cast(3 * cast(i as int64) as float64) > f", vec![2, 5]),
        ("d >= '1990-01-01' and not B", "(d >= date '1990-01-01') and (not b)", vec![0, 9]),
        ("'it''s'", "'it''s'", vec![]),
        ("\"Twice\" in (1, 2)", "Twice in (1, 2)", vec![15]),
    ];
    for (expression, text, columns) in table {
        let expr = compile(expression, &schema()).expect("legal");
        assert_eq!(expr.to_string(), text);
        assert_eq!(expr.columns(), columns);
    }
}

#[test]
fn hashes_stay_the_same() {
    // Recorded once: samples and file names may have been made of them.
    let table = [
        ("hash('')", "9615434056195626113"),
        ("hash(t)", "9417481592615166556 | 9615434056195626113 | 6415229716389403084"),
        ("hash(7)", "15656284626673918216"),
    ];
    for (expression, expected) in table {
        assert_eq!(outcome(expression), expected, "{expression}");
    }
}

#[test]
fn a_time_beyond_all_times_is_an_error_of_its_row() {
    for expression in
        ["ts + interval '4000000000 months'", "ts - interval '106751990 days' - interval '106751990 days'"]
    {
        let values = outcome(expression);
        assert!(values.starts_with("error") && values.ends_with("null"), "{expression}: {values}");
    }
}

#[test]
fn nullability_follows_the_operands() {
    let table = [
        ("t", false),
        ("s", true),
        ("t || 'x'", false),
        ("t || s", true),
        ("coalesce(s, t)", false),
        ("s is null", false),
        ("case when s = 'x' then t end", true),
        ("case when s = 'x' then t else 'y' end", false),
        ("try_cast(t as int)", true),
        ("cast(t as int)", false),
        ("split_part(t, ':', 1)", false),
        ("nullif(t, '')", true),
    ];
    for (expression, nullable) in table {
        assert_eq!(compile(expression, &schema()).expect("legal").nullable(), nullable, "{expression}");
    }
}

#[test]
fn json_and_binary_are_their_text_where_asked() {
    assert_eq!(outcome("bin::string"), "ab | error | null");
    assert_eq!(outcome("bin = bin"), "true | true | null");
    assert_eq!(outcome("length(j)"), "7 | 3 | null");
}

#[test]
fn hostile_texts_are_errors_and_no_overflow() {
    let long_sum = vec!["i"; 1_002].join(" + ");
    let deep = format!("{}i{}", "(".repeat(2_000), ")".repeat(2_000));
    let many_nots = format!("{}b", "not ".repeat(900));
    let deep_case = format!("{}i{}", "case when b then ".repeat(100), " end".repeat(100));
    let deep_calls = format!("{}i{}", "coalesce(".repeat(100), ")".repeat(100));
    let deep_in = format!("{}i{}", "i in (".repeat(100), ")".repeat(100));
    for text in [long_sum, deep, many_nots, deep_case, deep_calls, deep_in] {
        let found = compile(&text, &schema()).expect_err("too large");
        let message = &found[0].message;
        assert!(message.contains("more than 1000") || message.contains("deeper than 24"), "{message}");
    }
    let too_deep = compile(&vec!["n"; 300].join(" - "), &schema()).expect_err("too deep");
    assert_eq!(too_deep[0].message, "the expression is nested deeper than 200 levels");
    let longest_sum = compile(&vec!["n"; 200].join(" - "), &schema()).expect("as deep as it may be");
    let values = longest_sum.evaluate(&batch(), &mut Vec::new());
    assert_eq!(values.as_primitive::<arrow_array::types::Int64Type>().value(1), 2 - 199 * 2);
    let longest_or = vec!["i = 1"; 500].join(" or ");
    assert_eq!(outcome(&longest_or), "false | false | null");
    let long_list = format!("n in ({})", (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", "));
    assert_eq!(outcome(&long_list), "false | true | null");
}

#[test]
fn written_lists_are_not_too_long() {
    let list = |items: usize| format!("[{}]", vec!["1"; items].join(", "));
    assert!(compile(&list(1000), &schema()).is_ok());
    let nested = format!("[{}, {}]", list(500), list(501));
    let text = format!("cast('{}' as int[])", list(1001));
    for long in [list(1001), nested, text] {
        let found = compile(&long, &schema()).expect_err("too long");
        assert_eq!(found[0].message, "a list that is written down has at most 1000 items");
    }
}

#[test]
fn concatenation_lies_in_one_buffer() {
    let expr = compile("t || ':::::::::::::::' || t", &schema()).expect("legal");
    let values = expr.evaluate(&batch(), &mut Vec::new());
    assert_eq!(values.as_string_view().data_buffers().len(), 1);
}

#[test]
fn a_type_is_told() {
    let table = [
        ("i + 1", "int64"),
        ("u + 1", "uint64"),
        ("u + i", "int64"),
        ("i / 2", "float64"),
        ("i // 2", "int64"),
        ("g * 2", "float64"),
        ("d", "date"),
        ("case when b then d else ts end", "timestamp"),
        ("coalesce(i, 0)", "int32"),
        ("coalesce(i, 5000000000)", "int64"),
        ("l[1]", "uint32"),
        ("null", "string"),
        ("i || 'x'", "string"),
        ("round(f)", "float64"),
        ("abs(i)", "int64"),
        ("cast(i as ubigint)", "uint64"),
        ("j", "json"),
        ("[1, 2]", "list<int64>"),
        ("[i, 2]", "list<int32>"),
        ("[i, 2.5]", "list<float64>"),
        ("[]", "list<string>"),
        ("[[1], []]", "list<list<int64>>"),
        ("coalesce(l, [])", "list<uint32>"),
        ("coalesce(l, [1, 2])", "list<uint32>"),
        ("coalesce(l, [-1])", "list<int64>"),
        ("cast(l as varchar[])", "list<string>"),
    ];
    for (expression, column_type) in table {
        let expected: ColumnType = column_type.parse().expect("a legal type");
        assert_eq!(*compile(expression, &schema()).expect("legal").column_type(), expected, "{expression}");
    }
}

#[test]
fn every_type_can_be_tried_as_every_other() {
    let mut legal = 0;
    for from in ColumnType::names() {
        for to in ColumnType::names() {
            for column in ["b", "i", "u", "f", "t", "ts", "bin", "j"] {
                for cast in ["cast", "try_cast"] {
                    let expression = format!("{cast}(try_cast({column} as {from}) as {to})");
                    legal += usize::from(compile(&expression, &schema()).is_ok());
                    assert!(!outcome(&expression).is_empty());
                }
            }
        }
    }
    assert!(legal > 1_500, "{legal}");
}

#[test]
fn the_largest_places_and_digits_do_no_harm() {
    for n in ["n", "-n", "-n - 1", "u"] {
        let list =
            ["l[{n}]", "ls[{n}]", "substr(t, {n}, {n})", "split_part(t, ':', {n})", "round(n, {n})", "round(f, {n})"];
        let more =
            ["date_trunc('week', try_cast({n} as timestamp))", "power({n}, {n})", "n // {n}", "n % {n}", "t || {n}"];
        for template in list.into_iter().chain(more) {
            assert!(!outcome(&template.replace("{n}", n)).is_empty());
        }
    }
}

#[test]
fn what_was_computed_for_one_reader_is_not_computed_again() {
    let expr = compile("cast(n as string) || '!'", &schema()).expect("bound");
    let (batch, values) = expr.compute(batch());
    let copy = expr.clone().evaluate(&batch, &mut Vec::new());
    assert!(Arc::ptr_eq(&values, &copy));
    let same_text = compile("cast(n as string) || '!'", &schema()).expect("bound");
    let anew = same_text.evaluate(&batch, &mut Vec::new());
    assert!(!Arc::ptr_eq(&values, &anew) && *values == *anew);
    // Where it fails on a row, whoever it belongs to must hear of it.
    let fails = compile("cast(n + 1 as string)", &schema()).expect("bound");
    let (batch, _) = fails.compute(batch);
    let mut errors = Vec::new();
    fails.evaluate(&batch, &mut errors);
    assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [0]);
}
