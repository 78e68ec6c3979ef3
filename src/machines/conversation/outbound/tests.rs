use super::*;
use crate::machines::made_up;
use crate::words::bitfield::SharedBitfield;
use crate::words::have_log::Publisher;
use crate::words::id::{BlockRange, PieceIndex};
use crate::words::limits::{BLOCK_LEN, HAVE_DELAY, HAVE_DELAY_WRITERS, KEEP_ALIVE_EVERY};

/// Our side of a torrent whose pieces have two blocks; the last has one, of 100 bytes.
struct Speaking {
    outbound: Outbound,
    publisher: Publisher,
    start: Instant,
}

/// What we have before the peer comes, and what it has. We want all the rest.
fn speaking(ours: &str, theirs: &str) -> Speaking {
    speaking_with(ours, theirs, false)
}

/// The same with the fast extension.
fn speaking_fast(ours: &str, theirs: &str) -> Speaking {
    speaking_with(ours, theirs, true)
}

fn speaking_with(ours: &str, theirs: &str, fast: bool) -> Speaking {
    let pieces = u64::try_from(ours.len()).unwrap();
    let len = (pieces - 1) * 2 * u64::from(BLOCK_LEN) + 100;
    let metainfo = made_up::torrent("t", 2 * BLOCK_LEN, len);
    let (mut publisher, context) =
        TorrentContext::new(metainfo, made_up::shared(&"#".repeat(ours.len())));
    made_up::pieces(ours).for_each(|piece| have(&mut publisher, &context, piece));
    let theirs = made_up::shared(theirs);
    let shared = Arc::new(PeerShared::of(theirs));
    let start = made_up::start();
    Speaking { outbound: Outbound::new(context, shared, fast, Vec::new(), start), publisher, start }
}

fn have(publisher: &mut Publisher, context: &TorrentContext, piece: PieceIndex) {
    publisher.publish(piece);
    context.wanted.clear(piece);
}

impl Speaking {
    /// We verify this piece.
    fn verifies(&mut self, piece: u32) {
        have(&mut self.publisher, &self.outbound.context, PieceIndex(piece));
    }

    fn theirs(&self) -> &SharedBitfield {
        &self.outbound.shared.theirs
    }

    fn ordered(&mut self, orders: &[ToPeer]) {
        orders.iter().for_each(|order| self.outbound.handle_order(*order));
    }

    /// All there is to say at once.
    fn says(&mut self) -> String {
        self.says_after(Duration::ZERO)
    }

    fn says_after(&mut self, after: Duration) -> String {
        let mut said = Vec::new();
        while let Some(speech) = self.outbound.poll_speech(self.start + after) {
            said.push(drawn(&speech));
            if speech == Speech::Farewell {
                break;
            }
        }
        said.join(" ")
    }
}

/// One word for each thing that is done.
fn drawn(speech: &Speech) -> String {
    let named = |name: &str, Block { piece, offset, len }: Block| {
        format!("{name}({},{offset},{len})", piece.0)
    };
    match speech {
        Speech::Farewell => "Farewell".to_owned(),
        Speech::Upload(block) => named("Upload", *block),
        Speech::Message(Message::Request(block)) => named("Request", *block),
        Speech::Message(Message::Cancel(block)) => named("Cancel", *block),
        Speech::Message(Message::Reject(block)) => named("Reject", *block),
        Speech::Message(Message::Have(piece)) => format!("Have({})", piece.0),
        Speech::Message(Message::Bitfield(bytes)) => {
            let bits: Vec<_> = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
            format!("Bitfield({})", bits.join(","))
        }
        Speech::Message(message) | Speech::Metadata(message) => format!("{message:?}"),
    }
}

fn block(piece: u32, offset: u32, len: u32) -> Block {
    Block { piece: PieceIndex(piece), offset, len }
}

fn range(piece: u32, first: u32, count: u32) -> ToPeer {
    ToPeer::Request(BlockRange { piece: PieceIndex(piece), first, count })
}

