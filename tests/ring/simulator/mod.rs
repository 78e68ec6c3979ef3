//! An event simulator of machines that speak in datagrams.
//!
//! A [`World`] has one thread, one seed, and one heap of what is to happen, ordered by time. Its
//! members are machines: a datagram that arrives or a deadline that comes is one call of a machine,
//! and whatever the machine then wants to send goes to the [`Internet`](internet::Internet), which
//! says when it arrives, if at all. Nothing else happens, so a run is the same each time.
//!
//! Time is virtual: an hour of a thousand idle nodes is simulated in seconds. A machine sees its own
//! clock, which may be fast or slow; the world's is right.
//!
//! - [`internet`]: how long a datagram takes, which get lost, who cannot reach whom.
//! - [`nat`]: what a home router does to the addresses of datagrams.
//! - [`churn`]: how long members stay.
//! - [`machine`]: what a machine has to offer, for Chord's node and Kademlia's.
//! - [`figures`]: means and percentiles of what was measured.

#![allow(dead_code, reason = "the tests and the example use different halves")]

pub(crate) mod churn;
pub(crate) mod figures;
pub(crate) mod hostile;
pub(crate) mod internet;
pub(crate) mod machine;
pub(crate) mod nat;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use internet::{HostId, Internet};
use machine::{Datagram, Machine};

/// A member of a world. The ids of those that are gone are not used again.
pub(crate) type MemberId = usize;

/// What a step of the world lets the scenario see.
#[derive(Debug)]
pub(crate) enum Happened<N> {
    /// A member's machine has news.
    News(MemberId, N),
    /// The time has come for what the scenario had put down under this number.
    Script(u64),
}

/// What was sent and received, for figures of load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    /// Bytes of the datagrams sent, without headers of IP and UDP.
    pub(crate) bytes: u64,
    pub(crate) received: u64,
}

/// Machines, the network between them, and what is to happen.
pub(crate) struct World<M: Machine> {
    began: Instant,
    now: Duration,
    queue: BinaryHeap<Reverse<Event>>,
    sequence: u64,
    events: u64,
    pub(crate) internet: Internet,
    members: Vec<Option<Member<M>>>,
    /// Which member is behind a host.
    by_host: Vec<Option<MemberId>>,
    happened: VecDeque<Happened<M::News>>,
    /// Whether every machine is checked after each call.
    pub(crate) checks: bool,
}

struct Member<M> {
    machine: M,
    host: HostId,
    clock: Clock,
    /// When it is to be woken. Other wake-ups that are still in the queue mean nothing.
    alarm: Option<Duration>,
    traffic: Traffic,
}

/// A clock that goes wrong by so many millionths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) ppm: i32,
}

impl Clock {
    fn shows(self, right: Duration) -> Duration {
        right.mul_f64(1.0 + f64::from(self.ppm) * 1e-6)
    }

    /// When it shows `shown`, or just after that.
    fn reaches(self, shown: Duration) -> Duration {
        shown.div_f64(1.0 + f64::from(self.ppm) * 1e-6) + Duration::from_nanos(1)
    }
}

struct Event {
    at: Duration,
    /// Those of one time happen in the order in which they were put down.
    sequence: u64,
    what: What,
}

enum What {
    Arrive { from: SocketAddr, to: SocketAddr, bytes: Box<[u8]> },
    Wake(MemberId),
    Script(u64),
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<M: Machine> World<M> {
    pub(crate) fn new(internet: Internet) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up")]
        let began = Instant::now();
        Self {
            began,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            sequence: 0,
            events: 0,
            internet,
            members: Vec::new(),
            by_host: Vec::new(),
            happened: VecDeque::new(),
            checks: false,
        }
    }

    // ------------------------------------------------------------------------------ Getters ---

    /// The time since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// How many events have happened: what the simulation costs.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// The time as a machine with a right clock sees it.
    pub(crate) fn instant(&self) -> Instant {
        self.instant_by(Clock::default())
    }

    /// The time as this clock shows it.
    pub(crate) fn instant_by(&self, clock: Clock) -> Instant {
        self.began + clock.shows(self.now)
    }

