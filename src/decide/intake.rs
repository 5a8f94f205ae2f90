//! Alerts come in: deduplicated by occurrence, sorted by policy, their targets looked for, incidents opened or joined.

use super::book::{Book, Pending, Seen};
use super::draft::Draft;
use super::effect::{Context, Effect, Heard, Step};
use super::incident::{Incident, Lane, Member, Phase};
use super::limits::backoff;
use super::locate;
use super::observation::Purpose;
use super::transition::Event;
use super::{index, latch, ledger, tell};
use crate::journal::record::{Record, Stamped};
use crate::journal::scan::Sighting;
use crate::model::{
    Alert, AlertStatus, Dependency, Digest, IncidentId, Moment, Notification, Onset, Reason, Resolution, Time, Unknown,
    UnknownKind, Workload,
};
use crate::planted::{self, Bug};
use crate::policy::types::Policies;

/// A repeat of what was said within this time changes nothing and is not recorded again.
const REPEAT_MILLIS: i64 = 60_000;
/// Look-ups that may be lost before the alert is taken in without its target: a minute and a quarter.
const LOOKUPS: u32 = 8;

/// Takes a receipt in. `at` is when it was committed, which may be long before `now` (recovery).
pub(super) fn received(
    ctx: &Context<'_>,
    book: &Book,
    now: Time,
    (seq, at): (u64, Time),
    notification: Option<Notification>,
    step: &mut Step,
) {
    if book.is_consumed(seq) {
        return;
    }
    step.records.push(Stamped { at: now, record: Record::Consumed { seq } });
    let Some(notification) = notification else { return };
    // Where the clock was set back in between, it was committed later than now.
    let at = at.min(now);
    let truncated = notification.truncated > 0;
    for alert in notification.alerts {
        let status = alert.status;
        let heard = if !alert.label("backout_incident").is_empty() {
            Heard::Own
        } else if is_foreign(ctx, &alert) {
            Heard::Foreign
        } else {
            match status {
                AlertStatus::Firing => firing(ctx, book, now, (alert, at, truncated), step),
                AlertStatus::Resolved => resolved(ctx, book, now, &alert, step),
            }
        };
        step.heard.push((status, heard));
    }
}

/// Whether an alert could change anything: a policy is about it, or it is known from policies that were.
pub fn concerns(policies: &Policies, book: &Book, alert: &Sighting<'_>) -> bool {
    if !policies.about_with(|name| alert.label(name)).is_empty() {
        return true;
    }
    let is_over = alert.status() == AlertStatus::Resolved;
    if book.pending.is_empty() && book.index.holds_nothing() && (!is_over || book.seen.is_empty()) {
        return false;
    }
    let occurrence = alert.occurrence();
    if book.holders(occurrence).next().is_some() {
        return true;
    }
    let key = occurrence.to_string();
    book.pending.contains_key(&key) || (is_over && book.seen.contains_key(&key))
}

fn is_foreign(ctx: &Context<'_>, alert: &Alert) -> bool {
    let cluster = alert.label("cluster");
    !cluster.is_empty() && ctx.cluster.is_some_and(|ours| ours != cluster) && !planted::is(Bug::ForeignTaken)
}

fn see(book: &Book, now: Time, alert: &Alert, step: &mut Step) {
    let occurrence = alert.occurrence();
    let known = book.seen.get(&occurrence.to_string());
    let resolved_at = known.and_then(|seen| seen.resolved_at);
    let seen = Seen { occurrence, status: alert.status, resolved_at, at: now };
    step.records.push(Stamped { at: now, record: Record::Seen { seen } });
}

fn resolved(ctx: &Context<'_>, book: &Book, now: Time, alert: &Alert, step: &mut Step) -> Heard {
    let occurrence = alert.occurrence();
    let key = occurrence.to_string();
    let fires = |incident: &&Incident| incident.members.get(occurrence).is_some_and(|member| member.resolved_at.is_none());
    let holders: Vec<IncidentId> = book.holders(occurrence).filter(fires).map(|incident| incident.id.clone()).collect();
    let known = book.seen.get(&key);
    if known.is_some_and(|seen| seen.status == AlertStatus::Resolved) && holders.is_empty() {
        return Heard::Duplicate;
    }
    let is_wanted = || !ctx.policies.about_with(|name| alert.labels.get(name)).is_empty();
    if known.is_none() && holders.is_empty() && !is_wanted() {
        return Heard::Unmatched;
    }
    see(book, now, alert, step);
    for id in &holders {
        let Some(mut draft) = Draft::of(ctx, book, now, id, step) else { continue };
        draft.record(Event::Resolved { occurrence });
        if !draft.incident.members.any_fires() {
            all_resolved(&mut draft);
        }
    }
    if holders.is_empty() { Heard::Unmatched } else { Heard::News }
}

