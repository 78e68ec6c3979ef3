//! What the architecture costs on this machine: threads, notifications, orders, the have log; and what
//! no architecture can save.
//! `cargo bench` prints a table of each; `cargo bench -- log` of those whose name has `log` in it.
//! `cargo bench -- crowds FILE` draws what a peer costs in crowds of any size.

#![allow(clippy::disallowed_methods, reason = "whoever measures reads the clock, and may wait")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails is over")]
#![allow(
    clippy::needless_collect,
    reason = "all threads run, and all subscribers are there, at once"
)]
#![allow(clippy::type_complexity, reason = "a tuple of three is clearer here than a name")]
#![allow(clippy::print_stdout, reason = "it is what the tables go to")]

mod handlers;
mod loops;
#[path = "../../examples/pictures/plot.rs"]
mod plot;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

use rondalla::bus::{Notification, PeerNews, ToPeer};
use rondalla::words::have_log::HaveLog;
use rondalla::words::id::{Key, PeerKey, PieceIndex};
use rondalla::words::limits;
use rondalla::words::slab::Slab;

use plot::Sheet;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let (wanted, file) = (arguments.next(), arguments.next());
    let crowds = || {
        let picture = picture(&memory(), &steps());
        file.iter().for_each(|file| std::fs::write(file, &picture).unwrap());
    };
    let benches: [(&str, &dyn Fn()); 5] = [
        ("crowds", &crowds),
        ("threads", &threads),
        ("channel", &channel),
        ("log", &log),
        ("loops", &loops::loops),
    ];
    for (name, bench) in benches {
        if wanted.as_ref().is_none_or(|wanted| name.contains(&**wanted)) {
            bench();
            println!();
        }
    }
}

/// The peers of each crowd.
const CROWDS: [u32; 4] = [10, 100, 1000, 2000];

/// The middle of several runs.
fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn nanos(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

fn thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let builder = Builder::new().name("peer-0-in".into()).stack_size(limits::stacks::PEER);
    builder.spawn(work).unwrap()
}

/// Starting a peer's thread, and joining it when it is over.
fn threads() {
    const THREADS: usize = 2000;
    let run = || {
        let mut threads = Vec::new();
        let start = nanos(|| threads.extend((0..THREADS).map(|_| thread(|| ()))));
        let join = nanos(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
        (start / THREADS as f64, join / THREADS as f64)
    };
    let (starts, joins) = (0..9).map(|_| run()).unzip();
    let (start, join) = (median(starts) / 1e3, median(joins) / 1e3);
    println!("| thread | µs |\n| --- | --- |\n| start | {start:.1} |\n| join | {join:.1} |");
}

fn some_peer() -> PeerKey {
    let mut peers = Slab::new(1);
    let key: Key = peers.insert(()).unwrap();
    PeerKey(key)
}

/// Notifications from so many threads that have something to say all the time.
fn channel() {
    const NOTIFICATIONS: usize = 400_000;
    println!("| publishers | ns a notification | context switches a thousand |");
    println!("| --- | --- | --- |");
    for publishers in [1, 2, 10, 100, 1000] {
        let run = || {
            let (sender, receiver) = bounded(limits::NOTIFICATIONS_MAX);
            let before = switches();
            let took = nanos(|| {
                let peer = some_peer();
                let publish = |sender: Sender<Notification>| {
                    move || {
                        for _ in 0..NOTIFICATIONS / publishers {
                            sender.send(Notification::Peer(peer, PeerNews::Unchoked)).unwrap();
                        }
                    }
                };
                let threads: Vec<_> =
                    (0..publishers).map(|_| thread(publish(sender.clone()))).collect();
                drop(sender);
                assert_eq!(receiver.iter().count(), NOTIFICATIONS);
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
            (took / NOTIFICATIONS as f64, (switches() - before) / NOTIFICATIONS as f64 * 1e3)
        };
        let (times, switched) = (0..5).map(|_| run()).unzip();
        println!("| {publishers} | {:.0} | {:.1} |", median(times), median(switched));
    }
}

/// Telling all peers of a piece: an append to the have log, and a loop that tells each.
fn log() {
    const PIECES: u32 = 20_000;
    println!("| peers | append, ns | loop of `try_send`, ns |\n| --- | --- | --- |");
    for peers in [8, 32, 128, 512, 2048] {
        let append = |_| {
            let (mut publisher, log) = HaveLog::new(PIECES);
            let subscribers: Vec<_> = (0..peers).map(|_| log.subscribe()).collect();
            let took = nanos(|| (0..PIECES).map(PieceIndex).for_each(|n| publisher.publish(n)));
            assert_eq!(subscribers.into_iter().flatten().count(), peers * PIECES as usize);
            took / f64::from(PIECES)
        };
        let ends: Vec<(Sender<ToPeer>, Receiver<ToPeer>)> =
            (0..peers).map(|_| bounded(limits::OUTBOX_MAX as usize)).collect();
        let send = |_| {
            let mut took = 0.0;
            for _ in 0..100 {
                took += nanos(|| {
                    ends.iter().for_each(|(sender, _)| sender.try_send(ToPeer::Look).unwrap());
                });
                assert!(ends.iter().all(|(_, receiver)| receiver.try_recv().is_ok()));
            }
            took / 100.0
        };
        let append = median((0..5).map(append).collect());
        let send = median((0..5).map(send).collect());
        println!("| {peers} | {append:.1} | {send:.0} |");
    }
}

/// A crowd as the program has it: of each peer one thread blocks on a socket and publishes, and
/// another on its orders. One byte comes to each; main hears of it and gives an order. Returns the
/// KiB that are resident of each.
fn memory() -> Vec<f64> {
    const ROUNDS: usize = 20;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    println!("| peers | KiB of RSS each | µs of processor a byte | context switches a byte |");
    println!("| --- | --- | --- | --- |");
    // The stacks of threads that are over are used again, so all is compared with the beginning.
    let (before, mut resident) = (rss(), Vec::new());
    for peers in CROWDS {
        let peers = peers as usize;
        let (sender, notifications) = bounded::<usize>(limits::NOTIFICATIONS_MAX);
        let (done, all_done) = bounded::<()>(peers);
        let mut crowd: Vec<_> = (0..peers)
            .map(|peer| {
                let (far, mut near) = UnixStream::pair().unwrap();
                let (orders, from_main) = bounded::<ToPeer>(limits::OUTBOX_MAX as usize);
                let (sender, done) = (sender.clone(), done.clone());
                let reader = thread(move || {
                    while near.read(&mut [0]).unwrap() > 0 {
                        sender.send(peer).unwrap();
                    }
                });
                let writer = thread(move || from_main.iter().for_each(|_| done.send(()).unwrap()));
                (far, orders, [reader, writer])
            })
            .collect();
        let round = |crowd: &mut Vec<(UnixStream, Sender<ToPeer>, [JoinHandle<()>; 2])>| {
            crowd.iter_mut().for_each(|(far, _, _)| far.write_all(&[1]).unwrap());
            for _ in 0..peers {
                let peer = notifications.recv().unwrap();
                crowd[peer].1.try_send(ToPeer::Look).unwrap();
            }
            (0..peers).for_each(|_| all_done.recv().unwrap());
        };
        // All have run once: what they touch is touched.
        round(&mut crowd);
        let each = (rss() - before) / peers as f64;
        resident.push(each);
        let (switched, time) = (switches(), processor());
        (0..ROUNDS).for_each(|_| round(&mut crowd));
        let bytes = (ROUNDS * peers) as f64;
        let micros = (processor() - time).as_nanos() as f64 / bytes / 1e3;
        let switched = (switches() - switched) / bytes;
        println!("| {peers} | {each:.1} | {micros:.1} | {switched:.1} |");
        for (far, orders, threads) in crowd {
            drop((far, orders));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }
    resident
}

/// The most steps that main takes for one piece of news, by its kind and for each crowd.
fn steps() -> BTreeMap<&'static str, Vec<u32>> {
    let mut steps: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for (kind, dearest) in CROWDS.into_iter().flat_map(handlers::dearest) {
        steps.entry(kind).or_default().push(dearest);
    }
    println!("\n| steps for | 10 peers | 100 | 1,000 | 2,000 |\n| --- | --- | --- | --- | --- |");
    for (kind, steps) in &steps {
        let steps: Vec<_> = steps.iter().map(u32::to_string).collect();
        println!("| {kind} | {} |", steps.join(" | "));
    }
    steps
}

/// Context switches of this process.
fn switches() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.voluntary_context_switches() + usage.involuntary_context_switches()) as f64
}

/// Time on processors of this process.
fn processor() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let time = usage.user_time() + usage.system_time();
    Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap())
}

