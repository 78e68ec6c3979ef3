//! The tests that need more than one file's inside. One binary, so that it is linked once.

#![cfg(test)]

/// The command line: arguments, exit codes, and which stream says what.
mod cli;
