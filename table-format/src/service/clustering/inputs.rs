//! The slices that a plan means, as they are when it is executed.
//!
//! A plan names files. What counts are the file groups: all rows that they hold now move, those too that a writer has put
//! there in spite of the plan; a group that was replaced meanwhile is left out, or its rows would come back (hazard 19).

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};

use crate::config::TableConfig;
use crate::error::{Error, Result};
use crate::file_group::view::{
    PartitionFiles, ReplacedGroups, file_groups, with_archived_completions,
};
use crate::file_group::{FileSlice, Horizon, Visibility};
use crate::service::rewriting::written_by;
use crate::storage::Storage;
use crate::timeline::metadata::{ClusteringPlan, SliceInfo};
use crate::timeline::{ActiveTimeline, Instant};
use crate::transaction::Replaced;

/// Partitions listed at a time.
const LISTINGS_AT_ONCE: usize = 16;

/// What an execution begins with.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Slices that are rewritten together, by the groups of the plan.
    pub(super) groups: Vec<Vec<FileSlice>>,
    /// Files that an earlier attempt has left, by path.
    pub(super) debris: Vec<String>,
}

impl Inputs {
    /// Lists the partitions of the plan and finds its file groups.
    ///
    /// # Errors
    /// `Corrupt` when a file group has no files.
    pub(super) async fn find(
        storage: &Storage,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        plan: &ClusteringPlan,
        pending: &Instant,
    ) -> Result<Self> {
        let planned = plan.input_groups.as_deref().unwrap_or_default();
        let slices_of = |number: usize| {
            let slices = planned.get(number).and_then(|group| group.slices.as_ref());
            slices.into_iter().flatten()
        };
        let mut by_partition: BTreeMap<&str, Vec<(usize, &SliceInfo)>> = BTreeMap::new();
        for number in 0..planned.len() {
            for slice in slices_of(number) {
                let path = slice.partition_path.as_deref().unwrap_or_default();
                by_partition.entry(path).or_default().push((number, slice));
            }
        }
        let listings: Vec<_> = stream::iter(by_partition)
            .map(|(path, slices)| async move {
                let files = storage.list(path).await?.files;
                let partition_path = path.to_owned();
                let partition = PartitionFiles {
                    partition_path,
                    files,
                };
                Ok::<_, Error>((partition, slices))
            })
            .buffered(LISTINGS_AT_ONCE)
            .try_collect()
            .await?;
        let visibility = Visibility::new(timeline, Horizon::Latest);
        let replaced = ReplacedGroups::load(timeline, &visibility).await?;
        let mut groups: Vec<Vec<FileSlice>> = vec![Vec::new(); planned.len()];
        let mut debris = Vec::new();
        for (partition, slices) in listings {
            debris.extend(written_by(&partition, pending));
            let one = std::slice::from_ref(&partition);
            let visibility = with_archived_completions(storage, config, one, &visibility).await?;
            let mut known = file_groups(&partition, config.version(), &visibility);
            for (number, slice) in slices {
                let file_id = slice.file_id.clone().unwrap_or_default();
                if replaced.contains(&partition.partition_path, &file_id) {
                    tracing::warn!(instant = %pending.time, file_id, "a file group of the plan was replaced meanwhile; its rows stay out of sight");
                    continue;
                }
                let newest = known
                    .remove(&file_id)
                    .and_then(|slices| slices.into_iter().next_back());
                let newest = newest.ok_or_else(|| lost(&partition.partition_path, &file_id))?;
                if let Some(group) = groups.get_mut(number) {
                    group.push(newest);
                }
            }
        }
        groups.retain(|slices| !slices.is_empty());
        Ok(Self { groups, debris })
    }

    /// All slices.
    pub(super) fn slices(&self) -> impl Iterator<Item = &FileSlice> {
        self.groups.iter().flatten()
    }

    /// The file groups that go out of sight.
    pub(super) fn replaced(&self) -> Replaced {
        let mut replaced = Replaced::new();
        for slice in self.slices() {
            let partition = replaced.entry(slice.partition_path.clone());
            partition.or_default().push(slice.file_id.clone());
        }
        replaced
    }
}

fn lost(partition_path: &str, file_id: &str) -> Error {
    let message = format!(
        "the plan names file group {file_id}, of which no file is there; delete the plan from the timeline and plan anew"
    );
    Error::corrupt(partition_path, message)
}
