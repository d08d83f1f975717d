//! QUERY events: statements, with the settings under which they ran.

use std::borrow::Cow;

use super::compression::decompress;
use super::event::EventType;
use crate::batch::{ByteReader, DecodeError};
use crate::schema::Charset;

/// Double quotes delimit names instead of texts.
const MODE_ANSI_QUOTES: u64 = 0x4;
/// A backslash is a character like any other.
const MODE_NO_BACKSLASH_ESCAPES: u64 = 0x10_0000;

/// A statement of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryEvent<'a> {
    /// Its text.
    pub sql: Cow<'a, str>,
    /// The default database, empty if none.
    pub database: Cow<'a, str>,
    /// The session's `sql_mode` bits.
    pub sql_mode: u64,
}

impl<'a> QueryEvent<'a> {
    /// Whether double quotes delimit names.
    pub fn has_ansi_quotes(&self) -> bool {
        self.sql_mode & MODE_ANSI_QUOTES != 0
    }

    /// Whether backslashes escape characters in texts.
    pub fn has_backslash_escapes(&self) -> bool {
        self.sql_mode & MODE_NO_BACKSLASH_ESCAPES == 0
    }

    /// Reads the body of a QUERY event or one of its relatives.
    ///
    /// Source: MySQL, `Query_event`; MariaDB, `Query_compressed_log_event`.
    pub(super) fn read(
        event_type: EventType,
        reader: &mut ByteReader<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Self, DecodeError> {
        let _thread = reader.u32()?;
        let _seconds = reader.u32()?;
        let database_length = usize::from(reader.u8()?);
        let _error = reader.u16()?;
        let variables_length = usize::from(reader.u16()?);
        if event_type == EventType::EXECUTE_LOAD_QUERY {
            // File id, where its name stands in the text, and what duplicates do.
            reader.take(13)?;
        }
        let variables = StatusVariables::read(reader.take(variables_length)?);
        let database = String::from_utf8_lossy(reader.take(database_length)?);
        reader.u8()?;
        let sql = if event_type == EventType::MARIADB_QUERY_COMPRESSED {
            decompress(reader.rest(), scratch)?;
            text(scratch, variables.charset)
        } else {
            text(reader.rest(), variables.charset)
        };
        Ok(Self {
            sql,
            database,
            sql_mode: variables.sql_mode,
        })
    }
}

/// The text of a statement; bytes that are not valid are replaced, since names of tables are all that counts.
fn text(bytes: &[u8], charset: Charset) -> Cow<'_, str> {
    let mut scratch = String::new();
    match charset {
        Charset::Utf8 => String::from_utf8_lossy(bytes),
        other => match other.decode(bytes, &mut scratch) {
            Some(text) => Cow::Owned(text.to_owned()),
            None => String::from_utf8_lossy(bytes),
        },
    }
}

/// The settings that matter here, out of those that a QUERY event carries.
struct StatusVariables {
    sql_mode: u64,
    charset: Charset,
}

impl StatusVariables {
    /// Reads up to the first variable that is not known; those that are wanted come early.
    ///
    /// Source: MySQL, `Query_event_status_vars`.
    fn read(bytes: &[u8]) -> Self {
        let mut variables = Self {
            sql_mode: 0,
            charset: Charset::Utf8,
        };
        let mut reader = ByteReader::new(bytes);
        // The first error is the end: what follows a variable that is not known cannot be read.
        while !reader.is_empty() && matches!(variables.read_one(&mut reader), Ok(true)) {}
        variables
    }

    fn read_one(&mut self, reader: &mut ByteReader<'_>) -> Result<bool, DecodeError> {
        match reader.u8()? {
            // Q_FLAGS2
            0 => reader.take(4)?,
            // Q_SQL_MODE
            1 => {
                self.sql_mode = reader.u64()?;
                &[]
            }
            // Q_CATALOG with its closing zero
            2 => {
                let length = usize::from(reader.u8()?);
                reader.take(length + 1)?
            }
            // Q_AUTO_INCREMENT
            3 => reader.take(4)?,
            // Q_CHARSET: of the client, of the connection, of the server
            4 => {
                self.charset = Charset::of_statement(reader.u16()?);
                reader.take(4)?
            }
            // Q_TIME_ZONE, Q_CATALOG_NZ
            5 | 6 => {
                let length = usize::from(reader.u8()?);
                reader.take(length)?
            }
            _ => return Ok(false),
        };
        Ok(true)
    }
}
