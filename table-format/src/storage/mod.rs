//! The only door to `object_store`: table-relative paths, create-if-absent, listing.
//!
//! Paths are used as they are: a `%` in a partition directory is part of its name, so nothing is encoded or decoded here
//! (`Path::parse`, never `Path::from`). The clients of cloud stores retry by themselves, within their bounds; what is left
//! to do here is the reply that was lost on the way (see [`Storage::create`]).

mod conditional;
mod location;
mod os_lock;

#[cfg(test)]
mod contract;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{Error, ErrorKind, Result};

pub use conditional::Version;
pub use os_lock::OsLock;

/// The files of one table, by paths relative to its base path. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    root: Path,
    name: Arc<str>,
    is_local: bool,
    /// How often a delete is tried.
    delete_attempts: u32,
}

/// The clients of cloud stores do not repeat a delete, which they send as a POST, by themselves. With pauses that double, these
/// attempts span six seconds.
const DELETE_ATTEMPTS: u32 = 6;
const DELETE_PAUSE: Duration = Duration::from_millis(200);

/// What lies directly in a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of the directories.
    pub dirs: Vec<String>,
    /// The files.
    pub files: Vec<ListedFile>,
}

/// A file in a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Name without the directory.
    pub name: String,
    /// Length.
    pub size_bytes: u64,
    /// Last change.
    pub modified: DateTime<Utc>,
}

impl Storage {
    /// Opens a place: a local path, or an `s3://`, `gs://` or `az://` URL when the feature is built in. Nothing is
    /// read or created yet. Credentials and endpoints come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`).
    ///
    /// # Errors
    /// `Invalid` when the location cannot be one; `Unsupported` when the feature is not built in.
    pub fn open(location: &str) -> Result<Self> {
        Self::open_with(location, location::environment())
    }

    /// Opens a place with these settings in place of the environment's (`AWS_ENDPOINT_URL` and so on).
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub fn open_with(location: &str, options: Vec<(String, String)>) -> Result<Self> {
        let located = location::locate(location, options)?;
        Ok(Self {
            store: located.store,
            root: located.root,
            name: located.name.into(),
            is_local: located.is_local,
            delete_attempts: if located.is_local { 1 } else { DELETE_ATTEMPTS },
        })
    }

    /// A place inside a given store, for tests and wrappers.
    pub fn with_store(store: Arc<dyn ObjectStore>, root: Path, name: &str) -> Self {
        Self {
            store,
            root,
            name: name.into(),
            is_local: false,
            delete_attempts: 1,
        }
    }

    /// The same store one or more directories further down.
    ///
    /// # Errors
    /// `Invalid` when `relative` is not a path.
    pub fn at(&self, relative: &str) -> Result<Self> {
        Ok(Self {
            root: self.object_path(relative)?,
            name: self.location_of(relative).into(),
            ..self.clone()
        })
    }

    /// How the place is named to users and to other engines: an absolute path or a URL, without a slash at the end.
    pub fn location(&self) -> &str {
        &self.name
    }

    /// How a file is named to users and to other engines.
    pub fn location_of(&self, relative: &str) -> String {
        crate::file_group::join_path(&self.name, relative)
    }

    /// Whether the files lie on a disk of this machine, or one that is mounted like it.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Where a file of a local table lies on the disk.
    ///
    /// # Errors
    /// `Internal` for a table in an object store.
    pub(crate) fn local_path(&self, relative: &str) -> Result<PathBuf> {
        if self.is_local {
            Ok(PathBuf::from(self.location_of(relative)))
        } else {
            let message = format!("{} is not on a local disk", self.location_of(relative));
            Err(Error::internal(message))
        }
    }

