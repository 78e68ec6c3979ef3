//! Whoever sent blocks that were wrong is banned when the piece is right, and nobody else is.

use super::*;

/// These blocks of a piece have changed; `0b10` is the second.
fn guilty(piece: u32, bits: u64) -> StorageNews {
    StorageNews::Guilty(PieceIndex(piece), Word { first: PieceIndex(0), bits })
}

#[test]
fn who_alone_sent_a_corrupt_piece_is_banned_at_once() {
    let mut drive = Drive::downloading(settings(), 2);
    let (one, other) = (drive.joins("#."), drive.joins("#."));
    drive.events();
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "",
        drive.sends(one, 0, 0) => "store 0:0",
        drive.sends(one, 0, 1) => "store 0:1",
        drive.news(one, PeerNews::Choked) => "",
        drive.storage(0, StorageNews::Corrupt(PieceIndex(0))) => "hang up 0",
        drive.events() => "warning: piece 0 arrived corrupt and is fetched again",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:0+2",
        drive.sends(other, 0, 0) => "store 0:0",
        drive.sends(other, 0, 1) => "store 0:1",
        drive.storage(0, guilty(0, 0b01)) => "",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "",
        drive.goes(one) => "reap 0",
        drive.events() => "piece 0, gone: it sent corrupt data",
    }
}

/// Two peers that have sent a block each of piece 0, which was corrupt.
fn two_suspects() -> (Drive, u32, u32) {
    let mut drive = Drive::downloading(settings(), 2);
    let (one, other) = (drive.joins("#."), drive.joins("#."));
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.sends(one, 0, 0) => "store 0:0",
        drive.news(one, PeerNews::Choked) => "",
        drive.news(other, PeerNews::Unchoked) => "ask 1 for 0:1+1",
        drive.sends(other, 0, 1) => "store 0:1",
        drive.storage(0, StorageNews::Corrupt(PieceIndex(0))) => "",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:0+2",
    }
    (drive, one, other)
}

#[test]
fn of_several_senders_only_the_guilty_are_banned() {
    let table = [
        (0b00, "", ""),
        (0b01, "hang up 0", ""),
        (0b10, "hang up 1", ""),
        (0b11, "hang up 0, hang up 1", ""),
    ];
    for (blocks, ordered, when_right) in table {
        let mut drive = two_suspects().0;
        assert_eq!(drive.storage(0, guilty(0, blocks)), ordered);
        assert_eq!(drive.storage(0, StorageNews::Verified(PieceIndex(0))), when_right);
        assert_eq!(
            drive.storage(0, guilty(0, blocks)),
            "",
            "who is known to be right is forgotten"
        );
    }
}

#[test]
fn whoever_is_gone_is_banned_all_the_same() {
    let (mut drive, one, other) = two_suspects();
    script! {
        drive.goes(one) => "reap 0",
        drive.storage(0, guilty(0, 0b01)) => "",
        drive.accepts(0) => one,
        drive.connected(one, 0) => "hang up 0",
        drive.goes(one) => "reap 0",
        drive.goes(other) => "reap 1",
    }
    let told = drive.events();
    assert!(told.contains("gone: it is banned, for it sent corrupt data"), "{told}");
}

#[test]
fn on_an_address_that_many_share_the_peer_id_counts_and_else_the_address() {
    // Where a peer comes from, its id, and what is ordered.
    let table = [
        ("127.0.0.1", [7; 20], "hang up 0"),
        ("127.0.0.1", [8; 20], ""),
        ("10.0.0.1", [7; 20], ""),
        ("192.0.2.1", [9; 20], "hang up 0"),
        ("192.0.2.1", [7; 20], "hang up 0"),
        ("192.0.2.2", [9; 20], ""),
    ];
    for (ip, id, ordered) in table {
        let mut drive = Drive::downloading(settings(), 2);
        spoils_piece(&mut drive, 0, "127.0.0.1", [7; 20]);
        spoils_piece(&mut drive, 1, "192.0.2.1", [9; 20]);
        let peer = drive.accepts(0);
        let greeting = Greeting { ip, peer_id: PeerId(id), ..Greeting::default() };
        assert_eq!(drive.greeted(peer, greeting), ordered, "{ip} {id:?}");
    }
}

/// Somebody comes, sends this piece corrupt, is found out and goes.
fn spoils_piece(drive: &mut Drive, piece: u32, ip: &'static str, id: [u8; 20]) {
    let peer = drive.accepts(0);
    drive.greeted(peer, Greeting { ip, peer_id: PeerId(id), ..Greeting::default() });
    drive.has(peer, ["#.", ".#"][piece as usize]);
    drive.news(peer, PeerNews::Unchoked);
    drive.sends(peer, piece, 0);
    drive.sends(peer, piece, 1);
    script! {
        drive.storage(0, StorageNews::Corrupt(PieceIndex(piece))) => "hang up 0",
        drive.storage(0, guilty(piece, 0b11)) => "",
        drive.goes(peer) => "reap 0",
    }
}
