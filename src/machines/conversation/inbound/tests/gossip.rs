//! What a peer says of other networks and of others, and what it takes back.

use super::*;

#[test]
fn a_node_of_mainline_is_told_once_and_of_a_private_torrent_never() {
    let mut hearing = Hearing::of(1);
    for (port, news) in [(0, ""), (7, "Node(7)"), (8, ""), (7, "")] {
        assert_eq!(hearing.hears(Message::Port(port)).as_deref(), Ok(news));
    }
    let mut private = Hearing::about(made_up::private_torrent("t", BLOCK_LEN, 1), false);
    assert_eq!(private.hears(Message::Port(7)).as_deref(), Ok(""));
}

/// A message of peer exchange that names so many.
fn exchange(n: u8) -> Message {
    let address = |n| SocketAddr::from(([127, 0, 0, n], 1));
    let added = (0..n).map(|n| (address(n), PexFlags(0))).collect();
    let exchange = PeerExchange { added, dropped: Vec::new() };
    extended(OUR_UT_PEX, &exchange.emit())
}

#[test]
fn whom_it_is_connected_to_is_told_in_words_and_only_if_we_want_to_hear_it() {
    let mut hearing = Hearing::of(1);
    assert_eq!(hearing.hears(exchange(2)).as_deref(), Ok(""));
    hearing.inbound.listen_to_gossip(hearing.start);
    assert_eq!(hearing.hears(exchange(2)).as_deref(), Ok("Exchanged(127.0.0.0:1,127.0.0.1:1)"));
    let heard = hearing.hears(exchange(40)).unwrap();
    let words: Vec<_> = heard.split(' ').map(|word| word.matches(':').count()).collect();
    assert_eq!(words, [16, 16, 8]);
    let mut private = Hearing::about(made_up::private_torrent("t", BLOCK_LEN, 1), false);
    private.inbound.listen_to_gossip(private.start);
    assert_eq!(private.hears(exchange(2)).as_deref(), Ok(""));
}

#[test]
fn a_flood_of_peer_exchange_is_passed_over_and_then_the_end() {
    let mut hearing = Hearing::of(1);
    hearing.inbound.listen_to_gossip(hearing.start);
    let mut said = Vec::new();
    let end = loop {
        match hearing.hears(exchange(1)) {
            Ok(news) => said.push(news),
            Err(why) => break why,
        }
    };
    assert_eq!(end, "it floods us with whom it is connected to");
    let taken = said.iter().filter(|news| !news.is_empty()).count();
    assert_eq!(taken, limits::pex::AT_ONCE as usize);
    assert_eq!(said.len() - taken, limits::pex::PASSED_OVER_MAX as usize);
    // One a minute is what the protocol allows.
    let mut patient = Hearing::of(1);
    patient.inbound.listen_to_gossip(patient.start);
    for _ in 0..1000 {
        assert_ne!(patient.hears(exchange(1)).as_deref(), Ok(""));
        patient.start += limits::pex::EVERY;
    }
    let garbage = extended(OUR_UT_PEX, b"nonsense");
    assert_eq!(patient.hears(garbage).unwrap_err(), "its peer exchange is not bencoded");
}

fn dont_have(piece: u32) -> Message {
    extended(OUR_LT_DONTHAVE, &piece.to_be_bytes())
}

#[test]
fn a_piece_that_is_taken_back_is_lost() {
    let mut hearing = Hearing::of(3);
    hearing.hears(bitfield("##.")).unwrap();
    assert_eq!(
        hearing.hears(dont_have(1)).as_deref(),
        Ok("Lost(Word { first: PieceIndex(0), bits: 2 })")
    );
    assert_eq!(hearing.hears(dont_have(1)).as_deref(), Ok(""));
    assert_eq!(hearing.hears(dont_have(2)).as_deref(), Ok(""));
    assert_eq!(hearing.hears(have(1)).as_deref(), Ok("Gained(1)"));
    assert_eq!(hearing.hears(have(2)).as_deref(), Ok("Gained(2) Completed"));
    assert_eq!(
        hearing.hears(dont_have(0)).as_deref(),
        Ok("Incomplete Lost(Word { first: PieceIndex(0), bits: 1 })")
    );
    for payload in [&b""[..], b"abc", b"abcde", &3_u32.to_be_bytes(), &u32::MAX.to_be_bytes()] {
        let why = hearing.hears(extended(OUR_LT_DONTHAVE, payload)).unwrap_err();
        assert_eq!(why, "it takes back a piece that there is not");
    }
}

#[test]
fn a_seeder_that_takes_a_piece_back_is_told_anew() {
    for (fast, all) in [(false, bitfield("####")), (true, Message::HaveAll)] {
        let mut hearing = Hearing::new(4, fast);
        assert_eq!(hearing.hears(all).as_deref(), Ok("Seeder"));
        assert_eq!(hearing.hears(dont_have(2)).as_deref(), Ok("Incomplete Gained(0,1,3)"));
        assert_eq!(hearing.taken_back(), [Word { first: PieceIndex(0), bits: 0b1011 }]);
        assert_eq!(hearing.hears(have(2)).as_deref(), Ok("Gained(2) Completed"));
    }
}
