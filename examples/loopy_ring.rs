//! A ring that winds twice: fourteen ordinary events (joins, and one failure) bring the published
//! protocol into a state that it never leaves; with rules R4 and R7 the same ring becomes one.
//!
//! Run it with `cargo run --example loopy_ring [FOLDER]`; pictures go into the folder.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rondalla::cli::picture::{Arrow, Line, Picture, Spot};
use rondalla::machines::chord::ring::{Place, Ring, Rules, Step, is_between};

/// A node of five: its number is its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node(u8);

impl Place for Node {
    type Id = u8;

    fn id(&self) -> u8 {
        self.0
    }
}

const NODES: u8 = 5;

/// The shortest way there, found by a search through all states: `cargo test ring::tests`.
const EVENTS: [(&str, u8, u8); 14] = [
    ("join", 1, 0),
    ("join", 3, 1),
    ("stabilise", 3, 0),
    ("rectify", 0, 0),
    ("stabilise", 0, 0),
    ("join", 2, 0),
    ("join", 4, 1),
    ("stabilise", 4, 0),
    ("adopt", 0, 0),
    ("stabilise", 3, 0),
    ("rectify", 0, 0),
    ("stabilise", 1, 0),
    ("adopt", 1, 0),
    ("fail", 0, 0),
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        std::env::args().nth(1).map_or_else(|| PathBuf::from("target/loopy_ring"), PathBuf::from);
    fs::create_dir_all(&folder)?;
    let mut world = World::new(Rules { successors: 2, heal: false });
    for (n, (event, node, before)) in EVENTS.into_iter().enumerate() {
        world.happen(event, Node(node), Node(before));
        let text = if event == "join" {
            format!("{node} joins after {before}")
        } else {
            format!("{event} {node}")
        };
        println!("{:>2}  {text:<16} {}", n + 1, world.pointers());
        world.draw(&folder.join(format!("{:02}.svg", n + 1)), &format!("{}: {text}", n + 1))?;
    }
    for (name, heal) in [("published", false), ("healed", true)] {
        let mut world = World { rules: Rules { heal, ..world.rules }, ..world.clone() };
        let rounds = (1..=100).find(|_| {
            world.round();
            world.is_one_ring()
        });
        match rounds {
            Some(rounds) => {
                println!("{name}: one ring after {rounds} rounds: {}", world.pointers());
            }
            None => println!("{name}: still not one ring after 100 rounds: {}", world.pointers()),
        }
        let rounds = rounds.unwrap_or(100);
        world
            .draw(&folder.join(format!("{name}.svg")), &format!("{name}, {rounds} rounds later"))?;
    }
    println!("pictures: {}", folder.display());
    Ok(())
}

/// The living, and who told whom "I am before you" and was not dealt with.
#[derive(Clone)]
struct World {
    rules: Rules,
    rings: BTreeMap<Node, Ring<Node>>,
    told: BTreeMap<Node, Node>,
}

/// What a node does, and what it wants done then.
type Act<'a> = dyn Fn(&mut Ring<Node>, &mut Vec<Step<Node>>) + 'a;

impl World {
    fn new(rules: Rules) -> Self {
        let first = (Node(0), Ring::alone(Node(0)));
        Self { rules, rings: [first].into(), told: BTreeMap::new() }
    }

    fn happen(&mut self, event: &str, node: Node, before: Node) {
        match event {
            // As published: the joiner takes over the successors of the node before it.
            "join" => {
                let known = self.rings[&before].successors().to_vec();
                let list = if known.is_empty() { vec![before] } else { known };
                self.rings.insert(node, Ring::settled(node, Some(before), list));
            }
            "stabilise" => self.step(node, &Ring::stabilise),
            "adopt" => self.ask(node, self.rings[&node].candidate()),
            "rectify" => self.rectify(node),
            _ => {
                self.rings.remove(&node);
                self.told.remove(&node);
            }
        }
    }

    fn step(&mut self, node: Node, act: &Act<'_>) {
        let mut steps = Vec::new();
        if let Some(ring) = self.rings.get_mut(&node) {
            act(ring, &mut steps);
        }
        for step in steps {
            match step {
                // The candidate is asked in an event of its own.
                Step::AskView(asked) if self.rings[&node].candidate() == Some(asked) => {}
                Step::AskView(asked) => self.ask(node, Some(asked)),
                Step::Ping(asked) if self.rings.contains_key(&asked) => {
                    self.step(node, &|ring, steps| ring.handle_alive(asked, steps));
                }
                Step::Ping(asked) => {
                    self.step(node, &|ring, steps| ring.handle_silent(asked, steps));
                }
                Step::Rectify(to) => {
                    let told = self.told.get(&to).copied();
                    if told.is_none_or(|told| is_between(told, node, to)) {
                        self.told.insert(to, node);
                    }
                }
                Step::NewHead | Step::NewPredecessor(_) | Step::Orphaned => {}
            }
        }
    }

    fn ask(&mut self, node: Node, asked: Option<Node>) {
        let Some(asked) = asked else { return };
        let (view, rules) = (self.rings.get(&asked).map(Ring::view), self.rules);
        self.step(node, &|ring, steps| match &view {
            Some(view) => ring.handle_view(rules, asked, view, |_| false, steps),
            None => ring.handle_silent(asked, steps),
        });
    }

    fn rectify(&mut self, node: Node) {
        if let Some(newcomer) = self.told.remove(&node) {
            self.step(node, &|ring, steps| ring.handle_rectify(newcomer, steps));
        }
    }

    /// Everybody stabilises, and deals with what it was told.
    fn round(&mut self) {
        for node in (0..NODES).map(Node) {
            if !self.rings.contains_key(&node) {
                continue;
            }
            self.step(node, &Ring::stabilise);
            self.ask(node, self.rings[&node].candidate());
            self.rings.clone().keys().for_each(|told| self.rectify(*told));
        }
    }

    /// Whether who follows whom is the order of the places.
    fn is_one_ring(&self) -> bool {
        let members: Vec<Node> = self.rings.keys().copied().collect();
        let next = |at: usize| members[(at + 1) % members.len()];
        members.iter().enumerate().all(|(at, node)| self.rings[node].head() == Some(next(at)))
    }

    fn pointers(&self) -> String {
        let list = |ring: &Ring<Node>| {
            let successors: Vec<String> =
                ring.successors().iter().map(|node| node.0.to_string()).collect();
            format!("{}→{}", ring.me().0, successors.join(","))
        };
        self.rings.values().map(list).collect::<Vec<_>>().join("  ")
    }

    fn draw(&self, path: &Path, title: &str) -> std::io::Result<()> {
        let mut picture = Picture::new(title, self.is_one_ring());
        let number = |node: Node| self.rings.keys().position(|other| *other == node);
        for node in self.rings.keys() {
            let (place, label) = (f64::from(node.0) / f64::from(NODES), node.0.to_string());
            picture.spot(Spot { place, label, weight: 9, ring: 0 });
        }
        for (from, ring) in self.rings.values().enumerate() {
            let pointers =
                [(ring.head(), Line::Successor), (ring.predecessor(), Line::Predecessor)];
            for (to, line) in pointers {
                if let Some(to) = to.and_then(number) {
                    picture.arrow(Arrow { from, to, line });
                }
            }
        }
        fs::write(path, picture.to_svg())
    }
}
