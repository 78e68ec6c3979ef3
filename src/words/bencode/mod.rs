//! Bencode (BEP 3, "bencoding"), checked without recursion before anything else looks at it.
//!
//! [`scan`] approves bytes or says what is wrong and at which byte. What it approves is seen
//! through [`Value`]: a window on the same bytes that knows where it stands in them, so that the
//! raw bytes of any value (the info-hash needs those of `info`) are at hand. Nothing is copied.
//! Typed values are read from these windows by `serde_bencode`, which by itself recurses without
//! a limit and forgives what must not be forgiven.
//!
//! How much is forgiven is the reader's choice, a [`Form`]. In torrents, integers and lengths must
//! be canonical and no key occurs twice, so that everybody reads the same; keys out of order are
//! forgiven, since makers of torrents exist that do not sort, and the info-hash is over the raw
//! bytes anyway. In what a peer says of itself, all is forgiven but what has no meaning.

mod token;
mod value;

use std::cmp::Ordering;
use std::fmt;

use crate::words::limits::BENCODE_UNSORTED_KEYS_MAX;
use token::{Token, token};

pub use value::Value;

/// How much is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing: keys ascend, as BEP 3 demands.
    Canonical,
    /// Keys may stand in any order, in dictionaries of at most
    /// [`BENCODE_UNSORTED_KEYS_MAX`] keys.
    Unsorted,
    /// Keys may also occur twice, in dictionaries of any size; integers and lengths may have zeros
    /// in front, and integers may be any digits and dashes, or none.
    Loose,
}

/// What was wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The offset of the byte at fault.
    pub at: usize,
    /// What was wrong there.
    pub fault: Fault,
}

/// What can be wrong with bencode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside a value.
    Truncated,
    /// A value can not begin with this byte.
    Unexpected(u8),
    /// An integer that is empty, has a leading zero, is `-0`, or holds something else than digits.
    Integer,
    /// A length that is empty, has a leading zero or holds something else than digits.
    Length,
    /// A string is longer than what is left.
    TooLong,
    /// Lists and dictionaries are nested deeper than was allowed.
    TooDeep(usize),
    /// Something else than a string stands where a key belongs.
    KeyNoString,
    /// A key without a value.
    KeyAlone,
    /// A key smaller than the one before it.
    KeyOrder,
    /// A key that its dictionary has twice.
    KeyTwice,
    /// A dictionary out of order with more keys than are sorted for a stranger.
    TooManyKeys,
    /// Bytes after the end of the value.
    Trailing,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Truncated => write!(f, "it ends in the middle of a value"),
            Fault::Unexpected(byte) => write!(f, "no value begins with '{}'", byte.escape_ascii()),
            Fault::Integer => write!(f, "a malformed integer"),
            Fault::Length => write!(f, "a malformed string length"),
            Fault::TooLong => write!(f, "a string longer than what is left"),
            Fault::TooDeep(depth) => write!(f, "values nested deeper than {depth}"),
            Fault::KeyNoString => write!(f, "a key that is not a string"),
            Fault::KeyAlone => write!(f, "a key without a value"),
            Fault::KeyOrder => write!(f, "a key out of order"),
            Fault::KeyTwice => write!(f, "a key that occurs twice"),
            Fault::TooManyKeys => write!(f, "a large dictionary whose keys are out of order"),
            Fault::Trailing => write!(f, "bytes after the end"),
        }?;
        write!(f, ", at byte {}", self.at)
    }
}

impl std::error::Error for Error {}

/// Approves `bytes` if they are one value and nothing else, nested at most `depth_max` deep.
///
/// # Errors
/// The first fault from the left; out of order keys that repeat are met at their dictionary's end.
pub fn scan(bytes: &[u8], depth_max: usize, form: Form) -> Result<Value<'_>, Error> {
    let value = scan_prefix(bytes, depth_max, form)?;
    if value.span().end < bytes.len() {
        return Err(Error { at: value.span().end, fault: Fault::Trailing });
    }
    Ok(value)
}

