//! What changed in a window of commits: which rows came, went or became others, commit by commit.

mod plan;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;

use crate::error::{Error, ErrorKind, Result};
use crate::reader::{ChangeContext, ChangeSource, ReadOptions, changes_schema, read_changes};
use crate::schema::evolution::SchemaHistory;
use crate::table::Table;
use crate::timeline::archived::Selection;
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

/// The changes of a table in a window of commits.
///
/// ```no_run
/// # use futures::TryStreamExt;
/// # use table_format::{env::MemoryBudget, reader::ReadOptions, table::Table};
/// # async fn print(table: Table) -> table_format::Result<()> {
/// let changes = table.changes(None, None).await?;
/// let options = ReadOptions::new(MemoryBudget::new(64 << 20));
/// for split in changes.splits() {
///     let mut batches = changes.read(split, &options).await?;
///     while let Some(batch) = batches.try_next().await? {
///         println!("{}: {} changes", split.instant(), batch.num_rows());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Changes {
    schema: SchemaRef,
    splits: Vec<ChangeSplit>,
}

/// What one commit did to one file group.
#[derive(Debug, Clone)]
pub struct ChangeSplit {
    instant: Instant,
    partition_path: String,
    file_id: String,
    context: ChangeContext,
    source: ChangeSource,
}

impl ChangeSplit {
    /// The commit.
    pub fn instant(&self) -> &Instant {
        &self.instant
    }

    /// Partition path of the file group.
    pub fn partition_path(&self) -> &str {
        &self.partition_path
    }

    /// Id of the file group.
    pub fn file_id(&self) -> &str {
        &self.file_id
    }
}

impl Changes {
    /// The columns: `op` (`i`, `u` or `d`), `ts_ms` (begin time of the commit as text, which Hudi calls so), `before` and
    /// `after` (structs of the table's columns without the meta columns, in today's types; null where there is no row).
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The parts to read, in the order in which their commits completed. Those of one commit may be read in any order, or side
    /// by side: a key occurs in one of them (in two when an overwrite replaced its row).
    pub fn splits(&self) -> &[ChangeSplit] {
        &self.splits
    }

    /// The changes of one part. Columns are not projected; what is held of it is booked in the memory of `options`.
    ///
    /// # Errors
    /// `NotFound` when files that show the rows as they were have been cleaned away; `Corrupt` when a file breaks its format;
    /// `Unavailable` when the store gives up. The stream's items fail likewise.
    pub async fn read(
        &self,
        split: &ChangeSplit,
        options: &ReadOptions,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let options = ReadOptions {
            projection: None,
            filter: None,
            ..options.clone()
        };
        read_changes(split.context.clone(), &split.source, &options).await
    }
}

impl Table {
    /// The changes of the commits in `(since, until]`, by their completion times (on version 6 by begin times); from the oldest
    /// commit on the active timeline, up to the newest. Tables that log change data (`hoodie.table.cdc.enabled`) need less work
    /// for it, but all tables can tell, as far back as their files are kept. Compactions and clusterings change nothing.
    ///
    /// # Errors
    /// `Unsupported` for a table without meta columns; `NotFound` when commits after `since` are archived, or files that they
    /// wrote cleaned away; `Corrupt` when the timeline cannot be read; `Unavailable` when the store gives up.
    pub async fn changes(
        &self,
        since: Option<&InstantTime>,
        until: Option<&InstantTime>,
    ) -> Result<Changes> {
        let name = self.config().name();
        if !self.config().populates_meta_fields() {
            let message = format!(
                "table `{name}` keeps no commit times with its rows: it cannot tell changes"
            );
            return Err(Error::unsupported(message));
        }
        SchemaHistory::require_none(self.storage(), name).await?;
        let timeline = self.timeline().await?;
        self.require_active(&timeline, since, until).await?;
        let schema = self.schema().await?;
        let schema = changes_schema(&schema);
        let splits = plan::splits(self, &timeline, since, until, &schema).await?;
        Ok(Changes { schema, splits })
    }

    /// Refuses a window that reaches into the archive: the files of its commits are mostly gone.
    async fn require_active(
        &self,
        timeline: &ActiveTimeline,
        since: Option<&InstantTime>,
        until: Option<&InstantTime>,
    ) -> Result<()> {
        let Some(since) = since.filter(|_| self.config().keeps_completion_times()) else {
            return Ok(());
        };
        let window = Selection::default()
            .completed_after(Some(since))
            .completed_by(until);
        let mut last = None;
        let archive = self.archived().await?;
        archive
            .visit(&window, |archived| {
                let instant = archived.instant.clone();
                if instant.action.is_write()
                    && timeline.find(&instant.time, instant.action).is_none()
                {
                    last = last.take().max(Some(instant.end_time().clone()));
                }
                Ok(())
            })
            .await?;
        let Some(last) = last else {
            return Ok(());
        };
        let message = format!(
            "table `{}`: commits that completed after {since} are archived; changes can be told since {last}",
            self.config().name()
        );
        Err(Error::new(ErrorKind::NotFound, message))
    }
}
