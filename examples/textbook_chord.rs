//! The ring of the textbooks: five bits, so 32 places, of which 1, 4, 9, 11, 14, 18, 20, 21 and 28
//! are taken. It prints each node's finger table, and two lookups hop by hop.
//!
//! Run it with `cargo run --example textbook_chord`. The nodes are the real ones, by configuration
//! those of the textbook: fingers at powers of two, one successor, one next hop at a time.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::formats::krpc::{Body, Family, Query, parse};
use rondalla::machines::chord::{Contact, Node, Settings, Shape};
use rondalla::words::id::InfoHash;
use rondalla::words::ring_id::RingId;

const BITS: u32 = 5;
const NODES: [u64; 9] = [1, 4, 9, 11, 14, 18, 20, 21, 28];

fn main() {
    let mut world = World { now: start(), nodes: BTreeMap::new(), path: Vec::new() };
    for place in NODES {
        world.join(place);
        world.pass(Duration::from_secs(60));
    }
    world.pass(Duration::from_secs(6000));

    println!("node  fingers: the first node at or after its place + 1, 2, 4, 8, 16");
    for place in NODES {
        let fingers = world.nodes[&place].finger_table(BITS);
        let fingers: Vec<_> = fingers
            .iter()
            .map(|(start, finger)| format!("{:>2} → {:<2}", number(*start), number(finger.id)))
            .collect();
        println!("{place:>4}  {}", fingers.join("   "));
    }
    for (key, from) in [(26, 1), (12, 28)] {
        let owner = world.lookup(key, from);
        let path: Vec<_> = world.path.iter().map(u64::to_string).collect();
        println!("key {key} from node {from}: {}; node {owner} is responsible", path.join(" → "));
    }
}

/// Nodes whose datagrams arrive at once, in a time that is made up.
struct World {
    now: Instant,
    nodes: BTreeMap<u64, Node>,
    /// Whom the lookup has asked, after whoever began it.
    path: Vec<u64>,
}

impl World {
    /// A node joins in this place, through the one with the least place.
    fn join(&mut self, place: u64) {
        let shape = Shape { place_bits: BITS, ..Shape::textbook() };
        let settings = Settings { shape, ..Settings::default() };
        let mut node = Node::new(settings, address(place), place, self.now);
        let known: Vec<_> = self.nodes.values().map(|node| node.me().address).take(1).collect();
        node.join(self.now, &known);
        self.nodes.insert(place, node);
    }

    /// Carries datagrams, and goes from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some((from, to)) =
                self.nodes.values_mut().find_map(|node| Some((node.me(), node.poll_transmit()?)))
            {
                self.carry(from, to.to, &to.bytes);
            }
            let next = self.nodes.values().filter_map(Node::poll_deadline).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next;
            self.nodes.values_mut().for_each(|node| node.handle_time(next));
        }
        self.now = end;
    }

    fn carry(&mut self, from: Contact, to: SocketAddr, bytes: &[u8]) {
        let place = number(Contact::with_bits(to, BITS).id);
        let message = parse(bytes, Family::V4).map(|message| message.body);
        if let Ok(Body::Query(Query::GetPeers(_), _)) = message {
            self.path.push(place);
        }
        if let Some(node) = self.nodes.get_mut(&place) {
            node.handle_datagram(self.now, from.address, bytes);
        }
    }

    /// Looks a key up, and gives the node that is responsible for it.
    fn lookup(&mut self, key: u64, from: u64) -> u64 {
        let info_hash = InfoHash(RingId::from_leading(key << (64 - BITS)).0);
        self.path = vec![from];
        let node = self.nodes.get_mut(&from).expect("it is one of the nodes");
        node.lookup(self.now, info_hash);
        self.pass(Duration::from_secs(5));
        *self.path.last().expect("whoever began it is there")
    }
}

/// A place as a number from 0 to 31.
fn number(place: RingId) -> u64 {
    place.leading() >> (64 - BITS)
}

/// A node's place is the hash of its address, so addresses are tried until one has this place.
fn address(place: u64) -> SocketAddr {
    let addresses = (1..=u16::MAX).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
    let fits = |address: &SocketAddr| number(RingId::of(*address)) == place;
    addresses.into_iter().find(fits).expect("one of thirty-two fits")
}

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
fn start() -> Instant {
    Instant::now()
}
