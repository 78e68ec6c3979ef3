//! One process: the real engine, the main loop around it, and the simulated actors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rondalla::bus::{
    ClerkNews, Command, Event, Fault, NewTorrent, Notification, Order, PeerNews, PeerState, Place,
    Select, SocketNumber, ToClerk, ToPeer, ToStorage, TorrentContext, TorrentEvent, Wish,
};
use rondalla::formats::client;
use rondalla::formats::metainfo::Metainfo;
use rondalla::machines::engine::{Engine, Goal, SeedUntil, Settings};
use rondalla::words::address::{Address, Host};
use rondalla::words::bitfield::SharedBitfield;
use rondalla::words::id::{Block, InfoHash, PeerId, PeerKey, PieceIndex};
use rondalla::words::limits;

use super::clock::{Actor, Clock, Happening, Life};
use super::disk::{Disk, Speed, Storage};
use super::line::{Call, Line, farewell};
use super::mailbox::Mailbox;
use super::network::{Answer, CableId, Path, Plug, Side};
use super::plan::{Member, Plan};
use super::scene::Scene;

/// Turns for each of which the engine's invariants are checked once, for each hundred pieces.
const CHECK_EVERY: u64 = 8;

#[derive(Debug)]
pub(super) struct Process {
    life: Life,
    our_id: PeerId,
    engine: Engine,
    mailbox: Mailbox,
    lines: BTreeMap<PeerKey, Line>,
    storage: Storage,
    /// Our torrents, with the length of the have log that the writers were woken for.
    contexts: Vec<(Arc<TorrentContext>, u32)>,
    /// The porter's sockets, and what it has to publish.
    sockets: BTreeMap<SocketNumber, (Plug, SocketAddr)>,
    accepted: u64,
    porter: VecDeque<Notification>,
    turns: u64,
    /// What was asked of whom and not stored.
    asked: BTreeSet<(PeerKey, Block)>,
    /// The block that main handles in this turn.
    handled: Option<(PeerKey, Block)>,
    /// The torrents of which it was told that they are complete.
    pub(super) finished: BTreeSet<InfoHash>,
    /// Those that were hung up on because they had sent corrupt data.
    pub(super) banned: BTreeSet<SocketAddr>,
    /// Those of whom blocks were stored.
    pub(super) senders: BTreeSet<SocketAddr>,
    /// A torrent was given up.
    pub(super) troubled: bool,
    ended: bool,
}

/// What the process needs to know of the plan and of its disk.
pub(super) struct Home<'a> {
    pub(super) plan: &'a Plan,
    pub(super) member: &'a Member,
    pub(super) disk: &'a mut Disk,
}

impl Process {
    pub(super) fn start(scene: &mut Scene, home: &Home<'_>, life: Life) -> Self {
        let member = home.member;
        let settings = Settings {
            goal: member.goal,
            stay: false,
            upload: member.upload,
            chord: false,
            mainline: false,
            lan: false,
            pex: true,
            memory: member.memory,
            peers_max: limits::PEERS_DEFAULT,
            timeout: None,
            sequential: member.sequential,
            seed_until: SeedUntil { ratio: None, time: member.seed_time },
        };
        let mut chance = [0; 12];
        scene.rng.fill(&mut chance);
        let our_id = client::our_peer_id(chance);
        let seed = scene.rng.next_u64();
        let speed = Speed { latency: member.disk_latency, check: member.check_time };
        let mut process = Self {
            life,
            our_id,
            engine: Engine::new(settings, our_id, seed, scene.clock.instant()),
            mailbox: Mailbox::new(life, member.notifications),
            lines: BTreeMap::new(),
            storage: Storage::new(life, member.memory, speed),
            contexts: Vec::new(),
            sockets: BTreeMap::new(),
            accepted: 0,
            porter: VecDeque::new(),
            turns: 0,
            asked: BTreeSet::new(),
            handled: None,
            finished: BTreeSet::new(),
            banned: BTreeSet::new(),
            senders: BTreeSet::new(),
            troubled: false,
            ended: false,
        };
        process.command(scene, home, Command::Listening(member.address));
        for &torrent in &member.torrents {
            process.add(scene, home, torrent);
        }
        process
    }

