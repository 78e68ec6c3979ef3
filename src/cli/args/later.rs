//! What the contract has and this version has not: refused by name rather than passed over.

use crate::cli::failure::Failure;
use crate::cli::options::TransferOptions;

/// Subcommands of later versions.
pub(super) const SUBCOMMANDS: [&str; 1] = ["tracker"];

/// Options of `download` and `seed` that no value makes work yet.
pub(super) const TRANSFER: [&str; 1] = ["--tracker"];

/// Refuses what `download` and `seed` cannot do yet.
pub(super) fn refuse_unbuilt(options: &TransferOptions) -> Result<(), Failure> {
    first_given(&[("--tracker", !options.network.trackers.is_empty())])
}

/// The answer to whatever is not there yet.
pub(super) fn refusal(what: &str) -> Failure {
    Failure::usage(what, "not in this version")
}

fn first_given(unbuilt: &[(&str, bool)]) -> Result<(), Failure> {
    match unbuilt.iter().find(|(_, given)| *given) {
        Some((what, _)) => Err(refusal(what)),
        None => Ok(()),
    }
}
