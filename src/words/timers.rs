//! What is due at a time: one ordered map, so that the next deadline is its first entry.
//!
//! The clock is never read here: whoever starts a timer says when, and whoever pops says now.

use std::collections::BTreeMap;
use std::time::Instant;

/// Timers by time; those of one time in the order in which they were started.
#[derive(Clone, Debug)]
pub struct Timers<T> {
    by_time: BTreeMap<(Instant, u64), T>,
    started: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { by_time: BTreeMap::new(), started: 0 }
    }
}

impl<T> Timers<T> {
    /// Makes `timer` due at `at`. The key cancels it.
    pub fn start(&mut self, at: Instant, timer: T) -> (Instant, u64) {
        self.started += 1;
        self.by_time.insert((at, self.started), timer);
        (at, self.started)
    }

    /// Forgets the timer that was started under `key`, if it is still there.
    pub fn cancel(&mut self, key: (Instant, u64)) -> Option<T> {
        self.by_time.remove(&key)
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next timer, if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.by_time.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// How many are to come.
    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn timers_come_in_their_order_and_not_before_their_time() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.start(at(2), 'c');
        timers.start(at(1), 'a');
        let cancelled = timers.start(at(1), 'x');
        timers.start(at(1), 'b');
        assert_eq!(timers.cancel(cancelled), Some('x'));
        assert_eq!(timers.cancel(cancelled), None);
        assert_eq!((timers.next(), timers.len()), (Some(at(1)), 3));
        assert_eq!(timers.pop_due(now), None);
        assert_eq!(timers.pop_due(at(1)), Some('a'));
        assert_eq!(timers.pop_due(at(5)), Some('b'));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(timers.pop_due(at(2)), Some('c'));
        assert!(timers.is_empty());
    }
}
