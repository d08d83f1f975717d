//! What can be wrong with the bytes of one value; small, since it is in the result of every hot call.

use crate::error::{Error, ErrorKind};

/// Why bytes of a source could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{expected} bytes expected, {found} found")]
    Truncated {
        /// Bytes that the value needs.
        expected: usize,
        /// Bytes that are left.
        found: usize,
    },
    /// The bytes do not form a value.
    #[error("{0}")]
    Invalid(&'static str),
    /// Text that is not valid in its column's character set.
    #[error("text is not valid in the column's character set")]
    InvalidText,
    /// Something valid that is not handled.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A batch would hold more than 2 GiB of one column.
    #[error(
        "a batch cannot hold more than 2 GiB of one column; lower commit.bytes or the chunk size"
    )]
    ColumnFull,
    /// A decoder was paired with a builder of another type.
    #[error("a decoder meets a column of another type")]
    WrongColumn,
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::Truncated { .. } | DecodeError::Invalid(_) | DecodeError::InvalidText => {
                ErrorKind::Corrupt
            }
            DecodeError::Unsupported(_) | DecodeError::ColumnFull => ErrorKind::Unsupported,
            DecodeError::WrongColumn => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}
