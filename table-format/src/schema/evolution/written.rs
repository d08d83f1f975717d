//! What an instant on a table with schema on read writes: the columns of its rows, and the history that it carries on.
//!
//! Java: BaseHoodieWriteClient#saveInternalSchema. Every commit names the schema of its rows (`latest_schema`) and has the history in
//! a file of its own, because Hudi looks for both at the newest instants only.

use arrow::datatypes::Schema;

use super::alter::{ColumnChange, changed};
use super::column::InternalSchema;
use super::history::{Evolution, SchemaHistory, version_of};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use crate::timeline::metadata::{CommitMetadata, LATEST_SCHEMA};
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

/// The schema of one instant.
#[derive(Debug)]
pub(crate) struct WrittenSchema {
    instant: InstantTime,
    /// As it was when the instant began.
    known: SchemaHistory,
    schema: InternalSchema,
}

impl WrittenSchema {
    /// For an instant whose rows have these columns. Those that the table does not know get new ids.
    ///
    /// # Errors
    /// `Unsupported` for a new column of a type that Hudi could not read back.
    pub(crate) fn of_rows(
        history: &SchemaHistory,
        instant: &InstantTime,
        schema: &Schema,
    ) -> Result<Self> {
        let in_force = history.at(instant)?;
        let version = version_of(instant);
        Ok(Self {
            schema: in_force.reconcile(schema, version, history.highest_id())?,
            instant: instant.clone(),
            known: history.clone(),
        })
    }

    /// For an instant that changes the columns of a table; `history` is `None` when they are changed for the first time.
    ///
    /// # Errors
    /// `Invalid` or `Unsupported` when they cannot be changed so, naming the column.
    pub(crate) fn altered(
        history: Option<&SchemaHistory>,
        instant: &InstantTime,
        schema: &Schema,
        changes: &[ColumnChange],
    ) -> Result<Self> {
        let known = match history {
            Some(history) => history.clone(),
            None => SchemaHistory::begin(InternalSchema::first(schema)?)?,
        };
        let (version, highest) = (version_of(instant), known.highest_id());
        let before = known.at(instant)?.reconcile(schema, version, highest)?;
        let highest = highest.max(before.highest_id());
        Ok(Self {
            schema: changed(&before, changes, version, highest)?,
            instant: instant.clone(),
            known,
        })
    }

    /// Whether the instant gives the table other columns.
    pub(crate) fn is_change(&self) -> bool {
        self.schema.version_id == version_of(&self.instant)
    }

    /// The columns of the rows, without the meta columns.
    pub(crate) fn schema(&self) -> &InternalSchema {
        &self.schema
    }

    /// The history with this instant.
    ///
    /// # Errors
    /// `Internal` when it cannot be put into words.
    pub(crate) fn history(&self) -> Result<SchemaHistory> {
        self.known.with(&self.schema)
    }

    /// How files of older instants are read as rows of this one.
    ///
    /// # Errors
    /// As [`WrittenSchema::history`].
    pub(crate) fn evolution(&self) -> Result<Evolution> {
        Ok(Evolution::new(self.history()?, self.instant.clone()))
    }

    /// Whether the instant may be completed, given the timeline as it is now. Columns go by the schema that was in force when their
    /// file's instant began: it must not have changed since, and a change must not come after writes that began later.
    ///
    /// # Errors
    /// `Conflict` when another writer has changed the columns; what the store says.
    pub(crate) async fn check(
        &self,
        storage: &Storage,
        timeline: &ActiveTimeline,
    ) -> Result<Option<SchemaHistory>> {
        let now = SchemaHistory::load(storage, timeline).await?;
        let is_change = self.is_change();
        let beyond = now.as_ref().and_then(|now| {
            let mut versions = now.versions_beyond(&self.known);
            versions.find(|version| is_change || *version <= version_of(&self.instant))
        });
        let is_late = is_change
            && timeline
                .completed_writes()
                .any(|instant| instant.time > self.instant);
        if beyond.is_none() && !is_late {
            return Ok(now);
        }
        let what = if is_late {
            "a later write has completed before this change of the table's columns"
        } else {
            "another writer has changed the table's columns meanwhile"
        };
        Err(Error::new(
            ErrorKind::Conflict,
            format!("instant {}: {what}; do it again", self.instant),
        ))
    }

    /// Adds what the completed file says of the columns.
    ///
    /// # Errors
    /// As [`WrittenSchema::history`].
    pub(crate) fn describe(&self, metadata: &mut CommitMetadata) -> Result<()> {
        let json = self.schema.to_json()?;
        metadata
            .extra_metadata
            .insert(LATEST_SCHEMA.to_owned(), json);
        Ok(())
    }

    /// Checks as [`WrittenSchema::check`] and writes the history; to be done right before the instant is completed.
    ///
    /// # Errors
    /// As [`WrittenSchema::check`].
    pub(crate) async fn publish(
        &self,
        storage: &Storage,
        timeline: &ActiveTimeline,
        completed: &Instant,
    ) -> Result<()> {
        let now = self.check(storage, timeline).await?;
        let history = now.as_ref().unwrap_or(&self.known).with(&self.schema)?;
        history.persist(storage, timeline, completed).await
    }
}
