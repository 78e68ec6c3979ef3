//! Messages about metadata (BEP 9): what is read is within its bounds, and written and read the same
//! again.

use rondalla::formats::wire::MetadataMessage;
use rondalla::words::limits::metadata::METADATA_PIECE_LEN;

pub(crate) fn check(payload: &[u8]) {
    let message = match MetadataMessage::parse(payload) {
        Ok(message) => message,
        Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    };
    if let MetadataMessage::Data { data, .. } = &message {
        assert!((1..=METADATA_PIECE_LEN as usize).contains(&data.len()));
        assert!(payload.ends_with(data), "the piece is what stands behind the dictionary");
    }
    assert_eq!(MetadataMessage::parse(&message.emit()), Ok(message));
}
