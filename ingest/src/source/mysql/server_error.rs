//! The server's ERR packets, and what each means for the caller.

use std::fmt;

use super::wire::Cursor;
use crate::{Error, ErrorKind};

/// An error that the server reported, kept as the source of our [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The server's number for it, such as 1045.
    pub code: u16,
    /// SQLSTATE, or empty during the handshake.
    pub sql_state: String,
    /// The server's text.
    pub message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.code)?;
        if !self.sql_state.is_empty() {
            write!(f, " ({})", self.sql_state)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ServerError {}

/// What was going on when the server refused: the same code means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the login was complete.
    Login,
    /// A statement.
    Statement,
    /// Opening or reading the binary log.
    Dump,
}

impl ServerError {
    /// Reads an ERR packet; a damaged one still becomes an error of code 0.
    pub(super) fn parse(payload: &[u8]) -> Self {
        let mut cursor = Cursor::new(payload.get(1..).unwrap_or(&[]));
        let code = cursor.u16().unwrap_or(0);
        let text = String::from_utf8_lossy(cursor.rest()).into_owned();
        let (sql_state, message) = match text.strip_prefix('#').and_then(|t| t.split_at_checked(5))
        {
            Some((state, message)) => (state.to_owned(), message.to_owned()),
            None => (String::new(), text),
        };
        Self {
            code,
            sql_state,
            message,
        }
    }

    /// The error for our caller: kind, the server's words, and what to do.
    pub(super) fn into_error(self, phase: Phase, endpoint: &str) -> Error {
        let (kind, remedy) = classify(self.code, &self.message, phase);
        let separator = if remedy.is_empty() { "" } else { "; " };
        Error::new(
            kind,
            format!("server {endpoint} answered {self}{separator}{remedy}"),
        )
        .with_source(self)
    }
}

/// The server's error number, if `error` came from the server.
pub fn server_error_code(error: &Error) -> Option<u16> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<ServerError>().map(|error| error.code)
}

/// Whether a statement failed because a table is not what it was when it was looked at: unknown column, no such table, definition
/// has changed.
pub(crate) fn is_altered(error: &Error) -> bool {
    matches!(server_error_code(error), Some(1054 | 1146 | 1412))
}

/// The error of a statement that names a table's columns as they were looked at: a `Conflict` if they have been altered since, so
/// that the next start looks anew.
pub(crate) fn altered_meanwhile(error: Error) -> Error {
    match is_altered(&error) {
        true => Error::new(ErrorKind::Conflict, error.to_string()).with_source(error),
        false => error,
    }
}

/// Kind and remedy of a server error.
///
/// Numbers: MySQL Server Error Message Reference; MariaDB Error Codes. Texts of 1236 tell its many causes apart.
fn classify(code: u16, message: &str, phase: Phase) -> (ErrorKind, &'static str) {
    match code {
        1045 if phase == Phase::Dump => (
            ErrorKind::Invalid,
            "the login was fine, so a privilege is missing: GRANT REPLICATION SLAVE ON *.* to the account",
        ),
        1045 | 1698 => (
            ErrorKind::Invalid,
            "check user and password, and that the account may log in from this host",
        ),
        1044 | 1142 | 1143 | 1227 | 1370 => (
            ErrorKind::Invalid,
            "grant the account the privilege that the server names",
        ),
        1130 => (
            ErrorKind::Invalid,
            "no account of the server allows this host",
        ),
        1129 => (
            ErrorKind::Unavailable,
            "run FLUSH HOSTS (mysqladmin flush-hosts) on the server",
        ),
        1049 | 1146 | 1051 => (
            ErrorKind::NotFound,
            "check the name, and that it was not dropped",
        ),
        1040 | 1203 | 1226 => (
            ErrorKind::Unavailable,
            "raise max_connections or the account's limit, or use fewer workers",
        ),
        4052 => (ErrorKind::Conflict, DUPLICATE_SERVER_ID),
        1236 if is_duplicate_server(message) => (ErrorKind::Conflict, DUPLICATE_SERVER_ID),
        1236 => replication_failure(message),
        1412 => (
            ErrorKind::Conflict,
            "the table was altered meanwhile: read it again",
        ),
        1053
        | 1077
        | 1079
        | 1158..=1161
        | 1205
        | 1213
        | 1317
        | 1927
        | 2006
        | 2013
        | 3024
        | 4031 => (ErrorKind::Unavailable, ""),
        _ => (ErrorKind::Invalid, ""),
    }
}

