//! Rows as a table for people: aligned, numbers to the right, no line wider than the terminal.

use std::fmt::Write;

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Field};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{
    batch::Schema,
    report::printable_line,
    values::{hex, json},
};

/// A cell is cut to so many characters: one long text must not push the other columns out of sight.
const WIDEST: usize = 48;

/// The rows of `parts` under the names and types of their columns; lines are cut to `width`.
pub(super) fn table(schema: &Schema, parts: &[RecordBatch], width: Option<usize>) -> String {
    let mut columns: Vec<Column> = schema
        .columns()
        .iter()
        .map(|column| {
            let head = [cut(&printable_line(&column.name), WIDEST), cut(&column.column_type.to_string(), WIDEST)];
            Column { cells: head.to_vec(), right: column.column_type.is_number() }
        })
        .collect();
    for part in parts {
        for ((column, values), field) in columns.iter_mut().zip(part.columns()).zip(part.schema().fields()) {
            column.cells.extend((0..part.num_rows()).map(|row| cut(&cell(field, values, row), WIDEST)));
        }
    }
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let widths: Vec<usize> =
        columns.iter().map(|column| column.cells.iter().map(|cell| cell.width()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in 0..rows {
        let cells = columns.iter().zip(&widths).map(|(column, width)| padded(&column.cells[row], *width, column.right));
        line(&mut text, &cells.collect::<Vec<_>>().join("  "), width);
        if row == 1 {
            let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            line(&mut text, &rule.join("  "), width);
        }
    }
    text
}

struct Column {
    /// The name, the type, then the values.
    cells: Vec<String>,
    right: bool,
}

fn line(text: &mut String, line: &str, width: Option<usize>) {
    let line = line.trim_end();
    let _ = writeln!(text, "{}", width.map_or_else(|| line.to_owned(), |width| cut(line, width)));
}

fn padded(cell: &str, width: usize, right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(cell.width()));
    if right { space + cell } else { cell.to_owned() + &space }
}

fn cell(field: &Field, values: &ArrayRef, row: usize) -> String {
    if values.is_null(row) {
        return "null".to_owned();
    }
    match values.data_type() {
        DataType::Utf8View => printable_line(values.as_string_view().value(row)).into_owned(),
        DataType::BinaryView => hex::text(values.as_binary_view().value(row)),
        _ => printable_line(json::value(field, values, row).trim_matches('"')).into_owned(),
    }
}

/// The text, cut to a width; `…` stands for what is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut kept = String::new();
    for c in text.chars() {
        match left.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => left = rest,
            None => break,
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringViewArray};

    use super::*;
    use crate::batch::{Column as SchemaColumn, ColumnType};

    fn shown(width: Option<usize>) -> String {
        let column = |name: &str, column_type| SchemaColumn { name: name.into(), column_type, nullable: true };
        let schema = Schema::new(vec![column("n", ColumnType::Int64), column("text", ColumnType::String)]);
        let texts = ["a", "tab\tand\u{1b}[2J", "映画映画", &"x".repeat(60)];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), Some(12345), None, Some(-7)])),
            Arc::new(StringViewArray::from(texts.to_vec())),
        ];
        let records = RecordBatch::try_new(schema.arrow(), columns).expect("two columns");
        table(&schema, &[records.slice(0, 2), records.slice(2, 2)], width)
    }

    #[test]
    fn columns_are_aligned_and_cells_cut() {
        let long = "x".repeat(47);
        let rule = "─".repeat(48);
        let expected = format!(
            "    n  text\nint64  string\n─────  {rule}\n    1  a\n12345  tab\\tand\\u{{1b}}[2J\n null  映画映画\n   -7  {long}…\n"
        );
        assert_eq!(shown(None), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let text = shown(Some(12));
        assert!(text.lines().all(|line| line.width() <= 12), "{text}");
        assert!(text.contains("\n null  映画…\n"), "{text}");
    }
}
