//! Columns that were renamed, or dropped and added again, without a rewrite of the files: Hudi's schema on read.
//!
//! Every column has an id that never changes, and the history of the table's schemas says how each id was called when a file
//! was written. Java: InternalSchema, SerDeHelper#parseSchemas, FileBasedInternalSchemaStorageManager,
//! InternalSchemaUtils#searchSchema.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::file_group::{Visibility, join_path};
use crate::storage::Storage;
use crate::timeline::InstantTime;

/// Table-relative folder of the histories, one file a change of the schema, each with all schemas up to then.
const FOLDER: &str = ".hoodie/.schema";
const EXTENSION: &str = ".schemacommit";

/// The schemas of a table by the instants that made them.
#[derive(Debug, Clone)]
pub(crate) struct SchemaHistory {
    schemas: BTreeMap<u64, Vec<Column>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Column {
    id: i64,
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
}

/// A type, as far as it holds columns.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Kind {
    Record { fields: Vec<Column> },
    Array { element: Box<Self> },
    Map { value: Box<Self> },
    Plain(serde_json::Value),
}

#[derive(Debug, Deserialize)]
struct History {
    schemas: Vec<VersionedSchema>,
}

#[derive(Debug, Deserialize)]
struct VersionedSchema {
    version_id: u64,
    fields: Vec<Column>,
}

impl SchemaHistory {
    /// The newest history whose commit is to be seen; `None` for tables without schema on read.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read; `Unavailable` when the store gives up.
    pub(crate) async fn load(storage: &Storage, visibility: &Visibility) -> Result<Option<Self>> {
        let files = storage.list(FOLDER).await?.files;
        let newest = files
            .iter()
            .filter_map(|file| {
                let times = file.name.strip_suffix(EXTENSION)?;
                let time: InstantTime = times.split('_').next()?.parse().ok()?;
                visibility.is_committed(&time).then_some((time, &file.name))
            })
            .max();
        let Some((_, name)) = newest else {
            return Ok(None);
        };
        let path = join_path(FOLDER, name);
        let history = Self::parse(&storage.read(&path).await?);
        history.map(Some).map_err(|error| error.context(path))
    }

    /// Refuses a table that has a history, with which whoever writes or compares its columns would have to go on.
    ///
    /// # Errors
    /// `Unsupported`; `Unavailable` when the store gives up.
    pub(crate) async fn require_none(storage: &Storage, table: &str) -> Result<()> {
        let files = storage.list(FOLDER).await?.files;
        if !files.iter().any(|file| file.name.ends_with(EXTENSION)) {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "table {table}: its columns were changed by schema on read (.hoodie/.schema): it can be queried only; do this \
             with the engine that changed them"
        )))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let history: History = serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt(
                "schema history",
                format!("not the JSON of schemas: {error}"),
            )
            .with_source(error)
        })?;
        let schemas = history.schemas.into_iter();
        Ok(Self {
            schemas: schemas
                .map(|schema| (schema.version_id, schema.fields))
                .collect(),
        })
    }

    /// The schema in force at an instant; before the first change that of the table's beginning.
    fn at(&self, time: &InstantTime) -> Option<&[Column]> {
        let version = time.as_str().parse().unwrap_or(u64::MAX);
        let found = self.schemas.range(..=version).next_back();
        found
            .or_else(|| self.schemas.first_key_value())
            .map(|(_, columns)| columns.as_slice())
    }

    /// How columns written at one instant are called at another; `None` when nothing differs.
    pub(crate) fn renames(&self, written: &InstantTime, read: &InstantTime) -> Option<Renames> {
        let renames = Renames::between(self.at(written)?, self.at(read)?);
        (!renames.is_identity()).then_some(renames)
    }
}

/// The history of a table, for a reader that calls columns as they are called at an instant.
#[derive(Debug, Clone)]
pub(crate) struct Evolution {
    history: Arc<SchemaHistory>,
    read_at: InstantTime,
}

impl Evolution {
    pub(crate) fn new(history: SchemaHistory, read_at: InstantTime) -> Self {
        Self {
            history: Arc::new(history),
            read_at,
        }
    }

