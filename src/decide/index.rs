//! What is looked up so often that nobody may walk through the book for it: who holds an alert, what stands about a target, what
//! is due first. Derived from the book by `fold` and never written: a book that was read anew builds it again.

use std::collections::{BTreeMap, BTreeSet};

use super::due::Times;
use super::incident::Incident;
use crate::model::{IncidentId, Occurrence, Time};

/// Look-ups over a book.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    /// Open incidents by the occurrences of their alerts.
    holders: BTreeSet<(Occurrence, IncidentId)>,
    /// All incidents by where they belong, see [`place`].
    places: BTreeSet<(String, IncidentId)>,
    /// Incidents by each of their times.
    due: [BTreeSet<(Time, IncidentId)>; Times::KINDS],
    /// Incidents, open or not, by the time since when a rule of theirs says rollback.
    wants: BTreeSet<(Time, IncidentId)>,
    /// Look-ups by the time at which they are made again.
    pending: BTreeSet<(Time, String)>,
    /// What each incident is filed under.
    filed: BTreeMap<IncidentId, Filed>,
}

#[derive(Clone, Debug, PartialEq)]
struct Filed {
    place: String,
    open: bool,
    times: Times,
    wanted_at: Option<Time>,
}

impl Index {
    /// Files an incident anew: a new one, one that changed, one that was read from a snapshot. Its alerts beside `joined` are
    /// filed already, unless it is new.
    pub(super) fn file(&mut self, incident: &Incident, joined: Option<Occurrence>) {
        let (open, wanted_at) = (incident.is_open(), incident.rollback_wanted_at);
        let now = Filed { place: place(incident), open, times: Times::of(incident), wanted_at };
        let id = &incident.id;
        let before = self.filed.get(id);
        if let Some(before) = before {
            if before.open && !now.open {
                for member in incident.members.values() {
                    self.holders.remove(&(member.alert.occurrence(), id.clone()));
                }
            }
        } else if now.open {
            self.holders.extend(incident.members.values().map(|member| (member.alert.occurrence(), id.clone())));
        }
        if let Some(occurrence) = joined.filter(|_| now.open) {
            self.holders.insert((occurrence, id.clone()));
        }
        if before == Some(&now) {
            return;
        }
        let before = before.cloned();
        let was = before.as_ref().map_or([None; Times::KINDS], |before| before.times.0);
        for (set, (was, is)) in self.due.iter_mut().zip(was.into_iter().zip(now.times.0)) {
            if was != is {
                was.map(|at| set.remove(&(at, id.clone())));
                is.map(|at| set.insert((at, id.clone())));
            }
        }
        let wanted_before = before.as_ref().and_then(|before| before.wanted_at);
        if wanted_before != now.wanted_at {
            wanted_before.map(|at| self.wants.remove(&(at, id.clone())));
            now.wanted_at.map(|at| self.wants.insert((at, id.clone())));
        }
        if before.as_ref().is_none_or(|before| before.place != now.place) {
            before.map(|before| self.places.remove(&(before.place, id.clone())));
            self.places.insert((now.place.clone(), id.clone()));
        }
        self.filed.insert(id.clone(), now);
    }

    /// An incident does not hold an alert any more.
    pub(super) fn leave(&mut self, occurrence: Occurrence, id: &IncidentId) {
        self.holders.remove(&(occurrence, id.clone()));
    }

    /// Takes a forgotten incident out. Only what is over is forgotten: it holds no alert.
    pub(super) fn forget(&mut self, id: &IncidentId) {
        if let Some(filed) = self.filed.remove(id) {
            for (set, at) in self.due.iter_mut().zip(filed.times.0) {
                at.map(|at| set.remove(&(at, id.clone())));
            }
            self.places.remove(&(filed.place, id.clone()));
            filed.wanted_at.map(|at| self.wants.remove(&(at, id.clone())));
        }
    }

