//! The values of partition columns, read back from a partition path.
//!
//! Needed where base files lack these columns (`hoodie.datasource.write.drop.partition.columns`). Java:
//! PartitionPathEncodeUtils#unescapePathName; the placeholder of null reads back as null.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::config::TableConfig;
use crate::error::{Error, Result};

const NULL_PLACEHOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// One value (or null) per partition column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionValues(Vec<(String, Option<String>)>);

impl PartitionValues {
    /// Reads a partition path.
    ///
    /// # Errors
    /// `Unsupported` when the path has another number of segments than the table has partition columns.
    pub fn parse(config: &TableConfig, partition_path: &str) -> Result<Self> {
        let fields = config.partition_fields();
        let segments: Vec<&str> = match fields.len() {
            0 => Vec::new(),
            // One column may span several directories (`2024/02/29`).
            1 => vec![partition_path],
            _ => partition_path.split('/').collect(),
        };
        if segments.len() != fields.len() {
            return Err(Error::unsupported(format!(
                "partition `{partition_path}` has {} parts for {} partition columns",
                segments.len(),
                fields.len()
            )));
        }
        let values = fields.into_iter().zip(segments).map(|(field, segment)| {
            let named = segment
                .strip_prefix(field.as_str())
                .and_then(|rest| rest.strip_prefix('='));
            let value = named.filter(|_| config.is_hive_style()).unwrap_or(segment);
            let value = if config.is_url_encoded() {
                unescape(value)
            } else {
                value.to_owned()
            };
            (field, (value != NULL_PLACEHOLDER).then_some(value))
        });
        Ok(Self(values.collect()))
    }

    /// Name and value of each partition column, in order; `None` for the placeholder of null.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Sets the columns in a batch, in the types of `schema`; a file may hold them as nulls.
    ///
    /// # Errors
    /// `Corrupt` when a value does not fit the type of its column.
    pub fn fill(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut fields: Vec<Arc<Field>> =
            batch.schema_ref().fields().iter().map(Arc::clone).collect();
        let mut columns = batch.columns().to_vec();
        for (name, value) in &self.0 {
            let Ok(field) = schema.field_with_name(name) else {
                continue;
            };
            let column = repeat(value.as_deref(), field, batch.num_rows())?;
            let field = Arc::new(field.clone().with_nullable(true));
            let place = batch.schema_ref().index_of(name).ok();
            match place.and_then(|place| Some((fields.get_mut(place)?, columns.get_mut(place)?))) {
                Some((old_field, old_column)) => (*old_field, *old_column) = (field, column),
                None => {
                    fields.push(field);
                    columns.push(column);
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            columns,
            &options,
        )?)
    }
}

fn repeat(value: Option<&str>, field: &Field, rows: usize) -> Result<ArrayRef> {
    let Some(value) = value else {
        return Ok(new_null_array(field.data_type(), rows));
    };
    let text: ArrayRef = Arc::new(StringArray::from(vec![value; rows]));
    if *field.data_type() == DataType::Utf8 {
        return Ok(text);
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&text, field.data_type(), &options).map_err(|error| {
        let place = format!("partition column `{}`", field.name());
        Error::corrupt(place, format!("`{value}` is no {}", field.data_type())).with_source(error)
    })
}

/// Turns `%` and two hexadecimal digits back into the character with that code.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let code = behind
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (code, behind.get(2..)) {
            (Some(code), Some(after)) => {
                out.push(char::from(code));
                rest = after;
            }
            _ => {
                out.push('%');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_paths() {
        let text = "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n\
             hoodie.table.partition.fields=a,b\nhoodie.datasource.write.hive_style_partitioning=true\n\
             hoodie.datasource.write.partitionpath.urlencode=true\n";
        let config = TableConfig::parse(text.as_bytes()).unwrap();
        let values =
            PartitionValues::parse(&config, "a=x%2Fy%/b=__HIVE_DEFAULT_PARTITION__").unwrap();
        let expected = [
            ("a".to_owned(), Some("x/y%".to_owned())),
            ("b".to_owned(), None),
        ];
        assert_eq!(values, PartitionValues(expected.to_vec()));
        assert!(PartitionValues::parse(&config, "a=1").is_err());
    }
}
