//! The columns that put a table's rows in the order in which they are read.

use super::horizon::Horizon;
use crate::config::QueryScan;
use crate::position::QueryPosition;
use crate::schema::{SourceColumn, SourceTable};
use crate::source::mysql::chunk::{
    Comparison, KeyBound, KeyColumn, KeyKind, chunk_key, compare, key_column, order_list,
    select_list,
};
use crate::{Error, Result};

/// What the order goes by first, which is what the horizon bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leading {
    /// A TIMESTAMP: a moment.
    Moment,
    /// A DATETIME: what the clock on the wall shows.
    WallClock,
    /// A number that grows from row to row.
    Number,
}

/// The order of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollKey {
    names: Vec<String>,
    columns: Vec<KeyColumn>,
    pub(super) leading: Leading,
}

impl PollKey {
    /// The order that the pipeline file chooses for a table: by its timestamp column, then the increasing one or the primary
    /// key; or by the increasing one alone.
    ///
    /// # Errors
    /// `Invalid` when none is chosen, or a column is not there or of a type that cannot order rows.
    pub fn of(scan: &QueryScan, table: &SourceTable) -> Result<Self> {
        let timestamp = scan
            .timestamp_column(table)
            .map(|name| find(table, name, TIMESTAMP));
        let incrementing = scan.incrementing_column(table);
        let incrementing = incrementing.map(|name| find(table, name, INCREMENTING));
        let (timestamp, incrementing) = (timestamp.transpose()?, incrementing.transpose()?);
        let number = incrementing.map(number_column).transpose()?;
        let Some(timestamp) = timestamp else {
            let Some(number) = number else {
                return Err(Error::invalid(format!(
                    "{table} has no column by which changes are found: name one in {TIMESTAMP} (a time that each change sets), in \
                     {INCREMENTING} (a number that grows with each row), or leave the table out of source.tables"
                )));
            };
            return Ok(Self::new(vec![number], Leading::Number));
        };
        let (leading, time) = time_column(timestamp)?;
        let mut columns = vec![time];
        match number {
            Some(number) => columns.push(number),
            None => {
                let rest = chunk_key(table).into_iter();
                columns.extend(rest.filter(|column| column.name != timestamp.name));
            }
        }
        Ok(Self::new(columns, leading))
    }

    fn new(columns: Vec<KeyColumn>, leading: Leading) -> Self {
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Self {
            names,
            columns,
            leading,
        }
    }

    /// The names of its columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn select_list(&self) -> String {
        select_list(&self.columns)
    }

    pub(super) fn order_list(&self) -> String {
        order_list(&self.columns)
    }

    /// The leading column as it is selected and named in statements.
    pub(super) fn leading_column(&self) -> &str {
        &self.columns[0].quoted
    }

    /// The position behind the row with these values.
    pub(super) fn behind_row(&self, values: KeyBound) -> QueryPosition {
        self.position(Some(values), false)
    }

    fn position(&self, after: Option<KeyBound>, inclusive: bool) -> QueryPosition {
        QueryPosition {
            columns: self.names.clone(),
            after,
            inclusive,
        }
    }

    /// The position at the horizon: that before all rows if the table had none. Rows of the second that the clock showed may
    /// still come.
    pub fn at(&self, table: &SourceTable, horizon: &Horizon) -> QueryPosition {
        let value = match self.leading {
            Leading::Moment => Some(&horizon.moment),
            Leading::WallClock => Some(&horizon.wall_clock),
            Leading::Number => horizon.numbers.get(&table.to_string()),
        };
        let after = value.map(|value| KeyBound::of(vec![value.clone()]));
        self.position(after, self.leading != Leading::Number)
    }

    /// The condition on rows that lie behind a position. A row without a value in the leading column lies nowhere.
    pub(super) fn behind(&self, position: &QueryPosition) -> Result<String> {
        let comparison = match position.inclusive {
            true => Comparison::AtLeast,
            false => Comparison::Above,
        };
        match &position.after {
            Some(after) => self.compare(after, comparison),
            None => Ok(format!("{} IS NOT NULL", self.leading_column())),
        }
    }

    /// Where to go on from `position`. A time that lies behind the horizon was set by a clock that has been put back since: what
    /// it shows from now on counts again.
    pub fn resumed(&self, position: QueryPosition, horizon: &QueryPosition) -> QueryPosition {
        let time = |position: &QueryPosition| {
            let after = position.after.as_ref()?;
            after.values().first().cloned()
        };
        match self.leading {
            Leading::Moment | Leading::WallClock if time(&position) > time(horizon) => {
                horizon.clone()
            }
            _ => position,
        }
    }

    /// The condition on rows that lie before a position at the horizon.
    pub(super) fn before(&self, horizon: &QueryPosition) -> Result<String> {
        let comparison = match horizon.inclusive {
            true => Comparison::Below,
            false => Comparison::AtMost,
        };
        match &horizon.after {
            Some(after) => self.compare(after, comparison),
            None => Ok("FALSE".to_owned()),
        }
    }

    /// The condition on rows up to that with these values.
    pub(super) fn through(&self, values: &KeyBound) -> Result<String> {
        self.compare(values, Comparison::AtMost)
    }

    fn compare(&self, bound: &KeyBound, comparison: Comparison) -> Result<String> {
        let values = bound.values();
        let leading = self.columns.get(..values.len()).unwrap_or(&self.columns);
        compare(leading, values, comparison)
    }
}

const TIMESTAMP: &str = "scan.query.timestamp.column";
const INCREMENTING: &str = "scan.query.incrementing.column";

fn find<'a>(table: &'a SourceTable, name: &str, setting: &str) -> Result<&'a SourceColumn> {
    let mut columns = table.columns.iter();
    columns
        .find(|column| column.name == name)
        .ok_or_else(|| Error::invalid(format!("{table} has no column `{name}`; correct {setting}")))
}

