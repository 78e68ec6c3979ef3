//! The fast extension (BEP 6): whatever is not sent is rejected, and some is sent in spite of a
//! choke.

use super::*;

#[test]
fn what_is_rejected_is_asked_of_another_at_once_and_of_it_after_a_pause() {
    let mut drive = Drive::downloading(settings(), 2);
    let one = drive.joins_fast("#.", "");
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.rejects(one, 0, 0) => "",
        drive.rejects(one, 0, 1) => "",
        drive.waits(limits::PAUSE - Duration::from_millis(1)) => "",
        drive.waits(limits::RETRY_DELAY) => "ask 0 for 0:0+2",
        drive.rejects(one, 0, 1) => "",
        drive.joins("#.") => 1,
        drive.news(1, PeerNews::Unchoked) => "ask 1 for 0:1+1",
    }
}

#[test]
fn an_unchoke_ends_the_pause() {
    let mut drive = Drive::downloading(settings(), 2);
    let peer = drive.joins_fast("#.", "");
    script! {
        drive.news(peer, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(peer, PeerNews::Choked) => "",
        drive.rejects(peer, 0, 0) => "",
        drive.rejects(peer, 0, 1) => "",
        drive.news(peer, PeerNews::Unchoked) => "ask 0 for 0:0+2",
    }
}

#[test]
fn a_choke_forgets_nothing_until_it_is_rejected() {
    let mut drive = Drive::downloading(settings(), 2);
    let (one, other) = (drive.joins_fast("#.", ""), drive.joins("#."));
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "",
        drive.news(one, PeerNews::Choked) => "",
        drive.waits(limits::RETRY_DELAY) => "",
        drive.sends(one, 0, 0) => "store 0:0",
        drive.rejects(one, 0, 1) => "",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:1+1",
    }
}

#[test]
fn a_reject_of_what_was_taken_back_says_nothing() {
    let mut drive = Drive::downloading(settings(), 1);
    let (one, other) = (drive.joins_fast("#", ""), drive.joins("#"));
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "ask 1 for 0:0+1, ask 1 for 0:1+1",
        drive.sends(other, 0, 0) => "store 0:0, cancel 0:0 of 0",
        drive.rejects(one, 0, 0) => "",
        drive.waits(Duration::from_secs(1)) => "",
    }
}

#[test]
fn what_it_allows_is_asked_for_while_it_chokes_us() {
    let mut drive = Drive::downloading(settings(), 4);
    let peer = drive.joins_fast("#..#", "");
    let allowed = |piece| PeerNews::AllowedFast(PieceIndex(piece));
    script! {
        drive.news(peer, allowed(0)) => "ask 0 for 0:0+2",
        drive.news(peer, allowed(1)) => "",
        drive.has(peer, ".#..") => "ask 0 for 1:0+2",
        drive.sends(peer, 0, 0) => "store 0:0",
        drive.sends(peer, 0, 1) => "store 0:1",
        drive.news(peer, PeerNews::Unchoked) => "ask 0 for 3:0+2",
    }
}

#[test]
fn what_we_allow_is_served_without_a_slot_as_often_as_it_has_blocks() {
    let mut drive = Drive::downloading(settings(), 3);
    drive.storage(0, StorageNews::Found(Word { first: PieceIndex(0), bits: 0b011 }));
    // It may ask for pieces 0 and 2; we have 0 and 1.
    let peer = drive.joins_fast("...", "#.#");
    script! {
        drive.requests(peer, 0, 0) => "upload 0:0 to 0",
        drive.requests(peer, 1, 0) => "reject 1:0 of 0",
        drive.requests(peer, 2, 0) => "reject 2:0 of 0",
        drive.requests(peer, 0, 1) => "upload 0:1 to 0",
        drive.news(peer, PeerNews::Interested) => "unchoke 0",
        drive.requests(peer, 1, 0) => "upload 1:0 to 0",
        drive.requests(peer, 0, 0) => "upload 0:0 to 0",
        drive.news(peer, PeerNews::NotInterested) => "choke 0",
        // Of the four blocks of two pieces it had two without a slot.
        drive.requests(peer, 0, 0) => "upload 0:0 to 0",
        drive.requests(peer, 0, 1) => "upload 0:1 to 0",
        drive.requests(peer, 0, 0) => "reject 0:0 of 0",
    }
}

#[test]
fn what_waits_for_the_writer_is_rejected_when_it_is_choked_or_taken_back() {
    let mut drive = Drive::downloading(settings(), 20);
    let found = Word { first: PieceIndex(0), bits: (1 << 20) - 1 };
    drive.storage(0, StorageNews::Found(found));
    let peer = drive.joins_fast(&".".repeat(20), "");
    drive.news(peer, PeerNews::Interested);
    drive.performs(peer);
    let ordered = limits::UPLOADS_ORDERED_MAX / 2;
    for piece in 0..ordered {
        drive.requests(peer, piece, 0);
        drive.requests(peer, piece, 1);
    }
    let waiting = drive.block(ordered, 0);
    script! {
        drive.requests(peer, ordered, 0) => "",
        drive.requests(peer, ordered, 1) => "",
        drive.news(peer, PeerNews::Cancelled(waiting)) => "",
        drive.news(peer, PeerNews::NotInterested) => "choke 0",
        drive.performs(peer) => "reject 16:0 of 0, reject 16:1 of 0",
    }
}
