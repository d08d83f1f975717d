//! The columns of a table with their ids, as the history of its schemas holds them.
//!
//! Java: InternalSchema, Types, SerDeHelper#toJson, SerDeHelper#fromJson, InternalSchemaConverter.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::plain::{plain_name, plain_type};
use crate::error::{Error, Result};
use crate::schema::meta::{with_meta_columns, without_meta_columns};

/// One version of a table's columns, meta columns included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InternalSchema {
    /// The highest id that was ever given.
    pub(super) max_column_id: i64,
    /// The instant that made it, as a number; 0 for the columns before the first change.
    pub(super) version_id: u64,
    #[serde(flatten)]
    record: Record,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "record")]
struct Record {
    fields: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) optional: bool,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) doc: Option<String>,
}

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Kind {
    Nested(Nested),
    Plain(String),
}

/// A type that holds columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Nested {
    Record {
        fields: Vec<Column>,
    },
    Array {
        element_id: i64,
        element: Box<Kind>,
        element_optional: bool,
    },
    Map {
        key_id: i64,
        key: Box<Kind>,
        value_id: i64,
        value: Box<Kind>,
        value_optional: bool,
    },
}

/// Gives out ids that no column of the table ever had.
///
/// Java: InternalSchemaBuilder#refreshNewId: the columns of a record come before what is inside of them.
#[derive(Debug)]
pub(super) struct NewIds(i64);

impl InternalSchema {
    /// The columns of a table that has had no history so far.
    ///
    /// # Errors
    /// `Unsupported` for a type that Hudi cannot read back from a history, naming the column.
    pub(super) fn first(schema: &Schema) -> Result<Self> {
        let mut ids = NewIds(0);
        let fields = ids.record(with_meta_columns(schema).fields(), "")?;
        Ok(Self {
            max_column_id: ids.last(),
            version_id: 0,
            record: Record { fields },
        })
    }

    pub(super) fn new(version_id: u64, max_column_id: i64, fields: Vec<Column>) -> Self {
        Self {
            max_column_id,
            version_id,
            record: Record { fields },
        }
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.record.fields
    }

    /// The columns as rows have them, without the meta columns.
    ///
    /// # Errors
    /// `Unsupported` for a type that is not known, naming the column.
    pub(crate) fn arrow_schema(&self) -> Result<SchemaRef> {
        let fields = arrow_fields(self.columns())?;
        Ok(without_meta_columns(&Schema::new(fields)))
    }

    /// The JSON of the history, and of `latest_schema` in a commit.
    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal("a schema that is no JSON").with_source(error))
    }

    /// The highest id of this version, whatever it says itself: Hudi forgets that of a dropped column with the next change.
    pub(super) fn highest_id(&self) -> i64 {
        highest(self.columns()).max(self.max_column_id)
    }
}

fn highest(columns: &[Column]) -> i64 {
    let ids = columns
        .iter()
        .map(|column| column.id.max(column.kind.highest_id()));
    ids.max().unwrap_or(-1)
}

fn arrow_fields(columns: &[Column]) -> Result<Fields> {
    let fields = columns.iter().map(|column| {
        let data_type = column.kind.arrow_type();
        let data_type =
            data_type.map_err(|error| error.context(format!("column `{}`", column.name)));
        Ok(Field::new(&column.name, data_type?, column.optional))
    });
    fields.collect()
}

impl Kind {
    fn highest_id(&self) -> i64 {
        match self {
            Self::Plain(_) => -1,
            Self::Nested(Nested::Record { fields }) => highest(fields),
            Self::Nested(Nested::Array {
                element_id,
                element,
                ..
            }) => element.highest_id().max(*element_id),
            Self::Nested(Nested::Map {
                key_id,
                value_id,
                value,
                ..
            }) => value.highest_id().max(*key_id).max(*value_id),
        }
    }

