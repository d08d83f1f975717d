//! What is to be done with the columns of a file that was written under another version of the schema.
//!
//! Java: InternalSchemaMerger, HoodieAvroUtils#rewriteRecordWithNewSchema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

use super::column::{Column, Kind, Nested};
use super::convert::{convert, is_converted};
use crate::error::{Error, Result};

/// New names for the columns of one record; those that are not named stay as they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Renames {
    /// By old name; `None` for a dropped column.
    columns: HashMap<String, Option<Renamed>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Renamed {
    name: String,
    inner: Inner,
}

/// What is to be done inside of a column.
#[derive(Debug, Clone, PartialEq)]
enum Inner {
    Same,
    Record(Renames),
    Element(Box<Self>),
    Value(Box<Self>),
    /// The values are to be of another type.
    Converted(DataType),
}

impl Renames {
    pub(super) fn between(old: &[Column], new: &[Column]) -> Result<Self> {
        let columns = old.iter().map(|column| {
            let found = new.iter().find(|other| other.id == column.id);
            let renamed = found.map(|found| {
                Ok::<_, Error>(Renamed {
                    name: found.name.clone(),
                    inner: Inner::between(&column.kind, &found.kind)?,
                })
            });
            Ok((column.name.clone(), renamed.transpose()?))
        });
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
        })
    }

    pub(super) fn is_identity(&self) -> bool {
        self.columns.iter().all(|(old, new)| {
            new.as_ref()
                .is_some_and(|new| new.name == *old && new.inner == Inner::Same)
        })
    }

    /// What a column is called now; `None` when it was dropped.
    pub(crate) fn new_name<'a>(&'a self, old: &'a str) -> Option<&'a str> {
        match self.columns.get(old) {
            Some(renamed) => renamed.as_ref().map(|renamed| renamed.name.as_str()),
            None => Some(old),
        }
    }

    /// The rows without dropped columns, under the names of now.
    ///
    /// # Errors
    /// `Corrupt` when the columns are not those of the history.
    pub(crate) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (fields, columns) = self.apply_to(batch.schema_ref().fields(), batch.columns())?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }

    fn apply_to(&self, fields: &Fields, columns: &[ArrayRef]) -> Result<(Fields, Vec<ArrayRef>)> {
        let (mut new_fields, mut new_columns): (Vec<FieldRef>, _) = (Vec::new(), Vec::new());
        for (field, column) in fields.iter().zip(columns) {
            match self.columns.get(field.name()) {
                None => {
                    new_fields.push(Arc::clone(field));
                    new_columns.push(Arc::clone(column));
                }
                Some(None) => {}
                Some(Some(renamed)) => {
                    let column = renamed
                        .inner
                        .apply(column)
                        .map_err(|error| error.context(format!("column `{}`", renamed.name)))?;
                    let (data_type, nullable) = (column.data_type().clone(), field.is_nullable());
                    new_fields.push(Arc::new(Field::new(&renamed.name, data_type, nullable)));
                    new_columns.push(column);
                }
            }
        }
        Ok((new_fields.into(), new_columns))
    }
}

impl Inner {
    fn between(old: &Kind, new: &Kind) -> Result<Self> {
        let inner = match (old, new) {
            (
                Kind::Nested(Nested::Record { fields: old }),
                Kind::Nested(Nested::Record { fields: new }),
            ) => {
                let renames = Renames::between(old, new)?;
                return Ok(if renames.is_identity() {
                    Self::Same
                } else {
                    Self::Record(renames)
                });
            }
            (
                Kind::Nested(Nested::Array { element: old, .. }),
                Kind::Nested(Nested::Array { element: new, .. }),
            ) => Self::Element(Box::new(Self::between(old, new)?)),
            (
                Kind::Nested(Nested::Map { value: old, .. }),
                Kind::Nested(Nested::Map { value: new, .. }),
            ) => Self::Value(Box::new(Self::between(old, new)?)),
            (Kind::Plain(left), Kind::Plain(right)) if left != right => {
                let target = new.arrow_type()?;
                return Ok(if is_converted(&old.arrow_type()?, &target) {
                    Self::Converted(target)
                } else {
                    Self::Same
                });
            }
            _ => Self::Same,
        };
        Ok(match &inner {
            Self::Element(inside) | Self::Value(inside) if **inside == Self::Same => Self::Same,
            _ => inner,
        })
    }

    fn apply(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let unexpected = || {
            let found = array.data_type();
            Error::corrupt(
                "schema history",
                format!("it does not know a column of type {found}"),
            )
        };
        match (self, array.data_type()) {
            (Self::Same, _) => Ok(Arc::clone(array)),
            (Self::Converted(target), _) => convert(array, target),
            (Self::Record(renames), DataType::Struct(fields)) => {
                let record = array.as_struct();
                let (fields, columns) = renames.apply_to(fields, record.columns())?;
                let (nulls, length) = (record.nulls().cloned(), record.len());
                let record = StructArray::try_new_with_length(fields, columns, nulls, length)?;
                Ok(Arc::new(record))
            }
            (Self::Element(inner), DataType::List(field)) => {
                let list = array.as_list::<i32>();
                let values = inner.apply(list.values())?;
                let field = field
                    .as_ref()
                    .clone()
                    .with_data_type(values.data_type().clone());
                let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
                Ok(Arc::new(ListArray::try_new(
                    Arc::new(field),
                    offsets,
                    values,
                    nulls,
                )?))
            }
            (Self::Value(inner), DataType::Map(entries, sorted)) => {
                let map = array.as_map();
                let values = inner.apply(map.values())?;
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(unexpected());
                };
                let [key, value] = fields.as_ref() else {
                    return Err(unexpected());
                };
                let value = value
                    .as_ref()
                    .clone()
                    .with_data_type(values.data_type().clone());
                let fields = Fields::from(vec![Arc::clone(key), Arc::new(value)]);
                let pairs = vec![Arc::clone(map.keys()), values];
                let pairs = StructArray::try_new(fields.clone(), pairs, None)?;
                let entries = entries
                    .as_ref()
                    .clone()
                    .with_data_type(DataType::Struct(fields));
                let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
                let map = MapArray::try_new(Arc::new(entries), offsets, pairs, nulls, *sorted)?;
                Ok(Arc::new(map))
            }
            _ => Err(unexpected()),
        }
    }
}
