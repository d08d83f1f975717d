//! The crate's error type: a coarse kind that says what the caller does next, and a text that names server, table or column.

use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server, table or position does not exist.
    NotFound,
    /// Something is there that must not be there yet.
    AlreadyExists,
    /// Another writer got in between: reload and retry.
    Conflict,
    /// Another process has the table, or has taken it over: stop.
    Fenced,
    /// The store did not answer or failed: retry later.
    Unavailable,
    /// Bytes break the specification: stop.
    Corrupt,
    /// Valid, but not something this version handles.
    Unsupported,
    /// The caller's input is wrong.
    Invalid,
    /// A broken invariant of our own.
    Internal,
}

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error of a source or pipeline, with its kind, what happened and what was being done.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    context: Vec<String>,
    source: Option<Source>,
}

/// The result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` is lower case, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            context: Vec::new(),
            source: None,
        }
    }

    /// Input that the caller has to change.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Something valid that this version does not handle.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A broken invariant of our own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Attaches the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what was being done; the outermost context is printed first.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context.push(context.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without a change by the user.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Conflict | ErrorKind::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.context.iter().rev() {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Unavailable, error.to_string()).with_source(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(ErrorKind::Internal, error.to_string()).with_source(error)
    }
}

impl From<table_format::Error> for Error {
    fn from(error: table_format::Error) -> Self {
        let kind = match error.kind() {
            table_format::ErrorKind::NotFound => ErrorKind::NotFound,
            table_format::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            table_format::ErrorKind::Conflict => ErrorKind::Conflict,
            table_format::ErrorKind::Fenced => ErrorKind::Fenced,
            table_format::ErrorKind::Unavailable => ErrorKind::Unavailable,
            table_format::ErrorKind::Corrupt => ErrorKind::Corrupt,
            table_format::ErrorKind::Unsupported => ErrorKind::Unsupported,
            table_format::ErrorKind::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}
