//! A session with a server: statements, prepared SELECTs, and the state that keeps requests and answers in step.

use std::sync::Arc;

use super::handshake;
pub use super::options::{MySqlOptions, SslMode};
use super::packet::PacketStream;
use super::result_set::{ResultColumn, RowStream, TextRow};
use super::server_error::{Phase, ServerError};
use super::wire::Cursor;
use crate::{Error, ErrorKind, Result};

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
const OK: u8 = 0x00;
const LOCAL_INFILE: u8 = 0xfb;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;
/// Statements in messages are cut to this many characters.
const SHOWN_SQL_MAX: usize = 300;

/// Makes every session the same: UTF-8, UTC for TIMESTAMP, and a dialect without modes that change what a literal means.
const SESSION: &str = "SET NAMES utf8mb4, SESSION time_zone = '+00:00', SESSION sql_mode = ''";

/// Whether the server owes us something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A command was sent and its answer not read to the end: a cancelled call leaves it so.
    Waiting,
    /// Rows are coming.
    Rows,
}

/// A logged-in connection. One statement runs at a time.
#[derive(Debug)]
pub struct Connection {
    stream: PacketStream,
    endpoint: String,
    server_version: String,
    connection_id: u32,
    state: State,
    /// The prepared statement to close before the next command.
    statement: Option<u32>,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// `Unavailable` when the server does not answer within the limit; `Invalid` for a refused login or TLS that does not verify;
    /// `Unsupported` for an authentication plugin we lack.
    pub async fn connect(options: &MySqlOptions) -> Result<Self> {
        let login = tokio::time::timeout(options.connect_timeout, handshake::login(options));
        let (stream, greeting) = login.await.map_err(|_| {
            Error::new(
                ErrorKind::Unavailable,
                format!(
                    "server {} did not answer within {:?}; check host, port and firewalls",
                    options.endpoint(),
                    options.connect_timeout
                ),
            )
        })??;
        let mut connection = Self {
            stream,
            endpoint: options.endpoint(),
            server_version: greeting.version,
            connection_id: greeting.connection_id,
            state: State::Idle,
            statement: None,
        };
        connection.execute(SESSION).await?;
        Ok(connection)
    }

