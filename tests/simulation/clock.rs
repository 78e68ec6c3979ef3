//! Virtual time: what is to happen, in order, and a hash of what has happened.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rondalla::words::id::PeerKey;

use super::network::{CableId, Side};

/// One life of one member, from its start to its end or crash. What was meant for an earlier life
/// reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    pub(super) member: usize,
    pub(super) number: u32,
}

/// What stands for a thread of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actor {
    Main,
    Porter,
    Storage,
    Reader(PeerKey),
    Writer(PeerKey),
}

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    /// An actor wakes up.
    Wake(Life, Actor),
    /// A dialler's first packet reaches the other side.
    Knock(CableId),
    /// The answer to it reaches the dialler.
    Answer(CableId),
    /// What this side wrote reaches the other.
    Arrival(CableId, Side),
    /// A member starts.
    Start(usize),
    /// The next fault of the plan.
    Fault(usize),
    /// From now on nothing goes wrong any more.
    Calm,
}

/// The clock and what waits for it.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    now: Duration,
    waiting: BinaryHeap<Reverse<(Duration, u64, Happening)>>,
    /// Those of one time happen in the order in which they were set.
    sequence: u64,
    transcript: u64,
}

impl Clock {
    /// The only look at the real clock: an `Instant` cannot be made up, and only what is added to
    /// this one counts.
    pub(super) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up")]
        let began = Instant::now();
        let transcript = 0xcbf2_9ce4_8422_2325;
        Self { began, now: Duration::ZERO, waiting: BinaryHeap::new(), sequence: 0, transcript }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn instant(&self) -> Instant {
        self.began + self.now
    }

    /// The time of an `Instant` that a machine gave.
    pub(super) fn time_of(&self, instant: Instant) -> Duration {
        instant.duration_since(self.began)
    }

    pub(super) fn set(&mut self, at: Duration, happening: Happening) {
        self.sequence += 1;
        self.waiting.push(Reverse((at.max(self.now), self.sequence, happening)));
    }

    pub(super) fn set_after(&mut self, delay: Duration, happening: Happening) {
        self.set(self.now + delay, happening);
    }

    /// Goes on to the next thing that happens.
    pub(super) fn next(&mut self) -> Option<Happening> {
        let Reverse((at, _, happening)) = self.waiting.pop()?;
        self.now = at;
        Some(happening)
    }

    /// Writes `number` into the transcript (FNV-1a, a word at a time).
    pub(super) fn note(&mut self, number: u64) {
        self.transcript = (self.transcript ^ number).wrapping_mul(0x0100_0000_01b3);
    }

    /// What has happened, as a number, with the time at which it ended.
    pub(super) fn transcript(&self) -> (Duration, u64) {
        (self.now, self.transcript)
    }
}

/// When an actor wakes up next. Setting it later than it is changes nothing: whoever wakes looks
/// around, and sets it again.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Duration>);

impl Alarm {
    pub(super) fn set(&mut self, clock: &mut Clock, at: Duration, life: Life, actor: Actor) {
        let at = at.max(clock.now());
        if self.0.is_none_or(|set| at < set) {
            self.0 = Some(at);
            clock.set(at, Happening::Wake(life, actor));
        }
    }

    /// Whether it was set for just now; it is not set any more then.
    pub(super) fn rings(&mut self, clock: &Clock) -> bool {
        let rings = self.0 == Some(clock.now());
        if rings {
            self.0 = None;
        }
        rings
    }
}
