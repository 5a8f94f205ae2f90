//! Downloads a history: the same few queries for every part of the time, and what their series mean.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::changes::{Frame, Recorded, Set};
use super::history::{Alert, History};
use super::series::{Series, join, millis};
use super::story::{Refusal, Source};
use crate::model::{Labels, TargetRef, Time};

/// So much time is asked for at once.
const CHUNK: Duration = Duration::from_secs(6 * 60 * 60);
/// Questions that are open at once.
const AT_ONCE: usize = 4;

/// What is downloaded.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Incidents count from here …
    pub from: Time,
    /// … up to here.
    pub to: Time,
    /// The history begins so much earlier.
    pub lead: Duration,
    /// A change that may have been a restart cannot be judged for so long.
    pub doubt: Duration,
}

/// How far the download is: parts that are there, and all.
pub type Tick<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Why there is no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Prometheus did not answer, or not with what was asked for.
    #[error("{0}")]
    Unanswered(#[from] Refusal),
    /// It answers and has nothing of that time.
    #[error("{0}")]
    Nothing(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    Up,
    Firing,
    Onset,
    Wanted,
    Ready,
    Replicas,
    Created,
    Owner,
    Images,
}

impl Ask {
    const ALL: [Self; 9] = [
        Self::Up,
        Self::Firing,
        Self::Onset,
        Self::Wanted,
        Self::Ready,
        Self::Replicas,
        Self::Created,
        Self::Owner,
        Self::Images,
    ];

    /// Of what stays the same as long as it is there, one answer for a part of the time is enough.
    fn query(self, chunk: Duration) -> String {
        let whole = |metric: &str| format!("last_over_time({metric}[{}s])", chunk.as_secs());
        match self {
            Self::Up => "group(up)".to_owned(),
            Self::Firing => r#"ALERTS{alertstate="firing"}"#.to_owned(),
            Self::Onset => "ALERTS_FOR_STATE".to_owned(),
            Self::Wanted => "max by (namespace, replicaset) (kube_replicaset_spec_replicas) > 0".to_owned(),
            Self::Ready => "max by (namespace, replicaset) (kube_replicaset_status_ready_replicas) > 0".to_owned(),
            Self::Replicas => "max by (namespace, deployment) (kube_deployment_spec_replicas)".to_owned(),
            Self::Created => format!("max by (namespace, replicaset) ({})", whole("kube_replicaset_created")),
            Self::Owner => {
                let owner = whole(r#"kube_replicaset_owner{owner_kind="Deployment"}"#);
                format!("group by (namespace, replicaset, owner_name) ({owner})")
            }
            Self::Images => {
                format!("group by (namespace, pod, container, image, image_spec) ({})", whole("kube_pod_container_info"))
            }
        }
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Created | Self::Owner | Self::Images)
    }

    /// What its absence means.
    fn absent(self) -> Option<&'static str> {
        Some(match self {
            Self::Up => "`up`: when nothing was recorded cannot be told, and so nothing is known of any time",
            Self::Firing => "`ALERTS`: no alert fired in that time, or none is recorded",
            Self::Onset => "`ALERTS_FOR_STATE`: when conditions began is unknown, and so every rollback is held",
            Self::Wanted | Self::Owner => {
                "`kube_replicaset_spec_replicas` or `kube_replicaset_owner`: no release is known, and so no target"
            }
            Self::Ready => {
                "`kube_replicaset_status_ready_replicas`: no release was ever seen healthy, so none is fit to go back to"
            }
            Self::Created => "`kube_replicaset_created`: releases of before that time are unknown",
            Self::Images => "`kube_pod_container_info`: the images of releases are unknown, and so are their targets",
            Self::Replicas => "`kube_deployment_spec_replicas`: nothing can be said of any Deployment at any time",
        })
    }
}

