//! Members who come and go: whether lookups find what is there, and how old what is gone has become
//! when it is still named.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rondalla::machines::chord::Shape;
use rondalla::words::id::InfoHash;
use rondalla::words::rng::Rng;

use super::chord::settled;
use super::scenario::{Costs, HOUR, MINUTE, SECOND, Scenario};
use super::simulator::MemberId;
use super::simulator::churn::Weibull;
use super::simulator::figures::Figures;
use super::simulator::internet::{Weather, unit};
use super::simulator::machine::Tracker;
use super::{kademlia, number};

/// When members go; each that goes without a word has a newcomer in its place.
#[derive(Clone, Copy)]
enum Going {
    /// When its session is over.
    Sessions(Weibull),
    /// By chance, so many a second.
    Rate(f64),
}

/// What is done beside it.
#[derive(Clone, Copy)]
struct Plan {
    going: Going,
    time: Duration,
    /// Time from one round of lookups to the next, and how many each has.
    every: Duration,
    lookups: u32,
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    crashes: u32,
    /// Lookups of torrents that somebody shared, and those that found nobody who did.
    lookups: u32,
    missed: u32,
    costs: Costs,
    /// Sharers that were found, and for how many seconds those had been gone that were.
    found: u32,
    gone: Figures,
    /// From time to time: entries of the central tracker, those of them that no member holds, and those
    /// that members hold besides.
    differences: Vec<(Duration, [usize; 3])>,
}

/// A lookup that is under way.
struct Asked {
    at: Duration,
    id: MemberId,
    info_hash: InfoHash,
    /// Those who shared the torrent then, and had told of it.
    sharers: Vec<SocketAddr>,
}

impl Outcome {
    fn print(&self, name: &str, events: u64) {
        println!(
            "{name}: {} crashes, {} lookups, {} missed, {:.2} hops, {:.2} silences; {events} events",
            self.crashes,
            self.lookups,
            self.missed,
            self.costs.hops.mean(),
            self.costs.timeouts.mean(),
        );
    }

    /// What the members hold beside what a central tracker would, as a picture in text.
    fn print_differences(&self, name: &str) {
        for (at, [all, missing, besides]) in &self.differences {
            let minutes = at.as_secs() / 60;
            println!(
                "{name}: {minutes:4} min  {all} entries, {missing:2} missing {}  {besides:3} of those who are gone {}",
                "-".repeat(*missing),
                // One sign for five.
                "+".repeat(besides.div_ceil(5)),
            );
        }
    }

    /// How long the sharers had been gone that were found all the same, as a picture in text.
    fn print_ages(&self, name: &str) {
        let share = self.gone.len() as f64 / f64::from(self.found.max(1));
        println!(
            "{name}: of {} sharers found {:.2} % were gone, the oldest for {:.0} s",
            self.found,
            share * 100.0,
            self.gone.at(1.0)
        );
        for (from, to) in [(0, 1), (1, 2), (2, 5), (5, 10), (10, 15), (15, 20), (20, 30), (30, 60)]
        {
            let within = self.gone.share(f64::from(from * 60), f64::from(to * 60)) * share * 100.0;
            // One sign for a twentieth of a percent.
            let bar: String =
                (0..60).map(|n| if within * 20.0 > f64::from(n) { '#' } else { ' ' }).collect();
            println!("  gone for {from:2} to {to:2} min  {within:6.3} %  {bar}");
        }
    }
}

const CRASH: u64 = 1 << 40;
const LOOKUP: u64 = 1 << 41;
const LEAVE: u64 = 1 << 42;
/// After this an announce has reached those who hold it, though some whom it asks are dead.
const ANNOUNCE_TAKES: Duration = Duration::from_secs(10);

