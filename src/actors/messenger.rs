//! The Messenger: the interface between bits and messages.
//!
//! A peer's two threads speak and hear through it and never see a socket. [`TcpMessenger`] is the
//! one of the program; encryption, or another transport, is another Messenger.

use std::fmt;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::actors::file_error::reason;
use crate::actors::file_part::FilePart;
use crate::formats::wire::{Handshake, HandshakeHead, Message, PieceHeader, WireError};
use crate::words::id::Block;
use crate::words::limits;

mod hearing;

use hearing::Hearing;

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
            Self::Broken(error) => write!(f, "the connection broke: {}", reason(error)),
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
#[derive(Debug)]
pub(crate) struct TcpMessenger {
    stream: Arc<TcpStream>,
    hearing: Hearing,
    /// What is said together: small messages wait here for the flush.
    outgoing: Vec<u8>,
}

impl TcpMessenger {
    /// Speaks and hears on `stream`.
    pub(crate) fn new(stream: impl Into<Arc<TcpStream>>) -> io::Result<Self> {
        let stream = stream.into();
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limits::WRITE_TIMEOUT))?;
        Ok(Self::over(stream))
    }

    fn over(stream: Arc<TcpStream>) -> Self {
        let hearing = Hearing::of(Arc::clone(&stream));
        Self { stream, hearing, outgoing: Vec::new() }
    }
}

