//! A journal in memory: for tests and the demo. It forgets everything with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::model::{Digest, Time};
use crate::ports::{Row, RowKind, Store, StoreError};

#[derive(Debug, Default)]
struct Kept {
    rows: Vec<Row>,
    snapshot: Option<(u64, Bytes)>,
    templates: BTreeMap<Digest, Bytes>,
    failing: Option<StoreError>,
}

/// A journal in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Kept>);

impl MemoryStore {
    /// From now on nothing is committed, for this reason; or everything again.
    pub fn fail(&self, why: Option<StoreError>) {
        self.kept().failing = why;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> Result<T, StoreError> {
        let mut kept = self.kept();
        match &kept.failing {
            Some(why) => Err(why.clone()),
            None => Ok(change(&mut kept)),
        }
    }
}

impl Store for MemoryStore {
    fn append(&self, kind: RowKind, at: Time, body: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let appended = self.change(|kept| {
            let seq = kept.rows.last().map_or(0, |row| row.seq) + 1;
            kept.rows.push(Row { seq, kind, at, body });
            seq
        });
        ready(appended).boxed()
    }

    fn snapshot(&self, through: u64, _at: Time, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(self.change(|kept| kept.snapshot = Some((through, body)))).boxed()
    }

    fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>> {
        ready(Ok(self.kept().snapshot.clone())).boxed()
    }

    fn read_after(&self, seq: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        let rows = self.kept().rows.iter().filter(|row| row.seq > seq).take(limit).cloned().collect();
        ready(Ok(rows)).boxed()
    }

    fn keep_template(&self, digest: Digest, _at: Time, template: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(self.change(|kept| {
            kept.templates.entry(digest).or_insert(template);
        }))
        .boxed()
    }

    fn template(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        ready(Ok(self.kept().templates.get(&digest).cloned())).boxed()
    }
}
