//! What is asked of the archive when the active timeline does not tell.

use crate::error::Result;
use crate::file_group::Horizon;
use crate::table::Table;
use crate::timeline::archived::{ArchivedTimeline, Selection};
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

impl Table {
    /// The archived timeline as it is now; its files are read when they are asked for.
    ///
    /// # Errors
    /// `Corrupt` when its manifest breaks the format; `Unavailable` when the store gives up.
    pub async fn archived(&self) -> Result<ArchivedTimeline> {
        ArchivedTimeline::load(self.storage(), self.config()).await
    }

    /// Avro JSON of the schema that the latest write within the horizon gave the table; `None` when no commit, active or
    /// archived, carries one.
    pub(super) async fn committed_schema(
        &self,
        timeline: &ActiveTimeline,
        horizon: &Horizon,
    ) -> Result<Option<String>> {
        let active = timeline
            .latest_schema_among(|instant| horizon.includes(instant))
            .await?;
        if active.is_some() {
            return Ok(active);
        }
        let archived = self
            .archived()
            .await?
            .newest_write(&within(horizon), |_, commit| {
                Ok(commit.new_schema()?.is_some())
            })
            .await?;
        Ok(archived.and_then(|(_, commit)| commit.schema().map(str::to_owned)))
    }

    /// The last completed write within the horizon.
    pub(super) async fn last_write(
        &self,
        timeline: &ActiveTimeline,
        horizon: &Horizon,
    ) -> Result<Option<InstantTime>> {
        let mut writes = timeline.completed_writes_by_completion();
        writes.retain(|instant| horizon.includes(instant));
        if let Some(last) = writes.last() {
            return Ok(Some(last.time.clone()));
        }
        let archived = self
            .archived()
            .await?
            .newest_write(&within(horizon), |_, _| Ok(true))
            .await?;
        Ok(archived.map(|(instant, _)| instant.time))
    }

    /// The completed write within the horizon that began last: columns go by begin times.
    pub(super) async fn last_begun(
        &self,
        timeline: &ActiveTimeline,
        horizon: &Horizon,
    ) -> Result<Option<InstantTime>> {
        let mut begun = timeline.completed_writes().rev();
        match begun.find(|instant| horizon.includes(instant)) {
            Some(last) => Ok(Some(last.time.clone())),
            None => self.last_write(timeline, horizon).await,
        }
    }

    /// Archived writes that began by `until` and completed later: a reader that looks no further must not see their files.
    pub(super) async fn archived_beyond(&self, until: &InstantTime) -> Result<Vec<Instant>> {
        let selection = Selection::default()
            .begun_by(Some(until))
            .completed_after(Some(until));
        self.archived().await?.instants(&selection).await
    }
}

fn within(horizon: &Horizon) -> Selection {
    match horizon {
        Horizon::Latest => Selection::default(),
        Horizon::BegunBy(limit) => Selection::default().begun_by(Some(limit)),
        Horizon::CompletedBy(limit) => Selection::default().completed_by(Some(limit)),
    }
}
