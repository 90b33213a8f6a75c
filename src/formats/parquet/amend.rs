//! Footers as this program wants them: mistakes that some writers make are put right, and text is read as bytes where
//! not all of it may be text.

use std::{collections::HashSet, sync::Arc};

use ::parquet::{
    basic::{ConvertedType, LogicalType, Type as Physical},
    errors::ParquetError,
    file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData},
    schema::types::{SchemaDescriptor, Type, TypePtr},
};

/// The footer with what costs nothing to put right: offsets of dictionaries that are zero, a number of rows that is not
/// that of the row groups, by which the crate measures its batches, and groups without fields, for which it has no
/// column. There is nothing in them that could be read.
///
/// # Errors
/// As the crate gives them.
pub fn amended(metadata: ParquetMetaData) -> Result<ParquetMetaData, ParquetError> {
    let metadata = without_zero_offsets(metadata)?;
    let rows = metadata.row_groups().iter().map(RowGroupMetaData::num_rows).fold(0, i64::saturating_add);
    let file = metadata.file_metadata();
    let root = file.schema_descr().root_schema();
    if file.num_rows() == rows && root.get_fields().iter().all(is_full) {
        return Ok(metadata);
    }
    let schema = Type::group_type_builder(root.name()).with_fields(full(root)?).build()?;
    with_schema(&metadata, schema, rows)
}

/// The footer with another schema that has the same leaves.
fn with_schema(metadata: &ParquetMetaData, schema: Type, rows: i64) -> Result<ParquetMetaData, ParquetError> {
    let file = metadata.file_metadata();
    let file = FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(str::to_owned),
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(schema))),
        file.column_orders().cloned(),
    );
    Ok(ParquetMetaDataBuilder::new(file).set_row_groups(metadata.row_groups().to_vec()).build())
}

/// Has it no group in it without fields?
fn is_full(of: &TypePtr) -> bool {
    !of.is_group() || (!of.get_fields().is_empty() && of.get_fields().iter().all(is_full))
}

/// The fields of a group without those that hold no value anywhere.
fn full(group: &Type) -> Result<Vec<TypePtr>, ParquetError> {
    let mut fields = Vec::new();
    for field in group.get_fields() {
        match field.as_ref() {
            of if is_full(field) || !of.is_group() => fields.push(Arc::clone(field)),
            of => {
                let inner = full(of)?;
                if !inner.is_empty() {
                    fields.push(Arc::new(with_fields(of, inner)?));
                }
            }
        }
    }
    Ok(fields)
}

/// The group with other fields.
fn with_fields(group: &Type, fields: Vec<TypePtr>) -> Result<Type, ParquetError> {
    let info = group.get_basic_info();
    Type::group_type_builder(group.name())
        .with_repetition(info.repetition())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_fields(fields)
        .with_id(info.has_id().then(|| info.id()))
        .build()
}

/// The footer without offsets of dictionaries that are zero. No page can be there, where the file's mark is: writers
/// mean that there is no dictionary.
fn without_zero_offsets(metadata: ParquetMetaData) -> Result<ParquetMetaData, ParquetError> {
    let is_zero = |offset: Option<i64>| offset == Some(0);
    let wrong = |group: &RowGroupMetaData| group.columns().iter().any(|chunk| is_zero(chunk.dictionary_page_offset()));
    if !metadata.row_groups().iter().any(wrong) {
        return Ok(metadata);
    }
    let mut groups = Vec::with_capacity(metadata.num_row_groups());
    for group in metadata.row_groups() {
        let mut chunks = Vec::with_capacity(group.num_columns());
        for chunk in group.columns() {
            let offset = chunk.dictionary_page_offset().filter(|offset| *offset != 0);
            chunks.push(chunk.clone().into_builder().set_dictionary_page_offset(offset).build()?);
        }
        groups.push(group.clone().into_builder().set_column_metadata(chunks).build()?);
    }
    Ok(ParquetMetaDataBuilder::new_from_metadata(metadata).set_row_groups(groups).build())
}

/// The footer with text as bytes in the top-level columns at these places.
///
/// # Errors
/// As the crate gives them.
pub(super) fn with_bytes(metadata: &ParquetMetaData, roots: &HashSet<usize>) -> Result<ParquetMetaData, ParquetError> {
    let file = metadata.file_metadata();
    let root = file.schema_descr().root_schema();
    let field = |(i, field): (usize, &TypePtr)| match roots.contains(&i) {
        true => bytes(field),
        false => Ok(Arc::clone(field)),
    };
    let fields = root.get_fields().iter().enumerate().map(field).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder(root.name()).with_fields(fields).build()?;
    with_schema(metadata, schema, file.num_rows())
}

/// The type with bytes where it has text.
fn bytes(of: &TypePtr) -> Result<TypePtr, ParquetError> {
    let info = of.get_basic_info();
    let id = info.has_id().then(|| info.id());
    let made = match of.as_ref() {
        Type::PrimitiveType { physical_type: Physical::BYTE_ARRAY, .. } if is_text(of) => {
            let builder = Type::primitive_type_builder(of.name(), Physical::BYTE_ARRAY);
            builder.with_repetition(info.repetition()).with_id(id).build()?
        }
        Type::PrimitiveType { .. } => return Ok(Arc::clone(of)),
        Type::GroupType { fields, .. } => with_fields(of, fields.iter().map(bytes).collect::<Result<_, _>>()?)?,
    };
    Ok(Arc::new(made))
}

/// Is it said to be UTF-8?
fn is_text(of: &Type) -> bool {
    let info = of.get_basic_info();
    matches!(info.logical_type_ref(), Some(LogicalType::String | LogicalType::Json | LogicalType::Enum))
        || matches!(info.converted_type(), ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM)
}
