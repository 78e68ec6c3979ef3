//! A small ring as one value, and every step that it can take: what the model check runs through.
//!
//! The nodes are the numbers below [`Model::nodes`], and each holds a real [`Ring`]. As in Zave's
//! model one step is what one node does at the instant at which another answers, and a node has one
//! slot for whoever last said to be before it.

use super::{Place, Ring, Rules, Stabilising, Step, View};

/// A node of a model: its number is its place.
pub(super) type Number = u8;

impl Place for Number {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// Most nodes of a model: 6 nodes of 19 bits fit into a state.
pub(super) const NODES_MAX: usize = 6;

/// Three bits that stand for no node.
const NOBODY: u128 = 7;

/// What may happen to a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// How many places there are.
    pub(super) nodes: Number,
    pub(super) rules: Rules,
    /// Whether a joiner copies the list of the node before it (Zave), or builds its own from its
    /// successor's.
    pub(super) copied_joins: bool,
    pub(super) failures: Failures,
    /// Whether a node may take a live one for dead.
    pub(super) suspicions: bool,
    /// Whether a node may merge with the ring of any other.
    pub(super) merges: bool,
    /// Whether a node may take others into its list behind its head, be they alive or not, and leave
    /// others out.
    pub(super) witnesses: bool,
}

/// Which nodes may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failures {
    /// None that leaves another without a live successor; and no principal while there are r + 1
    /// (Zave's assumptions).
    KeepBase,
    /// None that leaves another without a live successor.
    KeepSuccessor,
    /// Any but the last.
    Any,
}

/// One step of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// A node joins, and this member is before it.
    Join(Number, Number),
    Fail(Number),
    /// A node asks its head.
    StabSucc(Number),
    /// A node asks the candidate for a better head.
    StabPred(Number),
    /// A node deals with whoever said to be before it.
    Rectify(Number),
    /// A node asks its live head, and takes it for dead.
    SuspectHead(Number),
    /// A node deals with whoever said to be before it, and takes its live predecessor for dead.
    SuspectPredecessor(Number),
    /// A node looks itself up through another, and takes in what it finds there.
    Merge(Number, Number),
    /// A node leaves another out that its list has behind its head, or takes it in there.
    Witness(Number, Number),
}

/// The members of a ring, and what they have been told and not dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) rings: [Option<Ring<Number>>; NODES_MAX],
    pub(super) told: [Option<Number>; NODES_MAX],
}

impl World {
    pub(super) fn of(rings: impl IntoIterator<Item = Ring<Number>>) -> Self {
        let mut world = Self { rings: [const { None }; NODES_MAX], told: [None; NODES_MAX] };
        for ring in rings {
            let at = usize::from(ring.me);
            world.rings[at] = Some(ring);
        }
        world
    }

    /// An ideal ring of these nodes.
    pub(super) fn ideal(rules: Rules, members: &[Number]) -> Self {
        Self::of((0..members.len()).map(|at| {
            let after = |n: usize| members[(at + n) % members.len()];
            let successors = (1..members.len()).map(after).take(rules.successors).collect();
            let predecessor = (members.len() > 1).then(|| after(members.len() - 1));
            Ring::settled(members[at], predecessor, successors)
        }))
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Number> + '_ {
        self.rings.iter().flatten().map(|ring| ring.me)
    }

    pub(super) fn ring(&self, node: Number) -> Option<&Ring<Number>> {
        self.rings[usize::from(node)].as_ref()
    }

    fn ring_mut(&mut self, node: Number) -> &mut Ring<Number> {
        self.rings[usize::from(node)].as_mut().expect("the node is a member")
    }

    fn is_live(&self, node: Number) -> bool {
        self.ring(node).is_some()
    }

    fn view(&self, node: Number) -> Option<View<Number>> {
        self.ring(node).map(Ring::view)
    }

