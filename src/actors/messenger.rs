//! The Messenger: the interface between bits and messages.
//!
//! A peer's two threads speak and hear through it and never see a socket. [`TcpMessenger`] is the
//! one of the program; encryption, or another transport, is another Messenger.

use std::fmt;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actors::clock::now;
use crate::actors::file_part::FilePart;
use crate::formats::wire::{
    Decoder, Handshake, HandshakeDecoder, HandshakeHead, Message, PieceHeader, WireError,
};
use crate::words::id::Block;
use crate::words::limits;

/// Says and hears the messages of one connection.
///
/// One thread hears and another speaks: [`split`](Self::split) makes the second half.
pub(crate) trait Messenger: fmt::Debug + Send {
    /// Says our handshake.
    fn greet(&mut self, ours: &Handshake) -> io::Result<()>;

    /// Hears the handshake up to the info-hash, which is all that an accepting side needs to answer
    /// (BEP 3). `Ok(None)`: the deadline passed, and nothing is lost.
    fn receive_head(&mut self, deadline: Instant) -> Result<Option<HandshakeHead>, Breakdown>;

    /// Hears the rest of the handshake.
    fn receive_greeting(&mut self, deadline: Instant) -> Result<Option<Handshake>, Breakdown>;

    /// Hears the next message of a torrent of `pieces` pieces. `Ok(None)`: the deadline passed, and
    /// nothing is lost.
    fn receive(&mut self, pieces: u32, deadline: Instant) -> Result<Option<Message>, Breakdown>;

    /// Says a message, at the latest at the next [`flush`](Self::flush).
    fn send(&mut self, message: &Message) -> io::Result<()>;

    /// Says a block whose bytes are in `parts` of files.
    fn send_block(&mut self, block: Block, parts: &mut Parts<'_>) -> Result<(), Unsent>;

    /// Says what was held back to be said together.
    fn flush(&mut self) -> io::Result<()>;

    /// The half for the other thread.
    fn split(&self) -> Box<dyn Messenger>;

    /// What ends the connection from any thread.
    fn line(&self) -> Arc<dyn HangUp>;
}

/// The parts of a block, each opened when its turn comes.
pub(crate) type Parts<'a> = dyn Iterator<Item = io::Result<FilePart>> + 'a;

/// Ends a connection from any thread without waiting; both its threads wake up.
pub(crate) trait HangUp: fmt::Debug + Send + Sync {
    /// Ends it. Once more does nothing.
    fn hang_up(&self);
}

impl HangUp for TcpStream {
    fn hang_up(&self) {
        // A socket that cannot be shut down is closed already.
        self.shutdown(Shutdown::Both).ok();
    }
}

/// Why nothing more can be heard.
#[derive(Debug)]
pub(crate) enum Breakdown {
    /// The other side closed the connection.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// What came is not the protocol.
    Wire(WireError),
}

/// Why a block was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// Its bytes cannot be read.
    Data(io::Error),
    /// The connection does not take them.
    Line(io::Error),
}

impl fmt::Display for Breakdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed the connection"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Wire(error) => write!(f, "{error}"),
        }
    }
}

impl From<WireError> for Breakdown {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// A Messenger on a TCP socket.
///
/// It keeps what it has read: a read with a time limit may end in the middle of a message, and
/// nothing must be lost then.
#[derive(Debug)]
pub(crate) struct TcpMessenger {
    stream: Arc<TcpStream>,
    handshake: HandshakeDecoder,
    decoder: Option<Decoder>,
    /// The time limit that the socket has for reads.
    limit: Option<Duration>,
    /// What is said together: small messages wait here for the flush.
    outgoing: Vec<u8>,
}

impl TcpMessenger {
    /// Speaks and hears on `stream`.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limits::WRITE_TIMEOUT))?;
        Ok(Self::over(Arc::new(stream)))
    }

    fn over(stream: Arc<TcpStream>) -> Self {
        let handshake = HandshakeDecoder::new();
        Self { stream, handshake, decoder: None, limit: None, outgoing: Vec::new() }
    }

    /// Lets the next read wait until `deadline`; `false` if that has passed.
    ///
    /// The limit of a socket costs a system call, so it is changed only when it is off by half: an
    /// idle connection may then notice its deadline late by that much.
    fn wait_until(&mut self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(false);
        }
        let fits = self.limit.is_some_and(|limit| limit / 2 <= left && left <= limit * 2);
        if !fits {
            self.stream.set_read_timeout(Some(left.max(limits::READ_TIMEOUT_MIN)))?;
            self.limit = Some(left);
        }
        Ok(true)
    }

    /// Reads into the handshake; `false` if the deadline has passed.
    fn read_handshake(&mut self, deadline: Instant) -> Result<bool, Breakdown> {
        if !self.wait_until(deadline).map_err(Breakdown::Broken)? {
            return Ok(false);
        }
        match heard((&*self.stream).read(self.handshake.space()))? {
            Some(n) => self.handshake.filled(n),
            None => return Ok(now() < deadline),
        }
        Ok(true)
    }
}

/// Whether a read or write ended because its time was over (Unix says the one, Windows the other).
pub(crate) fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
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

impl Messenger for TcpMessenger {
    fn greet(&mut self, ours: &Handshake) -> io::Result<()> {
        (&*self.stream).write_all(&ours.emit())
    }

    fn receive_head(&mut self, deadline: Instant) -> Result<Option<HandshakeHead>, Breakdown> {
        loop {
            if let Some(head) = self.handshake.head()? {
                return Ok(Some(head));
            }
            if !self.read_handshake(deadline)? {
                return Ok(None);
            }
        }
    }

    fn receive_greeting(&mut self, deadline: Instant) -> Result<Option<Handshake>, Breakdown> {
        loop {
            if let Some(greeting) = self.handshake.handshake()? {
                return Ok(Some(greeting));
            }
            if !self.read_handshake(deadline)? {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self, pieces: u32, deadline: Instant) -> Result<Option<Message>, Breakdown> {
        loop {
            let decoder = self.decoder.get_or_insert_with(|| Decoder::new(pieces));
            if let Some(message) = decoder.poll_message()? {
                return Ok(Some(message));
            }
            if !self.wait_until(deadline).map_err(Breakdown::Broken)? {
                return Ok(None);
            }
            let decoder = self.decoder.as_mut().expect("it was made above");
            let mut spaces = decoder.spaces().map(IoSliceMut::new);
            match heard((&*self.stream).read_vectored(&mut spaces))? {
                Some(n) => decoder.filled(n),
                None => return Ok(None),
            }
        }
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
            (&*self.stream).write_all(&self.outgoing)?;
            self.outgoing.clear();
            self.outgoing.shrink_to(limits::OUTGOING_LEN_KEPT);
        }
        Ok(())
    }

    fn split(&self) -> Box<dyn Messenger> {
        Box::new(Self::over(Arc::clone(&self.stream)))
    }

    fn line(&self) -> Arc<dyn HangUp> {
        Arc::clone(&self.stream) as Arc<dyn HangUp>
    }
}