/// The senders say that it is over; the peers are asked whether it is.
fn all_resolved(draft: &mut Draft<'_>) {
    match draft.incident.phase {
        Phase::Settling { .. } if planted::is(Bug::SenderBelieved) => draft.close(Reason::Recovered, "planted"),
        Phase::Settling { .. } => draft.ask(Purpose::Confirm, 0),
        Phase::Countdown { .. } | Phase::Approval { .. } => draft.ask(Purpose::Recheck, 0),
        Phase::Verified | Phase::Shadowed | Phase::Paged | Phase::FixForward => draft.ask(Purpose::Watch, 0),
        Phase::Verifying { .. } => draft.ask(Purpose::Verify, 0),
        // What is being read right now, or comes before the write, sees it.
        Phase::Deciding { .. } | Phase::Preparing { .. } | Phase::Redeciding { .. } | Phase::Executing { .. } => {}
        Phase::Closed { .. } => {}
    }
}

/// Whether another firing of the alert was heard of. A planted defect takes it for this one; nothing else asks.
fn is_known_otherwise(book: &Book, alert: &Alert) -> bool {
    let (print, starts_at) = (alert.fingerprint, alert.starts_at);
    book.seen.values().any(|seen| seen.occurrence.fingerprint == print && seen.occurrence.starts_at != starts_at)
}

fn firing(
    ctx: &Context<'_>,
    book: &Book,
    now: Time,
    (alert, received_at, truncated): (Alert, Time, bool),
    step: &mut Step,
) -> Heard {
    let key = alert.occurrence().to_string();
    if planted::is(Bug::DedupWithoutStart) && is_known_otherwise(book, &alert) {
        return Heard::Duplicate;
    }
    let known = book.seen.get(&key);
    let stale = known.is_some_and(|seen| seen.resolved_at.is_some());
    let waiting = book.pending.get(&key).map(|pending| pending.wanted.clone()).unwrap_or_default();
    let held_by = book.holders(alert.occurrence()).map(|incident| &incident.lane);
    let holders: Vec<&Lane> = held_by.chain(waiting.iter().map(|(lane, _, _)| lane)).collect();
    // An incident of one lane takes no alert away from another: one in shadow may be open long after the live one was closed.
    let mut lanes = locate::lanes(ctx.policies, &alert);
    lanes.retain(|(lane, _)| !holders.contains(&lane));
    if !holders.is_empty() {
        // That a notification was cut is news even of an alert that was heard of a moment ago.
        let repeat = !truncated
            && known.is_some_and(|seen| {
                seen.status == AlertStatus::Firing && now.millis().saturating_sub(seen.at.millis()) < REPEAT_MILLIS
            });
        if !repeat {
            see(book, now, &alert, step);
            heard_again(ctx, book, now, (&alert, received_at, truncated), step);
            if let Some(pending) = book.pending.get(&key).filter(|pending| truncated && !pending.truncated) {
                let pending = Box::new(Pending { truncated, ..pending.clone() });
                step.records.push(Stamped { at: now, record: Record::Pending { pending } });
            }
        }
        if lanes.is_empty() {
            return if stale { Heard::Stale } else { Heard::Duplicate };
        }
    } else if lanes.is_empty() {
        return Heard::Unmatched;
    } else {
        see(book, now, &alert, step);
    }
    let mut wanted = Vec::new();
    for (lane, policy) in lanes {
        let lookup = locate::lookup(policy, &alert);
        if let Ok(lookup) = &lookup {
            step.effects.push(Effect::Locate {
                occurrence: key.clone(),
                lane: lane.clone(),
                alert: Box::new(alert.clone()),
                lookup: lookup.clone(),
            });
        }
        wanted.push((lane, policy.name.clone(), lookup));
    }
    let (named, nameless): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, _, lookup)| lookup.is_ok());
    for (lane, policy, lookup) in nameless {
        let Err(why) = lookup else { continue };
        let onset = Onset { at: Err(Unknown::new(UnknownKind::NotObserved, "no target")), source: "none".to_owned() };
        let member = Member { alert: alert.clone(), received_at, onset, resolved_at: None, truncated };
        open_or_join(ctx, book, now, (lane, policy), member, Err(Missing { why, blind_on: None }), step);
    }
    if !named.is_empty() {
        // Answers are awaited for a while, then asked for again.
        let wanted = waiting.into_iter().chain(named).collect();
        let pending = Pending { alert, received_at, truncated, wanted, due: now + backoff(4), tries: 0 };
        step.records.push(Stamped { at: now, record: Record::Pending { pending: Box::new(pending) } });
    }
    if stale { Heard::Stale } else { Heard::News }
}

