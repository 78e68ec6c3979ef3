//! What the simulated threads act on: the clock, the network and chance.

use rondalla::words::rng::Rng;

use super::clock::Clock;
use super::network::{Broken, Network, Plug};
use super::plan::Chances;

#[derive(Debug)]
pub(super) struct Scene {
    pub(super) clock: Clock,
    pub(super) network: Network,
    pub(super) rng: Rng,
    pub(super) chances: Chances,
}

impl Scene {
    /// True in `per_mille` of a thousand cases.
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.rng.chance(per_mille, 1000)
    }

    pub(super) fn write(&mut self, plug: Plug, bytes: &[u8]) -> Result<usize, Broken> {
        self.network.write(&mut self.clock, &mut self.rng, plug, bytes)
    }
}
