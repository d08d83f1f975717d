//! The statements that change tables.

use super::alter::{AlterClause, clauses};
use super::create::{CreatedFrom, created_from};
use super::cursor::Cursor;
use super::tokens::Token;

/// A table by its full name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
}

/// What a statement does to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableEffect {
    /// The table is new, or replaced.
    Create {
        /// Where its columns come from.
        from: CreatedFrom,
        /// IF NOT EXISTS: nothing happens when it is there.
        if_not_exists: bool,
        /// OR REPLACE: one that is there goes with its rows.
        or_replace: bool,
    },
    /// Its columns change by these clauses; `None` when the clauses are not understood.
    Alter(Option<Vec<AlterClause>>),
    /// It has another name from now on.
    Rename {
        /// The new name.
        to: TableName,
    },
    /// It is gone.
    Drop,
    /// Its rows are gone, without row events.
    Truncate,
    /// Rows came or went without row events: partitions dropped, truncated, exchanged or imported.
    UnloggedRows,
    /// Rows changed, and the session logged the statement instead of the rows.
    StatementDml,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementEffect {
    /// Nothing to tables.
    None,
    /// To tables, in this order.
    Tables(Vec<(TableName, TableEffect)>),
    /// The database was created or changed: nothing to its tables.
    Database(String),
    /// The database is gone with all its tables.
    DropDatabase(String),
}