    /// Those who are there.
    pub(crate) fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        (0..self.members.len()).filter(|id| self.members[*id].is_some())
    }

    pub(crate) fn machine(&self, id: MemberId) -> Option<&M> {
        Some(&self.members.get(id)?.as_ref()?.machine)
    }

    pub(crate) fn machines(&self) -> impl Iterator<Item = (MemberId, &M)> {
        self.members.iter().enumerate().filter_map(|(id, m)| Some((id, &m.as_ref()?.machine)))
    }

    /// The address under which others see the member.
    pub(crate) fn address(&self, id: MemberId) -> SocketAddr {
        self.internet.address(self.member(id).host)
    }

    /// The member that others see at this address.
    pub(crate) fn member_at(&self, address: SocketAddr) -> Option<MemberId> {
        self.by_host.get(self.internet.host_at(address)?).copied().flatten()
    }

    pub(crate) fn host(&self, id: MemberId) -> HostId {
        self.member(id).host
    }

    pub(crate) fn traffic(&self, id: MemberId) -> Traffic {
        self.member(id).traffic
    }

    /// Counts from now on.
    pub(crate) fn forget_traffic(&mut self) {
        self.members.iter_mut().flatten().for_each(|member| member.traffic = Traffic::default());
    }

    fn member(&self, id: MemberId) -> &Member<M> {
        self.members[id].as_ref().expect("the member is there")
    }

    // --------------------------------------------------------------------------------- Script ---

    /// A machine starts at `host`.
    pub(crate) fn start(&mut self, host: HostId, clock: Clock, machine: M) -> MemberId {
        let id = self.members.len();
        self.by_host.resize(self.by_host.len().max(host + 1), None);
        assert_eq!(self.by_host[host], None, "one machine a host");
        self.by_host[host] = Some(id);
        let traffic = Traffic::default();
        self.members.push(Some(Member { machine, host, clock, alarm: None, traffic }));
        self.settle(id);
        id
    }

    /// The member is gone from one moment to the next, and says goodbye to nobody.
    pub(crate) fn crash(&mut self, id: MemberId) -> Option<M> {
        let member = self.members.get_mut(id)?.take()?;
        self.by_host[member.host] = None;
        Some(member.machine)
    }

    /// Gives an order to a member's machine.
    pub(crate) fn order<T>(&mut self, id: MemberId, order: impl FnOnce(&mut M, Instant) -> T) -> T {
        let member = self.members[id].as_mut().expect("the member is there");
        let now = self.began + member.clock.shows(self.now);
        let result = order(&mut member.machine, now);
        self.settle(id);
        result
    }

    /// The same for a machine that is told what the network is like.
    pub(crate) fn tell(&mut self, id: MemberId, tell: impl FnOnce(&mut M, &Internet)) {
        let member = self.members[id].as_mut().expect("the member is there");
        tell(&mut member.machine, &self.internet);
        self.settle(id);
    }

    /// The scenario is told of `number` after `delay`.
    pub(crate) fn remind(&mut self, delay: Duration, number: u64) {
        self.put(self.now + delay, What::Script(number));
    }

    /// Goes on to the next thing of which the scenario wants to know; `None` when it is `until`.
    pub(crate) fn next(&mut self, until: Duration) -> Option<Happened<M::News>> {
        loop {
            if let Some(happened) = self.happened.pop_front() {
                return Some(happened);
            }
            if self.queue.peek().is_none_or(|Reverse(event)| event.at > until) {
                self.now = self.now.max(until);
                return None;
            }
            let Reverse(event) = self.queue.pop()?;
            self.now = event.at;
            self.events += 1;
            match event.what {
                What::Arrive { from, to, bytes } => self.arrive(from, to, &bytes),
                What::Wake(id) => self.wake(id),
                What::Script(number) => return Some(Happened::Script(number)),
            }
        }
    }

    /// Lets time pass, whatever happens.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.next(until).is_some() {}
    }

    // -------------------------------------------------------------------------------- Inside ---

    fn put(&mut self, at: Duration, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse(Event { at, sequence: self.sequence, what }));
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(host) = self.internet.deliver(self.now, from, to) else { return };
        let Some(id) = self.by_host.get(host).copied().flatten() else { return };
        let member = self.members[id].as_mut().expect("a host has only members that are there");
        member.traffic.received += 1;
        let now = self.began + member.clock.shows(self.now);
        member.machine.handle_datagram(now, from, bytes);
        self.settle(id);
    }

    fn wake(&mut self, id: MemberId) {
        let Some(member) = self.members[id].as_mut().filter(|m| m.alarm == Some(self.now)) else {
            return;
        };
        member.alarm = None;
        let now = self.began + member.clock.shows(self.now);
        if member.machine.poll_deadline().is_some_and(|deadline| deadline <= now) {
            member.machine.handle_time(now);
        }
        self.settle(id);
    }

    /// Takes what a machine gives out after a call, and sets its alarm.
    fn settle(&mut self, id: MemberId) {
        let member = self.members[id].as_mut().expect("the member is there");
        if self.checks {
            member.machine.check();
        }
        while let Some(news) = member.machine.poll_news() {
            self.happened.push_back(Happened::News(id, news));
        }
        let host = member.host;
        if let Some(deadline) = member.machine.poll_deadline() {
            let shown = deadline.saturating_duration_since(self.began);
            let at = member.clock.reaches(shown).max(self.now);
            if member.alarm.is_none_or(|alarm| at < alarm) {
                member.alarm = Some(at);
                self.put(at, What::Wake(id));
            }
        }
        loop {
            let member = self.members[id].as_mut().expect("the member is there");
            let Some(Datagram { to, bytes, aside }) = member.machine.poll_transmit() else { break };
            member.traffic.sent += 1;
            member.traffic.bytes += bytes.len() as u64;
            let mut passage = self.internet.send(self.now, host, to);
            if aside {
                passage.from.set_port(passage.from.port() ^ 1);
            }
            // Most datagrams arrive once, so the bytes are copied for the second only.
            let [first, second] = passage.arrivals;
            if let Some(delay) = second {
                let bytes = bytes.clone().into();
                self.put(self.now + delay, What::Arrive { from: passage.from, to, bytes });
            }
            if let Some(delay) = first {
                let bytes = bytes.into();
                self.put(self.now + delay, What::Arrive { from: passage.from, to, bytes });
            }
        }
    }
}
