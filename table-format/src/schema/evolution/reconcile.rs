//! The columns of a write against those of the table: by name, at every depth.
//!
//! Java: AvroSchemaEvolutionUtils#reconcileSchema. Columns that the write lacks are dropped here, because its commit gives the table
//! the schema without them; Hudi's writers bring all columns that they keep.

use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::column::{Column, InternalSchema, Kind, Nested, NewIds, inside, map_value};
use crate::error::Result;
use crate::schema::meta::with_meta_columns;

impl InternalSchema {
    /// The columns of `schema` with the ids that they have; new ones get ids after `highest_id`. It is this schema itself when
    /// nothing differs, else one of version `version_id`.
    ///
    /// # Errors
    /// `Unsupported` for a type that Hudi cannot read back from a history, naming the column.
    pub(super) fn reconcile(
        &self,
        schema: &Schema,
        version_id: u64,
        highest_id: i64,
    ) -> Result<Self> {
        let mut ids = NewIds::after(highest_id);
        let fields = record(
            self.columns(),
            with_meta_columns(schema).fields(),
            &mut ids,
            "",
        )?;
        if fields == self.columns() {
            return Ok(self.clone());
        }
        Ok(Self::new(version_id, ids.last(), fields))
    }
}

fn record(
    known: &[Column],
    fields: &Fields,
    ids: &mut NewIds,
    parent: &str,
) -> Result<Vec<Column>> {
    let columns = fields.iter().map(|field| {
        let path = inside(parent, field.name());
        match known.iter().find(|column| column.name == *field.name()) {
            Some(column) => Ok(Column {
                optional: field.is_nullable(),
                kind: kind(&column.kind, field.data_type(), ids, &path)?,
                ..column.clone()
            }),
            None => ids.column(field, &path),
        }
    });
    columns.collect()
}

fn kind(known: &Kind, data_type: &DataType, ids: &mut NewIds, path: &str) -> Result<Kind> {
    let inner = |known: &Kind, field: &Field, ids: &mut NewIds, name: &str| {
        let kind = kind(known, field.data_type(), ids, &inside(path, name));
        kind.map(Box::new)
    };
    Ok(match (known, data_type) {
        (Kind::Nested(Nested::Record { fields }), DataType::Struct(found)) => {
            Kind::Nested(Nested::Record {
                fields: record(fields, found, ids, path)?,
            })
        }
        (
            Kind::Nested(Nested::Array {
                element_id,
                element,
                ..
            }),
            DataType::List(found) | DataType::LargeList(found),
        ) => Kind::Nested(Nested::Array {
            element_id: *element_id,
            element: inner(element, found, ids, "element")?,
            element_optional: found.is_nullable(),
        }),
        (
            Kind::Nested(Nested::Map {
                key_id,
                key,
                value_id,
                value,
                ..
            }),
            DataType::Map(entries, _),
        ) => {
            let found = map_value(entries, path)?;
            Kind::Nested(Nested::Map {
                key_id: *key_id,
                key: key.clone(),
                value_id: *value_id,
                value: inner(value, found, ids, "value")?,
                value_optional: found.is_nullable(),
            })
        }
        // A type that Hudi cannot read back may be there already; then it is no news.
        (Kind::Plain(_), _) if known.arrow_type().is_ok_and(|known| known == *data_type) => {
            known.clone()
        }
        _ => {
            let new = ids.kind(data_type, path)?;
            if known.is_same_plain(&new) {
                known.clone()
            } else {
                new
            }
        }
    })
}
