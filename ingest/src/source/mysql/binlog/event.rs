//! The header that every event begins with, and what an event can be.

use std::fmt;

use super::{Gtid, QueryEvent, RowsEvent, TableMap, TransactionPayload};
use crate::batch::{ByteReader, DecodeError};

/// The event exists in the stream only, not in the file.
const ARTIFICIAL: u16 = 0x20;
/// Readers that do not know the event may skip it.
const IGNORABLE: u16 = 0x80;

/// The type code of an event.
///
/// Source: MySQL, `Log_event_type`; MariaDB, `Log_event_type` (160 and up).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventType(pub u8);

#[expect(missing_docs, reason = "the names are the servers' own")]
impl EventType {
    pub const QUERY: Self = Self(2);
    pub const STOP: Self = Self(3);
    pub const ROTATE: Self = Self(4);
    pub const INTVAR: Self = Self(5);
    pub const RAND: Self = Self(13);
    pub const USER_VAR: Self = Self(14);
    pub const FORMAT_DESCRIPTION: Self = Self(15);
    pub const XID: Self = Self(16);
    pub const BEGIN_LOAD_QUERY: Self = Self(17);
    pub const EXECUTE_LOAD_QUERY: Self = Self(18);
    pub const TABLE_MAP: Self = Self(19);
    pub const INCIDENT: Self = Self(26);
    pub const HEARTBEAT: Self = Self(27);
    pub const IGNORABLE: Self = Self(28);
    pub const ROWS_QUERY: Self = Self(29);
    pub const GTID: Self = Self(33);
    pub const ANONYMOUS_GTID: Self = Self(34);
    pub const PREVIOUS_GTIDS: Self = Self(35);
    pub const TRANSACTION_CONTEXT: Self = Self(36);
    pub const VIEW_CHANGE: Self = Self(37);
    pub const XA_PREPARE: Self = Self(38);
    pub const PARTIAL_UPDATE_ROWS: Self = Self(39);
    pub const TRANSACTION_PAYLOAD: Self = Self(40);
    pub const HEARTBEAT_V2: Self = Self(41);
    pub const GTID_TAGGED: Self = Self(42);
    pub const MARIADB_ANNOTATE_ROWS: Self = Self(160);
    pub const MARIADB_BINLOG_CHECKPOINT: Self = Self(161);
    pub const MARIADB_GTID: Self = Self(162);
    pub const MARIADB_GTID_LIST: Self = Self(163);
    pub const MARIADB_START_ENCRYPTION: Self = Self(164);
    pub const MARIADB_QUERY_COMPRESSED: Self = Self(165);
}

impl EventType {
    /// Whether the event carries nothing that concerns the rows of the lake.
    pub(super) fn is_irrelevant(self) -> bool {
        matches!(
            self,
            Self::STOP
                | Self::INTVAR
                | Self::RAND
                | Self::USER_VAR
                | Self::BEGIN_LOAD_QUERY
                | Self::IGNORABLE
                | Self::ROWS_QUERY
                | Self::ANONYMOUS_GTID
                | Self::PREVIOUS_GTIDS
                | Self::TRANSACTION_CONTEXT
                | Self::VIEW_CHANGE
                | Self::MARIADB_ANNOTATE_ROWS
                | Self::MARIADB_BINLOG_CHECKPOINT
                | Self::MARIADB_GTID_LIST
                | Self::MARIADB_START_ENCRYPTION
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The header of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    /// When the statement began, in seconds since 1970; 0 in events that the server makes up.
    pub timestamp: u32,
    /// What the event is.
    pub event_type: EventType,
    /// The server that wrote it first.
    pub server_id: u32,
    /// Size with header and checksum.
    pub event_size: u32,
    /// Where the next event begins. 0 inside transactions on MariaDB 11.4 and later, and in events that the server
    /// makes up; wraps past 4 GiB.
    pub next_position: u32,
    /// Bits of `LOG_EVENT_*_F`.
    pub flags: u16,
}

impl EventHeader {
    /// Bytes of a header.
    pub const LENGTH: usize = 19;

    pub(super) fn read(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            timestamp: reader.u32()?,
            event_type: EventType(reader.u8()?),
            server_id: reader.u32()?,
            event_size: reader.u32()?,
            next_position: reader.u32()?,
            flags: reader.u16()?,
        })
    }

    /// Whether the server made the event up for this stream, so that it takes no room in the file.
    pub fn is_artificial(&self) -> bool {
        // A FORMAT_DESCRIPTION is repeated at the start of a stream with a next position of 0 and no flag.
        let repeated = self.event_type == EventType::FORMAT_DESCRIPTION && self.next_position == 0;
        let heartbeat = matches!(
            self.event_type,
            EventType::HEARTBEAT | EventType::HEARTBEAT_V2
        );
        self.flags & ARTIFICIAL != 0 || repeated || heartbeat
    }

    /// Whether readers that do not know the event may skip it.
    pub fn is_ignorable(&self) -> bool {
        self.flags & IGNORABLE != 0
    }
}

/// What an event means for a reader of rows.
#[derive(Debug)]
#[non_exhaustive]
pub enum BinlogEvent<'a> {
    /// The stream goes on in another file. One that is artificial opens a stream.
    Rotate {
        /// Name of the file.
        file: String,
        /// Where it goes on.
        position: u64,
    },
    /// A file begins; the decoder has taken note of its checksums.
    FormatDescription,
    /// A source transaction begins.
    Gtid(Gtid),
    /// A statement: BEGIN, COMMIT, DDL, or a change that was logged as a statement.
    Query(QueryEvent<'a>),
    /// A source transaction ends.
    Xid,
    /// The end of an XA transaction that a later statement commits or rolls back.
    XaPrepare,
    /// Which table an id means until further notice.
    TableMap(&'a TableMap),
    /// Rows of one table.
    Rows(RowsEvent<'a>),
    /// A whole transaction, compressed: to be unpacked and its events decoded with
    /// [`super::BinlogDecoder::decode_inner`].
    TransactionPayload(TransactionPayload<'a>),
    /// The server has nothing to send.
    Heartbeat {
        /// The file in which the stream stands.
        file: String,
        /// How far it has been sent.
        position: u64,
    },
    /// Nothing that concerns the rows of the lake.
    Ignored,
}