    pub(super) fn arrow_type(&self) -> Result<DataType> {
        Ok(match self {
            Self::Plain(name) => plain_type(name).ok_or_else(|| {
                Error::unsupported(format!(
                    "`{name}` is no type of a column that this version knows"
                ))
            })?,
            Self::Nested(Nested::Record { fields }) => DataType::Struct(arrow_fields(fields)?),
            Self::Nested(Nested::Array {
                element,
                element_optional,
                ..
            }) => {
                let element = Field::new("element", element.arrow_type()?, *element_optional);
                DataType::List(Arc::new(element))
            }
            Self::Nested(Nested::Map {
                value,
                value_optional,
                ..
            }) => {
                let pair = Fields::from(vec![
                    Field::new("key", DataType::Utf8, false),
                    Field::new("value", value.arrow_type()?, *value_optional),
                ]);
                let entries = Field::new("key_value", DataType::Struct(pair), false);
                DataType::Map(Arc::new(entries), false)
            }
        })
    }

    /// Whether values are the same, however the type is written (a decimal has three names).
    pub(super) fn is_same_plain(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(left), Self::Plain(right)) => {
                left == right
                    || plain_type(left).is_some_and(|kind| Some(kind) == plain_type(right))
            }
            _ => false,
        }
    }
}

impl NewIds {
    /// The ids after `highest`.
    pub(super) fn after(highest: i64) -> Self {
        Self(highest.saturating_add(1))
    }

    /// The highest id given out.
    pub(super) fn last(&self) -> i64 {
        self.0.saturating_sub(1)
    }

    fn take(&mut self, count: usize) -> i64 {
        let first = self.0;
        self.0 = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        first
    }

    /// A column that is new.
    pub(super) fn column(&mut self, field: &Field, path: &str) -> Result<Column> {
        let id = self.take(1);
        self.with_id(id, field, path)
    }

    fn with_id(&mut self, id: i64, field: &Field, path: &str) -> Result<Column> {
        Ok(Column {
            id,
            name: field.name().clone(),
            optional: field.is_nullable(),
            kind: self.kind(field.data_type(), path)?,
            doc: None,
        })
    }

    fn record(&mut self, fields: &Fields, path: &str) -> Result<Vec<Column>> {
        let ids = self.take(fields.len())..;
        let columns = ids
            .zip(fields)
            .map(|(id, field)| self.with_id(id, field, &inside(path, field.name())));
        columns.collect()
    }

    /// A type all of whose columns are new.
    pub(super) fn kind(&mut self, data_type: &DataType, path: &str) -> Result<Kind> {
        Ok(match data_type {
            DataType::Struct(fields) => Kind::Nested(Nested::Record {
                fields: self.record(fields, path)?,
            }),
            DataType::List(item) | DataType::LargeList(item) => {
                let element_id = self.take(1);
                Kind::Nested(Nested::Array {
                    element_id,
                    element: Box::new(self.kind(item.data_type(), &inside(path, "element"))?),
                    element_optional: item.is_nullable(),
                })
            }
            DataType::Map(entries, _) => {
                let value = map_value(entries, path)?;
                let key_id = self.take(2);
                Kind::Nested(Nested::Map {
                    key_id,
                    key: Box::new(Kind::Plain("string".to_owned())),
                    value_id: key_id.saturating_add(1),
                    value: Box::new(self.kind(value.data_type(), &inside(path, "value"))?),
                    value_optional: value.is_nullable(),
                })
            }
            plain => Kind::Plain(plain_name(plain, path)?),
        })
    }
}

/// The value of a map's entries.
pub(super) fn map_value<'a>(entries: &'a Field, path: &str) -> Result<&'a Field> {
    if let DataType::Struct(fields) = entries.data_type()
        && let [_, value] = fields.as_ref()
    {
        return Ok(value);
    }
    let found = entries.data_type();
    Err(Error::invalid(format!(
        "column `{path}`: map entries of type {found}"
    )))
}

/// The dotted path of a column in another.
pub(super) fn inside(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}
