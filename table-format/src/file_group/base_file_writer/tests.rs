//! A base file as other engines look at it: footer, column types, statistics.

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::basic::Type;

use super::*;
use crate::codec::bloom::{
    BloomFilter, BloomFilterType, FOOTER_KEY, MAX_RECORD_KEY, MIN_RECORD_KEY, TYPE_CODE_KEY,
};
use crate::env::MemoryBudget;
use crate::file_group::ParquetSource;
use crate::index::key_value::{KeyRange, KeyValue, range_in_footer};
use crate::schema::avro::arrow_to_avro;
use crate::schema::meta::with_meta_columns;

fn format(row_group_bytes: u64) -> BaseFileFormat {
    let schema = with_meta_columns(&Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("price", DataType::Decimal128(9, 2), true),
    ]));
    let options = BaseFileOptions {
        compression: Compression::SNAPPY,
        row_group_bytes,
        bloom_fpp: 0.01,
    };
    BaseFileFormat {
        avro_schema: arrow_to_avro(&schema, "t_record", "hoodie.t").unwrap(),
        schema,
        table_name: "t".to_owned(),
        record_key: vec!["id".to_owned()],
        options,
    }
}

fn rows(schema: &SchemaRef, ids: std::ops::Range<i64>) -> RecordBatch {
    let text = |of: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(ids.clone().map(|id| Some(of(id))).collect::<StringArray>())
    };
    let price = ids
        .clone()
        .map(|id| Some(i128::from(id) * 125))
        .collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        text(&|_| "20261121093000123".to_owned()),
        text(&|id| format!("20261121093000123_0_{id}")),
        text(&|id| id.to_string()),
        text(&|_| String::new()),
        text(&|_| "f".to_owned()),
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(price.with_precision_and_scale(9, 2).unwrap()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

async fn written(row_group_bytes: u64) -> (tempfile::TempDir, Arc<ParquetMetaData>, Env, u64) {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
    let env = Env::system(MemoryBudget::new(64 << 20));
    let format = format(row_group_bytes);
    let mut writer = BaseFileWriter::try_new(
        &format,
        storage.clone(),
        env.clone(),
        "p/f.parquet".to_owned(),
    )
    .unwrap();
    for part in 0..5 {
        let schema = Arc::clone(&format.schema);
        writer
            .write(move |_| Ok(rows(&schema, part * 40_000..(part + 1) * 40_000)))
            .await
            .unwrap();
    }
    let file = writer.finish().await.unwrap();
    assert_eq!(
        (file.rows, file.size_bytes),
        (200_000, storage.size("p/f.parquet").await.unwrap())
    );
    let source = ParquetSource::new(storage, "p/f.parquet".to_owned(), file.size_bytes);
    (dir, source.footer().await.unwrap(), env, file.size_bytes)
}

#[tokio::test]
async fn hazard_8_the_footer_knows_every_key() {
    let (_dir, footer, _, _) = written(16 << 20).await;
    let entries = footer.file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| {
        entries
            .iter()
            .find(|entry| entry.key == key)
            .unwrap()
            .value
            .clone()
            .unwrap()
    };
    // Keys compare as text: 99999 is the largest.
    assert_eq!(
        (
            value(MIN_RECORD_KEY).as_str(),
            value(MAX_RECORD_KEY).as_str()
        ),
        ("0", "99999")
    );
    assert_eq!(value(TYPE_CODE_KEY), "SIMPLE");
    let filter = BloomFilter::from_base64(&value(FOOTER_KEY), BloomFilterType::Simple).unwrap();
    assert!((0..200_000).all(|id: i64| filter.might_contain(&id.to_string())));
    let wrong = (300_000..310_000)
        .filter(|id: &i64| filter.might_contain(&id.to_string()))
        .count();
    assert!(wrong < 300, "{wrong} of 10000 absent keys pass");
    assert!(entries.iter().all(|entry| entry.key != "ARROW:schema"));
}

#[tokio::test]
async fn hazard_6_decimals_are_bytes_of_fixed_length() {
    let (_dir, footer, _, _) = written(16 << 20).await;
    let schema = footer.file_metadata().schema_descr();
    assert_eq!(schema.column(6).physical_type(), Type::FIXED_LEN_BYTE_ARRAY);
    let range = range_in_footer(&footer, "price", &DataType::Decimal128(9, 2));
    let bound = |value: i128| Some(KeyValue::Number(value));
    assert_eq!(
        range,
        Some(KeyRange {
            min: bound(0),
            max: bound(199_999 * 125)
        })
    );
}

#[tokio::test]
async fn row_groups_bound_the_memory() {
    let (_dir, footer, env, size_bytes) = written(1 << 20).await;
    assert!(
        footer.num_row_groups() > 3,
        "{} row groups",
        footer.num_row_groups()
    );
    let range = range_in_footer(&footer, "id", &DataType::Int64);
    let bound = |value: i128| Some(KeyValue::Number(value));
    assert_eq!(
        range,
        Some(KeyRange {
            min: bound(0),
            max: bound(199_999)
        })
    );
    assert_eq!(
        env.memory.used_bytes(),
        0,
        "everything booked is given back"
    );
    let peak = env.memory.peak_bytes();
    assert!(
        peak > 1 << 20 && peak < (12 << 20),
        "{peak} bytes at most, file {size_bytes}"
    );
}
