//! What the commits of a window changed, file group by file group: the slice before a commit, and the one after it, and the
//! change data that the commit logged.
//!
//! Java: HoodieCDCExtractor. Services that only move rows (compaction, log compaction, clustering) change nothing.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::config::TableVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::{PartitionFiles, file_groups, with_archived_completions};
use crate::file_group::{BaseFile, FileSlice, Horizon, LogFile, Visibility, join_path};
use crate::reader::{
    ChangeContext, ChangeSource, ReadContext, ReadOptions, changes_schema, read_changes,
};
use crate::schema::evolution::Evolution;
use crate::table::{Snapshot, Table};
use crate::timeline::archived::Selection;
use crate::timeline::metadata::{CommitMetadata, NO_PREVIOUS_COMMIT};
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

/// Partitions listed at a time.
const LISTINGS_AT_ONCE: usize = 8;

/// How much of change data is logged. Java: HoodieTableConfig.CDC_SUPPLEMENTAL_LOGGING_MODE, both images by default.
const LOGGING_MODE: &str = "hoodie.table.cdc.supplemental.logging.mode";
const BOTH_IMAGES: &str = "DATA_BEFORE_AFTER";

/// The commits of a window that changed rows, in the order in which they became visible.
///
/// ```no_run
/// # use futures::TryStreamExt;
/// # use table_format::{env::MemoryBudget, reader::ReadOptions, table::Table};
/// # async fn print(table: Table) -> table_format::Result<()> {
/// let window = table.change_window(None, None).await?;
/// let options = ReadOptions::new(MemoryBudget::new(64 << 20));
/// for position in 0..window.commits() {
///     let commit = window.commit(position).await?;
///     for group in &commit.groups {
///         let mut batches = commit.read(group, &options).await?;
///         while let Some(batch) = batches.try_next().await? {
///             println!("{}: {} changes", commit.instant, batch.num_rows());
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ChangeWindow {
    table: Table,
    timeline: ActiveTimeline,
    /// Archived instants of the window, whose completion times the files do not tell.
    archived: Vec<Instant>,
    schema: SchemaRef,
    evolution: Option<Evolution>,
    /// Change data that was logged holds both images, under today's names of the columns.
    takes_logs: bool,
    commits: Vec<TouchedBy>,
}

/// One commit of a window: what it touched, with the table before and after it.
#[derive(Debug, Clone)]
pub struct CommitChange {
    /// The commit.
    pub instant: Instant,
    /// The file groups that it wrote to or replaced.
    pub groups: Vec<GroupChange>,
    before: ReadContext,
    after: ReadContext,
}

/// A file group that a commit touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// `None` when the commit made the group.
    pub before: Option<FileSlice>,
    /// `None` when the commit replaced the group.
    pub after: Option<FileSlice>,
    /// Logs of change data that say it all, by table-relative path.
    logs: Vec<String>,
    may_delete: bool,
}

/// What a commit says that it touched, by partition and file id.
#[derive(Debug, Clone)]
struct TouchedBy {
    instant: Instant,
    groups: BTreeMap<(String, String), Touched>,
}

#[derive(Debug, Clone, Default)]
struct Touched {
    is_replaced: bool,
    /// Names of the files written.
    written: Vec<String>,
    /// A base file was written over an older one.
    had_base: bool,
    /// Keys may be gone.
    may_delete: bool,
    /// Logs of change data, by table-relative path.
    logs: Vec<String>,
    /// Files written that come without such logs.
    files_unlogged: usize,
}

/// The touched groups as they were at a time.
struct Side {
    context: ReadContext,
    slices: BTreeMap<(String, String), FileSlice>,
}

impl CommitChange {
    /// The touched groups before the commit.
    pub fn before(&self) -> Snapshot {
        self.snapshot(&self.before, |group| group.before.as_ref())
    }

    /// The touched groups after it.
    pub fn after(&self) -> Snapshot {
        self.snapshot(&self.after, |group| group.after.as_ref())
    }

