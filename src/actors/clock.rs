//! The one place that reads the clock.

use std::time::Instant;

/// The time. Machines are given it; only actors and the main loop ask.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "actors read the clock, and only here")]
    Instant::now()
}
