//! The five columns that Hudi puts before the columns of the table.
//!
//! Java: HoodieRecord.HOODIE_META_COLUMNS.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// Begin time of the write that last changed the row.
pub const COMMIT_TIME: &str = "_hoodie_commit_time";
/// `<instant>_<task>_<row>`, unique within the table.
pub const COMMIT_SEQNO: &str = "_hoodie_commit_seqno";
/// The record key.
pub const RECORD_KEY: &str = "_hoodie_record_key";
/// Relative partition path as on disk; empty for a table without partitions.
pub const PARTITION_PATH: &str = "_hoodie_partition_path";
/// Name of the base file; in log records the file id.
pub const FILE_NAME: &str = "_hoodie_file_name";

/// The meta columns in their order.
pub const META_COLUMNS: [&str; 5] = [
    COMMIT_TIME,
    COMMIT_SEQNO,
    RECORD_KEY,
    PARTITION_PATH,
    FILE_NAME,
];

/// Whether a column is one of the five.
pub fn is_meta_column(name: &str) -> bool {
    META_COLUMNS.contains(&name)
}

/// The schema with the meta columns in front; those that it holds already are put in order.
pub fn with_meta_columns(schema: &Schema) -> SchemaRef {
    let meta = META_COLUMNS
        .iter()
        .map(|name| Arc::new(Field::new(*name, DataType::Utf8, true)));
    let data = schema
        .fields()
        .iter()
        .filter(|field| !is_meta_column(field.name()))
        .map(Arc::clone);
    Arc::new(Schema::new_with_metadata(
        meta.chain(data).collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

/// The schema without the meta columns.
pub fn without_meta_columns(schema: &Schema) -> SchemaRef {
    let data = schema
        .fields()
        .iter()
        .filter(|field| !is_meta_column(field.name()))
        .map(Arc::clone);
    Arc::new(Schema::new_with_metadata(
        data.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_columns_come_first_and_once() {
        let plain = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        let full = with_meta_columns(&plain);
        assert_eq!(full.field(0).name(), COMMIT_TIME);
        assert_eq!(full.field(4).name(), FILE_NAME);
        assert_eq!(with_meta_columns(&full), full);
        assert_eq!(*without_meta_columns(&full), plain);
    }
}