fn churn<T: Tracker>(mut scenario: Scenario<T>, plan: Plan) -> Outcome {
    let ids: Vec<_> = scenario.world.members().collect();
    let n = ids.len();
    match plan.going {
        Going::Sessions(sessions) => {
            for id in ids {
                let rest = sessions.rest(&mut scenario.rng);
                scenario.world.remind(rest, CRASH + id as u64);
            }
        }
        Going::Rate(rate) => scenario.world.remind(pause(rate, &mut scenario.rng), LEAVE),
    }
    scenario.world.remind(plan.every, LOOKUP);
    let torrents: Vec<_> = (0..n / 2).map(|_| scenario.some_info_hash()).collect();
    // An announce is under way for a moment.
    let mut announced_at = BTreeMap::new();
    let mut outcome = Outcome::default();
    let mut gone_at: BTreeMap<IpAddr, Duration> = BTreeMap::new();
    // Who is asked has its time to find.
    let mut asked: VecDeque<Asked> = VecDeque::new();
    let mut look_at = scenario.world.now() + plan.time / 12;
    let end = scenario.world.now() + plan.time;
    while let Some(script) = scenario.next_script(end) {
        let now = scenario.world.now();
        if script == LOOKUP {
            scenario.world.remind(plan.every, LOOKUP);
            if now >= look_at {
                look_at = now + plan.time / 12;
                outcome.differences.push((now, difference(&scenario)));
            }
            while let Some(done) = asked.pop_front_if(|it| it.at + 30 * SECOND <= now) {
                outcome.see(&mut scenario, &gone_at, &done);
            }
            for _ in 0..plan.lookups {
                let info_hash = torrents[below(&mut scenario.rng, torrents.len())];
                let has_told = |peer: &SocketAddr| {
                    announced_at
                        .get(&(info_hash, peer.ip()))
                        .is_some_and(|at| *at + ANNOUNCE_TAKES <= now)
                };
                let peers = scenario.central.peers(info_hash).into_iter().flatten().copied();
                let sharers: Vec<_> = peers.filter(has_told).collect();
                if !sharers.is_empty() {
                    let id = scenario.anyone();
                    // What two lookups of one member find at a time cannot be told apart.
                    if !asked.iter().any(|it| (it.id, it.info_hash) == (id, info_hash)) {
                        scenario.lookup(id, info_hash);
                        asked.push_back(Asked { at: now, id, info_hash, sharers });
                    }
                }
            }
            while scenario.central.entries() < n / 2 {
                let info_hash = torrents[below(&mut scenario.rng, torrents.len())];
                let id = scenario.anyone();
                announced_at.entry((info_hash, scenario.world.address(id).ip())).or_insert(now);
                scenario.announce(id, info_hash);
            }
            continue;
        }
        let id = match script {
            LEAVE => scenario.anyone(),
            script => usize::try_from(script - CRASH).expect("it was one"),
        };
        gone_at.insert(scenario.world.address(id).ip(), now);
        scenario.crash(id);
        outcome.crashes += 1;
        let id = scenario.appear(None, None);
        match plan.going {
            Going::Sessions(sessions) => {
                let session = sessions.session(&mut scenario.rng);
                scenario.world.remind(session, CRASH + id as u64);
            }
            Going::Rate(rate) => {
                let pause = pause(rate, &mut scenario.rng);
                scenario.world.remind(pause, LEAVE);
            }
        }
        let others: Vec<_> = (0..3).map(|_| scenario.anyone()).collect();
        let others: Vec<_> = others.iter().map(|id| scenario.world.address(*id)).collect();
        scenario.world.order(id, |member, now| member.machine.join(now, &others));
    }
    let name = format!("{}, {n} members, {} h", T::NAME, plan.time.as_secs() / 3600);
    outcome.print(&name, scenario.world.events());
    outcome
}

/// Entries of the central tracker, those that no member holds, and those that members hold besides.
fn difference<T: Tracker>(scenario: &Scenario<T>) -> [usize; 3] {
    let (held, central) = (scenario.held(), &scenario.central);
    let both = central.torrents().map(|info_hash| {
        let (one, other) = (central.peers(info_hash), held.peers(info_hash));
        one.zip(other).map_or(0, |(one, other)| one.intersection(other).count())
    });
    let both: usize = both.sum();
    [central.entries(), central.entries() - both, held.entries() - both]
}

/// A time between two events of which there are so many a second, by chance.
fn pause(rate: f64, rng: &mut Rng) -> Duration {
    Duration::from_secs_f64(-(1.0 - unit(rng.next_u64())).ln() / rate)
}

fn below(rng: &mut Rng, len: usize) -> usize {
    rng.below(u32::try_from(len).expect("they can be counted")) as usize
}

