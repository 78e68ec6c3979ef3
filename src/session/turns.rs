//! How long the main thread's turns take: what is slow is told, with its notification.

use std::time::{Duration, Instant};

use crate::bus::Event;
use crate::words::limits;

/// Classes of turns by their length in nanoseconds: four to each doubling.
const CLASSES: usize = 4 * u64::BITS as usize;

/// The turns so far.
#[derive(Debug)]
pub(super) struct Turns {
    count: u64,
    /// How many there were in each class.
    classes: [u64; CLASSES],
    slowest: Duration,
    /// What the slowest handled.
    what: &'static str,
    told_at: Option<Instant>,
}

impl Default for Turns {
    fn default() -> Self {
        let (count, classes, slowest) = (0, [0; CLASSES], Duration::ZERO);
        Self { count, classes, slowest, what: "", told_at: None }
    }
}

/// The class of a turn.
fn class(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(4);
    let doublings = nanos.ilog2();
    4 * doublings as usize + ((nanos >> (doublings - 2)) & 3) as usize
}

/// The longest turn of a class.
fn longest(class: usize) -> Duration {
    let (doublings, quarter) = (class / 4, class as u128 % 4);
    let nanos = ((5 + quarter) << doublings) / 4 - 1;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
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
        self.classes[class(took)] += 1;
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
        let within = [500, 990, 999].map(|of_1000| self.within(of_1000));
        Event::Turns { count: self.count, within, slowest: self.slowest, what: self.what }
    }

    /// How long so many of 1000 turns took at most, by their classes.
    fn within(&self, of_1000: u64) -> Duration {
        let enough = (self.count * of_1000).div_ceil(1000);
        let mut counted = 0;
        let last = self.classes.iter().position(|turns| {
            counted += turns;
            counted >= enough
        });
        last.map_or(self.slowest, longest).min(self.slowest)
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
        let Event::Turns { count: 4, slowest: found, what: of, .. } = turns.summary() else {
            panic!("{:?}", turns.summary());
        };
        assert_eq!((found, of), (slowest, what));
    }

    #[test]
    fn turns_are_sorted_to_a_quarter() {
        let nanos = Duration::from_nanos;
        for took in [4, 5, 7, 8, 9, 10, 100, 127, 128, 159, 160, 1_000_000, u64::MAX] {
            let class = class(nanos(took));
            assert!(nanos(took) <= longest(class), "{took} in {class}");
            assert!(class == 8 || longest(class - 1) < nanos(took), "{took} in {class}");
        }
        let start = now();
        let mut turns = Turns::default();
        for (count, took) in [(500, 100), (490, 1_000), (9, 50_000), (1, 700_000)] {
            for _ in 0..count {
                turns.handle_turn("Block", start, start + nanos(took));
            }
        }
        let within = [nanos(111), nanos(1_023), nanos(57_343)];
        let slowest = nanos(700_000);
        assert_eq!(turns.summary(), Event::Turns { count: 1000, within, slowest, what: "Block" });
    }
}
