//! Encoder and decoder against each other, against another implementation and against rows of Hudi.

use std::sync::Arc;

use apache_avro::types::Value;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    RecordBatch, StringArray, StructArray, Time32MillisecondArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, proptest};
use proptest::test_runner::Config;

use super::*;
use crate::codec::log_block::LogBlockReader;
use crate::error::{ErrorKind, Result};
use crate::schema::avro::arrow_to_avro;

/// What one row draws its values from.
type Seed = (
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>,
    Vec<Option<i32>>,
    Option<bool>,
    f64,
);

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let seed = (
        option::of(any::<i64>()),
        option::of(".{0,8}"),
        option::of(vec(any::<u8>(), 0..6)),
        vec(option::of(any::<i32>()), 0..4),
        option::of(any::<bool>()),
        -1e300..1e300_f64,
    );
    vec(seed, 0..24)
}

fn longs(seeds: &[Seed]) -> impl Iterator<Item = Option<i64>> {
    seeds.iter().map(|seed| seed.0)
}

fn ints(seeds: &[Seed]) -> impl Iterator<Item = Option<i32>> {
    longs(seeds).map(|long| long.map(|long| long as i32))
}

fn plain_columns(seeds: &[Seed]) -> Vec<(&'static str, ArrayRef)> {
    let booleans: BooleanArray = seeds.iter().map(|seed| seed.4).collect();
    let floats: Float32Array = seeds.iter().map(|seed| Some(seed.5 as f32)).collect();
    let doubles: Float64Array = seeds.iter().map(|seed| Some(seed.5)).collect();
    let strings: StringArray = seeds.iter().map(|seed| seed.1.as_deref()).collect();
    let bytes: BinaryArray = seeds.iter().map(|seed| seed.2.as_deref()).collect();
    let five = longs(seeds).map(|long| long.map(|long| long.to_le_bytes()[..5].to_vec()));
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(five, 5).unwrap();
    vec![
        ("boolean", Arc::new(booleans)),
        ("int", Arc::new(ints(seeds).collect::<Int32Array>())),
        ("long", Arc::new(longs(seeds).collect::<Int64Array>())),
        ("float", Arc::new(floats)),
        ("double", Arc::new(doubles)),
        ("string", Arc::new(strings)),
        ("bytes", Arc::new(bytes)),
        ("fixed", Arc::new(fixed)),
    ]
}

