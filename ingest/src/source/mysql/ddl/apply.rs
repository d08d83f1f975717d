//! What clauses of ALTER TABLE make of a table's columns.

use super::alter::AlterClause;
use super::column::{ColumnDefinition, ColumnPlace};
use crate::schema::{ColumnChange, SourceColumn, SourceTable, TableChange};

/// A column on its way from the old table to the new one.
#[derive(Debug, Clone)]
struct Moving {
    /// The name in the old table; `None` for a new column.
    old: Option<String>,
    column: SourceColumn,
}

/// The table after `clauses`, and what changed. `is_mariadb` says what JSON is.
///
/// As the server does it, all clauses speak of the columns that were there before, and columns are placed at the end.
///
/// # Errors
/// Says why the clauses do not go with the table: its columns are not those that the statement met.
pub fn apply(
    table: &SourceTable,
    clauses: &[AlterClause],
    is_mariadb: bool,
) -> Result<TableChange, String> {
    let old = |column: &SourceColumn| Moving {
        old: Some(column.name.clone()),
        column: column.clone(),
    };
    let mut altered = Altered {
        columns: table.columns.iter().map(old).collect(),
        charset: table.charset.clone(),
        is_mariadb,
    };
    altered.settle_charset(clauses);
    for clause in clauses {
        altered.drop_column(clause)?;
    }
    for clause in clauses {
        altered.change_column(clause)?;
    }
    for clause in clauses {
        altered.place_column(clause)?;
    }
    let key = altered.key(table, clauses)?;
    let columns = changes(table, &altered.columns);
    let table = SourceTable {
        database: table.database.clone(),
        name: table.name.clone(),
        columns: altered
            .columns
            .iter()
            .map(|moving| moving.column.clone())
            .collect(),
        primary_key: key.positions,
        chunk_column: None,
        charset: altered.charset,
    };
    Ok(TableChange {
        table,
        columns,
        is_key_changed: key.is_changed,
    })
}

struct Altered {
    columns: Vec<Moving>,
    charset: Option<String>,
    is_mariadb: bool,
}

struct Key {
    positions: Vec<usize>,
    is_changed: bool,
}

impl Altered {
    /// New columns take the character set that the table has after the statement.
    fn settle_charset(&mut self, clauses: &[AlterClause]) {
        for clause in clauses {
            if let AlterClause::DefaultCharset(charset) | AlterClause::Convert(charset) = clause {
                self.charset = Some(charset.clone());
            }
        }
    }

