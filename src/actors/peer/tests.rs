//! The two threads of a peer, each alone with a Messenger in memory, and both on loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::*;
use crate::actors::messenger::in_memory::{self, MemoryMessenger};
use crate::actors::messenger::{TcpMessenger, mse};
use crate::actors::scratch::Scratch;
use crate::formats::mse::skey_hash;
use crate::formats::wire::{Handshake, Reserved};
use crate::machines::made_up;
use crate::words::bitfield::SharedBitfield;
use crate::words::have_log::Publisher;
use crate::words::id::{Block, BlockRange, InfoHash, PieceIndex};
use crate::words::limits::BLOCK_LEN;

const PIECES: u32 = 4;

/// Main, as a peer's threads see it: a torrent of four pieces, of which we have the first.
pub(super) struct Main {
    pub(super) publisher: Publisher,
    pub(super) context: Arc<TorrentContext>,
    office: Arc<Office>,
    notifications: Receiver<Notification>,
    pub(super) orders: Sender<ToPeer>,
    pub(super) line: Arc<Line>,
    from_main: Receiver<ToPeer>,
    _scratch: Scratch,
}

/// Long enough for any machine; nothing waits for it unless something is wrong.
pub(super) fn late() -> Instant {
    now() + Duration::from_secs(30)
}

impl Main {
    pub(super) fn new() -> Self {
        Self::limited(0)
    }

    /// One in which so many bytes a second may leave.
    fn limited(up: u64) -> Self {
        Self::with(up, Encryption::Prefer)
    }

    /// One in which connections are encrypted, or not.
    fn encrypting(encryption: Encryption) -> Self {
        Self::with(0, encryption)
    }

    fn with(up: u64, encryption: Encryption) -> Self {
        let scratch = Scratch::new();
        let data = made_up::data((PIECES * BLOCK_LEN) as usize);
        std::fs::write(scratch.path().join("t"), &data).unwrap();
        let metainfo = made_up::torrent_of("t", BLOCK_LEN, &data);
        let (mut publisher, context) = {
            let wanted = SharedBitfield::ones(metainfo.pieces());
            TorrentContext::new(metainfo, wanted)
        };
        publisher.publish(PieceIndex(0));
        context.wanted.clear(PieceIndex(0));
        let files = Arc::new(FileStore::new(4));
        let torrent = made_up::torrent_key(0);
        files.add(torrent, Arc::clone(&context.metainfo), scratch.path().to_owned(), false);
        let (sender, notifications) = bounded(1024);
        let peer_id = PeerId([1; 20]);
        let office = Office {
            peer_id,
            port: Some(1),
            chord: false,
            mainline: true,
            pex: true,
            leave_from: None,
            upload: true,
            encryption,
            files,
            shelf: Arc::default(),
            down: Limiter::new(0),
            up: Limiter::new(up),
            notifications: sender,
        };
        let (orders, from_main) = bounded(64);
        let (office, line) = (Arc::new(office), Arc::default());
        let _scratch = scratch;
        Self { publisher, context, office, notifications, orders, line, from_main, _scratch }
    }

    fn call(&self, way: Way) -> Call {
        Call {
            peer: made_up::peer(0),
            way,
            line: Arc::clone(&self.line),
            orders: self.from_main.clone(),
            office: Arc::clone(&self.office),
        }
    }

    fn introduction(&self) -> Introduction {
        (made_up::torrent_key(0), Arc::clone(&self.context))
    }

    /// The next news, which must come.
    pub(super) fn news(&self) -> PeerNews {
        match self.notifications.recv_deadline(late()).unwrap() {
            Notification::Peer(_, news) => news,
            other @ (Notification::Accepted { .. }
            | Notification::Storage(..)
            | Notification::Warning(_)
            | Notification::Clerk(..)
            | Notification::Chord(_)
            | Notification::Mainline(_)
            | Notification::Lan(_)
            | Notification::Entries(..)
            | Notification::Tracker(_)
            | Notification::Command(_)) => panic!("{other:?}"),
        }
    }

    /// News up to the last words.
    fn last_words(&self) -> Farewell {
        loop {
            if let PeerNews::Gone(farewell) = self.news() {
                return farewell;
            }
        }
    }

