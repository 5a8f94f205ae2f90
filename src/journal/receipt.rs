//! L1: what the bytes of a receipt are, and how the alerts in them are read. Must not know where the bytes are kept.
//!
//! A receipt is the webhook body as it was acknowledged, behind two bytes: the version of this layout and the source.

use std::borrow::Cow;

use crate::model::{Alert, AlertStatus, Fingerprint, Labels, Notification, Source, Time};

use super::census::OWN_PAGE_LABEL;
use super::wire::{self, Head, Sink, Stated, Unparseable};

/// The layout that is written.
const VERSION: u8 = 1;

/// How many bytes stand before the body.
pub const HEADER_BYTES: usize = 2;

/// A receipt as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Which endpoint took it.
    pub source: Source,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// Why a receipt cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Written by a newer `backout`.
    #[error("the receipt has layout {0}, this version reads up to {VERSION}: start the version that wrote it, or a newer one")]
    Newer(u8),
    /// Not a receipt.
    #[error("the receipt is damaged: its first bytes name no layout and source")]
    Damaged,
    /// A body that should never have been acknowledged.
    #[error(transparent)]
    Body(#[from] Unparseable),
}

impl<'a> Receipt<'a> {
    /// What stands before the body, for a writer that reads the body right behind it instead of copying it.
    pub fn header(source: Source) -> [u8; HEADER_BYTES] {
        let source = match source {
            Source::Alertmanager => 1,
            Source::Grafana => 2,
        };
        [VERSION, source]
    }

    /// The bytes of a row.
    pub fn encode(&self) -> Vec<u8> {
        [&Self::header(self.source), self.body].concat()
    }

    /// Takes a row apart.
    ///
    /// # Errors
    /// When a newer version wrote it, or nobody did.
    pub fn decode(row: &'a [u8]) -> Result<Self, ReceiptError> {
        match row {
            [VERSION, 1, body @ ..] => Ok(Self { source: Source::Alertmanager, body }),
            [VERSION, 2, body @ ..] => Ok(Self { source: Source::Grafana, body }),
            [version, ..] if *version > VERSION => Err(ReceiptError::Newer(*version)),
            _ => Err(ReceiptError::Damaged),
        }
    }

    /// Reads the alerts, see [`read`].
    ///
    /// # Errors
    /// When the body can never be parsed.
    pub fn read(&self, received_at: Time) -> Result<Notification, ReceiptError> {
        Ok(read(self.source, self.body, received_at)?)
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
    let mut collector =
        Collector { received_at, labels: Labels::new(), annotations: Labels::new(), read: Vec::new(), left_out: 0 };
    let envelope = wire::walk(body, &mut collector)?;
    let alerts = collector.read.into_iter().map(|(stated, mut alert)| {
        alert.status = stated.or(envelope.status);
        if alert.status == AlertStatus::Firing {
            alert.ends_at = None;
        }
        alert
    });
    Ok(Notification {
        source,
        receiver: envelope.receiver.into_owned(),
        truncated: envelope.truncated.saturating_add(collector.left_out),
        alerts: alerts.collect(),
    })
}

struct Collector {
    received_at: Time,
    labels: Labels,
    annotations: Labels,
    read: Vec<(Stated, Alert)>,
    left_out: u64,
}

impl<'a> Sink<'a> for Collector {
    const DETAILS: bool = true;

    fn label(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        if !value.is_empty() {
            self.labels.insert(name.into_owned(), value.into_owned());
        }
    }

    fn annotation(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        self.annotations.insert(name.into_owned(), value.into_owned());
    }

    fn alert(&mut self, head: Head<'a>) {
        let labels = std::mem::take(&mut self.labels);
        let annotations = std::mem::take(&mut self.annotations);
        if labels.contains_key(OWN_PAGE_LABEL) {
            return;
        }
        let computed = || Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let fingerprint = Fingerprint::parse(&head.fingerprint).unwrap_or_else(computed);
        let alert = Alert {
            fingerprint,
            status: head.status.or(AlertStatus::Firing),
            annotations,
            starts_at: real_time(&head.starts_at).unwrap_or(self.received_at),
            ends_at: real_time(&head.ends_at),
            generator_url: head.generator_url.into_owned(),
            labels,
        };
        self.read.push((head.status, alert));
    }

    fn unreadable(&mut self) {
        self.labels.clear();
        self.annotations.clear();
        self.left_out += 1;
    }
}

/// A time that means one: senders write year 1 or 1970 where they have none.
fn real_time(text: &str) -> Option<Time> {
    Time::parse(text).filter(|at| *at > Time::default())
}
