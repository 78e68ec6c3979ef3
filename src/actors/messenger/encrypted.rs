//! The Messenger of an encrypted connection.
//!
//! What it says is hidden where it was put together, so a block passes through memory; a
//! [`TcpMessenger`](super::TcpMessenger) need not look at it.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use crate::actors::messenger::hearing::Hearing;
use crate::actors::messenger::{Breakdown, HangUp, Messenger, Parts, Unsent};
use crate::actors::shelf::Shelf;
use crate::formats::mse::Rc4;
use crate::formats::wire::{Handshake, HandshakeHead, Message, PieceHeader};
use crate::words::id::Block;
use crate::words::limits;

/// A Messenger on a TCP socket whose every byte is hidden by RC4.
#[derive(Debug)]
pub(super) struct EncryptedMessenger {
    stream: Arc<TcpStream>,
    hearing: Hearing,
    /// Where the stream of what is said has come to. Both halves have it after a split; only the one
    /// that speaks goes on with it.
    says: Rc4,
    /// What is said together, not hidden yet.
    outgoing: Vec<u8>,
}

impl EncryptedMessenger {
    /// Speaks and hears on `stream` where its ciphers stand; `early` has been heard already.
    pub(super) fn after(early: Vec<u8>, hears: Rc4, says: Rc4, stream: Arc<TcpStream>) -> Self {
        let hearing = Hearing::after(early, Some(hears), Arc::clone(&stream));
        Self { stream, hearing, says, outgoing: Vec::new() }
    }

    /// The same, with buffers for its blocks.
    pub(super) fn with_buffers(mut self, shelf: &Arc<Shelf>) -> Self {
        self.hearing.shelf = Arc::clone(shelf);
        self
    }
}

impl Messenger for EncryptedMessenger {
    fn greet(&mut self, ours: &Handshake) -> io::Result<()> {
        self.outgoing.extend(ours.emit());
        self.flush()
    }

    fn receive_head(&mut self, deadline: Instant) -> Result<Option<HandshakeHead>, Breakdown> {
        self.hearing.receive_head(deadline)
    }

    fn receive_greeting(&mut self, deadline: Instant) -> Result<Option<Handshake>, Breakdown> {
        self.hearing.receive_greeting(deadline)
    }

    fn receive(&mut self, pieces: u32, deadline: Instant) -> Result<Option<Message>, Breakdown> {
        self.hearing.receive(pieces, deadline)
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        message.emit(&mut self.outgoing);
        if self.outgoing.len() >= limits::OUTGOING_LEN_MAX { self.flush() } else { Ok(()) }
    }

    fn send_block(&mut self, block: Block, parts: &mut Parts<'_>) -> Result<(), Unsent> {
        self.outgoing.extend_from_slice(&PieceHeader(block).emit());
        for part in parts {
            let part = part.map_err(Unsent::Data)?;
            part.read_to_end_of(&mut self.outgoing).map_err(Unsent::Data)?;
        }
        let full = self.outgoing.len() >= limits::OUTGOING_LEN_MAX;
        if full { self.flush().map_err(Unsent::Line) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.outgoing.is_empty() {
            self.says.apply(&mut self.outgoing);
            // Of bytes that do not all go, nobody knows how many did: the connection is over then.
            (&*self.stream).write_all(&self.outgoing)?;
            self.outgoing.clear();
            self.outgoing.shrink_to(limits::OUTGOING_LEN_KEPT);
        }
        Ok(())
    }

    fn split(&self) -> Box<dyn Messenger> {
        let hearing = Hearing::of(Arc::clone(&self.stream));
        let (stream, says) = (Arc::clone(&self.stream), self.says.clone());
        Box::new(Self { stream, hearing, says, outgoing: Vec::new() })
    }

    fn line(&self) -> Arc<dyn HangUp> {
        Arc::clone(&self.stream) as Arc<dyn HangUp>
    }
}
