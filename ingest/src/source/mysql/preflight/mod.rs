//! Looks before it leaps: everything about a server, an account and its tables that would stop or weaken a pipeline, all at once.
//!
//! Rights are not read from grants but tried: the statements that the pipeline will run, and a dump that ends at the end of the
//! log.

mod access;
mod merged;
mod polled;
mod settings;
mod tables;

use std::fmt;

use regex::Regex;

use super::connection::{Connection, MySqlOptions};
use super::server::ServerInfo;
use crate::Error;
use crate::config::{Route, ScanMode, Transform};
use crate::position::BinlogPosition;
use crate::transform::TransformCompiler;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The pipeline cannot run.
    Error,
    /// It can, but a promise is weakened.
    Warning,
    /// Worth knowing.
    Info,
}

/// One thing that the preflight noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: the server, a setting, a table.
    pub subject: String,
    /// What is wrong and what follows from it.
    pub message: String,
    /// The statement or my.cnf line that mends it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(level: Level, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level,
            subject: subject.into(),
            message: message.into(),
            remedy: None,
        }
    }

    fn mend(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        };
        write!(f, "{level}: {}: {}", self.subject, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; mend it with: {remedy}"),
            None => Ok(()),
        }
    }
}

/// What the pipeline is going to do.
#[derive(Debug, Clone)]
pub struct PreflightRequest<'a> {
    /// Tables to capture: full match on `database.table`.
    pub tables: &'a Regex,
    /// How it finds changes.
    pub scan_mode: &'a ScanMode,
    /// The replica id it will read the log under.
    pub server_id: u32,
    /// Connections that read chunks in parallel.
    pub workers: usize,
    /// Which tables get a key by the pipeline file; those need none of their own.
    pub transforms: &'a [Transform],
    /// Which lake tables the rows go to.
    pub routes: &'a [Route],
    /// What compiles the transforms' expressions, to see whether they fit the tables.
    pub compiler: Option<&'a dyn TransformCompiler>,
    /// Where it will go on, if it ran before.
    pub start: Option<&'a BinlogPosition>,
}

/// Runs every check; the worst findings come first. Empty when all is well.
pub async fn preflight(options: &MySqlOptions, request: &PreflightRequest<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = run(options, request, &mut findings).await {
        findings.push(of_error(options.endpoint(), &error));
    }
    findings.sort_by_key(|finding| finding.level);
    findings
}

fn of_error(subject: impl Into<String>, error: &Error) -> Finding {
    Finding::new(Level::Error, subject, error.to_string())
}

async fn run(
    options: &MySqlOptions,
    request: &PreflightRequest<'_>,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let mut connection = Connection::connect(options).await?;
    let server = ServerInfo::read(&mut connection).await?;
    if let ScanMode::Log = request.scan_mode {
        settings::check(&server, request, findings);
        access::check(options, &mut connection, &server, request, findings).await?;
    }
    let found = tables::check(&mut connection, &server, request, findings).await?;
    if let ScanMode::Query(scan) = request.scan_mode {
        let account = access::account(&mut connection).await?;
        polled::check(&mut connection, &account, scan, &found, findings).await?;
    }
    merged::check(&found, request, findings);
    connection.close().await
}
