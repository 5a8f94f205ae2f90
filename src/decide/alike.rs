//! Alerts of the same name as ours that a peer holds: which of them are looked at, so that a list of thousands stays a short one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{AlertAlike, AlertOnPeer, Labels, Time};

/// Alerts that are kept of a peer's list.
const KEPT: usize = 24;
/// What an alert of one pod says of that pod alone.
const OF_A_POD: [&str; 4] = ["container", "instance", "node", "uid"];

/// Of the alerts with the names of `ours`, those nearest to them in time, the nearest first; and how many more there are, each at
/// least as far. What differs only in the pod of one ReplicaSet is one.
pub fn nearest(ours: &[AlertOnPeer], others: impl IntoIterator<Item = AlertAlike>) -> (Vec<AlertAlike>, u64) {
    let mut began: BTreeMap<&str, BTreeSet<Time>> = BTreeMap::new();
    for alert in ours {
        began.entry(name_of(&alert.labels)).or_default().insert(alert.occurrence.starts_at);
    }
    let far = |other: &AlertAlike| Some(distance(began.get(name_of(&other.labels))?, other.occurrence.starts_at));
    let mut found: Vec<(Duration, AlertAlike)> = others.into_iter().filter_map(|other| Some((far(&other)?, other))).collect();
    found.sort_by(|(a, alert), (b, other)| (a, alert.occurrence).cmp(&(b, other.occurrence)));
    let mut seen = BTreeSet::new();
    found.retain(|(_, alert)| seen.insert(source(&alert.labels)));
    let more = found.len().saturating_sub(KEPT);
    let kept = found.into_iter().take(KEPT).map(|(_, alert)| alert).collect();
    (kept, u64::try_from(more).unwrap_or(u64::MAX))
}

/// The name of an alert with these labels.
pub(super) fn name_of(labels: &Labels) -> &str {
    labels.get("alertname").map_or("", String::as_str)
}

/// What an alert is about, as far as its labels tell: pods of one ReplicaSet are one.
pub(super) fn source(labels: &Labels) -> String {
    let pod = labels.get("pod").filter(|pod| !pod.is_empty());
    let told = labels.iter().filter(|(name, _)| pod.is_none() || !OF_A_POD.contains(&name.as_str()));
    let told = told.map(|(name, value)| match name.as_str() {
        "pod" => format!("{name}={}", replica_set(value)),
        _ => format!("{name}={value}"),
    });
    told.collect::<Vec<_>>().join("\n")
}

/// The ReplicaSet that a pod is named after, if one made it.
pub(super) fn replica_set(pod: &str) -> &str {
    pod.rsplit_once('-').map_or(pod, |(set, _)| set)
}

/// How far a time lies from the nearest of those.
fn distance(from: &BTreeSet<Time>, at: Time) -> Duration {
    let before = from.range(..=at).next_back().map(|other| at.since(*other));
    let after = from.range(at..).next().map(|other| other.since(at));
    before.into_iter().chain(after).min().unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Fingerprint, Occurrence, PeerAlertState};

    fn labels(name: &str, pairs: &[(&str, &str)]) -> Labels {
        let named = [("alertname", name)];
        named.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn alike(name: &str, at: i64, pairs: &[(&str, &str)]) -> AlertAlike {
        let labels = labels(name, pairs);
        let fingerprint = Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        AlertAlike { occurrence: Occurrence { fingerprint, starts_at: Time::from_millis(at * 1000) }, labels }
    }

    fn ours(name: &str, at: i64) -> AlertOnPeer {
        let AlertAlike { occurrence, labels } = alike(name, at, &[("deployment", "web")]);
        AlertOnPeer { occurrence, labels, state: PeerAlertState::Active }
    }

    #[test]
    fn the_nearest_of_the_same_name_come_first() {
        let others = [
            alike("Errors", 900, &[("deployment", "a")]),
            alike("Errors", 690, &[("deployment", "b")]),
            alike("Latency", 700, &[("deployment", "c")]),
            alike("Errors", 705, &[("deployment", "d")]),
        ];
        let (kept, more) = nearest(&[ours("Errors", 700), ours("Errors", 100)], others);
        let names: Vec<&str> = kept.iter().map(|alert| alert.labels["deployment"].as_str()).collect();
        assert_eq!((names, more), (vec!["d", "b", "a"], 0));
        assert_eq!(nearest(&[], [alike("Errors", 1, &[])]), (Vec::new(), 0), "of what we do not have, nothing is alike");
    }

    #[test]
    fn pods_of_one_replica_set_are_one() {
        let pod =
            |pod: &str, instance: &str| alike("Errors", 700, &[("namespace", "shop"), ("pod", pod), ("instance", instance)]);
        let others = [pod("a-6d5f8-x1", "10.0.0.1:80"), pod("a-6d5f8-x2", "10.0.0.2:80"), pod("b-77777-x1", "10.0.0.3:80")];
        assert_eq!(nearest(&[ours("Errors", 700)], others).0.len(), 2);
        let instances = ["1", "2"].map(|instance| alike("Errors", 700, &[("instance", instance)]));
        assert_eq!(nearest(&[ours("Errors", 700)], instances).0.len(), 2, "without a pod an instance may be all there is");
    }

    proptest! {
        /// However many there are: few are kept, none that is left out is nearer, and all are counted.
        #[test]
        fn few_are_kept_and_all_are_counted(times in proptest::collection::vec(0_i64..5000, 0..80)) {
            let others = times.iter().enumerate().map(|(number, at)| alike("Errors", *at, &[("deployment", &number.to_string())]));
            let (kept, more) = nearest(&[ours("Errors", 2500)], others);
            prop_assert_eq!(kept.len() + more as usize, times.len());
            prop_assert!(kept.len() <= KEPT);
            let far = |at: i64| (at - 2_500_000).abs();
            let last = kept.last().map_or(i64::MAX, |alert| far(alert.occurrence.starts_at.millis()));
            let nearer = times.iter().filter(|at| far(**at * 1000) < last).count();
            prop_assert!(nearer <= kept.len());
        }
    }
}
