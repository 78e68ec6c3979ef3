//! Users on different networks, in containers: what holds when hosts and networks come and go.
//!
//! `apt-get install docker.io iproute2 iptables`, an engine that runs, root, then
//! `cargo test --release -- --ignored networks`. `--nocapture` prints what was seen. With CLOCK_RATE=4
//! the ring's time passes four times as fast, and what waits for it takes a quarter; with
//! PROGRAM=target/release/rondalla the image is made of that program in seconds.

mod town;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::support::rondalla;
use town::{HURRIED, Net, Town, User, clock_rate, docker, now, pass, try_wait, wait};

const MINUTE: Duration = Duration::from_secs(60);

const NORTH: Net = Net { name: "north", nat: false };
const EAST: Net = Net { name: "east", nat: false };
const HOME: Net = Net { name: "home", nat: true };

/// A town of three networks, the bootstrap node and the seeder of `song`, both in the north.
fn three_networks(build: fn(&[Net]) -> Town, mib: u64) -> (Town, User, User, String) {
    let mut town = build(&[NORTH, EAST, HOME]);
    let infohash = town.share("north-11", "song", mib << 20);
    let bootstrap = town.user("north", 10, &[], &["node", "--json"]);
    let way = bootstrap.at();
    let seed = ["seed", "/torrents/song.torrent", "--json", "--join", &way];
    let seeder = town.user("north", 11, &[], &seed);
    (town, bootstrap, seeder, infohash)
}

fn leecher(town: &mut Town, net: &str, host: u8, way: &str, options: &[&str]) -> User {
    let download = ["download", "/torrents/song.torrent", "--seed", "--json", "--join", way];
    town.user(net, host, &[], &[&download, options].concat())
}

/// Waits until all of `users` have the bytes of `owner`; gives how long that took.
fn wait_until_complete(users: &[User], owner: &User) -> Duration {
    let took = wait("all are complete", || users.iter().all(|user| user.count("finished") == 1));
    for user in users {
        assert!(user.has_same(&owner.dir, "song"), "{} has other bytes", user.name);
    }
    took
}

/// Waits until a walk from `way`, asked by `asker`, meets exactly `members`, as one ring.
fn wait_for_ring(asker: &User, way: &str, members: &[&User]) -> Duration {
    let expected: BTreeSet<String> = members.iter().map(|user| user.at()).collect();
    let mut last = (Vec::new(), false);
    let took = try_wait(|| {
        last = asker.ring(way);
        last.1 && last.0.iter().cloned().collect::<BTreeSet<_>>() == expected
    });
    let (met, consistent) = last;
    took.unwrap_or_else(|| panic!("not one ring of {expected:?}: {met:?}, consistent {consistent}"))
}

#[test]
#[ignore = "needs Docker Engine and root"]
fn users_in_three_networks_outlive_their_bootstrap_and_a_third_of_them() {
    let (mut town, bootstrap, seeder, infohash) = three_networks(Town::hurried, 8);
    let way = bootstrap.at();
    let mut users = Vec::new();
    for (net, hosts) in [("north", 12..15), ("east", 11..15), ("home", 11..13)] {
        for host in hosts {
            users.push(leecher(&mut town, net, host, &way, &[]));
        }
    }
    let took = wait_until_complete(&users, &seeder);
    println!("{} users in three networks complete after {:.1} s", users.len(), took.as_secs_f64());
    // Whoever is behind a router that hides it has no place on the ring, and shares all the same.
    let (hidden, open): (Vec<&User>, Vec<&User>) =
        users.iter().partition(|user| user.name.starts_with("home"));
    assert!(hidden.iter().all(|user| !user.is_member()));
    let members = [&[&bootstrap, &seeder], &open[..]].concat();
    let took = wait_for_ring(&seeder, &way, &members);
    println!("one ring of {} after {:.1} s", members.len(), took.as_secs_f64());

    bootstrap.suffer("kill");
    let (dead, alive): (Vec<_>, Vec<_>) = users.iter().enumerate().partition(|(n, _)| n % 3 == 1);
    dead.iter().for_each(|(_, user)| user.suffer("kill"));
    let killed = now();
    let way = alive.iter().find(|(_, user)| user.is_member()).unwrap().1.at();
    let newcomers =
        [leecher(&mut town, "north", 21, &way, &[]), leecher(&mut town, "east", 21, &way, &[])];
    let living = alive.iter().map(|(_, user)| *user).filter(|user| user.is_member());
    let living: Vec<&User> = living.chain(&newcomers).chain([&seeder]).collect();
    wait_for_ring(&seeder, &way, &living);
    println!(
        "after the bootstrap and {} more are killed: one ring of {} after {} s of the ring's time",
        dead.len(),
        living.len(),
        town.ring_time(killed.elapsed()).as_secs()
    );
    wait_until_complete(&newcomers, &seeder);

    // The first holder that answers may be new and know few sharers, but it knows some that live.
    // One of those whom the router hides lives as well, and is seen under its address.
    let hidden = format!("{}:6881", town.outer_address("home"));
    let alive: BTreeSet<String> = living.iter().map(|user| user.at()).chain([hidden]).collect();
    let gone: Vec<String> = dead.iter().map(|(_, user)| user.at()).collect();
    let asked = |killed_before| {
        let (mut answers, mut stale) = (0, 0);
        while town.ring_time(killed.elapsed()) < killed_before {
            for user in &living {
                let found = user.lookup(&infohash, &user.at());
                assert!(found.iter().any(|it| alive.contains(it)), "{} finds {found:?}", user.name);
                answers += 1;
                stale += usize::from(found.iter().any(|it| gone.contains(it)));
            }
        }
        (answers, stale)
    };
    pass(MINUTE.saturating_sub(town.ring_time(killed.elapsed())) / HURRIED);
    let (answers, stale) = asked(15 * MINUTE);
    println!("from a minute on {answers} lookups are answered; {stale} name somebody dead as well");
    let (answers, stale) = asked(18 * MINUTE);
    println!("from 15 minutes on {answers} are answered, and {stale} name anybody dead");
    assert!(answers > 0 && stale == 0, "{stale} of {answers}");
}

