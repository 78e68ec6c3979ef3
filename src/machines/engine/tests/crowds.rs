//! Many who come, and many to dial: none of them keeps others out.

use super::*;
use crate::bus::MainlineNews;

/// Somebody from `ip` dials us and shakes hands: what is ordered then.
fn arrives(drive: &mut Drive, ip: &'static str, id: u8) -> String {
    let admit = drive.accepted_from(ip);
    let peer = admit.split("admit ").nth(1).expect("it is admitted").parse().unwrap();
    let info_hash = drive.torrents[0].metainfo.info_hash();
    drive.news(peer, PeerNews::Hello(info_hash));
    drive.greeted(peer, Greeting { ip, peer_id: PeerId([id; 20]), ..Greeting::default() })
}

/// Those who were hung up on say their last words.
fn leave(drive: &mut Drive) {
    let hung_up = drive.peers.iter().filter(|(_, peer)| peer.hung_up);
    let hung_up: Vec<u32> = hung_up.map(|(peer, _)| *peer).collect();
    for peer in hung_up {
        drive.goes(peer);
    }
}

#[test]
fn two_hundred_silent_connections_keep_nobody_out() {
    let one: fn(u8) -> String = |_| "203.0.113.9".into();
    let many: fn(u8) -> String = |n| format!("198.51.100.{n}");
    let of_a_64: fn(u8) -> String = |n| format!("2001:db8::{n}");
    let local: fn(u8) -> String = |_| "127.0.0.1".into();
    for (from, at_once) in [
        (one, limits::GREETINGS_A_NETWORK),
        (many, limits::GREETINGS_MAX as usize),
        (of_a_64, limits::GREETINGS_A_NETWORK),
        (local, limits::GREETINGS_MAX as usize),
    ] {
        let mut drive = Drive::downloading(Settings { peers_max: 4, ..settings() }, 2);
        for n in 0..200 {
            let ordered = drive.accepted_from(&from(n));
            assert!(ordered.contains("admit"), "{n}: {ordered}");
            leave(&mut drive);
        }
        assert_eq!(drive.peers.len(), at_once, "{}", from(0));
        for (n, ip) in (0..).zip(["192.0.2.1", "192.0.2.2", "127.0.0.1", "127.0.0.1"]) {
            assert_eq!(arrives(&mut drive, ip, n), "", "{ip}");
            leave(&mut drive);
        }
        assert_eq!(drive.accepted_from("192.0.2.3"), "refuse", "all are honest peers");
    }
}

#[test]
fn the_oldest_that_did_not_shake_hands_makes_room() {
    let mut drive = Drive::downloading(settings(), 2);
    for n in 0..limits::GREETINGS_MAX {
        assert_eq!(drive.accepted(), format!("admit {n}"));
    }
    drive.news(0, PeerNews::Hello(drive.torrents[0].metainfo.info_hash()));
    drive.connected(0, 1);
    let (more, next) = (limits::GREETINGS_MAX, limits::GREETINGS_MAX + 1);
    script! {
        drive.accepted() => format!("admit {more}"),
        drive.accepted() => format!("hang up 1, admit {next}"),
        drive.goes(1) => "reap 1",
        drive.accepted() => "hang up 2, admit 1",
    }
}

#[test]
fn a_network_has_so_many_connections_about_a_torrent() {
    let mut drive = Drive::downloading(settings(), 2);
    for n in 0..4 {
        let ordered = arrives(&mut drive, "203.0.113.9", n);
        assert_eq!(ordered.starts_with("hang up"), n == 3, "{n}: {ordered}");
        assert_eq!(arrives(&mut drive, ["10.0.0.1", "::1"][usize::from(n % 2)], 50 + n), "");
        leave(&mut drive);
    }
    drive.goes(0);
    assert_eq!(arrives(&mut drive, "203.0.113.9", 9), "", "one has gone");
}

