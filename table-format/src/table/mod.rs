//! `Table`: opens a table and hands out what others work with.

mod archived;
mod changes;
pub(crate) mod create;
mod snapshot;
mod write_options;

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use crate::timeline::ActiveTimeline;

pub use changes::{ChangeWindow, CommitChange, GroupChange};
pub use create::TableSpec;
pub use snapshot::Snapshot;

/// Table-relative path of the table's properties.
pub const PROPERTIES_PATH: &str = ".hoodie/hoodie.properties";
/// Where they lie while they are being changed.
pub(crate) const PROPERTIES_BACKUP_PATH: &str = ".hoodie/hoodie.properties.backup";

/// A table: where it is and how it is configured. Clones are cheap enough for a clone per reader.
#[derive(Debug, Clone)]
pub struct Table {
    storage: Storage,
    config: TableConfig,
}

impl Table {
    /// Opens the table at a location (see [`Storage::open`]).
    ///
    /// # Errors
    /// `NotFound` when no table is there; `Corrupt` or `Unsupported` when its properties cannot be used.
    pub async fn open(location: &str) -> Result<Self> {
        Self::open_storage(Storage::open(location)?).await
    }

    /// Opens the table in a storage.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub async fn open_storage(storage: Storage) -> Result<Self> {
        let config = load_config(&storage).await?;
        Ok(Self { storage, config })
    }

    /// A table whose properties are known (just created).
    pub fn new(storage: Storage, config: TableConfig) -> Self {
        Self { storage, config }
    }

    /// The files.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The properties.
    pub fn config(&self) -> &TableConfig {
        &self.config
    }

    /// Reads the active timeline as it is now.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn timeline(&self) -> Result<ActiveTimeline> {
        ActiveTimeline::load(&self.storage, &self.config).await
    }
}

/// Reads the properties, or their backup while somebody changes them.
///
/// Java: HoodieTableConfig#fetchConfigs. During a change the main file is missing for a moment, or broken for good after
/// a crash; a file whose checksum is wrong counts as broken.
async fn load_config(storage: &Storage) -> Result<TableConfig> {
    let main = read_config(storage, PROPERTIES_PATH).await;
    let Err(error) = main else {
        return main;
    };
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) {
        return Err(error);
    }
    match read_config(storage, PROPERTIES_BACKUP_PATH).await {
        Ok(config) => Ok(config),
        Err(backup) if backup.kind() == ErrorKind::NotFound => {
            Err(if error.kind() == ErrorKind::NotFound {
                let message = format!(
                    "no Hudi table at {} ({PROPERTIES_PATH} is missing)",
                    storage.location()
                );
                Error::new(ErrorKind::NotFound, message).with_source(error)
            } else {
                error
            })
        }
        Err(backup) => Err(backup),
    }
}

async fn read_config(storage: &Storage, path: &str) -> Result<TableConfig> {
    let bytes = storage.read(path).await?;
    TableConfig::parse(&bytes).map_err(|error| error.context(storage.location().to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_half_done_change_of_properties_is_read_from_the_backup() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        let missing = Table::open_storage(storage.clone()).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let good =
            "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n";
        storage
            .create(PROPERTIES_BACKUP_PATH, Bytes::from(good))
            .await
            .unwrap();
        let broken = format!("{good}hoodie.table.checksum=1\n");
        assert_eq!(
            Table::open_storage(storage.clone())
                .await
                .unwrap()
                .config()
                .name(),
            "t"
        );
        storage
            .create(PROPERTIES_PATH, Bytes::from(broken))
            .await
            .unwrap();
        assert_eq!(
            Table::open_storage(storage).await.unwrap().config().name(),
            "t"
        );
    }
}
