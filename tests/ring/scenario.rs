//! What trackers are put through: any kind of them, with the central tracker beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::words::id::InfoHash;
use rondalla::words::rng::Rng;

use super::central::Central;
use super::simulator::figures::Figures;
use super::simulator::hostile::{Member, Vice};
use super::simulator::internet::{Addresses, Internet, Weather};
use super::simulator::machine::{Report, Said, Tracker};
use super::simulator::nat::NatKind;
use super::simulator::{Clock, Happened, MemberId, World};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A world of trackers, the central one, and what was heard.
pub(super) struct Scenario<T: Tracker> {
    pub(super) world: World<Member<T>>,
    pub(super) central: Central,
    pub(super) rng: Rng,
    /// Where newcomers ask first.
    entry_points: Vec<SocketAddr>,
    pub(super) joined: BTreeSet<MemberId>,
    /// What was found since the lookup began.
    pub(super) found: BTreeMap<(MemberId, InfoHash), BTreeSet<SocketAddr>>,
    /// The lookups that ended.
    pub(super) ended: BTreeMap<(MemberId, InfoHash), Report>,
}

impl<T: Tracker> Scenario<T> {
    pub(super) fn new(weather: Weather, addresses: Addresses, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            world: World::new(Internet::new(weather, addresses, rng.next_u64())),
            central: Central::default(),
            rng,
            entry_points: Vec::new(),
            joined: BTreeSet::new(),
            found: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Another member, that does not know anybody yet.
    pub(super) fn appear(&mut self, nat: Option<NatKind>, vice: Option<Vice>) -> MemberId {
        self.appear_as(nat, vice, T::start)
    }

    /// The same, with a machine that `start` makes from an address, a seed and the time.
    pub(super) fn appear_as(
        &mut self,
        nat: Option<NatKind>,
        vice: Option<Vice>,
        start: impl FnOnce(SocketAddr, u64, Instant) -> T,
    ) -> MemberId {
        let host = self.world.internet.add_host(nat);
        let address = self.world.internet.address(host);
        let ppm = i32::try_from(self.rng.below(401)).expect("it is small") - 200;
        let (seed, clock) = (self.rng.next_u64(), Clock { ppm });
        let now = self.world.instant_by(clock);
        let tracker = start(address, seed, now);
        self.world.start(host, clock, Member::new(tracker, vice, seed, now))
    }

    /// A member comes and joins through those who can be reached by anybody.
    pub(super) fn arrive(&mut self, nat: Option<NatKind>, vice: Option<Vice>) -> MemberId {
        let id = self.appear(nat, vice);
        let known = self.entry_points.clone();
        self.world.order(id, |member, now| member.machine.join(now, &known));
        if nat.is_none() && vice.is_none() && self.entry_points.len() < 4 {
            self.entry_points.push(self.world.address(id));
        }
        id
    }

    /// Somebody is gone. Entry points stay for ever.
    pub(super) fn crash(&mut self, id: MemberId) {
        self.central.forget(self.world.address(id));
        self.world.crash(id);
        self.joined.remove(&id);
    }

    pub(super) fn is_entry_point(&self, id: MemberId) -> bool {
        self.entry_points.contains(&self.world.address(id))
    }

    pub(super) fn announce(&mut self, id: MemberId, info_hash: InfoHash) {
        let ip = self.world.address(id).ip();
        let port = 7000;
        self.central.announce(info_hash, SocketAddr::new(ip, port));
        self.world.order(id, |member, now| member.machine.announce(now, info_hash, port));
    }

    pub(super) fn lookup(&mut self, id: MemberId, info_hash: InfoHash) {
        self.found.remove(&(id, info_hash));
        self.ended.remove(&(id, info_hash));
        self.world.order(id, |member, now| member.machine.lookup(now, info_hash));
    }

    /// Lets time pass. Gives the scripts that came.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<u64> {
        let until = self.world.now() + time;
        let mut scripts = Vec::new();
        while let Some(happened) = self.world.next(until) {
            match happened {
                Happened::Script(number) => scripts.push(number),
                Happened::News(id, news) => self.hear(id, news),
            }
        }
        scripts
    }

    /// Goes on until the next script is due, or it is `until`.
    pub(super) fn next_script(&mut self, until: Duration) -> Option<u64> {
        loop {
            match self.world.next(until)? {
                Happened::Script(number) => return Some(number),
                Happened::News(id, news) => self.hear(id, news),
            }
        }
    }

    fn hear(&mut self, id: MemberId, news: T::News) {
        match T::read(news) {
            Some(Said::Joined) => {
                self.joined.insert(id);
            }
            Some(Said::Found(info_hash, peers)) => {
                self.found.entry((id, info_hash)).or_default().extend(peers);
            }
            Some(Said::Ended(info_hash, report)) => {
                self.ended.insert((id, info_hash), report);
            }
            None => (),
        }
    }

    /// What all honest nodes hold together.
    pub(super) fn held(&self) -> Central {
        let honest = self.world.machines().filter(|(_, member)| member.is_honest());
        honest.flat_map(|(_, member)| member.machine.entries()).collect()
    }

