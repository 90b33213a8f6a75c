//! Receipts by themselves: the answers are the same whatever the batches, and in whatever order rows come where they may.

use arrow_array::{Int64Array, StringViewArray, UInt32Array, cast::AsArray, types::Int64Type};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::take::take_record_batch;

use super::*;

const CODES: &[RejectCode] = &[RejectCode("constraint"), RejectCode("bad_value")];

/// What is given back.
fn schema() -> SchemaRef {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("t", DataType::Utf8View, true)];
    Arc::new(Schema::new(fields))
}

fn nothing() -> SchemaRef {
    Arc::new(Schema::empty())
}

/// Rows `start..end` as they come.
fn input(start: usize, end: usize) -> RecordBatch {
    let field = Field::new("n", DataType::Int64, false);
    let numbers: Int64Array = (start..end).map(|row| Some(row as i64)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(numbers)]).expect("a column")
}

/// A split in which every seventh row was refused, written in batches of one size.
fn written(schema: &SchemaRef, in_order: bool, rows: usize, batch: usize) -> Vec<Vec<u8>> {
    let mut recorder = Recorder::new(Arc::clone(schema), in_order);
    let mut parts = Vec::new();
    for start in (0..rows).step_by(batch) {
        let (mut answers, mut ids) = (Answers::default(), Vec::new());
        let end = rows.min(start + batch);
        for row in start..end {
            match row % 7 {
                3 => answers.refused.push(((row - start) as u32, CODES[row % 2], format!("no {row}"))),
                _ => {
                    answers.accepted.push((row - start) as u32);
                    ids.push(row as i64 + 1000);
                }
            }
        }
        if !schema.fields().is_empty() {
            let texts: StringViewArray = ids.iter().map(|id| (id % 2 == 0).then(|| format!("t{id}"))).collect();
            answers.returned = vec![Arc::new(Int64Array::from(ids)), Arc::new(texts)];
        }
        parts.extend(recorder.add(&input(start, end), &answers).expect("as declared"));
    }
    parts.push(recorder.part().expect("as declared"));
    parts.into_iter().map(|part| part.bytes).collect()
}

/// Asks a receipt about a batch of these rows, and checks every answer.
fn ask(receipt: &mut Receipt, parts: &[Vec<u8>], rows: &[usize]) {
    let all = input(0, rows.iter().max().map_or(0, |max| max + 1));
    let indices: UInt32Array = rows.iter().map(|row| Some(*row as u32)).collect();
    let batch = take_record_batch(&all, &indices).expect("rows that are there");
    let answers = receipt.answers(&batch, |number| Ok(parts.get(number as usize).cloned())).expect("answers");
    let refused: Vec<(u32, RejectCode, String)> = (0..rows.len())
        .filter(|at| rows[*at] % 7 == 3)
        .map(|at| (at as u32, CODES[rows[at] % 2], format!("no {}", rows[at])))
        .collect();
    assert_eq!(answers.refused, refused);
    let accepted: Vec<u32> = (0..rows.len() as u32).filter(|at| rows[*at as usize] % 7 != 3).collect();
    assert_eq!(answers.accepted, accepted);
    if !receipt.schema.fields().is_empty() {
        let expected: Vec<i64> = accepted.iter().map(|at| rows[*at as usize] as i64 + 1000).collect();
        assert_eq!(answers.returned[0].as_primitive::<Int64Type>().values().as_ref(), expected);
        let texts = answers.returned[1].as_string_view();
        for (text, id) in texts.iter().zip(&expected) {
            assert_eq!(text.map(str::to_owned), (id % 2 == 0).then(|| format!("t{id}")));
        }
    }
}

#[test]
fn the_answers_are_the_same_whatever_the_batches() {
    for (schema, in_order) in [(schema(), false), (schema(), true), (nothing(), false), (nothing(), true)] {
        for (rows, write, read) in [(1000, 1000, 1), (1000, 13, 7), (200_000, 1000, 70_001), (7, 100, 3), (0, 1, 1)] {
            let parts = written(&schema, in_order, rows, write);
            let mut receipt = Receipt::new(Arc::clone(&schema), CODES);
            let all: Vec<usize> = (0..rows).collect();
            all.chunks(read).for_each(|rows| ask(&mut receipt, &parts, rows));
            receipt.end(|number| Ok(parts.get(number as usize).cloned())).expect("all rows were there");
        }
    }
}

