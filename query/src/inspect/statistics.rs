//! How well a table is kept: sizes of files, small files, logs that wait for compaction, and what its writes cost.

use table_format::table::Table;

use super::files::{FileFacts, FileKind, files};
use super::timeline::{InstantFacts, timeline};
use crate::error::Result;

/// Base files below this are small. Java: HoodieCompactionConfig.PARQUET_SMALL_FILE_LIMIT.
const SMALL_FILE_BYTES: u64 = 104_857_600;

/// The spread of the sizes of some files, in bytes; zeros when there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// How many.
    pub files: u64,
    /// Their sum.
    pub total_bytes: u64,
    /// The smallest.
    pub min_bytes: u64,
    /// Half of them are no larger.
    pub median_bytes: u64,
    /// Nineteen of twenty are no larger.
    pub p95_bytes: u64,
    /// The largest.
    pub max_bytes: u64,
}

/// What a table looks like to those who tune it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableStatistics {
    /// Partitions with files of the latest snapshot.
    pub partitions: u64,
    /// File groups of the latest snapshot.
    pub file_groups: u64,
    /// File groups of it with log files.
    pub file_groups_with_logs: u64,
    /// Base files of the latest snapshot.
    pub base_files: Sizes,
    /// Those below 100 MiB, Hudi's limit of small files.
    pub small_files: u64,
    /// Log files of the latest snapshot.
    pub log_files: Sizes,
    /// Files that it does not read: older slices, change data, leftovers of failed writes.
    pub other_files: Sizes,
    /// Completed writes of rows.
    pub writes: u64,
    /// Completed compactions, log compactions and clusterings.
    pub services: u64,
    /// Rows that the writes inserted, updated or deleted.
    pub rows_changed: u64,
    /// Rows in the files that they and the services wrote.
    pub rows_written: u64,
    /// Bytes of these files.
    pub bytes_written: u64,
}

impl TableStatistics {
    /// Rows written for each row changed; `None` when nothing was changed.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn write_amplification(&self) -> Option<f64> {
        (self.rows_changed > 0).then(|| self.rows_written as f64 / self.rows_changed as f64)
    }
}

/// Takes the statistics of a table, from both timelines and the names of the files.
///
/// # Errors
/// When the timelines or the folders cannot be read.
pub async fn statistics(table: &Table) -> Result<TableStatistics> {
    let mut statistics = of_files(&files(table).await?);
    for instant in timeline(table, true).await? {
        add_write(&mut statistics, &instant);
    }
    Ok(statistics)
}

fn add_write(statistics: &mut TableStatistics, facts: &InstantFacts) {
    if !facts.instant.action.is_write() || facts.files == 0 {
        return;
    }
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let operation = facts.operation.as_deref().unwrap_or_default();
    if matches!(operation, "COMPACT" | "LOG_COMPACT" | "CLUSTER") {
        statistics.services += 1;
    } else {
        statistics.writes += 1;
        statistics.rows_changed += count(facts.inserts + facts.updates + facts.deletes);
    }
    statistics.rows_written += count(facts.rows);
    statistics.bytes_written += count(facts.bytes);
}

fn of_files(files: &[FileFacts]) -> TableStatistics {
    let of = |is_wanted: &dyn Fn(&FileFacts) -> bool| -> Vec<&FileFacts> {
        files.iter().filter(|file| is_wanted(file)).collect()
    };
    let latest = of(&|file| file.is_latest);
    let bases = of(&|file| file.is_latest && file.kind == FileKind::Base);
    let logs = of(&|file| file.is_latest && file.kind == FileKind::Log);
    let groups = |files: &[&FileFacts]| distinct(files, |file| (&file.partition, &file.file_id));
    let small = bases.iter().filter(|file| file.bytes < SMALL_FILE_BYTES);
    TableStatistics {
        partitions: distinct(&latest, |file| (&file.partition, &file.partition)),
        file_groups: groups(&latest),
        file_groups_with_logs: groups(&logs),
        small_files: small.count() as u64,
        base_files: Sizes::of(&bases),
        log_files: Sizes::of(&logs),
        other_files: Sizes::of(&of(&|file| !file.is_latest)),
        ..TableStatistics::default()
    }
}

fn distinct<'a>(
    files: &[&'a FileFacts],
    what: impl Fn(&'a FileFacts) -> (&'a String, &'a String),
) -> u64 {
    let all: std::collections::BTreeSet<_> = files.iter().map(|file| what(file)).collect();
    all.len() as u64
}

impl Sizes {
    fn of(files: &[&FileFacts]) -> Self {
        let mut sizes: Vec<u64> = files.iter().map(|file| file.bytes).collect();
        sizes.sort_unstable();
        let at = |part: usize| {
            let rank = (sizes.len() * part).div_ceil(100).saturating_sub(1);
            sizes.get(rank).copied().unwrap_or(0)
        };
        Self {
            files: sizes.len() as u64,
            total_bytes: sizes.iter().sum(),
            min_bytes: at(0),
            median_bytes: at(50),
            p95_bytes: at(95),
            max_bytes: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(file_id: &str, kind: FileKind, bytes: u64, is_latest: bool) -> FileFacts {
        FileFacts {
            partition: "p".to_owned(),
            file_id: file_id.to_owned(),
            kind,
            instant: "1".to_owned(),
            bytes,
            location: String::new(),
            is_latest,
        }
    }

    #[test]
    fn files_are_counted_by_what_they_are_for() {
        let big = SMALL_FILE_BYTES;
        let statistics = of_files(&[
            file("a", FileKind::Base, big, true),
            file("a", FileKind::Log, 10, true),
            file("a", FileKind::Log, 30, true),
            file("b", FileKind::Base, 5, true),
            file("b", FileKind::Base, 7, false),
        ]);
        assert_eq!(
            (statistics.file_groups, statistics.file_groups_with_logs),
            (2, 1)
        );
        assert_eq!(statistics.small_files, 1);
        let logs = statistics.log_files;
        assert_eq!(
            (logs.min_bytes, logs.median_bytes, logs.max_bytes),
            (10, 10, 30)
        );
        assert_eq!(statistics.base_files.total_bytes, big + 5);
        assert_eq!(statistics.other_files.files, 1);
        assert_eq!(statistics.partitions, 1);
    }
}