    fn order(&self, order: ToPeer) {
        self.orders.try_send(order).unwrap();
    }

    /// A writer on a Messenger in memory, and the other end.
    pub(super) fn writer(&self) -> (Box<Writer>, MemoryMessenger, Arc<PeerShared>) {
        let (near, far) = in_memory::pair();
        let theirs = SharedBitfield::zeros(PIECES);
        let shared = Arc::new(PeerShared::of(theirs));
        let context = Arc::clone(&self.context);
        let outbound =
            Box::new(Outbound::new(context, Arc::clone(&shared), false, Vec::new(), now()));
        self.line.open(near.line());
        let way = Way::Out("127.0.0.1:1".parse().unwrap(), self.introduction());
        let Call { peer, line, orders, office, .. } = self.call(way);
        let reader = Reader { peer, line, orders, office };
        let writer = Writer::new(&reader, made_up::torrent_key(0), outbound, Box::new(near));
        (writer, far, shared)
    }

    /// A reader on a Messenger in memory listens to the other end, until it ends.
    pub(super) fn reader(&self) -> (JoinHandle<Farewell>, MemoryMessenger, Arc<PeerShared>) {
        let (mut near, far) = in_memory::pair();
        let theirs = SharedBitfield::zeros(PIECES);
        let shared = Arc::new(PeerShared::of(theirs));
        let way = Way::Out("127.0.0.1:1".parse().unwrap(), self.introduction());
        let Call { peer, line, orders, office, .. } = self.call(way);
        let reader = Reader { peer, line, orders, office };
        let mut inbound =
            Inbound::new(Arc::clone(&self.context), Arc::clone(&shared), false, now());
        let listen = move || {
            let Err(farewell) = reader.listen(&mut near, &mut inbound);
            farewell
        };
        (thread(listen), far, shared)
    }
}

pub(super) fn thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    Builder::new().name("other".into()).spawn(work).unwrap()
}

/// Main has let go of the peer: its writer ends, and has had whatever thread it needed.
pub(super) fn join_writer(line: &Line) {
    if let Some(writer) = line.take_writer() {
        writer.join().unwrap();
    }
    assert!(line.take_shortage().is_none());
}

fn hears(far: &mut dyn Messenger) -> Message {
    far.receive(PIECES, late()).unwrap().unwrap()
}

pub(super) fn says(far: &mut dyn Messenger, message: &Message) {
    far.send(message).unwrap();
    far.flush().unwrap();
}

fn block(piece: u32) -> Block {
    Block { piece: PieceIndex(piece), offset: 0, len: BLOCK_LEN }
}

fn piece(piece: u32) -> Message {
    let data = made_up::data((PIECES * BLOCK_LEN) as usize);
    let data = data.chunks(BLOCK_LEN as usize).nth(piece as usize).unwrap().to_vec();
    Message::Piece { piece: PieceIndex(piece), offset: 0, data }
}

fn their_handshake(info_hash: InfoHash) -> Handshake {
    let reserved = Reserved::default().with_extension();
    Handshake { reserved, info_hash, peer_id: PeerId([2; 20]) }
}

#[test]
fn the_writer_carries_out_orders_and_reports() {
    let mut main = Main::new();
    let (writer, mut far, shared) = main.writer();
    let writer = thread(move || writer.run());
    assert_eq!(hears(&mut far), Message::Bitfield(vec![0b1000_0000]));
    main.order(ToPeer::Unchoke);
    main.order(ToPeer::Upload(block(0)));
    main.order(ToPeer::Request(BlockRange { piece: PieceIndex(2), first: 0, count: 1 }));
    let mut heard = [hears(&mut far), hears(&mut far), hears(&mut far)];
    heard.sort_by_key(|message| matches!(message, Message::Piece { .. }));
    assert_eq!(heard, [Message::Unchoke, Message::Request(block(2)), piece(0)]);
    let (mut performed, mut sent) = (0, 0);
    while performed < 3 {
        if let PeerNews::Performed { orders, uploaded } = main.news() {
            (performed, sent) = (performed + orders, sent + uploaded);
        }
    }
    assert_eq!((performed, sent), (3, u64::from(BLOCK_LEN)));
    // Nobody tells it of these: it looks by itself.
    shared.theirs.set(PieceIndex(3));
    main.publisher.publish(PieceIndex(1));
    let mut heard = [hears(&mut far), hears(&mut far)];
    heard.sort_by_key(|message| *message == Message::Interested);
    assert_eq!(heard, [Message::Have(PieceIndex(1)), Message::Interested]);
    // Main lets go of it.
    drop((main.orders, main.from_main));
    writer.join().unwrap();
    assert!(matches!(far.receive(PIECES, late()), Err(Breakdown::Closed)), "and it hangs up");
    assert_eq!(*main.line.farewell.lock(), None);
}

