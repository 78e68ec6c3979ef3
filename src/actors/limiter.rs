//! The rate limit of one direction: one bucket, in which the peers' threads wait; main never does.
//!
//! Whoever moves bytes takes them from the bucket, even below zero, and then waits until it is
//! above zero again. So a block is never cut, and over a second the rate holds.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::actors::clock::now;
use crate::words::limits;

/// A bucket that fills at a rate.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Bytes a second; 0 is no limit.
    rate: u64,
    bucket: Mutex<Bucket>,
    /// Nobody signals it: it is what a thread waits on while time passes.
    never: Condvar,
}

#[derive(Debug)]
struct Bucket {
    /// Bytes that may be moved at once; below zero what was moved too early.
    level: i64,
    filled_at: Instant,
}

impl Limiter {
    /// At most `rate` bytes a second; 0 is no limit.
    pub(crate) fn new(rate: u64) -> Self {
        let bucket = Mutex::new(Bucket { level: 0, filled_at: now() });
        Self { rate, bucket, never: Condvar::new() }
    }

    /// `len` bytes are moved as soon as the rate allows it: at that time, if it is not now.
    pub(crate) fn take(&self, len: u32) -> Option<Instant> {
        if self.rate == 0 {
            return None;
        }
        let time = now();
        let debt = self.bucket.lock().take(self.rate, len, time);
        (!debt.is_zero()).then(|| time + debt)
    }

    /// `len` bytes are moved: waits until the rate allows it, or `is_over` says that there is
    /// nothing to wait for any more.
    pub(crate) fn wait_for(&self, len: u32, is_over: impl Fn() -> bool) {
        if self.rate == 0 {
            return;
        }
        let mut bucket = self.bucket.lock();
        let until = now() + bucket.take(self.rate, len, now());
        while now() < until && !is_over() {
            let part = until.min(now() + limits::LIMITER_WAIT_MAX);
            self.never.wait_until(&mut bucket, part);
        }
    }
}

impl Bucket {
    /// Takes `len` bytes; how long the debt lasts.
    fn take(&mut self, rate: u64, len: u32, now: Instant) -> Duration {
        let passed = now.duration_since(self.filled_at).as_micros();
        let rate = i128::from(rate);
        let gained = i128::try_from(passed).unwrap_or(i128::MAX).saturating_mul(rate) / 1_000_000;
        if gained > 0 {
            // A second's worth at most is saved up.
            let full = i128::from(self.level).saturating_add(gained).min(rate);
            self.level = i64::try_from(full).unwrap_or(i64::MAX);
            self.filled_at = now;
        }
        self.level = self.level.saturating_sub(i64::from(len));
        let debt = u64::try_from(-self.level).unwrap_or(0);
        let micros = u128::from(debt) * 1_000_000 / u128::try_from(rate).unwrap_or(1).max(1);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debt_is_waited_for_and_no_more_than_a_second_is_saved() {
        let start = now();
        let mut bucket = Bucket { level: 0, filled_at: start };
        let mut take =
            |millis, len| bucket.take(1000, len, start + Duration::from_millis(millis)).as_millis();
        assert_eq!(take(0, 500), 500);
        assert_eq!(take(500, 0), 0);
        assert_eq!(take(600, 200), 100);
        assert_eq!(take(10_000, 1000), 0, "a second's worth was saved");
        assert_eq!(take(10_000, 1), 1, "and not more");
        assert_eq!(take(10_000, 999), 1000);
    }
}
