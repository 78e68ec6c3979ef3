//! Bencode: the scanner against a reader of twenty lines that recurses and forgives.

use std::collections::BTreeMap;

use rondalla::words::bencode::{Error, Form, Value, scan, scan_prefix};
use rondalla::words::limits::BENCODE_UNSORTED_KEYS_MAX;

const DEPTH_MAX: usize = 32;

/// A value as the simple reader sees it. Digits stand for integers of any size.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Simple {
    Integer(Vec<u8>),
    String(Vec<u8>),
    List(Vec<Self>),
    Dictionary(BTreeMap<Vec<u8>, Self>),
}

/// Holds for any bytes.
pub(crate) fn check(bytes: &[u8]) {
    let judged = [Form::Canonical, Form::Unsorted, Form::Loose].map(|form| judge(bytes, form));
    let [canonical, unsorted, loose] = judged.map(|value| value.ok().map(|value| value.span()));
    assert!(canonical.is_none() || unsorted == canonical, "what is canonical passes unsorted");
    assert!(unsorted.is_none() || loose == unsorted, "what is unsorted passes loose");

    let mut rest = bytes;
    let simple = simple(&mut rest, DEPTH_MAX).filter(|_| rest.is_empty());
    let again = simple.as_ref().map(|value| {
        let mut again = Vec::new();
        write(value, &mut again);
        again
    });
    let is_canonical = again.as_deref() == Some(bytes);
    assert_eq!(canonical.is_some(), is_canonical, "canonical is what is written the same again");
    assert_eq!(loose.is_some(), simple.is_some(), "loose is what can be read at all");
    if unsorted.is_some() && !is_canonical {
        // Only the order of keys differs, so sorting keeps the length.
        assert_eq!(again.map(|again| again.len()), Some(bytes.len()));
    }
}

fn judge(bytes: &[u8], form: Form) -> Result<Value<'_>, Error> {
    let whole = scan(bytes, DEPTH_MAX, form).inspect_err(|error| {
        assert!(error.at <= bytes.len());
        assert!(!error.to_string().contains(char::is_control));
    });
    match scan_prefix(bytes, DEPTH_MAX, form) {
        Ok(prefix) => {
            let end = prefix.span().end;
            assert_eq!(whole.is_ok(), end == bytes.len());
            let alone = scan(&bytes[..end], DEPTH_MAX, form).expect("the prefix alone is right");
            assert_eq!((alone.span(), alone.raw()), (prefix.span(), prefix.raw()));
            look_at(&prefix, bytes, form);
        }
        Err(error) => assert_eq!(whole, Err(error), "nothing after the prefix was looked at"),
    }
    whole
}

/// The windows on a value and all that is in it fit together.
fn look_at(value: &Value<'_>, bytes: &[u8], form: Form) {
    assert_eq!(&bytes[value.span()], value.raw());
    let kinds = [value.raw()[0] == b'i', value.string().is_some(), value.is_list()];
    let kinds = kinds.into_iter().chain([value.is_dictionary()]);
    assert_eq!(kinds.filter(|kind| *kind).count(), 1, "a value is of one kind");
    let mut at = value.span().start + 1;
    for item in value.items() {
        assert_eq!(item.span().start, at, "items follow each other");
        at = item.span().end;
        look_at(&item, bytes, form);
    }
    let mut keys = Vec::new();
    for (key, item) in value.entries() {
        assert!(bytes[at..item.span().start].ends_with(key));
        at = item.span().end;
        keys.push(key);
        look_at(&item, bytes, form);
    }
    if value.is_list() || value.is_dictionary() {
        assert_eq!(at + 1, value.span().end, "nothing is left out");
    }
    let ascend = keys.is_sorted_by(|one, other| one < other);
    assert!(ascend || form != Form::Canonical);
    assert!(ascend || form == Form::Loose || keys.len() <= BENCODE_UNSORTED_KEYS_MAX);
    let first = keys.first().and_then(|key| str::from_utf8(key).ok());
    if let Some(first) = first {
        assert_eq!(value.find(&[first]), value.entries().next().map(|(_, found)| found));
    }
    if form != Form::Loose {
        keys.sort_unstable();
        assert!(keys.is_sorted_by(|one, other| one < other), "a key occurs once");
    }
}

/// Reads what has a meaning, and takes it off `bytes`.
fn simple(bytes: &mut &[u8], depth: usize) -> Option<Simple> {
    let (&first, rest) = bytes.split_first()?;
    if first.is_ascii_digit() {
        return Some(Simple::String(string(bytes)?));
    }
    *bytes = rest;
    if first == b'i' {
        let digits = take_until(bytes, b'e')?;
        let fits = digits.iter().all(|&byte| byte == b'-' || byte.is_ascii_digit());
        return fits.then(|| Simple::Integer(shortest(digits)));
    }
    let depth = depth.checked_sub(1)?;
    let (mut list, mut dictionary) = (Vec::new(), BTreeMap::new());
    while *bytes.first()? != b'e' {
        match first {
            b'l' => list.push(simple(bytes, depth)?),
            b'd' => {
                let key = string(bytes)?;
                dictionary.insert(key, simple(bytes, depth)?);
            }
            _ => return None,
        }
    }
    *bytes = &bytes[1..];
    match first {
        b'l' => Some(Simple::List(list)),
        b'd' => Some(Simple::Dictionary(dictionary)),
        _ => None,
    }
}

fn string(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let digits = take_until(bytes, b':')?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let len: usize = str::from_utf8(digits).ok()?.parse().ok()?;
    let (string, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(string.to_vec())
}

fn take_until<'a>(bytes: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let at = bytes.iter().position(|&byte| byte == end)?;
    let (before, after) = bytes.split_at(at);
    *bytes = &after[1..];
    Some(before)
}

/// The one way to write a number; what is none becomes empty, which no number is.
fn shortest(digits: &[u8]) -> Vec<u8> {
    let (sign, digits) = match digits.strip_prefix(b"-") {
        Some(digits) => (&b"-"[..], digits),
        None => (&b""[..], digits),
    };
    if digits.is_empty() || digits.contains(&b'-') {
        return Vec::new();
    }
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    match &digits[zeros..] {
        [] => b"0".to_vec(),
        digits => [sign, digits].concat(),
    }
}

fn write(value: &Simple, out: &mut Vec<u8>) {
    let put = |bytes: &[u8], out: &mut Vec<u8>| {
        out.extend(bytes.len().to_string().bytes());
        out.push(b':');
        out.extend(bytes);
    };
    match value {
        Simple::Integer(digits) => {
            out.push(b'i');
            // What is no number is marked, so that it is never equal to what was read.
            out.extend(if digits.is_empty() { b"?" } else { digits.as_slice() });
        }
        Simple::String(bytes) => return put(bytes, out),
        Simple::List(items) => {
            out.push(b'l');
            items.iter().for_each(|item| write(item, out));
        }
        Simple::Dictionary(entries) => {
            out.push(b'd');
            for (key, item) in entries {
                put(key, out);
                write(item, out);
            }
        }
    }
    out.push(b'e');
}
