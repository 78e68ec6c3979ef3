//! Means and percentiles of what was measured.

use std::fmt;

/// Measurements of one quantity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    values: Vec<f64>,
}

impl Figures {
    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.values.iter().sum()
    }

    pub(crate) fn mean(&self) -> f64 {
        self.sum() / self.len().max(1) as f64
    }

    /// The share of all that is at least `from` and below `to`.
    pub(crate) fn share(&self, from: f64, to: f64) -> f64 {
        let within = self.values.iter().filter(|value| (from..to).contains(value)).count();
        within as f64 / self.len().max(1) as f64
    }

    /// The value below which a share of all lies; 0 without any.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let below = share * sorted.len() as f64;
        let mut upper = (0..sorted.len()).filter(|n| (n + 1) as f64 > below);
        let place = upper.next().or_else(|| sorted.len().checked_sub(1));
        place.map_or(0.0, |place| sorted[place])
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self { values: values.into_iter().collect() }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| self.at(share));
        write!(f, "mean {:.2}, p50 {p50:.2}, p90 {p90:.2}, p99 {p99:.2}", self.mean())
    }
}
