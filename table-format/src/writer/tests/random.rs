//! Random batches over many small file groups, with and without reopening in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::config::TableVersion;
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create_version, local, small_writer,
};
use crate::writer::{TableWriter, WriteOperation};

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (
        0_i64..400,
        0_usize..2,
        prop::option::weighted(0.75, 0_i64..1_000),
        1_i64..40,
    );
    prop::collection::vec(change, 1..120).prop_map(|changes| {
        let change = |(id, region, price, ts): (i64, usize, Option<i64>, i64)| Change {
            id,
            region: ["eu", "us"][region],
            price,
            ts,
        };
        changes.into_iter().map(change).collect()
    })
}

/// One instant: its batches, and whether a new writer is opened before it.
fn instants() -> impl Strategy<Value = Vec<(Vec<Vec<Change>>, bool)>> {
    prop::collection::vec(
        (prop::collection::vec(changes(), 1..4), any::<bool>()),
        1..6,
    )
}

fn versions() -> impl Strategy<Value = TableVersion> {
    prop::sample::select(vec![TableVersion::Six, TableVersion::Nine])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_table_equals_its_model(instants in instants(), version in versions()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for shape in Shape::all() {
            runtime.block_on(async {
                let dir = tempfile::tempdir().unwrap();
                let storage = local(&dir);
                let table = create_version(&storage, shape, version).await;
                let mut writer = small_writer(&table).await;
                let mut model = Model::default();
                for (batches, reopens) in &instants {
                    if *reopens {
                        writer = small_writer(&table).await;
                    }
                    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
                    for changes in batches {
                        transaction.upsert(batch(changes)).await.unwrap();
                    }
                    model.apply_instant(shape, batches);
                    transaction.commit(BTreeMap::new()).await.unwrap();
                    writer.check_ranges(&storage).await;
                }
                model.check(&storage).await;
            });
        }
    }

    #[test]
    fn every_operation_does_to_a_table_what_it_does_to_its_model(
        writes in prop::collection::vec((changes(), 0_usize..8), 1..9),
        version in versions(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for shape in Shape::all().filter(|shape| shape.key == Key::Int) {
            runtime.block_on(async {
                let dir = tempfile::tempdir().unwrap();
                let storage = local(&dir);
                let table = create_version(&storage, shape, version).await;
                let mut writer = small_writer(&table).await;
                let mut model = Model::default();
                let mut fresh = 1_000;
                for (changes, operation) in &writes {
                    write(&mut writer, &mut model, shape, changes, *operation, &mut fresh).await;
                    model.check(&storage).await;
                    writer.check_ranges(&storage).await;
                }
            });
        }
    }
}

/// Rows of the changes whose keys were never used.
fn new_rows(changes: &[Change], fresh: &mut i64) -> Vec<Change> {
    let rows = changes.iter().map(|change| {
        *fresh += 1;
        Change {
            id: *fresh,
            price: Some(change.price.unwrap_or(5)),
            ..change.clone()
        }
    });
    rows.collect()
}

/// One instant, on the table and on its model.
async fn write(
    writer: &mut TableWriter,
    model: &mut Model,
    shape: Shape,
    changes: &[Change],
    operation: usize,
    fresh: &mut i64,
) {
    use WriteOperation as O;
    let operations = [
        O::Upsert,
        O::Upsert,
        O::Insert,
        O::BulkInsert,
        O::Delete,
        O::InsertOverwrite,
        O::InsertOverwriteTable,
        O::DeletePartition,
    ];
    let operation = operations[operation];
    let mut transaction = writer.begin(operation).await.unwrap();
    let rows = match operation {
        O::Upsert => {
            transaction.upsert(batch(changes)).await.unwrap();
            model.apply(shape, changes);
            transaction.commit(BTreeMap::new()).await.unwrap();
            return;
        }
        O::Delete | O::DeletePartition => changes.to_vec(),
        _ => new_rows(changes, fresh),
    };
    let paths: BTreeSet<String> = rows.iter().map(|row| shape.partition_path(row)).collect();
    for part in rows.chunks(50) {
        transaction.write(batch(part).records).await.unwrap();
    }
    transaction.commit(BTreeMap::new()).await.unwrap();
    match operation {
        O::Delete => model.delete(shape, &rows),
        O::DeletePartition => model.drop_partitions(|path| paths.contains(path)),
        O::InsertOverwrite => {
            model.drop_partitions(|path| paths.contains(path));
            model.apply(shape, &rows);
        }
        O::InsertOverwriteTable => {
            model.drop_partitions(|_| true);
            model.apply(shape, &rows);
        }
        _ => model.apply(shape, &rows),
    }
}