    /// Whether every member's pointers are those of one ordered ring of all members.
    pub(super) fn is_ideal(&self, rules: Rules) -> bool {
        let members: Vec<_> = self.members().collect();
        let ideal = Self::ideal(rules, &members);
        members.iter().all(|node| {
            let (ring, ideal) = (self.ring(*node).unwrap(), ideal.ring(*node).unwrap());
            let alone = members.len() == 1;
            ring.successors == ideal.successors && (alone || ring.predecessor == ideal.predecessor)
        })
    }

    /// Zave's invariant, first half: every member has a live successor.
    pub(super) fn one_live_successor(&self) -> bool {
        self.rings.iter().flatten().all(|ring| self.has_live_successor(ring))
    }

    fn has_live_successor(&self, ring: &Ring<Number>) -> bool {
        ring.successors.iter().any(|node| self.is_live(*node))
    }

    /// Members that no member's list skips.
    pub(super) fn principals(&self) -> impl Iterator<Item = Number> + '_ {
        self.members().filter(|node| {
            self.rings.iter().flatten().all(|ring| {
                let mut last = ring.me;
                ring.successors.iter().all(|next| {
                    let skipped = super::is_between(last, *node, *next);
                    last = *next;
                    !skipped
                })
            })
        })
    }

    /// The state in bits: for each node whether it is a member, its successors, its predecessor, its
    /// candidate and what it was told.
    pub(super) fn pack(&self, model: &Model) -> u128 {
        let bits = |node: Option<Number>| node.map_or(NOBODY, u128::from);
        let mut packed = 0;
        for node in 0..usize::from(model.nodes) {
            let ring = self.rings[node].as_ref();
            packed = packed << 1 | u128::from(ring.is_some());
            for n in 0..model.rules.successors {
                packed = packed << 3 | bits(ring.and_then(|ring| ring.successors.get(n).copied()));
            }
            packed = packed << 3 | bits(ring.and_then(|ring| ring.predecessor));
            packed = packed << 3 | bits(ring.and_then(Ring::candidate));
            packed = packed << 3 | bits(self.told[node]);
        }
        packed
    }

    pub(super) fn unpack(model: &Model, mut packed: u128) -> Self {
        let mut world = Self::of([]);
        let take = |packed: &mut u128| {
            let bits = *packed & 7;
            *packed >>= 3;
            (bits != NOBODY).then(|| Number::try_from(bits).unwrap())
        };
        for node in (0..model.nodes).rev() {
            world.told[usize::from(node)] = take(&mut packed);
            let candidate = take(&mut packed);
            let predecessor = take(&mut packed);
            let mut successors: Vec<_> =
                (0..model.rules.successors).filter_map(|_| take(&mut packed)).collect();
            successors.reverse();
            if packed & 1 == 1 {
                let mut ring = Ring::settled(node, predecessor, successors);
                ring.stabilising = candidate.and_then(|candidate| {
                    ring.head().map(|head| Stabilising { head, candidate: Some(candidate) })
                });
                world.rings[usize::from(node)] = Some(ring);
            }
            packed >>= 1;
        }
        world
    }
}

