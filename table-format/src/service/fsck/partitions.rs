//! The folders with data files, and the file by which readers that list folders know them as partitions (hazard 2).

use std::collections::BTreeMap;

use crate::config::TableConfig;
use crate::error::Result;
use crate::file_group::{BaseFile, Horizon, LogFile, Visibility, join_path};
use crate::storage::{ListedFile, Storage};
use crate::timeline::{ActiveTimeline, InstantTime};
use crate::transaction::list_table;
use crate::writer::PARTITION_METADATA;

use super::finding::{Check, Problem, Repair};

/// What lies in the data folders, by partition path.
#[derive(Debug, Default)]
pub(super) struct DataFolders(BTreeMap<String, DataFolder>);

/// One folder.
#[derive(Debug, Default)]
pub(super) struct DataFolder {
    /// Base and log files.
    pub(super) files: Vec<ListedFile>,
    is_partition: bool,
}

impl DataFolders {
    /// Lists the table.
    pub(super) async fn list(storage: &Storage) -> Result<Self> {
        let is_wanted = |_: &str, name: &str| {
            name.starts_with(PARTITION_METADATA) || instant_of(name).is_some()
        };
        let mut folders: BTreeMap<String, DataFolder> = BTreeMap::new();
        for (path, file) in list_table(storage, &is_wanted).await? {
            let partition = path.rsplit_once('/').map_or("", |(partition, _)| partition);
            let folder = folders.entry(partition.to_owned()).or_default();
            if file.name.starts_with(PARTITION_METADATA) {
                folder.is_partition = true;
            } else {
                folder.files.push(file);
            }
        }
        Ok(Self(folders))
    }

    /// The folders, by partition path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &DataFolder)> {
        self.0.iter()
    }

    /// A file by its table-relative path.
    pub(super) fn find(&self, path: &str) -> Option<&ListedFile> {
        let (partition, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.0.get(partition)?;
        folder.files.iter().find(|file| file.name == name)
    }
}

/// The instant that a data file bears; `None` for other files.
pub(super) fn instant_of(name: &str) -> Option<InstantTime> {
    BaseFile::parse(name, 0)
        .map(|file| file.instant)
        .or_else(|| LogFile::parse(name, 0).map(|file| file.instant))
}

/// Folders with committed data that are no partitions to readers.
pub(super) fn check(
    config: &TableConfig,
    timeline: &ActiveTimeline,
    folders: &DataFolders,
) -> Vec<Problem> {
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let mut problems = Vec::new();
    for (partition, folder) in folders.iter().filter(|(_, folder)| !folder.is_partition) {
        let committed = folder
            .files
            .iter()
            .filter_map(|file| instant_of(&file.name))
            .filter(|time| visibility.is_committed(time));
        let Some(oldest) = committed.min() else {
            continue;
        };
        let path = join_path(partition, PARTITION_METADATA);
        let depth = partition
            .split('/')
            .filter(|segment| !segment.is_empty())
            .count();
        let text = format!("#partition metadata\ncommitTime={oldest}\npartitionDepth={depth}\n");
        problems.push(Problem::repairable(
            Check::Partition,
            path.clone(),
            format!(
                "missing: readers of table {} do not see the {} data files beside it",
                config.name(),
                folder.files.len()
            ),
            "creates it",
            Repair::Create {
                path,
                bytes: text.into(),
            },
        ));
    }
    problems
}