    fn add(&mut self, scene: &mut Scene, home: &Home<'_>, torrent: usize) {
        let member = home.member;
        let metainfo = home.plan.shapes[torrent].metainfo.clone();
        let read_only = member.goal == Goal::Seed;
        let pieces = metainfo.pieces();
        let wanted =
            if read_only { SharedBitfield::zeros(pieces) } else { SharedBitfield::ones(pieces) };
        let info_hash = metainfo.info_hash();
        let (publisher, context) = if member.by_link {
            TorrentContext::unknown(Metainfo::unknown(info_hash, None))
        } else {
            TorrentContext::new(metainfo, wanted)
        };
        let (dir, state) = ("dir".into(), "state".into());
        let place = Place { dir, state, check: false, overwrite: false, read_only };
        let address = |to: &SocketAddr| Address { host: Host::Ip(to.ip()), port: to.port() };
        let peers = member.contacts.iter().map(address).collect();
        self.contexts.push((Arc::clone(&context), 0));
        let wish = member.by_link.then(|| {
            Arc::new(Wish {
                info_hash,
                trackers: Vec::new(),
                web_seeds: Vec::new(),
                place: place.clone(),
                select: Select::All,
                save_only: false,
            })
        });
        let (nodes, web_seeds, trackers, key) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let new =
            NewTorrent { context, publisher, place, peers, web_seeds, nodes, trackers, key, wish };
        self.command(scene, home, Command::Add(Box::new(new)));
    }

    /// A user's command, from main's own thread.
    pub(super) fn command(&mut self, scene: &mut Scene, home: &Home<'_>, command: Command) {
        self.engine.handle(scene.clock.instant(), Notification::Command(command));
        self.perform(scene, home);
        self.end_turn(scene, home);
    }

    /// An actor wakes up.
    pub(super) fn wake(&mut self, scene: &mut Scene, home: &mut Home<'_>, actor: Actor) {
        match actor {
            Actor::Main if self.mailbox.main_wakes(&scene.clock) => self.turn(scene, home),
            Actor::Main => {}
            Actor::Porter => self.publish_as_porter(scene),
            Actor::Storage => {
                self.storage.run(&mut scene.clock, &mut self.mailbox, home.disk);
            }
            Actor::Reader(peer) => {
                if let Some(line) = self.lines.get_mut(&peer) {
                    line.run_reader(scene, &mut self.mailbox);
                }
            }
            Actor::Writer(peer) => {
                if let Some(line) = self.lines.get_mut(&peer) {
                    line.run_writer(scene, &mut self.mailbox, home.disk);
                }
            }
        }
    }

    // ------------------------------------------------------------------------- The main loop ---

    fn turn(&mut self, scene: &mut Scene, home: &Home<'_>) {
        let now = scene.clock.instant();
        match self.mailbox.take(&mut scene.clock) {
            Some(notification) => {
                self.look_at(scene, &notification);
                self.engine.handle(now, notification);
            }
            None => self.engine.handle_time(now),
        }
        self.count_steps(scene);
        if self.engine.poll_deadline().is_some_and(|due| due <= now) {
            self.engine.handle_time(now);
            self.count_steps(scene);
        }
        self.perform(scene, home);
        self.handled = None;
        self.end_turn(scene, home);
    }

    fn end_turn(&mut self, scene: &mut Scene, home: &Home<'_>) {
        self.turns += 1;
        let pieces: u32 = self.contexts.iter().map(|(context, _)| context.metainfo.pieces()).sum();
        let every = 1 + CHECK_EVERY * u64::from(pieces / 100);
        if self.turns.is_multiple_of(every) {
            self.engine.check();
        }
        let deadline = self.engine.poll_deadline().map(|due| scene.clock.time_of(due));
        if !self.ended {
            self.mailbox.end_turn(&mut scene.clock, home.member.turn, deadline);
        }
    }

