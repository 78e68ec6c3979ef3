//! A swarm from a seed: runs until every honest member is complete, ends every session, and looks
//! at the disks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rondalla::bus::Command;
use rondalla::machines::engine::Goal;
use rondalla::words::limits;
use rondalla::words::rng::Rng;

use super::clock::{Actor, Clock, Happening, Life};
use super::disk::{Disk, Files};
use super::network::{Answer, CableId, Network};
use super::plan::{Chances, Fault, Manner, PATIENCE, Plan};
use super::process::{Home, Process};
use super::scene::Scene;

/// Most things that happen in one swarm: a hundred times the usual.
const HAPPENINGS_MAX: u64 = 20_000_000;

#[derive(Debug)]
struct Place {
    disk: Disk,
    lives: u32,
    process: Option<Process>,
    /// It ended by itself, with everything.
    done: bool,
}

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    scene: Scene,
    places: Vec<Place>,
    calm: bool,
    /// Nobody starts any more.
    ending: bool,
    happened: u64,
    happenings_max: u64,
}

/// Runs the swarm of a seed. The time that it took, and its transcript as a number.
pub(super) fn run(seed: u64) -> (Duration, u64) {
    let mut rng = Rng::new(seed);
    let mut world = World::of(Plan::draw(&mut rng), rng);
    world.run_until_complete();
    world.end();
    world.scene.clock.transcript()
}

impl World {
    pub(super) fn of(plan: Plan, rng: Rng) -> Self {
        let mut clock = Clock::new();
        for (index, member) in plan.members.iter().enumerate() {
            clock.set(member.starts_at, Happening::Start(index));
        }
        for (index, (at, _)) in plan.faults.iter().enumerate() {
            clock.set(*at, Happening::Fault(index));
        }
        clock.set(plan.calm_at, Happening::Calm);
        let place = |index| {
            let disk = disk(&plan, index);
            Place { disk, lives: 0, process: None, done: false }
        };
        let places = (0..plan.members.len()).map(place).collect();
        let scene = Scene { clock, network: Network::default(), rng, chances: plan.chances };
        Self {
            plan,
            scene,
            places,
            calm: false,
            ending: false,
            happened: 0,
            happenings_max: HAPPENINGS_MAX,
        }
    }

    pub(super) fn run_until_complete(&mut self) {
        let until = self.plan.calm_at + PATIENCE;
        while !self.is_complete() {
            let now = self.scene.clock.now();
            assert!(now < until, "not complete after {now:?}:\n{}", self.picture());
            self.step();
        }
    }

