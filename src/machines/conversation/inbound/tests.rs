//! What one peer says, as tables: a message and the news that it becomes, or the sentence about it.

mod gossip;

use std::time::Duration;

use super::*;
use crate::formats::metainfo::Metainfo;
use crate::machines::made_up;
use crate::words::bitfield::{Bitfield, SharedBitfield};
use crate::words::limits::{BLOCK_LEN, SAMPLE_EVERY, SILENCE_MAX, STALL_AFTER};

/// One peer's side of a torrent whose pieces have two blocks; the last has one, of 100 bytes.
struct Hearing {
    inbound: Inbound,
    shared: Arc<PeerShared>,
    start: Instant,
}

impl Hearing {
    fn of(pieces: u32) -> Self {
        Self::new(pieces, false)
    }

    /// Both sides know the fast extension.
    fn fast(pieces: u32) -> Self {
        Self::new(pieces, true)
    }

    fn new(pieces: u32, fast: bool) -> Self {
        let len = u64::from(pieces - 1) * 2 * u64::from(BLOCK_LEN) + 100;
        Self::about(made_up::torrent("t", 2 * BLOCK_LEN, len), fast)
    }

    fn about(metainfo: Metainfo, fast: bool) -> Self {
        let pieces = metainfo.pieces();
        let theirs = SharedBitfield::zeros(pieces);
        let shared = Arc::new(PeerShared::of(theirs));
        let (_, context) = TorrentContext::new(metainfo, SharedBitfield::ones(pieces));
        let start = made_up::start();
        let inbound = Inbound::new(context, Arc::clone(&shared), fast, start);
        Self { inbound, shared, start }
    }

    /// What is published when `message` comes, or what is said of a violation.
    fn hears(&mut self, message: Message) -> Result<String, String> {
        self.inbound.handle_message(message, self.start).map_err(|violation| violation.0)?;
        Ok(self.news())
    }

    /// What is published when it is so late.
    fn at(&mut self, after: Duration) -> Result<String, String> {
        self.inbound.handle_time(self.start + after).map_err(|violation| violation.0)?;
        Ok(self.news())
    }

    fn news(&mut self) -> String {
        let news = std::iter::from_fn(|| self.inbound.poll_news());
        news.map(|news| drawn(&news)).collect::<Vec<_>>().join(" ")
    }

    fn taken_back(&mut self) -> Vec<Word> {
        self.inbound.take_back().collect()
    }
}

/// One word a piece of news.
fn drawn(news: &PeerNews) -> String {
    let block = |name: &str, Block { piece, offset, len }: &Block| {
        format!("{name}({},{offset},{len})", piece.0)
    };
    match news {
        PeerNews::Gained(word) => {
            let pieces: Vec<_> = word.pieces().map(|piece| piece.0.to_string()).collect();
            format!("Gained({})", pieces.join(","))
        }
        PeerNews::Requested(asked) => block("Requested", asked),
        PeerNews::Cancelled(asked) => block("Cancelled", asked),
        PeerNews::Rejected(asked) => block("Rejected", asked),
        PeerNews::AllowedFast(piece) => format!("AllowedFast({})", piece.0),
        PeerNews::Block(sent, data) => {
            assert_eq!(data.len(), sent.len as usize);
            block("Block", sent)
        }
        PeerNews::Exchanged(sharers) => {
            let shown = sharers.iter().map(|sharer| sharer.address.to_string());
            format!("Exchanged({})", shown.collect::<Vec<_>>().join(","))
        }
        PeerNews::Extended(handshake) => {
            format!("Extended({})", handshake.client.as_deref().unwrap_or_default())
        }
        PeerNews::Renewed(shared) => format!("Renewed({})", shared.theirs.len()),
        PeerNews::Metadata(message) => format!("Metadata({message:?})"),
        PeerNews::Hello(_)
        | PeerNews::HelloBySkey(_)
        | PeerNews::Connected { .. }
        | PeerNews::Lost(_)
        | PeerNews::Seeder
        | PeerNews::Completed
        | PeerNews::Choked
        | PeerNews::Unchoked
        | PeerNews::Interested
        | PeerNews::NotInterested
        | PeerNews::Node(_)
        | PeerNews::Incomplete
        | PeerNews::Stalled
        | PeerNews::Sample
        | PeerNews::Performed { .. }
        | PeerNews::Gone(_) => format!("{news:?}"),
    }
}

