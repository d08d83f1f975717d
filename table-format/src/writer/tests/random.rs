//! Random batches over many small file groups, with and without reopening in between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::writer::WriteOperation;
use crate::writer::tests::model::{Change, Model, Shape, batch, create, local, small_writer};

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (
        0_i64..400,
        0_usize..2,
        prop::option::weighted(0.75, 0_i64..1_000),
    );
    prop::collection::vec(change, 1..120).prop_map(|changes| {
        let change = |(id, region, price): (i64, usize, Option<i64>)| Change {
            id,
            region: ["eu", "us"][region],
            price,
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_table_equals_its_model(instants in instants()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for shape in Shape::all() {
            runtime.block_on(async {
                let dir = tempfile::tempdir().unwrap();
                let storage = local(&dir);
                let table = create(&storage, shape).await;
                let mut writer = small_writer(&table).await;
                let mut model = Model::default();
                for (batches, reopens) in &instants {
                    if *reopens {
                        writer = small_writer(&table).await;
                    }
                    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
                    for changes in batches {
                        transaction.upsert(batch(changes)).await.unwrap();
                        model.apply(shape, changes);
                    }
                    transaction.commit(BTreeMap::new()).await.unwrap();
                    writer.check_ranges(&storage).await;
                }
                model.check(&storage).await;
            });
        }
    }
}
