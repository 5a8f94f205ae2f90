//! `control_group`: do targets that did not change show the same? Then the change is not the cause, and no rollback mends it.
//!
//! Who shows the same is read from two places. Alertmanager's list, which every decision reads anyhow, holds the alerts of every target,
//! those that no policy is about as well; our own incidents know targets and onsets better, and those whose alert is over again. What
//! cannot be placed counts as far as it may matter: it never lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use super::Scene;
use super::words::{clock, second, span};
use crate::decide::alike::{name_of, replica_set, source};
use crate::decide::decision::Judgement;
use crate::decide::incident::Incident;
use crate::decide::locate;
use crate::model::{Alert, AlertAlike, AlertStatus, Brake, Lookup, PeerView, TargetRef, Texts, Time};
use crate::policy::types::ControlGroup;

/// Targets that are named; the rest are counted.
const NAMED: usize = 5;
/// Prometheus' clock may be ahead of ours by this much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10 * 60);

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::ControlGroup;
    let Some(numbers) = scene.policy.brakes.control_group.on() else {
        return Judgement::free(BRAKE, "no number is set");
    };
    let Some(target) = scene.incident.target.as_ref().map(|target| &target.at) else {
        return Judgement::blind(BRAKE, "without a target nobody can tell who else shows the same");
    };
    let onset = match scene.incident.onset() {
        Ok(onset) => onset,
        Err(why) => return Judgement::blind(BRAKE, format!("when the trouble began is not known: {why}")),
    };
    let peers: Vec<&PeerView> = scene.observation.alerts.peers.iter().filter_map(|peer| peer.get()).collect();
    let read = readable(scene, &peers);
    let symptoms = Symptoms::of(scene.incident, numbers.within);
    let mut group = Group { scene, target, numbers, shown: BTreeMap::new() };
    group.read_incidents(&symptoms);
    for peer in &peers {
        group.read_list(&symptoms, peer);
    }
    let cut =
        peers.iter().any(|peer| peer.alike_left_out > 0 && peer.alike.last().is_none_or(|last| symptoms.like(last).is_some()));
    group.verdict(onset, read.err(), cut)
}

/// Whether one peer's list tells who else shows the same: it has been up for long enough to have been sent everything, and holds ours.
fn readable(scene: &Scene<'_>, peers: &[&PeerView]) -> Result<(), String> {
    let is_ours = |print| scene.incident.members.values().any(|member| member.alert.fingerprint == print);
    let holds_ours = |peer: &PeerView| peer.alerts.iter().any(|alert| is_ours(alert.occurrence.fingerprint));
    if peers.iter().any(|peer| peer.up >= scene.limits.peer_up && holds_ours(peer)) {
        return Ok(());
    }
    let why = scene.observation.alerts.peers.iter().find_map(|peer| peer.value.as_ref().err());
    Err(match (peers.is_empty(), why) {
        (true, Some(why)) => format!("which other alerts fire could not be read: {why}"),
        (true, None) => "which other alerts fire could not be read: no Alertmanager is configured".to_owned(),
        _ => format!(
            "no Alertmanager peer holds our alert and has been up for {}: who else fires is not known",
            span(scene.limits.peer_up)
        ),
    })
}

/// What this incident shows, by the names of its alerts.
struct Symptoms<'a> {
    by_name: BTreeMap<&'a str, Symptom>,
    within: Duration,
}

/// When alerts of one name began.
#[derive(Default)]
struct Symptom {
    /// Their conditions.
    onsets: BTreeSet<Time>,
    /// They themselves: later by what their rule waits for.
    starts: BTreeSet<Time>,
    /// By how much later, at most.
    waits: Duration,
}

impl<'a> Symptoms<'a> {
    fn of(incident: &'a Incident, within: Duration) -> Self {
        let mut by_name: BTreeMap<&str, Symptom> = BTreeMap::new();
        for member in incident.members.values() {
            let symptom = by_name.entry(member.alert.label("alertname")).or_default();
            symptom.starts.insert(member.alert.starts_at);
            if let Ok(onset) = member.onset.at {
                symptom.onsets.insert(onset);
                symptom.waits = symptom.waits.max(member.alert.starts_at.since(onset));
            }
        }
        Self { by_name, within }
    }