    fn count_steps(&self, scene: &mut Scene) {
        let steps = self.engine.steps();
        assert!(steps as usize <= limits::STEPS_MAX, "a turn took {steps} steps");
        scene.clock.note(u64::from(steps));
    }

    /// What main is about to handle.
    fn look_at(&mut self, scene: &mut Scene, notification: &Notification) {
        scene.clock.note(self.life.member as u64);
        if let Notification::Peer(peer, PeerNews::Block(block, _)) = notification {
            self.handled = Some((*peer, *block));
            scene.clock.note(u64::from(block.piece.0) << 32 | u64::from(block.offset));
        }
    }

    fn perform(&mut self, scene: &mut Scene, home: &Home<'_>) {
        while let Some(order) = self.engine.poll_order() {
            if let Err(order) = self.give(scene, home, order) {
                self.engine.handle_undelivered(scene.clock.instant(), order);
                self.count_steps(scene);
            }
        }
        while let Some(event) = self.engine.poll_event() {
            self.hear(scene, home, event);
        }
        self.tell_haves(scene);
    }

    fn hear(&mut self, scene: &mut Scene, home: &Home<'_>, event: Event) {
        let Event::Torrent(info_hash, event) = event else { return };
        match event {
            TorrentEvent::Finished { .. } => {
                assert!(self.finished.insert(info_hash), "a torrent finishes once");
            }
            TorrentEvent::Error(_) => self.troubled = true,
            TorrentEvent::Piece(PieceIndex(piece)) => scene.clock.note(u64::from(piece)),
            TorrentEvent::Peer { address, state: PeerState::Gone { reason: why, .. }, .. } => {
                if why == "it sent metadata that is not the torrent's" {
                    assert!(home.plan.is_hostile(&address), "{address} has sent what it has");
                }
                if why == "it sent corrupt data" {
                    let guilty = home.plan.is_hostile(&address);
                    assert!(guilty, "{address} is banned, and has done nothing");
                    self.banned.insert(address.parse().expect("an address with a port"));
                }
            }
            TorrentEvent::Peer { state: PeerState::Connected, .. }
            | TorrentEvent::Sought { .. }
            | TorrentEvent::Metadata { .. }
            | TorrentEvent::Started { .. }
            | TorrentEvent::Checking { .. }
            | TorrentEvent::Checked { .. }
            | TorrentEvent::Progress(_)
            | TorrentEvent::Settled { .. }
            | TorrentEvent::Tracker { .. }
            | TorrentEvent::Warning(_) => {}
        }
    }

    /// Whoever would look at the have log and find something is woken then.
    fn tell_haves(&mut self, scene: &mut Scene) {
        for (context, told) in &mut self.contexts {
            let len = context.have_log.len();
            if std::mem::replace(told, len) != len {
                let info_hash = Some(context.metainfo.info_hash());
                let lines = self.lines.values_mut().filter(|line| line.info_hash() == info_hash);
                lines.for_each(|line| line.handle_have(scene));
            }
        }
    }

