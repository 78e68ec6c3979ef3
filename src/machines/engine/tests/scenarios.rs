//! Scenarios: what happens on the left, what is ordered on the right.

use super::*;
use crate::formats::mse::skey_hash;
use crate::formats::wire::ExtensionHandshake;

#[test]
fn a_peers_life_from_dial_to_reap() {
    let mut drive = Drive::new(settings());
    script! {
        drive.adds(torrent(2), &["127.0.0.1:1"]) => "open",
        drive.events() => "started 2",
        drive.storage(0, StorageNews::Opened) => "dial 0 at 127.0.0.1:1",
        drive.events() => "checked 0/2",
        drive.connected(0, 7) => "",
        drive.events() => "127.0.0.1:1 connected",
        drive.has(0, "#.") => "let 0 look",
        drive.performs(0) => "",
        drive.news(0, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.sends(0, 0, 0) => "store 0:0",
        drive.sends(0, 0, 1) => "store 0:1",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "",
        drive.events() => "piece 0",
        drive.has(0, "##") => "ask 0 for 1:0+2",
        drive.sends(0, 1, 1) => "store 1:1",
        drive.sends(0, 1, 0) => "store 1:0",
        drive.storage(0, StorageNews::Verified(PieceIndex(1))) => "settle",
        drive.events() => "piece 1, finished 65536/0",
        drive.waits(Duration::ZERO) => "hang up 0, close",
        drive.storage(0, StorageNews::Settled) => "",
        drive.goes(0) => "reap 0",
        drive.events() => "settled, gone: the session ends",
        drive.storage(0, StorageNews::Closed) => "end",
    }
    assert!(drive.engine.is_ended() && drive.engine.is_closed());
}

#[test]
fn nothing_is_dialled_or_asked_before_what_is_there_is_known() {
    let mut drive = Drive::new(settings());
    script! {
        drive.adds(torrent(2), &["127.0.0.1:1"]) => "open",
        drive.accepts(0) => 0,
        drive.connected(0, 7) => "",
        drive.has(0, "##") => "let 0 look",
        drive.news(0, PeerNews::Unchoked) => "",
        drive.storage(0, StorageNews::Checking(65536)) => "",
        drive.storage(0, StorageNews::Found(Word::of(PieceIndex(1)))) => "",
        drive.storage(0, StorageNews::Opened) => "dial 1 at 127.0.0.1:1",
        drive.events() => "started 2, 127.0.0.1:1 connected, checking 65536/65536, checked 1/2",
        drive.performs(0) => "ask 0 for 0:0+2",
    }
}

#[test]
fn what_is_complete_when_it_opens_is_finished() {
    let mut drive = Drive::new(settings());
    drive.adds(torrent(3), &["127.0.0.1:1"]);
    drive.storage(0, StorageNews::Found(Word { first: PieceIndex(0), bits: 0b111 }));
    script! {
        drive.storage(0, StorageNews::Opened) => "settle",
        drive.events() => "started 3, checked 3/3, finished 0/0",
        drive.waits(Duration::ZERO) => "close",
        drive.storage(0, StorageNews::Closed) => "end",
    }
}

#[test]
fn requests_are_granted_as_credit_and_pipelines_grow() {
    let mut drive = Drive::downloading(settings(), 40);
    let peer = drive.joins(&"#".repeat(40));
    let first = drive.news(peer, PeerNews::Unchoked);
    assert_eq!(first.matches("ask").count(), limits::PICKS_MAX, "no more than two ranges a turn");
    let mut granted = 0;
    for _ in 0..30 {
        let asked = drive.peers[&peer].asked.clone();
        granted = granted.max(asked.len());
        let Some(block) = asked.front() else { break };
        drive.sends(peer, block.piece.0, block.offset / BLOCK_LEN);
        drive.performs(peer);
    }
    let shared = drive.shared(peer);
    let outstanding = drive.peers[&peer].asked.len();
    (0..outstanding).for_each(|_| assert!(shared.credit.take()));
    assert!(!shared.credit.take(), "credit is what is outstanding, and no more");
    assert!(granted > limits::PIPELINE_START as usize, "the pipeline grows: {granted}");
}

#[test]
fn what_a_choke_forgets_is_asked_of_another() {
    let mut drive = Drive::downloading(settings(), 2);
    let (one, other) = (drive.joins("#."), drive.joins("#."));
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "",
        drive.news(one, PeerNews::Choked) => "",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:0+2",
        // It was asked once, so it has credit; but the block is another's now.
        drive.sends(one, 0, 0) => "",
        drive.sends(other, 0, 0) => "store 0:0",
        drive.sends(other, 0, 1) => "store 0:1",
    }
}

