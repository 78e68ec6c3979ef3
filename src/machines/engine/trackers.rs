//! What the engine wants of trackers: which is told what, and when.
//!
//! The trackers of a torrent stand in tiers (BEP 12). Each tier is announced to by itself: the tracker
//! that answered last time first, and the next when one fails or lets us wait too long. The first
//! answer ends the round; the next begins when the tracker wants it to, or minutes later if all
//! failed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bus::trackers::{AnnounceNumber, ToTracker, Tracker, TrackerFailure};
use crate::bus::{Order, TorrentEvent, TrackerState};
use crate::formats::announce::{Announce, Answer, Event};
use crate::machines::engine::announces::Job;
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::{Stage, Torrent};
use crate::machines::engine::{Engine, Phase, ending};
use crate::words::id::TorrentKey;
use crate::words::limits::trackers as limits;
use crate::words::limits::{PEERS_ENOUGH, TRACKERS_MAX};

/// The trackers of one torrent.
#[derive(Debug, Default)]
pub(super) struct Trackers {
    list: Vec<Known>,
    tiers: Vec<Tier>,
    /// The next tier to be looked at since something changed for all of them.
    sweep: usize,
    /// A number that trackers know us by when our address changes (BEP 7).
    key: u32,
}

/// One tracker.
#[derive(Debug)]
struct Known {
    tracker: Arc<Tracker>,
    /// What it knows of us: nothing, or whether we had everything then.
    told: Option<bool>,
    id: Option<Vec<u8>>,
    /// The user was told that it fails or warns.
    complained: bool,
}

/// Trackers of which one is enough.
#[derive(Debug)]
struct Tier {
    /// Their places in the list, in the order in which they are asked.
    order: Vec<usize>,
    /// The place in that order that is asked next.
    next: usize,
    /// Those that were asked and have not answered.
    open: u32,
    /// The number of this round: what comes of older ones changes nothing.
    round: u32,
    /// Rounds in a row in which all failed.
    failures: u32,
    /// When to look at it again; a timer that was started for an earlier time is passed over.
    due: Option<Instant>,
    /// Until then nothing is to be said, unless more peers are needed.
    rest_until: Option<Instant>,
    /// There is more to say when this round is over.
    again: bool,
}

impl Trackers {
    /// The trackers as they came, in tiers.
    pub(super) fn new(tiers: Vec<Vec<Arc<Tracker>>>, key: u32) -> Self {
        let mut trackers = Self { key, ..Self::default() };
        // Bound: limits::TRACKERS_MAX
        for tier in tiers.into_iter().take(TRACKERS_MAX) {
            let first = trackers.list.len();
            let known = |tracker| Known { tracker, told: None, id: None, complained: false };
            // Bound: limits::TRACKERS_MAX
            trackers.list.extend(tier.into_iter().take(TRACKERS_MAX - first).map(known));
            if trackers.list.len() == first {
                break;
            }
            // Bound: limits::TRACKERS_MAX
            let order = (first..trackers.list.len()).collect();
            trackers.tiers.push(Tier::new(order));
        }
        trackers
    }
}

impl Tier {
    fn new(order: Vec<usize>) -> Self {
        Self {
            order,
            next: 0,
            open: 0,
            round: 0,
            failures: 0,
            due: None,
            rest_until: None,
            again: false,
        }
    }

    /// Begins a round, in which whatever is under way changes nothing.
    fn begin(&mut self) {
        (self.next, self.open) = (0, 0);
        self.round = self.round.wrapping_add(1);
    }
}

/// What concerns all trackers at the end.
#[derive(Debug, Default)]
pub(super) struct Goodbyes {
    /// Torrents whose tiers are not all looked at, and goodbyes that are not over.
    left: u32,
    /// They are waited for no longer.
    over: bool,
}

/// Has all tiers of a torrent looked at, since there is something to say.
pub(super) fn look_at_all(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if !torrent.trackers.tiers.is_empty() {
        torrent.trackers.sweep = 0;
        engine.start_timer(Duration::ZERO, Timer::Tiers(key));
    }
}

/// Looks at the next tiers of a torrent, a bounded number of them.
pub(super) fn handle_sweep(engine: &mut Engine, key: TorrentKey) {
    let ending = engine.phase != Phase::Running;
    // Bound: limits::TIERS_A_TURN
    for _ in 0..limits::TIERS_A_TURN {
        engine.steps.step();
        let now = engine.now;
        let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
        let at = torrent.trackers.sweep;
        let Some(tier) = torrent.trackers.tiers.get_mut(at) else {
            return handle_swept(engine);
        };
        torrent.trackers.sweep += 1;
        if ending {
            say_goodbye(engine, key, at);
        } else if tier.open > 0 {
            tier.again = true;
        } else {
            tier.rest_until = None;
            tier.due = Some(now);
            engine.timers.start(now, Timer::Tier(key, at));
        }
    }
    engine.start_timer(Duration::ZERO, Timer::Tiers(key));
}

