//! Opens a binlog dump and hands out raw events.
//!
//! The connection registers as a replica, asks for the log from a position, and from then on only receives. Heartbeats keep
//! it apart from a dead one: after three periods without a byte the server is taken for gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, MySqlOptions};
use super::packet::PacketStream;
use super::server::ServerInfo;
use super::server_error::{Phase, ServerError};
use super::sql::quote_text;
use crate::position::{BinlogPosition, GtidSet};
use crate::{Error, ErrorKind, Result};

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// Send EOF at the end of the log instead of waiting.
const FLAG_NON_BLOCK: u16 = 0x01;
/// The GTID form of the request carries a set.
const FLAG_THROUGH_GTID: u16 = 0x04;
const EVENT: u8 = 0x00;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;
/// The first event of every file begins behind the magic number.
const FILE_START: u64 = 4;
const HEARTBEAT: Duration = Duration::from_secs(10);
/// So many heartbeats may be missing.
const HEARTBEATS_MISSED_MAX: u32 = 3;

/// The events of a server's binary log, as they come.
#[derive(Debug)]
pub struct BinlogStream {
    stream: PacketStream,
    endpoint: Arc<str>,
    silence_max: Duration,
}

/// How the server is to find the place.
#[derive(Debug, PartialEq, Eq)]
enum StartPoint {
    FileAndPos(String, u32),
    /// MySQL: everything that is not in this set.
    MySqlGtid(MySqlSet),
    /// MariaDB: behind the last transaction of each domain.
    MariaDbGtid(String),
}

impl BinlogStream {
    /// Starts reading behind `position` as the replica `server_id`, which must be unique among the server's replicas.
    ///
    /// The position is looked up by file and offset on the server that it comes from, else by GTID.
    ///
    /// # Errors
    /// `NotFound` when the position was purged or is not this server's (some servers say so only at the first event); `Invalid` when
    /// a privilege is missing; `Unavailable` when the server does not answer.
    pub async fn open(
        options: &MySqlOptions,
        server_id: u32,
        position: &BinlogPosition,
    ) -> Result<Self> {
        Self::open_with(options, server_id, position, 0, HEARTBEAT).await
    }

    /// As [`Self::open`], but the server ends the stream at the end of its log: for probing.
    pub(super) async fn open_to_end(
        options: &MySqlOptions,
        server_id: u32,
        position: &BinlogPosition,
    ) -> Result<Self> {
        Self::open_with(options, server_id, position, FLAG_NON_BLOCK, HEARTBEAT).await
    }

    async fn open_with(
        options: &MySqlOptions,
        server_id: u32,
        position: &BinlogPosition,
        flags: u16,
        heartbeat: Duration,
    ) -> Result<Self> {
        let mut connection = Connection::connect(options).await?;
        let server = ServerInfo::read(&mut connection).await?;
        let start = StartPoint::of(position, &server)?;
        set_up_session(&mut connection, &server, &start, server_id, heartbeat).await?;
        connection
            .command(&register_request(server_id), Phase::Dump)
            .await?;
        let mut stream = connection.into_stream().await?;
        stream
            .write_command(&start.request(server_id, flags))
            .await?;
        tracing::debug!(
            server = options.endpoint(),
            ?start,
            server_id,
            "reading the binary log"
        );
        let silence_max = heartbeat * HEARTBEATS_MISSED_MAX;
        Ok(Self {
            stream,
            endpoint: options.endpoint().into(),
            silence_max,
        })
    }

    /// The next event, header and checksum included; valid until the next call. Cancel-safe.
    ///
    /// # Errors
    /// `Unavailable` when the connection breaks or nothing arrives for three heartbeat periods; `NotFound` when the position was
    /// purged; `Conflict` when another client took our server id over.
    pub async fn next_event(&mut self) -> Result<&[u8]> {
        let endpoint = Arc::clone(&self.endpoint);
        match self.next_before_end().await? {
            Some(event) => Ok(event),
            None => Err(Error::new(
                ErrorKind::Unavailable,
                format!("server {endpoint} ended the binlog stream: it is shutting down"),
            )),
        }
    }

