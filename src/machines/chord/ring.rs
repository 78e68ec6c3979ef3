//! The ring's pointers and the rules that keep it one ring: no datagram, no time, no chance.
//!
//! The steps are Zave's ("Reasoning about Identifier Spaces: How to Make Chord Correct", TSE 2017),
//! cut into messages: a node asks, and what an answer changes happens when it comes. The published
//! protocol (SIGCOMM 2001, figure 6) is wrong in ways that lose the ring for good; so there are
//! rules beside the steps:
//!
//! - **R1** A node becomes head of the successors or predecessor only if it answered us itself, in
//!   this step.
//! - **R2** An answer counts only while the head is still the one under which it was asked.
//! - **R3** Questions are answered at once, from the state as it is between two steps.
//! - **R4** A list is built from its head and the head's own list, and ends before a node that does
//!   not lie between the last one and us. Behind the head it may have others that have answered us.
//! - **R5** A head is dropped only when it was silent to us; a predecessor is replaced, never cleared.
//!   Whoever answers that it has no place is as silent.
//! - **R6** Each stabilisation that ends tells the head of us.
//! - **R7** Whoever is known between us and our head may be the better head, not only the head's
//!   predecessor: this unwinds a ring that winds twice, in which every pair of pointers agrees.
//! - **R8** What third parties say ("it is gone", "there is a better one") makes us ask, and changes
//!   no pointer.
//!
//! Nothing here knows what a node is but for its place, so the tests run these very rules, with
//! numbers for nodes, through every state that a small ring can reach.

use std::fmt::Debug;

use crate::machines::chord::Contact;
use crate::words::ring_id::{RingId, between};

/// Whatever has a place on a ring.
pub trait Place: Copy + Eq + Debug {
    /// The place.
    type Id: Ord + Copy + Debug;

    /// Its place.
    fn id(&self) -> Self::Id;
}

impl Place for Contact {
    type Id = RingId;

    fn id(&self) -> RingId {
        self.id
    }
}

/// Whether `b` is strictly between `a` and `c`, clockwise.
pub fn is_between<C: Place>(a: C, b: C, c: C) -> bool {
    between(&a.id(), &b.id(), &c.id())
}

/// How the rules are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Length of the successor list, r.
    pub successors: usize,
    /// Whether R4 and R7 hold; without them these are Zave's steps.
    pub heal: bool,
}

/// What a node answers about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<C> {
    /// Its predecessor.
    pub predecessor: Option<C>,
    /// Its successors, the nearest first.
    pub successors: Vec<C>,
}

/// What a step wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<C> {
    /// Ask it for its view; the answer goes to [`Ring::handle_view`], its silence to
    /// [`Ring::handle_silent`].
    AskView(C),
    /// Tell it that we are before it; there it goes to [`Ring::handle_rectify`].
    Rectify(C),
    /// Ask whether it lives; the answer goes to [`Ring::handle_alive`], its silence to
    /// [`Ring::handle_silent`].
    Ping(C),
    /// The head of our successors is another one.
    NewHead,
    /// Our predecessor is another one than this.
    NewPredecessor(Option<C>),
    /// The last successor is gone.
    Orphaned,
}

/// One node's pointers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ring<C> {
    me: C,
    /// Strictly clockwise from us, without us; empty in a ring of one.
    successors: Vec<C>,
    predecessor: Option<C>,
    stabilising: Option<Stabilising<C>>,
    rectifying: Option<Rectifying<C>>,
}

/// A stabilisation under way: whom we asked, and under which head (R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Stabilising<C> {
    head: C,
    candidate: Option<C>,
}

/// Somebody says that it is before us, and one node is being asked whether it lives: the predecessor
/// if that is nearer, then the newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rectifying<C> {
    newcomer: C,
    asked: C,
    /// The predecessor that was silent.
    silent: Option<C>,
}

impl<C: Place> Ring<C> {
    /// A ring of one.
    pub fn alone(me: C) -> Self {
        Self { me, successors: Vec::new(), predecessor: None, stabilising: None, rectifying: None }
    }

    /// A node that joins: `head` answered for itself with `view`, and `predecessor` said that we
    /// belong between it and its successor.
    pub fn joined(rules: Rules, me: C, predecessor: C, head: C, view: &View<C>) -> Self {
        let mut ring = Self::alone(me);
        ring.successors = ring.build(rules, head, &view.successors);
        ring.predecessor = Some(predecessor);
        ring
    }

