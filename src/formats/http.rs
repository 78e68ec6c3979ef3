//! HTTP/1.1 (RFC 9112) as far as clients and trackers need it: a request without a body, the head of
//! an answer, and the three ways in which its body may end.
//!
//! The lines are read by `httparse`; here they are bounded and given a meaning.

use std::fmt;

use httparse::{EMPTY_HEADER, Request, Response, Status};

use crate::formats::client;
use crate::formats::url::Url;
use crate::words::limits::URL_LEN_MAX;
use crate::words::limits::trackers::{
    HTTP_CHUNK_LINE_LEN_MAX, HTTP_HEAD_LEN_MAX, HTTP_HEADERS_MAX, REQUEST_LEN_MAX,
};

/// Why an answer is not read. Its text is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// It is no HTTP/1.
    NoHttp,
    /// Its head is longer than [`HTTP_HEAD_LEN_MAX`], or has more lines than [`HTTP_HEADERS_MAX`].
    LongHead,
    /// Two lengths, or one that is no number.
    Length,
    /// A chunk's length is none.
    Chunk,
    /// The body is compressed, which was not asked for.
    Encoding,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHttp => "its answer is no HTTP/1",
            Self::LongHead => "the head of its answer is too long",
            Self::Length => "the length of its answer is none",
            Self::Chunk => "a chunk of its answer has no length",
            Self::Encoding => "its answer is compressed, which was not asked for",
        })
    }
}

impl std::error::Error for HttpError {}

/// A request for `url`; `lines` are further ones of the head, each with its end.
pub fn request(url: &Url, lines: &str) -> Vec<u8> {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept-Encoding: identity\r\n\
         Connection: close\r\n{lines}\r\n",
        url.target,
        url.authority(),
        client::our_name().replace(' ', "/"),
    )
    .into_bytes()
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status, such as 200.
    pub status: u16,
    /// Where to go instead.
    pub location: Option<String>,
    /// Which part of the whole the body is.
    pub content_range: Option<String>,
    /// The body that follows.
    pub body: Body,
}

/// Reads a head from the beginning of `bytes`, and tells how many of them it has; `None` while it is
/// not whole.
///
/// # Errors
/// If it is no HTTP/1, is too long, or does not say how the body ends.
pub fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, HttpError> {
    let mut headers = [EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(Status::Complete(len)) if len <= HTTP_HEAD_LEN_MAX => len,
        Ok(Status::Partial) if bytes.len() < HTTP_HEAD_LEN_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HttpError::LongHead),
        Err(_) => return Err(HttpError::NoHttp),
    };
    let values = |name: &'static str| {
        let named = response.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii())
    };
    let compressed = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
    if values("content-encoding").any(compressed) {
        return Err(HttpError::Encoding);
    }
    let status = response.code.ok_or(HttpError::NoHttp)?;
    let location = values("location").next().filter(|value| value.len() <= URL_LEN_MAX);
    let location = location.map(|value| String::from_utf8_lossy(value).into_owned());
    let content_range = values("content-range").next().filter(|value| value.len() <= URL_LEN_MAX);
    let content_range = content_range.map(|value| String::from_utf8_lossy(value).into_owned());
    let mut codings = values("transfer-encoding").peekable();
    let body = if matches!(status, 100..=199 | 204 | 304) {
        Body::Sized(0)
    } else if codings.peek().is_some() {
        // What is beneath the chunks cannot be read either.
        if !codings.all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            return Err(HttpError::Encoding);
        }
        Body::ChunkLine
    } else {
        sized(values("content-length"))?
    };
    Ok(Some((Head { status, location, content_range, body }, len)))
}

/// The body that has such lengths: none is one that ends with the connection, several must agree
/// (RFC 9112, section 6.3).
fn sized<'a>(mut lengths: impl Iterator<Item = &'a [u8]>) -> Result<Body, HttpError> {
    let Some(first) = lengths.next() else { return Ok(Body::UntilEnd) };
    if first.is_empty() || !first.iter().all(u8::is_ascii_digit) || lengths.any(|l| l != first) {
        return Err(HttpError::Length);
    }
    let length = std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok());
    length.map(Body::Sized).ok_or(HttpError::Length)
}

/// The path and query that a request asks for; `None` while its head is not whole.
///
/// # Errors
/// The status of the answer: 414 if it is longer than [`REQUEST_LEN_MAX`], 405 if it is no GET, 400 if
/// it is no HTTP/1.
pub fn target(bytes: &[u8]) -> Result<Option<String>, u16> {
    let mut headers = [EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(len)) if len <= REQUEST_LEN_MAX => {}
        Ok(Status::Partial) if bytes.len() < REQUEST_LEN_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(414),
        Err(_) => return Err(400),
    }
    match (request.method, request.path) {
        (Some("GET"), Some(path)) => Ok(Some(path.to_owned())),
        (Some(_), Some(_)) => Err(405),
        (None, _) | (_, None) => Err(400),
    }
}

/// An answer with a body, after which the connection ends.
pub fn answer(status: u16, kind: &str, body: &[u8]) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        414 => "URI Too Long",
        _ => "Bad Request",
    };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len(),
    );
    [head.as_bytes(), body].concat()
}

/// How much of a body is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Sized(u64),
    /// All until the connection ends.
    UntilEnd,
    /// A line with the length of the next chunk.
    ChunkLine,
    /// So many bytes of a chunk, and the end of its line.
    Chunk(u64),
    /// The end of a chunk's line.
    ChunkEnd,
    /// Nothing: it was whole.
    Whole,
}

