//! Rows of an older (or narrower) schema as rows of the table's schema.
//!
//! Columns are found by name, at every depth; a column that is missing is null, as Hudi reads it. Only promotions that
//! lose nothing are made. Java: AvroSchemaUtils#isProjectionOf, HoodieAvroUtils#rewriteRecordWithNewSchema.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, Float32Type, Float64Type, SchemaRef, TimeUnit};

use crate::error::{Error, Result};

/// Brings a batch into `target`: its columns, in its order and types.
///
/// # Errors
/// `Unsupported` when a column cannot become its target type without loss, naming the column and both types; `Invalid`
/// when a column that must not be null is missing or holds nulls.
pub fn adapt_batch(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == target {
        return Ok(batch.clone());
    }
    let rows = batch.num_rows();
    let columns = target.fields().iter().map(|field| {
        adapt_column(
            batch.column_by_name(field.name()),
            field,
            rows,
            field.name(),
        )
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(target),
        columns,
        &options,
    )?)
}

fn adapt_column(
    column: Option<&ArrayRef>,
    field: &FieldRef,
    rows: usize,
    path: &str,
) -> Result<ArrayRef> {
    match column {
        Some(column) => {
            let adapted = adapt_array(column, field.data_type(), path)?;
            // Nulls inside a struct may be those of the struct itself: its constructor tells them apart.
            if !field.is_nullable() && !path.contains('.') && adapted.null_count() > 0 {
                return Err(Error::invalid(format!(
                    "column `{path}` must not be null, but holds nulls"
                )));
            }
            Ok(adapted)
        }
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
        None => Err(Error::invalid(format!(
            "column `{path}` must not be null, but is missing"
        ))),
    }
}

fn adapt_array(array: &ArrayRef, target: &DataType, path: &str) -> Result<ArrayRef> {
    let found = array.data_type();
    if found == target {
        return Ok(Arc::clone(array));
    }
    match (found, target) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            Ok(Arc::new(adapt_struct(array.as_struct(), fields, path)?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let path = format!("{path}.element");
            let values = adapt_array(list.values(), element.data_type(), &path)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(element),
                offsets,
                values,
                nulls,
            )?))
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            adapt_map(array.as_map(), entries, *sorted, path)
        }
        // Through text, as Hudi does: 1.1 stays 1.1. Java: HoodieAvroUtils#rewritePrimaryTypeWithDiffSchemaType.
        (DataType::Float32, DataType::Float64) => {
            let values = array.as_primitive::<Float32Type>();
            let widened =
                values.unary_opt::<_, Float64Type>(|value| value.to_string().parse().ok());
            Ok(Arc::new(widened))
        }
        _ if is_promotion(found, target) => {
            let strict = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            cast_with_options(array, target, &strict).map_err(|error| {
                let what = format!("column `{path}`: a value of {found} does not fit {target}");
                Error::unsupported(format!("{what}: {error}")).with_source(error)
            })
        }
        _ => Err(Error::unsupported(format!(
            "column `{path}`: {found} in the file cannot be read as {target} of the table"
        ))),
    }
}

fn adapt_struct(array: &StructArray, fields: &Fields, path: &str) -> Result<StructArray> {
    let columns = fields.iter().map(|field| {
        let path = format!("{path}.{}", field.name());
        adapt_column(
            array.column_by_name(field.name()),
            field,
            array.len(),
            &path,
        )
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let nulls = array.nulls().cloned();
    Ok(StructArray::try_new_with_length(
        fields.clone(),
        columns,
        nulls,
        array.len(),
    )?)
}

/// Maps go by place: the names of key and value differ between writers.
fn adapt_map(map: &MapArray, entries: &FieldRef, sorted: bool, path: &str) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(Error::invalid(format!(
            "column `{path}`: map entries of type {}",
            entries.data_type()
        )));
    };
    let [key, value] = fields.as_ref() else {
        return Err(Error::invalid(format!(
            "column `{path}`: map entries need a key and a value"
        )));
    };
    let keys = adapt_array(map.keys(), key.data_type(), &format!("{path}.key"))?;
    let values = adapt_array(map.values(), value.data_type(), &format!("{path}.value"))?;
    let adapted = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        offsets,
        adapted,
        nulls,
        sorted,
    )?))
}

