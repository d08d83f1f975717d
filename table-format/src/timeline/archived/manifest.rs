//! Manifests: which files make up the archive, in numbered snapshots.
//!
//! Java: LSMTimeline, HoodieLSMTimelineManifest. `_version_` names the current one. While Hudi changes it the file is missing
//! for a moment; then the largest manifest counts.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lsm_file::LsmFile;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::join_path;
use crate::storage::Storage;

/// Name of the file that tells the number of the current manifest.
pub(crate) const VERSION_FILE: &str = "_version_";
const MANIFEST_PREFIX: &str = "manifest_";
/// A manifest may be cleaned away between the reading of its number and of itself.
const ATTEMPTS: usize = 3;

/// A file of the archive and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestEntry {
    pub(crate) file: LsmFile,
    pub(crate) size_bytes: u64,
}

/// One snapshot of the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// 0 for an archive that does not exist yet.
    pub(crate) number: u64,
    pub(crate) entries: Vec<ManifestEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ManifestJson {
    #[serde(default)]
    files: Vec<FileJson>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileJson {
    file_name: String,
    file_len: u64,
}

impl Manifest {
    /// The current snapshot; empty when nothing was archived yet.
    ///
    /// # Errors
    /// `Corrupt` when the manifest breaks its format or is missing; `Unavailable` when the store gives up.
    pub(crate) async fn load(storage: &Storage, dir: &str) -> Result<Self> {
        let mut number = 0;
        for _ in 0..ATTEMPTS {
            number = match current_number(storage, dir).await? {
                0 => return Ok(Self::default()),
                number => number,
            };
            match Self::read(storage, dir, number).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                read => return read,
            }
        }
        let path = storage.location_of(&join_path(dir, VERSION_FILE));
        let message = format!("it names {MANIFEST_PREFIX}{number}, which is missing");
        Err(Error::corrupt(path, message))
    }

    /// The snapshot of this number.
    ///
    /// # Errors
    /// `NotFound` when there is none; else as [`Manifest::load`].
    pub(crate) async fn read(storage: &Storage, dir: &str, number: u64) -> Result<Self> {
        let path = join_path(dir, &manifest_name(number));
        let bytes = storage.read(&path).await?;
        Self::decode(number, &bytes).map_err(|error| error.context(storage.location_of(&path)))
    }

    fn decode(number: u64, bytes: &[u8]) -> Result<Self> {
        let corrupt = |message: String| Error::corrupt("manifest of the archive", message);
        let json: ManifestJson =
            serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        let entries = json.files.into_iter().map(|entry| {
            let file = entry.file_name.parse();
            Ok(ManifestEntry {
                file: file.map_err(|error: Error| corrupt(error.to_string()))?,
                size_bytes: entry.file_len,
            })
        });
        Ok(Self {
            number,
            entries: entries.collect::<Result<_>>()?,
        })
    }

    /// The bytes of the manifest file.
    ///
    /// # Errors
    /// `Internal`, never in practice.
    pub(crate) fn encode(&self) -> Result<Bytes> {
        let files = self.entries.iter().map(|entry| FileJson {
            file_name: entry.file.to_string(),
            file_len: entry.size_bytes,
        });
        let json = ManifestJson {
            files: files.collect(),
        };
        let bytes =
            serde_json::to_vec(&json).map_err(|error| Error::internal(error.to_string()))?;
        Ok(bytes.into())
    }

    /// Whether the snapshot names this file.
    pub(crate) fn contains(&self, file: &LsmFile) -> bool {
        self.entries.iter().any(|entry| entry.file == *file)
    }
}

/// Name of the manifest of this number.
pub(crate) fn manifest_name(number: u64) -> String {
    format!("{MANIFEST_PREFIX}{number}")
}

/// The number in the name of a manifest.
pub(crate) fn manifest_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(MANIFEST_PREFIX)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// What `_version_` says, or the largest number when it says nothing; 0 without any manifest.
pub(crate) async fn current_number(storage: &Storage, dir: &str) -> Result<u64> {
    let path = join_path(dir, VERSION_FILE);
    let stated = storage.read_if_exists(&path).await?;
    let number = stated
        .as_deref()
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.trim().parse().ok());
    if let Some(number) = number {
        return Ok(number);
    }
    let listing = storage.list(dir).await?;
    let numbers = listing
        .files
        .iter()
        .filter_map(|file| manifest_number(&file.name));
    Ok(numbers.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store(files: &[(&str, &str)]) -> (tempfile::TempDir, Storage) {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        for (name, body) in files {
            let body = Bytes::copy_from_slice(body.as_bytes());
            storage.create(&format!("h/{name}"), body).await.unwrap();
        }
        (dir, storage)
    }

    fn one_file(name: &str) -> String {
        format!("{{ \"files\" : [ {{ \"fileName\" : \"{name}\", \"fileLen\" : 7 }} ] }}")
    }

    #[tokio::test]
    async fn the_version_file_decides_and_the_largest_manifest_stands_in_for_it() {
        let (first, second) = (one_file("1_2_0.parquet"), one_file("1_4_1.parquet"));
        let manifests = [
            ("manifest_9", first.as_str()),
            ("manifest_10", second.as_str()),
        ];
        for (version, number) in [(Some("9"), 9), (Some(""), 10), (Some("x"), 10), (None, 10)] {
            let mut files = manifests.to_vec();
            files.extend(version.map(|version| ("_version_", version)));
            let (_dir, storage) = store(&files).await;
            let manifest = Manifest::load(&storage, "h").await.unwrap();
            assert_eq!(manifest.number, number, "{version:?}");
            assert_eq!(manifest.entries.len(), 1);
            let again = Manifest::decode(number, &manifest.encode().unwrap()).unwrap();
            assert_eq!(again, manifest);
        }
        let (_dir, storage) = store(&[]).await;
        let none = Manifest::load(&storage, "h").await.unwrap();
        assert_eq!(none, Manifest::default());
    }

    #[tokio::test]
    async fn a_broken_or_missing_manifest_is_corrupt() {
        let bad_name = one_file("x.parquet");
        for files in [
            &[("_version_", "3")][..],
            &[("_version_", "3"), ("manifest_3", "{\"files\":[")],
            &[("manifest_3", bad_name.as_str())],
        ] {
            let (_dir, storage) = store(files).await;
            let error = Manifest::load(&storage, "h").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{files:?}");
        }
    }
}
