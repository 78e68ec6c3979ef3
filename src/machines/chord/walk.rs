//! A walk round the ring, from successor to successor: what `rondalla ring` prints. Whoever of the
//! nodes that it could begin with was not met on the way is of another ring, which is walked too.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::{Query, State};
use crate::machines::chord::node::Node;
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::{Contact, MemberReport, News};
use crate::words::limits::ring as limits;

/// Once round, as far as it is known.
#[derive(Clone, Copy, Debug)]
struct Round {
    first: Contact,
    /// Whom the first member has before it: the last one, if it is whole.
    before_first: Option<Contact>,
    previous: Contact,
}

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    round: Option<Round>,
    /// The nodes to go to next, the last of them first: the others are for when it is silent.
    next: Vec<Contact>,
    /// At most [`limits::WALK_MAX`].
    met: BTreeSet<SocketAddr>,
    consistent: bool,
}

impl Node {
    /// Goes round the ring: [`News::Member`] for each member, then [`News::Walked`]. It begins at
    /// ourselves or at a node that has answered; where none has, there is nobody to meet.
    pub fn walk(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let (round, next, met) = (None, Vec::new(), BTreeSet::new());
        self.walk = Some(Walk { round, next, met, consistent: true });
        if self.is_member() {
            let state = self.state();
            return self.handle_walked(self.me(), &state, Duration::ZERO);
        }
        self.walk_on();
    }

    fn walk_on(&mut self) {
        let me = self.me().address;
        while let Some(walk) = &mut self.walk {
            let next = walk.next.pop().or_else(|| {
                // A round that has nowhere to go on is not closed.
                walk.consistent &= walk.round.take().is_none();
                let others = self.membership.live.iter();
                others.copied().find(|it| it.address != me && !walk.met.contains(&it.address))
            });
            let Some(next) = next.filter(|_| walk.met.len() < limits::WALK_MAX) else {
                let consistent = walk.consistent && walk.met.len() < limits::WALK_MAX;
                self.walk = None;
                return self.news.push_back(News::Walked { consistent });
            };
            if walk.met.contains(&next.address) {
                // Round, past those that were silent.
                walk.round = None;
                walk.next.clear();
                continue;
            }
            let query = Query::GetState { digest: None, rectify: None };
            if self.ask(next, query, None, Purpose::Walk, limits::TRIES) {
                return;
            }
            self.skip(next);
        }
    }

    pub(super) fn handle_walked(&mut self, at: Contact, state: &State, round_trip: Duration) {
        let contact = self.placing();
        let Some(walk) = &mut self.walk else { return };
        if !walk.met.insert(at.address) {
            return;
        }
        let predecessor = state.predecessor.map(contact);
        let successors: Vec<_> = state.successors.iter().copied().map(contact).collect();
        let successor = successors.first().copied().unwrap_or(at);
        let (first, before_first) = match walk.round {
            Some(Round { first, before_first, previous }) => {
                walk.consistent &= predecessor == Some(previous);
                (first, before_first)
            }
            None => {
                // A second round is another ring's, or that of one whom nobody follows.
                walk.consistent &= walk.met.len() == 1;
                (at, predecessor)
            }
        };
        walk.round = Some(Round { first, before_first, previous: at });
        walk.next = successors;
        walk.next.reverse();
        if walk.met.contains(&successor.address) {
            walk.consistent &= successor == first && before_first.unwrap_or(first) == at;
            walk.round = None;
            walk.next.clear();
        }
        let keys = state.keys;
        let report = MemberReport { contact: at, successor, predecessor, keys, round_trip };
        self.news.push_back(News::Member(report));
        self.walk_on();
    }

    /// The member is silent: the one after it is next.
    pub(super) fn handle_walk_broken(&mut self, silent: Contact) {
        self.skip(silent);
        self.walk_on();
    }

    fn skip(&mut self, silent: Contact) {
        self.membership.live.retain(|contact| *contact != silent);
        if let Some(walk) = &mut self.walk {
            // Whoever does not answer at the beginning is no part of what is seen.
            walk.consistent &= walk.round.is_none();
        }
    }
}
