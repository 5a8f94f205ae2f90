//! Times of others that are moved, and what holds by a person's word: how they are found and set.

use std::time::Duration;

use super::Basis;
use super::variable::{Variable, changed_at, history, workload, workload_mut};
use crate::decide::incident::{Incident, Member};
use crate::decide::latch::Cleared;
use crate::decide::members::Members;
use crate::decide::observation::Answer;
use crate::model::{Fact, IncidentId, MigrationState, Resolution, Time};
use crate::policy::types::Policy;

/// Template writes this near to a release's first write are that change's.
const SAME: Duration = Duration::from_secs(2);

/// Sets one of those that stand here.
pub(super) fn set(variable: &Variable, basis: &mut Basis, was: &Basis, to: i64) {
    match variable {
        Variable::Change => change(basis, was, to),
        Variable::Wants => wants(basis, was, to),
        Variable::Alike => set_alike(basis, was, to),
        Variable::Latches { ids } => latches(basis, was, ids, to),
        Variable::Migrations { names } => migrations(basis, was, names, to),
        Variable::Moment { .. } => moment(basis, was, to),
        _ => {}
    }
}

/// What `data_latch` looks at: the latches that are about the target, and the Jobs that are over.
pub(super) fn of_data(policy: &Policy, basis: &Basis) -> Vec<Variable> {
    let group = policy.brakes.data_latch.on().map_or(&[][..], |numbers| &numbers.data_group);
    let target = basis.incident.target.as_ref().map(|target| &target.at);
    let holding = basis.book.latches.values().filter(|latch| latch.holds());
    let ids: Vec<u64> =
        holding.filter(|latch| target.is_some_and(|target| latch.covers(target, group))).map(|latch| latch.id).collect();
    let jobs = workload(basis).and_then(|workload| workload.migrations.as_ref().ok()).into_iter().flatten();
    let names: Vec<String> = jobs.filter(|job| job.state != MigrationState::Running).map(|job| job.name.clone()).collect();
    let latches = (!ids.is_empty()).then_some(Variable::Latches { ids });
    let migrations = (!names.is_empty()).then_some(Variable::Migrations { names });
    latches.into_iter().chain(migrations).collect()
}

/// The last time at which another target began to show what this incident shows, if one does.
pub(super) fn alike(basis: &Basis) -> Option<Time> {
    let listed = basis.observation.alerts.peers.iter().filter_map(|peer| peer.get()).flat_map(|peer| &peer.alike);
    let known = besides(basis).flat_map(|other| other.members.values()).filter(|member| is_alike(basis, member));
    listed.map(|alert| alert.occurrence.starts_at).chain(known.map(|member| member.alert.starts_at)).max()
}

fn besides(basis: &Basis) -> impl Iterator<Item = &Incident> {
    basis.book.incidents.values().filter(|other| other.id != basis.incident.id)
}

fn is_alike(basis: &Basis, member: &Member) -> bool {
    basis.incident.members.any_named(member.alert.label("alertname"))
}

/// Moves since when others show the same, on the peers' lists and in their incidents.
fn set_alike(basis: &mut Basis, was: &Basis, by: i64) {
    basis.observation.alerts.peers.clone_from(&was.observation.alerts.peers);
    for peer in basis.observation.alerts.peers.iter_mut().filter_map(|peer| peer.value.as_mut().ok()) {
        peer.alike.iter_mut().for_each(|alert| alert.occurrence.starts_at = alert.occurrence.starts_at.shifted(by));
    }
    let later = |member: &Member| {
        let mut moved = member.clone();
        if is_alike(was, member) {
            moved.alert.starts_at = moved.alert.starts_at.shifted(by);
            moved.onset.at = moved.onset.at.map(|at| at.shifted(by));
        }
        moved
    };
    for other in besides(was).filter(|other| other.members.values().any(|member| is_alike(was, member))) {
        if let Some(known) = basis.book.incidents.get_mut(&other.id) {
            known.members = Members::from_iter(other.members.values().map(later));
        }
    }
    basis.book.reindex();
}

