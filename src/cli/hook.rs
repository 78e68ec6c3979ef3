//! `--on-done COMMAND`: run once a torrent, when its files are closed.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::words::id::InfoHash;

/// The command and those of its runs that are not over.
#[derive(Debug)]
pub(super) struct Hook {
    command: OsString,
    running: Vec<(String, Child)>,
}

impl Hook {
    /// Runs `command` by `sh -c`.
    pub(super) fn new(command: OsString) -> Self {
        Self { command, running: Vec::new() }
    }

    /// Starts the command for a torrent. What it prints goes to stderr, since stdout is for data.
    /// A warning if it cannot be started.
    pub(super) fn start(&mut self, info_hash: InfoHash, name: &str, path: &Path) -> Option<String> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .env("RONDALLA_INFOHASH", info_hash.to_string())
            .env("RONDALLA_NAME", name)
            .env("RONDALLA_PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::from(io::stderr()))
            .spawn();
        match child {
            Ok(child) => {
                self.running.push((name.to_owned(), child));
                None
            }
            Err(error) => Some(format!("{name}: --on-done: {error}")),
        }
    }

    /// Waits for all runs; a warning for each that failed.
    pub(super) fn finish(self) -> Vec<String> {
        let failed = |(name, mut child): (String, Child)| match child.wait() {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("{name}: --on-done ended with {status}")),
            Err(error) => Some(format!("{name}: --on-done: {error}")),
        };
        self.running.into_iter().filter_map(failed).collect()
    }

    /// A warning for each run that has failed since the last look.
    pub(super) fn look(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.running.retain_mut(|(name, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                if !status.success() {
                    warnings.push(format!("{name}: --on-done ended with {status}"));
                }
                false
            }
            Err(error) => {
                warnings.push(format!("{name}: --on-done: {error}"));
                false
            }
        });
        warnings
    }
}