    /// As [`Self::next_event`]; `None` at the end that [`Self::open_to_end`] asks for.
    pub(super) async fn next_before_end(&mut self) -> Result<Option<&[u8]>> {
        let silence_max = self.silence_max;
        let read = tokio::time::timeout(silence_max, self.stream.read()).await;
        let packet = read.map_err(|_| {
            Error::new(
                ErrorKind::Unavailable,
                format!(
                    "server {} sent neither event nor heartbeat for {silence_max:?}",
                    self.endpoint
                ),
            )
        })??;
        match packet.split_first() {
            Some((&EVENT, event)) => Ok(Some(event)),
            Some((&EOF, rest)) if rest.len() < 8 => Ok(None),
            Some((&ERR, _)) => {
                Err(ServerError::parse(packet).into_error(Phase::Dump, &self.endpoint))
            }
            _ => Err(Error::new(
                ErrorKind::Corrupt,
                format!("server {} sent a packet that is no event", self.endpoint),
            )),
        }
    }
}

impl StartPoint {
    fn of(position: &BinlogPosition, server: &ServerInfo) -> Result<Self> {
        let ours = position.server == server.identity() && !position.file.is_empty();
        // Offsets in a request have 32 bits: beyond, the GTID says it, or the file is read again from its start.
        if ours && let Ok(pos) = u32::try_from(position.pos.max(FILE_START)) {
            return Ok(Self::FileAndPos(position.file.clone(), pos));
        }
        match position.gtid.as_deref().filter(|_| server.has_gtid()) {
            Some(gtid) if server.is_mariadb() => Ok(Self::MariaDbGtid(gtid.to_owned())),
            Some(gtid) => mysql_set(gtid).map(Self::MySqlGtid),
            None if ours => Ok(Self::FileAndPos(position.file.clone(), 4)),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "position {position} is of server {}, this is server {}, and without GTIDs one says nothing \
                     about the other: point the pipeline at the old server, or take a new snapshot",
                    position.server,
                    server.identity()
                ),
            )),
        }
    }

    fn request(&self, server_id: u32, flags: u16) -> Vec<u8> {
        let mut request = Vec::with_capacity(128);
        match self {
            Self::MySqlGtid(set) => {
                request.push(COM_BINLOG_DUMP_GTID);
                request.extend_from_slice(&(flags | FLAG_THROUGH_GTID).to_le_bytes());
                request.extend_from_slice(&server_id.to_le_bytes());
                // no file name, position 4: the set alone decides
                request.extend_from_slice(&0u32.to_le_bytes());
                request.extend_from_slice(&FILE_START.to_le_bytes());
                let set = encode_gtid_set(set);
                let len = u32::try_from(set.len()).unwrap_or(u32::MAX);
                request.extend_from_slice(&len.to_le_bytes());
                request.extend_from_slice(&set);
            }
            Self::FileAndPos(..) | Self::MariaDbGtid(_) => {
                let (file, pos) = match self {
                    Self::FileAndPos(file, pos) => (file.as_str(), *pos),
                    _ => ("", 4),
                };
                request.push(COM_BINLOG_DUMP);
                request.extend_from_slice(&pos.to_le_bytes());
                request.extend_from_slice(&flags.to_le_bytes());
                request.extend_from_slice(&server_id.to_le_bytes());
                request.extend_from_slice(file.as_bytes());
            }
        }
        request
    }
}

type MySqlSet = BTreeMap<String, Vec<(u64, u64)>>;

