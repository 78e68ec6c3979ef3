//! A day in the life of a ring, in seconds: members join, announce, come and go; half of them die
//! at once; the network parts and heals. A table says how it went, and a picture shows it.
//!
//! Run it with `cargo run --release --example ring_simulation [N] [SEED] [FILE]`. Everything follows
//! from the seed: no socket is opened, and the clock is made up. The simulator is that of the tests.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

#[path = "pictures/plot.rs"]
mod plot;
#[path = "../tests/ring/simulator/mod.rs"]
mod simulator;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rondalla::machines::chord::{Node, Settings};
use rondalla::words::id::InfoHash;
use rondalla::words::rng::Rng;

use plot::Sheet;
use simulator::churn::Weibull;
use simulator::internet::{Addresses, Internet, Weather};
use simulator::{Clock, Happened, MemberId, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The ring is looked at so often.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(200), |n| n.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let path = arguments.next().map(PathBuf::from);
    let path = path.unwrap_or_else(|| std::env::temp_dir().join("ring-simulation.svg"));
    let mut show = Show::new(seed);
    println!("{}", Sample::HEADING);

    show.chapter("joins");
    for _ in 0..n {
        show.join();
        show.pass(SECOND / 2);
    }
    show.pass(MINUTE);
    show.chapter("announces");
    for _ in 0..n {
        show.announce();
        show.pass(SECOND / 10);
    }
    show.pass(3 * MINUTE);
    show.chapter("comes and goes");
    show.churn(30 * MINUTE);
    show.pass(3 * MINUTE);
    show.chapter("half dies");
    show.kill(0.5);
    show.pass(5 * MINUTE);
    show.chapter("two networks");
    show.part();
    show.pass(10 * MINUTE);
    show.chapter("one network");
    show.world.internet.heal();
    show.pass(15 * MINUTE);

    fs::write(&path, show.picture())?;
    println!("{} events; the picture is {}", show.world.events(), path.display());
    Ok(())
}

/// The ring at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    members: usize,
    /// Members whose next and previous one are not those that they take for it.
    misplaced: usize,
    /// Of the torrents whose sharers are there, the share that somebody holds.
    held: f64,
    /// Bytes that a member sends in a second.
    bytes: f64,
}

impl Sample {
    const HEADING: &'static str = "   time  members  misplaced  held  B/s each";

    fn row(&self) -> String {
        let (minutes, seconds) = (self.at.as_secs() / 60, self.at.as_secs() % 60);
        format!(
            "{minutes:4}:{seconds:02}  {:7}  {:9}  {:3.0}%  {:8.0}",
            self.members,
            self.misplaced,
            self.held * 100.0,
            self.bytes
        )
    }
}

struct Show {
    world: World<Node>,
    rng: Rng,
    /// Who shares what.
    shared: BTreeMap<InfoHash, MemberId>,
    samples: Vec<Sample>,
    chapters: Vec<(Duration, &'static str)>,
    /// Whether members whose session is over go.
    comes_and_goes: bool,
}

impl Show {
    fn new(seed: u64) -> Self {
        let internet = Internet::new(Weather::fair(), Addresses::Laboratory, seed);
        Self {
            world: World::new(internet),
            rng: Rng::new(seed),
            shared: BTreeMap::new(),
            samples: Vec::new(),
            chapters: Vec::new(),
            comes_and_goes: false,
        }
    }

    fn chapter(&mut self, name: &'static str) {
        println!("-- {name}");
        self.chapters.push((self.world.now(), name));
    }

    fn anyone(&mut self) -> Option<MemberId> {
        let members: Vec<_> = self.world.members().collect();
        let count = u32::try_from(members.len()).ok().filter(|count| *count > 0)?;
        Some(members[self.rng.below(count) as usize])
    }

    fn join(&mut self) -> MemberId {
        let known: Vec<_> = (0..3).filter_map(|_| self.anyone()).collect();
        let known: Vec<SocketAddr> = known.iter().map(|id| self.world.address(*id)).collect();
        let host = self.world.internet.add_host(None);
        let address = self.world.internet.address(host);
        let now = self.world.instant();
        let node = Node::new(Settings::default(), address, self.rng.next_u64(), now);
        let id = self.world.start(host, Clock::default(), node);
        self.world.order(id, |node, now| node.join(now, &known));
        id
    }

    fn announce(&mut self) {
        let mut info_hash = [0; 20];
        self.rng.fill(&mut info_hash);
        let info_hash = InfoHash(info_hash);
        let Some(id) = self.anyone() else { return };
        self.world.order(id, |node, now| node.announce(now, info_hash, 6881, true));
        self.shared.insert(info_hash, id);
    }

    fn crash(&mut self, id: MemberId) {
        self.world.crash(id);
        self.shared.retain(|_, sharer| *sharer != id);
    }

