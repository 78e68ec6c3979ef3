//! How large a ring can be simulated, what a node's tables take, and what an announce costs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::machines::chord::{Contact, News, Node, Settings, Shape};
use rondalla::words::id::InfoHash;
use rondalla::words::rng::Rng;

use super::chord::settled;
use super::number;
use super::scenario::{MINUTE, SECOND};
use super::simulator::figures::Figures;
use super::simulator::internet::{Addresses, Internet, Weather};

/// Kilobytes that this process has in memory; 0 where nothing tells.
fn memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "what is measured is the time that it takes")]
fn time() -> Instant {
    Instant::now()
}

/// `NODES` members (10,000) of a live ring for `MINUTES` (60): the time and the memory that takes,
/// and of the memory each member's part when all tables are full.
#[test]
#[ignore = "needs minutes"]
fn figures_of_a_large_ring() {
    let nodes = number("NODES").unwrap_or(10_000);
    let minutes = u32::try_from(number("MINUTES").unwrap_or(60)).unwrap();
    let (began, before) = (time(), memory_kb());
    let n = usize::try_from(nodes).unwrap();
    let mut scenario = settled(n, Shape::default(), Weather::fair(), 10);
    let (built, tables) = (began.elapsed(), memory_kb().saturating_sub(before));
    scenario.pass(minutes * MINUTE);
    println!(
        "{nodes} live members: built in {:.0} s, {:.1} KiB each; then {minutes} virtual minutes, {} \
         events, in {:.0} s, {} MiB in all",
        built.as_secs_f64(),
        tables as f64 / nodes as f64,
        scenario.world.events(),
        (began.elapsed() - built).as_secs_f64(),
        memory_kb() / 1024,
    );
    // A large ring has finer tables.
    let most = if nodes > rondalla::words::limits::ring::NODES_LARGE { 128 } else { 64 };
    assert!(tables / nodes <= most, "{tables} KiB of {nodes} members");
}

/// Among 10,000 an announce costs so many questions, and the owner tells the other holders at once.
#[test]
#[ignore = "needs a minute"]
fn figures_of_announces() {
    let mut scenario = settled(10_000, Shape::default(), Weather::fair(), 11);
    let mut announced = Vec::new();
    for _ in 0..1000 {
        let (id, info_hash) = (scenario.anyone(), scenario.some_info_hash());
        scenario.announce(id, info_hash);
        announced.push((id, info_hash));
        scenario.pass(SECOND / 100);
    }
    scenario.pass(20 * SECOND);
    // Without the announces themselves, to three holders.
    let requests = announced.iter().map(|asked| f64::from(scenario.ended[asked].requests));
    let requests: Figures = requests.collect();
    let mut holders: BTreeMap<InfoHash, u32> = BTreeMap::new();
    for (_, member) in scenario.world.machines() {
        for (info_hash, _) in member.machine.entries() {
            *holders.entry(info_hash).or_default() += 1;
        }
    }
    println!("announce: requests {requests}; each is held by {:?}", holders.values().max());
    assert!(requests.mean() <= 5.0);
    assert!(announced.iter().all(|(_, info_hash)| holders.get(info_hash) == Some(&8)));
}

/// When a datagram arrives, its number, from whom and to whom it is, and what it says.
type Arrival = (Duration, u64, SocketAddr, SocketAddr, Vec<u8>);

/// A ring of which each node's tables are made when the first datagram reaches it, so that a million
/// fit; nothing changes in it.
struct Still<'a> {
    internet: Internet,
    members: &'a [Contact],
    nodes: BTreeMap<SocketAddr, Node>,
    began: Instant,
    now: Duration,
    queue: BinaryHeap<Reverse<Arrival>>,
    sent: u64,
}

