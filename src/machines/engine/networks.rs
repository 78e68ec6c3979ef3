//! What the engine wants of the ring, of Mainline and of the local network: that others find its
//! torrents there, and it finds others.
//!
//! The nodes keep what is announced alive by themselves; when to look for more peers is decided
//! here. A private torrent is in none (BEP 27).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::bus::{Network, Order, ToChord, ToLan, ToMainline};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::Stage;
use crate::machines::engine::{Engine, Phase};
use crate::words::address::is_local;
use crate::words::id::{InfoHash, TorrentKey};
use crate::words::limits;

/// All of them.
pub(super) const ALL: [Network; 3] = [Network::Ring, Network::Mainline, Network::Lan];

/// Our nodes, as the engine knows them.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// There is a node, and it has not said its last word: of the ring and of Mainline; and whether
    /// we speak in the local network.
    on: [bool; 3],
    /// Where we take connections.
    pub(super) port: Option<u16>,
    /// Where others see our nodes, of IPv4 and of IPv6.
    own: [Option<IpAddr>; 2],
    /// Addresses at which we met ourselves.
    ours: VecDeque<SocketAddr>,
    /// Whether the user was told that nobody on the ring answers.
    pub(super) told_alone: bool,
    /// Others cannot reach our node of the ring, nor presumably us.
    pub(super) hidden: bool,
    /// The orders for which the reactor had no room: at most two a torrent and network, and a few
    /// more.
    postponed: VecDeque<Order>,
    /// Of the first of them, how many were refused since the last were given again.
    refused: usize,
    /// The next place of the table of torrents to be looked at since a node joined.
    sweeps: [u32; 3],
}

impl Networks {
    pub(super) fn new(ring: bool, mainline: bool, lan: bool) -> Self {
        Self { on: [ring, mainline, lan], ..Self::default() }
    }

    /// Whether there is a node of it, or a voice in it.
    pub(super) fn has(&self, network: Network) -> bool {
        self.on[network as usize]
    }

    /// Whether there is a node that has not said its last word.
    pub(super) fn is_any_on(&self) -> bool {
        self.has(Network::Ring) || self.has(Network::Mainline)
    }

    /// A node has said its last word.
    pub(super) fn handle_left(&mut self, network: Network) {
        self.on[network as usize] = false;
    }

    /// Others see us at `ip`. What those in the local network see tells less than what others do.
    pub(super) fn handle_own(&mut self, ip: IpAddr) {
        let own = &mut self.own[usize::from(ip.is_ipv6())];
        let tells_less = is_local(ip) && own.is_some_and(|own| !is_local(own));
        if !ip.is_unspecified() && !tells_less {
            *own = Some(ip);
        }
    }

    /// Where others see that we take connections; unspecified while nobody has told us.
    pub(super) fn own(&self, is_v6: bool) -> SocketAddr {
        let unknown =
            if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let ip = self.own[usize::from(is_v6)].unwrap_or(unknown);
        SocketAddr::new(ip, self.port.unwrap_or_default())
    }

    /// An order for the reactor. None overtakes those that wait, or a torrent that is withdrawn would
    /// be announced after all.
    fn give(&mut self, orders: &mut VecDeque<Order>, order: Order) {
        if self.postponed.is_empty() {
            orders.push_back(order);
        } else {
            self.postponed.push_back(order);
        }
    }

    /// The orders that wait for room.
    pub(super) fn postponed(&self) -> usize {
        self.postponed.len()
    }

    /// Whether `address` is where we take connections ourselves.
    pub(super) fn is_ours(&self, address: SocketAddr) -> bool {
        let own = self.own[usize::from(address.is_ipv6())];
        let is_own = own == Some(address.ip()) && self.port == Some(address.port());
        is_own || self.ours.contains(&address)
    }

    /// We dialled ourselves at `address`.
    pub(super) fn handle_ourselves(&mut self, address: SocketAddr) {
        if !self.ours.contains(&address) {
            self.ours.push_back(address);
        }
        if self.ours.len() > limits::OURS_KEPT {
            self.ours.pop_front();
        }
    }
}

/// A torrent in a network.
#[derive(Debug, Default)]
pub(super) struct InNetwork {
    /// When to look at it again; a timer that was started for an earlier time is passed over.
    due: Option<Instant>,
    /// What was announced: whether we have all of it.
    announced: Option<bool>,
    /// Lookups since there were enough peers.
    lookups: u32,
}