impl Outcome {
    /// Looks at what `asked` has found.
    fn see<T: Tracker>(
        &mut self,
        scenario: &mut Scenario<T>,
        gone_at: &BTreeMap<IpAddr, Duration>,
        asked: &Asked,
    ) {
        let Asked { at, id, info_hash, .. } = *asked;
        let found = scenario.found.remove(&(id, info_hash)).unwrap_or_default();
        let report = scenario.ended.remove(&(id, info_hash));
        for peer in &found {
            self.found += 1;
            let gone = gone_at.get(&peer.ip()).filter(|gone| **gone <= at);
            gone.into_iter().for_each(|gone| self.gone.add((at - *gone).as_secs_f64()));
        }
        // A lookup counts if the asker is still there, and somebody whom it had to find. It may have
        // found another: one who has gone since, or whose announce was on its way.
        let now = scenario.central.peers(info_hash);
        let is_there = |peer: &SocketAddr| now.is_some_and(|it| it.contains(peer));
        let had_to_be_found = asked.sharers.iter().any(is_there);
        if had_to_be_found && scenario.world.machine(id).is_some() {
            self.lookups += 1;
            let shares = |peer: &SocketAddr| asked.sharers.contains(peer) || is_there(peer);
            self.missed += u32::from(!found.iter().any(shares));
            self.costs.add(report.as_ref());
        }
    }
}

fn debian(time: Duration) -> Plan {
    let going = Going::Sessions(Weibull::debian());
    Plan { going, time, every: time / 2000, lookups: 5 }
}

#[test]
fn a_ring_whose_members_come_and_go_keeps_what_it_holds() {
    let ring = settled(60, Shape::default(), Weather::fair(), 7);
    let outcome = churn(ring, debian(HOUR));
    let (lookups, missed) = (outcome.lookups, outcome.missed);
    assert!(lookups > 1000 && missed * 1000 <= lookups, "{missed} of {lookups} missed");
    assert!(outcome.gone.at(1.0) <= 900.0);
}

/// A thousand members who come and go as users of Debian's torrents do. `HOURS=24` is the figure of
/// the report; CI has less time.
#[test]
#[ignore = "needs minutes"]
fn figures_of_churn() {
    let hours = number("HOURS").map_or(2, |hours| u32::try_from(hours).unwrap());
    let outcome = churn(settled(1000, Shape::default(), Weather::fair(), 6), debian(hours * HOUR));
    outcome.print_differences("Chord");
    outcome.print_ages("Chord");
    assert!(outcome.lookups > 5000 && outcome.missed * 1000 <= outcome.lookups);
    assert!(outcome.gone.at(1.0) <= 900.0, "an entry is handed out for 15 minutes");
}

/// The same with Mainline's protocol, whose entries live for half an hour.
#[test]
#[ignore = "needs minutes"]
fn figures_of_churn_of_kademlia() {
    let hours = number("HOURS").map_or(2, |hours| u32::try_from(hours).unwrap());
    let mut network = kademlia::settled(1000, 6);
    network.pass(4 * MINUTE);
    let outcome = churn(network, debian(hours * HOUR));
    outcome.print_differences("Kademlia");
    outcome.print_ages("Kademlia");
    assert!(outcome.gone.at(1.0) > 900.0, "it tells of those who have been gone for longer");
}

/// ToN 2003, table III, its last row: N = 1000, of which 0.4 go and 0.4 come each second. Published:
/// 4.06 hops, 0.46 timeouts, 15 of 10,000 lookups wrong. `SECONDS` (6000) are so long; each has four
/// lookups, of which those count whose torrent somebody shares. `SEED` (8) makes another ring.
#[test]
#[ignore = "needs minutes"]
fn figures_of_a_ring_whose_members_change_by_chance() {
    let ring = settled(1000, Shape::default(), Weather::fair(), number("SEED").unwrap_or(8));
    let seconds = number("SECONDS").map_or(6000, |seconds| u32::try_from(seconds).unwrap());
    let time = seconds * SECOND;
    let plan = Plan { going: Going::Rate(0.4), time, every: SECOND, lookups: 4 };
    let outcome = churn(ring, plan);
    assert!(outcome.lookups >= 2 * seconds && outcome.missed * 10_000 <= outcome.lookups);
}