    /// Goes on for so long.
    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.scene.clock.now() + time;
        while self.scene.clock.now() < until {
            self.step();
        }
    }

    /// How many entries the tables of a member's engine have.
    pub(super) fn footprint_of(&self, member: usize) -> BTreeMap<&'static str, usize> {
        self.places[member].process.as_ref().expect("it runs").footprint()
    }

    /// Pieces that a member has.
    pub(super) fn pieces_of(&self, member: usize) -> u32 {
        self.places[member].process.as_ref().map_or(0, Process::pieces)
    }

    /// Nothing is too much to happen.
    pub(super) fn lasts_long(&mut self) {
        self.happenings_max = u64::MAX;
    }

    /// Ends every session, and asks of each that it ends in time and keeps what it has.
    pub(super) fn end(&mut self) {
        self.ending = true;
        for member in 0..self.places.len() {
            self.command(member, Command::Quit);
        }
        let until = self.scene.clock.now() + 2 * limits::ENDING_MAX;
        while self.places.iter().any(|place| place.process.is_some()) {
            let now = self.scene.clock.now();
            assert!(now < until, "a session does not end:\n{}", self.picture());
            self.step();
        }
        for (place, member) in self.places.iter().zip(&self.plan.members) {
            if member.is_leecher() {
                assert!(place.disk.values().all(Files::is_complete), "the bytes differ");
                assert!(place.disk.values().all(Files::is_claimed), "the next start begins anew");
            }
        }
    }

    /// The peers that a member that runs has banned while they were connected, and those of whom it
    /// has stored blocks.
    pub(super) fn banned_by(&self, member: usize) -> (BTreeSet<SocketAddr>, BTreeSet<SocketAddr>) {
        let process = self.places[member].process.as_ref().expect("it runs");
        (process.banned.clone(), process.senders.clone())
    }

    fn is_complete(&self) -> bool {
        let mut members = self.places.iter().zip(&self.plan.members);
        self.calm
            && members.all(|(place, member)| {
                let finished = |process: &Process| process.finished.len() == member.torrents.len();
                let complete = place.done || place.process.as_ref().is_some_and(finished);
                complete || !member.is_leecher()
            })
    }

    fn step(&mut self) {
        self.happened += 1;
        let now = self.scene.clock.now();
        assert!(
            self.happened < self.happenings_max,
            "it never ends, at {now:?}:\n{}",
            self.picture()
        );
        let happening = self.scene.clock.next().expect("there is always a timer");
        self.scene.clock.note(u64::try_from(self.scene.clock.now().as_nanos()).unwrap_or(0));
        match happening {
            Happening::Wake(life, actor) => self.wake(life, actor),
            Happening::Knock(cable) => self.knock(cable),
            Happening::Answer(cable) => self.answer(cable),
            Happening::Arrival(cable, side) => {
                self.scene.network.handle_arrival(&mut self.scene.clock, cable, side);
            }
            Happening::Start(member) => self.start(member),
            Happening::Fault(index) => self.fault(self.plan.faults[index].1),
            Happening::Calm => self.calm_down(),
        }
    }

    fn wake(&mut self, life: Life, actor: Actor) {
        self.with(life.member, |process, scene, home| {
            if process.our_life() == life {
                process.wake(scene, home, actor);
            }
        });
    }

    /// Lets a process that runs do something; ends it when it is through.
    fn with(&mut self, member: usize, act: impl FnOnce(&mut Process, &mut Scene, &mut Home<'_>)) {
        let place = &mut self.places[member];
        let Some(process) = &mut place.process else { return };
        let plan = &self.plan;
        let mut home = Home { plan, member: &plan.members[member], disk: &mut place.disk };
        act(process, &mut self.scene, &mut home);
        if process.is_ended() {
            self.handle_ended(member);
        } else if process.troubled && self.calm {
            self.crash(member, false);
            self.scene.clock.set_after(Duration::from_secs(1), Happening::Start(member));
        }
    }

    fn command(&mut self, member: usize, command: Command) {
        self.with(member, |process, scene, home| process.command(scene, home, command));
    }

    fn handle_ended(&mut self, member: usize) {
        let place = &mut self.places[member];
        let Some(process) = place.process.take() else { return };
        // A disk may have stalled until the calm, and a session's end does not wait for it.
        let undisturbed = self.scene.clock.now() > self.plan.calm_at + limits::ENDING_MAX;
        assert!(process.is_closed() || !undisturbed, "the storage has not said its last word");
        let torrents = self.plan.members[member].torrents.len();
        place.done = process.finished.len() == torrents && process.is_closed();
        process.end(&mut self.scene, &mut place.disk);
        if self.calm && self.plan.members[member].is_leecher() && !place.done {
            self.scene.clock.set_after(Duration::from_secs(1), Happening::Start(member));
        }
    }

    fn start(&mut self, member: usize) {
        let plan = &self.plan;
        let spec = &plan.members[member];
        let place = &mut self.places[member];
        if place.process.is_some() || place.done || self.ending {
            return;
        }
        place.lives += 1;
        let life = Life { member, number: place.lives };
        let home = Home { plan, member: spec, disk: &mut place.disk };
        place.process = Some(Process::start(&mut self.scene, &home, life));
    }

    fn crash(&mut self, member: usize, power_cut: bool) {
        let place = &mut self.places[member];
        let Some(process) = place.process.take() else { return };
        self.scene.network.lose(&mut self.scene.clock, process.our_life(), power_cut);
        place.disk.values_mut().for_each(|files| files.crash(power_cut, &mut self.scene.rng));
    }

    // --------------------------------------------------------------------------- The network ---

    /// A dialler's first packet arrives.
    fn knock(&mut self, cable: CableId) {
        let Some(to) = self.scene.network.dialled(cable) else { return };
        let Some((life, _, _)) = self.scene.network.answered(cable) else { return };
        let from = self.plan.members[life.member].address;
        let chances = self.scene.chances;
        let host = self.plan.members.iter().position(|member| member.address == to);
        let host = host.filter(|host| self.places[*host].process.is_some());
        let refused = self.scene.chance(chances.refused);
        let unanswered = self.scene.chance(chances.unanswered);
        let Scene { network, clock, .. } = &mut self.scene;
        match host {
            _ if unanswered => {
                network.answer(clock, cable, Answer::Nothing, None, limits::CONNECT_TIMEOUT);
            }
            Some(host) if !refused => {
                let life = self.places[host].process.as_ref().map(Process::our_life);
                network.answer(clock, cable, Answer::Accepted, life, Duration::ZERO);
                let from = SocketAddr::new(from.ip(), 40_000 + from.port());
                self.with(host, |process, scene, _| process.accept(scene, cable, from));
            }
            Some(_) | None => {
                network.answer(clock, cable, Answer::Refused, None, Duration::ZERO);
            }
        }
    }

    fn answer(&mut self, cable: CableId) {
        let Some((life, peer, answer)) = self.scene.network.answered(cable) else { return };
        self.with(life.member, |process, scene, _| {
            if process.our_life() == life {
                process.handle_answer(scene, cable, peer, answer);
            }
        });
    }

    // ---------------------------------------------------------------------------- The faults ---

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { member, power_cut, back_after } => {
                self.crash(member, power_cut);
                self.scene.clock.set_after(back_after, Happening::Start(member));
            }
            Fault::Leave { member, back_after } => {
                self.command(member, Command::Quit);
                let back_after = back_after + 2 * limits::ENDING_MAX;
                self.scene.clock.set_after(back_after, Happening::Start(member));
            }
            Fault::Cut { nth, silently } => {
                let cables = self.scene.network.cables();
                if let Some(count) = (cables.len() as u64).checked_sub(1) {
                    let nth = usize::try_from(nth % (count + 1)).expect("it is one of them");
                    self.scene.network.cut(&mut self.scene.clock, cables[nth], silently);
                }
            }
            Fault::Stall { member, time } => {
                let until = self.scene.clock.now() + time;
                self.with(member, |process, scene, _| process.stall(&mut scene.clock, until));
            }
            Fault::Replace { member } => {
                self.crash(member, false);
                self.places[member].done = false;
                self.places[member].disk = disk(&self.plan, member);
                self.scene.clock.set_after(Duration::from_secs(1), Happening::Start(member));
            }
            Fault::Fill { member, room } => {
                self.places[member].disk.values_mut().for_each(|files| files.set_room(room));
            }
        }
    }

    /// From now on nothing goes wrong, and whoever is honest runs.
    fn calm_down(&mut self) {
        self.calm = true;
        self.scene.chances = Chances::default();
        for member in 0..self.places.len() {
            let honest = self.plan.members[member].is_honest();
            self.places[member].disk.values_mut().for_each(|files| files.set_room(u64::MAX));
            let now = self.scene.clock.now();
            self.with(member, |process, scene, _| process.stall(&mut scene.clock, now));
            let process = self.places[member].process.as_ref();
            let troubled = process.is_some_and(|process| process.troubled);
            if troubled {
                self.crash(member, false);
            }
            if honest {
                let starts_at = self.plan.members[member].starts_at;
                self.scene.clock.set(starts_at, Happening::Start(member));
            }
        }
    }

    /// Who has what, for a failure's message.
    fn picture(&self) -> String {
        let members = self.places.iter().zip(&self.plan.members);
        let lines = members.map(|(place, member)| {
            let state = match &place.process {
                Some(process) => format!("finished {}", process.finished.len()),
                None if place.done => "done".to_owned(),
                None => "down".to_owned(),
            };
            let disks = place.disk.values().map(Files::picture).collect::<Vec<_>>().join(" ");
            let (address, manner, goal) = (member.address, member.manner, member.goal);
            format!("{address} {manner:?} {goal:?} {state}: {disks}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn disk(plan: &Plan, index: usize) -> Disk {
    let member = &plan.members[index];
    let files = |torrent: &usize| {
        let shape = &plan.shapes[*torrent];
        let files = match (member.manner, member.goal) {
            (Manner::Liar, _) => Files::lying(shape),
            (_, Goal::Seed) => Files::full(shape),
            (_, Goal::Complete | Goal::CompleteAndSeed) => Files::empty(shape),
        };
        (shape.metainfo.info_hash(), files)
    };
    member.torrents.iter().map(files).collect::<BTreeMap<_, _>>()
}
