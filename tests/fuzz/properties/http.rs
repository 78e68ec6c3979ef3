//! Requests and answers of HTTP: what is read does not depend on how it comes.

use rondalla::formats::http::{self, Body, HttpError};

pub(crate) fn check(bytes: &[u8]) {
    if let Ok(Some(target)) = http::target(bytes) {
        assert!(bytes.windows(target.len()).any(|window| window == target.as_bytes()));
    }
    let (head, len) = match http::head(bytes) {
        Ok(Some(whole)) => whole,
        Ok(None) => return,
        Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    };
    for cut in [0, len / 2, len - 1] {
        assert_eq!(http::head(&bytes[..cut]), Ok(None), "it ends where it ends");
    }
    let body = &bytes[len..];
    let at_once = read(head.body, body, body.len());
    assert!(at_once.0.len() <= body.len(), "nothing is made up");
    assert_eq!(read(head.body, body, 1), at_once);
}

/// What is read of a body that comes in steps, and how that ends.
fn read(mut body: Body, bytes: &[u8], step: usize) -> (Vec<u8>, Result<bool, HttpError>) {
    let (mut held, mut all) = (Vec::new(), Vec::new());
    for more in bytes.chunks(step.max(1)) {
        held.extend_from_slice(more);
        while !body.is_whole() {
            match body.read(&held) {
                Ok((0, _)) => break,
                Ok((done, part)) => {
                    all.extend_from_slice(part);
                    held.drain(..done);
                }
                Err(error) => return (all, Err(error)),
            }
        }
    }
    (all, Ok(body.is_whole()))
}
