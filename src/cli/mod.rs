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
}