const DUPLICATE_SERVER_ID: &str =
    "another replica or change-data client uses our server id: give each its own server-id";

fn is_duplicate_server(message: &str) -> bool {
    message.contains("same server_uuid") || message.contains("same server_id")
}

/// Error 1236 covers all that can be wrong with a requested position.
fn replication_failure(message: &str) -> (ErrorKind, &'static str) {
    const PURGED: &str = "the binary log that holds our position was purged: take a new snapshot, and raise \
        binlog_expire_logs_seconds (MariaDB also expire_logs_days) beyond the longest outage";
    let lost = [
        "Could not find first log file",
        "purged",
        "not in the master's binlog",
        "too old",
    ];
    if lost.iter().any(|text| message.contains(text)) {
        (ErrorKind::NotFound, PURGED)
    } else if message.contains("more GTIDs than") {
        (
            ErrorKind::NotFound,
            "this server lacks transactions that were already read: it was failed over to from a \
             primary that was ahead; take a new snapshot",
        )
    } else if message.contains("impossible position")
        || message.contains("bogus data")
        || message.contains("truncated in the middle")
    {
        (
            ErrorKind::NotFound,
            "the position is not in this server's binary log: is it the same server, and was RESET MASTER run?",
        )
    } else if message.contains("max_allowed_packet") {
        (
            ErrorKind::Invalid,
            "SET GLOBAL max_allowed_packet = 1073741824 on the server",
        )
    } else {
        (
            ErrorKind::Invalid,
            "the server cannot send its binary log from this position",
        )
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn packet(code: u16, text: &str) -> Vec<u8> {
        let mut bytes = vec![0xff];
        bytes.extend_from_slice(&code.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn keeps_code_state_and_text() {
        let error = ServerError::parse(&packet(1045, "#28000Access denied for user 'x'"));
        assert_eq!((error.code, error.sql_state.as_str()), (1045, "28000"));
        let error = error.into_error(Phase::Login, "db:3306");
        assert_eq!(server_error_code(&error), Some(1045));
        let text = error.to_string();
        assert!(
            text.contains("db:3306") && text.contains("28000") && text.contains("password"),
            "{text}"
        );
        assert_eq!(ServerError::parse(&[0xff]).code, 0);
        assert_eq!(
            ServerError::parse(&packet(1040, "Too many")).message,
            "Too many"
        );
    }

    #[rstest]
    #[case(
        1045,
        "Access denied",
        Phase::Dump,
        ErrorKind::Invalid,
        "REPLICATION SLAVE"
    )]
    #[case(
        1236,
        "Could not find first log file name in binary log index file",
        Phase::Dump,
        ErrorKind::NotFound,
        "purged"
    )]
    #[case(
        1236,
        "Client requested master to start replication from impossible position",
        Phase::Dump,
        ErrorKind::NotFound,
        "RESET MASTER"
    )]
    #[case(
        1236,
        "A slave with the same server_uuid/server_id as this slave has connected",
        Phase::Dump,
        ErrorKind::Conflict,
        "server-id"
    )]
    #[case(
        4052,
        "A slave with the same server_uuid/server_id is already connected",
        Phase::Dump,
        ErrorKind::Conflict,
        "server-id"
    )]
    #[case(
        1040,
        "Too many connections",
        Phase::Login,
        ErrorKind::Unavailable,
        "max_connections"
    )]
    #[case(
        1927,
        "Connection was killed",
        Phase::Statement,
        ErrorKind::Unavailable,
        "1927"
    )]
    #[case(1049, "Unknown database 'x'", Phase::Login, ErrorKind::NotFound, "x")]
    fn says_what_to_do(
        #[case] code: u16,
        #[case] message: &str,
        #[case] phase: Phase,
        #[case] kind: ErrorKind,
        #[case] hint: &str,
    ) {
        let error = ServerError {
            code,
            sql_state: String::new(),
            message: message.to_owned(),
        }
        .into_error(phase, "db:3306");
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(hint), "{error}");
    }
}
