//! L1: a webhook body that was walked once: what is in it, and where it stands. The acknowledgement path counts from it, the engine
//! matches and reads by it, so that no body is parsed twice and no text is owned before somebody wants it.
//!
//! A scan does not hold the body: whoever asks it brings the same bytes again.

use std::borrow::Cow;

use crate::model::{Alert, AlertStatus, Fingerprint, Notification, Occurrence, Source, Texts, Time};

use super::census::{CLUSTER_LABEL, Census, OWN_PAGE_LABEL, Tally, is_foreign};
use super::wire::{Head, Sink, Stated, Unparseable, walk};

/// What a walk through a body found.
#[derive(Clone, Debug)]
pub struct Scan {
    receiver: String,
    status: AlertStatus,
    truncated: u64,
    unreadable: u64,
    alerts: Vec<Found>,
    labels: Vec<Pair>,
    annotations: Vec<Pair>,
    /// Texts that stand in the body with escapes.
    unescaped: String,
}

type Pair = (Span, Span);

/// Where a text stands: in the body, or with the first bit of `at` in [`Scan::unescaped`].
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u32,
    bytes: u32,
}

const UNESCAPED: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
struct Found {
    /// Where its labels and annotations end; they begin where those of the one before it end.
    labels: u32,
    annotations: u32,
    stated: Stated,
    own_page: bool,
    cluster: Span,
    fingerprint: Span,
    starts_at: Span,
    ends_at: Span,
    generator_url: Span,
}

impl Scan {
    /// Walks through a body.
    ///
    /// # Errors
    /// When it can never be parsed.
    pub fn of(body: &[u8]) -> Result<Self, Unparseable> {
        // Places are told in 31 bits.
        if body.len() >= UNESCAPED as usize {
            return Err(Unparseable::NotJson);
        }
        let scan = Self {
            receiver: String::new(),
            status: AlertStatus::Firing,
            truncated: 0,
            unreadable: 0,
            alerts: Vec::new(),
            labels: Vec::new(),
            annotations: Vec::new(),
            unescaped: String::new(),
        };
        let mut scanner = Scanner { body, scan, own_page: false, cluster: Span::default() };
        let envelope = walk(body, &mut scanner)?;
        let mut scan = scanner.scan;
        scan.receiver = envelope.receiver.into_owned();
        (scan.status, scan.truncated) = (envelope.status, envelope.truncated);
        Ok(scan)
    }

    /// Counts what is in it. `cluster` is the name of our own; without one nothing is foreign.
    ///
    /// # Errors
    /// When it holds alerts of which none can be read.
    pub fn census(&self, body: &[u8], cluster: Option<&str>) -> Result<Census, Unparseable> {
        let mut census = Census { unreadable: self.unreadable, truncated: self.truncated, ..Census::default() };
        for found in &self.alerts {
            let tally: &mut Tally = if found.own_page {
                &mut census.own_pages
            } else if is_foreign(self.text(body, found.cluster), cluster) {
                &mut census.foreign
            } else {
                &mut census.ours
            };
            tally.add(found.stated.or(self.status));
        }
        if census.unreadable > 0 && census.ours.total() + census.foreign.total() == 0 {
            return Err(Unparseable::NothingReadable);
        }
        Ok(census)
    }

