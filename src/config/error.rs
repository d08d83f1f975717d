//! A wrong pipeline file: file, line, key and what to write instead.

use std::fmt;

/// Why a pipeline file is refused.
#[derive(Debug)]
pub(crate) struct ConfigError {
    path: String,
    line: Option<usize>,
    key: String,
    message: String,
}

impl ConfigError {
    pub(super) fn new(
        path: &str,
        line: Option<usize>,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let key = key.into().trim_end_matches('.').to_owned();
        Self {
            path: path.to_owned(),
            line,
            key,
            message: message.into(),
        }
    }

    pub(super) fn at(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}
