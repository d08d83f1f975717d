//! What a statement of the log does to tables.
//!
//! Not a parser of SQL: it recognises the few statements that change tables, by their first words and the names behind
//! them, and takes everything else for harmless. It never fails.

mod cursor;
mod statement;
mod tokens;

pub use statement::{StatementEffect, TableEffect, TableName};
pub use tokens::Quoting;

/// What `sql` does to tables. Names without a database belong to `default_database`.
pub fn recognise(sql: &str, default_database: &str, quoting: Quoting) -> StatementEffect {
    statement::recognise(&tokens::tokenize(sql, quoting), default_database)
}

#[cfg(test)]
mod tests;
