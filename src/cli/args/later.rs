//! What the contract has and this version has not: it is marked in the help.

/// Options of `download` and `seed` that no value makes work yet.
pub(super) const TRANSFER: [&str; 0] = [];
