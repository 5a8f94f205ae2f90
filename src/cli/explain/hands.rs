//! Hands that only look: the ports as `explain` fills them. Nothing here can write to a cluster or tell anybody anything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::decide::alike;
use crate::model::{
    Alert, AlertAlike, AlertOnPeer, AlertmanagerView, Applied, Delivery, Digest, Evidence, Fact, Fingerprint, Guard, IncidentId,
    Lookup, Message, PeerAlertState, PeerView, Plan, PreflightReport, Resolution, RolloutStatus, TargetId, Time, Unknown,
    UnknownKind,
};
use crate::observe::ClusterReader;
use crate::ports::{Alertmanagers, Clock, Cluster, Notifier};

const ONLY_LOOKS: &str = "explain only looks";

/// A cluster that is read live and never written to.
pub(super) struct ReadOnlyCluster {
    reader: ClusterReader,
    clock: Arc<dyn Clock>,
    /// The last live answer stands for the watch: it tells the same, at this very moment.
    heard_at: Mutex<Option<Time>>,
}

impl ReadOnlyCluster {
    pub(super) fn new(reader: ClusterReader, clock: Arc<dyn Clock>) -> Self {
        Self { reader, clock, heard_at: Mutex::new(None) }
    }

    fn heard(&self, resolution: Resolution) -> Resolution {
        if !matches!(resolution, Resolution::Unknown { .. }) {
            *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.now());
        }
        resolution
    }
}

impl Cluster for ReadOnlyCluster {
    fn resolve(&self, lookup: Lookup) -> BoxFuture<'_, Resolution> {
        async { self.heard(self.reader.resolve(lookup).await) }.boxed()
    }

    fn observe(&self, target: TargetId) -> BoxFuture<'_, Resolution> {
        async { self.heard(self.reader.observe(target).await.0) }.boxed()
    }

    fn preflight(&self, _: Plan, _: Guard) -> BoxFuture<'_, PreflightReport> {
        ready(PreflightReport::default()).boxed()
    }

    fn evidence(&self, _: Plan) -> BoxFuture<'_, Evidence> {
        ready(Evidence::default()).boxed()
    }

    fn apply(&self, _: Plan, _: usize, _: Guard) -> BoxFuture<'_, Applied> {
        ready(Applied::Refused { why: ONLY_LOOKS.to_owned(), transient: false, forbidden: false }).boxed()
    }

    fn rollout(&self, _: TargetId, _: Digest) -> BoxFuture<'_, RolloutStatus> {
        ready(RolloutStatus::Unknown { why: Unknown::new(UnknownKind::NotObserved, ONLY_LOOKS) }).boxed()
    }

    fn event(&self, _: TargetId, _: IncidentId, _: &'static str, _: String) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn watch_heard_at(&self) -> Option<Time> {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells nobody anything.
pub(super) struct Nobody;

impl Notifier for Nobody {
    fn deliver(&self, _: Message) -> BoxFuture<'_, Delivery> {
        ready(Delivery { delivered: Vec::new(), failed: vec![("none".to_owned(), ONLY_LOOKS.to_owned())] }).boxed()
    }

    fn close_page(&self, _: Option<IncidentId>) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

/// Where no Alertmanager is named: the alerts are taken to fire, because that is what was asked.
pub(super) struct Supposed {
    alerts: Vec<Alert>,
    clock: Arc<dyn Clock>,
}

impl Supposed {
    pub(super) fn new(alerts: Vec<Alert>, clock: Arc<dyn Clock>) -> Self {
        Self { alerts, clock }
    }
}

impl Alertmanagers for Supposed {
    fn view(&self, fingerprints: Vec<Fingerprint>) -> BoxFuture<'_, AlertmanagerView> {
        let (now, source) = (self.clock.now(), "taken to fire: no Alertmanager was named");
        let held = self.alerts.iter().filter(|alert| fingerprints.contains(&alert.fingerprint)).map(|alert| AlertOnPeer {
            occurrence: alert.occurrence(),
            labels: alert.labels.to_map(),
            state: PeerAlertState::Active,
        });
        let alerts: Vec<AlertOnPeer> = held.collect();
        let others = self.alerts.iter().filter(|alert| !fingerprints.contains(&alert.fingerprint));
        let others = others.map(|alert| AlertAlike { occurrence: alert.occurrence(), labels: alert.labels.to_map() });
        let (alike, alike_left_out) = alike::nearest(&alerts, others);
        let (name, up) = ("the alert as given".to_owned(), Duration::MAX);
        let peer = PeerView { peer: name, up, alerts, watchdog_at: None, alike, alike_left_out };
        let evaluated_at = Fact::unknown(Unknown::new(UnknownKind::NotObserved, "not asked"), now, "prometheus");
        ready(AlertmanagerView { peers: vec![Fact::known(peer, now, source)], evaluated_at }).boxed()
    }
}
