//! Brings rows of an older or foreign file into the table's columns.
//!
//! Columns go by name; types are widened (int to long, float to double, decimal to a larger precision, a timestamp to
//! another unit); a column that the file lacks is null.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::error::{Error, Result};

/// The rows of `batch` in the columns of `schema`.
///
/// # Errors
/// `Unsupported` when a column cannot be widened to its type; `Corrupt` when a required column is missing or a value does
/// not fit.
pub fn adapt_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => widen(field.name(), column, field.data_type()),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None => Err(Error::corrupt(
                format!("column `{}`", field.name()),
                "the file lacks it although the table requires a value",
            )),
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| {
        let message = format!("rows do not fit the table's columns: {error}");
        Error::corrupt("record batch", message).with_source(error)
    })
}

fn widen(name: &str, column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = column.data_type();
    if !is_widening(from, to) {
        return Err(Error::unsupported(format!(
            "column `{name}` is {from} in the file and {to} in the table, and cannot be widened"
        )));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, to, &options).map_err(|error| {
        Error::corrupt(format!("column `{name}`"), format!("{from} to {to}: {error}")).with_source(error)
    })
}

/// Whether values of `from` may stand in a column of `to`. Java: AvroSchemaCompatibility, InternalSchema's promotions.
fn is_widening(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, Date32, Decimal128, Decimal256, FixedSizeBinary, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeBinary, LargeList, LargeUtf8, List, Map, Struct, Timestamp, UInt8, UInt16, UInt32, Utf8, Utf8View,
    };
    match (from, to) {
        (from, to) if from == to => true,
        (Int8 | UInt8 | Int16 | UInt16, Int16 | Int32 | Int64 | Float32 | Float64) => true,
        (Int32 | UInt32, Int64 | Float32 | Float64) | (Int64, Float32 | Float64) => true,
        (Int32, Int8 | Int16) => true,
        (Float32, Float64) | (Date32, Utf8) => true,
        (Int8 | Int16 | Int32 | Int64 | Float32 | Float64, Utf8 | Decimal128(_, _)) => true,
        (Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary, Utf8 | Binary | LargeUtf8 | LargeBinary) => true,
        (FixedSizeBinary(_), Binary) => true,
        (Timestamp(_, _), Timestamp(_, _)) => true,
        (Decimal128(p, s) | Decimal256(p, s), Decimal128(q, t) | Decimal256(q, t)) => {
            t >= s && i32::from(*q) - i32::from(*t) >= i32::from(*p) - i32::from(*s)
        }
        (Decimal128(_, _), Utf8) => true,
        (List(a) | LargeList(a), List(b) | LargeList(b)) | (Map(a, _), Map(b, _)) => {
            is_widening(a.data_type(), b.data_type())
        }
        (Struct(a), Struct(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| is_widening(a.data_type(), b.data_type()))
        }
        _ => false,
    }
}

/// Whether rows of `old` can be read by `new`: every common column is the same or wider, and new ones are nullable.
///
/// # Errors
/// `Invalid` naming the first column for which that does not hold.
pub fn check_evolution(old: &Schema, new: &Schema) -> Result<()> {
    for field in new.fields() {
        let before = old.field_with_name(field.name()).ok();
        let is_allowed = match before {
            Some(before) => is_widening(before.data_type(), field.data_type()),
            None => field.is_nullable(),
        };
        if !is_allowed {
            let before = before.map_or("missing".to_owned(), |before| before.data_type().to_string());
            return Err(Error::invalid(format!(
                "column `{}` cannot become {} (nullable: {}): it is {before} in the table",
                field.name(),
                field.data_type(),
                field.is_nullable()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn columns_go_by_name_and_are_widened() {
        let old = RecordBatch::try_from_iter([
            ("b", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
            ("a", Arc::new(Int32Array::from(vec![7]))),
        ])
        .unwrap();
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("new", DataType::Utf8, true),
            Field::new("b", DataType::Utf8, true),
        ]));
        let adapted = adapt_batch(&old, &schema).unwrap();
        assert_eq!(adapted.column(0).as_ref(), &Int64Array::from(vec![7]));
        assert_eq!(adapted.column(1).null_count(), 1);
    }

    #[test]
    fn narrowing_and_missing_required_columns_are_errors() {
        let old = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![7])) as ArrayRef)]).unwrap();
        let narrow = Arc::new(Schema::new(vec![Field::new("a", DataType::Boolean, true)]));
        assert!(adapt_batch(&old, &narrow).is_err());
        let required = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        assert!(adapt_batch(&old, &required).is_err());
        assert!(check_evolution(&old.schema(), &required).is_err());
        let wider = Schema::new(vec![Field::new("a", DataType::Float64, true)]);
        check_evolution(&old.schema(), &wider).unwrap();
    }
}