impl Still<'_> {
    fn node(&mut self, address: SocketAddr) -> &mut Node {
        let Self { internet, members, nodes, began, now, .. } = self;
        let host = |address| internet.host_at(address).expect("it has one");
        nodes.entry(address).or_insert_with(|| {
            let seed = host(address) as u64;
            let mut node = Node::new(Settings::default(), address, seed, *began + *now);
            node.settle(members, |other| internet.round_trip(host(address), host(other.address)));
            node
        })
    }

    fn flush(&mut self, from: SocketAddr) {
        while let Some(datagram) = self.node(from).poll_transmit() {
            let host = self.internet.host_at(from).expect("it has one");
            let passage = self.internet.send(self.now, host, datagram.to);
            let delay = passage.arrivals[0].expect("the weather is fair");
            self.sent += 1;
            let event = (self.now + delay, self.sent, from, datagram.to, datagram.bytes);
            self.queue.push(Reverse(event));
        }
    }

    /// Looks up one torrent; gives the questions that it took and how long.
    fn lookup(&mut self, from: SocketAddr, info_hash: InfoHash) -> (u32, Duration) {
        let now = self.began + self.now;
        self.node(from).lookup(now, info_hash);
        loop {
            self.flush(from);
            while let Some(news) = self.node(from).poll_news() {
                if let News::Finished(_, report) = news {
                    let owner = report.responsible.map(|owner| Contact::at(owner).id);
                    let place = rondalla::words::ring_id::RingId::from(info_hash);
                    let at = self.members.partition_point(|member| member.id < place);
                    assert_eq!(owner, Some(self.members[at % self.members.len()].id));
                    return (report.requests, report.took);
                }
            }
            let deadline = self.node(from).poll_deadline().expect("a lookup waits for something");
            let deadline = deadline.saturating_duration_since(self.began);
            let next = self.queue.peek().map(|Reverse((at, ..))| *at);
            if next.is_some_and(|next| next <= deadline) {
                let Reverse((at, _, sender, to, bytes)) = self.queue.pop().expect("it is there");
                self.now = at;
                let now = self.began + at;
                self.node(to).handle_datagram(now, sender, &bytes);
                self.flush(to);
            } else {
                self.now = self.now.max(deadline);
                let now = self.began + self.now;
                self.node(from).handle_time(now);
            }
        }
    }
}

/// `NODES` (a million) members that stand still: lookups of what nobody shares, to the owner.
#[test]
#[ignore = "needs minutes"]
fn figures_of_a_million_nodes_that_stand_still() {
    let nodes = usize::try_from(number("NODES").unwrap_or(1_000_000)).unwrap();
    let began = time();
    let mut internet = Internet::new(Weather::fair(), Addresses::Laboratory, 13);
    let hosts: Vec<_> = (0..nodes).map(|_| internet.add_host(None)).collect();
    let mut members: Vec<_> =
        hosts.into_iter().map(|host| Contact::at(internet.address(host))).collect();
    members.sort_unstable();
    let mut still = Still {
        internet,
        members: &members,
        nodes: BTreeMap::new(),
        began,
        now: Duration::ZERO,
        queue: BinaryHeap::new(),
        sent: 0,
    };
    let mut rng = Rng::new(14);
    let (mut requests, mut took) = (Figures::default(), Figures::default());
    for _ in 0..500 {
        let nth = rng.below(u32::try_from(nodes).unwrap()) as usize;
        let mut info_hash = [0; 20];
        rng.fill(&mut info_hash);
        let cost = still.lookup(members[nth].address, InfoHash(info_hash));
        requests.add(cost.0.into());
        took.add(cost.1.as_secs_f64() * 1000.0);
        // What its timers would do is not of interest.
        still.nodes.remove(&members[nth].address);
    }
    println!(
        "{nodes} still members: requests {requests}; ms to the owner {took}; {} tables, {:.0} s, {} MiB",
        still.nodes.len(),
        began.elapsed().as_secs_f64(),
        memory_kb() / 1024,
    );
    assert!(requests.mean() <= 8.0);
}
