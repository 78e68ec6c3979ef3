//! The ground floor: what everything else is made of.

pub mod address;
pub mod bencode;
pub mod id;
pub mod limits;
pub mod slab;
pub mod units;