#[test]
fn every_order_is_said_and_counted() {
    let table: [(ToPeer, &str); 8] = [
        (range(0, 0, 2), "Request(0,0,16384) Request(0,16384,16384)"),
        (range(3, 0, 1), "Request(3,0,100)"),
        (ToPeer::Cancel(block(0, 0, 16384)), "Cancel(0,0,16384)"),
        (ToPeer::Choke, "Choke"),
        (ToPeer::Unchoke, "Unchoke"),
        (ToPeer::Withdraw(block(0, 0, 16384)), ""),
        (ToPeer::Reject(block(0, 0, 16384)), "Reject(0,0,16384)"),
        (ToPeer::Look, ""),
    ];
    let mut speaking = speaking("....", "....");
    for (order, said) in table {
        speaking.ordered(&[order]);
        assert_eq!(speaking.says(), said, "{order:?}");
        assert_eq!(speaking.outbound.poll_performed(), Some((1, 0)), "{order:?}");
        assert_eq!(speaking.outbound.poll_performed(), None);
    }
}

#[test]
fn the_bitfield_is_the_logs_prefix_and_haves_go_on_from_there() {
    let table = [
        ("....", "", "nothing verified is not worth a message"),
        ("#..#", "Bitfield(10010000)", "two are"),
        ("########.#", "Bitfield(11111111,01000000)", "in two bytes"),
    ];
    for (ours, said, why) in table {
        let nobody = ".".repeat(ours.len());
        assert_eq!(speaking(ours, &nobody).says(), said, "{why}");
    }
    let mut speaking = speaking("#...", "....");
    speaking.verifies(2);
    assert_eq!(speaking.says(), "Bitfield(10000000) Have(2)");
    speaking.verifies(3);
    speaking.verifies(1);
    assert_eq!(speaking.says(), "Have(3) Have(1)", "in the order of the log");
    assert_eq!(speaking.says(), "");
}

#[test]
fn the_extension_handshake_follows_the_bitfield() {
    let Speaking { outbound, start, .. } = speaking("#...", "....");
    let (context, shared) = (Arc::clone(&outbound.context), Arc::clone(&outbound.shared));
    let extension = Message::Extended { id: 0, payload: b"de".to_vec() };
    let mut outbound = Outbound::new(context, shared, false, vec![extension.clone()], start);
    let said: Vec<_> = std::iter::from_fn(|| outbound.poll_speech(start)).collect();
    assert_eq!(drawn(&said[0]), "Bitfield(10000000)");
    assert_eq!(said[1..], [Speech::Message(extension)]);
}

#[test]
fn interest_is_told_once_and_only_when_it_changes() {
    let mut speaking = speaking("#...", "#...");
    assert_eq!(speaking.says(), "Bitfield(10000000)", "it has nothing new");
    speaking.theirs().set(PieceIndex(1));
    assert_eq!(speaking.says(), "Interested");
    speaking.theirs().set(PieceIndex(2));
    assert_eq!(speaking.says(), "", "that is known");
    speaking.verifies(1);
    assert_eq!(speaking.says(), "Have(1)", "there is still another");
    speaking.verifies(2);
    assert_eq!(speaking.says(), "Have(2) NotInterested");
    speaking.theirs().set(PieceIndex(3));
    assert_eq!(speaking.says(), "Interested");
}

#[test]
fn interest_is_found_in_any_word() {
    for piece in [0, 63, 64, 200, 299] {
        let nothing = ".".repeat(300);
        let mut speaking = speaking(&nothing, &nothing);
        assert_eq!(speaking.says(), "");
        speaking.theirs().set(PieceIndex(piece));
        assert_eq!(speaking.says(), "Interested", "{piece}");
    }
}