impl Model {
    /// Every step that is possible now.
    pub(super) fn moves(&self, world: &World) -> Vec<Move> {
        let mut moves = Vec::new();
        for node in 0..self.nodes {
            let Some(ring) = world.ring(node) else {
                let before = world.rings.iter().flatten().filter(|ring| {
                    ring.head().is_none_or(|head| super::is_between(ring.me, node, head))
                });
                moves.extend(before.map(|ring| Move::Join(node, ring.me)));
                continue;
            };
            if self.may_fail(world, node) {
                moves.push(Move::Fail(node));
            }
            moves.push(match ring.candidate() {
                Some(_) => Move::StabPred(node),
                None => Move::StabSucc(node),
            });
            if world.told[usize::from(node)].is_some() {
                moves.push(Move::Rectify(node));
            }
            if self.suspicions {
                let live = ring.successors.iter().filter(|other| world.is_live(**other)).count();
                let spare = live > 1 || self.failures == Failures::Any;
                let head_lives = ring.head().is_some_and(|head| world.is_live(head));
                if head_lives && spare && ring.candidate().is_none() {
                    moves.push(Move::SuspectHead(node));
                }
                if world.told[usize::from(node)].is_some() && ring.predecessor.is_some() {
                    moves.push(Move::SuspectPredecessor(node));
                }
            }
            if self.merges {
                let others = world.members().filter(|other| *other != node);
                moves.extend(others.map(|other| Move::Merge(node, other)));
            }
            if let Some(head) = ring.head().filter(|_| self.witnesses) {
                let behind = |other: &Number| super::is_between(head, *other, node);
                let others = (0..self.nodes).filter(behind);
                moves.extend(others.map(|other| Move::Witness(node, other)));
            }
        }
        moves
    }

    fn may_fail(&self, world: &World, node: Number) -> bool {
        let mut without = world.clone();
        without.rings[usize::from(node)] = None;
        let successors_live = || {
            let mut rings = without.rings.iter().flatten();
            rings.all(|ring| ring.successors.is_empty() || without.has_live_successor(ring))
        };
        match self.failures {
            Failures::Any => without.members().next().is_some(),
            Failures::KeepSuccessor => without.members().next().is_some() && successors_live(),
            Failures::KeepBase => {
                let principals: Vec<_> = world.principals().collect();
                let keeps = principals.len() > self.rules.successors + 1;
                successors_live() && (keeps || !principals.contains(&node))
            }
        }
    }

    /// Takes one step.
    pub(super) fn take(&self, world: &mut World, step: Move) {
        match step {
            Move::Join(node, before) => self.join(world, node, before),
            Move::Fail(node) => {
                world.rings[usize::from(node)] = None;
                world.told[usize::from(node)] = None;
            }
            Move::StabSucc(node) => self.ask(world, node, false),
            Move::SuspectHead(node) => self.ask(world, node, true),
            Move::StabPred(node) => {
                let candidate = world.ring(node).and_then(Ring::candidate);
                self.answer(world, node, candidate.expect("a candidate is asked"), false);
            }
            Move::Rectify(node) => self.rectify(world, node, false),
            Move::SuspectPredecessor(node) => self.rectify(world, node, true),
            Move::Merge(node, through) => self.merge(world, node, through),
            Move::Witness(node, other) => {
                let ring = world.ring_mut(node);
                let mut steps = Vec::new();
                if ring.successors.contains(&other) {
                    ring.leave_out(|it| *it == other);
                } else {
                    ring.merge(self.rules, &[other], &mut steps);
                }
                assert!(steps.is_empty(), "the head stays");
            }
        }
    }

    fn join(&self, world: &mut World, node: Number, before: Number) {
        let known = world.ring(before).expect("the node before is a member");
        let list =
            if known.successors.is_empty() { vec![before] } else { known.successors.clone() };
        let ring = if self.copied_joins {
            // A list that names the joiner, from an earlier life, ends there.
            let list: Vec<_> = list.into_iter().take_while(|next| *next != node).collect();
            Ring::settled(node, Some(before), list)
        } else {
            // All of them silent: the join fails, and is tried again later.
            let Some(head) = list.into_iter().find(|head| world.is_live(*head)) else { return };
            let view = world.view(head).expect("the head lives");
            Ring::joined(self.rules, node, before, head, &view)
        };
        world.rings[usize::from(node)] = Some(ring);
    }

    fn ask(&self, world: &mut World, node: Number, suspects: bool) {
        let mut steps = Vec::new();
        world.ring_mut(node).stabilise(&mut steps);
        if let Some(Step::AskView(head)) = steps.first() {
            self.answer(world, node, *head, suspects);
        }
    }