/// Downloads the history of a time.
///
/// # Errors
/// Prometheus does not answer, or has nothing of that time.
pub async fn download(source: &Source, span: Span, tick: Tick<'_>) -> Result<History, Broken> {
    let step = millis(source.step);
    let down = |at: Time| Time::from_millis(at.millis().div_euclid(step) * step);
    let (begin, to) = (down(span.from - span.lead), down(span.to));
    let parts = parts(begin, to);
    let all = parts.len() as u64 * Ask::ALL.len() as u64;
    tick(0, all);
    let questions = parts.iter().flat_map(|part| Ask::ALL.map(|ask| (ask, *part)));
    let answers = stream::iter(questions).map(async |(ask, (from, to))| {
        let chunk = to.since(from);
        let from = if ask.is_whole() { to.shifted(-step) } else { from };
        source.range(&ask.query(chunk), from, to).await.map(|series| (ask, series))
    });
    let mut found: BTreeMap<Ask, Vec<Vec<Series>>> = BTreeMap::new();
    let mut done = 0;
    let mut answers = answers.buffered(AT_ONCE);
    while let Some((ask, series)) = answers.try_next().await? {
        found.entry(ask).or_default().push(series);
        done += 1;
        tick(done, all);
    }
    let frame = Frame { begin, to, step: source.step, doubt: span.doubt };
    let found = found.into_iter().map(|(ask, chunks)| (ask, join(chunks, source.step))).collect();
    let read = Read { found, step: source.step, frame };
    if read.of(Ask::Up).is_empty() && read.of(Ask::Firing).is_empty() {
        return Err(Broken::Nothing(format!("{} has neither `up` nor `ALERTS` of that time", source.name())));
    }
    Ok(read.history(span.from))
}

/// Parts of the time, on whole multiples of their length, so that the next download finds them again.
fn parts(begin: Time, end: Time) -> Vec<(Time, Time)> {
    let chunk = millis(CHUNK);
    let mut parts = Vec::new();
    let mut from = begin;
    while from < end {
        let to = Time::from_millis((from.millis().div_euclid(chunk) + 1) * chunk).min(end);
        parts.push((from, to));
        from = to;
    }
    parts
}

/// What came.
struct Read {
    found: BTreeMap<Ask, Vec<Series>>,
    step: Duration,
    frame: Frame,
}

impl Read {
    fn of(&self, ask: Ask) -> &[Series] {
        self.found.get(&ask).map(Vec::as_slice).unwrap_or_default()
    }

    fn history(&self, from: Time) -> History {
        let Frame { begin, to, step, .. } = self.frame;
        let gaps = self.gaps();
        let owners = self.owners();
        let missing = Ask::ALL.iter().filter(|ask| self.of(**ask).is_empty()).filter_map(|ask| ask.absent());
        let mut missing: Vec<String> = missing.map(str::to_owned).collect();
        missing.dedup();
        let recorded = self.recorded(&owners);
        let workloads = recorded.into_iter().filter_map(|(at, known)| Some((at, known.workload(self.frame)?))).collect();
        History { from, to, begin, step: Some(step), alerts: self.alerts(&gaps), workloads, gaps, owners, missing }
    }

    /// When no scrape was recorded.
    fn gaps(&self) -> Vec<(Time, Time)> {
        let mut gaps = Vec::new();
        let mut end = self.frame.begin;
        for (from, to) in self.of(Ask::Up).iter().flat_map(|series| series.spans(self.step)) {
            if from > end {
                gaps.push((end, from));
            }
            end = end.max(to);
        }
        if end < self.frame.to {
            gaps.push((end, self.frame.to));
        }
        gaps
    }

    fn alerts(&self, gaps: &[(Time, Time)]) -> Vec<Alert> {
        let mut onsets: BTreeMap<Labels, &Series> = BTreeMap::new();
        for series in self.of(Ask::Onset) {
            onsets.insert(series.labels.clone(), series);
        }
        let gap = |from: Time, to: Time| gaps.iter().any(|gap| gap.0 <= from && to <= gap.1);
        let mut alerts = Vec::new();
        for series in self.of(Ask::Firing) {
            let mut labels = series.labels.clone();
            labels.remove("alertstate");
            let onsets = onsets.get(&labels);
            let onset = |at: Time| onsets.and_then(|series| series.at(at.millis(), self.step)).map(whole_seconds);
            let mut fired: Vec<Alert> = Vec::new();
            for (from, to) in series.spans(self.step) {
                let began = onset(from);
                match fired.last_mut() {
                    // The same firing on both sides of a time when nothing was recorded.
                    Some(last) if began.is_some() && began == last.onset && last.to.is_some_and(|end| gap(end, from)) => {
                        last.to = Some(to);
                    }
                    _ => fired.push(Alert { labels: labels.clone(), onset: began, from, to: Some(to) }),
                }
            }
            alerts.extend(fired);
        }
        for alert in alerts.iter_mut().filter(|alert| alert.to.is_some_and(|to| to >= self.frame.to)) {
            alert.to = None;
        }
        alerts.sort_by(|a, b| (a.from, &a.labels).cmp(&(b.from, &b.labels)));
        alerts
    }

