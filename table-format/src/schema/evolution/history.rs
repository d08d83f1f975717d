//! The history of a table's schemas: files under `.hoodie/.schema`, one a commit, each with all schemas up to then.
//!
//! Java: FileBasedInternalSchemaStorageManager, SerDeHelper#parseSchemas, SerDeHelper#inheritSchemas,
//! InternalSchemaUtils#searchSchema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::column::InternalSchema;
use super::renames::Renames;
use crate::error::{Error, Result};
use crate::file_group::{Horizon, Visibility, join_path};
use crate::storage::Storage;
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

const FOLDER: &str = ".hoodie/.schema";
const EXTENSION: &str = ".schemacommit";
/// How every file begins; Hudi puts new schemas behind it.
const BEGINNING: &str = "{\"schemas\":[";

/// The schemas of a table by the instants that made them.
#[derive(Debug, Clone)]
pub(crate) struct SchemaHistory {
    schemas: BTreeMap<u64, InternalSchema>,
    /// The file, to which later schemas are added as Hudi adds them.
    text: String,
}

#[derive(Debug, Deserialize)]
struct Schemas {
    schemas: Vec<InternalSchema>,
}

impl SchemaHistory {
    /// The newest history whose commit is on the timeline; `None` for tables without schema on read.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read; `Unavailable` when the store gives up.
    pub(crate) async fn load(storage: &Storage, timeline: &ActiveTimeline) -> Result<Option<Self>> {
        let visibility = Visibility::new(timeline, Horizon::Latest);
        let files = storage.list(FOLDER).await?.files;
        let newest = files
            .iter()
            .filter(|file| file.name.ends_with(EXTENSION))
            .filter_map(|file| {
                let time = instant_of(&file.name)?;
                visibility.is_committed(&time).then_some((time, &file.name))
            })
            .max();
        let Some((_, name)) = newest else {
            return Ok(None);
        };
        let path = join_path(FOLDER, name);
        let history = Self::parse(&storage.read(&path).await?);
        history.map(Some).map_err(|error| error.context(path))
    }