    /// Since when an alert of the list shows the same as one of ours, if it does. Alerts of one name have one rule, which waits as
    /// long for each: where they began together, so did their conditions.
    fn like(&self, alert: &AlertAlike) -> Option<Time> {
        let symptom = self.by_name.get(name_of(&alert.labels))?;
        let at = alert.occurrence.starts_at;
        self.is_near(&symptom.starts, at).then(|| at - symptom.waits)
    }

    fn is_near(&self, times: &BTreeSet<Time>, at: Time) -> bool {
        times.range((Included(at - self.within), Included(at + self.within))).next().is_some()
    }
}

/// Another target that shows the same.
struct Shown<'a> {
    name: &'a str,
    since: Time,
    control: Control,
}

/// What it tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Control {
    /// It did not change: its trouble has another cause, and so may ours.
    Unchanged,
    /// Nobody can tell whether it is one that did not change.
    Doubtful(String),
    /// It is a caller, which shows what we cause.
    Downstream,
    /// It changed as well: it is compared with nothing.
    Changed,
}

struct Group<'a> {
    scene: &'a Scene<'a>,
    target: &'a TargetRef,
    numbers: &'a ControlGroup,
    shown: BTreeMap<String, Shown<'a>>,
}

impl<'a> Group<'a> {
    /// What our own incidents know: the target for certain, and when the condition began. They may be over.
    fn read_incidents(&mut self, symptoms: &Symptoms<'a>) {
        let Some(first) = symptoms.by_name.values().filter_map(|symptom| symptom.onsets.first()).min() else { return };
        // Whatever began then was heard of later: most of what is remembered need not be looked into.
        let from = *first - (symptoms.within + CLOCKS_DIFFER);
        let heard = |other: &&Incident| other.heard_at >= from && other.id != self.scene.incident.id;
        let others: Vec<&'a Incident> = self.scene.book.incidents.values().filter(heard).collect();
        for (&name, symptom) in &symptoms.by_name {
            for other in others.iter().filter(|other| other.members.any_named(name)) {
                for member in other.members.values().filter(|member| member.alert.label("alertname") == name) {
                    let since = match member.onset.at {
                        Ok(onset) => symptoms.is_near(&symptom.onsets, onset).then_some(onset),
                        Err(_) => {
                            let at = member.alert.starts_at;
                            symptoms.is_near(&symptom.starts, at).then(|| at - symptom.waits)
                        }
                    };
                    let Some(since) = since else { continue };
                    match &other.target {
                        Some(found) => self.add_target(name, since, &found.at),
                        None => self.add_unplaced(name, since, &member.alert.labels.to_map()),
                    }
                }
            }
        }
    }

    /// What a peer holds, by the labels: those of alerts that an incident of ours has are known better there.
    fn read_list(&mut self, symptoms: &Symptoms<'a>, peer: &'a PeerView) {
        for alert in &peer.alike {
            let Some(since) = symptoms.like(alert) else { continue };
            if self.scene.book.holders(alert.occurrence).any(|incident| incident.target.is_some()) {
                continue;
            }
            let name = name_of(&alert.labels);
            match self.place(alert) {
                Some(target) => self.add_target(name, since, &target),
                None => self.add_unplaced(name, since, &alert.labels),
            }
        }
    }

    /// Which target an alert of the list is about, as the policy would find ours: by its labels, or by the pod's ReplicaSet.
    fn place(&self, alert: &AlertAlike) -> Option<TargetRef> {
        let alert = Alert {
            fingerprint: alert.occurrence.fingerprint,
            status: AlertStatus::Firing,
            labels: Texts::from(&alert.labels),
            annotations: Texts::new(),
            starts_at: alert.occurrence.starts_at,
            ends_at: None,
            generator_url: String::new(),
        };
        match locate::lookup(self.scene.policy, &alert).ok()? {
            Lookup::Workload(target) => Some(target),
            Lookup::Pod { namespace, pod } => self.of_pod(&namespace, replica_set(&pod)),
        }
    }

