//! `rondalla ring`: walks the ring and prints, or draws, its members in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;

use serde::Serialize;

use crate::cli::answer::{say, say_json};
use crate::cli::failure::Failure;
use crate::cli::lookup::{cannot_ask, nobody_answers};
use crate::cli::options::RingOptions;
use crate::cli::picture::{Arrow, Line, Picture, Spot};
use crate::formats::path::shown;
use crate::session::ask::{Ask, MemberReport, Walk};
use crate::words::ring_id::RingId;

#[derive(Serialize)]
struct Object {
    members: Vec<Member>,
    consistent: bool,
}

#[derive(Serialize)]
struct Member {
    id: String,
    addr: String,
    successor: String,
    predecessor: Option<String>,
    keys: u32,
    rtt_ms: f64,
}

/// Prints the members in the order of the ring, one a line.
///
/// # Errors
/// If no node of the ring answers in time, the drawing cannot be written, or `out` takes nothing.
pub fn run(options: &RingOptions, out: &mut dyn Write) -> Result<(), Failure> {
    let ask = Ask {
        join: options.ask.joins.clone(),
        state: options.ask.state.clone(),
        timeout: options.ask.timeout,
    };
    let walk = ask.walk().map_err(|error| cannot_ask(&error))?;
    if walk.members.is_empty() {
        return Err(nobody_answers(&ask));
    }
    if let Some(path) = &options.svg {
        let what = shown(path);
        fs::write(path, draw(&walk)).map_err(|error| Failure::file(what, &error))?;
    }
    if options.output.json {
        let members = walk.members.iter().map(member).collect();
        say_json(out, &Object { members, consistent: walk.consistent })
    } else {
        say(out, &text(&walk))
    }
}

fn member(member: &MemberReport) -> Member {
    Member {
        id: member.contact.id.to_string(),
        addr: member.contact.address.to_string(),
        successor: member.successor.address.to_string(),
        predecessor: member.predecessor.map(|contact| contact.address.to_string()),
        keys: member.keys,
        rtt_ms: (member.round_trip.as_secs_f64() * 1e6).round() / 1e3,
    }
}

fn text(walk: &Walk) -> String {
    let mut text = String::new();
    for member in &walk.members {
        let (id, address) = (member.contact.id.to_string(), member.contact.address.to_string());
        let (successor, keys) = (member.successor.address, member.keys);
        let millis = member.round_trip.as_secs_f64() * 1e3;
        let noun = if keys == 1 { "key" } else { "keys" };
        writeln!(
            text,
            "{}  {address:<21}  -> {successor:<21}  {keys} {noun}, {millis:.1} ms",
            &id[..8]
        )
        .expect("a string takes everything");
    }
    text.push_str(&verdict(walk));
    text.push('\n');
    text
}

/// The rings as a picture: the members in their places, sized by their keys, their successors, and
/// the fingers that the first of them would have.
fn draw(walk: &Walk) -> String {
    let place = |id: RingId| {
        #[expect(clippy::cast_precision_loss, reason = "a place on a picture")]
        let turn = id.leading() as f64 / 2f64.powi(64);
        turn
    };
    let rings = rings(&walk.members);
    let mut picture = Picture::new(&verdict(walk), walk.consistent);
    for (member, ring) in walk.members.iter().zip(&rings) {
        let address = member.contact.address;
        let label = match member.keys {
            0 => address.to_string(),
            1 => format!("{address}, 1 key"),
            keys => format!("{address}, {keys} keys"),
        };
        let (place, weight) = (place(member.contact.id), member.keys);
        picture.spot(Spot { place, label, weight, ring: *ring });
    }
    let number = |contact| walk.members.iter().position(|member| member.contact == contact);
    for to in fingers(&walk.members, &rings) {
        picture.arrow(Arrow { from: 0, to, line: Line::Finger });
    }
    for (from, member) in walk.members.iter().enumerate() {
        if let Some(to) = number(member.successor) {
            picture.arrow(Arrow { from, to, line: Line::Successor });
        }
    }
    picture.to_svg()
}

/// The number of each member's ring: those that lead to one another are of one.
fn rings(members: &[MemberReport]) -> Vec<usize> {
    let places: BTreeMap<_, _> =
        members.iter().enumerate().map(|(n, member)| (member.contact, n)).collect();
    let mut rings: Vec<Option<usize>> = vec![None; members.len()];
    let mut count = 0;
    for start in 0..members.len() {
        let (mut path, mut next) = (Vec::new(), Some(start));
        while let Some(at) = next.filter(|at| rings[*at].is_none() && !path.contains(at)) {
            path.push(at);
            next = places.get(&members[at].successor).copied();
        }
        let known = next.and_then(|at| rings[at]);
        let ring = known.unwrap_or(count);
        count += usize::from(known.is_none() && !path.is_empty());
        path.into_iter().for_each(|at| rings[at] = Some(ring));
    }
    rings.into_iter().map(|ring| ring.expect("every one was a start")).collect()
}

/// The members of the first one's ring that stand first at or after each half, quarter, … of the
/// circle from it on.
fn fingers(members: &[MemberReport], rings: &[usize]) -> Vec<usize> {
    let Some(first) = members.first() else { return Vec::new() };
    let ids = members.iter().map(|member| member.contact.id).enumerate();
    let same: Vec<_> = ids.filter(|(n, _)| rings[*n] == rings[0]).collect();
    let mut fingers = Vec::new();
    for bit in 0..u64::BITS {
        let target = first.contact.id.plus(RingId::part(1 << bit));
        let nearest = same.iter().min_by_key(|(_, id)| target.clockwise_to(*id));
        if let Some((n, _)) = nearest.filter(|(n, _)| *n != 0 && !fingers.contains(n)) {
            fingers.push(*n);
        }
    }
    fingers
}

/// How many members there are, and whether they are one ring: of each family of addresses one.
fn verdict(walk: &Walk) -> String {
    let rings = rings(&walk.members);
    let of_family = |is_v6| {
        let members = walk.members.iter().zip(rings.iter().copied());
        let members = members.filter(|(it, _)| it.contact.address.is_ipv6() == is_v6);
        let (members, rings): (Vec<&MemberReport>, Vec<usize>) = members.unzip();
        let rings: BTreeSet<_> = rings.into_iter().collect();
        (members.len(), rings.len(), members.into_iter().all(|it| is_agreed(it, &walk.members)))
    };
    let families = [("IPv4", of_family(false)), ("IPv6", of_family(true))];
    let there = families.iter().filter(|(_, (members, ..))| *members > 0);
    let is_dual = there.clone().count() > 1;
    let lines = there.map(|(family, (members, rings, agreed))| {
        let noun = if *members == 1 { "member" } else { "members" };
        let family = if is_dual { format!("{family}: ") } else { String::new() };
        let state = match rings {
            1 if *agreed => "one ring".to_owned(),
            1 => "not consistent".to_owned(),
            rings => format!("{rings} rings, not one"),
        };
        format!("{family}{members} {noun}: {state}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a member's successor was met and takes it for its predecessor.
fn is_agreed(member: &MemberReport, members: &[MemberReport]) -> bool {
    let successor = members.iter().find(|other| other.contact == member.successor);
    successor.is_some_and(|it| it.predecessor.unwrap_or(it.contact) == member.contact)
}
