//! Loading a table whose rows are appended: no row may be read twice, so all of them come from one view whose position in the log
//! is exact, over one connection and in one commit.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use table_format::record::RowKind;
use table_format::timeline::Instant as CommittedInstant;
use table_format::timeline::metadata::WriteStat;
use tokio::time::Instant;

use super::loader::{SnapshotLoader, TableLoad};
use crate::error::{Error, ErrorKind, Result};
use crate::position::SourcePosition;
use crate::source::mysql::chunk::read_where;
use crate::source::mysql::connection::Connection;
use crate::source::mysql::safe_position::exact_view;

impl SnapshotLoader {
    /// Reads the whole table into the instant that is open, and commits it. What was read is lost when the process ends before.
    pub(super) async fn load_view<P: SourcePosition>(
        &self,
        mut load: TableLoad<'_, P>,
    ) -> Result<Option<CommittedInstant>> {
        load.begin(0);
        let (position, stats) = match self.read_view(&mut load).await {
            Ok(read) => read,
            Err(error) => {
                load.lake.abort().await?;
                return Err(error);
            }
        };
        load.lake.add(stats)?;
        *load.snapshot_mut() = None;
        load.checkpoint.tables[load.number].position = position;
        Ok(Some(self.commit(&mut load).await?))
    }

    async fn read_view<P: SourcePosition>(
        &self,
        load: &mut TableLoad<'_, P>,
    ) -> Result<(P, Vec<WriteStat>)> {
        let mut connection = Connection::connect_snapshot(&self.options).await?;
        let position = exact_view(&mut connection).await?;
        let position = P::of_log(position)
            .ok_or_else(|| Error::internal("rows are appended by their place in the log"))?;
        let conform = load.lake.conform(load.feed, &load.source)?;
        let mut writer = load.lake.bulk_inserts()?();
        let mut builder = load.new_builder()?;
        let source = Arc::clone(&load.source);
        let mut rows = read_where(&mut connection, &source, "TRUE").await?;
        builder.check_result(rows.columns())?;
        let began = Instant::now();
        loop {
            let row = rows.next_row().await?;
            let is_end = row.is_none();
            if let Some(row) = row {
                builder.append_binary_row(row, RowKind::Insert)?;
            }
            if builder.bytes() >= self.plan.batch_bytes || (is_end && builder.rows() > 0) {
                let count = builder.rows() as u64;
                self.throttle.take(count).await;
                writer.write(&conform(builder.finish()?.records)?).await?;
                load.progress.snapshot_rows.fetch_add(count, Relaxed);
            }
            if is_end {
                break;
            }
            if self.shutdown.is_cancelled() {
                let message = format!("stopped while {source} was being loaded in one view");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
        tracing::info!(table = %source, %position, elapsed = ?began.elapsed(), "read in one view");
        connection.execute("COMMIT").await?;
        Ok((position, writer.finish().await?))
    }
}
