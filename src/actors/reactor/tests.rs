//! Rings of nodes with real sockets on loopback, all in this process.

use std::time::Duration;

use crossbeam_channel::Receiver;

use super::*;
use crate::machines::chord::News;
use crate::words::id::InfoHash;
use crate::words::rng::Rng;

/// Longest wait for what is bound to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn of_the_ring(finding: Finding) -> Option<News> {
    match finding {
        Finding::Chord(news) => Some(news),
        Finding::ChordKnown(_)
        | Finding::Mainline(_)
        | Finding::MainlineKnown(_)
        | Finding::MainlineLeft
        | Finding::Lan(_) => None,
    }
}

struct Running {
    reactor: ReactorHandle,
    news: Receiver<News>,
    address: SocketAddr,
}

impl Running {
    fn start(known: &[SocketAddr], seed: u64) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (sender, news) = bounded(1024);
        let outlet = Outlet { news: sender, words: of_the_ring };
        let chord = Some(chord::Settings::default());
        let driven = Driven { sockets: vec![socket], chord, seed, ..Driven::default() };
        let reactor = ReactorHandle::start(driven, outlet).unwrap();
        let running = Self { reactor, news, address };
        running.give(ToChord::Join(known.to_vec()));
        running
    }

    fn give(&self, order: ToChord) {
        self.reactor.give(ToReactor::Chord(order)).unwrap();
    }

    /// The next news of which `pick` makes something.
    fn wait<T>(&self, mut pick: impl FnMut(News) -> Option<T>) -> T {
        let end = crossbeam_channel::after(PATIENCE);
        loop {
            crossbeam_channel::select! {
                recv(self.news) -> news => match pick(news.unwrap()) {
                    Some(picked) => return picked,
                    None => continue,
                },
                recv(end) -> _ => panic!("{} is silent", self.address),
            }
        }
    }

    fn is_stored(&self, info_hash: InfoHash) -> bool {
        self.wait(|news| {
            let News::Finished(of, report) = news else { return None };
            (of == info_hash).then_some(report.stored)
        })
    }

    /// Whether a lookup finds `sharer`.
    fn finds(&self, info_hash: InfoHash, sharer: SocketAddr) -> bool {
        self.give(ToChord::Lookup(info_hash));
        let mut found = false;
        self.wait(|news| {
            if let News::Found(of, sharers) = &news {
                found |= *of == info_hash && sharers.iter().any(|it| it.address == sharer);
            }
            let News::Finished(of, report) = news else { return None };
            (of == info_hash && !report.stored).then_some(found)
        })
    }
}

/// So many nodes join one after the other and share a torrent each; then a third of them is gone from
/// one moment to the next, and whoever stays looks up what the others share.
fn lose_a_third(n: usize) {
    let mut rng = Rng::new(1);
    let mut nodes: Vec<(Running, InfoHash)> = Vec::new();
    for seed in 0..n {
        let count = u32::try_from(nodes.len()).unwrap();
        let known = (count > 0).then(|| nodes[rng.below(count) as usize].0.address);
        let node = Running::start(known.as_slice(), seed as u64);
        node.wait(|news| matches!(news, News::Joined(_)).then_some(()));
        let mut info_hash = [0; 20];
        rng.fill(&mut info_hash);
        nodes.push((node, InfoHash(info_hash)));
    }
    // The ends of the lists come from node to node; until then an entry has fewer holders than eight.
    crossbeam_channel::after(ring::STABILISE_MAX * 2).recv().unwrap();
    for (node, info_hash) in &nodes {
        let mut tries = 0;
        node.give(ToChord::Announce {
            info_hash: *info_hash,
            port: node.address.port(),
            seeder: true,
        });
        while !node.is_stored(*info_hash) {
            tries += 1;
            assert!(tries < 3, "{} cannot announce", node.address);
        }
    }
    // The other holders are told within a second.
    crossbeam_channel::after(ring::PUSH_DELAY * 2).recv().unwrap();
    rng.shuffle(&mut nodes);
    nodes.truncate(n - n / 3);
    let (mut at_once, mut later) = (0, 0);
    for (at, (sharer, info_hash)) in nodes.iter().enumerate() {
        let (asker, _) = &nodes[(at + 1) % nodes.len()];
        let mut tries = 0;
        while !asker.finds(*info_hash, sharer.address) {
            tries += 1;
            assert!(tries < 30, "what {} shares is not found", sharer.address);
            crossbeam_channel::after(Duration::from_millis(500)).recv().unwrap();
        }
        if tries == 0 { at_once += 1 } else { later += 1 }
    }
    println!("{n} nodes, a third gone: {at_once} found at once, {later} in a later try");
}

#[test]
fn thirty_nodes_on_loopback_lose_a_third_and_nothing_else() {
    lose_a_third(30);
}

#[test]
#[ignore = "needs 600 descriptors"]
fn two_hundred_nodes_on_loopback_lose_a_third_and_nothing_else() {
    lose_a_third(200);
}
