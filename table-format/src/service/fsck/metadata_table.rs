//! The metadata table: whether it knows of every commit. Readers that list by it do not see the files of commits that it
//! lacks (hazard 1).
//!
//! The metadata table bears an instant of the same begin time for each write of the table; what was completed before it was
//! built, it was built from. Spec: Hudi 1.2.0, "Metadata Table".

use crate::config::TableConfig;
use crate::error::{ErrorKind, Result};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::{ActiveTimeline, InstantTime};

use super::finding::{Check, Problem, Repair};

const METADATA_TABLE: &str = ".hoodie/metadata";
/// Instants that built the metadata table are counters, not times.
const BOOTSTRAP_PREFIX: &str = "0000";

/// Whether the metadata table is stale.
pub(super) async fn check(
    storage: &Storage,
    config: &TableConfig,
    timeline: &ActiveTimeline,
) -> Result<Vec<Problem>> {
    if config.metadata_partitions().is_empty() {
        return Ok(Vec::new());
    }
    let stale = |problem: String| {
        Problem::repairable(
            Check::MetadataTable,
            METADATA_TABLE.to_owned(),
            problem,
            "takes the metadata table out of use; engines that want one build it anew",
            Repair::WithAnother,
        )
    };
    let metadata = match Table::open_storage(storage.at(METADATA_TABLE)?).await {
        Ok(table) => table.timeline().await?,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
            return Ok(vec![stale(format!("the table names it, but {error}"))]);
        }
        Err(error) => return Err(error),
    };
    let known_from = known_from(&metadata);
    let missing: Vec<String> = timeline
        .completed_writes()
        .filter(|instant| known_from.is_none_or(|from| instant.end_time() > from))
        .filter(|instant| !metadata.completed().any(|known| known.time == instant.time))
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![stale(format!("it lacks {}", missing.join(", ")))])
}

/// Up to where commits need no instant of their own: the completion of the building instants, or (version 6, and when those
/// are archived) the first instant that is there.
fn known_from(metadata: &ActiveTimeline) -> Option<&InstantTime> {
    let is_building = |time: &InstantTime| time.as_str().starts_with(BOOTSTRAP_PREFIX);
    let built = metadata
        .completed()
        .filter(|instant| is_building(&instant.time))
        .filter_map(|instant| instant.completion.as_ref())
        .max();
    built.or_else(|| {
        metadata
            .completed()
            .map(|instant| &instant.time)
            .find(|time| !is_building(time))
    })
}