fn logical_columns(seeds: &[Seed]) -> Vec<(&'static str, ArrayRef)> {
    let millis: TimestampMillisecondArray = longs(seeds).collect();
    let micros: TimestampMicrosecondArray = longs(seeds).collect();
    let times: Time64MicrosecondArray = longs(seeds).collect();
    let decimal = |factor: i128, precision, scale| {
        let limit = 10_i128.pow(u32::from(precision));
        let unscaled = longs(seeds).map(|long| long.map(|long| i128::from(long) * factor % limit));
        let array = unscaled.collect::<Decimal128Array>();
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    vec![
        ("date", Arc::new(ints(seeds).collect::<Date32Array>())),
        (
            "time_millis",
            Arc::new(ints(seeds).collect::<Time32MillisecondArray>()),
        ),
        ("time_micros", Arc::new(times)),
        ("millis", Arc::new(millis.clone().with_timezone("UTC"))),
        ("micros", Arc::new(micros.clone().with_timezone("UTC"))),
        ("local_millis", Arc::new(millis)),
        ("local_micros", Arc::new(micros)),
        ("decimal_9", decimal(3, 9, 2)),
        ("decimal_18", decimal(3, 18, 6)),
        ("decimal_38", decimal(1_000_000_007 * 1_000_000_009, 38, 10)),
    ]
}

fn all_columns(seeds: &[Seed]) -> RecordBatch {
    let columns = plain_columns(seeds)
        .into_iter()
        .chain(logical_columns(seeds));
    batch(columns.chain(nested_columns(seeds)).collect())
}

fn nested_columns(seeds: &[Seed]) -> Vec<(&'static str, ArrayRef)> {
    let offsets = || OffsetBuffer::<i32>::from_lengths(seeds.iter().map(|seed| seed.3.len()));
    let items: Int32Array = seeds
        .iter()
        .flat_map(|seed| seed.3.iter().copied())
        .collect();
    let element = Arc::new(Field::new("element", DataType::Int32, true));
    let lists = ListArray::new(element, offsets(), Arc::new(items.clone()), None);
    let keys: StringArray = (0..items.len()).map(|at| Some(format!("k{at}"))).collect();
    let entry_fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int32, true),
    ]);
    let entries = StructArray::new(
        entry_fields.clone(),
        vec![Arc::new(keys), Arc::new(items)],
        None,
    );
    let entry = Arc::new(Field::new(
        "key_value",
        DataType::Struct(entry_fields),
        false,
    ));
    let maps = MapArray::new(entry, offsets(), entries, None, false);
    let longs: Int64Array = seeds.iter().map(|seed| seed.0).collect();
    let fields = Fields::from(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("lists", lists.data_type().clone(), false),
    ]);
    let valid = seeds
        .iter()
        .map(|seed| seed.4 != Some(false))
        .collect::<Vec<_>>();
    // Rows that are null as a whole hold nulls inside as well: a decoder cannot know better.
    let masked = NullBuffer::from(valid.clone());
    let longs = arrow::compute::nullif(
        &longs,
        &arrow::compute::not(&BooleanArray::from(valid)).unwrap(),
    );
    let empty = ListArray::new_null(
        Arc::new(Field::new("element", DataType::Int32, true)),
        seeds.len(),
    );
    let inner = arrow::compute::kernels::zip::zip(
        &BooleanArray::new(masked.inner().clone(), None),
        &lists,
        &empty,
    );
    let structs = StructArray::new(fields, vec![longs.unwrap(), inner.unwrap()], Some(masked));
    vec![
        ("list", Arc::new(lists)),
        ("map", Arc::new(maps)),
        ("struct", Arc::new(structs)),
    ]
}

