//! The ordering columns of a batch: which of two versions of a row is the later one.
//!
//! Only tables that order by event time have them. Spec: Hudi 1.2.0, "Record Mergers"; Java: EventTimeBasedRecordMerger,
//! OrderingValues. Values compare by the type of the column, several fields from left to right; on equal values the later
//! record wins. Nulls are refused on the way in: Hudi cannot read a slice that holds null beside values (hazard 12).

use std::sync::Arc;

use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::row::Rows;

use crate::codec::delete_record::OrderingValue;
use crate::config::{MergeMode, TableConfig};
use crate::error::{Error, Result};
use crate::reader::ordering::Ordering;

/// The ordering columns of a table.
#[derive(Debug)]
pub(crate) struct OrderingColumns {
    names: Vec<String>,
    ordering: Ordering,
}

/// The ordering values of the rows of one batch.
#[derive(Debug)]
pub(crate) struct BatchOrder {
    columns: Vec<ArrayRef>,
    rows: Rows,
}

impl OrderingColumns {
    /// Those of a table with these columns; `None` when the later write wins.
    ///
    /// # Errors
    /// `Unsupported` for a field that is no column, or of a type in which Hudi cannot compare deletes.
    pub(crate) fn try_new(config: &TableConfig, schema: &SchemaRef) -> Result<Option<Arc<Self>>> {
        if config.merge_mode() != MergeMode::EventTime {
            return Ok(None);
        }
        let names = config.ordering_fields();
        let mut positions = Vec::with_capacity(names.len());
        for name in &names {
            let refuse = |what: String| {
                Error::unsupported(format!(
                    "table {}: ordering field `{name}` {what}",
                    config.name()
                ))
            };
            let position = schema
                .index_of(name)
                .map_err(|_| refuse("is no column of the table".to_owned()))?;
            let data_type = schema.field(position).data_type();
            if !is_comparable(data_type) {
                return Err(refuse(format!(
                    "is of type {data_type}, in which deletes cannot be ordered; use an integer, text, decimal or timestamp"
                )));
            }
            positions.push(position);
        }
        let ordering = Ordering::try_new(schema, &positions)?;
        Ok(Some(Arc::new(Self { names, ordering })))
    }

    /// The columns, most significant first.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether `name` is one of them.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The values of a batch in the table's columns.
    ///
    /// # Errors
    /// `Internal` when a column is missing.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<BatchOrder> {
        let columns = self.names.iter().map(|name| {
            let column = batch.column_by_name(name);
            column
                .map(Arc::clone)
                .ok_or_else(|| Error::internal(format!("ordering column `{name}` is not read")))
        });
        self.of_columns(columns.collect::<Result<Vec<_>>>()?)
    }

    /// The values of the ordering columns alone, most significant first.
    pub(crate) fn of_columns(&self, columns: Vec<ArrayRef>) -> Result<BatchOrder> {
        let rows = self.ordering.of_columns(&columns)?;
        Ok(BatchOrder { columns, rows })
    }

    /// Whether any ordering value is null, or its column missing.
    pub(crate) fn has_nulls(&self, batch: &RecordBatch) -> bool {
        let is_null = |name: &String| {
            let column = batch.column_by_name(name);
            column.is_none_or(|column| column.null_count() > 0)
        };
        self.names.iter().any(is_null)
    }

    /// Refuses null ordering values.
    ///
    /// # Errors
    /// `Invalid`, naming column and record key.
    pub(crate) fn check(&self, batch: &RecordBatch, keys: &StringArray) -> Result<()> {
        for name in &self.names {
            let Some(column) = batch.column_by_name(name) else {
                return Err(Error::invalid(format!(
                    "ordering column `{name}` is not in the batch"
                )));
            };
            if column.null_count() == 0 {
                continue;
            }
            if let Some(row) = (0..column.len()).find(|row| column.is_null(*row)) {
                return Err(Error::invalid(format!(
                    "ordering column `{name}` is null for record key {}: rows are compared by it, give it a value",
                    keys.value(row)
                )));
            }
        }
        Ok(())
    }
}

impl BatchOrder {
    /// The value of a row, comparable with those of other batches of the table.
    pub(crate) fn row(&self, row: usize) -> arrow::row::Row<'_> {
        self.rows.row(row)
    }

    /// Whether a delete with the value of `row` wins over everything before it: the integer 0 means "no order" to Hudi.
    pub(crate) fn is_unordered(&self, row: usize) -> bool {
        match self.columns.as_slice() {
            [only] => match only.data_type() {
                DataType::Int32 => only.as_primitive::<Int32Type>().value(row) == 0,
                DataType::Date32 => only.as_primitive::<Date32Type>().value(row) == 0,
                _ => false,
            },
            _ => false,
        }
    }

    /// The value of a row as delete blocks carry it.
    pub(crate) fn value(&self, row: usize) -> Result<OrderingValue> {
        let mut values = self
            .columns
            .iter()
            .map(|column| ordering_value(column, row))
            .collect::<Result<Vec<_>>>()?;
        Ok(match values.len() {
            1 => values.remove(0),
            _ => OrderingValue::Array(values),
        })
    }
}

