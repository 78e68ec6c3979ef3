//! What a program that uses this library chooses.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::networks::{ChordOptions, MainlineOptions};
use super::trackers;
use crate::actors::clerk;
use crate::bus::{NewTorrent, Place};
use crate::formats::metainfo::Metainfo;
use crate::formats::mse::Encryption;
use crate::formats::url::Url;
use crate::machines::engine::{Goal, SeedUntil};
use crate::words::address::{Address, ListenAddress};
use crate::words::limits;

/// How a session works, for all its torrents.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to take connections; `None`: nowhere.
    pub listen: Option<ListenAddress>,
    /// The folder of resume files and locks.
    pub state: PathBuf,
    /// When the session is done.
    pub goal: Goal,
    /// Go on until told to end, since [`Remote::add`](super::Remote::add) may bring more torrents.
    pub stay: bool,
    /// Whether to serve others.
    pub upload: bool,
    /// Whether connections are encrypted.
    pub encryption: Encryption,
    /// How to take part in the ring; `None`: not at all.
    pub chord: Option<ChordOptions>,
    /// Whether trackers are told of our torrents, and asked for peers.
    pub trackers: bool,
    /// How to take part in Mainline, the public DHT; `None`: not at all.
    pub mainline: Option<MainlineOptions>,
    /// Whether to look for peers in the local network (BEP 14), as long as the session listens.
    pub lan: bool,
    /// Whether to exchange with peers whom each is connected to (BEP 11).
    pub pex: bool,
    /// Bytes that blocks may take until their pieces are written.
    pub memory: u64,
    /// Connections at once, at most [`limits::PEERS_MAX`].
    pub peers_max: u32,
    /// Files of torrents that are open at once.
    pub files_open_max: usize,
    /// Give up a torrent when nothing arrives for so long.
    pub timeout: Option<Duration>,
    /// Bytes of payload a second that may arrive; 0 is no limit.
    pub limit_down: u64,
    /// Bytes of payload a second that may leave; 0 is no limit.
    pub limit_up: u64,
    /// Ask for the pieces in their order, not for the rarest first.
    pub sequential: bool,
    /// Seed a complete torrent no longer than until one of these is met.
    pub seed_until: SeedUntil,
    /// Where each notification and order is written, one JSON line each.
    pub trace: Option<Arc<File>>,
}

impl Options {
    /// The one address that connections are taken at and leave from, if there is one.
    pub(super) fn specific_address(&self) -> Option<IpAddr> {
        self.listen.as_ref().and_then(|listen| listen.ip).filter(|ip| !ip.is_unspecified())
    }

    /// Downloads until every torrent is complete. The numbers are those with which the command line
    /// begins, and plain constants: it brings some down where the host bears less, this does not. A
    /// session is on Mainline and speaks in the local network only where a program wants that.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            listen: Some(ListenAddress::default()),
            state: state.into(),
            goal: Goal::Complete,
            stay: false,
            upload: true,
            encryption: Encryption::default(),
            chord: Some(ChordOptions::default()),
            trackers: true,
            mainline: None,
            lan: false,
            pex: true,
            memory: limits::MEMORY_DEFAULT,
            peers_max: limits::PEERS_DEFAULT,
            files_open_max: limits::FILES_OPEN_MAX,
            timeout: None,
            limit_down: 0,
            limit_up: 0,
            sequential: false,
            seed_until: SeedUntil::default(),
            trace: None,
        }
    }
}

/// A torrent to add to a session.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// Its description.
    pub metainfo: Metainfo,
    /// The folder of its data.
    pub dir: PathBuf,
    /// Peers to dial at once, and again while they are down.
    pub peers: Vec<Address>,
    /// Trackers beside its own.
    pub trackers: Vec<Url>,
    /// Hash everything, whatever a resume file says.
    pub check: bool,
    /// Use existing files although no piece of them matches.
    pub overwrite: bool,
    /// The files to download, by their index in the metainfo; `None`: all.
    pub select: Option<BTreeSet<usize>>,
}

impl Torrent {
    /// A torrent whose data is, or will be, below `dir`.
    pub fn new(metainfo: Metainfo, dir: impl Into<PathBuf>) -> Self {
        Self {
            metainfo,
            dir: dir.into(),
            peers: Vec::new(),
            trackers: Vec::new(),
            check: false,
            overwrite: false,
            select: None,
        }
    }

    /// The torrent as main takes it: whatever takes time by its size is done. All its chance comes
    /// from `seed`.
    pub(super) fn into_new(
        self,
        state: &Path,
        goal: Goal,
        with_trackers: bool,
        seed: u64,
    ) -> NewTorrent {
        let Self { metainfo, dir, peers, trackers, check, overwrite, select } = self;
        let read_only = goal == Goal::Seed;
        let place = Place { dir, state: state.to_owned(), check, overwrite, read_only };
        let mut new = clerk::new_torrent(metainfo, place, peers, select.as_ref());
        if with_trackers {
            trackers::add(&mut new, trackers, seed);
        }
        new
    }
}
