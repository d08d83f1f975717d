//! What of `hoodie.*` steers compaction: Hudi's own keys, defaults and class names.
//!
//! Java: HoodieCompactionConfig.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::strategy::{Selection, Strategy};
use super::trigger::{Trigger, TriggerStrategy};
use crate::error::{Error, Result};
use crate::writer::WriterOptions;

const TRIGGER_STRATEGY: &str = "hoodie.compact.inline.trigger.strategy";
const DELTA_COMMITS_MAX: &str = "hoodie.compact.inline.max.delta.commits";
const DELTA_SECONDS_MAX: &str = "hoodie.compact.inline.max.delta.seconds";
const STRATEGY: &str = "hoodie.compaction.strategy";
const TARGET_IO: &str = "hoodie.compaction.target.io";
const LOG_SIZE_THRESHOLD: &str = "hoodie.compaction.logfile.size.threshold";
const LOG_NUM_THRESHOLD: &str = "hoodie.compaction.logfile.num.threshold";
/// File groups that are merged side by side; a key of ours, Hudi leaves that to Spark.
const PARALLELISM: &str = "lakebed.compaction.parallelism";

/// Settings of the compactions of one table.
#[derive(Debug, Clone)]
pub(super) struct CompactionOptions {
    /// When a compaction is due.
    pub(super) trigger: Trigger,
    /// Which slices it takes.
    pub(super) selection: Selection,
    /// What base files look like, and how many are written side by side.
    pub(super) writer: WriterOptions,
}

impl CompactionOptions {
    /// The options that `properties` set; keys that mean nothing here are left to others.
    ///
    /// # Errors
    /// `Invalid` for a value that does not parse; `Unsupported` for a strategy of Hudi that is not known here.
    pub(super) fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let writer = WriterOptions::from_properties(properties)?;
        let parallelism = number(properties, PARALLELISM, writer.parallelism)?;
        let trigger = Trigger {
            strategy: parsed(properties, TRIGGER_STRATEGY, TriggerStrategy::NumCommits)?,
            delta_commits: number(properties, DELTA_COMMITS_MAX, 5)?,
            delta_seconds: number(properties, DELTA_SECONDS_MAX, 3_600)?,
        };
        let selection = Selection {
            strategy: parsed(properties, STRATEGY, Strategy::LogFileSize)?,
            target_io_mb: number(properties, TARGET_IO, 500 * 1_024)?,
            log_bytes_min: number(properties, LOG_SIZE_THRESHOLD, 0)?,
            log_files_min: number(properties, LOG_NUM_THRESHOLD, 0)?,
            base_file_bytes: writer.file_bytes_max,
        };
        Ok(Self {
            trigger,
            selection,
            writer: writer.with_parallelism(parallelism),
        })
    }
}

fn number<T: FromStr>(properties: &BTreeMap<String, String>, key: &str, default: T) -> Result<T> {
    let Some(text) = properties.get(key) else {
        return Ok(default);
    };
    let number = text.trim().parse();
    number.map_err(|_| Error::invalid(format!("{key}={text}: expected a number from 0 on")))
}

fn parsed<T: FromStr<Err = Error>>(
    properties: &BTreeMap<String, String>,
    key: &str,
    default: T,
) -> Result<T> {
    let parsed = properties.get(key).map(|text| text.trim().parse());
    parsed
        .transpose()
        .map(|value| value.unwrap_or(default))
        .map_err(|error| error.context(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn options(pairs: &[(&str, &str)]) -> Result<CompactionOptions> {
        let properties = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        CompactionOptions::from_properties(&properties.collect())
    }

    #[test]
    fn takes_the_keys_and_class_names_of_hudi() {
        let set = options(&[
            (TRIGGER_STRATEGY, "NUM_OR_TIME"),
            (DELTA_COMMITS_MAX, "7"),
            (
                STRATEGY,
                "org.apache.hudi.table.action.compact.strategy.LogFileNumBasedCompactionStrategy",
            ),
            (LOG_NUM_THRESHOLD, "3"),
            (TARGET_IO, "10"),
            (PARALLELISM, "5"),
        ]);
        let set = set.unwrap();
        assert_eq!(set.trigger.strategy, TriggerStrategy::NumOrTime);
        assert_eq!(
            (set.trigger.delta_commits, set.trigger.delta_seconds),
            (7, 3_600)
        );
        assert_eq!(set.selection.strategy, Strategy::LogFileNum);
        assert_eq!(
            (set.selection.log_files_min, set.selection.target_io_mb),
            (3, 10)
        );
        assert_eq!(set.writer.parallelism, 5);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for (key, value, kind) in [
            (TRIGGER_STRATEGY, "NEVER", ErrorKind::Invalid),
            (DELTA_COMMITS_MAX, "-1", ErrorKind::Invalid),
            (
                STRATEGY,
                "org.apache.hudi.table.action.compact.strategy.DayBasedCompactionStrategy",
                ErrorKind::Unsupported,
            ),
        ] {
            let error = options(&[(key, value)]).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