    /// What is to be done with the columns of a file or block of this instant.
    pub(crate) fn renames_since(&self, written: &InstantTime) -> Option<Renames> {
        self.history.renames(written, &self.read_at)
    }
}

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
}

impl Renames {
    fn between(old: &[Column], new: &[Column]) -> Self {
        let columns = old.iter().map(|column| {
            let found = new.iter().find(|other| other.id == column.id);
            let renamed = found.map(|found| Renamed {
                name: found.name.clone(),
                inner: Inner::between(&column.kind, &found.kind),
            });
            (column.name.clone(), renamed)
        });
        Self {
            columns: columns.collect(),
        }
    }

    fn is_identity(&self) -> bool {
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
                    let column = renamed.inner.apply(column)?;
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
    fn between(old: &Kind, new: &Kind) -> Self {
        let inner = match (old, new) {
            (Kind::Record { fields: old }, Kind::Record { fields: new }) => {
                let renames = Renames::between(old, new);
                return if renames.is_identity() {
                    Self::Same
                } else {
                    Self::Record(renames)
                };
            }
            (Kind::Array { element: old }, Kind::Array { element: new }) => {
                Self::Element(Box::new(Self::between(old, new)))
            }
            (Kind::Map { value: old }, Kind::Map { value: new }) => {
                Self::Value(Box::new(Self::between(old, new)))
            }
            _ => Self::Same,
        };
        match &inner {
            Self::Element(inside) | Self::Value(inside) if **inside == Self::Same => Self::Same,
            _ => inner,
        }
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

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array};

    use super::*;

    /// `a` becomes `b`, `gone` is dropped and added again as another column, `s.x` becomes `s.y`.
    const HISTORY: &str = r#"{"schemas":[
      {"version_id":20260101000000000,"max_column_id":6,"type":"record","fields":[
        {"id":0,"name":"b","optional":true,"type":"int"},
        {"id":5,"name":"gone","optional":true,"type":"long"},
        {"id":2,"name":"s","optional":true,"type":{"type":"record","fields":[{"id":3,"name":"y","optional":true,"type":"int"}]}}]},
      {"version_id":0,"max_column_id":4,"type":"record","fields":[
        {"id":0,"name":"a","optional":true,"type":"int"},
        {"id":1,"name":"gone","optional":true,"type":"long"},
        {"id":2,"name":"s","optional":true,"type":{"type":"record","fields":[{"id":3,"name":"x","optional":true,"type":"int"}]}}]}]}"#;

    fn time(text: &str) -> InstantTime {
        text.parse().unwrap()
    }

    fn rows() -> RecordBatch {
        let inner: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let inner = StructArray::from(vec![(
            Arc::new(Field::new("x", DataType::Int32, true)),
            inner,
        )]);
        RecordBatch::try_from_iter([
            ("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
            ("gone", Arc::new(Int64Array::from(vec![2]))),
            ("s", Arc::new(inner)),
        ])
        .unwrap()
    }

    #[test]
    fn columns_are_known_by_their_ids() {
        let history = SchemaHistory::parse(HISTORY.as_bytes()).unwrap();
        let (before, after) = (time("20251231000000000"), time("20260102000000000"));
        let renames = history.renames(&before, &after).unwrap();
        assert_eq!(renames.new_name("a"), Some("b"));
        assert_eq!(renames.new_name("gone"), None);
        assert_eq!(
            renames.new_name("_hoodie_record_key"),
            Some("_hoodie_record_key")
        );
        let renamed = renames.apply(&rows()).unwrap();
        let names: Vec<_> = renamed
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["b", "s"]);
        let inner = renamed.column(1).as_struct();
        assert_eq!(inner.column_names(), ["y"]);
        assert!(history.renames(&after, &after).is_none());
        assert!(history.renames(&before, &before).is_none());
    }

    #[test]
    fn a_broken_history_is_an_error() {
        assert!(SchemaHistory::parse(b"{}").is_err());
        assert!(SchemaHistory::parse(b"").is_err());
    }
}
