//! The columns of a source table, and for each the SQL expression that gives its value in the JSON conventions of `lakebed query`.
//!
//! The server itself formats the values, so that the comparison shares no code with the decoders under test.

use serde_json::Value;

use super::database::Database;

/// How two spellings of one value are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The JSON value says it all.
    Exact,
    /// FLOAT: compared as 32-bit numbers.
    Float,
    /// DOUBLE: compared as 64-bit numbers.
    Double,
    /// MySQL's JSON, whose spaces carry no meaning.
    Json,
}

/// A column of a source table.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    expression: String,
    kind: Kind,
}

/// All columns of `database.table` in their order, generated and invisible ones included.
pub(crate) fn columns_of(database: &Database, table: &str) -> Vec<Column> {
    let (schema, name) = table.split_once('.').unwrap();
    let described = database.sql(&format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE FROM information_schema.COLUMNS
         WHERE TABLE_SCHEMA = '{schema}' AND TABLE_NAME = '{name}' ORDER BY ORDINAL_POSITION"
    ));
    let columns: Vec<Column> = described
        .lines()
        .map(|line| {
            let mut words = line.splitn(3, '\t');
            let (name, data_type) = (words.next().unwrap(), words.next().unwrap());
            column(name, data_type, words.next().unwrap())
        })
        .collect();
    assert!(!columns.is_empty(), "the source has no table {table}");
    columns
}

/// The statement that gives the table's rows, a JSON object a line.
pub(crate) fn select_as_json(table: &str, columns: &[Column], condition: &str) -> String {
    let (schema, name) = table.split_once('.').unwrap();
    let parts: Vec<String> = columns
        .iter()
        .map(|column| {
            let key = serde_json::to_string(&column.name)
                .unwrap()
                .replace('\'', "''");
            format!("'{key}:', COALESCE({}, 'null')", column.expression)
        })
        .collect();
    format!(
        "SET SESSION time_zone = '+00:00'; SET SESSION sql_mode = '';
         SELECT CONCAT('{{', {}, '}}') FROM `{schema}`.`{name}` WHERE {condition};",
        parts.join(", ',', ")
    )
}

impl Column {
    /// One spelling for equal values of this column.
    pub(crate) fn canonical(&self, value: Value) -> Value {
        match (self.kind, value) {
            (Kind::Float, Value::Number(number)) => {
                #[expect(clippy::cast_possible_truncation, reason = "FLOAT has 32 bits")]
                let narrow = number.as_f64().unwrap() as f32;
                Value::String(format!("{narrow:?}"))
            }
            (Kind::Double, Value::Number(number)) => {
                Value::String(format!("{:?}", number.as_f64().unwrap()))
            }
            (Kind::Json, Value::String(text)) => {
                let parsed: Value = serde_json::from_str(&text).unwrap();
                Value::String(parsed.to_string())
            }
            (_, value) => value,
        }
    }
}

fn column(name: &str, data_type: &str, column_type: &str) -> Column {
    let quoted = format!("`{}`", name.replace('`', "``"));
    let (expression, kind) = expression(&quoted, data_type, column_type);
    Column {
        name: name.to_owned(),
        expression,
        kind,
    }
}

fn expression(column: &str, data_type: &str, column_type: &str) -> (String, Kind) {
    let real_date = format!("MONTH({column}) > 0 AND DAY({column}) > 0");
    let text = match data_type {
        "bigint" if column_type.contains("unsigned") => {
            quote(&format!("CAST({column} + 0 AS CHAR)"))
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => {
            format!("CAST({column} + 0 AS CHAR)")
        }
        "float" => return (format!("CAST({column} * 1e0 AS CHAR)"), Kind::Float),
        "double" => return (format!("CAST({column} * 1e0 AS CHAR)"), Kind::Double),
        "decimal" | "time" | "uuid" | "inet4" | "inet6" => {
            quote(&format!("CAST({column} AS CHAR)"))
        }
        "json" => return (quote(&format!("CAST({column} AS CHAR)")), Kind::Json),
        "bit" if column_type == "bit(1)" => {
            format!("IF({column} IS NULL, NULL, IF({column} + 0 = 1, 'true', 'false'))")
        }
        "bit" => {
            let bits: usize = column_type[4..column_type.len() - 1].parse().unwrap();
            base64(&format!(
                "UNHEX(LPAD(HEX({column} + 0), {}, '0'))",
                bits.div_ceil(8) * 2
            ))
        }
        "date" => format!(
            "IF({real_date}, {}, NULL)",
            quote(&format!("CAST({column} AS CHAR)"))
        ),
        "datetime" | "timestamp" => {
            let formatted = quote(&format!("DATE_FORMAT({column}, '%Y-%m-%dT%H:%i:%s.%fZ')"));
            format!("IF({real_date}, {formatted}, NULL)")
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            quote(&format!("CONVERT({column} USING utf8mb4)"))
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => base64(column),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => {
            base64(&format!("UNHEX(HEX({column}))"))
        }
        other => panic!("the tests do not know the type {other} of {column}"),
    };
    (text, Kind::Exact)
}

fn quote(text: &str) -> String {
    format!("JSON_QUOTE({text})")
}

fn base64(bytes: &str) -> String {
    format!(r#"CONCAT('"', REPLACE(TO_BASE64({bytes}), '\n', ''), '"')"#)
}
