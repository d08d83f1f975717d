//! `lakebed completions` and `lakebed man`: what shells and manuals know of the command line, made from itself.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

/// Arguments of `lakebed completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed completions bash > /etc/bash_completion.d/lakebed
  lakebed completions zsh > ~/.zfunc/_lakebed")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `lakebed man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lakebed man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Where the pages go, a file a command; made if it is not there
    dir: PathBuf,
}

/// Prints the script for a shell.
pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "lakebed", &mut script);
    let written = std::io::stdout().lock().write_all(&script);
    written.context("writing the completions")
}

/// Writes the manual pages: `lakebed.1`, `lakebed-table.1`, `lakebed-table-show.1`, …
pub(crate) fn man(args: &ManArgs, command: Command) -> Result<()> {
    let dir = &args.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let written = clap_mangen::generate_to(command, dir);
    written.with_context(|| format!("writing manual pages to {}", dir.display()))
}