    fn of_pod(&self, namespace: &str, set: &str) -> Option<TargetRef> {
        let ours = self.scene.workload().into_iter().flat_map(|workload| &workload.replica_sets);
        if self.target.namespace == namespace && ours.into_iter().any(|ours| ours.name == set) {
            return Some(self.target.clone());
        }
        let (first, behind) = (format!("deployment/{namespace}/"), format!("deployment/{namespace}0"));
        let known = self.scene.book.targets.range::<String, _>((Included(&first), Excluded(&behind)));
        let made = |name: Option<&String>| name.is_some_and(|name| name == set);
        let found = known.into_iter().find(|(_, history)| history.releases.iter().any(|r| made(r.replica_set.as_ref())));
        TargetRef::deployment(namespace, found?.0.rsplit('/').next()?).ok()
    }

    fn add_target(&mut self, name: &'a str, since: Time, target: &TargetRef) {
        if target != self.target {
            let control = self.control(target, since);
            self.add(target.to_string(), Shown { name, since, control });
        }
    }

    fn add_unplaced(&mut self, name: &'a str, since: Time, labels: &crate::model::Labels) {
        let control = Control::Doubtful("its target is not known".to_owned());
        self.add(format!("an alert ({})", source(labels).replace('\n', " ")), Shown { name, since, control });
    }

    /// Of several alerts of one target the one counts that tells most.
    fn add(&mut self, key: String, shown: Shown<'a>) {
        match self.shown.get_mut(&key) {
            Some(known) if known.control <= shown.control => {}
            Some(known) => *known = shown,
            None => drop(self.shown.insert(key, shown)),
        }
    }

    /// What another target tells that shows the same since then.
    fn control(&self, target: &TargetRef, since: Time) -> Control {
        const USUAL: Duration = Duration::from_secs(60 * 60);
        let window = self.scene.policy.brakes.recent_change.on().map_or(USUAL, |window| window.within);
        if self.numbers.downstream.iter().any(|pattern| pattern.covers(target)) {
            return Control::Downstream;
        }
        let posted = self.scene.book.changes(target).iter();
        if posted.into_iter().any(|change| change.at <= since && since.since(change.at) <= window) {
            return Control::Changed;
        }
        let history = self.scene.book.targets.get(&target.to_string());
        let Some(release) = history.and_then(|history| history.at(since)) else {
            return Control::Doubtful("what ran there then is not known".to_owned());
        };
        if release.by_us {
            return Control::Unchanged;
        }
        // The cluster keeps whole seconds.
        if second(since) == second(release.live_since) {
            return Control::Doubtful("it changed in the same second".to_owned());
        }
        let landed = release.landed_at.unwrap_or(release.live_since).max(release.live_since);
        if since <= landed + window { Control::Changed } else { Control::Unchanged }
    }

    fn verdict(&self, onset: Time, unread: Option<String>, cut: bool) -> Judgement {
        const BRAKE: Brake = Brake::ControlGroup;
        let least = self.numbers.targets as usize;
        let of = |wanted: fn(&Control) -> bool| self.shown.iter().filter(move |(_, shown)| wanted(&shown.control));
        let unchanged = of(|control| *control == Control::Unchanged).count();
        let doubtful = of(|control| matches!(control, Control::Doubtful(_))).count();
        let began = format!("onset {}", clock(onset, self.scene.now));
        let within = span(self.numbers.within);
        let told = format!("{unchanged} targets that did not change show the same within {within} of it ({least} hold)");
        let words = format!("{began}; {told}{}", self.listed());
        if unchanged >= least {
            return Judgement::held(BRAKE, format!("{words}: the cause is shared"));
        }
        if let Some(why) = unread {
            return Judgement::blind(BRAKE, format!("{why}; {words}"));
        }
        if unchanged + doubtful >= least {
            return Judgement::blind(BRAKE, format!("{words}: whether those are others that did not change cannot be told"));
        }
        if cut {
            return Judgement::blind(BRAKE, format!("{words}: more alerts of that name fire than are looked at"));
        }
        Judgement::free(BRAKE, words)
    }

