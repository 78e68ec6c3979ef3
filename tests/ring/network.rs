//! The simulator itself: the network resembles what was measured, and a seed is a run.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::machines::kademlia::Node;
use rondalla::words::rng::Rng;

use super::scenario::{MINUTE, SECOND, Scenario};
use super::simulator::churn::Weibull;
use super::simulator::figures::Figures;
use super::simulator::internet::{Addresses, Internet, Weather};
use super::simulator::machine::{Datagram, Machine};
use super::simulator::nat::NatKind;
use super::simulator::{Clock, World};

#[test]
fn round_trips_resemble_those_of_king() {
    for median in [100, 156] {
        let weather = Weather { median: Duration::from_millis(median), ..Weather::fair() };
        let mut internet = Internet::new(weather, Addresses::Global, 1);
        let hosts: Vec<_> = (0..400).map(|_| internet.add_host(None)).collect();
        let ms = |a, b| internet.round_trip(a, b).as_secs_f64() * 1000.0;
        let pairs = hosts.iter().flat_map(|a| hosts[..*a].iter().map(move |b| (*a, *b)));
        let figures: Figures = pairs.map(|(a, b)| ms(a, b)).collect();
        let p50 = figures.at(0.5);
        let [p10, p90, p99] = [0.1, 0.9, 0.99].map(|share| figures.at(share) / p50);
        assert!((p50 / median as f64 - 1.0).abs() < 0.05, "the median is {p50} ms");
        assert!((0.40..0.55).contains(&p10), "p10 is {p10} of the median");
        assert!((1.8..2.2).contains(&p90), "p90 is {p90} of the median");
        assert!((2.6..3.6).contains(&p99), "p99 is {p99} of the median");
        let mut rng = Rng::new(2);
        let triangles = (0..20_000).filter(|_| {
            let [a, b, c] = [0; 3].map(|_| hosts[rng.below(400) as usize]);
            let mut sides = [ms(a, b), ms(b, c), ms(a, c)];
            sides.sort_unstable_by(f64::total_cmp);
            sides[2] > sides[0] + sides[1]
        });
        let bent = triangles.count() as f64 / 20_000.0;
        assert!((0.18..0.30).contains(&bent), "{bent} of the triangles have a detour for a side");
        println!("median {p50:.0} ms, p10 {p10:.2}, p90 {p90:.2}, p99 {p99:.2}, bent {bent:.2}");
    }
}

#[test]
fn sessions_are_weibull() {
    let mut rng = Rng::new(3);
    let weibull = Weibull::debian();
    let minutes = |time: Duration| time.as_secs_f64() / 60.0;
    let sessions: Figures = (0..100_000).map(|_| minutes(weibull.session(&mut rng))).collect();
    // λ·(ln 2)^(1/k) and λ·Γ(1 + 1/k).
    assert!((15.0..17.5).contains(&sessions.at(0.5)), "{sessions}");
    assert!((140.0..190.0).contains(&sessions.mean()), "{sessions}");
    let rests: Figures = (0..2000).map(|_| minutes(weibull.rest(&mut rng))).collect();
    assert!(rests.mean() > sessions.mean(), "who is met has long sessions: {rests}");
}

/// Says to `to` what it was told, and remembers what it hears.
#[derive(Default)]
struct Talker {
    outbox: Vec<Datagram>,
    heard: Vec<(Instant, SocketAddr, Vec<u8>)>,
    wakes: Vec<Instant>,
    woken: Vec<Instant>,
}

impl Machine for Talker {
    type News = ();

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.heard.push((now, from, bytes.to_vec()));
    }

    fn handle_time(&mut self, now: Instant) {
        self.wakes.retain(|at| *at > now);
        self.woken.push(now);
    }

    fn poll_deadline(&self) -> Option<Instant> {
        self.wakes.iter().min().copied()
    }

    fn poll_transmit(&mut self) -> Option<Datagram> {
        self.outbox.pop()
    }

    fn poll_news(&mut self) -> Option<()> {
        None
    }

    fn check(&self) {}
}

fn say(world: &mut World<Talker>, from: usize, to: SocketAddr, text: &[u8]) {
    let bytes = text.to_vec();
    world.order(from, |talker, _| talker.outbox.push(Datagram { to, bytes, aside: false }));
    world.pass(5 * SECOND);
}

fn heard(world: &World<Talker>, id: usize) -> Vec<SocketAddr> {
    world.machine(id).unwrap().heard.iter().map(|(_, from, _)| *from).collect()
}

