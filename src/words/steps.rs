//! Steps: the unit in which the main thread's work is counted.
//!
//! Every loop of a machine counts its turns here, so that a test can assert that a handler's work
//! does not grow with the number of peers, pieces, torrents or bytes.

/// The steps that one handler has taken.
#[derive(Debug, Default)]
pub struct Steps(u32);

impl Steps {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One turn of a loop, or one look-up in an ordered map.
    pub fn step(&mut self) {
        self.0 += 1;
    }

    /// `turns` turns of a loop that counts for itself, such as a search.
    pub fn turns(&mut self, turns: usize) {
        self.0 = self.0.saturating_add(u32::try_from(turns).unwrap_or(u32::MAX));
    }

    /// The steps so far.
    pub fn taken(&self) -> u32 {
        self.0
    }
}
