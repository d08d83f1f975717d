//! Changes of a table's columns that rewrite no file.
//!
//! Java: AlterTableCommand, TableChanges, SchemaChangeUtils.

use arrow::datatypes::{DataType, Field};

use super::column::{Column, InternalSchema, Kind, Nested, NewIds, inside};
use super::convert::may_become;
use super::plain::plain_type;
use crate::error::{Error, Result};
use crate::schema::meta::is_meta_column;

/// A change of one column. Columns inside of others are named by their path: `struct.column`, `list.element.column`,
/// `map.value.column`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ColumnChange {
    /// It gets another name; rows keep its values.
    Rename {
        /// Path of the column.
        column: String,
        /// Its new name, without the path.
        to: String,
    },
    /// It is gone. A column that is added later under the same name is another one.
    Drop {
        /// Path of the column.
        column: String,
    },
    /// A nullable column behind the others; in rows that are there it is null.
    Add {
        /// Path of the column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// It gets a type that holds all its values.
    Widen {
        /// Path of the column.
        column: String,
        /// Its new type.
        data_type: DataType,
    },
    /// It may hold nulls from now on.
    MakeNullable {
        /// Path of the column.
        column: String,
    },
}

impl ColumnChange {
    /// The path of the column that is changed.
    pub fn column(&self) -> &str {
        match self {
            Self::Rename { column, .. }
            | Self::Drop { column }
            | Self::Add { column, .. }
            | Self::Widen { column, .. }
            | Self::MakeNullable { column } => column,
        }
    }

    /// Refuses to touch a column that the table's files are placed or merged by: the table's properties name it.
    ///
    /// # Errors
    /// `Invalid`, naming the column.
    pub(crate) fn check_not_fixed(&self, fixed: &[(&str, Vec<String>)]) -> Result<()> {
        if matches!(self, Self::Add { .. }) {
            return Ok(());
        }
        let column = self.column();
        let holds = |name: &String| {
            name == column
                || name
                    .strip_prefix(column)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        match fixed.iter().find(|(_, names)| names.iter().any(holds)) {
            Some((role, _)) => Err(Error::invalid(format!(
                "column `{column}` is {role} of the table and cannot be changed; write the rows into a new table instead"
            ))),
            None => Ok(()),
        }
    }
}

/// The columns after the changes, one after the other, as version `version_id`. New columns get ids after `highest_id`.
pub(super) fn changed(
    schema: &InternalSchema,
    changes: &[ColumnChange],
    version_id: u64,
    highest_id: i64,
) -> Result<InternalSchema> {
    let mut fields = schema.columns().to_vec();
    let mut ids = NewIds::after(highest_id);
    for change in changes {
        apply(&mut fields, change, &mut ids)?;
    }
    if fields == schema.columns() {
        return Err(Error::invalid("the table's columns are so already"));
    }
    Ok(InternalSchema::new(version_id, ids.last(), fields))
}

fn apply(fields: &mut Vec<Column>, change: &ColumnChange, ids: &mut NewIds) -> Result<()> {
    let path = change.column();
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let siblings = columns_of(fields, parent).ok_or_else(|| {
        Error::invalid(format!(
            "column `{path}`: `{parent}` is no column that holds others"
        ))
    })?;
    let position = siblings.iter().position(|column| column.name == name);
    let position = match (position, change) {
        (None, ColumnChange::Add { data_type, .. }) => {
            check_free(siblings, parent, name)?;
            let column = ids.column(&Field::new(name, data_type.clone(), true), path)?;
            siblings.push(column);
            return Ok(());
        }
        (Some(position), _) => position,
        (None, _) => {
            let names: Vec<&str> = siblings
                .iter()
                .map(|column| column.name.as_str())
                .filter(|name| !is_meta_column(name))
                .collect();
            return Err(Error::invalid(format!(
                "the table has no column `{path}`; there are {}",
                names.join(", ")
            )));
        }
    };
    if is_meta_column(name) {
        return Err(Error::invalid(format!("column `{path}` is Hudi's own")));
    }
    match change {
        ColumnChange::Rename { to, .. } => {
            check_free(siblings, parent, to)?;
            siblings[position].name.clone_from(to);
        }
        ColumnChange::Drop { .. } if siblings.len() == 1 => {
            return Err(Error::invalid(format!(
                "column `{path}` is the only one in `{parent}`; drop `{parent}` instead"
            )));
        }
        ColumnChange::Drop { .. } => drop(siblings.remove(position)),
        ColumnChange::Add { .. } => check_free(siblings, parent, name)?,
        ColumnChange::Widen { data_type, .. } => {
            widen(&mut siblings[position], data_type, path, ids)?
        }
        ColumnChange::MakeNullable { .. } => siblings[position].optional = true,
    }
    Ok(())
}

fn widen(column: &mut Column, data_type: &DataType, path: &str, ids: &mut NewIds) -> Result<()> {
    let found = match &column.kind {
        Kind::Plain(name) => plain_type(name),
        Kind::Nested(_) => None,
    };
    let found = found.ok_or_else(|| {
        Error::invalid(format!(
            "column `{path}`: only plain columns can get another type"
        ))
    })?;
    if found == *data_type {
        return Ok(());
    }
    if !may_become(&found, data_type) {
        return Err(Error::invalid(format!(
            "column `{path}`: not every {found} is a {data_type}; add another column instead"
        )));
    }
    column.kind = ids.kind(data_type, path)?;
    Ok(())
}

/// Hudi tells names apart whatever the case of their letters.
fn check_free(siblings: &[Column], parent: &str, name: &str) -> Result<()> {
    let path = inside(parent, name);
    let is_name = name.bytes().enumerate().all(|(at, byte)| {
        byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit()
    });
    if name.is_empty() || !is_name || is_meta_column(name) {
        return Err(Error::invalid(format!(
            "column `{path}`: the name must be letters, digits and underscores, not starting with a digit"
        )));
    }
    match siblings
        .iter()
        .find(|column| column.name.eq_ignore_ascii_case(name))
    {
        Some(column) => Err(Error::invalid(format!(
            "the table has a column `{}` already; choose another name",
            inside(parent, &column.name)
        ))),
        None => Ok(()),
    }
}

/// The columns inside of a column; those of the table for an empty path.
fn columns_of<'a>(fields: &'a mut Vec<Column>, path: &str) -> Option<&'a mut Vec<Column>> {
    if path.is_empty() {
        return Some(fields);
    }
    let (name, mut rest) = path.split_once('.').unwrap_or((path, ""));
    let column = fields.iter_mut().find(|column| column.name == name)?;
    let mut kind = &mut column.kind;
    loop {
        let inner = match kind {
            Kind::Nested(Nested::Record { fields }) => return columns_of(fields, rest),
            Kind::Nested(Nested::Array { element, .. }) => ("element", element),
            Kind::Nested(Nested::Map { value, .. }) => ("value", value),
            Kind::Plain(_) => return None,
        };
        let (name, behind) = rest.split_once('.').unwrap_or((rest, ""));
        if name != inner.0 {
            return None;
        }
        (kind, rest) = (inner.1, behind);
    }
}