#[test]
fn rows_that_come_in_another_order_get_their_own_answers() {
    let orders: [fn(usize) -> usize; 4] = [
        |row| (row * 7919) % 20_003,
        |row| 20_002 - row,
        // In order but for the last few.
        |row| if row < 19_990 { row } else { 20_002 + 19_990 - row },
        // Two that stand far apart change places.
        |row| match row {
            5 => 20_000,
            20_000 => 5,
            row => row,
        },
    ];
    for (schema, rows) in [(schema(), 20_003), (nothing(), 20_003)] {
        let parts = written(&schema, false, rows, 5000);
        for order in orders {
            let mut receipt = Receipt::new(Arc::clone(&schema), CODES);
            let rows: Vec<usize> = (0..20_003).map(order).collect();
            rows.chunks(30_000).for_each(|rows| ask(&mut receipt, &parts, rows));
            receipt.end(|number| Ok(parts.get(number as usize).cloned())).expect("the same rows");
        }
    }
}

#[test]
fn equal_rows_get_their_answers_by_occurrence() {
    let mut recorder = Recorder::new(schema(), false);
    let twice = take_record_batch(&input(0, 2), &UInt32Array::from(vec![1, 0, 1, 1])).expect("rows");
    let returned: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![10, 20, 30])), Arc::new(StringViewArray::from(vec![None::<&str>; 3]))];
    let refused = vec![(2, CODES[0], "twice".to_owned())];
    recorder
        .add(&twice, &Answers { accepted: vec![0, 1, 3], refused, returned, not_confirmed: 0 })
        .expect("as declared");
    let part = recorder.part().expect("as declared");
    assert_eq!(part.accepted, 3);
    let mut receipt = Receipt::new(schema(), CODES);
    let load = |number: u32| Ok((number == 0).then(|| part.bytes.clone()));
    let moved = take_record_batch(&input(0, 2), &UInt32Array::from(vec![0, 1, 1, 1])).expect("rows");
    let answers = receipt.answers(&moved, load).expect("the same rows");
    let ids = answers.returned[0].as_primitive::<Int64Type>().values().to_vec();
    // The first of the equal rows was accepted, the second refused, the third accepted.
    assert_eq!((ids, answers.accepted, answers.refused[0].0), (vec![20, 10, 30], vec![0, 1, 3], 2));
    receipt.end(load).expect("all of them");
}

#[test]
fn other_rows_than_before_are_told_and_so_is_damage() {
    for (schema, in_order) in [(schema(), false), (schema(), true), (nothing(), false), (nothing(), true)] {
        let parts = written(&schema, in_order, 10, 5);
        let load = |number: u32| Ok(parts.get(number as usize).cloned());
        let asked = |ranges: &[(usize, usize)]| {
            let mut receipt = Receipt::new(Arc::clone(&schema), CODES);
            let answered = ranges.iter().try_for_each(|(a, b)| receipt.answers(&input(*a, *b), load).map(drop));
            answered.and_then(|()| receipt.end(load))
        };
        assert_eq!((asked(&[(0, 10)]).is_ok(), asked(&[(5, 10), (0, 5)]).is_ok()), (true, !in_order));
        // One less, one more, one other, one twice.
        for ranges in [&[(0, 9)][..], &[(0, 11)], &[(1, 11)], &[(0, 9), (8, 9)], &[]] {
            assert_eq!(asked(ranges).expect_err("other rows").exit, Exit::InputMissing, "{ranges:?}");
        }
        for cut in 0..parts[0].len() {
            let cut = |number| Ok((number == 0).then(|| parts[0][..cut].to_vec()));
            let failure = Receipt::new(Arc::clone(&schema), CODES).answers(&input(0, 1), cut).expect_err("damaged");
            assert!(failure.message.contains("damaged"), "{failure}");
        }
    }
}

#[test]
fn where_all_was_accepted_only_their_number_and_sum_are_kept() {
    let mut recorder = Recorder::new(nothing(), false);
    let (mut parts, batch) = (Vec::new(), 40_000);
    for start in [0, batch, 2 * batch, 3 * batch, 4 * batch] {
        let mut answers = Answers { accepted: (0..batch as u32).collect(), ..Answers::default() };
        if start == 3 * batch {
            answers.refused = vec![(7, CODES[0], "no".to_owned())];
            answers.accepted.remove(7);
        }
        parts.extend(recorder.add(&input(start, start + batch), &answers).expect("as declared"));
    }
    parts.push(recorder.part().expect("as declared"));
    assert!(parts[0].bytes.len() < 200, "{}", parts[0].bytes.len());
    let load = |number: u32| Ok(parts.get(number as usize).map(|part| part.bytes.clone()));
    let asked = |starts: &[usize]| {
        let mut receipt = Receipt::new(nothing(), CODES);
        let mut refused = Vec::new();
        for start in starts {
            let answers = receipt.answers(&input(*start, start + batch), load)?;
            refused.extend(answers.refused.iter().map(|(row, ..)| start + *row as usize));
        }
        receipt.end(load).map(|()| refused)
    };
    let refused = vec![3 * batch + 7];
    for starts in [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [4, 1, 2, 3, 0], [2, 1, 0, 4, 3]] {
        assert_eq!(asked(&starts.map(|start| start * batch)), Ok(refused.clone()), "{starts:?}");
    }
    // It was said of the refused row that it was accepted: none of the split goes on.
    assert_eq!(asked(&[3 * batch, 0, batch, 2 * batch, 4 * batch]).expect_err("too late").exit, Exit::InputMissing);
    assert!(asked(&[0, batch, 2 * batch, 3 * batch, 3 * batch]).is_err() && asked(&[0, batch]).is_err());
}