/// A known occurrence is still said to fire, perhaps after it was said to be resolved: the incident learns it, and a peer
/// is asked before anything is made of it.
fn heard_again(
    ctx: &Context<'_>,
    book: &Book,
    now: Time,
    (alert, received_at, truncated): (&Alert, Time, bool),
    step: &mut Step,
) {
    let holders: Vec<IncidentId> = book.holders(alert.occurrence()).map(|incident| incident.id.clone()).collect();
    for id in holders {
        let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
        let Some(known) = draft.incident.members.get(alert.occurrence()).cloned() else { continue };
        let was_over = known.resolved_at.is_some();
        let member = Member { alert: alert.clone(), received_at, truncated, ..known };
        draft.record(Event::Joined { member: Box::new(member) });
        if was_over && draft.incident.phase.is_waiting() {
            draft.ask(Purpose::Watch, 0);
        }
    }
}

/// A look-up came back: its alert opens an incident, joins one, or is looked up again.
pub(super) fn located(
    ctx: &Context<'_>,
    book: &Book,
    now: Time,
    (occurrence, lane): (&str, &Lane),
    (resolution, onset): (Resolution, Onset),
    step: &mut Step,
) {
    let Some(pending) = book.pending.get(occurrence) else { return };
    let Some(position) = pending.wanted.iter().position(|(wanted, _, _)| wanted == lane) else { return };
    let onset = match onset {
        Onset { source, .. } if planted::is(Bug::OnsetIsStart) => Onset { at: Ok(pending.alert.starts_at), source },
        onset => onset,
    };
    let patience_left = now.since(pending.received_at) < ctx.limits.patience;
    let unreachable = |why: &Unknown| why.kind == UnknownKind::Unreachable;
    let onset_unknown = onset.at.as_ref().is_err_and(unreachable);
    let target = match resolution {
        Resolution::Unknown { .. } if patience_left => return,
        Resolution::Found { .. } if onset_unknown && patience_left => return,
        Resolution::Found { workload } => Ok(workload),
        Resolution::Unresolved { why } => Err(Missing { why, blind_on: None }),
        Resolution::Unknown { why } => {
            let blind_on = unreachable(&why).then_some(Dependency::Cluster);
            Err(Missing { why: format!("the cluster could not be asked: {why}"), blind_on })
        }
    };
    let mut rest = pending.clone();
    let (lane, policy, _) = rest.wanted.remove(position);
    let record = if rest.wanted.is_empty() {
        Record::Located { occurrence: occurrence.to_owned() }
    } else {
        Record::Pending { pending: Box::new(rest) }
    };
    step.records.push(Stamped { at: now, record });
    let member = Member {
        alert: pending.alert.clone(),
        received_at: pending.received_at,
        onset,
        resolved_at: None,
        truncated: pending.truncated,
    };
    open_or_join(ctx, book, now, (lane, policy), member, target, step);
}

/// Asks again for look-ups that did not come back, or came back unknown. Not for ever: an alert whose target cannot be looked for
/// is an incident without one.
pub(super) fn look_again(ctx: &Context<'_>, book: &Book, now: Time, occurrence: &str, step: &mut Step) {
    let Some(pending) = book.pending.get(occurrence) else { return };
    if pending.tries >= LOOKUPS {
        step.records.push(Stamped { at: now, record: Record::Located { occurrence: occurrence.to_owned() } });
        for (lane, policy, _) in &pending.wanted {
            let onset = Onset { at: Err(Unknown::new(UnknownKind::Unreachable, "no answer")), source: "none".to_owned() };
            let member = Member {
                alert: pending.alert.clone(),
                received_at: pending.received_at,
                onset,
                resolved_at: None,
                truncated: pending.truncated,
            };
            let target = Err(Missing { why: "looking for it did not come back".to_owned(), blind_on: None });
            open_or_join(ctx, book, now, (lane.clone(), policy.clone()), member, target, step);
        }
        return;
    }
    for (lane, _, lookup) in &pending.wanted {
        if let Ok(lookup) = lookup {
            step.effects.push(Effect::Locate {
                occurrence: occurrence.to_owned(),
                lane: lane.clone(),
                alert: Box::new(pending.alert.clone()),
                lookup: lookup.clone(),
            });
        }
    }
    let again = Pending { due: now + backoff(pending.tries), tries: pending.tries.saturating_add(1), ..pending.clone() };
    step.records.push(Stamped { at: now, record: Record::Pending { pending: Box::new(again) } });
}

