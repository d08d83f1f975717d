//! The instants of a table, active and archived, with what commits say that they did.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDateTime;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use table_format::table::Table;
use table_format::timeline::archived::Selection;
use table_format::timeline::metadata::{CommitMetadata, SCHEMA_KEY};
use table_format::timeline::{Instant, InstantTime, State};

use crate::error::Result;

/// The extra metadata in which pipelines of ours keep their position, as JSON with the member `pipeline`.
const CHECKPOINT_KEY: &str = "lakebed.checkpoint";

/// An instant, and the sums of what it wrote; zeros for all but completed writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstantFacts {
    /// The instant.
    pub instant: Instant,
    /// Whether it is on the archived timeline.
    pub is_archived: bool,
    /// `UPSERT` and the like, for writes.
    pub operation: Option<String>,
    /// Files written.
    pub files: u64,
    /// Rows written, copied ones among them.
    pub rows: i64,
    /// Rows that are new.
    pub inserts: i64,
    /// Rows that were changed.
    pub updates: i64,
    /// Rows that were deleted.
    pub deletes: i64,
    /// Bytes of the files written.
    pub bytes: i64,
    /// Who wrote it, as far as its extra metadata tell.
    pub writer: Option<String>,
    /// Texts of the writer, without the schema.
    pub extra_metadata: BTreeMap<String, String>,
}

impl InstantFacts {
    /// From begin to completion; `None` while pending, and on version 6, which keeps no completion times.
    pub fn duration_millis(&self) -> Option<i64> {
        let end = parse(self.instant.completion.as_ref()?)?;
        Some((end - parse(&self.instant.time)?).num_milliseconds())
    }

    /// `requested`, `inflight` or `completed`.
    pub fn state(&self) -> &'static str {
        match self.instant.state {
            State::Requested => "requested",
            State::Inflight => "inflight",
            State::Completed => "completed",
        }
    }

    fn new(instant: Instant, is_archived: bool, commit: Option<CommitMetadata>) -> Self {
        let commit = commit.unwrap_or_default();
        let mut facts = Self {
            instant,
            is_archived,
            files: commit.write_stats().count() as u64,
            rows: 0,
            inserts: 0,
            updates: 0,
            deletes: 0,
            bytes: 0,
            writer: writer_of(&commit.extra_metadata),
            operation: None,
            extra_metadata: BTreeMap::new(),
        };
        for stat in commit.write_stats() {
            facts.rows += stat.num_writes.unwrap_or(0);
            facts.inserts += stat.num_inserts.unwrap_or(0);
            facts.updates += stat.num_update_writes.unwrap_or(0);
            facts.deletes += stat.num_deletes.unwrap_or(0);
            facts.bytes += stat.file_size_in_bytes.unwrap_or(0);
        }
        facts.operation = commit.operation_type;
        facts.extra_metadata = commit.extra_metadata;
        facts.extra_metadata.remove(SCHEMA_KEY);
        facts
    }
}

/// The instants by begin time; the archived ones too, if asked for. What is on both timelines is listed as active.
///
/// # Errors
/// When a timeline cannot be read.
pub async fn timeline(table: &Table, with_archived: bool) -> Result<Vec<InstantFacts>> {
    let active = table.timeline().await?;
    let mut found: BTreeMap<Instant, InstantFacts> = BTreeMap::new();
    if with_archived {
        let archive = table.archived().await?;
        archive
            .visit(&Selection::default(), |archived| {
                let instant = archived.instant.clone();
                if active.find(&instant.time, instant.action).is_some() {
                    return Ok(());
                }
                let commit = match instant.action.is_write() {
                    true => Some(archived.into_commit()?.1),
                    false => None,
                };
                let facts = InstantFacts::new(instant.clone(), true, commit);
                found.insert(instant, facts);
                Ok(())
            })
            .await?;
    }
    let mut all: Vec<InstantFacts> = found.into_values().collect();
    for instant in active.instants() {
        let is_commit = instant.state == State::Completed && instant.action.is_write();
        let commit = match is_commit {
            true => Some(active.read_metadata(instant).await?),
            false => None,
        };
        all.push(InstantFacts::new(instant.clone(), false, commit));
    }
    Ok(all)
}