fn bitfield(picture: &str) -> Message {
    let mut field = Bitfield::zeros(u32::try_from(picture.len()).unwrap());
    made_up::pieces(picture).for_each(|piece| {
        field.set(piece);
    });
    Message::Bitfield(field.to_wire())
}

fn have(piece: u32) -> Message {
    Message::Have(PieceIndex(piece))
}

fn block(piece: u32, offset: u32, len: u32) -> Block {
    Block { piece: PieceIndex(piece), offset, len }
}

fn piece(piece: u32, offset: u32, len: usize) -> Message {
    Message::Piece { piece: PieceIndex(piece), offset, data: vec![0; len] }
}

fn extended(id: u8, payload: &[u8]) -> Message {
    Message::Extended { id, payload: payload.to_vec() }
}

#[test]
fn every_message_becomes_news() {
    let table = [
        (Message::KeepAlive, ""),
        (Message::Port(6881), "Node(6881)"),
        (Message::Unknown { id: 99 }, ""),
        (Message::Choke, "Choked"),
        (Message::Unchoke, "Unchoked"),
        (Message::NotInterested, ""),
        (Message::Interested, "Interested"),
        (Message::Interested, ""),
        (Message::NotInterested, "NotInterested"),
        (have(1), "Gained(1)"),
        (have(1), ""),
        (bitfield("##.."), "Gained(0)"),
        (Message::Request(block(0, 5, 16384)), "Requested(0,5,16384)"),
        (Message::Request(block(3, 0, 100)), "Requested(3,0,100)"),
        (Message::Cancel(block(0, 5, 16384)), "Cancelled(0,5,16384)"),
        (piece(3, 0, 100), "Block(3,0,100)"),
        (piece(1, 16384, 16384), "Block(1,16384,16384)"),
        (extended(0, b"d1:v4:abcde"), "Extended(abcd)"),
        (extended(7, b"whatever"), ""),
        (have(3), "Gained(3)"),
        (have(2), "Gained(2) Completed"),
    ];
    let mut hearing = Hearing::of(4);
    hearing.shared.credit.grant(2);
    for (message, news) in table {
        let shown = format!("{message:?}");
        assert_eq!(hearing.hears(message).as_deref(), Ok(news), "{shown:.60}");
    }
}

#[test]
fn every_violation_is_named() {
    let not_agreed = "it used the fast extension, which was not agreed";
    let table = [
        (have(4), "it has piece 4 of 4"),
        (have(u32::MAX), "it has piece 4294967295 of 4"),
        (Message::Bitfield(vec![]), "its bitfield has 0 bytes instead of 1"),
        (Message::Bitfield(vec![0; 2]), "its bitfield has 2 bytes instead of 1"),
        (Message::Bitfield(vec![0b1000_1000]), "its bitfield has spare bits set"),
        (Message::Bitfield(vec![0b1111_0001]), "its bitfield has spare bits set"),
        (Message::Request(block(0, 0, 0)), "it requested 0 bytes at 0 of piece 0"),
        (Message::Request(block(3, 1, 100)), "it requested 100 bytes at 1 of piece 3"),
        (Message::Request(block(4, 0, 1)), "it requested 1 bytes at 0 of piece 4"),
        (
            Message::Request(block(0, u32::MAX, u32::MAX)),
            "it requested 4294967295 bytes at 4294967295 of piece 0",
        ),
        (Message::Cancel(block(0, 32768, 1)), "it cancelled 1 bytes at 32768 of piece 0"),
        (piece(4, 0, 1), "it sent 1 bytes at 0 of piece 4"),
        (piece(3, 100, 1), "it sent 1 bytes at 100 of piece 3"),
        (piece(3, 0, 99), "it sent 99 bytes at 0 of piece 3"),
        (piece(0, 1, 16383), "it sent 16383 bytes at 1 of piece 0"),
        (piece(3, 0, 100), "it sent a block that nobody asked for"),
        (extended(0, b"no bencode"), "its extension handshake is not bencoded, from byte 0 on"),
        (Message::Suggest(PieceIndex(0)), not_agreed),
        (Message::HaveAll, not_agreed),
        (Message::HaveNone, not_agreed),
        (Message::Reject(block(0, 0, 1)), not_agreed),
        (Message::AllowedFast(PieceIndex(0)), not_agreed),
    ];
    for (message, violation) in table {
        let shown = format!("{message:?}");
        assert_eq!(Hearing::of(4).hears(message), Err(violation.to_owned()), "{shown}");
    }
}