    /// What the commit did to one of its groups, as batches of [`ChangeWindow::changes_schema`]: from the change data that it
    /// logged, else by comparing the slices. Columns are not projected; what is held is booked in the memory of `options`.
    ///
    /// # Errors
    /// `NotFound` when files have been cleaned away; `Corrupt` when a file breaks its format; `Unavailable` when the store
    /// gives up. The stream's items fail likewise.
    pub async fn read(
        &self,
        group: &GroupChange,
        options: &ReadOptions,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let source = match (&group.before, &group.after) {
            _ if !group.logs.is_empty() => ChangeSource::Logged(group.logs.clone()),
            (None, None) => return Ok(futures::stream::empty().boxed()),
            (None, Some(after)) => ChangeSource::Inserted(after.clone()),
            (Some(before), None) => ChangeSource::Deleted(before.clone()),
            (Some(before), Some(after)) => ChangeSource::Compared {
                before: before.clone(),
                after: after.clone(),
                may_delete: group.may_delete,
            },
        };
        let context = ChangeContext {
            instant: self.instant.time.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
            schema: changes_schema(&self.after.schema),
        };
        let options = ReadOptions {
            projection: None,
            filter: None,
            ..options.clone()
        };
        read_changes(context, &source, &options).await
    }

    fn snapshot(
        &self,
        context: &ReadContext,
        side: impl Fn(&GroupChange) -> Option<&FileSlice>,
    ) -> Snapshot {
        Snapshot {
            context: context.clone(),
            slices: self.groups.iter().filter_map(side).cloned().collect(),
            instant: Some(self.instant.time.clone()),
        }
    }
}

impl ChangeWindow {
    /// The schema of the rows, as of the end of the window; meta columns first.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns of changes: `op` (`i`, `u` or `d`), `ts_ms` (begin time of the commit as text, which Hudi calls so), `before`
    /// and `after` (structs of the table's columns without the meta columns; null where there is no row).
    pub fn changes_schema(&self) -> SchemaRef {
        changes_schema(&self.schema)
    }

    /// How many commits changed rows.
    pub fn commits(&self) -> usize {
        self.commits.len()
    }

    /// The slices before and after the commit at this position.
    ///
    /// # Errors
    /// `NotFound` when files that the commit wrote or changed have been cleaned away since; `Unavailable` when the store gives up.
    pub async fn commit(&self, position: usize) -> Result<CommitChange> {
        let commit = self.touched(position)?;
        let change = self.retained(position).await?;
        for ((key, touched), group) in commit.groups.iter().zip(&change.groups) {
            if group.logs.is_empty() {
                check_still_there(&commit.instant, key, touched, group)?;
            }
        }
        Ok(change)
    }

    /// The same with what is left of the files, which may be nothing.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn retained(&self, position: usize) -> Result<CommitChange> {
        let commit = self.touched(position)?;
        let end = commit.instant.end_time();
        let partitions = self.list(commit).await?;
        let mut before = self.side(&just_before(end)?, &partitions, commit).await?;
        let mut after = self.side(end, &partitions, commit).await?;
        let groups = commit
            .groups
            .iter()
            .map(|(key, touched)| GroupChange {
                before: before.slices.remove(key),
                after: after.slices.remove(key).filter(|_| !touched.is_replaced),
                logs: match self.takes_logs && touched.files_unlogged == 0 {
                    true => touched.logs.clone(),
                    false => Vec::new(),
                },
                may_delete: touched.may_delete,
            })
            .collect();
        Ok(CommitChange {
            instant: commit.instant.clone(),
            before: before.context,
            after: after.context,
            groups,
        })
    }

    fn touched(&self, position: usize) -> Result<&TouchedBy> {
        let commit = self.commits.get(position);
        commit.ok_or_else(|| Error::internal(format!("the window has no commit {position}")))
    }

    async fn list(&self, commit: &TouchedBy) -> Result<Vec<PartitionFiles>> {
        let dirs = commit.groups.keys().map(|(dir, _)| dir.clone());
        let dirs: BTreeSet<String> = dirs.collect();
        futures::stream::iter(dirs)
            .map(|dir| async move {
                let files = self.table.storage().list(&dir).await?.files;
                Ok::<_, Error>(PartitionFiles {
                    partition_path: dir,
                    files,
                })
            })
            .buffered(LISTINGS_AT_ONCE)
            .try_collect()
            .await
    }

    /// The touched groups as they were at a time.
    async fn side(
        &self,
        time: &InstantTime,
        partitions: &[PartitionFiles],
        commit: &TouchedBy,
    ) -> Result<Side> {
        let config = self.table.config();
        let visibility = Visibility::new(&self.timeline, horizon(&self.table, time));
        let visibility = visibility.with_archived(&self.archived);
        let visibility =
            with_archived_completions(self.table.storage(), config, partitions, &visibility)
                .await?
                .into_owned();
        let mut slices = BTreeMap::new();
        for partition in partitions {
            for (file_id, group) in file_groups(partition, config.version(), &visibility) {
                let key = (partition.partition_path.clone(), file_id);
                if let Some(slice) = group.into_iter().next_back()
                    && commit.groups.contains_key(&key)
                {
                    slices.insert(key, slice);
                }
            }
        }
        let mut context = self.table.read_context(&self.schema, visibility);
        context.evolution = self.evolution.clone();
        Ok(Side { context, slices })
    }
}