/// Numbers of rows as a split may come the second time, and whether it is the same.
fn asked(parts: &[Vec<u8>], schema: &SchemaRef, rows: &[usize], batch: usize) -> Result<(), Failure> {
    let all = input(0, rows.iter().max().map_or(0, |max| max + 1));
    let load = |number: u32| Ok(parts.get(number as usize).cloned());
    let mut receipt = Receipt::new(Arc::clone(schema), CODES);
    for rows in rows.chunks(batch) {
        let indices: UInt32Array = rows.iter().map(|row| Some(*row as u32)).collect();
        receipt.answers(&take_record_batch(&all, &indices).expect("rows that are there"), load)?;
    }
    receipt.end(load)
}

#[test]
fn where_rows_come_in_order_any_difference_is_found_by_the_end_of_the_split() {
    const ROWS: usize = 150_000;
    type Change = fn(&mut Vec<usize>);
    let changes: [(&str, Change); 9] = [
        ("another row", |rows| rows[70_000] = ROWS),
        ("the last is another", |rows| rows[ROWS - 1] = ROWS),
        ("two neighbours change places", |rows| rows.swap(8, 9)),
        ("so do two in different parts", |rows| rows.swap(5, ROWS - 1)),
        ("one is missing", |rows| {
            rows.remove(90_000);
        }),
        ("the last is missing", |rows| rows.truncate(ROWS - 1)),
        ("one more at the end", |rows| rows.push(ROWS)),
        ("one twice", |rows| rows.insert(10, 10)),
        ("none", Vec::clear),
    ];
    for schema in [schema(), nothing()] {
        let parts = written(&schema, true, ROWS, 1000);
        assert!(parts.len() > 2, "{}", parts.len());
        let same: Vec<usize> = (0..ROWS).collect();
        for batch in [777, 65_536, ROWS] {
            asked(&parts, &schema, &same, batch).expect("the same rows");
            for (what, change) in changes {
                let mut rows = same.clone();
                change(&mut rows);
                let failure = asked(&parts, &schema, &rows, batch).expect_err(what);
                assert_eq!(failure.exit, Exit::InputMissing, "{what}: {failure}");
            }
        }
    }
}

#[test]
fn where_rows_come_in_order_there_is_no_digest_of_each() {
    let [each, chain] = [false, true].map(|in_order| written(&schema(), in_order, 14_000, 1000).concat().len());
    assert!(each - chain > 13_900 * DIGEST, "{each} and {chain}");
}

#[test]
fn receipts_of_earlier_versions_are_read() {
    // As they were before there was a digest of all rows in their order.
    let digests = digest::rows(&input(0, 3));
    let sum = digests[0].wrapping_add(digests[2]);
    let refused = r#"[{"row":1,"code":"constraint","why":"no"}]"#;
    let mut single =
        format!("{{\"rows\":3,\"single\":true,\"refused\":{refused},\"sum\":\"{sum:032x}\"}}\n").into_bytes();
    digests.iter().for_each(|digest| single.extend_from_slice(&digest.to_be_bytes()));
    let sum = digest::rows(&input(3, 5)).into_iter().fold(0, u128::wrapping_add);
    let of_all = format!("{{\"rows\":2,\"single\":false,\"refused\":[],\"sum\":\"{sum:032x}\"}}\n").into_bytes();
    let parts = [single, of_all].map(|part| zstd::bulk::compress(&part, recorder::LEVEL).expect("compressed"));
    let load = |number: u32| Ok(parts.get(number as usize).cloned());
    let mut receipt = Receipt::new(nothing(), CODES);
    let answers = receipt.answers(&input(0, 5), load).expect("the same rows");
    assert_eq!(answers.refused, [(1, CODES[0], "no".to_owned())]);
    receipt.end(load).expect("all of them");
    for (rows, same) in [(&[4, 2, 0, 3, 1][..], true), (&[0, 1, 2, 3], false), (&[0, 1, 2, 3, 5], false)] {
        assert_eq!(asked(&parts, &nothing(), rows, 2).is_ok(), same, "{rows:?}");
    }
}