/// Approves the first value of `bytes`, whatever follows; its [`span`](Value::span) tells where it
/// ends. `ut_metadata` (BEP 9) sends raw bytes after a dictionary.
///
/// # Errors
/// As [`scan`], except that nothing after the first value is looked at.
pub fn scan_prefix(bytes: &[u8], depth_max: usize, form: Form) -> Result<Value<'_>, Error> {
    let mut open: Vec<Frame<'_>> = Vec::new();
    let mut at = 0;
    loop {
        let (token, next) = token(bytes, at, form)?;
        match token {
            Token::End => {
                let closed = open.pop().ok_or(Error { at, fault: Fault::Unexpected(b'e') })?;
                closed.check_closing(at)?;
            }
            Token::List | Token::Dictionary => {
                admit(&mut open, &token, at, form)?;
                if open.len() == depth_max {
                    return Err(Error { at, fault: Fault::TooDeep(depth_max) });
                }
                open.push(Frame::new(&token, at));
            }
            Token::Integer(_) | Token::String(_) => admit(&mut open, &token, at, form)?,
        }
        at = next;
        if open.is_empty() {
            return Ok(Value::approved(bytes, 0..at));
        }
    }
}

/// Tells the innermost open list or dictionary that `token` begins in it at `at`.
fn admit<'a>(
    open: &mut [Frame<'a>],
    token: &Token<'a>,
    at: usize,
    form: Form,
) -> Result<(), Error> {
    match open.last_mut() {
        Some(Frame::Dictionary(dictionary)) => dictionary.admit(token, at, form),
        Some(Frame::List) | None => Ok(()),
    }
}

/// A list or dictionary that has begun and not ended.
enum Frame<'a> {
    List,
    Dictionary(OpenDictionary<'a>),
}

impl Frame<'_> {
    fn new(token: &Token<'_>, at: usize) -> Self {
        if matches!(token, Token::List) {
            return Self::List;
        }
        Self::Dictionary(OpenDictionary { start: at, ..OpenDictionary::default() })
    }

    fn check_closing(self, at: usize) -> Result<(), Error> {
        match self {
            Self::List => Ok(()),
            Self::Dictionary(dictionary) => dictionary.check_closing(at),
        }
    }
}

#[derive(Default)]
struct OpenDictionary<'a> {
    start: usize,
    last: Option<&'a [u8]>,
    value_due: bool,
    unsorted: bool,
    /// The first keys, and one more than may be sorted; only where keys need no order.
    keys: Vec<&'a [u8]>,
}

impl<'a> OpenDictionary<'a> {
    fn admit(&mut self, token: &Token<'a>, at: usize, form: Form) -> Result<(), Error> {
        if self.value_due {
            self.value_due = false;
            return Ok(());
        }
        let Token::String(key) = *token else {
            return Err(Error { at, fault: Fault::KeyNoString });
        };
        match self.last.map_or(Ordering::Less, |last| last.cmp(key)) {
            _ if form == Form::Loose => {}
            Ordering::Less => {}
            Ordering::Equal => return Err(Error { at, fault: Fault::KeyTwice }),
            Ordering::Greater if form == Form::Canonical => {
                return Err(Error { at, fault: Fault::KeyOrder });
            }
            Ordering::Greater => self.unsorted = true,
        }
        if form == Form::Unsorted && self.keys.len() <= BENCODE_UNSORTED_KEYS_MAX {
            self.keys.push(key);
        }
        self.last = Some(key);
        self.value_due = true;
        Ok(())
    }

    fn check_closing(mut self, at: usize) -> Result<(), Error> {
        if self.value_due {
            return Err(Error { at, fault: Fault::KeyAlone });
        }
        if !self.unsorted {
            return Ok(());
        }
        if self.keys.len() > BENCODE_UNSORTED_KEYS_MAX {
            return Err(Error { at: self.start, fault: Fault::TooManyKeys });
        }
        self.keys.sort_unstable();
        if self.keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error { at: self.start, fault: Fault::KeyTwice });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::rng::Rng;

