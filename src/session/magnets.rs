//! Torrents of which a program knows a magnet link alone, and what is kept of their metadata.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::actors::clerk;
use crate::bus::{NewTorrent, Place, Select, TorrentContext, Trouble, Wish};
use crate::formats::magnet::Magnet;
use crate::formats::metainfo::Metainfo;
use crate::formats::url::Url;
use crate::machines::engine::Goal;
use crate::words::address::Address;
use crate::words::id::InfoHash;

/// A torrent of which a magnet link is known, to add to a session.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The link. The peers that it names are dialled like those of `peers`.
    pub magnet: Magnet,
    /// The folder of its data.
    pub dir: PathBuf,
    /// Peers to dial at once, and again while they are down.
    pub peers: Vec<Address>,
    /// Trackers beside those of the link.
    pub trackers: Vec<Url>,
    /// Hash everything, whatever a resume file says.
    pub check: bool,
    /// Use existing files although no piece of them matches.
    pub overwrite: bool,
    /// The files to download, by their numbers from 1, pad files left out; `None`: those that the
    /// link selects.
    pub select: Option<Vec<RangeInclusive<u32>>>,
    /// Save it as `NAME.torrent` in `dir`, and no more.
    pub save_only: bool,
}

impl Sought {
    /// A torrent whose data will be below `dir`.
    pub fn new(magnet: Magnet, dir: impl Into<PathBuf>) -> Self {
        Self {
            magnet,
            dir: dir.into(),
            peers: Vec::new(),
            trackers: Vec::new(),
            check: false,
            overwrite: false,
            select: None,
            save_only: false,
        }
    }

    /// What stands for it until its metadata is here.
    pub(super) fn into_new(
        self,
        state: &Path,
        goal: Goal,
        with_trackers: bool,
        seed: u64,
    ) -> NewTorrent {
        let Self { magnet, dir, mut peers, trackers: named_trackers, .. } = self;
        let Self { check, overwrite, select, save_only, .. } = self;
        let Magnet { info_hash, name, trackers, web_seeds, peers: named, select: of_link } = magnet;
        peers.extend(named.iter().filter_map(|peer| peer.parse().ok()));
        let read_only = goal == Goal::Seed;
        let place = Place { dir, state: state.to_owned(), check, overwrite, read_only };
        let select = match select {
            Some(numbers) => Select::Numbers(numbers),
            None if of_link.is_empty() => Select::All,
            None => Select::Indices(of_link),
        };
        let unknown = Metainfo::unknown(info_hash, name.as_deref());
        let unknown = unknown.with_link(&trackers, &web_seeds);
        let (publisher, context) = TorrentContext::unknown(unknown);
        let wish = Wish { info_hash, trackers, web_seeds, place: place.clone(), select, save_only };
        let (nodes, wish) = (Vec::new(), Some(Arc::new(wish)));
        // What they have is known with the metadata alone.
        let (with_metadata, trackers) = (Vec::new(), Vec::new());
        let mut new = NewTorrent {
            context,
            publisher,
            place,
            peers,
            web_seeds: with_metadata,
            nodes,
            trackers,
            key: 0,
            wish,
        };
        if with_trackers {
            super::trackers::add(&mut new, named_trackers, seed);
        }
        new
    }
}

/// The torrent of this info-hash, if its metadata was had from peers before and is kept in this
/// folder of state.
pub fn remembered(state: &Path, info_hash: InfoHash) -> Option<Metainfo> {
    clerk::remembered(state, info_hash)
}

/// The files that are selected, by their indices; `None`: all.
///
/// # Errors
/// If there are no such files.
pub fn selected(metainfo: &Metainfo, select: &Select) -> Result<Option<BTreeSet<usize>>, Trouble> {
    clerk::selected(metainfo, select)
}

/// Saves a torrent as `NAME.torrent` below `dir`, which is made if it is not there. The path of the
/// file.
///
/// # Errors
/// If it exists and may not be replaced, or the disk refuses.
pub fn save_torrent(dir: &Path, metainfo: &Metainfo, overwrite: bool) -> Result<PathBuf, Trouble> {
    clerk::save_torrent(dir, metainfo, overwrite)
}
