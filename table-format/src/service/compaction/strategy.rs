//! Which slices a compaction takes.
//!
//! Java: CompactionStrategy and the classes below it, FileSliceMetricUtils#addFileSliceCommonMetrics.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::file_group::FileSlice;

const BYTES_PER_MB: u64 = 1 << 20;

/// How slices are ordered and chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// The largest logs first, as far as the IO goes.
    LogFileSize,
    /// The most log files first, as far as the IO goes.
    LogFileNum,
    /// In the order of the listing, as far as the IO goes.
    BoundedIo,
    /// All of them.
    UnBounded,
}

impl FromStr for Strategy {
    type Err = Error;

    /// Reads the name of a Java class, with or without its package.
    fn from_str(text: &str) -> Result<Self> {
        let class = text.rsplit('.').next().unwrap_or(text);
        Ok(match class {
            "LogFileSizeBasedCompactionStrategy" => Self::LogFileSize,
            "LogFileNumBasedCompactionStrategy" => Self::LogFileNum,
            "BoundedIOCompactionStrategy" => Self::BoundedIo,
            "UnBoundedCompactionStrategy" => Self::UnBounded,
            _ => {
                return Err(Error::unsupported(format!(
                    "`{text}` is none of LogFileSizeBasedCompactionStrategy, LogFileNumBasedCompactionStrategy, \
                     BoundedIOCompactionStrategy, UnBoundedCompactionStrategy"
                )));
            }
        })
    }
}

/// Chooses slices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection {
    pub(super) strategy: Strategy,
    /// Megabytes read and written by one compaction; the slice that crosses this is the last.
    pub(super) target_io_mb: u64,
    /// By size: slices with less in their logs wait.
    pub(super) log_bytes_min: u64,
    /// By number: slices with fewer log files wait.
    pub(super) log_files_min: usize,
    /// What a slice without a base file is taken to write.
    pub(super) base_file_bytes: u64,
}

impl Selection {
    /// The slices to be compacted, in the order of the plan.
    pub(super) fn choose(&self, mut slices: Vec<FileSlice>) -> Vec<FileSlice> {
        match self.strategy {
            Strategy::UnBounded => return slices,
            Strategy::BoundedIo => {}
            Strategy::LogFileSize => {
                slices.retain(|slice| log_bytes(slice) >= self.log_bytes_min);
                slices.sort_by_key(|slice| Reverse(log_bytes(slice)));
            }
            Strategy::LogFileNum => {
                slices.retain(|slice| slice.log_files.len() >= self.log_files_min);
                slices.sort_by_key(|slice| Reverse(slice.log_files.len()));
            }
        }
        let mut used_mb = 0;
        let mut chosen = Vec::new();
        for slice in slices {
            if !chosen.is_empty() && used_mb >= self.target_io_mb {
                break;
            }
            used_mb += self.io(&slice).total_mb();
            chosen.push(slice);
        }
        chosen
    }

    /// The measures of a slice, as they stand in a plan.
    pub(super) fn metrics(&self, slice: &FileSlice) -> BTreeMap<String, f64> {
        metrics_of(slice, self.base_file_bytes)
    }

    fn io(&self, slice: &FileSlice) -> Io {
        Io::of(slice, self.base_file_bytes)
    }
}

/// The measures of a slice; one without a base file is taken to write `base_file_bytes`. Hudi's merge handle fails without
/// `TOTAL_LOG_FILES_SIZE`.
pub(in crate::service) fn metrics_of(
    slice: &FileSlice,
    base_file_bytes: u64,
) -> BTreeMap<String, f64> {
    let io = Io::of(slice, base_file_bytes);
    [
        ("TOTAL_LOG_FILES", slice.log_files.len() as u64),
        ("TOTAL_LOG_FILES_SIZE", log_bytes(slice)),
        ("TOTAL_IO_READ_MB", io.read_mb),
        ("TOTAL_IO_WRITE_MB", io.write_mb),
        ("TOTAL_IO_MB", io.total_mb()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value as f64))
    .collect()
}

