//! The `lakebed` binary: change data in, Apache Hudi tables out.

mod cli;
mod commands;
mod compare;
mod config;
mod display;
mod input;
mod metrics;
mod output;
mod telemetry;
mod transform;

use std::process::ExitCode;

use clap::Parser;
use indicatif::MultiProgress;

/// Returns freed memory early and keeps threads from hoarding it, which the memory ceiling relies on.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let area = MultiProgress::new();
    telemetry::init(&area, cli.log_format());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run(&area)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            area.suspend(|| eprintln!("error: {failure}"));
            failure.exit_code()
        }
    }
}