/// Looks at a torrent in every network `after` so long, whatever was planned before.
pub(super) fn look_after(engine: &mut Engine, key: TorrentKey, after: Duration) {
    // Bound: the three networks.
    for network in ALL {
        look_in(engine, key, network, after);
    }
}

fn look_in(engine: &mut Engine, key: TorrentKey, network: Network, after: Duration) {
    if !engine.networks.has(network) {
        return;
    }
    let due = engine.now + after;
    if let Some(torrent) = engine.torrents.get_mut(key.0) {
        torrent.in_networks[network as usize].due = Some(due);
        engine.timers.start(due, Timer::Look(key, network));
    }
}

/// The node has joined: what was looked up before found nothing.
pub(super) fn handle_joined(engine: &mut Engine, network: Network) {
    engine.networks.sweeps[network as usize] = 0;
    engine.start_timer(Duration::ZERO, Timer::Sweep(network));
}

/// Looks at the next torrents, a bounded number of them.
pub(super) fn handle_sweep(engine: &mut Engine, network: Network) {
    // Bound: limits::SWEEP_MAX
    for _ in 0..limits::SWEEP_MAX {
        engine.steps.step();
        let sweep = engine.networks.sweeps[network as usize];
        if sweep >= engine.torrents.places() {
            return;
        }
        let torrent = engine.torrents.at(sweep).map(|(key, _)| TorrentKey(key));
        engine.networks.sweeps[network as usize] += 1;
        if let Some(torrent) = torrent {
            look_in(engine, torrent, network, Duration::ZERO);
        }
    }
    engine.start_timer(Duration::ZERO, Timer::Sweep(network));
}

/// Announces what is new about a torrent, and looks for peers.
pub(super) fn handle_due(engine: &mut Engine, key: TorrentKey, network: Network) {
    let now = engine.now;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let in_network = &mut torrent.in_networks[network as usize];
    if in_network.due.is_none_or(|due| now < due) {
        return;
    }
    in_network.due = None;
    let given = engine.networks.has(network) && !torrent.context.metainfo.private();
    if !given || engine.phase != Phase::Running {
        return;
    }
    let info_hash = torrent.info_hash();
    let unknown = torrent.context.is_unknown();
    let seeder = !unknown && torrent.good() == torrent.context.metainfo.pieces();
    let shared = match torrent.stage {
        // Whoever has the metadata may dial us, where we cannot dial them.
        Stage::Unknown | Stage::Downloading | Stage::Complete => engine.settings.upload,
        Stage::GivenUp => engine.settings.upload && !unknown,
        Stage::Opening | Stage::Seeded => false,
    };
    let announce = engine.networks.port.filter(|_| shared);
    // Only the ring tells seeders from others.
    let announced = announce.map(|_| seeder && network == Network::Ring);
    let is_new = torrent.in_networks[network as usize].announced != announced;
    if is_new {
        torrent.in_networks[network as usize].announced = announced;
        let order = match announce {
            Some(port) => announcement(network, info_hash, port, seeder),
            None => withdrawal(network, info_hash),
        };
        engine.networks.give(&mut engine.orders, order);
    }
    // In the local network whoever shares is heard, and not asked.
    let is_over = matches!(torrent.stage, Stage::GivenUp | Stage::Seeded);
    if is_over || network == Network::Lan {
        return;
    }
    // Whoever announces on Mainline finds those who did before on the same way.
    let asked = network == Network::Ring || !is_new || announce.is_none();
    if let Some(order) = lookup(network, info_hash).filter(|_| asked) {
        engine.networks.give(&mut engine.orders, order);
    }
    let hungry = torrent.is_unfinished() && torrent.peers() < limits::PEERS_ENOUGH;
    let unfinished = torrent.is_unfinished();
    let in_network = &mut torrent.in_networks[network as usize];
    in_network.lookups = if hungry { in_network.lookups + 1 } else { 0 };
    let first = match network {
        Network::Ring => limits::LOOKUP_DELAY,
        Network::Mainline | Network::Lan => limits::LOOKUP_DELAY_MAINLINE,
    };
    let delay = match (unfinished, hungry) {
        (_, true) => first * (1 << in_network.lookups.min(16)),
        (true, false) => limits::LOOKUP_EVERY,
        (false, false) if network == Network::Ring && engine.networks.hidden => {
            limits::LOOKUP_EVERY_HIDDEN
        }
        (false, false) => limits::LOOKUP_EVERY_SEEDING,
    };
    look_in(engine, key, network, delay.min(limits::LOOKUP_EVERY_SEEDING));
}

