//! What a seed stands for: the torrents, the members, their paths, and what goes wrong when.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rondalla::formats::metainfo::{Draft, DraftFile, Metainfo};
use rondalla::machines::engine::Goal;
use rondalla::words::id::{Block, PieceIndex};
use rondalla::words::limits::{self, BLOCK_LEN};
use rondalla::words::rng::Rng;

use super::network::Path;

/// From the calm on everybody has so long to become complete. Mostly it takes minutes: a dead
/// connection is noticed within three, a dial that failed is repeated within one. But whoever has
/// memory for a single block waits for it for 20 s whenever it has asked one of those who are silent,
/// and each connection of theirs begins anew: with three of them, and a turn of each for every one of
/// some 360 pieces, that is six hours.
pub(super) const PATIENCE: Duration = Duration::from_secs(8 * 60 * 60);

/// A torrent and its data.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) metainfo: Metainfo,
    pub(super) data: Vec<u8>,
}

impl Shape {
    /// The simulated disks compare bytes instead of hashing them, so any hashes do.
    pub(super) fn new(number: u32, len: u32, piece_length: u32, rng: &mut Rng) -> Arc<Self> {
        let mut data = vec![0; len as usize];
        rng.fill(&mut data);
        let draft = Draft {
            name: format!("tune-{number}").into_bytes(),
            piece_length,
            files: vec![DraftFile { path: Vec::new(), len: len.into() }],
            hashes: vec![7; 20 * len.div_ceil(piece_length) as usize],
            ..Draft::default()
        };
        let metainfo = Metainfo::parse(&draft.encode()).expect("the draft is a torrent");
        Arc::new(Self { metainfo, data })
    }

    /// One piece, pieces of one block, short last pieces, pieces of many blocks, many pieces.
    fn draw(number: u32, rng: &mut Rng) -> Arc<Self> {
        let (piece_length, pieces) = match rng.below(6) {
            0 => (1 + rng.below(3 * BLOCK_LEN), 1),
            1 => (BLOCK_LEN, 1 + rng.below(30)),
            2 => (1 + rng.below(2_000), 1 + rng.below(70)),
            3 => (BLOCK_LEN * (2 + rng.below(3)), 1 + rng.below(12)),
            4 => (BLOCK_LEN * (10 + rng.below(30)), 1 + rng.below(3)),
            _ => (1 + rng.below(100), 60 + rng.below(300)),
        };
        let cut = if rng.chance(1, 3) { 0 } else { rng.below(piece_length) };
        Self::new(number, piece_length * pieces - cut, piece_length, rng)
    }

    pub(super) fn bytes_of_piece(&self, piece: PieceIndex) -> Range<usize> {
        let start = usize::try_from(self.metainfo.piece_offset(piece)).unwrap();
        start..start + self.metainfo.piece_len(piece) as usize
    }

    pub(super) fn bytes_of(&self, block: Block) -> Range<usize> {
        let start = self.bytes_of_piece(block.piece).start + block.offset as usize;
        start..start + block.len as usize
    }
}

/// How a member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// It claims every piece and serves garbage.
    Liar,
    /// A block in four is corrupt when it leaves.
    Spoiler,
    /// It claims every piece and answers no request.
    Silent,
    /// It stops reading after so many messages.
    Deaf(u32),
    /// It says things that the protocol forbids.
    Babbler,
}

/// One member of the swarm.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    pub(super) manner: Manner,
    pub(super) goal: Goal,
    pub(super) upload: bool,
    /// Whether it knows the fast extension.
    pub(super) fast: bool,
    /// It knows the info-hashes alone, and has the metadata from others.
    pub(super) by_link: bool,
    pub(super) sequential: bool,
    /// How long it seeds when it is complete, if that is limited.
    pub(super) seed_time: Option<Duration>,
    pub(super) memory: u64,
    /// Slots of its main's channel.
    pub(super) notifications: usize,
    /// How long a turn of its main takes.
    pub(super) turn: Duration,
    pub(super) disk_latency: Duration,
    /// How long a torrent is looked at before it is open.
    pub(super) check_time: Duration,
    pub(super) starts_at: Duration,
    /// The torrents that it takes part in.
    pub(super) torrents: Vec<usize>,
    /// Whom it is told to dial; itself and nobody may be among them.
    pub(super) contacts: Vec<SocketAddr>,
    pub(super) path: Path,
}

