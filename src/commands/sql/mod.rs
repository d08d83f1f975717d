//! `lakebed sql`: a prompt over tables, or statements of a script.

mod prompt;
mod shell;
mod statement;

use std::io::{IsTerminal, Read as _, Write as _};
use std::sync::Arc;

use anyhow::{Context, Result};
use query::{QuerySession, QueryType};

use super::Failure;
use super::query::sources::Sources;
use crate::output::Format;
use prompt::{Prompt, Words};
use shell::{COMMANDS, Next, Shell};
use statement::split;

/// Arguments of `lakebed sql`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed sql --lake lake
  lakebed sql -t lake/shop/orders -c 'SELECT count(*) FROM orders' -c '.timeline orders'
  lakebed sql --lake lake --format csv < report.sql

At the prompt: .help lists the commands, Tab completes names, Ctrl-C stops a statement, Ctrl-D leaves. What was typed is
kept in ~/.lakebed_history.")]
pub(crate) struct SqlArgs {
    #[command(flatten)]
    sources: Sources,
    /// Run this and leave; may be given several times
    #[arg(short, long, value_name = "SQL")]
    command: Vec<String>,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Show the `_hoodie_*` columns of `SELECT *`
    #[arg(long)]
    meta: bool,
}

pub(crate) async fn run(args: SqlArgs) -> Result<(), Failure> {
    if args.sources.is_empty() {
        return Err(Failure::usage(
            "name a lake with --lake DIR, or tables with -t [NAME=]PATH",
        ));
    }
    if args.format.is_binary() {
        return Err(Failure::usage(
            "statements one after the other are written as table, json or csv: `lakebed query` writes the other formats",
        ));
    }
    let session = args.sources.session(&QueryType::Snapshot).await?;
    let mut shell = Shell::new(session, args.format, args.meta);
    let outcome = if !args.command.is_empty() {
        script(&mut shell, &args.command.join(";\n")).await
    } else if std::io::stdin().is_terminal() {
        interactive(shell.timed()).await
    } else {
        let mut text = String::new();
        match std::io::stdin().read_to_string(&mut text) {
            Ok(_) => script(&mut shell, &text).await,
            Err(error) => Err(error).context("reading statements from standard input"),
        }
    };
    outcome.map_err(Failure::other)
}

/// Runs what a script holds, up to its first failure. Commands that begin with a dot take a line each.
async fn script(shell: &mut Shell, text: &str) -> Result<()> {
    let mut pending = String::new();
    for line in text.lines().chain([";"]) {
        let command = line.trim().trim_end_matches(';');
        if split(&pending).1.is_empty() && command.starts_with('.') {
            if perform(shell, command).await? == Next::Leave {
                return Ok(());
            }
            continue;
        }
        pending.push_str(line);
        pending.push('\n');
        let (statements, rest) = split(&pending);
        for sql in statements {
            shell.run(sql).await?;
        }
        pending = rest.to_owned();
    }
    Ok(())
}

/// Reads and runs until the end of input. What fails is said, and the prompt comes back.
async fn interactive(mut shell: Shell) -> Result<()> {
    let words = Words::of_language(
        COMMANDS
            .iter()
            .filter_map(|(command, _)| command.split(' ').next())
            .chain(query::table_functions().filter_map(|usage| usage.split('\'').next()))
            .map(str::to_owned),
    );
    let learning = tokio::spawn(learn(Arc::clone(&shell.session), words.clone()));
    let mut prompt = Prompt::open(words.clone())?;
    while let Some(text) = prompt.read()? {
        let outcome = tokio::select! {
            outcome = answer(&mut shell, text.trim()) => outcome,
            stopped = tokio::signal::ctrl_c() => stopped
                .map(|()| {
                    eprintln!("stopped");
                    Next::GoOn
                })
                .context("waiting for Ctrl-C"),
        };
        match outcome {
            Ok(Next::GoOn) => {}
            Ok(Next::Leave) => break,
            Err(error) => eprintln!("error: {error:#}"),
        }
    }
    learning.abort();
    Ok(())
}

/// Adds the names of tables, and of their columns as they are read. What cannot be read is not completed.
async fn learn(session: Arc<QuerySession>, words: Words) {
    let names = session.table_names();
    words.add(names.clone());
    for name in names {
        match session.columns(&name).await {
            Ok(columns) => words.add(columns.fields().iter().map(|field| field.name().clone())),
            Err(error) => tracing::debug!(%error, name, "columns are not completed"),
        }
    }
}

async fn answer(shell: &mut Shell, text: &str) -> Result<Next> {
    if text.starts_with('.') {
        return perform(shell, text).await;
    }
    for sql in split(text).0 {
        shell.run(sql).await?;
    }
    Ok(Next::GoOn)
}

async fn perform(shell: &mut Shell, line: &str) -> Result<Next> {
    let (lines, next) = shell.command(line).await?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(next)
}