fn batch(columns: Vec<(&'static str, ArrayRef)>) -> RecordBatch {
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(
        schema,
        columns.into_iter().map(|(_, array)| array).collect(),
    )
    .unwrap()
}

fn avro_of(batch: &RecordBatch) -> String {
    arrow_to_avro(&batch.schema(), "t_record", "hoodie.t").unwrap()
}

fn encode(batch: &RecordBatch, json: &str) -> Result<Vec<Vec<u8>>> {
    let bound = RecordEncoder::try_new(&batch.schema(), json)?.bind(batch)?;
    (0..batch.num_rows())
        .map(|row| {
            let mut out = Vec::new();
            bound.encode(row, &mut out).map(|()| out)
        })
        .collect()
}

fn decode(rows: &[Vec<u8>], json: &str) -> Result<RecordBatch> {
    let mut decoder = RecordDecoder::try_new(json)?;
    rows.iter().try_for_each(|row| decoder.decode(row))?;
    decoder.finish()
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn batches_round_trip(seeds in seeds()) {
        let batch = all_columns(&seeds);
        let json = avro_of(&batch);
        let rows = encode(&batch, &json).unwrap();
        assert_eq!(decode(&rows, &json).unwrap(), batch);
        // The other order of unions holds the same rows.
        let swapped = swap_unions(&json);
        let other = encode(&batch, &swapped).unwrap();
        assert!(rows.is_empty() || rows != other);
        assert_eq!(decode(&other, &swapped).unwrap(), batch);
    }

    #[test]
    fn some_columns_are_those_of_all(seeds in seeds(), choice in any::<u32>()) {
        let batch = all_columns(&seeds);
        let json = avro_of(&batch);
        let schema = batch.schema();
        let wanted: Vec<usize> = (0..batch.num_columns())
            .filter(|column| choice.rotate_left(*column as u32) & 1 == 1)
            .collect();
        let is_wanted = |name: &str| wanted.contains(&schema.index_of(name).unwrap());
        let mut decoder = RecordDecoder::projected(&json, is_wanted).unwrap();
        for row in encode(&batch, &json).unwrap() {
            decoder.decode(&row).unwrap();
        }
        let all = decode(&encode(&batch, &json).unwrap(), &json).unwrap();
        assert_eq!(decoder.finish().unwrap(), all.project(&wanted).unwrap());
    }

    #[test]
    fn another_implementation_agrees(seeds in seeds()) {
        let batch = all_columns(&seeds);
        let json = avro_of(&batch);
        let schema = apache_avro::Schema::parse_str(&json).unwrap();
        let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap();
        let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build().unwrap();
        let mut theirs = Vec::new();
        for (row, ours) in encode(&batch, &json).unwrap().iter().enumerate() {
            let mut rest = &ours[..];
            let value = reader.read_value(&mut rest).unwrap();
            assert!(rest.is_empty());
            let Value::Record(fields) = &value else { panic!("{value:?}") };
            let long = batch.column_by_name("long").unwrap().as_any().downcast_ref::<Int64Array>().unwrap();
            let Value::Union(_, found) = &fields[2].1 else { panic!("{fields:?}") };
            let expected = if long.is_null(row) { Value::Null } else { Value::Long(long.value(row)) };
            assert_eq!(**found, expected);
            theirs.push(writer.write_value_to_vec(value).unwrap());
        }
        let decoded = decode(&theirs, &json).unwrap();
        for (column, expected) in decoded.columns().iter().zip(batch.columns()) {
            match column.data_type() {
                // They keep maps as hash maps: the order of the entries is lost.
                DataType::Map(_, _) => assert_eq!(column.as_map().offsets(), expected.as_map().offsets()),
                _ => assert_eq!(column, expected),
            }
        }
    }

    #[test]
    fn foreign_bytes_never_panic(seeds in seeds(), noise in vec(any::<u8>(), 0..64), at in any::<u16>()) {
        let batch = all_columns(&seeds);
        let json = avro_of(&batch);
        for mut row in encode(&batch, &json).unwrap() {
            let at = usize::from(at) % row.len();
            let end = (at + noise.len()).min(row.len());
            row.splice(at..end, noise.iter().copied());
            let mut decoder = RecordDecoder::try_new(&json).unwrap();
            if decoder.decode(&row).is_err() {
                assert!(decoder.decode(&row).is_err() && decoder.finish().is_err());
            }
        }
    }
}

/// Makes `["null", T]` into `[T, "null"]` throughout.
fn swap_unions(json: &str) -> String {
    fn swap(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(items) => {
                items.iter_mut().for_each(swap);
                if items.first().is_some_and(|first| first == "null") {
                    items.reverse();
                }
            }
            serde_json::Value::Object(object) => object.values_mut().for_each(swap),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(json).unwrap();
    swap(&mut value);
    value.to_string()
}

#[test]
fn reads_every_type_of_a_log_block_of_hudi_and_writes_it_back() {
    let file = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/log/v9_types.log"
    ));
    let block = LogBlockReader::new(Bytes::from_static(file))
        .next()
        .unwrap()
        .unwrap();
    let json = block.header.schema().unwrap();
    let records = block
        .avro_records()
        .unwrap()
        .map(|record| Ok(record?.to_vec()));
    let records = records.collect::<Result<Vec<_>>>().unwrap();
    let batch = decode(&records, json).unwrap();
    assert!(batch.num_rows() > 0);
    let types = |name: &str| {
        batch
            .schema()
            .field_with_name(name)
            .unwrap()
            .data_type()
            .clone()
    };
    assert_eq!(types("dec38"), DataType::Decimal128(38, 10));
    assert_eq!(types("day"), DataType::Date32);
    assert_eq!(encode(&batch, json).unwrap(), records);
    // Our own schema for these columns is the one of Hudi, names of nested types included.
    let data = crate::schema::meta::without_meta_columns(&batch.schema());
    let ours = arrow_to_avro(&data, "v9_mor_types_record", "hoodie.v9_mor_types").unwrap();
    let theirs: serde_json::Value = serde_json::from_str(json).unwrap();
    let ours: serde_json::Value = serde_json::from_str(&ours).unwrap();
    assert_eq!(
        ours["fields"].as_array().unwrap()[..],
        theirs["fields"].as_array().unwrap()[5..]
    );
}