/// A tier is due: the next of its trackers is asked.
pub(super) fn handle_due(engine: &mut Engine, key: TorrentKey, at: usize) {
    let now = engine.now;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let (hungry, over) = (is_hungry(torrent), is_over(torrent.stage));
    let trackers = &mut torrent.trackers;
    let Some(tier) = trackers.tiers.get_mut(at) else { return };
    if tier.due.is_none_or(|due| now < due) || engine.phase != Phase::Running {
        return;
    }
    tier.due = None;
    if let Some(rest) = tier.rest_until.filter(|rest| now < *rest && !hungry && tier.open == 0) {
        tier.due = Some(rest);
        return engine.timers.start(rest, Timer::Tier(key, at));
    }
    let place = tier.next;
    let Some(&tracker) = tier.order.get(place) else { return };
    if over && trackers.list[tracker].told.is_none() {
        return;
    }
    tier.next += 1;
    tier.open += 1;
    tier.due = Some(now + limits::IMPATIENCE);
    engine.timers.start(now + limits::IMPATIENCE, Timer::Tier(key, at));
    let round = tier.round;
    let job = Job {
        torrent: key,
        tier: at,
        round,
        place,
        tracker,
        event: None,
        complete: false,
        goodbye: false,
    };
    let url = &trackers.list[tracker].tracker.url;
    if !engine.announces.enqueue(url, job) {
        tier_failed(engine, key, job);
    }
    give_some(engine);
}

/// Orders the announces whose turn it is, a bounded number of them.
pub(super) fn give_some(engine: &mut Engine) {
    // Bound: limits::ANNOUNCES_A_TURN
    for _ in 0..limits::ANNOUNCES_A_TURN {
        engine.steps.step();
        let Some((number, job)) = engine.announces.next() else { return };
        match to_say(engine, &job) {
            Some(order) => {
                engine.announces.say(number, order.announce.event, order.announce.left == 0);
                engine.orders.push_back(Order::Tracker(Box::new(ToTracker { number, ..order })));
            }
            None => {
                engine.announces.handle_over(number);
                if job.goodbye {
                    handle_goodbye_over(engine);
                }
            }
        }
    }
    if engine.announces.may_go_on() {
        engine.start_timer(Duration::ZERO, Timer::Announces);
    }
}

/// What is said in an announce whose turn has come; `None` if nothing is to be said any more.
fn to_say(engine: &Engine, job: &Job) -> Option<ToTracker> {
    let torrent = engine.torrents.get(job.torrent.0)?;
    let trackers = &torrent.trackers;
    if trackers.tiers.get(job.tier)?.round != job.round {
        return None;
    }
    let known = trackers.list.get(job.tracker)?;
    let complete =
        torrent.stage != Stage::Unknown && torrent.good() == torrent.context.metainfo.pieces();
    let over = engine.phase != Phase::Running || is_over(torrent.stage);
    let event = match known.told {
        None if over => return None,
        Some(_) if over => Some(Event::Stopped),
        None => Some(Event::Started),
        Some(false) if complete => Some(Event::Completed),
        Some(_) => None,
    };
    let announce = Announce {
        info_hash: torrent.info_hash(),
        peer_id: engine.peer_id,
        key: trackers.key,
        port: engine.networks.port.unwrap_or(0),
        uploaded: torrent.meter.uploaded,
        downloaded: torrent.meter.downloaded,
        left: if complete { 0 } else { torrent.missing().max(1) },
        event,
        wanted: if over { 0 } else { limits::PEERS_WANTED },
    };
    let (tracker, tracker_id) = (Arc::clone(&known.tracker), known.id.clone());
    Some(ToTracker { number: AnnounceNumber(0), tracker, tracker_id, announce })
}

/// A tracker answered.
pub(super) fn handle_answered(engine: &mut Engine, number: AnnounceNumber, answer: Answer) {
    let Some(job) = engine.announces.handle_over(number) else { return };
    let (key, now) = (job.torrent, engine.now);
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let known = &mut torrent.trackers.list[job.tracker];
    known.told = Some(job.complete).filter(|_| job.event != Some(Event::Stopped));
    if answer.tracker_id.is_some() {
        known.id.clone_from(&answer.tracker_id);
    }
    let tracker = known.tracker.to_string();
    let complains = answer.warning.is_some() && !std::mem::replace(&mut known.complained, true);
    let (rest, least) = intervals(&answer);
    let over = is_over(torrent.stage);
    let tier = &mut torrent.trackers.tiers[job.tier];
    if tier.round == job.round && engine.phase == Phase::Running {
        // Whoever answered is asked first next time (BEP 12).
        tier.order.swap(0, job.place);
        tier.begin();
        tier.failures = 0;
        let again = std::mem::take(&mut tier.again);
        tier.rest_until = (!again).then_some(now + rest);
        let due = if again { now } else { now + least };
        tier.due = (again || !over).then_some(due);
        engine.timers.start(due, Timer::Tier(key, job.tier));
    }
    if let Some(warning) = answer.warning.filter(|_| complains) {
        engine.tell(key, TorrentEvent::Warning(format!("{tracker} warns: {warning}")));
    }
    let state = TrackerState::Answered {
        event: job.event,
        peers: answer.peers.len(),
        counts: answer.counts,
        again: rest,
    };
    engine.tell(key, TorrentEvent::Tracker { tracker, state });
    handle_over(engine, &job);
}

