//! The subcommands, a file each, and how each kind of failure ends the process.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod discover;
pub(crate) mod generate;
pub(crate) mod query;
pub(crate) mod resnapshot;
pub(crate) mod run;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod table;

use std::fmt;
use std::process::ExitCode;

/// Why a command failed; decides the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The configuration or the preflight check failed: exit code 78.
    pub(crate) fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 78,
            error: error.into(),
        }
    }

    /// The command line makes no sense: exit code 2.
    pub(crate) fn usage(message: &'static str) -> Self {
        Self {
            code: 2,
            error: anyhow::anyhow!(message),
        }
    }

    /// Anything else: exit code 1.
    pub(crate) fn other(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 1,
            error: error.into(),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<ingest::Error> for Failure {
    fn from(error: ingest::Error) -> Self {
        match error.kind() {
            ingest::ErrorKind::Invalid => Self::configuration(error),
            _ => Self::other(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)
    }
}
