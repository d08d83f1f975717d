//! What the commits of a window changed, file group by file group: the slice before a commit, and the one after it.
//!
//! Java: HoodieCDCExtractor. Services that only move rows (compaction, log compaction, clustering) change nothing. The files
//! themselves are read by whoever asks; here they are only named.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};

use crate::config::TableVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::{PartitionFiles, file_groups, with_archived_completions};
use crate::file_group::{BaseFile, FileSlice, Horizon, LogFile, Visibility, join_path};
use crate::reader::ReadContext;
use crate::schema::evolution::Evolution;
use crate::table::{Snapshot, Table};
use crate::timeline::archived::Selection;
use crate::timeline::metadata::{CommitMetadata, NO_PREVIOUS_COMMIT};
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

/// Partitions listed at a time.
const LISTINGS_AT_ONCE: usize = 8;

/// The commits of a window that changed rows, in the order in which they became visible.
#[derive(Debug, Clone)]
pub struct ChangeWindow {
    table: Table,
    timeline: ActiveTimeline,
    /// Archived instants of the window, whose completion times the files do not tell.
    archived: Vec<Instant>,
    schema: SchemaRef,
    evolution: Option<Evolution>,
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
            check_still_there(&commit.instant, key, touched, group)?;
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
        let read_at = self.last_write(&timeline, &end).await?;
        let evolution = self.evolution(&timeline, read_at.as_ref()).await?;
        let context = self.read_context(
            &schema.unwrap_or_else(|| SchemaRef::new(Schema::empty())),
            Visibility::default(),
        );
        Ok(ChangeWindow {
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
            }
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