/// Five bytes must not buy a walk through all words, again and again.
#[test]
fn have_all_said_again_costs_nothing() {
    let mut hearing = Hearing::fast(200);
    assert_eq!(hearing.hears(Message::HaveAll), Ok("Seeder".into()));
    hearing.inbound.handle_message(Message::HaveAll, hearing.start).unwrap();
    assert!(hearing.inbound.telling.is_none());
}

#[test]
fn the_fast_extension_becomes_news() {
    let table = [
        (Message::HaveNone, ""),
        (Message::Suggest(PieceIndex(1)), ""),
        (Message::AllowedFast(PieceIndex(3)), "AllowedFast(3)"),
        (Message::AllowedFast(PieceIndex(4)), ""),
        (Message::Reject(block(0, 0, 16384)), "Rejected(0,0,16384)"),
        // Nothing is owed any more.
        (Message::Reject(block(0, 0, 16384)), ""),
        (Message::HaveAll, "Seeder"),
        (Message::HaveAll, ""),
    ];
    let mut hearing = Hearing::fast(4);
    hearing.shared.credit.grant(1);
    for (message, news) in table {
        let shown = format!("{message:?}");
        assert_eq!(hearing.hears(message).as_deref(), Ok(news), "{shown}");
    }
}

#[test]
fn have_all_tells_what_was_not_told_before() {
    for pieces in [4, 8, 130] {
        let mut hearing = Hearing::fast(pieces);
        assert_eq!(hearing.hears(have(1)).as_deref(), Ok("Gained(1)"));
        let news = hearing.hears(Message::HaveAll).unwrap();
        assert!(news.starts_with("Gained(0,2,3") && news.ends_with(" Completed"), "{news}");
        assert!(hearing.shared.theirs.is_full(), "{pieces}");
        let taken_back: u32 = hearing.taken_back().iter().map(|word| word.bits.count_ones()).sum();
        assert_eq!(pieces, taken_back, "piece by piece, as they were told");
    }
    let mut seeder = Hearing::fast(130);
    assert_eq!(seeder.hears(Message::HaveAll).as_deref(), Ok("Seeder"));
    assert_eq!(seeder.taken_back(), [], "a seeder was one word");
}

#[test]
fn a_reject_gives_the_credit_back() {
    let mut hearing = Hearing::fast(4);
    hearing.shared.credit.grant(2);
    hearing.hears(Message::Reject(block(3, 0, 100))).unwrap();
    assert!(hearing.hears(piece(3, 0, 100)).is_ok());
    assert!(hearing.hears(piece(3, 0, 100)).is_err());
}

#[test]
fn only_so_many_pieces_are_allowed() {
    let allowed = Message::AllowedFast(PieceIndex(2));
    let mut hearing = Hearing::fast(4);
    for _ in 0..limits::ALLOWED_FAST_MAX {
        assert_eq!(hearing.hears(allowed.clone()).as_deref(), Ok("AllowedFast(2)"));
    }
    assert_eq!(hearing.hears(allowed).as_deref(), Ok(""));
}

#[test]
fn a_choke_stops_the_clock_only_where_it_forgets() {
    for (fast, told) in [(false, ""), (true, "Stalled")] {
        let mut hearing = Hearing::new(4, fast);
        hearing.shared.credit.grant(1);
        hearing.hears(Message::Unchoke).unwrap();
        hearing.at(Duration::ZERO).unwrap();
        hearing.hears(Message::Choke).unwrap();
        let news = hearing.at(STALL_AFTER).unwrap();
        assert_eq!(news.trim_start_matches("Sample").trim(), told, "fast: {fast}");
    }
}

#[test]
fn a_block_takes_credit() {
    let mut hearing = Hearing::of(4);
    hearing.shared.credit.grant(1);
    assert!(hearing.hears(piece(3, 0, 100)).is_ok());
    assert!(hearing.hears(piece(3, 0, 100)).is_err());
}

