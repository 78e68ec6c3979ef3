//! What we ask of others: walks towards a place, and what is done when they are over.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::calls::{Call, Purpose};
use super::search::Search;
use super::{Announced, News, Node, family};
use crate::formats::mainline::{Contact, Query, Reply, Want};
use crate::words::address::may_name;
use crate::words::id::InfoHash;
use crate::words::limits::mainline as limits;
use crate::words::node_id::NodeId;

/// One walk, in all families at once.
#[derive(Debug)]
pub(super) struct Lookup {
    goal: Goal,
    target: NodeId,
    searches: [Option<Search>; 2],
    found: BTreeSet<SocketAddr>,
    began: Instant,
    outcome: Outcome,
}

/// What a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// To know the nodes there.
    Nodes,
    /// To find peers.
    Peers(InfoHash),
    /// To find peers, and to be found by them on this port.
    Announce(InfoHash, Option<u16>),
}

impl Goal {
    fn info_hash(self) -> Option<InfoHash> {
        match self {
            Self::Nodes => None,
            Self::Peers(info_hash) | Self::Announce(info_hash, _) => Some(info_hash),
        }
    }
}

/// How a lookup went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Queries sent, announcements not among them.
    pub queries: u32,
    /// Of these, the ones whose answers were late or never came.
    pub silences: u32,
    /// Answers that followed from one another until the first peers were found.
    pub hops: Option<u32>,
    /// Queries sent until then.
    pub queries_first: Option<u32>,
    /// When the first peers were found, after the beginning.
    pub found_after: Option<Duration>,
    /// When it was over, after the beginning.
    pub took: Duration,
    /// Peers that were found.
    pub found: u32,
    /// Nodes that were told that we share the torrent.
    pub told: u32,
}

impl Lookup {
    pub(super) fn check(&self) {
        self.searches.iter().flatten().for_each(Search::check);
        assert!(self.found.len() <= limits::LOOKUP_FOUND_MAX);
    }
}

impl Node {
    /// Starts what waits, asks whom there is to ask, and ends the lookups that are over.
    pub(super) fn pump(&mut self, now: Instant) {
        while self.has_room() {
            let Some(info_hash) = self.waiting.pop_front() else { break };
            self.begin(now, Goal::Peers(info_hash), info_hash.into(), [true, true]);
        }
        let numbers: Vec<u32> = self.lookups.keys().copied().collect();
        for number in numbers {
            self.advance(now, number);
        }
    }

    fn has_room(&self) -> bool {
        self.lookups.len() < limits::LOOKUPS_MAX
    }

    /// Begins the announcements whose time has come, as far as there is room.
    pub(super) fn start_due(&mut self, now: Instant) {
        while self.has_room()
            && let Some((due, info_hash)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            let again = self.later(now, limits::ANNOUNCE_EVERY);
            let announced = self.announced.get_mut(&info_hash).expect("what is due is announced");
            let Announced { port, .. } = *announced;
            announced.due = again;
            self.due.insert((again, info_hash));
            self.begin(now, Goal::Announce(info_hash, port), info_hash.into(), [true, true]);
        }
    }

    /// Gets to know the nodes near a place.
    pub(super) fn look_for_nodes(&mut self, now: Instant, family: usize, place: NodeId) {
        if self.has_room() {
            self.begin(now, Goal::Nodes, place, [family == 0, family == 1]);
        }
    }

    fn begin(&mut self, now: Instant, goal: Goal, target: NodeId, families: [bool; 2]) {
        let searches = std::array::from_fn(|at| {
            let home = self.homes[at].as_ref().filter(|_| families[at])?;
            let known = home.table.closest(target, limits::CANDIDATES_MAX);
            let entry_points = self.entry_points.iter().filter(|to| family(**to) == at);
            let entry_points: Vec<_> = entry_points.copied().collect();
            Some(Search::new(target, known, &entry_points))
        });
        let outcome = Outcome::default();
        let found = BTreeSet::new();
        self.lookups_begun = self.lookups_begun.wrapping_add(1);
        let number = self.lookups_begun;
        let lookup = Lookup { goal, target, searches, found, began: now, outcome };
        self.lookups.insert(number, lookup);
        if let Some(info_hash) = goal.info_hash() {
            let homes = self.homes.iter().flatten();
            let own: Vec<_> = homes.flat_map(|home| home.store.all(info_hash, now)).collect();
            self.handle_peers(now, number, 0, own);
        }
        self.advance(now, number);
    }

    /// Asks whom the lookup wants to ask next, and ends it if that is nobody.
    fn advance(&mut self, now: Instant, number: u32) {
        let want = if self.settings.families.v4 && self.settings.families.v6 {
            self.settings.families
        } else {
            Want::default()
        };
        while !self.calls.is_full() {
            let Some(lookup) = self.lookups.get_mut(&number) else { return };
            if lookup.outcome.queries >= limits::LOOKUP_QUERIES_MAX {
                self.finish(now, number);
                return;
            }
            let Some(next) = lookup.searches.iter_mut().flatten().find_map(Search::poll_next)
            else {
                break;
            };
            lookup.outcome.queries += 1;
            let query = match lookup.goal.info_hash() {
                None => Query::FindNode { target: lookup.target, want },
                Some(info_hash) => Query::GetPeers { info_hash, want },
            };
            self.call(now, next.to, next.id, Purpose::Lookup(number), query);
        }
        let lookup = self.lookups.get(&number);
        if lookup.is_some_and(|lookup| lookup.searches.iter().flatten().all(Search::is_over)) {
            self.finish(now, number);
        }
    }