impl Member {
    pub(super) fn is_honest(&self) -> bool {
        self.manner == Manner::Honest
    }

    pub(super) fn is_leecher(&self) -> bool {
        self.is_honest() && self.goal != Goal::Seed
    }
}

/// What goes wrong at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// A process, or its whole machine, is gone; it starts again after a while.
    Crash { member: usize, power_cut: bool, back_after: Duration },
    /// A user ends a session, and starts it again after a while.
    Leave { member: usize, back_after: Duration },
    /// A connection is cut.
    Cut { nth: u64, silently: bool },
    /// A disk does nothing for a while.
    Stall { member: usize, time: Duration },
    /// Somebody with an empty disk comes in place of a member.
    Replace { member: usize },
    /// A disk is full after so many bytes more.
    Fill { member: usize, room: u64 },
}

/// Chances in a thousand, until calm comes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chances {
    /// A dial is refused.
    pub(super) refused: u32,
    /// A dial is never answered.
    pub(super) unanswered: u32,
    /// A thread cannot be started.
    pub(super) no_thread: u32,
    /// A block cannot be read from the disk.
    pub(super) unreadable: u32,
}

/// All that a seed stands for.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shapes: Vec<Arc<Shape>>,
    pub(super) members: Vec<Member>,
    pub(super) chances: Chances,
    pub(super) faults: Vec<(Duration, Fault)>,
    pub(super) calm_at: Duration,
}

impl Plan {
    /// Whether a hostile member has this address, or dials from it.
    pub(super) fn is_hostile(&self, address: &str) -> bool {
        let ip = address.parse::<SocketAddr>().expect("an address with a port").ip();
        self.members.iter().any(|member| member.address.ip() == ip && !member.is_honest())
    }

    pub(super) fn draw(rng: &mut Rng) -> Self {
        let torrents = if rng.chance(2, 3) { 1 } else { 2 + rng.below(2) };
        let shapes: Vec<_> = (0..torrents).map(|number| Shape::draw(number, rng)).collect();
        let count = 2 + rng.below(5) + if rng.chance(1, 3) { rng.below(8) } else { 0 };
        let addresses = addresses(count, rng);
        let rough = rng.chance(3, 4);
        let members = (0..addresses.len())
            .map(|index| Self::draw_member(index, &addresses, shapes.len(), rng))
            .collect::<Vec<_>>();
        let calm_at = if rough { seconds(5, 180, rng) } else { Duration::ZERO };
        let faults = if rough { draw_faults(members.len(), calm_at, rng) } else { Vec::new() };
        let chances = if rough { Chances::draw(rng) } else { Chances::default() };
        Self { shapes, members, chances, faults, calm_at }
    }

