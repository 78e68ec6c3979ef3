//! Windows on values in bytes that the scanner has approved.

use std::fmt;
use std::ops::Range;

use super::Form;
use super::token::{Token, number, token};

const APPROVED: &str = "the scanner has approved these bytes";

/// One value in bytes that [`scan`](super::scan) has approved.
#[derive(Clone, PartialEq, Eq)]
pub struct Value<'a> {
    whole: &'a [u8],
    span: Range<usize>,
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?}: {})", self.span, self.raw().escape_ascii())
    }
}

impl<'a> Value<'a> {
    /// A window on bytes that the scanner has approved.
    pub(super) fn approved(whole: &'a [u8], span: Range<usize>) -> Self {
        Self { whole, span }
    }

    /// Where the value stands in the bytes that were scanned.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value's own bytes, from its first to its last.
    pub fn raw(&self) -> &'a [u8] {
        &self.whole[self.span()]
    }

    /// The integer, unless the value is something else or does not fit.
    pub fn integer(&self) -> Option<i64> {
        match self.token() {
            Token::Integer(digits) => number(digits),
            Token::String(_) | Token::List | Token::Dictionary | Token::End => None,
        }
    }

    /// The string without its length, unless the value is something else.
    pub fn string(&self) -> Option<&'a [u8]> {
        match self.token() {
            Token::String(text) => Some(text),
            Token::Integer(_) | Token::List | Token::Dictionary | Token::End => None,
        }
    }

    /// Whether the value is a list.
    pub fn is_list(&self) -> bool {
        self.token() == Token::List
    }

    /// Whether the value is a dictionary.
    pub fn is_dictionary(&self) -> bool {
        self.token() == Token::Dictionary
    }

    /// The items of a list; none if the value is something else. One walk through the whole list
    /// costs as much as the list has bytes.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        let from = if self.is_list() { self.span.start + 1 } else { self.span.end };
        Walk { whole: self.whole, at: from, end: self.span.end }
    }

    /// The keys of a dictionary with their values, as they stand; none if the value is something
    /// else. One walk through the whole dictionary costs as much as it has bytes.
    pub fn entries(&self) -> impl Iterator<Item = (&'a [u8], Self)> + use<'a> {
        let from = if self.is_dictionary() { self.span.start + 1 } else { self.span.end };
        let mut walk = Walk { whole: self.whole, at: from, end: self.span.end };
        std::iter::from_fn(move || {
            let key = walk.next()?.string().expect(APPROVED);
            Some((key, walk.next().expect(APPROVED)))
        })
    }

    /// The value under `path`, a key, then a key in its dictionary, and so on.
    pub fn find(&self, path: &[&str]) -> Option<Self> {
        path.iter().try_fold(self.clone(), |value, wanted| {
            value.entries().find(|(key, _)| *key == wanted.as_bytes()).map(|(_, found)| found)
        })
    }

    fn token(&self) -> Token<'a> {
        token(self.whole, self.span.start, Form::Loose).expect(APPROVED).0
    }
}

/// Steps from value to value inside a list or dictionary.
struct Walk<'a> {
    whole: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        // The last byte is the `e` of the list or dictionary itself.
        if self.at + 1 >= self.end {
            return None;
        }
        let start = self.at;
        self.at = end_of(self.whole, start);
        Some(Value { whole: self.whole, span: start..self.at })
    }
}

/// Where the approved value that begins at `start` ends.
fn end_of(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        let (token, next) = token(bytes, at, Form::Loose).expect(APPROVED);
        match token {
            Token::List | Token::Dictionary => depth += 1,
            Token::End => depth -= 1,
            Token::Integer(_) | Token::String(_) => {}
        }
        at = next;
        if depth == 0 {
            return at;
        }
    }
}
