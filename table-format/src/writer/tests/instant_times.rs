//! Two instants never bear one time: their files could not be told apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::env::{Clock, Env};
use crate::service::compaction::Due;
use crate::timeline::metadata::WriteOperation;
use crate::transaction::TableLock;
use crate::writer::WriterOptions;
use crate::writer::tests::compaction::{Story, merge_on_read, rows};
use crate::writer::tests::model::{batch, env};

/// Everything happens within one millisecond.
#[derive(Debug)]
struct Stopped(DateTime<Utc>);

impl Clock for Stopped {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

#[tokio::test]
async fn hazard_14_a_write_that_begins_while_a_compaction_is_planned_has_a_time_of_its_own() {
    let shape = merge_on_read();
    let mut story = Story::with_logs(shape).await;
    let stopped = Stopped(env().clock.now() + TimeDelta::seconds(1));
    let env = Env {
        clock: Arc::new(stopped),
        ..env()
    };
    let mut writer = story
        .table
        .writer(env.clone(), WriterOptions::default())
        .await
        .unwrap();
    let services = story.table.services(env.clone(), BTreeMap::new());
    // Both have looked at the timeline when the lock is given back. Who has waited for long asks for it less often, so the
    // write is the first to be announced, and the plan comes with the same time.
    let lock = TableLock::try_new(&story.storage, &env).unwrap();
    let guard = lock.acquire().await.unwrap();
    let begin = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        writer.begin(WriteOperation::Upsert).await
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(750)).await;
        guard.release().await;
    };
    let schedule = services.schedule_compaction(Due::Now);
    let (planned, write, ()) = tokio::join!(schedule, begin, release);
    let (planned, mut write) = (planned.unwrap().unwrap(), write.unwrap());
    assert_ne!(*write.instant_time(), planned.instant.time);
    write.upsert(batch(&rows(0..60, Some(9)))).await.unwrap();
    write.commit(BTreeMap::new()).await.unwrap();
    story.model.apply(shape, &rows(0..60, Some(9)));
    story.model.check(&story.storage).await;
    services.execute_pending_compactions().await.unwrap();
    story.model.check(&story.storage).await;
}
