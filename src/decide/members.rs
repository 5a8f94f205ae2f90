//! The alerts of an incident. A step works on a copy of its incident: copies share what they have in common, and what is asked of all
//! alerts at once is counted as they change, so that an incident with thousands of alerts costs no more than one with a few.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::incident::Member;
use crate::model::{Occurrence, Time};

/// Alerts that are over and are kept, for the report: one that flaps for a month begins anew thousands of times.
const ENDED_KEPT: usize = 200;

/// The alerts of an incident, by occurrence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    by_occurrence: RedBlackTreeMapSync<Occurrence, Arc<Member>>,
    /// What they are called: few names, however many alerts.
    names: RedBlackTreeSetSync<String>,
    /// Those that are over, the one that ended first at the front.
    ended: RedBlackTreeSetSync<(Time, Occurrence)>,
    counts: Counts,
}

/// How many of them …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// … fire, as far as we were told;
    firing: usize,
    /// … say that they are critical;
    critical: usize,
    /// … came in a notification that was cut.
    truncated: usize,
}

impl Members {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_occurrence.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_occurrence.is_empty()
    }

    /// One of them.
    pub fn get(&self, occurrence: Occurrence) -> Option<&Member> {
        self.by_occurrence.get(&occurrence).map(Arc::as_ref)
    }

    /// Whether it is one of them.
    pub fn contains(&self, occurrence: Occurrence) -> bool {
        self.by_occurrence.contains_key(&occurrence)
    }

    /// What they are known by, in order.
    pub fn occurrences(&self) -> impl Iterator<Item = Occurrence> {
        self.by_occurrence.keys().copied()
    }

    /// All of them, in the order of their occurrences.
    pub fn values(&self) -> impl Iterator<Item = &Member> {
        self.by_occurrence.values().map(Arc::as_ref)
    }

    /// Whether any is called so (its label `alertname`).
    pub fn any_named(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether any fires, as far as we were told.
    pub fn any_fires(&self) -> bool {
        self.counts.firing > 0
    }

    /// Whether any says that it is critical.
    pub fn any_critical(&self) -> bool {
        self.counts.critical > 0
    }

    /// Whether any came in a notification that was cut.
    pub fn any_truncated(&self) -> bool {
        self.counts.truncated > 0
    }

    /// Puts one in, instead of what was known of its occurrence.
    pub fn put(&mut self, member: Member) {
        let occurrence = member.alert.occurrence();
        self.take_out(occurrence);
        self.counts.add(&member);
        if let Some(at) = member.resolved_at {
            self.ended.insert_mut((at, occurrence));
        }
        // An occurrence is of one label set: no name ever goes away.
        let name = member.alert.label("alertname");
        if !self.names.contains(name) {
            self.names.insert_mut(name.to_owned());
        }
        self.by_occurrence.insert_mut(occurrence, Arc::new(member));
    }

    /// The alert that is to be forgotten when another one joins: the one that ended first, where too many did.
    pub(super) fn surplus(&self) -> Option<Occurrence> {
        if self.ended.size() < ENDED_KEPT {
            return None;
        }
        self.ended.first().map(|(_, occurrence)| *occurrence)
    }

    /// Takes one out.
    pub(super) fn forget(&mut self, occurrence: Occurrence) {
        self.take_out(occurrence);
        self.by_occurrence.remove_mut(&occurrence);
    }

    /// Takes one out of what is counted.
    fn take_out(&mut self, occurrence: Occurrence) {
        let Some(known) = self.by_occurrence.get(&occurrence) else { return };
        self.counts.remove(known);
        if let Some(at) = known.resolved_at {
            self.ended.remove_mut(&(at, occurrence));
        }
    }

    /// Changes one of them, if it is there.
    pub fn change(&mut self, occurrence: Occurrence, change: impl FnOnce(&mut Member)) {
        if let Some(known) = self.get(occurrence) {
            let mut member = known.clone();
            change(&mut member);
            self.put(member);
        }
    }

    /// Changes all of them.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut Member)) {
        let changed = self.values().cloned().map(|mut member| {
            change(&mut member);
            member
        });
        *self = changed.collect();
    }
}

impl Counts {
    fn add(&mut self, member: &Member) {
        self.firing += usize::from(member.resolved_at.is_none());
        self.critical += usize::from(member.is_critical());
        self.truncated += usize::from(member.truncated);
    }

