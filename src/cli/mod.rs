//! The command line: one file a subcommand.

pub mod args;
pub mod completions;
pub mod create;
pub mod failure;
pub mod lookup;
pub mod magnet;
pub mod node;
pub mod options;
pub mod picture;
pub mod progress;
pub mod ring;
pub mod show;
pub mod source;
pub mod terminal;
pub mod tracker;
pub mod transfer;
pub mod verify;

mod answer;
mod console;
mod glob;
mod hook;
mod host;
mod json;
mod signals;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use args::{Environment, Invocation};
use failure::{Exit, Failure};
use options::Command;
use terminal::Out;

/// Runs the program with the arguments behind its own name, and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (mut out, mut err) = (Out::new(io::stdout()), Out::new(io::stderr()));
    match run(arguments, &mut out, &mut err) {
        Ok(exit) => exit,
        Err(failure) => {
            // An stderr that takes nothing leaves the exit code to speak.
            writeln!(err, "rondalla: {failure}").ok();
            failure.exit.into()
        }
    }
}

fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    match args::parse(arguments, &Environment::of_process())? {
        Invocation::Run(command) => return dispatch(&command, out, err),
        Invocation::Print(text) => print(&text, out).map_err(|e| Failure::file("stdout", &e))?,
        Invocation::Usage(text) => {
            print(&text, err)
                .map_err(|e| Failure { exit: Exit::Usage, ..Failure::file("stderr", &e) })?;
            return Ok(Exit::Usage.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

/// One subcommand, one call.
fn dispatch(
    command: &Command,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Create(options) => create::run(options, out, err).map(done),
        Command::Show(options) => show::run(options, out, err).map(done),
        Command::Verify(options) => verify::run(options, out, err),
        Command::Magnet(options) => magnet::run(options, out, err).map(done),
        Command::Completions(options) => completions::run(options, out).map(done),
        Command::Download(options) => transfer::download(options, err),
        Command::Seed(options) => transfer::seed(options, err),
        Command::Node(options) => node::run(options),
        Command::Lookup(options) => lookup::run(options, out),
        Command::Ring(options) => ring::run(options, out).map(done),
        Command::Tracker(options) => tracker::run(options, out, err),
    }
}
