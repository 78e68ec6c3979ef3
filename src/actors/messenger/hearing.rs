//! What a Messenger on a socket hears: bytes become handshakes and messages.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use crate::actors::clock::now;
use crate::actors::file_error::is_time_out;
use crate::actors::messenger::Breakdown;
use crate::actors::read_limit::ReadLimit;
use crate::actors::shelf::Shelf;
use crate::formats::mse::Rc4;
use crate::formats::wire::{Decoder, Handshake, HandshakeDecoder, HandshakeHead, Message};

/// Hears one connection.
///
/// It keeps what it has read: a read with a time limit may end in the middle of a message, and
/// nothing must be lost then.
#[derive(Debug)]
pub(super) struct Hearing {
    ear: Ear,
    handshake: HandshakeDecoder,
    decoder: Option<Decoder>,
    /// Where blocks find their buffers.
    pub(super) shelf: Arc<Shelf>,
}

impl Hearing {
    pub(super) fn of(stream: Arc<TcpStream>) -> Self {
        Self::after(Vec::new(), None, stream)
    }

    /// Hears `early` first, then what comes on `stream` and `cipher` makes readable.
    pub(super) fn after(early: Vec<u8>, cipher: Option<Rc4>, stream: Arc<TcpStream>) -> Self {
        let ear = Ear { stream, limit: ReadLimit::default(), early: early.into(), cipher };
        Self { ear, handshake: HandshakeDecoder::new(), decoder: None, shelf: Arc::default() }
    }

    /// What came instead of a handshake, for whoever understands it.
    pub(super) fn received(&self) -> &[u8] {
        self.handshake.received()
    }

    /// See [`Messenger::receive_head`](super::Messenger::receive_head).
    pub(super) fn receive_head(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<HandshakeHead>, Breakdown> {
        loop {
            if let Some(head) = self.handshake.head()? {
                return Ok(Some(head));
            }
            if !self.read_handshake(deadline)? {
                return Ok(None);
            }
        }
    }

    /// See [`Messenger::receive_greeting`](super::Messenger::receive_greeting).
    pub(super) fn receive_greeting(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<Handshake>, Breakdown> {
        loop {
            if let Some(greeting) = self.handshake.handshake()? {
                return Ok(Some(greeting));
            }
            if !self.read_handshake(deadline)? {
                return Ok(None);
            }
        }
    }

    /// See [`Messenger::receive`](super::Messenger::receive).
    pub(super) fn receive(
        &mut self,
        pieces: u32,
        deadline: Instant,
    ) -> Result<Option<Message>, Breakdown> {
        loop {
            let decoder = self.decoder.get_or_insert_with(|| Decoder::new(pieces));
            if let Some(message) = decoder.poll_message()? {
                return Ok(Some(message));
            }
            if decoder.wants_buffer()
                && let Some(buffer) = self.shelf.take()
            {
                decoder.lend(buffer);
            }
            let mut spaces = decoder.spaces().map(IoSliceMut::new);
            match self.ear.read(&mut spaces, deadline)? {
                Some(n) => decoder.filled(n),
                None => return Ok(None),
            }
        }
    }

    /// Reads into the handshake; `false` if the deadline has passed.
    fn read_handshake(&mut self, deadline: Instant) -> Result<bool, Breakdown> {
        match self.ear.read(&mut [IoSliceMut::new(self.handshake.space())], deadline)? {
            Some(n) => self.handshake.filled(n),
            None => return Ok(now() < deadline),
        }
        Ok(true)
    }
}

/// Reads a socket until a deadline.
#[derive(Debug)]
pub(super) struct Ear {
    stream: Arc<TcpStream>,
    limit: ReadLimit,
    /// What was read before, and comes first.
    early: VecDeque<u8>,
    /// What makes the rest readable.
    cipher: Option<Rc4>,
}

impl Ear {
    pub(super) fn of(stream: Arc<TcpStream>) -> Self {
        Self { stream, limit: ReadLimit::default(), early: VecDeque::new(), cipher: None }
    }

    /// Reads into `spaces`, which are not all empty. `Ok(None)`: nothing came in time.
    pub(super) fn read(
        &mut self,
        spaces: &mut [IoSliceMut<'_>],
        deadline: Instant,
    ) -> Result<Option<usize>, Breakdown> {
        if !self.early.is_empty() {
            let n = self.early.read_vectored(spaces).map_err(Breakdown::Broken)?;
            if self.early.is_empty() {
                self.early = VecDeque::new();
            }
            return Ok(Some(n));
        }
        if !self.wait_until(deadline).map_err(Breakdown::Broken)? {
            return Ok(None);
        }
        let read = heard((&*self.stream).read_vectored(spaces))?;
        if let (Some(n), Some(cipher)) = (read, &mut self.cipher) {
            let mut left = n;
            for space in spaces {
                let n = left.min(space.len());
                cipher.apply(&mut space[..n]);
                left -= n;
            }
        }
        Ok(read)
    }

    /// Lets the next read wait until `deadline`; `false` if that has passed.
    fn wait_until(&mut self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(false);
        }
        self.limit.set(&self.stream, left)?;
        Ok(true)
    }
}

/// Sorts the outcomes of a read: `None` means that nothing came in time.
fn heard(read: io::Result<usize>) -> Result<Option<usize>, Breakdown> {
    match read {
        Ok(0) => Err(Breakdown::Closed),
        Ok(n) => Ok(Some(n)),
        Err(error) if is_time_out(&error) || error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(Breakdown::Broken(error)),
    }
}