#[test]
fn what_else_there_is_to_say_goes_before_a_block_that_waits_for_the_rate_limit() {
    // The first block would take hours.
    let main = Main::limited(1);
    let (writer, mut far, shared) = main.writer();
    let writer = thread(move || writer.run());
    assert_eq!(hears(&mut far), Message::Bitfield(vec![0b1000_0000]));
    main.order(ToPeer::Upload(block(0)));
    main.order(ToPeer::Request(BlockRange { piece: PieceIndex(2), first: 0, count: 1 }));
    assert_eq!(hears(&mut far), Message::Request(block(2)));
    shared.theirs.set(PieceIndex(3));
    assert_eq!(hears(&mut far), Message::Interested);
    drop((main.orders, main.from_main));
    writer.join().unwrap();
    assert!(matches!(far.receive(PIECES, late()), Err(Breakdown::Closed)), "it does not wait");

    // Soon enough it goes, and the rate holds from then on.
    let main = Main::limited(10_000_000);
    let (writer, mut far, _shared) = main.writer();
    let writer = thread(move || writer.run());
    hears(&mut far);
    main.order(ToPeer::Upload(block(0)));
    assert_eq!(hears(&mut far), piece(0));
    drop((main.orders, main.from_main));
    writer.join().unwrap();
}

#[test]
fn a_reader_that_fails_says_its_last_words() {
    let main = Main::new();
    let introduction = main.introduction();
    let last_words =
        LastWords::of(&main.call(Way::Out("127.0.0.1:1".parse().unwrap(), introduction)));
    let failed = thread(move || {
        let _last_words = last_words;
        panic!("as a test wants it");
    });
    assert!(failed.join().is_err());
    assert_eq!(main.last_words(), ours("its thread failed"));
    assert!(main.line.is_ended(), "its writer hears of it");
}

#[test]
fn the_writer_says_why_it_ends() {
    let mut main = Main::new();
    let (writer, _far, shared) = main.writer();
    (0..PIECES).map(PieceIndex).for_each(|piece| {
        shared.theirs.set(piece);
    });
    (1..PIECES).for_each(|piece| main.publisher.publish(PieceIndex(piece)));
    writer.run();
    assert_eq!(main.line.farewell.lock().take(), Some(nobodys("both sides have everything")));

    let main = Main::new();
    let (writer, _far, _shared) = main.writer();
    main.office.files.remove(made_up::torrent_key(0));
    main.order(ToPeer::Upload(block(0)));
    writer.run();
    let farewell = main.line.farewell.lock().take().unwrap();
    assert_eq!(farewell.fault, Fault::Ours);
    assert!(farewell.reason.starts_with("a block for it cannot be read"), "{}", farewell.reason);
}

#[test]
fn the_reader_publishes_what_it_hears() {
    let main = Main::new();
    let (reader, mut far, shared) = main.reader();
    shared.credit.grant(1);
    for message in [Message::Unchoke, Message::Have(PieceIndex(3)), piece(2)] {
        says(&mut far, &message);
    }
    assert!(matches!(main.news(), PeerNews::Unchoked));
    assert!(matches!(main.news(), PeerNews::Gained(word) if word.bits == 0b1000));
    assert!(matches!(main.news(), PeerNews::Block(sent, _) if sent == block(2)));
    far.line().hang_up();
    let farewell = reader.join().unwrap();
    assert_eq!(farewell, nobodys("it closed the connection"));
}

