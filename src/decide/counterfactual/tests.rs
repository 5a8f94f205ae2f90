//! Every claim is carried out: with the change the verdict is another, and one unit short of it, it is not.

use super::*;
use crate::decide::book::{Damping, History, Pause, Release};
use crate::decide::brakes::fixture::{World, hours, minutes, rollback};
use crate::decide::latch::{Latch, Latching};
use crate::decide::observation::Answer;
use crate::model::{
    AlertAlike, AlertOnPeer, Fact, Fingerprint, IncidentId, LatchCause, Migration, MigrationState, Number, Occurrence,
    PauseScope, PeerAlertState, PeerView, Resolution, TargetId, TargetRef, Texts, Unknown, UnknownKind,
};
use crate::policy::duration;
use crate::policy::types::Policies;
use crate::policy::{SourceFile, load};

const FACTS: &str = "facts: {errors: {promql: e}, traffic: {promql: t}, slow: {promql: s, as: duration}, bad: {promql: b, as: bool}, fix: {annotation: fix, as: duration}, users: {http: {url: 'https://status.example/', pointer: /users}}}";

fn policies(rules: &str, besides: &str) -> Policies {
    let otherwise = if rules.contains("when") || rules.contains("any") || rules.contains("all") { ", {page: {}}" } else { "" };
    let text = format!(
        "policies: [{{name: web, mode: enforce, paging: in_front, targets: ['shop/*'], {FACTS}, decide: [{rules}{otherwise}]{besides}}}]\n"
    );
    let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }];
    load(&files, true).unwrap_or_else(|found| panic!("{text}\n{}", crate::policy::diagnostic::to_text(&found))).policies
}

/// The fixture in which no brake holds, with an alert that fires and facts that are known.
fn world() -> World {
    let mut world = World::new();
    world.change_member(|member| member.alert.annotations = Texts::of([("fix", "30m")]));
    let member = world.incident.members.values().next().expect("it has one").clone();
    let on_peer = AlertOnPeer {
        occurrence: member.alert.occurrence(),
        labels: member.alert.labels.to_map(),
        state: PeerAlertState::Active,
    };
    let peer = PeerView { peer: "am".to_owned(), up: hours(9), alerts: vec![on_peer], ..PeerView::default() };
    world.observation.alerts.peers = vec![Fact::known(peer, world.now, "alertmanager")];
    world.observation.values.clear();
    for (name, value) in [("errors", 0.04), ("traffic", 12.0), ("slow", 2.5), ("bad", 0.0)] {
        let number = Number::new(value).expect("finite");
        let answer = Answer { value: Fact::known(number, world.now, "prometheus"), floor: None };
        world.observation.values.insert(name.to_owned(), answer);
    }
    world.observation.texts.insert("users".to_owned(), Fact::known("80".to_owned(), world.now, "http"));
    world
}

/// What would have flipped the verdict; every claim is tried here once more, on both sides of its border.
fn claims(policies: &Policies, world: &World) -> Vec<String> {
    let ctx = Context { policies, limits: &world.limits, cluster: Some("prod") };
    let basis = Basis {
        book: world.book.clone(),
        incident: world.incident.clone(),
        observation: world.observation.clone(),
        now: world.now,
    };
    let actual = basis.decide(&ctx);
    let found = nearest(&ctx, &basis);
    for one in &found {
        let Some(variable) = &one.variable else { continue };
        if one.to == one.short_of {
            let with = basis.decide_with(&ctx, variable, one.to);
            assert!(variable.is_unknown(&basis) && with.outcome == one.then, "{}: {}", one.condition, with.summary);
            continue;
        }
        assert_eq!(one.to.abs_diff(one.short_of), 1, "{}: a border has two neighbours", one.condition);
        let (with, short) = (basis.decide_with(&ctx, variable, one.to), basis.decide_with(&ctx, variable, one.short_of));
        assert_eq!(with.outcome, one.then, "{}: {}", one.condition, with.summary);
        match &one.flips {
            Flips::Verdict => {
                assert_ne!(with.outcome == Outcome::Rollback, actual.outcome == Outcome::Rollback, "{}", one.condition);
                assert_eq!(
                    short.outcome == Outcome::Rollback,
                    actual.outcome == Outcome::Rollback,
                    "{}: {}",
                    one.condition,
                    short.summary
                );
            }
            Flips::Brake { brake } => {
                let holds = |decision: &Decision| decision.brakes.iter().any(|j| j.brake == *brake && j.holds());
                assert!(!holds(&with) && holds(&short), "{}", one.condition);
            }
            Flips::Condition { condition, .. } => {
                let truth = |decision: &Decision| {
                    let all = decision.rules.iter().flat_map(|rule| &rule.conditions);
                    all.filter(|(text, ..)| text == condition).map(|(_, truth, _)| truth.clone()).next()
                };
                assert_eq!((truth(&with), truth(&short)), (Some(Truth::True), Some(Truth::False)), "{}", one.condition);
            }
        }
    }
    found.into_iter().map(|one| one.condition).collect()
}

