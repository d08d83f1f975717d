//! Rows that say of themselves that they are deletes.
//!
//! Spec: Hudi 1.2.0, "Deletes": a boolean column `_hoodie_is_deleted`, or a column that holds a marker of the user's. Such
//! rows are never stored: Spark 1.2.0 would show marked rows again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, or};
use arrow::datatypes::{DataType, SchemaRef};

use crate::config::{TableConfig, key};
use crate::error::{Error, Result};

/// A row with this column true is a delete. Java: HoodieRecord.HOODIE_IS_DELETED_FIELD.
const IS_DELETED: &str = "_hoodie_is_deleted";
const MARK_FIELD: &str = "hoodie.payload.delete.field";
const MARK_VALUE: &str = "hoodie.payload.delete.marker";

/// How deletes are told from other rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteMarks {
    has_flag: bool,
    /// A column and the text that marks a delete in it.
    marker: Option<(String, String)>,
}

impl DeleteMarks {
    /// Those of a table with these columns, or of a writer's `properties`; `None` when rows cannot be deletes.
    ///
    /// # Errors
    /// `Invalid` when only one of field and marker is given, or the field is no column.
    pub(crate) fn try_new(
        config: &TableConfig,
        schema: &SchemaRef,
        properties: &BTreeMap<String, String>,
    ) -> Result<Option<Arc<Self>>> {
        let setting = |name: &str| {
            let kept = format!("{}{name}", key::MERGE_PROPERTY_PREFIX);
            let table = config.properties();
            let own = properties.get(name).map(String::as_str);
            own.or_else(|| table.get_non_blank(&kept))
                .or_else(|| table.get_non_blank(name))
                .map(str::to_owned)
        };
        let marker = match (setting(MARK_FIELD), setting(MARK_VALUE)) {
            (Some(field), Some(value)) => {
                if schema.index_of(&field).is_err() {
                    return Err(Error::invalid(format!(
                        "{MARK_FIELD}={field}: the table has no such column"
                    )));
                }
                Some((field, value))
            }
            (None, None) => None,
            _ => {
                return Err(Error::invalid(format!(
                    "{MARK_FIELD} and {MARK_VALUE} go together: set both or neither"
                )));
            }
        };
        let has_flag = schema
            .field_with_name(IS_DELETED)
            .is_ok_and(|field| *field.data_type() == DataType::Boolean);
        let marks = Self { has_flag, marker };
        Ok((marks != Self::default()).then(|| Arc::new(marks)))
    }

    /// Which rows are deletes; `None` when none is.
    pub(crate) fn find(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let flag = batch.column_by_name(IS_DELETED).filter(|_| self.has_flag);
        let flagged = flag.map(|column| {
            let flags = column.as_boolean().iter();
            flags.map(|flag| Some(flag == Some(true))).collect()
        });
        let marked = match &self.marker {
            Some((field, value)) => batch
                .column_by_name(field)
                .map(|column| equals(column, value))
                .transpose()?,
            None => None,
        };
        let found: Option<BooleanArray> = match (flagged, marked) {
            (Some(flagged), Some(marked)) => Some(or(&flagged, &marked)?),
            (flagged, marked) => flagged.or(marked),
        };
        Ok(found.filter(|found| found.true_count() > 0))
    }
}

fn equals(column: &ArrayRef, value: &str) -> Result<BooleanArray> {
    let text = cast(column, &DataType::Utf8)?;
    let text = text.as_string::<i32>();
    Ok((0..text.len())
        .map(|row| Some(text.is_valid(row) && text.value(row) == value))
        .collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn marks(
        columns: &[(&str, DataType)],
        properties: &[(&str, &str)],
    ) -> Result<Option<Arc<DeleteMarks>>> {
        let text =
            "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n";
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let properties = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        DeleteMarks::try_new(
            &TableConfig::parse(text.as_bytes()).unwrap(),
            &schema,
            &properties,
        )
    }

    #[test]
    fn flags_and_markers_are_found() {
        let columns = [(IS_DELETED, DataType::Boolean), ("op", DataType::Utf8)];
        let marks = marks(&columns, &[(MARK_FIELD, "op"), (MARK_VALUE, "D")]);
        let marks = marks.unwrap().unwrap();
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![
            Some(true),
            None,
            Some(false),
            None,
        ]));
        let ops: ArrayRef = Arc::new(StringArray::from(vec![None, Some("D"), Some("I"), None]));
        let batch = RecordBatch::try_from_iter([(IS_DELETED, flags), ("op", ops)]).unwrap();
        let found = marks.find(&batch).unwrap().unwrap();
        assert_eq!(found, BooleanArray::from(vec![true, true, false, false]));
        assert_eq!(marks.find(&batch.slice(2, 2)).unwrap(), None);
    }

    #[test]
    fn half_a_marker_is_refused() {
        assert_eq!(marks(&[("op", DataType::Utf8)], &[]).unwrap(), None);
        assert!(marks(&[("op", DataType::Utf8)], &[(MARK_FIELD, "op")]).is_err());
        assert!(marks(&[], &[(MARK_FIELD, "op"), (MARK_VALUE, "D")]).is_err());
    }
}
