//! What rows are sorted by.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};

use super::z_order::{self, ZOrder};
use crate::error::{Error, Result};

/// How sort columns make an order. Java: HoodieClusteringConfig.LayoutOptimizationStrategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service::clustering) enum Layout {
    /// By the first column, then the second, and so on.
    Linear,
    /// Along a Z-order curve: rows that are near in all columns come near each other.
    ZOrder,
}

impl Layout {
    /// Hudi's name.
    pub(in crate::service::clustering) fn as_str(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::ZOrder => "z-order",
        }
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "linear" => Ok(Self::Linear),
            "z-order" => Ok(Self::ZOrder),
            "hilbert" => Err(Error::unsupported(
                "hoodie.layout.optimize.strategy=hilbert: take z-order",
            )),
            _ => Err(Error::invalid(format!(
                "hoodie.layout.optimize.strategy={text}: expected linear or z-order"
            ))),
        }
    }
}

/// Columns by which rows compare.
#[derive(Debug)]
pub(in crate::service::clustering) struct SortKey {
    positions: Vec<usize>,
    z_order: Option<ZOrder>,
    converter: RowConverter,
}

impl SortKey {
    /// The columns of these names in `schema`; nulls come first in linear order, last on a curve.
    ///
    /// # Errors
    /// `Invalid` for a column that is not there; `Unsupported` for one of a type without order.
    pub(in crate::service::clustering) fn try_new(
        schema: &SchemaRef,
        columns: &[String],
        layout: Layout,
    ) -> Result<Self> {
        let mut positions = Vec::with_capacity(columns.len());
        for column in columns {
            let position = schema.index_of(column).map_err(|_| {
                Error::invalid(format!("sort column `{column}` is no column of the table"))
            })?;
            positions.push(position);
        }
        let types = || positions.iter().map(|position| schema.field(*position));
        let (z_order, fields) = match layout {
            Layout::Linear => {
                let fields = types().map(|field| SortField::new(field.data_type().clone()));
                (None, fields.collect())
            }
            Layout::ZOrder => {
                let z_order = ZOrder::try_new(types())?;
                let field = SortField::new(z_order::data_type(positions.len()));
                (Some(z_order), vec![field])
            }
        };
        if !RowConverter::supports_fields(&fields) {
            let message = format!("rows cannot be sorted by {}", columns.join(", "));
            return Err(Error::unsupported(message));
        }
        Ok(Self {
            positions,
            z_order,
            converter: RowConverter::new(fields)?,
        })
    }

    /// The keys of a batch, comparable with those of other batches.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns = self.positions.iter();
        let columns: Vec<ArrayRef> = columns
            .map(|position| Arc::clone(batch.column(*position)))
            .collect();
        let columns = match &self.z_order {
            Some(z_order) => vec![z_order.interleave(&columns)?],
            None => columns,
        };
        Ok(self.converter.convert_columns(&columns)?)
    }
}
