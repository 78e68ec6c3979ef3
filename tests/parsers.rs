//! Every reader of bytes, with what the fuzz targets kept (`replayed`) and with values out of a
//! seed (`values`), and the tables that both stand on (`tables`).
//!
//! The values come from the program's own generator rather than from a crate for properties: what
//! such a crate adds is shrinking, and cargo-fuzz has that for whoever finds a failure with bytes.

#[path = "fuzz/properties/mod.rs"]
mod properties;
mod replayed;
mod tables;
mod values;
