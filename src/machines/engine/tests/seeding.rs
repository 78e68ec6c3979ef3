//! What comes after the last piece, and what is left out before it.

use super::*;
use crate::bus::{Trouble, TroubleKind};
use crate::formats::wire::ExtensionHandshake;

/// An engine that seeds its complete torrent of one piece until then, and a peer.
fn seeding(seed_until: SeedUntil) -> (Drive, u32) {
    let goal = Goal::CompleteAndSeed;
    let mut drive = Drive::downloading(Settings { goal, seed_until, ..settings() }, 1);
    let peer = drive.joins(".");
    assert_eq!(drive.storage(0, StorageNews::Verified(PieceIndex(0))), "settle");
    (drive, peer)
}

#[test]
fn whoever_seeds_until_a_ratio_ends_when_so_much_was_sent() {
    let piece = u64::from(2 * BLOCK_LEN);
    let (mut drive, peer) = seeding(SeedUntil { ratio: Some(1.5), time: None });
    let sent = |uploaded| PeerNews::Performed { orders: 0, uploaded };
    script! {
        drive.news(peer, sent(piece)) => "",
        drive.news(peer, sent(piece / 2 - 1)) => "",
        drive.waits(Duration::from_secs(3600)) => "",
        drive.news(peer, sent(1)) => "",
        drive.waits(limits::PROGRESS_EVERY) => "hang up 0, close",
    }
}

#[test]
fn whoever_seeds_for_a_time_ends_after_it() {
    let time = Duration::from_secs(60);
    let (mut drive, _) = seeding(SeedUntil { ratio: Some(1.5), time: Some(time) });
    script! {
        drive.waits(time - Duration::from_millis(1)) => "",
        drive.waits(limits::PROGRESS_EVERY) => "hang up 0, close",
    }
}

#[test]
fn a_session_seeds_until_every_torrent_has_been_seeded_enough() {
    let time = Duration::from_secs(60);
    let (mut drive, _) = seeding(SeedUntil { ratio: None, time: Some(time) });
    drive.waits(time / 2);
    drive.adds(made_up::torrent("other", BLOCK_LEN, 1), &[]);
    drive.storage(1, StorageNews::Found(Word::of(PieceIndex(0))));
    script! {
        drive.storage(1, StorageNews::Opened) => "settle",
        drive.waits(time - Duration::from_secs(1)) => "",
        drive.waits(2 * limits::PROGRESS_EVERY) => "hang up 0, close, close",
    }
}

#[test]
fn whoever_only_seeds_writes_nothing_that_could_settle() {
    let mut drive = Drive::new(Settings { goal: Goal::Seed, ..settings() });
    drive.adds(torrent(2), &[]);
    drive.storage(0, StorageNews::Found(Word::of(PieceIndex(1))));
    script! {
        drive.storage(0, StorageNews::Opened) => "",
        drive.events() => "started 2, checked 1/2",
    }
}

#[test]
fn whoever_wants_nothing_is_hung_up_once_we_want_nothing_either() {
    let mut drive = Drive::downloading(Settings { goal: Goal::CompleteAndSeed, ..settings() }, 1);
    let (partial, leecher) = (drive.joins("#"), drive.joins("."));
    let upload_only = ExtensionHandshake { upload_only: Some(true), ..Default::default() };
    script! {
        drive.news(partial, PeerNews::Extended(Box::new(upload_only))) => "",
        drive.news(partial, PeerNews::Sample) => "",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle",
        drive.news(leecher, PeerNews::Sample) => "",
        drive.news(partial, PeerNews::Sample) => "hang up 0",
        drive.goes(partial) => "reap 0",
    }
    assert!(drive.events().ends_with("gone: neither side wants anything"));
}

#[test]
fn what_is_not_wanted_is_neither_asked_for_nor_waited_for() {
    let mut drive = Drive::new(settings());
    drive.adds_wanting(torrent(3), &[], "#.#");
    script! {
        drive.storage(0, StorageNews::Unwanted(Word::of(PieceIndex(1)))) => "",
        drive.storage(0, StorageNews::Found(Word::of(PieceIndex(2)))) => "",
        drive.storage(0, StorageNews::Opened) => "",
        drive.joins(".#.") => 0,
        drive.news(0, PeerNews::Unchoked) => "",
        drive.has(0, "#..") => "let 0 look, ask 0 for 0:0+2",
        drive.sends(0, 0, 0) => "store 0:0",
        drive.sends(0, 0, 1) => "store 0:1",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle",
        drive.waits(Duration::ZERO) => "hang up 0, close",
    }
}

#[test]
fn whoever_waits_for_more_torrents_goes_on_when_all_are_complete() {
    for (stay, ordered) in [(false, "settle, close"), (true, "settle")] {
        let mut drive = Drive::new(Settings { stay, ..settings() });
        drive.adds(torrent(1), &[]);
        drive.storage(0, StorageNews::Found(Word::of(PieceIndex(0))));
        let mut ordered_so = drive.storage(0, StorageNews::Opened);
        let later = drive.waits(Duration::from_secs(3600));
        if !later.is_empty() {
            ordered_so += ", ";
        }
        assert_eq!(ordered_so + &later, ordered, "{stay}");
    }
    let mut drive = Drive::new(Settings { stay: true, ..settings() });
    drive.adds(torrent(1), &[]);
    let trouble = Trouble { kind: TroubleKind::Other, what: "t".into(), why: "it fails".into() };
    script! {
        drive.storage(0, StorageNews::Failed(trouble)) => "",
        drive.waits(Duration::from_secs(3600)) => "",
        drive.adds(made_up::torrent("other", BLOCK_LEN, 1), &[]) => "open",
        drive.quits() => "",
        drive.waits(Duration::ZERO) => "close, close",
    }
}
