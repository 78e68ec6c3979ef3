//! Members that mean no good, beside honest ones.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rondalla::formats::krpc::{
    self, Answer, Body, Entries, Family, Message, Query, Route, Sharer, Token,
};
use rondalla::machines::chord::Contact;
use rondalla::words::ring_id::RingId;
use rondalla::words::rng::Rng;

use super::machine::{Datagram, Machine};

/// An honest machine, or somebody who has one and misuses it.
pub(crate) struct Member<M> {
    pub(crate) machine: M,
    vice: Option<Vice>,
    rng: Rng,
    /// Whom it has heard of.
    victims: Vec<SocketAddr>,
    plot: Option<Plot>,
    underway: Vec<Datagram>,
    next: Option<Instant>,
}

/// What somebody does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vice {
    /// It takes part in everything and answers nobody.
    Silent,
    /// It changes bytes of whatever it sends.
    Garbling,
    /// It sends back what it hears, to whoever it heard last.
    Echoing,
    /// It sends noise, ten times a second, to whom it knows.
    Flooding,
}

/// What liars say together. They take every announce, and forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// The way that they know is the right one; nobody shares anything.
    Nobody,
    /// The way is right; they share everything themselves.
    Sharers,
    /// They are all there is around every key, and the first of them after it is its owner.
    Owners,
    /// Both.
    OwnersAndSharers,
    /// The same; and asked for their neighbours, they name one another.
    Everything,
    /// Nobody shares anything, and those around every key are nodes that there are not.
    Ghosts,
    /// The same; and asked for their neighbours, they name such nodes right beside them.
    GhostsBeside,
    /// The way is right and nobody shares anything; to other holders they say of whoever announces
    /// that it is gone.
    Gone,
    /// The way is right and nobody shares anything; to other holders they name a hundred sharers that
    /// there are not of whatever is announced.
    Stuffed,
}

impl Lie {
    fn is_about_ways(self) -> bool {
        !matches!(self, Self::Nobody | Self::Sharers | Self::Gone | Self::Stuffed)
    }

    fn is_about_sharers(self) -> bool {
        matches!(self, Self::Sharers | Self::OwnersAndSharers | Self::Everything)
    }
}

/// A lie, and those who tell it, in the order of the ring.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) lie: Lie,
    pub(crate) me: Contact,
    pub(crate) friends: Rc<[Contact]>,
    /// Whom it names for the way: its friends, or whom it has made up.
    pub(crate) named: Rc<[Contact]>,
}

/// Those from `place` on, as many before it as are wanted, and after.
fn around(all: &[Contact], place: RingId, before: usize, after: usize) -> Vec<SocketAddr> {
    let first = all.partition_point(|one| one.id < place);
    let nth = |n: usize| all[(first + all.len() - before + n) % all.len()].address;
    (0..before + after).map(nth).collect()
}

impl Plot {
    /// What is answered at once, without the machine.
    fn answer(&self, query: &Query) -> Option<Answer> {
        let (target, is_search) = match query {
            Query::Announce { .. } | Query::Withdraw { .. } | Query::Push(_) => {
                let holds = matches!(self.lie, Lie::Gone | Lie::Stuffed);
                return (!holds).then_some(Answer::Done);
            }
            Query::GetPeers(info_hash) => (RingId::from(*info_hash), true),
            Query::FindNode(target) => (*target, false),
            Query::Ping(_)
            | Query::GetState { .. }
            | Query::Rectify(_)
            | Query::Hint(_)
            | Query::Leave
            | Query::PingBack => return None,
        };
        self.lie.is_about_ways().then(|| {
            Answer::Route(Route {
                nodes: around(&self.named, target, 4, 4),
                owner: around(&self.named, target, 0, 1).first().copied(),
                sharers: if is_search { self.sharers(target) } else { Vec::new() },
                token: is_search.then_some(Token([1; 8])),
            })
        })
    }

    fn sharers(&self, target: RingId) -> Vec<Sharer> {
        let shared = if self.lie.is_about_sharers() { 8 } else { 0 };
        let friends = around(&self.friends, target, 0, shared).into_iter();
        friends.map(|address| Sharer { address, seeder: true }).collect()
    }

