//! One walk towards a target (BEP 5; Kademlia paper, section 2.3): ask the nearest nodes known for
//! nearer ones, a few at a time, until the nearest have all answered.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::formats::mainline::{Contact, Token};
use crate::words::limits::mainline as limits;
use crate::words::node_id::{Distance, NodeId};

#[derive(Debug)]
pub(super) struct Search {
    target: NodeId,
    /// The nearest first.
    candidates: Vec<Candidate>,
    /// Nodes whose ids we do not know, asked when there is nobody else.
    entry_points: VecDeque<SocketAddr>,
    /// Those of them that were asked just now.
    entered: Vec<SocketAddr>,
    /// Candidates that were asked and are not late yet.
    in_flight: usize,
}

#[derive(Debug)]
struct Candidate {
    distance: Distance,
    contact: Contact,
    state: State,
    /// How many nodes had to answer, one after the other, until we heard of this one.
    depth: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked,
    /// It answered, maybe with a token.
    Answered(Option<Token>),
    /// It takes long, or will never answer.
    Silent,
}

impl Candidate {
    fn ask(&mut self) -> Contact {
        self.state = State::Asked;
        self.contact
    }
}

/// Whom to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) to: SocketAddr,
    /// Unknown of an entry point.
    pub(super) id: Option<NodeId>,
}

impl Search {
    pub(super) fn new(target: NodeId, known: Vec<Contact>, entry_points: &[SocketAddr]) -> Self {
        let mut search = Self {
            target,
            candidates: Vec::new(),
            entry_points: entry_points.iter().copied().collect(),
            entered: Vec::new(),
            in_flight: 0,
        };
        known.into_iter().for_each(|contact| search.add(contact, 0));
        search
    }

    /// Somebody says that `contact` exists.
    fn add(&mut self, contact: Contact, depth: u32) {
        let distance = self.target.distance(contact.id);
        let Err(place) = self.candidates.binary_search_by_key(&distance, |c| c.distance) else {
            return;
        };
        let is_known = |other: &Candidate| other.contact.address == contact.address;
        if place >= limits::CANDIDATES_MAX || self.candidates.iter().any(is_known) {
            return;
        }
        if self.candidates.len() == limits::CANDIDATES_MAX
            && let Some(farthest) = self.candidates.pop()
            && farthest.state == State::Asked
        {
            self.in_flight -= 1;
        }
        self.candidates.insert(place, Candidate { distance, contact, state: State::New, depth });
    }

    /// Whom to ask now. Who is given counts as asked.
    pub(super) fn poll_next(&mut self) -> Option<Next> {
        if self.in_flight + self.entered.len() >= limits::LOOKUP_PARALLEL {
            return None;
        }
        let new = self.leaders_mut().find(|leader| leader.state == State::New);
        if let Some(Contact { id, address }) = new.map(Candidate::ask) {
            self.in_flight += 1;
            return Some(Next { to: address, id: Some(id) });
        }
        if self.leaders().next().is_some() {
            return None;
        }
        let to = self.entry_points.pop_front()?;
        self.entered.push(to);
        Some(Next { to, id: None })
    }

    /// Whether the nearest nodes that answer at all have all answered.
    pub(super) fn is_over(&self) -> bool {
        let waits = |candidate: &Candidate| matches!(candidate.state, State::New | State::Asked);
        let has_entered = self.entry_points.is_empty() || self.leaders().next().is_some();
        has_entered && self.entered.is_empty() && !self.leaders().any(waits)
    }

    /// The nearest candidates that are not silent.
    fn leaders(&self) -> impl Iterator<Item = &Candidate> {
        let heard = self.candidates.iter().filter(|candidate| candidate.state != State::Silent);
        heard.take(limits::BUCKET_LEN)
    }

    fn leaders_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
        let heard = self.candidates.iter_mut().filter(|candidate| candidate.state != State::Silent);
        heard.take(limits::BUCKET_LEN)
    }

    /// `from` answered, with nodes it knows. Gives how many answers it took to reach it.
    pub(super) fn handle_answer(
        &mut self,
        from: SocketAddr,
        nodes: impl Iterator<Item = Contact>,
        token: Option<Token>,
    ) -> u32 {
        let depth = self.settle(from, State::Answered(token)).map_or(1, |depth| depth + 1);
        // No honest node names more, and a liar gains nothing by it.
        for contact in nodes.take(limits::BUCKET_LEN) {
            self.add(contact, depth);
        }
        depth
    }

    /// Somebody who is asked for nodes of another family knows some of this one, too.
    pub(super) fn handle_hint(&mut self, nodes: impl Iterator<Item = Contact>) {
        for contact in nodes.take(limits::BUCKET_LEN) {
            self.add(contact, 1);
        }
    }

    /// `to` has not answered in time. Tells whether that is new.
    pub(super) fn handle_silence(&mut self, to: SocketAddr) -> bool {
        let before = self.in_flight + self.entered.len();
        self.settle(to, State::Silent);
        self.in_flight + self.entered.len() < before
    }

    fn settle(&mut self, address: SocketAddr, state: State) -> Option<u32> {
        self.entered.retain(|entered| *entered != address);
        let of = |candidate: &&mut Candidate| candidate.contact.address == address;
        let candidate = self.candidates.iter_mut().find(of)?;
        if candidate.state == State::Asked {
            self.in_flight -= 1;
        }
        if !matches!(candidate.state, State::Answered(_)) {
            candidate.state = state;
        }
        Some(candidate.depth)
    }

    /// The nearest nodes that answered, and the tokens they gave: those that hold what is announced.
    pub(super) fn closest(&self) -> impl Iterator<Item = (Contact, Option<&Token>)> {
        self.candidates
            .iter()
            .filter_map(|candidate| match &candidate.state {
                State::Answered(token) => Some((candidate.contact, token.as_ref())),
                State::New | State::Asked | State::Silent => None,
            })
            .take(limits::BUCKET_LEN)
    }

    pub(super) fn check(&self) {
        assert!(self.candidates.len() <= limits::CANDIDATES_MAX);
        assert!(self.candidates.is_sorted_by(|a, b| a.distance < b.distance));
        let asked = self.candidates.iter().filter(|candidate| candidate.state == State::Asked);
        assert_eq!(asked.count(), self.in_flight, "asked candidates are counted");
    }
}
