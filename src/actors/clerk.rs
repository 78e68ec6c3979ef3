//! The clerk looks at metadata that has come from peers: whether it is what the info-hash stands for,
//! and what torrent it makes. What is right is filed in the state folder, so that the next start needs
//! no peer. All that takes time by the size of the metadata, for which main may not wait.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use sha1::{Digest, Sha1};

use crate::actors::disk::{Reader, SystemDisk, make_folders};
use crate::actors::file_error::{FileError, reason, trouble};
use crate::actors::save::save;
use crate::actors::state::{read_at_most, replace};
use crate::bus::{
    ClerkNews, Network, NewTorrent, Notification, Place, Select, ToClerk, TorrentContext, Trouble,
    TroubleKind, Wish,
};
use crate::formats::metainfo::Metainfo;
use crate::formats::path::shown;
use crate::formats::web_seed::WebSeed;
use crate::words::address::Address;
use crate::words::bitfield::SharedBitfield;
use crate::words::id::{InfoHash, TorrentKey};
use crate::words::limits::metadata::CLERK_ORDERS_MAX;
use crate::words::limits::{TORRENT_LEN_MAX, stacks};

/// Main's end of the clerk: dropped, it ends the thread.
#[derive(Debug)]
pub(crate) struct ClerkHandle {
    pub(crate) orders: Sender<(TorrentKey, ToClerk)>,
    thread: JoinHandle<()>,
}

impl ClerkHandle {
    /// Starts the thread.
    pub(crate) fn start(notifications: Sender<Notification>) -> io::Result<Self> {
        let (orders, from_main) = bounded(CLERK_ORDERS_MAX);
        let clerk = Clerk(notifications);
        let builder = Builder::new().name("clerk".into()).stack_size(stacks::CLERK);
        let thread = builder.spawn(move || clerk.run(&from_main))?;
        Ok(Self { orders, thread })
    }

    /// Lets it end. It is not waited for while it writes: what it files is there whole or not at all.
    pub(crate) fn end(self) {
        drop(self.orders);
        if self.thread.is_finished() {
            // A clerk that failed has said so on stderr.
            self.thread.join().ok();
        }
    }
}

struct Clerk(Sender<Notification>);

impl Clerk {
    /// Works until main drops its end.
    fn run(self, from_main: &Receiver<(TorrentKey, ToClerk)>) {
        while let Ok((torrent, ToClerk::Check { len, pieces, wish })) = from_main.recv() {
            let news = self.look_at(len, pieces, &wish);
            self.publish(Notification::Clerk(torrent, news));
        }
    }

    fn look_at(&self, len: u32, pieces: Vec<Vec<u8>>, wish: &Wish) -> ClerkNews {
        let info = pieces.concat();
        drop(pieces);
        if InfoHash(Sha1::digest(&info).into()) != wish.info_hash {
            return ClerkNews::Wrong { len };
        }
        match Metainfo::from_info(&info) {
            Ok(metainfo) => {
                self.fulfil(metainfo, wish, u64::from(len)).unwrap_or_else(ClerkNews::Unusable)
            }
            Err(error) => {
                let (kind, what) = (TroubleKind::NotATorrent, wish.info_hash.to_string());
                ClerkNews::Unusable(Trouble { kind, what, why: format!("its metadata: {error}") })
            }
        }
    }

    fn fulfil(&self, metainfo: Metainfo, wish: &Wish, len: u64) -> Result<ClerkNews, Trouble> {
        let Place { dir, state, overwrite, .. } = &wish.place;
        if let Err(error) = remember(state, &metainfo) {
            let why = reason(&error);
            let what = shown(state);
            let next = "the next start asks peers for it again";
            self.publish(Notification::Warning(format!(
                "{what}: {why}; the metadata is not kept, and {next}"
            )));
        }
        let metainfo = metainfo.with_link(&wish.trackers, &wish.web_seeds);
        if wish.save_only {
            let path = save_torrent(dir, &metainfo, *overwrite)?;
            let (name, size) = (metainfo.name().to_owned(), metainfo.size());
            return Ok(ClerkNews::Saved { name, size, len, path });
        }
        let files = selected(&metainfo, &wish.select)?;
        let new = new_torrent(metainfo, wish.place.clone(), Vec::new(), files.as_ref());
        Ok(ClerkNews::Made(Box::new(new)))
    }

    fn publish(&self, notification: Notification) {
        #[expect(clippy::disallowed_methods, reason = "the clerk may wait for main")]
        let sent = self.0.send(notification);
        // If main is gone, so is the need to tell it.
        sent.ok();
    }
}