    fn remove(&mut self, member: &Member) {
        self.firing -= usize::from(member.resolved_at.is_none());
        self.critical -= usize::from(member.is_critical());
        self.truncated -= usize::from(member.truncated);
    }
}

impl FromIterator<Member> for Members {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let mut all = Self::default();
        members.into_iter().for_each(|member| all.put(member));
        all
    }
}

/// Written as a map from the occurrence's text.
impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.values().map(|member| (member.alert.occurrence().to_string(), member)))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read: BTreeMap<String, Member> = BTreeMap::deserialize(deserializer)?;
        Ok(read.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Alert, AlertStatus, Fingerprint, Onset, Texts, Time};

    fn member(number: u64, severity: &str) -> Member {
        let alert = Alert {
            fingerprint: Fingerprint(number),
            status: AlertStatus::Firing,
            labels: Texts::from([("severity", severity)]),
            annotations: Texts::new(),
            starts_at: Time::from_millis(0),
            ends_at: None,
            generator_url: String::new(),
        };
        let onset = Onset { at: Ok(Time::from_millis(0)), source: "startsAt".to_owned() };
        Member { alert, received_at: Time::from_millis(0), onset, resolved_at: None, truncated: false }
    }

    #[test]
    fn what_is_counted_is_what_is_there() {
        let mut members: Members = (0..50).map(|number| member(number, "warning")).collect();
        assert!(members.any_fires() && !members.any_critical() && !members.any_truncated());
        members.put(member(7, "critical"));
        assert_eq!((members.len(), members.any_critical()), (50, true), "known already");
        members.put(member(7, "warning"));
        assert!(!members.any_critical(), "as last heard");
        let first = members.occurrences().next().expect("there are some");
        members.change(first, |member| member.truncated = true);
        assert!(members.any_truncated());
        members.change(first, |member| member.truncated = false);
        assert!(!members.any_truncated());
        members.change(first, |member| member.truncated = true);
        members.change_all(|member| (member.resolved_at, member.truncated) = (Some(Time::from_millis(1)), false));
        assert!(!members.any_fires() && !members.any_truncated());
        assert!(!members.is_empty());
        members.occurrences().collect::<Vec<_>>().into_iter().for_each(|occurrence| members.forget(occurrence));
        assert!(members.is_empty());
    }

    #[test]
    fn the_one_that_ended_first_goes_when_too_many_did() {
        let ended =
            |number: u64| Member { resolved_at: Some(Time::from_millis(1_000 - number as i64)), ..member(number, "critical") };
        let mut members: Members = (0..ENDED_KEPT as u64 - 1).map(ended).collect();
        members.put(member(900, "warning"));
        assert_eq!(members.surplus(), None, "one that fires is none of them");
        members.put(ended(999));
        let first = ended(999).alert.occurrence();
        assert_eq!(members.surplus(), Some(first));
        members.forget(first);
        assert_eq!((members.surplus(), members.contains(first), members.len()), (None, false, ENDED_KEPT));
        members.put(ended(999));
        members.change(first, |member| member.resolved_at = None);
        assert_eq!((members.surplus(), members.any_fires()), (None, true), "it fires again");
    }

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut members: Members = (0..50).map(|number| member(number, "warning")).collect();
        let before = members.clone();
        members.put(member(50, "critical"));
        assert_eq!((before.len(), before.any_critical(), members.len()), (50, false, 51));
    }

    #[test]
    fn names_are_known_however_many_alerts_there_are() {
        let mut named = member(1, "warning");
        named.alert.labels.insert("alertname", "HighErrors");
        let members: Members = [member(0, "warning"), named].into_iter().collect();
        assert!(members.any_named("HighErrors") && members.any_named("") && !members.any_named("HighLatency"));
    }

    #[test]
    fn what_is_written_is_read_again_by_occurrence() {
        let members: Members = [member(3, "critical"), member(1, "warning")].into_iter().collect();
        let text = serde_json::to_string(&members).expect("it can be written");
        let occurrence = member(1, "warning").alert.occurrence();
        assert!(text.starts_with(&format!("{{\"{occurrence}\":")), "{text}");
        assert_eq!(serde_json::from_str::<Members>(&text).expect("it can be read"), members);
    }
}
