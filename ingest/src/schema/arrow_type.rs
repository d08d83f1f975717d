//! The one place that maps source types to lake types; `docs/TYPES.md` shows it as a table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{MySqlType, SourceColumn, SourceTable};
use crate::error::Result;

/// Decimals of more digits have no reader among the engines of the lake and become text.
const DECIMAL_PRECISION_MAX: u8 = 38;

impl MySqlType {
    /// The type of the lake column.
    ///
    /// Only types that every Hudi engine reads and writes: no TIME, no narrow or unsigned integers, no enums, no
    /// local timestamps.
    pub fn arrow_type(&self) -> DataType {
        match self {
            Self::TinyInt { .. } | Self::SmallInt { .. } | Self::MediumInt { .. } | Self::Year => {
                DataType::Int32
            }
            Self::Int { unsigned: false } => DataType::Int32,
            Self::Int { unsigned: true } | Self::BigInt { unsigned: false } => DataType::Int64,
            Self::BigInt { unsigned: true } => DataType::Decimal128(20, 0),
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } if *precision <= DECIMAL_PRECISION_MAX => {
                // A scale is at most 38 and fits.
                DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
            }
            Self::Bit { bits: 1 } => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::DateTime { .. } | Self::Timestamp { .. } => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            Self::Bit { .. }
            | Self::Binary { .. }
            | Self::VarBinary
            | Self::Blob
            | Self::Geometry
            | Self::Vector => DataType::Binary,
            Self::Decimal { .. }
            | Self::Time { .. }
            | Self::Char
            | Self::VarChar
            | Self::Text
            | Self::Enum(_)
            | Self::Set(_)
            | Self::Json
            | Self::Uuid
            | Self::Inet4
            | Self::Inet6 => DataType::Utf8,
        }
    }
}

impl SourceColumn {
    /// The parsed COLUMN_TYPE.
    ///
    /// # Errors
    /// `Unsupported` for a type that is not known, naming the column.
    pub fn mysql_type(&self) -> Result<MySqlType> {
        self.column_type
            .parse()
            .map_err(|error: crate::Error| error.context(format!("column {}", self.name)))
    }
}

impl SourceTable {
    /// The schema of the lake table: every column, in the order of row images. Only key columns are required: a
    /// source column that is NOT NULL today may hold zero dates, which become null, and may be relaxed tomorrow.
    ///
    /// # Errors
    /// `Unsupported` for a column type that is not known.
    pub fn arrow_schema(&self) -> Result<SchemaRef> {
        let field = |(index, column): (usize, &SourceColumn)| {
            let nullable = !self.primary_key.contains(&index);
            Ok(Field::new(
                &column.name,
                column.mysql_type()?.arrow_type(),
                nullable,
            ))
        };
        let fields = self.columns.iter().enumerate().map(field);
        let fields = fields
            .collect::<Result<Vec<_>>>()
            .map_err(|error| error.context(self.to_string()))?;
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The columns for a SELECT, quoted, in the order of row images: `*` would leave out invisible ones. The
    /// binary protocol sends every type in a lossless form, so no column needs an expression.
    pub fn select_list(&self) -> String {
        let quoted = |column: &SourceColumn| format!("`{}`", column.name.replace('`', "``"));
        self.columns
            .iter()
            .map(quoted)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Names of the key columns, in index order.
    pub fn primary_key_names(&self) -> Vec<&str> {
        let name = |&index: &usize| self.columns.get(index).map(|column| column.name.as_str());
        self.primary_key.iter().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SourceTable {
        let column = |name: &str, column_type: &str| SourceColumn {
            name: name.to_owned(),
            column_type: column_type.to_owned(),
            nullable: false,
            charset: None,
            collation: None,
            is_json_alias: false,
        };
        SourceTable {
            database: "shop".to_owned(),
            name: "t".to_owned(),
            columns: vec![
                column("id", "bigint(20) unsigned"),
                column("od`d", "decimal(39,2)"),
                column("at", "timestamp(3)"),
            ],
            primary_key: vec![0],
            chunk_column: None,
            charset: None,
        }
    }

    #[test]
    fn only_key_columns_are_required() {
        let schema = table().arrow_schema().unwrap();
        let shape: Vec<_> = schema
            .fields()
            .iter()
            .map(|f| (f.data_type().clone(), f.is_nullable()))
            .collect();
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(
            shape,
            [
                (DataType::Decimal128(20, 0), false),
                (DataType::Utf8, true),
                (utc, true)
            ]
        );
    }

    #[test]
    fn select_list_quotes_names() {
        assert_eq!(table().select_list(), "`id`, `od``d`, `at`");
        assert_eq!(table().primary_key_names(), ["id"]);
    }

    #[test]
    fn unknown_types_name_table_and_column() {
        let mut table = table();
        table.columns[1].column_type = "hyperint".to_owned();
        let message = table.arrow_schema().unwrap_err().to_string();
        assert!(
            message.starts_with("shop.t: column od`d: column type hyperint"),
            "{message}"
        );
    }
}
