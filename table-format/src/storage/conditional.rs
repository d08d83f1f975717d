//! Writes on a condition: a file is put only where none is, or only over the version that was read.
//!
//! Object stores do this themselves (ETags, generations). A local file system cannot, so writers of such a file take the
//! operating system's lock of a file beside it and compare the bytes; all of them have to come through here. Versions of
//! local files are their bytes: whoever writes conditionally puts something unique in.

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::{Storage, none_if_missing};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::OsLock;

/// Which state of a file was read or written.
#[derive(Debug, Clone)]
pub struct Version(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Store(UpdateVersion),
    Content(Bytes),
}

impl Storage {
    /// Reads a whole file together with its version; nothing when there is none.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn read_version(&self, relative: &str) -> Result<Option<(Bytes, Version)>> {
        none_if_missing(self.read_present_version(relative).await)
    }

    /// Writes a file if it is still as it was: not there (`None`), or of the version `expected`. A file that holds the very
    /// bytes afterwards counts as written by us, as the reply may have been lost: they have to be unique to the caller.
    ///
    /// # Errors
    /// `Conflict` when it is not; `Unavailable` when the store gives up, with the outcome unknown.
    pub async fn write_if(
        &self,
        relative: &str,
        expected: Option<&Version>,
        bytes: Bytes,
    ) -> Result<Version> {
        let written = if self.is_local {
            self.write_local_if(relative, expected, bytes.clone()).await
        } else {
            self.put_if(relative, expected, bytes.clone()).await
        };
        let Err(error) = written else {
            return written;
        };
        if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable)
            && let Some((found, version)) = self.read_version(relative).await?
            && found == bytes
        {
            return Ok(version);
        }
        Err(error.context(format!("writing {}", self.location_of(relative))))
    }

    async fn read_present_version(&self, relative: &str) -> Result<(Bytes, Version)> {
        if self.is_local {
            let bytes = self.read(relative).await?;
            return Ok((bytes.clone(), Version(Kind::Content(bytes))));
        }
        let path = self.object_path(relative)?;
        let found = self.store.get(&path).await;
        let found = found.map_err(|error| self.reading(error, relative))?;
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let bytes = found.bytes().await;
        let bytes = bytes.map_err(|error| self.reading(error, relative))?;
        Ok((bytes, Version(Kind::Store(version))))
    }

    async fn put_if(
        &self,
        relative: &str,
        expected: Option<&Version>,
        bytes: Bytes,
    ) -> Result<Version> {
        let mode = match expected {
            None => PutMode::Create,
            Some(Version(Kind::Store(version))) => PutMode::Update(version.clone()),
            Some(Version(Kind::Content(_))) => {
                return Err(Error::internal("a version of a local file for an object"));
            }
        };
        let path = self.object_path(relative)?;
        let payload = PutPayload::from_bytes(bytes);
        match self
            .store
            .put_opts(&path, payload, PutOptions::from(mode))
            .await
        {
            Ok(put) => Ok(Version(Kind::Store(put.into()))),
            Err(error @ object_store::Error::AlreadyExists { .. }) => Err(changed(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    async fn write_local_if(
        &self,
        relative: &str,
        expected: Option<&Version>,
        bytes: Bytes,
    ) -> Result<Version> {
        let _guard = OsLock::exclusive(&self.local_path(&format!("{relative}.guard"))?).await?;
        let now = self.read_if_exists(relative).await?;
        let is_expected = match expected {
            None => now.is_none(),
            Some(Version(Kind::Content(expected))) => now.as_ref() == Some(expected),
            Some(Version(Kind::Store(_))) => false,
        };
        if !is_expected {
            return Err(Error::new(
                ErrorKind::Conflict,
                "another writer has changed it",
            ));
        }
        // A rename: readers see the old bytes or the new ones.
        self.overwrite(relative, bytes.clone()).await?;
        Ok(Version(Kind::Content(bytes)))
    }
}

fn changed(source: Error) -> Error {
    Error::new(ErrorKind::Conflict, "another writer has created it").with_source(source)
}
