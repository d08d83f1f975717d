//! The crate's error: a failure of the table format, of the query engine, or of what was asked.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

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
            Self::Engine(error) => fmt_engine(error, f),
            Self::Invalid(message) => f.write_str(message),
        }
    }
}

/// What went wrong, without the layers that it came through.
fn fmt_engine(error: &DataFusionError, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    match error.find_root() {
        DataFusionError::External(error) => write!(f, "{error}"),
        DataFusionError::SQL(error, _) => {
            let (ParserError::ParserError(what) | ParserError::TokenizerError(what)) = &**error
            else {
                return write!(f, "{error}");
            };
            write!(f, "the statement is no SQL: {what}")
        }
        error => f.write_str(&error.strip_backtrace()),
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Table(error) => error.source(),
            // What it says holds what its sources say.
            Self::Engine(_) | Self::Invalid(_) => None,
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
