//! How many bytes of the source's log lie behind the position that has been read: asked for now and then, beside the stream.

use std::time::Duration;

use super::progress::Progress;
use crate::error::Result;
use crate::source::mysql::backlog::{bytes_behind, log_files};
use crate::source::mysql::connection::{Connection, MySqlOptions};

/// How often the server is asked for its log files.
const INTERVAL: Duration = Duration::from_secs(15);

/// Watches for ever. A server that does not answer makes the lag unknown; the stream itself says what is wrong.
pub(super) async fn watch(options: &MySqlOptions, progress: &Progress) {
    loop {
        if let Err(error) = watch_on_one_connection(options, progress).await {
            tracing::debug!(%error, "the lag in bytes is not known");
            progress.set_lag_bytes(None);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn watch_on_one_connection(options: &MySqlOptions, progress: &Progress) -> Result<()> {
    let mut connection = Connection::connect(options).await?;
    loop {
        let files = log_files(&mut connection).await?;
        let behind = progress
            .place()
            .and_then(|(file, pos)| bytes_behind(&files, &file, pos));
        progress.set_lag_bytes(behind);
        tokio::time::sleep(INTERVAL).await;
    }
}
