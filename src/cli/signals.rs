//! Signals: the first lets the session end in order, within a limit; the second ends the process
//! at once.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

use crossbeam_channel::bounded;

use crate::cli::failure::{Exit, Failure, no_thread};
use crate::session::Remote;
use crate::words::limits;

/// From now on SIGINT, SIGTERM and SIGHUP end the session.
pub(super) fn end_on_signal(remote: Remote) -> Result<(), Failure> {
    call_on_signal(move || remote.quit())
}

/// From now on the first of SIGINT, SIGTERM and SIGHUP calls `quit`.
pub(super) fn call_on_signal(quit: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let (tell, told) = bounded(1);
    // To publish may mean to wait for main, and a second signal must not wait for that. The thread
    // is there from the beginning, since there may be none to have when the signal comes.
    let publish = move || {
        if told.recv().is_err() {
            return;
        }
        quit();
        // Whoever has not ended the process by then waits for what may never answer.
        crossbeam_channel::after(limits::EXIT_MAX).recv().ok();
        process::exit(Exit::Interrupted as i32);
    };
    let builder = Builder::new().name("signals".into()).stack_size(limits::stacks::SIGNALS);
    builder.spawn(publish).map_err(|error| no_thread("signals", &error))?;
    let seen = AtomicBool::new(false);
    let handle = move || {
        if seen.swap(true, Ordering::Relaxed) || tell.try_send(()).is_err() {
            process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handle).map_err(|error| match error {
        ctrlc::Error::System(error) => no_thread("signals", &error),
        other @ (ctrlc::Error::NoSuchSignal(_) | ctrlc::Error::MultipleHandlers) => {
            Failure { exit: Exit::Failure, what: "signals".to_owned(), why: other.to_string() }
        }
    })
}
