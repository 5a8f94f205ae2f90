//! Latches: data may be corrupt, or was changed since the release to go back to. No rollback of what shares that data until a named
//! person looked at it and says so. Unlike a pause a latch has no end of its own.

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::decision::Decision;
use super::draft::Draft;
use super::effect::{Context, Step};
use super::incident::{Incident, Lane, Phase};
use crate::journal::record::{Record, Stamped};
use crate::model::{Alert, Brake, Identity, IncidentId, LatchCause, Mode, Moment, Reason, TargetRef, Time};
use crate::policy::matcher;
use crate::policy::types::{DataLatch, Policy, Rule, TargetPattern};

/// How one ends, for messages.
pub(super) const UNTIL: &str = "until a named person looked at the data (`backout latches`, `backout clear`)";
/// Latches that were cleared and are remembered; the oldest are forgotten first. One that holds is never forgotten.
const CLEARED: usize = 200;

/// A latch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// Its number.
    pub id: u64,
    /// What began it.
    #[serde(flatten)]
    pub wanted: Latching,
    /// The target on which it began, where that was found.
    #[serde(default)]
    pub target: Option<TargetRef>,
    /// The incident that began it.
    pub incident: IncidentId,
    /// Since when.
    pub from: Time,
    /// Who let go of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<Cleared>,
}

/// What a decision wants latched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latching {
    /// Why.
    pub cause: LatchCause,
    /// Why, in words.
    pub because: String,
    /// The policy that wants it.
    pub policy: String,
    /// What it covers beside the target: patterns of `namespace/name`.
    pub covers: Vec<String>,
    /// When what it is about ended, by the cluster's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Time>,
}

/// Who let go of a latch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// When.
    pub at: Time,
    /// Who, as he says.
    pub by: String,
    /// As whom he is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// What was found.
    pub reason: String,
}

impl Latch {
    /// Whether nobody let go of it yet.
    pub fn holds(&self) -> bool {
        self.cleared.is_none()
    }

    /// Whether it is about this target: the one on which it began, or one that shares the data; as the latch says, or as the policy
    /// of the target does in its `group`.
    pub fn covers(&self, target: &TargetRef, group: &[TargetPattern]) -> bool {
        let began_on = |pattern: &TargetPattern| self.target.as_ref().is_some_and(|began| pattern.covers(began));
        self.target.as_ref() == Some(target)
            || self.wanted.covers.iter().any(|pattern| TargetPattern(pattern.clone()).covers(target))
            || group.iter().any(began_on)
    }

    /// What it covers, in words: its target and the patterns.
    pub fn covered(&self) -> String {
        let own = self.target.iter().map(|target| format!("{}/{}", target.namespace, target.name));
        own.chain(self.wanted.covers.iter().cloned()).collect::<Vec<_>>().join(", ")
    }
}

impl Book {
    /// Latches that hold and are about this target.
    pub(super) fn latched<'a>(&'a self, target: &'a TargetRef, group: &'a [TargetPattern]) -> impl Iterator<Item = &'a Latch> {
        self.latches.values().filter(|latch| latch.holds() && latch.covers(target, group))
    }

    pub(super) fn latch(&mut self, latch: &Latch) {
        self.next = self.next.max(latch.id);
        self.latches.insert(latch.id, latch.clone());
    }

    pub(super) fn clear(&mut self, id: u64, cleared: &Cleared) {
        if let Some(latch) = self.latches.get_mut(&id) {
            latch.cleared.get_or_insert_with(|| cleared.clone());
        }
        let over: Vec<u64> = self.latches.values().filter(|latch| !latch.holds()).map(|latch| latch.id).collect();
        for id in over.iter().take(over.len().saturating_sub(CLEARED)) {
            self.latches.remove(id);
        }
    }
}

impl Latching {
    /// What a rule latches that says that data may be corrupt: the data group. Where the target was not found it is all that may be it,
    /// else whatever the policy may touch.
    pub(super) fn corruption(policy: &Policy, rule: &Rule, is_found: bool) -> Self {
        let group = policy.brakes.data_latch.on().map_or(&[][..], |numbers| &numbers.data_group);
        let covers = if is_found || !group.is_empty() { group } else { &policy.targets };
        Self {
            cause: LatchCause::Corruption,
            because: format!("rule `{}` of policy `{}` says that data may be corrupt", rule.name, policy.name),
            policy: policy.name.clone(),
            covers: covers.iter().map(|pattern| pattern.0.clone()).collect(),
            through: None,
        }
    }
}