/// No target.
struct Missing {
    why: String,
    /// What did not answer, if that is why.
    blind_on: Option<Dependency>,
}

fn open_or_join(
    ctx: &Context<'_>,
    book: &Book,
    now: Time,
    (lane, policy): (Lane, String),
    member: Member,
    target: Result<Box<Workload>, Missing>,
    step: &mut Step,
) {
    let release = target.as_ref().ok().map(|workload| release_at_onset(book, workload, &member.onset, now));
    if let Ok(workload) = &target {
        let learned = Record::Learned { workload: workload.clone() };
        step.records.push(Stamped { at: now, record: learned });
    }
    let joins = |incident: &&Incident| {
        incident.lane == lane
            && match (&target, &incident.target) {
                (Ok(workload), Some(known)) => {
                    *known == workload.id && (incident.release == release || restored(incident) == release.as_ref())
                }
                // What names no target is one incident for each policy and alert name.
                (Err(_), None) => incident.policy == policy && same_name(incident, &member.alert),
                _ => false,
            }
    };
    let opened_now = step.records.iter().find_map(|stamped| match &stamped.record {
        Record::Incident { event: Event::Opened { incident }, .. } if joins(&&**incident) => Some(incident.id.clone()),
        _ => None,
    });
    let place = target.as_ref().map_or_else(|_| index::nowhere(&policy), |workload| workload.id.at.to_string());
    if let Some(id) = book.open_at(&place).find(joins).map(|incident| incident.id.clone()).or(opened_now) {
        if let Some(mut draft) = Draft::of(ctx, book, now, &id, step) {
            joined(&mut draft, member);
        }
        return;
    }
    let incident = new_incident(ctx, book, now, (lane, policy), member, (target, release));
    let mut draft = Draft::open(ctx, book, now, incident, step);
    draft.note("opened");
}

/// The release that ran when the condition began. Where the onset is not known, the one that runs: the brakes see to the rest.
fn release_at_onset(book: &Book, workload: &Workload, onset: &Onset, now: Time) -> Digest {
    let mut history = book.history(&workload.id).cloned().unwrap_or_default();
    ledger::relearn(&mut history, workload, now);
    let at_onset = onset.at.as_ref().ok().and_then(|at| history.at(*at));
    at_onset.map_or_else(|| workload.release.clone(), |release| release.digest.clone())
}

/// The release that the incident's rollback put there.
fn restored(incident: &Incident) -> Option<&Digest> {
    incident.attempt().map(|attempt| &attempt.plan.to.digest)
}

fn same_name(incident: &Incident, alert: &Alert) -> bool {
    incident.members.any_named(alert.label("alertname"))
}

fn new_incident(
    ctx: &Context<'_>,
    book: &Book,
    now: Time,
    (lane, policy): (Lane, String),
    member: Member,
    (target, release): (Result<Box<Workload>, Missing>, Option<Digest>),
) -> Incident {
    let settle = ctx.policies.get(&policy).map(|policy| policy.settle).unwrap_or_default();
    let occurrence = member.alert.occurrence().to_string();
    let digest = release.as_ref().map_or("", |release| release.0.as_str());
    let (target, missing) = match target {
        Ok(workload) => (Some(workload.id), None),
        Err(missing) => (None, Some(missing)),
    };
    let (unresolved, blind_on) = missing.map_or((None, None), |missing| (Some(missing.why), missing.blind_on));
    let name = target.as_ref().map_or_else(String::new, |target| format!("{target} {}", target.uid));
    let key = lane.key();
    let mut id = IncidentId::derive(&[&key, &policy, &name, digest, &occurrence]);
    // The same firing after a close is another incident: what was written about the first one stays.
    let mut again = 1_u32;
    while book.incidents.contains_key(&id) {
        again += 1;
        id = IncidentId::derive(&[&key, &policy, &name, digest, &occurrence, &again.to_string()]);
    }
    let settling = Phase::Settling { until: member.received_at + settle };
    Incident {
        paging: ctx.policies.get(&policy).and_then(|policy| policy.paging),
        target,
        unresolved,
        blind_on,
        release,
        located_at: Some(now),
        heard_at: now,
        ..Incident::new(id, lane, policy, member, settling)
    }
}