    /// A node whose pointers are known to be these; for tests and for rings that are built at once.
    pub fn settled(me: C, predecessor: Option<C>, successors: Vec<C>) -> Self {
        Self { me, successors, predecessor, stabilising: None, rectifying: None }
    }

    /// The node itself.
    pub fn me(&self) -> C {
        self.me
    }

    /// The nodes after it, the nearest first.
    pub fn successors(&self) -> &[C] {
        &self.successors
    }

    /// The node after it, unless it is alone.
    pub fn head(&self) -> Option<C> {
        self.successors.first().copied()
    }

    /// The node before it, as far as it knows.
    pub fn predecessor(&self) -> Option<C> {
        self.predecessor
    }

    /// The candidate that is being asked, if a stabilisation has come so far.
    pub fn candidate(&self) -> Option<C> {
        self.stabilising.and_then(|stabilising| stabilising.candidate)
    }

    /// Whether a stabilisation is under way.
    pub fn is_stabilising(&self) -> bool {
        self.stabilising.is_some()
    }

    /// What it answers about itself (R3).
    pub fn view(&self) -> View<C> {
        View { predecessor: self.predecessor, successors: self.successors.clone() }
    }

    /// Whether the key at `id` is ours: it lies between our predecessor and us, or at us.
    pub fn owns(&self, id: C::Id) -> bool {
        match self.predecessor {
            Some(predecessor) => {
                id == self.me.id() || between(&predecessor.id(), &id, &self.me.id())
            }
            None => id == self.me.id() || self.successors.is_empty(),
        }
    }

    /// Begins to stabilise, unless that is under way: asks the head.
    pub fn stabilise(&mut self, steps: &mut Vec<Step<C>>) {
        let Some(head) = self.head() else { return };
        if self.stabilising.is_none() {
            self.stabilising = Some(Stabilising { head, candidate: None });
            steps.push(Step::AskView(head));
        }
    }

    /// Gives up the stabilisation that is under way, and changes nothing.
    pub fn forget_round(&mut self) {
        self.stabilising = None;
    }

    /// `from` answered with its `view`. `is_suspect` tells who was silent lately: such a candidate is
    /// passed over.
    pub fn handle_view(
        &mut self,
        rules: Rules,
        from: C,
        view: &View<C>,
        is_suspect: impl Fn(&C) -> bool,
        steps: &mut Vec<Step<C>>,
    ) {
        let Some(Stabilising { head, candidate }) = self.stabilising else { return };
        if from != candidate.unwrap_or(head) {
            return;
        }
        self.stabilising = None;
        if self.head() != Some(head) {
            return;
        }
        if candidate.is_some() {
            self.adopt(rules, from, view, steps);
            return;
        }
        let better = self.better_head(rules, view, is_suspect);
        self.successors = self.build(rules, head, &view.successors);
        match better {
            Some(candidate) => {
                self.stabilising = Some(Stabilising { head, candidate: Some(candidate) });
                steps.push(Step::AskView(candidate));
            }
            None => steps.push(Step::Rectify(head)),
        }
    }

    /// The candidate answered, so it is the head, if it still lies before the one that is.
    fn adopt(&mut self, rules: Rules, candidate: C, view: &View<C>, steps: &mut Vec<Step<C>>) {
        let Some(head) = self.head() else { return };
        if is_between(self.me, candidate, head) {
            self.successors = self.build(rules, candidate, &view.successors);
            steps.push(Step::Rectify(candidate));
            steps.push(Step::NewHead);
        }
    }

    /// Whoever may be a better head than the one that gave `view`: Zave's candidate is the head's
    /// predecessor alone, ours (R7) the nearest of all that are known between us and the head.
    fn better_head(
        &self,
        rules: Rules,
        view: &View<C>,
        is_suspect: impl Fn(&C) -> bool,
    ) -> Option<C> {
        let head = self.head()?;
        let listed = view.successors.iter().chain(&self.successors).filter(|_| rules.heal);
        let known = view.predecessor.iter().chain(listed).copied();
        let better = known.filter(|known| is_between(self.me, *known, head) && !is_suspect(known));
        better.reduce(|a, b| if is_between(self.me, b, a) { b } else { a })
    }

