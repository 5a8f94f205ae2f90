//! The book as of a row: bounds how long recovery takes. Same versioned form as rows.

use super::record::{DecodeError, decode_versioned, encode_versioned};
use crate::decide::book::Book;

/// The bytes of a snapshot.
///
/// # Errors
/// When the book cannot be written as JSON: a defect.
pub fn encode(book: &Book) -> Result<Vec<u8>, DecodeError> {
    encode_versioned(book)
}

/// The book of a snapshot.
///
/// # Errors
/// When the bytes are damaged or newer than this program.
pub fn decode(bytes: &[u8]) -> Result<Book, DecodeError> {
    let mut book: Book = decode_versioned(bytes)?;
    book.reindex();
    Ok(book)
}
