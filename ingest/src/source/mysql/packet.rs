//! Packets: three bytes of length, a sequence number, a payload; payloads of 16 MiB - 1 and more are split.
//!
//! One buffer serves a connection for its life; small packets are handed out as slices of it, without a copy per row or
//! event. Reading is cancel-safe: what has arrived stays in the buffer.

use std::ops::Range;

use table_format::env::Reservation;

use super::transport::Transport;
use crate::{Error, ErrorKind, Result};

/// The largest payload of one frame; a frame of this size is continued by the next.
const FRAME_PAYLOAD_MAX: usize = 0xff_ffff;
const HEADER_LEN: usize = 4;
/// What a connection holds while packets are small.
const BUFFER_LEN: usize = 256 << 10;
/// The largest packet that a server can send (`max_allowed_packet` has this upper limit).
pub(super) const PACKET_MAX: usize = 1 << 30;

/// Framing over a [`Transport`].
#[derive(Debug)]
pub(super) struct PacketStream {
    transport: Transport,
    sequence: u8,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that arrived and were not handed out.
    unread: Range<usize>,
    /// Frames of a packet whose last frame has not been handed out.
    joined: Vec<u8>,
    /// Whether `joined` was handed out and starts anew.
    joined_done: bool,
    /// What both buffers hold.
    memory: Reservation,
}

/// Where the next packet lies.
enum Located {
    InBuffer(Range<usize>),
    Joined,
}

impl PacketStream {
    /// Framing whose buffers are booked in `memory`.
    pub(super) fn new(transport: Transport, memory: Reservation) -> Self {
        let mut stream = Self {
            transport,
            sequence: 0,
            buffer: vec![0; BUFFER_LEN],
            unread: 0..0,
            joined: Vec::new(),
            joined_done: false,
            memory,
        };
        stream.book();
        stream
    }

    /// The socket, to put TLS under the packets, and the account of the buffers.
    pub(super) fn into_parts(self) -> (Transport, Reservation) {
        (self.transport, self.memory)
    }

    /// The same packets over another socket: the sequence goes on across the change to TLS.
    pub(super) fn resume(transport: Transport, memory: Reservation, sequence: u8) -> Self {
        Self {
            sequence,
            ..Self::new(transport, memory)
        }
    }

    /// Brings the account up to what the buffers hold.
    fn book(&mut self) {
        let held = (self.buffer.capacity() + self.joined.capacity()) as u64;
        if held != self.memory.bytes() {
            self.memory.resize(held);
        }
    }

    pub(super) fn sequence(&self) -> u8 {
        self.sequence
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.transport.is_encrypted()
    }

    /// The next packet's payload, valid until the next call.
    pub(super) async fn read(&mut self) -> Result<&[u8]> {
        if self.joined_done {
            self.joined = Vec::new();
            self.joined_done = false;
            self.book();
        }
        let located = loop {
            if let Some(located) = self.next_buffered()? {
                break located;
            }
            self.fill().await?;
        };
        Ok(match located {
            Located::InBuffer(range) => &self.buffer[range],
            Located::Joined => {
                self.joined_done = true;
                &self.joined
            }
        })
    }

