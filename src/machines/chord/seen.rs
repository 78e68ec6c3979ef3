//! Where others see us, and what it means to be seen elsewhere than before.
//!
//! Each answer says where it was sent. Our address is the one that most of those who answered lately
//! say; one of another kind is believed once it has been the majority's for long, since each costs a
//! new place on the ring. It is otherwise where this host itself can tell that it has moved: the
//! address that we had is none of its own any longer, and the one at which we are seen is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use crate::formats::krpc::Query;
use crate::machines::chord::fingers::subnet;
use crate::machines::chord::membership::Standing;
use crate::machines::chord::node::Node;
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::ring::Ring;
use crate::machines::chord::{News, Role};
use crate::words::address::is_local;
use crate::words::limits::ring as limits;

/// What is known of our address.
#[derive(Debug)]
pub(super) struct Seen {
    /// Addresses of this host, with the socket's port.
    own: BTreeSet<SocketAddr>,
    /// The address at which each voter sees us, and since when. One global /16 is one voter.
    votes: BTreeMap<SocketAddr, (SocketAddr, Instant)>,
    /// The address that the majority sees, if it is not the one that we believe, and since when.
    outvoted: Option<(SocketAddr, Instant)>,
    /// Where the last answer saw us, if that is not the address that we believe.
    elsewhere: Option<SocketAddr>,
    /// When others were last asked whether they see us there too.
    polled_at: Option<Instant>,
}

impl Seen {
    pub(super) fn new(listen: SocketAddr) -> Self {
        let own = if listen.ip().is_unspecified() { None } else { Some(listen) };
        Self {
            own: own.into_iter().collect(),
            votes: BTreeMap::new(),
            outvoted: None,
            elsewhere: None,
            polled_at: None,
        }
    }

    /// Whether it is an address of this host, as far as any is known.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        self.own.is_empty() || self.own.contains(&address)
    }

    /// The address that more voters have seen lately than any other, and how many. Whoever was not
    /// asked since we moved says what was right before.
    pub(super) fn majority(&self, now: Instant) -> Option<(SocketAddr, usize)> {
        let mut counts: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        let is_late = |at: Instant| now.saturating_duration_since(at) < limits::VOTE_CHANGE_AFTER;
        let votes = self.votes.values().filter(|(_, at)| is_late(*at));
        votes.for_each(|(seen, _)| *counts.entry(*seen).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count)
    }

    fn vote(&mut self, now: Instant, voter: SocketAddr, seen: SocketAddr) {
        if self.votes.len() >= limits::VOTES_MAX && !self.votes.contains_key(&voter) {
            let oldest = self.votes.iter().min_by_key(|(_, (_, at))| *at).map(|(it, _)| *it);
            oldest.and_then(|oldest| self.votes.remove(&oldest));
        }
        self.votes.insert(voter, (seen, now));
    }

    pub(super) fn check(&self) {
        assert!(self.votes.len() <= limits::VOTES_MAX);
        assert!(self.own.len() <= limits::OWN_ADDRESSES_MAX);
    }
}

/// Voters that may be one: the same global /16 (IPv6: /32).
pub(super) fn voter(address: SocketAddr) -> SocketAddr {
    if is_local(address.ip()) {
        return address;
    }
    let [a, b, c, d, ..] = subnet(address);
    match address {
        SocketAddr::V4(_) => SocketAddr::from(([d, subnet(address)[4], 0, 0], 0)),
        SocketAddr::V6(_) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&[a, b, c, d]);
            SocketAddr::from((octets, 0))
        }
    }
}

impl Node {
    /// One more address under which this host's socket may be reached.
    pub fn add_own_address(&mut self, address: SocketAddr) {
        let own = &mut self.membership.seen.own;
        if own.len() < limits::OWN_ADDRESSES_MAX {
            own.insert(address);
        }
    }

    /// An address at which others see us, of which this host may know whether it is its own: it is not
    /// the one that we believe to have, or it keeps us from a place.
    pub fn seen_at(&self) -> Option<SocketAddr> {
        let (me, seen) = (self.me().address, &self.membership.seen);
        let is_hidden = self.membership.standing == Standing::Client
            && self.settings.role == Role::Member
            && is_local(me.ip())
            && !seen.own.contains(&me);
        seen.elsewhere.or_else(|| is_hidden.then_some(me))
    }