fn is_comparable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Boolean
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, _) => true,
        DataType::Decimal128(precision, scale) => {
            // Delete blocks hold decimal(30, 15).
            (0..=OrderingValue::DECIMAL_SCALE).contains(scale)
                && i16::from(*precision) - i16::from(*scale) <= 15
        }
        _ => false,
    }
}

/// The wrapper that Spark compares without failing: `Long` for timestamps, `Int` for dates.
fn ordering_value(column: &ArrayRef, row: usize) -> Result<OrderingValue> {
    if column.is_null(row) {
        return Ok(OrderingValue::Null);
    }
    Ok(match column.data_type() {
        DataType::Boolean => OrderingValue::Boolean(column.as_boolean().value(row)),
        DataType::Int32 => OrderingValue::Int(column.as_primitive::<Int32Type>().value(row)),
        DataType::Date32 => OrderingValue::Int(column.as_primitive::<Date32Type>().value(row)),
        DataType::Int64 => OrderingValue::Long(column.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            OrderingValue::Long(column.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            OrderingValue::Long(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Float32 => OrderingValue::Float(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => OrderingValue::Double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => OrderingValue::String(column.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => OrderingValue::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        DataType::Decimal128(_, scale) => {
            let places = u32::from((OrderingValue::DECIMAL_SCALE - scale).unsigned_abs());
            let unscaled = column.as_primitive::<Decimal128Type>().value(row);
            let scaled = 10_i128
                .checked_pow(places)
                .and_then(|factor| unscaled.checked_mul(factor));
            OrderingValue::Decimal(scaled.ok_or_else(|| {
                Error::invalid(format!(
                    "ordering value {unscaled} does not fit decimal(30, 15)"
                ))
            })?)
        }
        other => {
            return Err(Error::internal(format!(
                "ordering column of type {other} was let through"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Int32Array, Int64Array};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn columns(config: &str, schema: &SchemaRef) -> Result<Option<Arc<OrderingColumns>>> {
        let text = format!(
            "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n{config}"
        );
        OrderingColumns::try_new(&TableConfig::parse(text.as_bytes()).unwrap(), schema)
    }

    #[test]
    fn several_fields_compare_from_left_to_right() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Int32, true),
        ]));
        let config =
            "hoodie.table.ordering.fields=b,a\nhoodie.record.merge.mode=EVENT_TIME_ORDERING\n";
        let ordering = columns(config, &schema).unwrap().unwrap();
        let a: ArrayRef = Arc::new(Int64Array::from(vec![9, 1, 2]));
        let b: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 1]));
        let batch = RecordBatch::try_new(schema, vec![a, b]).unwrap();
        let order = ordering.of(&batch).unwrap();
        assert!(order.row(0) < order.row(1) && order.row(1) < order.row(2));
        assert!(
            !order.is_unordered(0),
            "only a single integer field has a default"
        );
        let value = order.value(0).unwrap();
        assert_eq!(
            value,
            OrderingValue::Array(vec![OrderingValue::Int(0), OrderingValue::Long(9)])
        );
    }

    #[test]
    fn hazard_12_null_ordering_values_are_refused_by_key() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let config =
            "hoodie.table.ordering.fields=a\nhoodie.record.merge.mode=EVENT_TIME_ORDERING\n";
        let ordering = columns(config, &schema).unwrap().unwrap();
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let batch = RecordBatch::try_new(schema, vec![a]).unwrap();
        let keys = StringArray::from(vec!["k1", "k2"]);
        let error = ordering.check(&batch, &keys).unwrap_err();
        assert!(error.to_string().contains("k2"), "{error}");
    }

    #[test]
    fn decimals_are_carried_at_fifteen_places() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(
            "d",
            DataType::Decimal128(10, 2),
            true,
        )]));
        let config =
            "hoodie.table.ordering.fields=d\nhoodie.record.merge.mode=EVENT_TIME_ORDERING\n";
        let ordering = columns(config, &schema).unwrap().unwrap();
        let d = Decimal128Array::from(vec![100])
            .with_precision_and_scale(10, 2)
            .unwrap();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(d)]).unwrap();
        assert_eq!(
            ordering.of(&batch).unwrap().value(0).unwrap(),
            OrderingValue::Decimal(1_000_000_000_000_000)
        );
    }
}