    /// Connects for reading snapshot chunks: repeatable reads, and no limit on how long a chunk may take.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_snapshot(options: &MySqlOptions) -> Result<Self> {
        let mut connection = Self::connect(options).await?;
        connection
            .execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .await?;
        connection
            .execute(
                "SET SESSION net_write_timeout = 600, net_read_timeout = 600, wait_timeout = 86400",
            )
            .await?;
        // The flavours disagree on the name (and unit) of the statement time limit; 0 is none on both.
        for name in ["max_execution_time", "max_statement_time"] {
            if !connection
                .query(&format!("SHOW VARIABLES LIKE '{name}'"))
                .await?
                .is_empty()
            {
                connection
                    .execute(&format!("SET SESSION {name} = 0"))
                    .await?;
            }
        }
        Ok(connection)
    }

    /// `host:port`, for messages.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The version that the server greets with, such as `5.5.5-10.11.19-MariaDB-log`.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// The server's number for this connection, as in SHOW PROCESSLIST.
    pub fn connection_id(&self) -> u32 {
        self.connection_id
    }

    /// Whether the connection runs under TLS.
    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// Runs a statement and collects its rows: for metadata only.
    ///
    /// # Errors
    /// What the server reports, with the statement; `Unavailable` when the connection breaks.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        let answer = self.query_text(sql).await;
        answer.map_err(|error| with_statement(error, sql))
    }

    /// Runs a statement whose rows, if any, do not matter.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        self.query(sql).await.map(drop)
    }

    /// The first column of the first row, if there is one and it is not NULL.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_value(&mut self, sql: &str) -> Result<Option<String>> {
        let rows = self.query(sql).await?;
        Ok(rows.first().and_then(|row| row.get(0)).map(str::to_owned))
    }

    /// Runs a SELECT as a prepared statement and hands out its rows in the binary protocol, as they arrive.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn select(&mut self, sql: &str) -> Result<RowStream<'_>> {
        match self.start_select(sql).await {
            Ok(columns) => Ok(RowStream::new(self, columns)),
            Err(error) => Err(with_statement(error, sql)),
        }
    }

    /// Says goodbye. A connection that is only dropped is closed as well, with a note in the server's log.
    ///
    /// # Errors
    /// `Unavailable` when the connection is broken already.
    pub async fn close(mut self) -> Result<()> {
        self.stream.write_command(&[COM_QUIT]).await
    }

    /// Gives up the statement protocol for a command that streams for ever.
    pub(super) async fn into_stream(mut self) -> Result<PacketStream> {
        self.settle().await?;
        Ok(self.stream)
    }

    /// Sends a command that is answered by a bare OK.
    pub(super) async fn command(&mut self, payload: &[u8], phase: Phase) -> Result<()> {
        self.send(payload).await?;
        let packet = self.stream.read().await?;
        let failed = (packet.first() == Some(&ERR)).then(|| ServerError::parse(packet));
        self.state = State::Idle;
        failed.map_or(Ok(()), |error| Err(error.into_error(phase, &self.endpoint)))
    }

    pub(super) async fn next_row_packet(&mut self) -> Result<Option<&[u8]>> {
        if self.state != State::Rows {
            return Ok(None);
        }
        let packet = self.stream.read().await?;
        match packet.first() {
            Some(&EOF) if packet.len() < 9 => {
                self.state = State::Idle;
                Ok(None)
            }
            Some(&ERR) => {
                let error = ServerError::parse(packet);
                self.state = State::Idle;
                Err(error.into_error(Phase::Statement, &self.endpoint))
            }
            _ => Ok(Some(packet)),
        }
    }

    async fn query_text(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        self.send(&with_code(COM_QUERY, sql.as_bytes())).await?;
        let Some(columns) = self.read_result_head().await? else {
            return Ok(Vec::new());
        };
        let mut rows = Vec::new();
        while let Some(packet) = self.next_row_packet().await? {
            rows.push(TextRow::parse(&columns, packet)?);
        }
        Ok(rows)
    }

    async fn start_select(&mut self, sql: &str) -> Result<Arc<[ResultColumn]>> {
        self.send(&with_code(COM_STMT_PREPARE, sql.as_bytes()))
            .await?;
        let packet = self.read_answer().await?;
        let mut cursor = Cursor::new(packet);
        cursor.u8()?;
        let id = cursor.u32()?;
        let columns = cursor.u16()?;
        let parameters = cursor.u16()?;
        for count in [parameters, columns] {
            self.read_columns(u64::from(count)).await?;
        }
        self.state = State::Idle;
        let mut execute = with_code(COM_STMT_EXECUTE, &id.to_le_bytes());
        // no cursor, one iteration
        execute.extend_from_slice(&[0, 1, 0, 0, 0]);
        self.send(&execute).await?;
        self.statement = Some(id);
        self.read_result_head()
            .await?
            .ok_or_else(|| Error::invalid("the statement has no result set"))
    }

    /// Sends a command once the server owes us nothing any more.
    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.settle().await?;
        self.state = State::Waiting;
        self.stream.write_command(payload).await
    }

    /// Reads away what an abandoned row stream left, and closes its statement.
    async fn settle(&mut self) -> Result<()> {
        if self.state == State::Waiting {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "a statement on {} was cancelled half-way: connect again",
                    self.endpoint
                ),
            ));
        }
        while self.next_row_packet().await?.is_some() {}
        if let Some(id) = self.statement.take() {
            let close = with_code(COM_STMT_CLOSE, &id.to_le_bytes());
            self.stream.write_command(&close).await?;
        }
        Ok(())
    }

    /// The first packet of an answer; an ERR ends it.
    async fn read_answer(&mut self) -> Result<&[u8]> {
        let packet = self.stream.read().await?;
        match packet.first() {
            Some(&ERR) => {
                self.state = State::Idle;
                Err(ServerError::parse(packet).into_error(Phase::Statement, &self.endpoint))
            }
            Some(_) => Ok(packet),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                "the server sent an empty answer",
            )),
        }
    }

    /// The columns of a result set; `None` for a statement without one.
    async fn read_result_head(&mut self) -> Result<Option<Arc<[ResultColumn]>>> {
        let packet = self.read_answer().await?;
        let count = match packet.first() {
            Some(&OK) => {
                self.state = State::Idle;
                return Ok(None);
            }
            Some(&LOCAL_INFILE) => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the server asked for a local file",
                ));
            }
            _ => Cursor::new(packet).lenenc()?.unwrap_or(0),
        };
        let columns = self.read_columns(count).await?;
        self.state = State::Rows;
        Ok(Some(columns))
    }

    /// Column definitions and the EOF behind them.
    async fn read_columns(&mut self, count: u64) -> Result<Arc<[ResultColumn]>> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(ResultColumn::parse(self.stream.read().await?)?);
        }
        if count > 0 {
            self.stream.read().await?;
        }
        Ok(columns.into())
    }
}

fn with_code(code: u8, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + body.len() + 8);
    payload.push(code);
    payload.extend_from_slice(body);
    payload
}

fn with_statement(error: Error, sql: &str) -> Error {
    let shown: String = sql.chars().take(SHOWN_SQL_MAX).collect();
    let dots = if shown.len() < sql.len() { "…" } else { "" };
    error.context(format!("statement `{shown}{dots}`"))
}