impl Table {
    /// The commits that changed rows in `(since, until]`, by completion time; on version 6 by begin time.
    ///
    /// # Errors
    /// `Unsupported` for tables whose rows bear no commit times; `Corrupt` when the timeline cannot be read; `Unavailable`
    /// when the store gives up.
    pub async fn change_window(
        &self,
        since: Option<&InstantTime>,
        until: Option<&InstantTime>,
    ) -> Result<ChangeWindow> {
        if !self.config().populates_meta_fields() {
            return Err(Error::unsupported(format!(
                "table `{}` keeps no commit times with its rows: compare two snapshots instead",
                self.config().name()
            )));
        }
        let timeline = self.timeline().await?;
        let (archived, mut commits) = self.archived_touches(since, until).await?;
        let is_within = |instant: &Instant| {
            since.is_none_or(|since| instant.end_time() > since)
                && until.is_none_or(|until| instant.end_time() <= until)
        };
        let active: BTreeSet<InstantTime> = timeline
            .completed_writes()
            .map(|instant| instant.time.clone())
            .collect();
        commits.retain(|commit| !active.contains(&commit.instant.time));
        for instant in timeline
            .completed_writes()
            .filter(|instant| is_within(instant))
        {
            let metadata = timeline.read_metadata(instant).await?;
            commits.extend(TouchedBy::of(instant, &metadata)?);
        }
        commits.sort_by(|left, right| {
            (left.instant.end_time(), &left.instant.time)
                .cmp(&(right.instant.end_time(), &right.instant.time))
        });
        let end = until.map_or(Horizon::Latest, |time| horizon(self, time));
        let schema = self.schema_within(&timeline, &end).await?;
        let evolution = self.evolution(&timeline, &end).await?;
        let context = self.read_context(
            &schema.unwrap_or_else(|| SchemaRef::new(Schema::empty())),
            Visibility::default(),
        );
        let mode = self.config().properties().get_non_blank(LOGGING_MODE);
        let logs_both_images = mode.is_none_or(|mode| mode.eq_ignore_ascii_case(BOTH_IMAGES));
        Ok(ChangeWindow {
            takes_logs: logs_both_images && evolution.is_none(),
            table: self.clone(),
            timeline,
            archived,
            schema: context.schema,
            evolution,
            commits,
        })
    }

    /// The archived writes after `since`, and what those of the window touched.
    async fn archived_touches(
        &self,
        since: Option<&InstantTime>,
        until: Option<&InstantTime>,
    ) -> Result<(Vec<Instant>, Vec<TouchedBy>)> {
        let selection = if self.config().keeps_completion_times() {
            Selection::default().completed_after(since)
        } else {
            Selection::default().begun_from(since)
        };
        let (mut instants, mut commits) = (BTreeSet::new(), Vec::new());
        self.archived()
            .await?
            .visit(&selection, |archived| {
                let end = archived.instant.end_time();
                let is_late = since.is_none_or(|since| end > since);
                if !archived.instant.action.is_write() || !is_late {
                    return Ok(());
                }
                let is_within = until.is_none_or(|until| end <= until);
                let (instant, metadata) = archived.into_commit()?;
                // A crashed archiver may have stored an instant twice.
                if instants.insert(instant.clone()) && is_within {
                    commits.extend(TouchedBy::of(&instant, &metadata)?);
                }
                Ok(())
            })
            .await?;
        Ok((instants.into_iter().collect(), commits))
    }
}