    /// Files a look-up under its time, instead of the one before.
    pub(super) fn look_up(&mut self, occurrence: &str, before: Option<Time>, due: Option<Time>) {
        before.map(|at| self.pending.remove(&(at, occurrence.to_owned())));
        due.map(|at| self.pending.insert((at, occurrence.to_owned())));
    }

    /// Open incidents that hold an occurrence, by id.
    pub(super) fn holders(&self, occurrence: Occurrence) -> impl Iterator<Item = &IncidentId> {
        let first = (occurrence, IncidentId(String::new()));
        self.holders.range(first..).take_while(move |(of, _)| *of == occurrence).map(|(_, id)| id)
    }

    /// Whether no open incident holds any alert.
    pub(super) fn holds_nothing(&self) -> bool {
        self.holders.is_empty()
    }

    /// All incidents of a place, open or not, by id.
    pub(super) fn at<'a>(&'a self, place: &str) -> impl Iterator<Item = &'a IncidentId> + use<'a> {
        let (first, place) = ((place.to_owned(), IncidentId(String::new())), place.to_owned());
        self.places.range(first..).take_while(move |(of, _)| *of == place).map(|(_, id)| id)
    }

    /// Incidents that have wanted a rollback since then or later, the newest first.
    pub(super) fn wants_since(&self, from: Time) -> impl Iterator<Item = &IncidentId> {
        self.wants.range((from, IncidentId(String::new()))..).rev().map(|(_, id)| id)
    }

    /// The incident whose time of this kind comes first.
    pub(super) fn first(&self, kind: usize) -> Option<(Time, &IncidentId)> {
        self.due.get(kind)?.first().map(|(at, id)| (*at, id))
    }

    /// The look-up that is due first.
    pub(super) fn first_pending(&self) -> Option<(Time, &str)> {
        self.pending.first().map(|(at, key)| (*at, key.as_str()))
    }
}

/// Where an incident belongs: its target, or without one its policy. No target's name looks like a policy's.
pub(super) fn place(incident: &Incident) -> String {
    match &incident.target {
        Some(target) => target.at.to_string(),
        None => nowhere(&incident.policy),
    }
}

/// The place of what names no target.
pub(super) fn nowhere(policy: &str) -> String {
    format!("policy {policy}")
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, minutes};
    use super::*;

    #[test]
    fn without_a_target_the_policy_is_the_place() {
        let World { mut incident, .. } = World::new();
        assert_eq!(place(&incident), "deployment/shop/web");
        incident.target = None;
        assert_eq!(place(&incident), "policy web");
    }
    #[test]
    fn who_wants_a_rollback_is_found_by_since_when() {
        let (World { mut incident, now, .. }, mut index) = (World::new(), Index::default());
        for (wanted_at, found) in
            [(Some(now), true), (Some(now - minutes(1)), false), (Some(now + minutes(1)), true), (None, false)]
        {
            incident.rollback_wanted_at = wanted_at;
            index.file(&incident, None);
            assert_eq!(index.wants_since(now).next().is_some(), found, "{wanted_at:?}");
            assert_eq!(index.wants.len(), usize::from(wanted_at.is_some()));
        }
    }

    #[test]
    fn a_book_whose_look_ups_are_out_of_date_says_so() {
        let mut world = World::new();
        assert!(world.book.is_indexed());
        world.book.incidents.insert(world.incident.id.clone(), world.incident.clone());
        assert!(!world.book.is_indexed());
        world.book.reindex();
        assert!(world.book.is_indexed());
    }

    #[test]
    fn what_has_no_target_is_found_under_the_policy_that_decides_now() {
        let (World { mut incident, .. }, mut index) = (World::new(), Index::default());
        incident.target = None;
        let found = |index: &Index, policy: &str| index.at(&nowhere(policy)).count();
        index.file(&incident, None);
        assert_eq!((found(&index, "web"), found(&index, "shop")), (1, 0));
        incident.policy = "shop".to_owned();
        index.file(&incident, None);
        assert_eq!((found(&index, "web"), found(&index, "shop")), (0, 1));
    }
}