/// Begins the latch that a decision wants. In shadow nothing is latched.
pub(super) fn begin(draft: &mut Draft<'_>, decision: &Decision) {
    if let Some(wanted) = &decision.latch {
        start(draft, wanted);
    }
}

/// An alert joined an incident that is not decided again: a rule that latches for such an alert, by its matchers alone, is followed.
pub(super) fn joined(draft: &mut Draft<'_>, alert: &Alert) {
    let is_past =
        matches!(draft.incident.phase, Phase::Executing { .. } | Phase::Verifying { .. } | Phase::Verified | Phase::Paged);
    if is_past {
        follow(draft, alert);
    }
}

/// The incident went to people before any rule was asked (a veto, a pause, a newer release): what its alerts say of the data holds all
/// the same.
pub(super) fn undecided(draft: &mut Draft<'_>) {
    let firing: Vec<Alert> = if draft.ctx.policies.can_latch() {
        let members = draft.incident.members.values().filter(|member| member.resolved_at.is_none());
        members.map(|member| member.alert.clone()).collect()
    } else {
        Vec::new()
    };
    firing.iter().for_each(|alert| follow(draft, alert));
}

/// Begins the latch that a rule wants by such an alert's labels alone.
fn follow(draft: &mut Draft<'_>, alert: &Alert) {
    if !draft.ctx.policies.can_latch() {
        return;
    }
    let says = |rule: &&Rule| {
        let is_certain = rule.condition.is_none() && !rule.matchers.is_empty();
        rule.latches() && is_certain && matcher::all_match_with(&rule.matchers, |name| alert.labels.get(name))
    };
    let about = draft.ctx.policies.about_with(|name| alert.labels.get(name));
    let live = about.into_iter().filter(|policy| policy.mode > Mode::Shadow);
    let found = live.into_iter().find_map(|policy| Some((policy, policy.decide.iter().find(says)?)));
    let is_found = draft.incident.target.is_some();
    let Some(wanted) = found.map(|(policy, rule)| Latching::corruption(policy, rule, is_found)) else { return };
    if let Some(latch) = start(draft, &wanted) {
        let text = format!("latch {} holds {} from now on: {}", latch.id, latch.covered(), latch.wanted.because);
        draft.tell_page(Moment::Paged, "latched", &text);
    }
}

/// Begins a latch, unless one like it holds already.
fn start(draft: &mut Draft<'_>, wanted: &Latching) -> Option<Latch> {
    if draft.incident.lane != Lane::Live {
        return None;
    }
    let target = draft.incident.target.as_ref().map(|target| target.at.clone());
    let is_like_it = |latch: &Latch| {
        let is_same = (latch.wanted.cause, &latch.target) == (wanted.cause, &target);
        let covers_all = wanted.covers.iter().all(|pattern| latch.wanted.covers.contains(pattern));
        latch.holds() && is_same && covers_all && latch.wanted.through >= wanted.through
    };
    if draft.book.latches.values().chain(begun(draft.step)).any(is_like_it) {
        return None;
    }
    let earlier = u64::try_from(begun(draft.step).count()).unwrap_or(u64::MAX);
    let latch = Latch {
        id: draft.book.next.saturating_add(earlier).saturating_add(1),
        wanted: wanted.clone(),
        target,
        incident: draft.incident.id.clone(),
        from: draft.now,
        cleared: None,
    };
    draft.note(format!("latch {} holds {} from now on: {}", latch.id, latch.covered(), latch.wanted.because));
    draft.step.records.push(Stamped { at: draft.now, record: Record::Latched { latch: Box::new(latch.clone()) } });
    Some(latch)
}