fn number_column(column: &SourceColumn) -> Result<KeyColumn> {
    key_column(column)
        .filter(|key| matches!(key.kind, KeyKind::Integer | KeyKind::Decimal))
        .ok_or_else(|| unfit(column, INCREMENTING, "a whole or decimal number"))
}

fn time_column(column: &SourceColumn) -> Result<(Leading, KeyColumn)> {
    let lower = column.column_type.to_ascii_lowercase();
    let leading = match &lower {
        lower if lower.starts_with("timestamp") => Some(Leading::Moment),
        lower if lower.starts_with("datetime") => Some(Leading::WallClock),
        _ => None,
    };
    leading
        .zip(key_column(column))
        .ok_or_else(|| unfit(column, TIMESTAMP, "TIMESTAMP or DATETIME"))
}

fn unfit(column: &SourceColumn, setting: &str, wanted: &str) -> Error {
    Error::invalid(format!(
        "column {} is {}, and {setting} has to be {wanted}",
        column.name, column.column_type
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn table() -> SourceTable {
        let column = |name: &str, column_type: &str| SourceColumn {
            name: name.to_owned(),
            column_type: column_type.to_owned(),
            nullable: false,
            charset: None,
            collation: None,
            is_json_alias: false,
        };
        SourceTable {
            database: "d".to_owned(),
            name: "t".to_owned(),
            columns: vec![
                column("id", "bigint"),
                column("at", "timestamp(3)"),
                column("local", "datetime"),
                column("f", "double"),
            ],
            primary_key: vec![0],
            chunk_column: None,
            charset: None,
        }
    }

    fn scan(timestamp: &str, incrementing: &str) -> QueryScan {
        let list = |name: &str| match name {
            "" => Vec::new(),
            name => vec![(".*".parse().unwrap(), name.to_owned())],
        };
        QueryScan {
            timestamp: list(timestamp),
            incrementing: list(incrementing),
            ..QueryScan::default()
        }
    }

    fn horizon(number: Option<&str>) -> Horizon {
        let numbers = number.map(|number| ("d.t".to_owned(), number.to_owned()));
        Horizon {
            moment: "2026-11-27 10:00:00".to_owned(),
            wall_clock: "2026-11-27 12:00:00".to_owned(),
            numbers: numbers.into_iter().collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn the_order_goes_by_time_then_by_number_or_key() {
        let names = |timestamp, incrementing| {
            let key = PollKey::of(&scan(timestamp, incrementing), &table()).unwrap();
            (key.names().join(","), key.leading)
        };
        assert_eq!(names("at", ""), ("at,id".to_owned(), Leading::Moment));
        assert_eq!(
            names("local", "id"),
            ("local,id".to_owned(), Leading::WallClock)
        );
        assert_eq!(names("", "id"), ("id".to_owned(), Leading::Number));
    }

    #[test]
    fn columns_that_cannot_order_rows_are_refused_by_name() {
        let message = |timestamp, incrementing| {
            let error = PollKey::of(&scan(timestamp, incrementing), &table()).unwrap_err();
            error.to_string()
        };
        assert!(message("", "").contains("scan.query.timestamp.column"));
        assert!(message("id", "").contains("column id is bigint"));
        assert!(message("", "f").contains("column f is double"));
        assert!(message("", "nope").contains("d.t has no column `nope`"));
    }

    #[test]
    fn reading_goes_on_behind_a_row_or_at_the_horizon() {
        let table = table();
        let key = PollKey::of(&scan("at", ""), &table).unwrap();
        let behind = |key: &PollKey, position: &QueryPosition| key.behind(position).unwrap();
        let at_horizon = key.at(&table, &horizon(None));
        assert_eq!(behind(&key, &at_horizon), "`at` >= '2026-11-27 10:00:00'");
        let row = KeyBound::of(vec!["2026-11-27 09:00:00.5".to_owned(), "7".to_owned()]);
        let behind_row = behind(&key, &key.behind_row(row));
        let end = "(`at` = '2026-11-27 09:00:00.5' AND `id` > 7))";
        assert!(behind_row.ends_with(end), "{behind_row}");
        let key = PollKey::of(&scan("", "id"), &table).unwrap();
        let empty = key.at(&table, &horizon(None));
        assert_eq!(behind(&key, &empty), "`id` IS NOT NULL");
        assert_eq!(
            behind(&key, &key.at(&table, &horizon(Some("41")))),
            "`id` > 41"
        );
    }

    #[test]
    fn rows_before_the_horizon_are_those_that_are_complete() {
        let table = table();
        let key = PollKey::of(&scan("at", ""), &table).unwrap();
        let at = key.at(&table, &horizon(None));
        assert_eq!(key.before(&at).unwrap(), "`at` < '2026-11-27 10:00:00'");
        let key = PollKey::of(&scan("", "id"), &table).unwrap();
        let before = |number| key.before(&key.at(&table, &horizon(number))).unwrap();
        assert_eq!(before(Some("41")), "`id` <= 41");
        assert_eq!(before(None), "FALSE");
    }

    #[test]
    fn a_clock_that_was_put_back_is_followed() {
        let table = table();
        let key = PollKey::of(&scan("local", ""), &table).unwrap();
        let at = |time: &str| key.behind_row(KeyBound::of(vec![time.to_owned(), "3".to_owned()]));
        let horizon = key.at(&table, &horizon(None));
        assert_eq!(key.resumed(at("2026-11-27 12:30:00"), &horizon), horizon);
        let past = at("2026-11-27 11:30:00");
        assert_eq!(key.resumed(past.clone(), &horizon), past);
    }
}