/// A torrent as main takes it: what takes time by its size is done here. Of its files these are
/// wanted, by their indices; `None`: all.
pub(crate) fn new_torrent(
    metainfo: Metainfo,
    place: Place,
    peers: Vec<Address>,
    files: Option<&BTreeSet<usize>>,
) -> NewTorrent {
    let wanted = match files {
        _ if place.read_only => SharedBitfield::zeros(metainfo.pieces()),
        Some(files) => metainfo.pieces_of_files(files),
        None => SharedBitfield::ones(metainfo.pieces()),
    };
    let of = |nodes: &[(String, u16)]| {
        nodes.iter().filter_map(|(host, port)| node(host, *port)).collect()
    };
    let nodes = vec![
        (Network::Ring, of(metainfo.chord_nodes())),
        (Network::Mainline, of(metainfo.nodes())),
    ];
    // Peers and data of a private torrent come by way of its trackers alone (BEP 27).
    let web_seeds = metainfo.web_seeds().iter().filter(|_| !metainfo.private());
    let web_seeds = web_seeds.filter_map(|url| WebSeed::parse(url).ok()).collect();
    let (publisher, context) = TorrentContext::new(metainfo, wanted);
    let (trackers, key, wish) = (Vec::new(), 0, None);
    NewTorrent { context, publisher, place, peers, web_seeds, nodes, trackers, key, wish }
}

/// The files that are selected, by their indices; `None`: all.
///
/// # Errors
/// If there are no such files.
pub(crate) fn selected(
    metainfo: &Metainfo,
    select: &Select,
) -> Result<Option<BTreeSet<usize>>, Trouble> {
    let (files, kind, what) = match select {
        Select::All => return Ok(None),
        Select::Numbers(numbers) => {
            (metainfo.files_numbered(numbers), TroubleKind::Usage, "--select".to_owned())
        }
        Select::Indices(indices) => {
            let what = format!("magnet link of {}", metainfo.name());
            (metainfo.files_indexed(indices), TroubleKind::NotATorrent, what)
        }
    };
    if !files.is_empty() {
        return Ok(Some(files));
    }
    let name = metainfo.name();
    let why = match select {
        Select::Indices(_) => "its \"so\" names no file of the torrent; --select does".to_owned(),
        Select::All | Select::Numbers(_) => format!("{name} has no such file; see rondalla show"),
    };
    Err(Trouble { kind, what, why })
}

/// A node that a torrent's maker named; one that nobody can dial is passed over.
fn node(host: &str, port: u16) -> Option<Address> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    host.parse().ok().map(|host| Address { host, port })
}

/// The torrent of this info-hash, if its metadata was kept in the state folder.
pub(crate) fn remembered(state: &Path, info_hash: InfoHash) -> Option<Metainfo> {
    let bytes = read_at_most(&SystemDisk, &kept_at(state, info_hash), TORRENT_LEN_MAX).ok()?;
    Metainfo::parse(&bytes).ok().filter(|metainfo| metainfo.info_hash() == info_hash)
}

fn remember(state: &Path, metainfo: &Metainfo) -> io::Result<()> {
    make_folders(&SystemDisk, state, Reader::User)?;
    replace(&SystemDisk, &kept_at(state, metainfo.info_hash()), &metainfo.to_torrent())
}

fn kept_at(state: &Path, info_hash: InfoHash) -> PathBuf {
    state.join(format!("{info_hash}.torrent"))
}

