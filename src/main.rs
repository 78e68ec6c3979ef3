//! The program `rondalla`: all of it is in the library.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    rondalla::cli::main(env::args_os().skip(1))
}
