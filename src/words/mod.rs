//! The ground floor: what everything else is made of.

pub mod bencode;
pub mod id;
pub mod limits;
pub mod slab;