#[test]
fn values_that_do_not_fit_are_refused_by_column() {
    let json = r#"{"type":"record","name":"r","fields":[{"name":"id","type":"int"}]}"#;
    let nulls = batch(vec![(
        "id",
        Arc::new(Int32Array::from(vec![Some(1), None])),
    )]);
    let error = encode(&nulls, json).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`id`, row 1"), "{error}");
    let wide = batch(vec![("id", Arc::new(Int64Array::from(vec![1])))]);
    let error = encode(&wide, json).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`id`: Int64 cannot be written as Int32"),
        "{error}"
    );
    let other = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![1]))),
        ("x", Arc::new(Int32Array::from(vec![1]))),
    ]);
    assert!(
        encode(&other, json)
            .unwrap_err()
            .to_string()
            .contains("`x`")
    );
    let json = r#"{"type":"record","name":"r","fields":[
        {"name":"id","type":{"type":"fixed","name":"f","size":4,"logicalType":"decimal","precision":5,"scale":0}}]}"#;
    let decimals = Decimal128Array::from(vec![99_999, 100_000]).with_precision_and_scale(5, 0);
    let decimals = batch(vec![("id", Arc::new(decimals.unwrap()))]);
    assert!(
        encode(&decimals, json)
            .unwrap_err()
            .to_string()
            .contains("row 1")
    );
}

#[test]
fn narrower_and_other_text_arrays_are_taken() {
    let json = r#"{"type":"record","name":"r","fields":[{"name":"n","type":"long"},
        {"name":"s","type":["string","null"]},{"name":"e","type":{"type":"enum","name":"e","symbols":["A","B"]}}]}"#;
    let text: arrow::array::DictionaryArray<arrow::datatypes::Int32Type> =
        vec![Some("x"), None, Some("x")].into_iter().collect();
    let batch = batch(vec![
        ("n", Arc::new(Int32Array::from(vec![1, 2, 3]))),
        ("s", Arc::new(text)),
        (
            "e",
            Arc::new(arrow::array::StringViewArray::from(vec!["A", "B", "A"])),
        ),
    ]);
    let decoded = decode(&encode(&batch, json).unwrap(), json).unwrap();
    assert_eq!(decoded.column(0).as_ref(), &Int64Array::from(vec![1, 2, 3]));
    assert_eq!(
        decoded.column(1).as_ref(),
        &StringArray::from(vec![Some("x"), None, Some("x")])
    );
    assert_eq!(
        decoded.column(2).as_ref(),
        &StringArray::from(vec!["A", "B", "A"])
    );
}

#[test]
fn columns_that_are_not_wanted_are_not_looked_into() {
    let json = r#"{"type":"record","name":"r","fields":[
        {"name":"text","type":"string"},{"name":"id","type":"long"}]}"#;
    let row = [4, 0xff, 0xfe, 14];
    assert!(decode(&[row.to_vec()], json).is_err());
    let mut decoder = RecordDecoder::projected(json, |name| name == "id").unwrap();
    decoder.decode(&row).unwrap();
    let rows = decoder.finish().unwrap();
    assert_eq!((rows.num_columns(), rows.num_rows()), (1, 1));
    let endless = r#"{"type":"record","name":"r","fields":[
        {"name":"nothing","type":{"type":"array","items":"null"}}]}"#;
    let mut decoder = RecordDecoder::projected(endless, |_| false).unwrap();
    assert!(decoder.decode(&[0xfe, 0xff, 0xff, 0x7f, 0]).is_err());
}

#[test]
fn items_without_bytes_cannot_fill_the_memory() {
    let json = r#"{"type":"record","name":"r","fields":[{"name":"n","type":{"type":"array","items":"null"}}]}"#;
    let mut bytes = Vec::new();
    cursor::put_long(i64::MAX, &mut bytes);
    let error = decode(&[bytes], json).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