    fn give(&mut self, scene: &mut Scene, home: &Home<'_>, order: Order) -> Result<(), Order> {
        match order {
            Order::Dial { peer, ref to, torrent, ref context } => {
                if scene.chance(scene.chances.no_thread) {
                    return Err(order);
                }
                let introduction = (torrent, Arc::clone(context));
                let Host::Ip(ip) = to.host else { panic!("everybody is dialled by address") };
                let address = SocketAddr::new(ip, to.port);
                let call = self.call(home.member, peer, address);
                let fresh = self.lines.insert(peer, Line::dialling(call, introduction));
                assert!(fresh.is_none(), "{peer:?} is dialled twice");
                if scene.chance(scene.chances.no_thread) {
                    self.say_gone(scene, peer, "no thread for it");
                } else {
                    let path = path(home, address);
                    let clock = &mut scene.clock;
                    scene.network.dial(clock, self.life, peer, address, path);
                }
            }
            Order::Admit { socket, peer } => {
                let (plug, address) = self.sockets.remove(&socket).expect("it was accepted");
                scene.network.hold(plug, peer);
                let call = self.call(home.member, peer, address);
                let line = Line::accepted(call, plug, scene.clock.instant());
                assert!(self.lines.insert(peer, line).is_none(), "{peer:?} is admitted twice");
                self.wake_now(scene, Actor::Reader(peer));
            }
            Order::Refuse(socket) => {
                let (plug, _) = self.sockets.remove(&socket).expect("it was accepted");
                scene.network.hang_up(&mut scene.clock, plug);
            }
            Order::Introduce { peer, torrent, context } => {
                self.line(peer).introduce(scene, (torrent, context));
            }
            Order::Peer(peer, to_peer) => {
                self.remember(&to_peer, peer);
                self.line(peer).order(scene, to_peer);
            }
            Order::HangUp(peer) => self.line(peer).hang_up(scene),
            Order::Chord(_) | Order::Mainline(_) | Order::Lan(_) | Order::Usher(..) => {
                panic!("these swarms have no ring")
            }
            Order::Clerk(torrent, ToClerk::Check { len, pieces, wish }) => {
                let news = self.check_metadata(home, len, &pieces.concat(), &wish);
                self.porter.push_back(Notification::Clerk(torrent, news));
                self.publish_as_porter(scene);
            }
            Order::Ask { .. } => panic!("these swarms have no web seeds"),
            Order::Tracker(_) => panic!("nor a tracker"),
            Order::Reap(peer) => {
                // A dial whose thread could not be started leaves nothing.
                if let Some(line) = self.lines.remove(&peer) {
                    assert!(line.is_over(), "{peer:?} is reaped before its last words");
                }
                self.asked.retain(|(asked, _)| *asked != peer);
            }
            Order::Storage(torrent, to_storage) => {
                if let ToStorage::Store(block, _) = &to_storage {
                    self.check_stored(*block);
                }
                self.storage.order(&mut scene.clock, torrent, to_storage);
            }
            Order::End => self.ended = true,
        }
        Ok(())
    }

    /// What the clerk does, who has a thread of its own.
    fn check_metadata(&mut self, home: &Home<'_>, len: u32, info: &[u8], wish: &Wish) -> ClerkNews {
        let mut shapes = home.plan.shapes.iter().map(|shape| &shape.metainfo);
        let known = shapes.find(|metainfo| metainfo.info_hash() == wish.info_hash);
        let metainfo = known.expect("somebody has it").clone();
        if metainfo.info_bytes() != info {
            return ClerkNews::Wrong { len };
        }
        let (pieces, place) = (metainfo.pieces(), wish.place.clone());
        let wanted = match place.read_only {
            true => SharedBitfield::zeros(pieces),
            false => SharedBitfield::ones(pieces),
        };
        let (publisher, context) = TorrentContext::new(metainfo, wanted);
        let is_it = |known: &&mut (Arc<TorrentContext>, u32)| {
            known.0.metainfo.info_hash() == wish.info_hash
        };
        let known = self.contexts.iter_mut().find(is_it).expect("it was added");
        *known = (Arc::clone(&context), 0);
        let (peers, nodes) = (Vec::new(), Vec::new());
        let (web_seeds, trackers, key, wish) = (Vec::new(), Vec::new(), 0, None);
        let new =
            NewTorrent { context, publisher, place, peers, web_seeds, nodes, trackers, key, wish };
        ClerkNews::Made(Box::new(new))
    }

    fn call(&self, member: &Member, peer: PeerKey, address: SocketAddr) -> Call {
        Call {
            life: self.life,
            peer,
            our_id: self.our_id,
            our_port: member.address.port(),
            manner: member.manner,
            fast: member.fast,
            upload: member.upload,
            address,
        }
    }

    fn line(&mut self, peer: PeerKey) -> &mut Line {
        self.lines.get_mut(&peer).unwrap_or_else(|| panic!("an order for {peer:?}, which is gone"))
    }

