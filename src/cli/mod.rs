//! The command line: one file a subcommand.

pub mod args;
pub mod failure;
pub mod options;
pub mod progress;
pub mod terminal;

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
        Invocation::Run(command) => dispatch(&command, out, err)?,
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
fn dispatch(command: &Command, _out: &mut dyn Write, _err: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::Create(_options) => absent("create"),
        Command::Show(_options) => absent("show"),
        Command::Verify(_options) => absent("verify"),
        Command::Magnet(_options) => absent("magnet"),
        Command::Download(_options) => absent("download"),
        Command::Seed(_options) => absent("seed"),
    }
}

fn absent(subcommand: &str) -> Result<(), Failure> {
    Err(Failure::usage(subcommand, "not in this version"))
pub mod create;
pub mod failure;
pub mod magnet;
pub mod options;
pub mod show;
pub mod source;
pub mod terminal;

mod glob;

use std::io::{self, Write};

use failure::Failure;

/// Writes data for the user to stdout.
fn say(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes one JSON object and an end of line to stdout.
fn say_json(out: &mut dyn Write, object: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(object).expect("plain structures are always JSON");
    say(out, &(text + "\n"))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| Failure::file("stdout", &error))
}