#[test]
#[ignore = "needs Docker Engine and root"]
fn a_host_that_changes_its_address_is_found_at_the_new_one() {
    let mut town = Town::hurried(&[NORTH]);
    let infohash = town.share("north-11", "song", 32 << 20);
    let bootstrap = town.user("north", 10, &[], &["node", "--json"]);
    let way = bootstrap.at();
    let seed = ["seed", "/torrents/song.torrent", "--json", "--join", &way];
    let mut seeder = town.user("north", 11, &[], &seed);
    let nodes: Vec<_> = (20..26)
        .map(|host| town.user("north", host, &[], &["node", "--json", "--join", &way]))
        .collect();
    let slow = leecher(&mut town, "north", 12, &way, &["--limit-down", "1M"]);
    let others: Vec<&User> = nodes.iter().chain([&bootstrap, &slow]).collect();
    wait_for_ring(&bootstrap, &way, &[&others[..], &[&seeder]].concat());
    let before = seeder.at();
    wait("it is found", || others.iter().all(|it| it.lookup(&infohash, &way).contains(&before)));
    slow.wait_for("it has some", |it| it.last("progress").is_some_and(|it| it["done"] != 0));

    town.relocate(&mut seeder, "north", 77);
    let moved = now();
    let is_found = |it: &&User| it.lookup(&infohash, &it.at()).contains(&seeder.at());
    wait("it is found where it is now", || others.iter().all(is_found));
    let time = || town.ring_time(moved.elapsed()).as_secs();
    println!("at another address: found there after {} s of the ring's time", time());
    wait_for_ring(&bootstrap, &way, &[&others[..], &[&seeder]].concat());
    println!("one ring of {} after {} s", others.len() + 1, time());
    wait_until_complete(std::slice::from_ref(&slow), &seeder);
    println!("what was under way is complete {:.1} s after it", moved.elapsed().as_secs_f64());
    let newcomer = leecher(&mut town, "north", 13, &seeder.at(), &[]);
    wait_until_complete(std::slice::from_ref(&newcomer), &seeder);

    let (mut answers, mut stale) = (0, 0);
    while town.ring_time(moved.elapsed()) < 15 * MINUTE {
        for user in &others {
            let found = user.lookup(&infohash, &user.at());
            assert!(found.contains(&seeder.at()), "{} finds {found:?}", user.name);
            answers += 1;
            stale += usize::from(found.contains(&before));
        }
    }
    println!("{stale} of {answers} lookups name the old address as well");
    for user in &others {
        let found = user.lookup(&infohash, &user.at());
        assert!(!found.contains(&before), "{} names what is gone after 15 minutes", user.name);
    }
}

