//! The one place that reads the clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time. Machines are given it; only actors and the main loop ask.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "actors read the clock, and only here")]
    Instant::now()
}

/// Since when, and how many times as fast, the ring's time passes: of a whole process, set once.
static HURRY: OnceLock<(Instant, u32)> = OnceLock::new();

/// Lets the ring's time pass `rate` times as fast from now on; for tests, which cannot wait a quarter
/// of an hour for an entry to grow old. Only the first call counts.
pub(crate) fn hurry(rate: u32) {
    HURRY.get_or_init(|| (now(), rate.max(1)));
}

/// The ring's time.
pub(crate) fn ring_now() -> Instant {
    HURRY.get().map_or_else(now, |(since, rate)| *since + (now() - *since) * *rate)
}

/// How long so much of the ring's time takes.
pub(crate) fn ring_wait(time: Duration) -> Duration {
    HURRY.get().map_or(time, |(_, rate)| time / *rate)
}