fn announcement(network: Network, info_hash: InfoHash, port: u16, seeder: bool) -> Order {
    match network {
        Network::Ring => Order::Chord(ToChord::Announce { info_hash, port, seeder }),
        Network::Mainline => Order::Mainline(ToMainline::Announce { info_hash, port }),
        Network::Lan => Order::Lan(ToLan::Announce(info_hash)),
    }
}

fn withdrawal(network: Network, info_hash: InfoHash) -> Order {
    match network {
        Network::Ring => Order::Chord(ToChord::Withdraw(info_hash)),
        Network::Mainline => Order::Mainline(ToMainline::Withdraw(info_hash)),
        Network::Lan => Order::Lan(ToLan::Withdraw(info_hash)),
    }
}

fn lookup(network: Network, info_hash: InfoHash) -> Option<Order> {
    match network {
        Network::Ring => Some(Order::Chord(ToChord::Lookup(info_hash))),
        Network::Mainline => Some(Order::Mainline(ToMainline::Lookup(info_hash))),
        Network::Lan => None,
    }
}

/// A torrent turns out to be private: nobody in any network is to know of it.
pub(super) fn withdraw(engine: &mut Engine, key: TorrentKey) {
    // Bound: the three networks.
    for network in ALL {
        let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
        let in_network = &mut torrent.in_networks[network as usize];
        in_network.due = None;
        if in_network.announced.take().is_some() {
            let info_hash = torrent.context.metainfo.info_hash();
            let order = withdrawal(network, info_hash);
            engine.networks.give(&mut engine.orders, order);
        }
    }
}

/// These nodes lead into a network.
pub(super) fn enter(engine: &mut Engine, network: Network, nodes: Vec<SocketAddr>) {
    if engine.networks.has(network) {
        engine.orders.push_back(match network {
            Network::Ring => Order::Chord(ToChord::Join(nodes)),
            Network::Mainline => Order::Mainline(ToMainline::Join(nodes)),
            Network::Lan => return,
        });
    }
}

/// A peer says that its node of Mainline is at `address` (BEP 5, `port`).
pub(super) fn handle_node(engine: &mut Engine, address: SocketAddr) {
    if engine.networks.has(Network::Mainline) {
        engine.orders.push_back(Order::Mainline(ToMainline::Meet(address)));
    }
}

/// The reactor has no room for `order`: it is given again.
pub(super) fn handle_undelivered(engine: &mut Engine, order: Order) {
    // Another way into the network will come; everything else there is once.
    let comes_again = matches!(
        order,
        Order::Chord(ToChord::Join(_)) | Order::Mainline(ToMainline::Join(_) | ToMainline::Meet(_))
    );
    if comes_again && !engine.networks.postponed.is_empty() {
        return;
    }
    if engine.networks.postponed.is_empty() {
        engine.start_timer(limits::RETRY_DELAY, Timer::NetworksAgain);
    }
    // What is refused comes before what was not given yet, in its order.
    let networks = &mut engine.networks;
    networks.postponed.insert(networks.refused.min(networks.postponed.len()), order);
    networks.refused += 1;
}

/// Gives some of the postponed orders again.
pub(super) fn handle_give_again(engine: &mut Engine) {
    engine.networks.refused = 0;
    // Bound: limits::RETRIES_MAX
    for _ in 0..limits::RETRIES_MAX {
        engine.steps.step();
        let Some(order) = engine.networks.postponed.pop_front() else { return };
        engine.orders.push_back(order);
    }
    if !engine.networks.postponed.is_empty() {
        engine.start_timer(limits::RETRY_DELAY, Timer::NetworksAgain);
    }
}

/// Says goodbye to the networks.
pub(super) fn leave(engine: &mut Engine) {
    engine.networks.postponed.clear();
    engine.networks.refused = 0;
    // Bound: the three networks.
    for network in ALL {
        if engine.networks.has(network) {
            engine.orders.push_back(match network {
                Network::Ring => Order::Chord(ToChord::Leave),
                Network::Mainline => Order::Mainline(ToMainline::Leave),
                Network::Lan => continue,
            });
        }
    }
}
