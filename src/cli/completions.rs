//! `rondalla completions`: what lets a shell complete the names of subcommands and options.

use std::io::Write;

use argh::{
    CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, PositionalInfo, SubCommandInfo,
};
use argh_complete::Generator;
use argh_complete::bash::Bash;
use argh_complete::fish::Fish;
use argh_complete::zsh::Zsh;
use serde::Serialize;

use crate::cli::answer::{say, say_json};
use crate::cli::args;
use crate::cli::failure::Failure;
use crate::cli::options::{CompletionsOptions, Shell};

#[derive(Serialize)]
struct Object {
    shell: &'static str,
    script: String,
}

/// Prints the script to `out`.
///
/// # Errors
/// If `out` takes nothing.
pub fn run(options: &CompletionsOptions, out: &mut dyn Write) -> Result<(), Failure> {
    let script = script(options.shell);
    if options.output.json {
        let shell = match options.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        say_json(out, &Object { shell, script })
    } else {
        say(out, &script)
    }
}

/// What is behind the options of every subcommand: shells complete it as the name of a file.
const OPERANDS: [PositionalInfo<'static>; 1] = [PositionalInfo {
    name: "FILE",
    description: "a file",
    optionality: Optionality::Repeating,
    hidden: false,
}];

/// The options that stand before any subcommand.
const GLOBAL: [FlagInfo<'static>; 2] =
    [switch("--help", 'h', "print help"), switch("--version", 'V', "print the version")];

const fn switch(long: &'static str, short: char, description: &'static str) -> FlagInfo<'static> {
    let (kind, optionality) = (FlagInfoKind::Switch, Optionality::Optional);
    FlagInfo { kind, optionality, long, short: Some(short), description, hidden: false }
}

fn script(shell: Shell) -> String {
    // argh's descriptions are made to live as long as the process; this one is printed and ends.
    let commands = args::subcommands().into_iter().map(|(name, about, flags)| SubCommandInfo {
        name,
        command: CommandInfoWithArgs {
            name,
            description: about,
            flags: flags.leak(),
            positionals: &OPERANDS,
            ..CommandInfoWithArgs::default()
        },
    });
    let program = CommandInfoWithArgs {
        name: "rondalla",
        flags: &GLOBAL,
        commands: commands.collect(),
        ..CommandInfoWithArgs::default()
    };
    match shell {
        Shell::Bash => Bash::generate(program.name, &program),
        // fish knows `-x` only from version 4 on, and `-o` for the same in all.
        Shell::Fish => {
            Fish::generate(program.name, &program).replace("commandline -xpc", "commandline -opc")
        }
        // The generator has nothing for what stands behind the options, nor for their values.
        Shell::Zsh => Zsh::generate(program.name, &program)
            .replace("    && return 0", "    '*:file:_files' && return 0")
            .replace("': :'", "': :_files'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_is_told_of_every_option() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            let words = ["download", "completions", "max-peers", "metadata-only", "version"];
            for word in words {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
        }
    }
}