pub(super) fn recognise(tokens: &[Token<'_>], default_database: &str) -> StatementEffect {
    let mut cursor = Cursor::new(tokens, default_database);
    // MariaDB: SET STATEMENT variable = value FOR statement.
    if cursor.is("SET") {
        cursor.next();
        if !cursor.eat("STATEMENT") || cursor.skip_behind(&["FOR"]).is_none() {
            return StatementEffect::None;
        }
    }
    if cursor.eat("CREATE") {
        create(&mut cursor)
    } else if cursor.eat("ALTER") {
        alter(&mut cursor)
    } else if cursor.eat("DROP") {
        drop_statement(&mut cursor)
    } else if cursor.eat("RENAME") {
        rename(&mut cursor)
    } else if cursor.eat("TRUNCATE") {
        cursor.eat("TABLE");
        every(cursor.table(), &TableEffect::Truncate)
    } else {
        every(dml(&mut cursor), &TableEffect::StatementDml)
    }
}

fn every(tables: impl IntoIterator<Item = TableName>, effect: &TableEffect) -> StatementEffect {
    let changes: Vec<_> = tables
        .into_iter()
        .map(|table| (table, effect.clone()))
        .collect();
    if changes.is_empty() {
        StatementEffect::None
    } else {
        StatementEffect::Tables(changes)
    }
}

fn create(cursor: &mut Cursor<'_>) -> StatementEffect {
    let or_replace = cursor.eat("OR") && cursor.eat("REPLACE");
    if cursor.eat("DATABASE") || cursor.eat("SCHEMA") {
        cursor.eat_if_exists();
        return StatementEffect::Database(cursor.database());
    }
    // Temporary tables, views, triggers, indexes and users are nobody's rows.
    if !cursor.eat("TABLE") {
        return StatementEffect::None;
    }
    let if_not_exists = cursor.is("IF");
    cursor.eat_if_exists();
    let Some(table) = cursor.table() else {
        return StatementEffect::None;
    };
    let from = created_from(cursor);
    every(
        [table],
        &TableEffect::Create {
            from,
            if_not_exists,
            or_replace,
        },
    )
}

fn alter(cursor: &mut Cursor<'_>) -> StatementEffect {
    if cursor.eat("DATABASE") || cursor.eat("SCHEMA") {
        return StatementEffect::Database(cursor.database());
    }
    cursor.eat_any(&["ONLINE", "OFFLINE", "IGNORE"]);
    if !cursor.eat("TABLE") {
        return StatementEffect::None;
    }
    cursor.eat_if_exists();
    let Some(table) = cursor.table() else {
        return StatementEffect::None;
    };
    if let Some(changes) = unlogged_rows(cursor.clone(), &table) {
        return StatementEffect::Tables(changes);
    }
    let to = new_name(cursor.clone());
    let altered = clauses(cursor);
    let mut changes = Vec::new();
    // A bare renaming changes no columns.
    if to.is_none() || altered.as_ref().is_none_or(|clauses| !clauses.is_empty()) {
        changes.push((table.clone(), TableEffect::Alter(altered)));
    }
    changes.extend(to.map(|to| (table, TableEffect::Rename { to })));
    StatementEffect::Tables(changes)
}

/// The table's name that a clause RENAME gives, if there is one.
fn new_name(mut cursor: Cursor<'_>) -> Option<TableName> {
    loop {
        cursor.skip_behind(&["RENAME"])?;
        let part = ["COLUMN", "INDEX", "KEY"]
            .iter()
            .any(|part| cursor.is(part));
        if !part {
            cursor.eat_any(&["TO", "AS"]);
            cursor.eat_symbol('=');
            if let Some(to) = cursor.table() {
                return Some(to);
            }
        }
    }
}

/// The clauses of ALTER TABLE that move rows around outside the log.
fn unlogged_rows(
    mut clause: Cursor<'_>,
    table: &TableName,
) -> Option<Vec<(TableName, TableEffect)>> {
    let verb = [
        "DROP", "TRUNCATE", "DISCARD", "IMPORT", "EXCHANGE", "CONVERT",
    ];
    let verb = verb.into_iter().find(|verb| clause.eat(verb))?;
    // MariaDB: CONVERT TABLE t TO PARTITION p.
    let from_table = verb == "CONVERT" && clause.is("TABLE");
    if !(clause.eat("PARTITION") || clause.eat("TABLESPACE") || from_table) {
        return None;
    }
    let mut changes = vec![(table.clone(), TableEffect::UnloggedRows)];
    // EXCHANGE PARTITION p WITH TABLE t, CONVERT PARTITION p TO TABLE t.
    if from_table || matches!(verb, "EXCHANGE" | "CONVERT") {
        clause.skip_behind(&["TABLE"]);
        changes.extend(
            clause
                .table()
                .map(|other| (other, TableEffect::UnloggedRows)),
        );
    }
    Some(changes)
}

fn drop_statement(cursor: &mut Cursor<'_>) -> StatementEffect {
    if cursor.eat("DATABASE") || cursor.eat("SCHEMA") {
        cursor.eat_if_exists();
        return StatementEffect::DropDatabase(cursor.database());
    }
    if !cursor.eat("TABLE") && !cursor.eat("TABLES") {
        return StatementEffect::None;
    }
    cursor.eat_if_exists();
    every(cursor.tables(), &TableEffect::Drop)
}

fn rename(cursor: &mut Cursor<'_>) -> StatementEffect {
    if !cursor.eat("TABLE") && !cursor.eat("TABLES") {
        return StatementEffect::None;
    }
    cursor.eat_if_exists();
    let mut changes = Vec::new();
    while let Some(from) = cursor.table() {
        // MariaDB: WAIT n, NOWAIT.
        cursor.eat("WAIT");
        if cursor.skip_behind(&["TO"]).is_none() {
            break;
        }
        let Some(to) = cursor.table() else { break };
        changes.push((from, TableEffect::Rename { to }));
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    if changes.is_empty() {
        StatementEffect::None
    } else {
        StatementEffect::Tables(changes)
    }
}

/// The tables that INSERT, REPLACE, UPDATE, DELETE and LOAD may change; of joins all tables, since which of them
/// change takes their columns to know.
fn dml(cursor: &mut Cursor<'_>) -> Vec<TableName> {
    const MODIFIERS: [&str; 6] = [
        "LOW_PRIORITY",
        "DELAYED",
        "HIGH_PRIORITY",
        "CONCURRENT",
        "QUICK",
        "IGNORE",
    ];
    if cursor.eat("WITH") && cursor.clone().skip_behind(&["UPDATE", "DELETE"]).is_some() {
        while !cursor.is("UPDATE") && !cursor.is("DELETE") && cursor.next().is_some() {}
    }
    if cursor.eat("INSERT") || cursor.eat("REPLACE") {
        cursor.eat_any(&MODIFIERS);
        cursor.eat("INTO");
        cursor.table().into_iter().collect()
    } else if cursor.eat("UPDATE") {
        cursor.eat_any(&MODIFIERS);
        references(cursor)
    } else if cursor.eat("DELETE") {
        cursor.eat_any(&MODIFIERS);
        if !cursor.eat("FROM") {
            cursor.skip_behind(&["FROM"]);
        }
        references(cursor)
    } else if cursor.eat("LOAD") {
        cursor.skip_behind(&["INTO"]);
        cursor.eat("TABLE");
        cursor.table().into_iter().collect()
    } else {
        Vec::new()
    }
}

/// The tables of a list of table references, up to what ends it.
fn references(cursor: &mut Cursor<'_>) -> Vec<TableName> {
    let mut tables = Vec::new();
    loop {
        while cursor.eat_symbol('(') {}
        tables.extend(cursor.table());
        // A derived table cannot be changed, and its own references lie in brackets.
        loop {
            if cursor.eat_symbol(',')
                || cursor.eat("JOIN")
                || cursor.eat("STRAIGHT_JOIN")
                || cursor.eat("USING")
            {
                break;
            }
            let ends = ["SET", "WHERE", "ORDER", "LIMIT", "RETURNING"]
                .iter()
                .any(|word| cursor.is(word));
            if ends || cursor.next().is_none() {
                return tables;
            }
        }
    }
}
