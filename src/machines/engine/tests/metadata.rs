//! Metadata (BEP 9): who is given ours, and how that of a torrent is had of which the info-hash alone
//! is known.

use super::*;
use crate::bus::{ClerkNews, Select, TroubleKind, Wish};
use crate::formats::metainfo::{Draft, DraftFile};
use crate::formats::wire::{ExtensionHandshake, MetadataMessage, UT_METADATA};

/// What a peer says that understands messages about metadata, and has so many bytes of it.
fn offer(metadata_len: Option<u32>) -> PeerNews {
    let extensions = [(UT_METADATA.to_owned(), 3)].into();
    PeerNews::Extended(Box::new(ExtensionHandshake {
        extensions,
        metadata_len,
        ..ExtensionHandshake::default()
    }))
}

fn asks(piece: u32) -> PeerNews {
    PeerNews::Metadata(MetadataMessage::Request(piece))
}

#[test]
fn metadata_is_given_to_whoever_asks_and_not_without_end() {
    let mut drive = Drive::downloading(settings(), 3);
    let peer = drive.joins("...");
    script! {
        // It has not said how it wants to be answered.
        drive.news(peer, asks(0)) => "",
        drive.news(peer, offer(None)) => "",
        drive.news(peer, asks(0)) => "metadata give(0) to 0 as 3",
        drive.news(peer, asks(1)) => "metadata refuse(1) to 0 as 3",
        drive.news(peer, asks(u32::MAX)) => "metadata refuse(4294967295) to 0 as 3",
        drive.news(peer, asks(0)) => "metadata give(0) to 0 as 3",
        drive.news(peer, asks(0)) => "metadata refuse(0) to 0 as 3",
    }
}

#[test]
fn a_flood_of_requests_waits_for_the_writer_and_then_ends() {
    let mut drive = Drive::downloading(settings(), 3);
    let peer = drive.joins("...");
    drive.news(peer, offer(None));
    let waiting = limits::UPLOADS_ORDERED_MAX as usize + limits::UPLOADS_MAX;
    for _ in 0..waiting {
        assert!(!drive.news(peer, asks(9)).contains("hang up"));
    }
    assert_eq!(drive.news(peer, asks(9)), "hang up 0");
}

#[test]
fn a_choke_forgets_blocks_and_no_metadata() {
    let mut drive = Drive::downloading(settings(), 3);
    let peer = drive.joins("...");
    drive.news(peer, offer(None));
    for _ in 0..limits::UPLOADS_ORDERED_MAX {
        drive.news(peer, asks(9));
    }
    assert_eq!(drive.news(peer, asks(0)), "", "its writer has enough to do");
    drive.talk(peer).decline_all(&mut Steps::new());
    assert!(drive.performs(peer).ends_with("metadata give(0) to 0 as 3"));
}

#[test]
fn whoever_uploads_nothing_or_is_private_gives_no_metadata() {
    let mut drive = Drive::downloading(Settings { upload: false, ..settings() }, 1);
    let peer = drive.joins(".");
    drive.news(peer, offer(None));
    assert_eq!(drive.news(peer, asks(0)), "metadata refuse(0) to 0 as 3");

    let draft = Draft {
        name: b"t".to_vec(),
        piece_length: BLOCK_LEN,
        files: vec![DraftFile { path: Vec::new(), len: 1 }],
        hashes: vec![7; 20],
        private: true,
        ..Draft::default()
    };
    let mut drive = Drive::new(settings());
    drive.adds(Metainfo::parse(&draft.encode()).unwrap(), &[]);
    let peer = drive.joins(".");
    drive.news(peer, offer(None));
    assert_eq!(drive.news(peer, asks(0)), "metadata refuse(0) to 0 as 3");
}

// ------------------------------------------------------------------------------------- Seeking ---

/// A torrent whose metadata has two pieces.
fn long() -> Metainfo {
    made_up::torrent("tune", BLOCK_LEN, 1_000 * u64::from(BLOCK_LEN))
}

fn len() -> u32 {
    u32::try_from(long().info_bytes().len()).unwrap()
}