impl Body {
    /// Reads from the beginning of `bytes`: how many of them are done with, and which of these belong
    /// to the body. None done with means that more bytes are needed, or that the body
    /// [is whole](Self::is_whole).
    ///
    /// # Errors
    /// If a chunk has no length, or its line is longer than [`HTTP_CHUNK_LINE_LEN_MAX`].
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, &'a [u8]), HttpError> {
        let part = |left: u64| {
            let len = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            (len, left - len as u64)
        };
        match *self {
            Self::Sized(left) => {
                let (len, left) = part(left);
                *self = Self::Sized(left);
                Ok((len, &bytes[..len]))
            }
            Self::UntilEnd => Ok((bytes.len(), bytes)),
            Self::Chunk(left) => {
                let (len, left) = part(left);
                *self = if left > 0 { Self::Chunk(left) } else { Self::ChunkEnd };
                Ok((len, &bytes[..len]))
            }
            Self::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    *self = Self::ChunkLine;
                    Ok((2, &[]))
                }
                [] | [b'\r'] => Ok((0, &[])),
                _ => Err(HttpError::Chunk),
            },
            Self::ChunkLine => match httparse::parse_chunk_size(bytes) {
                Ok(Status::Complete((len, _))) if len > HTTP_CHUNK_LINE_LEN_MAX => {
                    Err(HttpError::Chunk)
                }
                // What may follow the last chunk (RFC 9112, section 7.1.2) is nothing to us.
                Ok(Status::Complete((len, 0))) => {
                    *self = Self::Whole;
                    Ok((len, &[]))
                }
                Ok(Status::Complete((len, size))) => {
                    *self = Self::Chunk(size);
                    Ok((len, &[]))
                }
                Ok(Status::Partial) if bytes.len() <= HTTP_CHUNK_LINE_LEN_MAX => Ok((0, &[])),
                Ok(Status::Partial) | Err(_) => Err(HttpError::Chunk),
            },
            Self::Whole => Ok((0, &[])),
        }
    }

    /// Whether nothing is to come.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Whole | Self::Sized(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of an answer that comes in parts of so many bytes, and whether it was whole.
    fn body_of(answer: &[u8], step: usize) -> Result<(u16, Vec<u8>, bool), HttpError> {
        let (mut head_read, mut held, mut body) = (None, Vec::new(), Vec::new());
        for part in answer.chunks(step) {
            held.extend_from_slice(part);
            if head_read.is_none()
                && let Some((head, len)) = head(&held)?
            {
                held.drain(..len);
                head_read = Some(head);
            }
            let Some(head) = &mut head_read else { continue };
            loop {
                let (done, bytes) = head.body.read(&held)?;
                body.extend_from_slice(bytes);
                held.drain(..done);
                if done == 0 {
                    break;
                }
            }
        }
        let head = head_read.expect("a whole head");
        Ok((head.status, body, head.body.is_whole()))
    }

    #[test]
    fn bodies_end_in_three_ways_whatever_the_parts() {
        let table: [(&[u8], &[u8], bool); 8] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", b"hello", true),
            (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", false),
            (b"HTTP/1.1 200 OK\nContent-Length:5\n\nhel", b"hel", false),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\nhel\r\n02\r\nlo\r\n0\r\n\r\n",
                b"hello",
                true,
            ),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhel", b"hel", false),
            (b"HTTP/1.1 204 No Content\r\n\r\nhello", b"", true),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhello",
                b"he",
                true,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n1\r\nh\r\n0\r\n",
                b"h",
                true,
            ),
        ];
        for (answer, body, whole) in table {
            for step in 1..answer.len() {
                let (_, read, is_whole) = body_of(answer, step).unwrap();
                assert_eq!((&*read, is_whole), (body, whole), "{}", answer.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let many = "A: b\r\n".repeat(HTTP_HEADERS_MAX + 1);
        let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(HTTP_HEAD_LEN_MAX));
        let chunk = |line: &str| {
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{line}").into_bytes()
        };
        let with = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\nx").into_bytes();
        let table = [
            (b"garbage\r\n\r\n".to_vec(), HttpError::NoHttp),
            (b"\x00\x01\x02".to_vec(), HttpError::NoHttp),
            (b"HTTP/2 200 OK\r\n\r\n".to_vec(), HttpError::NoHttp),
            (many.into_bytes(), HttpError::LongHead),
            (long.into_bytes(), HttpError::LongHead),
            (with("Content-Length: -1"), HttpError::Length),
            (with("Content-Length: 99999999999999999999"), HttpError::Length),
            (with("Content-Length: 1\r\nContent-Length: 2"), HttpError::Length),
            (with("Content-Encoding: gzip"), HttpError::Encoding),
            (with("Transfer-Encoding: gzip, chunked"), HttpError::Encoding),
            (chunk("xyz\r\n"), HttpError::Chunk),
            (chunk("fffffffffffffffff\r\n"), HttpError::Chunk),
            (chunk("1\r\nabc"), HttpError::Chunk),
            (chunk(&format!("1;{}", "x".repeat(HTTP_CHUNK_LINE_LEN_MAX))), HttpError::Chunk),
        ];
        for (answer, error) in table {
            assert_eq!(body_of(&answer, answer.len()), Err(error), "{}", answer.escape_ascii());
        }
    }

    #[test]
    fn a_request_names_what_is_wanted() {
        let url = Url::parse("http://t.example:6969/announce?a=b").unwrap();
        let request = String::from_utf8(request(&url, "Range: bytes=0-1\r\n")).unwrap();
        assert!(request.starts_with("GET /announce?a=b HTTP/1.1\r\nHost: t.example:6969\r\n"));
        assert!(request.ends_with("Connection: close\r\nRange: bytes=0-1\r\n\r\n"));
    }
}
