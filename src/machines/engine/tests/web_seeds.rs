//! Web seeds are asked like peers that have everything, a few at once.

use super::*;

#[test]
fn whoever_is_of_no_use_makes_room_for_the_next() {
    let mut drive = Drive::new(settings());
    let seed = |n: usize| WebSeed::parse(&format!("http://h/{n}")).unwrap();
    drive.web_seeds = (0..=limits::WEB_SEEDS_AT_ONCE).map(seed).collect();
    let refused = Farewell { reason: "it answers 404".into(), fault: Fault::Theirs };
    let asked =
        "ask 0 at http://h/0, ask 1 at http://h/1, ask 2 at http://h/2, ask 3 at http://h/3";
    script! {
        drive.adds(torrent(2), &[]) => "open",
        drive.events() => "started 2",
        drive.storage(0, StorageNews::Opened) => asked,
        drive.connected(0, 1) => "",
        drive.events() => "checked 0/2, http://h/0 connected",
        drive.news(0, PeerNews::Gone(refused)) => "reap 0, ask 0 at http://h/4",
        drive.goes(1) => "reap 1",
        drive.waits(limits::WEB_SEED_DELAY) => "ask 1 at http://h/1",
    }
}

#[test]
fn a_complete_torrent_asks_nobody() {
    let mut drive = Drive::new(Settings { goal: Goal::CompleteAndSeed, ..settings() });
    drive.web_seeds = vec![WebSeed::parse("http://h/").unwrap()];
    script! {
        drive.adds(torrent(1), &[]) => "open",
        drive.storage(0, StorageNews::Opened) => "ask 0 at http://h/",
        drive.connected(0, 1) => "",
        drive.has(0, "#") => "let 0 look",
        drive.news(0, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.sends(0, 0, 0) => "store 0:0",
        drive.sends(0, 0, 1) => "store 0:1",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle",
        drive.goes(0) => "reap 0",
        drive.waits(2 * limits::WEB_SEED_DELAY) => "",
    }
}