    /// The store behind.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The store's path of a table-relative one.
    ///
    /// # Errors
    /// `Invalid` when a segment is empty, `.` or `..`.
    pub fn object_path(&self, relative: &str) -> Result<Path> {
        let joined = match (self.root.as_ref(), relative) {
            (root, "") => root.to_owned(),
            ("", relative) => relative.to_owned(),
            (root, relative) => format!("{root}/{relative}"),
        };
        Path::parse(&joined).map_err(|error| {
            Error::invalid(format!("path `{relative}`: {error}")).with_source(error)
        })
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Unavailable` when the store gives up.
    pub async fn read(&self, relative: &str) -> Result<Bytes> {
        let path = self.object_path(relative)?;
        let found = self
            .store
            .get(&path)
            .await
            .map_err(|error| self.reading(error, relative))?;
        found
            .bytes()
            .await
            .map_err(|error| self.reading(error, relative))
    }

    /// Reads part of a file.
    ///
    /// # Errors
    /// As [`Storage::read`].
    pub async fn read_range(&self, relative: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.object_path(relative)?;
        let read = self.store.get_range(&path, range).await;
        read.map_err(|error| self.reading(error, relative))
    }

    /// Reads a whole file, or nothing when there is none.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn read_if_exists(&self, relative: &str) -> Result<Option<Bytes>> {
        none_if_missing(self.read(relative).await)
    }

    /// Whether a file exists.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn exists(&self, relative: &str) -> Result<bool> {
        Ok(none_if_missing(self.size(relative).await)?.is_some())
    }

    /// Length of a file.
    ///
    /// # Errors
    /// As [`Storage::read`].
    pub async fn size(&self, relative: &str) -> Result<u64> {
        let path = self.object_path(relative)?;
        let found = self.store.head(&path).await;
        found
            .map(|meta| meta.size)
            .map_err(|error| self.reading(error, relative))
    }

    /// When a file was last changed; nothing when there is none.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn modified(&self, relative: &str) -> Result<Option<DateTime<Utc>>> {
        let path = self.object_path(relative)?;
        let found = self.store.head(&path).await;
        let found = found
            .map(|meta| meta.last_modified)
            .map_err(|error| self.reading(error, relative));
        none_if_missing(found)
    }

    /// Creates a file that must not be there yet. A file with the very bytes counts as ours: the reply to an earlier
    /// attempt was lost. (An empty one does not: any writer's would look like it.)
    ///
    /// # Errors
    /// `AlreadyExists` when another one is there; `Unavailable` when the store gives up, with the outcome unknown.
    pub async fn create(&self, relative: &str, bytes: Bytes) -> Result<()> {
        let path = self.object_path(relative)?;
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(bytes.clone());
        let Err(error) = self.store.put_opts(&path, payload, options).await else {
            return Ok(());
        };
        let error = Error::from(error).context(format!("creating {}", self.location_of(relative)));
        let may_be_ours = matches!(
            error.kind(),
            ErrorKind::AlreadyExists | ErrorKind::Unavailable
        );
        if may_be_ours && !bytes.is_empty() && self.read_if_exists(relative).await? == Some(bytes) {
            return Ok(());
        }
        Err(error)
    }

    /// Writes a file, whether or not it is there.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn overwrite(&self, relative: &str, bytes: Bytes) -> Result<()> {
        let path = self.object_path(relative)?;
        if self.is_local {
            // Hadoop checks a file against the checksum that it keeps beside it, and would refuse the new bytes.
            let (dir, name) = relative.rsplit_once('/').unwrap_or(("", relative));
            self.delete(&crate::file_group::join_path(dir, &format!(".{name}.crc")))
                .await?;
        }
        let written = self.store.put(&path, PutPayload::from_bytes(bytes)).await;
        written.map(drop).map_err(|error| {
            Error::from(error).context(format!("writing {}", self.location_of(relative)))
        })
    }

    /// Deletes a file; one that is not there is fine.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn delete(&self, relative: &str) -> Result<()> {
        let path = self.object_path(relative)?;
        let mut attempt = 1;
        loop {
            let error = match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => return Ok(()),
                Err(error) => Error::from(error),
            };
            if attempt >= self.delete_attempts || error.kind() != ErrorKind::Unavailable {
                return Err(error.context(format!("deleting {}", self.location_of(relative))));
            }
            tokio::time::sleep(DELETE_PAUSE * (1 << (attempt - 1))).await;
            attempt += 1;
        }
    }

    /// Removes what an upload of this file left when its process died. On a local disk that is a staging file beside it,
    /// which listings do not show; object stores expire unfinished uploads by their own rules.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub async fn delete_staging(&self, relative: &str) -> Result<()> {
        if !self.is_local {
            return Ok(());
        }
        let staged = format!("{}#1", self.location_of(relative));
        match tokio::fs::remove_file(&staged).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("deleting {staged}: {error}");
                Err(Error::new(ErrorKind::Unavailable, message).with_source(error))
            }
            _ => Ok(()),
        }
    }

    /// Lists a directory in the order of names; one that does not exist is empty.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn list(&self, relative: &str) -> Result<Listing> {
        let path = self.object_path(relative)?;
        let found = match self.store.list_with_delimiter(Some(&path)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Listing::default()),
            Err(error) => {
                let error = Error::from(error);
                return Err(error.context(format!("listing {}", self.location_of(relative))));
            }
        };
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut dirs: Vec<String> = found.common_prefixes.iter().filter_map(name).collect();
        let mut files: Vec<ListedFile> = found
            .objects
            .iter()
            .filter_map(|meta| {
                let name = name(&meta.location)?;
                Some(ListedFile {
                    name,
                    size_bytes: meta.size,
                    modified: meta.last_modified,
                })
            })
            .collect();
        dirs.sort_unstable();
        files.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(Listing { dirs, files })
    }

    /// Lists all files below a directory, by their table-relative paths, in order.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn list_recursive(&self, relative: &str) -> Result<Vec<(String, ListedFile)>> {
        let mut dirs = vec![relative.to_owned()];
        let mut found = Vec::new();
        while let Some(dir) = dirs.pop() {
            let listing = self.list(&dir).await?;
            let path = |name: &str| crate::file_group::join_path(&dir, name);
            found.extend(
                listing
                    .files
                    .into_iter()
                    .map(|file| (path(&file.name), file)),
            );
            dirs.extend(listing.dirs.iter().map(|name| path(name)));
        }
        found.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        Ok(found)
    }

    fn reading(&self, error: object_store::Error, relative: &str) -> Error {
        Error::from(error).context(format!("reading {}", self.location_of(relative)))
    }
}

fn none_if_missing<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_kept_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let location = dir.path().join("not there yet");
        let storage = Storage::open(location.to_str().unwrap()).unwrap();
        assert_eq!(storage.list("").await.unwrap(), Listing::default());
        let body = Bytes::from_static(b"x");
        for name in ["p=a%3Ab/.f_1.log.1_0-0-0", "p=ä b/x.parquet"] {
            storage.create(name, body.clone()).await.unwrap();
            assert!(location.join(name).exists());
            assert_eq!(storage.read(name).await.unwrap(), body);
        }
        assert_eq!(storage.list("").await.unwrap().dirs, ["p=a%3Ab", "p=ä b"]);
        assert_eq!(
            storage.list("p=a%3Ab").await.unwrap().files[0].name,
            ".f_1.log.1_0-0-0"
        );
    }

    #[tokio::test]
    async fn creates_once_and_finds_its_own_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        storage
            .create("a/b", Bytes::from_static(b"mine"))
            .await
            .unwrap();
        storage
            .create("a/b", Bytes::from_static(b"mine"))
            .await
            .unwrap();
        let lost = storage
            .create("a/b", Bytes::from_static(b"other"))
            .await
            .unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::AlreadyExists);
        storage.create("a/empty", Bytes::new()).await.unwrap();
        assert!(storage.create("a/empty", Bytes::new()).await.is_err());
    }

    #[tokio::test]
    async fn hazard_22_overwriting_drops_the_checksum_of_hadoop() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        storage
            .overwrite(".f.crc", Bytes::from_static(b"1"))
            .await
            .unwrap();
        storage
            .overwrite("f", Bytes::from_static(b"2"))
            .await
            .unwrap();
        assert!(!storage.exists(".f.crc").await.unwrap());
        storage.delete("f").await.unwrap();
        storage.delete("f").await.unwrap();
    }
}