#[test]
fn credit_is_not_spent_on_other_blocks() {
    let mut drive = Drive::downloading(settings(), 2);
    let (liar, other) = (drive.joins("#."), drive.joins("##"));
    script! {
        drive.news(liar, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.sends(liar, 1, 0) => "hang up 0",
        drive.goes(liar) => "reap 0",
        drive.news(other, PeerNews::Unchoked) => "ask 1 for 0:0+2, ask 1 for 1:0+2",
    }
}

#[test]
fn others_are_asked_first_when_a_peer_has_stalled() {
    let mut drive = Drive::downloading(settings(), 2);
    let (slow, other) = (drive.joins("#."), drive.joins("#."));
    script! {
        drive.news(slow, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "",
        drive.news(slow, PeerNews::Stalled) => "",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:0+2",
    }
}

/// Or its silence would hold the memory that others could fill.
#[test]
fn who_stalls_again_is_left_alone_for_longer_until_it_sends_a_block() {
    let (mut drive, short) = (Drive::downloading(settings(), 1), Duration::from_millis(1));
    let peer = drive.joins("#");
    script! {
        drive.news(peer, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(peer, PeerNews::Stalled) => "",
        drive.waits(limits::PAUSE - short) => "",
        drive.waits(short) => "ask 0 for 0:0+1",
        drive.news(peer, PeerNews::Stalled) => "",
        drive.waits(4 * limits::PAUSE - short) => "",
        drive.waits(short) => "ask 0 for 0:0+1",
        drive.news(peer, PeerNews::Stalled) => "",
        drive.waits(4 * limits::PAUSE) => "",
        // It owed this, though nobody waits for it any more.
        drive.sends(peer, 0, 1) => "ask 0 for 0:0+1",
        drive.news(peer, PeerNews::Stalled) => "",
        drive.waits(limits::PAUSE - short) => "",
        drive.waits(short) => "ask 0 for 0:0+1",
    }
}

/// A peer that chokes us and takes that back is the first to be asked each time, and could keep a
/// block from all others.
#[test]
fn who_chokes_us_twice_and_sends_nothing_has_stalled() {
    let mut drive = Drive::downloading(settings(), 1);
    let (silent, other) = (drive.joins("#"), drive.joins("#"));
    script! {
        drive.news(silent, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(silent, PeerNews::Choked) => "",
        drive.news(silent, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "ask 1 for 0:0+1, ask 1 for 0:1+1",
        drive.news(other, PeerNews::Choked) => "",
        drive.news(silent, PeerNews::Choked) => "",
        drive.news(silent, PeerNews::Unchoked) => "",
        drive.news(other, PeerNews::Unchoked) => "ask 1 for 0:0+2",
        drive.waits(limits::PAUSE) => "ask 0 for 0:0+1, ask 0 for 0:1+1",
        drive.news(silent, PeerNews::Choked) => "",
        drive.news(silent, PeerNews::Unchoked) => "",
        drive.waits(limits::PAUSE) => "",
    }
}

/// Both may know each other's address; one connection is enough.
#[test]
fn who_has_dialled_us_is_not_dialled_while_it_is_here() {
    let mut drive = Drive::new(settings());
    drive.adds(torrent(2), &["127.0.0.1:9"]);
    drive.storage(0, StorageNews::Opened);
    drive.goes(0);
    let caller = drive.joins("..");
    let handshake = ExtensionHandshake { port: Some(9), ..ExtensionHandshake::default() };
    script! {
        drive.news(caller, PeerNews::Extended(Box::new(handshake))) => "",
        drive.waits(3 * limits::REDIAL_DELAY_MAX) => "",
        drive.goes(caller) => "reap 0",
        drive.waits(limits::REDIAL_DELAY_MAX) => "dial 0 at 127.0.0.1:9",
    }
}

#[test]
fn what_a_peer_that_goes_was_asked_for_is_asked_of_another() {
    let mut drive = Drive::downloading(settings(), 2);
    let (one, other) = (drive.joins("#."), drive.joins("#."));
    script! {
        drive.news(one, PeerNews::Unchoked) => "ask 0 for 0:0+2",
        drive.news(other, PeerNews::Unchoked) => "",
        drive.goes(one) => "reap 0",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:0+2",
    }
}

#[test]
fn the_interested_are_served_what_we_have() {
    let mut drive = Drive::downloading(settings(), 2);
    drive.storage(0, StorageNews::Verified(PieceIndex(0)));
    let peer = drive.joins("..");
    let block = |piece, n| drive.torrents[0].metainfo.block(PieceIndex(piece), n);
    let (ours, next, not_ours) = (block(0, 0), block(0, 1), block(1, 0));
    script! {
        drive.news(peer, PeerNews::Requested(ours)) => "",
        drive.news(peer, PeerNews::Interested) => "unchoke 0",
        drive.news(peer, PeerNews::Requested(ours)) => "upload 0:0 to 0",
        drive.news(peer, PeerNews::Requested(not_ours)) => "",
        drive.news(peer, PeerNews::Cancelled(ours)) => "withdraw 0:0 of 0",
        drive.news(peer, PeerNews::NotInterested) => "choke 0",
        drive.news(peer, PeerNews::Requested(next)) => "",
    }
    let mut greedy = Drive::downloading(Settings { upload: false, ..settings() }, 2);
    let peer = greedy.joins("..");
    assert_eq!(greedy.news(peer, PeerNews::Interested), "", "with --no-upload");
}

#[test]
fn uploads_wait_until_the_writer_has_room() {
    let mut drive = Drive::downloading(settings(), 2);
    drive.storage(0, StorageNews::Verified(PieceIndex(0)));
    let peer = drive.joins("..");
    drive.news(peer, PeerNews::Interested);
    let block = drive.torrents[0].metainfo.block(PieceIndex(0), 0);
    let ordered = |drive: &Drive| drive.peers[&peer].unperformed;
    for _ in 0..limits::UPLOADS_MAX + limits::UPLOADS_ORDERED_MAX as usize - 1 {
        assert!(!drive.peers[&peer].hung_up);
        drive.news(peer, PeerNews::Requested(block));
        assert!(ordered(&drive) <= limits::UPLOADS_ORDERED_MAX);
    }
    let served = drive.performs(peer);
    assert_eq!(served.matches("upload").count(), limits::UPLOADS_ORDERED_MAX as usize);
    (0..limits::UPLOADS_ORDERED_MAX)
        .for_each(|_| drop(drive.news(peer, PeerNews::Requested(block))));
    assert_eq!(drive.news(peer, PeerNews::Requested(block)), "hang up 0", "that is too many");
}

#[test]
fn ourselves_and_duplicates_are_hung_up() {
    let mut drive = Drive::new(settings());
    drive.adds(torrent(2), &["127.0.0.1:1", "127.0.0.1:2"]);
    drive.storage(0, StorageNews::Opened);
    drive.events();
    script! {
        drive.connected(0, 100) => "hang up 0",
        drive.goes(0) => "reap 0",
        drive.events() => "gone: it is ourselves",
        drive.waits(2 * limits::REDIAL_DELAY_MAX) => "",
        drive.connected(1, 7) => "",
        // The same peer dials us, too: of two, the greater id's connection stays, which is ours.
        drive.accepts(0) => 0,
        drive.connected(0, 7) => "hang up 0",
        drive.goes(0) => "reap 0",
    }
    let mut drive = Drive::new(settings());
    drive.adds(torrent(2), &["127.0.0.1:1"]);
    drive.storage(0, StorageNews::Opened);
    script! {
        drive.connected(0, 200) => "",
        drive.accepts(0) => 1,
        drive.connected(1, 200) => "hang up 0",
        drive.goes(0) => "reap 0",
        drive.has(1, "#.") => "let 1 look",
        drive.goes(1) => "reap 1",
    }
}

#[test]
fn whoever_wants_encryption_names_its_torrent_by_a_hash() {
    let mut drive = Drive::downloading(settings(), 2);
    let name = skey_hash(drive.torrents[0].metainfo.info_hash());
    script! {
        drive.accepted() => "admit 0",
        drive.news(0, PeerNews::HelloBySkey(name)) => "introduce 0",
        drive.connected(0, 1) => "",
    }
}

#[test]
fn strangers_are_refused() {
    let mut drive = Drive::downloading(Settings { peers_max: 1, ..settings() }, 2);
    let elsewhere = PeerNews::Hello(InfoHash([9; 20]));
    let nowhere = skey_hash(InfoHash([9; 20]));
    script! {
        drive.joins("#.") => 0,
        drive.accepted() => "refuse",
        drive.goes(0) => "reap 0",
        drive.accepts(0) => 0,
        drive.accepts(0) => 1,
        drive.connected(1, 1) => "",
        drive.connected(0, 0) => "hang up 0",
        drive.goes(0) => "reap 0",
        drive.goes(1) => "reap 1",
        drive.accepted() => "admit 1",
        drive.news(1, elsewhere) => "hang up 1",
        drive.goes(1) => "reap 1",
        drive.accepted() => "admit 1",
        drive.news(1, PeerNews::HelloBySkey(nowhere)) => "hang up 1",
        drive.goes(1) => "reap 1",
    }
    assert!(drive.events().contains("it wants torrent 0909"));
}

#[test]
fn news_of_a_former_tenant_is_ignored() {
    let mut drive = Drive::downloading(settings(), 2);
    let peer = drive.joins("##");
    let former = drive.peers[&peer].key;
    drive.goes(peer);
    assert_eq!(drive.joins("##"), peer, "the place is let again");
    for news in [PeerNews::Unchoked, PeerNews::Interested, PeerNews::Seeder, PeerNews::Stalled] {
        assert_eq!(drive.handle(Notification::Peer(former, news)), "");
    }
}

#[test]
fn a_contact_is_dialled_again_ever_later() {
    let mut drive = Drive::new(settings());
    drive.adds(torrent(2), &["127.0.0.1:1"]);
    drive.storage(0, StorageNews::Opened);
    for seconds in [2, 4, 8, 16, 32, 60, 60] {
        drive.goes(0);
        let delay = Duration::from_secs(seconds);
        assert_eq!(drive.waits(delay - Duration::from_millis(1)), "");
        assert_eq!(drive.waits(Duration::from_millis(1)), "dial 0 at 127.0.0.1:1");
    }
    // A connection that brings something begins the delays anew.
    drive.connected(0, 7);
    drive.has(0, "##");
    drive.news(0, PeerNews::Unchoked);
    let block = drive.peers[&0].asked[0];
    drive.sends(0, block.piece.0, block.offset / BLOCK_LEN);
    drive.goes(0);
    assert_eq!(drive.waits(limits::REDIAL_DELAY), "dial 0 at 127.0.0.1:1");
}

#[test]
fn no_more_than_so_many_are_dialled_at_once() {
    let contacts: Vec<_> = (1..=40).map(|port| format!("127.0.0.1:{port}")).collect();
    let contacts: Vec<_> = contacts.iter().map(String::as_str).collect();
    let mut drive = Drive::new(Settings { peers_max: 30, ..settings() });
    drive.adds(torrent(2), &contacts);
    let mut dialled = drive.storage(0, StorageNews::Opened);
    dialled += &drive.waits(Duration::from_secs(2));
    assert_eq!(dialled.matches("dial").count(), limits::DIALS_MAX as usize);
    for peer in 0..7 {
        let dialled = drive.connected(peer, u8::try_from(peer).unwrap());
        assert_eq!(dialled.matches("dial").count(), 1, "one is made, the next is dialled");
    }
    assert_eq!(drive.connected(10, 10), "", "the other places are for those who dial us");
    assert_eq!(drive.goes(10), "reap 10, dial 10 at 127.0.0.1:28");
}

#[test]
fn a_torrent_that_nothing_arrives_for_is_given_up() {
    let timeout = Duration::from_secs(30);
    let mut drive = Drive::downloading(Settings { timeout: Some(timeout), ..settings() }, 2);
    let peer = drive.joins("##");
    drive.news(peer, PeerNews::Unchoked);
    drive.events();
    drive.waits(timeout - Duration::from_secs(1));
    drive.sends(peer, drive.peers[&peer].asked[0].piece.0, 0);
    drive.waits(timeout - Duration::from_secs(1));
    script! {
        drive.events() => "",
        drive.waits(Duration::from_secs(1)) => "settle, hang up 0, close",
        drive.events() => "error: t: one peer is connected, but nothing arrived for 30 s",
    }
    assert!(drive.engine.budget.reserved() > 0, "the storage has a block");
    script! {
        drive.storage(0, StorageNews::Settled) => "",
        drive.events() => "",
    }
    assert_eq!(drive.engine.budget.reserved(), 0);
}

#[test]
fn a_full_disk_ends_what_writes_there_and_nothing_else() {
    let mut drive = Drive::downloading(settings(), 2);
    drive.adds(made_up::torrent("other", BLOCK_LEN, 1), &[]);
    drive.storage(1, StorageNews::Opened);
    drive.events();
    let trouble = || crate::bus::Trouble {
        kind: crate::bus::TroubleKind::NoSpace,
        what: "d".into(),
        why: "it is full".into(),
    };
    script! {
        drive.storage(0, StorageNews::Failed(trouble())) => "",
        drive.storage(0, StorageNews::Failed(trouble())) => "",
        drive.events() => "error: d: it is full",
        drive.storage(1, StorageNews::Verified(PieceIndex(0))) => "settle",
        drive.events() => "piece 0, finished 0/0",
        drive.waits(Duration::ZERO) => "close, close",
    }
}

#[test]
fn quitting_hangs_up_closes_and_ends() {
    let mut drive = Drive::downloading(settings(), 2);
    let (one, other) = (drive.joins("##"), drive.joins(".."));
    drive.events();
    script! {
        drive.quits() => "",
        drive.quits() => "",
        drive.accepted() => "refuse",
        drive.waits(Duration::ZERO) => "hang up 0, close, hang up 1",
        drive.events() => "error: t: stopped before it was complete; the same command resumes it",
        drive.goes(one) => "reap 0",
        drive.storage(0, StorageNews::Closed) => "",
        drive.goes(other) => "reap 1, end",
    }
    assert!(drive.engine.is_ended());
}

#[test]
fn nobody_is_waited_for_longer_than_so_long() {
    let mut drive = Drive::downloading(settings(), 2);
    drive.joins("##");
    drive.quits();
    drive.waits(limits::ENDING_MAX - Duration::from_millis(1));
    assert!(!drive.engine.is_ended());
    assert_eq!(drive.waits(Duration::from_millis(1)), "end");
    assert!(drive.engine.is_ended() && !drive.engine.is_closed());
}

#[test]
fn a_download_that_is_complete_waits_for_its_sync_until_the_user_wants_the_end() {
    let mut drive = Drive::downloading(settings(), 1);
    drive.joins("#");
    drive.storage(0, StorageNews::Verified(PieceIndex(0)));
    // Neither the peer nor the storage answers; only the storage is worth the wait.
    drive.waits(10 * limits::ENDING_MAX);
    assert!(!drive.engine.is_ended());
    script! {
        drive.quits() => "",
        drive.waits(limits::ENDING_MAX - Duration::from_millis(1)) => "",
        drive.waits(Duration::from_millis(1)) => "end",
    }

    let mut drive = Drive::downloading(settings(), 1);
    drive.joins("#");
    drive.storage(0, StorageNews::Verified(PieceIndex(0)));
    drive.waits(10 * limits::ENDING_MAX);
    assert_eq!(drive.storage(0, StorageNews::Closed), "end");
    assert!(drive.engine.is_closed());
}

#[test]
fn whoever_seeds_goes_on_until_told() {
    let mut drive = Drive::downloading(Settings { goal: Goal::CompleteAndSeed, ..settings() }, 1);
    script! {
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle",
        drive.events() => "piece 0, finished 0/0",
        drive.storage(0, StorageNews::Settled) => "",
        drive.events() => "settled",
        drive.waits(Duration::from_secs(3600)) => "",
        drive.quits() => "",
        drive.waits(Duration::ZERO) => "close",
        drive.events() => "",
        drive.storage(0, StorageNews::Closed) => "end",
    }
}

#[test]
fn an_order_that_found_nobody_ends_the_connection() {
    let mut drive = Drive::downloading(settings(), 2);
    let peer = drive.joins("##");
    let key = drive.peers[&peer].key;
    drive.engine.handle_undelivered(drive.now, Order::Peer(key, ToPeer::Unchoke));
    assert_eq!(drive.orders(), "hang up 0");
    drive.events();
    drive.goes(peer);
    assert!(drive.events().contains("it left"), "its threads know why");
    assert_eq!(drive.accepted(), "admit 0");
    let (socket, key) = (SocketNumber(1), drive.peers.remove(&0).unwrap().key);
    drive.engine.handle_undelivered(drive.now, Order::Admit { socket, peer: key });
    assert_eq!(drive.orders(), "reap 0");
}

#[test]
fn the_same_torrent_is_not_added_twice() {
    let mut drive = Drive::downloading(settings(), 2);
    assert_eq!(drive.adds(torrent(2), &[]), "");
    assert_eq!(drive.events(), "error: t: it was added before");
}

#[test]
fn a_writer_that_has_no_room_is_not_told_to_look() {
    let mut drive = Drive::downloading(settings(), 2);
    let peer = drive.joins("..");
    for n in 0..limits::OUTBOX_MAX - 1 {
        let changes = [PeerNews::Interested, PeerNews::NotInterested];
        let news = changes.into_iter().nth((n % 2) as usize).unwrap();
        assert_ne!(drive.news(peer, news), "", "it is told of each change");
    }
    script! {
        drive.news(peer, PeerNews::Seeder) => "",
        drive.news(peer, PeerNews::NotInterested) => "choke 0, hang up 0",
    }
}

#[test]
fn what_the_storage_had_no_room_for_is_given_again_in_order() {
    let mut drive = Drive::new(settings());
    assert_eq!(drive.adds(torrent(1), &[]), "open");
    let context = Arc::clone(&drive.torrents[0]);
    let place = Place {
        dir: "d".into(),
        state: "s".into(),
        check: false,
        overwrite: false,
        read_only: false,
    };
    let open = || {
        let (context, place) = (Arc::clone(&context), place.clone());
        Order::Storage(made_up::torrent_key(0), ToStorage::Open { context, place })
    };
    drive.engine.handle_undelivered(drive.now, open());
    assert_eq!(drive.orders(), "");
    drive.quits();
    assert_eq!(drive.waits(Duration::ZERO), "", "what is not open yet is not closed yet");
    drive.now += limits::RETRY_DELAY;
    drive.engine.handle_time(drive.now);
    assert_eq!(drive.orders(), "open", "the rest waits until it is known that there was room");
    drive.engine.handle_undelivered(drive.now, open());
    assert_eq!(drive.waits(Duration::ZERO), "", "there was none");
    assert_eq!(drive.waits(limits::RETRY_DELAY), "open, close");
    assert_eq!(drive.storage(0, StorageNews::Closed), "end");
}

#[test]
fn whoever_makes_a_turn_too_long_is_hung_up_on() {
    let mut drive = Drive::downloading(settings(), 1);
    let (peer, other) = (drive.joins("#"), drive.joins("#"));
    drive.events();
    let steps = u32::try_from(limits::STEPS_MAX).unwrap() + 1;
    drive.engine.handle_overlong(Some(drive.peers[&peer].key), steps);
    script! {
        drive.orders() => "hang up 0",
        drive.goes(peer) => "reap 0",
        drive.news(other, PeerNews::Unchoked) => "ask 1 for 0:0+2",
    }
    let told = drive.events();
    assert!(told.contains("its news took too many steps"), "{told}");
    drive.engine.handle_overlong(None, steps);
    let warning =
        format!("a turn of the main thread took {steps} steps, not {} at most", steps - 1);
    assert_eq!(drive.engine.poll_event(), Some(Event::Warning(warning)));
    assert_eq!(drive.orders(), "");
}
