//! Bytes to values and back: whatever comes from outside is checked here, once.

pub mod allowed_fast;
pub mod announce;
pub mod client;
pub mod http;
pub mod krpc;
pub mod lsd;
pub mod magnet;
pub mod mainline;
pub mod metainfo;
pub mod mse;
pub mod path;
pub mod remembered;
pub mod resume;
pub mod url;
pub mod web_seed;
pub mod wire;
