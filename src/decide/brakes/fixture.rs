//! A scene in which every brake lets go, for tests to spoil one thing at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Scene;
use crate::decide::book::{Book, History, PastRollback, Release};
use crate::decide::decision::Decision;
use crate::decide::draft::Draft;
use crate::decide::drill;
use crate::decide::effect::{Context, Input, Step};
use crate::decide::incident::{Incident, Lane, Member, Phase};
use crate::decide::limits::Limits;
use crate::decide::observation::{Answer, Observation};
use crate::decide::presence::Presence;
use crate::decide::step;
use crate::decide::transition::Event;
use crate::decide::verdict::decide;
use crate::model::{
    Alert, AlertOnPeer, AlertStatus, AlertmanagerView, ChangeId, ChangeKind, Digest, Fact, Fingerprint, IncidentId, Labels, Mode,
    Number, Occurrence, Onset, Owner, PeerAlertState, PeerView, PostedChange, ReplicaSetSeen, Replicas, Resolution, Strategy,
    TargetId, TargetRef, Texts, Time, Unknown, UnknownKind, Workload, Write,
};
use crate::policy::interval::Interval;
use crate::policy::types::{
    BrakeSettings, FactSpec, Floor, Place, Policies, Policy, Rule, Setting, TargetPattern, TargetRule, VerdictRule,
};
use crate::policy::{SourceFile, load};

/// Minutes.
pub(in crate::decide) fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// Hours.
pub(in crate::decide) fn hours(n: u64) -> Duration {
    minutes(60 * n)
}

/// A digest of 64 times that letter.
pub(in crate::decide) fn digest(letter: &str) -> Digest {
    Digest(format!("v1:{}", letter.repeat(64)))
}

/// Why something is unknown.
pub(in crate::decide) fn unreachable() -> Unknown {
    Unknown::new(UnknownKind::Unreachable, "connection refused")
}

/// Everything that a scene borrows from.
///
/// `good` (`web:1`) ran for two days until `bad` (`web:2`) was written 20 min ago and landed 18 min ago; the alert's condition
/// began 10 min ago and the incident was opened 8 min ago.
pub(in crate::decide) struct World {
    pub(in crate::decide) book: Book,
    pub(in crate::decide) incident: Incident,
    pub(in crate::decide) policy: Policy,
    pub(in crate::decide) rule: Rule,
    pub(in crate::decide) mode: Mode,
    pub(in crate::decide) may_drop: bool,
    pub(in crate::decide) observation: Observation,
    pub(in crate::decide) presence: Presence,
    pub(in crate::decide) read: Vec<String>,
    pub(in crate::decide) intervals: BTreeMap<String, Interval>,
    pub(in crate::decide) limits: Limits,
    pub(in crate::decide) now: Time,
}

impl World {
    pub(in crate::decide) fn new() -> Self {
        let now = Time::parse("2026-03-02T09:24:00Z").expect("a time");
        let target = TargetId { at: TargetRef::deployment("shop", "web").expect("valid names"), uid: "u1".to_owned() };
        let mut book = Book::default();
        book.targets.insert(target.at.to_string(), history(now));
        Self {
            book,
            incident: incident(&target, now),
            policy: policy(),
            rule: rule(),
            mode: Mode::Enforce,
            may_drop: false,
            observation: observation(&target, now),
            presence: Presence::Firing,
            read: vec!["errors".to_owned()],
            intervals: BTreeMap::new(),
            limits: Limits::default(),
            now,
        }
    }

