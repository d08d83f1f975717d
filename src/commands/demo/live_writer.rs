//! Someone who works in the shop while it is copied: inserts, updates, deletes, key changes and rollbacks, in transactions
//! over several tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use ingest::source::mysql::connection::Connection;
use ingest::source::mysql::connection::MySqlOptions;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::shop::ORDERS;

const WRITERS: u64 = 2;
const PAUSE: Duration = Duration::from_millis(4);

/// Writers that go on until they are stopped.
#[derive(Debug)]
pub(super) struct LiveWriters {
    tasks: JoinSet<Result<()>>,
    stop: CancellationToken,
    changes: Arc<AtomicU64>,
}

impl LiveWriters {
    pub(super) fn start(options: &MySqlOptions) -> Self {
        let (stop, changes) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for seed in 1..=WRITERS {
            tasks.spawn(write(
                options.clone(),
                seed,
                stop.clone(),
                Arc::clone(&changes),
            ));
        }
        Self {
            tasks,
            stop,
            changes,
        }
    }

    /// Stops them after their transaction and returns how many rows they changed.
    pub(super) async fn stop(mut self) -> Result<u64> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(self.changes.load(Ordering::Relaxed))
    }
}

async fn write(
    options: MySqlOptions,
    seed: u64,
    stop: CancellationToken,
    changes: Arc<AtomicU64>,
) -> Result<()> {
    let mut connection = Connection::connect(&options).await?;
    let mut random = seed;
    let mut draw = |below: u64| {
        // Knuth's MMIX generator: the demo only needs its choices to differ.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below + 1
    };
    for round in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        let recent = ORDERS - draw(20_000) + 1;
        let statements = [
            "START TRANSACTION".to_owned(),
            format!(
                "INSERT INTO shop.orders (customer_id, status, total, items, note, created_at)
                 VALUES ({}, 'new', {}.5, 2, 'live', NOW(6)), ({}, 'new', 9.99, 1, NULL, NOW(6))",
                draw(50_000),
                draw(900),
                draw(50_000)
            ),
            format!(
                "UPDATE shop.orders SET status = 'shipped', total = total + 1 WHERE id BETWEEN {recent} AND {recent} + 4"
            ),
            format!(
                "UPDATE shop.customers SET balance = balance - 1 WHERE id = {}",
                draw(50_000)
            ),
            format!("DELETE FROM shop.orders WHERE id = {}", draw(ORDERS)),
            if round % 50 == 7 {
                format!(
                    "UPDATE shop.customers SET id = id + 100000 WHERE id = {}",
                    draw(50_000)
                )
            } else {
                "UPDATE shop.every_type SET c_big = c_big + 1 WHERE id = 1".to_owned()
            },
            if round % 20 == 3 {
                "ROLLBACK"
            } else {
                "COMMIT"
            }
            .to_owned(),
        ];
        for statement in &statements {
            // Two writers may wait for each other's row or meet on a key; the server then undoes the transaction.
            if connection.execute(statement).await.is_err() {
                connection.execute("ROLLBACK").await?;
                break;
            }
        }
        changes.fetch_add(10, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
