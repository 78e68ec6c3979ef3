//! The ground floor: what everything else is made of.

pub mod id;
pub mod limits;
pub mod rng;
pub mod slab;
