//! Random histories of writes, plans and executions, with deaths in between, against the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use proptest::prelude::*;

use crate::config::TableVersion;
use crate::error::ErrorKind;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore};
use crate::timeline::Action;
use crate::writer::WriteOperation;
use crate::writer::tests::compaction::{Story, merge_on_read};
use crate::writer::tests::model::{Change, Key, Shape, batch, env, small_writer};

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Change>),
    /// A write under way while the next step happens.
    WriteAcross(Vec<Change>),
    Schedule,
    /// Of a log compaction.
    ScheduleLogs,
    /// The n-th pending plan of either kind.
    Execute(usize),
    /// The n-th pending plan, by a process that dies at a changing call.
    Die(usize, u64, bool),
    Reopen,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (
        0_i64..120,
        0_usize..2,
        prop::option::weighted(0.7, 0_i64..1_000),
    );
    let change = change.prop_map(|(id, region, price)| Change {
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
        3 => Just(Step::Schedule),
        2 => Just(Step::ScheduleLogs),
        3 => (0_usize..3).prop_map(Step::Execute),
        2 => (0_usize..3, 0_u64..30, any::<bool>()).prop_map(|(plan, at, applies)| Step::Die(plan, at, applies)),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 4..24)
}

async fn execute(storage: Storage, plan: usize) {
    let Ok(table) = Table::open_storage(storage).await else {
        return;
    };
    let services = table.services(env(), BTreeMap::new());
    let mut pending = services.pending_compactions().await.unwrap();
    pending.extend(services.pending_log_compactions().await.unwrap());
    if let Some(instant) = pending.get(plan) {
        match instant.action {
            Action::LogCompaction => drop(services.execute_log_compaction(&instant.time).await),
            _ => drop(services.execute_compaction(&instant.time).await),
        }
    }
}

async fn take(story: &mut Story, step: &Step) {
    match step {
        Step::Write(changes) => drop(story.write(changes).await),
        Step::Schedule => {
            // On version 6 not while a write is pending.
            let scheduled = story.services().schedule_compaction(Due::Now).await;
            if let Err(error) = scheduled {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert_eq!(story.table.config().version(), TableVersion::Six, "{error}");
            }
        }
        Step::ScheduleLogs if story.table.config().version() == TableVersion::Six => {}
        Step::ScheduleLogs => {
            let scheduled = story.services().schedule_log_compaction(Due::Now).await;
            scheduled.unwrap();
        }
        Step::Execute(plan) => execute(story.storage.clone(), *plan).await,
        Step::Die(plan, at, applies) => {
            let fault = if *applies {
                Fault::ApplyThenFail
            } else {
                Fault::Fail
            };
            let faulty = FaultyStore::new(Arc::clone(story.storage.object_store()), *at, fault);
            let root: Path = story.storage.object_path("").unwrap();
            let storage = Storage::with_store(Arc::new(faulty), root, story.storage.location());
            execute(storage, *plan).await;
        }
        Step::Reopen => story.writer = small_writer(&story.table).await,
        Step::WriteAcross(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn histories_with_compactions_equal_their_model(steps in steps(), is_partitioned in any::<bool>(), composite in any::<bool>(), is_six in any::<bool>()) {
        let shape = Shape {
            is_partitioned,
            key: if composite { Key::Composite } else { Key::Int },
            ..merge_on_read()
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let version = if is_six { TableVersion::Six } else { TableVersion::Nine };
            let mut story = Story::begin_version(shape, version).await;
            let mut steps = steps.iter().peekable();
            while let Some(step) = steps.next() {
                if let Step::WriteAcross(changes) = step {
                    let mut transaction = story.writer.begin(WriteOperation::Upsert).await.unwrap();
                    let (first, second) = changes.split_at(changes.len() / 2);
                    transaction.upsert(batch(first)).await.unwrap();
                    if let Some(next) = steps.next_if(|next| matches!(next, Step::Schedule | Step::ScheduleLogs | Step::Execute(_) | Step::Die(..))) {
                        take(&mut story, next).await;
                    }
                    transaction.upsert(batch(second)).await.unwrap();
                    transaction.commit(BTreeMap::new()).await.unwrap();
                    story.model.apply(shape, changes);
                } else {
                    take(&mut story, step).await;
                }
                story.model.check(&story.storage).await;
            }
            story.services().execute_pending_log_compactions().await.unwrap();
            story.services().execute_pending_compactions().await.unwrap();
            story.model.check(&story.storage).await;
            story.write(&[]).await;
            story.writer.check_ranges(&story.storage).await;
        });
    }
}
