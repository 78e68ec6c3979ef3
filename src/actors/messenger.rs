//! The Messenger: the interface between bits and messages.
//!
//! A peer's two threads speak and hear through it and never see a socket. [`TcpMessenger`] is the
//! one that is used where it may be; whoever wants encryption agrees on it (`mse`) and gets another
//! Messenger (`encrypted`).

use std::fmt;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::actors::file_error::reason;
use crate::actors::file_part::FilePart;
use crate::actors::shelf::Shelf;
use crate::actors::zero_copy::{self, Outcome, Unsent};
use crate::formats::mse::MseError;
use crate::formats::wire::{Handshake, HandshakeHead, Message, PieceHeader, WireError};
use crate::words::id::Block;
use crate::words::limits;

mod encrypted;
mod hearing;
pub(crate) mod mse;
pub(crate) mod web;

use encrypted::EncryptedMessenger;
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
    /// What came is not the handshake of an encrypted connection, or of none that may be made.
    Mse(MseError),
    /// A web seed is of no use.
    Web {
        /// The reason.
        why: String,
        /// It will be of none later either.
        for_good: bool,
    },
}

impl Breakdown {
    /// Whether the other side hung up.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Broken(error) => error.kind() == io::ErrorKind::ConnectionReset,
            Self::Wire(_) | Self::Mse(_) | Self::Web { .. } => false,
        }
    }
}

impl fmt::Display for Breakdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed the connection"),
            Self::Broken(error) => write!(f, "the connection broke: {}", reason(error)),
            Self::Wire(error) => write!(f, "{error}"),
            Self::Mse(error) => write!(f, "{error}"),
            Self::Web { why, .. } => f.write_str(why),
        }
    }
}