    /// Refuses a table that has a history.
    ///
    /// # Errors
    /// `Unsupported`; `Unavailable` when the store gives up.
    pub(crate) async fn require_none(storage: &Storage, table: &str) -> Result<()> {
        let files = storage.list(FOLDER).await?.files;
        if !files.iter().any(|file| file.name.ends_with(EXTENSION)) {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "table {table}: its columns were changed by schema on read (.hoodie/.schema), whose history keeps to its table version"
        )))
    }

    /// The history of a table whose columns are about to change for the first time.
    pub(super) fn begin(first: InternalSchema) -> Result<Self> {
        Ok(Self {
            text: format!("{BEGINNING}{}]}}", first.to_json()?),
            schemas: BTreeMap::from([(first.version_id, first)]),
        })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let corrupt = |what: String| Error::corrupt("schema history", what);
        let text = std::str::from_utf8(bytes)
            .map_err(|error| corrupt("it is no UTF-8".to_owned()).with_source(error))?;
        let parsed: Schemas = serde_json::from_str(text).map_err(|error| {
            corrupt(format!("not the JSON of schemas: {error}")).with_source(error)
        })?;
        if parsed.schemas.is_empty() || !text.starts_with(BEGINNING) {
            return Err(corrupt(format!(
                "it does not begin with `{BEGINNING}` and a schema"
            )));
        }
        let schemas = parsed.schemas.into_iter();
        Ok(Self {
            schemas: schemas.map(|schema| (schema.version_id, schema)).collect(),
            text: text.to_owned(),
        })
    }

    /// The history with one more schema; itself when the schema is in it.
    pub(super) fn with(&self, schema: &InternalSchema) -> Result<Self> {
        if self.schemas.get(&schema.version_id) == Some(schema) {
            return Ok(self.clone());
        }
        let rest = self.text.strip_prefix(BEGINNING).unwrap_or_default();
        let mut schemas = self.schemas.clone();
        schemas.insert(schema.version_id, schema.clone());
        Ok(Self {
            text: format!("{BEGINNING}{},{rest}", schema.to_json()?),
            schemas,
        })
    }

    /// The schema in force at an instant; before the first change that of the table's beginning.
    pub(super) fn at(&self, time: &InstantTime) -> Result<&InternalSchema> {
        let version = version_of(time);
        let found = self.schemas.range(..=version).next_back();
        let found = found.or_else(|| self.schemas.first_key_value());
        found
            .map(|(_, schema)| schema)
            .ok_or_else(|| Error::internal("a history without a schema"))
    }

    /// The version of the newest schema.
    pub(crate) fn newest_version(&self) -> Option<u64> {
        self.schemas.keys().next_back().copied()
    }

    /// The highest id that a column ever had: ids of dropped columns stay theirs.
    pub(super) fn highest_id(&self) -> i64 {
        let ids = self.schemas.values().map(InternalSchema::highest_id);
        ids.max().unwrap_or(-1)
    }

    /// Versions that are here and not in `known`.
    pub(super) fn versions_beyond(&self, known: &Self) -> impl Iterator<Item = u64> {
        let versions = self.schemas.keys().copied();
        versions.filter(|version| !known.schemas.contains_key(version))
    }

    /// How columns written at one instant are called at another; `None` when nothing differs.
    ///
    /// # Errors
    /// `Unsupported` for a type that is not known.
    pub(super) fn renames(
        &self,
        written: &InstantTime,
        read: &InstantTime,
    ) -> Result<Option<Renames>> {
        let renames = Renames::between(self.at(written)?.columns(), self.at(read)?.columns())?;
        Ok((!renames.is_identity()).then_some(renames))
    }

    /// Writes the file of an instant that is about to be completed, and deletes those of instants that are not on the timeline
    /// any more: they were undone, or are archived, and Hudi does not look at them.
    ///
    /// Java: FileBasedInternalSchemaStorageManager#persistHistorySchemaStr, which leaves two empty files more for each.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn persist(
        &self,
        storage: &Storage,
        timeline: &ActiveTimeline,
        completed: &Instant,
    ) -> Result<()> {
        let mut name = completed.time.to_string();
        if let Some(completion) = &completed.completion {
            name = format!("{name}_{completion}");
        }
        let path = join_path(FOLDER, &format!("{name}{EXTENSION}"));
        storage.overwrite(&path, self.text.clone().into()).await?;
        let there: BTreeSet<&InstantTime> = timeline
            .instants()
            .iter()
            .map(|instant| &instant.time)
            .collect();
        for file in storage.list(FOLDER).await?.files {
            let is_left = instant_of(&file.name)
                .is_some_and(|time| time != completed.time && !there.contains(&time));
            if is_left {
                storage.delete(&join_path(FOLDER, &file.name)).await?;
            }
        }
        Ok(())
    }
}

/// The instant that a file of the folder bears.
fn instant_of(name: &str) -> Option<InstantTime> {
    name.split(['_', '.']).next()?.parse().ok()
}

/// Instants as Hudi numbers schemas by them; one that is no number is later than all.
pub(super) fn version_of(time: &InstantTime) -> u64 {
    time.as_str().parse().unwrap_or(u64::MAX)
}

/// The history of a table, for a reader that calls columns as they are called at an instant.
#[derive(Debug, Clone)]
pub(crate) struct Evolution {
    history: Arc<SchemaHistory>,
    read_at: InstantTime,
}

impl Evolution {
    pub(crate) fn new(history: SchemaHistory, read_at: InstantTime) -> Self {
        Self {
            history: Arc::new(history),
            read_at,
        }
    }

    /// What is to be done with the columns of a file or block of this instant.
    ///
    /// # Errors
    /// `Unsupported` for a type that is not known.
    pub(crate) fn renames_since(&self, written: &InstantTime) -> Result<Option<Renames>> {
        self.history.renames(written, &self.read_at)
    }
}
