//! Connections as TCP makes them: in order, delayed, as slow as their path, with a bounded window;
//! closed, reset, or silently dead.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use rondalla::words::id::PeerKey;
use rondalla::words::rng::Rng;

use super::clock::{Actor, Clock, Happening, Life};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CableId(pub(super) u64);

/// The dialler's end of a cable, or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Dialler,
    Dialled,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Dialled,
            Self::Dialled => Self::Dialler,
        }
    }
}

/// One end of a cable, as its threads hold it.
pub(super) type Plug = (CableId, Side);

/// What a path is like; both directions are alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) delay: Duration,
    /// Bytes a second.
    pub(super) bandwidth: u32,
    /// Bytes that may be sent and not read yet: the buffers of both kernels.
    pub(super) window: usize,
}

/// What became of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Refused,
    /// Nothing came back.
    Nothing,
}

/// What a read gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    Nothing,
    Closed,
    Broken,
}

/// The connection is broken; nothing more can be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

#[derive(Debug)]
struct Cable {
    path: Path,
    to: SocketAddr,
    answer: Answer,
    ends: [End; 2],
    /// What each side has written.
    pipes: [Pipe; 2],
    /// Whatever is sent from now on is lost without a word.
    dead: bool,
}

#[derive(Debug, Default)]
struct End {
    life: Option<Life>,
    /// The peer whose threads hold it, once they run.
    peer: Option<PeerKey>,
    /// This side has hung up.
    closed: bool,
    /// The other side was found gone.
    broken: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    /// Bytes that are sent and not read.
    used: usize,
    /// When the last byte leaves.
    free_at: Duration,
    /// In order; an empty one says that no more will come.
    in_flight: VecDeque<Vec<u8>>,
    arrived: VecDeque<u8>,
    finished: bool,
}

/// All cables.
#[derive(Debug, Default)]
pub(super) struct Network {
    cables: BTreeMap<CableId, Cable>,
    laid: u64,
}

impl Network {
    /// A dial begins; its first packet arrives after the delay.
    pub(super) fn dial(
        &mut self,
        clock: &mut Clock,
        life: Life,
        peer: PeerKey,
        to: SocketAddr,
        path: Path,
    ) -> CableId {
        self.laid += 1;
        let id = CableId(self.laid);
        let dialler = End { life: Some(life), peer: Some(peer), ..End::default() };
        let cable = Cable {
            path,
            to,
            answer: Answer::Nothing,
            ends: [dialler, End::default()],
            pipes: Default::default(),
            dead: false,
        };
        self.cables.insert(id, cable);
        clock.set_after(path.delay, Happening::Knock(id));
        id
    }

    /// Whom a dial is for.
    pub(super) fn dialled(&self, id: CableId) -> Option<SocketAddr> {
        Some(self.cables.get(&id)?.to)
    }

    /// The other side, or its absence, answers.
    pub(super) fn answer(
        &mut self,
        clock: &mut Clock,
        id: CableId,
        answer: Answer,
        by: Option<Life>,
        after: Duration,
    ) {
        let Some(cable) = self.cables.get_mut(&id) else { return };
        cable.answer = answer;
        cable.ends[1].life = by;
        cable.ends[1].closed = by.is_none();
        clock.set_after(cable.path.delay + after, Happening::Answer(id));
    }

    /// Who dialled, and what became of it.
    pub(super) fn answered(&self, id: CableId) -> Option<(Life, PeerKey, Answer)> {
        let cable = self.cables.get(&id)?;
        let End { life, peer, closed: false, .. } = cable.ends[0] else { return None };
        Some((life?, peer?, cable.answer))
    }

    /// The threads of `peer` hold this end now.
    pub(super) fn hold(&mut self, (id, side): Plug, peer: PeerKey) {
        if let Some(cable) = self.cables.get_mut(&id) {
            cable.ends[side as usize].peer = Some(peer);
        }
    }

    /// Writes some of `bytes`; 0 if the window is full. The cut is as random as that of packets.
    pub(super) fn write(
        &mut self,
        clock: &mut Clock,
        rng: &mut Rng,
        (id, side): Plug,
        bytes: &[u8],
    ) -> Result<usize, Broken> {
        let cable = self.cables.get_mut(&id).ok_or(Broken)?;
        let end = &cable.ends[side as usize];
        if end.closed || end.broken {
            return Err(Broken);
        }
        let pipe = &mut cable.pipes[side as usize];
        let packet = 1 + rng.below(24_000) as usize;
        let n = bytes.len().min(cable.path.window - pipe.used).min(packet);
        if n > 0 {
            pipe.used += n;
            send(clock, cable, (id, side), bytes[..n].to_vec());
        }
        Ok(n)
    }