    fn kill(&mut self, share: f64) {
        let mut members: Vec<_> = self.world.members().collect();
        self.rng.shuffle(&mut members);
        let keep = (members.len() as f64 * (1.0 - share)).round();
        while members.len() as f64 > keep
            && let Some(id) = members.pop()
        {
            self.crash(id);
        }
    }

    /// Puts every other member on the other side of a broken line.
    fn part(&mut self) {
        let members: Vec<_> = self.world.members().step_by(2).collect();
        for id in members {
            let host = self.world.host(id);
            self.world.internet.set_side(host, 1);
        }
    }

    /// Members stay as long as users of Debian's torrents do; for each that goes another one comes.
    fn churn(&mut self, time: Duration) {
        let sessions = Weibull::debian();
        let members: Vec<_> = self.world.members().collect();
        for id in members {
            let rest = sessions.rest(&mut self.rng);
            self.world.remind(rest, id as u64);
        }
        self.comes_and_goes = true;
        self.pass(time);
        self.comes_and_goes = false;
    }

    /// Lets time pass, looks at the ring now and then, and lets go those whose time has come.
    fn pass(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            let next = self.samples.last().map_or(SAMPLE_EVERY, |last| last.at + SAMPLE_EVERY);
            while let Some(happened) = self.world.next(next.min(end)) {
                let Happened::Script(number) = happened else { continue };
                let id = usize::try_from(number).expect("it was one");
                if self.comes_and_goes && self.world.machine(id).is_some() {
                    self.crash(id);
                    let id = self.join();
                    let session = Weibull::debian().session(&mut self.rng);
                    self.world.remind(session, id as u64);
                }
            }
            if self.world.now() >= next {
                self.look();
            }
        }
    }

    fn look(&mut self) {
        let mut ring: Vec<_> = self.world.machines().map(|(id, node)| (node.me(), id)).collect();
        ring.sort_unstable();
        let len = ring.len();
        let is_misplaced = |at: &usize| {
            let Some(node) = self.world.machine(ring[*at].1) else { return false };
            let (next, before) = (ring[(at + 1) % len].0, ring[(at + len - 1) % len].0);
            len > 1
                && (node.successors().first() != Some(&next) || node.predecessor() != Some(before))
        };
        let misplaced = (0..len).filter(is_misplaced).count();
        let held: std::collections::BTreeSet<_> = self
            .world
            .machines()
            .flat_map(|(_, node)| node.entries())
            .map(|(hash, _)| hash)
            .collect();
        let kept = self.shared.keys().filter(|info_hash| held.contains(info_hash)).count();
        let bytes: u64 = self.world.members().map(|id| self.world.traffic(id).bytes).sum();
        self.world.forget_traffic();
        let sample = Sample {
            at: self.world.now(),
            members: len,
            misplaced,
            held: if self.shared.is_empty() { 1.0 } else { kept as f64 / self.shared.len() as f64 },
            bytes: bytes as f64 / len.max(1) as f64 / SAMPLE_EVERY.as_secs_f64(),
        };
        if self.samples.len() % 6 == 5 {
            println!("{}", sample.row());
        }
        self.samples.push(sample);
    }

    /// Three curves over time, one above the other, with the chapters' beginnings.
    fn picture(&self) -> String {
        type Curve = (&'static str, fn(&Sample) -> f64);
        let curves: [Curve; 4] = [
            ("members", |sample| sample.members as f64),
            ("misplaced members", |sample| sample.misplaced as f64),
            ("torrents held, %", |sample| sample.held * 100.0),
            ("bytes/s sent by a member", |sample| sample.bytes),
        ];
        let end = self.world.now().as_secs_f64().max(1.0);
        let x = |at: Duration| 60.0 + 900.0 * at.as_secs_f64() / end;
        let mut sheet = Sheet::new(1000, 720);
        for (nth, (at, name)) in self.chapters.iter().enumerate() {
            // Short chapters have their names one above the other.
            let (x, top) = (x(*at), 13.0 * (nth % 3) as f64);
            sheet.line(&[(x, 6.0 + top), (x, 700.0)], "#bbb", "none");
            sheet.text((x + 3.0, 15.0 + top), "start", "#222", name);
        }
        for (nth, (name, value)) in (0_u8..).zip(curves) {
            let bottom = 190.0 + 165.0 * f64::from(nth);
            let top = self.samples.iter().map(value).fold(1.0, f64::max);
            let heading = format!("{name} (up to {top:.0})");
            sheet.text((64.0, bottom - 128.0), "start", "#222", &heading);
            sheet.line(&[(60.0, bottom), (960.0, bottom)], "#222", "none");
            let at = |sample: &Sample| (x(sample.at), bottom - 120.0 * value(sample) / top);
            let points: Vec<_> = self.samples.iter().map(at).collect();
            sheet.line(&points, "#06c", "none");
        }
        sheet.finish()
    }
}
