//! From the effects of a statement to what they mean for the tables that are captured.

use std::collections::HashMap;

use crate::config::PipelineConfig;
use crate::source::mysql::ddl::{AlterClause, CreatedFrom, TableEffect, TableName, original_of};

/// What a statement does to the pipeline's tables. Numbers are places of captured tables.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Change {
    /// The columns change by these clauses; `None` when they are not understood.
    Alter(usize, Option<Vec<AlterClause>>),
    /// All rows went.
    Truncate(usize),
    /// All rows went, and the columns are new.
    Recreate(usize, CreatedFrom),
    /// The table is born: the log was begun before it.
    Born(usize, CreatedFrom),
    /// The table went, under this name.
    Drop(usize),
    /// Another table has taken the name.
    Replace(usize, TableName),
    /// Rows went or came without a trace.
    Refuse(usize, &'static str),
    /// A new version of the table is created, altered or dropped (`None`).
    Shadow(usize, TableName, Option<ShadowChange>),
    /// A table has come that belongs to the pipeline.
    NewTable,
}

/// What happens to a table that a tool for online schema changes is building.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum ShadowChange {
    Create(CreatedFrom),
    Alter(Option<Vec<AlterClause>>),
}

/// What is captured, as the statement finds it.
pub(super) struct Captured<'a> {
    pub(super) config: &'a PipelineConfig,
    pub(super) by_name: &'a HashMap<(String, String), usize>,
    /// Whether a table holds everything up to behind the statement already: a replayed statement concerns it no more.
    pub(super) is_held: &'a dyn Fn(usize) -> bool,
    pub(super) is_dropped: &'a dyn Fn(usize) -> bool,
}

impl Captured<'_> {
    fn index(&self, table: &TableName) -> Option<usize> {
        self.by_name
            .get(&(table.database.clone(), table.name.clone()))
            .copied()
    }

    fn matches(&self, table: &TableName) -> bool {
        self.config
            .source
            .tables
            .matches(&table.database, &table.name)
    }

    /// The captured table that `table` is a new version of.
    fn original(&self, table: &TableName) -> Option<usize> {
        let name = original_of(&table.name)?.to_owned();
        self.index(&TableName {
            database: table.database.clone(),
            name,
        })
    }

    /// What these effects do, in their order.
    pub(super) fn changes(&self, effects: Vec<(TableName, TableEffect)>) -> Vec<Change> {
        let mut changes = Vec::new();
        // Renamed away by this statement: another table may take the name in the same one.
        let mut vacated = Vec::new();
        for (table, effect) in effects {
            let to = match &effect {
                TableEffect::Rename { to } => Some(to.clone()),
                _ => None,
            };
            match self.index(&table) {
                Some(index) if (self.is_held)(index) => {}
                Some(index) if to.is_some() => vacated.push(index),
                Some(index) => changes.extend(self.of_captured(index, effect)),
                None => changes.extend(self.of_other(&table, effect)),
            }
            if let Some(to) = to {
                self.arrive(&table, &to, &mut vacated, &mut changes);
            }
        }
        changes.extend(vacated.into_iter().map(Change::Drop));
        changes
    }

    /// A table takes the name `to`.
    fn arrive(
        &self,
        from: &TableName,
        to: &TableName,
        vacated: &mut Vec<usize>,
        changes: &mut Vec<Change>,
    ) {
        match self.index(to) {
            Some(index) if (self.is_held)(index) => {}
            Some(index) => {
                vacated.retain(|gone| *gone != index);
                changes.push(Change::Replace(index, from.clone()));
            }
            None if self.matches(to) => changes.push(Change::NewTable),
            None => {}
        }
    }

    fn of_captured(&self, index: usize, effect: TableEffect) -> Option<Change> {
        Some(match effect {
            TableEffect::Alter(clauses) => Change::Alter(index, clauses),
            TableEffect::Create {
                if_not_exists: true,
                ..
            } if !(self.is_dropped)(index) => {
                return None;
            }
            TableEffect::Create {
                from, or_replace, ..
            } => {
                match or_replace || (self.is_dropped)(index) {
                    true => Change::Recreate(index, from),
                    // There would be an error in place of the statement if the table had been there.
                    false => Change::Born(index, from),
                }
            }
            TableEffect::Drop => Change::Drop(index),
            TableEffect::Truncate => Change::Truncate(index),
            TableEffect::UnloggedRows => {
                Change::Refuse(index, "rows came or went without row events")
            }
            TableEffect::StatementDml => Change::Refuse(
                index,
                "a session logs statements instead of rows (SET SESSION binlog_format = 'ROW' there)",
            ),
            // Handled where the new name is.
            TableEffect::Rename { .. } => return None,
        })
    }

    fn of_other(&self, table: &TableName, effect: TableEffect) -> Option<Change> {
        if let TableEffect::Create { .. } = effect
            && self.matches(table)
        {
            return Some(Change::NewTable);
        }
        let original = self
            .original(table)
            .filter(|index| !(self.is_held)(*index))?;
        let shadow = match effect {
            TableEffect::Create { from, .. } => Some(ShadowChange::Create(from)),
            TableEffect::Alter(clauses) => Some(ShadowChange::Alter(clauses)),
            TableEffect::Drop => None,
            _ => return None,
        };
        Some(Change::Shadow(original, table.clone(), shadow))
    }
}
