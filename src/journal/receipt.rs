//! L1: what the bytes of a receipt are, and how the alerts in them are read. Must not know where the bytes are kept.
//!
//! A receipt is the webhook body as it was acknowledged, behind two bytes: the version of this layout and the source. Alerts of one
//! group say nearly the same: compressed, a body of a hundred takes a ninth of its size, and less time to write than raw.

use std::borrow::Cow;

use lz4_flex::block;

use crate::model::{Notification, Source, Time};

use super::scan::Scan;
use super::wire::Unparseable;

/// The layouts: the body as it is, and LZ4 (one block, its size before it).
const RAW: u8 = 1;
const COMPRESSED: u8 = 2;

/// Smaller bodies are kept as they are.
const WORTH_BYTES: usize = 512;

/// A block of LZ4 holds at most so many times its own size; what says more is damaged.
const MOST_TIMES: usize = 256;

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Which endpoint took it.
    pub source: Source,
    /// The body, byte for byte.
    pub body: Cow<'a, [u8]>,
}

/// Why a receipt cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Written by a newer `backout`.
    #[error("the receipt has layout {0}, this version reads up to {COMPRESSED}: start the version that wrote it, or a newer one")]
    Newer(u8),
    /// Not a receipt.
    #[error("the receipt is damaged: it does not begin with a layout and a source, or its body cannot be unpacked")]
    Damaged,
    /// A body that should never have been acknowledged.
    #[error(transparent)]
    Body(#[from] Unparseable),
}

impl<'a> Receipt<'a> {
    /// The bytes of a row.
    pub fn encode(source: Source, body: &[u8]) -> Vec<u8> {
        let source = match source {
            Source::Alertmanager => 1,
            Source::Grafana => 2,
        };
        if body.len() >= WORTH_BYTES {
            let mut row = vec![0; 6 + block::get_maximum_output_size(body.len())];
            if let Some((head, rest)) = row.split_at_mut_checked(6)
                && let (Ok(size), Ok(packed)) = (u32::try_from(body.len()), block::compress_into(body, rest))
                && packed + 6 <= body.len()
            {
                head[..2].copy_from_slice(&[COMPRESSED, source]);
                head[2..].copy_from_slice(&size.to_le_bytes());
                row.truncate(6 + packed);
                // It may wait in a queue.
                row.shrink_to_fit();
                return row;
            }
        }
        [&[RAW, source], body].concat()
    }

    /// Takes a row apart.
    ///
    /// # Errors
    /// When a newer version wrote it, or nobody did.
    pub fn decode(row: &'a [u8]) -> Result<Self, ReceiptError> {
        let (layout, source, body) = match row {
            [layout, ..] if *layout > COMPRESSED => return Err(ReceiptError::Newer(*layout)),
            [layout @ (RAW | COMPRESSED), 1, body @ ..] => (*layout, Source::Alertmanager, body),
            [layout @ (RAW | COMPRESSED), 2, body @ ..] => (*layout, Source::Grafana, body),
            _ => return Err(ReceiptError::Damaged),
        };
        let body = if layout == RAW { Cow::Borrowed(body) } else { Cow::Owned(unpack(body).ok_or(ReceiptError::Damaged)?) };
        Ok(Self { source, body })
    }

    /// Reads the alerts, see [`read`].
    ///
    /// # Errors
    /// When the body can never be parsed.
    pub fn read(&self, received_at: Time) -> Result<Notification, ReceiptError> {
        Ok(read(self.source, &self.body, received_at)?)
    }
}

/// Reads a webhook body. The same bytes and the same `received_at` give the same notification for ever.
///
/// An alert without a start is taken to begin at `received_at`; without a fingerprint, it is computed from the labels. An alert
/// that cannot be read is left out and counted as truncated: absence from the list then means nothing. Our own pages are left
/// out for good: what we say must never move us.
///
/// # Errors
/// When the body can never be parsed.
pub fn read(source: Source, body: &[u8], received_at: Time) -> Result<Notification, Unparseable> {
    Ok(Scan::of(body)?.read(source, body, received_at, |_| true))
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (size, block) = packed.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let body = (size <= block.len().saturating_mul(MOST_TIMES)).then(|| block::decompress(block, size).ok())??;
    (body.len() == size).then_some(body)
}
