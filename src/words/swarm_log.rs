//! The swarm log: which peers of one torrent came and went, for peer exchange (BEP 11).
//!
//! Main appends one entry for each change. Every writer reads at its own pace from a cursor of its
//! own, and makes of what is new since its last message the next one. So to tell any number of peers
//! who came is one append, as with the have log; but peers come and go without end, so the log goes
//! round: the oldest entry falls out when it is full, and is appended again if it still holds. Whoever
//! is slower than that begins again at the oldest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::words::address::is_local;
use crate::words::id::PeerKey;
use crate::words::limits::pex::{LISTED_MAX, LOG_LEN, NAMED_MAX, READ_LEN};

/// The log itself, behind a short lock: a turn of it is some 50 bytes that are written, or at most
/// [`READ_LEN`] of them that are copied.
#[derive(Debug, Default)]
pub struct SwarmLog(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// The number of the first that is there.
    first: u64,
    entries: VecDeque<Entry>,
}

/// What happened to one peer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    peer: PeerKey,
    address: SocketAddr,
    /// It came, and is of this kind; `None`: it went.
    came: Option<Standing>,
}

/// What is told of a peer beside its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It has everything.
    pub seeder: bool,
    /// We dialled it, so others can.
    pub reachable: bool,
}

#[cfg(test)]
impl Default for Standing {
    fn default() -> Self {
        Self { seeder: false, reachable: true }
    }
}

/// The one that appends: main's end of a log.
#[derive(Debug)]
pub struct Chronicler {
    log: Arc<SwarmLog>,
    here: BTreeMap<PeerKey, Listed>,
    by_address: BTreeMap<SocketAddr, PeerKey>,
}

/// A peer that came, as the log has it.
#[derive(Debug)]
struct Listed {
    address: SocketAddr,
    standing: Standing,
    /// The number of its entry.
    at: u64,
}

impl Chronicler {
    /// The end of `log` that main has; there is one.
    pub fn new(log: Arc<SwarmLog>) -> Self {
        Self { log, here: BTreeMap::new(), by_address: BTreeMap::new() }
    }

    /// `peer` can be reached at `address`. Said again it counts as news only if something is new. At
    /// most [`LISTED_MAX`] are listed: others are met by those as well.
    pub fn came(&mut self, peer: PeerKey, address: SocketAddr, standing: Standing) {
        let known = self.here.get(&peer);
        let is_known = known.is_some_and(|listed| listed.address == address);
        let is_new = known.is_none_or(|listed| listed.standing != standing || !is_known);
        let has_room = known.is_some() || self.here.len() < LISTED_MAX;
        if !is_new || !has_room {
            return;
        }
        if !is_known {
            self.went(peer);
        }
        // Of two connections to one address the later counts.
        if let Some(other) = self.by_address.insert(address, peer).filter(|other| *other != peer) {
            self.here.remove(&other);
        }
        let at = self.append(Entry { peer, address, came: Some(standing) });
        self.here.insert(peer, Listed { address, standing, at });
    }

    /// What is told of `peer` has changed, if it is told.
    pub fn became(&mut self, peer: PeerKey, change: impl FnOnce(&mut Standing)) {
        if let Some(Listed { address, standing, .. }) = self.here.get(&peer) {
            let (address, mut standing) = (*address, *standing);
            change(&mut standing);
            self.came(peer, address, standing);
        }
    }

    /// `peer` is gone.
    pub fn went(&mut self, peer: PeerKey) {
        if let Some(Listed { address, .. }) = self.here.remove(&peer) {
            self.by_address.remove(&address);
            self.append(Entry { peer, address, came: None });
        }
    }

    /// Appends an entry, and before it those again that fall out and still hold: at most as many as are
    /// listed.
    fn append(&mut self, entry: Entry) -> u64 {
        let mut log = self.log.0.lock();
        while log.entries.len() >= LOG_LEN {
            let number = log.first;
            let Some(oldest) = log.entries.pop_front() else { break };
            log.first += 1;
            if let Some(listed) = self.here.get_mut(&oldest.peer).filter(|l| l.at == number) {
                log.entries.push_back(oldest);
                listed.at = log.end() - 1;
            }
        }
        log.entries.push_back(entry);
        log.end() - 1
    }
}