#[test]
#[ignore = "needs Docker Engine and root"]
fn who_is_paused_for_a_minute_comes_back_and_nothing_is_lost() {
    let mut town = Town::new(&[NORTH]);
    let infohash = town.share("north-10", "song", 1 << 20);
    let seed = ["seed", "/torrents/song.torrent", "--json"];
    let seeder = town.user("north", 10, &[], &seed);
    let way = seeder.at();
    let nodes: Vec<_> = (11..20)
        .map(|host| town.user("north", host, &[], &["node", "--json", "--join", &way]))
        .collect();
    let all: Vec<&User> = nodes.iter().chain([&seeder]).collect();
    wait_for_ring(&seeder, &way, &all);
    let paused: Vec<&User> = nodes.iter().step_by(3).collect();
    paused.iter().for_each(|node| node.suffer("pause"));
    pass(Duration::from_secs(60) / clock_rate());
    let awake: Vec<&User> =
        all.iter().copied().filter(|it| !paused.iter().any(|p| p.name == it.name)).collect();
    let took = wait_for_ring(&seeder, &way, &awake);
    println!(
        "without the {} that are paused: one ring of {} {:.1} s after a minute",
        paused.len(),
        awake.len(),
        took.as_secs_f64()
    );
    for node in &awake {
        assert_eq!(node.lookup(&infohash, &node.at()), [seeder.at()], "{}", node.name);
    }
    paused.iter().for_each(|node| node.suffer("unpause"));
    let took = wait_for_ring(&seeder, &way, &all);
    println!("back again: one ring of {} after {:.1} s", all.len(), took.as_secs_f64());
    for node in &all {
        assert_eq!(node.lookup(&infohash, &node.at()), [seeder.at()], "{}", node.name);
    }
}

#[test]
#[ignore = "needs Docker Engine, root and minutes"]
fn a_network_that_was_cut_off_goes_on_and_becomes_one_ring_again() {
    let (mut town, bootstrap, seeder, infohash) = three_networks(Town::new, 64);
    let way = bootstrap.at();
    let east_node = town.user("east", 10, &[], &["node", "--json", "--join", &way]);
    let mut nodes: Vec<_> = Vec::new();
    for (net, hosts) in [("north", 30..41), ("east", 30..41)] {
        for host in hosts {
            nodes.push(town.user(net, host, &[], &["node", "--json", "--join", &way]));
        }
    }
    // Slow enough to be under way on both sides until the end.
    let slow = ["--limit-down", "300K"];
    let leechers: Vec<_> = [("north", 12), ("north", 13), ("east", 11), ("east", 12)]
        .map(|(net, host)| leecher(&mut town, net, host, &way, &slow))
        .into();
    let everybody: Vec<&User> =
        nodes.iter().chain(&leechers).chain([&bootstrap, &seeder, &east_node]).collect();
    let took = wait_for_ring(&seeder, &way, &everybody);
    println!("one ring of {} after {:.1} s", everybody.len(), took.as_secs_f64());

    town.cut_off("east", true);
    let (east, north): (Vec<&User>, Vec<&User>) =
        everybody.iter().partition(|user| user.name.starts_with("east"));
    let took = wait_for_ring(&seeder, &way, &north);
    println!("cut off: the north is a ring of {} after {:.1} s", north.len(), took.as_secs_f64());
    let took = wait_for_ring(&east_node, &east_node.at(), &east);
    println!("and the east one of {} {:.1} s later", east.len(), took.as_secs_f64());
    assert!(!north[0].lookup(&infohash, &way).is_empty());
    assert!(!east[0].lookup(&infohash, &east_node.at()).is_empty());

    town.cut_off("east", false);
    let took = wait_for_ring(&seeder, &way, &everybody);
    println!("joined again: one ring of {} after {:.1} s", everybody.len(), took.as_secs_f64());
    assert!(took < Duration::from_secs(300), "the documents say five minutes");
    wait_until_complete(&leechers, &seeder);
}

#[test]
#[ignore = "needs Docker Engine and root"]
fn a_user_behind_nat_downloads_and_uploads_to_whom_it_can_reach() {
    let mut town = Town::new(&[NORTH, HOME]);
    let infohash = town.share("home-11", "song", 8 << 20);
    let bootstrap = town.user("north", 10, &[], &["node", "--json"]);
    let way = bootstrap.at();
    let seed = ["seed", "/torrents/song.torrent", "--json", "--join", &way];
    let hidden = town.user("home", 11, &[], &seed);
    hidden.wait_for("it announces", |it| !it.lookup(&infohash, &way).is_empty());
    assert!(!hidden.is_member(), "nobody can reach it");
    let open = leecher(&mut town, "north", 12, &way, &[]);
    // Nobody can dial the seeder, so the seeder finds and dials the leecher.
    let took = wait_until_complete(std::slice::from_ref(&open), &hidden);
    println!("a seeder behind NAT has given all after {:.1} s", took.as_secs_f64());
    let neighbour = leecher(&mut town, "home", 12, &way, &[]);
    let took = wait_until_complete(std::slice::from_ref(&neighbour), &hidden);
    println!("a leecher behind NAT has all after {:.1} s", took.as_secs_f64());
    wait_for_ring(&open, &way, &[&bootstrap, &open]);
}

