//! Raw events to typed ones: header, checksum, and a reader for each type.

use std::collections::HashMap;

use super::event::{BinlogEvent, EventHeader, EventType};
use super::rows::RowsFormat;
use super::{Gtid, QueryEvent, RowsEvent, TableMap, TransactionPayload};
use crate::batch::{ByteReader, DecodeError};
use crate::error::{Error, ErrorKind, Result};

/// Bytes of a checksum behind an event.
const CHECKSUM_LENGTH: usize = 4;
/// Where the flags lie in a header, and the flag of a file that is being written, which no checksum covers.
const FLAGS_OFFSET: usize = 17;
const IN_USE: u8 = 1;
/// A rows event of this table id is a placeholder without rows.
const DUMMY_TABLE_ID: u64 = 0x00ff_ffff;
/// Table maps that are kept; past it the cache is emptied and fills again.
const TABLE_MAPS_MAX: usize = 4096;

/// How events are protected, as the newest FORMAT_DESCRIPTION says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Checksum {
    /// No FORMAT_DESCRIPTION has come yet.
    #[default]
    Unknown,
    Off,
    Crc32,
}

/// Decodes the events of one stream, in order.
#[derive(Debug, Default)]
pub struct BinlogDecoder {
    checksum: Checksum,
    /// Newest map of each table id, to parse a map that comes again only once.
    table_maps: HashMap<u64, TableMap>,
    scratch: Vec<u8>,
}

impl BinlogDecoder {
    /// Decodes an event: the packet without its leading status byte.
    ///
    /// # Errors
    /// `Corrupt` when the checksum or the bytes are wrong, or when the server says that events are missing (INCIDENT);
    /// `Unsupported` for events that change rows in a way that cannot be followed. Neither may be skipped.
    pub fn decode<'a>(&'a mut self, raw: &'a [u8]) -> Result<(EventHeader, BinlogEvent<'a>)> {
        let mut reader = ByteReader::new(raw);
        let header = EventHeader::read(&mut reader).map_err(|error| short(raw.len(), error))?;
        if usize::try_from(header.event_size).ok() != Some(raw.len()) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "an event of type {} has {} bytes and claims {}",
                    header.event_type,
                    raw.len(),
                    header.event_size
                ),
            ));
        }
        if header.event_type == EventType::FORMAT_DESCRIPTION {
            self.checksum = format_description(raw)?;
        }
        let body = self.verified(raw, &header)?;
        self.dispatch(header, body)
    }

    /// Decodes an event out of a compressed transaction: it has no checksum of its own.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_inner<'a>(&'a mut self, raw: &'a [u8]) -> Result<(EventHeader, BinlogEvent<'a>)> {
        let mut reader = ByteReader::new(raw);
        let header = EventHeader::read(&mut reader).map_err(|error| short(raw.len(), error))?;
        self.dispatch(header, reader.rest())
    }

    /// The body of an event without the checksum, after a look at it.
    fn verified<'a>(&self, raw: &'a [u8], header: &EventHeader) -> Result<&'a [u8]> {
        let body = raw.get(EventHeader::LENGTH..).unwrap_or_default();
        let Some((covered, sum)) = raw.split_last_chunk::<CHECKSUM_LENGTH>() else {
            return Ok(body);
        };
        let is_description = header.event_type == EventType::FORMAT_DESCRIPTION;
        let matches = || checksum(covered, is_description) == u32::from_le_bytes(*sum);
        let has_checksum = match self.checksum {
            Checksum::Off => is_description,
            // MariaDB opens a stream with a fake ROTATE that has one before it says so.
            Checksum::Unknown => matches(),
            Checksum::Crc32 if matches() => true,
            Checksum::Crc32 => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("an event of type {} fails its checksum", header.event_type),
                ));
            }
        };
        let body = if has_checksum {
            covered.get(EventHeader::LENGTH..).unwrap_or_default()
        } else {
            body
        };
        Ok(body)
    }

    fn dispatch<'a>(
        &'a mut self,
        header: EventHeader,
        body: &'a [u8],
    ) -> Result<(EventHeader, BinlogEvent<'a>)> {
        let event_type = header.event_type;
        let event = self.read_event(header, body).map_err(|error| {
            error.context(format!(
                "event of type {event_type} and {} bytes",
                header.event_size
            ))
        })?;
        Ok((header, event))
    }

    fn read_event<'a>(
        &'a mut self,
        header: EventHeader,
        body: &'a [u8],
    ) -> Result<BinlogEvent<'a>> {
        let mut reader = ByteReader::new(body);
        let reader = &mut reader;
        if let Some(format) = RowsFormat::of(header.event_type) {
            let rows = RowsEvent::read(format, reader, &mut self.scratch)?;
            let is_dummy = rows.table_id == DUMMY_TABLE_ID && rows.rows.is_empty();
            return Ok(if is_dummy {
                BinlogEvent::Ignored
            } else {
                BinlogEvent::Rows(rows)
            });
        }
        let event = match header.event_type {
            EventType::TABLE_MAP => BinlogEvent::TableMap(self.table_map(reader)?),
            EventType::QUERY
            | EventType::EXECUTE_LOAD_QUERY
            | EventType::MARIADB_QUERY_COMPRESSED => BinlogEvent::Query(QueryEvent::read(
                header.event_type,
                reader,
                &mut self.scratch,
            )?),
            EventType::XID => BinlogEvent::Xid,
            EventType::GTID => BinlogEvent::Gtid(Gtid::read_mysql(reader)?),
            EventType::GTID_TAGGED => BinlogEvent::Gtid(Gtid::read_tagged(reader)?),
            EventType::MARIADB_GTID => {
                BinlogEvent::Gtid(Gtid::read_mariadb(header.server_id, reader)?)
            }
            EventType::ROTATE => {
                let position = reader.u64()?;
                BinlogEvent::Rotate {
                    file: file_name(reader.rest()),
                    position,
                }
            }
            EventType::FORMAT_DESCRIPTION => {
                self.table_maps.clear();
                BinlogEvent::FormatDescription
            }
            EventType::TRANSACTION_PAYLOAD => {
                BinlogEvent::TransactionPayload(TransactionPayload::read(reader)?)
            }
            EventType::HEARTBEAT => BinlogEvent::Heartbeat {
                file: file_name(reader.rest()),
                position: u64::from(header.next_position),
            },
            EventType::HEARTBEAT_V2 => heartbeat_v2(reader)?,
            EventType::XA_PREPARE => xa_prepare(reader)?,
            EventType::INCIDENT => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the server lost changes before they reached its binary log (INCIDENT); the tables need a new snapshot",
                ));
            }
            EventType::PARTIAL_UPDATE_ROWS => {
                return Err(Error::unsupported(
                    "the server logs parts of JSON documents; SET GLOBAL binlog_row_value_options = ''",
                ));
            }
            other if other.is_irrelevant() || header.is_ignorable() => BinlogEvent::Ignored,
            other => {
                return Err(Error::unsupported(format!(
                    "events of type {other} are not known, and the server does not say that they may be skipped"
                )));
            }
        };
        Ok(event)
    }

    /// The table map in `reader`, parsed anew only if it differs from the last one of its table id.
    fn table_map(&mut self, reader: &mut ByteReader<'_>) -> Result<&TableMap> {
        let table_id = reader.u48()?;
        let body = reader.rest();
        let is_known = self
            .table_maps
            .get(&table_id)
            .is_some_and(|map| map.layout == body);
        if !is_known {
            if self.table_maps.len() >= TABLE_MAPS_MAX {
                self.table_maps.clear();
            }
            self.table_maps
                .insert(table_id, TableMap::read(table_id, body)?);
        }
        self.table_maps
            .get(&table_id)
            .ok_or_else(|| Error::internal("a table map is gone"))
    }
}

