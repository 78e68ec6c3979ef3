//! Brings arguments into the one form that argh takes: every option in two arguments under its
//! long name, and behind them `--` and the rest.
//!
//! File names, commands and whatever stands without an option need not be UTF-8, may be `-`, or
//! may look like an option after `--`; argh would refuse all of these. They are shielded: put
//! aside, with their number in their place.

use std::ffi::{OsStr, OsString};
use std::mem;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, PositionalInfo};

use super::nearest::nearest;
use super::values::Shielded;
use crate::cli::failure::Failure;
use crate::formats::path::{readable, shown};

/// Values that may be any bytes, by the name that the help gives them.
const SHIELDED_VALUES: [&str; 4] = ["DIR", "FILE", "COMMAND", "NAME"];

/// Arguments put aside, each under the number that stands in its place.
#[derive(Debug, Default)]
pub(super) struct Shield(Vec<OsString>);

impl Shield {
    fn put(&mut self, argument: OsString) -> String {
        self.0.push(argument);
        (self.0.len() - 1).to_string()
    }

    /// Hands an argument back, once.
    pub(super) fn take(&mut self, Shielded(number): Shielded) -> OsString {
        mem::take(self.0.get_mut(number).expect("argh gives back the numbers it was given"))
    }
}

/// Arguments as argh takes them.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// Each option by its long name, and shielded names.
    pub(super) arguments: Vec<String>,
    /// What the numbers stand for.
    pub(super) shield: Shield,
}

/// Rewrites what stands behind the subcommand `info`; `None` if help is asked for.
pub(super) fn rewrite(
    info: &CommandInfoWithArgs,
    given: impl IntoIterator<Item = OsString>,
) -> Result<Option<Rewritten>, Failure> {
    let mut rewriter = Rewriter { info, rewritten: Rewritten::default(), operands: Vec::new() };
    let mut given = given.into_iter();
    while let Some(argument) = given.next() {
        let kind = Kind::of(&argument);
        match kind {
            Kind::End => {
                rewriter.operands.extend(given);
                break;
            }
            Kind::Long => rewriter.long(&argument, &mut given)?,
            Kind::Short => rewriter.short(&argument, &mut given)?,
            Kind::Operand => rewriter.operands.push(argument),
        }
        if rewriter.rewritten.arguments.last().is_some_and(|last| last == HELP) {
            return Ok(None);
        }
    }
    rewriter.finish().map(Some)
}

const HELP: &str = "--help";

/// What an argument is by its first bytes.
enum Kind {
    End,
    Long,
    Short,
    Operand,
}

impl Kind {
    fn of(argument: &OsStr) -> Self {
        match argument.as_encoded_bytes() {
            b"--" => Self::End,
            [b'-', b'-', ..] => Self::Long,
            [b'-', _, ..] => Self::Short,
            _ => Self::Operand,
        }
    }
}

struct Rewriter<'a> {
    info: &'a CommandInfoWithArgs,
    rewritten: Rewritten,
    operands: Vec<OsString>,
}

impl Rewriter<'_> {
    /// `--option`, `--option value` or `--option=value`.
    fn long(
        &mut self,
        argument: &OsStr,
        following: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        let bytes = argument.as_encoded_bytes();
        let end = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
        let name = readable(&bytes[..end]);
        let Some(flag) = self.info.flags.iter().find(|flag| flag.long == name) else {
            return Err(self.unknown(&name));
        };
        let attached = (end < bytes.len()).then(|| after(argument, end + 1)).transpose()?;
        match value_name(flag) {
            Some(value_name) => {
                let value = attached.or_else(|| following.next());
                self.option(flag, value_name, value)
            }
            None if attached.is_some() => Err(Failure::usage(flag.long, "it takes no value")),
            None => {
                self.rewritten.arguments.push(flag.long.into());
                Ok(())
            }
        }
    }

    /// `-q`, `-vv`, `-qv`, `-d value` or `-dvalue`: letters, the last perhaps with a value.
    fn short(
        &mut self,
        argument: &OsStr,
        following: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        for (place, &letter) in argument.as_encoded_bytes().iter().enumerate().skip(1) {
            let Some(flag) = self.flag_of(letter) else {
                return Err(self.unknown(&shown(argument)));
            };
            if let Some(value_name) = value_name(flag) {
                let attached = after(argument, place + 1)?;
                let value = Some(attached).filter(|rest| !rest.is_empty());
                return self.option(flag, value_name, value.or_else(|| following.next()));
            }
            self.rewritten.arguments.push(flag.long.into());
            if flag.long == HELP {
                break;
            }
        }
        Ok(())
    }

    fn flag_of(&self, letter: u8) -> Option<&'static FlagInfo<'static>> {
        let letter = char::from(letter);
        self.info
            .flags
            .iter()
            .find(|flag| flag.short == Some(letter) || (flag.long == HELP && letter == 'h'))
    }

    fn option(
        &mut self,
        flag: &FlagInfo<'_>,
        value_name: &str,
        value: Option<OsString>,
    ) -> Result<(), Failure> {
        let Some(value) = value else {
            let why = format!("a value is missing: {} {value_name}", flag.long);
            return Err(Failure::usage(flag.long, why));
        };
        let value = if SHIELDED_VALUES.contains(&value_name) {
            if value.is_empty() {
                return Err(Failure::usage(flag.long, "the value is empty"));
            }
            self.rewritten.shield.put(value)
        } else {
            value
                .into_string()
                .map_err(|_bytes| Failure::usage(flag.long, "the value is not UTF-8"))?
        };
        self.rewritten.arguments.extend([flag.long.into(), value]);
        Ok(())
    }

    fn unknown(&self, name: &str) -> Failure {
        let known = self.info.flags.iter().map(|flag| flag.long);
        let why = match nearest(name, known) {
            Some(meant) => format!("there is no such option; did you mean {meant}?"),
            None => "there is no such option; --help lists them".into(),
        };
        Failure::usage(name, why)
    }

    /// Counts the operands and puts them last.
    fn finish(mut self) -> Result<Rewritten, Failure> {
        let expected = self.info.positionals;
        let is_needed = |operand: &&PositionalInfo<'_>| {
            // Whether none will do is for the subcommand to say.
            !matches!(operand.optionality, Optionality::Repeating)
        };
        if let Some(operand) = expected.get(self.operands.len()).filter(is_needed) {
            return Err(missing(operand));
        }
        let repeats =
            expected.last().is_some_and(|last| matches!(last.optionality, Optionality::Repeating));
        if self.operands.len() > expected.len() && !repeats {
            let surplus = shown(&self.operands[expected.len()]);
            return Err(Failure::usage(surplus, "one argument too many"));
        }
        for operand in self.operands {
            self.rewritten.arguments.push(self.rewritten.shield.put(operand));
        }
        Ok(self.rewritten)
    }
}