impl Drive {
    /// The user adds a link, of the torrent [`long`].
    fn seeks(&mut self, contacts: &[&str]) -> String {
        let unknown = Metainfo::unknown(long().info_hash(), Some("a name"));
        let (publisher, context) = TorrentContext::unknown(unknown);
        let place = place();
        let wish = Wish {
            info_hash: long().info_hash(),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            place: place.clone(),
            select: Select::All,
            save_only: false,
        };
        let peers = contacts.iter().map(|address| address.parse().unwrap()).collect();
        self.torrents.push(Arc::clone(&context));
        let (nodes, trackers, wish) = (Vec::new(), Vec::new(), Some(Arc::new(wish)));
        let (web_seeds, key) = (Vec::new(), 0);
        let new =
            NewTorrent { context, publisher, place, peers, web_seeds, nodes, trackers, key, wish };
        self.handle(Notification::Command(Command::Add(Box::new(new))))
    }

    fn clerk(&mut self, news: ClerkNews) -> String {
        self.handle(Notification::Clerk(made_up::torrent_key(0), news))
    }

    /// The clerk has made the torrent.
    fn is_known(&mut self, metainfo: Metainfo) -> String {
        let pieces = metainfo.pieces();
        let (publisher, context) = TorrentContext::new(metainfo, SharedBitfield::ones(pieces));
        self.torrents[0] = Arc::clone(&context);
        let (place, peers, nodes, trackers) = (place(), Vec::new(), Vec::new(), Vec::new());
        let (web_seeds, key, wish) = (std::mem::take(&mut self.web_seeds), 0, None);
        let new =
            NewTorrent { context, publisher, place, peers, web_seeds, nodes, trackers, key, wish };
        self.clerk(ClerkNews::Made(Box::new(new)))
    }

    /// A peer's reader has found out that the torrent is known.
    fn renews(&mut self, peer: u32) -> String {
        let shared = Arc::new(PeerShared::new(self.torrents[0].metainfo.pieces()));
        self.peers.get_mut(&peer).unwrap().shared = Some(Arc::clone(&shared));
        self.news(peer, PeerNews::Renewed(shared))
    }

    fn joins_early(&mut self) -> u32 {
        let peer = self.accepts(0);
        self.connected(peer, u8::try_from(peer).unwrap());
        peer
    }
}

fn place() -> Place {
    let (dir, state) = ("d".into(), "s".into());
    Place { dir, state, check: false, overwrite: false, read_only: false }
}

fn piece(piece: u32) -> PeerNews {
    use crate::formats::wire::metadata::metadata_piece_len;

    let data = vec![7; metadata_piece_len(len(), piece) as usize];
    PeerNews::Metadata(MetadataMessage::Data { piece, total_len: len(), data })
}

#[test]
fn metadata_is_fetched_checked_and_the_torrent_begins_with_the_peers_that_were_met() {
    let mut drive = Drive::new(settings());
    assert_eq!(drive.seeks(&["192.0.2.1:1"]), "dial 0 at 192.0.2.1:1");
    let (one, other) = (drive.joins_early(), drive.joins_early());
    drive.news(one, PeerNews::Extended(Box::default()));
    let check = format!("check {}", len());
    script! {
        drive.news(one, offer(Some(len()))) => "metadata ask(0) to 1 as 3, metadata ask(1) to 1 as 3",
        drive.news(other, offer(Some(len()))) => "metadata ask(0) to 2 as 3, metadata ask(1) to 2 as 3",
        drive.news(one, piece(0)) => "",
        drive.news(other, asks(0)) => "metadata refuse(0) to 2 as 3",
        drive.news(other, piece(1)) => check,
        drive.news(one, piece(1)) => "",
    }
    drive.events();
    assert_eq!(drive.is_known(long()), "open");
    assert_eq!(drive.events(), "metadata of tune, 16384000, started 1000");
    assert!(drive.torrents[0].successor().is_none());
    script! {
        drive.renews(one) => "offer 1 the metadata",
        drive.has(one, "#") => "let 1 look",
        drive.news(one, PeerNews::Unchoked) => "",
        drive.storage(0, StorageNews::Opened) => "",
        drive.waits(limits::RETRY_DELAY) => "ask 1 for 0:0+1",
        drive.renews(other) => "offer 2 the metadata",
        drive.news(other, asks(0)) => "metadata give(0) to 2 as 3",
    }
    // Whoever was being dialled meets the torrent as it is now.
    drive.greeted(0, Greeting { ip: "192.0.2.1", peer_id: PeerId([9; 20]), ..Greeting::default() });
    assert_eq!(drive.has(0, ".#"), "let 0 look");
}