#[test]
fn messages_come_before_uploads() {
    let mut speaking = speaking("#...", ".#..");
    speaking.ordered(&[ToPeer::Unchoke, ToPeer::Upload(block(0, 0, 9)), range(1, 0, 1)]);
    speaking.verifies(3);
    assert_eq!(
        speaking.says(),
        "Bitfield(10000000) Unchoke Request(1,0,16384) Have(3) Interested Upload(0,0,9)"
    );
    assert_eq!(speaking.outbound.offset_of(block(1, 5, 9)), u64::from(2 * BLOCK_LEN) + 5);
}

#[test]
fn uploads_are_performed_when_sent_withdrawn_or_choked() {
    let upload = |n| ToPeer::Upload(block(0, n, 10));
    let mut speaking = speaking("#...", "....");
    speaking.ordered(&[upload(1), upload(2), upload(3), upload(4)]);
    assert_eq!(speaking.outbound.poll_performed(), None, "nothing is sent yet");
    speaking.ordered(&[ToPeer::Withdraw(block(0, 2, 10))]);
    assert_eq!(speaking.outbound.poll_performed(), Some((2, 0)), "the order and the upload");
    assert_eq!(speaking.says(), "Bitfield(10000000) Upload(0,1,10) Upload(0,3,10) Upload(0,4,10)");
    (0..3).for_each(|_| speaking.outbound.handle_uploaded(10));
    assert_eq!(speaking.outbound.poll_performed(), Some((3, 30)));
    speaking.ordered(&[upload(5), upload(6), ToPeer::Choke]);
    assert_eq!(speaking.says(), "Choke", "BEP 3: what is not sent before a choke is dropped");
    assert_eq!(speaking.outbound.poll_performed(), Some((3, 0)));
}

#[test]
fn with_the_fast_extension_all_and_nothing_are_a_word_each() {
    let table = [
        ("....", "HaveNone"),
        ("#..#", "Bitfield(10010000)"),
        ("####", "HaveAll"),
        ("########.#", "Bitfield(11111111,01000000)"),
    ];
    for (ours, said) in table {
        let nobody = ".".repeat(ours.len());
        assert_eq!(speaking_fast(ours, &nobody).says(), said, "{ours}");
    }
}

#[test]
fn with_the_fast_extension_what_is_not_sent_is_rejected() {
    let upload = |n| ToPeer::Upload(block(0, n, 10));
    let mut speaking = speaking_fast("####", "....");
    assert_eq!(speaking.says(), "HaveAll");
    speaking.ordered(&[upload(1), upload(2), upload(3)]);
    speaking.ordered(&[ToPeer::Withdraw(block(0, 2, 10)), ToPeer::Reject(block(1, 0, 10))]);
    assert_eq!(speaking.outbound.poll_performed(), Some((3, 0)), "two orders and an upload");
    speaking.ordered(&[ToPeer::Choke]);
    let rejected = "Reject(0,2,10) Reject(1,0,10) Choke Reject(0,1,10) Reject(0,3,10)";
    assert_eq!(speaking.says(), rejected, "BEP 6: a choke rejects what it drops");
    assert_eq!(speaking.outbound.poll_performed(), Some((3, 0)));
}

#[test]
fn every_order_is_performed_exactly_once() {
    let mut rng = crate::words::rng::Rng::new(3);
    let mut speaking = speaking("#...", "....");
    let (mut ordered, mut performed, mut sent, mut uploaded) = (0, 0, 0, 0);
    for _ in 0..2_000 {
        let some = block(0, rng.below(4), 10);
        let order = match rng.below(30) {
            0..20 => ToPeer::Upload(some),
            20..24 => ToPeer::Withdraw(some),
            24 => ToPeer::Choke,
            25..28 => ToPeer::Unchoke,
            _ => range(1, 0, 2),
        };
        speaking.ordered(&[order]);
        ordered += 1;
        for _ in 0..rng.below(3) {
            if let Some(Speech::Upload(block)) = speaking.outbound.poll_speech(speaking.start) {
                speaking.outbound.handle_uploaded(block.len);
                sent += u64::from(block.len);
            }
        }
        let (orders, bytes) = speaking.outbound.poll_performed().unwrap_or_default();
        (performed, uploaded) = (performed + orders, uploaded + bytes);
        assert!(performed <= ordered);
    }
    speaking.ordered(&[ToPeer::Choke]);
    let (orders, bytes) = speaking.outbound.poll_performed().unwrap();
    assert_eq!((performed + orders, uploaded + bytes), (ordered + 1, sent));
    assert!(sent > 0);
}

