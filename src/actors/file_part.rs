//! Part of a torrent's data on the disk.

use std::io;
use std::sync::Arc;

use crate::actors::disk::DiskFile;

/// Part of a torrent's data: so many bytes of a file, or zeros that are in no file (BEP 47).
#[derive(Debug)]
pub(crate) struct FilePart {
    /// The file; `None` for zeros.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    /// Where the part begins in the file.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) len: u64,
}

impl FilePart {
    /// Appends the bytes of the part to `buffer`.
    ///
    /// # Errors
    /// If the file is too short or cannot be read.
    pub(crate) fn read_to_end_of(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let start = buffer.len();
        let len = usize::try_from(self.len).map_err(io::Error::other)?;
        buffer.resize(start + len, 0);
        match &self.file {
            Some(file) => file.read_at(&mut buffer[start..], self.offset),
            None => Ok(()),
        }
    }
}