#[test]
fn the_reader_ends_with_the_violation() {
    let main = Main::new();
    let (reader, mut far, _shared) = main.reader();
    says(&mut far, &Message::Have(PieceIndex(4)));
    assert_eq!(reader.join().unwrap(), theirs("it has piece 4 of 4"));
    let (reader, mut far, _shared) = main.reader();
    drop(main.notifications);
    says(&mut far, &Message::Unchoke);
    assert_eq!(reader.join().unwrap(), ours("the session ended"), "when main is gone");
}

/// BEP 5 ("peers should send a PORT message"), BEP 10 and BEP 11: what one side says of itself after
/// the handshakes.
#[test]
fn a_peer_is_told_of_our_node_and_our_extensions() {
    for knows in [false, true] {
        let main = Main::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap().to_string().parse().unwrap();
        let reader = start(main.call(Way::Out(to, main.introduction()))).unwrap();
        let mut far = TcpMessenger::new(listener.accept().unwrap().0).unwrap();
        let greeting = far.receive_greeting(late()).unwrap().unwrap();
        assert!(greeting.reserved.dht() && greeting.reserved.extension());
        let theirs = their_handshake(greeting.info_hash);
        let reserved = if knows { theirs.reserved.with_dht() } else { theirs.reserved };
        far.greet(&Handshake { reserved, ..theirs }).unwrap();
        assert_eq!(hears(&mut far), Message::Bitfield(vec![0b1000_0000]));
        let Message::Extended { id: 0, payload } = hears(&mut far) else { panic!("no extensions") };
        let ours = ExtensionHandshake::parse(&payload).unwrap();
        assert_eq!(ours.id(UT_PEX), Some(OUR_UT_PEX));
        assert_eq!(ours.id(LT_DONTHAVE), Some(OUR_LT_DONTHAVE));
        if knows {
            assert_eq!(hears(&mut far), Message::Port(1), "the port of the office");
        }
        main.line.hang_up();
        while !matches!(main.news(), PeerNews::Gone(_)) {}
        drop((main.orders, main.from_main));
        reader.join().unwrap();
        join_writer(&main.line);
    }
}

#[test]
fn a_peer_is_dialled_talks_and_takes_back_what_it_had() {
    let main = Main::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let to = address.to_string().parse().unwrap();
    let reader = start(main.call(Way::Out(to, main.introduction()))).unwrap();
    let mut far = TcpMessenger::new(listener.accept().unwrap().0).unwrap();
    let greeting = far.receive_greeting(late()).unwrap().unwrap();
    assert_eq!(greeting.info_hash, main.context.metainfo.info_hash());
    assert_eq!(greeting.peer_id, PeerId([1; 20]));
    far.greet(&their_handshake(greeting.info_hash)).unwrap();
    assert!(matches!(
        main.news(),
        PeerNews::Connected { address: at, peer_id: PeerId([2, ..]), .. } if at == address
    ));
    assert_eq!(hears(&mut far), Message::Bitfield(vec![0b1000_0000]));
    assert!(matches!(hears(&mut far), Message::Extended { id: 0, .. }));
    says(&mut far, &Message::Have(PieceIndex(2)));
    assert!(matches!(main.news(), PeerNews::Gained(word) if word.bits == 0b100));
    main.line.hang_up();
    let mut lost = 0;
    loop {
        let news = main.news();
        if let PeerNews::Lost(word) = news {
            lost |= word.bits;
        } else if matches!(news, PeerNews::Gone(_)) {
            break;
        }
    }
    assert_eq!(lost, 0b100, "what it told is taken back before its last words");
    drop((main.orders, main.from_main));
    reader.join().unwrap();
    join_writer(&main.line);
}