    pub(in crate::decide) fn scene(&self) -> Scene<'_> {
        Scene {
            book: &self.book,
            incident: &self.incident,
            policy: &self.policy,
            rule: &self.rule,
            mode: self.mode,
            may_drop: self.may_drop,
            observation: &self.observation,
            presence: &self.presence,
            read: &self.read,
            overrides: &[],
            unsure_latch: None,
            intervals: &self.intervals,
            limits: &self.limits,
            now: self.now,
        }
    }

    pub(in crate::decide) fn ago(&self, span: Duration) -> Time {
        self.now - span
    }

    pub(in crate::decide) fn history(&mut self) -> &mut History {
        self.book.targets.values_mut().next().expect("the fixture has one")
    }

    pub(in crate::decide) fn release(&mut self, letter: &str) -> &mut Release {
        self.history().releases.iter_mut().find(|r| r.digest == digest(letter)).expect("the fixture has it")
    }

    pub(in crate::decide) fn workload(&mut self) -> &mut Workload {
        match self.observation.workload.as_mut() {
            Some(Resolution::Found { workload }) => workload,
            _ => panic!("the fixture has one"),
        }
    }

    pub(in crate::decide) fn peer(&mut self) -> &mut PeerView {
        self.observation.alerts.peers[0].value.as_mut().expect("the fixture's answers")
    }

    pub(in crate::decide) fn change_member(&mut self, change: impl FnMut(&mut Member)) {
        self.incident.members.change_all(change);
    }

    /// A change of the fixture's target, posted as made that long ago.
    pub(in crate::decide) fn post(&mut self, ago: Duration, barrier: bool, to: Option<&str>) {
        let target = self.incident.target.as_ref().expect("the fixture has one").at.clone();
        let change = PostedChange {
            id: ChangeId("c1".to_owned()),
            content: String::new(),
            target,
            kind: ChangeKind::External,
            from: None,
            to: to.map(str::to_owned),
            by: "dba".to_owned(),
            at: self.ago(ago),
            barrier,
            url: None,
        };
        crate::decide::ledger::posted(&mut self.book.changes, &change);
    }

    /// What the first rule that rolls back, of the first policy, would come to for the fixture's target.
    pub(in crate::decide) fn rehearsed(&mut self, policies: &Policies) -> Decision {
        let (limits, workload) = (self.limits, self.workload().clone());
        let ctx = Context { policies, limits: &limits, cluster: Some("prod") };
        let policy = &policies.policies[0];
        let rule = drill::rollbacks(policy).next().expect("one");
        drill::rehearse(&ctx, &self.book, (policy, rule), &workload, Some(self.now), self.now)
    }

    /// The incident has decided and planned a rollback.
    pub(in crate::decide) fn plan(&mut self) {
        let decision = Arc::new(self.rehearsed(&policies("")));
        let plan = Arc::new(decision.plan.clone().expect("a release is fit"));
        for event in [Event::Decided { decision }, Event::Planned { plan }] {
            self.incident.apply(&event, self.now).expect("it is possible in every phase");
        }
    }

    /// The incident has an attempt, begun now.
    pub(in crate::decide) fn attempt(&mut self) {
        self.plan();
        self.incident.apply(&Event::Intended, self.now).expect("it has a plan");
    }

    /// The book has the incident as it stands.
    pub(in crate::decide) fn keep(&mut self) {
        self.book.incidents.insert(self.incident.id.clone(), self.incident.clone());
        self.book.reindex();
    }

    /// Decides by these policies, and plans what was decided.
    pub(in crate::decide) fn decide_by(&mut self, policies: &Policies) {
        let decision = decided(policies, self);
        self.incident.plan = decision.plan.clone().map(Arc::new);
        self.incident.decision = Some(Arc::new(decision));
    }

    /// The write of the plan was begun that long ago, that many times.
    pub(in crate::decide) fn begin(&mut self, ago: Duration, times: u32) {
        let at = self.ago(ago);
        for _ in 0..times {
            self.incident.apply(&Event::Intended, at).expect("there is a plan");
        }
    }

    /// What a step leaves of the incident, and what it records and does.
    pub(in crate::decide) fn step(&mut self, policies: &Policies, input: Input) -> Step {
        self.keep();
        let ctx = Context { policies, limits: &self.limits, cluster: Some("prod") };
        let step = step(&ctx, &self.book, input, self.now);
        step.records.iter().for_each(|stamped| self.book.fold(stamped).expect("it fits"));
        self.incident = self.book.incidents[&self.incident.id].clone();
        step
    }

    /// What a part of a step makes of the incident, and what it records and does.
    pub(in crate::decide) fn draft(&mut self, policies: &Policies, part: impl FnOnce(&mut Draft<'_>)) -> Step {
        self.keep();
        let ctx = Context { policies, limits: &self.limits, cluster: Some("prod") };
        let mut step = Step::default();
        let mut draft = Draft::of(&ctx, &self.book, self.now, &self.incident.id, &mut step).expect("the book has it");
        part(&mut draft);
        self.incident = draft.incident;
        step
    }

    pub(in crate::decide) fn forget(&mut self) {
        self.book.targets.clear();
    }

    pub(in crate::decide) fn lose_workload(&mut self) {
        self.observation.workload = Some(Resolution::Unknown { why: unreachable() });
    }

    pub(in crate::decide) fn lose_onset(&mut self) {
        self.change_member(|member| member.onset.at = Err(unreachable()));
    }

    pub(in crate::decide) fn onset(&mut self, at: Time) {
        self.change_member(|member| member.onset.at = Ok(at));
    }
}