/// Pipelines of ours name themselves; Hudi's tools are known by the keys of their checkpoints.
fn writer_of(extra: &BTreeMap<String, String>) -> Option<String> {
    if let Some(checkpoint) = extra.get(CHECKPOINT_KEY) {
        let name = member(checkpoint, "pipeline").unwrap_or_default();
        return Some(format!("lakebed {name}").trim_end().to_owned());
    }
    let known = [
        ("streamer.checkpoint", "hudi streamer"),
        ("deltastreamer.checkpoint", "hudi streamer"),
        ("flink", "flink"),
        ("_hudi_streaming_sink_checkpoint", "spark streaming"),
        ("coordinator-group-id", "kafka connect"),
    ];
    let of_tool = known
        .into_iter()
        .find(|(prefix, _)| extra.keys().any(|key| key.starts_with(prefix)));
    of_tool.map(|(_, name)| name.to_owned())
}

/// The text of a member of a JSON object that holds no escapes there.
fn member(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// `None` for times that are no dates, such as the counters of a metadata table.
fn parse(time: &InstantTime) -> Option<NaiveDateTime> {
    let digits = time.as_str();
    let (seconds, millis) = (digits.get(..14)?, digits.get(14..17).unwrap_or("000"));
    NaiveDateTime::parse_from_str(&format!("{seconds}.{millis}"), "%Y%m%d%H%M%S%.f").ok()
}

/// Columns of `hudi_timeline`.
pub(super) fn to_batch(instants: &[InstantFacts]) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&InstantFacts) -> Option<String>| -> ArrayRef {
        Arc::new(instants.iter().map(of).collect::<StringArray>())
    };
    let number = |of: &dyn Fn(&InstantFacts) -> Option<i64>| -> ArrayRef {
        Arc::new(instants.iter().map(of).collect::<Int64Array>())
    };
    let is_archived: BooleanArray = instants.iter().map(|i| Some(i.is_archived)).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "instant",
            text(&|i| Some(i.instant.time.to_string())),
            false,
        ),
        (
            "action",
            text(&|i| Some(i.instant.action.to_string())),
            false,
        ),
        ("state", text(&|i| Some(i.state().to_owned())), false),
        (
            "completion",
            text(&|i| i.instant.completion.as_ref().map(ToString::to_string)),
            true,
        ),
        ("duration_ms", number(&InstantFacts::duration_millis), true),
        ("operation", text(&|i| i.operation.clone()), true),
        ("files", number(&|i| i64::try_from(i.files).ok()), true),
        ("rows", number(&|i| Some(i.rows)), true),
        ("inserts", number(&|i| Some(i.inserts)), true),
        ("updates", number(&|i| Some(i.updates)), true),
        ("deletes", number(&|i| Some(i.deletes)), true),
        ("bytes", number(&|i| Some(i.bytes)), true),
        ("writer", text(&|i| i.writer.clone()), true),
        ("archived", Arc::new(is_archived) as ArrayRef, false),
    ]);
    Ok(batch.map_err(datafusion::error::DataFusionError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, extra: &[(&str, &str)]) -> InstantFacts {
        let instant = Instant::parse_file_name(name).unwrap();
        let mut commit = CommitMetadata::default();
        let extra = extra.iter();
        commit.extra_metadata = extra
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        InstantFacts::new(instant, false, Some(commit))
    }

    #[test]
    fn durations_need_both_times() {
        let done = facts("20261121093000000_20261121093100250.commit", &[]);
        assert_eq!(done.duration_millis(), Some(60_250));
        assert_eq!(
            facts("20261121093000000.commit", &[]).duration_millis(),
            None
        );
        assert_eq!(facts("0000_0001.commit", &[]).duration_millis(), None);
    }

    #[test]
    fn writers_are_known_by_what_they_leave_in_their_commits() {
        let writer = |key, value| facts("1_2.commit", &[(key, value), ("schema", "{}")]).writer;
        let ours = "{\"version\":1,\"pipeline\":\"shop\"}";
        assert_eq!(writer(CHECKPOINT_KEY, ours).unwrap(), "lakebed shop");
        assert_eq!(
            writer("deltastreamer.checkpoint.key", "5").unwrap(),
            "hudi streamer"
        );
        assert_eq!(writer("x", "y"), None);
    }
}
