//! What a statement of the log means for the tables of a pipeline.
//!
//! Statements are applied to the columns that a table had before, which stand in the checkpoint of its last commit. Rows of
//! the old shape are committed first; the commit behind the statement carries the new columns together with a position that
//! includes it. So a restart anywhere finds the columns that the rows to come have.

mod plan;

use std::sync::atomic::Ordering::Relaxed;

use arrow::datatypes::SchemaRef;
use regex::Regex;

use super::stream::{Streamer, by_lake};
use super::stream_lake::CommitContext;
use super::stream_table::StreamTable;
use crate::config::{SchemaChangeBehavior as Behavior, SchemaChangeKind as Kind};
use crate::error::{Error, Result};
use crate::schema::{SourceTable, TableChange};
use crate::source::mysql::binlog::QueryEvent;
use crate::source::mysql::connection::Connection;
use crate::source::mysql::ddl::{
    CreatedFrom, Quoting, StatementEffect, TableEffect, TableName, apply, original_of, recognise,
};
use crate::source::mysql::discovery::discover;
use plan::{Captured, Change, ShadowChange};

/// Statements in messages and logs are cut to this many characters.
const SHOWN_SQL_MAX: usize = 200;

impl Streamer<'_> {
    /// What a statement does to the pipeline's tables.
    pub(super) fn changes_of(&self, query: &QueryEvent<'_>) -> Result<Vec<Change>> {
        let quoting = Quoting {
            ansi_quotes: query.has_ansi_quotes(),
            backslash_escapes: query.has_backslash_escapes(),
        };
        let effects = match recognise(&query.sql, &query.database, quoting) {
            StatementEffect::None | StatementEffect::Database(_) => return Ok(Vec::new()),
            StatementEffect::Tables(effects) => effects,
            StatementEffect::DropDatabase(dropped) => {
                let tables = self
                    .by_name
                    .keys()
                    .filter(|(database, _)| *database == dropped);
                let table = |(database, name): &(String, String)| TableName {
                    database: database.clone(),
                    name: name.clone(),
                };
                tables.map(|key| (table(key), TableEffect::Drop)).collect()
            }
        };
        let captured = Captured {
            config: &self.pipeline.config,
            by_name: &self.by_name,
            is_held: &|index| {
                self.tables[index].holds(&self.position, self.read_to, self.gtid.as_deref())
            },
            is_dropped: &|index| self.tables[index].dropped,
        };
        let mut changes = captured.changes(effects);
        let creates = self.pipeline.config.schema_change.of(Kind::CreateTable);
        if changes.contains(&Change::NewTable) && creates != Behavior::Evolve {
            match creates {
                Behavior::Exception => {
                    return Err(self.stopped(
                        "a new table matches source.tables",
                        &query.sql,
                        Kind::CreateTable,
                    ));
                }
                Behavior::Ignore => changes.retain(|change| *change != Change::NewTable),
                Behavior::Evolve | Behavior::TryEvolve | Behavior::Lenient => {}
            }
        }
        Ok(changes)
    }

    /// Makes the changes of a statement; it is a source transaction of its own.
    pub(super) async fn change_tables(&mut self, changes: Vec<Change>, sql: &str) -> Result<()> {
        let has_rows = |table: &StreamTable| table.builder.rows() > 0;
        if self.tables.iter().any(has_rows) || self.lakes.iter().any(|lake| lake.lake.is_open()) {
            self.commit().await?;
        }
        self.end_transaction()?;
        self.note_gtids();
        // The same layout may mean other columns from now on.
        self.maps.clear();
        let shown: String = sql.chars().take(SHOWN_SQL_MAX).collect();
        for change in changes {
            self.make(change, &shown).await?;
        }
        Ok(())
    }

    async fn make(&mut self, change: Change, sql: &str) -> Result<()> {
        match change {
            Change::Alter(index, clauses) => {
                let altered = clauses.ok_or_else(|| "a clause is not understood".to_owned());
                let table = &self.tables[index];
                let altered = altered
                    .and_then(|clauses| apply(&table.source, &clauses, self.source.is_mariadb));
                self.alter(index, altered, sql).await
            }
            Change::Truncate(index) => self.empty(index, None, sql).await,
            Change::Recreate(index, from) => {
                let created = match self.created(&from, &self.tables[index].source, None) {
                    Ok(created) => created,
                    Err(why) => self.ask(index, &why, sql).await?,
                };
                self.empty(index, Some(created), sql).await
            }
            Change::Born(index, from) => {
                // The lake has the columns of today already, and rows are brought into them.
                let known = &self.tables[index].source;
                let created = match self.created(&from, known, known.charset.clone()) {
                    Ok(created) => created,
                    Err(why) => self.ask(index, &why, sql).await?,
                };
                self.tables[index].set_source(created)
            }
            Change::Drop(index) => self.drop_table(index, sql),
            Change::Replace(index, by) => self.replace(index, &by, sql).await,
            Change::Refuse(index, what) => Err(self.unfollowable(index, what, sql)),
            Change::Shadow(index, name, change) => {
                self.change_shadow(index, &name, change);
                Ok(())
            }
            Change::NewTable => {
                self.changed = true;
                Ok(())
            }
        }
    }

    async fn alter(
        &mut self,
        index: usize,
        altered: Result<TableChange, String>,
        sql: &str,
    ) -> Result<()> {
        let change = match altered {
            Ok(change) => change,
            Err(why) => {
                let live = self.ask(index, &why, sql).await?;
                TableChange::between(&self.tables[index].source, live)
            }
        };
        self.adopt(index, change, sql).await
    }

    /// Gives a table other columns, here and in the lake.
    async fn adopt(&mut self, index: usize, change: TableChange, sql: &str) -> Result<()> {
        let config = &self.pipeline.config;
        let table = &mut self.tables[index];
        if change.table == *table.source {
            return Ok(());
        }
        let transform = config.transform(&change.table.database, &change.table.name);
        let chosen = transform
            .map(|transform| transform.key_of(&table.source))
            .unwrap_or_default();
        let has_own_key = !chosen.is_empty();
        let is_whole_row = transform.is_some_and(|transform| transform.primary_keys == ["*"]);
        let partitions = transform
            .into_iter()
            .flat_map(|transform| &transform.partition_keys);
        let columns = table.feed.schema(&change.table)?;
        let mut named = chosen.iter().chain(partitions);
        if let Some(lost) = named.find(|key| columns.column_with_name(key).is_none()) {
            let what = format!("column {lost}, by which the lake is keyed, went");
            return Err(self.unfollowable(index, &what, sql));
        }
        if is_whole_row && change.table.columns.len() != table.source.columns.len() {
            return Err(self.unfollowable(
                index,
                "its rows are keyed by all columns, and these changed",
                sql,
            ));
        }
        if change.is_key_changed && !has_own_key {
            return Err(self.unfollowable(index, "its key changed", sql));
        }
        let others = self.others_of(index)?;
        let table = &mut self.tables[index];
        let lake = &mut self.lakes[table.lake].lake;
        lake.follow(&table.feed, &table.source, &change, &others)
            .await
            .map_err(|error| error.context(format!("the statement `{sql}`")))?;
        for column in &change.columns {
            tracing::info!(table = %change.table, %column, position = %self.position, "the source changed");
        }
        table.progress.schema_changes.fetch_add(1, Relaxed);
        table.set_source(change.table)
    }

    /// The columns that rows of the tables come with that are merged with one into a lake table.
    fn others_of(&self, index: usize) -> Result<Vec<SchemaRef>> {
        let lake = self.tables[index].lake;
        let others = self.tables.iter().enumerate();
        let others = others.filter(|(other, table)| *other != index && table.lake == lake);
        others
            .filter(|(_, table)| !table.dropped)
            .map(|(_, table)| table.feed.schema(&table.source))
            .collect()
    }

    /// All rows are gone at the source.
    async fn empty(&mut self, index: usize, created: Option<SourceTable>, sql: &str) -> Result<()> {
        let behavior = self.pipeline.config.schema_change.of(Kind::TruncateTable);
        match behavior {
            Behavior::Exception => {
                let what = "its rows went without row events";
                let error = self.unfollowable(index, what, sql);
                return Err(Error::invalid(format!(
                    "{error}; or say what is to happen: schema.change.behavior.truncate.table: evolve removes the \
                     rows from the lake, ignore leaves them there"
                )));
            }
            Behavior::Lenient | Behavior::Ignore => {
                tracing::warn!(table = %self.tables[index].source, statement = sql, "emptied at the source; the lake keeps its rows");
            }
            Behavior::Evolve | Behavior::TryEvolve => {
                let lake = self.tables[index].lake;
                if self.lakes[lake].is_merged {
                    return Err(Error::invalid(format!(
                        "{} was emptied, and the lake table {} holds rows of other tables too, which stay: delete its rows there \
                         by hand and let schema.change.behavior.truncate.table say ignore; the statement was: {sql}",
                        self.tables[index].source,
                        self.lakes[lake].lake.name()
                    )));
                }
                let context = CommitContext {
                    pipeline: &self.pipeline.config.name,
                    position: &self.position,
                    counters: self.pipeline.progress.as_ref(),
                };
                let fed = by_lake(&mut self.lakes, &mut self.tables).nth(lake);
                if let Some((lake, tables)) = fed {
                    lake.truncate(tables, context).await?;
                }
                tracing::info!(table = %self.tables[index].source, "emptied, as at the source");
            }
        }
        self.tables[index].dropped = false;
        match created {
            Some(created) => {
                let change = TableChange::between(&self.tables[index].source, created);
                self.adopt(index, change, sql).await
            }
            None => Ok(()),
        }
    }

    fn drop_table(&mut self, index: usize, sql: &str) -> Result<()> {
        let table = &mut self.tables[index];
        if self.pipeline.config.schema_change.of(Kind::DropTable) == Behavior::Exception {
            let what = format!("{} went", table.source);
            return Err(self.stopped(&what, sql, Kind::DropTable));
        }
        tracing::warn!(table = %table.source, statement = sql, "gone at the source; its lake table stays as it is");
        (table.dropped, table.touched) = (true, true);
        Ok(())
    }

    /// Another table has taken the name of a captured one: the new version that a tool has built, or one of other rows.
    async fn replace(&mut self, index: usize, by: &TableName, sql: &str) -> Result<()> {
        let table = &mut self.tables[index];
        let is_version = by.database == table.source.database
            && original_of(&by.name).is_some_and(|original| original == table.source.name);
        if !is_version {
            let what = format!(
                "{}.{} with rows of its own has taken its place",
                by.database, by.name
            );
            return Err(self.unfollowable(index, &what, sql));
        }
        (table.dropped, table.touched) = (false, true);
        let built = table.shadow.take().filter(|shadow| shadow.name == by.name);
        let change = match built {
            Some(built) => {
                let renamed = SourceTable {
                    name: table.source.name.clone(),
                    ..built
                };
                Ok(TableChange::between(&table.source, renamed))
            }
            None => Err(format!("how {} was made is not known", by.name)),
        };
        self.alter(index, change, sql).await
    }

    fn change_shadow(&mut self, index: usize, name: &TableName, change: Option<ShadowChange>) {
        let known = self.tables[index]
            .shadow
            .clone()
            .filter(|shadow| shadow.name == name.name);
        let shadow = match (change, known) {
            // A table in the making that is not understood is not kept track of: its renaming counts as a statement that is not
            // understood.
            (Some(ShadowChange::Create(from)), _) => {
                let created = self.created(&from, &self.tables[index].source, None).ok();
                created.map(|table| SourceTable {
                    name: name.name.clone(),
                    ..table
                })
            }
            (Some(ShadowChange::Alter(Some(clauses))), Some(shadow)) => {
                apply(&shadow, &clauses, self.source.is_mariadb)
                    .ok()
                    .map(|change| change.table)
            }
            _ => None,
        };
        let table = &mut self.tables[index];
        (table.shadow, table.touched) = (shadow, true);
    }

    /// The columns of a created table that takes the place, or will, of `table`. `charset` is that of text whose definition
    /// names none, if it is known.
    fn created(
        &self,
        from: &CreatedFrom,
        table: &SourceTable,
        charset: Option<String>,
    ) -> Result<SourceTable, String> {
        match from {
            CreatedFrom::Definitions(clauses) => {
                let empty = SourceTable {
                    columns: Vec::new(),
                    primary_key: Vec::new(),
                    chunk_column: None,
                    charset,
                    ..table.clone()
                };
                apply(&empty, clauses, self.source.is_mariadb).map(|change| change.table)
            }
            CreatedFrom::Like(other) => {
                let key = (other.database.clone(), other.name.clone());
                let index = self.by_name.get(&key);
                let other = index.map(|index| self.tables[*index].source.as_ref().clone());
                let other =
                    other.ok_or_else(|| format!("the columns of {} are not known", key.1))?;
                let (database, name) = (table.database.clone(), table.name.clone());
                Ok(SourceTable {
                    database,
                    name,
                    ..other
                })
            }
            CreatedFrom::Unknown => Err("its definition is not understood".to_owned()),
        }
    }

    /// Asks the server for the columns of today, after a statement that is not understood. Whether they are those that the
    /// next rows have is seen by the layout of these rows.
    async fn ask(&mut self, index: usize, why: &str, sql: &str) -> Result<SourceTable> {
        let table = &mut self.tables[index];
        let name = table.source.to_string();
        tracing::warn!(
            table = name,
            statement = sql,
            why,
            "asking the server for the columns"
        );
        table.not_understood = Some(sql.to_owned());
        let pattern = Regex::new(&format!("^{}$", regex::escape(&name)))
            .map_err(|error| Error::internal(format!("a pattern for {name}: {error}")))?;
        let mut connection = Connection::connect(&self.source.options).await?;
        let found = discover(&mut connection, &pattern).await?.pop();
        connection.close().await?;
        match found {
            Some(found) => Ok(found.table),
            None => Err(self.unfollowable(index, why, sql)),
        }
    }

    /// What happened to a captured table that the lake would silently differ by from then on.
    fn unfollowable(&self, index: usize, what: &str, sql: &str) -> Error {
        let table = &self.tables[index];
        Error::invalid(format!(
            "{}: {what}; to load the table anew, remove the lake table {} and start again; the statement was: {sql}",
            table.source,
            self.lakes[table.lake].lake.name()
        ))
    }

    fn stopped(&self, what: &str, sql: &str, kind: Kind) -> Error {
        let shown: String = sql.chars().take(SHOWN_SQL_MAX).collect();
        Error::invalid(format!(
            "{what}, and the pipeline file says `exception`; choose another `schema.change.behavior.{}` and start again; \
             the statement was: {shown}",
            kind.name()
        ))
    }
}
