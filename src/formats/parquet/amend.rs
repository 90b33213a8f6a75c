//! Footers as this program wants them: a mistake that some writers make is put right, and text is read as bytes where
//! not all of it may be text.

use std::{collections::HashSet, sync::Arc};

use ::parquet::{
    basic::{ConvertedType, LogicalType, Type as Physical},
    errors::ParquetError,
    file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData},
    schema::types::{SchemaDescriptor, Type, TypePtr},
};

/// The footer without offsets of dictionaries that are zero. No page can be there, where the file's mark is: writers
/// mean that there is no dictionary.
///
/// # Errors
/// As the crate gives them.
pub fn without_zero_offsets(metadata: ParquetMetaData) -> Result<ParquetMetaData, ParquetError> {
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
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(schema))),
        file.column_orders().cloned(),
    );
    Ok(ParquetMetaDataBuilder::new(file).set_row_groups(metadata.row_groups().to_vec()).build())
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
        Type::GroupType { fields, .. } => Type::group_type_builder(of.name())
            .with_repetition(info.repetition())
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_fields(fields.iter().map(bytes).collect::<Result<_, _>>()?)
            .with_id(id)
            .build()?,
    };
    Ok(Arc::new(made))
}

/// Is it said to be UTF-8?
fn is_text(of: &Type) -> bool {
    let info = of.get_basic_info();
    matches!(info.logical_type_ref(), Some(LogicalType::String | LogicalType::Json | LogicalType::Enum))
        || matches!(info.converted_type(), ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM)
}