/// Saves a torrent as `NAME.torrent` below `dir`, which is made if it is not there.
///
/// # Errors
/// If it exists and may not be replaced, or the disk refuses.
pub(crate) fn save_torrent(
    dir: &Path,
    metainfo: &Metainfo,
    overwrite: bool,
) -> Result<PathBuf, Trouble> {
    let mut name = metainfo.root().as_os_str().to_owned();
    name.push(".torrent");
    let path = dir.join(name);
    if !overwrite && path.symlink_metadata().is_ok() {
        let (kind, what) = (TroubleKind::FileSystem, shown(&path));
        let why = "it exists already; --overwrite replaces it".to_owned();
        return Err(Trouble { kind, what, why });
    }
    let saved = make_folders(&SystemDisk, dir, Reader::Anyone)
        .and_then(|()| save(&path, &metainfo.to_torrent()).map_err(FileError::about(&path)));
    saved.map_err(|error| trouble(dir, &error))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::actors::scratch::Scratch;
    use crate::machines::made_up;
    use crate::words::limits::metadata::METADATA_PIECE_LEN;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn torrent() -> Metainfo {
        // Its metadata has two pieces.
        made_up::torrent("tune", 16_384, 16_384 * 1_000)
    }

    fn wish(scratch: &Scratch, select: Select, save_only: bool) -> Arc<Wish> {
        let place = Place {
            dir: scratch.path().join("new/dir"),
            state: scratch.path().join("state"),
            check: false,
            overwrite: false,
            read_only: false,
        };
        let (trackers, web_seeds) = (vec!["udp://t:1".to_owned()], vec!["http://w/".to_owned()]);
        let info_hash = torrent().info_hash();
        Arc::new(Wish { info_hash, trackers, web_seeds, place, select, save_only })
    }

    fn checked(pieces: Vec<Vec<u8>>, wish: &Arc<Wish>) -> ClerkNews {
        let (notifications, heard) = bounded(8);
        let clerk = ClerkHandle::start(notifications).unwrap();
        let len = u32::try_from(pieces.concat().len()).unwrap();
        let order = ToClerk::Check { len, pieces, wish: Arc::clone(wish) };
        clerk.orders.send_timeout((made_up::torrent_key(0), order), PATIENCE).unwrap();
        let Notification::Clerk(_, news) = heard.recv_timeout(PATIENCE).unwrap() else {
            panic!("the clerk has nothing else to say")
        };
        news
    }

    fn right() -> Vec<Vec<u8>> {
        let info = torrent().info_bytes().to_vec();
        info.chunks(METADATA_PIECE_LEN as usize).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn what_is_right_makes_a_torrent_and_is_remembered() {
        let scratch = Scratch::new();
        let wish = wish(&scratch, Select::All, false);
        assert!(remembered(&wish.place.state, wish.info_hash).is_none());
        let ClerkNews::Made(new) = checked(right(), &wish) else { panic!("it is right") };
        assert_eq!(new.context.metainfo.trackers(), [["udp://t:1"]]);
        assert_eq!(new.context.wanted.count(), 1_000);
        let kept = remembered(&wish.place.state, wish.info_hash).unwrap();
        assert_eq!(kept, torrent(), "what a link says beside it is that link's");
        assert!(remembered(&wish.place.state, InfoHash([1; 20])).is_none());
        // A file of another torrent under this name is believed as little as noise.
        let path = kept_at(&wish.place.state, InfoHash([1; 20]));
        fs::write(&path, kept.to_torrent()).unwrap();
        assert!(remembered(&wish.place.state, InfoHash([1; 20])).is_none());
        fs::write(&path, b"noise").unwrap();
        assert!(remembered(&wish.place.state, InfoHash([1; 20])).is_none());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_length() {
        let scratch = Scratch::new();
        let wish = wish(&scratch, Select::All, false);
        let mut pieces = right();
        pieces[1][7] ^= 1;
        let len = u32::try_from(pieces.concat().len()).unwrap();
        let news = checked(pieces, &wish);
        assert!(matches!(news, ClerkNews::Wrong { len: told } if told == len), "{news:?}");
        assert!(!wish.place.state.exists());
    }

    #[test]
    fn what_is_right_and_no_torrent_is_unusable() {
        let scratch = Scratch::new();
        let mut wish = Arc::into_inner(wish(&scratch, Select::All, false)).unwrap();
        let info = b"d4:name1:xe".to_vec();
        wish.info_hash = InfoHash(Sha1::digest(&info).into());
        let ClerkNews::Unusable(trouble) = checked(vec![info], &Arc::new(wish)) else {
            panic!("it is no torrent")
        };
        assert_eq!(trouble.kind, TroubleKind::NotATorrent);
        assert!(trouble.why.starts_with("its metadata: it has no \""), "{}", trouble.why);
    }

    #[test]
    fn a_torrent_is_saved_once_unless_it_may_be_replaced() {
        let scratch = Scratch::new();
        let once = wish(&scratch, Select::All, true);
        let ClerkNews::Saved { name, path, .. } = checked(right(), &once) else { panic!("saved") };
        assert_eq!((name.as_str(), path.file_name().unwrap()), ("tune", "tune.torrent".as_ref()));
        let saved = Metainfo::parse(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(saved.info_bytes(), torrent().info_bytes());
        assert_eq!(
            (saved.trackers(), saved.web_seeds().len()),
            (&[vec!["udp://t:1".to_owned()]][..], 1)
        );
        let ClerkNews::Unusable(trouble) = checked(right(), &once) else { panic!("it exists") };
        assert_eq!(trouble.kind, TroubleKind::FileSystem);
        assert!(trouble.what.ends_with("tune.torrent") && trouble.why.contains("--overwrite"));
        let mut again = Arc::into_inner(wish(&scratch, Select::All, true)).unwrap();
        again.place.overwrite = true;
        assert!(matches!(checked(right(), &Arc::new(again)), ClerkNews::Saved { .. }));
    }

    #[test]
    fn a_selection_of_nothing_says_whose_it_is() {
        let scratch = Scratch::new();
        for (select, kind) in [
            (Select::Numbers(vec![2..=9]), TroubleKind::Usage),
            (Select::Indices(vec![1..=9]), TroubleKind::NotATorrent),
        ] {
            let ClerkNews::Unusable(trouble) = checked(right(), &wish(&scratch, select, false))
            else {
                panic!("there is one file")
            };
            assert_eq!(trouble.kind, kind);
        }
        for select in [Select::Numbers(vec![1..=9]), Select::Indices(vec![0..=0])] {
            let news = checked(right(), &wish(&scratch, select, false));
            assert!(matches!(news, ClerkNews::Made(_)), "{news:?}");
        }
    }
}