    /// `namespace/replicaset`, and the Deployment that it belongs to. Names that Kubernetes would not take are left out.
    fn owners(&self) -> BTreeMap<String, TargetRef> {
        let owner = |series: &Series| {
            let [namespace, set, owner] = ["namespace", "replicaset", "owner_name"].map(|name| series.labels.get(name));
            let target = TargetRef::deployment(namespace?, owner?).ok()?;
            Some((format!("{}/{}", namespace?, set?), target))
        };
        self.of(Ask::Owner).iter().filter_map(owner).collect()
    }

    fn recorded(&self, owners: &BTreeMap<String, TargetRef>) -> BTreeMap<TargetRef, Recorded> {
        let mut found: BTreeMap<TargetRef, Recorded> = BTreeMap::new();
        let set = |found: &mut BTreeMap<TargetRef, Recorded>, series: &Series, change: &mut dyn FnMut(&mut Set)| {
            let [Some(namespace), Some(name)] = ["namespace", "replicaset"].map(|name| series.labels.get(name)) else { return };
            let Some(owner) = owners.get(&format!("{namespace}/{name}")) else { return };
            change(found.entry(owner.clone()).or_default().sets.entry(name.clone()).or_default());
        };
        for series in self.of(Ask::Wanted) {
            set(&mut found, series, &mut |set| set.wanted = self.pods(series));
        }
        for series in self.of(Ask::Ready) {
            set(&mut found, series, &mut |set| set.ready = self.pods(series));
        }
        for series in self.of(Ask::Created) {
            let created = series.runs.first().map(|run| whole_seconds(run.value));
            set(&mut found, series, &mut |set| set.created = created);
        }
        for series in self.of(Ask::Replicas) {
            let [Some(namespace), Some(name)] = ["namespace", "deployment"].map(|name| series.labels.get(name)) else { continue };
            let known = TargetRef::deployment(namespace, name).ok().and_then(|target| found.get_mut(&target));
            let Some(known) = known else { continue };
            known.replicas =
                self.pods(series).into_iter().filter(|(at, _)| series.at(at.millis(), self.step).is_some()).collect();
            known.spans = series.spans(self.step);
        }
        self.images(owners, &mut found);
        found
    }

    fn images(&self, owners: &BTreeMap<String, TargetRef>, found: &mut BTreeMap<TargetRef, Recorded>) {
        for series in self.of(Ask::Images) {
            let [Some(namespace), Some(pod)] = ["namespace", "pod"].map(|name| series.labels.get(name)) else { continue };
            let Some((name, owner)) =
                pod.rsplit_once('-').and_then(|(set, _)| Some((set, owners.get(&format!("{namespace}/{set}"))?)))
            else {
                continue;
            };
            let text = |name: &str| series.labels.get(name).filter(|text| !text.is_empty());
            // What the pod's specification says; what runs may be written otherwise.
            let Some((container, image)) = text("container").zip(text("image_spec").or(text("image"))) else { continue };
            if let Some(set) = found.get_mut(owner).and_then(|known| known.sets.get_mut(name)) {
                set.images.insert(container.clone(), image.clone());
            }
        }
    }

    fn pods(&self, series: &Series) -> Vec<(Time, i32)> {
        let changes = series.changes(self.step).into_iter();
        changes.map(|(at, pods)| (at, pods.map_or(0, |pods| pods.clamp(0.0, f64::from(i32::MAX)) as i32))).collect()
    }
}

/// A time that is a sample's value, in seconds.
fn whole_seconds(value: f64) -> Time {
    Time::from_millis((value * 1000.0) as i64)
}
