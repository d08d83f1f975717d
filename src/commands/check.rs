//! `lakebed check`: everything that can be found wrong before a run, at once, each with what mends it.

use ingest::config::PipelineConfig;
use ingest::source::mysql::connection::{Connection, MySqlOptions};
use ingest::source::mysql::hosts::Hosts;
use ingest::source::mysql::preflight::{Finding, Level, PreflightRequest, preflight};
use table_format::storage::Storage;
use table_format::table::Table;

use super::Failure;
use crate::config;
use crate::transform::SqlTransforms;

/// Connections that read a snapshot beside the control and log connections.
const WORKERS: usize = 3;

/// Arguments of `lakebed check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed check shop.yaml             configuration, server, tables and lake
  lakebed check shop.yaml --offline   configuration only

Exit code 0: a run can start. 78: it cannot; each error comes with the statement that mends it.")]
pub(crate) struct CheckArgs {
    /// The pipeline file (YAML)
    pipeline: String,
    /// Look at the pipeline file only
    #[arg(long)]
    offline: bool,
}

pub(crate) async fn check(args: CheckArgs) -> Result<(), Failure> {
    let config = config::load(&args.pipeline).map_err(Failure::configuration)?;
    let mut findings = Vec::new();
    if !args.offline {
        findings = all_findings(&config).await?;
        findings.extend(lake_finding(&config).await);
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    refuse_errors(&findings)?;
    let warnings = findings
        .iter()
        .filter(|finding| finding.level == Level::Warning)
        .count();
    eprintln!("{}: ready to run ({warnings} warnings)", args.pipeline);
    Ok(())
}

/// Checks the source at the start of a run: errors end it, warnings are logged.
pub(crate) async fn before_run(config: &PipelineConfig) -> Result<(), Failure> {
    let hosts = hosts(config)?;
    let answering = match hosts.connect().await {
        Ok((options, _)) => options,
        // The checks say what is wrong with it.
        Err(_) => first(&hosts)?.clone(),
    };
    let findings = source_findings(config, &answering).await;
    for finding in findings
        .iter()
        .filter(|finding| finding.level == Level::Warning)
    {
        tracing::warn!("{finding}");
    }
    let errors = findings
        .iter()
        .filter(|finding| finding.level == Level::Error);
    errors.for_each(|finding| eprintln!("{finding}"));
    refuse_errors(&findings)
}

fn refuse_errors(findings: &[Finding]) -> Result<(), Failure> {
    match findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .count()
    {
        0 => Ok(()),
        1 => Err(Failure::configuration(anyhow::anyhow!(
            "the source cannot be read: see the error above"
        ))),
        errors => {
            let message = format!("the source cannot be read: see the {errors} errors above");
            Err(Failure::configuration(anyhow::anyhow!(message)))
        }
    }
}

fn hosts(config: &PipelineConfig) -> Result<Hosts, Failure> {
    Ok(Hosts::from_config(&config.source)?)
}

fn first(hosts: &Hosts) -> Result<&MySqlOptions, Failure> {
    let missing = || Failure::other(anyhow::anyhow!("source.hostname names no server"));
    hosts.all().first().ok_or_else(missing)
}

/// What is wrong with each of the servers. One that does not answer is no error as long as another does.
async fn all_findings(config: &PipelineConfig) -> Result<Vec<Finding>, Failure> {
    let hosts = hosts(config)?;
    if hosts.all().len() == 1 {
        return Ok(source_findings(config, first(&hosts)?).await);
    }
    let mut findings = Vec::new();
    let mut silent = Vec::new();
    for options in hosts.all() {
        let endpoint = options.endpoint();
        match Connection::connect(options).await {
            Err(error) if error.is_retryable() => silent.push(Finding {
                level: Level::Warning,
                subject: endpoint,
                message: error.to_string(),
                remedy: None,
            }),
            _ => {
                let found = source_findings(config, options).await;
                findings.extend(found.into_iter().map(|finding| Finding {
                    subject: format!("{endpoint}: {}", finding.subject),
                    ..finding
                }));
            }
        }
    }
    if silent.len() == hosts.all().len() {
        silent
            .iter_mut()
            .for_each(|finding| finding.level = Level::Error);
    }
    findings.extend(silent);
    Ok(findings)
}

/// What is wrong with a server.
async fn source_findings(config: &PipelineConfig, options: &MySqlOptions) -> Vec<Finding> {
    let request = PreflightRequest {
        tables: config.source.tables.regex(),
        scan_mode: &config.source.scan_mode,
        server_id: config.source.server_id,
        workers: WORKERS,
        transforms: &config.transforms,
        routes: &config.routes,
        compiler: Some(&SqlTransforms),
        start: None,
    };
    preflight(options, &request).await
}

/// What is wrong with the lake's location, if anything.
async fn lake_finding(config: &PipelineConfig) -> Option<Finding> {
    let subject = format!("sink.path {}", config.sink.path);
    let finding = |message: String, remedy: &str| {
        Some(Finding {
            level: Level::Error,
            subject,
            message,
            remedy: Some(remedy.to_owned()),
        })
    };
    let listed = match Storage::open(&config.sink.path) {
        Ok(storage) => storage.list("").await,
        Err(error) => Err(error),
    };
    if let Err(error) = listed {
        return finding(
            error.to_string(),
            "name a directory or URL that this account may write to",
        );
    }
    match Table::open(&config.sink.path).await {
        Ok(_) => finding(
            "is a Hudi table itself".to_owned(),
            "name the directory above the databases",
        ),
        Err(_) => None,
    }
}
