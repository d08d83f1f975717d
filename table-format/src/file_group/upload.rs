//! Streams a data file to the store: small files in one request, larger ones in parts, so that memory stays bounded.

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use crate::error::{Error, Result};
use crate::storage::Storage;

/// The smallest part that every store accepts.
const PART_BYTES: usize = 5 << 20;

/// A file on its way to the store; it appears there when [`FileUpload::finish`] returns, and not before.
#[derive(Debug)]
pub(crate) struct FileUpload {
    storage: Storage,
    path: String,
    buffer: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
    sent_bytes: u64,
}

impl FileUpload {
    /// An upload to the table-relative `path`, which must not exist.
    pub(crate) fn new(storage: Storage, path: String) -> Self {
        Self {
            storage,
            path,
            buffer: Vec::new(),
            parts: None,
            sent_bytes: 0,
        }
    }

    /// Bytes waiting for a part to fill up.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Appends `bytes` to the file.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        if self.buffer.is_empty() {
            self.buffer = bytes;
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
        if self.buffer.len() >= PART_BYTES {
            self.send_part().await
        } else {
            Ok(())
        }
    }

    async fn send_part(&mut self) -> Result<()> {
        let part = std::mem::take(&mut self.buffer);
        self.sent_bytes += part.len() as u64;
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let path = self.storage.object_path(&self.path)?;
                let upload = self.storage.object_store().put_multipart(&path).await;
                self.parts
                    .insert(upload.map_err(|error| self.storage_error(error))?)
            }
        };
        let sent = parts.put_part(PutPayload::from(part)).await;
        sent.map_err(|error| Error::from(error).context(format!("writing {}", self.path)))
    }

    /// Publishes the file and returns its length.
    pub(crate) async fn finish(mut self) -> Result<u64> {
        if self.parts.is_none() {
            let length = self.buffer.len() as u64;
            self.storage
                .create(&self.path, std::mem::take(&mut self.buffer).into())
                .await?;
            return Ok(length);
        }
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        if let Some(mut parts) = self.parts.take() {
            parts
                .complete()
                .await
                .map_err(|error| self.storage_error(error))?;
        }
        Ok(self.sent_bytes)
    }

    /// Gives the file up; what was sent is removed from the store.
    pub(crate) async fn abort(mut self) -> Result<()> {
        match self.parts.take() {
            Some(mut parts) => Ok(parts
                .abort()
                .await
                .map_err(|error| self.storage_error(error))?),
            None => Ok(()),
        }
    }

    fn storage_error(&self, error: object_store::Error) -> Error {
        Error::from(error).context(format!("writing {}", self.path))
    }
}