#[test]
fn whoever_dials_us_waits_to_be_introduced() {
    let main = Main::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far =
        TcpMessenger::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap()).unwrap();
    let (introduce, introductions) = bounded(1);
    let stream = listener.accept().unwrap().0;
    let reader = start(main.call(Way::In(Arc::new(stream), introductions))).unwrap();
    let info_hash = main.context.metainfo.info_hash();
    far.greet(&their_handshake(info_hash)).unwrap();
    assert!(matches!(main.news(), PeerNews::Hello(named) if named == info_hash));
    introduce.try_send(main.introduction()).unwrap();
    assert_eq!(far.receive_greeting(late()).unwrap().unwrap().info_hash, info_hash);
    assert!(matches!(main.news(), PeerNews::Connected { .. }));
    main.line.hang_up();
    main.last_words();
    drop((main.orders, main.from_main));
    reader.join().unwrap();
    join_writer(&main.line);
}

#[test]
fn a_handshake_that_fails_says_why() {
    let info_hash = Main::new().context.metainfo.info_hash();
    let other = Handshake { info_hash: InfoHash([9; 20]), ..their_handshake(info_hash) };
    // What the other side answers to being dialled, and the reason.
    let table: [(&[u8], Fault, &str); 3] = [
        (&other.emit(), Fault::Theirs, "it answered with another torrent"),
        (b"", Fault::Nobodys, "it closed the connection"),
        (&[b'x'; 68], Fault::Nobodys, "its first bytes are no BitTorrent handshake"),
    ];
    for (answer, fault, reason) in table {
        let main = Main::encrypting(Encryption::Off);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap().to_string().parse().unwrap();
        let reader = start(main.call(Way::Out(to, main.introduction()))).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        // Whoever closes with something unread resets the connection.
        far.read_exact(&mut [0; 68]).unwrap();
        far.write_all(answer).unwrap();
        drop(far);
        assert_eq!(main.last_words(), Farewell { reason: reason.into(), fault });
        reader.join().unwrap();
        assert!(main.line.take_writer().is_none(), "no writer was started");
    }
}

#[test]
fn a_line_that_was_hung_up_stays_so() {
    let main = Main::new();
    let (near, mut far) = in_memory::pair();
    main.line.hang_up();
    main.line.open(near.line());
    assert!(matches!(far.receive(PIECES, late()), Err(Breakdown::Closed)));
}

/// Somebody dials: the far end, and the reader of the near one.
fn dialled(main: &Main) -> (TcpMessenger, Sender<Introduction>, JoinHandle<()>) {
    let (far, introduce, reader) = raw(main);
    (TcpMessenger::new(far).unwrap(), introduce, reader)
}

fn raw(main: &Main) -> (TcpStream, Sender<Introduction>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (introduce, introductions) = bounded(1);
    let stream = Arc::new(listener.accept().unwrap().0);
    let reader = start(main.call(Way::In(stream, introductions))).unwrap();
    (far, introduce, reader)
}

/// Ends a reader that came to start a writer.
fn end(main: Main, reader: JoinHandle<()>) {
    main.line.hang_up();
    main.last_words();
    drop((main.orders, main.from_main));
    reader.join().unwrap();
    join_writer(&main.line);
}

#[test]
fn whoever_dials_us_encrypted_names_its_torrent_in_secret() {
    use Encryption::{Prefer, Require};
    for (theirs, ours) in [(Prefer, Prefer), (Require, Prefer), (Prefer, Require)] {
        let main = Main::encrypting(ours);
        let (far, introduce, reader) = dialled(&main);
        let info_hash = main.context.metainfo.info_hash();
        let dial = thread(move || {
            mse::dial(&far, theirs, &their_handshake(info_hash), late()).unwrap().unwrap()
        });
        let name = skey_hash(info_hash);
        assert!(matches!(main.news(), PeerNews::HelloBySkey(named) if named == name));
        introduce.try_send(main.introduction()).unwrap();
        let mut far = dial.join().unwrap();
        assert_eq!(far.receive_greeting(late()).unwrap().unwrap().info_hash, info_hash);
        assert!(matches!(main.news(), PeerNews::Connected { .. }));
        assert_eq!(hears(far.as_mut()), Message::Bitfield(vec![0b1000_0000]));
        says(far.as_mut(), &Message::Have(PieceIndex(2)));
        assert!(matches!(main.news(), PeerNews::Gained(word) if word.bits == 0b100));
        end(main, reader);
    }
}