#[test]
fn a_number_flips_the_verdict_at_its_border() {
    for (rules, wanted) in [
        ("{when: 'facts.errors > 0.1', rollback: undo}", "facts.errors had been more than 0.1 (it was 0.04)"),
        ("{when: 'facts.errors >= 0.1', rollback: undo}", "facts.errors had been 0.1 or more (it was 0.04)"),
        ("{when: 'facts.traffic < 10.0', rollback: undo}", "facts.traffic had been less than 10 (it was 12)"),
        ("{when: 'facts.errors > 0.01 * facts.traffic', rollback: undo}", "facts.errors had been more than 0.12 (it was 0.04)"),
        ("{when: 'facts.slow > duration(\"3s\")', rollback: undo}", "facts.slow had been more than 3s (it was 2.5s)"),
        (
            "{when: 'facts.fix > duration(\"1h\")', rollback: undo}",
            "facts.fix, the annotation \"fix\", had been more than 1h (it was \"30m\")",
        ),
        ("{when: 'facts.users > 100.0', rollback: undo}", "facts.users had been more than 100 (it was \"80\")"),
        ("{when: 'change.age < duration(\"10m\")', rollback: undo}", "the change had been 8m1ms younger"),
        // A window that no doubling would hit.
        (
            "{when: 'facts.errors > 0.5 && facts.errors < 0.500001', rollback: undo}",
            "facts.errors had been more than 0.5 (it was 0.04)",
        ),
        // It rolls back: what would have kept it from that.
        ("{when: 'facts.errors > 0.03', rollback: undo}", "facts.errors had been 0.03 or less (it was 0.04)"),
    ] {
        let found = claims(&policies(rules, ""), &world());
        assert!(found.iter().any(|found| found == wanted), "{rules}: no {wanted:?} in {found:#?}");
    }
}

#[test]
fn what_is_unknown_is_known_first() {
    for (rules, wanted) in [
        (
            "{when: 'facts.errors > 0.1', rollback: undo}",
            "facts.errors had been known and more than 0.1 (it was unknown: no sample)",
        ),
        (
            "{when: 'facts.errors < 0.1', rollback: undo}",
            "facts.errors had been known and less than 0.1 (it was unknown: no sample)",
        ),
        ("{when: 'facts.errors * 0.0 == 0.0', rollback: undo}", "facts.errors had been known (it was unknown: no sample)"),
    ] {
        let mut world = world();
        let why = Unknown::new(UnknownKind::Empty, "no sample");
        world.observation.values.get_mut("errors").expect("the fixture has it").value.value = Err(why);
        assert_eq!(claims(&policies(rules, ""), &world), [wanted], "{rules}");
    }
}

