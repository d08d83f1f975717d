//! Where the changes of each commit of a window are found. Java: HoodieCDCExtractor.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::ChangeSplit;
use crate::config::TableVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::{PartitionFiles, file_groups, with_archived_completions};
use crate::file_group::{FileSlice, Horizon, LogFile, Visibility};
use crate::reader::{ChangeContext, ChangeSource, ReadContext};
use crate::schema::meta::with_meta_columns;
use crate::table::Table;
use crate::timeline::metadata::{CommitMetadata, WriteOperation, WriteStat};
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

const LOGGING_MODE: &str = "hoodie.table.cdc.supplemental.logging.mode";
const BOTH_IMAGES: &str = "DATA_BEFORE_AFTER";

/// The parts of all commits in `(since, until]`, in the order in which these completed.
pub(super) async fn splits(
    table: &Table,
    timeline: &ActiveTimeline,
    since: Option<&InstantTime>,
    until: Option<&InstantTime>,
    schema: &SchemaRef,
) -> Result<Vec<ChangeSplit>> {
    let mut splits = Vec::new();
    let mut partitions = Partitions::default();
    let rows = with_meta_columns(table.schema().await?.as_ref());
    for instant in timeline.completed_writes_by_completion() {
        let end = end_of(table, instant);
        if since.is_some_and(|since| end <= since) || until.is_some_and(|until| end > until) {
            continue;
        }
        let metadata = timeline.read_metadata(instant).await?;
        if metadata.operation()?.is_none_or(changes_rows) {
            let commit = Commit::new(table, timeline, instant, &rows, schema)?;
            commit
                .add_splits(&metadata, &mut partitions, &mut splits)
                .await?;
        }
    }
    Ok(splits)
}

/// Java: WriteOperationType#isDataChange.
fn changes_rows(operation: WriteOperation) -> bool {
    !matches!(
        operation,
        WriteOperation::Cluster
            | WriteOperation::Compact
            | WriteOperation::LogCompact
            | WriteOperation::Index
            | WriteOperation::AlterSchema
            | WriteOperation::BucketRescale
    )
}

/// By what commits are ordered: their completion, which version 6 does not keep.
fn end_of<'a>(table: &Table, instant: &'a Instant) -> &'a InstantTime {
    match table.config().version() {
        TableVersion::Six => &instant.time,
        TableVersion::Eight | TableVersion::Nine => instant.end_time(),
    }
}

/// Listings, each made once.
#[derive(Default)]
struct Partitions(HashMap<String, PartitionFiles>);

impl Partitions {
    async fn get(&mut self, table: &Table, path: &str) -> Result<&PartitionFiles> {
        if !self.0.contains_key(path) {
            let files = table.storage().list(path).await?.files;
            let partition_path = path.to_owned();
            let partition = PartitionFiles {
                partition_path,
                files,
            };
            self.0.insert(path.to_owned(), partition);
        }
        self.0
            .get(path)
            .ok_or_else(|| Error::internal("a listing is missing"))
    }
}

/// A commit, and the table before and after it.
struct Commit<'a> {
    table: &'a Table,
    instant: &'a Instant,
    context: ChangeContext,
    logs_both_images: bool,
}

/// The file groups of a partition before and after a commit.
struct Groups<'a> {
    files: &'a PartitionFiles,
    before: BTreeMap<String, Vec<FileSlice>>,
    after: BTreeMap<String, Vec<FileSlice>>,
}

impl<'a> Commit<'a> {
    fn new(
        table: &'a Table,
        timeline: &ActiveTimeline,
        instant: &'a Instant,
        rows: &SchemaRef,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let end = end_of(table, instant);
        let horizon = |time: InstantTime| match table.config().version() {
            TableVersion::Six => Horizon::BegunBy(time),
            TableVersion::Eight | TableVersion::Nine => Horizon::CompletedBy(time),
        };
        let context = |horizon| ReadContext {
            storage: table.storage().clone(),
            config: Arc::new(table.config().clone()),
            schema: Arc::clone(rows),
            visibility: Arc::new(Visibility::new(timeline, horizon)),
            commits: None,
            evolution: None,
        };
        let mode = table.config().properties().get_non_blank(LOGGING_MODE);
        Ok(Self {
            table,
            instant,
            context: ChangeContext {
                instant: instant.time.clone(),
                before: context(horizon(just_before(end)?)),
                after: context(horizon(end.clone())),
                schema: Arc::clone(schema),
            },
            logs_both_images: mode.is_none_or(|mode| mode.eq_ignore_ascii_case(BOTH_IMAGES)),
        })
    }