    /// The answer to a call has come.
    pub(super) fn handle_reply(
        &mut self,
        now: Instant,
        call: Call,
        reply: Reply,
        your_address: Option<SocketAddr>,
    ) {
        let address = call.to;
        let Some(home) = &mut self.homes[family(address)] else { return };
        if let Some(id) = call.expected
            && id != reply.id
        {
            home.table.remove(Contact { id, address });
            self.give_up(now, call);
            return;
        }
        let contact = Contact { id: reply.id, address };
        let was_alone = home.table.len() == 0;
        let doubtful = home.table.handle_reply(contact, now);
        if was_alone && !home.has_joined {
            // Somebody is there at last: our neighbours need not be looked for later.
            home.next_self_lookup = now;
            self.next_upkeep = now;
        }
        let seen_at = your_address.map(|address| address.ip().to_canonical());
        let moved = seen_at
            .filter(|ip| ip.is_ipv6() == address.is_ipv6())
            .and_then(|ip| home.votes.handle_vote(now, address, ip));
        if let Some(doubtful) = doubtful
            && !self.calls.is_full()
        {
            self.call(now, doubtful.address, Some(doubtful.id), Purpose::Ping, Query::Ping);
        }
        if let Purpose::Lookup(number) = call.purpose {
            self.handle_answer(now, number, contact, reply);
        }
        if let Some(ip) = moved {
            self.move_to(now, ip);
        }
    }

    fn handle_answer(&mut self, now: Instant, number: u32, from: Contact, reply: Reply) {
        let own = self.homes.each_ref().map(|home| home.as_ref().map(|home| home.table.own()));
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        let mut depth = 0;
        for (at, search) in lookup.searches.iter_mut().enumerate() {
            let Some(search) = search else { continue };
            let nodes = reply.nodes.iter().copied();
            let nodes = nodes.filter(|node| family(node.address) == at && Some(node.id) != own[at]);
            let nodes = nodes.filter(|node| may_name(from.address.ip(), node.address.ip()));
            if family(from.address) == at {
                depth = search.handle_answer(from.address, nodes, reply.token.clone());
            } else {
                search.handle_hint(nodes);
            }
        }
        let mut peers = reply.peers;
        peers.retain(|peer| may_name(from.address.ip(), peer.ip()));
        self.handle_peers(now, number, depth, peers);
    }

    /// These peers share what is looked for.
    fn handle_peers(&mut self, now: Instant, number: u32, depth: u32, peers: Vec<SocketAddr>) {
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        let Some(info_hash) = lookup.goal.info_hash() else { return };
        let mut new = Vec::new();
        for peer in peers {
            if lookup.found.len() < limits::LOOKUP_FOUND_MAX && lookup.found.insert(peer) {
                new.push(peer);
            }
        }
        if !new.is_empty() && lookup.outcome.hops.is_none() {
            lookup.outcome.hops = Some(depth);
            lookup.outcome.queries_first = Some(lookup.outcome.queries);
            lookup.outcome.found_after = Some(now.saturating_duration_since(lookup.began));
        }
        for peers in new.chunks(limits::FOUND_MAX) {
            self.news.push_back(News::Found(info_hash, peers.to_vec()));
        }
    }

    /// Who was asked for a lookup does not answer in time.
    pub(super) fn handle_silence(&mut self, now: Instant, number: u32, to: SocketAddr) {
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        if let Some(search) = &mut lookup.searches[family(to)]
            && search.handle_silence(to)
        {
            lookup.outcome.silences += 1;
        }
        self.advance(now, number);
    }

    fn finish(&mut self, now: Instant, number: u32) {
        let Some(mut lookup) = self.lookups.remove(&number) else { return };
        // It may have been withdrawn meanwhile.
        if let Goal::Announce(info_hash, port) = lookup.goal
            && self.announced.contains_key(&info_hash)
        {
            let searches = lookup.searches.iter().flatten();
            let closest = searches.flat_map(Search::closest);
            for (contact, token) in closest {
                let Some(token) = token.cloned() else { continue };
                if self.calls.is_full() {
                    break;
                }
                let query = Query::AnnouncePeer { info_hash, port, token };
                let purpose = Purpose::Announce(info_hash);
                self.call(now, contact.address, Some(contact.id), purpose, query);
                lookup.outcome.told += 1;
            }
            if lookup.outcome.told == 0 {
                self.announce_sooner(now, info_hash);
            }
        }
        lookup.outcome.took = now.saturating_duration_since(lookup.began);
        lookup.outcome.found = u32::try_from(lookup.found.len()).unwrap_or(u32::MAX);
        if let Some(info_hash) = lookup.goal.info_hash() {
            self.news.push_back(News::Ended(info_hash, lookup.outcome));
        }
        if lookup.goal == Goal::Nodes {
            self.handle_neighbours(now, lookup.target);
        }
    }

    /// The nodes near a place are known; if it is our own place, we have arrived.
    fn handle_neighbours(&mut self, now: Instant, place: NodeId) {
        let homes = self.homes.iter_mut().flatten();
        let mut has_joined = false;
        for home in homes.filter(|home| home.table.own() == place && home.table.len() > 0) {
            if !home.has_joined {
                home.has_joined = true;
                has_joined = true;
                self.news.push_back(News::Joined);
            }
        }
        if has_joined {
            self.announce_again(now);
        }
    }

    /// Nobody was told: the next try is not long after.
    fn announce_sooner(&mut self, now: Instant, info_hash: InfoHash) {
        let again = self.later(now, limits::ANNOUNCE_RETRY);
        if let Some(announced) = self.announced.get_mut(&info_hash)
            && again < announced.due
        {
            self.due.remove(&(announced.due, info_hash));
            announced.due = again;
            self.due.insert((again, info_hash));
        }
    }
}
