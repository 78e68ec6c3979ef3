//! The endgame: when nothing is left that nobody was asked for, what is on its way is asked of
//! others too, and whoever is slower is told to forget it.

use super::*;

#[test]
fn a_block_is_asked_of_three_and_the_first_to_send_it_ends_the_race() {
    let mut drive = Drive::downloading(settings(), 1);
    let peers: Vec<u32> = (0..=limits::DUPLICATES_MAX).map(|_| drive.joins("#")).collect();
    script! {
        drive.news(peers[0], PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(peers[1], PeerNews::Unchoked) => "ask 1 for 0:0+1, ask 1 for 0:1+1",
        drive.news(peers[2], PeerNews::Unchoked) => "ask 2 for 0:0+1, ask 2 for 0:1+1",
        drive.news(peers[3], PeerNews::Unchoked) => "",
        drive.sends(peers[1], 0, 0) => "store 0:0, cancel 0:0 of 0, cancel 0:0 of 2",
        // It was on its way already.
        drive.sends(peers[0], 0, 0) => "",
        drive.sends(peers[2], 0, 1) => "store 0:1, cancel 0:1 of 0, cancel 0:1 of 1",
        // It owes nothing any more, whatever its reader thinks.
        drive.news(peers[1], PeerNews::Stalled) => "",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle",
    }
}

#[test]
fn nothing_is_asked_twice_while_something_was_asked_of_nobody() {
    let mut drive = Drive::downloading(settings(), 2);
    let (one, other) = (drive.joins("#."), drive.joins("#."));
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "",
        drive.waits(Duration::from_secs(1)) => "",
        // The last piece is asked for, so those who have nothing to do help with the first.
        drive.has(one, ".#") => "ask 0 for 1:0+2",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:0+1, ask 1 for 0:1+1",
    }
}

#[test]
fn whoever_has_enough_to_do_is_not_asked_for_what_others_owe() {
    let mut drive = Drive::downloading(settings(), 4);
    let (one, other) = (drive.joins("####"), drive.joins("####"));
    drive.news(one, PeerNews::Unchoked);
    drive.performs(one);
    let mut asked = drive.news(other, PeerNews::Unchoked).matches("ask 1").count();
    for _ in 0..10 {
        asked += drive.performs(other).matches("ask 1").count();
    }
    assert_eq!(asked, limits::ENDGAME_PIPELINE as usize);
    let block = drive.peers[&other].asked[0];
    let sent = drive.sends(other, block.piece.0, block.offset / BLOCK_LEN);
    assert_eq!(sent.matches("ask 1").count(), 1, "{sent}");
}

#[test]
fn a_block_is_put_back_when_none_of_its_askers_is_left() {
    let mut drive = Drive::downloading(settings(), 1);
    let peers: Vec<u32> = (0..4).map(|_| drive.joins("#")).collect();
    script! {
        drive.news(peers[0], PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(peers[1], PeerNews::Unchoked) => "ask 1 for 0:0+1, ask 1 for 0:1+1",
        drive.goes(peers[0]) => "reap 0",
        drive.waits(limits::RETRY_DELAY) => "",
        drive.goes(peers[1]) => "reap 1",
        drive.news(peers[2], PeerNews::Unchoked) => "ask 2 for 0:0+2",
        drive.news(peers[3], PeerNews::Unchoked) => "ask 3 for 0:0+1, ask 3 for 0:1+1",
    }
}
