//! How large values are, whatever buffers they lie in.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, cast::AsArray, types::ByteViewType};
use arrow_array::{BinaryViewArray, GenericByteViewArray, StringViewArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

/// The bytes of each row, as plain values: fixed widths, texts and lists with four bytes for their lengths.
pub fn row_bytes(records: &RecordBatch) -> Vec<u64> {
    let mut sizes = vec![0; records.num_rows()];
    records.columns().iter().for_each(|column| add(column.as_ref(), &mut sizes));
    sizes
}

/// The length of a text or list.
const LENGTH: u64 = 4;

fn add(array: &dyn Array, sizes: &mut [u64]) {
    // The low half of a view is the length of what is viewed.
    let views = |views: &[u128], sizes: &mut [u64]| {
        sizes.iter_mut().zip(views).for_each(|(size, view)| *size += LENGTH + u64::from(*view as u32));
    };
    match array.data_type() {
        DataType::Utf8View => views(array.as_string_view().views(), sizes),
        DataType::BinaryView => views(array.as_binary_view().views(), sizes),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let mut items = vec![0; lists.values().len()];
            add(lists.values().as_ref(), &mut items);
            spread(lists.value_offsets(), &items, sizes);
        }
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|column| add(column.as_ref(), sizes)),
        DataType::Map(..) => {
            let maps = array.as_map();
            let mut entries = vec![0; maps.entries().len()];
            add(maps.entries(), &mut entries);
            spread(maps.offsets(), &entries, sizes);
        }
        DataType::FixedSizeBinary(width) => {
            let width = u64::try_from(*width).unwrap_or(0);
            sizes.iter_mut().for_each(|size| *size += width);
        }
        other => {
            let width = other.primitive_width().unwrap_or(1) as u64;
            sizes.iter_mut().for_each(|size| *size += width);
        }
    }
}

/// Adds what lists take that begin and end at these items.
fn spread(offsets: &[i32], items: &[u64], sizes: &mut [u64]) {
    for (size, ends) in sizes.iter_mut().zip(offsets.windows(2)) {
        *size += LENGTH + items[ends[0] as usize..ends[1] as usize].iter().sum::<u64>();
    }
}

/// The rows in parts of about so many bytes as plain values. Where many rows are views of the same few values, they take
/// no more memory than these, and whoever makes something of each row would make far more of them.
pub fn parts(records: &RecordBatch, bytes: usize) -> Vec<RecordBatch> {
    let sizes = row_bytes(records);
    let (max, all) = (bytes as u64, sizes.iter().sum::<u64>());
    // Some are larger than was guessed before they were read.
    if all <= max.saturating_mul(4) {
        return vec![records.clone()];
    }
    let (mut parts, mut first, mut taken) = (Vec::new(), 0, 0_u64);
    for (row, size) in sizes.iter().enumerate() {
        if taken > 0 && taken + size > max {
            parts.push(records.slice(first, row - first));
            (first, taken) = (row, 0);
        }
        taken += size;
    }
    parts.push(records.slice(first, records.num_rows() - first));
    parts
}

/// The same rows, which keep no buffers alive that are much larger than what is looked at of them.
pub fn compact(records: RecordBatch) -> RecordBatch {
    let columns: Vec<ArrayRef> = records.columns().iter().map(compacted).collect();
    RecordBatch::try_new(records.schema(), columns).unwrap_or(records)
}

fn compacted(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View if is_loose(array.as_string_view()) => {
            let array: StringViewArray = array.as_string_view().gc();
            Arc::new(array)
        }
        DataType::BinaryView if is_loose(array.as_binary_view()) => {
            let array: BinaryViewArray = array.as_binary_view().gc();
            Arc::new(array)
        }
        DataType::List(field) => {
            let lists = array.as_list::<i32>();
            let (first, last) = match lists.value_offsets() {
                [first, .., last] => (*first, *last),
                _ => (0, 0),
            };
            let items = compacted(&lists.values().slice(first as usize, (last - first) as usize));
            let offsets: ScalarBuffer<i32> = lists.value_offsets().iter().map(|offset| offset - first).collect();
            let made = ListArray::try_new(Arc::clone(field), OffsetBuffer::new(offsets), items, lists.nulls().cloned());
            made.map_or_else(|_| Arc::clone(array), |made| Arc::new(made))
        }
        _ => Arc::clone(array),
    }
}

/// Does it keep much more alive than it shows?
fn is_loose<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> bool {
    const FREE: usize = 256 << 10;
    let held: usize = array.data_buffers().iter().map(|buffer| buffer.capacity()).sum();
    held > FREE && held - FREE > 4 * array.total_buffer_bytes_used()
}