/// A tracker did not answer, or refuses.
pub(super) fn handle_failed(engine: &mut Engine, number: AnnounceNumber, failure: &TrackerFailure) {
    let Some(job) = engine.announces.handle_over(number) else { return };
    let key = job.torrent;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let known = &mut torrent.trackers.list[job.tracker];
    let tracker = known.tracker.to_string();
    // Public lists are full of dead trackers; one that refuses, or that the user named, is news.
    let matters = matches!(failure, TrackerFailure::Refused(_)) || known.tracker.named;
    if matters && !std::mem::replace(&mut known.complained, true) {
        engine.tell(key, TorrentEvent::Warning(format!("{tracker}: {failure}")));
    }
    let state = TrackerState::Failed(failure.to_string());
    engine.tell(key, TorrentEvent::Tracker { tracker, state });
    tier_failed(engine, key, job);
    handle_over(engine, &job);
}

/// The crier had no room for an announce.
pub(super) fn handle_undelivered(engine: &mut Engine, number: AnnounceNumber) {
    let why = "there are too many announces".to_owned();
    handle_failed(engine, number, &TrackerFailure::Unreachable(why));
}

/// An announce is over, whatever came of it.
fn handle_over(engine: &mut Engine, job: &Job) {
    if job.goodbye {
        handle_goodbye_over(engine);
    }
    give_some(engine);
}

/// One of a tier did not answer: the next is asked, or all of them later.
fn tier_failed(engine: &mut Engine, key: TorrentKey, job: Job) {
    let now = engine.now;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let over = is_over(torrent.stage);
    let tier = &mut torrent.trackers.tiers[job.tier];
    if tier.round != job.round || over || engine.phase != Phase::Running {
        return;
    }
    tier.open -= 1;
    let due = if tier.next < tier.order.len() {
        now
    } else if tier.open == 0 {
        let delay = limits::FAILED_AGAIN * (1 << tier.failures.min(16));
        tier.failures += 1;
        tier.begin();
        now + delay.min(limits::FAILED_AGAIN_MAX)
    } else {
        return;
    };
    tier.due = Some(due);
    tier.rest_until = None;
    engine.timers.start(due, Timer::Tier(key, job.tier));
}

/// The time until the tracker is told again, and the least that it allows.
fn intervals(answer: &Answer) -> (Duration, Duration) {
    let seconds = |seconds: Option<i64>| {
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
    };
    let bounded = |time: Duration| time.clamp(limits::INTERVAL_MIN, limits::INTERVAL_MAX);
    let rest = bounded(seconds(answer.interval).unwrap_or(limits::INTERVAL_DEFAULT));
    let least = seconds(answer.min_interval).map_or(rest, |least| bounded(least).min(rest));
    (rest, least)
}

/// A download with few peers asks as early as it may.
fn is_hungry(torrent: &Torrent) -> bool {
    torrent.is_unfinished() && torrent.peers() < PEERS_ENOUGH
}

/// Whether others are to hear that we are here no longer.
fn is_over(stage: Stage) -> bool {
    match stage {
        Stage::Unknown | Stage::Opening | Stage::Downloading | Stage::Complete => false,
        Stage::GivenUp | Stage::Seeded => true,
    }
}

// ------------------------------------------------------------------------------------ The end ---

/// The session ends: the trackers of a torrent are to hear that we stop.
pub(super) fn leave(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    if !torrent.trackers.tiers.is_empty() {
        engine.goodbyes.left += 1;
        look_at_all(engine, key);
    }
}

/// They are waited for no longer.
pub(super) fn handle_leave(engine: &mut Engine) {
    engine.goodbyes.over = true;
    ending::end_if_done(engine);
}

/// Whether every tracker that knows us has heard that we stop, or is waited for no longer.
pub(super) fn have_heard(engine: &Engine) -> bool {
    engine.goodbyes.left == 0 || engine.goodbyes.over
}

/// The tracker of a tier that answered last hears that we stop.
fn say_goodbye(engine: &mut Engine, key: TorrentKey, at: usize) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let trackers = &mut torrent.trackers;
    let tier = &mut trackers.tiers[at];
    tier.begin();
    let tracker = tier.order[0];
    let known = &trackers.list[tracker];
    if known.told.is_none() {
        return;
    }
    let job = Job {
        torrent: key,
        tier: at,
        round: tier.round,
        place: 0,
        tracker,
        event: Some(Event::Stopped),
        complete: false,
        goodbye: true,
    };
    if engine.announces.enqueue(&known.tracker.url, job) {
        engine.goodbyes.left += 1;
        give_some(engine);
    }
}

/// All tiers of a torrent were looked at.
fn handle_swept(engine: &mut Engine) {
    if engine.phase != Phase::Running {
        handle_goodbye_over(engine);
    }
}

fn handle_goodbye_over(engine: &mut Engine) {
    engine.goodbyes.left = engine.goodbyes.left.saturating_sub(1);
    ending::end_if_done(engine);
}
