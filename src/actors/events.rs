//! The queue of events between main and whoever tells the user.
//!
//! A slow reader loses nothing but progress, of which the newest replaces the older, and, past a
//! bound, the oldest news of lesser weight. Main never waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::bus::{Event, TorrentEvent};
use crate::words::id::InfoHash;
use crate::words::limits;

/// Both ends of a queue of events.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

/// The reader's end: an iterator that waits, and ends after [`Event::Ended`].
#[derive(Debug)]
pub struct Events {
    queue: Arc<EventQueue>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    pushed: u64,
    by_order: BTreeMap<u64, Event>,
    /// Where a torrent's progress waits to be read, or replaced.
    replaceable: BTreeMap<(InfoHash, Kind), u64>,
    /// Where the news of lesser weight wait, the oldest first.
    minor: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Checking,
    Progress,
}

/// How much an event matters to a reader who is late.
enum Weight {
    Kept,
    Minor,
    Replaceable(InfoHash, Kind),
}

fn weight(event: &Event) -> Weight {
    match event {
        Event::Listening(_)
        | Event::Ring(_)
        | Event::Mainline
        | Event::Turns { .. }
        | Event::Ended => Weight::Kept,
        Event::Stranger { .. } | Event::Warning(_) | Event::SlowTurn { .. } => Weight::Minor,
        Event::Torrent(info_hash, event) => match event {
            TorrentEvent::Sought { .. }
            | TorrentEvent::Metadata { .. }
            | TorrentEvent::Started { .. }
            | TorrentEvent::Checked { .. }
            | TorrentEvent::Finished { .. }
            | TorrentEvent::Settled { .. }
            | TorrentEvent::Error(_) => Weight::Kept,
            TorrentEvent::Peer { .. }
            | TorrentEvent::Tracker { .. }
            | TorrentEvent::Piece(_)
            | TorrentEvent::Warning(_) => Weight::Minor,
            TorrentEvent::Checking { .. } => Weight::Replaceable(*info_hash, Kind::Checking),
            TorrentEvent::Progress(_) => Weight::Replaceable(*info_hash, Kind::Progress),
        },
    }
}

impl EventQueue {
    /// Adds an event. It takes the logarithm of what waits.
    pub(crate) fn push(&self, event: Event) {
        let mut waiting = self.waiting.lock();
        waiting.pushed += 1;
        let at = waiting.pushed;
        match weight(&event) {
            Weight::Kept => {
                waiting.by_order.insert(at, event);
            }
            Weight::Minor => {
                if waiting.minor.len() >= limits::EVENTS_MAX
                    && let Some(oldest) = waiting.minor.pop_front()
                {
                    waiting.by_order.remove(&oldest);
                }
                waiting.minor.push_back(at);
                waiting.by_order.insert(at, event);
            }
            Weight::Replaceable(info_hash, kind) => {
                if let Some(older) = waiting.replaceable.insert((info_hash, kind), at) {
                    waiting.by_order.remove(&older);
                }
                waiting.by_order.insert(at, event);
            }
        }
        self.news.notify_one();
    }

    fn pop(&self, patience: Option<Duration>) -> Option<Event> {
        let mut waiting = self.waiting.lock();
        while waiting.by_order.is_empty() {
            match patience {
                None => self.news.wait(&mut waiting),
                Some(patience) => {
                    if self.news.wait_for(&mut waiting, patience).timed_out() {
                        return None;
                    }
                }
            }
        }
        waiting.pop()
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Event> {
        let (at, event) = self.by_order.pop_first()?;
        match weight(&event) {
            Weight::Kept => {}
            Weight::Minor => {
                self.minor.pop_front_if(|oldest| *oldest == at);
            }
            Weight::Replaceable(info_hash, kind) => {
                self.replaceable.remove(&(info_hash, kind));
            }
        }
        Some(event)
    }
}

impl Events {
    pub(crate) fn of(queue: &Arc<EventQueue>) -> Self {
        Self { queue: Arc::clone(queue), ended: false }
    }

    /// The next event, or `None` if none comes in time or the session is over.
    pub fn next_within(&mut self, patience: Duration) -> Option<Event> {
        self.take(Some(patience))
    }

    fn take(&mut self, patience: Option<Duration>) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.queue.pop(patience);
        self.ended = event == Some(Event::Ended);
        event
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.take(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Progress;

    const A: InfoHash = InfoHash([1; 20]);

    fn progress(done: u64) -> Event {
        Event::Torrent(A, TorrentEvent::Progress(Progress { done, ..Progress::default() }))
    }

    fn warning(n: usize) -> Event {
        Event::Torrent(A, TorrentEvent::Warning(n.to_string()))
    }

    #[test]
    fn a_late_reader_loses_old_progress_and_the_oldest_warnings() {
        let queue = Arc::new(EventQueue::default());
        queue.push(progress(1));
        (0..limits::EVENTS_MAX + 2).for_each(|n| queue.push(warning(n)));
        queue.push(progress(2));
        queue.push(Event::Ended);
        let events: Vec<_> = Events::of(&queue).collect();
        assert_eq!(events.len(), limits::EVENTS_MAX + 2);
        assert_eq!(events[0], warning(2));
        assert_eq!(events[events.len() - 2..], [progress(2), Event::Ended]);
    }

    #[test]
    fn what_was_read_is_not_replaced() {
        let queue = Arc::new(EventQueue::default());
        let mut events = Events::of(&queue);
        for done in 0..3 {
            queue.push(progress(done));
            assert_eq!(events.next(), Some(progress(done)));
        }
        assert_eq!(events.next_within(Duration::ZERO), None);
    }
}
