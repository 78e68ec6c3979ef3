//! Whom to dial, and when.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bus::Order;
use crate::machines::engine::peer::{Peer, Stage};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::{Engine, Phase};
use crate::words::id::{PeerKey, TorrentKey};
use crate::words::limits;

const SECOND: Duration = Duration::from_secs(1);

/// The queue of those to dial. A contact is in here once, or dialled, or connected, or waits for
/// its timer.
#[derive(Debug, Default)]
pub(super) struct Dials {
    queue: VecDeque<(TorrentKey, usize)>,
    half_open: u32,
    /// When the last dials began, at most [`limits::DIALS_A_SECOND`] of them.
    begun: VecDeque<Instant>,
    timer_runs: bool,
}

impl Dials {
    /// Connections that are being made.
    pub(super) fn half_open(&self) -> u32 {
        self.half_open
    }

    /// Those that wait, and those that began within a second.
    pub(super) fn len(&self) -> [usize; 2] {
        [self.queue.len(), self.begun.len()]
    }

    /// One of them is made, or failed.
    pub(super) fn handle_over(&mut self) {
        self.half_open -= 1;
    }

    /// When the next may begin, if that is later than `now`.
    fn waits_until(&mut self, now: Instant) -> Option<Instant> {
        // Bound: limits::DIALS_A_SECOND
        while self.begun.front().is_some_and(|begun| *begun + SECOND <= now) {
            self.begun.pop_front();
        }
        let earliest = self.begun.front().map(|begun| *begun + SECOND);
        earliest.filter(|_| self.begun.len() >= limits::DIALS_A_SECOND)
    }

    /// Nobody is dialled any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

/// A contact is to be dialled.
pub(super) fn enqueue(engine: &mut Engine, torrent: TorrentKey, contact: usize) {
    engine.dials.queue.push_back((torrent, contact));
}

/// Dials the next in the queue, as far as limits allow. Who greets us takes no place from those who
/// are dialled.
pub(super) fn dial_next(engine: &mut Engine) {
    // Bound: limits::DIALS_A_SECOND
    while engine.phase == Phase::Running
        && !engine.dials.queue.is_empty()
        && engine.dials.half_open < limits::DIALS_MAX
        && engine.admitted < engine.settings.peers_max
        && !engine.peers.is_full()
    {
        engine.steps.step();
        if let Some(at) = engine.dials.waits_until(engine.now) {
            if !std::mem::replace(&mut engine.dials.timer_runs, true) {
                engine.timers.start(at, Timer::Dial);
            }
            return;
        }
        let Some((key, contact)) = engine.dials.queue.pop_front() else { return };
        dial(engine, key, contact);
    }
}

/// The timer of [`dial_next`].
pub(super) fn handle_dial_due(engine: &mut Engine) {
    engine.dials.timer_runs = false;
    dial_next(engine);
}

fn dial(engine: &mut Engine, key: TorrentKey, contact: usize) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    let to = torrent.contacts[contact].address.clone();
    let context = Arc::clone(&torrent.context);
    let peer = Peer {
        torrent: Some(key),
        contact: Some(contact),
        socket: None,
        stage: Stage::Dialling,
        connected: false,
        admitted: true,
        network: None,
        address: to.to_string(),
        client: String::new(),
        retrying: None,
    };
    let peer = engine.peers.insert(peer).expect("the table was not full");
    engine.dials.half_open += 1;
    engine.dials.begun.push_back(engine.now);
    engine.admitted += 1;
    engine.order(Order::Dial { peer: PeerKey(peer), to, torrent: key, context });
}

/// Whether no connection to a contact has failed yet: the user is told once.
pub(super) fn is_first_failure(engine: &Engine, key: TorrentKey, contact: usize) -> bool {
    engine.torrents.get(key.0).is_some_and(|torrent| torrent.contacts[contact].failures == 0)
}

/// The connection to a contact is over: it is dialled again after a while, the longer the more
/// often it was of no use.
pub(super) fn redial_later(engine: &mut Engine, key: TorrentKey, contact: usize, useful: bool) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let failures = &mut torrent.contacts[contact].failures;
    *failures = if useful { 0 } else { *failures + 1 };
    let delay = back_off(*failures);
    engine.start_timer(delay, Timer::Redial(key, contact));
}

/// 1 s, doubled with each failure, up to [`limits::REDIAL_DELAY_MAX`].
fn back_off(failures: u32) -> Duration {
    let doubled = limits::REDIAL_DELAY.checked_mul(1 << failures.min(16));
    doubled.map_or(limits::REDIAL_DELAY_MAX, |delay| delay.min(limits::REDIAL_DELAY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let seconds = [0, 1, 2, 5, 6, 100].map(|failures| back_off(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }
}
