//! How long the main thread's turns take: what is slow is told, with its notification.

use std::time::{Duration, Instant};

use crate::bus::Event;
use crate::words::limits;

/// The turns so far.
#[derive(Debug, Default)]
pub(super) struct Turns {
    count: u64,
    slowest: Duration,
    /// What the slowest handled.
    what: &'static str,
    told_at: Option<Instant>,
}

impl Turns {
    /// A turn that handled `what` is over. An event if it was slow and the last slow one was not
    /// just told.
    pub(super) fn handle_turn(
        &mut self,
        what: &'static str,
        began: Instant,
        ended: Instant,
    ) -> Option<Event> {
        let took = ended.saturating_duration_since(began);
        self.count += 1;
        if took > self.slowest {
            (self.slowest, self.what) = (took, what);
        }
        if took <= limits::TURN_SLOW {
            return None;
        }
        let just_told = self.told_at.is_some_and(|at| ended < at + limits::TURN_TOLD_EVERY);
        (!just_told).then(|| {
            self.told_at = Some(ended);
            Event::SlowTurn { what, took }
        })
    }

    /// What is told at the end.
    pub(super) fn summary(&self) -> Event {
        Event::Turns { count: self.count, slowest: self.slowest, what: self.what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::clock::now;

    #[test]
    fn a_slow_turn_is_told_and_those_right_behind_it_are_not() {
        let (start, ms) = (now(), Duration::from_millis);
        let table = [
            // what, began, took -> told
            ("Block", ms(0), limits::TURN_SLOW, false),
            ("Sample", ms(100), ms(11), true),
            ("Gained", ms(200), ms(500), false),
            ("Gone", limits::TURN_TOLD_EVERY + ms(100), ms(11), true),
        ];
        let mut turns = Turns::default();
        for (what, began, took, told) in table {
            let began = start + began;
            let event = turns.handle_turn(what, began, began + took);
            assert_eq!(event, told.then_some(Event::SlowTurn { what, took }), "{what}");
        }
        let (slowest, what) = (ms(500), "Gained");
        assert_eq!(turns.summary(), Event::Turns { count: 4, slowest, what });
    }
}
