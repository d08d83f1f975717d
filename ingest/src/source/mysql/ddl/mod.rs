//! What a statement of the log does to tables.
//!
//! Not a parser of SQL: it recognises the few statements that change tables, by their first words and the names behind
//! them, reads the clauses that change columns, and takes everything else for harmless. It never fails: what it does not
//! understand of a table that it recognises, it says so of.

mod alter;
mod apply;
mod column;
mod create;
mod cursor;
mod shadow;
mod statement;
mod tokens;

pub use alter::AlterClause;
pub use apply::apply;
pub(super) use column::charset_of_collation;
pub use column::{ColumnDefinition, ColumnPlace};
pub use create::CreatedFrom;
pub use shadow::original_of;
pub use statement::{StatementEffect, TableEffect, TableName};
pub use tokens::Quoting;

/// What `sql` does to tables. Names without a database belong to `default_database`.
pub fn recognise(sql: &str, default_database: &str, quoting: Quoting) -> StatementEffect {
    statement::recognise(&tokens::tokenize(sql, quoting), default_database)
}

#[cfg(test)]
mod tests;
