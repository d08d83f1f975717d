//! What the log files of an instant are called, and what its commit says of them.
//!
//! Since version 8 an instant writes log files of its own, which bear its time. On version 6 a log file belongs to the slice
//! by its name: it bears the base instant of the slice, or, where a compaction of the group is pending, the instant of that
//! compaction; its version follows the highest that is there. Spec: Hudi 1.2.0, "Log files"; Java:
//! HoodieAppendHandle#init, FileSlice.

use std::collections::HashMap;

use crate::config::TableConfig;
use crate::error::Result;
use crate::file_group::FileSlice;
use crate::timeline::metadata::CompactionPlan;
use crate::timeline::{Action, ActiveTimeline, InstantTime};
use crate::writer::data_files::MarkerKind;

/// The rule of a table's version, as of one instant.
#[derive(Debug)]
pub(crate) enum LogNames {
    /// By the instant that writes.
    ByInstant(InstantTime),
    /// By the slice that is added to.
    BySlice {
        /// The instant that writes.
        instant: InstantTime,
        /// The pending compaction of a group, by partition path and file id.
        planned: HashMap<(String, String), InstantTime>,
    },
}

/// Where in its group a new log file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogPlace {
    /// The instant that its name bears.
    pub(crate) instant: InstantTime,
    /// Its version.
    pub(crate) version: u32,
    /// The middle number of its write token. Names of one slice come from several instants on version 6, and must differ.
    pub(crate) stage: u32,
    /// The kind of its marker.
    pub(crate) marker: MarkerKind,
    /// What its commit names as the base file.
    pub(crate) base_file: String,
}

impl LogNames {
    /// The rule for an instant of this table; `timeline` was read after the instant was requested.
    ///
    /// # Errors
    /// `Corrupt` when the plan of a pending compaction cannot be read; what the store says.
    pub(crate) async fn of(
        config: &TableConfig,
        timeline: &ActiveTimeline,
        instant: &InstantTime,
    ) -> Result<Self> {
        let instant = instant.clone();
        if !config.version().shares_logs() {
            return Ok(Self::ByInstant(instant));
        }
        let mut planned = HashMap::new();
        let compactions = timeline
            .pending()
            .filter(|pending| pending.action == Action::Compaction);
        for pending in compactions {
            let plan: CompactionPlan = timeline.read_plan(pending).await?;
            for operation in plan.operations.unwrap_or_default() {
                let group = (
                    operation.partition_path.unwrap_or_default(),
                    operation.file_id.unwrap_or_default(),
                );
                planned.insert(group, pending.time.clone());
            }
        }
        Ok(Self::BySlice { instant, planned })
    }

    /// Whether log files come to lie on what a compaction writes that was not among the slices when the instant began. By
    /// the slice they do only where its plan was known.
    pub(crate) fn lie_on(&self, compaction: &InstantTime) -> bool {
        match self {
            Self::ByInstant(_) => true,
            Self::BySlice { planned, .. } => planned.values().any(|time| time == compaction),
        }
    }

    /// Where the next log file of `slice` stands.
    pub(crate) fn next(&self, slice: &FileSlice) -> LogPlace {
        let next_version = |bears: &InstantTime| {
            let logs = slice.log_files.iter().filter(|log| log.instant == *bears);
            logs.map(|log| log.version).max().unwrap_or(0) + 1
        };
        match self {
            Self::ByInstant(instant) => LogPlace {
                instant: instant.clone(),
                version: next_version(instant),
                stage: 0,
                marker: MarkerKind::Create,
                base_file: String::new(),
            },
            Self::BySlice { instant, planned } => {
                let group = (slice.partition_path.clone(), slice.file_id.clone());
                let compaction = planned.get(&group);
                let bears = compaction.unwrap_or(&slice.base_instant);
                let base_file = match (&slice.base_file, compaction) {
                    (Some(base), None) => base.to_string(),
                    _ => String::new(),
                };
                LogPlace {
                    instant: bears.clone(),
                    version: next_version(bears),
                    stage: time_of_day(instant),
                    marker: MarkerKind::Append,
                    base_file,
                }
            }
        }
    }
}

/// The last nine digits of an instant, `HHmmssSSS`: a number that Java's `int` holds.
fn time_of_day(instant: &InstantTime) -> u32 {
    let text = instant.as_str();
    let start = text.len().saturating_sub(9);
    text.get(start..)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_group::{BaseFile, LogFile};

    fn slice(logs: &[&str]) -> FileSlice {
        let name = "f-0_0-0-0_20260101000000000.parquet";
        FileSlice {
            partition_path: "p".to_owned(),
            file_id: "f-0".to_owned(),
            base_instant: "20260101000000000".parse().unwrap(),
            base_file: BaseFile::parse(name, 1),
            log_files: logs
                .iter()
                .map(|name| LogFile::parse(name, 1).unwrap())
                .collect(),
        }
    }

    #[test]
    fn logs_of_version_6_go_by_their_slice_or_its_pending_compaction() {
        let instant: InstantTime = "20260103123456789".parse().unwrap();
        let compaction: InstantTime = "20260102000000000".parse().unwrap();
        let slice = slice(&[
            ".f-0_20260101000000000.log.1_0-1-0",
            ".f-0_20260101000000000.log.4_1-0-1",
            ".f-0_20260102000000000.log.1_0-2-0",
        ]);
        let mut planned = HashMap::new();
        let names = LogNames::BySlice {
            instant: instant.clone(),
            planned: planned.clone(),
        };
        let place = names.next(&slice);
        assert_eq!((&place.instant, place.version), (&slice.base_instant, 5));
        assert_eq!(place.stage, 123_456_789);
        assert_eq!(
            place.base_file,
            slice.base_file.as_ref().unwrap().to_string()
        );
        planned.insert(("p".to_owned(), "f-0".to_owned()), compaction.clone());
        let names = LogNames::BySlice {
            instant: instant.clone(),
            planned,
        };
        let place = names.next(&slice);
        assert_eq!((&place.instant, place.version), (&compaction, 2));
        assert_eq!(place.base_file, "");
        let place = LogNames::ByInstant(instant.clone()).next(&slice);
        assert_eq!((&place.instant, place.version), (&instant, 1));
        assert_eq!(place.marker, MarkerKind::Create);
    }
}