    /// The first member seeds; without one more honest one that is not much of a swarm.
    fn draw_member(
        index: usize,
        addresses: &[SocketAddr],
        torrents: usize,
        rng: &mut Rng,
    ) -> Member {
        let manner = match rng.below(16) {
            _ if index < 2 => Manner::Honest,
            0 => Manner::Liar,
            1 => Manner::Silent,
            2 => Manner::Deaf(rng.below(100)),
            3 => Manner::Babbler,
            4 => Manner::Spoiler,
            _ => Manner::Honest,
        };
        let goal = match rng.below(8) {
            _ if index == 0 => Goal::Seed,
            _ if matches!(manner, Manner::Liar | Manner::Silent) => Goal::Seed,
            0 => Goal::Seed,
            1 | 2 => Goal::Complete,
            _ => Goal::CompleteAndSeed,
        };
        let memory = match rng.below(4) {
            0 => u64::from(BLOCK_LEN) * u64::from(1 + rng.below(8)),
            1 => 1 << 20,
            _ => limits::MEMORY_DEFAULT,
        };
        let all = (0..torrents).filter(|_| index == 0 || goal == Goal::Seed || rng.chance(3, 4));
        let mut torrents: Vec<_> = all.collect();
        if torrents.is_empty() {
            torrents.push(0);
        }
        rng.shuffle(&mut torrents);
        Member {
            address: addresses[index],
            manner,
            goal,
            upload: goal == Goal::Seed || rng.chance(7, 8),
            fast: rng.chance(3, 4),
            by_link: index > 0 && manner == Manner::Honest && rng.chance(1, 4),
            sequential: rng.chance(1, 5),
            seed_time: (index > 0 && rng.chance(1, 6)).then(|| seconds(0, 60, rng)),
            memory,
            notifications: [1, 2, 16, limits::NOTIFICATIONS_MAX][rng.below(4) as usize],
            turn: Duration::from_nanos(u64::from(500 + rng.below(50_000))),
            disk_latency: Duration::from_micros(u64::from(20 + rng.below(4_000))),
            check_time: if rng.chance(3, 4) { Duration::ZERO } else { seconds(0, 20, rng) },
            starts_at: if rng.chance(1, 2) { Duration::ZERO } else { seconds(0, 60, rng) },
            torrents,
            contacts: contacts(addresses, rng),
            path: Path {
                delay: Duration::from_micros(100 << rng.below(11)),
                bandwidth: 40_000 << rng.below(9),
                window: 1_000 << rng.below(9),
            },
        }
    }
}

impl Chances {
    fn draw(rng: &mut Rng) -> Self {
        let mut up_to = |most: u32| if rng.chance(1, 2) { 0 } else { rng.below(most) };
        Self {
            refused: up_to(500),
            unanswered: up_to(300),
            no_thread: up_to(200),
            unreadable: up_to(20),
        }
    }
}

/// Public addresses, a port each.
fn addresses(count: u32, rng: &mut Rng) -> Vec<SocketAddr> {
    (0..count)
        .map(|index| {
            let [a, b, c, _] = rng.below(u32::MAX).to_be_bytes();
            let ip = Ipv4Addr::new(11 + a % 80, b, c, u8::try_from(index).unwrap());
            let port = u16::try_from(6881 + index).unwrap();
            (ip, port).into()
        })
        .collect()
}

/// The first two, some of the others, and maybe an address where nobody is.
fn contacts(addresses: &[SocketAddr], rng: &mut Rng) -> Vec<SocketAddr> {
    let known = 1 + rng.below(4);
    let others = addresses.iter().enumerate().filter(|(n, _)| *n < 2 || rng.chance(known, 4));
    let mut contacts: Vec<_> = others.map(|(_, address)| *address).collect();
    if rng.chance(1, 4) {
        contacts.push((Ipv4Addr::new(99, 9, 9, 9), 6881).into());
    }
    rng.shuffle(&mut contacts);
    contacts
}

fn draw_faults(members: usize, calm_at: Duration, rng: &mut Rng) -> Vec<(Duration, Fault)> {
    let members = u32::try_from(members).unwrap();
    let count = rng.below(3 * members);
    let draw = |_| {
        let at = seconds(0, u32::try_from(calm_at.as_secs()).unwrap(), rng);
        let member = rng.below(members) as usize;
        let back_after = seconds(0, 40, rng);
        let fault = match rng.below(8) {
            0 | 1 => Fault::Crash { member, power_cut: rng.chance(1, 2), back_after },
            2 => Fault::Leave { member, back_after },
            3 | 4 => Fault::Cut { nth: rng.next_u64(), silently: rng.chance(1, 3) },
            5 | 6 => Fault::Stall { member, time: seconds(1, 30, rng) },
            _ => Fault::Fill { member, room: u64::from(rng.below(300_000)) },
        };
        (at, fault)
    };
    (0..count).map(draw).collect()
}

/// A time between two numbers of seconds.
fn seconds(from: u32, to: u32, rng: &mut Rng) -> Duration {
    Duration::from_millis(u64::from(1000 * from + rng.below(1000 * (to - from) + 1)))
}