#[test]
fn each_kind_of_router_lets_in_whom_it_should() {
    for (kind, stranger, other_port) in [
        (None, true, true),
        (Some(NatKind::FullCone), true, true),
        (Some(NatKind::Restricted), false, true),
        (Some(NatKind::Symmetric), false, false),
    ] {
        let internet = Internet::new(Weather::fair(), Addresses::Global, 4);
        let mut world: World<Talker> = World::new(internet);
        let kinds = [kind, None, None, None];
        let ids = kinds.map(|kind| {
            let host = world.internet.add_host(kind);
            world.start(host, Clock::default(), Talker::default())
        });
        let [inside, friend, outsider, second] = ids;
        let to_friend = world.address(friend);
        say(&mut world, inside, to_friend, b"hello");
        let [outer] = heard(&world, friend)[..] else { panic!("the friend hears it once") };
        assert_eq!(outer.ip(), world.address(inside).ip());
        say(&mut world, friend, outer, b"answer");
        assert_eq!(heard(&world, inside).len(), 1, "{kind:?}");
        say(&mut world, outsider, outer, b"who are you?");
        assert_eq!(heard(&world, inside).len() == 2, stranger, "{kind:?}");
        // Whoever is asked too, sees another port of a symmetric router and may answer only there.
        let to_second = world.address(second);
        say(&mut world, inside, to_second, b"hello");
        let before = heard(&world, inside).len();
        say(&mut world, second, outer, b"answer");
        assert_eq!(heard(&world, inside).len() > before, other_port, "{kind:?}");
        // What nobody uses is forgotten.
        world.pass(2 * MINUTE);
        let before = heard(&world, inside).len();
        say(&mut world, friend, outer, b"still there?");
        assert_eq!(heard(&world, inside).len() > before, kind.is_none(), "{kind:?}");
    }
}

#[test]
fn datagrams_are_lost_doubled_and_overtaken_as_often_as_the_weather_says() {
    let weather = Weather { loss: 0.2, twice: 0.1, detours: 0.1, ..Weather::fair() };
    let mut world: World<Talker> = World::new(Internet::new(weather, Addresses::Laboratory, 5));
    let ids = [(); 2].map(|()| {
        let host = world.internet.add_host(None);
        world.start(host, Clock::default(), Talker::default())
    });
    let to = world.address(ids[1]);
    for n in 0..2000_u32 {
        let bytes = n.to_be_bytes().to_vec();
        world.order(ids[0], |talker, _| talker.outbox.push(Datagram { to, bytes, aside: false }));
        world.pass(SECOND / 20);
    }
    world.pass(5 * SECOND);
    let heard = &world.machine(ids[1]).unwrap().heard;
    let mut numbers: Vec<_> = heard.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    let overtaken = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
    numbers.sort_unstable();
    let doubled = numbers.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!((140..230).contains(&doubled), "{doubled} came twice");
    numbers.dedup();
    // Of those that come twice, the second comes although the first is lost.
    assert!((1580..1700).contains(&numbers.len()), "{} came", numbers.len());
    assert!((100..400).contains(&overtaken), "{overtaken} were overtaken");
}

#[test]
fn pairs_are_apart_and_sides_hear_nothing_of_each_other() {
    let weather = Weather { one_way: 0.1, apart: 0.1, ..Weather::fair() };
    let mut world: World<Talker> = World::new(Internet::new(weather, Addresses::Laboratory, 6));
    let ids: Vec<_> = (0..60)
        .map(|_| {
            let host = world.internet.add_host(None);
            world.start(host, Clock::default(), Talker::default())
        })
        .collect();
    let hears = |world: &mut World<Talker>, a: usize, b: usize| {
        let (to, before) = (world.address(b), heard(world, b).len());
        say(world, a, to, b"?");
        heard(world, b).len() > before
    };
    let (mut one_way, mut apart) = (0, 0);
    for a in &ids {
        for b in &ids[..*a] {
            match (hears(&mut world, *a, *b), hears(&mut world, *b, *a)) {
                (true, true) => (),
                (false, false) => apart += 1,
                (true, false) | (false, true) => one_way += 1,
            }
        }
    }
    // Of 1,770 pairs.
    assert!((130..230).contains(&apart) && (130..230).contains(&one_way), "{apart}, {one_way}");
    world.internet.weather = Weather::fair();
    world.internet.set_side(world.host(ids[0]), 1);
    assert!(!hears(&mut world, ids[0], ids[1]) && !hears(&mut world, ids[1], ids[0]));
    world.internet.heal();
    assert!(hears(&mut world, ids[0], ids[1]) && hears(&mut world, ids[1], ids[0]));
}

#[test]
fn a_wrong_clock_is_wrong_for_its_machine_alone() {
    let internet = Internet::new(Weather::fair(), Addresses::Laboratory, 7);
    let mut world: World<Talker> = World::new(internet);
    let began = world.instant();
    let ids = [-10_000, 0, 10_000].map(|ppm| {
        let host = world.internet.add_host(None);
        let talker = Talker { wakes: vec![began + 100 * SECOND], ..Talker::default() };
        world.start(host, Clock { ppm }, talker)
    });
    let mut woken = Vec::new();
    for _ in 0..1100 {
        world.pass(SECOND / 10);
        for id in ids {
            if world.machine(id).unwrap().woken.len() == 1 && !woken.contains(&id) {
                woken.push(id);
            }
        }
    }
    assert_eq!(woken, [ids[2], ids[1], ids[0]], "the fast clock's comes first");
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let run = |seed| {
        let mut scenario = Scenario::<Node>::new(Weather::foul(), Addresses::Global, seed);
        for _ in 0..30 {
            scenario.arrive(None, None);
            scenario.pass(SECOND);
        }
        let info_hash = scenario.some_info_hash();
        scenario.announce(3, info_hash);
        scenario.pass(5 * MINUTE);
        let sent: Vec<_> =
            scenario.world.members().map(|id| scenario.world.traffic(id).bytes).collect();
        (scenario.world.events(), sent, scenario.held())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
