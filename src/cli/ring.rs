//! `rondalla ring`: walks the ring and prints, or draws, its members in order.

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
    let n = walk.members.len();
    let members = if n == 1 { "member" } else { "members" };
    let verdict = if walk.consistent { "one ring" } else { "not consistent" };
    writeln!(text, "{n} {members}: {verdict}").expect("a string takes everything");
    text
}

/// The ring as a picture: the members in their places, sized by their keys, their successors, and
/// the fingers that the first of them would have.
fn draw(walk: &Walk) -> String {
    let place = |id: RingId| {
        #[expect(clippy::cast_precision_loss, reason = "a place on a picture")]
        let turn = id.leading() as f64 / 2f64.powi(64);
        turn
    };
    let mut picture = Picture::new(&format!(
        "{} members, {}",
        walk.members.len(),
        if walk.consistent { "one ring" } else { "not consistent" }
    ));
    for member in &walk.members {
        let (address, keys) = (member.contact.address, member.keys);
        let label = format!("{address} ({keys})");
        picture.spot(Spot { place: place(member.contact.id), label, weight: keys });
    }
    let Some(first) = walk.members.first() else { return picture.to_svg() };
    for finger in fingers(first, &walk.members) {
        let (from, to) = (place(first.contact.id), place(finger));
        picture.arrow(Arrow { from, to, line: Line::Finger });
    }
    for member in &walk.members {
        let (from, to) = (place(member.contact.id), place(member.successor.id));
        picture.arrow(Arrow { from, to, line: Line::Successor });
    }
    picture.to_svg()
}

/// The members that stand first at or after each half, quarter, … of the ring from `of` on.
fn fingers(of: &MemberReport, members: &[MemberReport]) -> Vec<RingId> {
    let mut fingers: Vec<RingId> = Vec::new();
    for bit in 0..u64::BITS {
        let target = of.contact.id.plus(RingId::part(1 << bit));
        let nearest = members.iter().map(|member| member.contact.id);
        let nearest = nearest.min_by_key(|id| target.clockwise_to(*id));
        if let Some(id) = nearest.filter(|id| *id != of.contact.id && !fingers.contains(id)) {
            fingers.push(id);
        }
    }
    fingers
}