#[test]
fn a_request_is_of_bounded_length() {
    // One piece that is twice as long as what may be asked for.
    let most = limits::REQUEST_LEN_MAX;
    let metainfo = made_up::torrent("t", 2 * most, u64::from(2 * most));
    let (_, context) = TorrentContext::new(metainfo, SharedBitfield::ones(1));
    let mut hearing = Hearing::of(1);
    hearing.inbound.context = context;
    assert!(hearing.hears(Message::Request(block(0, 0, most))).is_ok());
    assert!(hearing.hears(Message::Request(block(0, 0, most + 1))).is_err());
}

#[test]
fn a_bitfield_is_cut_into_words() {
    let picture = format!("#..#{}#{}#", ".".repeat(60), ".".repeat(90));
    let mut hearing = Hearing::of(156);
    let news = hearing.hears(bitfield(&picture));
    assert_eq!(news.as_deref(), Ok("Gained(0,3) Gained(64) Gained(155)"));
    assert_eq!(hearing.shared.theirs.count(), 4);
}

#[test]
fn words_are_told_one_at_a_time() {
    let mut hearing = Hearing::of(130);
    let message = bitfield(&("#".repeat(129) + "."));
    hearing.inbound.handle_message(message, hearing.start).unwrap();
    let told = std::iter::from_fn(|| {
        let news = hearing.inbound.poll_news()?;
        assert!(matches!(news, PeerNews::Gained(_)));
        Some(hearing.shared.theirs.count())
    });
    assert_eq!(told.collect::<Vec<_>>(), [64, 128, 129], "shared with what is told");
}

#[test]
fn all_at_once_is_a_seeder_and_later_is_a_completion() {
    let table: [(&[Message], &[&str]); 7] = [
        (&[bitfield("####")], &["Seeder"]),
        (&[bitfield("####"), bitfield("####")], &["Seeder", ""]),
        (&[bitfield("####"), have(2)], &["Seeder", ""]),
        // aria2 sends a second bitfield after its first.
        (&[bitfield("...."), bitfield("####")], &["", "Seeder"]),
        (&[bitfield("#..#"), bitfield("####")], &["Gained(0,3)", "Gained(1,2) Completed"]),
        (&[bitfield("#.##"), have(1)], &["Gained(0,2,3)", "Gained(1) Completed"]),
        (&[have(1), bitfield("#.##")], &["Gained(1)", "Gained(0,2,3) Completed"]),
    ];
    for (messages, news) in table {
        let mut hearing = Hearing::of(4);
        let heard: Vec<_> =
            messages.iter().map(|message| hearing.hears(message.clone()).unwrap()).collect();
        assert_eq!(heard, news, "{messages:?}");
    }
}

#[test]
fn what_was_told_is_taken_back_and_nothing_else() {
    let told = |messages: &[Message]| {
        let mut hearing = Hearing::of(130);
        messages.iter().for_each(|message| drop(hearing.hears(message.clone()).unwrap()));
        hearing.taken_back()
    };
    let word = |first, bits| Word { first: PieceIndex(first), bits };
    let picture = format!("#.#{}#", ".".repeat(126));
    assert_eq!(told(&[]), []);
    assert_eq!(
        told(&[bitfield(&picture), have(64)]),
        [word(0, 0b101), word(64, 1), word(128, 0b10)]
    );
    assert_eq!(told(&[bitfield(&"#".repeat(130))]), [], "a seeder was one word");
    let completed = told(&[have(0), bitfield(&"#".repeat(130))]);
    assert_eq!(completed, [word(0, u64::MAX), word(64, u64::MAX), word(128, 0b11)]);
}

#[test]
fn what_was_not_told_yet_is_not_taken_back() {
    let mut hearing = Hearing::of(130);
    let message = bitfield(&("#".repeat(129) + "."));
    hearing.inbound.handle_message(message, hearing.start).unwrap();
    assert!(hearing.inbound.poll_news().is_some());
    assert_eq!(hearing.taken_back(), [Word { first: PieceIndex(0), bits: u64::MAX }]);
}

