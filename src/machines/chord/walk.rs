//! A walk round the ring, from successor to successor: what `rondalla ring` prints.

use std::time::{Duration, Instant};

use crate::formats::krpc::{Query, State};
use crate::machines::chord::node::Node;
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::{Contact, MemberReport, News};
use crate::words::limits::ring as limits;

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    first: Option<Contact>,
    previous: Option<Contact>,
    /// The nodes to go to next, the last of them first: the others are for when it is silent.
    next: Vec<Contact>,
    visited: u32,
    consistent: bool,
}

impl Node {
    /// Goes round the ring: [`News::Member`] for each member, then [`News::Walked`].
    pub fn walk(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let mut walk =
            Walk { first: None, previous: None, next: Vec::new(), visited: 0, consistent: true };
        let me = self.me();
        if self.is_member() {
            let state = self.state();
            self.walk = Some(walk);
            return self.handle_walked(me, &state, Duration::ZERO);
        }
        walk.next = self.membership.live.clone();
        walk.next.extend(self.membership.entry_points.iter().copied().map(Contact::at));
        walk.next.reverse();
        self.walk = Some(walk);
        self.walk_on();
    }

    fn walk_on(&mut self) {
        let next = self.walk.as_mut().and_then(|walk| walk.next.pop());
        let query = Query::GetState { digest: None, rectify: None };
        let asked =
            next.is_some_and(|next| self.ask(next, query, None, Purpose::Walk, limits::TRIES));
        if !asked && let Some(walk) = self.walk.take() {
            // Who met nobody has seen nothing amiss.
            self.news.push_back(News::Walked { consistent: walk.visited == 0 });
        }
    }

    pub(super) fn handle_walked(&mut self, at: Contact, state: &State, round_trip: Duration) {
        let Some(walk) = &mut self.walk else { return };
        let predecessor = state.predecessor.map(Contact::at);
        let successors: Vec<_> = state.successors.iter().copied().map(Contact::at).collect();
        let successor = successors.first().copied().unwrap_or(at);
        if walk.previous.is_some() && predecessor != walk.previous {
            walk.consistent = false;
        }
        let first = *walk.first.get_or_insert(at);
        walk.visited += 1;
        walk.previous = Some(at);
        let over = successor == first || walk.visited >= limits::WALK_MAX;
        walk.next = successors;
        walk.next.reverse();
        let consistent = walk.consistent;
        let keys = state.keys;
        let report = MemberReport { contact: at, successor, predecessor, keys, round_trip };
        self.news.push_back(News::Member(report));
        if over {
            self.walk = None;
            self.news.push_back(News::Walked { consistent });
        } else {
            self.walk_on();
        }
    }

    /// The member is silent: the one after it is next.
    pub(super) fn handle_walk_broken(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.consistent = false;
        }
        self.walk_on();
    }
}