/// What compacting a slice moves, in whole megabytes.
struct Io {
    read_mb: u64,
    write_mb: u64,
}

impl Io {
    fn of(slice: &FileSlice, base_file_bytes: u64) -> Self {
        let base = slice.base_file.as_ref().map_or(0, |file| file.size_bytes);
        let written = if base > 0 { base } else { base_file_bytes };
        Self {
            read_mb: (base + log_bytes(slice)) / BYTES_PER_MB,
            write_mb: written / BYTES_PER_MB,
        }
    }

    fn total_mb(&self) -> u64 {
        self.read_mb + self.write_mb
    }
}

/// Length of the logs of a slice.
pub(super) fn log_bytes(slice: &FileSlice) -> u64 {
    slice.log_files.iter().map(|file| file.size_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_group::{BaseFile, LogFile};
    use crate::timeline::InstantTime;

    /// A slice with a base file (unless 0) and logs of these megabytes.
    fn slice(file_id: &str, base_mb: u64, logs_mb: &[u64]) -> FileSlice {
        let instant: InstantTime = "1".parse().unwrap();
        let base_file = (base_mb > 0).then(|| BaseFile {
            file_id: file_id.to_owned(),
            write_token: "0-0-0".to_owned(),
            instant: instant.clone(),
            extension: "parquet".to_owned(),
            size_bytes: base_mb << 20,
        });
        let log = |(version, mb): (u32, &u64)| LogFile {
            file_id: file_id.to_owned(),
            instant: "2".parse().unwrap(),
            version,
            write_token: None,
            is_cdc: false,
            size_bytes: mb << 20,
        };
        FileSlice {
            partition_path: String::new(),
            file_id: file_id.to_owned(),
            base_instant: instant,
            base_file,
            log_files: (1..).zip(logs_mb).map(log).collect(),
        }
    }

    fn chosen(selection: Selection) -> String {
        let slices = vec![
            slice("a", 10, &[5]),
            slice("b", 20, &[1, 1, 1]),
            slice("c", 0, &[9, 9]),
        ];
        let chosen = selection
            .choose(slices)
            .into_iter()
            .map(|slice| slice.file_id);
        chosen.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn strategies_order_filter_and_stop_at_the_io_limit() {
        let selection = |strategy, target_io_mb| Selection {
            strategy,
            target_io_mb,
            log_bytes_min: 4 << 20,
            log_files_min: 2,
            base_file_bytes: 120 << 20,
        };
        assert_eq!(chosen(selection(Strategy::UnBounded, 0)), "a b c");
        assert_eq!(chosen(selection(Strategy::BoundedIo, 1_000)), "a b c");
        assert_eq!(
            chosen(selection(Strategy::BoundedIo, 26)),
            "a b",
            "a moves 25 MB, b crosses the limit"
        );
        assert_eq!(chosen(selection(Strategy::BoundedIo, 25)), "a");
        assert_eq!(chosen(selection(Strategy::BoundedIo, 0)), "a");
        assert_eq!(
            chosen(selection(Strategy::LogFileSize, 1_000)),
            "c a",
            "b is below the threshold"
        );
        assert_eq!(chosen(selection(Strategy::LogFileSize, 1)), "c");
        assert_eq!(chosen(selection(Strategy::LogFileNum, 1_000)), "b c");
    }

    #[test]
    fn metrics_are_those_of_hudi() {
        let selection = Selection {
            strategy: Strategy::UnBounded,
            target_io_mb: 0,
            log_bytes_min: 0,
            log_files_min: 0,
            base_file_bytes: 120 << 20,
        };
        let metrics = selection.metrics(&slice("c", 0, &[9, 9]));
        let expected = [
            ("TOTAL_IO_MB", 138.0),
            ("TOTAL_IO_READ_MB", 18.0),
            ("TOTAL_IO_WRITE_MB", 120.0),
            ("TOTAL_LOG_FILES", 2.0),
            ("TOTAL_LOG_FILES_SIZE", 18_874_368.0),
        ];
        assert_eq!(
            metrics,
            expected
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        );
    }
}