#[test]
fn silence_is_broken_by_a_keep_alive() {
    let mut speaking = speaking("....", "....");
    let short = Duration::from_millis(1);
    assert_eq!(speaking.says_after(KEEP_ALIVE_EVERY - short), "");
    assert_eq!(speaking.says_after(KEEP_ALIVE_EVERY), "KeepAlive");
    speaking.verifies(0);
    assert_eq!(speaking.says_after(KEEP_ALIVE_EVERY * 3 / 2), "Have(0)");
    assert_eq!(speaking.says_after(KEEP_ALIVE_EVERY * 5 / 2 - short), "", "it was not silent");
    assert_eq!(speaking.says_after(KEEP_ALIVE_EVERY * 5 / 2), "KeepAlive");
}

#[test]
fn when_both_have_everything_there_is_nothing_left_to_say() {
    let table = [
        ("####", "####", "Bitfield(11110000) Farewell"),
        ("####", "###.", "Bitfield(11110000)"),
        ("###.", "####", "Bitfield(11100000) Interested"),
    ];
    for (ours, theirs, said) in table {
        assert_eq!(speaking(ours, theirs).says(), said, "{ours} {theirs}");
    }
    let mut speaking = speaking("###.", "####");
    speaking.says();
    speaking.verifies(3);
    speaking.ordered(&[ToPeer::Upload(block(0, 0, 9))]);
    assert_eq!(speaking.says(), "Have(3) NotInterested Upload(0,0,9) Farewell");
}

#[test]
fn the_log_is_looked_at_more_rarely_by_many_and_not_at_all_when_it_is_full() {
    let deadline = |ours, writers| {
        let speaking = speaking(ours, "....");
        speaking.outbound.context.writers.store(writers, Ordering::Relaxed);
        let deadline = speaking.outbound.poll_deadline(speaking.start) - speaking.start;
        speaking.outbound.context.writers.store(1, Ordering::Relaxed);
        deadline
    };
    assert_eq!(deadline("....", 1), HAVE_DELAY);
    assert_eq!(deadline("....", HAVE_DELAY_WRITERS), HAVE_DELAY);
    assert_eq!(deadline("....", 3 * HAVE_DELAY_WRITERS), 3 * HAVE_DELAY);
    assert_eq!(deadline("####", 1), KEEP_ALIVE_EVERY);
}

#[test]
fn writers_are_counted_while_they_live() {
    let Speaking { outbound, publisher: _publisher, .. } = speaking("....", "....");
    let context = Arc::clone(&outbound.context);
    assert_eq!(context.writers.load(Ordering::Relaxed), 1);
    drop(outbound);
    assert_eq!(context.writers.load(Ordering::Relaxed), 0);
}

#[test]
fn metadata_is_given_piece_by_piece_and_counted() {
    let mut speaking = speaking("....", "....");
    let info = speaking.outbound.context.metainfo.info_bytes().to_vec();
    speaking.ordered(&[
        ToPeer::Metadata(7, MetadataWord::Give(0)),
        ToPeer::Metadata(7, MetadataWord::Ask(3)),
        ToPeer::Choke,
        ToPeer::Metadata(7, MetadataWord::Refuse(1)),
    ]);
    let said: Vec<_> =
        std::iter::from_fn(|| speaking.outbound.poll_speech(speaking.start)).collect();
    let message = |message: &MetadataMessage| Message::Extended { id: 7, payload: message.emit() };
    let total_len = u32::try_from(info.len()).unwrap();
    let data = message(&MetadataMessage::Data { piece: 0, total_len, data: info });
    let expected = [
        Speech::Message(message(&MetadataMessage::Request(3))),
        Speech::Message(Message::Choke),
        Speech::Message(message(&MetadataMessage::Reject(1))),
        Speech::Metadata(data),
    ];
    assert_eq!(said, expected, "a choke takes no metadata back");
    assert_eq!(speaking.outbound.poll_performed(), Some((4, 0)));
    assert!(said[3].payload_len() > Some(80) && said[0].payload_len().is_none());
}