/// A latch began in this step: whatever else it covers and waits is for people now. What is being written finishes.
pub(super) fn hold_others(ctx: &Context<'_>, book: &Book, now: Time, step: &mut Step) {
    let begun: Vec<Latch> = begun(step).cloned().collect();
    for latch in begun {
        let is_covered = |incident: &&Incident| {
            // A policy that switched the brake off is not held by it.
            let group = ctx.policies.get(&incident.policy).and_then(|policy| policy.brakes.data_latch.on());
            let target = incident.target.as_ref().map(|target| &target.at);
            let covers = |group: &DataLatch| target.is_some_and(|target| latch.covers(target, &group.data_group));
            incident.lane == Lane::Live && incident.id != latch.incident && group.is_some_and(covers)
        };
        let ids: Vec<IncidentId> = book.open().filter(is_covered).map(|incident| incident.id.clone()).collect();
        for id in ids {
            let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
            let waits = matches!(draft.incident.phase, Phase::Settling { .. } | Phase::Deciding { .. });
            if waits || draft.incident.phase.is_pending() {
                draft.end_attempt(Reason::BrakeHeld);
                let why = format!("latch {} began by incident {}: {}", latch.id, latch.incident, latch.wanted.because);
                draft.page_held(Brake::DataLatch, Moment::Paged, &why, true);
            }
        }
    }
}

