//! Reading a request's body whole: within a size, within a time, within a budget of bytes. Must not look into it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long what is refused is read on: no sender that is alive needs longer.
const DISCARD: Duration = Duration::from_secs(2);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// More than the limit.
    TooLarge,
    /// More than what is left of the budget.
    BytesFull,
    /// Not all of it came in time.
    Late,
    /// The sender broke off.
    Broken,
}

/// What a body may be.
pub(super) struct BodyRules<'a> {
    /// Bytes.
    pub(super) limit: usize,
    /// For all of it.
    pub(super) deadline: Duration,
    /// Permits are bytes.
    pub(super) budget: Option<&'a Arc<Semaphore>>,
}

/// Reads a body. What it took of the budget comes with it.
pub(super) async fn read(body: Body, rules: BodyRules<'_>) -> Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError> {
    let (deadline, limit) = (rules.deadline, rules.limit);
    let mut body = body;
    let read = tokio::time::timeout(deadline, collect(&mut body, rules)).await.unwrap_or(Err(BodyError::Late));
    if matches!(read, Err(BodyError::BytesFull)) {
        skip(body, limit).await;
    }
    read
}

/// Reads a body that nobody wants, at most so many bytes of it. Left unread, the connection would be reset, and a sender that is still
/// writing, or sends the next one, would see that instead of the answer.
pub(super) async fn skip(mut body: Body, limit: usize) {
    let _ = tokio::time::timeout(DISCARD, discard(&mut body, limit)).await;
}

async fn collect(body: &mut Body, rules: BodyRules<'_>) -> Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError> {
    let declared = match body.size_hint().exact().map(usize::try_from) {
        None => None,
        Some(Ok(bytes)) if bytes <= rules.limit => Some(bytes),
        Some(_) => return Err(BodyError::TooLarge),
    };
    let mut share = Share { budget: rules.budget, held: None };
    // What is announced is reserved before it comes: what does not fit in is never kept.
    share.take(declared.unwrap_or(0))?;
    let mut buffer = BytesMut::with_capacity(declared.unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if buffer.len() + data.len() > rules.limit {
            return Err(BodyError::TooLarge);
        }
        if declared.is_none() {
            share.take(data.len())?;
        }
        buffer.extend_from_slice(&data);
    }
    Ok((buffer.freeze(), share.held))
}

/// Reads on to the end, at most so many bytes, and keeps nothing.
async fn discard(body: &mut Body, limit: usize) {
    let mut left = limit;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

struct Share<'a> {
    budget: Option<&'a Arc<Semaphore>>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), BodyError> {
        let Some(budget) = self.budget else { return Ok(()) };
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::TooLarge)?;
        let more = Arc::clone(budget).try_acquire_many_owned(bytes).map_err(|_| BodyError::BytesFull)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}
