//! Global transaction ids.

use crate::batch::{ByteReader, DecodeError};

/// MariaDB: exactly one event follows, and no XID.
const STANDALONE: u8 = 1;

/// The id of a source transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gtid {
    /// MySQL: the number of a transaction of a server, or of a tag of a server.
    MySql {
        /// The server's UUID.
        source: [u8; 16],
        /// Its tag (8.3 and later).
        tag: Option<String>,
        /// The transaction's number.
        number: u64,
    },
    /// MariaDB.
    MariaDb {
        /// Replication domain.
        domain: u32,
        /// The server that wrote it first.
        server: u32,
        /// The transaction's number in its domain.
        sequence: u64,
        /// Exactly one event follows, and no XID.
        standalone: bool,
    },
}

impl Gtid {
    /// A GTID event of MySQL: flags, UUID, number.
    pub(super) fn read_mysql(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        reader.u8()?;
        Ok(Self::MySql {
            source: reader.array()?,
            number: reader.u64()?,
            tag: None,
        })
    }

    /// A GTID_TAGGED event: fields behind their numbers, in an encoding of their own.
    ///
    /// Source: MySQL, `mysql::binlog::event::Gtid_event` (serialisation format version 1).
    pub(super) fn read_tagged(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let _version = varlen(reader)?;
        let _size = varlen(reader)?;
        let _last_field_not_ignorable = varlen(reader)?;
        expect_field(reader, 0)?;
        let _flags = varlen(reader)?;
        expect_field(reader, 1)?;
        let mut source = [0; 16];
        for byte in &mut source {
            *byte = u8::try_from(varlen(reader)?)
                .map_err(|_| DecodeError::Invalid("a server UUID has a byte past 255"))?;
        }
        expect_field(reader, 2)?;
        let signed = varlen(reader)?;
        if signed & 1 == 1 {
            return Err(DecodeError::Invalid("a transaction number is negative"));
        }
        expect_field(reader, 3)?;
        let length = usize::try_from(varlen(reader)?).unwrap_or(usize::MAX);
        let tag = std::str::from_utf8(reader.take(length)?)
            .map_err(|_| DecodeError::Invalid("a GTID tag is not text"))?;
        let tag = (!tag.is_empty()).then(|| tag.to_owned());
        Ok(Self::MySql {
            source,
            tag,
            number: signed >> 1,
        })
    }

    /// A GTID event of MariaDB: number, domain, flags.
    pub(super) fn read_mariadb(
        server: u32,
        reader: &mut ByteReader<'_>,
    ) -> Result<Self, DecodeError> {
        let (sequence, domain) = (reader.u64()?, reader.u32()?);
        let standalone = reader.u8()? & STANDALONE != 0;
        Ok(Self::MariaDb {
            domain,
            server,
            sequence,
            standalone,
        })
    }

    /// Whether no transaction opens with it: one statement follows that commits on its own, or, on MySQL, a BEGIN
    /// that opens the transaction.
    pub fn is_standalone(&self) -> bool {
        match self {
            Self::MySql { .. } => true,
            Self::MariaDb { standalone, .. } => *standalone,
        }
    }

    /// `uuid:number`, `uuid:tag:number` or `domain-server-sequence`.
    pub fn text(&self) -> String {
        match self {
            Self::MySql {
                source,
                tag,
                number,
            } => {
                let [a, b, c, d, e, f, g, h, rest @ ..] = source;
                let node = rest.iter().enumerate();
                let node = node.fold(String::new(), |mut text, (at, byte)| {
                    text.push_str(if at == 2 { "-" } else { "" });
                    text + &format!("{byte:02x}")
                });
                let tag = tag.as_ref().map_or(String::new(), |tag| format!("{tag}:"));
                format!(
                    "{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}{f:02x}-{g:02x}{h:02x}-{node}:{tag}{number}"
                )
            }
            Self::MariaDb {
                domain,
                server,
                sequence,
                ..
            } => {
                format!("{domain}-{server}-{sequence}")
            }
        }
    }
}

fn expect_field(reader: &mut ByteReader<'_>, field: u64) -> Result<(), DecodeError> {
    if varlen(reader)? == field {
        Ok(())
    } else {
        Err(DecodeError::Unsupported(
            "a tagged GTID event has its fields in an unknown order",
        ))
    }
}

/// An integer whose first byte says by its trailing ones how many bytes follow.
fn varlen(reader: &mut ByteReader<'_>) -> Result<u64, DecodeError> {
    let first = reader.u8()?;
    let more = first.trailing_ones();
    let low = u64::from(first).checked_shr(more + 1).unwrap_or(0);
    let high = reader.uint(usize::try_from(more).unwrap_or(8))?;
    // Eight bytes follow a first byte of all ones, which then holds no bits of the number.
    let shift = if more >= 8 { 0 } else { 7 - more };
    Ok(low | high << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_both_forms() {
        let mut body = vec![1];
        body.extend_from_slice(&[0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33]);
        body.extend_from_slice(&[0xc8, 0x0a, 0xa9, 0x42, 0x95, 0x62, 23, 0, 0, 0, 0, 0, 0, 0]);
        let gtid = Gtid::read_mysql(&mut ByteReader::new(&body)).unwrap();
        assert_eq!(gtid.text(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:23");
        let body = [7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1];
        let gtid = Gtid::read_mariadb(9, &mut ByteReader::new(&body)).unwrap();
        assert_eq!(
            (gtid.text().as_str(), gtid.is_standalone()),
            ("2-9-7", true)
        );
    }

    #[test]
    fn variable_length_integers_of_every_size() {
        for bits in 0..64 {
            for number in [1_u64 << bits, (1 << bits) - 1] {
                // The encoder, written down from the description.
                let needed = 64 - number.leading_zeros().min(63);
                let more = (needed - 1) / 7;
                let bytes: Vec<u8> = if more >= 8 {
                    [&[0xff][..], &number.to_le_bytes()].concat()
                } else {
                    let word = u128::from(number) << (more + 1) | ((1 << more) - 1);
                    word.to_le_bytes()[..=more as usize].to_vec()
                };
                assert_eq!(varlen(&mut ByteReader::new(&bytes)), Ok(number), "{number}");
            }
        }
    }
}
