//! Asking the ring without taking part in it: for `lookup` and `ring`, and for programs that want to
//! know who shares a torrent.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded};

use crate::actors::clock::now;
use crate::actors::reactor::{Driven, Finding, Outlet, ReactorHandle, ToReactor};
use crate::actors::usher::{Book, UsherHandle, Word};
use crate::bus::ToChord;
use crate::machines::chord::{News, Role, Settings};
use crate::session::networks::any_ports;
use crate::session::seed;
use crate::words::address::Address;
use crate::words::id::InfoHash;
use crate::words::limits;
use crate::words::limits::ring;

pub use crate::formats::krpc::Sharer;
pub use crate::machines::chord::{MemberReport, Report};

/// How the ring is reached, and how long its answers are waited for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Nodes by which to enter it, beside those that were met before.
    pub join: Vec<Address>,
    /// The folder of state, where those that were met before are written down.
    pub state: PathBuf,
    /// How long to try when nobody answers.
    pub timeout: Duration,
}

/// Who shares a torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Those who share it, each once.
    pub sharers: Vec<Sharer>,
    /// How it was found out; `None`: no node of the ring answered.
    pub report: Option<Report>,
}

/// The members of the ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The members in the order of the ring; those of IPv4's ring before those of IPv6's.
    pub members: Vec<MemberReport>,
    /// Whether the walk came to its end, every successor named the one before it as its predecessor,
    /// and nobody was met beside the ring.
    pub consistent: bool,
}

/// What comes in while the ring is asked.
enum Heard {
    News(News),
    Entries(Vec<SocketAddr>),
    /// What concerns whoever takes part.
    Nothing,
}

/// The threads that ask.
struct Asking {
    reactor: ReactorHandle,
    usher: UsherHandle,
    heard: Receiver<Heard>,
    deadline: Instant,
    /// One for each family of addresses.
    nodes: usize,
}

impl Ask {
    /// Who shares a torrent.
    ///
    /// # Errors
    /// If the system refuses threads or sockets.
    pub fn lookup(&self, info_hash: InfoHash) -> io::Result<Lookup> {
        let asking = self.start()?;
        let mut lookup = Lookup::default();
        let mut open = 0;
        while let Some(heard) = asking.hear() {
            match heard {
                Heard::Entries(nodes) => {
                    asking.enter(nodes);
                    open += asking.nodes;
                    asking.give(ToChord::Lookup(info_hash));
                }
                Heard::News(News::Found(_, sharers)) => {
                    for sharer in sharers {
                        if !lookup.sharers.contains(&sharer) {
                            lookup.sharers.push(sharer);
                        }
                    }
                }
                Heard::News(News::Finished(_, report)) => {
                    open -= 1;
                    if report.hops > 0 {
                        lookup.report.get_or_insert(report);
                    }
                    if open == 0 && lookup.report.is_some() {
                        break;
                    }
                    if open == 0 {
                        // Nobody answered; the nodes that are known may yet.
                        after(ring::ASK_AGAIN).recv().ok();
                        open += asking.nodes;
                        asking.give(ToChord::Lookup(info_hash));
                    }
                }
                Heard::News(_) | Heard::Nothing => {}
            }
        }
        asking.end();
        Ok(lookup)
    }

    /// Walks round the ring from successor to successor. Without members, no node answered.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn walk(&self) -> io::Result<Walk> {
        let mut asking = self.start()?;
        let mut walk = Walk { members: Vec::new(), consistent: true };
        let (mut open, mut whole) = (0, false);
        while let Some(heard) = asking.hear() {
            match heard {
                Heard::Entries(nodes) => {
                    asking.enter(nodes);
                    open += asking.nodes;
                    asking.give(ToChord::Walk);
                }
                Heard::News(News::Member(member)) => {
                    // As long as one after the other answers, it goes on.
                    asking.deadline = now() + self.timeout;
                    if walk.members.iter().all(|known| known.contact != member.contact) {
                        walk.members.push(member);
                    }
                }
                Heard::News(News::Walked { consistent }) => {
                    open -= 1;
                    walk.consistent &= consistent;
                    if open == 0 && !walk.members.is_empty() {
                        whole = true;
                        break;
                    }
                    if open == 0 {
                        after(ring::ASK_AGAIN).recv().ok();
                        open += asking.nodes;
                        asking.give(ToChord::Walk);
                    }
                }
                Heard::News(_) | Heard::Nothing => {}
            }
        }
        asking.end();
        walk.consistent &= whole;
        walk.members.sort_by_key(|member| (member.contact.address.is_ipv6(), member.contact.id));
        Ok(walk)
    }

    fn start(&self) -> io::Result<Asking> {
        let (sender, heard) = bounded(limits::NOTIFICATIONS_MAX);
        let settings = Settings { role: Role::Client, ..Settings::default() };
        let outlet = Outlet { news: sender.clone(), words: heard_of_ring };
        let sockets = any_ports()?;
        let nodes = sockets.len();
        let driven = Driven { sockets, chord: Some(settings), seed: seed(), ..Driven::default() };
        let reactor = ReactorHandle::start(driven, outlet)?;
        let book = Book::of_ring(&self.state);
        let usher = UsherHandle::start(book, self.join.clone(), sender, heard_of_usher)?;
        let deadline = now() + self.timeout;
        Ok(Asking { reactor, usher, heard, deadline, nodes })
    }
}

fn heard_of_usher(word: Word) -> Heard {
    match word {
        Word::Nodes(nodes) => Heard::Entries(nodes),
        Word::Warning(_) => Heard::Nothing,
    }
}

fn heard_of_ring(finding: Finding) -> Option<Heard> {
    match finding {
        Finding::Chord(news) => Some(Heard::News(news)),
        Finding::ChordKnown(_)
        | Finding::Mainline(_)
        | Finding::MainlineKnown(_)
        | Finding::MainlineLeft
        | Finding::Lan(_) => None,
    }
}

impl Asking {
    /// `None` when the time is over, although more may have come.
    fn hear(&self) -> Option<Heard> {
        if now() >= self.deadline {
            return None;
        }
        self.heard.recv_deadline(self.deadline).ok()
    }

    fn enter(&self, nodes: Vec<SocketAddr>) {
        self.give(ToChord::Join(nodes));
    }

    /// The channel has room for many more orders than are given here.
    fn give(&self, order: ToChord) {
        self.reactor.give(ToReactor::Chord(order)).ok();
    }

    fn end(self) {
        drop((self.heard, self.reactor));
        UsherHandle::end_all([self.usher]);
    }
}