#[test]
fn a_storm_and_a_freeze_say_what_would_have_ended_them() {
    let mut stormy = world();
    for (id, target, ago) in [("i2", "cart", 10), ("i3", "pay", 4)] {
        let at = TargetRef::deployment("shop", target).expect("valid names");
        let other = Incident {
            id: IncidentId(id.to_owned()),
            target: Some(TargetId { at, uid: target.to_owned() }),
            rollback_wanted_at: Some(stormy.ago(minutes(ago))),
            ..stormy.incident.clone()
        };
        stormy.book.incidents.insert(other.id.clone(), other);
    }
    stormy.book.reindex();
    let found = claims(&policies("{rollback: undo}", ""), &stormy);
    // The older one is out of the window then. They show the same, too, and what ran there is not known.
    let (wanted, alike) =
        ("the other targets had wanted a rollback 5m earlier", "the same had begun 10m1ms earlier on the other targets");
    assert_eq!(found, [wanted.to_owned(), alike.to_owned(), format!("{wanted}, and {alike}")]);
    // The fixture's now is 09:24 UTC.
    let text = "time_intervals: [{name: sale, time_intervals: [{times: [{start_time: '09:00', end_time: '09:30'}]}]}]\npolicies: [{name: web, mode: enforce, paging: in_front, targets: ['shop/*'], brakes: {freeze: [sale]}, decide: [{rollback: undo}]}]\n";
    let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }];
    let frozen = load(&files, true).unwrap_or_else(|found| panic!("{}", crate::policy::diagnostic::to_text(&found))).policies;
    assert_eq!(claims(&frozen, &world()), ["all this had been seen 6m later"]);
}

#[test]
fn a_switch_is_turned() {
    let found = claims(&policies("{when: 'facts.bad', rollback: undo}", ""), &world());
    assert_eq!(found, ["facts.bad had been true (it was 0)"]);
}

#[test]
fn of_any_each_is_named_and_of_all_both_together() {
    let any = policies("{any: ['facts.errors > 0.1', 'facts.traffic < 10.0'], rollback: undo}", "");
    let found = claims(&any, &world());
    assert_eq!(found, ["facts.errors had been more than 0.1 (it was 0.04)", "facts.traffic had been less than 10 (it was 12)"]);
    let all = policies("{all: ['facts.errors > 0.1', 'facts.traffic < 10.0'], rollback: undo}", "");
    let found = claims(&all, &world());
    assert_eq!(
        found,
        [
            "facts.errors had been more than 0.1 (it was 0.04)",
            "facts.traffic had been less than 10 (it was 12)",
            "facts.errors had been more than 0.1 (it was 0.04), and facts.traffic had been less than 10 (it was 12)"
        ]
    );
}

#[test]
fn what_no_number_flips_is_not_claimed() {
    let never = policies("{when: 'labels.tier == \"gold\"', rollback: undo}", "");
    assert_eq!(claims(&never, &world()), Vec::<String>::new());
    let mut vetoed = world();
    vetoed.incident.vetoed = Some((vetoed.now, "ann".to_owned(), "no".to_owned()));
    assert_eq!(claims(&policies("{rollback: undo}", ""), &vetoed), Vec::<String>::new());
    // The old release was rolled back from already: no age of that changes it.
    let mut spent = world();
    let at = spent.ago(hours(20));
    let release = spent.incident.release.clone().expect("one");
    let past = crate::decide::book::PastRollback { from: release, ..rollback("live", Some("i0"), at, Some(at)) };
    spent.history().rollbacks.push(past);
    assert_eq!(claims(&policies("{rollback: undo}", ""), &spent), Vec::<String>::new());
}

type Spoil = fn(&mut World);