    async fn add_splits(
        &self,
        metadata: &CommitMetadata,
        partitions: &mut Partitions,
        splits: &mut Vec<ChangeSplit>,
    ) -> Result<()> {
        let written = metadata.partition_to_write_stats.keys();
        let replaced = metadata.partition_to_replace_file_ids.keys();
        let paths: BTreeSet<&String> = written.chain(replaced).collect();
        for path in paths {
            let groups = self.groups(partitions.get(self.table, path).await?).await?;
            let mut add = |file_id: &str, source| {
                splits.push(ChangeSplit {
                    instant: self.instant.clone(),
                    partition_path: path.clone(),
                    file_id: file_id.to_owned(),
                    context: self.context.clone(),
                    source,
                });
            };
            let replaced = metadata.partition_to_replace_file_ids.get(path);
            for file_id in replaced.into_iter().flatten() {
                let slice = groups.before(file_id);
                let slice = slice.ok_or_else(|| self.cleaned(path, file_id))?;
                add(file_id, ChangeSource::Deleted(slice.clone()));
            }
            let stats = metadata.partition_to_write_stats.get(path);
            let mut by_group: BTreeMap<&str, Vec<&WriteStat>> = BTreeMap::new();
            for stat in stats.into_iter().flatten() {
                let file_id = stat.file_id.as_deref().unwrap_or_default();
                by_group.entry(file_id).or_default().push(stat);
            }
            for (file_id, stats) in by_group {
                if let Some(source) = self.source(path, file_id, &stats, &groups)? {
                    add(file_id, source);
                }
            }
        }
        Ok(())
    }

    async fn groups<'p>(&self, files: &'p PartitionFiles) -> Result<Groups<'p>> {
        let (storage, config) = (self.table.storage(), self.table.config());
        let one = std::slice::from_ref(files);
        let mut of = Vec::with_capacity(2);
        for context in [&self.context.before, &self.context.after] {
            let visibility =
                with_archived_completions(storage, config, one, &context.visibility).await?;
            of.push(file_groups(files, config.version(), &visibility));
        }
        let after = of.pop().unwrap_or_default();
        let before = of.pop().unwrap_or_default();
        Ok(Groups {
            files,
            before,
            after,
        })
    }

    /// Where the changes of a file group are found; `None` when nothing was written of it.
    fn source(
        &self,
        path: &str,
        file_id: &str,
        stats: &[&WriteStat],
        groups: &Groups<'_>,
    ) -> Result<Option<ChangeSource>> {
        let logs = |stat: &&WriteStat| {
            stat.cdc_stats
                .as_ref()
                .filter(|logs| !logs.is_empty())
                .cloned()
        };
        if self.logs_both_images && stats.iter().all(|stat| logs(stat).is_some()) {
            let logs = stats.iter().filter_map(logs).flat_map(BTreeMap::into_keys);
            let mut logs: Vec<String> = logs.collect();
            logs.sort_by_key(|path| order_of(path));
            return Ok(Some(ChangeSource::Logged(logs)));
        }
        let written = stats.iter().filter_map(|stat| stat.path.as_deref());
        let names: Vec<&str> = written
            .map(|path| path.rsplit('/').next().unwrap_or(path))
            .collect();
        if names.is_empty() {
            return Ok(None);
        }
        let after = groups.after.get(file_id).and_then(|slices| slices.last());
        let is_there = names.iter().all(|name| groups.has_file(name));
        let after = after
            .filter(|_| is_there)
            .ok_or_else(|| self.cleaned(path, file_id))?
            .clone();
        let had_files = stats.iter().any(|stat| stat.prev_base_file.is_some());
        let before = match groups.before(file_id) {
            Some(before) => before.clone(),
            None if had_files => return Err(self.cleaned(path, file_id)),
            None => return Ok(Some(ChangeSource::Inserted(after))),
        };
        Ok(Some(ChangeSource::Compared {
            before,
            after,
            may_delete: stats.iter().any(|stat| stat.num_deletes != Some(0)),
        }))
    }

    fn cleaned(&self, path: &str, file_id: &str) -> Error {
        let message = format!(
            "table `{}`: the files that show what {} did to file group {file_id} of partition `{path}` have been cleaned away; \
             begin later, or keep more commits (hoodie.clean.commits.retained)",
            self.table.config().name(),
            self.instant
        );
        Error::new(ErrorKind::NotFound, message)
    }
}

impl Groups<'_> {
    fn before(&self, file_id: &str) -> Option<&FileSlice> {
        self.before.get(file_id).and_then(|slices| slices.last())
    }

    fn has_file(&self, name: &str) -> bool {
        self.files.files.iter().any(|file| file.name == name)
    }
}

/// A write that changes a group in several steps logs each; the tasks of their names count up.
fn order_of(path: &str) -> (u32, u64) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some(log) = LogFile::parse(name, 0) else {
        return (0, 0);
    };
    let task = log
        .write_token
        .as_deref()
        .and_then(|token| token.split('-').next());
    let task = task.and_then(|task| task.parse().ok());
    (log.version, task.unwrap_or_default())
}

/// The latest time before another.
fn just_before(time: &InstantTime) -> Result<InstantTime> {
    let text = time.as_str();
    let number: u128 = text
        .parse()
        .map_err(|_| Error::internal(format!("instant time {text} is no number")))?;
    format!("{:0width$}", number.saturating_sub(1), width = text.len()).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_down_in_their_own_width() {
        let before = |text: &str| just_before(&text.parse().unwrap()).unwrap().to_string();
        assert_eq!(before("20261121113938218"), "20261121113938217");
        assert_eq!(before("100"), "099");
        assert_eq!(before("0"), "0");
    }
}
