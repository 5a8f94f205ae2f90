//! Which rollbacks of the past count for an incident. Nothing is judged here.

use std::collections::BTreeMap;

use super::Scene;
use crate::decide::book::PastRollback;
use crate::decide::incident::Lane;
use crate::model::{IncidentId, Time};

/// Rollbacks that calm a target down for this incident: real ones by anybody, for a lane in shadow its own besides. The
/// incident's own earlier levels are none of them.
pub(super) fn calming<'a>(scene: &'a Scene<'_>, all: &'a [PastRollback]) -> impl Iterator<Item = &'a PastRollback> {
    let own = scene.incident.lane.key();
    all.iter()
        .filter(move |past| past.lane == Lane::Live.key() || past.lane == own)
        .filter(|past| past.incident.as_ref() != Some(&scene.incident.id))
}

/// What this incident's lane spent by other incidents: each once, however many levels it had, at its latest intent. What
/// people did is not on our account.
pub(super) fn spent<'a>(scene: &Scene<'_>, all: impl Iterator<Item = &'a PastRollback>) -> BTreeMap<&'a IncidentId, Time> {
    let mut latest: BTreeMap<&IncidentId, Time> = BTreeMap::new();
    for past in all.filter(|past| past.lane == scene.incident.lane.key()) {
        match &past.incident {
            Some(by) if *by != scene.incident.id => {
                latest.entry(by).and_modify(|at| *at = past.at.max(*at)).or_insert(past.at);
            }
            _ => {}
        }
    }
    latest
}
