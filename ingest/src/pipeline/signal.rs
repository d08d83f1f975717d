//! Requests to a pipeline, left as objects in the lake: load a table anew, or some of its rows.
//!
//! A daemon that runs finds them within seconds, one that does not at its next start. A request stays until the commit that
//! fulfils it, so that a crash in between repeats it, which changes nothing.

use serde::{Deserialize, Serialize};
use table_format::storage::Storage;

use crate::checkpoint::pipeline_folder;
use crate::config::PipelineConfig;
use crate::error::{Error, Result};

/// Load a table anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resnapshot {
    /// `database.table` in the lake.
    pub lake_table: String,
    /// Only rows that meet this condition, in the source's SQL; they are written over those that are there. Without one, the
    /// whole table is replaced in one commit.
    #[serde(rename = "where")]
    pub condition: Option<String>,
}

fn folder(pipeline: &str) -> String {
    format!("{}.resnapshot", pipeline_folder(pipeline))
}

impl Resnapshot {
    /// Leaves the request for the pipeline.
    ///
    /// # Errors
    /// `Unavailable` when the lake does not answer.
    pub async fn request(&self, config: &PipelineConfig) -> Result<()> {
        let lake = Storage::open(&config.sink.path)?;
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Error::internal(format!("a request: {error}")).with_source(error))?;
        Ok(lake
            .overwrite(&self.path(&config.name), bytes.into())
            .await?)
    }

    /// All requests that wait.
    pub(super) async fn pending(lake: &Storage, pipeline: &str) -> Result<Vec<Self>> {
        let folder = folder(pipeline);
        let mut found = Vec::new();
        for file in lake.list(&folder).await?.files {
            let path = format!("{folder}/{}", file.name);
            let bytes = lake.read(&path).await?;
            let request = serde_json::from_slice(&bytes).map_err(|error| {
                let location = lake.location_of(&path);
                Error::invalid(format!("{location} is no request: {error}; delete it"))
            })?;
            found.push(request);
        }
        Ok(found)
    }

    /// Whether any request waits.
    pub(super) async fn any(lake: &Storage, pipeline: &str) -> Result<bool> {
        Ok(!lake.list(&folder(pipeline)).await?.files.is_empty())
    }

    /// Takes the request back: it is fulfilled.
    pub(super) async fn remove(&self, lake: &Storage, pipeline: &str) -> Result<()> {
        Ok(lake.delete(&self.path(pipeline)).await?)
    }

    fn path(&self, pipeline: &str) -> String {
        let safe = |c: char| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = self.lake_table.chars().map(safe).collect();
        format!("{}/{name}.json", folder(pipeline))
    }
}
