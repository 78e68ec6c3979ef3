//! Signals: the first lets the session end in order, within a limit; the second ends the process
//! at once.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

use crate::cli::failure::{Exit, Failure};
use crate::session::Remote;
use crate::words::limits;

/// From now on SIGINT, SIGTERM and SIGHUP end the session.
pub(super) fn end_on_signal(remote: Remote) -> Result<(), Failure> {
    let seen = AtomicBool::new(false);
    let handle = move || {
        if seen.swap(true, Ordering::Relaxed) {
            process::exit(Exit::Interrupted as i32);
        }
        // To publish may mean to wait for main, and a second signal must not wait for that.
        let remote = remote.clone();
        let publish = Builder::new().name("signals".into()).spawn(move || {
            remote.quit();
            // Whoever has not ended the process by then waits for what may never answer.
            crossbeam_channel::after(limits::EXIT_MAX).recv().ok();
            process::exit(Exit::Interrupted as i32);
        });
        if publish.is_err() {
            process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handle).map_err(|error| Failure {
        exit: Exit::Failure,
        what: "signals".to_owned(),
        why: error.to_string(),
    })
}
