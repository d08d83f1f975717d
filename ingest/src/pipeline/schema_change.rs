//! What a statement of the log means for the pipeline: nothing, another look at the tables, or a stop.

use std::collections::HashMap;

use crate::config::{PipelineConfig, SchemaChangeBehavior};
use crate::error::{Error, Result};
use crate::source::mysql::binlog::QueryEvent;
use crate::source::mysql::ddl::{Quoting, StatementEffect, TableEffect, TableName, recognise};

/// What to do after a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SchemaChange {
    /// Nothing.
    None,
    /// Look at the tables again; these captured ones have read all rows of their old shape.
    Tables(Vec<(String, String)>),
}

/// Decides about one statement. `is_held` says of a captured table (by its place) whether it holds everything up to behind
/// the statement already: a replayed statement concerns it no more.
pub(super) fn of_statement(
    query: &QueryEvent<'_>,
    config: &PipelineConfig,
    captured: &HashMap<(String, String), usize>,
    is_held: impl Fn(usize) -> bool,
) -> Result<SchemaChange> {
    let quoting = Quoting {
        ansi_quotes: query.has_ansi_quotes(),
        backslash_escapes: query.has_backslash_escapes(),
    };
    let effects = match recognise(&query.sql, &query.database, quoting) {
        StatementEffect::None | StatementEffect::Database(_) => return Ok(SchemaChange::None),
        StatementEffect::Tables(effects) => effects,
        StatementEffect::DropDatabase(database) => {
            let dropped = captured.keys().filter(|(name, _)| *name == database);
            let dropped = dropped.map(|(database, name)| {
                (
                    TableName {
                        database: database.clone(),
                        name: name.clone(),
                    },
                    TableEffect::Drop,
                )
            });
            dropped.collect()
        }
    };
    let mut touched = Vec::new();
    let mut looks_again = false;
    for (table, effect) in effects {
        let key = (table.database.clone(), table.name.clone());
        match captured.get(&key) {
            Some(&index) if is_held(index) => {}
            Some(_) => {
                require_followable(&table, &effect, config, &query.sql)?;
                touched.push(key);
            }
            None => looks_again |= brings_table(&table, &effect, config),
        }
    }
    looks_again |= !touched.is_empty();
    Ok(if looks_again {
        SchemaChange::Tables(touched)
    } else {
        SchemaChange::None
    })
}

/// Whether a table that is not captured comes into the pipeline's pattern.
fn brings_table(table: &TableName, effect: &TableEffect, config: &PipelineConfig) -> bool {
    let matches = |table: &TableName| config.source.tables.matches(&table.database, &table.name);
    match effect {
        TableEffect::Create => matches(table),
        TableEffect::Rename { to } => matches(to),
        TableEffect::Alter
        | TableEffect::Drop
        | TableEffect::Truncate
        | TableEffect::UnloggedRows
        | TableEffect::StatementDml => false,
    }
}

/// Refuses what happened to a captured table without row events: the lake would silently differ from then on.
fn require_followable(
    table: &TableName,
    effect: &TableEffect,
    config: &PipelineConfig,
    sql: &str,
) -> Result<()> {
    let name = format!("{}.{}", table.database, table.name);
    let reload = format!(
        "to load the table anew, remove the lake table {} and start again",
        config.sink_table(&table.database, &table.name)
    );
    let what = match effect {
        TableEffect::Alter | TableEffect::Rename { .. }
            if config.schema_change == SchemaChangeBehavior::Exception =>
        {
            "its columns may have changed, and schema.change.behavior is exception"
        }
        TableEffect::Drop => {
            tracing::warn!(
                table = name,
                "dropped at the source; its lake table stays as it is"
            );
            return Ok(());
        }
        TableEffect::Alter | TableEffect::Rename { .. } => return Ok(()),
        TableEffect::Create => "it was created anew, and its old rows went without row events",
        TableEffect::Truncate => "its rows went without row events",
        TableEffect::UnloggedRows => "rows came or went without row events",
        TableEffect::StatementDml => {
            "a session logs statements instead of rows (SET SESSION binlog_format = 'ROW' there)"
        }
    };
    let shown: String = sql.chars().take(200).collect();
    Err(Error::invalid(format!(
        "{name}: {what}; {reload}; the statement was: {shown}"
    )))
}