impl Entries {
    /// The number of the next entry.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

/// A reader with its own cursor, and what it has told so far.
#[derive(Debug)]
pub struct SwarmReader {
    log: Arc<SwarmLog>,
    cursor: u64,
    /// Whom it does not tell of: the one it tells.
    to: PeerKey,
    /// It is in our local network.
    near: bool,
    told: BTreeSet<SocketAddr>,
}

/// What is told at once: no address stands in it twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Who came, at most [`NAMED_MAX`].
    pub added: BTreeMap<SocketAddr, Standing>,
    /// Who went, at most as many.
    pub dropped: BTreeSet<SocketAddr>,
}

impl SwarmReader {
    /// A reader for `to` that begins at the oldest entry. Whoever is not `near` is told of nobody in our
    /// local network: they cannot be dialled from there, and it is nobody's business who they are.
    pub fn new(log: Arc<SwarmLog>, to: PeerKey, near: bool) -> Self {
        Self { log, cursor: 0, to, near, told: BTreeSet::new() }
    }

    /// What has changed since the last call, as far as one message holds it; the rest is for the
    /// next. Who came and went in between is not told.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        let is_full = |changes: &Changes| {
            changes.added.len() >= NAMED_MAX || changes.dropped.len() >= NAMED_MAX
        };
        while !is_full(&changes) {
            let entries = self.read();
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                if is_full(&changes) {
                    break;
                }
                self.cursor += 1;
                if entry.peer != self.to && (self.near || !is_local(entry.address.ip())) {
                    self.take(&mut changes, entry);
                }
            }
        }
        self.told.retain(|address| !changes.dropped.contains(address));
        self.told.extend(changes.added.keys());
        changes
    }

    fn take(&self, changes: &mut Changes, Entry { address, came, .. }: Entry) {
        match came {
            Some(_) if changes.dropped.remove(&address) => {}
            Some(standing) if !self.told.contains(&address) => {
                changes.added.insert(address, standing);
            }
            Some(_) => {}
            None => {
                let was_new = changes.added.remove(&address).is_some();
                if !was_new && self.told.contains(&address) {
                    changes.dropped.insert(address);
                }
            }
        }
    }

    /// The next entries, a bounded number of them.
    fn read(&mut self) -> Vec<Entry> {
        let log = self.log.0.lock();
        if self.cursor < log.first {
            // Some were missed, so nobody knows who of those that were told is still there.
            self.told.clear();
            self.cursor = log.first;
        }
        let at = usize::try_from(self.cursor - log.first).unwrap_or(usize::MAX);
        log.entries.iter().skip(at).take(READ_LEN).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::id::Key;

    fn peer(n: u32) -> PeerKey {
        PeerKey(Key { index: n, generation: 0 })
    }

    fn address(n: u32) -> SocketAddr {
        let [_, _, high, low] = n.to_be_bytes();
        SocketAddr::from(([10, 0, high, low], 6881))
    }

    fn log() -> (Chronicler, SwarmReader) {
        let log = Arc::new(SwarmLog::default());
        (Chronicler::new(Arc::clone(&log)), SwarmReader::new(log, peer(9_999), true))
    }

    fn comes(chronicler: &mut Chronicler, n: u32) {
        chronicler.came(peer(n), address(n), Standing::default());
    }

    fn added(changes: &Changes) -> Vec<SocketAddr> {
        changes.added.keys().copied().collect()
    }

    #[test]
    fn who_came_and_went_is_told_once_and_who_did_both_not_at_all() {
        let (mut chronicler, mut reader) = log();
        (1..4).for_each(|n| comes(&mut chronicler, n));
        chronicler.went(peer(2));
        assert_eq!(added(&reader.changes()), [1, 3].map(address));
        assert_eq!(reader.changes(), Changes::default());
        chronicler.went(peer(1));
        chronicler.went(peer(3));
        comes(&mut chronicler, 3);
        comes(&mut chronicler, 4);
        let changes = reader.changes();
        assert_eq!(added(&changes), [address(4)], "3 has only changed its connection");
        assert_eq!(changes.dropped, BTreeSet::from([address(1)]));
        // Who comes later is told who is there.
        let mut late = SwarmReader::new(Arc::clone(&chronicler.log), peer(4), true);
        assert_eq!(added(&late.changes()), [address(3)], "and not of itself");
    }

    #[test]
    fn strangers_are_told_of_nobody_in_our_local_network() {
        let (mut chronicler, mut near) = log();
        let mut far = SwarmReader::new(Arc::clone(&chronicler.log), peer(9_998), false);
        comes(&mut chronicler, 1);
        let global = "1.2.3.4:5".parse().unwrap();
        chronicler.came(peer(2), global, Standing::default());
        assert_eq!(added(&near.changes()), [global, address(1)]);
        assert_eq!(added(&far.changes()), [global]);
        chronicler.went(peer(1));
        chronicler.went(peer(2));
        assert_eq!(far.changes().dropped, BTreeSet::from([global]));
    }

    #[test]
    fn a_message_names_so_many_and_the_rest_is_for_the_next() {
        let (mut chronicler, mut reader) = log();
        (0..120).for_each(|n| comes(&mut chronicler, n));
        let mut told = BTreeSet::new();
        for len in [50, 50, 20, 0] {
            let changes = reader.changes();
            assert_eq!(changes.added.len(), len);
            told.extend(added(&changes));
        }
        assert_eq!(told.len(), 120);
        (0..120).for_each(|n| chronicler.went(peer(n)));
        for len in [50, 50, 20, 0] {
            assert_eq!(reader.changes().dropped.len(), len);
        }
    }

    #[test]
    fn of_two_connections_to_one_address_the_end_of_the_older_says_nothing() {
        let (mut chronicler, mut reader) = log();
        let standing = Standing::default();
        chronicler.came(peer(1), address(7), standing);
        chronicler.came(peer(2), address(7), standing);
        chronicler.went(peer(1));
        assert_eq!(added(&reader.changes()), [address(7)]);
        chronicler.went(peer(2));
        assert_eq!(reader.changes().dropped, BTreeSet::from([address(7)]));
        assert!(chronicler.here.is_empty());
    }

    #[test]
    fn what_becomes_of_a_peer_is_told_to_those_who_were_not_told_of_it() {
        let (mut chronicler, mut reader) = log();
        comes(&mut chronicler, 1);
        let mut early = SwarmReader::new(Arc::clone(&chronicler.log), peer(5), true);
        early.changes();
        chronicler.became(peer(1), |standing| standing.seeder = true);
        assert!(reader.changes().added[&address(1)].seeder);
        assert_eq!(early.changes(), Changes::default());
    }

    #[test]
    fn what_became_of_a_peer_comes_after_what_it_was_when_that_falls_out() {
        let (mut chronicler, mut reader) = log();
        comes(&mut chronicler, 1);
        for n in (2..).take(LOG_LEN / 2 - 1) {
            comes(&mut chronicler, n);
            chronicler.went(peer(n));
        }
        comes(&mut chronicler, 9_000);
        assert_eq!(chronicler.log.0.lock().entries.len(), LOG_LEN);
        chronicler.became(peer(1), |standing| standing.seeder = true);
        let told = std::iter::from_fn(|| Some(reader.changes()))
            .take(LOG_LEN)
            .find_map(|changes| changes.added.get(&address(1)).copied());
        assert!(told.unwrap().seeder);
    }

    /// However long it goes on, the log stays small, and whoever reads hears of all who are there.
    #[test]
    fn the_log_goes_round_and_those_who_stay_stay_in_it() {
        let (mut chronicler, mut reader) = log();
        (0..100).for_each(|n| comes(&mut chronicler, n));
        let mut sees = SwarmReader::new(Arc::clone(&chronicler.log), peer(9_998), true);
        let mut seen = BTreeSet::new();
        for n in 1_000..6_000 {
            comes(&mut chronicler, n);
            chronicler.went(peer(n));
            if n % 10 == 0 {
                let changes = sees.changes();
                seen.extend(added(&changes));
                changes.dropped.iter().for_each(|gone| assert!(seen.remove(gone), "{gone}"));
            }
            assert!(chronicler.log.0.lock().entries.len() <= LOG_LEN);
        }
        let stayed: BTreeSet<_> = (0..100).map(address).collect();
        assert_eq!(seen, stayed);
        let mut heard = BTreeSet::new();
        (0..3).for_each(|_| heard.extend(added(&reader.changes())));
        assert_eq!(heard, stayed, "so does whoever was too slow");
    }

    #[test]
    fn so_many_are_listed() {
        let (mut chronicler, _) = log();
        (0..10_000).for_each(|n| comes(&mut chronicler, n));
        assert_eq!(chronicler.here.len(), LISTED_MAX);
        (0..10_000).for_each(|n| chronicler.went(peer(n)));
        assert!(chronicler.here.is_empty() && chronicler.by_address.is_empty());
    }
}