    /// Reads into `spaces`.
    pub(super) fn read(
        &mut self,
        clock: &mut Clock,
        (id, side): Plug,
        spaces: [&mut [u8]; 2],
    ) -> Read {
        let Some(cable) = self.cables.get_mut(&id) else { return Read::Closed };
        if cable.ends[side as usize].closed {
            return Read::Closed;
        }
        let pipe = &mut cable.pipes[side.other() as usize];
        let mut read = 0;
        for space in spaces {
            // A ring gives its two parts one after the other.
            let first = pipe.arrived.read(space).expect("memory can be read");
            read += first;
            read += pipe.arrived.read(&mut space[first..]).expect("memory can be read");
        }
        pipe.used -= read;
        match read {
            0 if cable.ends[side as usize].broken => Read::Broken,
            0 if cable.pipes[side.other() as usize].finished => Read::Closed,
            0 => Read::Nothing,
            n => {
                wake_writer(clock, cable, side.other());
                Read::Bytes(n)
            }
        }
    }

    /// What one side wrote reaches the other.
    pub(super) fn handle_arrival(&mut self, clock: &mut Clock, id: CableId, side: Side) {
        let Some(cable) = self.cables.get_mut(&id) else { return };
        let pipe = &mut cable.pipes[side as usize];
        let Some(bytes) = pipe.in_flight.pop_front() else { return };
        if bytes.is_empty() {
            pipe.finished = true;
            wake_reader(clock, cable, side.other());
        } else if cable.ends[side.other() as usize].closed {
            // Nobody is there any more, which the other kernel says at once.
            cable.ends[side as usize].broken = true;
            wake_reader(clock, cable, side);
            wake_writer(clock, cable, side);
        } else {
            pipe.arrived.extend(bytes);
            wake_reader(clock, cable, side.other());
        }
    }

    /// One side hangs up: what it has written still arrives.
    pub(super) fn hang_up(&mut self, clock: &mut Clock, (id, side): Plug) {
        let Some(cable) = self.cables.get_mut(&id) else { return };
        if std::mem::replace(&mut cable.ends[side as usize].closed, true) {
            return;
        }
        if cable.ends[side.other() as usize].closed {
            self.cables.remove(&id);
            return;
        }
        send(clock, cable, (id, side), Vec::new());
    }

    /// The cable is cut: both sides hear of it at once, or neither ever does.
    pub(super) fn cut(&mut self, clock: &mut Clock, id: CableId, silently: bool) {
        let Some(cable) = self.cables.get_mut(&id) else { return };
        cable.pipes.iter_mut().for_each(|pipe| pipe.in_flight.clear());
        cable.dead = true;
        if !silently {
            for side in [Side::Dialler, Side::Dialled] {
                cable.ends[side as usize].broken = true;
                wake_reader(clock, cable, side);
                wake_writer(clock, cable, side);
            }
        }
    }

    /// A process is gone, with or without its machine.
    pub(super) fn lose(&mut self, clock: &mut Clock, life: Life, silently: bool) {
        let holds = |end: &End| end.life == Some(life);
        for id in self.cables() {
            if !self.cables[&id].ends.iter().any(holds) {
                continue;
            }
            self.cut(clock, id, silently);
            let cable = self.cables.get_mut(&id).expect("a cut removes nothing");
            let mut ends = cable.ends.iter_mut();
            ends.by_ref().filter(|end| holds(end)).for_each(|end| end.closed = true);
            if cable.ends.iter().all(|end| end.closed) {
                self.cables.remove(&id);
            }
        }
    }

    /// The cables on which both sides may talk.
    pub(super) fn cables(&self) -> Vec<CableId> {
        self.cables.keys().copied().collect()
    }
}

fn send(clock: &mut Clock, cable: &mut Cable, (id, side): Plug, bytes: Vec<u8>) {
    if cable.dead {
        return;
    }
    let pipe = &mut cable.pipes[side as usize];
    let micros = bytes.len() as u64 * 1_000_000 / u64::from(cable.path.bandwidth);
    pipe.free_at = pipe.free_at.max(clock.now()) + Duration::from_micros(micros);
    pipe.in_flight.push_back(bytes);
    clock.set(pipe.free_at + cable.path.delay, Happening::Arrival(id, side));
}

fn wake_reader(clock: &mut Clock, cable: &Cable, side: Side) {
    let end = &cable.ends[side as usize];
    if let (Some(life), Some(peer)) = (end.life, end.peer) {
        clock.set(clock.now(), Happening::Wake(life, Actor::Reader(peer)));
    }
}

fn wake_writer(clock: &mut Clock, cable: &Cable, side: Side) {
    let end = &cable.ends[side as usize];
    if let (Some(life), Some(peer)) = (end.life, end.peer) {
        clock.set(clock.now(), Happening::Wake(life, Actor::Writer(peer)));
    }
}