fn short(length: usize, error: DecodeError) -> Error {
    Error::from(error).context(format!("an event of {length} bytes has no header"))
}

/// CRC32 of an event.
fn checksum(covered: &[u8], is_description: bool) -> u32 {
    match covered.split_at_checked(FLAGS_OFFSET) {
        Some((head, [flags, rest @ ..])) if is_description && flags & IN_USE != 0 => {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(head);
            hasher.update(&[flags & !IN_USE]);
            hasher.update(rest);
            hasher.finalize()
        }
        _ => crc32fast::hash(covered),
    }
}

/// The checksum algorithm that a FORMAT_DESCRIPTION names: the byte in front of its own checksum, which it always has.
///
/// Source: MySQL, `Format_description_event` (servers since 5.6.1, MariaDB since 5.3).
fn format_description(raw: &[u8]) -> Result<Checksum> {
    let algorithm = raw
        .len()
        .checked_sub(CHECKSUM_LENGTH + 1)
        .and_then(|at| raw.get(at));
    match algorithm {
        Some(0) => Ok(Checksum::Off),
        Some(1) => Ok(Checksum::Crc32),
        _ => Err(Error::unsupported(
            "the binary log names an unknown checksum; is the server older than MySQL 5.6?",
        )),
    }
}

/// A file name, up to the first zero.
fn file_name(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Fields of type, length and value: 1 is the file, 2 the position.
///
/// Source: MySQL, `Heartbeat_event_v2`.
fn heartbeat_v2<'a>(reader: &mut ByteReader<'_>) -> Result<BinlogEvent<'a>> {
    let (mut file, mut position) = (String::new(), 0);
    while !reader.is_empty() {
        let field = reader.lenenc_uint()?;
        if field == 0 {
            break;
        }
        let mut value = ByteReader::new(reader.lenenc_bytes()?);
        match field {
            1 => file = file_name(value.rest()),
            2 => position = value.lenenc_uint()?,
            _ => {}
        }
    }
    Ok(BinlogEvent::Heartbeat { file, position })
}

/// The end of an XA transaction: committed at once, or prepared, to be decided by a later statement.
fn xa_prepare<'a>(reader: &mut ByteReader<'_>) -> Result<BinlogEvent<'a>> {
    Ok(match reader.u8()? {
        0 => BinlogEvent::XaPrepare,
        _ => BinlogEvent::Xid,
    })
}