    /// `: deployment/shop/cart since 09:14:02Z (HighErrors, did not change)`, those first that matter most.
    fn listed(&self) -> String {
        let mut all: Vec<(&String, &Shown<'_>)> = self.shown.iter().collect();
        all.sort_by_key(|(key, shown)| (&shown.control, shown.since, *key));
        let mut texts: Vec<String> = all.iter().take(NAMED).map(|(key, shown)| self.one(key, shown)).collect();
        if all.len() > NAMED {
            texts.push(format!("{} more", all.len() - NAMED));
        }
        if texts.is_empty() { String::new() } else { format!(": {}", texts.join(", ")) }
    }

    fn one(&self, key: &str, Shown { name, since, control }: &Shown<'_>) -> String {
        let what = match control {
            Control::Unchanged => "did not change",
            Control::Doubtful(why) => why.as_str(),
            Control::Downstream => "downstream, does not count",
            Control::Changed => "changed as well, does not count",
        };
        format!("{key} since {} ({name}, {what})", clock(*since, self.scene.now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, minutes, on, release, unreachable};
    use super::*;
    use crate::decide::book::History;
    use crate::decide::decision::Grip;
    use crate::decide::incident::Lane;
    use crate::model::{Fact, Fingerprint, IncidentId, Labels, Occurrence, Onset, TargetId};
    use crate::policy::types::{Setting, TargetPattern};

    /// Another alert on the list, with these labels, that began so many minutes after ours.
    fn listed(world: &mut World, name: &str, labels: &[(&str, &str)], later: i64) {
        let named = [("alertname", name), ("namespace", "shop")];
        let labels: Labels = named.iter().chain(labels).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let fingerprint = Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let starts_at = world.ago(minutes(9)).shifted(later * 60_000);
        let alike = AlertAlike { occurrence: Occurrence { fingerprint, starts_at }, labels };
        world.peer().alike.push(alike);
    }

    /// A target that has had its release for so many minutes.
    fn runs(world: &mut World, name: &str, minutes_ago: u64) {
        let one = release("a", world.now, minutes(minutes_ago), minutes(0), minutes(0));
        let history = History { uid: format!("u-{name}"), releases: vec![one], ..History::default() };
        world.book.targets.insert(format!("deployment/shop/{name}"), history);
    }

    /// An old target shows the same.
    fn shows(world: &mut World, name: &str, later: i64) {
        runs(world, name, 60 * 24);
        listed(world, "HighErrors", &[("deployment", name)], later);
    }

    fn grip(world: &World) -> (Grip, String) {
        let judgement = judge(&world.scene());
        (judgement.grip, judgement.because)
    }

    #[test]
    fn two_that_did_not_change_hold_and_one_is_told() {
        let mut world = World::new();
        let (free, words) = grip(&world);
        assert_eq!(free, Grip::Free, "{words}");
        assert_eq!(words, "onset 09:14:00Z; 0 targets that did not change show the same within 10m of it (2 hold)");
        shows(&mut world, "cart", 2);
        let (free, words) = grip(&world);
        assert_eq!(free, Grip::Free);
        assert!(words.ends_with("(2 hold): deployment/shop/cart since 09:16:00Z (HighErrors, did not change)"), "{words}");
        shows(&mut world, "search", -3);
        let (held, words) = grip(&world);
        assert_eq!(held, Grip::Held, "{words}");
        assert!(words.contains("2 targets that did not change") && words.ends_with(": the cause is shared"), "{words}");
    }

    #[test]
    fn what_does_not_count_does_not() {
        type Case = (&'static str, fn(&mut World));
        let cases: &[Case] = &[
            ("another name", |w| listed(w, "HighLatency", &[("deployment", "search")], 0)),
            ("earlier", |w| shows(w, "search", -11)),
            ("later", |w| shows(w, "search", 11)),
            ("the same target again", |w| listed(w, "HighErrors", &[("deployment", "cart"), ("zone", "a")], 0)),
            ("ours", |w| listed(w, "HighErrors", &[("deployment", "web"), ("zone", "a")], 0)),
            ("a pod of ours", |w| listed(w, "HighErrors", &[("pod", "web-b-x1")], 0)),
            ("it changed as well", |w| {
                shows(w, "search", 0);
                runs(w, "search", 40);
            }),
            ("a caller", |w| {
                shows(w, "front", 0);
                let downstream = vec![TargetPattern("shop/front*".to_owned())];
                w.policy.brakes.control_group = on(ControlGroup { downstream, ..ControlGroup::default() });
            }),
        ];
        for (name, spoil) in cases {
            let mut world = World::new();
            shows(&mut world, "cart", 0);
            spoil(&mut world);
            let (free, words) = grip(&world);
            assert_eq!(free, Grip::Free, "{name}: {words}");
        }
    }

    #[test]
    fn what_began_within_the_tolerance_counts_at_its_edge() {
        for (later, held) in [(10, true), (-10, true), (11, false), (-11, false)] {
            let mut world = World::new();
            ["cart", "search"].into_iter().for_each(|name| shows(&mut world, name, later));
            assert_eq!(judge(&world.scene()).holds(), held, "{later}");
        }
    }

    /// An incident of another target, over or not, whose alert began so long after ours.
    fn incident(world: &mut World, id: &str, target: Option<&str>, later: i64) {
        let mut other = Incident {
            id: IncidentId(id.to_owned()),
            target: target
                .map(|name| TargetId { at: TargetRef::deployment("shop", name).expect("valid names"), uid: format!("u-{name}") }),
            lane: Lane::Shadow("trial".to_owned()),
            ..world.incident.clone()
        };
        let at = world.ago(minutes(10)).shifted(later * 60_000);
        other.members.change_all(|member| member.onset = Onset { at: Ok(at), source: "ALERTS_FOR_STATE".to_owned() });
        world.book.index.file(&other, None);
        world.book.incidents.insert(other.id.clone(), other);
    }

    #[test]
    fn our_own_incidents_tell_too_and_know_better() {
        let mut world = World::new();
        for (id, name) in [("i2", "cart"), ("i3", "search")] {
            runs(&mut world, name, 60 * 24);
            incident(&mut world, id, Some(name), 9);
        }
        assert_eq!(grip(&world).0, Grip::Held, "though no list shows them any more");
        let mut world = World::new();
        runs(&mut world, "cart", 60 * 24);
        incident(&mut world, "i2", Some("cart"), 0);
        incident(&mut world, "i3", None, 0);
        assert_eq!(grip(&world).0, Grip::Blind, "one of a target that was not found may be the second");
    }

    #[test]
    fn of_an_incident_without_an_onset_the_start_tells_less_what_its_rule_waits() {
        let mut world = World::new();
        runs(&mut world, "cart", 60 * 24);
        incident(&mut world, "i2", Some("cart"), 0);
        let other = world.book.incidents.get_mut(&IncidentId("i2".to_owned())).expect("put there");
        other.members.change_all(|member| member.onset.at = Err(unreachable()));
        let words = grip(&world).1;
        assert!(words.contains("deployment/shop/cart since 09:14:00Z (HighErrors, did not change)"), "{words}");
    }

    #[test]
    fn a_pod_of_ours_is_ours_before_the_ledger_knows_its_replica_set() {
        let mut world = World::new();
        world.release("b").replica_set = None;
        shows(&mut world, "cart", 0);
        listed(&mut world, "HighErrors", &[("pod", "web-b-x1")], 0);
        assert_eq!(grip(&world).0, Grip::Free);
    }

    #[test]
    fn of_two_alerts_of_one_target_the_one_from_before_it_changed_counts() {
        for order in [[0, 3], [3, 0]] {
            let mut world = World::new();
            world.policy.brakes.control_group = on(ControlGroup { targets: 1, ..ControlGroup::default() });
            runs(&mut world, "cart", 60 * 24);
            let newer = release("b", world.now, minutes(8), minutes(0), minutes(0));
            world.book.targets.get_mut("deployment/shop/cart").expect("put there").releases.push(newer);
            for later in order {
                listed(&mut world, "HighErrors", &[("deployment", "cart"), ("n", &later.to_string())], later);
            }
            let (held, words) = grip(&world);
            assert_eq!(held, Grip::Held, "{words}");
            assert!(words.contains("deployment/shop/cart since 09:14:00Z (HighErrors, did not change)"), "{words}");
        }
    }

    #[test]
    fn a_change_that_was_posted_counts_as_one_within_the_window_before() {
        // It began 10 minutes ago; the window is an hour.
        for (ago, changed) in [(9, false), (10, true), (30, true), (70, true), (71, false)] {
            let mut world = World::new();
            world.policy.brakes.control_group = on(ControlGroup { targets: 1, ..ControlGroup::default() });
            shows(&mut world, "cart", 0);
            let at = TargetRef::deployment("shop", "cart").expect("valid names");
            let ours = world.incident.target.replace(TargetId { at, uid: "u-cart".to_owned() });
            world.post(minutes(ago), false, None);
            world.incident.target = ours;
            let (found, words) = grip(&world);
            assert_eq!(found, if changed { Grip::Free } else { Grip::Held }, "{ago}: {words}");
            assert_eq!(words.contains("changed as well, does not count"), changed, "{ago}: {words}");
        }
    }

    #[test]
    fn five_are_named_and_the_others_counted() {
        let mut world = World::new();
        for name in ["a", "b", "c", "d", "e"] {
            shows(&mut world, name, 0);
        }
        assert!(grip(&world).1.ends_with("deployment/shop/e since 09:14:00Z (HighErrors, did not change): the cause is shared"));
        ["f", "g"].into_iter().for_each(|name| shows(&mut world, name, 0));
        let words = grip(&world).1;
        assert!(words.ends_with("did not change), 2 more: the cause is shared"), "{words}");
    }

    #[test]
    fn blind_it_holds() {
        type Case = (&'static str, fn(&mut World), &'static str);
        let cases: &[Case] = &[
            ("no target", |w| w.incident.target = None, "without a target"),
            ("no onset", World::lose_onset, "when the trouble began is not known"),
            ("no Alertmanager", |w| w.observation.alerts.peers.clear(), "no Alertmanager is configured"),
            (
                "none answers",
                |w| w.observation.alerts.peers = vec![Fact::unknown(unreachable(), w.now, "am")],
                "could not be read: connection refused",
            ),
            ("just started", |w| w.peer().up = minutes(9), "has been up for 10m"),
            ("it does not hold ours", |w| w.peer().alerts.clear(), "holds our alert"),
            (
                "targets that nobody can place",
                |w| ["a", "b"].into_iter().for_each(|zone| listed(w, "HighErrors", &[("zone", zone)], 0)),
                "cannot be told",
            ),
            (
                "pods of nobody",
                |w| ["x-1-a", "y-1-a"].into_iter().for_each(|pod| listed(w, "HighErrors", &[("pod", pod)], 0)),
                "cannot be told",
            ),
            (
                "targets without a history",
                |w| ["a", "b"].into_iter().for_each(|name| listed(w, "HighErrors", &[("deployment", name)], 0)),
                "what ran there then is not known",
            ),
            (
                "a list that was cut",
                |w| {
                    shows(w, "cart", 3);
                    w.peer().alike_left_out = 1;
                },
                "than are looked at",
            ),
        ];
        for (name, spoil, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let (blind, because) = grip(&world);
            assert_eq!(blind, Grip::Blind, "{name}: {because}");
            assert!(because.contains(words), "{name}: {because}");
        }
    }

    #[test]
    fn one_peer_of_two_is_enough_and_what_was_cut_far_away_is_nothing() {
        let mut world = World::new();
        world.observation.alerts.peers.push(Fact::unknown(unreachable(), world.now, "am-2"));
        assert_eq!(grip(&world).0, Grip::Free);
        shows(&mut world, "cart", 30);
        world.peer().alike_left_out = 50;
        assert_eq!(grip(&world).0, Grip::Free, "the nearest that was kept is out of the window, so all others are");
    }

    #[test]
    fn a_policy_may_say_other_numbers() {
        let mut world = World::new();
        shows(&mut world, "cart", 5);
        world.policy.brakes.control_group = on(ControlGroup { targets: 1, ..ControlGroup::default() });
        assert_eq!(grip(&world).0, Grip::Held);
        world.policy.brakes.control_group = on(ControlGroup { targets: 1, within: minutes(4), ..ControlGroup::default() });
        assert_eq!(grip(&world).0, Grip::Free);
        world.policy.brakes.control_group = Setting::Disabled("one of a kind".to_owned());
        assert_eq!(grip(&world).0, Grip::Free);
    }

    #[test]
    fn a_release_that_we_put_there_is_no_change() {
        let mut world = World::new();
        for name in ["cart", "search"] {
            shows(&mut world, name, 0);
            runs(&mut world, name, 30);
            let history = world.book.targets.get_mut(&format!("deployment/shop/{name}")).expect("put there");
            history.releases[0].by_us = true;
        }
        assert_eq!(grip(&world).0, Grip::Held);
    }

    /// Alerts of other targets: which, whether and how long ago it changed, how much later it began, and who tells.
    type Other = (u8, Option<u64>, i64, bool);

    fn others() -> impl Strategy<Value = Vec<Other>> {
        proptest::collection::vec((0_u8..6, proptest::option::of(1_u64..300), -20_i64..20, any::<bool>()), 0..8)
    }

    fn world(others: &[Other]) -> World {
        let mut world = World::new();
        for (number, (target, changed, later, listed_one)) in others.iter().enumerate() {
            let name = format!("t{target}");
            // What was said of a target first stays.
            if let Some(ago) = changed.filter(|_| !world.book.targets.contains_key(&format!("deployment/shop/{name}"))) {
                runs(&mut world, &name, ago);
            }
            if *listed_one {
                listed(&mut world, "HighErrors", &[("deployment", &name), ("n", &number.to_string())], *later);
            } else {
                incident(&mut world, &format!("i{}", number + 2), Some(&name), *later);
            }
        }
        world
    }

    proptest! {
        /// More alerts never let go.
        #[test]
        fn another_alert_never_lets_go(all in others(), (target, _, later, listed_one) in (0_u8..6, Just(()), -20_i64..20, any::<bool>())) {
            let before = judge(&world(&all).scene()).holds();
            let more: Vec<Other> = all.into_iter().chain([(target, None, later, listed_one)]).collect();
            prop_assert!(!before || judge(&world(&more).scene()).holds());
        }

        /// Nor does it when nobody answers, or a list says that it is not whole.
        #[test]
        fn who_sees_less_holds(all in others()) {
            let mut world = world(&all);
            world.observation.alerts.peers = vec![Fact::unknown(unreachable(), world.now, "am")];
            prop_assert!(judge(&world.scene()).holds());
        }

        /// Targets that changed shortly before are no control group, however many.
        #[test]
        fn who_changed_as_well_never_holds(agos in proptest::collection::vec(15_u64..60, 0..6)) {
            let mut world = World::new();
            for (number, ago) in agos.iter().enumerate() {
                shows(&mut world, &format!("t{number}"), 0);
                runs(&mut world, &format!("t{number}"), *ago);
            }
            prop_assert!(!judge(&world.scene()).holds());
        }
    }
}