#[test]
fn whoever_hangs_up_on_plaintext_is_dialled_once_more_with_encryption() {
    for ours in [Encryption::Prefer, Encryption::Require] {
        let main = Main::encrypting(ours);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap().to_string().parse().unwrap();
        let reader = start(main.call(Way::Out(to, main.introduction()))).unwrap();
        if ours == Encryption::Prefer {
            let mut plain = TcpMessenger::new(listener.accept().unwrap().0).unwrap();
            assert!(plain.receive_greeting(late()).unwrap().is_some());
        }
        let mut far = TcpMessenger::new(listener.accept().unwrap().0).unwrap();
        let error = far.receive_head(late()).unwrap_err();
        assert_eq!(error.to_string(), "its first bytes are no BitTorrent handshake");
        let mut answer = mse::Answer::instead_of(&far, Encryption::Require).unwrap();
        let info_hash = main.context.metainfo.info_hash();
        assert_eq!(answer.receive_torrent(late()).unwrap(), Some(skey_hash(info_hash)));
        let mut far = answer.agree(info_hash, late()).unwrap().unwrap();
        assert_eq!(far.receive_greeting(late()).unwrap().unwrap().peer_id, PeerId([1; 20]));
        far.greet(&their_handshake(info_hash)).unwrap();
        assert!(matches!(main.news(), PeerNews::Connected { .. }));
        assert_eq!(hears(far.as_mut()), Message::Bitfield(vec![0b1000_0000]));
        main.order(ToPeer::Upload(block(0)));
        assert!(matches!(hears(far.as_mut()), Message::Extended { id: 0, .. }));
        assert_eq!(hears(far.as_mut()), piece(0), "a block is hidden like all else");
        end(main, reader);
    }
}

#[test]
fn what_is_not_allowed_is_refused() {
    let info_hash = Main::new().context.metainfo.info_hash();
    // Plaintext where encryption is required.
    let main = Main::encrypting(Encryption::Require);
    let (mut far, _introduce, reader) = dialled(&main);
    far.greet(&their_handshake(info_hash)).unwrap();
    let reason = "it is not encrypted, as --encryption require wants it";
    assert_eq!(main.last_words(), nobodys(reason));
    reader.join().unwrap();
    assert!(main.line.take_writer().is_none());

    // Encryption where there is none.
    let main = Main::encrypting(Encryption::Off);
    let (far, _introduce, reader) = dialled(&main);
    let dial = thread(move || {
        let greeting = their_handshake(info_hash);
        mse::dial(&far, Encryption::Prefer, &greeting, late()).map(drop).unwrap_err()
    });
    assert_eq!(main.last_words(), nobodys("its first bytes are no BitTorrent handshake"));
    assert!(dial.join().unwrap().is_closed());
    reader.join().unwrap();
    assert!(main.line.take_writer().is_none());

    // A torrent that is not here: main lets go of the introductions.
    let main = Main::new();
    let (far, introduce, reader) = dialled(&main);
    let dial = thread(move || {
        let greeting = their_handshake(InfoHash([9; 20]));
        mse::dial(&far, Encryption::Prefer, &greeting, late()).map(drop).unwrap_err()
    });
    let name = skey_hash(InfoHash([9; 20]));
    assert!(matches!(main.news(), PeerNews::HelloBySkey(named) if named == name));
    drop(introduce);
    assert_eq!(main.last_words(), ours("its torrent is not here"));
    assert!(dial.join().unwrap().is_closed());
    reader.join().unwrap();
    assert!(main.line.take_writer().is_none());
}

#[test]
fn an_encrypted_handshake_that_fails_says_why() {
    let no_sign = [0xee; 96 + 532];
    let table: [(&[u8], &str); 3] = [
        (&[0; 96], "its first bytes are no BitTorrent handshake, nor the key of an encrypted one"),
        (&no_sign, "its first bytes are no BitTorrent handshake, nor an encrypted one"),
        (&[0xee; 300], "it closed the connection"),
    ];
    for (said, reason) in table {
        let main = Main::new();
        let (mut far, _introduce, reader) = raw(&main);
        far.write_all(said).unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!(main.last_words(), nobodys(reason));
        reader.join().unwrap();
        assert!(main.line.take_writer().is_none());
    }
}
