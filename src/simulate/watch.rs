//! What a watch tells of the simulated Deployments: the same events that the real watch makes of what it sees.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deployment::{Deployment, is_us};
use crate::model::{Digest, TargetId, TargetRef, Time, WatchEvent, template};

/// A ReplicaSet that is older than this when its release comes up was there before: the release came back.
const FRESH: Duration = Duration::from_secs(60);

/// A release's time on a target, from the moment that the watch saw it come up.
#[derive(Clone, Debug)]
struct Tenure {
    release: Digest,
    by: Option<String>,
    seen_at: Time,
    written_at: Option<Time>,
    first_write: Option<Time>,
}

#[derive(Clone, Debug)]
struct Followed {
    tenure: Tenure,
    last: WatchEvent,
}

/// The watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    followed: BTreeMap<TargetRef, Followed>,
}

impl Watch {
    /// What is new. `listed`: everything was listed anew, so that all of it is told again.
    pub(super) fn look(&mut self, deployments: &BTreeMap<TargetRef, Deployment>, listed: bool, now: Time) -> Vec<WatchEvent> {
        let other = |(at, followed): (&TargetRef, &Followed)| {
            let same = deployments.get(at).is_some_and(|deployment| deployment.uid == followed.last.target.uid);
            (!same).then(|| at.clone())
        };
        // Where nothing is new by name or by UID nothing can be gone: nobody need look through all of them.
        let unknown = |deployment: &Deployment| {
            let followed = self.followed.get(&deployment.at);
            deployment.is_news() && followed.is_none_or(|followed| followed.last.target.uid != deployment.uid)
        };
        let same = deployments.len() == self.followed.len() && !deployments.values().any(unknown);
        let gone: Vec<TargetRef> = if same { Vec::new() } else { self.followed.iter().filter_map(other).collect() };
        let mut events = Vec::new();
        for at in gone {
            if let Some(followed) = self.followed.remove(&at) {
                events.push(WatchEvent { gone: true, available: false, relearned: false, landed_at: None, ..followed.last });
            }
        }
        for deployment in deployments.values() {
            if !deployment.look() && !listed {
                continue;
            }
            events.extend(self.news(deployment, listed, now));
        }
        events
    }

    fn news(&mut self, deployment: &Deployment, listed: bool, now: Time) -> Option<WatchEvent> {
        let release = deployment.release();
        let known = self.followed.get(&deployment.at);
        let mut tenure = match known {
            Some(known) if known.tenure.release == release => known.tenure.clone(),
            known => tenure(deployment, release.clone(), listed && known.is_none(), now),
        };
        let current = deployment.current();
        let created = deployment.sets.iter().filter(|set| set.digest == release).map(|set| set.created_at).min();
        tenure.first_write = tenure.first_write.or(tenure.written_at).or(created);
        let available = deployment.complete(now);
        let about_it = deployment.progressed.as_ref().filter(|(_, name)| current.is_some_and(|set| set.name == *name));
        let event = WatchEvent {
            target: TargetId { at: deployment.at.clone(), uid: deployment.uid.clone() },
            release,
            images: template::images(&deployment.template),
            replica_set: current.map(|set| set.name.clone()),
            first_write: tenure.first_write.unwrap_or(tenure.seen_at),
            by: tenure.by.clone(),
            by_us: tenure.by.as_deref().is_some_and(is_us),
            available,
            relearned: listed,
            landed_at: about_it.filter(|_| listed && available).map(|(at, _)| *at),
            gone: false,
        };
        let told = |event: &WatchEvent| WatchEvent { relearned: false, landed_at: None, ..event.clone() };
        let nothing_new = !listed && known.is_some_and(|known| told(&known.last) == told(&event));
        self.followed.insert(deployment.at.clone(), Followed { tenure, last: event.clone() });
        (!nothing_new).then_some(event)
    }
}

fn tenure(deployment: &Deployment, release: Digest, first_sight: bool, now: Time) -> Tenure {
    let mut equal = deployment.sets.iter().filter(|set| set.digest == release);
    let came_back = equal.any(|set| if first_sight { set.came_back } else { set.created_at + FRESH < now });
    let writer = deployment.template_writer();
    Tenure {
        release,
        by: writer.as_ref().map(|(manager, _)| manager.clone()),
        seen_at: now,
        written_at: came_back.then(|| writer.map_or(now, |(_, at)| at)),
        first_write: None,
    }
}