    /// The alerts, read, as far as they are wanted. Our own pages are left out for good: what we say must never move us. An alert
    /// that cannot be read is left out and counted as truncated: absence from the list then means nothing.
    pub fn read(
        &self,
        source: Source,
        body: &[u8],
        received_at: Time,
        mut wanted: impl FnMut(&Sighting<'_>) -> bool,
    ) -> Notification {
        let sightings = self.sightings(body, received_at).filter(|sighting| !sighting.found.own_page);
        Notification {
            source,
            receiver: self.receiver.clone(),
            truncated: self.truncated.saturating_add(self.unreadable),
            alerts: sightings.filter(|sighting| wanted(sighting)).map(|sighting| sighting.alert()).collect(),
        }
    }

    fn sightings<'a>(&'a self, body: &'a [u8], received_at: Time) -> impl Iterator<Item = Sighting<'a>> {
        let (mut labels, mut annotations) = (0, 0);
        self.alerts.iter().map(move |found| {
            let begin = (labels, annotations);
            (labels, annotations) = (found.labels as usize, found.annotations as usize);
            let pairs = |all: &'a [Pair], from, to| all.get(from..to).unwrap_or_default();
            Sighting {
                scan: self,
                body,
                received_at,
                found,
                labels: pairs(&self.labels, begin.0, labels),
                annotations: pairs(&self.annotations, begin.1, annotations),
            }
        })
    }

    fn text<'a>(&'a self, body: &'a [u8], Span { at, bytes }: Span) -> &'a str {
        let (at, bytes) = (at as usize, bytes as usize);
        if at & UNESCAPED as usize != 0 {
            let at = at & !(UNESCAPED as usize);
            return self.unescaped.get(at..at + bytes).unwrap_or_default();
        }
        body.get(at..at + bytes).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

/// One alert of a body that nobody owns yet.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    scan: &'a Scan,
    body: &'a [u8],
    received_at: Time,
    found: &'a Found,
    labels: &'a [Pair],
    annotations: &'a [Pair],
}

impl<'a> Sighting<'a> {
    /// What the sender says of it.
    pub fn status(&self) -> AlertStatus {
        self.found.stated.or(self.scan.status)
    }

    /// A label's value. Of two with the same name the later one counts.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        let named = |pair: &&Pair| pair.0.bytes as usize == name.len() && self.text(pair.0) == name;
        self.labels.iter().rev().find(named).map(|pair| self.text(pair.1))
    }

    /// Whether it is about another cluster than our own.
    pub fn is_foreign(&self, own: Option<&str>) -> bool {
        is_foreign(self.text(self.found.cluster), own)
    }

    /// Which firing it is.
    pub fn occurrence(&self) -> Occurrence {
        let fingerprint = self.sent_fingerprint().unwrap_or_else(|| fingerprint(&self.map(self.labels)));
        Occurrence { fingerprint, starts_at: self.starts_at() }
    }

    /// All of it, owned. Without a start it is taken to begin when it was received; without a fingerprint, that is computed from
    /// the labels.
    fn alert(&self) -> Alert {
        let labels = self.map(self.labels);
        let status = self.status();
        Alert {
            fingerprint: self.sent_fingerprint().unwrap_or_else(|| fingerprint(&labels)),
            status,
            annotations: self.map(self.annotations),
            starts_at: self.starts_at(),
            ends_at: real_time(self.text(self.found.ends_at)).filter(|_| status == AlertStatus::Resolved),
            generator_url: self.text(self.found.generator_url).to_owned(),
            labels,
        }
    }

    fn sent_fingerprint(&self) -> Option<Fingerprint> {
        Fingerprint::parse(self.text(self.found.fingerprint))
    }

    fn starts_at(&self) -> Time {
        real_time(self.text(self.found.starts_at)).unwrap_or(self.received_at)
    }

    fn map(&self, pairs: &[Pair]) -> Texts {
        pairs.iter().map(|(name, value)| (self.text(*name), self.text(*value))).collect()
    }

    fn text(&self, span: Span) -> &'a str {
        self.scan.text(self.body, span)
    }
}

fn fingerprint(labels: &Texts) -> Fingerprint {
    Fingerprint::of(labels.iter())
}

/// A time that means one: senders write year 1 or 1970 where they have none.
fn real_time(text: &str) -> Option<Time> {
    Time::parse(text).filter(|at| *at > Time::default())
}

/// Notes where everything stands.
struct Scanner<'a> {
    body: &'a [u8],
    scan: Scan,
    /// Of the alert that is being walked.
    own_page: bool,
    cluster: Span,
}

impl<'a> Scanner<'a> {
    #[expect(clippy::ptr_arg, reason = "whether it is borrowed from the body is what is asked")]
    fn span(&mut self, text: &Cow<'a, str>) -> Span {
        let bytes = text.len() as u32;
        if bytes == 0 {
            return Span::default();
        }
        match text {
            Cow::Borrowed(text) => Span { at: (text.as_ptr().addr() - self.body.as_ptr().addr()) as u32, bytes },
            Cow::Owned(text) => {
                let at = self.scan.unescaped.len() as u32 | UNESCAPED;
                self.scan.unescaped.push_str(text);
                Span { at, bytes }
            }
        }
    }

    /// What labels and annotations an alert has begins where the one before it ended.
    fn ends(&self) -> (usize, usize) {
        self.scan.alerts.last().map_or((0, 0), |last| (last.labels as usize, last.annotations as usize))
    }
}

impl<'a> Sink<'a> for Scanner<'a> {
    fn label(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        if value.is_empty() {
            return;
        }
        let pair = (self.span(&name), self.span(&value));
        if name == OWN_PAGE_LABEL {
            self.own_page = true;
        } else if name == CLUSTER_LABEL {
            self.cluster = pair.1;
        }
        self.scan.labels.push(pair);
    }

    fn annotation(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        let pair = (self.span(&name), self.span(&value));
        self.scan.annotations.push(pair);
    }

    fn alert(&mut self, head: Head<'a>) {
        let found = Found {
            labels: self.scan.labels.len() as u32,
            annotations: self.scan.annotations.len() as u32,
            stated: head.status,
            own_page: std::mem::take(&mut self.own_page),
            cluster: std::mem::take(&mut self.cluster),
            fingerprint: self.span(&head.fingerprint),
            starts_at: self.span(&head.starts_at),
            ends_at: self.span(&head.ends_at),
            generator_url: self.span(&head.generator_url),
        };
        self.scan.alerts.push(found);
    }

    fn unreadable(&mut self) {
        let (labels, annotations) = self.ends();
        self.scan.labels.truncate(labels);
        self.scan.annotations.truncate(annotations);
        (self.own_page, self.cluster) = (false, Span::default());
        self.scan.unreadable += 1;
    }
}