/// Latches that began in a step.
fn begun(step: &Step) -> impl Iterator<Item = &Latch> {
    step.records.iter().filter_map(|stamped| match &stamped.record {
        Record::Latched { latch } => Some(&**latch),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::brakes::fixture::{World, loaded, policies};
    use crate::decide::transition::Event;
    use crate::model::TargetId;

    fn target(name: &str) -> TargetRef {
        TargetRef::deployment("shop", name).expect("valid names")
    }

    fn latch(id: u64, covers: &[&str]) -> Latch {
        let wanted = Latching {
            cause: LatchCause::Corruption,
            because: "rule `data` says so".to_owned(),
            policy: "shop".to_owned(),
            covers: covers.iter().map(|pattern| (*pattern).to_owned()).collect(),
            through: None,
        };
        Latch {
            id,
            wanted,
            target: Some(target("web")),
            incident: IncidentId("i1".to_owned()),
            from: Time::from_millis(1),
            cleared: None,
        }
    }

    fn cleared() -> Cleared {
        Cleared { at: Time::from_millis(2), by: "ann".to_owned(), identity: None, reason: "looked".to_owned() }
    }

    #[test]
    fn it_covers_its_target_and_whatever_shares_the_data() {
        let latch = latch(1, &["shop/worker*"]);
        for (name, group, covered) in [
            ("web", &[][..], true),
            ("worker-2", &[], true),
            ("cart", &[], false),
            ("cart", &["shop/*"], true),
            ("cart", &["other/*"], false),
        ] {
            let group: Vec<TargetPattern> = group.iter().map(|pattern| TargetPattern((*pattern).to_owned())).collect();
            assert_eq!(latch.covers(&target(name), &group), covered, "{name} {group:?}");
        }
        assert_eq!(latch.covered(), "shop/web, shop/worker*");
    }

    #[test]
    fn who_let_go_first_stands_there_and_only_cleared_ones_are_forgotten() {
        let mut book = Book::default();
        (1..=CLEARED as u64 + 20).for_each(|id| book.latch(&latch(id, &[])));
        assert_eq!(book.next, CLEARED as u64 + 20);
        (2..=CLEARED as u64 + 20).for_each(|id| book.clear(id, &cleared()));
        assert_eq!((book.latches.len(), book.latches[&1].holds()), (CLEARED + 1, true));
        book.clear(200, &Cleared { by: "bob".to_owned(), ..cleared() });
        assert_eq!(book.latches[&200].cleared.as_ref().map(|cleared| cleared.by.as_str()), Some("ann"));
        book.clear(9999, &cleared());
        assert_eq!(book.latched(&target("web"), &[]).count(), 1);
    }

    #[test]
    fn a_latch_begins_unless_one_that_holds_is_about_as_much() {
        type Case = (&'static str, fn(&mut Latch), bool);
        let cases: &[Case] = &[
            ("the same", |_| (), false),
            ("one that covers more", |known| known.wanted.covers.push("shop/db".to_owned()), false),
            ("one that covers less", |known| known.wanted.covers.clear(), true),
            ("one that was cleared", |known| known.cleared = Some(cleared()), true),
            ("one of another target", |known| known.target = Some(target("cart")), true),
            ("one of another cause", |known| known.wanted.cause = LatchCause::Migration, true),
            ("one about a later time", |known| known.wanted.through = Some(Time::from_millis(6)), false),
            ("one about an earlier time", |known| known.wanted.through = Some(Time::from_millis(4)), true),
        ];
        let mut known = latch(1, &["shop/worker*"]);
        known.wanted.through = Some(Time::from_millis(5));
        for (name, change, begins) in cases {
            let (mut world, mut other) = (World::new(), known.clone());
            change(&mut other);
            world.book.latch(&other);
            let mut started = None;
            let _ = world.draft(&policies(""), |draft| started = start(draft, &known.wanted));
            assert_eq!(started.map(|latch| latch.id), begins.then_some(2), "{name}");
        }
    }

    #[test]
    fn an_alert_that_joins_latches_only_where_its_labels_alone_say_so() {
        let text = |mode: &str, rules: &str| {
            let (any, acts) = ("matchers: ['alertname =~ \".+\"']", "paging: in_front, targets: ['shop/*']");
            let other = "decide: [{matchers: ['alertname = \"Other\"'], page: {latch: true}}]";
            format!(
                "policies: [{{name: web, {any}, mode: {mode}, {acts}, decide: [{rules}]}}, \
                 {{name: other, mode: enforce, {acts}, {other}}}]\n"
            )
        };
        let ours = "matchers: ['alertname = \"HighErrors\"']";
        let old = "when: 'change.age > duration(\"1h\")'";
        for (mode, rules, latches) in [
            ("enforce", format!("{{{ours}, page: {{latch: true}}}}, {{page: {{}}}}"), true),
            ("approve", format!("{{{ours}, page: {{latch: true}}}}, {{page: {{}}}}"), true),
            ("shadow", format!("{{{ours}, page: {{latch: true}}}}, {{page: {{}}}}"), false),
            ("enforce", format!("{{{ours}, {old}, page: {{latch: true}}}}, {{page: {{}}}}"), false),
            ("enforce", "{page: {latch: true}}".to_owned(), false),
            ("enforce", format!("{{{ours}, page: {{}}}}, {{page: {{}}}}"), false),
            ("enforce", "{matchers: ['alertname = \"Third\"'], page: {latch: true}}, {page: {}}".to_owned(), false),
        ] {
            let mut world = World::new();
            let alert = world.incident.lead().expect("it has one").alert.clone();
            let step = world.draft(&loaded(&text(mode, &rules)), |draft| follow(draft, &alert));
            assert_eq!(begun(&step).count(), usize::from(latches), "{mode} {rules}");
        }
    }

    #[test]
    fn a_latch_that_begins_pages_what_waits_and_is_covered_and_nothing_else() {
        let mut world = World::new();
        world.keep();
        for (id, name, lane) in [
            ("i2", "worker", Lane::Live),
            ("i3", "cart", Lane::Live),
            ("i4", "worker", Lane::Shadow("web".to_owned())),
            ("i5", "web", Lane::Live),
        ] {
            let id = IncidentId(id.to_owned());
            let at = TargetId { at: target(name), uid: format!("u-{name}") };
            let other = Incident { id: id.clone(), lane, target: Some(at), ..world.incident.clone() };
            world.book.incidents.insert(id, other);
        }
        world.book.reindex();
        let (all, mut step) = (policies(""), Step::default());
        let ctx = Context { policies: &all, limits: &world.limits, cluster: Some("prod") };
        let record = Record::Latched { latch: Box::new(latch(1, &["shop/worker"])) };
        step.records.push(Stamped { at: world.now, record });
        hold_others(&ctx, &world.book, world.now, &mut step);
        let paged = step.records.iter().filter_map(|stamped| match &stamped.record {
            Record::Incident { id, event: Event::Paged { brake, .. } } => Some((id.as_str(), *brake)),
            _ => None,
        });
        assert_eq!(paged.collect::<Vec<_>>(), [("i2", Some(Brake::DataLatch)), ("i5", Some(Brake::DataLatch))]);
    }

    #[test]
    fn a_latch_is_written_and_read_again() {
        let text = serde_json::to_string(&latch(1, &["shop/*"])).expect("it can be written");
        assert_eq!(serde_json::from_str::<Latch>(&text).expect("it can be read"), latch(1, &["shop/*"]), "{text}");
    }
}