    /// This host has `address`, and has lost the one that we believe to have if that is another.
    pub fn move_here(&mut self, now: Instant, address: SocketAddr) {
        self.now = self.now.max(now);
        let before = self.me().address;
        self.membership.seen.own.remove(&before);
        self.add_own_address(address);
        if matches!(self.membership.standing, Standing::Member | Standing::Client) {
            self.move_to(address);
        }
    }

    /// `from` answered us at `seen`.
    pub(super) fn handle_seen(&mut self, from: SocketAddr, seen: Option<SocketAddr>) {
        let Some(address) = seen else { return };
        let (me, now) = (self.me().address, self.now);
        let seen = &mut self.membership.seen;
        seen.elsewhere = (address != me).then_some(address);
        seen.vote(now, voter(from), address);
        let needed = limits::VOTES_NEEDED.min(seen.votes.len());
        let majority = seen.majority(now);
        let other = majority.filter(|(address, votes)| *address != me && *votes >= needed);
        seen.outvoted = other.map(|(address, _)| match seen.outvoted {
            Some((before, since)) if before == address => (address, since),
            Some(_) | None => (address, now),
        });
        let standing = self.membership.standing;
        let settled = matches!(standing, Standing::Member | Standing::Client);
        let outvoted = seen.outvoted.filter(|(_, since)| {
            settled && now.saturating_duration_since(*since) >= limits::VOTE_CHANGE_AFTER
        });
        if self.is_member() && self.ring.head().is_none() && address != me {
            // A ring of one loses nothing by it. It may be one because no answer came through before.
            self.move_to(address);
        } else if let Some((address, _)) = outvoted {
            self.move_to(address);
        } else if settled && address.ip() != me.ip() {
            // Another port alone may be a router's, which takes a new one for each of us.
            self.poll_voters();
        }
    }

    /// Asks some of those whom we know where they see us. In a quiet ring few are asked anything, and
    /// most votes would be those from before we moved.
    fn poll_voters(&mut self) {
        let (now, seen) = (self.now, &mut self.membership.seen);
        let is_due =
            |at: Instant| now.saturating_duration_since(at) >= limits::FINGER_REFRESH_EVERY;
        if !seen.polled_at.is_none_or(is_due) {
            return;
        }
        seen.polled_at = Some(now);
        let mut known = self.contacts();
        self.rng.shuffle(&mut known);
        for address in known.into_iter().take(limits::GREETINGS_MAX) {
            self.ask(self.contact(address), Query::Ping(None), None, Purpose::Courtesy, 1);
        }
    }

    /// We are at `address` now. Those whom we knew help us to the place that goes with it, at once if
    /// the address is this host's own, and else when they have shown that they reach us there.
    fn move_to(&mut self, address: SocketAddr) {
        let seen = &mut self.membership.seen;
        (seen.outvoted, seen.elsewhere) = (None, None);
        let is_open = is_local(address.ip()) && seen.own.contains(&address);
        self.membership.live = self.contacts().into_iter().map(self.placing()).collect();
        // Until we have that place we are nobody's owner, and announce like whoever has none.
        self.membership.standing = Standing::Client;
        self.believe(address);
        if self.settings.role == Role::Client {
            return;
        }
        if is_open {
            self.begin_join();
            self.start_greeted(limits::ALONE_RETRY * 2);
        } else {
            self.stay_client();
        }
    }

    /// Takes `address` for ours. It is another place on the ring.
    pub(super) fn believe(&mut self, address: SocketAddr) {
        let before = self.me().address;
        if address == before {
            return;
        }
        let me = self.contact(address);
        self.ring = Ring::alone(me);
        self.before.clear();
        self.witnesses.clear();
        self.membership.is_astray = false;
        self.head_state = None;
        self.rebuild_fingers(me.id, self.fingers.bits());
        if before.ip() != address.ip() {
            self.handle_moved(before.ip());
        }
    }

    /// Somebody who asks us something found us at `seen`: that is all a node with a wildcard socket
    /// and without company can go by.
    pub(super) fn handle_seen_by_asker(&mut self, seen: Option<SocketAddr>) {
        let is_nowhere = self.me().address.ip().is_unspecified() && self.ring.head().is_none();
        let Some(seen) = seen.filter(|_| is_nowhere && self.is_member()) else { return };
        if !is_local(seen.ip()) || self.membership.seen.is_own(seen) {
            self.believe(seen);
            self.news.push_back(News::Joined(seen));
        }
    }
}