    /// One of those who are there and honest.
    pub(super) fn anyone(&mut self) -> MemberId {
        let members: Vec<_> = self.world.machines().filter(|(_, m)| m.is_honest()).collect();
        let nth = self.rng.below(u32::try_from(members.len()).expect("they can be counted"));
        members[nth as usize].0
    }

    pub(super) fn some_info_hash(&mut self) -> InfoHash {
        let mut info_hash = [0; 20];
        self.rng.fill(&mut info_hash);
        InfoHash(info_hash)
    }

    /// Looks up everything from one node each, and gives what was found of what the central tracker
    /// knows: (complete answers, lookups).
    pub(super) fn audit(&mut self, lookups: usize) -> (usize, usize) {
        let torrents: Vec<_> = self.central.torrents().collect();
        let mut asked = Vec::new();
        for _ in 0..lookups {
            let nth = self.rng.below(u32::try_from(torrents.len()).expect("they can be counted"));
            let (id, info_hash) = (self.anyone(), torrents[nth as usize]);
            self.lookup(id, info_hash);
            asked.push((id, info_hash));
            self.pass(SECOND / 4);
        }
        self.pass(MINUTE);
        let complete = asked.iter().filter(|(id, info_hash)| {
            let none = BTreeSet::new();
            let found = self.found.get(&(*id, *info_hash)).unwrap_or(&none);
            let own = self.world.machine(*id).is_some().then(|| self.world.address(*id).ip());
            let all = self.central.peers(*info_hash).into_iter().flatten();
            all.filter(|peer| Some(peer.ip()) != own).all(|peer| found.contains(peer))
        });
        (complete.count(), asked.len())
    }
}

/// Members come, announce, crash; the weather is foul; then all is quiet. Gives what it has come to.
pub(super) fn comes_to_rest<T: Tracker>(seed: u64) -> Scenario<T> {
    let mut scenario = Scenario::<T>::new(Weather::foul(), Addresses::Global, seed);
    scenario.world.checks = seed == 0;
    let nats = [NatKind::FullCone, NatKind::Restricted, NatKind::Symmetric];
    for n in 0..40 {
        let vice = match n {
            11 => Some(Vice::Silent),
            22 => Some(Vice::Garbling),
            28 => Some(Vice::Echoing),
            33 => Some(Vice::Flooding),
            _ => None,
        };
        let nat = (n > 4 && n % 2 == 0 && vice.is_none()).then(|| nats[n / 2 % 3]);
        scenario.arrive(nat, vice);
        scenario.pass(2 * SECOND);
    }
    scenario.pass(4 * MINUTE);
    for _ in 0..12 {
        let info_hash = scenario.some_info_hash();
        for _ in 0..3 {
            let id = scenario.anyone();
            scenario.announce(id, info_hash);
        }
    }
    for _ in 0..6 {
        scenario.pass(2 * MINUTE);
        let id = scenario.anyone();
        if !scenario.is_entry_point(id) {
            scenario.crash(id);
        }
        scenario.arrive(None, None);
    }
    // All that is wrong ends.
    scenario.world.internet.weather = Weather::fair();
    let ids: Vec<_> = scenario.world.members().collect();
    for id in ids {
        if scenario.world.machine(id).is_some_and(|it| !it.is_honest()) {
            scenario.crash(id);
        }
    }
    scenario.pass(50 * MINUTE);
    assert_eq!(scenario.held(), scenario.central, "all nodes together hold what the one holds");
    let (complete, asked) = scenario.audit(20);
    assert_eq!(complete, asked, "a lookup finds everybody who announced");
    scenario
}

/// What many lookups cost.
#[derive(Debug, Default)]
pub(super) struct Costs {
    pub(super) requests: Figures,
    /// Those until the first peer was found.
    pub(super) requests_first: Figures,
    pub(super) timeouts: Figures,
    pub(super) hops: Figures,
    /// Milliseconds until the first peer was found.
    pub(super) first: Figures,
    /// Milliseconds until the end.
    pub(super) took: Figures,
    /// Lookups that found nothing.
    pub(super) failed: usize,
}

impl Costs {
    pub(super) fn add(&mut self, report: Option<&Report>) {
        let Some(report) = report else {
            self.failed += 1;
            return;
        };
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        self.requests.add(report.requests.into());
        if let Some(requests) = report.requests_first {
            self.requests_first.add(requests.into());
        }
        self.timeouts.add(report.timeouts.into());
        self.hops.add(report.hops.into());
        self.took.add(ms(report.took));
        match report.first {
            Some(first) => self.first.add(ms(first)),
            None => self.failed += 1,
        }
    }

    /// One row of a table.
    pub(super) fn row(&self, name: &str) -> String {
        let at = |share| self.first.at(share);
        format!(
            "{name:28} requests {:5.2} (p99 {:3.0}), {:5.2} to the first  first {:4.0} / {:4.0} / {:4.0} ms  all {:4.0} ms  \
             hops {:4.2}  silences {:4.2}  failed {}",
            self.requests.mean(),
            self.requests.at(0.99),
            self.requests_first.mean(),
            at(0.5),
            at(0.9),
            at(0.99),
            self.took.at(0.5),
            self.hops.mean(),
            self.timeouts.mean(),
            self.failed,
        )
    }
}