#[test]
#[ignore = "needs Docker Engine and root"]
fn a_small_container_downloads_a_gibibyte_among_fifty_peers_and_seeds_it() {
    let mut town = Town::new(&[NORTH]);
    let infohash = town.share("north-10", "song", 1 << 30);
    let seed = ["seed", "/torrents/song.torrent", "--json"];
    let seeder = town.user("north", 10, &[], &seed);
    let way = seeder.at();
    // They look on: connected to these two alone, since the host's table of neighbours would not hold
    // what fifty have of one another, and with nothing to give.
    let (one, other) = (way.clone(), format!("{}:6881", town.address("north", 11)));
    let look_on = ["download", "/torrents/song.torrent", "--json", "--no-chord", "--no-pex"];
    let slowly = ["--peer", &one, "--peer", &other, "--limit-down", "1", "--memory", "1M"];
    for host in 100..150 {
        town.user("north", host, &[], &[&look_on[..], &slowly].concat());
    }
    let limits =
        ["--memory", "32m", "--memory-swap", "32m", "--cpus", "0.25", "--pids-limit", "256"];
    let download = ["download", "/torrents/song.torrent", "--seed", "--json", "-v", "--join", &way];
    let small = town.user("north", 11, &limits, &download);
    small.wait_for("it has peers", |it| {
        it.last("progress").is_some_and(|progress| progress["peers"].as_u64() >= Some(40))
    });
    let usage = ["stats", "--no-stream", "--format", "{{.MemUsage}}, {{.PIDs}} threads"];
    println!("with 40 peers: {}", docker(&[&usage[..], &[&small.container]].concat()).trim());
    wait_until_complete(std::slice::from_ref(&small), &seeder);
    let killed = docker(&["inspect", "--format", "{{.State.OOMKilled}}", &small.container]);
    assert_eq!(killed.trim(), "false");
    seeder.suffer("stop");
    let newcomer = leecher(&mut town, "north", 12, &small.at(), &[]);
    wait_until_complete(std::slice::from_ref(&newcomer), &small);
    assert!(newcomer.lookup(&infohash, &small.at()).contains(&small.at()));
    let seconds = &small.last("finished").unwrap()["seconds"];
    println!("1 GiB with a quarter of a core, 32 MiB and 256 threads: {seconds} s");
}

#[test]
#[ignore = "needs Docker Engine and root"]
fn a_disk_that_is_full_is_enlarged_and_the_same_command_goes_on() {
    let mut town = Town::new(&[NORTH]);
    town.share("north-10", "song", 32 << 20);
    let seed = ["seed", "/torrents/song.torrent", "--json"];
    let seeder = town.user("north", 10, &[], &seed);
    let disk = town.dir("north-11");
    let mount = |options: &str| {
        let mount = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let status = std::process::Command::new("mount").args(mount).arg(&disk).status().unwrap();
        assert!(status.success(), "mount -o {options}");
    };
    mount("size=16m,mode=1777");
    let way = seeder.at();
    let download = ["download", "/torrents/song.torrent", "--json", "--join", &way];
    let user = town.user("north", 11, &[], &download);
    let code = user.exit_code();
    let said = user.last("error").unwrap_or_default();
    println!("full: exit code {code}, {}", said["message"]);
    mount("remount,size=64m");
    user.suffer("start");
    let again = user.exit_code();
    let same = user.has_same(&seeder.dir, "song");
    let status = std::process::Command::new("umount").arg("--lazy").arg(&disk).status().unwrap();
    assert!(status.success());
    assert_eq!((code, again, same), (9, 0, true));
}

#[test]
#[ignore = "needs Docker Engine and root"]
fn any_user_and_no_home_and_a_root_that_cannot_be_written_will_do() {
    let mut town = Town::new(&[NORTH]);
    town.share("north-10", "song", 1 << 20);
    let seed = ["seed", "/torrents/song.torrent", "--json"];
    let seeder = town.user("north", 10, &[], &seed);
    let way = seeder.at();
    for (host, id) in [(11, "1234:77"), (12, "0:0"), (13, "65533:1")] {
        let download = ["download", "/torrents/song.torrent", "--json", "--join", &way];
        let user = town.user("north", host, &["--user", id], &download);
        assert_eq!(user.exit_code(), 0, "as {id}");
        assert!(user.has_same(&seeder.dir, "song"));
        assert!(
            fs::exists(user.dir.join(".state/rondalla")).unwrap(),
            "the state is beside the data"
        );
    }
    assert_eq!(rondalla::show(&town.torrent("song"))["name"], "song");
}
