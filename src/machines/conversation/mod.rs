//! What is said between us and one peer: [`Inbound`] belongs to the peer's reader, [`Outbound`] to
//! its writer. What main decides reaches them as orders; what they share with it are the peer's bit
//! field and its credit.

mod early;
mod gossip;
mod inbound;
mod outbound;

pub use inbound::{Inbound, Violation};
pub use outbound::{Outbound, Speech};
