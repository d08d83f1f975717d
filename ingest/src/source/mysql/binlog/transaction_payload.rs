//! TRANSACTION_PAYLOAD events of MySQL (`binlog_transaction_compression`): a whole transaction as one zstd stream.

use std::fmt;
use std::io::{BufReader, Read as _};

use super::event::EventHeader;
use crate::batch::{ByteReader, DecodeError};
use crate::error::{Error, ErrorKind, Result};

/// Field types inside the event.
///
/// Source: MySQL, `Transaction_payload_event`.
const END: u64 = 0;
const PAYLOAD_SIZE: u64 = 1;
const COMPRESSION: u64 = 2;

const ZSTD: u64 = 0;
const NONE: u64 = 255;

/// Largest event that is read out of a payload: what `max_allowed_packet` can be at most, with some room.
const EVENT_BYTES_MAX: u64 = (1 << 30) + (1 << 20);

/// A compressed transaction.
#[derive(Debug, Clone, Copy)]
pub struct TransactionPayload<'a> {
    bytes: &'a [u8],
    compressed: bool,
}

impl<'a> TransactionPayload<'a> {
    pub(super) fn read(reader: &mut ByteReader<'a>) -> Result<Self, DecodeError> {
        let (mut size, mut compression) = (None, ZSTD);
        loop {
            let field = reader.lenenc_uint()?;
            if field == END {
                break;
            }
            let mut value = ByteReader::new(reader.lenenc_bytes()?);
            match field {
                PAYLOAD_SIZE => size = Some(value.lenenc_uint()?),
                COMPRESSION => compression = value.lenenc_uint()?,
                _ => {}
            }
        }
        let compressed = match compression {
            ZSTD => true,
            NONE => false,
            _ => {
                return Err(DecodeError::Unsupported(
                    "a transaction is compressed by an unknown algorithm",
                ));
            }
        };
        let left = reader.len() as u64;
        let bytes = match size {
            Some(size) => reader
                .take(usize::try_from(size.min(left.saturating_add(1))).unwrap_or(usize::MAX))?,
            None => reader.rest(),
        };
        Ok(Self { bytes, compressed })
    }

    /// The events inside, read one by one: the transaction is never in memory as a whole.
    ///
    /// # Errors
    /// `Internal` when the decompressor cannot be set up.
    pub fn events(&self) -> Result<PayloadEvents<'a>> {
        let input = if self.compressed {
            let decoder = zstd::stream::read::Decoder::with_buffer(self.bytes)
                .map_err(|error| Error::internal(error.to_string()).with_source(error))?;
            Input::Zstd(Box::new(BufReader::new(decoder)))
        } else {
            Input::Plain(self.bytes)
        };
        Ok(PayloadEvents {
            input,
            event: Vec::new(),
        })
    }
}

enum Input<'a> {
    Zstd(Box<BufReader<zstd::stream::read::Decoder<'a, &'a [u8]>>>),
    Plain(&'a [u8]),
}

/// Reads the events of a compressed transaction one after the other.
pub struct PayloadEvents<'a> {
    input: Input<'a>,
    event: Vec<u8>,
}

impl fmt::Debug for PayloadEvents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadEvents").finish_non_exhaustive()
    }
}

impl PayloadEvents<'_> {
    /// The next event, for [`super::BinlogDecoder::decode_inner`]; `None` after the last.
    ///
    /// # Errors
    /// `Corrupt` when the payload does not decompress to whole events.
    pub fn next_event(&mut self) -> Result<Option<&[u8]>> {
        self.event.clear();
        if self.read_to(EventHeader::LENGTH as u64)? == 0 {
            return Ok(None);
        }
        let header = EventHeader::read(&mut ByteReader::new(&self.event))?;
        let size = u64::from(header.event_size);
        if size > EVENT_BYTES_MAX || size < EventHeader::LENGTH as u64 {
            return Err(corrupt(format!(
                "an event in a compressed transaction claims {size} bytes"
            )));
        }
        let length = self.read_to(size)?;
        if length != size {
            return Err(corrupt(format!(
                "a compressed transaction ends {} bytes early",
                size - length
            )));
        }
        Ok(Some(&self.event))
    }

    /// Reads until the event has `length` bytes or the input ends; returns how many it has.
    fn read_to(&mut self, length: u64) -> Result<u64> {
        let missing = length.saturating_sub(self.event.len() as u64);
        let read = match &mut self.input {
            Input::Zstd(input) => input.take(missing).read_to_end(&mut self.event),
            Input::Plain(input) => input.take(missing).read_to_end(&mut self.event),
        };
        read.map_err(|error| corrupt(format!("a transaction does not decompress: {error}")))?;
        Ok(self.event.len() as u64)
    }
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