/// Another alert joins an incident that a human has: they are told; and paged again where it got worse.
fn told(draft: &mut Draft<'_>, name: &str, known: bool, worse: bool) {
    let text = format!("alert {name:?} fires as well");
    match draft.incident.page.clone() {
        Some(page) if worse => {
            let touched = !draft.incident.attempts.is_empty();
            draft.page(page.reason, Moment::Paged, &format!("{text}, and it is critical; {}", page.text), touched);
        }
        _ if known => {}
        _ => draft.announce(Moment::Paged, &format!("one more alert: {}", tell::subject(&draft.incident)), &text),
    }
}

/// Another alert joins: what that means depends on where the incident stands.
fn joined(draft: &mut Draft<'_>, member: Member) {
    let name = member.alert.label("alertname").to_owned();
    let (was_critical, known) = (draft.incident.critical(), same_name(&draft.incident, &member.alert));
    let alert = member.alert.clone();
    draft.record(Event::Joined { member: Box::new(member) });
    latch::joined(draft, &alert);
    if let Phase::Paged = draft.incident.phase {
        told(draft, &name, known, !was_critical && draft.incident.critical());
    }
    match draft.incident.phase {
        Phase::Countdown { .. } | Phase::Approval { .. } => draft.ask(Purpose::Recheck, 0),
        Phase::Verified | Phase::FixForward | Phase::Paged | Phase::Shadowed => draft.ask_soon(Purpose::Watch),
        // Settling goes on; whoever reads next sees it; a write is never stopped by it; the proof judges it by its onset.
        Phase::Settling { .. }
        | Phase::Deciding { .. }
        | Phase::Preparing { .. }
        | Phase::Redeciding { .. }
        | Phase::Executing { .. }
        | Phase::Verifying { .. } => {}
        Phase::Closed { reason, .. } => draft.note(format!("an alert came after the close ({reason})")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, digest, minutes, policies, unreachable, workload};
    use super::*;
    use crate::journal::scan::Scan;
    use crate::model::{Fingerprint, Lookup, Source, TargetRef, Texts, Urgency};

    const MOMENT: std::time::Duration = std::time::Duration::from_millis(1);

    fn member(world: &World) -> Member {
        world.incident.members.values().next().expect("the fixture has one").clone()
    }

    /// The fixture's alert is looked for, for these lanes, since now.
    fn pending(world: &World, lanes: &[Lane]) -> Pending {
        let member = member(world);
        let lookup = Lookup::Workload(TargetRef::deployment("shop", "web").expect("valid names"));
        let wanted = lanes.iter().map(|lane| (lane.clone(), lane.key(), Ok(lookup.clone()))).collect();
        Pending { alert: member.alert, received_at: world.now, truncated: false, wanted, due: world.now, tries: 0 }
    }

    fn remember(world: &mut World, status: AlertStatus, at: Time) {
        let occurrence = member(world).alert.occurrence();
        let resolved_at = Some(at).filter(|_| status == AlertStatus::Resolved);
        world.book.seen.insert(occurrence.to_string(), Seen { occurrence, status, resolved_at, at });
    }

    fn in_context<T>(world: &World, policies: &Policies, run: impl FnOnce(&Context<'_>, &mut Step) -> T) -> (T, Step) {
        let (ctx, mut step) = (Context { policies, limits: &world.limits, cluster: None }, Step::default());
        let out = run(&ctx, &mut step);
        (out, step)
    }

    fn opened(step: &Step) -> Vec<Incident> {
        let event = |stamped: &Stamped| match &stamped.record {
            Record::Incident { event: Event::Opened { incident }, .. } => Some((**incident).clone()),
            _ => None,
        };
        step.records.iter().filter_map(event).collect()
    }

    fn is_seen(step: &Step) -> bool {
        step.records.iter().any(|stamped| matches!(stamped.record, Record::Seen { .. }))
    }

    fn looked_for(step: &Step) -> Option<&Pending> {
        step.records.iter().find_map(|stamped| match &stamped.record {
            Record::Pending { pending } => Some(&**pending),
            _ => None,
        })
    }

    /// Whether an alert of that name and fingerprint concerns us when it fires, and when it is over.
    fn concerned(world: &World, policies: &Policies, (name, fingerprint): (&str, u64)) -> [bool; 2] {
        ["firing", "resolved"].map(|status| {
            let body = serde_json::json!({ "alerts": [{
                "status": status,
                "labels": { "alertname": name },
                "fingerprint": format!("{fingerprint:016x}"),
                "startsAt": member(world).alert.starts_at.to_string(),
            }] });
            let (body, mut said) = (body.to_string(), None);
            let scan = Scan::of(body.as_bytes()).expect("a notification");
            let _ = scan.read(Source::Alertmanager, body.as_bytes(), world.now, |sighting| {
                said = Some(concerns(policies, &world.book, sighting));
                false
            });
            said.expect("it holds one alert")
        })
    }

    #[test]
    fn an_alert_concerns_us_by_a_policy_or_because_it_is_known() {
        let (none, ours, other) = (Policies::default(), ("HighErrors", 7), ("HighErrors", 8));
        let mut world = World::new();
        assert_eq!(concerned(&world, &policies(""), ours), [true, true]);
        assert_eq!(concerned(&world, &policies(""), ("HighLatency", 7)), [false, false]);
        assert_eq!(concerned(&world, &none, ours), [false, false]);
        world.keep();
        assert_eq!((concerned(&world, &none, ours), concerned(&world, &none, other)), ([true, true], [false, false]));
        let mut world = World::new();
        let key = member(&world).alert.occurrence().to_string();
        world.book.pending.insert(key, pending(&world, &[Lane::Live]));
        assert_eq!((concerned(&world, &none, ours), concerned(&world, &none, other)), ([true, true], [false, false]));
        let mut world = World::new();
        let now = world.now;
        remember(&mut world, AlertStatus::Firing, now);
        assert_eq!(concerned(&world, &none, ours), [false, true], "it is heard of once more when it is over");
        assert_eq!(concerned(&world, &none, other), [false, false]);
    }

    #[test]
    fn that_an_alert_is_over_is_written_down_where_it_is_held_known_or_wanted() {
        use AlertStatus::{Firing, Resolved};
        for (policies, known, held, heard, written) in [
            (Policies::default(), None, false, Heard::Unmatched, false),
            (policies(""), None, false, Heard::Unmatched, true),
            (Policies::default(), Some(Firing), false, Heard::Unmatched, true),
            (Policies::default(), Some(Resolved), false, Heard::Duplicate, false),
            (Policies::default(), None, true, Heard::News, true),
            (Policies::default(), Some(Firing), true, Heard::News, true),
            (Policies::default(), Some(Resolved), true, Heard::News, true),
        ] {
            let mut world = World::new();
            let at = world.now - minutes(1);
            known.into_iter().for_each(|status| remember(&mut world, status, at));
            if held {
                world.keep();
            }
            let alert = member(&world).alert;
            let (said, step) = in_context(&world, &policies, |ctx, step| resolved(ctx, &world.book, world.now, &alert, step));
            let case = format!("{} {known:?} {held}", policies.policies.len());
            assert_eq!((said, is_seen(&step)), (heard, written), "{case}");
        }
    }

    #[test]
    fn another_firing_is_the_same_alert_with_another_start() {
        let mut world = World::new();
        let now = world.now;
        remember(&mut world, AlertStatus::Firing, now);
        let mut alert = member(&world).alert;
        assert!(!is_known_otherwise(&world.book, &alert));
        alert.starts_at = now;
        assert!(is_known_otherwise(&world.book, &alert));
        alert.fingerprint = Fingerprint(8);
        assert!(!is_known_otherwise(&world.book, &alert));
    }

    #[test]
    fn what_was_said_within_a_minute_is_not_written_again_unless_it_says_something_else() {
        use AlertStatus::{Firing, Resolved};
        let repeat = std::time::Duration::from_millis(REPEAT_MILLIS as u64);
        for (known, ago, truncated, written) in [
            (Firing, repeat - MOMENT, false, false),
            (Firing, repeat, false, true),
            (Firing, repeat + MOMENT, false, true),
            (Firing, minutes(0), false, false),
            (Resolved, minutes(0), false, true),
            (Firing, minutes(0), true, true),
        ] {
            let mut world = World::new();
            let at = world.now - ago;
            remember(&mut world, known, at);
            world.keep();
            let told = (member(&world).alert, world.now, truncated);
            let none = Policies::default();
            let (_, step) = in_context(&world, &none, |ctx, step| firing(ctx, &world.book, world.now, told, step));
            assert_eq!(is_seen(&step), written, "{known:?} {ago:?} {truncated}");
        }
    }

    #[test]
    fn that_a_notification_was_cut_is_kept_of_an_alert_that_is_looked_for() {
        for (before, now_cut, kept) in [(false, true, Some(true)), (true, true, None), (false, false, None), (true, false, None)]
        {
            let mut world = World::new();
            let told = (member(&world).alert, world.now, now_cut);
            let pending = Pending { truncated: before, ..pending(&world, &[Lane::Live]) };
            world.book.pending.insert(told.0.occurrence().to_string(), pending);
            let none = Policies::default();
            let (_, step) = in_context(&world, &none, |ctx, step| firing(ctx, &world.book, world.now, told, step));
            assert_eq!(looked_for(&step).map(|pending| pending.truncated), kept, "{before} {now_cut}");
        }
    }

    #[test]
    fn a_new_alert_is_looked_for_again_where_no_answer_comes() {
        let world = World::new();
        let mut alert = member(&world).alert;
        alert.labels.insert("namespace", "shop");
        alert.labels.insert("deployment", "web");
        let (policies, told) = (policies(""), (alert, world.now, false));
        let (heard, step) = in_context(&world, &policies, |ctx, step| firing(ctx, &world.book, world.now, told, step));
        let pending = looked_for(&step).expect("it names a target");
        assert_eq!((heard, pending.tries), (Heard::News, 0));
        assert_eq!(pending.due, world.now + std::time::Duration::from_secs(15));
    }

    #[test]
    fn an_alert_that_was_over_and_fires_is_asked_about_where_the_incident_waits() {
        for (over, phase, asked) in [
            (true, Phase::Paged, true),
            (false, Phase::Paged, false),
            (true, Phase::Settling { until: Time::default() }, false),
            (false, Phase::Settling { until: Time::default() }, false),
        ] {
            let mut world = World::new();
            let now = world.now;
            world.incident.phase = phase.clone();
            world.change_member(|member| member.resolved_at = over.then_some(now));
            world.keep();
            let (alert, none) = (member(&world).alert, Policies::default());
            let told = (&alert, now, false);
            let ((), step) = in_context(&world, &none, |ctx, step| heard_again(ctx, &world.book, now, told, step));
            assert_eq!(step.effects.iter().any(|effect| matches!(effect, Effect::Observe { .. })), asked, "{over} {phase:?}");
        }
    }

    #[test]
    fn a_cluster_that_does_not_answer_is_asked_until_patience_is_over() {
        let mut world = World::new();
        let pending = pending(&world, &[Lane::Live]);
        let occurrence = pending.alert.occurrence().to_string();
        world.book.pending.insert(occurrence.clone(), pending);
        for (after, opens) in [(world.limits.patience - MOMENT, false), (world.limits.patience, true)] {
            let found = (Resolution::Unknown { why: unreachable() }, member(&world).onset);
            let (none, now) = (Policies::default(), world.now + after);
            let asked = (occurrence.as_str(), &Lane::Live);
            let ((), step) = in_context(&world, &none, |ctx, step| located(ctx, &world.book, now, asked, found, step));
            let opened = opened(&step);
            let about: Vec<_> =
                opened.iter().map(|incident| (incident.opened_at, incident.heard_at, incident.blind_on)).collect();
            let expected = (world.now, now, Some(Dependency::Cluster));
            assert_eq!(about, if opens { vec![expected] } else { vec![] }, "{after:?}");
        }
    }

    #[test]
    fn a_look_up_that_is_lost_is_made_again_and_at_last_given_up_for_each_lane() {
        let mut world = World::new();
        let mut pending = pending(&world, &[Lane::Live, Lane::Shadow("beside".to_owned())]);
        let (occurrence, none) = (pending.alert.occurrence().to_string(), Policies::default());
        for tries in 0..=LOOKUPS {
            world.book.pending.insert(occurrence.clone(), pending.clone());
            let ((), step) = in_context(&world, &none, |ctx, step| look_again(ctx, &world.book, world.now, &occurrence, step));
            if tries < LOOKUPS {
                assert_eq!((step.effects.len(), opened(&step)), (2, vec![]));
                pending = looked_for(&step).expect("once more").clone();
                assert_eq!((pending.tries, pending.due), (tries + 1, world.now + backoff(tries)));
            } else {
                let lanes: Vec<Lane> = opened(&step).into_iter().map(|incident| incident.lane).collect();
                assert_eq!(lanes, [Lane::Live, Lane::Shadow("beside".to_owned())]);
            }
        }
    }

    #[test]
    fn an_alert_joins_the_incident_of_the_release_that_ran_when_it_began() {
        let mut world = World::new();
        world.keep();
        for (began, joins) in [(minutes(10), true), (minutes(30), false)] {
            let mut member = member(&world);
            member.alert.fingerprint = Fingerprint(9);
            member.onset.at = Ok(world.now - began);
            let target = Box::new(workload(world.incident.target.as_ref().expect("the fixture has one"), world.now));
            let (none, of) = (Policies::default(), (Lane::Live, "web".to_owned()));
            let run =
                |ctx: &Context<'_>, step: &mut Step| open_or_join(ctx, &world.book, world.now, of, member, Ok(target), step);
            let ((), step) = in_context(&world, &none, run);
            let releases: Vec<_> = opened(&step).into_iter().map(|incident| incident.release).collect();
            assert_eq!(releases, if joins { vec![] } else { vec![Some(digest("a"))] }, "{began:?}");
        }
    }

    #[test]
    fn the_same_firing_after_each_close_is_another_incident() {
        let mut world = World::new();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let target = Box::new(workload(world.incident.target.as_ref().expect("the fixture has one"), world.now));
            let (none, of, member) = (Policies::default(), (Lane::Live, "web".to_owned()), member(&world));
            let run =
                |ctx: &Context<'_>, step: &mut Step| open_or_join(ctx, &world.book, world.now, of, member, Ok(target), step);
            let ((), step) = in_context(&world, &none, run);
            step.records.iter().for_each(|stamped| world.book.fold(stamped).expect("it fits"));
            let opened = opened(&step);
            let [incident] = opened.as_slice() else { panic!("one begins: {opened:?}") };
            let closed = Event::Phase { to: Phase::Closed { reason: Reason::Recovered, at: world.now } };
            let record = Record::Incident { id: incident.id.clone(), event: closed };
            world.book.fold(&Stamped { at: world.now, record }).expect("it fits");
            ids.push(incident.id.clone());
            let number = ids.len().to_string();
            let occurrence = incident.members.occurrences().next().expect("its alert").to_string();
            let parts = ["live", "web", "deployment/shop/web u1", &digest("b").0, &occurrence, &number];
            let parts = if ids.len() == 1 { &parts[..5] } else { &parts[..] };
            assert_eq!(incident.id, IncidentId::derive(parts), "a replay names it the same");
        }
    }

    #[test]
    fn whoever_has_a_page_is_told_of_alerts_with_another_name_and_of_what_got_worse() {
        let titles = |known: bool, worse: bool, attempted: bool| {
            let mut world = World::new();
            if attempted {
                world.attempt();
            }
            world.incident.phase = Phase::Paged;
            world.incident.paging = Some(crate::model::Paging::Beside);
            let (reason, text) = (Reason::Vetoed, "ann said no".to_owned());
            let page = Event::Paged { reason, brake: None, cause: None, folded_into: None, announced: false, text };
            world.incident.apply(&page, world.now).expect("it is possible in every phase");
            let (none, incident) = (Policies::default(), world.incident.clone());
            let run = |ctx: &Context<'_>, step: &mut Step| {
                let mut draft = Draft { ctx, book: &world.book, now: world.now, incident, step };
                told(&mut draft, "HighLatency", known, worse);
            };
            let ((), step) = in_context(&world, &none, run);
            let messages = step.effects.into_iter().filter_map(|effect| match effect {
                Effect::Tell(message) => {
                    Some((message.urgency, message.title, message.text.contains("\"HighLatency\" fires as well")))
                }
                _ => None,
            });
            messages.collect::<Vec<_>>()
        };
        assert_eq!(titles(true, false, false), []);
        let more = "one more alert: web on deployment/shop/web".to_owned();
        assert_eq!(titles(false, false, false), [(Urgency::Announce, more, true)]);
        let vetoed = || "vetoed: web on deployment/shop/web".to_owned();
        for known in [true, false] {
            assert_eq!(titles(known, true, false), [(Urgency::Announce, vetoed(), true)], "beside the alert's own route");
            assert_eq!(titles(known, true, true), [(Urgency::Page, vetoed(), true)], "we touched it");
        }
    }

    #[test]
    fn an_alert_that_is_told_again_brings_its_newest_words() {
        let World { mut book, incident, limits, now, .. } = World::new();
        let id = incident.id.clone();
        let mut alert = incident.members.values().next().expect("the fixture has one").alert.clone();
        book.incidents.insert(id.clone(), incident);
        book.reindex();
        alert.annotations = Texts::from([("summary", "worse than before")]);
        let (policies, occurrence) = (Policies::default(), alert.occurrence());
        let ctx = Context { policies: &policies, limits: &limits, cluster: None };
        let (mut step, later) = (Step::default(), now + minutes(5));
        let heard = firing(&ctx, &book, later, (alert, later, false), &mut step);
        assert!(matches!(heard, Heard::Duplicate));
        step.records.iter().for_each(|stamped| book.fold(stamped).expect("it fits"));
        assert_eq!(book.incidents[&id].heard_at, later);
        let member = book.incidents[&id].members.get(occurrence).expect("still there");
        assert_eq!(member.alert.annotations.get("summary"), Some("worse than before"));
        assert_eq!(member.received_at, now - minutes(8), "it was known since then");
    }
}
