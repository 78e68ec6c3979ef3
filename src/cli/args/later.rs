//! What the contract has and this version has not: refused by name rather than passed over.

use crate::cli::failure::Failure;
use crate::cli::options::{Encryption, TransferOptions, VerifyOptions};
use crate::words::units::Rate;

/// Subcommands of later versions.
pub(super) const SUBCOMMANDS: [&str; 5] = ["node", "lookup", "ring", "tracker", "completions"];

/// Options of `download` and `seed` that no value makes work yet.
pub(super) const TRANSFER: [&str; 12] = [
    "--join",
    "--tracker",
    "--limit-down",
    "--limit-up",
    "--select",
    "--sequential",
    "--seed-ratio",
    "--seed-time",
    "--metadata-only",
    "--watch",
    "--on-done",
    "--trace",
];

/// Options of `verify` that no value makes work yet.
pub(super) const VERIFY: [&str; 1] = ["--select"];

/// Refuses what `download` and `seed` cannot do yet.
pub(super) fn refuse_unbuilt(options: &TransferOptions) -> Result<(), Failure> {
    first_given(&[
        ("--join", !options.network.joins.is_empty()),
        ("--tracker", !options.network.trackers.is_empty()),
        ("--encryption require", options.network.encryption == Encryption::Require),
        ("--limit-down", options.limit_down != Rate(0)),
        ("--limit-up", options.limit_up != Rate(0)),
        ("--select", options.select.is_some()),
        ("--sequential", options.sequential),
        ("--seed-ratio", options.seed_ratio.is_some()),
        ("--seed-time", options.seed_time.is_some()),
        ("--metadata-only", options.metadata_only),
        ("--watch", options.watch.is_some()),
        ("--on-done", options.on_done.is_some()),
        ("--trace", options.trace.is_some()),
    ])
}

/// Refuses what `verify` cannot do yet.
pub(super) fn refuse_unbuilt_in_verify(options: &VerifyOptions) -> Result<(), Failure> {
    first_given(&[("--select", options.select.is_some())])
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
