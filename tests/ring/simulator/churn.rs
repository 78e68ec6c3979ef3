//! How long members stay: sessions of users are Weibull (Stutzbach and Rejaie, IMC 2006).

use std::time::Duration;

use rondalla::words::rng::Rng;

use super::internet::unit;

/// The lengths of sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weibull {
    /// The shape k: below 1, most leave soon and some stay for very long.
    pub(crate) shape: f64,
    /// The scale λ.
    pub(crate) scale: Duration,
}

impl Weibull {
    /// The downloads of Debian that the paper measured, in minutes: median 16, mean 163.
    pub(crate) fn debian() -> Self {
        Self { shape: 0.38, scale: Duration::from_secs_f64(42.4 * 60.0) }
    }

    /// How long a session lasts: the inverse of the distribution at a random place.
    pub(crate) fn session(&self, rng: &mut Rng) -> Duration {
        let share = 1.0 - unit(rng.next_u64());
        self.scale.mul_f64((-share.ln()).powf(1.0 / self.shape).min(1e4))
    }

    /// How long somebody stays on whom one meets at a random time: long sessions are met more often.
    /// A session is met with a chance in proportion to its length, at an even place of it.
    pub(crate) fn rest(&self, rng: &mut Rng) -> Duration {
        let sessions: Vec<_> = (0..64).map(|_| self.session(rng)).collect();
        let mut place = sessions.iter().sum::<Duration>().mul_f64(unit(rng.next_u64()));
        for session in sessions {
            if place < session {
                return session - place;
            }
            place -= session;
        }
        Duration::ZERO
    }
}
