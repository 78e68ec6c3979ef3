//! The central tracker beside the distributed one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rondalla::words::id::InfoHash;

/// Who shares what, as a single server would know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Central {
    torrents: BTreeMap<InfoHash, BTreeSet<SocketAddr>>,
}

impl Central {
    pub(super) fn announce(&mut self, info_hash: InfoHash, peer: SocketAddr) {
        self.torrents.entry(info_hash).or_default().insert(peer);
    }

    /// A host is gone, with all that it announced.
    pub(super) fn forget(&mut self, host: SocketAddr) {
        self.torrents.values_mut().for_each(|peers| peers.retain(|peer| peer.ip() != host.ip()));
        self.torrents.retain(|_, peers| !peers.is_empty());
    }

    pub(super) fn torrents(&self) -> impl Iterator<Item = InfoHash> + '_ {
        self.torrents.keys().copied()
    }

    /// How many entries there are of all torrents.
    pub(super) fn entries(&self) -> usize {
        self.torrents.values().map(BTreeSet::len).sum()
    }

    pub(super) fn peers(&self, info_hash: InfoHash) -> Option<&BTreeSet<SocketAddr>> {
        self.torrents.get(&info_hash)
    }
}

impl FromIterator<(InfoHash, SocketAddr)> for Central {
    fn from_iter<I: IntoIterator<Item = (InfoHash, SocketAddr)>>(entries: I) -> Self {
        let mut central = Self::default();
        entries.into_iter().for_each(|(info_hash, peer)| central.announce(info_hash, peer));
        central
    }
}
