//! Whatever decides: pure, deterministic, given the time and the chance that it needs.

pub mod budget;
pub mod choker;
pub mod chord;
pub mod conversation;
pub mod engine;
pub mod kademlia;
pub mod lan;
pub mod outstanding;
pub mod picker;
pub mod rarity;
pub mod swarms;
pub mod tracker;
pub mod udp_trackers;

#[cfg(test)]
pub(crate) mod made_up;