/// From 1 on somebody has looked at the data.
fn latches(basis: &mut Basis, was: &Basis, ids: &[u64], to: i64) {
    for (id, latch) in was.book.latches.iter().filter(|(id, _)| ids.contains(id)) {
        let somebody = || Cleared { at: was.now, by: "somebody".to_owned(), identity: None, reason: "looked".to_owned() };
        let mut latch = latch.clone();
        latch.cleared = (to > 0).then(somebody);
        basis.book.latches.insert(*id, latch);
    }
}

fn migrations(basis: &mut Basis, was: &Basis, names: &[String], by: i64) {
    let Some(Ok(before)) = workload(was).map(|workload| workload.migrations.clone()) else { return };
    if let Some(workload) = workload_mut(basis) {
        let mut moved = before;
        let named = moved.iter_mut().filter(|job| names.contains(&job.name));
        named.for_each(|job| job.at = job.at.shifted(by));
        workload.migrations = Ok(moved);
    }
}

/// Incidents beside this one that want a rollback, and since when.
pub(super) fn others(basis: &Basis) -> impl Iterator<Item = (&IncidentId, Time)> {
    let wants = basis.book.incidents.values().filter(|other| other.id != basis.incident.id);
    wants.filter_map(|other| Some((&other.id, other.rollback_wanted_at?)))
}

/// Moves the time since when others want a rollback.
fn wants(basis: &mut Basis, was: &Basis, by: i64) {
    for (id, since) in others(was) {
        if let Some(other) = basis.book.incidents.get_mut(id) {
            other.rollback_wanted_at = Some(since.shifted(by));
        }
    }
    basis.book.reindex();
}

/// Moves now, and with it all that was just seen.
fn moment(basis: &mut Basis, was: &Basis, by: i64) {
    fn later<T: Clone>(fact: &Fact<T>, by: i64) -> Fact<T> {
        Fact { at: fact.at.shifted(by), ..fact.clone() }
    }
    let seen = &was.observation;
    basis.now = was.now.shifted(by);
    let now = &mut basis.observation;
    now.at = seen.at.shifted(by);
    now.watch_heard_at = seen.watch_heard_at.map(|at| at.shifted(by));
    now.alerts.peers = seen.alerts.peers.iter().map(|peer| later(peer, by)).collect();
    now.alerts.evaluated_at = later(&seen.alerts.evaluated_at, by);
    now.alerts.evaluated_at.value = seen.alerts.evaluated_at.value.clone().map(|at| at.shifted(by));
    now.texts = seen.texts.iter().map(|(name, text)| (name.clone(), later(text, by))).collect();
    let answer = |known: &Answer| Answer { value: later(&known.value, by), floor: known.floor.as_ref().map(|f| later(f, by)) };
    now.values = seen.values.iter().map(|(name, known)| (name.clone(), answer(known))).collect();
}

/// Moves the change, in the ledger and in what the cluster says of it.
fn change(basis: &mut Basis, was: &Basis, by: i64) {
    let Some(release) = was.incident.release.clone() else { return };
    let first_write = changed_at(was);
    if let (Some(mut known), Some(target)) = (history(was).cloned(), &was.incident.target) {
        for entry in known.releases.iter_mut().filter(|entry| entry.digest == release) {
            entry.live_since = entry.live_since.shifted(by);
            entry.landed_at = entry.landed_at.map(|at| at.shifted(by));
            entry.available_since = entry.available_since.map(|at| at.shifted(by));
        }
        basis.book.targets.insert(target.at.to_string(), known);
    }
    let Some(mut known) = workload(was).cloned() else { return };
    if known.release == release {
        known.landed_at = known.landed_at.map(|at| at.shifted(by));
        let own = |at: Time| first_write.is_some_and(|first| at.since(first).max(first.since(at)) <= SAME);
        known.writes.iter_mut().filter(|write| write.template && own(write.at)).for_each(|write| write.at = write.at.shifted(by));
    }
    known.replica_sets.iter_mut().filter(|rs| rs.digest == release).for_each(|rs| rs.created_at = rs.created_at.shifted(by));
    basis.observation.workload = Some(Resolution::Found { workload: Box::new(known) });
}
