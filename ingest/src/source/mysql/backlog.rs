//! What of a server's log lies behind a position: in bytes by the sizes of its files, in time by the first event.

use super::binlog::BinlogDecoder;
use super::connection::{Connection, MySqlOptions};
use super::dump::BinlogStream;
use super::result_set::TextRow;
use crate::Result;
use crate::position::BinlogPosition;

/// A look into the log must not take the place of a daemon that reads it under its own id.
const PROBE_ID_BIT: u32 = 1 << 29;

/// The files of the server's log with their sizes, the oldest first.
///
/// # Errors
/// What the server reports.
pub async fn log_files(connection: &mut Connection) -> Result<Vec<(String, u64)>> {
    let rows = connection.query("SHOW BINARY LOGS").await?;
    let file = |row: &TextRow| Ok((row.require(0)?.to_owned(), row.parse_at(1)?));
    rows.iter().map(file).collect()
}

/// The bytes in `files` behind offset `pos` of `file`; `None` when the file is not among them.
pub fn bytes_behind(files: &[(String, u64)], file: &str, pos: u64) -> Option<u64> {
    let at = files.iter().position(|(name, _)| name == file)?;
    let behind: u64 = files.get(at..)?.iter().map(|(_, size)| size).sum();
    Some(behind.saturating_sub(pos))
}

/// When the first event behind `position` was written, in seconds since 1970; `None` at the end of the log.
///
/// # Errors
/// As [`BinlogStream::open`].
pub async fn next_event_time(
    options: &MySqlOptions,
    server_id: u32,
    position: &BinlogPosition,
) -> Result<Option<u32>> {
    let id = server_id ^ PROBE_ID_BIT;
    let mut stream = BinlogStream::open_to_end(options, id, position).await?;
    let mut decoder = BinlogDecoder::default();
    while let Some(raw) = stream.next_before_end().await? {
        let (header, _) = decoder.decode(raw)?;
        if header.timestamp > 0 && !header.is_artificial() {
            return Ok(Some(header.timestamp));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_rest_of_the_file_and_all_later_ones() {
        let files = [
            ("b.1".to_owned(), 100),
            ("b.2".to_owned(), 50),
            ("b.3".to_owned(), 7),
        ];
        assert_eq!(bytes_behind(&files, "b.2", 10), Some(47));
        assert_eq!(bytes_behind(&files, "b.3", 7), Some(0));
        assert_eq!(bytes_behind(&files, "b.0", 4), None);
    }
}
