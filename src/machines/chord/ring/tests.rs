//! The model check of the ring's rules: every state that a small ring can reach, found breadth
//! first, and what must hold in each.

use super::model::{Failures, Model, Move, NODES_MAX, Number, World};
use super::{Ring, Rules};

/// The states met so far, in the order in which they were found, each with the one before it. A
/// table of open addressing finds them again.
struct Seen {
    states: Vec<u128>,
    parents: Vec<u32>,
    table: Vec<u32>,
}

impl Seen {
    fn new() -> Self {
        Self { states: Vec::new(), parents: Vec::new(), table: vec![u32::MAX; 1 << 10] }
    }

    /// Whether the state is new.
    fn insert(&mut self, state: u128, parent: u32) -> bool {
        if self.states.len() * 2 >= self.table.len() {
            self.table = vec![u32::MAX; self.table.len() * 4];
            for index in 0..self.states.len() {
                let slot = self.slot(self.states[index]);
                self.table[slot] = u32::try_from(index).unwrap();
            }
        }
        let slot = self.slot(state);
        if self.table[slot] != u32::MAX {
            return false;
        }
        self.table[slot] = u32::try_from(self.states.len()).unwrap();
        self.states.push(state);
        self.parents.push(parent);
        true
    }

    /// Where the state is, or would be.
    fn slot(&self, state: u128) -> usize {
        let mask = self.table.len() - 1;
        let mixed = state.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 80;
        let mut slot = usize::try_from(mixed).unwrap() & mask;
        while self.table[slot] != u32::MAX && self.states[self.table[slot] as usize] != state {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The steps that led to the state at `index`.
    fn trace(&self, model: &Model, mut index: usize) -> Vec<Move> {
        let mut trace = Vec::new();
        while self.parents[index] != u32::MAX {
            let parent = self.parents[index] as usize;
            let world = World::unpack(model, self.states[parent]);
            let led = model.moves(&world).into_iter().find(|step| {
                let mut next = world.clone();
                model.take(&mut next, *step);
                next.pack(model) == self.states[index]
            });
            trace.extend(led);
            index = parent;
        }
        trace.reverse();
        trace
    }
}

/// What a search went through.
#[derive(Debug, Default)]
struct Found {
    states: usize,
    transitions: u64,
    exhausted: bool,
    rounds: u32,
    /// The steps to the first state that is not as it should be.
    wrong: Option<Vec<Move>>,
}

/// Goes through the states that can be reached from `starts`, breadth first, at most `states_max`
/// of them; `check` gives the rounds until a state is ideal, or nothing for one that is wrong.
fn search(
    model: &Model,
    starts: &[World],
    states_max: usize,
    check: impl Fn(&World) -> Option<u32>,
) -> Found {
    assert!(usize::from(model.nodes) <= NODES_MAX);
    let mut seen = Seen::new();
    let mut found = Found::default();
    for start in starts {
        seen.insert(start.pack(model), u32::MAX);
    }
    let mut next = 0;
    while next < seen.states.len() && next < states_max {
        let world = World::unpack(model, seen.states[next]);
        match check(&world) {
            Some(rounds) => found.rounds = found.rounds.max(rounds),
            None => {
                found.wrong = Some(seen.trace(model, next));
                break;
            }
        }
        for step in model.moves(&world) {
            let mut after = world.clone();
            model.take(&mut after, step);
            seen.insert(after.pack(model), u32::try_from(next).unwrap());
            found.transitions += 1;
        }
        next += 1;
    }
    found.states = next;
    found.exhausted = next == seen.states.len();
    found
}

fn rules(successors: usize) -> Rules {
    Rules { successors, heal: true }
}

/// Zave's assumptions, her steps, and ours beside them.
fn base(nodes: Number, successors: usize) -> Model {
    Model {
        nodes,
        rules: rules(successors),
        copied_joins: false,
        failures: Failures::KeepBase,
        suspicions: false,
        merges: false,
        witnesses: false,
    }
}

/// Zave's invariant, and that the ring becomes ideal.
fn holds(model: &Model, world: &World) -> Option<u32> {
    let invariant =
        world.one_live_successor() && world.principals().count() > model.rules.successors;
    model.rounds(world, false, 8).filter(|_| invariant)
}

/// A ring that starts from one node, with no more care than that nobody is left without a live
/// successor.
fn from_one(nodes: Number, successors: usize) -> Model {
    Model { failures: Failures::KeepSuccessor, ..base(nodes, successors) }
}

/// Zave's steps alone: no R4, no R7, joins that copy a list.
fn textbook(nodes: Number, successors: usize) -> Model {
    let rules = Rules { successors, heal: false };
    Model { rules, copied_joins: true, ..from_one(nodes, successors) }
}

/// Whoever looks, whoever fails, whoever is taken for dead or remembered though it is: everything may
/// happen at any time.
fn anything(nodes: Number, successors: usize) -> Model {
    let failures = Failures::Any;
    let (suspicions, merges, witnesses) = (true, true, true);
    Model { failures, suspicions, merges, witnesses, ..base(nodes, successors) }
}

#[track_caller]
fn assert_all(name: &str, found: &Found) {
    println!("{name}: {found:?}");
    assert_eq!(found.wrong, None, "{name}: these steps lead to a wrong state");
}

/// The states from one node on, at most so many, become ideal by themselves.
fn check_from_one(nodes: Number, successors: usize, states_max: usize) -> Found {
    let model = from_one(nodes, successors);
    let start = World::ideal(model.rules, &[0]);
    let found = search(&model, &[start], states_max, |world| model.rounds(world, false, 8));
    assert_all(&format!("from one node, m = {nodes}, r = {successors}"), &found);
    found
}

fn check_base(nodes: Number, successors: usize, states_max: usize) -> Found {
    let model = base(nodes, successors);
    let members: Vec<_> = (0..=Number::try_from(successors).unwrap()).collect();
    let start = World::ideal(model.rules, &members);
    let found = search(&model, &[start], states_max, |world| holds(&model, world));
    assert_all(&format!("base of {}, m = {nodes}, r = {successors}", successors + 1), &found);
    found
}

/// Two rings that know nothing of each other become one, whatever happens before.
fn check_merge(model: &Model, rings: [&[Number]; 2], states_max: usize) -> Found {
    let [mut start, other] = rings.map(|members| World::ideal(model.rules, members));
    for (ring, other) in start.rings.iter_mut().zip(other.rings) {
        *ring = ring.take().or(other);
    }
    let found = search(model, &[start], states_max, |world| model.rounds(world, true, 12));
    assert_all(&format!("the rings {rings:?}, r = {}", model.rules.successors), &found);
    found
}

fn replay(model: &Model, trace: &[Move]) -> World {
    let mut world = World::ideal(model.rules, &[0]);
    for step in trace {
        assert!(model.moves(&world).contains(step), "{step:?} is not possible");
        model.take(&mut world, *step);
    }
    world
}

fn pointers(world: &World) -> String {
    let ring = |ring: &Ring<Number>| {
        let predecessor =
            ring.predecessor().map_or_else(|| "-".to_owned(), |node| node.to_string());
        format!("{}:{:?} p{predecessor}", ring.me(), ring.successors())
    };
    world.rings.iter().flatten().map(ring).collect::<Vec<_>>().join(" · ")
}

/// The shortest way of Zave's steps into a ring of five that winds twice: joins, and one failure.
const LOOPY_FIVE: [Move; 14] = [
    Move::Join(1, 0),
    Move::Join(3, 1),
    Move::StabSucc(3),
    Move::Rectify(0),
    Move::StabSucc(0),
    Move::Join(2, 0),
    Move::Join(4, 1),
    Move::StabSucc(4),
    Move::StabPred(0),
    Move::StabSucc(3),
    Move::Rectify(0),
    Move::StabSucc(1),
    Move::StabPred(1),
    Move::Fail(0),
];

/// The same with four places: joins, two failures, and one that comes back.
const LOOPY_FOUR: [Move; 18] = [
    Move::Join(1, 0),
    Move::Join(2, 1),
    Move::StabSucc(2),
    Move::Rectify(0),
    Move::StabSucc(0),
    Move::Join(3, 1),
    Move::StabSucc(3),
    Move::StabPred(0),
    Move::StabSucc(2),
    Move::Rectify(0),
    Move::StabSucc(1),
    Move::StabPred(1),
    Move::Fail(0),
    Move::StabSucc(2),
    Move::StabSucc(2),
    Move::Fail(1),
    Move::StabSucc(3),
    Move::Join(0, 2),
];

#[test]
fn states_are_packed_and_unpacked() {
    let model = anything(6, 3);
    let mut seen = Seen::new();
    seen.insert(World::ideal(model.rules, &[0, 1, 2, 3]).pack(&model), u32::MAX);
    for next in 0..2000 {
        let world = World::unpack(&model, seen.states[next]);
        assert_eq!(world.pack(&model), seen.states[next]);
        for step in model.moves(&world) {
            let mut after = world.clone();
            model.take(&mut after, step);
            seen.insert(after.pack(&model), 0);
            assert_eq!(World::unpack(&model, after.pack(&model)), after, "{step:?}");
        }
    }
}

#[test]
fn zaves_steps_alone_lock_into_a_ring_that_winds_twice() {
    for successors in [2, 3] {
        let model = textbook(5, successors);
        let world = replay(&model, &LOOPY_FIVE);
        if successors == 2 {
            let expected = "1:[4, 0] p0 · 2:[3] p0 · 3:[0, 1] p1 · 4:[0, 3] p1";
            assert_eq!(pointers(&world), expected);
        }
        assert_eq!(model.rounds(&world, false, 100), None);
    }
    let model = textbook(4, 2);
    let mut world = replay(&model, &LOOPY_FOUR);
    (0..10).for_each(|_| model.round(&mut world, false));
    assert_eq!(pointers(&world), "0:[3, 2] p2 · 2:[0, 3] p3 · 3:[2, 0] p0");
}

/// Every pair of pointers agrees, and the order 0, 3, 2 winds twice.
const LOOPY_THREE: [(Number, [Number; 2], Number); 3] =
    [(0, [3, 2], 2), (2, [0, 3], 3), (3, [2, 0], 0)];

#[test]
fn our_rules_unwind_a_ring_that_winds_twice() {
    let wound = LOOPY_THREE.map(|(me, successors, predecessor)| {
        Ring::settled(me, Some(predecessor), successors.to_vec())
    });
    let three = World::of(wound);
    let five = replay(&textbook(5, 2), &LOOPY_FIVE);
    let four = replay(&textbook(4, 2), &LOOPY_FOUR);
    assert!(from_one(4, 2).rounds(&four, false, 6).is_some());
    for (model, wound) in
        [(from_one(4, 2), &three), (from_one(5, 2), &five), (from_one(5, 3), &five)]
    {
        let rounds = model.rounds(wound, false, 6);
        println!("{}: {rounds:?} rounds", pointers(wound));
        assert!(rounds.is_some());
    }
    assert_eq!(textbook(4, 2).rounds(&three, false, 100), None);
}

#[test]
fn a_base_keeps_zaves_invariant() {
    check_base(5, 2, 2_000);
    check_base(5, 3, 2_000);
}

#[test]
fn a_ring_that_begins_with_one_node_becomes_ideal() {
    check_from_one(4, 2, 2_000);
    check_from_one(5, 3, 2_000);
}

#[test]
fn two_rings_become_one() {
    let model = Model { merges: true, ..from_one(4, 2) };
    check_merge(&model, [&[0, 2], &[1, 3]], 1_000);
    check_merge(&model, [&[0], &[2]], 1_000);
}

#[test]
fn a_ring_in_which_anything_may_happen_becomes_ideal() {
    check_merge(&anything(4, 2), [&[0, 1, 2], &[]], 1_000);
}

/// How many states a search goes through that has no end in sight: STATES says otherwise.
fn states_max() -> usize {
    std::env::var("STATES").map_or(2_000_000, |states| states.parse().expect("STATES is a number"))
}

/// Prints states and transitions; the figures in REPORT.md are from here.
#[test]
#[ignore = "needs minutes and 1 GiB"]
fn every_state_of_small_rings() {
    assert!(check_base(5, 2, usize::MAX).exhausted);
    assert!(check_from_one(4, 2, usize::MAX).exhausted);
}

#[test]
#[ignore = "needs minutes and 1 GiB"]
fn the_first_states_of_larger_rings() {
    check_from_one(5, 2, states_max());
    check_from_one(5, 3, states_max());
    check_base(5, 3, states_max());
}

#[test]
#[ignore = "needs minutes and 1 GiB"]
fn the_first_states_of_rings_that_merge() {
    let model = Model { merges: true, ..from_one(4, 2) };
    check_merge(&model, [&[0, 2], &[1, 3]], states_max());
    check_merge(&anything(4, 2), [&[0, 1, 2], &[]], states_max());
    check_merge(&anything(5, 3), [&[0, 2, 4], &[1, 3]], states_max());
}

#[test]
#[ignore = "needs a minute and 1 GiB"]
fn zaves_steps_alone_lock_with_four_places_too() {
    let model = textbook(4, 2);
    let start = World::ideal(model.rules, &[0]);
    let found = search(&model, &[start], 10_000_000, |world| model.rounds(world, false, 12));
    println!("{found:?}");
    assert_eq!(found.wrong.map(|trace| trace.len()), Some(18));
}