/// A policy that rolls back what its alert names, and whatever else stands in the file.
pub(in crate::decide) fn policies(besides: &str) -> Policies {
    let rules = "facts: {e: {promql: e}}, decide: [{when: 'facts.e > 1', rollback: undo}, {page: {}}]";
    let matchers = r#"matchers: ['alertname = "HighErrors"']"#;
    let web = format!("{{name: web, mode: enforce, paging: in_front, targets: ['shop/w*'], {matchers}, {rules}}}");
    let text = format!("policies: [{web}{besides}]\n");
    loaded(&text)
}

/// Policies with one that may act on the fixture's alert by these rules.
pub(in crate::decide) fn acting(rules: &str) -> Policies {
    loaded(&format!("policies: [{{name: web, mode: enforce, paging: in_front, targets: ['shop/*'], decide: [{rules}]}}]\n"))
}

/// The policies of a file without mistakes.
pub(in crate::decide) fn loaded(text: &str) -> Policies {
    let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }];
    load(&files, true).unwrap_or_else(|found| panic!("{text}\n{}", crate::policy::diagnostic::to_text(&found))).policies
}

/// What these policies decide of the fixture's incident.
pub(in crate::decide) fn decided(policies: &Policies, world: &World) -> Decision {
    let ctx = Context { policies, limits: &world.limits, cluster: Some("prod") };
    decide(&ctx, &world.book, &world.incident, &world.observation, world.now)
}

/// A release that was available for `healthy` until `last` ago.
pub(in crate::decide) fn release(letter: &str, now: Time, since: Duration, healthy: Duration, last: Duration) -> Release {
    Release {
        digest: digest(letter),
        images: vec![format!("web:{letter}")],
        image_digests: BTreeMap::new(),
        replica_set: Some(format!("web-{letter}")),
        live_since: now - since,
        landed_at: Some(now - since + minutes(2)),
        available_since: None,
        healthy,
        last_available: Some(now - last),
        watched: true,
        by: Some("ci".to_owned()),
        by_us: false,
        bad: None,
        alerts: BTreeMap::new(),
    }
}

/// A ReplicaSet of a release.
pub(in crate::decide) fn replica_set(letter: &str, revision: u64, created_at: Time, desired: i32) -> ReplicaSetSeen {
    ReplicaSetSeen {
        name: format!("web-{letter}"),
        uid: format!("rs-{letter}"),
        digest: digest(letter),
        revision,
        created_at,
        desired,
        available: desired,
        images: vec![format!("web:{letter}")],
        image_digests: BTreeMap::new(),
        data_barrier: None,
    }
}

/// A rollback of the fixture's target by that incident, or by a person.
pub(in crate::decide) fn rollback(lane: &str, incident: Option<&str>, at: Time, ended_at: Option<Time>) -> PastRollback {
    PastRollback {
        lane: lane.to_owned(),
        incident: incident.map(|id| IncidentId(id.to_owned())),
        from: digest("f"),
        to: digest("a"),
        at,
        ended_at,
    }
}

fn history(now: Time) -> History {
    let mut bad = release("b", now, minutes(20), Duration::ZERO, Duration::ZERO);
    bad.available_since = bad.landed_at;
    History {
        uid: "u1".to_owned(),
        watched_since: Some(now - hours(72)),
        releases: vec![release("a", now, hours(48), hours(47), minutes(20)), bad],
        ..History::default()
    }
}