#[test]
fn wrong_metadata_of_two_is_nobodys_fault_and_of_one_alone_its() {
    let mut drive = Drive::new(settings());
    drive.seeks(&[]);
    let (one, other) = (drive.joins_early(), drive.joins_early());
    drive.news(one, offer(Some(len())));
    drive.news(other, offer(Some(len())));
    drive.performs(one);
    drive.performs(other);
    script! {
        drive.news(one, piece(0)) => "",
        drive.news(other, piece(1)) => format!("check {}", len()),
        drive.news(one, piece(1)) => "",
        drive.news(other, piece(0)) => "",
        drive.clerk(ClerkNews::Wrong { len: len() }) =>
            "metadata ask(0) to 1 as 3, metadata ask(1) to 1 as 3",
        drive.news(other, piece(0)) => "",
        drive.news(other, piece(1)) => format!("check {}", len()),
    }
    drive.events();
    let next = "hang up 1, metadata ask(0) to 0 as 3, metadata ask(1) to 0 as 3";
    assert_eq!(drive.clerk(ClerkNews::Wrong { len: len() }), next);
    let again = "warning: metadata arrived that is not the torrent's, and is fetched again";
    assert_eq!(drive.events(), again);
    assert!(drive.goes(other).contains("reap 1"));
    assert_eq!(drive.events(), "gone: it sent metadata that is not the torrent's");
}

#[test]
fn whoever_offers_nonsense_or_answers_nonsense_goes_alone() {
    let offers: [Option<u32>; 2] = [Some(1 << 31), Some(u32::MAX)];
    for len in offers {
        let mut drive = Drive::new(settings());
        drive.seeks(&[]);
        let peer = drive.joins_early();
        assert_eq!(drive.news(peer, offer(len)), "hang up 0");
    }
    let short = MetadataMessage::Data { piece: 0, total_len: len(), data: vec![7] };
    let other = MetadataMessage::Data { piece: 0, total_len: 9, data: vec![7; 16_384] };
    let unasked = MetadataMessage::Data { piece: 7, total_len: len(), data: vec![7; 16_384] };
    for message in [short, other, unasked, MetadataMessage::Reject(7)] {
        let mut drive = Drive::new(settings());
        drive.seeks(&[]);
        let (one, second) = (drive.joins_early(), drive.joins_early());
        drive.news(one, offer(Some(len())));
        let ordered = drive.news(one, PeerNews::Metadata(message));
        assert!(ordered.starts_with("hang up 0"), "{ordered}");
        let next = "metadata ask(0) to 1 as 3, metadata ask(1) to 1 as 3";
        assert_eq!(drive.news(second, offer(Some(len()))), next);
    }
}

#[test]
fn whoever_is_silent_or_has_nothing_makes_room() {
    let mut drive = Drive::new(settings());
    drive.seeks(&[]);
    let (silent, empty) = (drive.joins_early(), drive.joins_early());
    drive.news(silent, offer(Some(len())));
    drive.news(empty, offer(None));
    drive.waits(Duration::from_secs(19));
    assert_eq!(drive.news(silent, PeerNews::Sample), "");
    drive.waits(Duration::from_secs(1));
    assert_eq!(drive.news(silent, PeerNews::Sample), "hang up 0");
    assert_eq!(drive.news(empty, PeerNews::Sample), "");
    drive.waits(Duration::from_secs(40));
    assert_eq!(drive.news(empty, PeerNews::Sample), "hang up 1");
}

