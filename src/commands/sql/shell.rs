//! What a line does: a statement, or a command that begins with a dot.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use query::inspect;
use query::{QuerySession, ViewOptions};

use crate::commands::query::rows_max;
use crate::commands::table::{files, timeline};
use crate::display::{duration, grouped};
use crate::output::{Format, grid, write_rows};

/// The commands, and what they do.
pub(super) const COMMANDS: [(&str, &str); 9] = [
    (".files TABLE", "its base and log files"),
    (".help", "this"),
    (".meta on|off", "show the _hoodie_* columns of SELECT *"),
    (".mode FORMAT", "table, json or csv"),
    (".quit", "leave; so does Ctrl-D"),
    (".schema TABLE", "its columns"),
    (".tables", "the tables"),
    (".timeline TABLE", "its instants"),
    (".timing on|off", "say how long a statement took"),
];

/// A session, and how its results are shown.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) session: Arc<QuerySession>,
    format: Format,
    meta_columns: bool,
    is_timed: bool,
}

/// Whether the shell goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Leave,
}

impl Shell {
    pub(super) fn new(session: QuerySession, format: Format, meta_columns: bool) -> Self {
        Self {
            session: Arc::new(session),
            format,
            meta_columns,
            is_timed: false,
        }
    }

    /// Says how long statements take from now on.
    pub(super) fn timed(mut self) -> Self {
        self.is_timed = true;
        self
    }

    /// Runs a statement, and prints its rows.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        let began = Instant::now();
        let view = ViewOptions {
            meta_columns: self.meta_columns,
            rows_max: rows_max(self.format, None),
        };
        let rows = self.session.run(sql, view).await?;
        let count = write_rows(rows, self.format, None).await?;
        if self.is_timed {
            let millis = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            let plural = if count == 1 { "" } else { "s" };
            eprintln!("{} row{plural} in {}", grouped(count), duration(millis));
        }
        Ok(())
    }

    /// Runs a command that begins with a dot; returns what it prints.
    pub(super) async fn command(&mut self, line: &str) -> Result<(Vec<String>, Next)> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let lines = match words.as_slice() {
            [".quit" | ".exit"] => return Ok((Vec::new(), Next::Leave)),
            [".help"] => help(),
            [".tables"] => self.session.table_names(),
            [".schema", name] => self.schema(name).await?,
            [".timeline", name] => {
                let table = self.session.open(name).await?;
                timeline::as_text(&inspect::timeline(&table, false).await?)
            }
            [".files", name] => {
                let table = self.session.open(name).await?;
                files::as_text(&inspect::files(&table).await?)
            }
            [".mode", name] => {
                self.format = text_format(name)?;
                Vec::new()
            }
            [".meta", switch] => {
                self.meta_columns = is_on(switch)?;
                Vec::new()
            }
            [".timing", switch] => {
                self.is_timed = is_on(switch)?;
                Vec::new()
            }
            _ => bail!("no command `{line}`; .help lists them"),
        };
        Ok((lines, Next::GoOn))
    }

    async fn schema(&self, name: &str) -> Result<Vec<String>> {
        let columns = self.session.columns(name).await?;
        let rows: Vec<Vec<String>> = columns
            .fields()
            .iter()
            .map(|field| {
                let null = if field.is_nullable() { "" } else { "not null" };
                vec![
                    field.name().clone(),
                    field.data_type().to_string(),
                    null.to_owned(),
                ]
            })
            .collect();
        Ok(grid(&["column", "type", ""], &[], &rows))
    }
}

fn help() -> Vec<String> {
    let mut lines =
        vec!["A statement ends with a semicolon, and may take several lines.".to_owned()];
    let commands = COMMANDS.iter();
    lines.extend(commands.map(|(command, does)| format!("  {command:<18}{does}")));
    lines.push("Table functions:".to_owned());
    lines.extend(query::table_functions().map(|usage| format!("  {usage}")));
    lines
}

/// A format that a terminal can show.
fn text_format(name: &str) -> Result<Format> {
    let format = Format::from_str(name, true).ok();
    format
        .filter(|format| !format.is_binary())
        .with_context(|| format!("`{name}` is none of table, json and csv"))
}

fn is_on(switch: &str) -> Result<bool> {
    match switch {
        "on" => Ok(true),
        "off" => Ok(false),
        other => bail!("`{other}` is neither on nor off"),
    }
}
