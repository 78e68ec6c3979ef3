//! How many nodes a lookup asks, one after another, in rings of 8 to 8,192 nodes: the textbook's ring
//! (fingers at powers of two, one successor) and ours. A table, and a picture of it.
//!
//! Run it with `cargo run --release --example path_lengths [FILE] [SEED]`. Everything follows from the
//! seed: no socket is opened, and the clock is made up. The simulator is that of the tests.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

#[path = "pictures/plot.rs"]
mod plot;
#[path = "../tests/ring/simulator/mod.rs"]
mod simulator;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rondalla::machines::chord::{Contact, News, Node, Settings, Shape};
use rondalla::words::id::InfoHash;
use rondalla::words::rng::Rng;

use plot::Sheet;
use simulator::figures::Figures;
use simulator::internet::{Addresses, Internet, Weather};
use simulator::{Clock, Happened, World};

const SIZES: [usize; 6] = [8, 32, 128, 512, 2048, 8192];
const LOOKUPS: usize = 1000;
const WAIT: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().map(PathBuf::from);
    let file = file.unwrap_or_else(|| std::env::temp_dir().join("path-lengths.svg"));
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    println!(" nodes  textbook: mean  p99   ours: mean  p99");
    let mut rows = Vec::new();
    for n in SIZES {
        let textbook = path_lengths(n, Shape::textbook(), seed);
        let ours = path_lengths(n, Shape::default(), seed);
        let figures = [textbook.mean(), textbook.at(0.99), ours.mean(), ours.at(0.99)];
        let [a, b, c, d] = figures;
        println!("{n:6}  {a:14.2}  {b:3.0}  {c:11.2}  {d:3.0}");
        rows.push(Row { n, figures });
    }
    fs::write(&file, picture(&rows))?;
    println!("the picture is {}", file.display());
    Ok(())
}

/// Mean and 99th percentile of the one ring, and of the other.
struct Row {
    n: usize,
    figures: [f64; 4],
}

/// Looks places up in a ring of `n` nodes that has been quiet for long: how many were asked one after
/// another, the owner of the place included.
fn path_lengths(n: usize, shape: Shape, seed: u64) -> Figures {
    let mut world = World::new(Internet::new(Weather::fair(), Addresses::Laboratory, seed));
    let mut rng = Rng::new(seed);
    for _ in 0..n {
        let host = world.internet.add_host(None);
        let (at, now) = (world.internet.address(host), world.instant());
        let settings = Settings { shape, ..Settings::default() };
        world.start(host, Clock::default(), Node::new(settings, at, rng.next_u64(), now));
    }
    let mut ring: Vec<Contact> = world.machines().map(|(_, node)| node.me()).collect();
    ring.sort_unstable();
    let ids: Vec<_> = world.members().collect();
    for id in &ids {
        let host = world.host(*id);
        world.tell(*id, |node, internet| {
            let at = |other: Contact| internet.host_at(other.address).expect("it is there");
            node.settle(&ring, |other| internet.round_trip(host, at(other)));
        });
    }
    let mut lengths = Figures::default();
    while lengths.len() < LOOKUPS {
        // One of each member at a time.
        let count = ids.len().min(LOOKUPS - lengths.len());
        let mut asked = BTreeSet::new();
        for id in &ids[..count] {
            let mut place = [0; 20];
            rng.fill(&mut place);
            asked.insert(InfoHash(place));
            world.order(*id, |node, now| node.lookup(now, InfoHash(place)));
        }
        let until = world.now() + WAIT;
        while !asked.is_empty()
            && let Some(happened) = world.next(until)
        {
            if let Happened::News(_, News::Finished(about, report)) = happened
                && asked.remove(&about)
            {
                lengths.add(f64::from(report.hops));
            }
        }
    }
    lengths
}

/// Where `n` nodes and so many hops are in the picture.
fn at(n: usize, hops: f64) -> (f64, f64) {
    (70.0 + 50.0 * (n as f64).log2(), 380.0 - 28.0 * hops)
}

fn picture(rows: &[Row]) -> String {
    let mut sheet = Sheet::new(900, 430);
    let heading = "nodes that a lookup asks one after another, the owner included";
    sheet.text((70.0, 22.0), "start", "#222", heading);
    sheet.text((600.0, 420.0), "start", "#222", "nodes of the ring");
    for hops in (0_u8..=12).step_by(2) {
        sheet.text((62.0, at(1, hops.into()).1 + 4.0), "end", "#555", &hops.to_string());
    }
    for row in rows {
        sheet.text((at(row.n, 0.0).0, 400.0), "middle", "#555", &row.n.to_string());
    }
    let curves = [
        ("textbook, 99th of 100", "#a33", "4 4", 1),
        ("textbook, mean", "#a33", "none", 0),
        ("½ log2 N + 1", "#999", "1 3", 4),
        ("ours, 99th of 100", "#06c", "4 4", 3),
        ("ours, mean", "#06c", "none", 2),
    ];
    let hops = |row: &Row, which: usize| {
        row.figures.get(which).copied().unwrap_or_else(|| (row.n as f64).log2() / 2.0 + 1.0)
    };
    let mut lowest = 0.0;
    for (name, colour, _, which) in curves {
        let (x, y) = rows.last().map_or((0.0, 0.0), |row| at(row.n, hops(row, which)));
        // Curves that end together have their names one below the other.
        lowest = (y + 4.0).max(lowest + 15.0);
        sheet.text((x + 10.0, lowest), "start", colour, name);
    }
    sheet.line(&[(70.0, 40.0), (70.0, 380.0), (730.0, 380.0)], "#222", "none");
    for (_, colour, dashes, which) in curves {
        let points: Vec<_> = rows.iter().map(|row| at(row.n, hops(row, which))).collect();
        sheet.line(&points, colour, dashes);
    }
    sheet.finish()
}
