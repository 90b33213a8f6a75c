//! A record: fields that are made together, each after those it reads.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};

use super::{
    cells::{Cells, Rows},
    node::{Made, Node},
    text::Scratch,
};
use crate::batch::{Column, Schema};

/// Fields that are made together.
#[derive(Debug)]
pub(super) struct Record {
    /// Each comes after those it reads.
    pub(super) fields: Vec<Field>,
    /// The fields in the order of the columns.
    pub(super) columns: Vec<usize>,
}

/// A named generator.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) node: Node,
}

impl Record {
    /// Its columns.
    pub(super) fn schema(&self) -> Schema {
        let column = |field: &Field| Column {
            name: field.name.clone(),
            column_type: field.node.column_type.clone(),
            nullable: field.node.nullable,
        };
        Schema::new(self.columns.iter().map(|at| column(&self.fields[*at])).collect())
    }

    /// All fields of these rows.
    pub(super) fn make(&self, rows: Rows<'_>) -> Made {
        let mut made = Made {
            columns: vec![None; self.fields.len()],
            types: self.fields.iter().map(|field| field.node.column_type.clone()).collect(),
            errors: Vec::new(),
            scratch: Scratch::default(),
        };
        for (i, field) in self.fields.iter().enumerate() {
            let column = field.node.array(&Cells::rows(field.seed, rows), &mut made);
            made.columns[i] = Some(column);
        }
        made
    }
}

/// Columns that have the schema's types.
pub(super) fn records(schema: &Schema, columns: Vec<ArrayRef>, len: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(len));
    RecordBatch::try_new_with_options(schema.arrow(), columns, &options)
        .expect("every generator makes columns of the type, the length and the nulls that its schema says")
}

/// The schema of columns in which a failed expression has left nulls.
pub(super) fn relaxed(schema: &Schema) -> Schema {
    Schema::new(schema.columns().iter().map(|column| Column { nullable: true, ..column.clone() }).collect())
}