#[test]
fn each_brake_says_by_how_much_it_held() {
    let cases: &[(Brake, Spoil, &str)] = &[
        (Brake::RecentChange, |w| w.onset(w.now - minutes(1)), "the change had been 2m younger"),
        (
            Brake::Cooldown,
            |w| {
                let at = w.ago(minutes(35));
                w.history().rollbacks.push(rollback("live", None, at, Some(at)));
            },
            "the rollback that is remembered had been 25m older",
        ),
        (
            Brake::Budget,
            |w| {
                let at = w.ago(hours(11));
                w.history().rollbacks.push(rollback("live", Some("i0"), at, Some(at)));
            },
            "the rollback that is remembered had been 1h older",
        ),
        (
            Brake::Flapping,
            |w| {
                let mut damping = Damping::default();
                [60, 30, 0].into_iter().for_each(|ago| damping.add(w.ago(minutes(ago))));
                w.history().damping.insert("live".to_owned(), damping);
            },
            "the target had flapped 2h41m",
        ),
        (
            Brake::QuietStart,
            |w| {
                let (from, to) = (w.ago(minutes(30)), w.ago(minutes(9)));
                w.incident.opened_at = to;
                w.book.gaps.push(crate::decide::book::Gap::away(Some(from), to));
            },
            "the trouble had begun 1m later",
        ),
        (Brake::HumanActive, |w| w.history().veto_until = Some(w.now + minutes(7)), "the veto had ended 7m earlier"),
        (
            Brake::Paused,
            |w| {
                let pause = Pause {
                    id: 3,
                    scope: PauseScope::Namespace("shop".to_owned()),
                    reason: "migration".to_owned(),
                    by: "ann".to_owned(),
                    identity: None,
                    from: w.ago(minutes(5)),
                    until: w.now + minutes(12),
                };
                w.book.pauses.insert(3, pause);
            },
            "pause 3 had ended 12m earlier",
        ),
        (
            Brake::StaleFacts,
            |w| w.observation.watch_heard_at = Some(w.ago(minutes(3))),
            "the watch had heard from the API server 30s later",
        ),
        (Brake::FitTarget, |w| w.release("a").healthy = minutes(22), "the release to go back to had been available 8m longer"),
        (
            Brake::FitTarget,
            |w| w.release("a").last_available = Some(w.ago(hours(26))),
            "the release to go back to had been available until 2h later",
        ),
        (
            Brake::RecentChange,
            |w| {
                let at = w.ago(hours(20));
                w.release("a").alerts.insert("HighErrors".to_owned(), at);
            },
            "\"HighErrors\" had fired 4h1ms earlier on the release to go back to",
        ),
    ];
    let all = policies("{rollback: undo}", ", brakes: {recent_change: {within: 15m}}");
    for (brake, spoil, wanted) in cases {
        let mut world = world();
        spoil(&mut world);
        let ctx = Context { policies: &all, limits: &world.limits, cluster: Some("prod") };
        let decision = decide(&ctx, &world.book, &world.incident, &world.observation, world.now);
        assert_eq!(decision.brake, Some(*brake), "{}", decision.summary);
        let found = claims(&all, &world);
        assert!(
            found.iter().any(|found| found.starts_with(wanted)),
            "{brake}: no {wanted:?} in {found:#?}\n{}",
            decision.summary
        );
    }
}

#[test]
fn one_of_several_rollbacks_is_enough() {
    let mut world = world();
    for (hour, id) in [(11, "i0"), (8, "i2"), (3, "i3")] {
        let at = world.ago(hours(hour));
        world.history().rollbacks.push(rollback("live", Some(id), at, Some(at)));
    }
    let all = policies("{rollback: undo}", ", brakes: {budget: {per_target: 3, per: 12h}}");
    assert_eq!(claims(&all, &world), ["1 of the 3 rollbacks that count had been 1h older"]);
    let all = policies("{rollback: undo}", ", brakes: {budget: {per_target: 2, per: 12h}}");
    assert!(claims(&all, &world).contains(&"2 of the 3 rollbacks that count had been 4h older".to_owned()));
}

#[test]
fn two_brakes_are_let_go_one_by_one_and_together() {
    let mut world = world();
    let at = world.ago(minutes(35));
    world.history().rollbacks.push(rollback("live", Some("i0"), at, Some(at)));
    world.release("a").healthy = minutes(22);
    let all = policies("{rollback: undo}", ", brakes: {budget: {disabled: 'for the test'}}");
    let found = claims(&all, &world);
    assert_eq!(
        found,
        [
            "the release to go back to had been available 8m longer",
            "the rollback that is remembered had been 25m older",
            "the release to go back to had been available 8m longer, and the rollback that is remembered had been 25m older"
        ]
    );
}