/// Whether every value of `found` has its equal in `target`, or is one that Hudi promotes all the same (int to float).
pub(super) fn is_promotion(found: &DataType, target: &DataType) -> bool {
    use DataType as T;
    match (found, target) {
        (T::Int8 | T::Int16 | T::UInt8 | T::UInt16, T::Int32)
        | (
            T::Int8 | T::Int16 | T::UInt8 | T::UInt16 | T::Int32 | T::UInt32,
            T::Int64 | T::Float32 | T::Float64,
        )
        | (T::Int64, T::Float32 | T::Float64)
        | (T::Float32, T::Float64)
        | (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::Binary)
        | (T::Binary | T::LargeBinary | T::BinaryView, T::Binary | T::Utf8) => true,
        // INT96 files come as nanos; the table counts micros.
        (T::Timestamp(from, from_zone), T::Timestamp(to, to_zone)) => {
            let finer = matches!(
                (from, to),
                (
                    TimeUnit::Millisecond,
                    TimeUnit::Millisecond | TimeUnit::Microsecond
                ) | (
                    TimeUnit::Microsecond | TimeUnit::Nanosecond,
                    TimeUnit::Microsecond
                )
            );
            finer && from_zone.is_some() == to_zone.is_some()
        }
        (T::Decimal128(precision, scale), T::Decimal128(wider, finer)) => {
            let digits = |precision: &u8, scale: &i8| i16::from(*precision) - i16::from(*scale);
            finer >= scale && digits(wider, finer) >= digits(precision, scale)
        }
        (T::Dictionary(_, values), target) => {
            values.as_ref() == target || is_promotion(values, target)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampMicrosecondArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::error::ErrorKind;

    fn one_column(array: ArrayRef) -> RecordBatch {
        let field = Field::new("c", array.data_type().clone(), true);
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap()
    }

    fn adapted(array: ArrayRef, target: DataType) -> Result<ArrayRef> {
        let schema = Arc::new(Schema::new(vec![Field::new("c", target, true)]));
        Ok(Arc::clone(
            adapt_batch(&one_column(array), &schema)?.column(0),
        ))
    }

    #[test]
    fn promotes_what_loses_nothing() {
        let ints = || Arc::new(Int32Array::from(vec![Some(1), None]));
        assert_eq!(
            adapted(ints(), DataType::Int64).unwrap().as_ref(),
            &Int64Array::from(vec![Some(1), None])
        );
        assert_eq!(
            adapted(ints(), DataType::Float64).unwrap().as_ref(),
            &Float64Array::from(vec![Some(1.0), None])
        );
        let text = Arc::new(StringArray::from(vec!["ü"]));
        let bytes = adapted(text, DataType::Binary).unwrap();
        assert_eq!(bytes.as_ref(), &BinaryArray::from(vec!["ü".as_bytes()]));
        assert_eq!(
            adapted(bytes, DataType::Utf8).unwrap().as_ref(),
            &StringArray::from(vec!["ü"])
        );
        let millis = Arc::new(TimestampMillisecondArray::from(vec![7]).with_timezone("UTC"));
        let micros = TimestampMicrosecondArray::from(vec![7000]).with_timezone("UTC");
        assert_eq!(
            adapted(millis, micros.data_type().clone())
                .unwrap()
                .as_ref(),
            &micros
        );
        let decimal = Decimal128Array::from(vec![125])
            .with_precision_and_scale(5, 2)
            .unwrap();
        let wider = Decimal128Array::from(vec![12_500])
            .with_precision_and_scale(10, 4)
            .unwrap();
        assert_eq!(
            adapted(Arc::new(decimal), wider.data_type().clone())
                .unwrap()
                .as_ref(),
            &wider
        );
    }

    #[test]
    fn refuses_what_loses_something_by_name_and_types() {
        let cases: [(ArrayRef, DataType); 4] = [
            (Arc::new(Int64Array::from(vec![1])), DataType::Int32),
            (Arc::new(StringArray::from(vec!["1"])), DataType::Int32),
            (Arc::new(Int32Array::from(vec![1])), DataType::Utf8),
            (
                Arc::new(
                    Decimal128Array::from(vec![1])
                        .with_precision_and_scale(10, 2)
                        .unwrap(),
                ),
                DataType::Decimal128(10, 4),
            ),
        ];
        for (array, target) in cases {
            let found = array.data_type().clone();
            let error = adapted(array, target.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let text = error.to_string();
            assert!(
                text.contains("`c`") && text.contains(&found.to_string()),
                "{text}"
            );
            assert!(text.contains(&target.to_string()), "{text}");
        }
        let broken = Arc::new(BinaryArray::from(vec![&[0xff][..]]));
        assert_eq!(
            adapted(broken, DataType::Utf8).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }

    #[test]
    fn finds_columns_by_name_and_fills_the_missing() {
        let batch = one_column(Arc::new(Int32Array::from(vec![5])));
        let target = Arc::new(Schema::new(vec![
            Field::new("new", DataType::Utf8, true),
            Field::new("c", DataType::Int32, true),
        ]));
        let adapted = adapt_batch(&batch, &target).unwrap();
        assert!(adapted.column(0).is_null(0));
        assert_eq!(adapted.column(1).as_ref(), &Int32Array::from(vec![5]));
        let strict = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
        assert_eq!(
            adapt_batch(&batch, &strict).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }

    #[test]
    fn adapts_inside_structs_lists_and_maps() {
        let old = Fields::from(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Utf8, true),
        ]);
        let new = Fields::from(vec![
            Field::new("x", DataType::Utf8, true),
            Field::new("a", DataType::Int64, true),
        ]);
        let structs = StructArray::new(
            old,
            vec![
                Arc::new(Int32Array::from(vec![1, 2])),
                Arc::new(StringArray::from(vec!["p", "q"])),
            ],
            None,
        );
        let item = Arc::new(Field::new("item", structs.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0]);
        let lists = ListArray::new(item, offsets, Arc::new(structs), None);
        let element = Arc::new(Field::new("element", DataType::Struct(new), true));
        let adapted = adapted(Arc::new(lists), DataType::List(element)).unwrap();
        let first = adapted.as_list::<i32>().value(0);
        let first = first.as_struct();
        assert_eq!(
            first.column_by_name("a").unwrap().as_ref(),
            &Int64Array::from(vec![1, 2])
        );
        assert_eq!(first.column_by_name("x").unwrap().null_count(), 2);
        assert!(first.column_by_name("b").is_none());
    }
}
