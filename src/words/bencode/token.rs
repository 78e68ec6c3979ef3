//! The smallest parts of bencode, one at a time.

use super::{Error, Fault, Form};

/// What begins at one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// The digits with their sign.
    Integer(&'a [u8]),
    /// The string without its length.
    String(&'a [u8]),
    List,
    Dictionary,
    End,
}

/// The token at `at`, and where the next one begins. Of the forms, only [`Form::Loose`] differs.
pub(super) fn token(bytes: &[u8], at: usize, form: Form) -> Result<(Token<'_>, usize), Error> {
    match bytes.get(at) {
        None => Err(Error { at, fault: Fault::Truncated }),
        Some(b'l') => Ok((Token::List, at + 1)),
        Some(b'd') => Ok((Token::Dictionary, at + 1)),
        Some(b'e') => Ok((Token::End, at + 1)),
        Some(b'i') => integer(bytes, at, form),
        Some(b'0'..=b'9') => string(bytes, at, form),
        Some(&byte) => Err(Error { at, fault: Fault::Unexpected(byte) }),
    }
}

fn integer(bytes: &[u8], at: usize, form: Form) -> Result<(Token<'_>, usize), Error> {
    let start = at + 1;
    let is_loose = form == Form::Loose;
    let end = match bytes.get(start) {
        _ if is_loose => run_end(bytes, start, |byte| byte == b'-' || byte.is_ascii_digit()),
        Some(b'-') => digits_end(bytes, start + 1),
        Some(_) | None => digits_end(bytes, start),
    };
    match bytes.get(end) {
        None => Err(Error { at: end, fault: Fault::Truncated }),
        Some(b'e') if is_loose || is_canonical_integer(&bytes[start..end]) => {
            Ok((Token::Integer(&bytes[start..end]), end + 1))
        }
        Some(_) => Err(Error { at, fault: Fault::Integer }),
    }
}

fn string(bytes: &[u8], at: usize, form: Form) -> Result<(Token<'_>, usize), Error> {
    let end = digits_end(bytes, at);
    match bytes.get(end) {
        None => return Err(Error { at: end, fault: Fault::Truncated }),
        Some(b':') if form == Form::Loose || is_canonical(&bytes[at..end]) => {}
        Some(_) => return Err(Error { at, fault: Fault::Length }),
    }
    let rest = &bytes[end + 1..];
    let len = number(&bytes[at..end]).and_then(|len: i64| usize::try_from(len).ok());
    match len.and_then(|len| rest.get(..len)) {
        Some(text) => Ok((Token::String(text), end + 1 + text.len())),
        None => Err(Error { at, fault: Fault::TooLong }),
    }
}

fn digits_end(bytes: &[u8], start: usize) -> usize {
    run_end(bytes, start, |byte| byte.is_ascii_digit())
}

fn run_end(bytes: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().take_while(|byte| belongs(**byte)).count()
}

fn is_canonical_integer(digits: &[u8]) -> bool {
    match digits.strip_prefix(b"-") {
        Some(digits) => digits != b"0" && is_canonical(digits),
        None => is_canonical(digits),
    }
}

/// Whether decimal digits are there at all and have no zero in front.
fn is_canonical(digits: &[u8]) -> bool {
    matches!(digits, [b'0'] | [b'1'..=b'9', ..])
}

/// The number, unless 64 bits cannot hold it.
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    str::from_utf8(digits).ok()?.parse().ok()
}