/// An argument that has to be there.
pub(super) fn missing(operand: &PositionalInfo<'_>) -> Failure {
    Failure::usage(operand.name, format!("missing: {}", operand.description))
}

/// The name of the value that an option takes; `None` for a switch.
fn value_name(flag: &FlagInfo<'static>) -> Option<&'static str> {
    match flag.kind {
        FlagInfoKind::Switch => None,
        FlagInfoKind::Option { arg_name } => Some(arg_name),
    }
}

/// What an argument holds from byte `start` on, behind an option in ASCII.
#[cfg(unix)]
fn after(argument: &OsStr, start: usize) -> Result<OsString, Failure> {
    use std::os::unix::ffi::OsStrExt;
    Ok(OsStr::from_bytes(&argument.as_bytes()[start..]).into())
}

/// What an argument holds from byte `start` on, behind an option in ASCII.
#[cfg(not(unix))]
fn after(argument: &OsStr, start: usize) -> Result<OsString, Failure> {
    let text = argument
        .to_str()
        .ok_or_else(|| Failure::usage(shown(argument), "write the option and its value apart"))?;
    Ok(text[start..].into())
}

#[cfg(test)]
mod tests {
    use argh::ArgsInfo;

    use super::super::declared::{Create, Transfer};
    use super::*;

    /// The rewritten arguments in one line, each shielded one in brackets; `help`, or the failure.
    fn picture(info: &CommandInfoWithArgs, line: &str) -> String {
        let given = line.split_whitespace().map(OsString::from);
        match rewrite(info, given) {
            Err(failure) => failure.to_string(),
            Ok(None) => "help".into(),
            Ok(Some(mut rewritten)) => {
                let shown = rewritten.arguments.iter().map(|argument| {
                    argument.parse().map_or_else(
                        |_| argument.clone(),
                        |number| format!("[{}]", rewritten.shield.take(number).display()),
                    )
                });
                shown.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn every_way_to_write_an_option_becomes_one() {
        let table = [
            ("a --dir b", "--dir [b] [a]"),
            ("--dir=b a", "--dir [b] [a]"),
            ("--dir=b=c a", "--dir [b=c] [a]"),
            ("-d b a", "--dir [b] [a]"),
            ("-db a", "--dir [b] [a]"),
            ("-d=b a", "--dir [=b] [a]"),
            ("-d -q a", "--dir [-q] [a]"),
            ("-qvvdb a", "--quiet --verbose --verbose --dir [b] [a]"),
            ("a b -v c", "--verbose [a] [b] [c]"),
            ("--listen=:1-2 a", "--listen :1-2 [a]"),
            ("-", "[-]"),
            ("-- -q --help -- -", "[-q] [--help] [--] [-]"),
            ("a -- -q", "[a] [-q]"),
            ("help", "[help]"),
            ("7", "[7]"),
        ];
        for (line, expected) in table {
            assert_eq!(picture(&Transfer::get_args_info(), line), expected, "{line}");
        }
    }

    #[test]
    fn help_is_asked_for_in_many_ways() {
        for line in ["--help", "-h", "a -h", "-qh", "-hq", "-h --nonsense", "--dir x --help"] {
            assert_eq!(picture(&Transfer::get_args_info(), line), "help", "{line}");
        }
    }

    #[test]
    fn bad_usage_names_the_argument() {
        let table = [
            ("", "PATH: missing: the file or folder"),
            ("a b", "b: one argument too many"),
            ("a --output", "--output: a value is missing: --output FILE"),
            ("a -o", "--output: a value is missing: --output FILE"),
            ("a --output=", "--output: the value is empty"),
            ("a --private=yes", "--private: it takes no value"),
            ("a --privat", "--privat: there is no such option; did you mean --private?"),
            ("a --privat=x", "--privat: there is no such option; did you mean --private?"),
            ("a --xyzzy", "--xyzzy: there is no such option; --help lists them"),
            ("a -vx", "-vx: there is no such option; --help lists them"),
            ("a -5", "-5: there is no such option; --help lists them"),
            ("a --", "[a]"),
        ];
        for (line, expected) in table {
            assert_eq!(picture(&Create::get_args_info(), line), expected, "{line}");
        }
    }
}