/// Whether a read or write ended because its time was over (Unix says the one, Windows the other).
pub(crate) fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Messenger for TcpMessenger {
    fn greet(&mut self, ours: &Handshake) -> io::Result<()> {
        (&*self.stream).write_all(&ours.emit())
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

#[cfg(test)]
pub(crate) mod in_memory;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread::{Builder, JoinHandle};
    use std::time::Duration;

    use super::in_memory;
    use super::*;
    use crate::actors::clock::now;
    use crate::actors::disk::DiskFile;
    use crate::actors::scratch::Scratch;
    use crate::formats::wire::Reserved;
    use crate::machines::made_up;
    use crate::words::id::{InfoHash, PeerId, PieceIndex};
    use crate::words::limits::BLOCK_LEN;

    const PIECES: u32 = 1000;

    /// A Messenger on one end of a loopback connection, and the other end as it is.
    fn line() -> (TcpMessenger, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        far.set_nodelay(true).unwrap();
        let (near, _) = listener.accept().unwrap();
        (TcpMessenger::new(near).unwrap(), far)
    }

    fn soon() -> Instant {
        now() + Duration::from_millis(20)
    }

    /// Long enough for any machine; nothing waits for it unless something is wrong.
    fn late() -> Instant {
        now() + Duration::from_secs(30)
    }

    fn handshake() -> Handshake {
        let reserved = Reserved::default().with_extension();
        Handshake { reserved, info_hash: InfoHash([1; 20]), peer_id: PeerId([2; 20]) }
    }

    fn messages() -> Vec<Message> {
        let block = Block { piece: PieceIndex(3), offset: BLOCK_LEN, len: BLOCK_LEN };
        vec![
            Message::KeepAlive,
            Message::Bitfield(vec![0b1010_1010; 125]),
            Message::Unchoke,
            Message::Request(block),
            Message::Piece { piece: PieceIndex(3), offset: 5, data: made_up::data(16384) },
            Message::Have(PieceIndex(999)),
            Message::Extended { id: 0, payload: b"de".to_vec() },
        ]
    }

    fn bytes_of(messages: &[Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.emit(&mut bytes));
        bytes
    }

    fn thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Builder::new().name("other".into()).spawn(work).unwrap()
    }

    #[test]
    fn messages_arrive_however_they_are_cut() {
        for cut in [1, 3, 17, 1000, usize::MAX] {
            let (mut messenger, mut far) = line();
            let writer = thread(move || {
                bytes_of(&messages()).chunks(cut).for_each(|part| far.write_all(part).unwrap());
                far
            });
            for message in messages() {
                assert_eq!(messenger.receive(PIECES, late()).unwrap(), Some(message), "{cut}");
            }
            drop(writer.join().unwrap());
            assert!(matches!(messenger.receive(PIECES, late()), Err(Breakdown::Closed)));
        }
    }

    #[test]
    fn a_deadline_loses_nothing() {
        let (mut messenger, mut far) = line();
        let block = Message::Piece { piece: PieceIndex(3), offset: 5, data: made_up::data(16384) };
        let bytes = bytes_of(&[block.clone(), Message::Choke]);
        // In the middle of the prefix, of the fields, of the block, and of the next message.
        let ends = [2, 9, 13, 5_000, 16_397, 16_400];
        let begins = std::iter::once(0).chain(ends);
        let mut heard = Vec::new();
        for (begin, end) in begins.zip(ends) {
            far.write_all(&bytes[begin..end]).unwrap();
            heard.extend(messenger.receive(PIECES, soon()).unwrap());
            assert!(messenger.receive(PIECES, soon()).unwrap().is_none(), "nothing more is whole");
        }
        far.write_all(&bytes[16_400..]).unwrap();
        heard.extend(messenger.receive(PIECES, late()).unwrap());
        assert_eq!(heard, [block, Message::Choke]);
    }

    #[test]
    fn a_deadline_that_has_passed_still_gives_what_is_there() {
        let (mut messenger, mut far) = line();
        far.write_all(&bytes_of(&[Message::Choke, Message::Unchoke])).unwrap();
        assert_eq!(messenger.receive(PIECES, late()).unwrap(), Some(Message::Choke));
        assert_eq!(messenger.receive(PIECES, now()).unwrap(), Some(Message::Unchoke));
        assert_eq!(messenger.receive(PIECES, now()).unwrap(), None);
    }

    #[test]
    fn the_handshake_comes_in_parts_and_what_follows_it_stays() {
        let (mut messenger, mut far) = line();
        let bytes = handshake().emit();
        far.write_all(&bytes[..47]).unwrap();
        assert!(messenger.receive_head(soon()).unwrap().is_none());
        far.write_all(&bytes[47..48]).unwrap();
        let head = messenger.receive_head(late()).unwrap().unwrap();
        assert_eq!(head.info_hash, handshake().info_hash);
        assert!(messenger.receive_greeting(soon()).unwrap().is_none());
        far.write_all(&[&bytes[48..], &bytes_of(&messages())].concat()).unwrap();
        assert_eq!(messenger.receive_greeting(late()).unwrap(), Some(handshake()));
        for message in messages() {
            assert_eq!(messenger.receive(PIECES, late()).unwrap(), Some(message));
        }
    }

    #[test]
    fn what_is_no_protocol_breaks_down() {
        let (mut messenger, mut far) = line();
        far.write_all(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n...............").unwrap();
        let error = messenger.receive_head(late()).unwrap_err();
        assert_eq!(error.to_string(), "its first bytes are no BitTorrent handshake");
        let (mut messenger, mut far) = line();
        far.write_all(&[0xff; 64]).unwrap();
        assert!(matches!(messenger.receive(PIECES, late()), Err(Breakdown::Wire(_))));
    }

    #[test]
    fn what_is_said_waits_for_the_flush() {
        let (mut messenger, mut far) = line();
        messages().iter().for_each(|message| messenger.send(message).unwrap());
        far.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(is_time_out(&far.read(&mut [0]).unwrap_err()), "nothing is sent yet");
        messenger.flush().unwrap();
        let expected = bytes_of(&messages());
        let mut bytes = vec![0; expected.len()];
        far.read_exact(&mut bytes).unwrap();
        assert!(bytes == expected);
    }

    #[test]
    fn a_block_is_read_straight_from_its_files() {
        let scratch = Scratch::new();
        let data = made_up::data(1000);
        std::fs::write(scratch.path().join("a"), &data).unwrap();
        let file = || -> Option<Arc<dyn DiskFile>> {
            Some(Arc::new(File::open(scratch.path().join("a")).unwrap()))
        };
        let block = Block { piece: PieceIndex(7), offset: 16, len: 350 };
        let parts = [
            FilePart { file: file(), offset: 900, len: 100 },
            FilePart { file: None, offset: 0, len: 50 },
            FilePart { file: file(), offset: 3, len: 200 },
        ];
        let (mut messenger, far) = line();
        let mut other = TcpMessenger::new(far).unwrap();
        messenger.send_block(block, &mut parts.into_iter().map(Ok)).unwrap();
        messenger.flush().unwrap();
        let said = [&data[900..], &[0; 50], &data[3..203]].concat();
        let message = Message::Piece { piece: PieceIndex(7), offset: 16, data: said };
        assert_eq!(other.receive(PIECES, late()).unwrap(), Some(message));

        let beyond = [FilePart { file: file(), offset: 999, len: 350 }];
        assert!(matches!(
            messenger.send_block(block, &mut beyond.into_iter().map(Ok)),
            Err(Unsent::Data(_))
        ));
    }

    #[test]
    fn one_half_hears_while_the_other_speaks() {
        let (mut messenger, far) = line();
        let mut other = TcpMessenger::new(far).unwrap();
        let mut half = messenger.split();
        // Far more than sockets hold: if one thread had to do both, neither end would come through.
        let flood = |half: &mut dyn Messenger| {
            let block = Message::Piece { piece: PieceIndex(0), offset: 0, data: vec![1; 16384] };
            (0..500).for_each(|_| half.send(&block).unwrap());
            half.flush().unwrap();
        };
        let mut far_half = other.split();
        let writers =
            [thread(move || flood(half.as_mut())), thread(move || flood(far_half.as_mut()))];
        let reader = thread(move || {
            (0..500).for_each(|_| drop(other.receive(PIECES, late()).unwrap().unwrap()));
        });
        (0..500).for_each(|_| drop(messenger.receive(PIECES, late()).unwrap().unwrap()));
        reader.join().unwrap();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }

    #[test]
    fn hanging_up_wakes_both_halves() {
        let (mut messenger, _far) = line();
        let (mut half, line) = (messenger.split(), messenger.line());
        let reader = thread(move || messenger.receive(PIECES, late()).unwrap_err());
        let writer = thread(move || {
            let block = Message::Piece { piece: PieceIndex(0), offset: 0, data: vec![1; 16384] };
            // The other side reads nothing, so this blocks until somebody hangs up.
            while half.send(&block).is_ok() {}
        });
        line.hang_up();
        line.hang_up();
        assert!(matches!(reader.join().unwrap(), Breakdown::Closed));
        writer.join().unwrap();
    }

    #[test]
    fn in_memory_all_is_as_on_a_socket() {
        let (mut one, mut other) = in_memory::pair();
        assert!(other.receive_head(soon()).unwrap().is_none());
        one.greet(&handshake()).unwrap();
        assert_eq!(other.receive_head(late()).unwrap().unwrap().info_hash, InfoHash([1; 20]));
        assert_eq!(other.receive_greeting(late()).unwrap(), Some(handshake()));
        messages().iter().for_each(|message| one.send(message).unwrap());
        assert!(other.receive(PIECES, soon()).unwrap().is_none(), "it waits for the flush");
        one.flush().unwrap();
        for message in messages() {
            assert_eq!(other.receive(PIECES, late()).unwrap(), Some(message));
        }
        let mut half = one.split();
        half.send(&Message::Choke).unwrap();
        half.flush().unwrap();
        assert_eq!(other.receive(PIECES, late()).unwrap(), Some(Message::Choke));
        one.line().hang_up();
        assert!(matches!(other.receive(PIECES, late()), Err(Breakdown::Closed)));
        assert!(matches!(one.receive(PIECES, late()), Err(Breakdown::Closed)));
        assert!(half.send(&Message::Choke).and_then(|()| half.flush()).is_err());
    }
}