/// Resident memory in KiB, on Linux.
fn rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(f64::NAN)
}

/// What a peer costs, against how many there are: memory on the left, steps on the right.
fn picture(resident: &[f64], steps: &BTreeMap<&'static str, Vec<u32>>) -> String {
    let mut sheet = Sheet::new(900, 320);
    let heading = "resident of each peer's two threads, socket and channel, KiB";
    panel(&mut sheet, (50.0, heading), 60.0, &[("", "#06c", resident.to_vec())]);
    let dearest = |n| steps.values().map(|steps| steps[n]).max().unwrap_or_default();
    let busiest = (0..CROWDS.len()).map(dearest).map(f64::from).collect();
    let of = |kind: &str| steps[kind].iter().copied().map(f64::from).collect();
    let curves = [
        ("the busiest handler", "#06c", busiest),
        ("a piece is verified", "#178a5a", of("verified")),
        ("a block comes", "#a33", of("block")),
    ];
    panel(&mut sheet, (490.0, "most steps of the main thread in one turn"), 2400.0, &curves);
    sheet.finish()
}

/// Curves over the crowds, up to `top`.
fn panel(
    sheet: &mut Sheet,
    (left, heading): (f64, &str),
    top: f64,
    curves: &[(&str, &str, Vec<f64>)],
) {
    let x = |peers: u32| left + 150.0 * f64::from(peers / 10).log10();
    let y = |value: f64| 270.0 - 200.0 * value.min(top) / top;
    sheet.text((left - 20.0, 30.0), "start", "#222", heading);
    sheet.line(&[(left, 60.0), (left, 270.0), (x(2000) + 20.0, 270.0)], "#222", "none");
    for tick in (0..=6).map(|tick| f64::from(tick) * top / 6.0) {
        sheet.text((left - 8.0, y(tick) + 4.0), "end", "#555", &format!("{tick:.0}"));
    }
    for peers in CROWDS {
        sheet.text((x(peers), 288.0), "middle", "#555", &peers.to_string());
    }
    sheet.text((x(2000) + 20.0, 308.0), "end", "#222", "peers");
    for (name, colour, values) in curves {
        let points: Vec<_> = CROWDS.iter().zip(values).map(|(n, v)| (x(*n), y(*v))).collect();
        sheet.line(&points, colour, "none");
        sheet.text((x(100), y(values[1]) - 6.0), "start", colour, name);
    }
}