    fn remember(&mut self, order: &ToPeer, peer: PeerKey) {
        let ToPeer::Request(range) = order else { return };
        let info_hash = self.lines.get(&peer).and_then(Line::info_hash);
        let mut contexts = self.contexts.iter().map(|(context, _)| context);
        let context = contexts.find(|context| Some(context.metainfo.info_hash()) == info_hash);
        let context = context.expect("it talks about a torrent of ours");
        for n in range.first..range.first + range.count {
            self.asked.insert((peer, context.metainfo.block(range.piece, n)));
        }
    }

    /// Only what was asked of a peer, and came from it, is stored.
    fn check_stored(&mut self, block: Block) {
        let (peer, handled) = self.handled.expect("only a block's turn stores");
        assert_eq!(handled, block, "another block is stored than came");
        assert!(self.asked.remove(&(peer, block)), "{block:?} was not asked of {peer:?}");
        let sender = self.line(peer).call.address;
        self.senders.insert(sender);
    }

    fn wake_now(&self, scene: &mut Scene, actor: Actor) {
        let now = scene.clock.now();
        scene.clock.set(now, Happening::Wake(self.life, actor));
    }

    // ---------------------------------------------------------------------------- The porter ---

    /// Somebody dialled us.
    pub(super) fn accept(&mut self, scene: &mut Scene, cable: CableId, from: SocketAddr) {
        self.accepted += 1;
        let socket = SocketNumber(self.accepted);
        self.sockets.insert(socket, ((cable, Side::Dialled), from));
        self.porter.push_back(Notification::Accepted { socket, address: from });
        self.publish_as_porter(scene);
    }

    fn say_gone(&mut self, scene: &mut Scene, peer: PeerKey, reason: &str) {
        let gone = PeerNews::Gone(farewell(Fault::Ours, reason));
        self.lines.remove(&peer);
        self.porter.push_back(Notification::Peer(peer, gone));
        self.publish_as_porter(scene);
    }

    fn publish_as_porter(&mut self, scene: &mut Scene) {
        while let Some(notification) = self.porter.pop_front() {
            let published = self.mailbox.publish(&mut scene.clock, Actor::Porter, notification);
            if let Err(notification) = published {
                return self.porter.push_front(notification);
            }
        }
    }

    /// What became of our dial.
    pub(super) fn handle_answer(
        &mut self,
        scene: &mut Scene,
        cable: CableId,
        peer: PeerKey,
        answer: Answer,
    ) {
        if let Some(line) = self.lines.get_mut(&peer) {
            line.handle_answer(scene, (cable, Side::Dialler), answer);
        }
    }

    // --------------------------------------------------------------------------- Its outside ---

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether every torrent's storage has said its last word.
    pub(super) fn is_closed(&self) -> bool {
        self.engine.is_closed()
    }

    pub(super) fn footprint(&self) -> BTreeMap<&'static str, usize> {
        self.engine.footprint()
    }

    /// Pieces that are verified, of all torrents.
    pub(super) fn pieces(&self) -> u32 {
        self.contexts.iter().map(|(context, _)| context.have_log.len()).sum()
    }

    pub(super) fn our_life(&self) -> Life {
        self.life
    }

    /// The disk does nothing until then.
    pub(super) fn stall(&mut self, clock: &mut Clock, until: Duration) {
        self.storage.stall(clock, until);
    }

    /// The session is over: the storage ends what it was told, or is left.
    pub(super) fn end(self, scene: &mut Scene, disk: &mut Disk) {
        let closed = self.engine.is_closed();
        scene.network.lose(&mut scene.clock, self.life, false);
        if closed {
            self.storage.end(&mut scene.clock, disk);
        } else {
            disk.values_mut().for_each(|files| files.crash(false, &mut scene.rng));
        }
    }
}

/// The path between two members: as bad as the worse end.
fn path(home: &Home<'_>, to: SocketAddr) -> Path {
    let ours = home.member.path;
    let other = home.plan.members.iter().find(|member| member.address == to);
    let theirs = other.map_or(ours, |member| member.path);
    Path {
        delay: ours.delay.max(theirs.delay),
        bandwidth: ours.bandwidth.min(theirs.bandwidth),
        window: ours.window.min(theirs.window),
    }
}
