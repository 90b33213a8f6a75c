//! Values cut loose from the block that they were read in.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, cast::AsArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType;

/// The same values in buffers of their own: text that is held must not keep the block alive that it was read in.
pub fn compact(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            let items = list.values().slice(first as usize, (last - first) as usize);
            let lengths = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
            let offsets = OffsetBuffer::from_lengths(lengths);
            let same = ListArray::try_new(Arc::clone(field), offsets, compact(&items), list.nulls().cloned());
            same.map_or_else(|_| Arc::clone(array), |list| Arc::new(list))
        }
        _ => Arc::clone(array),
    }
}

/// The same for all columns.
pub fn compact_batch(rows: &RecordBatch) -> RecordBatch {
    let columns = rows.columns().iter().map(compact).collect();
    RecordBatch::try_new(rows.schema(), columns).unwrap_or_else(|_| rows.clone())
}