impl TouchedBy {
    /// `None` when the commit changed no rows.
    fn of(instant: &Instant, metadata: &CommitMetadata) -> Result<Option<Self>> {
        let is_service = metadata
            .operation()?
            .is_some_and(|operation| !operation.can_update_schema());
        if is_service || metadata.compacted == Some(true) {
            return Ok(None);
        }
        let mut groups: BTreeMap<(String, String), Touched> = BTreeMap::new();
        for (partition, stats) in &metadata.partition_to_write_stats {
            for stat in stats {
                let path = stat.path.as_deref().unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or(path);
                let base = BaseFile::parse(name, 0);
                let is_base = base.is_some();
                let file_id = base
                    .map(|file| file.file_id)
                    .or_else(|| LogFile::parse(name, 0).map(|file| file.file_id))
                    .or_else(|| stat.file_id.clone());
                let Some(file_id) = file_id else { continue };
                let touched = groups.entry((partition.clone(), file_id)).or_default();
                if !name.is_empty() {
                    touched.written.push(name.to_owned());
                }
                let previous = stat.prev_commit.as_deref().unwrap_or(NO_PREVIOUS_COMMIT);
                touched.had_base |= is_base && previous != NO_PREVIOUS_COMMIT;
                touched.may_delete |= stat.num_deletes != Some(0);
                let logs = stat.cdc_stats.iter().flat_map(BTreeMap::keys);
                let before = touched.logs.len();
                touched.logs.extend(logs.cloned());
                touched.files_unlogged += usize::from(touched.logs.len() == before);
            }
        }
        for touched in groups.values_mut() {
            touched.logs.sort_by_key(|path| order_of(path));
        }
        for (partition, file_ids) in &metadata.partition_to_replace_file_ids {
            for file_id in file_ids {
                let key = (partition.clone(), file_id.clone());
                groups.entry(key).or_default().is_replaced = true;
            }
        }
        let instant = instant.clone();
        Ok((!groups.is_empty()).then_some(Self { instant, groups }))
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

/// A cleaned file is missed here, as a change that is silently left out is worse than none.
fn check_still_there(
    instant: &Instant,
    (partition, file_id): &(String, String),
    touched: &Touched,
    group: &GroupChange,
) -> Result<()> {
    let gone = |what: String| {
        let message = format!(
            "the changes of {} are no longer there: {what} has been cleaned away; ask for later ones, or keep more commits \
             (hoodie.clean.commits.retained)",
            instant.time
        );
        Err(Error::new(ErrorKind::NotFound, message))
    };
    if touched.is_replaced {
        return match &group.before {
            Some(_) => Ok(()),
            None => gone(format!("file group {}", join_path(partition, file_id))),
        };
    }
    for name in &touched.written {
        let is_there = group.after.as_ref().is_some_and(|slice| {
            slice
                .base_file
                .as_ref()
                .is_some_and(|file| file.to_string() == *name)
                || slice.log_files.iter().any(|file| file.to_string() == *name)
        });
        if !is_there {
            return gone(join_path(partition, name));
        }
    }
    if touched.had_base && group.before.is_none() {
        return gone(format!("the file before {}", join_path(partition, file_id)));
    }
    Ok(())
}

fn horizon(table: &Table, time: &InstantTime) -> Horizon {
    match table.config().version() {
        TableVersion::Six => Horizon::BegunBy(time.clone()),
        TableVersion::Eight | TableVersion::Nine => Horizon::CompletedBy(time.clone()),
    }
}

/// The greatest time before `time`, as text of digits compares.
fn just_before(time: &InstantTime) -> Result<InstantTime> {
    let digits = time.as_str();
    let number: u128 = digits
        .parse()
        .map_err(|_| Error::internal(format!("instant {digits} is no number")))?;
    format!("{:0width$}", number.saturating_sub(1), width = digits.len()).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_before_is_the_greatest_below() {
        let before = |text: &str| just_before(&text.parse().unwrap()).unwrap().to_string();
        assert_eq!(before("20261121000000000"), "20261120999999999");
        assert_eq!(before("010"), "009");
    }
}
