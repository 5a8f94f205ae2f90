//! What somebody saw who stood outside of the service: what reached the API server, what ran and was available, which alerts fired.
//! For tests that judge the service by what it did. Nothing here knows what it decided, or why.

use std::collections::BTreeMap;

use super::deployment::Deployment;
use super::world::World;
use crate::model::{Digest, IncidentId, Labels, Plan, TargetRef, Time};

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// A request to write reached the API server, whatever became of it.
    Asked(Request),
    /// A write of ours was made, on an object with this UID.
    Written {
        /// What was asked for.
        request: Request,
        /// Of the object that was written.
        uid: String,
        /// The release that ran there before.
        left: Digest,
    },
    /// A target was read live.
    Read {
        /// Which.
        target: TargetRef,
    },
    /// A release was put on a target.
    Template {
        /// Where.
        target: TargetRef,
        /// The object.
        uid: String,
        /// What.
        release: Digest,
        /// By whom.
        by: String,
    },
    /// Somebody scaled a target.
    Scaled {
        /// Which.
        target: TargetRef,
    },
    /// Somebody paused a target's rollout, or let it go on.
    Held {
        /// Which.
        target: TargetRef,
    },
    /// The release that runs became fully available, or ceased to be.
    Available {
        /// Where.
        target: TargetRef,
        /// The object.
        uid: String,
        /// Which.
        release: Digest,
        /// Whether.
        available: bool,
    },
    /// An object is gone.
    Gone {
        /// Which.
        target: TargetRef,
    },
    /// An alert fires.
    Fires {
        /// Which.
        labels: Labels,
        /// When its condition began, where anybody knows.
        onset: Option<Time>,
    },
    /// An alert is over, or lost.
    Ends {
        /// Which.
        labels: Labels,
    },
}

/// A request to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For which incident.
    pub incident: IncidentId,
    /// By which policy.
    pub policy: String,
    /// On what.
    pub target: TargetRef,
    /// The object that is meant.
    pub uid: String,
    /// The release to leave.
    pub from: Digest,
    /// The release to put back.
    pub to: Digest,
}

impl Request {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            incident: plan.incident.clone(),
            policy: plan.policy.clone(),
            target: plan.target.at.clone(),
            uid: plan.target.uid.clone(),
            from: plan.from.digest.clone(),
            to: plan.to.digest.clone(),
        }
    }
}

/// What was last seen of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    uid: String,
    release: Digest,
    replicas: i32,
    paused: bool,
    available: bool,
}

/// Writes down what it sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    known: BTreeMap<TargetRef, Known>,
    seen: Vec<(Time, Testimony)>,
}

impl Witness {
    pub(super) fn says(&mut self, at: Time, what: Testimony) {
        self.seen.push((at, what));
    }

    /// Looks at everything that runs.
    pub(super) fn look(&mut self, deployments: &BTreeMap<TargetRef, Deployment>, at: Time) {
        let gone: Vec<TargetRef> = self.known.keys().filter(|known| !deployments.contains_key(*known)).cloned().collect();
        for target in gone {
            self.known.remove(&target);
            self.says(at, Testimony::Gone { target });
        }
        for (target, deployment) in deployments {
            let now = Known {
                uid: deployment.uid.clone(),
                release: deployment.release(),
                replicas: deployment.replicas,
                paused: deployment.paused,
                available: deployment.complete(at),
            };
            let before = self.known.insert(target.clone(), now.clone());
            let same = before.as_ref().filter(|before| before.uid == now.uid);
            if same.is_none_or(|before| before.release != now.release) {
                let by = deployment.template_writer().map_or_else(|| "somebody".to_owned(), |(by, _)| by);
                let (target, uid, release) = (target.clone(), now.uid.clone(), now.release.clone());
                self.says(at, Testimony::Template { target, uid, release, by });
            }
            if same.is_some_and(|before| before.replicas != now.replicas) {
                self.says(at, Testimony::Scaled { target: target.clone() });
            }
            if same.is_some_and(|before| before.paused != now.paused) {
                self.says(at, Testimony::Held { target: target.clone() });
            }
            if same.is_none_or(|before| (before.available, &before.release) != (now.available, &now.release)) {
                let Known { uid, release, available, .. } = now;
                self.says(at, Testimony::Available { target: target.clone(), uid, release, available });
            }
        }
    }
}

impl World {
    /// From now on everything is seen by a witness.
    pub fn call_witness(&mut self) {
        self.cluster.witness = Some(Witness::default());
    }

    /// What the witness saw, in order.
    pub fn testimony(&self) -> &[(Time, Testimony)] {
        self.cluster.witness.as_ref().map_or(&[], |witness| &witness.seen)
    }

    pub(super) fn witness(&mut self, at: Time, what: impl FnOnce() -> Testimony) {
        self.cluster.says(at, what);
    }
}