#[test]
fn whoever_greets_takes_no_place_from_those_who_are_dialled() {
    let mut drive = Drive::new(Settings { peers_max: 2, ..settings() });
    drive.adds(torrent(2), &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
    (0..20).for_each(|_| {
        drive.accepted();
        leave(&mut drive);
    });
    let dialled = drive.storage(0, StorageNews::Opened);
    assert_eq!(dialled.matches("dial").count(), 2, "{dialled}");
    assert_eq!(drive.accepted(), "refuse", "as many as are allowed are dialled");
}

/// Whoever dialled us and wants nothing holds neither the places of those whom we dial nor, for ever,
/// those of others who dial us.
#[test]
fn callers_leave_places_for_those_whom_we_dial_and_make_room_when_nothing_moves() {
    let mut drive = Drive::new(Settings { peers_max: 16, ..settings() });
    drive.adds(torrent(2), &["192.0.2.1:1", "192.0.2.2:1"]);
    for n in 0..14 {
        assert_eq!(arrives(&mut drive, "127.0.0.1", n), "", "{n}");
    }
    assert_eq!(drive.accepted(), "refuse");
    let dialled = drive.storage(0, StorageNews::Opened);
    assert_eq!(dialled.matches("dial").count(), 2, "{dialled}");
    drive.waits(limits::IDLE_MAX - Duration::from_secs(1));
    drive.has(3, "##");
    drive.news(3, PeerNews::Unchoked);
    drive.sends(3, 0, 0);
    drive.waits(Duration::from_secs(2));
    for n in 0..13 {
        let refused = drive.accepted();
        assert!(refused.starts_with("hang up") && refused.ends_with(", refuse"), "{n}: {refused}");
        leave(&mut drive);
        assert_eq!(arrives(&mut drive, "127.0.0.1", 20 + n), "", "{n}");
    }
    assert_eq!(
        [(); 4].map(|()| drive.accepted()),
        ["refuse"; 4],
        "with the fourth something moved"
    );
}

/// A host that moves to another address leaves a connection behind that nobody ends.
#[test]
fn who_has_stalled_makes_way_for_itself_from_elsewhere() {
    let mut drive = Drive::downloading(settings(), 4);
    let old = drive.joins("####");
    drive.news(old, PeerNews::Unchoked);
    let peer_id = u8::try_from(old).unwrap();
    let again = |drive: &mut Drive| arrives(drive, "10.0.0.9", peer_id);
    assert_eq!(again(&mut drive), "hang up 1", "the first is as good");
    leave(&mut drive);
    drive.news(old, PeerNews::Stalled);
    assert_eq!(again(&mut drive), format!("hang up {old}"));
}

/// Whom we dial can hold all places no more than whoever dials us can, but for those that the user named.
#[test]
fn whom_we_dial_leaves_places_too_and_makes_room_when_nothing_moves() {
    let mut drive = Drive::new(Settings { peers_max: 16, ..settings() });
    drive.adds(torrent(2), &["192.0.2.77:1"]);
    drive.storage(0, StorageNews::Opened);
    let found = |drive: &mut Drive, n: u8| {
        let peers = vec![SocketAddr::from(([127, 1, 0, n], 1))];
        let news = MainlineNews::Found(drive.torrents[0].metainfo.info_hash(), peers);
        drive.handle(Notification::Mainline(news)) + &drive.waits(Duration::from_millis(100))
    };
    assert_eq!(drive.connected(0, 77), "");
    for n in 1..14 {
        assert_eq!(found(&mut drive, n), format!("dial {n} at 127.1.0.{n}:1"));
        drive.connected(n.into(), n);
    }
    assert_eq!(found(&mut drive, 14), "");
    assert_eq!(arrives(&mut drive, "127.0.0.1", 200), "");
    drive.waits(limits::IDLE_MAX);
    let mut gone = Vec::new();
    for n in 15..60 {
        found(&mut drive, n);
        gone.extend(drive.peers.iter().filter(|(_, peer)| peer.hung_up).map(|(peer, _)| *peer));
        leave(&mut drive);
        let dialled: Vec<u32> = drive.peers.keys().copied().collect();
        for peer in dialled {
            if drive.engine.peers.get(drive.peers[&peer].key.0).unwrap().is_dialling() {
                drive.connected(peer, n);
            }
        }
    }
    let caller = 14;
    assert!(gone.len() >= 13, "{gone:?}");
    assert!(
        !gone.contains(&0) && !gone.contains(&caller),
        "one that is named, and one of few: {gone:?}"
    );
}

/// Whoever comes in a burst drives out one of those with whom nothing moves, and no more.
#[test]
fn one_makes_room_at_a_time() {
    let mut drive = Drive::downloading(Settings { peers_max: 16, ..settings() }, 2);
    (0..14).for_each(|n| assert_eq!(arrives(&mut drive, "127.0.0.1", n), ""));
    drive.waits(limits::IDLE_MAX);
    let refused: Vec<String> = (0..50).map(|_| drive.accepted()).collect();
    assert!(refused[0].starts_with("hang up"), "{}", refused[0]);
    assert!(refused[1..].iter().all(|refused| refused == "refuse"), "{refused:?}");
}

/// A server that says back what it hears is ourselves, by all that we can see, and takes no room.
#[test]
fn ourselves_are_met_once_and_take_no_room() {
    let mut drive = Drive::downloading(settings(), 2);
    let info_hash = drive.torrents[0].metainfo.info_hash();
    let dial = |drive: &mut Drive, n: u8| {
        let peers = vec![SocketAddr::from(([127, 2, 0, n], 1))];
        let ordered = drive.handle(Notification::Mainline(MainlineNews::Found(info_hash, peers)));
        ordered + &drive.waits(Duration::from_millis(100))
    };
    for n in 0..200 {
        assert!(dial(&mut drive, n).starts_with("dial 0"), "{n}");
        let shared = Arc::new(PeerShared::of(SharedBitfield::zeros(2)));
        let address = SocketAddr::from(([127, 2, 0, n], 1));
        let (peer_id, reserved, allowed_fast) = (OURS, Reserved::default(), Vec::new());
        let met = PeerNews::Connected { address, peer_id, reserved, allowed_fast, shared };
        assert_eq!(drive.news(0, met), "hang up 0");
        let farewell = Farewell { reason: "it left".into(), fault: Fault::Nobodys };
        drive.news(0, PeerNews::Gone(farewell));
        assert_eq!(dial(&mut drive, n), "", "it is known");
    }
    assert_eq!(drive.engine.torrents.at(0).unwrap().1.contacts.len(), 0);
}

/// A torrent of which many are named does not keep another one waiting.
#[test]
fn torrents_take_turns() {
    let mut drive = Drive::new(settings());
    let many: Vec<String> = (1..=60).map(|port| format!("127.0.0.1:{port}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    drive.adds(torrent(2), &many);
    drive
        .adds(made_up::torrent("other", 2 * BLOCK_LEN, 8 * u64::from(BLOCK_LEN)), &["127.9.9.9:9"]);
    drive.storage(0, StorageNews::Opened);
    drive.storage(1, StorageNews::Opened);
    let dialled = drive.waits(Duration::from_secs(1));
    let place = dialled.split(", ").position(|order| order.ends_with("127.9.9.9:9"));
    assert!(place.is_some_and(|place| place < 2), "{dialled}");
}

/// Everybody in a swarm has read everybody's peer id: whoever shows somebody else's from elsewhere
/// neither takes that connection away nor comes before it.
#[test]
fn a_peer_id_counts_in_its_network_alone() {
    let mut drive = Drive::downloading(settings(), 2);
    for ip in ["203.0.113.9", "198.51.100.9", "2001:db8::9", "127.0.0.1"] {
        assert_eq!(arrives(&mut drive, ip, 1), "", "{ip}");
    }
    for (peer, ip) in (0..).zip(["203.0.113.9", "198.51.100.9", "2001:db8::9", "10.0.0.1"]) {
        let again = arrives(&mut drive, ip, 1);
        let first = ip != "10.0.0.1";
        assert_eq!(
            again,
            if first { format!("hang up {peer}") } else { "hang up 7".into() },
            "{ip}"
        );
    }
}

#[test]
fn no_second_sees_more_than_so_many_dials() {
    let contacts: Vec<String> = (1..=60).map(|port| format!("127.0.0.1:{port}")).collect();
    let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let mut drive = Drive::new(settings());
    drive.adds(torrent(2), &contacts);
    let mut dialled = vec![drive.storage(0, StorageNews::Opened).matches("dial").count()];
    for _ in 0..80 {
        // Half of them answer no dial, and the others refuse at once.
        let peers: Vec<u32> = drive.peers.keys().copied().filter(|peer| peer % 2 == 0).collect();
        let mut begun = 0;
        for peer in peers {
            begun += drive.goes(peer).matches("dial").count();
        }
        begun += drive.waits(Duration::from_millis(100)).matches("dial").count();
        dialled.push(begun);
    }
    let most = dialled.windows(10).map(|second| second.iter().sum::<usize>()).max().unwrap();
    assert_eq!(most, limits::DIALS_A_SECOND, "{dialled:?}");
    assert!(dialled.iter().sum::<usize>() >= 70, "and that is made use of: {dialled:?}");
}

/// An engine with memory for four blocks. A peer was asked for two pieces of two blocks; then comes
/// another torrent, whose pieces have four, and a peer of it.
fn short_of_memory() -> (Drive, u32, u32) {
    let memory = 4 * u64::from(BLOCK_LEN);
    let mut drive = Drive::downloading(Settings { memory, sequential: true, ..settings() }, 8);
    let one = drive.joins("########");
    assert_eq!(drive.news(one, PeerNews::Unchoked), "ask 0 for 0:0+2, ask 0 for 1:0+2");
    let large = made_up::torrent("large", 4 * BLOCK_LEN, 16 * u64::from(BLOCK_LEN));
    drive.adds(large, &[]);
    drive.storage(1, StorageNews::Opened);
    let other = drive.accepts(1);
    drive.connected(other, 9);
    drive.has(other, "#...");
    (drive, one, other)
}

#[test]
fn a_torrent_with_large_pieces_finds_memory_beside_one_with_small_ones() {
    let (mut drive, one, other) = short_of_memory();
    script! {
        drive.news(other, PeerNews::Unchoked) => "",
        drive.sends(one, 0, 0) => "store 0:0",
        drive.sends(one, 0, 1) => "store 0:1",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "",
        drive.waits(Duration::from_secs(1)) => "",
        drive.sends(one, 1, 0) => "store 1:0",
        drive.sends(one, 1, 1) => "store 1:1",
        drive.storage(0, StorageNews::Verified(PieceIndex(1))) => "ask 1 for 0:0+4",
        drive.waits(Duration::from_secs(1)) => "",
    }
}

#[test]
fn whoever_waits_for_memory_and_goes_holds_nobody_up() {
    let (mut drive, one, other) = short_of_memory();
    drive.news(other, PeerNews::Unchoked);
    drive.sends(one, 0, 0);
    drive.sends(one, 0, 1);
    drive.goes(other);
    let next = drive.storage(0, StorageNews::Verified(PieceIndex(0)));
    assert_eq!(next, "ask 0 for 2:0+2", "it is the next one's turn at once");
}

#[test]
fn a_torrent_without_peers_gives_up_its_memory_for_another() {
    let (mut drive, one, other) = short_of_memory();
    drive.sends(one, 0, 0);
    drive.goes(one);
    drive.news(other, PeerNews::Unchoked);
    assert_eq!(drive.waits(limits::FORGO_AFTER + Duration::from_secs(1)), "forget 0");
    let mut asked = drive.storage(0, StorageNews::Forgotten(PieceIndex(0)));
    asked += &drive.waits(Duration::from_secs(1));
    assert_eq!(asked, "ask 1 for 0:0+4");
}