#[test]
fn when_the_metadata_is_here_the_writer_goes_on_with_it() {
    use crate::formats::metainfo::Metainfo;
    use crate::words::id::InfoHash;

    let (_, unknown) = TorrentContext::unknown(Metainfo::unknown(InfoHash([1; 20]), None));
    let shared = Arc::new(PeerShared::new(0));
    let start = made_up::start();
    let context = Arc::clone(&unknown);
    let mut outbound = Outbound::new(context, Arc::clone(&shared), true, Vec::new(), start);
    let mut says = || {
        let said = std::iter::from_fn(|| outbound.poll_speech(start));
        said.map(|speech| drawn(&speech)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(says(), "HaveNone", "nobody has everything where there is nothing");

    let Speaking { outbound: other, publisher: _publisher, .. } = speaking("#...", "....");
    let known = Arc::clone(&other.context);
    let theirs = Arc::new(PeerShared::of(made_up::shared(".#..")));
    let renewal = Renewal { context: Arc::clone(&known), shared: theirs };
    shared.renewal.set(renewal).unwrap();
    assert_eq!(says(), "Have(0) Interested");
    assert_eq!(unknown.writers.load(Ordering::Relaxed), 0);
    assert_eq!(known.writers.load(Ordering::Relaxed), 2);
    outbound.handle_order(ToPeer::OfferMetadata);
    let Some(Speech::Message(Message::Extended { id: 0, payload })) = outbound.poll_speech(start)
    else {
        panic!("the handshake again")
    };
    let handshake = ExtensionHandshake::parse(&payload).unwrap();
    let len = u32::try_from(known.metainfo.info_bytes().len()).unwrap();
    assert_eq!((handshake.id(UT_METADATA), handshake.metadata_len), (Some(1), Some(len)));
}

#[test]
fn whoever_has_nothing_to_say_for_long_may_rest() {
    let mut peer = speaking("##", "..");
    let (start, rests) = (peer.start, |peer: &Speaking| peer.outbound.poll_rest(peer.start));
    let stop_growing = |peer: &Speaking| {
        peer.outbound.context.growing.store(false, Ordering::Release);
    };
    stop_growing(&peer);
    assert_eq!(rests(&peer), None, "it has not greeted");
    assert_eq!(peer.outbound.greeting_len(), 4 + 1 + 1, "a bit field of one byte");
    peer.says();
    assert_eq!(rests(&peer), Some(start + KEEP_ALIVE_EVERY));
    let block = peer.outbound.context.metainfo.block(PieceIndex(0), 0);
    peer.ordered(&[ToPeer::Upload(block)]);
    assert_eq!(rests(&peer), None, "there is a block to send");
    peer.says();
    peer.ordered(&[ToPeer::Exchange { id: 1, peer: made_up::peer(0), near: false }]);
    peer.says();
    assert_eq!(rests(&peer), None, "it tells soon who is here");
    peer.says_after(limits::pex::AFTER);
    let rests = peer.outbound.poll_rest(start + limits::pex::AFTER);
    assert_eq!(rests, Some(start + limits::pex::AFTER + limits::pex::EVERY));

    let mut peer = speaking("#.", "..");
    peer.says();
    assert_eq!(peer.outbound.poll_rest(start), None, "pieces may come");
    stop_growing(&peer);
    assert!(peer.outbound.poll_rest(start).is_some());
    peer.verifies(1);
    assert_eq!(peer.outbound.poll_rest(start), None, "the last one has come");
}
