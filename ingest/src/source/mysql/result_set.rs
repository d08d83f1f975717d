//! Result sets: text rows for metadata, raw binary rows for table data.

use std::str::FromStr;
use std::sync::Arc;

use super::connection::Connection;
use super::wire::Cursor;
use crate::{Error, ErrorKind, Result};

/// A column of a result set, as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name or alias.
    pub name: String,
    /// Protocol type code, such as 3 for INT.
    pub type_code: u8,
    /// Whether an integer is unsigned.
    pub unsigned: bool,
    /// Digits behind the point, of a DECIMAL or of seconds.
    pub decimals: u8,
}

impl ResultColumn {
    /// Reads a column definition. Spec: MySQL protocol, "Column Definition Packet" (41).
    pub(super) fn parse(packet: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(packet);
        // catalog, schema, table, original table
        for _ in 0..4 {
            cursor.lenenc_bytes()?;
        }
        let name = cursor.lenenc_bytes()?.unwrap_or(&[]);
        let name = String::from_utf8_lossy(name).into_owned();
        cursor.lenenc_bytes()?;
        // length of the fixed fields, charset, display length
        cursor.take(1 + 2 + 4)?;
        let type_code = cursor.u8()?;
        let unsigned = cursor.u16()? & 0x20 != 0;
        Ok(Self {
            name,
            type_code,
            unsigned,
            decimals: cursor.u8()?,
        })
    }
}

/// A row of texts: for metadata, never for table data.
#[derive(Debug, Clone)]
pub struct TextRow {
    columns: Arc<[ResultColumn]>,
    values: Vec<Option<String>>,
}

impl TextRow {
    pub(super) fn parse(columns: &Arc<[ResultColumn]>, packet: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(packet);
        let mut values = Vec::with_capacity(columns.len());
        for column in columns.iter() {
            let value = match cursor.lenenc_bytes()? {
                None => None,
                Some(bytes) => Some(String::from_utf8(bytes.to_vec()).map_err(|error| {
                    Error::new(
                        ErrorKind::Corrupt,
                        format!("column {} is not UTF-8", column.name),
                    )
                    .with_source(error)
                })?),
            };
            values.push(value);
        }
        Ok(Self {
            columns: Arc::clone(columns),
            values,
        })
    }

    /// The value at `position`; `None` for NULL and beyond the end.
    pub fn get(&self, position: usize) -> Option<&str> {
        self.values.get(position)?.as_deref()
    }

    /// The value of a column, whatever the case of its name; `None` for NULL and a column that is not there.
    pub fn get_by_name(&self, name: &str) -> Option<&str> {
        let position = self
            .columns
            .iter()
            .position(|c| c.name.eq_ignore_ascii_case(name))?;
        self.get(position)
    }

    /// The value at `position`, which must not be NULL.
    ///
    /// # Errors
    /// `Corrupt` when it is NULL or missing.
    pub fn require(&self, position: usize) -> Result<&str> {
        self.get(position).ok_or_else(|| {
            let name = self
                .columns
                .get(position)
                .map_or("?", |column| column.name.as_str());
            Error::new(
                ErrorKind::Corrupt,
                format!("the server gave no value for column {name}"),
            )
        })
    }

    /// The value at `position` as a number or another type that reads from text.
    ///
    /// # Errors
    /// `Corrupt` when it is NULL, missing or not of that type.
    pub fn parse_at<T: FromStr>(&self, position: usize) -> Result<T> {
        let text = self.require(position)?;
        text.parse().map_err(|_| {
            let name = self
                .columns
                .get(position)
                .map_or("?", |column| column.name.as_str());
            Error::new(ErrorKind::Corrupt, format!("column {name} holds `{text}`"))
        })
    }
}

/// The rows of a prepared SELECT as they arrive, undecoded.
///
/// Dropping it early is allowed: the connection reads the rest before its next statement.
#[derive(Debug)]
pub struct RowStream<'a> {
    connection: &'a mut Connection,
    columns: Arc<[ResultColumn]>,
}

impl<'a> RowStream<'a> {
    pub(super) fn new(connection: &'a mut Connection, columns: Arc<[ResultColumn]>) -> Self {
        Self {
            connection,
            columns,
        }
    }

    /// The columns of every row.
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// The next row: a binary result-set row, from its leading 0x00 on; valid until the next call.
    ///
    /// # Errors
    /// What the server reports in mid-result, `Unavailable` when the connection breaks. Cancel-safe.
    pub async fn next_row(&mut self) -> Result<Option<&[u8]>> {
        self.connection.next_row_packet().await
    }
}
