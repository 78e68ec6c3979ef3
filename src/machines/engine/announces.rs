//! The announces that wait and those that are under way: of HTTP and of UDP a bounded number at once,
//! and to one host one at a time, so that a dead tracker holds up nobody else's.

use std::collections::{BTreeMap, VecDeque};

use crate::bus::trackers::AnnounceNumber;
use crate::formats::announce::Event;
use crate::formats::url::{Scheme, Url};
use crate::words::address::Host;
use crate::words::id::TorrentKey;
use crate::words::limits::trackers as limits;

/// One announce of a tier of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) torrent: TorrentKey,
    /// The tier, its round, and the place of the tracker in it.
    pub(super) tier: usize,
    pub(super) round: u32,
    pub(super) place: usize,
    /// The tracker, by its place among the torrent's.
    pub(super) tracker: usize,
    /// What is said, once it is.
    pub(super) event: Option<Event>,
    /// We have everything.
    pub(super) complete: bool,
    /// The session waits for it before it ends.
    pub(super) goodbye: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Announces {
    /// Whom somebody waits for or speaks to.
    hosts: BTreeMap<Lane, Turn>,
    /// Those of them to whom nobody speaks, of HTTP and of UDP.
    free: [VecDeque<Lane>; 2],
    waiting: usize,
    under_way: BTreeMap<AnnounceNumber, (Job, Lane)>,
    /// How many those are, of HTTP and of UDP.
    busy: [u32; 2],
    given: u64,
}

/// The trackers at one port of a host: of HTTP, each of whose announces takes a thread, or of UDP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    udp: bool,
    host: Host,
    port: u16,
}

/// How many announces may be under way, of HTTP and of UDP.
const UNDER_WAY_MAX: [u32; 2] = [limits::ANNOUNCES_MAX, limits::UDP_ANNOUNCES_MAX];

/// Who waits for one host.
#[derive(Debug, Default)]
struct Turn {
    waiting: VecDeque<Job>,
    busy: bool,
}

impl Announces {
    /// An announce to the tracker at `url` waits for its turn. `false` if there is no room.
    pub(super) fn enqueue(&mut self, url: &Url, job: Job) -> bool {
        if self.waiting >= limits::ANNOUNCES_WAITING_MAX {
            return false;
        }
        let udp = url.scheme == Scheme::Udp;
        let lane = Lane { udp, host: url.host.clone(), port: url.port };
        let free = &mut self.free[usize::from(lane.udp)];
        let turn = self.hosts.entry(lane.clone()).or_default();
        if turn.waiting.is_empty() && !turn.busy {
            free.push_back(lane);
        }
        turn.waiting.push_back(job);
        self.waiting += 1;
        true
    }

    /// The next whose turn it is, if one more may be under way; it is, until
    /// [`handle_over`](Self::handle_over) or [`pass_over`](Self::pass_over).
    pub(super) fn next(&mut self) -> Option<(AnnounceNumber, Job)> {
        // Bound: HTTP and UDP.
        let kind = (0..2).find(|kind| self.may_begin(*kind))?;
        let lane = self.free[kind].pop_front()?;
        let turn = self.hosts.get_mut(&lane)?;
        let job = turn.waiting.pop_front()?;
        turn.busy = true;
        self.waiting -= 1;
        self.busy[kind] += 1;
        self.given += 1;
        let number = AnnounceNumber(self.given);
        self.under_way.insert(number, (job, lane));
        Some((number, job))
    }

    /// What is said in an announce that is under way.
    pub(super) fn say(&mut self, number: AnnounceNumber, event: Option<Event>, complete: bool) {
        if let Some((job, _)) = self.under_way.get_mut(&number) {
            (job.event, job.complete) = (event, complete);
        }
    }

    pub(super) fn get(&self, number: AnnounceNumber) -> Option<&Job> {
        self.under_way.get(&number).map(|(job, _)| job)
    }

    /// An announce is over: the next who waits for its host has a turn.
    pub(super) fn handle_over(&mut self, number: AnnounceNumber) -> Option<Job> {
        let (job, lane) = self.under_way.remove(&number)?;
        let kind = usize::from(lane.udp);
        self.busy[kind] -= 1;
        if let Some(turn) = self.hosts.get_mut(&lane) {
            turn.busy = false;
            if turn.waiting.is_empty() {
                self.hosts.remove(&lane);
            } else {
                self.free[kind].push_back(lane);
            }
        }
        Some(job)
    }

    /// Whether somebody could have a turn.
    pub(super) fn may_go_on(&self) -> bool {
        self.may_begin(0) || self.may_begin(1)
    }

    /// Whether one more of HTTP (0) or UDP (1) may be under way, and somebody waits for it.
    fn may_begin(&self, kind: usize) -> bool {
        !self.free[kind].is_empty() && self.busy[kind] < UNDER_WAY_MAX[kind]
    }

    /// Those that wait, and those that are under way.
    pub(super) fn len(&self) -> [usize; 2] {
        [self.waiting, self.under_way.len()]
    }

    /// Asserts every invariant; O(everything), for tests.
    pub(super) fn check(&self) {
        // Bound: none; for tests.
        let waiting: usize = self.hosts.values().map(|turn| turn.waiting.len()).sum();
        assert_eq!(waiting, self.waiting);
        // Bound: none; for tests.
        let busy = self.hosts.values().filter(|turn| turn.busy).count();
        assert_eq!(busy, self.under_way.len(), "one at a time to each host");
        // Bound: none; for tests.
        assert_eq!(self.busy.iter().sum::<u32>() as usize, busy);
        assert!(self.busy[0] <= UNDER_WAY_MAX[0] && self.busy[1] <= UNDER_WAY_MAX[1]);
        assert_eq!(self.hosts.len() - busy, self.free[0].len() + self.free[1].len());
    }
}