    fn judge(text: &str, form: Form) -> Result<usize, (usize, Fault)> {
        scan(text.as_bytes(), 4, form)
            .map(|value| value.span().end)
            .map_err(|error| (error.at, error.fault))
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let table = [
            ("", 0, Fault::Truncated),
            ("i", 1, Fault::Truncated),
            ("i12", 3, Fault::Truncated),
            ("ie", 0, Fault::Integer),
            ("i-e", 0, Fault::Integer),
            ("i-0e", 0, Fault::Integer),
            ("i01e", 0, Fault::Integer),
            ("i-01e", 0, Fault::Integer),
            ("i+1e", 0, Fault::Integer),
            ("i1 e", 0, Fault::Integer),
            ("i1.5e", 0, Fault::Integer),
            ("3", 1, Fault::Truncated),
            ("3abc", 0, Fault::Length),
            ("03:abc", 0, Fault::Length),
            ("4:abc", 0, Fault::TooLong),
            ("99999999999999999999999999:abc", 0, Fault::TooLong),
            ("18446744073709551615:abc", 0, Fault::TooLong),
            ("l", 1, Fault::Truncated),
            ("li1e", 4, Fault::Truncated),
            ("e", 0, Fault::Unexpected(b'e')),
            ("x", 0, Fault::Unexpected(b'x')),
            ("-1", 0, Fault::Unexpected(b'-')),
            ("le1:a", 2, Fault::Trailing),
            ("lllllelelelele", 4, Fault::TooDeep(4)),
            ("di1e1:ae", 1, Fault::KeyNoString),
            ("dlei1ee", 1, Fault::KeyNoString),
            ("d1:ae", 4, Fault::KeyAlone),
            ("d1:a1:xld1:bee", 7, Fault::KeyNoString),
            ("d1:a0:1:a0:e", 6, Fault::KeyTwice),
        ];
        for (text, at, fault) in table {
            assert_eq!(judge(text, Form::Canonical), Err((at, fault)), "{text}");
            assert_eq!(judge(text, Form::Unsorted), Err((at, fault)), "{text}");
        }
    }

    #[test]
    fn accepts_what_is_canonical() {
        let texts = [
            "i0e",
            "i-1e",
            "i9223372036854775807e",
            "i99999999999999999999e",
            "0:",
            "3:\u{1}\n\u{7f}",
            "le",
            "de",
            "llllee1:aee",
            "d0:0:1:a0:2:aalee",
            "d1:ad1:ad1:adeeee",
        ];
        for text in texts {
            assert_eq!(judge(text, Form::Canonical), Ok(text.len()), "{text}");
        }
    }

    #[test]
    fn unsorted_keys_pass_only_where_asked() {
        let unsorted = "d1:b0:1:a0:e";
        assert_eq!(judge(unsorted, Form::Canonical), Err((6, Fault::KeyOrder)));
        assert_eq!(judge(unsorted, Form::Unsorted), Ok(12));
        assert_eq!(judge("ld1:b0:1:a0:1:b0:ee", Form::Unsorted), Err((1, Fault::KeyTwice)));

        let keys = |count: usize| {
            let keys: String = (0..count).rev().map(|n| format!("4:{n:04}0:")).collect();
            format!("d{keys}e")
        };
        assert!(judge(&keys(BENCODE_UNSORTED_KEYS_MAX), Form::Unsorted).is_ok());
        let beyond = judge(&keys(BENCODE_UNSORTED_KEYS_MAX + 1), Form::Unsorted);
        assert_eq!(beyond, Err((0, Fault::TooManyKeys)));
    }

    #[test]
    fn what_a_peer_says_of_itself_may_be_odd() {
        let odd = "d1:bi007e1:aie1:bi-0e02:cci1-2e1:dld1:z0:1:a0:1:z0:eee";
        assert_eq!(judge(odd, Form::Loose), Ok(odd.len()));
        assert_eq!(judge(odd, Form::Unsorted), Err((4, Fault::Integer)));
        let value = scan(odd.as_bytes(), 4, Form::Loose).unwrap();
        let entries: Vec<_> = value.entries().map(|(key, value)| (key, value.integer())).collect();
        let wanted =
            [(&b"b"[..], Some(7)), (b"a", None), (b"b", Some(0)), (b"cc", None), (b"d", None)];
        assert_eq!(entries, wanted);
        let table = [
            ("i1.5e", 0, Fault::Integer),
            ("i--", 3, Fault::Truncated),
            ("d1:ai1e1:be", 10, Fault::KeyAlone),
            ("di1ei2ee", 1, Fault::KeyNoString),
            ("lllllelelelele", 4, Fault::TooDeep(4)),
            ("0004:abc", 0, Fault::TooLong),
            ("99999999999999999999999999:abc", 0, Fault::TooLong),
        ];
        for (text, at, fault) in table {
            assert_eq!(judge(text, Form::Loose), Err((at, fault)), "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_where_its_value_ends() {
        let bytes = b"d8:msg_typei1ee\x00\xffrest";
        let value = scan_prefix(bytes, 4, Form::Canonical).unwrap();
        assert_eq!(value.span(), 0..15);
        assert_eq!(value.find(&["msg_type"]).unwrap().integer(), Some(1));
    }

    #[test]
    fn values_know_where_they_stand() {
        let text = b"d1:ai-7e4:infod5:filesl1:x2:yyee1:z0:e";
        let top = scan(text, 8, Form::Canonical).unwrap();
        let info = top.find(&["info"]).unwrap();
        assert_eq!(info.raw(), b"d5:filesl1:x2:yyee");
        assert_eq!(&text[info.span()], info.raw());
        let files = top.find(&["info", "files"]).unwrap();
        assert_eq!(files.span(), 22..31);
        let items: Vec<_> = files.items().map(|item| item.string().unwrap()).collect();
        assert_eq!(items, [&b"x"[..], b"yy"]);
        let keys: Vec<_> = top.entries().map(|(key, _)| key).collect();
        assert_eq!(keys, [&b"a"[..], b"info", b"z"]);
        assert_eq!(top.find(&["a"]).unwrap().integer(), Some(-7));
        assert_eq!(top.find(&["nothing"]), None);
        assert_eq!(top.find(&["a", "b"]), None);
        assert_eq!(info.items().count() + files.entries().count(), 0);
    }

    #[test]
    fn a_small_stack_suffices_for_any_depth() {
        let megabyte = 1 << 20;
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            for text in ["l", "d", "d1:a", "ld1:a", "d0:"] {
                let bytes = text.repeat(megabyte / text.len());
                for depth in [0, 32, usize::MAX] {
                    assert!(scan(bytes.as_bytes(), depth, Form::Unsorted).is_err());
                }
            }
            let nested = "l".repeat(megabyte) + &"e".repeat(megabyte);
            let value = scan(nested.as_bytes(), megabyte, Form::Canonical).unwrap();
            assert_eq!(value.items().next().unwrap().span(), 1..2 * megabyte - 1);
        });
        thread.unwrap().join().unwrap();
    }