    /// R4: a list that begins with `head` and goes on as the head's own.
    fn build(&self, rules: Rules, head: C, rest: &[C]) -> Vec<C> {
        let mut list = Vec::with_capacity(rules.successors);
        list.push(head);
        for &next in rest {
            let last = list[list.len() - 1];
            let strays = rules.heal && !is_between(last, next, self.me);
            if list.len() == rules.successors || next == self.me || strays {
                break;
            }
            list.push(next);
        }
        list
    }

    /// `silent` did not answer what we asked it, however often (R5).
    pub fn handle_silent(&mut self, silent: C, steps: &mut Vec<Step<C>>) {
        self.rectify_without(silent, steps);
        let Some(Stabilising { head, candidate }) = self.stabilising else { return };
        if silent != candidate.unwrap_or(head) {
            return;
        }
        self.stabilising = None;
        if self.head() != Some(head) {
            return;
        }
        if candidate.is_some() {
            steps.push(Step::Rectify(head));
            return;
        }
        self.successors.remove(0);
        steps.push(Step::NewHead);
        match self.head() {
            Some(next) => steps.push(Step::Rectify(next)),
            None => steps.push(Step::Orphaned),
        }
    }

    /// `newcomer` says that it is before us.
    pub fn handle_rectify(&mut self, newcomer: C, steps: &mut Vec<Step<C>>) {
        if newcomer == self.me || newcomer.id() == self.me.id() {
            return;
        }
        let pending = self.rectifying.map(|pending| pending.newcomer);
        if pending.is_some_and(|other| !is_between(other, newcomer, self.me)) {
            return;
        }
        let asked = match self.predecessor {
            Some(predecessor) if self.successors.is_empty() || predecessor == newcomer => newcomer,
            Some(predecessor) if !is_between(predecessor, newcomer, self.me) => predecessor,
            Some(_) | None => newcomer,
        };
        if self.predecessor != Some(newcomer) || self.successors.is_empty() {
            self.rectifying = Some(Rectifying { newcomer, asked, silent: None });
            steps.push(Step::Ping(asked));
        }
    }

    /// `alive` answered our ping (R1).
    pub fn handle_alive(&mut self, alive: C, steps: &mut Vec<Step<C>>) {
        let Some(pending) = self.rectifying.filter(|pending| pending.asked == alive) else {
            return;
        };
        self.rectifying = None;
        if alive == pending.newcomer {
            self.admit(pending, steps);
        }
    }

    /// A rectification goes on without `silent`: a newcomer is forgotten, and instead of a
    /// predecessor the newcomer is asked.
    fn rectify_without(&mut self, silent: C, steps: &mut Vec<Step<C>>) {
        let Some(pending) = self.rectifying.filter(|pending| pending.asked == silent) else {
            return;
        };
        self.rectifying = None;
        if silent != pending.newcomer {
            let asked = pending.newcomer;
            self.rectifying = Some(Rectifying { asked, silent: Some(silent), ..pending });
            steps.push(Step::Ping(asked));
        }
    }

    fn admit(&mut self, pending: Rectifying<C>, steps: &mut Vec<Step<C>>) {
        let Rectifying { newcomer, silent, .. } = pending;
        let before = self.predecessor;
        let fits = before.is_none_or(|before| {
            silent == Some(before)
                || self.successors.is_empty()
                || is_between(before, newcomer, self.me)
        });
        if !fits {
            return;
        }
        self.predecessor = Some(newcomer);
        steps.push(Step::NewPredecessor(before));
        if self.successors.is_empty() {
            self.successors.push(newcomer);
            self.stabilising = None;
            steps.push(Step::NewHead);
        }
    }

    /// Leaves out of the list whoever is gone, but for the head (R5).
    pub fn leave_out(&mut self, is_gone: impl Fn(&C) -> bool) {
        let head = self.head();
        self.successors.retain(|it| Some(*it) == head || !is_gone(it));
    }

    /// Takes in members of another ring, each of which answered us in this step (R1), or nodes behind
    /// our head that have answered us lately: the successors become the nearest of both, so that nobody
    /// is skipped.
    pub fn merge(&mut self, rules: Rules, answered: &[C], steps: &mut Vec<Step<C>>) {
        let before = self.head();
        let me = self.me.id();
        self.successors.extend(answered.iter().filter(|other| other.id() != me));
        self.successors.sort_by_key(|other| (other.id() < me, other.id()));
        self.successors.dedup_by_key(|other| other.id());
        self.successors.truncate(rules.successors);
        if self.head() != before {
            self.stabilising = None;
            steps.push(Step::NewHead);
            steps.extend(self.head().map(Step::Rectify));
        }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