#[test]
fn silence_ends_the_connection() {
    let mut hearing = Hearing::of(4);
    let short = Duration::from_millis(1);
    assert!(hearing.at(SILENCE_MAX - short).is_ok());
    assert_eq!(hearing.at(SILENCE_MAX), Err("it said nothing for 180 s".to_owned()));
    hearing.inbound.handle_message(Message::KeepAlive, hearing.start + SILENCE_MAX).unwrap();
    assert!(hearing.at(2 * SILENCE_MAX - short).is_ok(), "any message breaks the silence");
    assert!(hearing.at(2 * SILENCE_MAX).is_err());
}

#[test]
fn samples_are_taken_at_their_time() {
    let mut hearing = Hearing::of(4);
    let short = Duration::from_millis(1);
    assert_eq!(hearing.inbound.poll_deadline(), hearing.start + SAMPLE_EVERY);
    assert_eq!(hearing.at(SAMPLE_EVERY - short).as_deref(), Ok(""));
    assert_eq!(hearing.at(SAMPLE_EVERY + short).as_deref(), Ok("Sample"));
    assert_eq!(hearing.inbound.poll_deadline(), hearing.start + 2 * SAMPLE_EVERY + short);
}

#[test]
fn a_peer_that_owes_and_sends_nothing_has_stalled() {
    let mut hearing = Hearing::of(4);
    hearing.shared.credit.grant(3);
    let second = Duration::from_secs(1);
    // When, what it says before, and what the time tells. Samples are left out.
    let table = [
        (STALL_AFTER * 2, None, ""), // It chokes us, so it owes nothing.
        (STALL_AFTER * 2, Some(Message::Unchoke), ""),
        (STALL_AFTER * 3 - second, None, ""),
        (STALL_AFTER * 3, None, "Stalled"),
        (STALL_AFTER * 3 + second, None, ""),
        (STALL_AFTER * 4 + second, None, "Stalled"),
        (STALL_AFTER * 5 + second, Some(Message::Choke), ""),
    ];
    for (after, message, told) in table {
        message.into_iter().for_each(|message| drop(hearing.hears(message).unwrap()));
        let news = hearing.at(after).unwrap();
        let news: Vec<_> = news.split(' ').filter(|news| *news != "Sample").collect();
        assert_eq!(news.join(" "), told, "after {after:?}");
    }
}

#[test]
fn each_block_gives_new_time_and_the_last_ends_it() {
    let mut hearing = Hearing::of(4);
    hearing.shared.credit.grant(2);
    hearing.hears(Message::Unchoke).unwrap();
    hearing.at(Duration::ZERO).unwrap();
    assert_eq!(hearing.inbound.stall_at, Some(hearing.start + STALL_AFTER));
    let later = hearing.start + STALL_AFTER / 2;
    hearing.inbound.handle_message(piece(3, 0, 100), later).unwrap();
    assert_eq!(hearing.inbound.stall_at, Some(later + STALL_AFTER));
    hearing.inbound.handle_message(piece(3, 0, 100), later).unwrap();
    assert_eq!(hearing.inbound.stall_at, None);
}

#[test]
fn of_metadata_only_requests_are_news() {
    use crate::formats::wire::MetadataMessage;

    let ours = OUR_UT_METADATA;
    let mut hearing = Hearing::of(3);
    let request = extended(ours, &MetadataMessage::Request(5).emit());
    assert_eq!(hearing.hears(request), Ok("Metadata(Request(5))".into()));
    let data = MetadataMessage::Data { piece: 0, total_len: 9, data: vec![1; 9] };
    for idle in [data, MetadataMessage::Reject(0), MetadataMessage::Unknown] {
        assert_eq!(hearing.hears(extended(ours, &idle.emit())), Ok(String::new()));
    }
    let why = "its ut_metadata message is not bencoded, from byte 0 on";
    assert_eq!(hearing.hears(extended(ours, b"x")), Err(why.into()));
}

/// A peer that speaks before the torrent's metadata is here, and what comes in its place.
fn early(fast: bool) -> (Hearing, Arc<TorrentContext>) {
    use crate::formats::metainfo::Metainfo;
    use crate::words::id::InfoHash;

    let (_, unknown) = TorrentContext::unknown(Metainfo::unknown(InfoHash([1; 20]), None));
    let shared = Arc::new(PeerShared::new(0));
    let start = made_up::start();
    let inbound = Inbound::new(Arc::clone(&unknown), Arc::clone(&shared), fast, start);
    (Hearing { inbound, shared, start }, unknown)
}