#[test]
fn without_metadata_in_time_it_is_said_what_was_tried() {
    let timeout = Some(Duration::from_secs(60));
    let mut drive = Drive::new(Settings { timeout, ..settings() });
    drive.seeks(&["192.0.2.1:1", "192.0.2.2:1"]);
    assert_eq!(drive.events(), "sought a name");
    drive.waits(Duration::from_secs(30));
    let peers = "peers 192.0.2.1:1 192.0.2.2:1 (2 dialled, 0 answered, 0 had metadata)";
    let tried = format!("tried: no ring, no trackers, {peers}");
    assert_eq!(drive.events(), format!("warning: its metadata is not here yet; {tried}"));
    drive.waits(Duration::from_secs(30));
    let error =
        format!("error: a name: no metadata arrived for 60 s; {tried}; name a peer with --peer");
    assert_eq!(drive.events(), error);
    assert_eq!(drive.engine.phase, Phase::Ending);
}

#[test]
fn metadata_that_makes_no_torrent_ends_the_search() {
    let mut drive = Drive::new(settings());
    drive.seeks(&[]);
    drive.events();
    let (kind, what, why) = (TroubleKind::NotATorrent, "t".into(), "it is a cake".into());
    drive.clerk(ClerkNews::Unusable(crate::bus::Trouble { kind, what, why }));
    assert_eq!(drive.events(), "error: t: it is a cake");
    assert_eq!(drive.engine.phase, Phase::Ending);
}

#[test]
fn what_is_only_to_be_saved_is_done_then() {
    let mut drive = Drive::new(settings());
    drive.seeks(&[]);
    drive.events();
    let path = std::path::PathBuf::from("d/tune.torrent");
    drive.clerk(ClerkNews::Saved { name: "tune".into(), size: 70, len: 9, path });
    assert_eq!(drive.events(), "metadata of tune, 70, finished 9/0, settled");
    assert_eq!(drive.engine.phase, Phase::Ending);
}

#[test]
fn a_full_clerk_is_asked_again() {
    let mut drive = Drive::new(settings());
    drive.seeks(&[]);
    let peer = drive.joins_early();
    drive.news(peer, offer(Some(len())));
    drive.performs(peer);
    drive.news(peer, piece(0));
    drive.engine.handle(drive.now, Notification::Peer(drive.peers[&peer].key, piece(1)));
    let order = drive.engine.poll_order().unwrap();
    drive.engine.handle_undelivered(drive.now, order);
    assert_eq!(drive.orders(), "metadata ask(0) to 0 as 3, metadata ask(1) to 0 as 3");
}

#[test]
fn of_a_private_torrent_only_those_who_were_named_stay() {
    let draft = Draft {
        name: b"tune".to_vec(),
        piece_length: BLOCK_LEN,
        files: vec![DraftFile { path: Vec::new(), len: 1 }],
        hashes: vec![7; 20],
        private: true,
        ..Draft::default()
    };
    let private = Metainfo::parse(&draft.encode()).unwrap();
    let mut drive = Drive::new(settings());
    drive.seeks(&["192.0.2.1:1"]);
    drive.greeted(0, Greeting { ip: "192.0.2.1", peer_id: PeerId([9; 20]), ..Greeting::default() });
    let caller = drive.joins_early();
    drive.is_known(private);
    assert_eq!(drive.renews(0), "let 0 look");
    assert_eq!(drive.renews(caller), format!("hang up {caller}"));
}

#[test]
fn great_lengths_keep_no_short_metadata_out() {
    use crate::words::limits::metadata::METADATA_LEN_MAX;

    let mut drive = Drive::new(settings());
    drive.seeks(&[]);
    let asked =
        |peer: u32| format!("metadata ask(0) to {peer} as 3, metadata ask(1) to {peer} as 3");
    let [great, other, short] = [0; 3].map(|_| drive.joins_early());
    assert_eq!(drive.news(great, offer(Some(METADATA_LEN_MAX))), asked(great));
    assert_eq!(drive.news(other, offer(Some(METADATA_LEN_MAX - 1))), "", "one at a time");
    assert_eq!(drive.news(short, offer(Some(len()))), asked(short));
    assert!(drive.goes(great).contains("reap 0"));
    assert_eq!(drive.news(other, PeerNews::Sample), "", "the short one and this are too much");
    assert!(drive.goes(short).contains("reap 2"));
    assert_eq!(drive.news(other, PeerNews::Sample), asked(other));
}
