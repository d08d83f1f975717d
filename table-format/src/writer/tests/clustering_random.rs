//! Random histories of writes, compactions and clusterings, with deaths in between, against the model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::config::TableVersion;
use crate::error::ErrorKind;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::Fault;
use crate::writer::WriteOperation;
use crate::writer::tests::clustering::{copy_on_write, services};
use crate::writer::tests::clustering_crash::dying;
use crate::writer::tests::compaction::{Story, merge_on_read};
use crate::writer::tests::model::{Change, Key, Shape, batch, env, small_writer};

#[derive(Debug, Clone)]
enum Step {
    /// An upsert, which a pending plan may refuse.
    Write(Vec<Change>),
    /// An upsert under way while the next step happens.
    WriteAcross(Vec<Change>),
    /// A plan; files are small below so many bytes, and rows may be sorted.
    Schedule(u64, bool),
    Execute,
    /// An execution by a process that dies at a changing call.
    Die(u64, bool),
    Compact,
    Reopen,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let price = prop::option::weighted(0.7, 0_i64..1_000);
    let change = (0_i64..120, 0_usize..2, price).prop_map(|(id, region, price)| Change {
        id,
        region: ["eu", "us"][region],
        price,
        ts: 0,
    });
    prop::collection::vec(change, 1..50)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => changes().prop_map(Step::Write),
        2 => changes().prop_map(Step::WriteAcross),
        3 => (4_000_u64..20_000, any::<bool>()).prop_map(|(bytes, sorts)| Step::Schedule(bytes, sorts)),
        3 => Just(Step::Execute),
        2 => (0_u64..30, any::<bool>()).prop_map(|(at, applies)| Step::Die(at, applies)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 4..24)
}

async fn execute(storage: Storage) {
    if let Ok(table) = Table::open_storage(storage).await {
        let services = table.services(env(), BTreeMap::new());
        drop(services.execute_pending_clusterings().await);
    }
}

async fn take(story: &mut Story, step: &Step) {
    match step {
        Step::Schedule(bytes, sorts) => {
            let bytes = bytes.to_string();
            let mut pairs = vec![(
                "hoodie.clustering.plan.strategy.small.file.limit",
                bytes.as_str(),
            )];
            if *sorts {
                pairs.push(("hoodie.clustering.plan.strategy.sort.columns", "price,code"));
            }
            let services = services(story, &pairs);
            drop(services.schedule_clustering(Due::Now).await.unwrap());
        }
        Step::Execute => execute(story.storage.clone()).await,
        Step::Die(at, applies) => {
            let fault = if *applies {
                Fault::ApplyThenFail
            } else {
                Fault::Fail
            };
            execute(dying(story, *at, fault)).await;
        }
        Step::Compact if story.shape == merge_on_read() => {
            let services = story.services();
            // On version 6 not while a write is pending.
            if let Err(error) = services.schedule_compaction(Due::Now).await {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert_eq!(story.table.config().version(), TableVersion::Six, "{error}");
            }
            drop(services.execute_pending_compactions().await.unwrap());
        }
        Step::Reopen => story.writer = small_writer(&story.table).await,
        Step::Compact | Step::Write(_) | Step::WriteAcross(_) => {}
    }
}

/// What commits counts; what is refused does not.
async fn write(story: &mut Story, changes: &[Change], next: Option<&Step>) {
    let mut transaction = story.writer.begin(WriteOperation::Upsert).await.unwrap();
    let (first, second) = changes.split_at(changes.len() / 2);
    transaction.upsert(batch(first)).await.unwrap();
    if let Some(next) = next {
        take(story, next).await;
    }
    transaction.upsert(batch(second)).await.unwrap();
    if transaction.commit(BTreeMap::new()).await.is_ok() {
        story.model.apply(story.shape, changes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn histories_with_clusterings_equal_their_model(steps in steps(), logs in any::<bool>(), composite in any::<bool>(), is_six in any::<bool>()) {
        let shape = Shape {
            key: if composite { Key::Composite } else { Key::Int },
            ..if logs { merge_on_read() } else { copy_on_write() }
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let version = if is_six { TableVersion::Six } else { TableVersion::Nine };
            let mut story = Story::begin_version(shape, version).await;
            let mut steps = steps.iter().peekable();
            while let Some(step) = steps.next() {
                match step {
                    Step::Write(changes) => write(&mut story, changes, None).await,
                    Step::WriteAcross(changes) => {
                        let next = steps.next_if(|next| matches!(next, Step::Schedule(..) | Step::Execute | Step::Die(..)));
                        write(&mut story, changes, next).await;
                    }
                    _ => take(&mut story, step).await,
                }
                story.model.check(&story.storage).await;
            }
            story.services().execute_pending_clusterings().await.unwrap();
            story.model.check(&story.storage).await;
            story.write(&[]).await;
            story.writer.check_ranges(&story.storage).await;
        });
    }
}
