//! What is to be done at a time: one ordered map, so that the next deadline is its first entry.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::bus::Network;
use crate::words::id::{Key, PeerKey, TorrentKey};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Tell the user how a torrent goes.
    Progress(TorrentKey),
    /// Pass the optimistic slot of a torrent on.
    Rotate(TorrentKey),
    /// Give a torrent up if nothing arrived.
    Timeout(TorrentKey),
    /// Tell the user what was tried for a torrent's metadata.
    Sought(TorrentKey),
    /// Dial this contact of a torrent again.
    Redial(TorrentKey, Key),
    /// Dial those who wait for it.
    Dial,
    /// Announce a torrent in a network, or look for its peers.
    Look(TorrentKey, Network),
    /// Look at the next torrents in a network.
    Sweep(Network),
    /// Give the reactor the orders again for which it had no room.
    NetworksAgain,
    /// Ask a peer again that has stalled.
    Ask(PeerKey),
    /// Announce to the next tracker of a tier of a torrent.
    Tier(TorrentKey, usize),
    /// Look at the next tiers of a torrent.
    Tiers(TorrentKey),
    /// Order the next announces.
    Announces,
    /// Wait no longer for trackers to hear that we stop.
    LeaveTrackers,
    /// Try again some of the peers for which there was nothing to ask.
    Retry,
    /// Give the storage the orders again for which it had no room.
    GiveAgain,
    /// Say goodbye to the next peers and torrents.
    Farewell,
    /// Wait for peers no longer.
    LeavePeers,
    /// Wait for nobody any longer.
    Deadline,
}

/// The timers by time; those of one time in the order in which they were started.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeMap<(Instant, u64), Timer>,
    started: u64,
}

impl Timers {
    pub(super) fn start(&mut self, at: Instant, timer: Timer) {
        self.started += 1;
        self.by_time.insert((at, self.started), timer);
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let first = self.by_time.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
