//! A Messenger without a socket, for tests: two queues, one each way.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::*;

/// What may be under way in one direction; a socket counts bytes.
const UNDER_WAY_MAX: usize = 1024;

/// What travels.
#[derive(Debug)]
enum Said {
    Handshake(Handshake),
    Message(Message),
}

/// One end of a connection, or half of one.
#[derive(Debug)]
pub(crate) struct MemoryMessenger {
    side: usize,
    hears: Receiver<Said>,
    wire: Arc<Wire>,
    greeting: Option<Handshake>,
    outgoing: Vec<Said>,
}

/// What each side speaks into, until somebody hangs up.
#[derive(Debug)]
struct Wire(Mutex<Option<[Sender<Said>; 2]>>);

/// The two ends of a new connection.
pub(crate) fn pair() -> (MemoryMessenger, MemoryMessenger) {
    let (says, heard) = bounded(UNDER_WAY_MAX);
    let (answers, answered) = bounded(UNDER_WAY_MAX);
    let wire = Arc::new(Wire(Mutex::new(Some([says, answers]))));
    let other = MemoryMessenger::over(Arc::clone(&wire), 1, heard);
    (MemoryMessenger::over(wire, 0, answered), other)
}

impl HangUp for Wire {
    fn hang_up(&self) {
        *self.0.lock() = None;
    }
}

impl MemoryMessenger {
    fn over(wire: Arc<Wire>, side: usize, hears: Receiver<Said>) -> Self {
        Self { side, hears, wire, greeting: None, outgoing: Vec::new() }
    }

    fn hear(&self, deadline: Instant) -> Result<Option<Said>, Breakdown> {
        match self.hears.recv_deadline(deadline) {
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Breakdown::Closed),
        }
    }
}

impl Messenger for MemoryMessenger {
    fn greet(&mut self, ours: &Handshake) -> io::Result<()> {
        self.outgoing.push(Said::Handshake(*ours));
        self.flush()
    }

    fn receive_head(&mut self, deadline: Instant) -> Result<Option<HandshakeHead>, Breakdown> {
        self.greeting = self.receive_greeting(deadline)?;
        let head = |greeting: &Handshake| HandshakeHead {
            reserved: greeting.reserved,
            info_hash: greeting.info_hash,
        };
        Ok(self.greeting.as_ref().map(head))
    }

    fn receive_greeting(&mut self, deadline: Instant) -> Result<Option<Handshake>, Breakdown> {
        if self.greeting.is_some() {
            return Ok(self.greeting.take());
        }
        match self.hear(deadline)? {
            Some(Said::Handshake(greeting)) => Ok(Some(greeting)),
            Some(Said::Message(_)) => Err(WireError::NotBitTorrent.into()),
            None => Ok(None),
        }
    }

    fn receive(&mut self, _pieces: u32, deadline: Instant) -> Result<Option<Message>, Breakdown> {
        match self.hear(deadline)? {
            Some(Said::Message(message)) => Ok(Some(message)),
            Some(Said::Handshake(_)) => Err(WireError::NotBitTorrent.into()),
            None => Ok(None),
        }
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        self.outgoing.push(Said::Message(message.clone()));
        Ok(())
    }

    fn send_block(&mut self, block: Block, parts: &mut Parts<'_>) -> Result<(), Unsent> {
        let mut data = Vec::new();
        for part in parts {
            part.and_then(|part| part.read_to_end_of(&mut data)).map_err(Unsent::Data)?;
        }
        let Block { piece, offset, .. } = block;
        self.outgoing.push(Said::Message(Message::Piece { piece, offset, data }));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let wire = self.wire.0.lock();
        let says = &wire.as_ref().ok_or(io::ErrorKind::BrokenPipe)?[self.side];
        let send = |said| says.try_send(said).map_err(|_full| io::ErrorKind::TimedOut.into());
        self.outgoing.drain(..).try_for_each(send)
    }

    fn split(&self) -> Box<dyn Messenger> {
        Box::new(Self::over(Arc::clone(&self.wire), self.side, self.hears.clone()))
    }

    fn line(&self) -> Arc<dyn HangUp> {
        Arc::clone(&self.wire) as Arc<dyn HangUp>
    }
}
