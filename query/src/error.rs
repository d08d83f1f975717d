//! The crate's error: a failure of the table format, of the query engine, or of what was asked.

use datafusion::error::DataFusionError;

/// Why a query failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A table cannot be opened or read.
    Table(table_format::Error),
    /// The engine cannot plan or run the query.
    Engine(DataFusionError),
    /// What was asked makes no sense.
    Invalid(String),
}

/// The result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Table(error) => error.fmt(f),
            Self::Engine(error) => write!(f, "{}", error.strip_backtrace()),
            Self::Invalid(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Table(error) => error.source(),
            Self::Engine(error) => error.source(),
            Self::Invalid(_) => None,
        }
    }
}

impl From<table_format::Error> for Error {
    fn from(error: table_format::Error) -> Self {
        Self::Table(error)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Self::Engine(error)
    }
}

/// How an error of a table travels through the engine.
pub(crate) fn external(error: table_format::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