#[test]
fn too_little_traffic_says_how_much_is_missing() {
    let text = "policies: [{name: web, mode: enforce, paging: in_front, targets: ['shop/*'], facts: {errors: {promql: e, floor: {promql: t, at_least: 5}}}, decide: [{when: 'facts.errors > 0.01', rollback: undo}, {page: {}}]}]\n";
    let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }];
    let all = load(&files, true).unwrap_or_else(|found| panic!("{}", crate::policy::diagnostic::to_text(&found))).policies;
    let mut world = world();
    let number = |value| Fact::known(Number::new(value).expect("finite"), world.now, "prometheus");
    let answer = Answer::of(number(0.5), Some((number(2.0), "5")));
    world.observation.values.insert("errors".to_owned(), answer);
    assert_eq!(claims(&all, &world), ["the traffic behind facts.errors had been 5 or more (2 is below the floor of 5)"]);
}

#[test]
fn latches_and_migrations_are_told_of() {
    let all = policies("{rollback: undo}", "");
    let mut latched = world();
    let target = latched.incident.target.as_ref().expect("it has one").at.clone();
    for id in [3, 5] {
        let wanted = Latching {
            cause: LatchCause::Corruption,
            because: "rule `data` says that data may be corrupt".to_owned(),
            policy: "web".to_owned(),
            covers: Vec::new(),
            through: None,
        };
        let incident = IncidentId("i0".to_owned());
        let latch = Latch { id, wanted, target: Some(target.clone()), incident, from: latched.now - minutes(9), cleared: None };
        latched.book.latches.insert(id, latch);
    }
    let found = claims(&all, &latched);
    assert!(found.iter().any(|found| found == "latches 3 and 5 had been cleared"), "{found:#?}");

    let mut migrated = world();
    let (now, written) = (migrated.now, migrated.release("a").live_since);
    let job = Migration {
        name: "migrate-2".to_owned(),
        images: vec!["migrate:1".to_owned()],
        state: MigrationState::Completed,
        at: now - minutes(30),
    };
    let Some(Resolution::Found { workload }) = &mut migrated.observation.workload else { panic!("it was read") };
    workload.migrations = Ok(vec![job]);
    let found = claims(&all, &migrated);
    let earlier = duration::format(std::time::Duration::from_millis((now - minutes(30)).since(written).as_millis() as u64));
    let wanted = format!("the migration Job \"migrate-2\" had ended {earlier} earlier");
    assert!(found.contains(&wanted), "no {wanted:?} in {found:#?}");
}

#[test]
fn who_shows_the_same_is_told_of() {
    let all = policies("{rollback: undo}", "");
    let mut world = world();
    for name in ["cart", "search"] {
        let mut history = History { uid: format!("u-{name}"), ..History::default() };
        history.releases.push(Release { live_since: world.now - hours(30), landed_at: None, ..world.release("a").clone() });
        world.book.targets.insert(format!("deployment/shop/{name}"), history);
        let member = world.incident.members.values().next().expect("it has one").clone();
        let alertname = member.alert.label("alertname").to_owned();
        let labels = crate::model::Labels::from([
            ("alertname".to_owned(), alertname),
            ("namespace".to_owned(), "shop".to_owned()),
            ("deployment".to_owned(), name.to_owned()),
        ]);
        let fingerprint = Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let occurrence = Occurrence { fingerprint, starts_at: member.alert.starts_at };
        let peer = world.observation.alerts.peers[0].value.as_mut().expect("it was read");
        peer.alike.push(AlertAlike { occurrence, labels });
    }
    let found = claims(&all, &world);
    let wanted = |found: &&String| found.starts_with("the same had begun 10m") && found.ends_with("on the other targets");
    assert!(found.iter().any(|found| wanted(&found)), "{found:#?}");
}