    /// What the machine answers, changed.
    fn change(&self, datagram: Datagram) -> Datagram {
        let Ok(mut message) = krpc::parse(&datagram.bytes, Family::of(datagram.to)) else {
            return datagram;
        };
        match &mut message.body {
            Body::Answer(Answer::Route(route)) if route.token.is_some() => {
                route.sharers = self.sharers(self.me.id);
            }
            Body::Answer(Answer::State(state, _)) if self.lie == Lie::Everything => {
                state.successors = around(&self.friends, self.me.id, 0, 9)[1..].to_vec();
                state.before = around(&self.friends, self.me.id, 4, 0);
            }
            Body::Answer(Answer::State(state, _)) if self.lie == Lie::GhostsBeside => {
                state.successors = around(&self.named, self.me.id, 0, 20);
                state.before = around(&self.named, self.me.id, 4, 0);
            }
            Body::Query(Query::Push(entries), _) if self.lie == Lie::Gone => {
                let all = entries.iter_mut().flat_map(|it| &mut it.sharers);
                all.for_each(|(_, age)| *age = u16::MAX);
            }
            Body::Query(Query::Push(entries), _) if self.lie == Lie::Stuffed => {
                for Entries { info_hash, sharers } in entries {
                    let made_up = around(&self.named, RingId::from(*info_hash), 50, 50).into_iter();
                    *sharers =
                        made_up.map(|address| (Sharer { address, seeder: true }, 0)).collect();
                }
            }
            Body::Query(..) | Body::Answer(_) | Body::Error(_) => return datagram,
        }
        Datagram { bytes: message.encode(0), ..datagram }
    }
}

impl<M: Machine> Member<M> {
    pub(crate) fn new(machine: M, vice: Option<Vice>, seed: u64, now: Instant) -> Self {
        let next = (vice == Some(Vice::Flooding)).then_some(now);
        let (victims, underway) = (Vec::new(), Vec::new());
        Self { machine, vice, rng: Rng::new(seed), victims, plot: None, underway, next }
    }

    /// From now on it lies, with its friends.
    pub(crate) fn conspire(&mut self, plot: Plot) {
        self.plot = Some(plot);
    }

    /// The lie that is the answer to a question, if there is one.
    fn lie(&self, from: SocketAddr, bytes: &[u8]) -> Option<Datagram> {
        let plot = self.plot.as_ref()?;
        let message = krpc::parse(bytes, Family::of(from)).ok()?;
        let Body::Query(query, _) = &message.body else { return None };
        let body = Body::Answer(plot.answer(query)?);
        let (transaction, seen) = (message.transaction, Some(from));
        let answer = Message { transaction, seen, client: false, body };
        Some(Datagram { to: from, bytes: answer.encode(0), aside: false })
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.vice.is_none() && self.plot.is_none()
    }
}

impl<M: Machine> Machine for Member<M> {
    type News = M::News;

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if self.vice.is_some() && self.victims.len() < 64 {
            self.victims.push(from);
        }
        if self.vice == Some(Vice::Echoing) {
            let victim = self.rng.below(u32::try_from(self.victims.len()).expect("64 at most"));
            let to = self.victims[victim as usize];
            self.underway.push(Datagram { to, bytes: bytes.to_vec(), aside: false });
        }
        if let Some(lie) = self.lie(from, bytes) {
            self.underway.push(lie);
            return;
        }
        if self.vice != Some(Vice::Silent) || self.victims.len() < 4 {
            self.machine.handle_datagram(now, from, bytes);
        }
    }

    fn handle_time(&mut self, now: Instant) {
        if self.machine.poll_deadline().is_some_and(|deadline| deadline <= now) {
            self.machine.handle_time(now);
        }
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + Duration::from_millis(100));
            if !self.victims.is_empty() {
                let victim = self.rng.below(u32::try_from(self.victims.len()).expect("64 at most"));
                let mut bytes = vec![0; self.rng.below(1600) as usize];
                self.rng.fill(&mut bytes);
                self.underway.push(Datagram {
                    to: self.victims[victim as usize],
                    bytes,
                    aside: false,
                });
            }
        }
    }

    fn poll_deadline(&self) -> Option<Instant> {
        [self.machine.poll_deadline(), self.next].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self) -> Option<Datagram> {
        let honest = || {
            let datagram = self.machine.poll_transmit()?;
            Some(match &self.plot {
                Some(plot) => plot.change(datagram),
                None => datagram,
            })
        };
        let mut datagram = self.underway.pop().or_else(honest)?;
        if self.vice == Some(Vice::Garbling) && !datagram.bytes.is_empty() {
            let len = u32::try_from(datagram.bytes.len()).expect("a datagram is short");
            for _ in 0..=self.rng.below(3) {
                datagram.bytes[self.rng.below(len) as usize] = self.rng.next_u64().to_le_bytes()[0];
            }
        }
        Some(datagram)
    }

    fn poll_news(&mut self) -> Option<M::News> {
        self.machine.poll_news()
    }

    fn check(&self) {
        self.machine.check();
    }
}
