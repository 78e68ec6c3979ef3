//! The ground floor: what everything else is made of.

pub mod address;
pub mod bencode;
pub mod bitfield;
pub mod crc32c;
pub mod have_log;
pub mod id;
pub mod limits;
pub mod node_id;
pub mod permutation;
pub mod priority;
pub mod ring_id;
pub mod rng;
pub mod slab;
pub mod steps;
pub mod swarm_log;
pub mod timers;
pub mod units;