    /// Takes a whole packet out of the buffer, if one is there.
    fn next_buffered(&mut self) -> Result<Option<Located>> {
        loop {
            let Some(len) = self.frame_len() else {
                return Ok(None);
            };
            if self.unread.len() < HEADER_LEN + len {
                return Ok(None);
            }
            let sequence = self.buffer[self.unread.start + 3];
            if sequence != self.sequence {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "packets out of order: expected number {}, found {sequence}",
                        self.sequence
                    ),
                ));
            }
            self.sequence = self.sequence.wrapping_add(1);
            let payload = self.unread.start + HEADER_LEN..self.unread.start + HEADER_LEN + len;
            self.unread.start = payload.end;
            if self.joined.is_empty() && len < FRAME_PAYLOAD_MAX {
                return Ok(Some(Located::InBuffer(payload)));
            }
            if self.joined.len() + len > PACKET_MAX {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("packet of more than {PACKET_MAX} bytes"),
                ));
            }
            self.joined.extend_from_slice(&self.buffer[payload]);
            self.book();
            if len < FRAME_PAYLOAD_MAX {
                return Ok(Some(Located::Joined));
            }
        }
    }

    fn frame_len(&self) -> Option<usize> {
        match self.buffer.get(self.unread.clone())? {
            [a, b, c, _, ..] => Some(u32::from_le_bytes([*a, *b, *c, 0]) as usize),
            _ => None,
        }
    }

    /// Reads more bytes behind the unread ones, making room first.
    async fn fill(&mut self) -> Result<()> {
        let wanted = HEADER_LEN + self.frame_len().unwrap_or(0);
        if self.unread.is_empty() {
            self.unread = 0..0;
            if self.buffer.len() > BUFFER_LEN {
                self.buffer = vec![0; BUFFER_LEN];
                self.book();
            }
        }
        if self.unread.start > 0
            && (self.unread.start + wanted > self.buffer.len()
                || self.unread.end == self.buffer.len())
        {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted, 0);
            self.book();
        }
        let read = self
            .transport
            .read(&mut self.buffer[self.unread.end..])
            .await?;
        if read == 0 {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the server closed the connection",
            ));
        }
        self.unread.end += read;
        Ok(())
    }

    /// Starts a command: packet numbers begin at 0 again.
    pub(super) async fn write_command(&mut self, payload: &[u8]) -> Result<()> {
        self.sequence = 0;
        self.write(payload).await
    }

    /// Writes one packet.
    pub(super) async fn write(&mut self, payload: &[u8]) -> Result<()> {
        if payload.len() > PACKET_MAX {
            return Err(Error::invalid(format!(
                "packet of {} bytes is too large",
                payload.len()
            )));
        }
        let mut rest = payload;
        loop {
            let (frame, behind) = rest.split_at(rest.len().min(FRAME_PAYLOAD_MAX));
            let mut bytes = Vec::with_capacity(HEADER_LEN + frame.len());
            bytes.extend_from_slice(&frame.len().to_le_bytes()[..3]);
            bytes.push(self.sequence);
            bytes.extend_from_slice(frame);
            self.transport.write_all(&bytes).await?;
            self.sequence = self.sequence.wrapping_add(1);
            rest = behind;
            if frame.len() < FRAME_PAYLOAD_MAX {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use table_format::env::MemoryBudget;

    use super::*;

    fn stream(socket: TcpStream) -> PacketStream {
        PacketStream::new(Transport::Plain(socket), MemoryBudget::new(1 << 30).book(0))
    }

    async fn pair() -> (PacketStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (stream(near), far)
    }

    #[tokio::test]
    async fn joins_the_frames_of_large_packets_and_goes_on_with_small_ones() {
        let (mut near, far) = pair().await;
        let mut far = stream(far);
        let sizes = [
            3,
            FRAME_PAYLOAD_MAX,
            0,
            5,
            2 * FRAME_PAYLOAD_MAX + 17,
            300_000,
            1,
        ];
        let sender = tokio::spawn(async move {
            for size in sizes {
                far.write(&vec![b'x'; size]).await.unwrap();
            }
        });
        for size in sizes {
            assert_eq!(near.read().await.unwrap().len(), size);
            let held = (near.buffer.capacity() + near.joined.capacity()) as u64;
            assert_eq!(near.memory.bytes(), held, "after a packet of {size} bytes");
        }
        sender.await.unwrap();
        assert!(near.buffer.len() <= FRAME_PAYLOAD_MAX + HEADER_LEN);
        let error = near.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_cancelled_read_loses_nothing() {
        let (mut near, mut far) = pair().await;
        far.write_all(&[5, 0, 0, 0, b'h', b'e']).await.unwrap();
        let limit = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(limit, near.read()).await.is_err());
        far.write_all(b"llo").await.unwrap();
        assert_eq!(near.read().await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn packets_out_of_order_are_corrupt() {
        let (mut near, mut far) = pair().await;
        far.write_all(&[1, 0, 0, 7, b'h']).await.unwrap();
        assert_eq!(near.read().await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