/// The metadata of a torrent of ten pieces is here.
fn is_known(unknown: &TorrentContext) {
    let metainfo = made_up::torrent("t", 2 * BLOCK_LEN, 20 * u64::from(BLOCK_LEN));
    let (_, known) = TorrentContext::new(metainfo, SharedBitfield::ones(10));
    unknown.make_room_for(&known);
}

#[test]
fn what_was_said_of_pieces_too_early_is_heard_when_there_are_some() {
    let table: [(bool, &[Message], &str); 6] = [
        (false, &[bitfield("#...#....."), have(9), Message::Unchoke], "Unchoked Gained(0,4,9)"),
        (false, &[have(3), Message::Interested, Message::NotInterested], "Gained(3)"),
        (true, &[Message::HaveAll, Message::Unchoke, Message::Choke], "Seeder"),
        (true, &[Message::HaveNone, have(2), Message::Interested], "Interested Gained(2)"),
        (true, &[Message::AllowedFast(PieceIndex(7))], "AllowedFast(7)"),
        (false, &[bitfield("##########")], "Seeder"),
    ];
    for (fast, messages, news) in table {
        let (mut hearing, unknown) = early(fast);
        for message in messages {
            assert_eq!(hearing.hears(message.clone()), Ok(String::new()), "{message:?}");
        }
        assert_eq!(hearing.at(EARLY_LOOK_EVERY), Ok(String::new()));
        assert_eq!(hearing.inbound.poll_deadline(), hearing.start + 2 * EARLY_LOOK_EVERY);
        is_known(&unknown);
        let renewed = format!("Renewed(10) {news}");
        assert_eq!(hearing.at(2 * EARLY_LOOK_EVERY), Ok(renewed.trim_end().to_owned()));
        let renewal = hearing.shared.renewal.get().expect("its writer finds it");
        assert_eq!(renewal.shared.theirs.len(), 10);
        assert_eq!(hearing.inbound.pieces_max(), 10);
        assert!(hearing.hears(have(5)).is_ok());
    }
}

#[test]
fn what_turns_out_to_be_wrong_is_a_violation_then() {
    let table: [(bool, Message, &str); 4] = [
        (false, bitfield("#"), "its bitfield has 1 bytes instead of 2"),
        (false, have(16), "it has a piece beyond the 10 that there are"),
        (false, Message::HaveAll, "it used the fast extension, which was not agreed"),
        (false, have(12), "its bitfield has spare bits set"),
    ];
    for (fast, message, why) in table {
        let (mut hearing, unknown) = early(fast);
        assert_eq!(hearing.hears(message), Ok(String::new()));
        is_known(&unknown);
        assert_eq!(hearing.at(EARLY_LOOK_EVERY), Err(why.to_owned()));
    }
}

#[test]
fn too_early_is_no_excuse_for_nonsense_and_metadata_is_news() {
    let (mut hearing, _unknown) = early(true);
    let why = "it sent a block that nobody asked for";
    assert_eq!(hearing.hears(piece(0, 0, 16_384)), Err(why.into()));
    let (mut hearing, _unknown) = early(true);
    assert!(hearing.hears(have(EARLY_PIECES_MAX)).is_err());
    let (mut hearing, _unknown) = early(true);
    assert_eq!(hearing.hears(have(EARLY_PIECES_MAX - 1)), Ok(String::new()));
    assert_eq!(hearing.hears(Message::Request(block(0, 0, 1))), Ok(String::new()));
    let reject = extended(OUR_UT_METADATA, b"d8:msg_typei2e5:piecei4ee");
    assert_eq!(hearing.hears(reject), Ok("Metadata(Reject(4))".into()));
    let data = extended(OUR_UT_METADATA, b"d8:msg_typei1e5:piecei0e10:total_sizei1eex");
    let news = "Metadata(Data { piece: 0, total_len: 1, data: [120] })";
    assert_eq!(hearing.hears(data), Ok(news.into()));
}