impl From<WireError> for Breakdown {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<MseError> for Breakdown {
    fn from(error: MseError) -> Self {
        Self::Mse(error)
    }
}

/// A Messenger on a TCP socket.
#[derive(Debug)]
pub(crate) struct TcpMessenger {
    stream: Arc<TcpStream>,
    hearing: Hearing,
    /// What is said together: small messages wait here for the flush.
    outgoing: Vec<u8>,
    /// Blocks go from their files to the socket within the kernel, as long as nothing refuses it.
    zero_copy: bool,
}

impl TcpMessenger {
    /// Speaks and hears on `stream`.
    pub(crate) fn new(stream: impl Into<Arc<TcpStream>>) -> io::Result<Self> {
        let stream = stream.into();
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limits::WRITE_TIMEOUT))?;
        Ok(Self::over(stream))
    }

    /// Speaks and hears on a socket on which `early` has been heard.
    fn after(early: Vec<u8>, stream: Arc<TcpStream>) -> Self {
        let hearing = Hearing::after(early, None, Arc::clone(&stream));
        Self { stream, hearing, outgoing: Vec::new(), zero_copy: true }
    }

    fn over(stream: Arc<TcpStream>) -> Self {
        let hearing = Hearing::of(Arc::clone(&stream));
        Self { stream, hearing, outgoing: Vec::new(), zero_copy: true }
    }

    /// The same, with buffers for its blocks.
    pub(crate) fn with_buffers(mut self, shelf: &Arc<Shelf>) -> Self {
        self.hearing.shelf = Arc::clone(shelf);
        self
    }

    /// Says part of a block, behind what waits to be said.
    fn send_part(&mut self, part: &FilePart) -> Result<(), Unsent> {
        let file = part.file.as_ref();
        let file = file.filter(|_| self.zero_copy && part.len >= limits::ZERO_COPY_MIN);
        if let Some(file) = file.and_then(|file| file.as_system_file()) {
            let sent = zero_copy::send(&self.stream, &self.outgoing, file, part.offset, part.len)?;
            self.outgoing.clear();
            match sent {
                Outcome::Sent => return Ok(()),
                Outcome::CannotBe => self.zero_copy = false,
            }
        }
        part.read_to_end_of(&mut self.outgoing).map_err(Unsent::Data)
    }
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
            self.send_part(&part.map_err(Unsent::Data)?)?;
        }
        let full = self.outgoing.len() >= limits::OUTGOING_LEN_MAX;
        if full { self.flush().map_err(Unsent::Line) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.outgoing.is_empty() {
            (&*self.stream).write_all(&self.outgoing)?;
            self.outgoing.clear();
        }
        self.outgoing.shrink_to(limits::OUTGOING_LEN_KEPT);
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
    use std::fs::{File, TryLockError};
    use std::io::IoSlice;
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread::{Builder, JoinHandle};
    use std::time::Duration;

    use super::in_memory;
    use super::*;
    use crate::actors::clock::now;
    use crate::actors::disk::{DiskFile, Stat};
    use crate::actors::file_error::is_time_out;
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

    /// Bytes, and a file of them.
    fn file_of(scratch: &Scratch, len: usize) -> (Vec<u8>, Arc<dyn DiskFile>) {
        let data = made_up::data(len);
        std::fs::write(scratch.path().join("a"), &data).unwrap();
        (data, Arc::new(File::open(scratch.path().join("a")).unwrap()))
    }

    #[test]
    fn a_block_is_read_straight_from_its_files() {
        let scratch = Scratch::new();
        let (data, file) = file_of(&scratch, 20_000);
        let part = |offset, len| FilePart { file: Some(Arc::clone(&file)), offset, len };
        let zeros = |len| FilePart { file: None, offset: 0, len };
        let table = [
            // Copied; within the kernel; of each some.
            (vec![part(900, 100), zeros(50), part(3, 200)], vec![(900, 1000), (3, 203)]),
            (vec![part(3600, 16384)], vec![(3600, 19984)]),
            (vec![part(7, 5000), zeros(50), part(19_900, 100)], vec![(7, 5007), (19_900, 20_000)]),
        ];
        let (mut messenger, far) = line();
        let mut other = TcpMessenger::new(far).unwrap();
        for (n, (parts, ranges)) in (0..).zip(table) {
            let len = parts.iter().map(|part| part.len).sum::<u64>();
            let block = Block { piece: PieceIndex(7), offset: n, len: len.try_into().unwrap() };
            messenger.send(&Message::Have(PieceIndex(n))).unwrap();
            messenger.send_block(block, &mut parts.into_iter().map(Ok)).unwrap();
            messenger.send(&Message::Choke).unwrap();
            messenger.flush().unwrap();
            let (begin, end) = ranges[0];
            let mut said = data[begin..end].to_vec();
            if let Some(&(begin, end)) = ranges.get(1) {
                said.extend([0; 50]);
                said.extend(&data[begin..end]);
            }
            let message = Message::Piece { piece: PieceIndex(7), offset: n, data: said };
            for expected in [Message::Have(PieceIndex(n)), message, Message::Choke] {
                assert!(other.receive(PIECES, late()).unwrap() == Some(expected), "{n}");
            }
        }
        for len in [350, 16384] {
            let block = Block { piece: PieceIndex(7), offset: 0, len };
            let beyond = [FilePart { len: len.into(), ..part(19_999, 0) }];
            assert!(matches!(
                messenger.send_block(block, &mut beyond.into_iter().map(Ok)),
                Err(Unsent::Data(_))
            ));
        }
    }

    /// A file that the kernel cannot send, like those of some file systems.
    #[derive(Debug)]
    struct Unsendable(Arc<dyn DiskFile>, File);

    impl DiskFile for Unsendable {
        fn stat(&self) -> io::Result<Stat> {
            self.0.stat()
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_at(buffer, offset)
        }

        fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            self.0.write_at(slices, offset)
        }

        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }

        fn try_lock(&self) -> Result<(), TryLockError> {
            self.0.try_lock()
        }

        fn as_system_file(&self) -> Option<&File> {
            Some(&self.1)
        }
    }

    #[test]
    fn what_the_kernel_cannot_send_is_read_and_sent() {
        let scratch = Scratch::new();
        let (data, file) = file_of(&scratch, 20_000);
        let folder = File::open(scratch.path()).unwrap();
        let file: Arc<dyn DiskFile> = Arc::new(Unsendable(file, folder));
        let (mut messenger, far) = line();
        let mut other = TcpMessenger::new(far).unwrap();
        for offset in [0, 100] {
            let block = Block { piece: PieceIndex(7), offset, len: BLOCK_LEN };
            let (begin, len) = (u64::from(offset), u64::from(BLOCK_LEN));
            let parts = [FilePart { file: Some(Arc::clone(&file)), offset: begin, len }];
            messenger.send(&Message::Unchoke).unwrap();
            messenger.send_block(block, &mut parts.into_iter().map(Ok)).unwrap();
            messenger.flush().unwrap();
            let said = data[offset as usize..][..BLOCK_LEN as usize].to_vec();
            let message = Message::Piece { piece: PieceIndex(7), offset, data: said };
            for expected in [Message::Unchoke, message] {
                assert!(other.receive(PIECES, late()).unwrap() == Some(expected), "{offset}");
            }
        }
        assert!(!messenger.zero_copy, "it is not tried for each block");
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