    fn answer(&self, world: &mut World, node: Number, asked: Number, suspects: bool) {
        let mut steps = Vec::new();
        let view = world.view(asked).filter(|_| !suspects);
        let ring = world.ring_mut(node);
        match view {
            Some(view) => ring.handle_view(self.rules, asked, &view, |_| false, &mut steps),
            None => ring.handle_silent(asked, &mut steps),
        }
        deliver(world, node, &steps);
    }

    fn rectify(&self, world: &mut World, node: Number, suspects: bool) {
        let Some(newcomer) = world.told[usize::from(node)].take() else { return };
        let suspect = world.ring(node).and_then(Ring::predecessor).filter(|_| suspects);
        let mut steps = Vec::new();
        world.ring_mut(node).handle_rectify(newcomer, &mut steps);
        while let Some(Step::Ping(asked)) = steps.last().copied() {
            steps.clear();
            let answers = world.is_live(asked) && Some(asked) != suspect;
            let ring = world.ring_mut(node);
            if answers {
                ring.handle_alive(asked, &mut steps);
            } else {
                ring.handle_silent(asked, &mut steps);
            }
        }
        deliver(world, node, &steps);
    }

    /// A lookup of `node` that starts at `through` and goes from head to live head; what its end
    /// knows is taken in, unless the end is `node` itself.
    fn merge(&self, world: &mut World, node: Number, through: Number) {
        let mut at = through;
        for _ in 0..self.nodes {
            let ring = world.ring(at).expect("the lookup is at a member");
            let next = ring.successors.iter().copied().find(|next| world.is_live(*next));
            let next = next.unwrap_or(at);
            if next == at || super::is_between(at, node, next) {
                let list = world.view(next).expect("it lives").successors;
                let found = std::iter::once(next).chain(list);
                let answered: Vec<_> = found.filter(|it| world.is_live(*it)).collect();
                let mut steps = Vec::new();
                world.ring_mut(node).merge(self.rules, &answered, &mut steps);
                deliver(world, node, &steps);
                return;
            }
            if next == node {
                return;
            }
            at = next;
        }
    }

    /// Every member stabilises once and deals with what it was told; `merges`: and looks itself up
    /// through the lowest of all.
    pub(super) fn round(&self, world: &mut World, merges: bool) {
        for node in 0..self.nodes {
            if world.is_live(node) {
                if world.ring(node).and_then(Ring::candidate).is_none() {
                    self.ask(world, node, false);
                }
                if let Some(candidate) = world.ring(node).and_then(Ring::candidate) {
                    self.answer(world, node, candidate, false);
                }
                let lowest = world.members().next().filter(|lowest| merges && *lowest != node);
                if let Some(lowest) = lowest {
                    self.merge(world, node, lowest);
                }
            }
            for told in 0..self.nodes {
                if world.is_live(told) {
                    self.rectify(world, told, false);
                }
            }
        }
    }

    /// How many rounds it takes until the ring is ideal; `None` if `rounds_max` do not suffice.
    pub(super) fn rounds(&self, world: &World, merges: bool, rounds_max: u32) -> Option<u32> {
        let mut world = world.clone();
        (0..=rounds_max).find(|_| {
            let ideal = world.is_ideal(self.rules);
            self.round(&mut world, merges);
            ideal
        })
    }
}

/// Does what a step of `node` wants done elsewhere.
fn deliver(world: &mut World, node: Number, steps: &[Step<Number>]) {
    for step in steps {
        match *step {
            Step::Rectify(to) if world.is_live(to) => {
                let told = &mut world.told[usize::from(to)];
                let nearer = told.is_none_or(|told| super::is_between(told, node, to));
                if nearer {
                    *told = Some(node);
                }
            }
            Step::Orphaned => {
                world.rings[usize::from(node)] = Some(Ring::alone(node));
            }
            Step::Rectify(_)
            | Step::AskView(_)
            | Step::Ping(_)
            | Step::NewHead
            | Step::NewPredecessor(_) => {}
        }
    }
}