    fn below(rng: &mut Rng, n: usize) -> usize {
        rng.below(u32::try_from(n).unwrap()) as usize
    }

    /// Writes a random value in canonical form.
    fn write_value(rng: &mut Rng, depth: usize, out: &mut Vec<u8>) {
        match below(rng, if depth == 0 { 2 } else { 4 }) {
            0 => out.extend(format!("i{}e", below(rng, 2000) as i64 - 1000).bytes()),
            1 => write_string(rng, out),
            2 => {
                out.push(b'l');
                (0..below(rng, 4)).for_each(|_| write_value(rng, depth - 1, out));
                out.push(b'e');
            }
            _ => {
                out.push(b'd');
                for key in 0..below(rng, 4) {
                    out.extend(format!("1:{key}").bytes());
                    write_value(rng, depth - 1, out);
                }
                out.push(b'e');
            }
        }
    }

    fn write_string(rng: &mut Rng, out: &mut Vec<u8>) {
        let len = below(rng, 12);
        out.extend(format!("{len}:").bytes());
        out.extend((0..len).map(|_| u8::try_from(below(rng, 256)).unwrap()));
    }

    /// Writes the value again, from what the windows show.
    fn rewrite(value: &Value<'_>, out: &mut Vec<u8>) {
        if let Some(number) = value.integer() {
            out.extend(format!("i{number}e").bytes());
        } else if let Some(text) = value.string() {
            out.extend(format!("{}:", text.len()).bytes());
            out.extend(text);
        } else if value.is_list() {
            out.push(b'l');
            value.items().for_each(|item| rewrite(&item, out));
            out.push(b'e');
        } else {
            out.push(b'd');
            for (key, item) in value.entries() {
                out.extend(format!("{}:", key.len()).bytes());
                out.extend(key);
                rewrite(&item, out);
            }
            out.push(b'e');
        }
    }

    #[test]
    fn accepts_exactly_what_the_encoder_makes() {
        let rng = &mut Rng::new(0x5eed);
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..5_000 {
            let mut bytes = Vec::new();
            write_value(rng, 5, &mut bytes);
            let value = scan(&bytes, 5, Form::Canonical).unwrap();
            let mut again = Vec::new();
            rewrite(&value, &mut again);
            assert_eq!(again, bytes);

            let at = below(rng, bytes.len());
            match below(rng, 3) {
                0 => bytes[at] = b"0123456789:-eild"[below(rng, 16)],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"0123456789:-eild"[below(rng, 16)]),
            }
            // A mutated input is refused, or is itself what the encoder would make.
            let Ok(value) = scan(&bytes, 5, Form::Canonical) else {
                refused += 1;
                continue;
            };
            accepted += 1;
            let mut again = Vec::new();
            rewrite(&value, &mut again);
            assert_eq!(again, bytes);
        }
        assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
    }
}