    fn position_of_old(&self, name: &str) -> Option<usize> {
        let is = |moving: &Moving| {
            moving
                .old
                .as_ref()
                .is_some_and(|old| old.eq_ignore_ascii_case(name))
        };
        self.columns.iter().position(is)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|moving| moving.column.name.eq_ignore_ascii_case(name))
    }

    fn drop_column(&mut self, clause: &AlterClause) -> Result<(), String> {
        let AlterClause::Drop { name, if_exists } = clause else {
            return Ok(());
        };
        match self.position_of_old(name) {
            Some(at) => {
                self.columns.remove(at);
                Ok(())
            }
            None if *if_exists => Ok(()),
            None => Err(format!("there is no column {name}")),
        }
    }

    fn change_column(&mut self, clause: &AlterClause) -> Result<(), String> {
        match clause {
            AlterClause::Change {
                name,
                column,
                if_exists,
                ..
            } => match self.position_of_old(name) {
                Some(at) => self.columns[at].column = self.column(column)?,
                None if *if_exists => {}
                None => return Err(format!("there is no column {name}")),
            },
            AlterClause::Rename {
                from,
                to,
                if_exists,
            } => match self.position_of_old(from) {
                Some(at) => self.columns[at].column.name.clone_from(to),
                None if *if_exists => {}
                None => return Err(format!("there is no column {from}")),
            },
            AlterClause::Convert(charset) => {
                for moving in &mut self.columns {
                    if moving.column.charset.is_some() {
                        moving.column.charset = Some(charset.clone());
                        moving.column.collation = None;
                    }
                }
            }
            AlterClause::Add { .. }
            | AlterClause::Drop { .. }
            | AlterClause::DropPrimaryKey
            | AlterClause::AddPrimaryKey(_)
            | AlterClause::DefaultCharset(_) => {}
        }
        Ok(())
    }

    fn place_column(&mut self, clause: &AlterClause) -> Result<(), String> {
        let (moving, place) = match clause {
            AlterClause::Add {
                column,
                place,
                if_not_exists,
            } => {
                if self.position(&column.name).is_some() {
                    return match if_not_exists {
                        true => Ok(()),
                        false => Err(format!("there is a column {} already", column.name)),
                    };
                }
                let column = self.column(column)?;
                (Moving { old: None, column }, place.as_ref())
            }
            AlterClause::Change {
                name,
                place: Some(place),
                ..
            } => {
                let Some(at) = self.position_of_old(name) else {
                    return Ok(());
                };
                (self.columns.remove(at), Some(place))
            }
            _ => return Ok(()),
        };
        let at = match place {
            None => self.columns.len(),
            Some(ColumnPlace::First) => 0,
            Some(ColumnPlace::After(name)) => {
                self.position(name)
                    .ok_or_else(|| format!("there is no column {name}"))?
                    + 1
            }
        };
        self.columns.insert(at, moving);
        Ok(())
    }

    /// The key columns after the clauses. A key that loses a column, or is another one, does not tell the same rows apart.
    fn key(&self, table: &SourceTable, clauses: &[AlterClause]) -> Result<Key, String> {
        let old_names = table.primary_key_names();
        let kept: Vec<usize> = old_names
            .iter()
            .filter_map(|name| self.position_of_old(name))
            .collect();
        let is_dropped = clauses.contains(&AlterClause::DropPrimaryKey);
        let added = clauses.iter().find_map(|clause| match clause {
            AlterClause::AddPrimaryKey(columns) => Some(columns),
            _ => None,
        });
        let keeps_names = kept.len() == old_names.len()
            && kept.iter().zip(&old_names).all(|(at, name)| {
                self.columns
                    .get(*at)
                    .is_some_and(|moving| moving.column.name == **name)
            });
        if keeps_names && !is_dropped && !kept.is_empty() {
            return Ok(Key {
                positions: kept,
                is_changed: false,
            });
        }
        let positions = match added {
            Some(columns) => columns
                .iter()
                .map(|name| {
                    self.position(name)
                        .ok_or_else(|| format!("there is no column {name}"))
                })
                .collect::<Result<Vec<_>, _>>()?,
            None => kept.clone(),
        };
        let is_same = keeps_names
            && added.is_some()
            && positions.len() == kept.len()
            && positions.iter().all(|at| kept.contains(at));
        // Without a key there is none to lose.
        let is_changed = !old_names.is_empty() && !is_same;
        Ok(Key {
            positions,
            is_changed,
        })
    }

    fn column(&self, definition: &ColumnDefinition) -> Result<SourceColumn, String> {
        let mut column = SourceColumn {
            name: definition.name.clone(),
            column_type: definition.column_type.clone(),
            nullable: definition.nullable,
            charset: None,
            collation: None,
            is_json_alias: false,
        };
        if column.column_type == "json" && self.is_mariadb {
            "longtext".clone_into(&mut column.column_type);
            column.is_json_alias = true;
            column.charset = Some("utf8mb4".to_owned());
            return Ok(column);
        }
        if has_charset(&column.column_type) {
            let charset = definition.charset.clone().or_else(|| self.charset.clone());
            let unknown = || format!("the character set of column {} is not known", column.name);
            let charset = charset
                .filter(|name| name != "default")
                .ok_or_else(unknown)?;
            if charset == "binary" {
                return Err(format!(
                    "column {} is of bytes by the table's default",
                    column.name
                ));
            }
            column.charset = Some(charset);
            column.collation.clone_from(&definition.collation);
        }
        Ok(column)
    }
}

/// Whether values of the type are text.
fn has_charset(column_type: &str) -> bool {
    let end = column_type.find(['(', ' ']).unwrap_or(column_type.len());
    let text = [
        "char",
        "varchar",
        "tinytext",
        "text",
        "mediumtext",
        "longtext",
        "enum",
        "set",
    ];
    text.contains(&column_type.get(..end).unwrap_or_default())
}

/// What became of the columns, in the order of the old table, then what is new.
fn changes(table: &SourceTable, columns: &[Moving]) -> Vec<ColumnChange> {
    let mut changes = Vec::new();
    for old in &table.columns {
        let moved = columns
            .iter()
            .find(|moving| moving.old.as_deref() == Some(&old.name));
        let Some(moved) = moved else {
            changes.push(ColumnChange::Dropped(old.name.clone()));
            continue;
        };
        if moved.column.name != old.name {
            let (from, to) = (old.name.clone(), moved.column.name.clone());
            changes.push(ColumnChange::Renamed { from, to });
        }
        changes.extend(ColumnChange::of_type(old, &moved.column));
    }
    let new = columns.iter().filter(|moving| moving.old.is_none());
    changes.extend(new.map(|moving| ColumnChange::Added(moving.column.name.clone())));
    changes
}
