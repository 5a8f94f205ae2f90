//! Every claim is carried out: with the change the verdict is another, and one unit short of it, it is not.

use super::*;
use crate::decide::book::{Damping, History, Pause, Release};
use crate::decide::brakes::fixture::{World, hours, loaded, minutes, rollback};
use crate::decide::latch::{Latch, Latching};
use crate::decide::observation::Answer;
use crate::model::{
    AlertAlike, AlertOnPeer, Fact, FactType, Fingerprint, IncidentId, LatchCause, Migration, MigrationState, Number, Occurrence,
    PauseScope, PeerAlertState, PeerView, Resolution, TargetId, TargetRef, Texts, Unknown, UnknownKind,
};
use crate::policy::duration;
use crate::policy::types::Policies;

const FACTS: &str = "facts: {errors: {promql: e}, traffic: {promql: t}, slow: {promql: s, as: duration}, bad: {promql: b, as: bool}, fix: {annotation: fix, as: duration}, users: {http: {url: 'https://status.example/', pointer: /users}}}";

fn policies(rules: &str, besides: &str) -> Policies {
    let otherwise = if rules.contains("when") || rules.contains("any") || rules.contains("all") { ", {page: {}}" } else { "" };
    let text = format!(
        "policies: [{{name: web, mode: enforce, paging: in_front, targets: ['shop/*'], {FACTS}, decide: [{rules}{otherwise}]{besides}}}]\n"
    );
    loaded(&text)
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
    assert_eq!(claims(&loaded(text), &world()), ["all this had been seen 6m later"]);
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
    let all = loaded(text);
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

fn basis(world: &World) -> Basis {
    Basis { book: world.book.clone(), incident: world.incident.clone(), observation: world.observation.clone(), now: world.now }
}

/// Where a border of that input is looked for, under a policy that names 0.25 and 7 minutes and a window of a quarter of an hour.
fn probes(variable: &Variable) -> Vec<i64> {
    let rules = "{when: 'facts.errors > 0.25 && facts.slow < duration(\"7m\")', rollback: undo}";
    let all = policies(rules, ", brakes: {recent_change: {within: 15m}}");
    let basis = basis(&world());
    let origin = variable.origin(&basis).unwrap_or_default();
    probes::of(variable, all.get("web").expect("loaded"), &basis, origin)
}

fn fact(name: &str, of: FactType) -> Variable {
    Variable::Fact { name: name.to_owned(), of }
}

#[test]
fn a_number_is_tried_on_both_sides_of_what_is_named_and_ever_further_away() {
    let found = probes(&fact("traffic", FactType::Number));
    for named in [0.0, 1.0, 0.25, -0.25] {
        let place = values::place(named);
        assert!([place - 1, place, place + 1].iter().all(|near| found.contains(near)), "{named}");
    }
    // It was 12: by a thousandth first, then by twice as much each time, up and down.
    let numbers: Vec<f64> = found.iter().map(|place| values::number(*place)).filter(|number| number.abs() < f64::MAX).collect();
    let up: Vec<f64> = numbers.iter().filter(|number| **number > 12.0).map(|number| number - 12.0).collect();
    assert_eq!(up.len(), 36);
    assert!((up[0] - 0.012).abs() < 1e-9 && up.windows(2).all(|two| (two[1] / two[0] - 2.0).abs() < 1e-6), "{up:?}");
    for away in up {
        let near = |number: &f64| (number - (12.0 - away)).abs() < away * 1e-6;
        assert!(numbers.iter().any(near), "down by {away}");
    }
    let zero = probes(&fact("bad", FactType::Number));
    assert!(zero.contains(&values::place(0.001)) && zero.contains(&values::place(-0.001)), "what was 0 is moved all the same");
}

#[test]
fn a_time_is_tried_at_every_window_and_ever_further_away() {
    let healthy = probes(&Variable::Healthy);
    for tried in [1, 2, 4, 1 << 20, 1 << 35] {
        assert!(healthy.contains(&tried), "{tried}");
    }
    for window in [minutes(7), minutes(15), minutes(5), hours(1), hours(12), minutes(30)] {
        assert!(healthy.contains(&values::millis(window)), "{window:?}");
    }
    let veto = probes(&Variable::Veto);
    for tried in [-1, -2, -4, -(1 << 20), -(1 << 35)] {
        assert!(veto.contains(&tried), "{tried}");
    }
    let slow = probes(&fact("slow", FactType::Duration));
    assert!([2499, 2501, 2500 + 1024, 2500 - 1024].iter().all(|tried| slow.contains(tried)), "from 2.5s on");
    let free_at = world().now + minutes(11);
    assert!(probes(&Variable::Moment { free_at }).contains(&660_000), "when a brake lets go by itself");
}

#[test]
fn a_change_and_an_onset_are_tried_where_a_window_between_them_ends() {
    // The change was written 10 minutes before the onset and landed 8 minutes before it, 18 minutes before now.
    let wanted = [-420_000, 180_000, 300_000, -300_000, 420_000, 480_000, -480_000, -600_000, 479_000, -479_000];
    for variable in [Variable::Change, Variable::Onset] {
        let found = probes(&variable);
        for border in wanted {
            let near = [border - 1, border, border + 1];
            assert!(near.iter().all(|tried| found.contains(tried)), "{variable:?}: {border} in {found:?}");
        }
    }
    assert!(!probes(&Variable::Writes).contains(&-480_000), "other times are not compared with the change");
}

#[test]
fn inputs_start_from_how_they_were_and_what_is_not_there_is_not_moved() {
    let was = basis(&world());
    let text = |name: &str, carrier: Carrier| Variable::Text { name: name.to_owned(), carrier };
    let fix = text("fix", Carrier::Annotation("fix".to_owned()));
    let users = text("users", Carrier::Document);
    for (variable, origin) in [
        (&fact("slow", FactType::Duration), 2500),
        (&fact("errors", FactType::Number), values::place(0.04)),
        (&fix, 1_800_000),
        (&users, values::place(80.0)),
        (&Variable::Change, 0),
        (&Variable::Writes, 0),
    ] {
        assert_eq!(variable.origin(&was), Some(origin), "{variable:?}");
    }
    type Spoil = fn(&mut World);
    let nothing: &[(&Variable, Spoil)] = &[
        (&fix, |w| w.change_member(|member| member.alert.annotations = Texts::of([("fix", "soon")]))),
        (&Variable::Change, |w| w.incident.release = None),
        (&Variable::Change, World::lose_workload),
        (&Variable::Writes, |w| w.workload().writes.clear()),
    ];
    for (variable, spoil) in nothing {
        let mut world = world();
        spoil(&mut world);
        assert_eq!(variable.origin(&basis(&world)), None, "{variable:?}");
    }
    assert_eq!(values::number(0).to_string(), "0");
    assert_eq!(values::number(values::place(-2.5)).to_string(), "-2.5");
}

#[test]
fn only_a_fact_that_was_asked_for_and_has_no_value_is_unknown() {
    let mut world = world();
    let why = Unknown::new(UnknownKind::Empty, "no sample");
    world.observation.values.get_mut("errors").expect("the fixture has it").value.value = Err(why);
    let basis = basis(&world);
    assert!(fact("errors", FactType::Number).is_unknown(&basis));
    assert!(!fact("traffic", FactType::Number).is_unknown(&basis));
    assert!(!fact("nobody_asked", FactType::Number).is_unknown(&basis));
    assert!(!Variable::Change.is_unknown(&basis));
}

#[test]
fn of_two_borders_the_nearer_one_is_named() {
    let basis = basis(&world());
    let number = fact("errors", FactType::Number);
    assert_eq!(number.distance(&basis, values::place(1.0), values::place(-2.0)), 3.0);
    assert_eq!(Variable::Veto.distance(&basis, 0, -5000), 5000.0);
    for (rules, wanted) in [
        (
            "{when: 'facts.traffic > 13.0 || facts.traffic < 2.0', rollback: undo}",
            "facts.traffic had been more than 13 (it was 12)",
        ),
        (
            "{when: 'facts.traffic > 30.0 || facts.traffic < 11.0', rollback: undo}",
            "facts.traffic had been less than 11 (it was 12)",
        ),
    ] {
        assert_eq!(claims(&policies(rules, ""), &world()), [wanted]);
    }
}

#[test]
fn the_release_to_go_back_to_was_available_last_and_is_neither_bad_nor_the_one_to_leave() {
    let named = |world: &World| variable::candidate(&basis(world)).map(|release| release.images.join(","));
    assert_eq!(named(&world()).as_deref(), Some("web:a"));
    let none: &[Spoil] = &[
        |w| w.release("a").bad = Some((w.now, "ann".to_owned())),
        |w| w.release("a").last_available = None,
        |w| {
            w.release("b").bad = Some((w.now, "ann".to_owned()));
            w.workload().release = crate::decide::brakes::fixture::digest("a");
        },
    ];
    for spoil in none {
        let mut world = world();
        spoil(&mut world);
        assert_eq!(named(&world), None);
    }
}

#[test]
fn rollbacks_that_count_are_by_others_on_this_lane_and_not_forgotten() {
    let moved = |world: &World, rule: &str| {
        let all = policies(rule, "");
        let ctx = Context { policies: &all, limits: &world.limits, cluster: Some("prod") };
        let basis = basis(world);
        let inputs = variable::all(&ctx, all.get("web").expect("loaded"), &basis, &basis.decide(&ctx));
        inputs.into_iter().find(|variable| matches!(variable, Variable::Rollbacks { .. }))
    };
    const COUNTED: &str = "{when: 'history.rollbacks_24h > 5', rollback: undo}";
    let mut world = world();
    for (lane, incident, ago) in [
        ("live", Some("i0"), hours(24 * 400)),
        ("shadow/trial", Some("i3"), hours(300)),
        ("live", Some("i1"), hours(250)),
        ("live", Some("i4"), hours(200)),
        ("live", None, hours(150)),
        ("shadow/other", Some("i5"), hours(120)),
    ] {
        let at = world.ago(ago);
        world.history().rollbacks.push(rollback(lane, incident, at, Some(at)));
    }
    let elsewhere = History { rollbacks: world.history().rollbacks.clone(), ..History::default() };
    world.book.targets.insert("deployment/shop/other".to_owned(), elsewhere);
    let oldest =
        |index: usize, of: usize| Some(Variable::Rollbacks { which: vec![("deployment/shop/web".to_owned(), index)], of });
    assert_eq!(moved(&world, COUNTED), oldest(3, 2), "live: not the one of 400 days ago, nor its own, nor those of shadow");
    world.incident.lane = crate::decide::incident::Lane::Shadow("trial".to_owned());
    assert_eq!(moved(&world, COUNTED), oldest(1, 3), "shadow sees what was done live, and its own");
    world.incident.lane = crate::decide::incident::Lane::Live;
    assert_eq!(moved(&world, "{when: 'facts.errors > 0.1', rollback: undo}"), None, "no condition asks for it");
    assert_eq!(moved(&world, "{when: 'history.rollbacks_24h < 5', rollback: undo}"), None, "it rolls back");
}

#[test]
fn a_change_is_moved_with_what_the_cluster_keeps_of_it_and_with_nothing_else() {
    let mut world = world();
    let (now, by) = (world.now, -3_600_000);
    let written = now - minutes(20);
    let write = |at: Time, template: bool| crate::model::Write { manager: "ci".to_owned(), at, template };
    let seconds = std::time::Duration::from_secs;
    world.workload().writes = vec![
        write(written, true),
        write(written + seconds(2), true),
        write(written + seconds(3), true),
        write(written - seconds(2), true),
        write(written, false),
    ];
    let was = basis(&world);
    let workload = |basis: &Basis| variable::workload(basis).expect("it was read").clone();
    let (before, after) = (workload(&was), workload(&was.with(&Variable::Change, by)));
    let moves: Vec<bool> =
        before.writes.iter().zip(&after.writes).map(|(before, after)| after.at == before.at.shifted(by)).collect();
    assert_eq!(moves, [true, true, false, true, false]);
    assert!(before.writes.iter().zip(&after.writes).filter(|(one, other)| one.at == other.at).count() == 2);
    assert_eq!(after.landed_at, before.landed_at.map(|at| at.shifted(by)));
    assert_eq!(after.replica_sets[0].created_at, before.replica_sets[0].created_at, "another release's");
    assert_eq!(after.replica_sets[1].created_at, before.replica_sets[1].created_at.shifted(by));
    assert_eq!(variable::changed_at(&was), Some(written));
    assert_eq!(variable::changed_at(&was.with(&Variable::Change, by)), Some(written.shifted(by)));
    world.workload().release = crate::decide::brakes::fixture::digest("a");
    let was = basis(&world);
    assert_eq!(workload(&was.with(&Variable::Change, by)).landed_at, was_landed(&was), "what landed is another release");
    world.incident.release = None;
    assert_eq!(variable::changed_at(&basis(&world)), None);
}

fn was_landed(basis: &Basis) -> Option<Time> {
    variable::workload(basis).and_then(|workload| workload.landed_at)
}

#[test]
fn a_later_moment_saw_everything_later_and_a_later_sample_is_the_same_sample() {
    let was = basis(&world());
    let later = was.with(&Variable::Moment { free_at: was.now }, 60_000);
    let wanted = was.now.shifted(60_000);
    assert_eq!((later.now, later.observation.at, later.observation.watch_heard_at), (wanted, wanted, Some(wanted)));
    assert_eq!(later.observation.alerts.peers[0].at, wanted);
    assert_eq!(later.observation.values["errors"].value.at, wanted);
    assert_eq!(later.observation.texts["users"].at, wanted);
    let sample = was.with(&Variable::FactTime { name: "errors".to_owned() }, 60_000);
    let (before, after) = (&was.observation.values["errors"].value, &sample.observation.values["errors"].value);
    assert_eq!((after.at, &after.value), (wanted, &before.value));
}

#[test]
fn others_show_the_same_by_the_name_of_their_alerts() {
    let mut world = world();
    let mut other = Incident { id: IncidentId("i2".to_owned()), ..world.incident.clone() };
    let began = other.members.values().next().expect("it has one").alert.starts_at;
    world.book.incidents.insert(other.id.clone(), other.clone());
    assert_eq!(moved::alike(&basis(&world)), Some(began));
    other.members.change_all(|member| member.alert.labels.insert("alertname", "DiskFull"));
    world.book.incidents.insert(other.id.clone(), other);
    assert_eq!(moved::alike(&basis(&world)), None, "another alert is not the same");
}

#[test]
fn what_two_changes_do_not_flip_together_is_not_claimed() {
    let mut world = world();
    let at = world.ago(minutes(35));
    world.history().rollbacks.push(rollback("live", Some("i0"), at, Some(at)));
    world.release("a").healthy = minutes(22);
    world.workload().paused = true;
    let all = policies("{rollback: undo}", ", brakes: {budget: {disabled: 'for the test'}}");
    assert_eq!(
        claims(&all, &world),
        ["the release to go back to had been available 8m longer", "the rollback that is remembered had been 25m older"]
    );
}

#[test]
fn a_switch_that_is_on_is_turned_off() {
    let mut world = world();
    let number = Number::new(1.0).expect("finite");
    world.observation.values.get_mut("bad").expect("the fixture has it").value.value = Ok(number);
    for policy in ["{when: '!facts.bad', rollback: undo}", "{when: 'facts.bad', rollback: undo}"] {
        let found = claims(&policies(policy, ""), &world);
        assert_eq!(found[0], "facts.bad had been false (it was 1)", "{policy}: {found:?}");
    }
}

#[test]
fn a_sentence_says_what_would_have_been_and_what_the_verdict_is_then() {
    let condition = || Flips::Condition { rule: "r".to_owned(), condition: "a > 1".to_owned() };
    for (flips, then, wanted) in [
        (Flips::Verdict, Outcome::Rollback, "would have rolled back if C"),
        (Flips::Verdict, Outcome::Page, "would have paged if C"),
        (Flips::Verdict, Outcome::FixForward, "would have said fix forward if C"),
        (
            Flips::Brake { brake: Brake::Cooldown },
            Outcome::Page,
            "brake `cooldown` would have let go if C; the verdict would still be page",
        ),
        (condition(), Outcome::Rollback, "in rule `r`, `a > 1` would have held if C; the verdict would be rollback then"),
        (condition(), Outcome::FixForward, "in rule `r`, `a > 1` would have held if C; the verdict would be fix forward"),
    ] {
        let one = Counterfactual { variable: None, to: 0, short_of: 0, flips, then, condition: "C".to_owned() };
        assert_eq!(one.sentence(), wanted);
    }
}