fn mysql_set(text: &str) -> Result<MySqlSet> {
    match text.parse()? {
        GtidSet::MySql(set) if set.keys().any(|source| source.contains(':')) => {
            Err(Error::unsupported(format!(
                "resuming on another server by tagged GTIDs (`{text}`)"
            )))
        }
        GtidSet::MySql(set) => Ok(set),
        GtidSet::MariaDb(_) => Err(Error::new(
            ErrorKind::NotFound,
            format!("position {text} is of a MariaDB server, this is MySQL: take a new snapshot"),
        )),
    }
}

/// The binary form of a set without tags: per source uuid the half-open intervals.
///
/// Spec: MySQL "COM_BINLOG_DUMP_GTID".
fn encode_gtid_set(set: &MySqlSet) -> Vec<u8> {
    let mut bytes = (set.len() as u64).to_le_bytes().to_vec();
    for (source, intervals) in set {
        let digits: String = source.chars().filter(|c| *c != '-').collect();
        bytes.extend_from_slice(&u128::from_str_radix(&digits, 16).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&(intervals.len() as u64).to_le_bytes());
        for (start, end) in intervals {
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&end.saturating_add(1).to_le_bytes());
        }
    }
    bytes
}

/// Variables that the server reads when the dump begins. Newer MySQL servers look for `source`, all others for `master`.
async fn set_up_session(
    connection: &mut Connection,
    server: &ServerInfo,
    start: &StartPoint,
    server_id: u32,
    heartbeat: Duration,
) -> Result<()> {
    let period = heartbeat.as_nanos();
    // A uuid that follows from the server id: who shares the one shares the other, and the server says so.
    let uuid = format!("6c616b65-6265-6400-8000-{server_id:012x}");
    let mut settings = vec![
        "SESSION net_write_timeout = 3600".to_owned(),
        "SESSION wait_timeout = 86400".to_owned(),
        format!("@master_heartbeat_period = {period}, @source_heartbeat_period = {period}"),
        // Events come as they were written, with their checksums if they have some.
        "@master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum"
            .to_owned(),
        format!("@slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"),
    ];
    if server.is_mariadb() {
        settings.push("@mariadb_slave_capability = 4".to_owned());
    }
    if let StartPoint::MariaDbGtid(gtid) = start {
        settings.push(format!("@slave_connect_state = {}", quote_text(gtid)));
        settings.push("@slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0".to_owned());
    }
    connection
        .execute(&format!("SET {}", settings.join(", ")))
        .await
}

fn register_request(server_id: u32) -> Vec<u8> {
    let mut request = vec![COM_REGISTER_SLAVE];
    request.extend_from_slice(&server_id.to_le_bytes());
    // host (shown by SHOW SLAVE HOSTS), user, password: by length; then port, rank, master id
    let host = b"lakebed";
    request.push(7);
    request.extend_from_slice(host);
    request.extend_from_slice(&[0, 0]);
    request.extend_from_slice(&[0; 2 + 4 + 4]);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gtid_set_is_encoded_as_half_open_intervals() {
        let set = mysql_set("00000000-0000-0000-0000-0000000000ff:1-5:7").unwrap();
        let bytes = encode_gtid_set(&set);
        let mut expected = 1u64.to_le_bytes().to_vec();
        expected.extend_from_slice(&[0; 15]);
        expected.push(0xff);
        for number in [2u64, 1, 6, 7, 8] {
            expected.extend_from_slice(&number.to_le_bytes());
        }
        assert_eq!(bytes, expected);
    }

    #[test]
    fn sets_that_the_request_cannot_carry_are_refused() {
        assert!(mysql_set("0-1-5").is_err());
        let tagged = mysql_set("00000000-0000-0000-0000-0000000000ff:nightly:1").unwrap_err();
        assert_eq!(tagged.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_file_request_carries_position_flags_and_name() {
        let start = StartPoint::FileAndPos("bin.000002".to_owned(), 0x0102);
        let mut expected = vec![0x12, 2, 1, 0, 0, 1, 0, 9, 0, 0, 0];
        expected.extend_from_slice(b"bin.000002");
        assert_eq!(start.request(9, FLAG_NON_BLOCK), expected);
    }
}
