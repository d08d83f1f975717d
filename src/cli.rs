//! The command line. Data goes to standard output, everything else to standard error.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 78 configuration or preflight check failed, 130 interrupted.

use clap::{CommandFactory, Parser, Subcommand};
use indicatif::MultiProgress;

use crate::commands::{self, Failure};
use crate::telemetry::LogFormat;

/// Lands MySQL and MariaDB change data in Apache Hudi tables.
#[derive(Debug, Parser)]
#[command(
    name = "lakebed",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 78 configuration or preflight check failed, 130 interrupted."
)]
pub(crate) struct Cli {
    /// How log lines on standard error look; LAKEBED_LOG_FORMAT is the default
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy tables into the lake, then follow the binary log
    Run(commands::run::RunArgs),
    /// Check configuration, source and lake before a run
    Check(commands::check::CheckArgs),
    /// List the tables of a server, and write a pipeline file to start from
    Discover(commands::discover::DiscoverArgs),
    /// Show where each table of a pipeline stands
    Status(commands::status::StatusArgs),
    /// Ask for a table of a pipeline to be loaded anew
    Resnapshot(commands::resnapshot::ResnapshotArgs),
    /// Show the whole story on this machine, with a private MariaDB
    Demo(commands::demo::DemoArgs),
    /// Run SQL over tables of a lake
    Query(commands::query::QueryArgs),
    /// A prompt for SQL over tables of a lake, or a script of statements
    Sql(commands::sql::SqlArgs),
    /// Create, write and inspect a table
    #[command(
        subcommand,
        after_help = "Examples:\n  lakebed table write lake/trips --input trips.csv --op upsert --record-key id\n  lakebed table show lake/shop/orders\n  lakebed table timeline lake/shop/orders"
    )]
    Table(commands::table::TableCommand),
    /// Print what makes a shell complete these commands
    Completions(commands::generate::CompletionsArgs),
    /// Write the manual pages
    Man(commands::generate::ManArgs),
}

impl Cli {
    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or_else(LogFormat::from_environment)
    }

    pub(crate) async fn run(self, area: &MultiProgress) -> Result<(), Failure> {
        match self.command {
            Command::Run(args) => commands::run::run(args, area).await,
            Command::Check(args) => commands::check::check(args).await,
            Command::Discover(args) => commands::discover::run(args).await,
            Command::Status(args) => commands::status::run(args).await,
            Command::Resnapshot(args) => commands::resnapshot::run(args).await,
            Command::Demo(args) => commands::demo::run(args, area).await,
            Command::Query(args) => commands::query::run(args).await,
            Command::Sql(args) => commands::sql::run(args).await,
            Command::Table(command) => commands::table::run(command).await,
            Command::Completions(args) => {
                commands::generate::completions(&args, Self::command()).map_err(Failure::other)
            }
            Command::Man(args) => {
                commands::generate::man(&args, Self::command()).map_err(Failure::other)
            }
        }
    }
}
