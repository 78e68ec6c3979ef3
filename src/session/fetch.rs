//! Asking a server for a file, for whoever names a torrent by its URL.

use std::time::Duration;

use crate::actors::clock::now;
use crate::actors::http::{Manner, addresses_of, get};
use crate::formats::url::Url;

/// What a server has at `url`, which the user names, if it says so within `patience` and it has at
/// most `len_max` bytes. Redirects are followed, though not from a public address to a local one, nor
/// from HTTPS to less.
///
/// # Errors
/// Why there is nothing.
pub fn fetch(url: &Url, len_max: usize, patience: Duration) -> Result<Vec<u8>, String> {
    let manner = Manner {
        deadline: now() + patience,
        body_max: len_max,
        leave_from: None,
        judge: &|_, _| Ok(()),
        is_over: &|| false,
    };
    let fetched = get(url, &addresses_of(url)?, &manner)?;
    match fetched.status {
        200 => Ok(fetched.body),
        404 | 410 => Err(format!("the server has no such file (HTTP status {})", fetched.status)),
        401 | 403 => Err(format!("the server refuses it (HTTP status {})", fetched.status)),
        status => Err(format!("the server answers with HTTP status {status}")),
    }
}