fn incident(target: &TargetId, now: Time) -> Incident {
    let labels = Texts::from([("alertname", "HighErrors")]);
    let alert = Alert {
        fingerprint: Fingerprint(7),
        status: AlertStatus::Firing,
        labels,
        annotations: Texts::new(),
        starts_at: now - minutes(9),
        ends_at: None,
        generator_url: String::new(),
    };
    let onset = Onset { at: Ok(now - minutes(10)), source: "ALERTS_FOR_STATE".to_owned() };
    let member = Member { alert, received_at: now - minutes(8), onset, resolved_at: None, truncated: false };
    let id = IncidentId("i1".to_owned());
    Incident {
        target: Some(target.clone()),
        release: Some(digest("b")),
        heard_at: now,
        located_at: Some(now - minutes(8)),
        ..Incident::new(id, Lane::Live, "web".to_owned(), member, Phase::Deciding { since: now })
    }
}

fn policy() -> Policy {
    let floor = Some(Floor { promql: "traffic".to_owned(), at_least: 1.0 });
    Policy {
        name: "web".to_owned(),
        place: Place::default(),
        owner: None,
        matchers: Vec::new(),
        mode: Mode::Enforce,
        paging: None,
        targets: vec![TargetPattern("shop/*".to_owned())],
        settle: Duration::ZERO,
        target: TargetRule::Auto,
        facts: BTreeMap::from([("errors".to_owned(), FactSpec::number("errors", floor))]),
        decide: Vec::new(),
        brakes: BrakeSettings::default(),
        labels: Labels::new(),
        announce: Vec::new(),
        approval_within: None,
        tail: None,
        links: Vec::new(),
        figures: Vec::new(),
        objectives: Vec::new(),
        review_by: None,
    }
}

fn rule() -> Rule {
    Rule {
        name: "rule 1".to_owned(),
        place: Place::default(),
        matchers: Vec::new(),
        condition: None,
        mode: None,
        first: None,
        tell: Vec::new(),
        verdict: VerdictRule::Rollback { levels: vec!["undo".to_owned()] },
    }
}

fn observation(target: &TargetId, now: Time) -> Observation {
    let number = |value| Number::new(value).expect("finite");
    let answer =
        Answer { value: Fact::known(number(0.2), now, "prometheus"), floor: Some(Fact::known(number(10.0), now, "prometheus")) };
    Observation {
        at: now,
        workload: Some(Resolution::Found { workload: Box::new(workload(target, now)) }),
        alerts: AlertmanagerView {
            peers: vec![Fact::known(peer(now), now, "am")],
            evaluated_at: Fact::known(now, now, "prometheus"),
        },
        values: BTreeMap::from([("errors".to_owned(), answer)]),
        texts: BTreeMap::new(),
        watch_heard_at: Some(now),
        rollout: None,
        http: Vec::new(),
        tail: None,
    }
}

/// A peer that holds the incident's alert, and no other.
fn peer(now: Time) -> PeerView {
    let labels = Labels::from([("alertname".to_owned(), "HighErrors".to_owned())]);
    let occurrence = Occurrence { fingerprint: Fingerprint(7), starts_at: now - minutes(9) };
    let ours = AlertOnPeer { occurrence, labels, state: PeerAlertState::Active };
    PeerView { peer: "am".to_owned(), up: hours(9), alerts: vec![ours], ..PeerView::default() }
}

pub(in crate::decide) fn workload(target: &TargetId, now: Time) -> Workload {
    let write = Write { manager: "ci".to_owned(), at: now - minutes(20), template: true };
    Workload {
        id: target.clone(),
        generation: 2,
        observed_generation: 2,
        replicas: Replicas { desired: 3, total: 3, updated: 3, available: 3 },
        paused: false,
        strategy: Strategy::Rolling,
        release: digest("b"),
        images: vec!["web:b".to_owned()],
        landed_at: Some(now - minutes(18)),
        owner: Owner::Plain,
        pause: None,
        writes: vec![write],
        last_rollback: None,
        replica_sets: vec![replica_set("a", 1, now - hours(48), 0), replica_set("b", 2, now - minutes(20), 3)],
        migrations: Ok(Vec::new()),
    }
}

/// A setting switched on.
pub(in crate::decide) fn on<T>(numbers: T) -> Setting<T> {
    Setting::On(numbers)
}
